//! Promise: what `bridge tables plan` shows is what differs, `apply` makes it so, and nothing that
//! is in a table is lost by it; `strict` starts with nothing else.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::{Band, Bench, PARTITIONS, Reading, Setup, promise, rows_are_exact};

const DRAIN: Duration = Duration::from_secs(90);
const VISIBLE: Duration = Duration::from_secs(30);
const ENDS: Duration = Duration::from_secs(30);

/// Something differs.
const DIFFERENT: i32 = 3;

/// A pipeline of readings whose table is declared in full.
fn declared(bench: &Bench, name: &str, lines: &str) -> Result<Setup> {
    let mut setup = Setup::readings(bench, name, PARTITIONS)?;
    setup.shape = vec!["timestamp = { field = \"ts\", unit = \"us\" }".to_owned()];
    setup.limits.push(format!(
        "[tables.{}]\ncolumns = {{ temperature = \"double\", humidity = \"double\", pressure = \
         \"double\", seq = \"long\", ok = \"boolean\" }}\nsymbols = [\"sensor\", \"site\"]\n\
         timestamp = \"ts\"\n{lines}",
        setup.table
    ));
    Ok(setup)
}

#[test]
fn a_missing_table_is_made_as_declared() {
    promise("a missing table is made as declared", |bench| {
        let lines = "partition_by = \"HOUR\"\nttl = \"3 WEEKS\"\n\
                     upsert_keys = [\"ts\", \"sensor\"]\nstrict = true";
        let installed = declared(bench, "declared", lines)?.install()?;
        let plan = installed.planned(DIFFERENT)?;
        ensure!(plan["missing"] == true, "{plan}");
        let refused = installed.start()?;
        ensure!(!refused.process().wait_exit(ENDS)?.success(), "strict made something up");
        let applied = installed.tables("apply", &[])?;
        applied.ensure_code(0)?;
        ensure!(applied.stdout.contains("ok      CREATE TABLE"), "{}", applied.stdout);
        let plan = installed.planned(0)?;
        ensure!(plan["statements"] == serde_json::json!([]), "{plan}");
        installed.command("check", &[])?.ensure_code(0)?;

        // Rows fit into what was made; one with another column is rejected.
        let count = 5_000;
        let records = (0..count).map(|seq| Reading(seq).record(PARTITIONS));
        bench.kafka.produce(&installed.setup.topic, records)?;
        let stranger = Reading(count).json().replacen('{', "{\"colour\":\"red\",", 1);
        bench.kafka.produce(&installed.setup.topic, [world::Record::new(stranger).partition(0)])?;
        let bridge = installed.start_ready()?;
        installed.group(bench)?.wait_drained(&bridge, DRAIN)?;
        let table = &installed.setup.table;
        rows_are_exact(&bench.questdb, table, count, Band::ALL, VISIBLE)?;
        let rejected = bridge.metrics()?.sum("bridge_records_rejected_total")?;
        ensure!((rejected - 1.0).abs() < 0.5, "{rejected} records are rejected");
        bridge.stop_well(ENDS)
    });
}

#[test]
fn a_table_that_differs_is_altered_without_loss() {
    promise("a table that differs is altered without loss", |bench| {
        let lines = "partition_by = \"DAY\"\nttl = \"30 DAYS\"\nupsert_keys = [\"ts\", \"sensor\"]";
        let installed = declared(bench, "altered", lines)?.install()?;
        let table = &installed.setup.table;
        let columns = "(ts timestamp, seq int, temperature float, sensor varchar, site string, \
                       old short, ok varchar)";
        let sql = |statement: String| bench.questdb.sql(&statement).context(statement);
        sql(format!("create table {table} {columns} timestamp(ts) partition by day wal"))?;
        let values = "values ('2023-11-14T22:00:00Z', 7, 1.5, 's-1', 'köln', 3, 'yes')";
        sql(format!("insert into {table} {values}"))?;
        sql(format!("select wait_wal_table('{table}')"))?;

        let plan = installed.planned(DIFFERENT)?;
        let said = plan["statements"].to_string();
        for part in ["ADD COLUMN IF NOT EXISTS", "TYPE LONG", "TYPE DOUBLE", "TYPE SYMBOL"] {
            ensure!(said.contains(part), "{part}: {plan}");
        }
        ensure!(said.contains("SET TTL 30 DAYS") && said.contains("UPSERT KEYS"), "{plan}");
        let obstacles = plan["obstacles"].as_array().context("a list")?;
        ensure!(obstacles.len() == 1 && plan["beside"][0] == "old", "{plan}");
        ensure!(obstacles[0]["what"].to_string().contains("column ok is VARCHAR"), "{plan}");
        let checked = installed.command("check", &[])?;
        checked.ensure_code(0)?;
        ensure!(checked.stdout.contains("not as declared"), "check does not tell");

        // One thing is left that no statement does without loss.
        let applied = installed.tables("apply", &[])?;
        applied.ensure_code(DIFFERENT)?;
        ensure!(!applied.stdout.contains("failed"), "{}", applied.stdout);
        let plan = installed.planned(DIFFERENT)?;
        ensure!(plan["statements"] == serde_json::json!([]), "{plan}");
        let way = plan["obstacles"][0]["way"].as_str().context("a way")?;
        sql(way.split(';').next().unwrap_or_default().to_owned())?;
        sql(format!("select wait_wal_table('{table}')"))?;
        installed.planned(0)?;

        let held = bench
            .questdb
            .sql(&format!("select seq, temperature, sensor, site, old from {table}"))?;
        let expected = serde_json::json!([[7, 1.5, "s-1", "köln", 3]]);
        ensure!(serde_json::json!(held.rows) == expected, "{:?}", held.rows);
        sql(format!("drop table {table}"))?;
        Ok(())
    });
}

#[test]
fn what_cannot_be_altered_is_said() {
    promise("what cannot be altered is said", |bench| {
        let lines = "partition_by = \"DAY\"\nstrict = true";
        let installed = declared(bench, "obstinate", lines)?.install()?;
        let table = &installed.setup.table;
        let columns = "(at timestamp, seq long) timestamp(at) partition by hour wal";
        bench.questdb.sql(&format!("create table {table} {columns}"))?;
        let script = installed.tables("plan", &[])?;
        script.ensure_code(DIFFERENT)?;
        for what in ["designated timestamp is at, declared is ts", "partitioned by HOUR"] {
            ensure!(script.stdout.contains(what), "{}", script.stdout);
        }
        installed.command("check", &[])?.ensure_code(1)?;
        installed.tables("apply", &[])?.ensure_code(DIFFERENT)?;
        let refused = installed.start()?;
        ensure!(!refused.process().wait_exit(ENDS)?.success(), "strict took another table");
        ensure!(refused.process().tail().contains("not as declared"), "it does not say why");
        Ok(())
    });
}
