//! The harness itself: its checks pass a table that is right, and none that is not.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::{Band, Bench, Group, Load, Metrics, Reading, promise, rows_are_exact, rows_are_there};

const SOON: Duration = Duration::from_secs(20);
/// How long a check of a wrong table may hope.
const BRIEF: Duration = Duration::from_millis(200);

/// Stores readings by text of the line protocol.
fn store(bench: &Bench, table: &str, readings: impl Iterator<Item = Reading>) -> Result<()> {
    let lines = readings.map(|reading| {
        let Reading(seq) = reading;
        let site = reading.site().replace([' ', ',', '='], "\u{0}");
        ensure!(!site.contains('\u{0}') || seq % 5 == 2 || seq % 5 == 3, "an unknown site");
        let site = match seq % 5 {
            2 => "new\\ york",
            3 => "a\\,b\\=c",
            _ => reading.site(),
        };
        Ok(format!(
            "{table},sensor={},site={site} temperature={},humidity={},pressure={},seq={seq}i,ok={} \
             {}000\n",
            reading.sensor(),
            reading.centi() as f64 / 100.0,
            (200 + seq % 600) as f64 / 10.0,
            (9_800 + seq % 500) as f64 / 10.0,
            if seq % 3 == 0 { "t" } else { "f" },
            reading.ts_us(),
        ))
    });
    let body = lines.collect::<Result<String>>()?;
    let address = bench.questdb.http_address();
    let mut stream = TcpStream::connect(&address)?;
    let length = body.len();
    write!(stream, "POST /write HTTP/1.1\r\nHost: {address}\r\nContent-Length: {length}\r\n\r\n")?;
    stream.write_all(body.as_bytes())?;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer)?;
    ensure!(answer.ends_with(b"204"), "{}", String::from_utf8_lossy(&answer));
    Ok(())
}

fn create(bench: &Bench, name: &str) -> Result<String> {
    let table = bench.unique(name);
    let columns = "(ts timestamp, sensor symbol, site symbol, temperature double, humidity double, \
                   pressure double, seq long, ok boolean) timestamp(ts) partition by day wal";
    bench.questdb.sql(&format!("create table {table} {columns}"))?;
    Ok(table)
}

#[test]
fn a_right_table_passes_and_no_other() {
    promise("a right table passes and no other", |bench| {
        let questdb = &bench.questdb;
        let table = create(bench, "right")?;
        let warm = || (0..3_000).map(Reading).filter(|reading| Band::WARM.holds(*reading));
        store(bench, &table, warm())?;
        rows_are_exact(questdb, &table, 3_000, Band::WARM, SOON)?;
        let exact = |count, band| rows_are_exact(questdb, &table, count, band, BRIEF);
        let there = |count, band| rows_are_there(questdb, &table, count, band, BRIEF);
        ensure!(exact(2_999, Band::WARM).is_err() || !Band::WARM.holds(Reading(2_999)));
        ensure!(there(3_100, Band::WARM).is_err(), "missing rows are not missed");
        ensure!(exact(3_000, Band::ALL).is_err(), "filtered rows are not missed");

        let first = warm().next().expect("some are warm");
        store(bench, &table, std::iter::once(first))?;
        let rows = warm().count() as i64 + 1;
        questdb.wait_for(&format!("select count() from {table}"), |n| n == rows, SOON)?;
        ensure!(there(3_000, Band::WARM)? == 1, "one row is double");
        ensure!(exact(3_000, Band::WARM).is_err(), "a double row is exact");
        for wrong in ["temperature = 99.0", "site = 'paris'", "sensor = null", "ok = not ok"] {
            let table = create(bench, "wrong")?;
            store(bench, &table, warm())?;
            rows_are_exact(questdb, &table, 3_000, Band::WARM, SOON)?;
            questdb.sql(&format!("update {table} set {wrong} where seq = {}", first.0))?;
            let seen = format!("select count() from {table} where seq = {} and {wrong}", first.0);
            if wrong != "ok = not ok" {
                questdb.wait_for(&seen, |n| n == 1, SOON)?;
            }
            world::await_ok(SOON, wrong, || {
                ensure!(rows_are_there(questdb, &table, 3_000, Band::WARM, BRIEF).is_err());
                Ok(())
            })?;
        }
        Ok(())
    });
}

#[test]
fn a_load_keeps_its_pace_and_a_group_its_lag() {
    promise("a load keeps its pace and a group its lag", |bench| {
        let topic = bench.unique("paced");
        bench.kafka.create_topic(&topic, 4)?;
        let load = Load::start(bench, &topic, 20_000, |seq| Reading(seq).record(4));
        let count = load.finish(Duration::from_secs(2))?;
        ensure!((30_000..60_000).contains(&count), "{count} records in 2 s at 20,000 a second");
        let group = Group::new(bench, "nobody", &topic, 4)?;
        ensure!(group.committed()? == 0 && group.lag()? == count as i64, "the lag is wrong");
        Ok(())
    });
}

#[test]
fn metrics_are_read_and_added_up() {
    let text = "# HELP a b\na{x=\"1\",reason=\"trap\"} 2\na{x=\"2\"} 3.5\n\nb 1e3\n";
    let metrics = Metrics::parse(text).expect("it is the format");
    assert_eq!(metrics.sum("a").expect("it is there"), 5.5);
    assert_eq!(metrics.sum_with("a", "reason=\"trap\"").expect("it is there"), 2.0);
    assert_eq!(metrics.sum("b").expect("it is there"), 1000.0);
    assert!(metrics.sum("c").is_err());
    assert!(Metrics::parse("a{x=\"1\" 2 three").is_err());
}

#[test]
fn a_reading_is_what_it_says() {
    for seq in [0, 1, 2, 123_456, 999_999] {
        let reading = Reading(seq);
        let value: serde_json::Value = serde_json::from_str(&reading.json()).expect("it is JSON");
        assert_eq!(value["seq"], seq);
        assert_eq!(value["ts"], reading.ts_us());
        assert_eq!(value["temperature"], reading.centi() as f64 / 100.0);
        assert_eq!(value["humidity"], (200 + seq % 600) as f64 / 10.0);
        assert_eq!(value["pressure"], (9_800 + seq % 500) as f64 / 10.0);
        assert_eq!(value["sensor"], reading.sensor());
        assert_eq!(value["site"], reading.site());
        assert_eq!(value["ok"], seq % 3 == 0);
    }
}
