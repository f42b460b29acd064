//! Formats at work in tests: a decoder out of sections of a configuration, and rows as text.

use std::sync::Arc;

use bridge_abi::{Cell, Kind, Unit};

use super::{Admission, DecoderContext, Format, FormatPlan, KINDS, KeyPlan, NullValue};
use crate::batch::testing::{Pair, batch};
use crate::batch::{RecordBatch, Row, RowBatch};
use crate::config::{Overrides, Plan, Surroundings};
use crate::names::Names;
use crate::reject::Rejects;

/// A decoder, and what reads its rows.
pub struct Bench {
    pub context: DecoderContext,
    pub decoder: Box<dyn Format>,
}

/// Larger values are rejected.
const RECORD_BYTES_MAX: usize = 100_000;

impl Bench {
    /// By the keys of the sections `value` and `key`; an empty one of `key` is none.
    pub fn new(value: &str, key: &str) -> Bench {
        Bench::with(value, key, NullValue::Skip)
    }

    pub fn with(value: &str, key: &str, null_value: NullValue) -> Bench {
        let plan = parsed(value, key).unwrap_or_else(|wrong| panic!("{wrong}"));
        let pipeline = plan.pipelines.into_iter().next().expect("there is one");
        let names = Arc::new(Names::default());
        let admission = Admission { null_value, record_bytes_max: RECORD_BYTES_MAX };
        let context = DecoderContext { names, key: pipeline.key, admission };
        let decoder = pipeline.value.decoder(&context);
        Bench { context, decoder }
    }

    /// What becomes of one record: its rows, or why it is refused.
    pub fn told_of(&mut self, key: &str, value: impl AsRef<[u8]>) -> String {
        let records = batch(vec![(Some(key.into()), Some(value.as_ref().to_vec()))]);
        let (mut rows, mut rejects) = (RowBatch::default(), Rejects::default());
        let decoded = self.decoder.decode(&records, &mut rows, &mut rejects);
        decoded.expect("only records are at fault");
        if let Some((_, stage, reason, detail)) = rejects.found.first() {
            assert!(rows.rows.is_empty() && rows.cells.is_empty(), "it leaves nothing");
            return format!("{} {}: {detail}", stage.name(), reason.name());
        }
        let shown: Vec<String> = rows.rows.iter().map(|row| self.row(&rows, row)).collect();
        shown.join(" / ")
    }

    /// The same of a value; its key is `k`.
    pub fn told(&mut self, value: impl AsRef<[u8]>) -> String {
        self.told_of("k", value)
    }

    /// All rows: record and number in front of each.
    pub fn shown(&self, rows: &RowBatch) -> Vec<String> {
        let line = |row: &Row| format!("{}.{}: {}", row.source, row.number, self.row(rows, row));
        rows.rows.iter().map(line).collect()
    }

    fn row(&self, rows: &RowBatch, row: &Row) -> String {
        let names = &self.context.names;
        let cell = |cell: &Cell| {
            let name = names.columns.name(cell.column).expect("interned");
            format!("{name}={}", value(rows, cell))
        };
        let deletes = rows.deleting.has(row.source).then(|| "DELETE".to_owned());
        let table = names.tables.name(row.table).map(|table| format!("@{table}"));
        let cells = rows.cells_of(row).iter().map(cell);
        deletes.into_iter().chain(table).chain(cells).collect::<Vec<_>>().join(" ")
    }
}

/// A pipeline with these sections, or what is wrong with them.
pub fn parsed(value: &str, key: &str) -> Result<Plan, String> {
    let mut text = format!("[pipeline.p]\ntopics = [\"t\"]\n[pipeline.p.value]\n{value}\n");
    if !key.is_empty() {
        text.push_str(&format!("[pipeline.p.key]\n{key}\n"));
    }
    let base = std::path::Path::new("/nowhere");
    let with = Surroundings { env: &|_| None, host: "host".to_owned(), base };
    let plan = Plan::parse("bridge.toml", &text, &with, &Overrides::default());
    plan.map_err(|mistakes| mistakes.to_string())
}

/// Records by key and value.
pub fn batch_of(records: &[(&str, Option<&str>)]) -> RecordBatch {
    let bytes = |text: &&str| text.as_bytes().to_vec();
    let pair = |(key, value): &(&str, Option<&str>)| (Some(bytes(key)), value.as_ref().map(bytes));
    batch(records.iter().map(pair).collect())
}

/// Names of a pipeline whose keys do not count.
pub fn context() -> DecoderContext {
    let admission = Admission { null_value: NullValue::Delete, record_bytes_max: 1 << 20 };
    DecoderContext { names: Arc::new(Names::default()), key: KeyPlan::Ignore, admission }
}

/// Rows as text, or why there are none.
pub fn told(plan: &dyn FormatPlan, pairs: Vec<Pair>) -> Vec<String> {
    let context = context();
    let mut decoder = plan.decoder(&context);
    tell(&mut *decoder, &context, pairs)
}

/// The same by a decoder that is there.
pub fn tell(decoder: &mut dyn Format, context: &DecoderContext, pairs: Vec<Pair>) -> Vec<String> {
    let records = batch(pairs);
    let (mut rows, mut rejects) = (RowBatch::default(), Rejects::default());
    if let Err(fault) = decoder.decode(&records, &mut rows, &mut rejects) {
        return vec![format!("{:?}: {fault}", fault.blame)];
    }
    let mut told = vec![String::new(); records.len()];
    for (source, stage, reason, detail) in &rejects.found {
        told[*source as usize] = format!("{} {}: {detail}", stage.name(), reason.name());
    }
    for row in &rows.rows {
        assert!(told[row.source as usize].is_empty(), "a rejected record leaves no row");
        told[row.source as usize] = show(context, &rows, row);
    }
    told
}

/// A row: `a=1i b="x"`.
pub fn show(context: &DecoderContext, rows: &RowBatch, row: &Row) -> String {
    let cell = |cell: &bridge_abi::Cell| {
        use bridge_abi::Value;
        let name = context.names.columns.name(cell.column).expect("interned");
        let value = bridge_abi::value::decode(&rows.arena, 0, cell).expect("a cell as it must be");
        let value = match value {
            Value::Null => "null".to_owned(),
            Value::Bool(value) => value.to_string(),
            Value::I64(value) => format!("{value}i"),
            Value::F64(value) => value.to_string(),
            Value::Text(text) => format!("{text:?}"),
            Value::Symbol(text) => format!("'{text}'"),
            Value::Timestamp(value, unit) => format!("{value}{unit:?}"),
            Value::Bytes(bytes) => format!("{bytes:?}"),
            Value::Decimal { scale, unscaled } => {
                let mut out = Vec::new();
                super::avro::push_decimal(&mut out, unscaled, scale);
                format!("{}d", String::from_utf8(out).expect("digits"))
            }
            Value::Array(array) => {
                assert_eq!(cell.value % 8, 0, "arrays are aligned");
                let shape: Vec<u32> = array.shape().collect();
                format!("{shape:?}{:?}", array.values().collect::<Vec<f64>>())
            }
            other => format!("{other:?}"),
        };
        format!("{name}={value}")
    };
    rows.cells_of(row).iter().map(cell).collect::<Vec<_>>().join(" ")
}

/// A cell's value: `1i` is a long, `1` a double, `#a` a symbol.
fn value(rows: &RowBatch, cell: &Cell) -> String {
    let text = || std::str::from_utf8(rows.bytes_of(cell)).expect("text is UTF-8");
    match Kind::from_u8(cell.kind).expect("a kind") {
        Kind::Null => "null".to_owned(),
        Kind::Bool => (cell.value != 0).to_string(),
        Kind::I64 => format!("{}i", cell.value as i64),
        Kind::F64 => f64::from_bits(cell.value).to_string(),
        Kind::Text => format!("{:?}", text()),
        Kind::Symbol => format!("#{}", text()),
        Kind::Timestamp => {
            let unit = match Unit::from_u8(cell.flags).expect("a unit") {
                Unit::Seconds => "s",
                Unit::Millis => "ms",
                Unit::Micros => "us",
                Unit::Nanos => "ns",
            };
            format!("{}{unit}", cell.value as i64)
        }
        Kind::Decimal => {
            let mut digits = Vec::new();
            super::avro::words::push_decimal(&mut digits, rows.bytes_of(cell), cell.flags);
            format!("{}d", String::from_utf8(digits).expect("digits"))
        }
        Kind::Bytes => format!("{:?}", rows.bytes_of(cell)),
        Kind::Array => {
            let array = bridge_abi::value::array(rows.bytes_of(cell)).expect("an array");
            format!("{:?}", array.values().collect::<Vec<f64>>())
        }
    }
}

#[test]
fn every_format_has_an_example_that_is_taken() {
    for kind in KINDS {
        let text = format!("[pipeline.p]\ntopics = [\"t\"]\n{}", kind.example);
        let with = Surroundings {
            env: &|_| None,
            host: "host".to_owned(),
            base: std::path::Path::new("/nowhere"),
        };
        let plan = Plan::parse("bridge.toml", &text, &with, &Overrides::default());
        let plan = plan.unwrap_or_else(|mistakes| panic!("{}: {mistakes}", kind.name));
        assert_eq!(plan.pipelines[0].value_kind, kind.name);
    }
}

#[test]
fn a_value_or_a_key_is_read() {
    let wrong = parsed("format = \"ignore\"", "").expect_err("nothing is read");
    assert!(wrong.contains("neither"), "{wrong}");
    let ignored = "format = \"ignore\"";
    let wrong = parsed(ignored, ignored).expect_err("nothing is read");
    assert!(wrong.contains("pipeline.p.value.format"), "{wrong}");
    let plan = parsed(ignored, "format = \"i64\"\ncolumn = \"id\"").expect("the key is read");
    let key = KeyPlan::Single {
        single: super::Single::Simple(super::Simple::I64, super::Written::Binary),
        column: "id".to_owned(),
    };
    assert_eq!(plan.pipelines[0].key, key);
    assert!(parsed("format = \"json\"", ignored).is_ok());
}
