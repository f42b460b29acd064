//! `delivery = "exactly-once"`: what it asks of a pipeline's configuration, and of tables. A replay
//! writes each row over itself if the table's upsert keys tell all rows apart and every part of
//! them is the same at the second try.

use super::ddl::{self, quoted};
use super::options::{Ack, QuestDbPlan, Transport};
use super::sink::ask_for_position;
use super::table::Table;
use crate::kind::Unable;
use crate::shape::{ColumnType, Shape, Timestamp};

/// Gives a shape its keys: those of the user, or the record's position and the timestamp.
pub fn prepare(plan: &QuestDbPlan, shape: &mut Shape) -> Result<(), Unable> {
    if plan.transport == Transport::Tcp && plan.ack == Ack::None {
        let message = "with `ack = \"none\"` rows can be lost, and \"exactly-once\" loses none";
        return Err(Unable::new("sink.ack", message, "ack = \"verify\""));
    }
    if shape.timestamp == Timestamp::Server {
        let message =
            "by the server's clock a replay is another row, and \"exactly-once\" has none";
        let help = "timestamp = { field = \"...\" }, or \"kafka\"";
        return Err(Unable::new("table.timestamp", message, help));
    }
    if shape.create.upsert_keys.is_empty() {
        let position = ask_for_position(&mut shape.metadata);
        shape.create.upsert_keys = vec![shape.timestamp_column.clone()];
        shape.create.upsert_keys.extend(position);
    } else if plan.verifies() {
        let position = ask_for_position(&mut shape.metadata);
        let keys = &shape.create.upsert_keys;
        let is_key = |name: &String| keys.iter().any(|key| key.eq_ignore_ascii_case(name));
        let lacking: Vec<String> = position.into_iter().filter(|name| !is_key(name)).collect();
        if !lacking.is_empty() {
            let message = format!(
                "over tcp rows are counted back, and those that replace each other cannot be: the \
                 keys lack {}",
                lacking.join(", ")
            );
            let help = "transport = \"http\", whose answers are proof, or these keys as well";
            return Err(Unable::new("table.upsert_keys", message, help));
        }
    }
    Ok(())
}

/// What a table lacks for a replay to leave nothing behind, and the statements that cure it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lack {
    /// What is wrong.
    pub note: String,
    /// What to run, a statement a line.
    pub fix: String,
}

/// Whether replays leave nothing behind in a table. More keys than are needed do no harm: a row
/// that is made again has the same values in all of its columns.
pub fn lack(shape: &Shape, table: &Table) -> Option<Lack> {
    let (shape, name) = (shape.of(&table.name), quoted(&table.name));
    if !table.wal {
        return Some(Lack {
            note: "is not a WAL table, and only these have upsert keys".to_owned(),
            fix: format!("ALTER TABLE {name} SET TYPE WAL; then restart QuestDB"),
        });
    }
    let Some((timestamp, _)) = &table.timestamp else {
        let note = "has no designated timestamp, and so no upsert keys".to_owned();
        let fix = format!("rename it, then: {}", ddl::create(shape, &table.name, &[]));
        return Some(Lack { note, fix });
    };
    let needed = needed(shape, timestamp);
    let is_key =
        |needed: &&String| table.upsert_keys.iter().any(|k| k.eq_ignore_ascii_case(needed));
    let lacking: Vec<&str> = needed.iter().filter(|n| !is_key(n)).map(String::as_str).collect();
    if lacking.is_empty() {
        return None;
    }
    let note = match table.upsert_keys.is_empty() {
        true => "has no upsert keys: a replay would store rows twice".to_owned(),
        false => format!(
            "its upsert keys ({}) lack {}: rows that are not the same would replace each other",
            table.upsert_keys.join(", "),
            lacking.join(", ")
        ),
    };
    let mut fix = Vec::new();
    for column in needed.iter().filter(|name| !table.columns.contains_key(&name.to_lowercase())) {
        let own = ddl::own_columns(shape).into_iter().find(|own| own.name == *column);
        let kind = own.map_or(ColumnType::Varchar, |own| own.kind);
        let wanted = super::Wanted { name: column.clone(), kind };
        fix.push(format!("{};", ddl::add_column(&table.name, &wanted)));
    }
    fix.push(format!("{};", ddl::enable_upserts(&table.name, &needed)));
    if !table.upsert_keys.is_empty() {
        let keys: Vec<String> = table.upsert_keys.iter().map(|key| format!("{key:?}")).collect();
        let keys = keys.join(", ");
        fix.push(format!("or, where these never repeat: upsert_keys = [{keys}] of the table"));
    }
    Some(Lack { note, fix: fix.join("\n") })
}

/// The keys that a table must have: the shape's, by the table's own name of the timestamp.
fn needed(shape: &Shape, timestamp: &str) -> Vec<String> {
    let own = |key: &String| match key.eq_ignore_ascii_case(&shape.timestamp_column) {
        true => timestamp.to_owned(),
        false => key.clone(),
    };
    shape.create.upsert_keys.iter().map(own).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::config::Section;

    fn plan(options: &str) -> QuestDbPlan {
        QuestDbPlan::parse(&Section::new("sink", options.parse().expect("TOML"))).expect("a plan")
    }

    fn shape(keys: &[&str]) -> Shape {
        let mut shape = Shape { timestamp_column: "ts".into(), ..Shape::plain("t") };
        shape.create.upsert_keys = keys.iter().map(|key| (*key).to_owned()).collect();
        shape
    }

    const POSITION: &str = "ts kafka_topic kafka_partition kafka_offset kafka_row";

    #[test]
    fn keys_are_the_users_or_the_position() {
        let check = |options: &str, keys: &[&str], expected: &str, has_position: bool| {
            let mut shape = shape(keys);
            prepare(&plan(options), &mut shape).expect("it can");
            assert_eq!(shape.create.upsert_keys.join(" "), expected);
            assert_eq!(shape.metadata.offset.is_some(), has_position, "{options} {keys:?}");
        };
        let tcp = "transport = \"tcp\"";
        check("", &[], POSITION, true);
        check(tcp, &[], POSITION, true);
        check("", &["source", "ts"], "source ts", false);
        let all: Vec<&str> = POSITION.split(' ').collect();
        check(tcp, &all, POSITION, true);
    }

    #[test]
    fn what_cannot_be_is_refused_at_its_key() {
        let check = |options: &str, shape: &mut Shape, key: &str| {
            let unable = prepare(&plan(options), shape).expect_err("it cannot");
            assert_eq!(unable.key, key, "{unable:?}");
        };
        check("transport = \"tcp\"\nack = \"none\"", &mut shape(&[]), "sink.ack");
        check("transport = \"tcp\"", &mut shape(&["source", "ts"]), "table.upsert_keys");
        let mut clock = Shape { timestamp: Timestamp::Server, ..shape(&[]) };
        check("", &mut clock, "table.timestamp");
    }

    fn table(wal: bool, columns: &[(&str, bool)]) -> Table {
        Table {
            name: "t".into(),
            id: 1,
            timestamp: Some(("time".to_owned(), ColumnType::Timestamp)),
            columns: columns
                .iter()
                .map(|(name, _)| ((*name).to_owned(), ColumnType::Long))
                .collect::<HashMap<_, _>>(),
            upsert_keys: columns.iter().filter(|c| c.1).map(|c| c.0.to_owned()).collect(),
            wal,
        }
    }

    #[test]
    fn a_table_has_the_keys_or_the_statement_is_said() {
        let check = |keys: &[&str], wal: bool, columns: &[(&str, bool)], fix: Option<&str>| {
            let mut shape = shape(keys);
            prepare(&plan(""), &mut shape).expect("it can");
            let lack = lack(&shape, &table(wal, columns));
            assert_eq!(lack.as_ref().map(|lack| lack.fix.as_str()), fix, "{lack:?}");
        };
        let own = ["source", "ts"];
        // The timestamp goes by the table's own name.
        check(&own, true, &[("time", true), ("source", true)], None);
        check(&own, true, &[("time", true), ("source", true), ("site", true)], None);
        check(
            &own,
            false,
            &[("time", true), ("source", true)],
            Some("ALTER TABLE \"t\" SET TYPE WAL; then restart QuestDB"),
        );
        check(
            &own,
            true,
            &[("time", false), ("source", false)],
            Some("ALTER TABLE \"t\" DEDUP ENABLE UPSERT KEYS(\"source\", \"time\");"),
        );
        check(
            &[],
            true,
            &[("time", true), ("kafka_topic", true), ("kafka_row", false)],
            Some(
                "ALTER TABLE \"t\" ADD COLUMN IF NOT EXISTS \"kafka_partition\" INT;\n\
             ALTER TABLE \"t\" ADD COLUMN IF NOT EXISTS \"kafka_offset\" LONG;\n\
             ALTER TABLE \"t\" DEDUP ENABLE UPSERT KEYS(\"time\", \"kafka_topic\", \
             \"kafka_partition\", \"kafka_offset\", \"kafka_row\");\n\
             or, where these never repeat: upsert_keys = [\"time\", \"kafka_topic\"] of the table",
            ),
        );
    }
}
