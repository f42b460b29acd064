//! Converters and single message transforms of Connect.

use toml::{Table, Value};

use super::page::Page;
use super::properties::Properties;

/// The simple name of a Java class, without the part for keys or values.
pub fn class(name: &str) -> &str {
    let last = name.rsplit('.').next().unwrap_or(name);
    last.split('$').next().unwrap_or(last)
}

/// How a converter's bytes are called here; `None` if there is no such format.
fn format(converter: &str) -> Option<&'static str> {
    Some(match class(converter) {
        "JsonConverter" => "json",
        "StringConverter" => "string",
        "ByteArrayConverter" => "raw",
        "ShortConverter" => "i16",
        "IntegerConverter" => "i32",
        "LongConverter" => "i64",
        "FloatConverter" => "f32",
        "DoubleConverter" => "f64",
        "BooleanConverter" => "bool",
        _ => return None,
    })
}

/// The format of values.
pub fn value(properties: &mut Properties, page: &mut Page) {
    let options = properties.take_below("value.converter.");
    let Some(converter) = properties.take("value.converter") else {
        page.set_with("value", "format", "json", "the worker's own converter is not known here");
        return;
    };
    match format(&converter) {
        Some("json") => {
            page.set("value", "format", "json");
            enveloped(&options, "value.converter.", page);
        }
        Some(format) => {
            page.set("value", "format", format);
            page.set("value", "column", "value");
        }
        None if class(&converter) == "AvroConverter" => {
            page.set("value", "format", "avro");
            registry(&options, page);
        }
        None => page.leave("value.converter", &converter, "no format here is like it"),
    }
}

/// Where a converter's schemas are.
fn registry(options: &[(String, String)], page: &mut Page) {
    let mut registry = Table::new();
    for (name, value) in options {
        match name.as_str() {
            "schema.registry.url" => {
                let urls: Vec<&str> = words(value).collect();
                let url = match &urls[..] {
                    [one] => Value::from(*one),
                    more => Value::from(more.to_vec()),
                };
                registry.insert("url".to_owned(), url);
            }
            _ => page.leave(
                &format!("value.converter.{name}"),
                if name.contains("auth") { "…" } else { value },
                "the keys of `value.registry` say how it is reached",
            ),
        }
    }
    page.set("value", "registry", registry);
}

/// Connect's JSON has its schema beside it unless told otherwise.
fn enveloped(options: &[(String, String)], prefix: &str, page: &mut Page) {
    let enable = options.iter().find(|(name, _)| name == "schemas.enable");
    if !enable.is_some_and(|(_, value)| value.trim().eq_ignore_ascii_case("false")) {
        let value = enable.map_or("true (the default)", |(_, value)| value);
        let why = "records bring their schema as {\"schema\":…,\"payload\":…}: their columns would \
                   be `payload_…`; rename them in `table.mapping`, or send plain JSON";
        page.leave(&format!("{prefix}schemas.enable"), value, why);
    }
}

/// The format of keys, where they become columns: a key that is one value is in `column`, the
/// fields of an object have the prefix.
pub fn key(properties: &mut Properties, page: &mut Page, column: &str, prefix: &str) {
    let options = properties.take_below("key.converter.");
    let Some(converter) = properties.take("key.converter") else {
        page.set_with("key", "format", "string", "the worker's own converter is not known here");
        page.set("key", "column", column);
        return;
    };
    match format(&converter) {
        Some(format) => {
            page.set("key", "format", format);
            page.set("key", "column", column);
            if format == "json" {
                page.set("key", "prefix", prefix);
                enveloped(&options, "key.converter.", page);
            }
        }
        None => page.leave("key.converter", &converter, "no format of keys here is like it"),
    }
}

/// Single message transforms: those that a table's section can say.
pub fn transforms(properties: &mut Properties, page: &mut Page) {
    for name in properties.take_list("transforms") {
        let options = properties.take_below(&format!("transforms.{name}."));
        let option = |wanted: &str| {
            let found = options.iter().find(|(name, _)| name == wanted);
            found.map(|(_, value)| value.trim()).filter(|value| !value.is_empty())
        };
        let kind = option("type").unwrap_or_default();
        let of_key = kind.ends_with("$Key");
        let conditional = option("predicate").is_some();
        let done = !of_key && !conditional && one(class(kind), &option, page);
        if !done {
            let path = format!("transforms.{name}.type");
            let why = instead(class(kind));
            page.leave(&path, kind, why);
        }
    }
    for (name, value) in properties.take_below("predicates") {
        page.leave(&format!("predicates{name}"), &value, "a condition is the `where` of a filter");
    }
}

/// Whether it could be said.
fn one<'a>(class: &str, option: &dyn Fn(&str) -> Option<&'a str>, page: &mut Page) -> bool {
    let list = |text: &str| -> Vec<Value> { words(text).map(Value::from).collect() };
    match class {
        "ReplaceField" => {
            let renames = option("renames").map(pairs).unwrap_or_default();
            let only = option("include").or(option("whitelist"));
            if only.is_none() && !renames.is_empty() {
                page.set("table", "mapping", renames.clone());
            }
            if let Some(drop) = option("exclude").or(option("blacklist")) {
                page.set("table", "drop", list(drop));
            }
            match only {
                Some(only) if renames.is_empty() => page.set("table", "mapping_only", list(only)),
                Some(only) => {
                    let named = |field: &str| {
                        let same = || Value::from(field);
                        (field.to_owned(), renames.get(field).cloned().unwrap_or_else(same))
                    };
                    page.set("table", "mapping_only", words(only).map(named).collect::<Table>());
                }
                None => {}
            }
            true
        }
        "InsertField" => {
            if option("static.field").is_some() {
                return false;
            }
            let mut columns = Table::new();
            for part in ["topic", "partition", "offset", "timestamp"] {
                if let Some(column) = option(&format!("{part}.field")) {
                    // `!` and `?` say whether the field may be missing.
                    let column = column.trim_end_matches(['!', '?']);
                    columns.insert(part.to_owned(), column.into());
                }
            }
            page.set("table", "metadata", columns);
            true
        }
        "Flatten" => {
            page.set("value", "separator", option("delimiter").unwrap_or("."));
            true
        }
        "Cast" => cast(option("spec").unwrap_or_default(), page),
        _ => false,
    }
}

/// `a:int32,b:string` as types of columns.
fn cast(spec: &str, page: &mut Page) -> bool {
    let mut columns = Table::new();
    for part in words(spec) {
        let Some((column, kind)) = part.rsplit_once(':') else { return false };
        let kind = match kind {
            "int8" | "int16" | "int32" | "int64" => "long",
            "float32" | "float64" => "double",
            "boolean" => "boolean",
            "string" => "varchar",
            _ => return false,
        };
        columns.insert(column.to_owned(), kind.into());
    }
    page.set("table", "columns", columns);
    true
}

/// What does the same here, if anything.
fn instead(class: &str) -> &'static str {
    match class {
        "Filter" => "`module = \"builtin:filter\"` with a condition does it",
        "RegexRouter" | "TimestampRouter" | "ExtractTopic" => {
            "`table.name` is a template of {topic}, {key}, {partition} and {field.NAME}; \
             `module = \"builtin:route\"` chooses tables by rules"
        }
        "MaskField" => "`module = \"builtin:redact\"` does it",
        "TimestampConverter" => "`table.timestamp` and `table.columns` say how times are written",
        "InsertField" => "`module = \"builtin:convert\"` sets columns to constants",
        _ => "a transform of your own does it (`bridge transform new`)",
    }
}

/// `a:b,c:d` as a table.
fn pairs(text: &str) -> Table {
    let pair =
        |part: &str| part.split_once(':').map(|(a, b)| (a.trim().to_owned(), b.trim().into()));
    words(text).filter_map(pair).collect()
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|word| !word.is_empty())
}
