//! Where rows go first that replace others, or delete them: a table of the connection's own, and
//! the statements that make it and move what it holds.
//!
//! ```text
//! COPY ──▶ stage (the columns; the row's number; null where the row of the key is deleted)
//!            ├──▶ DELETE the rows of all keys that are deleted anywhere in it
//!            └──▶ INSERT the last of each key, unless that is a deletion · ON CONFLICT DO UPDATE
//! ```
//!
//! Rows bear numbers, for they do not lie in the order in which they were copied: the server puts a
//! short one into what is left of an earlier page. So it is as if all had been done one after the
//! other: what was deleted in between begins anew, with the defaults of columns that are not
//! written.

use super::layout::{Column, Found, quote};

/// Rows that replace others go to a table of the connection's own first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stage {
    /// Its name.
    pub name: String,
    /// Makes it, empty again after each transaction.
    pub create: String,
    /// Moves what it holds: of each key the row with the highest number.
    pub merge: String,
    /// The column of the row's number.
    nth: String,
    /// The column that is null in a row which deletes, if any may.
    ///
    /// Null, for without statistics the planner takes few of a column to be null: it then finds
    /// the rows to delete by the index of their key. Of half a payload, as it guesses of a
    /// boolean, it would read the whole table.
    kept: Option<String>,
}

/// What follows a table's own columns in a tuple.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tail {
    /// Nothing: every row is added.
    None,
    /// The row's number.
    Number,
    /// The row's number, and whether it is kept.
    NumberAndKept,
}

impl Tail {
    /// How many fields it has.
    pub fn fields(self) -> usize {
        self as usize
    }
}

impl Stage {
    /// The stage of a layout with these columns.
    pub fn new(id: u32, quoted: &str, columns: &[Column], found: &[Found], deletes: bool) -> Stage {
        let name = format!("bridge_stage_{id}");
        let nth = unused("bridge_nth", columns);
        let kept = deletes.then(|| unused("bridge_kept", columns));
        let made = list(columns, |column| Some(staged(column, found, deletes)));
        let mark = kept.as_ref().map(|kept| format!(", NULL::boolean AS {kept}"));
        let create = format!(
            "CREATE TEMPORARY TABLE IF NOT EXISTS {name} ON COMMIT DELETE ROWS AS SELECT \
             {made}, 0::bigint AS {nth}{} FROM {quoted} WITH NO DATA",
            mark.unwrap_or_default()
        );
        let insert = |kept| insert((&name, &nth), quoted, columns, kept);
        let merge = match &kept {
            None => insert(None),
            Some(kept) => {
                let same = |column: &Column| {
                    let name = quote(&column.name);
                    column.key.then(|| format!("t.{name} = s.{name}"))
                };
                let same: Vec<String> = columns.iter().filter_map(same).collect();
                format!(
                    "DELETE FROM {quoted} t USING {name} s WHERE s.{kept} IS NULL AND {}; {}",
                    same.join(" AND "),
                    insert(Some(kept))
                )
            }
        };
        Stage { name, create, merge, nth, kept }
    }

    /// The columns that follow the table's own, in the order of their fields.
    pub fn more(&self) -> impl Iterator<Item = &String> {
        std::iter::once(&self.nth).chain(&self.kept)
    }

    /// The same as tuples have them.
    pub fn tail(&self) -> Tail {
        match self.kept {
            None => Tail::Number,
            Some(_) => Tail::NumberAndKept,
        }
    }
}

/// Stores the last row of each key, by its number in a stage; with `kept` only if that is one to be
/// stored.
fn insert(
    (stage, nth): (&str, &str),
    quoted: &str,
    columns: &[Column],
    kept: Option<&String>,
) -> String {
    let all = list(columns, |column| Some(quote(&column.name)));
    let keys = list(columns, |column| column.key.then(|| quote(&column.name)));
    let others = list(columns, |column| {
        let name = quote(&column.name);
        (!column.key).then(|| format!("{name} = EXCLUDED.{name}"))
    });
    let then = match others.as_str() {
        "" => "NOTHING".to_owned(),
        others => format!("UPDATE SET {others}"),
    };
    let last = |what: &str| {
        format!("SELECT DISTINCT ON ({keys}) {what} FROM {stage} ORDER BY {keys}, {nth} DESC")
    };
    let rows = match kept {
        None => last(&all),
        Some(kept) => {
            format!("SELECT {all} FROM ({}) last WHERE {kept}", last(&format!("{all}, {kept}")))
        }
    };
    format!("INSERT INTO {quoted} ({all}) {rows} ON CONFLICT ({keys}) DO {then}")
}

/// A column as the stage has it. A domain may take no nulls, which is what a row that deletes has:
/// beside a null of no type it is what it is made of.
fn staged(column: &Column, found: &[Found], deletes: bool) -> String {
    let name = quote(&column.name);
    let is_domain = found.iter().any(|found| found.name == column.name && found.is_domain);
    match deletes && is_domain && !column.key {
        true => format!("coalesce({name}, NULL) AS {name}"),
        false => name,
    }
}

/// A name that no column has.
fn unused(name: &str, columns: &[Column]) -> String {
    let mut name = name.to_owned();
    while columns.iter().any(|column| column.name == name) {
        name.push('_');
    }
    name
}

fn list(columns: &[Column], of: impl Fn(&Column) -> Option<String>) -> String {
    let list: Vec<String> = columns.iter().filter_map(of).collect();
    list.join(", ")
}

#[cfg(test)]
mod tests {
    use super::super::layout::tests::column;
    use super::super::layout::{Layout, Wanted, create};
    use super::*;
    use crate::shape::Shape;

    fn layout(deletes: bool, found: Vec<Found>) -> Layout {
        let shape = Shape { deletes, ..Shape::plain("t") };
        Layout::new(3, "t", &shape, &["id".to_owned()], found)
    }

    #[test]
    fn rows_that_replace_others_go_over_a_stage() {
        let found = vec![Found { has_default: true, ..column("id", 20) }, column("a\"b", 25)];
        let layout = layout(false, found);
        assert_eq!(layout.relation(), "bridge_stage_3");
        let stage = layout.stage.expect("it has a key");
        assert_eq!(
            stage.merge,
            "INSERT INTO \"t\" (\"id\", \"a\"\"b\") SELECT DISTINCT ON (\"id\") \"id\", \
             \"a\"\"b\" FROM bridge_stage_3 ORDER BY \"id\", bridge_nth DESC ON CONFLICT (\"id\") DO \
             UPDATE SET \"a\"\"b\" = EXCLUDED.\"a\"\"b\""
        );
        assert!(!stage.create.contains("kept"), "{}", stage.create);
        let only = self::layout(false, vec![column("id", 20)]);
        assert!(only.stage.expect("it has a key").merge.ends_with("DO NOTHING"));
        let wanted = [Wanted { name: "id".into(), sql: "bigint".into() }];
        let made = create("t", &wanted, &["id".to_owned()]);
        assert!(made.ends_with("(\"id\" bigint, PRIMARY KEY (\"id\"))"), "{made}");
    }

    #[test]
    fn rows_that_delete_are_marked_and_go_first() {
        let domain = Found { is_domain: true, ..column("d", 25) };
        let layout = layout(true, vec![column("id", 20), domain, column("bridge_kept", 25)]);
        assert!(
            layout.copy.contains("\"bridge_kept\", bridge_nth, bridge_kept_) FROM"),
            "{}",
            layout.copy
        );
        let stage = layout.stage.expect("it has a key");
        assert_eq!(
            stage.create,
            "CREATE TEMPORARY TABLE IF NOT EXISTS bridge_stage_3 ON COMMIT DELETE ROWS AS SELECT \
             \"id\", coalesce(\"d\", NULL) AS \"d\", \"bridge_kept\", 0::bigint AS bridge_nth, \
             NULL::boolean AS bridge_kept_ FROM \"t\" WITH NO DATA"
        );
        assert_eq!(
            stage.merge,
            "DELETE FROM \"t\" t USING bridge_stage_3 s WHERE s.bridge_kept_ IS NULL AND \
             t.\"id\" = s.\"id\"; INSERT INTO \"t\" (\"id\", \"d\", \"bridge_kept\") SELECT \
             \"id\", \"d\", \"bridge_kept\" FROM (SELECT DISTINCT ON (\"id\") \"id\", \"d\", \
             \"bridge_kept\", bridge_kept_ FROM bridge_stage_3 ORDER BY \"id\", bridge_nth DESC) last \
             WHERE bridge_kept_ ON CONFLICT (\"id\") DO UPDATE SET \"d\" = EXCLUDED.\"d\", \
             \"bridge_kept\" = EXCLUDED.\"bridge_kept\""
        );
    }
}
