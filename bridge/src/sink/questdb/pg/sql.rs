//! SQL on a connection of its own, with the answers as `/exec` gives them.

use std::sync::Arc;

use serde_json::Value;
use tokio::sync::Mutex;

use super::fate::is_trouble;
use super::link::{Door, Failure, Link, Table};
use crate::sink::questdb::server::{Broken, ExecError, Rows, Settings};
use crate::sink::questdb::words::is_unreadable;

/// A connection that is opened when it is wanted.
pub struct Sql {
    door: Arc<Door>,
    link: Mutex<Option<Link>>,
}

impl Sql {
    /// Connects to nothing.
    pub fn new(door: Arc<Door>) -> Sql {
        Sql { door, link: Mutex::new(None) }
    }

    /// Runs one statement. Tries once more where a kept connection turned out to be closed.
    pub async fn exec(&self, statement: &str) -> Result<Rows, ExecError> {
        let mut kept = self.link.lock().await;
        let current = self.door.server.current();
        if let Some(mut link) = kept.take().filter(|link| link.endpoint == current) {
            match link.query(statement).await {
                Ok(table) => {
                    *kept = Some(link);
                    return Ok(rows(table));
                }
                Err(Failure::Lost(_)) => {}
                Err(failure) => return Err(told(failure)),
            }
        }
        let attempt = async {
            let mut link = self.door.open().await?;
            let table = link.query(statement).await?;
            Ok((link, table))
        };
        match attempt.await {
            Ok((link, table)) => {
                *kept = Some(link);
                Ok(rows(table))
            }
            Err(failure) => {
                if matches!(failure, Failure::Lost(_)) {
                    self.door.server.fail_over(current);
                }
                Err(told(failure))
            }
        }
    }

    /// What the server says of itself.
    pub async fn settings(&self) -> Result<Settings, Broken> {
        let link = self.door.open().await;
        let link = link.map_err(|failure| Broken(failure.words().to_owned()))?;
        Ok(Settings { version: link.version.clone(), protocol: super::super::NEWEST })
    }

    /// Index of the address that the last answer came from.
    pub async fn endpoint(&self) -> Option<usize> {
        self.link.lock().await.as_ref().map(|link| link.endpoint)
    }
}

fn told(failure: Failure) -> ExecError {
    match failure {
        Failure::Denied(words) => ExecError::Denied(words),
        Failure::Said(words) if is_trouble(&words) || is_unreadable(&words) => {
            ExecError::Away(words)
        }
        Failure::Said(words) | Failure::Row(_, words) => ExecError::Refused(words),
        Failure::Lost(words) => ExecError::Away(words),
    }
}

fn rows(table: Table) -> Rows {
    let Table { columns, rows } = table;
    let types: Vec<u32> = columns.iter().map(|(_, oid)| *oid).collect();
    let cell = |(text, oid): (Option<String>, &u32)| text.map_or(Value::Null, |t| value(t, *oid));
    let row = |row: Vec<Option<String>>| row.into_iter().zip(&types).map(cell).collect();
    Rows {
        columns: columns.into_iter().map(|(name, _)| name).collect(),
        rows: rows.into_iter().map(row).collect(),
    }
}

/// A value by its type's number in `pg_type.dat`; what is neither a boolean nor whole is text.
fn value(text: String, oid: u32) -> Value {
    match (oid, text.as_str()) {
        (16, "t") => Value::Bool(true),
        (16, "f") => Value::Bool(false),
        (20 | 21 | 23, digits) => digits.parse::<i64>().map_or(Value::Null, Value::from),
        _ => Value::String(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_what_exec_says() {
        assert_eq!(value("t".into(), 16), Value::Bool(true));
        assert_eq!(value("7".into(), 20), Value::from(7));
        assert_eq!(value("7".into(), 1043), Value::from("7"));
        let table = Table {
            columns: vec![("a".into(), 23), ("b".into(), 1043)],
            rows: vec![vec![Some("1".into()), None]],
        };
        let expected = Rows {
            columns: vec!["a".into(), "b".into()],
            rows: vec![vec![Value::from(1), Value::Null]],
        };
        assert_eq!(rows(table), expected);
    }
}
