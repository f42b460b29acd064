//! What `[pipeline.NAME.value]` may say with `format = "avro"`, checked: where schemas are, and
//! how values name theirs.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;

use super::schema::Schema;
use crate::config::{Mistake, Section};
use crate::kind;
use crate::schemas::{Files, Inquiry, Part, RegistryOptions, RegistryPlan, Text, Version};

/// How a value says what it was written with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Framing {
    /// A zero byte and the id of its schema in a registry come first.
    #[default]
    Confluent,
    /// Not at all: all have the same.
    Bare,
    /// Avro's own: two bytes and the schema's fingerprint come first.
    SingleObject,
}

/// A number, or a word.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
enum VersionWord {
    Number(u32),
    Word(String),
}

/// Avro: values in its binary encoding.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// How a value says what it was written with: `"confluent"` (default: by the id of its schema
    /// in a registry), `"single_object"` (by the fingerprint of one of `schema_file`), `"bare"`
    /// (not at all: all are written with `schema_file`).
    framing: Framing,
    /// The schema registry, for `confluent`.
    registry: Option<RegistryOptions>,
    /// For `confluent`: values are read as the writer's schema has them (`"writer"`, default), or
    /// by Avro's schema resolution as a version of `subject`: a number, or `"latest"`.
    schema_version: Option<VersionWord>,
    /// The subject that `schema_version` is of. Default: the topic's name and `-value`.
    subject: Option<String>,
    /// The writer's schema, as JSON; for `bare` and `single_object`.
    schema: Option<String>,
    /// The file that holds it, relative to the configuration file; a list for `single_object`.
    schema_file: Option<Files>,
    /// Values are read as this schema has them, by Avro's schema resolution; as JSON.
    reader_schema: Option<String>,
    /// The file that holds it, relative to the configuration file.
    reader_schema_file: Option<PathBuf>,
    /// Stands between the names of nested records. Default `"_"`.
    separator: Option<String>,
    /// The column of a value that is no record. Default `"value"`.
    column: Option<String>,
}

/// The format as configured.
#[derive(Clone, Debug)]
pub struct AvroOptions {
    pub written: Written,
    pub reader: Reader,
    pub separator: String,
    /// Put before the columns; keys have one.
    pub prefix: String,
    pub column: String,
    /// Of values, or of keys.
    pub part: Part,
}

/// What values were written with.
#[derive(Clone, Debug)]
pub enum Written {
    /// What a registry has under their id.
    Registered(Box<RegistryPlan>),
    /// All with this.
    Bare(Text),
    /// With one of these.
    SingleObject(Vec<Text>),
}

/// What values are read as.
#[derive(Clone, Debug)]
pub enum Reader {
    /// What they were written with.
    Writer,
    /// This.
    Given(Text),
    /// A version in the registry; of the topic's own subject if none is said.
    Registered { subject: Option<String>, version: Version },
}

impl AvroOptions {
    /// Reads and checks a section.
    pub fn parse(section: &Section) -> Result<AvroOptions, Mistake> {
        AvroOptions::checked(section, kind::options(section)?)
    }

    /// Values read as they were written, for a format that has more options of its own.
    pub fn as_written(
        section: &Section,
        framing: Framing,
        registry: Option<RegistryOptions>,
        (schema, schema_file): (Option<String>, Option<Files>),
    ) -> Result<AvroOptions, Mistake> {
        let none = Options::default();
        AvroOptions::checked(section, Options { framing, registry, schema, schema_file, ..none })
    }

    fn checked(section: &Section, options: Options) -> Result<AvroOptions, Mistake> {
        let written = options.written(section)?;
        let reader = options.reader(section, &written)?;
        let separator = options.separator.unwrap_or_else(|| "_".to_owned());
        let column = options.column.unwrap_or_else(|| "value".to_owned());
        if column.is_empty() {
            return Err(section.mistake("column", "a column needs a name"));
        }
        let (prefix, part) = (String::new(), Part::Value);
        Ok(AvroOptions { written, reader, separator, prefix, column, part })
    }

    /// What begins a sentence about what was read.
    pub fn called(&self) -> &'static str {
        self.part.called()
    }

    /// Lines of `bridge explain`.
    pub fn explain(&self) -> Vec<String> {
        let written = match &self.written {
            Written::Registered(registry) => {
                format!("schemas from the registry {}", registry.in_words())
            }
            Written::Bare(text) => format!("written with {}", text.in_words()),
            Written::SingleObject(texts) => {
                let texts: Vec<String> = texts.iter().map(Text::in_words).collect();
                format!("written with one of {}", texts.join(", "))
            }
        };
        let read = match &self.reader {
            Reader::Writer => None,
            Reader::Given(text) => Some(format!("read as {}", text.in_words())),
            Reader::Registered { subject, version } => {
                let of = subject.as_deref().unwrap_or("the topic's own subject");
                Some(format!("read as version {version} of {of}"))
            }
        };
        [written].into_iter().chain(read).collect()
    }

    /// What it asks of a registry, if it does.
    pub fn inquiry(&self) -> Option<Inquiry<'_>> {
        let Written::Registered(registry) = &self.written else { return None };
        let (version, subject) = match &self.reader {
            Reader::Registered { subject, version } => (Some(*version), subject.as_deref()),
            Reader::Writer | Reader::Given(_) => (None, None),
        };
        Some(Inquiry { registry, kind: "AVRO", version, subject, part: self.part })
    }

    /// The same for keys.
    pub fn of_key(
        self,
        section: &Section,
        prefix: &str,
        column: &str,
    ) -> Result<AvroOptions, Mistake> {
        if let Reader::Registered { subject: None, .. } = self.reader {
            let message = "a version of keys' schemas needs its `subject`";
            return Err(section.mistake("schema_version", message).help("subject = \"TOPIC-key\""));
        }
        let (prefix, column) = (prefix.to_owned(), column.to_owned());
        Ok(AvroOptions { prefix, column, part: Part::Key, ..self })
    }

    /// Every path of a file starts from `base`; one that is absolute stays as it is.
    pub fn rebase(&mut self, base: &Path) {
        match &mut self.written {
            Written::Registered(registry) => registry.rebase(base),
            Written::Bare(text) => text.rebase(base),
            Written::SingleObject(texts) => texts.iter_mut().for_each(|text| text.rebase(base)),
        }
        if let Reader::Given(text) = &mut self.reader {
            text.rebase(base);
        }
    }
}

impl Options {
    fn written(&self, section: &Section) -> Result<Written, Mistake> {
        let texts = texts(section, "schema", self.schema.as_ref(), self.schema_file.as_ref())?;
        if self.framing == Framing::Confluent {
            if !texts.is_empty() {
                let key = if self.schema.is_some() { "schema" } else { "schema_file" };
                let message = "values that name their schema by its id have it from the registry";
                let help = "take it out, or say framing = \"bare\"; reader_schema is what they \
                            are read as";
                return Err(section.mistake(key, message).help(help));
            }
            let Some(registry) = &self.registry else {
                let message = "values that name their schema by its id need a `registry`";
                let help = "registry.url = \"http://localhost:8081\", or framing = \"bare\" and \
                            schema_file = \"x.avsc\"";
                return Err(section.mistake("registry", message).help(help));
            };
            return Ok(Written::Registered(Box::new(registry.plan(section, "registry")?)));
        }
        for (key, given) in [
            ("registry", self.registry.is_some()),
            ("schema_version", self.schema_version.is_some()),
            ("subject", self.subject.is_some()),
        ] {
            if given {
                let message = format!("`{key}` is for framing = \"confluent\"");
                return Err(section.mistake(key, message));
            }
        }
        match (self.framing, texts.len()) {
            (_, 0) => {
                let message = "without a registry the writer's schema must be given";
                Err(section.mistake("schema_file", message).help("schema_file = \"x.avsc\""))
            }
            (Framing::SingleObject, _) => Ok(Written::SingleObject(texts)),
            (_, 1) => Ok(Written::Bare(texts.into_iter().next().expect("there is one"))),
            _ => {
                let message = "values that do not name their schema all have one";
                let help = "one file, or framing = \"single_object\"";
                Err(section.mistake("schema_file", message).help(help))
            }
        }
    }

    fn reader(&self, section: &Section, written: &Written) -> Result<Reader, Mistake> {
        let file = self.reader_schema_file.clone().map(Files::One);
        let given = texts(section, "reader_schema", self.reader_schema.as_ref(), file.as_ref())?;
        let version = match &self.schema_version {
            None => None,
            Some(VersionWord::Number(number)) if *number > 0 => Some(Version::Number(*number)),
            Some(VersionWord::Word(word)) if word == "latest" => Some(Version::Latest),
            Some(VersionWord::Word(word)) if word == "writer" => None,
            Some(_) => {
                let message = "a version is a number from 1 on, \"latest\" or \"writer\"";
                return Err(section.mistake("schema_version", message));
            }
        };
        debug_assert!(version.is_none() || matches!(written, Written::Registered(_)));
        match (given.into_iter().next(), version) {
            (Some(_), Some(_)) => {
                let message = "values are read as a version or as a schema that is given, not both";
                Err(section.mistake("schema_version", message))
            }
            (Some(text), None) => Ok(Reader::Given(text)),
            (None, Some(version)) => {
                Ok(Reader::Registered { subject: self.subject.clone(), version })
            }
            (None, None) if self.subject.is_some() => {
                let message = "a subject needs a `schema_version` to be read as";
                Err(section.mistake("subject", message).help("schema_version = \"latest\""))
            }
            (None, None) => Ok(Reader::Writer),
        }
    }
}

/// Schemas as written, or their files; not both. What is written is read at once.
fn texts(
    section: &Section,
    key: &str,
    here: Option<&String>,
    files: Option<&Files>,
) -> Result<Vec<Text>, Mistake> {
    match (here, files) {
        (Some(_), Some(_)) => {
            Err(section.mistake(key, format!("`{key}` or `{key}_file`, not both")))
        }
        (Some(text), None) => match Schema::parse(text, []) {
            Ok(_) => Ok(vec![Text::Here(text.as_str().into())]),
            Err(wrong) => Err(section.mistake(key, wrong)),
        },
        (None, Some(Files::One(file))) => Ok(vec![Text::File(file.clone())]),
        (None, Some(Files::Several(files))) => Ok(files.iter().cloned().map(Text::File).collect()),
        (None, None) => Ok(Vec::new()),
    }
}
