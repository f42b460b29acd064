//! Promise: a stream of changes ends in the right last state, in PostgreSQL, where deletions
//! delete, and in QuestDB, where they are rows that say so; with the bridge killed in between.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::{Bench, Bridge, Group, Installed, Load, PARTITIONS, Setup, pick, promise};
use world::{Connect, PostgreSql, Record};

const KEYS: u64 = 997;
const RECORDS_PER_SECOND: u64 = 10_000;
/// Until there is a moment with work under way.
const BUSY: Duration = Duration::from_secs(60);
/// What has piled up, through an unoptimised bridge.
const DRAIN: Duration = Duration::from_secs(120);
const ENDS: Duration = Duration::from_secs(30);
/// What the table of changes in QuestDB says of each row in the end.
const LAST: &str = "(select * from {table} latest on ts partition by id) where not deleted";

/// Some number, by another.
fn mixed(seq: u64) -> u64 {
    // The constants of splitmix64.
    let mut z = seq.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The key of a change, and whether it deletes: two of five do.
fn meant(seq: u64) -> (u64, bool) {
    let mixed = mixed(seq);
    (mixed % KEYS, (mixed >> 32) % 5 < 2)
}

/// A change as the connector of PostgreSQL writes it without schemas, a millisecond each.
fn event(seq: u64) -> Record {
    let (id, deletes) = meant(seq);
    let key = format!("{{\"id\":{id}}}");
    let (op, before, after) = match deletes {
        true => ("d", format!("{{\"id\":{id},\"seq\":null,\"word\":null}}"), "null".to_owned()),
        false => {
            let word = "x".repeat((mixed(seq) >> 40) as usize % 60);
            ("u", "null".to_owned(), format!("{{\"id\":{id},\"seq\":{seq},\"word\":\"{word}\"}}"))
        }
    };
    let source = format!(
        "{{\"version\":\"3.5.0.Final\",\"connector\":\"postgresql\",\"name\":\"shop\",\"ts_ms\":{},\
         \"snapshot\":\"false\",\"db\":\"shop\",\"schema\":\"public\",\"table\":\"orders\",\
         \"txId\":7,\"lsn\":{seq},\"xmin\":null}}",
        1_700_000_000_000 + seq
    );
    let json = format!(
        "{{\"before\":{before},\"after\":{after},\"source\":{source},\"transaction\":null,\
         \"op\":\"{op}\",\"ts_ms\":{seq}}}"
    );
    Record::new(json).key(key).partition((id % PARTITIONS as u64) as i32)
}

/// A pipeline of changes into PostgreSQL.
fn upserting(bench: &Bench, name: &str, topic: &str) -> Setup {
    let mut setup = Setup::bare(bench, name, PARTITIONS);
    topic.clone_into(&mut setup.topic);
    setup.pipeline = vec!["value = { format = \"debezium\" }".to_owned()];
    setup.sink = vec!["mode = \"upsert\"\nkey = [\"id\"]".to_owned()];
    setup
}

/// One into QuestDB.
fn adding(bench: &Bench, name: &str, topic: &str) -> Setup {
    let mut setup = Setup::bare(bench, name, PARTITIONS);
    topic.clone_into(&mut setup.topic);
    let value = "value = { format = \"debezium\", deleted = \"deleted\", source = [\"ts_ms\"] }";
    setup.pipeline = vec![value.to_owned()];
    setup.shape = vec![
        "timestamp = { field = \"source_ts_ms\", column = \"ts\" }".to_owned(),
        "columns = { id = \"long\" }".to_owned(),
        "upsert_keys = [\"ts\", \"id\"]".to_owned(),
    ];
    setup
}

/// A bridge that is killed from time to time.
struct Mortal {
    installed: Installed,
    bridge: Bridge,
    group: Group,
}

impl Mortal {
    fn start(bench: &Bench, setup: Setup) -> Result<Mortal> {
        let installed = setup.install()?;
        let group = installed.group(bench)?;
        Ok(Mortal { bridge: installed.start_ready()?, installed, group })
    }

    /// Kills it with records under way, and waits until it goes on.
    fn kill(&mut self) -> Result<()> {
        let before = self.bridge.wait(BUSY, "the group's offsets", || {
            ensure!(self.group.lag()? > 0, "nothing is under way");
            self.group.committed()
        })?;
        self.bridge.kill()?;
        self.bridge = self.installed.start()?;
        self.group.wait_progress(&self.bridge, before, BUSY).map(drop)
    }

    fn table(&self) -> &str {
        &self.installed.setup.table
    }

    /// Everything is read, and nothing was refused.
    fn end(&self) -> Result<()> {
        self.group.wait_drained(&self.bridge, DRAIN)?;
        let rejected = self.bridge.metrics()?.sum("bridge_records_rejected_total")?;
        ensure!(rejected.abs() < 0.5, "{rejected} records are rejected");
        self.bridge.stop_well(ENDS)
    }
}

#[test]
fn the_last_state_of_each_row_stands() {
    promise("changes end in the right last state", |bench| {
        let postgres = PostgreSql::start()?;
        let topic = bench.unique("changes");
        bench.kafka.create_topic(&topic, PARTITIONS)?;
        let sql = upserting(bench, "changed", &topic).into_postgres(&postgres.address());
        let mut sql = Mortal::start(bench, sql)?;
        let mut quest = Mortal::start(bench, adding(bench, "history", &topic))?;
        let load = Load::start(bench, &topic, RECORDS_PER_SECOND, event);
        for _ in 0..pick(2, 20) {
            sql.kill()?;
            quest.kill()?;
        }
        let count = load.finish(Duration::ZERO)?;
        sql.end()?;
        quest.end()?;
        let mut model = BTreeMap::new();
        for seq in 0..count {
            match meant(seq) {
                (id, true) => model.remove(&id),
                (id, false) => model.insert(id, seq),
            };
        }
        let expected: Vec<String> = model.iter().map(|(id, seq)| format!("{id}|{seq}")).collect();
        println!("{count} changes, {} of {KEYS} rows are there", expected.len());
        let seen = postgres.sql(&format!("SELECT id, seq FROM \"{}\" ORDER BY id", sql.table()))?;
        same("PostgreSQL", &seen, &expected)?;
        let found = sql.installed.command("check", &[])?;
        ensure!(found.stdout.contains("replaced and deleted by id"), "{found:?}");
        let rows = format!("select count() from {}", quest.table());
        bench.questdb.wait_for(&rows, |rows| rows == count as i64, DRAIN)?;
        same("QuestDB", &last(bench, quest.table(), "id, seq")?, &expected)
    });
}

/// The rows that are there in the end, as QuestDB has it.
fn last(bench: &Bench, table: &str, columns: &str) -> Result<Vec<String>> {
    let query = format!("select {columns} from {} order by id", LAST.replace("{table}", table));
    let rows = bench.questdb.sql(&query)?.rows.into_iter();
    let text = |value: serde_json::Value| match value {
        serde_json::Value::String(text) => text,
        other => other.to_string(),
    };
    Ok(rows.map(|row| row.into_iter().map(text).collect::<Vec<_>>().join("|")).collect())
}

#[track_caller]
fn same(of: &str, seen: &[String], expected: &[String]) -> Result<()> {
    let other = seen.iter().zip(expected).find(|(seen, expected)| seen != expected);
    ensure!(seen == expected, "{of}: {} rows of {}: {other:?}", seen.len(), expected.len());
    Ok(())
}

/// The settings of a source: what a connector reads are logical changes.
const SOURCE: &[&str] = &["wal_level=logical"];
const ORDERS: &str = "CREATE TABLE orders (id integer PRIMARY KEY, n bigint NOT NULL, name text, \
    price numeric(10,2), total numeric, at timestamp, paid timestamptz, due date, ok boolean, \
    note jsonb, tags text[], weights float8[])";
/// The worker's converters: values bring their schemas.
const WORKER: &str = "\
key.converter=org.apache.kafka.connect.json.JsonConverter
key.converter.schemas.enable=false
value.converter=org.apache.kafka.connect.json.JsonConverter
value.converter.schemas.enable=true";

fn connector(postgres: &PostgreSql, prefix: &str) -> Result<String> {
    let address = postgres.address();
    let (host, port) = address.split_once(':').context("an address has a port")?;
    Ok(format!(
        "connector.class=io.debezium.connector.postgresql.PostgresConnector
tasks.max=1
plugin.name=pgoutput
publication.autocreate.mode=filtered
database.hostname={host}
database.port={port}
database.user=postgres
database.password=postgres
database.dbname=postgres
topic.prefix={prefix}
table.include.list=public.orders
poll.interval.ms=50"
    ))
}

/// One transaction of many changes: rows come, change, go, and get other keys.
fn transaction(round: u64) -> String {
    let mut sql = String::new();
    for step in round * 100..round * 100 + 100 {
        let (chance, id) = (mixed(step), mixed(step) % 200);
        sql += &match (chance >> 32) % 10 {
            0 | 1 => format!("DELETE FROM orders WHERE id = {id};"),
            2 => format!(
                "UPDATE orders SET id = {to}, n = {step} WHERE id = {id} AND NOT EXISTS (SELECT 1 \
                 FROM orders WHERE id = {to});",
                to = (chance >> 40) % 200
            ),
            3 => format!("UPDATE orders SET n = {step}, name = NULL, note = NULL WHERE id = {id};"),
            _ => format!(
                "INSERT INTO orders VALUES ({id}, {step}, 'name \"{step}\" ü', {step} / 7.0, \
                 -{step} / 3.0, '2026-11-22 05:00:00.123456'::timestamp + {step} * interval '1 \
                 min', '2026-11-22 05:00:00.5+02', date '1969-12-30' + {id}, {step} % 2 = 0, \
                 '{{\"a\": [{step}, null]}}', ARRAY['x', 'y {step}'], ARRAY[{step} / 2.0, 0.5]) ON \
                 CONFLICT (id) DO UPDATE SET n = EXCLUDED.n, price = EXCLUDED.price, at = \
                 EXCLUDED.at, name = EXCLUDED.name;"
            ),
        };
    }
    sql
}

/// A table's rows as text: `at` has no zone in the source, and is at UTC. Zeros at the end of a
/// number are not sent where its column has no scale.
fn rows(postgres: &PostgreSql, table: &str, at: &str, due: &str) -> Result<Vec<String>> {
    postgres.sql(&format!(
        "SET extra_float_digits = 1; SELECT id, n, name, price, trim_scale(total), extract(epoch FROM {at}), \
         extract(epoch FROM paid), extract(epoch FROM {due}), ok, note::text, weights FROM {table} \
         ORDER BY id"
    ))
}

#[test]
fn what_debezium_writes_ends_in_the_same_table() {
    promise("a table and its copies are the same, by Debezium", |bench| {
        let postgres = PostgreSql::start_with(SOURCE)?;
        postgres.sql(ORDERS)?;
        for round in 0..3 {
            postgres.sql(&transaction(round))?;
        }
        let prefix = bench.unique("shop");
        let topic = format!("{prefix}.public.orders");
        bench.kafka.create_topic(&topic, PARTITIONS)?;
        let plugin = world::debezium_postgres_jars()?;
        let lines = connector(&postgres, &prefix)?;
        let connect = Connect::start(&bench.kafka.brokers(), &plugin, WORKER, &lines)?;
        let sql = upserting(bench, "copied", &topic).into_postgres(&postgres.address());
        let mut sql = Mortal::start(bench, sql)?;
        let mut quest = adding(bench, "copied_history", &topic);
        quest.shape.push("drop = [\"price\", \"total\"]".to_owned());
        let mut quest = Mortal::start(bench, quest)?;
        for round in 3..pick(20, 200) {
            postgres.sql(&transaction(round))?;
            if round % 8 == 5 {
                sql.bridge.kill()?;
                sql.bridge = sql.installed.start()?;
                quest.bridge.kill()?;
                quest.bridge = quest.installed.start()?;
            }
        }
        let expected = rows(&postgres, "orders", "at AT TIME ZONE 'UTC'", "due::timestamp")?;
        ensure!(expected.len() > 50, "{} rows are too few to tell", expected.len());
        let copied = format!("\"{}\"", sql.table());
        let is_same = || same("PostgreSQL", &rows(&postgres, &copied, "at", "due")?, &expected);
        sql.bridge
            .wait(DRAIN, "the copy to be the same", is_same)
            .with_context(|| format!("Connect said: {}", connect.log_tail()))?;
        let tags =
            "SELECT count(*) FROM {} WHERE tags::jsonb = to_jsonb(ARRAY['x', tags::jsonb->>1])";
        let tags = postgres.sql(&tags.replace("{}", &copied))?;
        ensure!(tags == [expected.len().to_string()], "{tags:?} of {}", expected.len());
        sql.end()?;
        quest.end()?;
        let expected = postgres.sql("SELECT id, n, ok FROM orders ORDER BY id")?;
        let expected: Vec<String> =
            expected.iter().map(|row| row.replace("|t", "|true").replace("|f", "|false")).collect();
        let is_same = || same("QuestDB", &last(bench, quest.table(), "id, n, ok")?, &expected);
        world::await_ok(DRAIN, "the history to end in the same", is_same)?;
        let history = format!("select count() from {}", quest.table());
        println!("{} rows, {} changes", expected.len(), bench.questdb.scalar_i64(&history)?);
        Ok(())
    });
}
