//! What `[pipeline.NAME.value]` may say with `format = "protobuf"`, checked: where types are, how
//! values name theirs, and what fields become.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;

use super::model::Say;
use crate::config::{Mistake, Section};
use crate::kind;
use crate::schemas::proto::Given;
use crate::schemas::{Files, Inquiry, Part, RegistryOptions, RegistryPlan};

/// How a value says what it was written with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Framing {
    /// A zero byte, the id of its schema in a registry and the place of its message come first.
    Confluent,
    /// Not at all: all are the same message.
    Bare,
}

/// What an enum's value becomes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Enums {
    /// A symbol; a number that has no name is its digits.
    #[default]
    Names,
    /// A long.
    Numbers,
}

/// What a duration becomes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Durations {
    /// A long.
    #[default]
    Nanos,
    /// As in Protobuf's JSON.
    Text,
}

/// Protobuf: values in its binary encoding.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// How a value says what it is: `"confluent"` (default with a `registry`: by the id of its
    /// schema there, and the place of its message in it), `"bare"` (not at all: all are `message`).
    framing: Option<Framing>,
    /// The schema registry, for `confluent`.
    registry: Option<RegistryOptions>,
    /// The message type of all values with its package, such as `"shop.Order"`; for `bare`.
    message: Option<String>,
    /// The `.proto` file that has it, or several, relative to the configuration file.
    files: Option<Files>,
    /// Folders in which imports are looked for. Default: that of the first of `files`.
    include: Option<Files>,
    /// The text of a `.proto` file, in place of `files`.
    schema: Option<String>,
    /// A descriptor set, as `protoc --include_imports --descriptor_set_out` writes it, in place of
    /// `files`.
    descriptor_set: Option<PathBuf>,
    /// Absent fields whose presence nobody can tell have their defaults: 0, `""`, `false`, the
    /// enum's first value, an empty list; and what proto2 says with `default`. Default true;
    /// `false`: they are absent.
    defaults: Option<bool>,
    /// What enums become: `"names"` (default: symbols), `"numbers"` (longs).
    enums: Enums,
    /// What a `google.protobuf.Duration` becomes: `"nanos"` (default: a long), `"text"` (`1.500s`).
    durations: Durations,
    /// Stands between the names of nested messages. Default `"_"`.
    separator: Option<String>,
    /// The column of a value that is no record, such as a `Timestamp`. Default `"value"`.
    column: Option<String>,
}

/// The format as configured.
#[derive(Clone, Debug)]
pub struct ProtobufOptions {
    pub written: Written,
    pub say: Say,
    pub separator: String,
    /// Put before the names of all columns.
    pub prefix: String,
    pub column: String,
    /// What of a record is read so.
    pub part: Part,
}

/// What values were written with.
#[derive(Clone, Debug)]
pub enum Written {
    /// What a registry has under their id.
    Registered(Box<RegistryPlan>),
    /// All are this message.
    Bare { given: Given, message: String },
}

impl ProtobufOptions {
    /// Reads and checks a section.
    pub fn parse(section: &Section) -> Result<ProtobufOptions, Mistake> {
        let options: Options = kind::options(section)?;
        let written = options.written(section)?;
        let say = Say {
            defaults: options.defaults.unwrap_or(true),
            enum_numbers: options.enums == Enums::Numbers,
            duration_text: options.durations == Durations::Text,
        };
        let separator = options.separator.unwrap_or_else(|| "_".to_owned());
        let column = options.column.unwrap_or_else(|| "value".to_owned());
        if column.is_empty() {
            return Err(section.mistake("column", "a column needs a name"));
        }
        let (prefix, part) = (String::new(), Part::Value);
        Ok(ProtobufOptions { written, say, separator, prefix, column, part })
    }

    /// The same for keys.
    pub fn of_key(self, prefix: &str, column: &str) -> ProtobufOptions {
        let (prefix, column) = (prefix.to_owned(), column.to_owned());
        ProtobufOptions { prefix, column, part: Part::Key, ..self }
    }

    /// What begins a sentence about what was read.
    pub fn called(&self) -> &'static str {
        self.part.called()
    }

    /// Lines of `bridge explain`.
    pub fn explain(&self) -> Vec<String> {
        vec![match &self.written {
            Written::Registered(registry) => {
                format!("schemas from the registry {}", registry.in_words())
            }
            Written::Bare { given, message } => format!("{message} of {}", given.in_words()),
        }]
    }

    /// What it asks of a registry, if it does.
    pub fn inquiry(&self) -> Option<Inquiry<'_>> {
        let Written::Registered(registry) = &self.written else { return None };
        let kind = "PROTOBUF";
        Some(Inquiry { registry, kind, version: None, subject: None, part: self.part })
    }

    /// Every path of a file starts from `base`; one that is absolute stays as it is.
    pub fn rebase(&mut self, base: &Path) {
        match &mut self.written {
            Written::Registered(registry) => registry.rebase(base),
            Written::Bare { given, .. } => given.rebase(base),
        }
    }
}

impl Options {
    fn written(&self, section: &Section) -> Result<Written, Mistake> {
        let framing = self.framing.unwrap_or(match self.registry {
            Some(_) => Framing::Confluent,
            None => Framing::Bare,
        });
        match framing {
            Framing::Confluent => self.registered(section),
            Framing::Bare => self.bare(section),
        }
    }

    fn registered(&self, section: &Section) -> Result<Written, Mistake> {
        for (key, given) in [
            ("message", self.message.is_some()),
            ("schema", self.schema.is_some()),
            ("files", self.files.is_some()),
            ("include", self.include.is_some()),
            ("descriptor_set", self.descriptor_set.is_some()),
        ] {
            if given {
                let message = "values that name their schema by its id have it from the registry";
                let help = "take it out, or say framing = \"bare\" and take `registry` out";
                return Err(section.mistake(key, message).help(help));
            }
        }
        let Some(registry) = &self.registry else {
            let message = "values that name their schema by its id need a `registry`";
            let help = "registry.url = \"http://localhost:8081\", or framing = \"bare\" with \
                        files = [\"x.proto\"] and message = \"package.X\"";
            return Err(section.mistake("registry", message).help(help));
        };
        Ok(Written::Registered(Box::new(registry.plan(section, "registry")?)))
    }

    fn bare(&self, section: &Section) -> Result<Written, Mistake> {
        if self.registry.is_some() {
            let message = "`registry` is for framing = \"confluent\"";
            return Err(section.mistake("registry", message));
        }
        let (files, folders) =
            (Files::paths(self.files.as_ref()), Files::paths(self.include.as_ref()));
        let given = match (&self.schema, &self.descriptor_set, files.is_empty()) {
            (None, None, true) => {
                let message = "the types of values must be given";
                let help = "registry.url = \"http://localhost:8081\", or files = [\"x.proto\"] \
                            and message = \"package.X\"";
                return Err(section.mistake("files", message).help(help));
            }
            (Some(text), None, true) => Given::Here(text.as_str().into(), folders),
            (None, Some(_), true) if !folders.is_empty() => {
                let message = "a descriptor set holds its imports";
                return Err(section.mistake("include", message));
            }
            (None, Some(file), true) => Given::DescriptorSet(file.clone()),
            (None, None, false) => Given::Files(files, folders),
            _ => {
                let message = "`files`, `schema` or `descriptor_set`: one of these";
                let key = if files.is_empty() { "schema" } else { "files" };
                return Err(section.mistake(key, message));
            }
        };
        let Some(message) = &self.message else {
            let message = "which message values are must be said";
            let mistake = section.mistake("message", message);
            return Err(mistake.help("message = \"package.X\""));
        };
        if let Given::Here(_, folders) = &given
            && folders.is_empty()
        {
            // All of it is here: what is wrong with it can be told at once.
            let types = given.types().map_err(|fault| section.mistake("schema", fault.message))?;
            if types.message(message).is_none() {
                let wrong = section.mistake("message", format!("there is no `{message}`"));
                return Err(wrong.help(format!("there are: {}", types.some_names())));
            }
        }
        Ok(Written::Bare { given, message: message.clone() })
    }
}
