//! What a sink may say of the schema that it writes with, checked: which format, where the schema
//! is from, under which subject it is known.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Compiled, Format};
use crate::config::{Mistake, Section};
use crate::schemas::{RegistryOptions, RegistryPlan, Text, Version};
use crate::sink::text::Timestamps;

/// Keys that are about schemas.
pub const KEYS: [&str; 11] = [
    "framing",
    "registry",
    "schema",
    "schema_file",
    "schema_version",
    "message",
    "register",
    "subject",
    "subject_name",
    "record",
    "separator",
];

/// How a value says what it was written with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "WrittenFraming")]
pub enum Framing {
    /// A zero byte and the id of its schema in a registry come first.
    #[default]
    Confluent,
    /// Not at all: readers have the schema.
    Bare,
}

/// How a subject is called.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SubjectName {
    /// After the topic: `readings-value`.
    #[default]
    Topic,
    /// After the record: `com.example.Reading`.
    Record,
    /// After both: `readings-com.example.Reading`.
    TopicRecord,
}

/// A number, or a word.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "WrittenVersion")]
pub enum VersionWord {
    Number(u32),
    Word(String),
}

/// Which part of a record has the schema.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Part {
    /// The value: all columns.
    #[default]
    Value,
    /// The key: these columns, by their names in the table.
    Key(Box<[String]>),
}

impl Part {
    /// As subjects call it.
    pub fn word(&self) -> &'static str {
        match self {
            Part::Value => "value",
            Part::Key(_) => "key",
        }
    }

    /// The only column of a key: it may be the key itself, and no field of it.
    pub fn lone(&self) -> Option<&str> {
        match self {
            Part::Key(columns) if columns.len() == 1 => columns.first().map(String::as_str),
            Part::Key(_) | Part::Value => None,
        }
    }
}

/// What a section says.
#[derive(Clone, Debug, Default)]
pub struct Said {
    pub part: Part,
    pub framing: Option<Framing>,
    pub registry: Option<RegistryOptions>,
    pub schema: Option<String>,
    pub schema_file: Option<PathBuf>,
    pub schema_version: Option<VersionWord>,
    pub message: Option<String>,
    pub register: Option<bool>,
    pub subject: Option<String>,
    pub subject_name: Option<SubjectName>,
    pub record: Option<String>,
    pub separator: Option<String>,
}

/// Where the schema is from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum From {
    /// Made of the columns, and grown by them.
    Columns,
    /// Given.
    Text(Text),
    /// A version in the registry.
    Version(Version),
}

/// What is written, and with which schema.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SchemaPlan {
    pub part: Part,
    pub format: Format,
    /// Without one there is nothing before a value.
    pub registry: Option<Box<RegistryPlan>>,
    pub from: From,
    /// Of a `.proto` file; the first one if none is said.
    pub message: Option<String>,
    /// Whether schemas are registered, or have to be there.
    pub register: bool,
    pub subject: Option<String>,
    pub subject_name: SubjectName,
    /// The record's name, if one is said.
    pub record: Option<String>,
    pub separator: String,
    /// How a timestamp becomes a number, or text.
    pub timestamps: Timestamps,
}

impl SchemaPlan {
    /// Whether columns that nobody has met are added to the schema.
    pub fn grows(&self) -> bool {
        self.from == From::Columns
    }

    /// Whether a schema that is made is that of a value, and no record's.
    pub fn makes_lone(&self) -> bool {
        let can = self.format != Format::Protobuf;
        can && self.record.is_none() && self.part.lone().is_some()
    }

    /// Compiles a schema.
    pub(super) fn compile(&self, text: &str) -> Result<Compiled, String> {
        let (message, separator) = (self.message.as_deref(), self.separator.as_str());
        self.format.compile(text, message, separator, self.part.lone())
    }

    /// A line of `bridge explain`.
    pub fn explain(&self) -> String {
        let what = match self.part {
            Part::Value => "schema",
            Part::Key(_) => "schema of keys",
        };
        let from = match &self.from {
            From::Columns if self.part == Part::Value => {
                "made of the columns, and grown by them".to_owned()
            }
            From::Columns => "made of the columns".to_owned(),
            From::Text(_) => "given".to_owned(),
            From::Version(number) => format!("version {number} of its subject"),
        };
        match &self.registry {
            None => format!("{what}: {from}; {}s do not say which it is", self.part.word()),
            Some(registry) => {
                let how = if self.register { "registered" } else { "looked up" };
                format!("{what}: {from}; {how} at {}", registry.shown())
            }
        }
    }

    /// Every path of a file starts from `base`; one that is absolute stays as it is.
    pub fn rebase(&mut self, base: &Path) {
        if let Some(registry) = &mut self.registry {
            registry.rebase(base);
        }
        if let From::Text(text) = &mut self.from {
            text.rebase(base);
        }
    }
}

impl Said {
    /// Checks what was said.
    pub fn plan(
        self,
        section: &Section,
        format: Format,
        timestamps: Timestamps,
    ) -> Result<SchemaPlan, Mistake> {
        let registry = self.registry(section)?;
        let from = self.from(section, format)?;
        let said = |key: &str, message: String, help: &str| {
            Err(section.mistake(key, message).help(help.to_owned()))
        };
        if registry.is_none() && !matches!(from, From::Text(_)) {
            let message = "without a registry nobody can read a schema that is made of columns";
            return said("framing", message.to_owned(), "give it: schema_file = \"x.avsc\"");
        }
        if registry.is_none() {
            for key in ["subject", "subject_name", "register"] {
                if section.has(key) {
                    let message = format!("`{key}` is for framing = \"confluent\"");
                    return said(key, message, "take it out");
                }
            }
        }
        if self.message.is_some() && format != Format::Protobuf {
            return said("message", "`message` is one of protobuf".to_owned(), "take it out");
        }
        if self.message.is_some() && from == From::Columns {
            let message = "a message is chosen in a schema that is given";
            return said("message", message.to_owned(), "`record` names the one that is made");
        }
        if self.record.is_some() && from != From::Columns && self.subject_name.is_none() {
            let message = "`record` names the schema that is made of columns";
            return said("record", message.to_owned(), "take it out");
        }
        if let Some(record) = self.record.as_deref().filter(|record| !is_name(record)) {
            let message = format!("{record:?} is no record's name");
            return said("record", message, "such as \"com.example.Reading\"");
        }
        if self.subject.is_some() && self.subject_name.is_some() {
            let message = "`subject` names it, or `subject_name` says after what it is named";
            return said("subject_name", message.to_owned(), "one of the two");
        }
        self.check_key(section, format, &from)?;
        if from != From::Columns && self.register == Some(true) && matches!(from, From::Version(_))
        {
            let message = "a version that is looked up is registered already";
            return said("register", message.to_owned(), "take it out, or `schema_version`");
        }
        // Whoever may register nothing writes what is there.
        let from = match (from, self.register) {
            (From::Columns, Some(false)) => From::Version(Version::Latest),
            (from, _) => from,
        };
        Ok(SchemaPlan {
            part: self.part,
            format,
            registry: registry.map(Box::new),
            register: self.register.unwrap_or(true) && !matches!(from, From::Version(_)),
            from,
            message: self.message,
            subject: self.subject,
            subject_name: self.subject_name.unwrap_or_default(),
            record: self.record,
            separator: self.separator.unwrap_or_else(|| "_".to_owned()),
            timestamps,
        })
    }

    /// Checks what a key may not say.
    fn check_key(&self, section: &Section, format: Format, from: &From) -> Result<(), Mistake> {
        let Part::Key(columns) = &self.part else { return Ok(()) };
        let field = |at: usize| format.field_of(&columns[at]);
        let is_double = |at: &usize| (0..*at).any(|before| field(before) == field(*at));
        if let Some(at) = (0..columns.len()).find(is_double) {
            let message = format!("two columns of the key would be the field `{}`", field(at));
            let mistake = section.mistake(&format!("columns.{at}"), message);
            return Err(mistake.help("leave one out, or rename it"));
        }
        let is_made = *from == From::Columns && self.register != Some(false);
        let is_record =
            self.record.is_some() || format == Format::Protobuf || self.part.lone().is_none();
        if is_made && !is_record && self.subject_name.unwrap_or_default() != SubjectName::Topic {
            let message = "a key that is one value has no record to be named after";
            let help = "`subject`, or record = \"SensorKey\", which makes it a record";
            return Err(section.mistake("subject_name", message).help(help));
        }
        Ok(())
    }

    fn registry(&self, section: &Section) -> Result<Option<RegistryPlan>, Mistake> {
        match (self.framing.unwrap_or_default(), &self.registry) {
            (Framing::Bare, None) => Ok(None),
            (Framing::Bare, Some(_)) => {
                let message =
                    format!("bare {}s do not say which schema they have", self.part.word());
                let help = "take it out, or framing = \"confluent\"";
                Err(section.mistake("registry", message).help(help))
            }
            (Framing::Confluent, Some(registry)) => Ok(Some(registry.plan(section, "registry")?)),
            (Framing::Confluent, None) => {
                let word = self.part.word();
                let message = format!("{word}s that name their schema by its id need a `registry`");
                let help = "registry.url = \"http://localhost:8081\", or framing = \"bare\"";
                Err(section.mistake("registry", message).help(help))
            }
        }
    }

    fn from(&self, section: &Section, format: Format) -> Result<From, Mistake> {
        let given = match (&self.schema, &self.schema_file) {
            (Some(_), Some(_)) => {
                return Err(section.mistake("schema", "`schema` or `schema_file`, not both"));
            }
            (Some(text), None) => {
                if let Err(wrong) =
                    format.compile(text, self.message.as_deref(), "_", self.part.lone())
                {
                    return Err(section.mistake("schema", wrong));
                }
                Some(Text::Here(text.as_str().into()))
            }
            (None, Some(file)) => Some(Text::File(file.clone())),
            (None, None) => None,
        };
        let version = match &self.schema_version {
            None => None,
            Some(VersionWord::Number(number)) if *number > 0 => Some(Version::Number(*number)),
            Some(VersionWord::Word(word)) if word == "latest" => Some(Version::Latest),
            Some(_) => {
                let message = "a version is a number from 1 on, or \"latest\"";
                return Err(section.mistake("schema_version", message));
            }
        };
        match (given, version) {
            (Some(_), Some(_)) => {
                let message = "a schema is given or looked up, not both";
                Err(section.mistake("schema_version", message).help("take one of them out"))
            }
            (Some(text), None) => Ok(From::Text(text)),
            (None, Some(version)) => Ok(From::Version(version)),
            (None, None) => Ok(From::Columns),
        }
    }
}

/// Names with dots between them, as Avro and protobuf have them.
fn is_name(name: &str) -> bool {
    let is_word = |word: &str| word == super::legal(word) && !word.is_empty();
    name.split('.').all(is_word)
}
