//! The statements that the bridge sends, answered from the store. Nothing else is understood, and
//! what is not understood is refused in words, as a database would.

use serde_json::{Value, json};

use super::store::{Store, Table};
use crate::shape::ColumnType;

/// Answers a statement: a body for `/exec`, or why there is none.
pub fn answer(store: &mut Store, statement: &str) -> Result<Value, String> {
    let tokens = tokens(statement)?;
    let mut words = Words { tokens: &tokens, at: 0 };
    let first = words.word()?;
    match first.to_ascii_uppercase().as_str() {
        "CREATE" => create(store, &mut words),
        "ALTER" => alter(store, &mut words),
        "SELECT" => select(store, &mut words),
        other => Err(format!("the demo's endpoint has no {other}")),
    }
}

/// `CREATE TABLE IF NOT EXISTS "t" ("c" TYPE, …) TIMESTAMP("ts") …`
fn create(store: &mut Store, words: &mut Words<'_>) -> Result<Value, String> {
    words.skip(&["TABLE", "IF", "NOT", "EXISTS"])?;
    let name = words.word()?.to_owned();
    words.skip(&["("])?;
    let mut table = Table { id: store.tables.len() as i64 + 1, ..Table::default() };
    loop {
        let column = words.word()?.to_owned();
        table.columns.push((column, kind(words)?));
        match words.word()? {
            "," => {}
            ")" => break,
            other => return Err(format!("`,` or `)` expected, not {other}")),
        }
    }
    words.skip(&["TIMESTAMP", "("])?;
    table.timestamp = words.word()?.to_owned();
    words.skip(&[")"])?;
    store.tables.entry(name).or_insert(table);
    Ok(json!({ "ddl": "OK" }))
}

/// `ALTER TABLE "t" ADD COLUMN IF NOT EXISTS "c" TYPE`
fn alter(store: &mut Store, words: &mut Words<'_>) -> Result<Value, String> {
    words.skip(&["TABLE"])?;
    let name = words.word()?.to_owned();
    words.skip(&["ADD", "COLUMN", "IF", "NOT", "EXISTS"])?;
    let column = words.word()?.to_owned();
    let kind = kind(words)?;
    let table = store.tables.get_mut(&name).ok_or_else(|| no_table(&name))?;
    if table.column(&column).is_none() {
        table.columns.push((column, kind));
    }
    Ok(json!({ "ddl": "OK" }))
}

fn kind(words: &mut Words<'_>) -> Result<ColumnType, String> {
    let mut text = words.word()?.to_owned();
    while words.peek() == Some("[") {
        words.skip(&["[", "]"])?;
        text.push_str("[]");
    }
    ColumnType::parse(&text).ok_or_else(|| format!("there is no type {text}"))
}

fn no_table(name: &str) -> String {
    format!("table does not exist [table={name}]")
}

fn select(store: &Store, words: &mut Words<'_>) -> Result<Value, String> {
    if words.peek() == Some("1") {
        return Ok(rows(&["1"], vec![vec![json!(1)]]));
    }
    let mut wanted = Vec::new();
    loop {
        let name = words.word()?.to_owned();
        if name == "count_distinct" {
            words.skip(&["("])?;
            let counted = words.word()?.to_owned();
            words.skip(&[")", "FROM"])?;
            return count(store, words, &wanted, &counted);
        }
        wanted.push(name);
        match words.word()? {
            "," => {}
            "FROM" => break,
            other => return Err(format!("`,` or FROM expected, not {other}")),
        }
    }
    let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
    match words.word()? {
        "tables" => {
            words.skip(&["(", ")"])?;
            // The bridge's filters name tables in lower case, as they are all named here.
            let names = words.literals();
            let about = |(name, table): (&String, &Table)| {
                wanted.iter().map(|column| of_table(name, table, column)).collect()
            };
            let listed = store.tables.iter().filter(|(n, _)| names.is_empty() || names.contains(n));
            Ok(rows(&wanted, listed.map(about).collect::<Result<_, _>>()?))
        }
        "table_columns" => {
            words.skip(&["("])?;
            let name = words.word()?;
            let table = store.tables.get(name).ok_or_else(|| no_table(name))?;
            words.skip(&[")"])?;
            let designated_only = words.peek() == Some("WHERE");
            let about = |(name, kind): &(String, ColumnType)| {
                let is_designated = *name == table.timestamp;
                wanted.iter().map(|column| of_column(name, *kind, is_designated, column)).collect()
            };
            let listed = table.columns.iter();
            let listed = listed.filter(|(name, _)| !designated_only || *name == table.timestamp);
            Ok(rows(&wanted, listed.map(about).collect::<Result<_, _>>()?))
        }
        other if !store.tables.contains_key(other) => Err(no_table(other)),
        other => Err(format!("the demo's endpoint cannot select from {other}")),
    }
}

fn of_table(name: &str, table: &Table, column: &str) -> Result<Value, String> {
    Ok(match column {
        "id" => json!(table.id),
        "table_name" => json!(name),
        "designatedTimestamp" => json!(table.timestamp),
        "walEnabled" => json!(true),
        "partitionBy" => json!("DAY"),
        "ttlValue" => json!(0),
        "ttlUnit" => json!("HOUR"),
        "table_suspended" => json!(false),
        // What comes is visible at once: nothing is ever behind.
        "wal_txn" | "table_txn" => json!(table.rows),
        "wal_pending_row_count" => json!(0),
        other => return Err(format!("tables() has no column {other} here")),
    })
}

fn of_column(
    name: &str,
    kind: ColumnType,
    designated: bool,
    column: &str,
) -> Result<Value, String> {
    Ok(match column {
        "column" => json!(name),
        "type" => json!(kind.to_string()),
        "upsertKey" => json!(false),
        "designated" => json!(designated),
        other => return Err(format!("table_columns() has no column {other} here")),
    })
}

/// `'t' WHERE ["ts" BETWEEN a AND b AND] (("kt" = 'a' AND "kp" = 3 AND "kr" = 0 AND "ko" BETWEEN 5
/// AND 9) OR …)`: what counts rows back. A demo's records give one row each.
fn count(
    store: &Store,
    words: &mut Words<'_>,
    wanted: &[String],
    counted: &str,
) -> Result<Value, String> {
    let name = words.word()?;
    let table = store.tables.get(name).ok_or_else(|| no_table(name))?;
    words.skip(&["WHERE"])?;
    if words.peek() != Some("(") {
        words.word()?;
        words.skip(&["BETWEEN"])?;
        words.number()?;
        words.skip(&["AND"])?;
        words.number()?;
        words.skip(&["AND"])?;
    }
    words.skip(&["("])?;
    let mut counts = Vec::new();
    loop {
        words.skip(&["("])?;
        words.word()?;
        words.skip(&["="])?;
        let topic = words.word()?.to_owned();
        words.skip(&["AND"])?;
        words.word()?;
        words.skip(&["="])?;
        let partition = words.number()?;
        words.skip(&["AND"])?;
        words.word()?;
        words.skip(&["=", "0", "AND"])?;
        words.word()?;
        words.skip(&["BETWEEN"])?;
        let from = words.number()?;
        words.skip(&["AND"])?;
        let to = words.number()?;
        words.skip(&[")"])?;
        let distinct = table.distinct(&topic, partition, from.max(0) as u64, to.max(0) as u64);
        if distinct > 0 {
            counts.push(vec![json!(topic), json!(partition), json!(distinct)]);
        }
        match words.word()? {
            "OR" => {}
            ")" => break,
            other => return Err(format!("OR or `)` expected, not {other}")),
        }
    }
    let mut names: Vec<&str> = wanted.iter().map(String::as_str).collect();
    names.push(counted);
    Ok(rows(&names, counts))
}

fn rows(columns: &[&str], dataset: Vec<Vec<Value>>) -> Value {
    let columns: Vec<Value> = columns.iter().map(|name| json!({ "name": name })).collect();
    json!({ "columns": columns, "dataset": dataset })
}

/// A statement's words: names and literals without their quotes, numbers, signs.
fn tokens(statement: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = statement.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, len) = match first {
            '"' | '\'' => quoted(rest, first)?,
            _ if is_word(first) => {
                let len = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
                (Token { text: rest[..len].to_owned(), literal: false }, len)
            }
            _ => (Token { text: first.to_string(), literal: false }, first.len_utf8()),
        };
        tokens.push(token);
        rest = rest[len..].trim_start();
    }
    Ok(tokens)
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '-'
}

/// A doubled quote stands for one.
fn quoted(rest: &str, quote: char) -> Result<(Token, usize), String> {
    let mut text = String::new();
    let mut chars = rest.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c != quote {
            text.push(c);
        } else if chars.peek().is_some_and(|(_, next)| *next == quote) {
            text.push(quote);
            chars.next();
        } else {
            return Ok((Token { text, literal: quote == '\'' }, at + 1));
        }
    }
    Err(format!("a {quote} is not closed"))
}

struct Token {
    text: String,
    /// In single quotes.
    literal: bool,
}

struct Words<'a> {
    tokens: &'a [Token],
    at: usize,
}

impl<'a> Words<'a> {
    fn peek(&self) -> Option<&'a str> {
        self.tokens.get(self.at).map(|token| token.text.as_str())
    }

    fn word(&mut self) -> Result<&'a str, String> {
        let word = self.peek().ok_or("the statement ends too early")?;
        self.at += 1;
        Ok(word)
    }

    fn number(&mut self) -> Result<i64, String> {
        let word = self.word()?;
        word.parse().map_err(|_| format!("a number expected, not {word}"))
    }

    fn skip(&mut self, expected: &[&str]) -> Result<(), String> {
        for expected in expected {
            let word = self.word()?;
            if !word.eq_ignore_ascii_case(expected) {
                return Err(format!("{expected} expected, not {word}"));
            }
        }
        Ok(())
    }

    /// All literals that are left.
    fn literals(&self) -> Vec<String> {
        let left = self.tokens[self.at..].iter().filter(|token| token.literal);
        left.map(|token| token.text.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made() -> Store {
        let mut store = Store::default();
        let statement = "CREATE TABLE IF NOT EXISTS \"t\" (\"ts\" TIMESTAMP, \"kt\" SYMBOL, \
                         \"v\" DOUBLE[][]) TIMESTAMP(\"ts\") PARTITION BY DAY WAL";
        answer(&mut store, statement).expect("a table");
        let statement = "ALTER TABLE \"t\" ADD COLUMN IF NOT EXISTS \"ko\" LONG";
        answer(&mut store, statement).expect("a column");
        store
    }

    #[test]
    fn tables_are_made_and_told() {
        let mut store = made();
        let about = "SELECT id, table_name, designatedTimestamp, walEnabled FROM tables() \
                     WHERE lower(table_name) = 't'";
        let told = answer(&mut store, about).expect("an answer");
        assert_eq!(told["dataset"], json!([[1, "t", "ts", true]]));
        let nobody = "SELECT id FROM tables() WHERE lower(table_name) IN ('a','b')";
        assert_eq!(answer(&mut store, nobody).expect("an answer")["dataset"], json!([]));
        let missing = answer(&mut store, "SELECT * FROM \"a\" LIMIT 0");
        assert_eq!(missing, Err("table does not exist [table=a]".to_owned()));
        let columns = "SELECT \"column\", type, upsertKey FROM table_columns('t')";
        let told = answer(&mut store, columns).expect("an answer");
        assert_eq!(told["dataset"][3], json!(["ko", "LONG", false]));
        let designated = "SELECT \"column\" FROM table_columns('t') WHERE designated";
        let told = answer(&mut store, designated).expect("an answer");
        assert_eq!(told["dataset"], json!([["ts"]]));
    }

    #[test]
    fn rows_are_counted_back() {
        let mut store = made();
        let table = store.tables.get_mut("t").expect("made above");
        for offset in [5, 6, 9, 9, 10] {
            table.note("a", 3, offset);
        }
        let statement = "SELECT \"kt\", \"kp\", count_distinct(\"ko\") FROM 't' WHERE \"ts\" \
                         BETWEEN 1 AND 2 AND ((\"kt\" = 'a' AND \"kp\" = 3 AND \"kr\" = 0 AND \
                         \"ko\" BETWEEN 5 AND 9) OR (\"kt\" = 'b' AND \"kp\" = 3 AND \"kr\" = 0 \
                         AND \"ko\" BETWEEN 5 AND 9))";
        let told = answer(&mut store, statement).expect("an answer");
        assert_eq!(told["dataset"], json!([["a", 3, 3]]));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        let mut store = made();
        for statement in
            ["", "DROP TABLE t", "SELECT a FROM b", "SELECT x FROM tables()", "SELECT 'a"]
        {
            assert!(answer(&mut store, statement).is_err(), "{statement}");
        }
    }
}
