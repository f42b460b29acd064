//! The key of `bridge produce`: a column as text, or columns with a schema. Becomes a part of the
//! sink's section.

use clap::ValueEnum;

use super::{Asked, Format, From, from};
use crate::blame::Fault;

/// How a registry is named.
const REGISTRY: &str = "such as --registry http://localhost:8081";

/// What keys are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(super) enum KeyFormat {
    /// Text.
    Text,
    /// Avro, with a schema.
    Avro,
    /// Protocol Buffers, with a schema.
    Protobuf,
    /// JSON under a JSON Schema.
    JsonSchema,
}

impl KeyFormat {
    /// As the sink calls it; `None` without a schema.
    fn encode(self) -> Option<&'static str> {
        match self {
            KeyFormat::Text => None,
            KeyFormat::Avro => Some("avro"),
            KeyFormat::Protobuf => Some("protobuf"),
            KeyFormat::JsonSchema => Some("json-schema"),
        }
    }
}

/// Says to the sink which columns are the key, and what that is written as.
pub(super) fn put(asked: &Asked, sink: &mut toml::Table) -> Result<(), Fault> {
    if !asked.key.is_empty() && asked.format == Format::Raw && from(asked) == From::Lines {
        let message = "lines that nobody reads have no columns for --key";
        return Err(Fault::operator(message).hint("--from json, csv or ilp, or --key-delimiter"));
    }
    let Some(encode) = asked.key_format.encode() else {
        if asked.key.len() > 1 {
            let message = "a key of several columns needs a schema that tells them apart";
            return Err(Fault::operator(message).hint("such as --key-format avro"));
        }
        let column = asked.key.first().map(|column| toml::Value::from(column.as_str()));
        sink.extend(column.map(|column| ("key_column".to_owned(), column)));
        return Ok(());
    };
    let of_values = [
        ("--schema", "schema_file", asked.schema.is_some()),
        ("--schema-version", "schema_version", asked.schema_version.is_some()),
        ("--subject", "subject", asked.subject.is_some()),
    ];
    let lost = of_values.iter().find(|(.., is_said)| *is_said && !asked.format.has_schema());
    if let Some((option, name, _)) = lost {
        let message = format!("{option} is for values with a schema, and only the key has one");
        return Err(Fault::operator(message).hint(format!("--write 'key.{name} = …'")));
    }
    let mut key = toml::Table::new();
    key.insert("columns".to_owned(), asked.key.clone().into());
    key.insert("encode".to_owned(), encode.into());
    if asked.no_register {
        key.insert("register".to_owned(), false.into());
    }
    if !asked.format.has_schema() || is_bare(sink) {
        // What values have no use for is the key's.
        for name in ["registry", "register"] {
            key.extend(sink.remove(name).map(|value| (name.to_owned(), value)));
        }
    }
    merge(sink, toml::Table::from_iter([("key".to_owned(), key.into())]));
    Ok(())
}

/// Puts keys into a section. Of tables within it stays what is not said anew.
fn merge(section: &mut toml::Table, said: toml::Table) {
    for (name, value) in said {
        let there = section.entry(name).or_insert_with(|| toml::Table::new().into());
        match (there, value) {
            (toml::Value::Table(there), toml::Value::Table(said)) => merge(there, said),
            (there, value) => *there = value,
        }
    }
}

/// Refuses what names its schema by an id, where no registry is named that gives one.
pub(super) fn check_registry(asked: &Asked, sink: &toml::Table) -> Result<(), Fault> {
    let lacks = |section: &toml::Table| !is_bare(section) && !section.contains_key("registry");
    let key = asked.key_format.encode().and(sink.get("key")).and_then(toml::Value::as_table);
    let option = if asked.format.has_schema() && lacks(sink) {
        "--format"
    } else if key.is_some_and(|key| lacks(key) && !sink.contains_key("registry")) {
        "--key-format"
    } else {
        return Ok(());
    };
    let message = format!("{option} writes the id of a schema, and no registry is named for it");
    Err(Fault::operator(message).hint(REGISTRY))
}

/// Whether nothing says which schema it is.
fn is_bare(section: &toml::Table) -> bool {
    section.get("framing").and_then(toml::Value::as_str) == Some("bare")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::{plan, sink};
    use super::*;

    #[derive(Parser, Debug)]
    struct Line {
        #[command(flatten)]
        asked: Asked,
    }

    /// What the sink is told, and takes; or what is wrong.
    fn sink_of(options: &str) -> Result<toml::Table, String> {
        let words = ["produce", "x"].into_iter().chain(options.split_whitespace());
        let Line { asked } = Line::try_parse_from(words).map_err(|e| e.to_string())?;
        plan(&asked).map_err(|fault| fault.to_string())?;
        sink(&asked, None).map_err(|fault| fault.to_string())
    }

    #[test]
    fn keys_have_a_schema_by_an_option_of_their_own() {
        let (avro, registry) = ("--key a --key-format avro", "--registry http://r");
        let of_a = "columns = ['a']\nencode = 'avro'\n";
        for (options, key) in [
            (format!("{avro} {registry}"), format!("{of_a}registry.url = 'http://r'")),
            // The registry of values is that of keys.
            (format!("{avro} {registry} --format protobuf"), of_a.to_owned()),
            (
                format!("{avro} {registry} --format avro --no-register"),
                format!("{of_a}register = false"),
            ),
            (
                format!("{avro} {registry} --no-register --write key.subject='s'"),
                format!("{of_a}register = false\nsubject = 's'\nregistry.url = 'http://r'"),
            ),
            (
                format!("--key a,b --key c --key-format json-schema {registry}"),
                "columns = ['a', 'b', 'c']\nencode = 'json-schema'\nregistry.url = 'http://r'"
                    .to_owned(),
            ),
            (
                format!("{avro} --write key.registry.url='http://k'"),
                format!("{of_a}registry.url = 'http://k'"),
            ),
        ] {
            let sink = sink_of(&options).unwrap_or_else(|wrong| panic!("{options}: {wrong}"));
            let key: toml::Table = toml::from_str(&key).expect("TOML");
            assert_eq!(sink.get("key"), Some(&toml::Value::Table(key)), "{options}");
            assert!(!sink.contains_key("key_column"), "{options}");
        }
        let text = sink_of("--key a").expect("it is right");
        assert_eq!(text.get("key_column").and_then(toml::Value::as_str), Some("a"));
        assert!(!text.contains_key("key"));
    }

    #[test]
    fn what_is_wrong_about_keys_is_told_with_what_to_change() {
        for (options, help) in [
            ("--key a --key-format avro", "--registry http://"),
            ("--key a --key-format avro --format avro", "--registry http://"),
            ("--key-format avro", "--key <COLUMN"),
            ("--key-format avro --key-delimiter :", "cannot be used with"),
            ("--key a,b", "--key-format avro"),
            ("--key a --from lines", "--from json"),
            ("--key a --key-format avro --registry http://r --subject s", "key.subject"),
            ("--key a --key-format avro --registry r", "registry.url"),
        ] {
            let wrong = sink_of(options).expect_err(options);
            assert!(wrong.contains(help), "{options}: {wrong}");
        }
    }
}
