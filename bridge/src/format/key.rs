//! How the key becomes columns, and the reader that appends them to the cells of each row of a
//! record.

use std::path::Path;
use std::sync::Arc;

use simd_json::Node;

use super::json::{Flattener, Parser, cell};
use super::single::Single;
use super::walk::Stopped;
use super::{DecoderContext, FormatPlan, Refused, avro, json_schema, protobuf};
use crate::batch::RowBatch;
use crate::blame::Fault;
use crate::config::{Mistake, Section};
use crate::names::Names;
use crate::reject::Reason;
use crate::schemas::{Doors, Inquiry};

/// Objects within one another in a key, at most.
const DEPTH_MAX: usize = 16;

/// How the key becomes columns.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum KeyPlan {
    /// Not at all.
    #[default]
    Ignore,
    /// One value in one column; a null key gives no cell.
    Single {
        /// What the value is.
        single: Single,
        /// The column.
        column: String,
    },
    /// A JSON object, flattened, its columns prefixed; a JSON scalar goes into `column`.
    Json {
        /// Prefix of its columns, with its separator.
        prefix: String,
        /// The column of a scalar.
        column: String,
    },
    /// What a schema says, flattened, its columns prefixed; what is no record goes into `column`.
    Schema {
        /// What reads it.
        of: KeySchema,
        /// Prefix of its columns, with its separator.
        prefix: String,
        /// The column of what is no record.
        column: String,
    },
}

/// The formats of keys that go by a schema. Two are the same if they share what they learnt.
#[derive(Clone, Debug)]
pub enum KeySchema {
    /// Avro.
    Avro(Arc<avro::AvroPlan>),
    /// JSON behind the id of its schema.
    JsonSchema(Arc<json_schema::JsonSchemaPlan>),
    /// Protobuf.
    Protobuf(Arc<protobuf::ProtobufPlan>),
}

/// Reads the options of such a format; its columns have this prefix, and what is no record goes
/// into this column.
pub type ReadKeySchema = fn(&Section, prefix: &str, column: &str) -> Result<KeySchema, Mistake>;

impl KeySchema {
    /// Every such format, by name.
    pub const KINDS: &[(&str, ReadKeySchema)] = &[
        (avro::KIND.name, |section, prefix, column| {
            avro::AvroPlan::of_key(section, prefix, column).map(Arc::new).map(KeySchema::Avro)
        }),
        (json_schema::KIND.name, |section, prefix, column| {
            let plan = json_schema::JsonSchemaPlan::of_key(section, prefix, column);
            plan.map(Arc::new).map(KeySchema::JsonSchema)
        }),
        (protobuf::KIND.name, |section, prefix, column| {
            let plan = protobuf::ProtobufPlan::of_key(section, prefix, column);
            plan.map(Arc::new).map(KeySchema::Protobuf)
        }),
    ];

    /// Its name.
    pub fn name(&self) -> &'static str {
        match self {
            KeySchema::Avro(_) => avro::KIND.name,
            KeySchema::JsonSchema(_) => json_schema::KIND.name,
            KeySchema::Protobuf(_) => protobuf::KIND.name,
        }
    }

    fn plan(&self) -> &dyn FormatPlan {
        match self {
            KeySchema::Avro(plan) => &**plan,
            KeySchema::JsonSchema(plan) => &**plan,
            KeySchema::Protobuf(plan) => &**plan,
        }
    }

    fn plan_mut(&mut self) -> &mut dyn FormatPlan {
        const OWN: &str = "nobody shares what is still being read";
        match self {
            KeySchema::Avro(plan) => Arc::get_mut(plan).expect(OWN),
            KeySchema::JsonSchema(plan) => Arc::get_mut(plan).expect(OWN),
            KeySchema::Protobuf(plan) => Arc::get_mut(plan).expect(OWN),
        }
    }
}

impl PartialEq for KeySchema {
    fn eq(&self, other: &KeySchema) -> bool {
        match (self, other) {
            (KeySchema::Avro(one), KeySchema::Avro(two)) => Arc::ptr_eq(one, two),
            (KeySchema::JsonSchema(one), KeySchema::JsonSchema(two)) => Arc::ptr_eq(one, two),
            (KeySchema::Protobuf(one), KeySchema::Protobuf(two)) => Arc::ptr_eq(one, two),
            _ => false,
        }
    }
}

impl Eq for KeySchema {}

impl KeyPlan {
    /// Relative paths start from here. Before anybody shares it.
    pub fn rebase(&mut self, base: &Path) {
        if let KeyPlan::Schema { of, .. } = self {
            of.plan_mut().rebase(base);
        }
    }

    /// Reads the files that it needs. What it asks of servers from now on it waits for.
    pub fn open(&self, doors: Doors) -> Result<(), Fault> {
        match self {
            KeyPlan::Schema { of, .. } => of.plan().open(doors),
            _ => Ok(()),
        }
    }

    /// What it asks of a registry of schemas, if it does.
    pub fn inquiry(&self) -> Option<Inquiry<'_>> {
        match self {
            KeyPlan::Schema { of, .. } => of.plan().inquiry(),
            _ => None,
        }
    }

    /// Lines of `bridge explain`, beside [`KeyPlan::in_words`].
    pub fn explain(&self) -> Vec<String> {
        match self {
            KeyPlan::Schema { of, .. } => of.plan().explain(),
            _ => Vec::new(),
        }
    }

    /// The column of a key that is one value.
    pub fn column(&self) -> Option<&str> {
        match self {
            KeyPlan::Ignore => None,
            KeyPlan::Single { column, .. }
            | KeyPlan::Json { column, .. }
            | KeyPlan::Schema { column, .. } => Some(column),
        }
    }

    /// Whether the key may give a field.
    pub fn gives(&self, field: &str) -> bool {
        match self {
            KeyPlan::Json { prefix, column } | KeyPlan::Schema { prefix, column, .. } => {
                column == field || field.starts_with(&**prefix)
            }
            _ => self.column() == Some(field),
        }
    }

    /// What becomes of keys, for a person.
    pub fn in_words(&self) -> String {
        match self {
            KeyPlan::Ignore => "ignored".to_owned(),
            KeyPlan::Single { single, column } => format!("{}, column {column}", single.in_words()),
            KeyPlan::Json { prefix, column } => {
                format!("JSON, columns {prefix}..., a scalar in {column}")
            }
            KeyPlan::Schema { of, prefix, column } => {
                format!("{}, columns {prefix}..., what is no record in {column}", of.name())
            }
        }
    }
}

/// Reads keys for one lane. An enum, so that a record costs a branch and no call.
pub(super) enum KeyReader {
    /// Not at all.
    Ignore,
    /// One value.
    Single { single: Single, column: u16 },
    /// JSON.
    Json(Box<JsonKey>),
    /// Avro.
    Avro(Box<avro::Keys>),
    /// JSON behind the id of its schema.
    JsonSchema(Box<json_schema::Keys>),
    /// Protobuf.
    Protobuf(Box<protobuf::Messages>),
}

/// What a JSON key needs.
pub(super) struct JsonKey {
    column: u16,
    flattener: Flattener,
    parser: Parser,
    depth_max: usize,
}

impl JsonKey {
    /// A reader of keys whose columns have this prefix; a scalar goes into this column.
    pub(super) fn new(
        names: &Arc<Names>,
        (separator, prefix, column): (&str, &str, &str),
        depth_max: usize,
    ) -> JsonKey {
        JsonKey {
            // The first names of a pipeline always find room.
            column: names.columns.intern(column).unwrap_or(0),
            flattener: Flattener::new(separator, prefix, Arc::clone(names)),
            parser: Parser::default(),
            depth_max,
        }
    }

    /// Appends the cells of a key.
    pub(super) fn append(&mut self, key: &[u8], rows: &mut RowBatch) -> Result<(), Refused> {
        let JsonKey { column, flattener, parser, depth_max } = self;
        parser.parse(key, *depth_max, |tape| match tape.first() {
            Some(Node::Object { .. }) => flattener.object(tape, 0, rows),
            _ => {
                let cell = cell(tape, 0, *column, rows);
                rows.cells.push(cell);
                Ok(())
            }
        })
    }
}

impl KeyReader {
    /// By the plan.
    pub(super) fn new(context: &DecoderContext) -> KeyReader {
        let names = &context.names;
        match &context.key {
            KeyPlan::Ignore => KeyReader::Ignore,
            KeyPlan::Single { single, column } => {
                // The first names of a pipeline always find room.
                let column = names.columns.intern(column).unwrap_or(0);
                KeyReader::Single { single: *single, column }
            }
            KeyPlan::Json { prefix, column } => {
                KeyReader::Json(Box::new(JsonKey::new(names, ("_", prefix, column), DEPTH_MAX)))
            }
            KeyPlan::Schema { of, .. } => match of {
                KeySchema::Avro(plan) => KeyReader::Avro(Box::new(plan.keys(names))),
                KeySchema::JsonSchema(plan) => KeyReader::JsonSchema(Box::new(plan.keys(names))),
                KeySchema::Protobuf(plan) => KeyReader::Protobuf(Box::new(plan.messages(names))),
            },
        }
    }

    /// Appends the key's cells; a null key has none. Here it may wait, for a schema.
    pub(super) fn append(
        &mut self,
        key: Option<&[u8]>,
        rows: &mut RowBatch,
    ) -> Result<(), Stopped> {
        let Some(key) = key else { return Ok(()) };
        match self {
            KeyReader::Ignore => Ok(()),
            KeyReader::Single { single, column } => {
                let read = single.append(key, *column, rows);
                let refused = |(_, wrong)| (Reason::BadKey, format!("the key {wrong}"));
                read.map_err(|wrong| Stopped::Record(refused(wrong)))
            }
            KeyReader::Json(json) => json.append(key, rows).map_err(|wrong| of_key(wrong.into())),
            KeyReader::Avro(keys) => keys.append(key, rows).map_err(of_key),
            KeyReader::JsonSchema(keys) => keys.append(key, rows).map_err(of_key),
            KeyReader::Protobuf(keys) => keys.append(key, rows).map_err(of_key),
        }
    }
}

/// The refusal of a key.
#[cold]
fn of_key(stopped: Stopped) -> Stopped {
    match stopped {
        Stopped::Record((Reason::UnknownSchema, detail)) => {
            Stopped::Record((Reason::UnknownSchema, format!("the key: {detail}")))
        }
        Stopped::Record((_, detail)) => {
            Stopped::Record((Reason::BadKey, format!("the key: {detail}")))
        }
        fault => fault,
    }
}

#[cfg(test)]
#[path = "key_tests.rs"]
mod tests;
