//! A module on the command line: `builtin:NAME` or a path from where one stands, and its options.

use std::path::Path;

use crate::blame::Fault;
use crate::config::Section;

/// The text of `--config`: a table in JSON, or keys in TOML.
pub(super) fn config(text: Option<&str>) -> Result<toml::Table, Fault> {
    let example = "such as --config 'min_celsius = 15.0', or --config '{\"min_celsius\": 15.0}'";
    options("--config", example, text)
}

/// The text of an option that is a table: in JSON, or keys in TOML, on lines of their own or with
/// commas as in `{ … }`.
pub(super) fn options(
    option: &str,
    example: &str,
    text: Option<&str>,
) -> Result<toml::Table, Fault> {
    let Some(text) = text else { return Ok(toml::Table::new()) };
    let read = match text.trim_start().starts_with('{') {
        true => serde_json::from_str(text).map_err(|error| error.to_string()),
        false => toml::from_str(text).or_else(|error: toml::de::Error| {
            let inline: Result<toml::Table, _> = toml::from_str(&format!("it = {{ {text} }}"));
            let table = inline.ok().and_then(|mut whole| whole.remove("it"));
            match table {
                Some(toml::Value::Table(table)) => Ok(table),
                _ => Err(error.to_string()),
            }
        }),
    };
    read.map_err(|message: String| {
        Fault::operator(format!("reading {option}: {}", message.trim_end())).hint(example)
    })
}

/// The module's section, as it would stand in a configuration.
pub(super) fn table(module: &str, text: Option<&str>) -> Result<toml::Table, Fault> {
    let mut table = toml::Table::new();
    table.insert("module".to_owned(), module.into());
    table.insert("config".to_owned(), config(text)?.into());
    Ok(table)
}

/// The same, to be read.
pub(super) fn section(module: &str, text: Option<&str>) -> Result<Section, Fault> {
    Ok(Section::new("", table(module, text)?))
}

/// The section of a source: the lines of a file, or made-up readings of sensors.
pub(super) fn file_source(path: Option<&Path>) -> toml::Table {
    let mut source = toml::Table::new();
    source.insert("kind".to_owned(), "memory".into());
    source.extend(path.map(|path| ("file".to_owned(), path.to_string_lossy().as_ref().into())));
    source
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_said_in_json_or_toml() {
        let json = config(Some("{\"a\": {\"b\": 1}}")).expect("JSON");
        assert_eq!(config(Some("a = { b = 1 }")).expect("TOML"), json);
        let two = config(Some("a = 1, b = { c = 'x' }")).expect("with a comma");
        assert_eq!(two, config(Some("a = 1\nb.c = 'x'")).expect("on two lines"));
        assert_eq!(config(None).expect("nothing"), toml::Table::new());
        let fault = config(Some("{a}")).expect_err("neither");
        assert!(fault.to_string().contains("--config"), "{fault}");
    }
}
