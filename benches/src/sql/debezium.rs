//! Debezium's JDBC sink in Kafka Connect: its records, its table, its configuration.
//!
//! Settings that are not said are defaults. It takes records that bring their schema, so it has a
//! topic of its own: the payload is the bridge's record.

use world::PostgreSql;

use super::TABLE;
use super::case::Work;
use crate::harness::scenario::Scenario;
use crate::harness::scenario::enveloped::Enveloped;

/// The statement that makes its table.
pub fn create_table(work: Work) -> String {
    let key = if work.has_key() { " PRIMARY KEY" } else { "" };
    format!(
        "CREATE TABLE {TABLE} (ts timestamp, sensor text, site text, temperature double precision, \
         humidity double precision, pressure double precision, seq bigint{key}, ok boolean)"
    )
}

/// The records.
pub fn scenario() -> Box<dyn Scenario> {
    Box::new(Enveloped)
}

/// The connector's properties.
pub fn connector(postgres: &PostgreSql, topic: &str, name: &str, work: Work) -> String {
    let mode = match work.has_key() {
        true => "insert.mode=upsert\nprimary.key.mode=record_value\nprimary.key.fields=seq",
        false => "insert.mode=insert\nprimary.key.mode=none",
    };
    format!(
        "name={name}
connector.class=io.debezium.connector.jdbc.JdbcSinkConnector
tasks.max=1
topics={topic}
connection.url=jdbc:postgresql://{}/postgres
connection.username=postgres
connection.password=postgres
{mode}
schema.evolution=none
collection.name.format={TABLE}
consumer.override.auto.offset.reset=earliest
",
        postgres.address(),
    )
}
