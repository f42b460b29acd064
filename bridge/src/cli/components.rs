//! `bridge components`: everything that can be written into a file, out of the tables of kinds
//! and the drafts. `docs/reference.md` is this, in Markdown.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::config::{COMPRESSION_SAID, file_schema, options_of};
use crate::kind::Kind;
use crate::modules::{self, BUILTIN};
use crate::{format, sink, source, transform};

/// A kind, whatever its room.
struct Entry {
    name: &'static str,
    summary: &'static str,
    example: &'static str,
    schema: Value,
}

fn entries<P: ?Sized>(kinds: &[Kind<P>]) -> Vec<Entry> {
    let entry = |kind: &Kind<P>| Entry {
        name: kind.name,
        summary: kind.summary,
        example: kind.example,
        schema: (kind.schema)().to_value(),
    };
    kinds.iter().map(entry).collect()
}

/// (heading, where its section stands, the key that chooses, kinds).
fn rooms() -> [(&'static str, &'static str, &'static str, Vec<Entry>); 4] {
    let kafka = Entry {
        name: "kafka",
        summary: "a consumer group of Kafka, the default; its keys are those of pipeline.NAME",
        example: "kind = \"kafka\"\n",
        schema: json!({ "type": "object" }),
    };
    let sources = [kafka].into_iter().chain(entries(source::KINDS)).collect();
    [
        ("source", "pipeline.NAME.source", "kind", sources),
        ("format", "pipeline.NAME.value", "format", entries(format::KINDS)),
        ("transform", "pipeline.NAME.transform", "kind", entries(transform::KINDS)),
        ("sink", "pipeline.NAME.sink", "kind", entries(sink::KINDS)),
    ]
}

/// The sections that are not a kind's: (path, definition in the schema).
const SECTIONS: &[(&str, &str)] = &[
    ("kafka", "Kafka"),
    ("kafka.sasl", "Sasl"),
    ("http", "Http"),
    ("pipeline.NAME", "Pipeline"),
    ("pipeline.NAME.key", "Key"),
    ("pipeline.NAME.table", "Table"),
    ("pipeline.NAME.table.timestamp", "Timestamp"),
    ("pipeline.NAME.table.metadata", "Metadata"),
    ("pipeline.NAME.fallback", "Fallback"),
    ("pipeline.NAME.rejects", "Rejects"),
    ("tables.NAME", "Declared"),
    ("limits and pipeline.NAME.limits", "Limits"),
];

/// Everything, for programs.
pub fn json() -> Value {
    let mut all = json!({ "version": env!("CARGO_PKG_VERSION") });
    for (room, section, key, kinds) in rooms() {
        let kind = |kind: &Entry| {
            json!({
                "name": kind.name,
                "summary": kind.summary,
                "example": kind.example,
                "options": kind.schema,
            })
        };
        let kinds: Vec<Value> = kinds.iter().map(kind).collect();
        all[room] = json!({ "section": section, "chosen_by": key, "kinds": kinds });
    }
    let modules = modules::BUILTINS.iter().map(|builtin| {
        json!({ "module": format!("{BUILTIN}{}", builtin.name), "summary": builtin.summary })
    });
    all["modules"] = modules.collect();
    all["file"] = file_schema();
    all
}

/// One line for each kind.
pub fn text() -> String {
    let mut text = String::new();
    for (room, section, key, kinds) in rooms() {
        let _ = writeln!(text, "{room} ({section}, chosen by `{key}`)");
        for kind in kinds {
            let _ = writeln!(text, "  {:12}{}", kind.name, kind.summary);
        }
    }
    let _ = writeln!(text, "modules that come along (`module` of a transform)");
    for builtin in &modules::BUILTINS {
        let _ = writeln!(text, "  {:18}{}", format!("{BUILTIN}{}", builtin.name), builtin.summary);
    }
    text.push_str("\nall options: bridge components --json, or docs/reference.md\n");
    text
}

/// The reference.
pub fn markdown() -> String {
    let mut page = String::from(
        "# Reference\n\nEvery key of a configuration file. This page is made by `bridge components \
         --markdown`\nfrom the code; a test holds it fresh.\n\nText may hold `${NAME}`, \
         `${NAME:-default}` and `${file:path}`; `$$` is a dollar sign. Sizes are\nwritten \
         `\"8MiB\"` or as a number of bytes, durations `\"500ms\"`, `\"1s\"`, `\"5m\"`.\n",
    );
    let schema = file_schema();
    let _ = writeln!(page, "\n## The file\n");
    table(&mut page, &schema, &schema);
    for (path, definition) in SECTIONS {
        let section = &schema["$defs"][definition];
        let _ = writeln!(page, "\n## {path}\n");
        let mut choices = section["anyOf"].as_array().into_iter().flatten();
        let whole = choices.rfind(|choice| choice.get("properties").is_some());
        table(&mut page, whole.unwrap_or(section), &schema);
    }
    for (room, section, key, kinds) in rooms() {
        let _ = writeln!(page, "\n## {room}\n\nThe section `{section}`, chosen by `{key}`.");
        if room == "format" {
            let _ = writeln!(page, "\nAll have `compression`: {COMPRESSION_SAID}");
        }
        for kind in kinds {
            let _ = writeln!(page, "\n### {}\n\n{}.\n", kind.name, sentence(kind.summary));
            let _ = writeln!(page, "```toml\n{}\n```\n", kind.example.trim());
            table(&mut page, &kind.schema, &kind.schema);
        }
    }
    page
}

fn sentence(text: &str) -> String {
    let mut letters = text.trim_end_matches('.').chars();
    let first = letters.next().map(char::to_uppercase);
    first.into_iter().flatten().chain(letters).collect()
}

fn table(page: &mut String, section: &Value, root: &Value) {
    let options = options_of(section, root);
    if options.is_empty() {
        page.push_str("No options.\n");
        return;
    }
    page.push_str("| key | written as | meaning |\n|---|---|---|\n");
    for (key, kind, meaning) in options {
        let cell = |text: &str| text.replace('|', "\\|").replace('\n', " ");
        let _ = writeln!(page, "| `{key}` | {} | {} |", cell(&kind), cell(&meaning));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_is_fresh() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference.md");
        let made = markdown();
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(file, &made).expect("the reference can be written");
        }
        let written = std::fs::read_to_string(file).unwrap_or_default();
        assert!(written == made, "docs/reference.md is stale: UPDATE=1 cargo test reference");
    }

    #[test]
    fn every_section_is_in_the_schema() {
        let schema = file_schema();
        for (path, definition) in SECTIONS {
            assert!(schema["$defs"].get(definition).is_some(), "{path}: {definition}");
        }
    }

    /// Every key of a file exists in the schema.
    #[track_caller]
    fn check_keys(schema: &Value, root: &Value, value: &toml::Value, path: &str) {
        if let Some(name) = schema["$ref"].as_str() {
            let name = name.trim_start_matches("#/$defs/");
            return check_keys(&root["$defs"][name], root, value, path);
        }
        let nothing = Vec::new();
        let choices = ["anyOf", "oneOf"].iter().find_map(|key| schema[key].as_array());
        let choices = choices.unwrap_or(&nothing);
        if !choices.is_empty() {
            let fits = |choice: &&Value| {
                let target = match choice["$ref"].as_str() {
                    Some(name) => &root["$defs"][name.trim_start_matches("#/$defs/")],
                    None => choice,
                };
                let Some(table) = value.as_table() else { return true };
                table.keys().all(|key| {
                    target["properties"].get(key).is_some()
                        || target["additionalProperties"].is_object()
                })
            };
            assert!(choices.iter().any(|choice| fits(&choice)), "{path} fits no choice");
            return;
        }
        match value {
            toml::Value::Table(table) => {
                for (key, below) in table {
                    let path = format!("{path}.{key}");
                    let named = schema["properties"].get(key);
                    let any = Some(&schema["additionalProperties"]).filter(|any| any.is_object());
                    let schema = named.or(any);
                    assert!(schema.is_some(), "{path} is not in the schema");
                    check_keys(schema.expect("just seen"), root, below, &path);
                }
            }
            toml::Value::Array(elements) => {
                for element in elements {
                    check_keys(&schema["items"], root, element, path);
                }
            }
            _ => {}
        }
    }

    #[test]
    fn the_schema_knows_every_key_of_the_example() {
        let text = include_str!("../config/example.toml");
        let example: toml::Value = toml::from_str(text).expect("it is TOML");
        let schema = file_schema();
        check_keys(&schema, &schema, &example, "file");
    }
}
