//! What the false server answers to SQL.

use std::sync::Mutex;

use super::fake::State;

/// The answer to a request, by its head in lower case.
pub fn query(state: &Mutex<State>, head: &str) -> String {
    let mut state = state.lock().expect("whole");
    if head.contains("wal_pending_row_count") {
        let row = |(name, (id, suspended)): (&String, &(i64, bool))| {
            format!("[\"{name}\",{id},{suspended},1,1,0]")
        };
        let rows: Vec<String> = state.tables.iter().map(row).collect();
        return format!(
            "{{\"columns\":[{}],\"dataset\":[{}]}}",
            ["{\"name\":\"c\"}"; 6].join(","),
            rows.join(",")
        );
    }
    if head.contains("wal_tables") {
        let suspended = state.tables.values().any(|(_, suspended)| *suspended);
        return answer(3, &format!("[{suspended},\"DISK FULL\",\"no space\"]"));
    }
    let statement = decode(head);
    state.queries.push(statement.clone());
    if statement.contains("resume wal") {
        state.unreadable = false;
    }
    if statement.contains("hydrate_table_metadata") {
        state.unlisted = false;
    }
    let reads = ["select * from", "table_columns"].iter().any(|part| statement.contains(part));
    if state.unreadable && reads {
        return r#"{"error":"[0]: Metadata read timeout [src=reader, timeout=1000ms]"}"#.into();
    }
    if statement.contains("select * from") && state.tables.is_empty() {
        return r#"{"error":"table does not exist"}"#.into();
    }
    let is_listed = !state.unlisted;
    let rows = if let Some((_, name)) = statement.split_once("lower(table_name) = '") {
        let name = name.split('\'').next().unwrap_or_default();
        let row = state
            .tables
            .get(name)
            .filter(|_| is_listed)
            .map(|(id, _)| format!("[{id},\"{name}\",\"ts\",true]"));
        return answer(4, &row.unwrap_or_default());
    } else if statement.contains("type, upsertkey") {
        return answer(3, &format!("[\"v\",\"{}\",false]", state.kind));
    } else if statement.contains("table_columns") {
        let column = |(name, key): &(&str, bool)| format!("[\"{name}\",{key}]");
        let columns: Vec<String> = state.columns.iter().map(column).collect();
        return answer(2, &columns.join(","));
    } else if statement.contains("count_distinct") {
        let count = count(&statement, &state.stored);
        format!("[\"sens\",0,{count}]")
    } else {
        String::new()
    };
    answer(3, &rows)
}

fn answer(columns: usize, rows: &str) -> String {
    let columns = vec!["{\"name\":\"c\"}"; columns].join(",");
    format!("{{\"columns\":[{columns}],\"dataset\":[{rows}]}}")
}

/// Distinct stored offsets between those that the statement names.
fn count(statement: &str, stored: &[String]) -> usize {
    let after = |mark: &str| {
        let at = statement.find(mark).map(|at| &statement[at + mark.len()..]);
        at.and_then(|rest| rest.split(|c: char| !c.is_ascii_digit()).next()?.parse::<i64>().ok())
    };
    let from = after("\"ko\" between ").expect("a range");
    let to = after(&format!("\"ko\" between {from} and ")).expect("a range");
    let offset = |line: &String| line.split_once("v=")?.1.trim_end_matches('i').parse().ok();
    let offsets: std::collections::BTreeSet<i64> =
        stored.iter().filter_map(offset).filter(|offset| (from..=to).contains(offset)).collect();
    offsets.len()
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = [rest.next().expect("a digit"), rest.next().expect("a digit")];
        let digits = std::str::from_utf8(&digits).expect("digits");
        bytes.push(u8::from_str_radix(digits, 16).expect("digits"));
    }
    String::from_utf8(bytes).expect("text")
}
