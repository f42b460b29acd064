//! Promise: what survives the transforms is in the table, exactly, over either transport.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use e2e::{Band, Bench, PARTITIONS, Reading, Setup, Transport, pick, promise, rows_are_exact};
use world::Record;

/// The whole of a test's records through an unoptimised bridge on two loaded cores.
const DRAIN: Duration = Duration::from_secs(120);
/// Until applied rows are seen by a query.
const VISIBLE: Duration = Duration::from_secs(60);

/// The cold ones go; the rest gets a column; the hot ones get a table of their own.
const MILD: Band = Band { from: 1_500, to: 4_800 };
const HOT: Band = Band { from: 4_801, to: i64::MAX };

#[test]
fn a_filter_and_a_column_over_http() {
    promise("a filter and a column over http", |bench| exactly(bench, Transport::Http, examples));
}

#[test]
fn a_filter_and_a_column_by_expressions() {
    promise("a filter and a column by expressions", |bench| {
        exactly(bench, Transport::Http, expressions)
    });
}

#[test]
fn a_filter_and_a_column_over_tcp_with_verify() {
    promise("a filter and a column over tcp with verify", |bench| {
        exactly(bench, Transport::Tcp, examples)
    });
}

#[test]
fn a_filter_and_a_column_over_pg() {
    promise("a filter and a column over pg", |bench| exactly(bench, Transport::Pg, examples));
}

/// Transforms that do what the bands say; the hot table's name.
type Chain = fn(Setup, &str) -> Setup;

fn examples(setup: Setup, hot: &str) -> Setup {
    let route = format!("{{ alarm_above = 48.0, alarm_table = \"{hot}\" }}");
    setup.transform("drop_cold", "{ min_celsius = 15.0 }").transform("enrich_route", &route)
}

/// The same by the modules that come along.
fn expressions(setup: Setup, hot: &str) -> Setup {
    let route = format!("{{ rules = [{{ where = \"temperature > 48\", table = \"{hot}\" }}] }}");
    let computed = "{ set = { fahrenheit = \"temperature * 9 / 5 + 32\" } }";
    let kept = "{ where = \"temperature >= 15 and starts_with(sensor, 's-')\" }";
    setup
        .transform("builtin:filter", kept)
        .transform("builtin:convert", computed)
        .transform("builtin:route", &route)
}

fn exactly(bench: &'static Bench, transport: Transport, chain: Chain) -> Result<()> {
    let count = pick(200_000, 1_000_000);
    let setup = Setup::readings(bench, "exactly", PARTITIONS)?.over(transport);
    let hot = format!("{}_hot", setup.table);
    let setup = chain(setup, &hot);
    bench.kafka.produce(&setup.topic, (0..count).map(|seq| Reading(seq).record(PARTITIONS)))?;

    let installed = setup.install()?;
    let start = Instant::now();
    let bridge = installed.start()?;
    installed.group(bench)?.wait_drained(&bridge, DRAIN)?;
    let seconds = start.elapsed().as_secs_f64();
    let table = &installed.setup.table;
    rows_are_exact(&bench.questdb, table, count, MILD, VISIBLE)?;
    rows_are_exact(&bench.questdb, &hot, count, HOT, VISIBLE)?;
    for table in [table, &hot] {
        let wrong = "fahrenheit != temperature * 9.0 / 5.0 + 32.0 or fahrenheit = null";
        let query = format!("select count() from {table} where {wrong}");
        ensure!(bench.questdb.scalar_i64(&query)? == 0, "{table} has wrong fahrenheits");
    }
    let cpu = bridge.process().cpu_seconds()? * 1e6 / count as f64;
    let mib = bridge.process().rss_bytes_max()? >> 20;
    println!(
        "{transport:?}: {count} records in {seconds:.1} s from the bridge's start to the last \
         commit ({:.0}/s), {cpu:.2} CPU s per million, {mib} MiB at most",
        count as f64 / seconds,
    );
    bridge.stop_well(Duration::from_secs(20))
}

#[test]
fn types_are_as_declared() {
    promise("types are as declared", |bench| {
        let setup = Setup::readings(bench, "types", PARTITIONS)?.upserting();
        bench.kafka.produce(&setup.topic, (0..5_000).map(|seq| Reading(seq).record(PARTITIONS)))?;
        let installed = setup.install()?;
        let bridge = installed.start()?;
        installed.group(bench)?.wait_drained(&bridge, DRAIN)?;
        let table = &installed.setup.table;
        rows_are_exact(&bench.questdb, table, 5_000, Band::ALL, VISIBLE)?;
        let columns = e2e::columns_of(&bench.questdb, table)?;
        for (name, kind) in [
            ("ts", "TIMESTAMP"),
            ("sensor", "SYMBOL"),
            ("site", "SYMBOL"),
            ("temperature", "DOUBLE"),
            ("humidity", "DOUBLE"),
            ("seq", "LONG"),
            ("ok", "BOOLEAN"),
            ("kafka_topic", "SYMBOL"),
            ("kafka_partition", "INT"),
            ("kafka_offset", "LONG"),
            ("kafka_row", "INT"),
        ] {
            let found = columns.iter().find(|(known, _)| known == name).map(|(_, kind)| &**kind);
            ensure!(found == Some(kind), "{name} is {found:?}, not {kind}: {columns:?}");
        }
        let keys = "select \"column\" from table_columns('TABLE') where upsertKey = true";
        let keys = bench.questdb.sql(&keys.replace("TABLE", table))?.rows.len();
        ensure!(keys == 5, "{keys} upsert keys");
        let designated = "select designatedTimestamp from tables() where table_name = 'TABLE'";
        let designated = bench.questdb.sql(&designated.replace("TABLE", table))?.rows;
        ensure!(designated == [[serde_json::json!("ts")]], "the timestamp is {designated:?}");
        let placed = "select count() from TABLE where kafka_partition = (seq % 1000) % 4 and \
                      kafka_topic = 'TABLE' and kafka_row = 0";
        let placed = bench.questdb.scalar_i64(&placed.replace("TABLE", table))?;
        ensure!(placed == 5_000, "{placed} rows know where they come from");
        bridge.stop_well(Duration::from_secs(20))
    });
}

#[test]
fn replays_leave_one_row_each() {
    for transport in [Transport::Http, Transport::Tcp] {
        promise(&format!("replays leave one row each, {transport:?}"), |bench| {
            let count = 20_000;
            let setup = Setup::readings(bench, "replays", PARTITIONS)?.over(transport).upserting();
            let records = (0..count).map(|seq| Reading(seq).record(PARTITIONS));
            bench.kafka.produce(&setup.topic, records)?;
            let installed = setup.install()?;
            let table = &installed.setup.table;
            for _ in 0..2 {
                let bridge = installed.start_with(&["--from", "earliest"])?;
                bridge.wait(DRAIN, "all records being stored", || {
                    let stored = bridge.metrics()?.sum("bridge_rows_stored_total")?;
                    ensure!(stored >= count as f64, "{stored} rows are stored");
                    Ok(())
                })?;
                bridge.stop_well(Duration::from_secs(20))?;
                rows_are_exact(&bench.questdb, table, count, Band::ALL, VISIBLE)?;
            }
            Ok(())
        });
    }
}

#[test]
fn a_record_split_into_rows_over_tcp() {
    promise("a record split into rows over tcp", |bench| {
        let setup = Setup::bare(bench, "split", PARTITIONS).over(Transport::Tcp);
        let mut setup = setup.transform("split_readings", "{ prefix = \"m_\" }");
        setup.shape = vec!["timestamp = { field = \"ts\", unit = \"us\" }".to_owned()];
        bench.kafka.create_topic(&setup.topic, PARTITIONS)?;
        let records = (0..10_000_u64).map(|seq| {
            let ts = Reading(seq).ts_us();
            let json = format!(
                "{{\"ts\":{ts},\"seq\":{seq},\"m_co2\":{seq},\"m_hum\":0.5,\"m_none\":null}}"
            );
            Record::new(json).partition((seq % 4) as i32)
        });
        bench.kafka.produce(&setup.topic, records)?;
        let installed = setup.install()?;
        let bridge = installed.start()?;
        installed.group(bench)?.wait_drained(&bridge, DRAIN)?;
        let table = &installed.setup.table;
        let query = |what: &str| format!("select {what} from {table}");
        bench.questdb.wait_for(&query("count()"), |rows| rows >= 20_000, VISIBLE)?;
        ensure!(bench.questdb.scalar_i64(&query("count()"))? == 20_000, "more rows than readings");
        let co2 = query("count_distinct(seq)") + " where metric = 'co2' and value = seq";
        ensure!(bench.questdb.scalar_i64(&co2)? == 10_000, "readings of co2 are missing");
        let hum = query("count_distinct(seq)") + " where metric = 'hum' and value = 0.5";
        ensure!(bench.questdb.scalar_i64(&hum)? == 10_000, "readings of hum are missing");
        bridge.stop_well(Duration::from_secs(20))
    });
}

#[test]
fn values_of_every_shape() {
    promise("values of every shape", |bench| {
        let mut setup = Setup::bare(bench, "values", 1);
        setup.pipeline = vec!["key = { format = \"string\", column = \"device\" }".to_owned()];
        setup.shape = vec![
            "timestamp = \"kafka\"".to_owned(),
            "symbols = [\"kind\"]".to_owned(),
            "columns = { n_deep_x = \"long\", half = \"double\" }".to_owned(),
            "mapping = { old = \"new\" }".to_owned(),
            "drop = [\"secret\"]".to_owned(),
            "metadata = { offset = \"at\", headers = { trace = \"trace_id\" } }".to_owned(),
        ];
        bench.kafka.create_topic(&setup.topic, 1)?;
        let values = [
            r#"{"kind":"plain","text":"tab\there \"quoted\" back\\slash","half":0.5,"yes":true}"#,
            r#"{"kind":"unicode","text":"grün 😀 \ud83d\ude00 \u00e9","half":1}"#,
            r#"{"kind":"deep","n":{"deep":{"x":7,"y":"z"},"flat":1.25},"old":"renamed"}"#,
            r#"{"kind":"arrays","v":[1,2.5,3],"m":[[1,2],[3,4]],"mixed":[1,"a",null]}"#,
            r#"{"kind":"big","large":9223372036854775807,"exp":1.5e300,"tiny":-2.5E-3}"#,
            r#"{"kind":"nulls","text":null,"half":null,"secret":"hidden"}"#,
            r#"{"kind":"new\nline, comma = and space","text":"line\nbreak\r"}"#,
        ];
        let records = values.iter().enumerate().map(|(number, value)| {
            let record = Record::new(*value).key(format!("d-{number}")).partition(0);
            record.header("trace", format!("t{number}")).timestamp_ms(1_700_000_000_000)
        });
        bench.kafka.produce(&setup.topic, records)?;
        let installed = setup.install()?;
        let bridge = installed.start()?;
        installed.group(bench)?.wait_drained(&bridge, DRAIN)?;
        let table = &installed.setup.table;
        let count = format!("select count() from {table}");
        bench.questdb.wait_for(&count, |rows| rows == values.len() as i64, VISIBLE)?;
        for (at, condition) in [
            (0, "kind = 'plain' and text = 'tab\there \"quoted\" back\\slash' and half = 0.5"),
            (0, "yes = true and device = 'd-0' and trace_id = 't0'"),
            (1, "text = 'grün 😀 😀 é' and half = 1.0"),
            (2, "n_deep_x = 7 and n_deep_y = 'z' and n_flat = 1.25 and new = 'renamed'"),
            (3, "v[1] = 1.0 and v[2] = 2.5 and v[3] = 3.0 and m[2][1] = 3.0"),
            (3, "mixed = '[1,\"a\",null]'"),
            (4, "large = 9223372036854775807 and exp = 1.5e300 and tiny = -2.5e-3"),
            (5, "text = null and half = null and device = 'd-5'"),
            (6, "kind = 'new\nline, comma = and space' and text = 'line\nbreak\r'"),
            (6, "trace_id = 't6' and timestamp = '2023-11-14T22:13:20.000000Z'"),
        ] {
            let query = format!("select count() from {table} where at = {at} and {condition}");
            let found = bench.questdb.scalar_i64(&query)?;
            let row = bench.questdb.sql(&format!("select * from {table} where at = {at}"))?;
            ensure!(found == 1, "record {at} is not as {condition}: {row:?}");
        }
        let columns = e2e::columns_of(&bench.questdb, table)?;
        ensure!(columns.iter().all(|(name, _)| name != "secret" && name != "old"), "{columns:?}");
        bridge.stop_well(Duration::from_secs(20))
    });
}
