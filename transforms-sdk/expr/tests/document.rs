//! `docs/expressions.md` is true: every example gives what stands behind its arrow, and its tables
//! have all functions and units.

use bridge_abi::Unit;
use bridge_expr::{FUNCTIONS, Row, Scratch, UNITS, Value, compile, time};

fn page() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/expressions.md");
    std::fs::read_to_string(path).expect("the page is there")
}

const COLUMNS: [&str; 11] =
    ["temperature", "count", "big", "ok", "ts", "site", "label", "note", "a name", "gone", "none"];

/// The record of the page.
struct Record;

impl<'r> Row<'r> for Record {
    fn column(&self, id: u16) -> Option<bridge_abi::Value<'r>> {
        Some(match COLUMNS[usize::from(id)] {
            "temperature" => bridge_abi::Value::F64(21.5),
            "count" => bridge_abi::Value::I64(7),
            "big" => bridge_abi::Value::I64(9_007_199_254_740_993),
            "ok" => bridge_abi::Value::Bool(true),
            "ts" => bridge_abi::Value::Timestamp(1_795_284_082_500, Unit::Millis),
            "site" => bridge_abi::Value::Symbol("north"),
            "label" => bridge_abi::Value::Text("Pump-12/A"),
            "note" => bridge_abi::Value::Null,
            "a name" => bridge_abi::Value::Text("x"),
            _ => return None,
        })
    }
    fn topic(&self) -> &'r str {
        "sensors"
    }
    fn partition(&self) -> i32 {
        3
    }
    fn offset(&self) -> i64 {
        1_001
    }
    fn timestamp_ms(&self) -> i64 {
        1_795_284_082_500
    }
    fn key(&self) -> Option<&'r [u8]> {
        Some(b"pump-12")
    }
    fn header(&self, name: &str) -> Option<&'r [u8]> {
        (name == "kind").then_some(b"test".as_slice())
    }
}

/// What an expression gives, as the page writes it.
fn answer(source: &str) -> String {
    let id = |name: &str| COLUMNS.iter().position(|column| *column == name);
    let program = compile(source, &mut |name| Ok(id(name).expect("a column of the page") as u16));
    let program = match program {
        Ok(program) => program,
        Err(error) => return format!("error: {}", error.message),
    };
    let mut scratch = Scratch::default();
    match program.value(&Record, &mut scratch) {
        Err(failure) => format!("error: {}", program.failed(failure)),
        Ok(Value::Null) => "null".to_owned(),
        Ok(Value::Bool(value)) => value.to_string(),
        Ok(Value::Int(value)) => value.to_string(),
        Ok(Value::Float(value)) => format!("{value:?}"),
        Ok(Value::Text(text)) => format!("'{}'", scratch.text(&text)),
        Ok(Value::Time(at, unit)) => format!("timestamp '{}'", time::Written(at, unit)),
        Ok(other) => format!("{other:?}"),
    }
}

#[test]
fn every_example_gives_what_the_page_says() {
    let page = page();
    let examples: Vec<(&str, &str)> = page
        .split("```expr\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .flat_map(str::lines)
        .map(|line| line.split_once('→').expect("an arrow in every line"))
        .collect();
    assert!(examples.len() > 80, "only {} examples were found", examples.len());
    let wrong: Vec<String> = examples
        .iter()
        .map(|(source, expected)| (source.trim(), expected.trim(), answer(source.trim())))
        .filter(|(_, expected, found)| expected != found)
        .map(|(source, expected, found)| format!("{source}\n  says {expected}\n  is   {found}"))
        .collect();
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn all_functions_and_units_are_listed() {
    let page = page();
    let functions = FUNCTIONS.iter().flat_map(|info| {
        let also = info.also.iter().map(|name| format!("also `{name}`"));
        also.chain([format!("| `{}` |", info.example)])
    });
    let units = UNITS.iter().map(|unit| format!("`{}`", unit.name));
    let lacks: Vec<String> = functions.chain(units).filter(|words| !page.contains(words)).collect();
    assert!(lacks.is_empty(), "docs/expressions.md lacks {lacks:?}");
    let rows = page.split("## Functions").nth(1).and_then(|rest| rest.split("\n\n").nth(2));
    assert_eq!(rows.expect("the table").lines().count(), FUNCTIONS.len() + 2);
}
