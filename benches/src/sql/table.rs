//! A table of PostgreSQL as a run's destination.

use anyhow::{Context, Result};
use world::PostgreSql;

use crate::harness::count::{Destination, Truth};

/// A table, or of one those rows that are younger than a transaction.
pub struct PgTable<'a> {
    pub postgres: &'a PostgreSql,
    pub table: &'a str,
    /// Only rows of this transaction and later ones count: others were there before.
    pub since: Option<u64>,
}

impl PgTable<'_> {
    /// Rows that this table gets from now on, whether they are added or replaced.
    pub fn renewed(self) -> Result<Self> {
        let since = self.ask("SELECT txid_current()")?;
        Ok(Self { since: Some(since), ..self })
    }

    fn ask(&self, query: &str) -> Result<u64> {
        let rows = self.postgres.sql(query)?;
        let first = rows.first().with_context(|| format!("{query}: no answer"))?;
        first.parse().with_context(|| format!("{query}: {first} is no number"))
    }

    fn query(&self, what: &str) -> String {
        let since = self.since.map(|id| format!(" WHERE xmin::text::bigint >= {id}"));
        format!("SELECT {what} FROM {}{}", self.table, since.unwrap_or_default())
    }
}

impl Destination for PgTable<'_> {
    fn count(&self) -> Result<u64> {
        match self.ask(&self.query("count(*)")) {
            // The pipeline makes it with its first rows.
            Err(error) if format!("{error:#}").contains("does not exist") => Ok(0),
            answer => answer,
        }
    }

    fn truth(&self) -> Result<Truth> {
        Ok(Truth {
            count: self.ask(&self.query("count(*)"))?,
            distinct: self.ask(&self.query("count(DISTINCT seq)"))?,
            sum: self.ask(&self.query("coalesce(sum(seq), 0)"))?,
        })
    }

    /// Each connection is a process of its own.
    fn process(&self) -> Result<Option<(&'static str, u32)>> {
        Ok(None)
    }
}
