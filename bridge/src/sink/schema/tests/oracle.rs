//! Rows that nobody wrote, in each format: what other libraries read of the bytes, and what the
//! bridge itself does, is what the cells said.

use proptest::prelude::*;

use super::*;
use crate::batch::RowBatch;
use crate::batch::testing::Pair;
use crate::config::{Overrides, Plan as Config, Surroundings};
use crate::format::{Admission, DecoderContext, NullValue};

/// The columns of a row, each of one kind.
const COLUMNS: [(&str, usize); 9] = [
    ("flag", 0),
    ("whole", 1),
    ("real", 2),
    ("word", 3),
    ("blob", 4),
    ("price", 5),
    ("millis", 6),
    ("nanos", 7),
    ("bids", 8),
];

pub fn put(kind: usize) -> BoxedStrategy<Put> {
    match kind {
        0 => any::<bool>().prop_map(Put::Bool).boxed(),
        1 => any::<i64>().prop_map(Put::Long).boxed(),
        2 => any::<f64>().prop_map(Put::Double).boxed(),
        3 => ".{0,12}".prop_map(Put::Text).boxed(),
        4 => prop::collection::vec(any::<u8>(), 0..9).prop_map(Put::Bytes).boxed(),
        5 => (-10_i128.pow(37)..10_i128.pow(37)).prop_map(|n| Put::Decimal(n, 4)).boxed(),
        6 => (-62_135_596_800_000_i64..253_402_300_799_999)
            .prop_map(|at| Put::Time(at, Unit::Millis))
            .boxed(),
        7 => any::<i64>().prop_map(|at| Put::Time(at, Unit::Nanos)).boxed(),
        _ => prop::collection::vec(any::<f64>(), 1..6).prop_map(Put::Numbers).boxed(),
    }
}

/// A row: some columns are missing, some null, in any order.
fn row() -> impl Strategy<Value = Vec<(&'static str, Put)>> {
    let column = |(name, kind): &(&'static str, usize)| {
        let name = *name;
        prop_oneof![
            1 => Just(None),
            1 => Just(Some((name, Put::Null))),
            4 => put(*kind).prop_map(move |put| Some((name, put))),
        ]
    };
    let all: Vec<_> = COLUMNS.iter().map(column).collect();
    all.prop_map(|all| all.into_iter().flatten().collect::<Vec<_>>()).prop_shuffle()
}

/// One of each, so that the schema has all columns.
fn first() -> Puts<'static> {
    vec![
        ("flag", Put::Bool(true)),
        ("whole", Put::Long(1)),
        ("real", Put::Double(0.5)),
        ("word", text("a")),
        ("blob", Put::Bytes(vec![0])),
        ("price", Put::Decimal(10_000, 4)),
        ("millis", Put::Time(0, Unit::Millis)),
        ("nanos", Put::Time(0, Unit::Nanos)),
        ("bids", Put::Numbers(vec![1.0])),
    ]
}

/// What a row has of a column; a null is as good as nothing.
fn of<'a>(row: &'a [(&str, Put)], name: &str) -> Option<&'a Put> {
    row.iter().find(|(known, _)| *known == name).map(|(_, put)| put).filter(|p| **p != Put::Null)
}

fn same(a: f64, b: f64) -> bool {
    a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())
}

/// Whether the library's value is what was put.
pub fn is_avro(put: Option<&Put>, read: &Theirs) -> bool {
    match (put, branch(read)) {
        (None, Theirs::Null) => true,
        (Some(Put::Bool(value)), Theirs::Boolean(read)) => value == read,
        (Some(Put::Long(value)), Theirs::Long(read)) => value == read,
        (Some(Put::Double(value)), Theirs::Double(read)) => same(*value, *read),
        (Some(Put::Text(text)), Theirs::String(read)) => text == read,
        (Some(Put::Bytes(bytes)), Theirs::Bytes(read)) => bytes == read,
        (Some(Put::Decimal(number, 4)), Theirs::Decimal(read)) => {
            let bytes = Vec::<u8>::try_from(read).expect("it has a number");
            let fill = if bytes[0] & 0x80 == 0 { 0 } else { 0xff };
            let mut wide = [fill; 16];
            wide[16 - bytes.len()..].copy_from_slice(&bytes);
            i128::from_be_bytes(wide) == *number
        }
        (Some(Put::Time(at, Unit::Millis)), Theirs::TimestampMillis(read)) => at == read,
        (Some(Put::Time(at, Unit::Nanos)), Theirs::TimestampNanos(read)) => at == read,
        (Some(Put::Numbers(values)), Theirs::Array(read)) => {
            let number = |read: &Theirs| match read {
                Theirs::Double(read) => *read,
                other => panic!("{other:?} is no double"),
            };
            let pairs = values.iter().zip(read.iter().map(number));
            values.len() == read.len() && pairs.into_iter().all(|(a, b)| same(*a, b))
        }
        _ => false,
    }
}

/// What the bridge reads of values, by its own format.
fn read_back(value: &str, fake: &Fake, values: Vec<Vec<u8>>) -> (Arc<Names>, RowBatch) {
    let value = format!("[pipeline.p.value]\n{value}\nregistry.url = \"{}\"\n", fake.url());
    read_records(&value, values.into_iter().map(|value| (None, Some(value))).collect())
}

/// What it reads of records, by what its sections say of values and keys.
pub fn read_records(sections: &str, records: Vec<Pair>) -> (Arc<Names>, RowBatch) {
    let text = format!("[pipeline.p]\ntopics = [\"t\"]\n{sections}");
    let base = std::path::Path::new("/nowhere");
    let with = Surroundings { env: &|_| None, host: "host".to_owned(), base };
    let plan = Config::parse("bridge.toml", &text, &with, &Overrides::default());
    let plan = plan.unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let pipeline = plan.pipelines.into_iter().next().expect("there is one");
    let names = Arc::new(Names::default());
    let admission = Admission { null_value: NullValue::Skip, record_bytes_max: 1 << 20 };
    let context = DecoderContext { names: Arc::clone(&names), key: pipeline.key, admission };
    let mut decoder = pipeline.value.decoder(&context);
    let (mut rows, mut rejects) = (RowBatch::default(), Rejects::default());
    decoder.decode(&batch(records), &mut rows, &mut rejects).expect("only records are at fault");
    assert!(rejects.is_empty(), "{:?}", rejects.found);
    (names, rows)
}

/// Whether a cell is what was put.
pub fn is_cell(put: Option<&Put>, rows: &RowBatch, cell: Option<&Cell>) -> bool {
    let kind = cell.and_then(|cell| Kind::from_u8(cell.kind));
    let bytes = cell.map_or(&[][..], |cell| rows.pointed(cell));
    let value = cell.map_or(0, |cell| cell.value);
    let flags = cell.map_or(0, |cell| cell.flags);
    match (put, kind) {
        (None, None | Some(Kind::Null)) => true,
        (Some(Put::Bool(put)), Some(Kind::Bool)) => u64::from(*put) == value,
        (Some(Put::Long(put)), Some(Kind::I64)) => *put == value as i64,
        (Some(Put::Double(put)), Some(Kind::F64)) => same(*put, f64::from_bits(value)),
        (Some(Put::Text(put)), Some(Kind::Text)) => put.as_bytes() == bytes,
        (Some(Put::Bytes(put)), Some(Kind::Bytes)) => put == bytes,
        (Some(Put::Decimal(put, scale)), Some(Kind::Decimal)) => {
            crate::format::avro::words::unscaled(&put.to_be_bytes()) == bytes && *scale == flags
        }
        (Some(Put::Time(put, unit)), Some(Kind::Timestamp)) => {
            *put == value as i64 && *unit as u8 == flags
        }
        (Some(Put::Numbers(put)), Some(Kind::Array)) => {
            let values = bytes[8..].chunks_exact(8);
            let values: Vec<f64> =
                values.map(|v| f64::from_le_bytes(v.try_into().expect("eight"))).collect();
            put.len() == values.len() && put.iter().zip(&values).all(|(a, b)| same(*a, *b))
        }
        _ => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn avro_is_read_by_the_library_and_by_ourselves(rows in prop::collection::vec(row(), 1..20)) {
        // Row by row: the schema grows as columns come.
        let mut bench = Bench::new(Format::Avro, REGISTRY);
        let values: Vec<Vec<u8>> = rows.iter().map(|row| bench.one(row.clone())).collect();
        let versions = bench.versions();
        for (row, value) in rows.iter().zip(&values) {
            let (id, body) = framed(value);
            let version = versions.iter().find(|version| version.id == id).expect("registered");
            let read = avro(&version.schema, body);
            for (name, read) in &read {
                prop_assert!(is_avro(of(row, name), read), "{name}: {row:?} {read:?}");
            }
            let has = |name: &str| read.iter().any(|(known, _)| known == name);
            let mut there = row.iter().filter(|(_, put)| *put != Put::Null);
            prop_assert!(there.all(|(name, _)| has(name)), "{row:?} {read:?}");
        }
        let (names, read) = read_back("format = \"avro\"", &bench.fake, values);
        for (row, cells) in rows.iter().zip(&read.rows) {
            for (name, _) in COLUMNS {
                let id = names.columns.find(name);
                let cell = read.cells_of(cells).iter().find(|cell| Some(cell.column) == id);
                prop_assert!(is_cell(of(row, name), &read, cell), "{name}: {row:?} {cell:?}");
            }
        }
    }

    #[test]
    fn messages_are_read_by_the_library(rows in prop::collection::vec(row(), 1..20)) {
        let mut bench = Bench::new(Format::Protobuf, REGISTRY);
        let values: Vec<Vec<u8>> = rows.iter().map(|row| bench.one(row.clone())).collect();
        let versions = bench.versions();
        for (row, value) in rows.iter().zip(&values) {
            let (id, body) = framed(value);
            let version = versions.iter().find(|version| version.id == id).expect("registered");
            let read = super::messages::dynamic(&version.schema, None, &body[1..]);
            let message = prost_reflect::ReflectMessage::descriptor(&read);
            for (name, _) in COLUMNS {
                let field = message.get_field_by_name(name).filter(|field| read.has_field(field));
                let found = field.map(|field| read.get_field(&field).into_owned());
                prop_assert!(is_message(of(row, name), found.as_ref()), "{name}: {row:?} {found:?}");
            }
        }
    }

    #[test]
    fn objects_are_read_by_the_library(rows in prop::collection::vec(row(), 1..20)) {
        let mut bench = Bench::new(Format::Json, REGISTRY);
        bench.one(first());
        let (values, refused) = bench.encode(&rows).expect("no fault");
        prop_assert!(refused.is_empty(), "{refused:?}");
        for (row, value) in rows.iter().zip(&values) {
            let read: serde_json::Value =
                serde_json::from_slice(framed(value).1).expect("it is JSON");
            for (name, _) in COLUMNS {
                let found = &read[name];
                let fits = match of(row, name) {
                    None => found.is_null(),
                    Some(Put::Bool(put)) => found == put,
                    Some(Put::Long(put)) => found == put,
                    Some(Put::Double(put)) if put.is_finite() => found == put,
                    Some(Put::Double(_)) => found.is_null(),
                    Some(Put::Text(put)) => found == put,
                    Some(Put::Numbers(put)) => {
                        found.as_array().is_some_and(|found| found.len() == put.len())
                    }
                    Some(Put::Decimal(..)) => found.is_number(),
                    Some(_) => found.is_string(),
                };
                prop_assert!(fits, "{name}: {row:?} {found}");
            }
        }
    }

    /// Nothing that anybody may be given as a schema, or as its newest version, ends in a panic.
    #[test]
    fn hostile_schemas_are_refused(text in ".{0,200}", cut in 0usize..2_000) {
        for format in [Format::Avro, Format::Protobuf, Format::Json] {
            let part: String = super::NESTED.chars().take(cut).collect();
            for lone in [None, Some("a")] {
                let _ = format.compile(&text, None, "_", lone);
                let _ = format.compile(&part, None, "_", lone);
            }
            let _ = Document::read(format, &text);
        }
    }
}

pub fn is_message(put: Option<&Put>, read: Option<&prost_reflect::Value>) -> bool {
    use prost_reflect::Value as Read;
    let part = |message: &prost_reflect::DynamicMessage, name: &str| match message
        .get_field_by_name(name)
        .map(|value| value.into_owned())
    {
        Some(Read::I64(value)) => i128::from(value),
        Some(Read::I32(value)) => i128::from(value),
        other => panic!("{other:?} is no part of a timestamp"),
    };
    match (put, read) {
        (None, None) => true,
        (Some(Put::Bool(put)), Some(Read::Bool(read))) => put == read,
        (Some(Put::Long(put)), Some(Read::I64(read))) => put == read,
        (Some(Put::Double(put)), Some(Read::F64(read))) => same(*put, *read),
        (Some(Put::Text(put)), Some(Read::String(read))) => put == read,
        (Some(Put::Bytes(put)), Some(Read::Bytes(read))) => put == &read[..],
        (Some(Put::Decimal(put, scale)), Some(Read::String(read))) => {
            let digits = crate::sink::questdb::decimal_text(&put.to_be_bytes(), *scale);
            digits.as_deref() == Some(read)
        }
        (Some(Put::Time(put, unit)), Some(Read::Message(read))) => {
            let nanos = part(read, "seconds") * 1_000_000_000 + part(read, "nanos");
            i128::from(*put) * crate::times::nanos_of(*unit) == nanos
        }
        (Some(Put::Numbers(put)), Some(Read::List(read))) => {
            let number = |read: &Read| read.as_f64().expect("a double");
            put.len() == read.len() && put.iter().zip(read).all(|(a, b)| same(*a, number(b)))
        }
        _ => false,
    }
}
