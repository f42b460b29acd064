//! Watches the tables that couriers write to: their ids (a 204 after DROP and CREATE lies),
//! whether they are suspended (a suspended table still says 204), how far apply lags behind.
//!
//! One task polls `tables()`: at once when somebody waits for a poll, else once a second. A poll
//! has a number; whoever needs one that *began* after a certain moment takes a mark then, and
//! waits for a poll with a higher number.

use std::collections::{BTreeSet, HashMap};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::{Notify, watch};

use super::server::{ExecError, Rows, SqlClient, quote};
use super::suspension;
use crate::blame::Fault;
use crate::sink::retry::{Backoff, Closed, Trouble};

/// Polls under load are this far apart: the server answers one in a millisecond or two.
const PAUSE: Duration = Duration::from_millis(40);
/// Polls while nobody waits.
const IDLE: Duration = Duration::from_secs(1);
/// An answer that is later is told of, long before the request's time is up: a server that froze.
const LATE: Duration = Duration::from_secs(2);
/// Names that are asked for; with more, all tables are (the server's limit is the length of a
/// request's head, 64 KiB).
const NAMES_BYTES_MAX: usize = 8 << 10;
/// The keeper among those who may find the sink away.
pub const KEEPER: usize = usize::MAX;

/// A table as last seen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TableState {
    /// Changes when the table is dropped and made again.
    pub id: i64,
    /// Rows that were written but not applied yet.
    pub lag_rows: u64,
    /// The last transaction of its write-ahead log.
    pub written: i64,
    /// The last of them that queries can see.
    pub applied: i64,
    /// Why nothing may be written to it just now.
    pub closed: Option<Arc<str>>,
}

/// The answer to one poll.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    /// Its number; 0 before the first.
    pub number: u64,
    /// The server's address that answered.
    pub endpoint: usize,
    /// The server refuses who we are: nobody needs to wait any longer.
    pub fault: Option<Fault>,
    tables: HashMap<String, TableState>,
}

impl Tables {
    /// A table by name, in any case: so the server finds it too.
    pub fn get(&self, table: &str) -> Option<&TableState> {
        self.tables.get(&table.to_lowercase())
    }
}

/// What couriers and the keeper share.
#[derive(Debug)]
pub struct Watched {
    begun: AtomicU64,
    wanted: Notify,
    names: Mutex<BTreeSet<String>>,
    state: watch::Sender<Arc<Tables>>,
}

impl Default for Watched {
    fn default() -> Watched {
        Watched {
            begun: AtomicU64::new(0),
            wanted: Notify::new(),
            names: Mutex::default(),
            state: watch::Sender::new(Arc::default()),
        }
    }
}

impl Watched {
    /// Asks for a poll that begins after now: its number is above the mark.
    pub fn mark(&self) -> u64 {
        let mark = self.begun.load(Ordering::SeqCst);
        self.wanted.notify_one();
        mark
    }

    /// Polls as they come.
    pub fn subscribe(&self) -> watch::Receiver<Arc<Tables>> {
        self.state.subscribe()
    }

    /// Adds a table to those that are asked for.
    pub fn meet(&self, table: &str) {
        self.names.lock().expect("no one panics with it").insert(table.to_lowercase());
    }

    /// The state after a poll that began after now. Waits for as long as the server is away.
    pub async fn fresh(&self) -> Arc<Tables> {
        let mut state = self.subscribe();
        let mark = self.mark();
        match state.wait_for(|tables| tables.number > mark).await {
            Ok(tables) => Arc::clone(&tables),
            Err(_) => unreachable!("the sender is borrowed for as long as this waits"),
        }
    }

    /// Waits until a table may be written to.
    pub async fn open(&self, table: &str) {
        let mut state = self.subscribe();
        let is_open = |tables: &Arc<Tables>| tables.get(table).is_none_or(|t| t.closed.is_none());
        let _ = state.wait_for(is_open).await;
    }

    /// Whether nothing may be written to a table just now.
    pub fn is_closed(&self, table: &str) -> bool {
        self.state.borrow().get(table).is_some_and(|state| state.closed.is_some())
    }

    #[cfg(test)]
    pub fn publish(&self, tables: Tables) {
        self.state.send_replace(Arc::new(tables));
    }
}

/// The bounds beyond which a table is closed until it has fallen to half of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LagMax {
    /// Rows written but not applied.
    pub rows: u64,
    /// The same in transactions.
    pub transactions: u64,
}

/// The task that polls.
pub struct Keeper {
    watched: Arc<Watched>,
    trouble: Arc<Trouble>,
    sql: SqlClient,
    lag_max: LagMax,
    /// Servers before 9.2 have the lag in `wal_tables()` only.
    old: bool,
}

impl Keeper {
    /// A keeper that has not connected yet.
    pub fn new(
        sql: SqlClient,
        watched: Arc<Watched>,
        trouble: Arc<Trouble>,
        lag_max: LagMax,
    ) -> Keeper {
        Keeper { watched, trouble, sql, lag_max, old: false }
    }

    /// Polls until `stop` turns true.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) -> Result<(), Fault> {
        let mut backoff = Backoff::default();
        loop {
            let turn = self.turn(&mut backoff);
            tokio::select! {
                // An error means that whoever could stop us is gone.
                _ = stop.wait_for(|stop| *stop) => return Ok(()),
                done = turn => done?,
            }
        }
    }

    async fn turn(&mut self, backoff: &mut Backoff) -> Result<(), Fault> {
        match self.poll_aloud().await {
            Ok(()) => {
                self.trouble.back(KEEPER);
                backoff.reset();
                tokio::time::sleep(PAUSE).await;
                let wanted = self.watched.wanted.notified();
                let _ = tokio::time::timeout(IDLE, wanted).await;
                Ok(())
            }
            Err(ExecError::Denied(why)) => {
                let fault = Some(denied(&why));
                let last = Tables { number: u64::MAX, fault, ..Tables::default() };
                self.watched.state.send_replace(Arc::new(last));
                Err(denied(&why))
            }
            Err(error) => {
                self.trouble.away(KEEPER, &error.to_string());
                tokio::time::sleep(backoff.next_wait()).await;
                Ok(())
            }
        }
    }

    /// Says so while the answer is late.
    async fn poll_aloud(&mut self) -> Result<(), ExecError> {
        let trouble = Arc::clone(&self.trouble);
        let mut poll = pin!(self.poll());
        if let Ok(done) = tokio::time::timeout(LATE, &mut poll).await {
            return done;
        }
        trouble.away(KEEPER, &format!("no answer for {} s", LATE.as_secs()));
        poll.await
    }

    async fn poll(&mut self) -> Result<(), ExecError> {
        let number = self.watched.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let filter = self.filter();
        let rows = match self.sql.exec(&statement(self.old, &filter)).await {
            Err(ExecError::Refused(why)) if !self.old => {
                tracing::debug!("tables() of this server has no lag ({why}); asking wal_tables()");
                self.old = true;
                self.sql.exec(&statement(true, &filter)).await?
            }
            answer => answer?,
        };
        let endpoint = self.sql.endpoint().await.unwrap_or_default();
        let before = Arc::clone(&self.watched.state.borrow());
        let mut tables = read(&rows, &before, self.lag_max);
        tables.number = number;
        tables.endpoint = endpoint;
        self.explain(&mut tables, &before).await;
        let closed = |(name, state): (&String, &TableState)| {
            let (table, why) = (Arc::from(name.as_str()), state.closed.as_ref()?.to_string());
            let is_slow = !why.contains(SUSPENDED);
            Some(Closed { table, why, is_slow })
        };
        self.trouble.tables(tables.tables.iter().filter_map(closed).collect());
        self.watched.state.send_replace(Arc::new(tables));
        Ok(())
    }

    fn filter(&self) -> String {
        let names = self.watched.names.lock().expect("no one panics with it");
        let length: usize = names.iter().map(|name| name.len() + 3).sum();
        if names.is_empty() || length > NAMES_BYTES_MAX {
            return String::new();
        }
        let quoted: Vec<String> = names.iter().map(|name| quote(name)).collect();
        format!(" WHERE lower(table_name) IN ({})", quoted.join(","))
    }

    /// Why a table is suspended is asked once: the answer is read from the disk.
    async fn explain(&self, tables: &mut Tables, before: &Tables) {
        for (name, state) in &mut tables.tables {
            let Some(closed) = &state.closed else { continue };
            let known = before.tables.get(name).and_then(|state| state.closed.as_ref());
            if known.is_some_and(|known| known.starts_with(&**closed)) {
                state.closed = known.cloned();
                continue;
            }
            if !closed.contains(SUSPENDED) {
                continue;
            }
            let why = suspension::reason(&self.sql, name).await.unwrap_or_default();
            let why = why.as_deref().unwrap_or(suspension::NO_REASON);
            state.closed =
                Some(format!("{closed}: {why}; fix: ALTER TABLE '{name}' RESUME WAL").into());
        }
    }
}

/// What stands in the words about a suspended table.
const SUSPENDED: &str = "is suspended";

/// The server refuses who we are.
pub fn denied(why: &str) -> Fault {
    Fault::operator(format!("questdb refuses the bridge ({why})")).hint(
        "set `username` and `password` (or `password_file`), or `token` (or `token_file`), of the sink",
    )
}

fn statement(old: bool, filter: &str) -> String {
    if old {
        return format!(
            "SELECT table_name, id, w.suspended, w.sequencerTxn, w.writerTxn, 0 rows \
             FROM (tables(){filter}) t LEFT JOIN wal_tables() w ON t.table_name = w.name"
        );
    }
    format!(
        "SELECT table_name, id, table_suspended, wal_txn, table_txn, wal_pending_row_count \
         FROM tables(){filter}"
    )
}

/// Reads a poll's rows; what is closed by its lag stays so until the lag is half the bound.
fn read(rows: &Rows, before: &Tables, max: LagMax) -> Tables {
    let mut tables = HashMap::with_capacity(rows.rows.len());
    for row in &rows.rows {
        let (Some(name), Some(id)) =
            (row.first().and_then(Value::as_str), row.get(1).and_then(Value::as_i64))
        else {
            continue;
        };
        let number = |index: usize| row.get(index).and_then(Value::as_i64).unwrap_or(0);
        let (written, applied) = (number(3), number(4));
        let transactions = u64::try_from(written.saturating_sub(applied)).unwrap_or(0);
        let lag_rows = u64::try_from(number(5)).unwrap_or(0);
        let key = name.to_lowercase();
        let was_closed = before.tables.get(&key).is_some_and(|state| state.closed.is_some());
        let share = if was_closed { 2 } else { 1 };
        let closed = if row.get(2).and_then(Value::as_bool) == Some(true) {
            Some(format!("table {name} {SUSPENDED}"))
        } else if lag_rows > max.rows / share || transactions > max.transactions / share {
            Some(format!("table {name} applies more slowly than it is written"))
        } else {
            None
        };
        let closed = closed.map(Arc::from);
        tables.insert(key, TableState { id, lag_rows, written, applied, closed });
    }
    Tables { tables, ..Tables::default() }
}

#[cfg(test)]
impl Tables {
    /// A poll as a test wants it.
    pub fn of(number: u64, tables: &[(&str, i64, Option<&str>)]) -> Tables {
        let state = |(name, id, closed): &(&str, i64, Option<&str>)| {
            let closed = closed.map(Arc::from);
            let state = TableState { id: *id, lag_rows: 0, written: 1, applied: 1, closed };
            (name.to_lowercase(), state)
        };
        Tables { number, endpoint: 0, fault: None, tables: tables.iter().map(state).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const MAX: LagMax = LagMax { rows: 100, transactions: 10 };

    fn rows(rows: Value) -> Rows {
        let rows = rows.as_array().expect("a list").iter();
        Rows { columns: vec![], rows: rows.map(|r| r.as_array().expect("a row").clone()).collect() }
    }

    #[test]
    fn tables_are_closed_by_suspension_and_by_lag_until_half() {
        let check = |before: &Tables, row: Value, closed: bool| {
            let tables = read(&rows(json!([row])), before, MAX);
            let state = tables.get("T").expect("there in any case");
            assert_eq!(state.closed.is_some(), closed, "{row}");
            tables
        };
        let none = Tables::default();
        check(&none, json!(["t", 7, false, 5, 5, 0]), false);
        check(&none, json!(["t", 7, false, null, null, null]), false);
        check(&none, json!(["t", 7, true, 5, 2, 9]), true);
        let closed = check(&none, json!(["t", 7, false, 5, 5, 101]), true);
        check(&closed, json!(["t", 7, false, 5, 5, 60]), true);
        check(&closed, json!(["t", 7, false, 5, 5, 50]), false);
        check(&none, json!(["t", 7, false, 16, 5, 0]), true);
    }

    #[tokio::test]
    async fn a_fresh_poll_began_after_it_was_asked_for() {
        let watched = Watched::default();
        watched.begun.store(4, Ordering::SeqCst);
        let fresh = watched.fresh();
        let publish = async {
            watched.publish(Tables::of(4, &[]));
            tokio::task::yield_now().await;
            watched.publish(Tables::of(5, &[]));
        };
        let (tables, ()) = tokio::join!(fresh, publish);
        assert_eq!(tables.number, 5);
    }
}
