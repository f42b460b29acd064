//! Why a table is suspended: it takes writes, which nobody can read until it is resumed. The
//! reason stands in `wal_tables()` alone, which reads the disk.

use serde_json::Value;

use super::server::{ExecError, SqlClient, quote};

/// What is said of a suspended table whose reason nobody knows.
pub const NO_REASON: &str = "no reason given";

/// The reason, where the table is suspended.
pub async fn reason(sql: &SqlClient, table: &str) -> Result<Option<String>, ExecError> {
    let about = format!(
        "SELECT suspended, errorTag, errorMessage FROM wal_tables() WHERE lower(name) = {}",
        quote(&table.to_lowercase())
    );
    let about = sql.exec(&about).await?;
    let Some([Value::Bool(true), why @ ..]) = about.rows.first().map(Vec::as_slice) else {
        return Ok(None);
    };
    let words: Vec<&str> = why.iter().filter_map(Value::as_str).filter(|w| !w.is_empty()).collect();
    Ok(Some(if words.is_empty() { NO_REASON.into() } else { words.join(" ") }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::questdb::fake::Fake;

    #[tokio::test]
    async fn only_a_suspended_table_has_a_reason() {
        let fake = Fake::start().await;
        let sql = fake.sql();
        assert_eq!(reason(&sql, "t").await.expect("an answer"), None);
        fake.table("t", 7, false);
        assert_eq!(reason(&sql, "t").await.expect("an answer"), None);
        fake.table("t", 7, true);
        let why = reason(&sql, "T").await.expect("an answer");
        assert_eq!(why.as_deref(), Some("DISK FULL no space"));
    }
}
