//! Promise: a table of PostgreSQL that is declared is made and kept as declared: `bridge tables
//! plan` shows what differs, `apply` makes it so, `strict` starts with nothing else.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::{Bench, Held, Installed, PARTITIONS, Reading, Setup, held, promise};
use world::PostgreSql;

const DRAIN: Duration = Duration::from_secs(90);
const ENDS: Duration = Duration::from_secs(30);

/// Something differs.
const DIFFERENT: i32 = 3;

/// A pipeline of readings whose table is declared in full, its rows replaced by `seq`.
fn declared(bench: &Bench, postgres: &PostgreSql, name: &str, lines: &str) -> Result<Installed> {
    let mut setup = Setup::readings(bench, name, PARTITIONS)?;
    setup.shape = vec!["timestamp = { field = \"ts\", unit = \"us\" }".to_owned()];
    setup.sink = vec!["mode = \"upsert\"\nkey = [\"seq\"]".to_owned()];
    setup.limits.push(format!(
        "[tables.{}]\ncolumns = {{ temperature = \"double\", humidity = \"double\", pressure = \
         \"double\", seq = \"long\", ok = \"boolean\" }}\nsymbols = [\"sensor\", \"site\"]\n\
         timestamp = \"ts\"\n{lines}",
        setup.table
    ));
    setup.into_postgres(&postgres.address()).install()
}

#[test]
fn a_missing_table_is_made_as_declared() {
    promise("a missing table of PostgreSQL is made as declared", |bench| {
        let postgres = PostgreSql::start()?;
        let installed = declared(bench, &postgres, "declared", "strict = true")?;
        let plan = installed.planned(DIFFERENT)?;
        ensure!(plan["missing"] == true, "{plan}");
        let refused = installed.start()?;
        ensure!(!refused.process().wait_exit(ENDS)?.success(), "strict made something up");
        let explained = installed.command("explain", &[])?;
        ensure!(!explained.stdout.contains("partitioned by"), "{}", explained.stdout);
        let applied = installed.tables("apply", &[])?;
        applied.ensure_code(0)?;
        ensure!(applied.stdout.contains("ok      CREATE TABLE"), "{}", applied.stdout);
        let plan = installed.planned(0)?;
        ensure!(plan["statements"] == serde_json::json!([]), "{plan}");
        installed.command("check", &[])?.ensure_code(0)?;

        // Rows fit into what was made, once by their key; one with another column is rejected.
        const COUNT: u64 = 5_000;
        let records = (0..2 * COUNT).map(|seq| Reading(seq % COUNT).record(PARTITIONS));
        bench.kafka.produce(&installed.setup.topic, records)?;
        let stranger = Reading(COUNT).json().replacen('{', "{\"colour\":\"red\",", 1);
        bench.kafka.produce(&installed.setup.topic, [world::Record::new(stranger).partition(0)])?;
        let bridge = installed.start_ready()?;
        installed.group(bench)?.wait_drained(&bridge, DRAIN)?;
        let seen = held(&postgres, &installed.setup.table)?;
        ensure!(seen == Held::all(COUNT), "{seen:?}");
        let rejected = bridge.metrics()?.sum("bridge_records_rejected_total")?;
        ensure!((rejected - 1.0).abs() < 0.5, "{rejected} records are rejected");
        bridge.stop_well(ENDS)
    });
}

#[test]
fn a_table_that_differs_is_altered_or_told_of() {
    promise("a table of PostgreSQL that differs is altered or told of", |bench| {
        let postgres = PostgreSql::start()?;
        let installed = declared(bench, &postgres, "altered", "")?;
        let table = &installed.setup.table;
        postgres.sql(&format!(
            "CREATE TABLE {table} (ts timestamptz, seq bigint NOT NULL, temperature real, sensor \
             varchar(9), old smallint); INSERT INTO {table} VALUES (now(), 7, 1.5, 's-1', 3)"
        ))?;
        let plan = installed.planned(DIFFERENT)?;
        let said = plan["statements"].to_string();
        for part in ["ADD COLUMN IF NOT EXISTS \\\"site\\\" text", "ADD PRIMARY KEY"] {
            ensure!(said.contains(part), "{part}: {plan}");
        }
        let obstacles = plan["obstacles"].as_array().context("a list")?;
        ensure!(obstacles.len() == 1 && plan["beside"][0] == "old", "{plan}");
        let what = obstacles[0]["what"].to_string();
        ensure!(what.contains("temperature is real, declared is double precision"), "{plan}");

        // What is left is a person's to do.
        let applied = installed.tables("apply", &[])?;
        applied.ensure_code(DIFFERENT)?;
        ensure!(!applied.stdout.contains("failed"), "{}", applied.stdout);
        let checked = installed.command("check", &[])?;
        checked.ensure_code(0)?;
        ensure!(checked.stdout.contains("not as declared: 1 thing"), "{}", checked.stdout);
        let plan = installed.planned(DIFFERENT)?;
        ensure!(plan["statements"] == serde_json::json!([]), "{plan}");
        let way = plan["obstacles"][0]["way"].as_str().context("a way")?;
        postgres.sql(way.split(',').next().unwrap_or_default())?;
        installed.planned(0)?;
        let rows = postgres.sql(&format!("SELECT seq, temperature, sensor, old FROM {table}"))?;
        ensure!(rows == ["7|1.5|s-1|3"], "{rows:?}");
        Ok(())
    });
}
