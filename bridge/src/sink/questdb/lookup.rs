//! Finds a table, also one that a killed server left with columns of two versions: nobody reads it
//! until its log is gone through again (`docs/questdb.md`).

use super::ddl::quoted;
use super::line::name_fault;
use super::server::{ExecError, Rows, SqlClient, quote};
use super::table::Table;

/// What a server says of a table that is not there.
const NOT_THERE: &str = "table does not exist";

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
        Err(ExecError::Refused(why)) if said(&why).starts_with(NOT_THERE) => Ok(None),
        // It is listed: whatever keeps it from being read is no record's fault.
        Err(ExecError::Refused(why)) => Err(ExecError::Away(why)),
        Err(error) => Err(error),
    }
}

/// Whether a refusal to read is one that passes: a table's files are being repaired. Any other may
/// be of the name, and names come out of records.
fn is_of_files(words: &str) -> bool {
    let of_files = ["File is too small", "could not", "metadata version does not match"];
    of_files.iter().any(|part| said(words).starts_with(part))
}

/// Has the server go through the table's log, at whose opening it mends what it was killed in. One
/// that somebody suspended is theirs to resume.
async fn wake(sql: &SqlClient, name: &str) -> Result<&'static str, ExecError> {
    let about = format!(
        "SELECT suspended FROM wal_tables() WHERE lower(name) = {}",
        quote(&name.to_lowercase())
    );
    let rows = sql.exec(&about).await?.rows;
    let suspended = rows.first().and_then(|row| row.first()?.as_bool());
    if suspended == Some(true) {
        return Ok("is suspended");
    }
    match sql.exec(&format!("ALTER TABLE {} RESUME WAL", quoted(name))).await {
        // One without a log, or that is not for us to resume.
        Err(ExecError::Refused(_) | ExecError::Denied(_)) => Ok("has no log that may be resumed"),
        answer => answer.map(|_| "was asked to resume its log"),
    }
}

/// Whether these words are those of a server whose files of a table contradict each other: it reads
/// them again for a second, then gives up.
pub fn is_unreadable(words: &str) -> bool {
    ["Metadata", "Transaction"].iter().any(|what| {
        said(words).strip_prefix(what).is_some_and(|rest| rest.starts_with(" read timeout [src="))
    })
}

/// Without the number that some errors have before their words.
fn said(words: &str) -> &str {
    match words.strip_prefix('[').and_then(|rest| rest.split_once("]: ")) {
        Some((number, said)) if number.bytes().all(|b| b.is_ascii_digit()) => said,
        _ => words,
    }
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
        let (host, port) = fake.address.split_once(':').expect("an address");
        let sql = SqlClient::at(host, port.parse().expect("a port"));
        let Err(ExecError::Away(why)) = find(&sql, name).await else { panic!("it was read") };
        let done = if suspended { "is suspended" } else { "was asked to resume" };
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
        let (host, port) = fake.address.split_once(':').expect("an address");
        let sql = SqlClient::at(host, port.parse().expect("a port"));
        assert!(find(&sql, "t").await.expect("an answer").is_none());
        assert!(find(&sql, "~").await.expect("an answer").is_none());
        let queries = fake.state.lock().expect("whole").queries.clone();
        assert!(!queries.iter().any(|query| query.contains("\"~\"")), "{queries:?}");
    }

    #[test]
    fn words_that_were_heard() {
        assert!(is_unreadable("Metadata read timeout [src=reader, timeout=1000ms]"));
        let from = "[2]: Metadata read timeout [src=writer, timeout=1000ms, err=Metadata read";
        assert!(is_unreadable(from));
        assert!(!is_unreadable("table does not exist [table=Metadata read timeout [src=]"));
        assert!(is_of_files("[0]: File is too small, size=0, required=128"));
        assert!(is_of_files("[2]: could not open, file does not exist: /db/t~6/_meta]"));
        assert!(!is_of_files("table does not exist [table=could not]"));
        assert!(!is_unreadable("[x]: Metadata read timeout [src=reader]"));
    }
}
