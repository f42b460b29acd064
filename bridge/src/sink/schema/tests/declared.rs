//! What is declared of columns, by the pipeline or of one table: it stands in the schema before
//! what comes with rows.

use super::*;
use crate::shape::{ColumnType, Declared};

#[test]
fn what_comes_from_the_record_itself_and_what_is_declared_stands_first() {
    let mut shape = Shape::plain("t");
    shape.columns = vec![("late".into(), ColumnType::Uuid), ("n".into(), ColumnType::Int)];
    shape.metadata.partition = Some("kafka_partition".into());
    let mut bench = Bench::with(Fake::start(), Format::Avro, REGISTRY, shape);
    let value = bench.one(vec![("n", Put::Double(3.0)), ("v", Put::Double(0.5))]);
    let fields = avro(&bench.versions()[0].schema, framed(&value).1);
    let shown: Vec<String> =
        fields.iter().map(|(name, value)| format!("{name} {:?}", branch(value))).collect();
    assert_eq!(
        shown,
        [
            "timestamp TimestampMicros(1700000000000000)",
            "kafka_partition Int(3)",
            "late Null",
            "n Int(3)",
            "v Double(0.5)",
        ]
    );
    let id = text("not an id");
    assert!(bench.refused(vec![("late", id)]).contains("`late` is uuid in the schema"));
}

#[test]
fn what_is_declared_of_a_table_stands_in_its_schema() {
    let mut shape = Shape::plain("t");
    shape.columns = vec![("n".into(), ColumnType::Int), ("late".into(), ColumnType::Uuid)];
    let mut own = shape.clone();
    own.timestamp_column = "at".into();
    own.columns = vec![
        ("v".into(), ColumnType::Float),
        ("at".into(), ColumnType::TimestampNs),
        ("n".into(), ColumnType::Long),
    ];
    // Names of tables differ in more than case.
    let name = "T".to_owned();
    let declared = Declared { name, shape: own, ours: true, timestamp: true };
    let mut bench = Bench::with(
        Fake::start(),
        Format::Avro,
        REGISTRY,
        Shape { declared: vec![declared], ..shape.clone() },
    );
    let row = || vec![("n", Put::Long(1)), ("v", Put::Double(0.5)), ("timestamp", text("x"))];
    let shown = |bench: &mut Bench| -> Vec<String> {
        let value = bench.one(row());
        let fields = avro(&bench.versions()[0].schema, framed(&value).1);
        fields.iter().map(|(name, value)| format!("{name} {:?}", branch(value))).collect()
    };
    assert_eq!(
        shown(&mut bench),
        [
            "at TimestampNanos(1700000000000000000)",
            "v Float(0.5)",
            "n Long(1)",
            // Only a column of that name is the designated timestamp.
            "timestamp String(\"x\")",
        ]
    );
    // Another table's declaration is not this one's.
    let mut others = shape.clone();
    others.columns.clear();
    let name = "other".to_owned();
    let declared = Declared { name, shape: others, ours: true, timestamp: false };
    let shape = Shape { declared: vec![declared], ..shape };
    let mut bench = Bench::with(Fake::start(), Format::Avro, REGISTRY, shape);
    assert_eq!(
        shown(&mut bench),
        ["timestamp TimestampMicros(1700000000000000)", "n Int(1)", "late Null", "v Double(0.5)"]
    );
}
