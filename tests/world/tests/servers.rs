//! The servers for real: they start, hold data, and come back after being killed.
//! Needs java and mvn; the first run resolves the jars.

use std::time::{Duration, Instant};

use world::{Kafka, KafkaOptions, PostgreSql, QuestDb, Record, Registry, Schema};

const SOON: Duration = Duration::from_secs(60);

/// Says how long something took; shown with `--nocapture`.
fn timed<T>(what: &str, act: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let start = Instant::now();
    let outcome = act();
    println!("{what}: {:?}", start.elapsed());
    outcome
}

#[test]
fn kafka_keeps_records_over_a_kill() -> anyhow::Result<()> {
    let kafka = timed("Kafka start", Kafka::start)?;
    timed("create topic", || kafka.create_topic_with("t", 4, &[("retention.ms", "-1")]))?;
    let records = (0..1000_i32).map(|number| {
        Record::new(format!("value {number}"))
            .key(number.to_string())
            .partition(number % 4)
            .header("number", number.to_string())
            .timestamp_ms(1_700_000_000_000 + i64::from(number))
    });
    assert_eq!(timed("produce 1000", || kafka.produce("t", records))?, 1000);
    timed("Kafka restart", || kafka.restart())?;

    assert_eq!(kafka.end_offsets("t")?, [(0, 250), (1, 250), (2, 250), (3, 250)]);
    let messages = timed("read 1000", || kafka.read_all("t"))?;
    assert_eq!(messages.len(), 1000);
    for (index, message) in messages.iter().enumerate() {
        let number = (index % 250) * 4 + index / 250;
        assert_eq!(message.offset, (index % 250) as i64);
        assert_eq!(message.value, Some(format!("value {number}").into_bytes()));
        assert_eq!(message.key, Some(number.to_string().into_bytes()));
        assert_eq!(message.header("number"), Some(number.to_string()));
        assert_eq!(message.timestamp_ms, Some(1_700_000_000_000 + number as i64));
    }
    assert_eq!(kafka.committed("nobody", "t")?, []);
    kafka.delete_topic("t")?;
    timed("Kafka stop", || kafka.stop())
}

#[test]
fn kafka_is_frozen_and_proxied() -> anyhow::Result<()> {
    let kafka = Kafka::start_with(KafkaOptions { proxied: true, ..KafkaOptions::default() })?;
    kafka.create_topic("t", 1)?;
    kafka.produce_with("t", [Record::new("one")], &[])?;
    let through = kafka.proxied_brokers()?;
    kafka.produce_with("t", [Record::new("two")], &[("bootstrap.servers", &through)])?;
    assert!(kafka.proxy()?.counts().bytes_up > 0);
    kafka.pause()?;
    let limit = [("message.timeout.ms", "500")];
    assert!(kafka.produce_with("t", [Record::new("lost")], &limit).is_err());
    kafka.resume()?;
    kafka.produce("t", [Record::new("three")])?;
    assert!(kafka.end_offsets("t")?[0].1 >= 3);
    Ok(())
}

#[test]
fn questdb_keeps_rows_over_a_kill() -> anyhow::Result<()> {
    let questdb = timed("QuestDB start", QuestDb::start)?;
    questdb.sql("create table t (v varchar, ts timestamp) timestamp(ts) partition by day wal")?;
    let text = world::quote_sql("it's & done?");
    let insert = "insert into t select";
    questdb.sql(&format!("{insert} {text}, x::timestamp from long_sequence(1000)"))?;
    questdb.wait_for("select count() from t", |count| count == 1000, SOON)?;
    timed("QuestDB restart", || questdb.restart())?;
    let count = format!("select count() from t where v = {text}");
    assert_eq!(questdb.wait_for(&count, |count| count == 1000, SOON)?, 1000);

    let wrong = questdb.sql("select nothing from nowhere").expect_err("there is no such table");
    assert!(format!("{wrong:#}").contains("table does not exist"), "{wrong:#}");
    let rows = questdb.sql("select count() n, max(ts) last from t")?;
    assert_eq!(rows.columns, ["n", "last"]);
    std::net::TcpStream::connect(questdb.tcp_address())?;
    std::net::TcpStream::connect(questdb.pg_address())?;
    std::net::TcpStream::connect(questdb.metrics_address())?;
    questdb.pause()?;
    questdb.resume()?;
    assert_eq!(questdb.scalar_i64("select 42")?, 42);
    timed("QuestDB stop", || questdb.stop())
}

#[test]
fn postgresql_comes_back() -> anyhow::Result<()> {
    let postgresql = timed("PostgreSQL start", PostgreSql::start)?;
    timed("PostgreSQL restart", || postgresql.restart())?;
    std::net::TcpStream::connect(postgresql.address())?;
    assert!(postgresql.connection_string().contains(&postgresql.address()));
    postgresql.stop()
}

#[test]
fn the_registry_keeps_schemas() -> anyhow::Result<()> {
    let registry = timed("registry start", Registry::start)?;
    let text = r#"{"type":"record","name":"R","fields":[]}"#;
    let schema = Schema { kind: "AVRO", text, references: &[] };
    let id = timed("register", || registry.register("r-value", &schema))?;
    assert_eq!(registry.register("r-value", &schema)?, id, "the same has the same id");
    let wrong = Schema { text: "{", ..schema };
    assert!(registry.register("r-value", &wrong).is_err());
    registry.pause()?;
    registry.resume()?;
    registry.kill()
}
