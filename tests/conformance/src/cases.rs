//! What every language is asked: the transform, its options, and the columns of its records.

use bridge_abi::{Kind, Unit};

/// A value of a column.
#[derive(Clone, Debug)]
pub enum Said {
    Null,
    Bool(bool),
    I64(i64),
    F64(f64),
    Text(String),
    Symbol(&'static str),
    Timestamp(i64, Unit),
    Bytes(&'static [u8]),
    Decimal(&'static [u8], u8),
    Array(Vec<u32>, Vec<f64>),
}

/// The columns of one record; a field that is missing is not there.
pub type Columns = Vec<(String, Said)>;

/// One run of one transform.
#[derive(Clone, Debug)]
pub struct Case {
    pub transform: &'static str,
    pub name: &'static str,
    /// As in `config = { … }`.
    pub config: &'static str,
    pub records: Vec<Columns>,
    /// What the refusal of its configuration says, where it is refused.
    pub refused: Option<&'static str>,
}

fn case(
    transform: &'static str,
    name: &'static str,
    config: &'static str,
    records: Vec<Columns>,
) -> Case {
    Case { transform, name, config, records, refused: None }
}

fn text(text: &str) -> Said {
    Said::Text(text.to_owned())
}

fn columns(columns: &[(&str, Said)]) -> Columns {
    columns.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

/// A value of every kind that a reading of a temperature may find.
fn of_every_kind() -> Vec<Said> {
    vec![
        Said::F64(15.0),
        Said::F64(14.999_999_999_999_998),
        Said::F64(-0.0),
        Said::F64(f64::NAN),
        Said::F64(f64::INFINITY),
        Said::F64(f64::NEG_INFINITY),
        Said::I64(15),
        Said::I64(-40),
        Said::I64(i64::MAX),
        Said::Null,
        Said::Bool(true),
        text("16"),
        text(""),
        Said::Symbol("hot"),
        Said::Timestamp(1_700_000_000, Unit::Seconds),
        Said::Bytes(&[0, 255]),
        Said::Decimal(&[0x06, 0x40], 2),
        Said::Array(vec![2], vec![15.0, 16.0]),
    ]
}

fn temperatures(column: &str) -> Vec<Columns> {
    let mut records: Vec<Columns> = of_every_kind()
        .into_iter()
        .map(|value| columns(&[("sensor", text("a")), (column, value), ("unknown", Said::I64(1))]))
        .collect();
    records.push(columns(&[("sensor", text("ohne Wärme"))]));
    records.push(columns(&[]));
    records
}

/// Hundreds of columns, most of them unknown to the transform.
fn wide(count: usize) -> Vec<Columns> {
    let record = |index: usize| {
        let mut columns: Columns =
            (0..300).map(|n| (format!("c{n}"), Said::I64((index * n) as i64))).collect();
        columns.insert(index % 300, ("temperature".to_owned(), Said::F64(index as f64)));
        columns
    };
    (0..count).map(record).collect()
}

/// More rows and cells than one answer may hold: a call has to end early, and be continued.
fn many_readings() -> Vec<Columns> {
    let record = |index: usize| {
        let mut columns: Columns =
            (0..5).map(|n| (format!("tag{n}"), text(&format!("Wert {n} of {index}")))).collect();
        columns.extend((0..100).map(|n| (format!("m_{n}"), Said::F64((index * 100 + n) as f64))));
        columns
    };
    (0..1_000).map(record).collect()
}

fn readings() -> Vec<Columns> {
    let number = Said::F64;
    vec![
        columns(&[("site", text("n")), ("m_a", number(1.0)), ("m_b", Said::I64(-2))]),
        columns(&[("site", text("s"))]),
        columns(&[("m_a", number(3.0)), ("m_b", text("much")), ("site", text("x"))]),
        columns(&[("m_a", Said::Null), ("m_b", number(4.0)), ("site", Said::Null)]),
        columns(&[("m_größe", number(5.0)), ("straße", text("Łódź, 東京")), ("leer", text(""))]),
        columns(&[("m_", number(6.0)), ("m", number(7.0)), ("xm_a", number(8.0))]),
        // What is taken over has every kind, and its metric is set over a column of that name.
        columns(&[
            ("bool", Said::Bool(false)),
            ("i64", Said::I64(i64::MIN)),
            ("symbol", Said::Symbol("s")),
            ("ts", Said::Timestamp(1_700_000_000_123_456_789, Unit::Nanos)),
            ("bytes", Said::Bytes(&[1, 0, 254])),
            ("decimal", Said::Decimal(&[0xff, 0x85], 3)),
            ("array", Said::Array(vec![2, 3], vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0])),
            ("metric", text("old")),
            ("m_a", number(9.0)),
        ]),
        columns(&[("m_a", Said::Bool(true)), ("m_b", number(1.0))]),
        columns(&[("m_b", number(1.0)), ("m_a", Said::Timestamp(1, Unit::Micros))]),
        columns(&[]),
    ]
}

/// What the probe is told to do, record by record.
pub fn orders() -> Vec<Columns> {
    let orders = [
        "keep",
        "keep in",
        "nothing",
        "kinds",
        "patch",
        "row",
        "last word",
        "rows",
        "reject",
        "meta",
        "meta",
        "meta",
        "meta",
        "meta",
        "read",
        "names",
        "empty row",
        "emit",
        "tombstone",
        // Without a key; without a value and a time; with all of them.
        "send on",
        "send on",
        "send on",
        "send on changed",
        "emits",
        "emit and reject",
        "empty emit",
    ];
    let record = |order: &&str| {
        columns(&[
            ("do", text(order)),
            ("a", Said::F64(1.25)),
            ("b", Said::I64(-3)),
            ("c", Said::Bool(true)),
            ("d", Said::Timestamp(-5, Unit::Millis)),
            ("e", Said::Null),
            ("f", text("grün")),
            ("g", Said::Symbol("sym")),
            ("h", Said::Bytes(&[9, 0, 200])),
            ("i", Said::Decimal(&[0x04, 0xd2], 2)),
            ("j", Said::Array(vec![2, 2], vec![1.0, -2.0, 3.5, 4.0])),
        ])
    };
    orders.iter().map(record).collect()
}

/// Records that ask for a larger arena each, and fit into no usual one.
fn large() -> Vec<Columns> {
    let record = |(order, mebibytes): (&str, usize)| {
        columns(&[("do", text(order)), ("f", Said::Text("ä€".repeat(mebibytes * 700_000 + 1)))])
    };
    [("keep", 0), ("row", 1), ("keep", 0), ("keep", 1), ("row", 0)]
        .into_iter()
        .map(record)
        .collect()
}

/// More records for topics than one answer may hold.
fn many_emits() -> Vec<Columns> {
    let record = |n| columns(&[("do", text("many emits")), ("f", text(&format!("Wert {n}")))]);
    (0..800).map(record).collect()
}

fn counted(count: usize) -> Vec<Columns> {
    let record = |n| columns(&[("temperature", Said::I64(n as i64)), ("label", text("x"))]);
    (0..count).map(record).collect()
}

/// Every case; the golden file has them in this order.
pub fn all() -> Vec<Case> {
    let mut all = vec![
        case("template", "of every kind", "column = 'temperature'", temperatures("temperature")),
        case("drop_cold", "of every kind", "min_celsius = 15.0", temperatures("temperature")),
        case("drop_cold", "an integer as option", "min_celsius = -40", temperatures("temperature")),
        case(
            "drop_cold",
            "another column",
            "column = \"größe \\\"1\\\"\\n\\\\\"\nmin_celsius = 1.5e1",
            temperatures("größe \"1\"\n\\"),
        ),
        case("drop_cold", "wide", "min_celsius = 30.0", wide(60)),
        case("drop_cold", "several calls", "min_celsius = 2495.5", counted(2_500)),
        case("enrich_route", "of every kind", "alarm_above = 15.0", temperatures("temperature")),
        case(
            "enrich_route",
            "another table",
            "alarm_above = 0.25\nalarm_table = 'Ämter'",
            counted(3),
        ),
        case("enrich_route", "wide", "alarm_above = 30.0", wide(60)),
        case("enrich_route", "several calls", "alarm_above = 100.0", counted(2_500)),
        case("split_readings", "readings", "", readings()),
        case("split_readings", "another prefix", "prefix = 'xm'", readings()),
        case("split_readings", "no prefix", "prefix = ''", vec![readings().swap_remove(5)]),
        case("split_readings", "beyond one answer", "", many_readings()),
        case("probe", "orders", "", orders()),
        case("probe", "large records", "", large()),
        case("probe", "emits beyond one answer", "", many_emits()),
    ];
    let refusals = [
        ("drop_cold", "nothing given", "", "min_celsius"),
        ("drop_cold", "no number", "min_celsius = 'warm'", ""),
        ("drop_cold", "an unknown key", "min_celsius = 1.0\ncolum = 'a'", "colum"),
        ("enrich_route", "no text", "alarm_above = 1\nalarm_table = 7", ""),
        ("split_readings", "no text", "prefix = [1, 2]", ""),
        ("template", "nothing given", "", "column"),
    ];
    all.extend(refusals.map(|(transform, name, config, says)| Case {
        refused: Some(says),
        ..case(transform, name, config, Vec::new())
    }));
    all
}

/// The records that the probe fails on: what they are told, and what is said of them.
pub fn panics() -> Vec<Columns> {
    ["keep", "panic", "keep"].map(|order| columns(&[("do", text(order))])).to_vec()
}

impl Said {
    /// The kind of the cell that holds it.
    pub fn kind(&self) -> Kind {
        match self {
            Said::Null => Kind::Null,
            Said::Bool(_) => Kind::Bool,
            Said::I64(_) => Kind::I64,
            Said::F64(_) => Kind::F64,
            Said::Text(_) => Kind::Text,
            Said::Symbol(_) => Kind::Symbol,
            Said::Timestamp(..) => Kind::Timestamp,
            Said::Bytes(_) => Kind::Bytes,
            Said::Decimal(..) => Kind::Decimal,
            Said::Array(..) => Kind::Array,
        }
    }
}
