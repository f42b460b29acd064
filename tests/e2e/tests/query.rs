//! Promise: a topic is read like a table, by seeks where that will do, and nobody notices.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::{Answer, Bench, PARTITIONS, Reading, Setup, program, promise};
use serde_json::Value;
use world::{Process, Record};

const DEADLINE: Duration = Duration::from_secs(60);
const FIRST_MS: i64 = 1_700_000_000_000;
const COUNT: u64 = 4_000;

fn query(bench: &Bench, topic: &str, more: &[&str]) -> Result<Answer> {
    let brokers = bench.kafka.brokers();
    let answer = Answer::of(&[&["query", topic, "--brokers", &brokers], more].concat())?;
    answer.ensure_code(0)?;
    Ok(answer)
}

/// The rows as JSON.
fn rows(bench: &Bench, topic: &str, more: &[&str]) -> Result<Vec<Value>> {
    let answer = query(bench, topic, &[more, &["--format", "json"]].concat())?;
    let lines = answer.stdout.lines();
    lines.map(|line| serde_json::from_str(line).context("a row")).collect()
}

fn seqs(rows: &[Value]) -> Vec<i64> {
    rows.iter().filter_map(|row| row["row"]["seq"].as_i64()).collect()
}

#[test]
fn a_topic_is_read_like_a_table() {
    promise("a topic is read like a table", |bench| {
        let Setup { topic, .. } = Setup::readings(bench, "query", PARTITIONS)?;
        let record = |seq: u64| {
            let record = Reading(seq).record(PARTITIONS).timestamp_ms(FIRST_MS + seq as i64);
            record.header("parity", if seq.is_multiple_of(2) { "even" } else { "odd" })
        };
        bench.kafka.produce(&topic, (0..COUNT).map(record))?;
        bench.kafka.produce(&topic, [Record::new("no JSON").partition(0)])?;
        let each = COUNT as i64 / i64::from(PARTITIONS);

        let place = "(partition = 0 and offset > 900) or (partition = 1 and offset > 300)";
        let found = rows(bench, &topic, &["--where", place])?;
        ensure!(found.len() as i64 == each - 901 + each - 301, "{} rows", found.len());
        let is_right = |row: &Value| match (row["partition"].as_i64(), row["offset"].as_i64()) {
            (Some(0), Some(offset)) => offset > 900,
            (Some(1), Some(offset)) => offset > 300,
            _ => false,
        };
        ensure!(found.iter().all(is_right), "{found:?}");
        ensure!(rows(bench, &topic, &["--where", place, "--limit", "60"])?.len() == 60, "a limit");
        let few = query(bench, &topic, &["--where", "partition = 2 and offset >= 990"])?;
        ensure!(
            few.all.contains("10 rows for which the condition is true, of 10 records"),
            "sought"
        );

        let odd = "header('parity') = 'odd' and seq < 100";
        let found = rows(bench, &topic, &["--where", odd])?;
        let mut seen = seqs(&found);
        seen.sort_unstable();
        ensure!(seen == (0..100).filter(|seq| seq % 2 == 1).collect::<Vec<_>>(), "{seen:?}");
        let answer = query(bench, &topic, &["--where", odd])?;
        ensure!(answer.all.contains("1 records were rejected; the first: "), "{}", answer.all);
        ensure!(answer.stdout.starts_with("partition  offset  timestamp"), "{}", answer.stdout);

        let time = "timestamp >= timestamp '2023-11-14T22:13:23.900Z'";
        let mut seen = seqs(&rows(bench, &topic, &["--where", time])?);
        seen.sort_unstable();
        ensure!(seen == (3_900..4_000).collect::<Vec<_>>(), "{seen:?}");
        // The broken one is newer than all.
        let newest = seqs(&rows(bench, &topic, &["--last", "20", "--until", "2023-11-15"])?);
        ensure!(newest == (3_980..4_000).collect::<Vec<_>>(), "{newest:?}");
        let latest = rows(bench, &topic, &["--latest-by", "site"])?;
        let mut sites: Vec<String> =
            latest.iter().map(|row| row["row"]["site"].to_string()).collect();
        sites.sort_unstable();
        sites.dedup();
        ensure!(sites.len() == latest.len() && sites.len() > 1, "{sites:?}");
        ensure!(seqs(&latest).iter().all(|seq| *seq >= 4_000 - 100), "{latest:?}");

        let columns = ["--columns", "seq,partition", "--format", "csv", "--where", "seq < 3"];
        let csv = query(bench, &topic, &columns)?;
        let mut lines: Vec<&str> = csv.stdout.lines().collect();
        lines[1..].sort_unstable();
        ensure!(lines == ["seq,partition", "0,0", "1,1", "2,2"], "{lines:?}");
        let lines = query(bench, &topic, &["--format", "lines", "--where", "seq = 7"])?;
        ensure!(lines.stdout.starts_with(&format!("{topic} ")), "{}", lines.stdout);

        let wrong = ["query", &topic, "--brokers", &bench.kafka.brokers(), "--where", "seq >"];
        let wrong = Answer::of(&wrong)?;
        wrong.ensure_code(1)?;
        ensure!(wrong.all.contains("the expression ends"), "{}", wrong.all);
        Ok(())
    });
}

#[test]
fn what_is_written_is_followed() {
    promise("a query follows what is written", |bench| {
        let Setup { topic, .. } = Setup::readings(bench, "follow", PARTITIONS)?;
        bench.kafka.produce(&topic, (0..100).map(|seq| Reading(seq).record(PARTITIONS)))?;
        let brokers = bench.kafka.brokers();
        let arguments = ["query", &topic, "--brokers", &brokers, "--follow", "--format", "json"];
        let condition = ["--where", "seq >= 98"];
        let all = arguments.iter().chain(&condition).copied();
        let process = Process::spawn(program()?, all, [])?;
        process.wait_for_line("\"seq\":99", DEADLINE)?;
        bench.kafka.produce(&topic, (100..110).map(|seq| Reading(seq).record(PARTITIONS)))?;
        process.wait_for_line("\"seq\":109", DEADLINE)?;
        process.kill()?;
        Ok(())
    });
}
