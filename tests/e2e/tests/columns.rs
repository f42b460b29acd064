//! Promise: what the `table` section says of columns holds on real servers, the same over every
//! transport: paths, decimals digit by digit, times in their zone, arrays taken apart, values that
//! do not fit.

use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::{Bench, Setup, Transport, columns_of, promise};
use serde_json::{Value, json};
use world::{Message, PostgreSql, Record};

const DRAIN: Duration = Duration::from_secs(90);
const VISIBLE: Duration = Duration::from_secs(30);
const ENDS: Duration = Duration::from_secs(30);

/// What both servers are asked to do.
const SHAPE: [&str; 9] = [
    "timestamp = { field = \"meta.at\", column = \"at\" }",
    "zone = \"Europe/Berlin\"",
    "on_bad = \"null\"",
    "mapping = { \"order.id\" = \"id\", \"bids[0][1]\" = \"best\" }",
    "explode = { field = \"order.items\", index = \"item\" }",
    "columns.id = { type = \"long\", on_bad = \"reject\" }",
    "columns.order_items_price = \"decimal(38,10)\"",
    "columns.paid = { type = \"timestamp\", pattern = \"%d.%m.%Y %H:%M\" }",
    "columns.total = \"decimal(30,10)\"",
];

const RECORDS: [&str; 5] = [
    r#"{"meta": {"at": "2024-07-15T12:00:00.5"}, "order": {"id": "12", "items": [
        {"sku": "a", "price": 1.10}, {"sku": "b", "price": "12345678901234567890.0123456789"}]},
        "total": 98765432109876543210.0123456789, "paid": "15.07.2024 11:59",
        "bids": [[1.5, 7], [1.25, 9]]}"#,
    // The clocks leapt; nothing that can be paid; no items; what does not fit becomes null.
    r#"{"meta": {"at": "2024-03-31 02:30:00"}, "order": {"id": 13, "items": []},
        "paid": "soon", "total": 1e25, "user-id": true}"#,
    r#"{"meta": {"at": 1721044800.25}, "order": {"id": 14}, "total": "0.5", "user_id": false}"#,
    // Rejected: a value that must fit, and two fields of one column.
    r#"{"meta": {"at": 1721044801}, "order": {"id": "fifteen"}}"#,
    r#"{"meta": {"at": 1721044802}, "order": {"id": 16}, "id": 17}"#,
];

/// Sends the records, and waits until two of them are rejected and all others stored; what the
/// dead letters say.
fn run(bench: &Bench, setup: Setup) -> Result<Vec<String>> {
    bench.kafka.create_topic(&setup.topic, 1)?;
    let installed = setup.install()?;
    bench
        .kafka
        .produce(&installed.setup.topic, RECORDS.map(|value| Record::new(value).partition(0)))?;
    let bridge = installed.start_ready()?;
    installed.group(bench)?.wait_drained(&bridge, DRAIN)?;
    let nulled = bridge.metrics()?.sum("bridge_values_nulled_total")?;
    ensure!((nulled - 2.0).abs() < 0.5, "{nulled} values became null, not two");
    bridge.stop_well(ENDS)?;
    let letters = bench.kafka.read_all(&format!("{}.dead-letters", installed.setup.topic))?;
    let said = |letter: &Message| {
        let headers = letter.headers.iter().filter_map(|(_, value)| value.as_deref());
        headers.map(String::from_utf8_lossy).collect::<Vec<_>>().join(" ")
    };
    Ok(letters.iter().map(said).collect())
}

fn are_rejected(letters: &[String]) -> Result<()> {
    let [first, second] = letters else { anyhow::bail!("not two letters: {letters:?}") };
    ensure!(first.contains("wrong-type") && first.contains("fifteen"), "{first}");
    ensure!(second.contains("two-fields") && second.contains("`id`"), "{second}");
    Ok(())
}

fn questdb(bench: &Bench, transport: Transport) -> Result<()> {
    let name = format!("columns_{transport:?}").to_lowercase();
    let mut setup = Setup::bare(bench, &name, 1).over(transport);
    setup.shape.extend(SHAPE.map(str::to_owned));
    let table = setup.table.clone();
    are_rejected(&run(bench, setup)?)?;
    bench.questdb.wait_for(&format!("select count() from {table}"), |rows| rows == 4, VISIBLE)?;
    let columns = columns_of(&bench.questdb, &table)?;
    for (name, kind) in [
        ("total", "DECIMAL(30,10)"),
        ("order_items_price", "DECIMAL(38,10)"),
        ("paid", "TIMESTAMP"),
        ("bids", "DOUBLE[][]"),
        ("user_id", "BOOLEAN"),
    ] {
        let found = columns.iter().find(|(column, _)| column == name).map(|(_, kind)| kind);
        ensure!(found.is_some_and(|found| found == kind), "{name} is {found:?} in {columns:?}");
    }
    let query = format!(
        "select id, item, order_items_sku, order_items_price::varchar, total::varchar, at, paid, \
         best, user_id from {table} order by id, item"
    );
    let rows = bench.questdb.sql(&query)?.rows;
    let big = "98765432109876543210.0123456789";
    let expected = [
        json!([
            12,
            0,
            "a",
            "1.1000000000",
            big,
            "2024-07-15T10:00:00.500000Z",
            "2024-07-15T09:59:00.000000Z",
            7.0,
            false
        ]),
        json!([
            12,
            1,
            "b",
            "12345678901234567890.0123456789",
            big,
            "2024-07-15T10:00:00.500000Z",
            "2024-07-15T09:59:00.000000Z",
            7.0,
            false
        ]),
        json!([13, null, null, null, null, "2024-03-31T01:30:00.000000Z", null, null, true]),
        json!([
            14,
            null,
            null,
            null,
            "0.5000000000",
            "2024-07-15T12:00:00.250000Z",
            null,
            null,
            false
        ]),
    ];
    let rows: Vec<Value> = rows.into_iter().map(Value::Array).collect();
    ensure!(rows == expected, "{transport:?}: {rows:#?}");
    Ok(())
}

#[test]
fn columns_are_as_they_are_said_in_questdb() {
    promise("columns are as they are said, in QuestDB over every transport", |bench| {
        for transport in [Transport::Http, Transport::Tcp, Transport::Pg] {
            questdb(bench, transport)?;
        }
        Ok(())
    });
}

#[test]
fn columns_are_as_they_are_said_in_postgresql() {
    promise("columns are as they are said, in PostgreSQL", |bench| {
        let postgres = PostgreSql::start()?;
        let mut setup = Setup::bare(bench, "columns", 1).into_postgres(&postgres.address());
        setup.shape.extend(SHAPE.map(str::to_owned));
        setup.shape.push("drop = [\"user-id\", \"user_id\"]".to_owned());
        let table = setup.table.clone();
        are_rejected(&run(bench, setup)?)?;
        let query = format!(
            "set timezone = 'UTC'; select id, item, order_items_sku, order_items_price, total, at, \
             paid, best, bids from \"{table}\" order by id, item"
        );
        let rows = postgres.sql(&query)?;
        let expected = [
            "12|0|a|1.1000000000|98765432109876543210.0123456789|2024-07-15 10:00:00.5+00|\
             2024-07-15 09:59:00+00|7|{{1.5,7},{1.25,9}}",
            "12|1|b|12345678901234567890.0123456789|98765432109876543210.0123456789|\
             2024-07-15 10:00:00.5+00|2024-07-15 09:59:00+00|7|{{1.5,7},{1.25,9}}",
            "13|||||2024-03-31 01:30:00+00|||",
            "14||||0.5000000000|2024-07-15 12:00:00.25+00|||",
        ];
        let expected = expected.map(str::to_owned);
        ensure!(rows == expected, "{rows:#?}");
        Ok(())
    });
}

/// Bytes are base64 and a decimal that nobody declared is one, over every transport.
#[test]
fn bytes_and_decimals_are_the_same_over_every_transport() {
    promise("bytes and decimals of Avro are the same over every transport", |bench| {
        let schema = r#"{"type":"record","name":"R","fields":[{"name":"b","type":"bytes"},
            {"name":"d","type":{"type":"bytes","logicalType":"decimal","precision":30,"scale":4}}]}"#;
        // Three bytes; a decimal of 12345678901234567890.1234, whole, in ten bytes.
        let unscaled: i128 = 123_456_789_012_345_678_901_234;
        let mut value = vec![6, 0, 255, 7, 20];
        value.extend_from_slice(&unscaled.to_be_bytes()[6..]);
        for transport in [Transport::Http, Transport::Tcp, Transport::Pg] {
            let name = format!("bytes_{transport:?}").to_lowercase();
            let mut setup = Setup::bare(bench, &name, 1).over(transport);
            let format = format!(
                "value = {{ format = \"avro\", framing = \"bare\", schema = '''{schema}''' }}"
            );
            setup.pipeline.push(format.replace('\n', " "));
            let table = setup.table.clone();
            bench.kafka.create_topic(&setup.topic, 1)?;
            let installed = setup.install()?;
            let record = Record { value: Some(value.clone()), ..Record::new("").partition(0) };
            bench.kafka.produce(&installed.setup.topic, [record])?;
            let bridge = installed.start_ready()?;
            installed.group(bench)?.wait_drained(&bridge, DRAIN)?;
            bridge.stop_well(ENDS)?;
            let count = format!("select count() from {table}");
            bench.questdb.wait_for(&count, |rows| rows == 1, VISIBLE)?;
            let rows = bench.questdb.sql(&format!("select b, d::varchar from {table}"))?.rows;
            let expected = [vec![json!("AP8H"), json!("12345678901234567890.1234")]];
            ensure!(rows == expected, "{transport:?}: {rows:?}");
        }
        Ok(())
    });
}
