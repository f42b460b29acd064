//! `bridge tables`: how the tables that a file declares differ from those that are there, as SQL;
//! and the same made.

use std::io::Write;
use std::path::Path;

use serde_json::{Value, json};

use super::Failure;
use crate::config::{Overrides, Plan};
use crate::pipeline::Tables;
use crate::sink::Migration;

/// Shows the difference: a script that could be run by hand, or JSON.
pub fn plan(file: &Path, json: bool, out: &mut dyn Write) -> Result<(), Failure> {
    let tables = open(file)?;
    let mut all = Vec::new();
    for (number, name) in tables.pipelines() {
        let migrations = tables.differences(number)?;
        all.extend(migrations.into_iter().map(|migration| (name.to_owned(), migration)));
    }
    match json {
        true => writeln!(out, "{:#}", in_json(&all))?,
        false => out.write_all(in_sql(&all).as_bytes())?,
    }
    match all.iter().all(|(_, migration)| migration.is_empty()) {
        true => Ok(()),
        false => Err(Failure::Different),
    }
}

/// Makes the difference; says of each statement how it went.
pub fn apply(file: &Path, out: &mut dyn Write) -> Result<(), Failure> {
    let tables = open(file)?;
    let (mut has_failed, mut differs) = (false, false);
    for (number, name) in tables.pipelines() {
        // Each pipeline looks after the one before it: they may name the same tables.
        for migration in tables.differences(number)? {
            for statement in &migration.statements {
                match tables.run(number, statement) {
                    Ok(()) => writeln!(out, "ok      {statement};")?,
                    Err(fault) => {
                        has_failed = true;
                        writeln!(out, "failed  {statement};\n        {}", fault.message)?;
                    }
                }
            }
        }
        let left = match has_failed {
            true => tables.differences(number)?,
            false => tables.settled(number)?,
        };
        for migration in left {
            differs |= !migration.is_empty();
            out.write_all(comment(name, &migration).as_bytes())?;
        }
    }
    match (has_failed, differs) {
        (true, _) => Err(Failure::Said),
        (false, true) => Err(Failure::Different),
        (false, false) => Ok(()),
    }
}

fn open(file: &Path) -> Result<Tables, Failure> {
    Ok(Tables::of(&Plan::load(file, &Overrides::default())?)?)
}

/// One script for all: what is no statement is a comment.
fn in_sql(all: &[(String, Migration)]) -> String {
    let mut text = String::new();
    for (pipeline, migration) in all {
        text.push_str(&comment(pipeline, migration));
        for statement in &migration.statements {
            text.push_str(&format!("{statement};\n"));
        }
    }
    if all.is_empty() {
        text.push_str("-- the file names no table\n");
    }
    text
}

fn comment(pipeline: &str, migration: &Migration) -> String {
    let mut text =
        format!("-- {} (pipeline {pipeline}): {}\n", migration.table, migration.summary());
    for obstacle in &migration.obstacles {
        text.push_str(&format!("--   cannot: {}\n", obstacle.what));
        text.push_str(&format!("--     way: {}\n", obstacle.way));
    }
    text
}

fn in_json(all: &[(String, Migration)]) -> Value {
    let table = |(pipeline, migration): &(String, Migration)| {
        let obstacles = migration.obstacles.iter();
        let obstacles: Vec<Value> =
            obstacles.map(|o| json!({ "what": o.what, "way": o.way })).collect();
        json!({
            "pipeline": pipeline,
            "table": migration.table,
            "as_declared": migration.is_empty(),
            "missing": migration.is_missing,
            "statements": migration.statements,
            "obstacles": obstacles,
            "beside": migration.beside,
        })
    };
    json!({
        "as_declared": all.iter().all(|(_, migration)| migration.is_empty()),
        "tables": all.iter().map(table).collect::<Vec<Value>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::Obstacle;

    #[test]
    fn a_plan_is_a_script() {
        let migration = |table: &str| Migration { table: table.into(), ..Migration::default() };
        let altered = Migration {
            statements: vec!["ALTER TABLE \"a\" SET TTL 30 DAYS".into()],
            obstacles: vec![Obstacle { what: "by HOUR".into(), way: "anew".into() }],
            ..migration("a")
        };
        let expected = "\
-- a (pipeline p): 1 statement, 1 thing that cannot be done
--   cannot: by HOUR
--     way: anew
ALTER TABLE \"a\" SET TTL 30 DAYS;
-- b (pipeline p): as declared
";
        let all = [("p".to_owned(), altered), ("p".to_owned(), migration("b"))];
        assert_eq!(in_sql(&all), expected);
        assert_eq!(in_json(&all)["as_declared"], false);
        assert_eq!(in_json(&all[1..])["as_declared"], true);
    }
}
