//! Promise: a dry run tells what a run would store, and leaves everything as it was: tables,
//! topics, the group's offsets and its members.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::{
    Answer, Band, Bench, Held, Installed, PARTITIONS, Reading, Setup, Transport, columns_of, held,
    promise, rows_are_exact,
};
use world::{Port, PostgreSql, Record};

const DRAIN: Duration = Duration::from_secs(60);
const ENDS: Duration = Duration::from_secs(30);
const VISIBLE: Duration = Duration::from_secs(30);

const COUNT: u64 = 2_000;
const BROKEN: u64 = 5;
/// Records would be rejected.
const REJECTED: i32 = 4;

fn dry(installed: &Installed, code: i32, more: &[&str]) -> Result<Answer> {
    let answer = installed.command("run", &[&["--dry-run"], more].concat())?;
    answer.ensure_code(code)?;
    ensure!(answer.stdout.ends_with("nothing was stored, nothing committed"), "{}", answer.stdout);
    Ok(answer)
}

/// The words of the lines of a subject.
fn said<'a>(answer: &'a Answer, subject: &str) -> Vec<&'a str> {
    let of = |line: &'a str| line.strip_prefix(subject).filter(|rest| rest.starts_with(' '));
    answer.stdout.lines().filter_map(of).map(str::trim).collect()
}

/// Readings of which some are broken: (rows that pass the filter, what is produced).
fn produce(bench: &Bench, topic: &str) -> Result<i64> {
    bench.kafka.produce(topic, (0..COUNT).map(|seq| Reading(seq).record(PARTITIONS)))?;
    let broken = (0..BROKEN).map(|seq| {
        let warm = "{\"ts\":\"yesterday\",\"temperature\":20.5,\"seq\":";
        Record::new(format!("{warm}{seq}}}")).partition((seq % 4) as i32)
    });
    bench.kafka.produce(topic, broken)?;
    Ok(Band::WARM.of_first(COUNT).0)
}

fn tables(bench: &Bench, table: &str) -> Result<i64> {
    let query = format!("select count() from tables() where table_name = '{table}'");
    bench.questdb.scalar_i64(&query)
}

#[test]
fn a_dry_run_leaves_everything_as_it_was() {
    promise("a dry run leaves everything as it was", |bench| {
        let installed = Setup::readings(bench, "dry", PARTITIONS)?
            .transform("drop_cold", "{ min_celsius = 15.0 }")
            .install()?;
        let Setup { topic, table, group, .. } = &installed.setup;
        let warm = produce(bench, topic)?;

        // Before the table, the group and the topic of dead letters are there.
        for _ in 0..2 {
            let answer = dry(&installed, REJECTED, &[])?;
            let cold = COUNT as i64 - warm;
            let records = format!("2,005 of 2,005 that wait: {cold} filtered, {BROKEN} rejected");
            ensure!(said(&answer, "records") == [records.as_str()], "{}", answer.stdout);
            ensure!(rows_told(&answer)? == warm, "{}", answer.stdout);
            let made = said(&answer, "would run");
            let create = format!("CREATE TABLE IF NOT EXISTS \"{table}\"");
            ensure!(made.len() == 1 && made[0].starts_with(&create), "{made:?}");
            ensure!(made[0].contains("\"ok\" BOOLEAN"), "{made:?}");
            ensure!(said(&answer, "rejected") == ["bad-timestamp  5"], "{}", answer.stdout);
            // Of whichever partitions came first.
            let places = answer.stdout.lines().filter_map(|line| {
                let place = line.trim_start().strip_prefix(topic)?.strip_prefix('/')?;
                place.split_once('@')?.0.parse::<i32>().ok()
            });
            ensure!(places.count() == 3, "{}", answer.stdout);
            ensure!(said(&answer, "such as").len() == 3, "{}", answer.stdout);
        }
        ensure!(tables(bench, table)? == 0, "the dry run made {table}");
        ensure!(bench.kafka.committed(group, topic)?.is_empty(), "the dry run committed");
        let letters = format!("{topic}.dead-letters");
        let made = bench.kafka.end_offsets(&letters);
        ensure!(made.is_err(), "the dry run made {letters}: {made:?}");

        // It told what a run does.
        let bridge = installed.start_ready()?;
        let watched = installed.group(bench)?;
        watched.wait_drained(&bridge, DRAIN)?;
        rows_are_exact(&bench.questdb, table, COUNT, Band::WARM, VISIBLE)?;

        // Beside it nobody joins, and nobody's partitions move.
        let members = watched.members()?;
        ensure!(members.len() == 1, "{members:?}");
        let answer = dry(&installed, 0, &[])?;
        let nothing = ["0 of 0 that wait: 0 filtered, 0 rejected"];
        ensure!(said(&answer, "records") == nothing, "{}", answer.stdout);
        ensure!(watched.members()? == members, "the group has other members");
        bridge.stop_well(ENDS)
    });
}

#[test]
fn a_dry_run_goes_on_where_the_group_would() {
    promise("a dry run goes on where the group would", |bench| {
        let installed = Setup::readings(bench, "ahead", PARTITIONS)?.install()?;
        let Setup { topic, table, .. } = &installed.setup;
        let records =
            |range: std::ops::Range<u64>| range.map(|seq| Reading(seq).record(PARTITIONS));
        bench.kafka.produce(topic, records(0..COUNT))?;
        let bridge = installed.start_ready()?;
        let group = installed.group(bench)?;
        group.wait_drained(&bridge, DRAIN)?;
        bridge.stop_well(ENDS)?;
        let committed = group.committed_each()?;

        // A column that the table lacks.
        let strange = (COUNT..COUNT + 400).map(|seq| {
            let text = Reading(seq).json().replacen('{', "{\"colour\":\"red\",", 1);
            Record::new(text).partition((seq % 4) as i32)
        });
        bench.kafka.produce(topic, strange)?;
        let columns = columns_of(&bench.questdb, table)?;
        let answer = dry(&installed, 0, &["--show", "1"])?;
        ensure!(rows_told(&answer)? == 400, "{}", answer.stdout);
        let alter = format!("ALTER TABLE \"{table}\" ADD COLUMN IF NOT EXISTS \"colour\" VARCHAR;");
        ensure!(said(&answer, "would run") == [alter.as_str()], "{}", answer.stdout);
        let shown = said(&answer, "such as");
        ensure!(shown.len() == 1 && shown[0].contains("colour=\"red\""), "{shown:?}");

        // As many from each partition; a run of `--from earliest` would read all.
        let answer = dry(&installed, 0, &["--records", "100"])?;
        let hundred = ["100 of 400 that wait: 0 filtered, 0 rejected"];
        ensure!(said(&answer, "records") == hundred, "{}", answer.stdout);
        let answer = dry(&installed, 0, &["--from", "earliest"])?;
        ensure!(rows_told(&answer)? == COUNT as i64 + 400, "{}", answer.stdout);

        ensure!(columns_of(&bench.questdb, table)? == columns, "the dry run altered {table}");
        ensure!(group.committed_each()? == committed, "the dry run committed");
        rows_are_exact(&bench.questdb, table, COUNT, Band::ALL, VISIBLE)
    });
}

#[test]
fn tables_of_postgresql_are_read_and_not_made() {
    promise("a dry run reads tables of PostgreSQL and makes none", |bench| {
        let postgres = PostgreSql::start()?;
        let installed = Setup::readings(bench, "dry_pg", PARTITIONS)?
            .into_postgres(&postgres.address())
            .install()?;
        let Setup { topic, table, .. } = &installed.setup;
        bench.kafka.produce(topic, (0..COUNT).map(|seq| Reading(seq).record(PARTITIONS)))?;
        let told = dry(&installed, 0, &[])?;
        ensure!(rows_told(&told)? == COUNT as i64, "{}", told.stdout);
        let made = said(&told, "would run");
        let create = format!("CREATE TABLE IF NOT EXISTS \"{table}\"");
        ensure!(made.len() == 1 && made[0].starts_with(&create), "{made:?}");
        let there = postgres.sql(&format!("SELECT to_regclass('{table}') IS NULL"))?;
        ensure!(there == ["t"], "the dry run made {table}");

        // The very bytes that it told of, from the table that the run made.
        let bridge = installed.start_ready()?;
        installed.group(bench)?.wait_drained(&bridge, DRAIN)?;
        bridge.stop_well(ENDS)?;
        ensure!(held(&postgres, table)? == Held::all(COUNT), "{:?}", held(&postgres, table)?);
        let again = dry(&installed, 0, &["--from", "earliest"])?;
        ensure!(
            again.stdout.contains(&format!("\n           {table}  2,000\n")),
            "{}",
            again.stdout
        );
        ensure!(said(&again, "rows") == said(&told, "rows"), "{}", again.stdout);
        ensure!(said(&again, "would run").is_empty(), "{}", again.stdout);

        // What the table's own type does not take.
        postgres.sql(&format!("ALTER TABLE {table} ALTER COLUMN pressure TYPE date USING NULL"))?;
        let refused = dry(&installed, REJECTED, &["--from", "earliest", "--records", "40"])?;
        ensure!(said(&refused, "rejected") == ["wrong-type  40"], "{}", refused.stdout);
        let rows = postgres.sql(&format!("SELECT count(*) FROM {table}"))?;
        ensure!(rows == [COUNT.to_string()], "the dry run stored: {rows:?}");
        Ok(())
    });
}

#[test]
fn a_door_that_is_shut_fails() {
    promise("a dry run fails where a door is shut", |bench| {
        let mut setup = Setup::readings(bench, "shut", 1)?.over(Transport::Http);
        setup.http_address = Port::free()?.address();
        let installed = setup.install()?;
        let answer = dry(&installed, 1, &[])?;
        ensure!(answer.stdout.contains("does not answer"), "{}", answer.stdout);
        ensure!(said(&answer, "records").is_empty(), "{}", answer.stdout);
        Ok(())
    });
}

/// Rows that the pipeline's sink would get.
fn rows_told(answer: &Answer) -> Result<i64> {
    let lines = said(answer, "rows");
    let number = lines.first().and_then(|line| line.split(' ').next()).context("no rows")?;
    Ok(number.replace(',', "").parse()?)
}
