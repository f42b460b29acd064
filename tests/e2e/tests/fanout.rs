//! Promise: every row is in all sinks, whatever is killed; what one of them refuses is in the
//! others.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::{Band, Load, PARTITIONS, Reading, Setup, dead_letters, pick, promise, rows_are_exact};
use serde_json::Value;
use world::PostgreSql;

const RECORDS_PER_SECOND: u64 = 5_000;
const BUSY: Duration = Duration::from_secs(60);
const DRAIN: Duration = Duration::from_secs(120);
const VISIBLE: Duration = Duration::from_secs(60);
/// PostgreSQL refuses the rows whose number leaves this of a thousand.
const REFUSED: i64 = 7;

/// The numbers in all files of a folder.
fn numbers_in_files(folder: &Path) -> Result<HashSet<i64>> {
    let mut seen = HashSet::new();
    for entry in std::fs::read_dir(folder).context("reading the folder of rows")? {
        let path = entry?.path();
        for line in std::fs::read_to_string(&path)?.lines() {
            let row: Value = serde_json::from_str(line)
                .with_context(|| format!("a line of {}: {line:?}", path.display()))?;
            seen.insert(row["seq"].as_i64().context("a row has no number")?);
        }
    }
    Ok(seen)
}

/// Every row also into files and into this PostgreSQL, which refuses some.
fn setup(bench: &e2e::Bench, postgres: &PostgreSql) -> Result<Setup> {
    let mut setup = Setup::readings(bench, "spread", PARTITIONS)?.upserting();
    let (table, address) = (&setup.table, postgres.address());
    postgres.sql(&format!(
        "CREATE TABLE {table} (seq bigint CHECK (seq % 1000 <> {REFUSED}), kafka_topic text, \
         kafka_partition integer, kafka_offset bigint, kafka_row integer, PRIMARY KEY \
         (kafka_topic, kafka_partition, kafka_offset, kafka_row))"
    ))?;
    setup.also = vec![
        "kind = \"file\"\npath = \"rows/{table}\"".to_owned(),
        format!(
            "kind = \"postgres\"\naddress = \"{address}\"\nmode = \"upsert\"\nkey = [\
             \"kafka_topic\", \"kafka_partition\", \"kafka_offset\", \"kafka_row\"]"
        ),
    ];
    setup.rejects = vec!["file = \"dead.jsonl\"".to_owned()];
    Ok(setup)
}

#[test]
fn every_row_is_in_all_sinks() {
    promise("every row is in all sinks", |bench| {
        let postgres = PostgreSql::start()?;
        let installed = setup(bench, &postgres)?.install()?;
        let (table, topic) = (&installed.setup.table, &installed.setup.topic);
        let checked = installed.command("check", &[])?;
        ensure!(checked.all.contains("(also-2)"), "{}", checked.all);
        let group = installed.group(bench)?;
        let mut bridge = installed.start_ready()?;
        let load =
            Load::start(bench, topic, RECORDS_PER_SECOND, |seq| Reading(seq).record(PARTITIONS));
        let mut committed = group.wait_progress(&bridge, 0, BUSY)?;
        for round in 0..pick(3, 20) {
            if round == 1 {
                // The others wait for it.
                postgres.kill()?;
                bridge.wait(BUSY, "words about the one that is away", || {
                    let (status, body) = bridge.get("/readyz")?;
                    ensure!(status == 503 && body.contains("postgres"), "{status} {body}");
                    Ok(())
                })?;
            }
            bridge.kill()?;
            if round == 1 {
                postgres.restart()?;
            }
            bridge = installed.start()?;
            committed = group.wait_progress(&bridge, committed, BUSY)?;
        }
        let count = load.finish(Duration::ZERO)?;
        group.wait_drained(&bridge, DRAIN)?;
        let metrics = bridge.metrics()?;
        let stored = metrics.sum("bridge_sink_rows_stored_total")?;
        ensure!(stored == metrics.sum("bridge_rows_stored_total")?, "{stored} by sinks");
        bridge.stop_well(Duration::from_secs(30))?;
        rows_are_exact(&bench.questdb, table, count, Band::ALL, VISIBLE)?;
        let all: HashSet<i64> = (0..count as i64).collect();
        let filed = numbers_in_files(&installed.folder().join("rows"))?;
        ensure!(filed == all, "{} of {count} numbers are in files", filed.len());
        let rows = postgres.sql(&format!("SELECT seq FROM {table}"))?;
        let held: HashSet<i64> = rows.iter().filter_map(|row| row.parse().ok()).collect();
        let refused: HashSet<i64> =
            all.iter().copied().filter(|seq| seq % 1_000 == REFUSED).collect();
        ensure!(held == &all - &refused, "{} of {count} are in PostgreSQL", held.len());
        ensure!(rows.len() == held.len(), "{} rows are double", rows.len() - held.len());
        let letters = dead_letters(&installed.folder().join("dead.jsonl"))?;
        let told = |letter: &Value| -> Option<i64> {
            let named = letter["detail"].as_str()?.starts_with("also-2, postgres ");
            let value: Value = serde_json::from_str(letter["value"].as_str()?).ok()?;
            value["seq"].as_i64().filter(|_| named)
        };
        let told: Option<HashSet<i64>> = letters.iter().map(told).collect();
        ensure!(told == Some(refused), "letters: {:?}", letters.first());
        println!("{count} records, {} letters", letters.len());
        Ok(())
    });
}
