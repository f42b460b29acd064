//! What is left of the records when things break, as a table.

use serde_json::Value;

use super::file::ResultFile;
use super::page::{escape, section as part, table};

pub fn section(files: &[&ResultFile]) -> String {
    let rows: Vec<Vec<String>> = files
        .iter()
        .flat_map(|file| {
            let cases = file.summary()["cases"].as_array().map_or(&[][..], Vec::as_slice);
            cases.iter().map(|case| row(file, case))
        })
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    let heading = [
        "case",
        "pipeline",
        "stored",
        "lost",
        "never delivered",
        "double",
        "recovers by itself",
        "seconds until work goes on",
        "the user sees",
    ];
    let said = "Counted at the destination after everything has come to rest.";
    part("When things break", said, &table(&heading, &[1, 6, 8], &rows))
}

fn row(file: &ResultFile, case: &Value) -> Vec<String> {
    let text = |name: &str| escape(case[name].as_str().unwrap_or_default());
    let count = |name: &str, bad: bool| match case[name].as_u64() {
        None => String::new(),
        Some(count) if bad && count > 0 => format!("<span class=\"bad\">{count}</span>"),
        Some(count) => count.to_string(),
    };
    let saw = match case["failed"].as_str() {
        Some(why) => format!("no figure: {}", escape(why)),
        None => text("saw"),
    };
    let pipeline = [text("program"), text("transport")];
    let pipeline: Vec<&str> =
        pipeline.iter().map(String::as_str).filter(|text| !text.is_empty()).collect();
    vec![
        file.link().around(case["title"].as_str().unwrap_or("?")),
        pipeline.join(" · "),
        count("stored", false),
        count("lost", true),
        count("never_delivered", true),
        count("double", true),
        match case["recovers"].as_bool() {
            Some(true) => "yes".to_owned(),
            Some(false) => "<span class=\"bad\">no</span>".to_owned(),
            None => String::new(),
        },
        case["seconds"].as_f64().map_or(String::new(), |seconds| format!("{seconds:.1}")),
        saw,
    ]
}
