//! From a table as it is to one as it is wanted: the statements that lead there, and what no
//! statement can do. Pure. Nothing that is proposed loses a value.

use super::ddl::{self, quoted};
use super::table::Wanted;
use super::wish::{State, Wish};
use crate::shape::{ColumnType, Ttl};
use crate::sink::{Migration, Obstacle};

/// One step.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// The table is made.
    Create(Wish),
    /// A column is added.
    Add(Wanted),
    /// A column gets a type that holds all of its values.
    Widen(String, ColumnType),
    /// Rows are kept for so long.
    Keep(Ttl),
    /// Rows with the same values in these columns replace each other.
    Upsert(Vec<String>),
}

impl Change {
    /// The statement that does it.
    pub fn statement(&self, table: &str) -> String {
        match self {
            Change::Create(wish) => ddl::make(wish),
            Change::Add(wanted) => ddl::add_column(table, wanted),
            Change::Widen(column, kind) => ddl::alter_column(table, column, *kind),
            Change::Keep(ttl) => format!("ALTER TABLE {} SET TTL {ttl}", quoted(table)),
            Change::Upsert(keys) => ddl::enable_upserts(table, keys),
        }
    }
}

/// The whole difference.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Difference {
    /// What can be done, in this order.
    pub changes: Vec<Change>,
    /// What cannot.
    pub obstacles: Vec<Obstacle>,
    /// Columns that are there and not wanted.
    pub beside: Vec<String>,
}

impl Difference {
    /// The same in SQL.
    pub fn migration(&self, wish: &Wish, found: Option<&State>) -> Migration {
        let table = found.map_or(&wish.table, |found| &found.table);
        Migration {
            table: table.clone(),
            is_missing: found.is_none(),
            statements: self.changes.iter().map(|change| change.statement(table)).collect(),
            obstacles: self.obstacles.clone(),
            beside: self.beside.clone(),
        }
    }

    /// Whether it comes to nothing, or to what is made as rows come.
    pub fn is_made_by(&self, makes_tables: bool, adds_columns: bool) -> bool {
        let is_made = |change: &Change| match change {
            Change::Create(_) => makes_tables,
            Change::Add(_) => adds_columns,
            _ => false,
        };
        self.obstacles.is_empty() && self.changes.iter().all(is_made)
    }

    fn cannot(&mut self, what: impl Into<String>, way: impl Into<String>) {
        self.obstacles.push(Obstacle { what: what.into(), way: way.into() });
    }
}

/// Compares what is wanted with what is there.
pub fn diff(wish: &Wish, found: Option<&State>) -> Difference {
    let mut difference = Difference::default();
    let mut wish = leave_out_geohashes(wish, found, &mut difference);
    let partitions = found.map_or(wish.partition_by.unwrap_or("DAY"), |f| &f.partition_by);
    let kept = found.map_or(Some(Ttl::Hours(0)), |found| found.ttl);
    if let Some(ttl) = wish.ttl
        && kept.is_some_and(|kept| kept != ttl)
        && !ttl.fits(partitions)
    {
        let what = format!("rows cannot be kept for {ttl}: no multiple of a partition");
        difference.cannot(what, format!("a multiple of one {partitions}"));
        wish.ttl = None;
    }
    let Some(found) = found else {
        difference.changes.push(Change::Create(wish));
        return difference;
    };
    foundation(&wish, found, &mut difference);
    columns(&wish, found, &mut difference);
    if let (Some(ttl), Some(kept)) = (wish.ttl, found.ttl)
        && ttl != kept
    {
        difference.changes.push(Change::Keep(ttl));
    }
    upserts(&wish, found, &mut difference);
    difference
}

/// The configuration cannot say how precise a geohash is to be: a person makes the column. What
/// is a key waits for it.
fn leave_out_geohashes(wish: &Wish, found: Option<&State>, difference: &mut Difference) -> Wish {
    let mut wish = wish.clone();
    let is_there = |name: &str| found.is_some_and(|found| found.kind(name).is_some());
    let is_left_out =
        |wanted: &Wanted| wanted.kind == ColumnType::Geohash && !is_there(&wanted.name);
    for wanted in wish.columns.iter().filter(|wanted| is_left_out(wanted)) {
        let what = format!("column {} is a GEOHASH, of a precision that is not said", wanted.name);
        let (table, column) = (quoted(&wish.table), quoted(&wanted.name));
        let way = format!("ALTER TABLE {table} ADD COLUMN {column} GEOHASH(8c)");
        difference.cannot(what, way);
        if wish.upsert_keys.contains(&wanted.name) {
            wish.upsert_keys.clear();
        }
    }
    wish.columns.retain(|wanted| !is_left_out(wanted));
    wish
}

/// What a table has from its first day: nothing of it can be altered in place.
fn foundation(wish: &Wish, found: &State, difference: &mut Difference) {
    let table = quoted(&found.table);
    let anew = format!(
        "RENAME TABLE {table} TO {}; bridge tables apply; then INSERT INTO {table} SELECT from it",
        quoted(&format!("{}_before", found.table))
    );
    if !found.wal {
        let way = format!("ALTER TABLE {table} SET TYPE WAL; then restart QuestDB");
        difference.cannot("it is not a WAL table: that changes at a restart only", way);
    }
    let wanted = &wish.timestamp;
    match &found.timestamp {
        None => difference.cannot("it has no designated timestamp, and gets none later", &anew),
        Some(name) if wanted.is_declared && !name.eq_ignore_ascii_case(&wanted.name) => {
            let what = format!(
                "its designated timestamp is {name}, declared is {}: that cannot be altered",
                wanted.name
            );
            difference.cannot(what, &anew);
        }
        Some(name) => {
            let kind = found.kind(name).unwrap_or(ColumnType::Timestamp);
            if let Some(wanted) = wanted.kind.filter(|wanted| *wanted != kind) {
                let what = format!(
                    "its designated timestamp is {kind}, declared is {wanted}: that cannot be altered"
                );
                difference.cannot(what, &anew);
            }
        }
    }
    if let Some(unit) =
        wish.partition_by.filter(|unit| !found.partition_by.eq_ignore_ascii_case(unit))
    {
        let what = format!(
            "it is partitioned by {}, declared is {unit}: that cannot be altered",
            found.partition_by
        );
        difference.cannot(what, &anew);
    }
}

fn columns(wish: &Wish, found: &State, difference: &mut Difference) {
    for wanted in &wish.columns {
        let is_stamp =
            found.timestamp.as_ref().is_some_and(|name| name.eq_ignore_ascii_case(&wanted.name));
        match found.kind(&wanted.name) {
            None => difference.changes.push(Change::Add(wanted.clone())),
            Some(kind) if kind == wanted.kind || is_stamp => {}
            Some(kind) if holds(wanted.kind, kind) => {
                difference.changes.push(Change::Widen(wanted.name.clone(), wanted.kind));
            }
            Some(kind) => {
                let what = format!(
                    "column {} is {kind}, declared is {}, which cannot hold every value of it",
                    wanted.name, wanted.kind
                );
                let alter = ddl::alter_column(&found.table, &wanted.name, wanted.kind);
                difference.cannot(what, format!("{alter}; what does not fit becomes null"));
            }
        }
    }
    let is_wanted = |name: &String| {
        let same = |other: &String| other.eq_ignore_ascii_case(name);
        found.timestamp.as_ref().is_some_and(same) || wish.columns.iter().any(|w| same(&w.name))
    };
    let names = found.columns.iter().map(|(name, _)| name);
    difference.beside = names.filter(|name| !is_wanted(name)).cloned().collect();
    if wish.strict && !difference.beside.is_empty() {
        let beside = difference.beside.join(", ");
        let what = format!("{beside}: there and not declared, and the table is strict");
        let way = "declare them, or ALTER TABLE … DROP COLUMN, which loses their values";
        difference.cannot(what, way);
    }
}

/// Whether a column of the first type can take all that one of the second holds.
fn holds(to: ColumnType, from: ColumnType) -> bool {
    use ColumnType::{Byte, Char, Double, Float, Int, Long, Short, String, Symbol, Varchar};
    match from {
        Byte => matches!(to, Short | Int | Long | Double),
        Short => matches!(to, Int | Long | Double),
        Int => matches!(to, Long | Double),
        Float => to == Double,
        Char | String => matches!(to, Varchar | Symbol),
        Symbol => to == Varchar,
        Varchar => to == Symbol,
        _ => false,
    }
}

fn upserts(wish: &Wish, found: &State, difference: &mut Difference) {
    let (Some(timestamp), true) = (&found.timestamp, found.wal) else { return };
    let own = |key: &String| match key.eq_ignore_ascii_case(&wish.timestamp.name) {
        true => timestamp.clone(),
        false => key.clone(),
    };
    let wanted: Vec<String> = wish.upsert_keys.iter().map(own).collect();
    let all_in = |some: &[String], others: &[String]| {
        some.iter().all(|key| others.iter().any(|other| other.eq_ignore_ascii_case(key)))
    };
    let keys = &found.upsert_keys;
    let is_right = all_in(&wanted, keys) && all_in(keys, &wanted);
    if !is_right && !wanted.is_empty() {
        difference.changes.push(Change::Upsert(wanted));
    }
}

#[cfg(test)]
#[path = "diff_tests.rs"]
mod tests;
