//! What CrateDB's documentation says of the statements that the bridge sends, and of those that it
//! must not send, enforced: names, types, primary keys, `ON CONFLICT`, the two kinds of errors of a
//! bulk. `BEGIN` and `COMMIT` do nothing, and nothing is ever taken back. It shares no code with
//! the sink.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// After so many rows of a shard the server gives no reasons.
const REASONS_MAX: usize = 10;
/// Shards of a table, unless it is said.
const SHARDS: usize = 4;

/// An error: CrateDB's number and its words.
pub type Error = (i64, String);

/// An answer.
#[derive(Debug, PartialEq)]
pub enum Reply {
    Rows(Vec<Vec<Value>>),
    Count(i64),
    /// For each row of a bulk its count, or an error that may come without words.
    Each(Vec<Result<i64, Option<Error>>>),
}

#[derive(Clone, Debug, Default)]
pub struct Table {
    /// Name, type as the schema shows it, default or generated.
    pub columns: Vec<(String, String, &'static str)>,
    pub primary: Vec<String>,
    pub rows: BTreeMap<String, Map<String, Value>>,
    /// `CHECK (column >= 0)`
    pub check: Option<String>,
    /// An error for whoever writes.
    pub blocked: Option<Error>,
}

#[derive(Default)]
pub struct Db {
    /// By schema and name, with a dot.
    pub tables: BTreeMap<String, Table>,
    /// Every statement, in order.
    pub statements: Vec<String>,
}

fn no<T>(code: i64, words: impl Into<String>) -> Result<T, Error> {
    Err((code, words.into()))
}

impl Db {
    /// Runs a statement with no parameters, one set of them, or many.
    pub fn run(
        &mut self,
        statement: &str,
        args: &[Value],
        bulk: Option<&[Vec<Value>]>,
    ) -> Result<Reply, Error> {
        self.statements.push(statement.to_owned());
        let mut words = Words { tokens: tokens(statement)?, at: 0 };
        let verb = words.word()?;
        if bulk.is_some() && !["insert", "update", "delete"].contains(&verb.as_str()) {
            return no(4004, "bulk operations for statements that return result sets");
        }
        match verb.as_str() {
            // Accepted and ignored, as the documentation has it.
            "begin" | "commit" => Ok(Reply::Count(0)),
            "select" => self.select(statement),
            "show" => self.show(&mut words),
            "create" => self.create(&mut words),
            "alter" => self.alter(&mut words),
            "insert" => self.insert(&mut words, args, bulk),
            other => no(4000, format!("SQLParseException[mismatched input '{other}']")),
        }
    }

    fn select(&self, statement: &str) -> Result<Reply, Error> {
        if statement == "SELECT version()" {
            return Ok(Reply::Rows(vec![vec![json!("CrateDB 6.0.0 (a fake)")]]));
        }
        let texts: Vec<String> = tokens(statement)?
            .into_iter()
            .filter_map(|token| if let Token::Text(text) = token { Some(text) } else { None })
            .collect();
        let [.., schema, name] = texts.as_slice() else { return no(4004, "no such SELECT") };
        let Some(table) = self.tables.get(&format!("{schema}.{name}")) else {
            return Ok(Reply::Rows(vec![]));
        };
        if statement.contains("information_schema.key_column_usage") {
            return Ok(Reply::Rows(table.primary.iter().map(|key| vec![json!(key)]).collect()));
        }
        let row = |(name, kind, extra): &(String, String, &'static str)| {
            let nullable = if table.primary.contains(name) { "NO" } else { "YES" };
            let is = |what: &str| *extra == what;
            let generated = if is("generated") { "ALWAYS" } else { "NEVER" };
            let shown = kind.split('(').next().unwrap_or(kind);
            vec![
                json!(name),
                json!(shown),
                json!(nullable),
                json!(is("default")),
                json!(generated),
                Value::Null,
            ]
        };
        Ok(Reply::Rows(table.columns.iter().map(row).collect()))
    }

    fn show(&self, words: &mut Words) -> Result<Reply, Error> {
        words.expect(&["create", "table"])?;
        let name = words.table()?;
        let Some(table) = self.tables.get(&name) else { return no(4041, "RelationUnknown") };
        let column = |(name, kind, _): &(String, String, &'static str)| {
            format!("   \"{}\" {}", name.replace('"', "\"\""), kind.to_uppercase())
        };
        let columns: Vec<String> = table.columns.iter().map(column).collect();
        Ok(Reply::Rows(vec![vec![json!(format!("CREATE TABLE (\n{}", columns.join(",\n")))]]))
    }

    fn create(&mut self, words: &mut Words) -> Result<Reply, Error> {
        words.expect(&["table", "if", "not", "exists"])?;
        let name = words.table()?;
        let mut table = Table::default();
        words.mark('(')?;
        loop {
            if words.peek_word("primary") {
                words.expect(&["primary", "key"])?;
                table.primary = words.names()?;
            } else {
                let (column, kind) = (words.column()?, words.kind()?);
                if table.columns.iter().any(|(known, ..)| *known == column) {
                    return no(4000, format!("column {column} is there twice"));
                }
                table.columns.push((column, kind, ""));
            }
            if !words.comma()? {
                break;
            }
        }
        words.end()?;
        for key in &table.primary {
            match table.columns.iter().find(|(name, ..)| name == key) {
                Some((_, kind, _)) if kind == "object" || kind.ends_with("_array") => {
                    return no(4000, format!("column {key} cannot be of a primary key"));
                }
                Some(_) => {}
                None => return no(4043, format!("ColumnUnknownException[Column {key} unknown]")),
            }
        }
        self.tables.entry(name).or_insert(table);
        Ok(Reply::Count(1))
    }

    fn alter(&mut self, words: &mut Words) -> Result<Reply, Error> {
        words.expect(&["table"])?;
        let name = words.table()?;
        words.expect(&["add", "column"])?;
        let (column, kind) = (words.column()?, words.kind()?);
        words.end()?;
        let Some(table) = self.tables.get_mut(&name) else { return no(4041, "RelationUnknown") };
        if table.columns.iter().any(|(known, ..)| *known == column) {
            return no(4000, format!("The table {name} already has a column named {column}"));
        }
        table.columns.push((column, kind, ""));
        Ok(Reply::Count(-1))
    }

    fn insert(
        &mut self,
        words: &mut Words,
        args: &[Value],
        bulk: Option<&[Vec<Value>]>,
    ) -> Result<Reply, Error> {
        words.expect(&["into"])?;
        let name = words.table()?;
        let Some(table) = self.tables.get_mut(&name) else {
            return no(4041, format!("RelationUnknown[Relation '{name}' unknown]"));
        };
        let insert = Insert::parse(words, table)?;
        if let Some(blocked) = &table.blocked {
            return Err(blocked.clone());
        }
        let sets: &[Vec<Value>] = bulk.unwrap_or(&[]);
        let one = [args.to_vec()];
        let sets = if bulk.is_some() { sets } else { &one };
        // What does not fit its column is found before anything is stored, and fails everything.
        let rows: Result<Vec<_>, Error> = sets.iter().map(|set| insert.row(table, set)).collect();
        let mut said = [0; SHARDS];
        let mut each = Vec::new();
        for row in rows? {
            let shard = row.0.bytes().map(usize::from).sum::<usize>() % SHARDS;
            each.push(insert.store(table, row).map_err(|error| {
                said[shard] += 1;
                (said[shard] <= REASONS_MAX).then_some(error)
            }));
        }
        match (bulk, each.pop()) {
            (None, Some(Ok(count))) => Ok(Reply::Count(count)),
            (None, Some(Err(Some(error)))) => Err(error),
            (_, last) => {
                each.extend(last);
                Ok(Reply::Each(each))
            }
        }
    }
}

/// `INSERT INTO t (…) VALUES (?, …) ON CONFLICT (…) DO …`
struct Insert {
    columns: Vec<(String, String)>,
    /// Columns that are set to those of the row that is left out; `None` for `DO NOTHING`.
    set: Option<Vec<String>>,
}

impl Insert {
    fn parse(words: &mut Words, table: &Table) -> Result<Insert, Error> {
        let names = words.names()?;
        words.expect(&["values"])?;
        words.mark('(')?;
        let mut count = 1;
        words.mark('?')?;
        while words.comma()? {
            words.mark('?')?;
            count += 1;
        }
        if count != names.len() {
            return no(4000, "Number of target columns does not match number of values");
        }
        let mut columns = Vec::new();
        for name in names {
            let Some((_, kind, extra)) = table.columns.iter().find(|(known, ..)| *known == name)
            else {
                return no(4043, format!("ColumnUnknownException[Column {name} unknown]"));
            };
            if *extra == "generated" {
                return no(4000, format!("column {name} is generated"));
            }
            columns.push((name, kind.clone()));
        }
        words.expect(&["on", "conflict"])?;
        let mut target = words.names()?;
        let mut primary = table.primary.clone();
        target.sort();
        primary.sort();
        if target != primary {
            return no(4000, "the conflict target must match the primary key columns");
        }
        words.expect(&["do"])?;
        if words.peek_word("nothing") {
            words.expect(&["nothing"])?;
            words.end()?;
            return Ok(Insert { columns, set: None });
        }
        words.expect(&["update", "set"])?;
        let mut set = Vec::new();
        loop {
            let name = words.column()?;
            words.mark('=')?;
            words.expect(&["excluded"])?;
            words.mark('.')?;
            if words.column()? != name || table.primary.contains(&name) {
                return no(4000, format!("updating {name} is not what the bridge means"));
            }
            set.push(name);
            if words.at == words.tokens.len() {
                return Ok(Insert { columns, set: Some(set) });
            }
            words.mark(',')?;
        }
    }

    /// The row's key, and the row.
    fn row(&self, table: &Table, set: &[Value]) -> Result<(String, Map<String, Value>), Error> {
        if set.len() != self.columns.len() {
            return no(4000, "the parameters are more or less than the columns");
        }
        let mut row = Map::new();
        for ((name, kind), value) in self.columns.iter().zip(set) {
            let value = cast(value, kind)
                .ok_or_else(|| (4000, format!("Cannot cast value `{value}` to type `{kind}`")))?;
            row.insert(name.clone(), value);
        }
        for (name, _, extra) in &table.columns {
            if *extra == "generated" {
                row.insert(name.clone(), json!("computed"));
            }
        }
        let mut key = Vec::new();
        for name in &table.primary {
            match row.get(name) {
                Some(value) if !value.is_null() => key.push(value.clone()),
                _ => return no(4000, format!("\"{name}\" must not be null")),
            }
        }
        Ok((json!(key).to_string(), row))
    }

    fn store(&self, table: &mut Table, row: (String, Map<String, Value>)) -> Result<i64, Error> {
        let (key, row) = row;
        if let Some(column) = &table.check
            && row.get(column).and_then(Value::as_f64).is_some_and(|value| value < 0.0)
        {
            return no(4003, format!("Failed CONSTRAINT {column} CHECK: {}", row[column]));
        }
        match (table.rows.get_mut(&key), &self.set) {
            (Some(_), None) => return Ok(0),
            (Some(there), Some(set)) => {
                for name in set {
                    there.insert(name.clone(), row[name].clone());
                }
            }
            (None, _) => {
                table.rows.insert(key, row);
            }
        }
        Ok(1)
    }
}

/// What a column of this type makes of a parameter; `None` if it does not take it.
pub fn cast(value: &Value, kind: &str) -> Option<Value> {
    if value.is_null() {
        return Some(Value::Null);
    }
    if let Some(inner) = kind.strip_suffix("_array") {
        let values = value.as_array()?.iter().map(|value| cast(value, inner));
        return values.collect::<Option<Vec<Value>>>().map(Value::Array);
    }
    let (bare, _) = kind.split_once('(').unwrap_or((kind, ""));
    let within = |min: i64, max: i64| {
        value.as_i64().filter(|value| (min..=max).contains(value)).map(Value::from)
    };
    match bare {
        "boolean" => value.as_bool().map(Value::from),
        "byte" => within(i8::MIN.into(), i8::MAX.into()),
        "smallint" => within(i16::MIN.into(), i16::MAX.into()),
        "integer" => within(i32::MIN.into(), i32::MAX.into()),
        "bigint" => within(i64::MIN, i64::MAX),
        // A fraction would be seconds, and be cut.
        "timestamp with time zone" | "timestamp without time zone" => within(i64::MIN, i64::MAX),
        "double precision" | "real" => match value {
            Value::Number(number) => Some(json!(number.as_f64()?)),
            Value::String(text) if ["NaN", "Infinity", "-Infinity"].contains(&&**text) => {
                Some(value.clone())
            }
            _ => None,
        },
        "numeric" => value.as_str().filter(|t| t.parse::<f64>().is_ok()).map(Value::from),
        "ip" => value.as_str().filter(|t| t.parse::<std::net::IpAddr>().is_ok()).map(Value::from),
        "text" => value.as_str().map(Value::from),
        "object" => value.as_object().map(|_| value.clone()),
        _ => None,
    }
}

#[derive(Clone, PartialEq, Debug)]
enum Token {
    /// A word of the language, or an identifier without quotes: lower case.
    Word(String),
    /// An identifier in quotes.
    Name(String),
    Text(String),
    Mark(char),
}

fn tokens(statement: &str) -> Result<Vec<Token>, Error> {
    let mut tokens = Vec::new();
    let mut chars = statement.chars().peekable();
    while let Some(first) = chars.next() {
        match first {
            c if c.is_whitespace() => {}
            '"' | '\'' => {
                let mut text = String::new();
                loop {
                    match chars.next() {
                        Some(c) if c == first && chars.peek() == Some(&first) => {
                            chars.next();
                            text.push(c);
                        }
                        Some(c) if c == first => break,
                        Some(c) => text.push(c),
                        None => return no(4000, "a quote that does not end"),
                    }
                }
                tokens.push(if first == '"' { Token::Name(text) } else { Token::Text(text) });
            }
            ';' => return no(4000, "one statement at a time"),
            c if c.is_alphanumeric() || c == '_' => {
                let mut word = String::from(c.to_ascii_lowercase());
                while let Some(c) = chars.next_if(|c| c.is_alphanumeric() || *c == '_') {
                    word.push(c.to_ascii_lowercase());
                }
                tokens.push(Token::Word(word));
            }
            mark => tokens.push(Token::Mark(mark)),
        }
    }
    Ok(tokens)
}

struct Words {
    tokens: Vec<Token>,
    at: usize,
}

impl Words {
    fn next(&mut self) -> Result<Token, Error> {
        self.at += 1;
        self.tokens.get(self.at - 1).cloned().ok_or((4000, "the statement ends too early".into()))
    }

    fn word(&mut self) -> Result<String, Error> {
        match self.next()? {
            Token::Word(word) => Ok(word),
            other => no(4000, format!("{other:?} is no word")),
        }
    }

    fn peek_word(&self, word: &str) -> bool {
        self.tokens.get(self.at) == Some(&Token::Word(word.to_owned()))
    }

    fn expect(&mut self, words: &[&str]) -> Result<(), Error> {
        for wanted in words {
            let word = self.word()?;
            if word != *wanted {
                return no(4000, format!("mismatched input '{word}' expecting '{wanted}'"));
            }
        }
        Ok(())
    }

    fn mark(&mut self, wanted: char) -> Result<(), Error> {
        match self.next()? {
            Token::Mark(mark) if mark == wanted => Ok(()),
            other => no(4000, format!("mismatched input {other:?} expecting '{wanted}'")),
        }
    }

    /// Whether the list goes on, or is closed.
    fn comma(&mut self) -> Result<bool, Error> {
        match self.next()? {
            Token::Mark(',') => Ok(true),
            Token::Mark(')') => Ok(false),
            other => no(4000, format!("{other:?} in a list")),
        }
    }

    fn end(&self) -> Result<(), Error> {
        match self.tokens.get(self.at) {
            None => Ok(()),
            Some(more) => no(4000, format!("extraneous input {more:?}")),
        }
    }

    /// An identifier; without quotes it could be a word that is reserved.
    fn name(&mut self) -> Result<String, Error> {
        match self.next()? {
            Token::Name(name) if !name.is_empty() => Ok(name),
            other => no(4000, format!("{other:?} is no identifier in quotes")),
        }
    }

    fn column(&mut self) -> Result<String, Error> {
        let name = self.name()?;
        let system = ["_id", "_version", "_score", "_docid", "_seq_no", "_primary_term", "_raw"];
        if name.contains(['.', '[', ']']) || system.contains(&name.as_str()) {
            return no(4008, format!("\"{name}\" is no name of a column"));
        }
        Ok(name)
    }

    fn table(&mut self) -> Result<String, Error> {
        let schema = self.name()?;
        self.mark('.')?;
        let name = self.name()?;
        let wrong = |c: char| c.is_whitespace() || "\\/*?\"<>|,#.".contains(c);
        let own = ["blob", "information_schema", "sys", "pg_catalog"].contains(&schema.as_str());
        let long = schema.len() + name.len() + 1 > 255;
        if own || long || schema.contains(wrong) || name.contains(wrong) || name.starts_with('_') {
            return no(4002, format!("relation name {schema}.{name} is invalid"));
        }
        Ok(format!("{schema}.{name}"))
    }

    /// Names in brackets.
    fn names(&mut self) -> Result<Vec<String>, Error> {
        self.mark('(')?;
        let mut names = vec![self.column()?];
        while self.comma()? {
            names.push(self.column()?);
        }
        Ok(names)
    }

    /// A type, as the schema shows it.
    fn kind(&mut self) -> Result<String, Error> {
        let first = self.word()?;
        let rest: &[&str] = match first.as_str() {
            "double" => &["precision"],
            "timestamp" => &["with", "time", "zone"],
            "array" => {
                self.mark('(')?;
                let inner = self.kind()?;
                self.mark(')')?;
                return Ok(format!("{inner}_array"));
            }
            "numeric" => {
                self.mark('(')?;
                let precision = self.word()?;
                self.mark(',')?;
                let scale = self.word()?;
                self.mark(')')?;
                return match precision.parse::<u8>() {
                    Ok(1..=38) => Ok(format!("numeric({precision}, {scale})")),
                    _ => no(4000, "precision must be between 1 and 38"),
                };
            }
            "boolean" | "byte" | "smallint" | "integer" | "bigint" | "real" | "text" | "ip"
            | "object" => &[],
            other => return no(4044, format!("Cannot find data type: {other}")),
        };
        self.expect(rest)?;
        Ok([&[first.as_str()], rest].concat().join(" "))
    }
}
