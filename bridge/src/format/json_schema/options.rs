//! What `[pipeline.NAME.value]` may say with `format = "json-schema"`, checked: how values name
//! their schema, and by what they are checked, if they are.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;

use super::validity;
use crate::config::{Mistake, Section};
use crate::format::json;
use crate::kind;
use crate::schemas::{Part, RegistryOptions, RegistryPlan, Text};

/// How a value says what it was written with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Framing {
    /// A zero byte and the id of its schema in a registry come first.
    #[default]
    Confluent,
    /// They may, or the value is JSON as it is.
    Optional,
    /// Not at all: values are JSON as they are.
    Bare,
}

/// JSON behind the id of its schema.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// How a value says what it was written with: `"confluent"` (default: by the id of its schema
    /// in a registry), `"optional"` (so, or it is JSON as it is), `"bare"` (it is JSON as it is).
    framing: Framing,
    /// The schema registry. Only asked where values are checked by the schemas that they name.
    registry: Option<RegistryOptions>,
    /// Whether values are checked; one that is not as its schema says is rejected. Default: false,
    /// true where `schema` or `schema_file` is given. It costs far more than reading them.
    validate: Option<bool>,
    /// Values are checked by this schema, whatever they name; as JSON.
    schema: Option<String>,
    /// The file that holds it, relative to the configuration file.
    schema_file: Option<PathBuf>,
    /// Stands between the names of nested objects. Default `"_"`.
    separator: Option<String>,
    /// Objects and arrays within one another, at most. Default 32.
    depth_max: Option<usize>,
    /// What an array at the top is: "reject" (default) or "rows" (a row for each element).
    top_level_array: Option<json::TopLevelArray>,
}

/// The format as configured.
#[derive(Clone, Debug)]
pub struct JsonSchemaOptions {
    pub framing: Framing,
    /// By what values are checked, if they are.
    pub against: Option<Against>,
    pub json: json::Options,
    /// Put before the columns; keys have one.
    pub prefix: String,
    /// The column of a key that is no object.
    pub column: String,
    /// Of values, or of keys.
    pub part: Part,
}

/// By what values are checked.
#[derive(Clone, Debug)]
pub enum Against {
    /// What a registry has under their id.
    Registered(Box<RegistryPlan>),
    /// All by this.
    Given(Text),
}

impl JsonSchemaOptions {
    /// Reads and checks a section.
    pub fn parse(section: &Section) -> Result<JsonSchemaOptions, Mistake> {
        let options: Options = kind::options(section)?;
        let against = options.against(section)?;
        let mut json = json::Options::default();
        if let Some(separator) = options.separator {
            json.separator = separator;
        }
        json.depth_max = options.depth_max.unwrap_or(json.depth_max);
        json.top_level_array = options.top_level_array.unwrap_or(json.top_level_array);
        let (prefix, column) = (String::new(), String::new());
        let (framing, part) = (options.framing, Part::Value);
        Ok(JsonSchemaOptions { framing, against, json, prefix, column, part })
    }

    /// Lines of `bridge explain`.
    pub fn explain(&self) -> Vec<String> {
        vec![match &self.against {
            None => "not checked by their schemas".to_owned(),
            Some(Against::Registered(registry)) => {
                format!("checked by their schemas in the registry {}", registry.in_words())
            }
            Some(Against::Given(text)) => format!("checked by {}", text.in_words()),
        }]
    }

    /// The same for keys.
    pub fn of_key(
        self,
        section: &Section,
        prefix: &str,
        column: &str,
    ) -> Result<JsonSchemaOptions, Mistake> {
        if self.json.top_level_array == json::TopLevelArray::Rows {
            let message = "a record has one key, and no rows of it";
            return Err(section.mistake("top_level_array", message));
        }
        let (prefix, column) = (prefix.to_owned(), column.to_owned());
        Ok(JsonSchemaOptions { prefix, column, part: Part::Key, ..self })
    }

    /// Every path of a file starts from `base`; one that is absolute stays as it is.
    pub fn rebase(&mut self, base: &Path) {
        match &mut self.against {
            None => {}
            Some(Against::Registered(registry)) => registry.rebase(base),
            Some(Against::Given(text)) => text.rebase(base),
        }
    }
}

impl Options {
    fn against(&self, section: &Section) -> Result<Option<Against>, Mistake> {
        let given = match (&self.schema, &self.schema_file) {
            (Some(_), Some(_)) => {
                return Err(section.mistake("schema", "`schema` or `schema_file`, not both"));
            }
            (Some(text), None) => {
                validity::compile(text, &[]).map_err(|why| section.mistake("schema", why))?;
                Some(Text::Here(text.as_str().into()))
            }
            (None, Some(file)) => Some(Text::File(file.clone())),
            (None, None) => None,
        };
        let registry = self.registry.as_ref().map(|registry| registry.plan(section, "registry"));
        let registry = registry.transpose()?;
        if !self.validate.unwrap_or(given.is_some()) {
            return self.unchecked(section, given.is_some());
        }
        match (self.framing, given, registry) {
            (Framing::Bare, _, Some(_)) => {
                let message = "`registry` is for values that name their schema by its id";
                Err(section.mistake("registry", message).help("take it out, or the framing"))
            }
            (_, Some(text), _) => Ok(Some(Against::Given(text))),
            (Framing::Confluent, None, Some(plan)) => Ok(Some(Against::Registered(Box::new(plan)))),
            (Framing::Optional, None, Some(_)) => {
                let message = "values that name no schema cannot be checked by the registry's";
                let help = "framing = \"confluent\", or schema_file = \"x.json\" for all of them";
                Err(section.mistake("validate", message).help(help))
            }
            (_, None, _) => {
                let message = "there is no schema to check values by";
                let help = match self.framing {
                    Framing::Confluent => {
                        "registry.url = \"http://localhost:8081\", or schema_file = \"x.json\""
                    }
                    Framing::Optional | Framing::Bare => "schema_file = \"x.json\"",
                };
                Err(section.mistake("validate", message).help(help))
            }
        }
    }

    /// What cannot be where values are not checked.
    fn unchecked(&self, section: &Section, given: bool) -> Result<Option<Against>, Mistake> {
        if given {
            let message = "values are not checked by it: validate = false";
            let key = if self.schema.is_some() { "schema" } else { "schema_file" };
            return Err(section.mistake(key, message).help("take one of them out"));
        }
        if self.framing == Framing::Bare {
            let message = "values that are JSON as they are, and not checked, are `json`";
            let help = "format = \"json\", or schema_file = \"x.json\" to check them by";
            return Err(section.mistake("framing", message).help(help));
        }
        Ok(None)
    }
}
