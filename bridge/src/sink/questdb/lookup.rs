//! Finds a table, also one that a killed server left with columns of two versions: nobody reads it
//! until its log is gone through again (`docs/questdb.md`).

use super::ddl::quoted;
use super::line::name_fault;
use super::server::{ExecError, Rows, SqlClient, quote};
use super::suspension;
use super::table::Table;
use super::words::{is_not_there, is_of_files, is_unreadable};

/// A table, and what the server said of its columns.
pub struct Found {
    /// As rows are written for it.
    pub table: Table,
    /// The columns, in their order.
    pub columns: Rows,
}

/// What the server has under a name. One that cannot be read is woken, and away until it is awake.
pub async fn find(sql: &SqlClient, name: &str) -> Result<Option<Found>, ExecError> {
    match read(sql, name).await {
        Err(ExecError::Away(why)) if is_unreadable(&why) => {
            let done = wake(sql, name).await?;
            Err(ExecError::Away(format!("{why}; {name} {done}")))
        }
        found => found,
    }
}

async fn read(sql: &SqlClient, name: &str) -> Result<Option<Found>, ExecError> {
    let mut about = sql.exec(&Table::about(name)).await?;
    if about.rows.is_empty() {
        // No table has such a name; some of them make the server stumble when they are asked for.
        if name_fault(name, false).is_some() {
            return Ok(None);
        }
        // What could not be read at a server's start is there without being listed.
        match sql.exec(&format!("SELECT * FROM {} LIMIT 0", quoted(name))).await {
            Err(ExecError::Refused(why)) if is_of_files(&why) => return Err(ExecError::Away(why)),
            Err(ExecError::Refused(_)) => return Ok(None),
            answer => answer?,
        };
        match sql.exec(&format!("SELECT hydrate_table_metadata({})", quote(name))).await {
            // A view, a server that does not know this function, or does not let us.
            Err(ExecError::Refused(_) | ExecError::Denied(_)) => return Ok(None),
            answer => answer?,
        };
        about = sql.exec(&Table::about(name)).await?;
    }
    let Some(about) = about.rows.first() else { return Ok(None) };
    match sql.exec(&Table::columns_of(about)).await {
        Ok(columns) => Ok(Some(Found { table: Table::read(about, &columns), columns })),
        Err(ExecError::Refused(why)) if is_not_there(&why) => Ok(None),
        // It is listed: whatever keeps it from being read is no record's fault.
        Err(ExecError::Refused(why)) => Err(ExecError::Away(why)),
        Err(error) => Err(error),
    }
}

/// Has the server go through the table's log, at whose opening it mends what it was killed in. One
/// that somebody suspended is theirs to resume.
async fn wake(sql: &SqlClient, name: &str) -> Result<String, ExecError> {
    if let Some(why) = suspension::reason(sql, name).await? {
        return Ok(format!("is suspended: {why}"));
    }
    let done = match sql.exec(&format!("ALTER TABLE {} RESUME WAL", quoted(name))).await {
        // One without a log, or that is not for us to resume.
        Err(ExecError::Refused(_) | ExecError::Denied(_)) => "has no log that may be resumed",
        answer => answer.map(|_| "was asked to resume its log")?,
    };
    Ok(done.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::questdb::fake::Fake;

    /// A table `t` on a server that was killed, looked up as `name`.
    async fn find_after_a_kill(listed: bool, suspended: bool, name: &str) -> (Fake, SqlClient) {
        let fake = Fake::start().await;
        fake.table("t", 7, suspended);
        {
            let mut state = fake.state.lock().expect("whole");
            (state.unreadable, state.unlisted) = (true, !listed);
        }
        let sql = fake.sql();
        let Err(ExecError::Away(why)) = find(&sql, name).await else { panic!("it was read") };
        let done = if suspended { "is suspended: DISK FULL" } else { "was asked to resume" };
        assert!(why.contains(done) && why.contains("Metadata read timeout"), "{why}");
        (fake, sql)
    }

    #[tokio::test]
    async fn a_table_that_cannot_be_read_is_woken() {
        for listed in [true, false] {
            let (_fake, sql) = find_after_a_kill(listed, false, "T").await;
            let found = find(&sql, "T").await.expect("an answer").expect("a table");
            assert_eq!((found.table.id, found.columns.rows.len()), (7, 1), "listed: {listed}");
        }
    }

    #[tokio::test]
    async fn one_that_somebody_suspended_is_left_so() {
        let (fake, _sql) = find_after_a_kill(true, true, "t").await;
        let queries = fake.state.lock().expect("whole").queries.clone();
        assert!(!queries.iter().any(|query| query.contains("resume")), "{queries:?}");
    }

    #[tokio::test]
    async fn none_is_none() {
        let fake = Fake::start().await;
        let sql = fake.sql();
        assert!(find(&sql, "t").await.expect("an answer").is_none());
        assert!(find(&sql, "~").await.expect("an answer").is_none());
        let queries = fake.state.lock().expect("whole").queries.clone();
        assert!(!queries.iter().any(|query| query.contains("\"~\"")), "{queries:?}");
    }
}
