//! Promise: what a person types, scripts and monitors is answered as documented: checks, mistakes,
//! signals, endpoints, where to start, the demo.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::{
    Answer, Band, Bench, Installed, Load, PARTITIONS, Reading, Setup, promise, rows_are_exact,
    rows_are_there,
};
use serde_json::Value;
use world::{Record, Signal};

const DRAIN: Duration = Duration::from_secs(90);
const VISIBLE: Duration = Duration::from_secs(30);
const ENDS: Duration = Duration::from_secs(30);

fn produce(bench: &Bench, setup: &Setup, seqs: std::ops::Range<u64>) -> Result<()> {
    let records = seqs.map(|seq| Reading(seq).record(setup.partitions));
    bench.kafka.produce(&setup.topic, records).map(drop)
}

/// The finding of `check --json` about a subject.
fn finding<'a>(answer: &'a Value, subject: &str) -> Result<&'a Value> {
    let findings = answer["pipelines"][0]["findings"].as_array().context("there are findings")?;
    let found = findings.iter().find(|finding| finding["subject"] == subject);
    found.with_context(|| format!("nothing is said about {subject}: {answer}"))
}

#[test]
fn check_says_what_is_well() {
    promise("check says what is well", |bench| {
        let setup = Setup::readings(bench, "checked", PARTITIONS)?.upserting();
        let setup = setup.transform("drop_cold", "{ min_celsius = 15.0 }");
        produce(bench, &setup, 0..100)?;
        let installed = setup.install()?;
        let words = installed.command("check", &[])?;
        words.ensure_code(0)?;
        for subject in ["kafka", "topic", "transform", "sink", "delivery"] {
            let line = words.stdout.lines().find(|line| line.starts_with(subject));
            let line = line.with_context(|| format!("no line about {subject}"))?;
            ensure!(subject == "delivery" || line.contains(" ok "), "{line}");
        }
        ensure!(words.stdout.contains("memory ceiling"), "no ceiling");
        ensure!(words.stdout.contains("9.3.4"), "no version of QuestDB");

        let answer = installed.command("check", &["--json"])?;
        answer.ensure_code(0)?;
        let answer: Value = serde_json::from_str(&answer.stdout).context("check --json")?;
        ensure!(answer["ok"] == true && answer["ceiling_bytes"].is_u64(), "{answer}");
        let note = |subject| finding(&answer, subject).map(|found| found["note"].to_string());
        ensure!(note("topic")?.contains("json (20 of 20 sampled decode)"), "{answer}");
        ensure!(note("transform")?.contains(" of 20 sampled"), "{answer}");
        for subject in ["kafka", "topic", "transform", "sink"] {
            ensure!(finding(&answer, subject)?["state"] == "ok", "{subject}: {answer}");
        }
        // Knocking leaves nothing behind.
        ensure!(
            e2e::columns_of(&bench.questdb, &installed.setup.table).is_err(),
            "a table is made"
        );
        ensure!(installed.group(bench)?.committed()? == 0, "something is committed");
        Ok(())
    });
}

#[test]
fn check_warns_of_a_table_without_keys() {
    promise("check warns of a table without keys", |bench| {
        let setup = Setup::readings(bench, "keyless", PARTITIONS)?;
        let columns = "(ts timestamp, seq long) timestamp(ts) partition by day wal";
        bench.questdb.sql(&format!("create table {} {columns}", setup.table))?;
        let answer = setup.install()?.command("check", &["--json"])?;
        answer.ensure_code(0)?;
        let answer: Value = serde_json::from_str(&answer.stdout).context("check --json")?;
        let table = finding(&answer, "table")?;
        ensure!(table["state"] == "warn", "{table}");
        let fix = table["fix"].as_str().unwrap_or_default();
        ensure!(fix.contains("DEDUP ENABLE UPSERT KEYS"), "{table}");
        Ok(())
    });
}

#[test]
fn check_says_what_fails() {
    promise("check says what fails", |bench| {
        let mut unreachable = Setup::readings(bench, "nobody", PARTITIONS)?;
        unreachable.http_address = world::Port::free()?.address();
        let answer = unreachable.install()?.command("check", &["--json"])?;
        answer.ensure_code(1)?;
        let answer: Value = serde_json::from_str(&answer.stdout).context("check --json")?;
        ensure!(answer["ok"] == false && finding(&answer, "sink")?["state"] == "fail", "{answer}");

        let missing = Setup::bare(bench, "no_topic", PARTITIONS).install()?;
        let words = missing.command("check", &[])?;
        words.ensure_code(1)?;
        let line = words.stdout.lines().find(|line| line.starts_with("topic"));
        ensure!(line.is_some_and(|line| line.contains(" fail ")), "{line:?}");

        let mut nobody = Setup::bare(bench, "no_broker", PARTITIONS);
        nobody.brokers = world::Port::free()?.address();
        let words = nobody.install()?.command("check", &[])?;
        words.ensure_code(1)?;
        let line = words.stdout.lines().find(|line| line.starts_with("kafka"));
        ensure!(line.is_some_and(|line| line.contains(" fail ")), "{line:?}");
        Ok(())
    });
}

#[test]
fn tcp_refuses_keys_that_cannot_prove() {
    promise("tcp refuses keys that cannot prove", |bench| {
        let setup = Setup::readings(bench, "unprovable", PARTITIONS)?.over(e2e::Transport::Tcp);
        let table = "(ts timestamp, sensor symbol, site symbol, temperature double, seq long)";
        let keys = "timestamp(ts) partition by day wal dedup upsert keys(ts, sensor)";
        bench.questdb.sql(&format!("create table {} {table} {keys}", setup.table))?;
        produce(bench, &setup, 0..100)?;
        let installed = setup.install()?;
        let checked = installed.command("check", &[])?;
        checked.ensure_code(1)?;
        ensure!(checked.stdout.contains("http"), "it does not name http as the way");
        let bridge = installed.start()?;
        let status = bridge.process().wait_exit(ENDS)?;
        ensure!(!status.success(), "it ran to its end with {status}");
        ensure!(bridge.process().tail().contains("http"), "it does not name http as the way");
        ensure!(installed.group(bench)?.committed()? == 0, "something is committed");
        Ok(())
    });
}

#[test]
fn explain_shows_bounds_and_hides_secrets() {
    promise("explain shows bounds and hides secrets", |bench| {
        let mut setup = Setup::bare(bench, "explained", PARTITIONS);
        setup.properties = vec!["\"sasl.password\" = \"swordfish\"".to_owned()];
        let installed = setup.install()?;
        let explained = installed.command("explain", &[])?;
        explained.ensure_code(0)?;
        for word in ["memory ceiling", "payload_bytes_max", "linger", &installed.setup.group] {
            ensure!(explained.stdout.contains(word), "no word of {word}");
        }
        ensure!(!explained.all.contains("swordfish"), "the password is shown");
        let ceiling = installed.memory_ceiling()?;
        ensure!(ceiling > 16 << 20 && ceiling < 2 << 30, "a ceiling of {ceiling} bytes");
        Ok(())
    });
}

#[test]
fn a_mistake_is_shown_where_it_stands() {
    promise("a mistake is shown where it stands", |bench| {
        let mut setup = Setup::bare(bench, "mistaken", PARTITIONS);
        setup.shape = vec!["timestmap = \"kafka\"".to_owned()];
        let installed = setup.install()?;
        for command in ["run", "check", "explain"] {
            let answer = installed.command(command, &[])?;
            answer.ensure_code(2)?;
            for words in ["timestmap", "did you mean `timestamp`?", "bridge.toml:"] {
                ensure!(answer.all.contains(words), "{command} does not say {words:?}");
            }
        }
        let absent = Answer::of(&["run", "/nowhere/bridge.toml"])?;
        absent.ensure_code(2)?;
        ensure!(absent.all.contains("/nowhere/bridge.toml"), "it does not name the file");
        let mut wrong = Setup::bare(bench, "mistaken", PARTITIONS);
        wrong.properties = vec!["\"no.such.property\" = 1".to_owned()];
        let answer = wrong.install()?.command("run", &[])?;
        ensure!(!answer.status.success(), "a wrong property of librdkafka was taken");
        ensure!(answer.all.contains("no.such.property"), "it does not name the property");
        Ok(())
    });
}

#[test]
fn components_and_schema_are_json() {
    promise("components and schema are JSON", |_| {
        let components = Answer::of(&["components", "--json"])?;
        components.ensure_code(0)?;
        let components: Value = serde_json::from_str(&components.stdout)?;
        for (room, kind) in [("sink", "questdb"), ("format", "json")] {
            let kinds = components[room]["kinds"].as_array().context("there are kinds")?;
            ensure!(kinds.iter().any(|known| known["name"] == kind), "there is no {kind}");
        }
        let schema = Answer::of(&["schema"])?;
        schema.ensure_code(0)?;
        let schema: Value = serde_json::from_str(&schema.stdout)?;
        ensure!(schema["properties"]["pipeline"].is_object(), "no pipelines in the schema");
        Answer::of(&["completions", "bash"])?.ensure_code(0)?;
        Answer::of(&["man"])?.ensure_code(0)
    });
}

#[test]
fn terminate_drains_and_commits() {
    promise("terminate drains and commits", |bench| {
        // Without upsert keys: what was stored and not committed would be there twice.
        let installed = Setup::readings(bench, "drained", PARTITIONS)?.install()?;
        let group = installed.group(bench)?;
        let load = Load::start(bench, &installed.setup.topic, 20_000, |seq| {
            Reading(seq).record(PARTITIONS)
        });
        for round in 0..3 {
            let before = group.committed()?;
            let bridge = installed.start()?;
            group.wait_progress(&bridge, before + 10_000, DRAIN)?;
            let start = Instant::now();
            bridge.stop_well(ENDS)?;
            println!("round {round}: drained in {:.2} s", start.elapsed().as_secs_f64());
        }
        let count = load.finish(Duration::ZERO)?;
        let bridge = installed.start()?;
        group.wait_drained(&bridge, DRAIN)?;
        bridge.stop_well(ENDS)?;
        rows_are_exact(&bench.questdb, &installed.setup.table, count, Band::ALL, VISIBLE)
    });
}

#[test]
fn a_second_signal_stops_at_once() {
    promise("a second signal stops at once", |bench| {
        let mut setup = Setup::readings(bench, "impatient", PARTITIONS)?;
        setup.limits = vec!["drain = \"60s\"".to_owned()];
        let installed = setup.install()?;
        let group = installed.group(bench)?;
        let bridge = installed.start_ready()?;
        produce(bench, &installed.setup, 0..1_000)?;
        group.wait_drained(&bridge, DRAIN)?;
        bench.questdb.pause()?;
        produce(bench, &installed.setup, 1_000..2_000)?;
        bridge.wait(DRAIN, "work under way", || {
            let under_way = bridge.metrics()?.sum("bridge_tickets_out")?;
            ensure!(under_way > 0.0, "nothing is under way");
            Ok(())
        })?;
        bridge.process().signal(Signal::Terminate)?;
        bridge.process().wait_for_line("stopping", Duration::from_secs(10))?;
        ensure!(bridge.process().exit_status()?.is_none(), "it did not wait for the rows");
        let start = Instant::now();
        let status = bridge.stop(Duration::from_secs(5))?;
        println!("ended {:.2} s after the second signal, {status}", start.elapsed().as_secs_f64());
        bench.questdb.resume()?;
        let bridge = installed.start()?;
        group.wait_drained(&bridge, DRAIN)?;
        rows_are_there(&bench.questdb, &installed.setup.table, 2_000, Band::ALL, VISIBLE)?;
        bridge.stop_well(ENDS)
    });
}

#[test]
fn a_drain_has_a_bound() {
    promise("a drain has a bound", |bench| {
        let mut setup = Setup::readings(bench, "bounded", PARTITIONS)?;
        setup.limits = vec!["drain = \"2s\"".to_owned()];
        let installed = setup.install()?;
        let group = installed.group(bench)?;
        let bridge = installed.start_ready()?;
        produce(bench, &installed.setup, 0..1_000)?;
        group.wait_drained(&bridge, DRAIN)?;
        bench.questdb.pause()?;
        produce(bench, &installed.setup, 1_000..2_000)?;
        bridge.wait(DRAIN, "work under way", || {
            let under_way = bridge.metrics()?.sum("bridge_tickets_out")?;
            ensure!(under_way > 0.0, "nothing is under way");
            Ok(())
        })?;
        let start = Instant::now();
        let status = bridge.stop(Duration::from_secs(10))?;
        println!("ended {:.2} s after SIGTERM, {status}", start.elapsed().as_secs_f64());
        ensure!(status.code() == Some(1), "what is left over is told by the status: {status}");
        bench.questdb.resume()?;
        let bridge = installed.start()?;
        group.wait_drained(&bridge, DRAIN)?;
        rows_are_there(&bench.questdb, &installed.setup.table, 2_000, Band::ALL, VISIBLE)?;
        bridge.stop_well(ENDS)
    });
}

#[test]
fn endpoints_answer() {
    promise("endpoints answer", |bench| {
        let installed = Setup::readings(bench, "watched", PARTITIONS)?.install()?;
        produce(bench, &installed.setup, 0..1_000)?;
        let bridge = installed.start_ready()?;
        installed.group(bench)?.wait_drained(&bridge, DRAIN)?;
        let (status, _) = bridge.get("/healthz")?;
        ensure!(status == 200, "/healthz: {status}");
        let (status, _) = bridge.get("/nothing")?;
        ensure!(status == 404, "/nothing: {status}");
        let metrics = bridge.metrics()?;
        for (name, value) in [
            ("bridge_records_in_total", 1_000.0),
            ("bridge_rows_stored_total", 1_000.0),
            ("bridge_records_filtered_total", 0.0),
            ("bridge_partitions", f64::from(PARTITIONS)),
            ("bridge_ready", 1.0),
            ("bridge_acked_seconds_count", 1_000.0),
        ] {
            ensure!(metrics.sum(name)? == value, "{name} is {}", metrics.sum(name)?);
        }
        // The database goes: ready no more, alive all the same, and it says so.
        bench.questdb.kill()?;
        produce(bench, &installed.setup, 1_000..1_100)?;
        bridge.wait(Duration::from_secs(20), "trouble at /readyz", || {
            let (status, body) = bridge.get("/readyz")?;
            ensure!(status == 503, "{status} {body}");
            Ok(())
        })?;
        ensure!(bridge.get("/healthz")?.0 == 200, "it is not alive");
        bench.questdb.restart()?;
        bridge.wait_ready(Duration::from_secs(20))?;
        rows_are_there(&bench.questdb, &installed.setup.table, 1_100, Band::ALL, VISIBLE)?;
        bridge.stop_well(ENDS)
    });
}

/// Runs until everything is done, gives the numbers that are in the table.
fn run_out(bench: &Bench, installed: &Installed, more: &[&str], rows: i64) -> Result<()> {
    let bridge = installed.start_with(more)?;
    installed.group(bench)?.wait_drained(&bridge, DRAIN)?;
    let query = format!("select count() from {}", installed.setup.table);
    bridge.wait(VISIBLE, &query, || {
        let seen = bench.questdb.scalar_i64(&query)?;
        ensure!(seen == rows, "{seen} rows, not {rows}");
        Ok(())
    })?;
    bridge.stop_well(ENDS)
}

#[test]
fn earliest_committed_and_from() {
    promise("earliest, committed and --from", |bench| {
        let mut setup = Setup::readings(bench, "positions", PARTITIONS)?;
        setup.pipeline = vec!["start = \"committed\"".to_owned()];
        produce(bench, &setup, 0..1_000)?;
        let refusing = setup.clone().install()?;
        let bridge = refusing.start()?;
        let status = bridge.process().wait_exit(ENDS)?;
        ensure!(!status.success(), "it ran without committed offsets");
        ensure!(bridge.process().tail().contains("committed"), "it does not say why");

        let mut early = setup.clone();
        early.pipeline = vec!["start = \"earliest\"".to_owned()];
        let early = early.install()?;
        run_out(bench, &early, &[], 1_000)?;
        // Committed offsets win over `start`, and are found by `committed`.
        produce(bench, &setup, 1_000..1_500)?;
        run_out(bench, &early, &[], 1_500)?;
        produce(bench, &setup, 1_500..2_000)?;
        run_out(bench, &refusing, &[], 2_000)?;
        // Once more from the beginning, this once only.
        let bridge = early.start_with(&["--from", "earliest"])?;
        let query = format!("select count() from {}", setup.table);
        bridge.wait(DRAIN, &query, || {
            let seen = bench.questdb.scalar_i64(&query)?;
            ensure!(seen == 4_000, "{seen} rows, not 4000");
            Ok(())
        })?;
        bridge.stop_well(ENDS)?;
        produce(bench, &setup, 2_000..2_100)?;
        run_out(bench, &early, &[], 4_100)
    });
}

#[test]
fn latest_begins_at_the_end() {
    promise("latest begins at the end", |bench| {
        let mut setup = Setup::readings(bench, "latest", PARTITIONS)?;
        setup.pipeline = vec!["start = \"latest\"".to_owned()];
        produce(bench, &setup, 0..1_000)?;
        let installed = setup.install()?;
        let bridge = installed.start()?;
        bridge.wait_assigned(PARTITIONS, ENDS)?;
        // Assigned is not yet positioned: one record in each partition must come through first.
        let query = format!("select count_distinct(sensor) from {}", installed.setup.table);
        let mut next = 1_000;
        bridge.wait(DRAIN, "a record of each partition", || {
            produce(bench, &installed.setup, next..next + 4)?;
            next += 4;
            let seen = bench.questdb.scalar_i64(&query)?;
            ensure!(seen >= 4, "{seen} sensors");
            Ok(())
        })?;
        installed.group(bench)?.wait_drained(&bridge, DRAIN)?;
        let query = format!("select count() from {} where seq < 1000", installed.setup.table);
        let old = bench.questdb.scalar_i64(&query)?;
        ensure!(old == 0, "{old} rows are older than the start");
        bridge.stop_well(ENDS)
    });
}

#[test]
fn a_regex_reads_every_topic_that_matches() {
    promise("a regex reads every topic that matches", |bench| {
        let setup = Setup::readings(bench, "family", 1)?;
        let other = format!("{}_other", setup.topic);
        bench.kafka.create_topic(&other, 1)?;
        bench.kafka.produce(&other, [Reading(1).record(1)])?;
        produce(bench, &setup, 0..1)?;
        let installed = setup.install()?;
        let topics = format!("topics = [\"{}\"]", installed.setup.topic);
        let regex = format!("topics_regex = \"{}.*\"", installed.setup.topic);
        let text = std::fs::read_to_string(&installed.file)?.replace(&topics, &regex);
        std::fs::write(&installed.file, text)?;
        let bridge = installed.start()?;
        let table = installed.setup.table.clone();
        let query = format!("select count() from {table}");
        bridge.wait(VISIBLE, &query, || {
            let seen = bench.questdb.scalar_i64(&query)?;
            ensure!(seen == 2, "{seen} rows, not 2");
            Ok(())
        })?;
        bridge.stop_well(ENDS)
    });
}

#[test]
fn an_empty_topic_is_no_trouble() {
    promise("an empty topic is no trouble", |bench| {
        let installed = Setup::readings(bench, "idle", PARTITIONS)?.install()?;
        let bridge = installed.start_ready()?;
        bridge.wait_assigned(PARTITIONS, ENDS)?;
        bench.kafka.produce(&installed.setup.topic, [Record::default().partition(0)])?;
        installed.group(bench)?.wait_drained(&bridge, DRAIN)?;
        let skipped = bridge.metrics()?.sum("bridge_records_skipped_total")?;
        ensure!(skipped == 1.0, "{skipped} null values are skipped");
        bridge.stop_well(ENDS)
    });
}
