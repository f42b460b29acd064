//! JSON whose values name the JSON Schema that they were written with, as Confluent's serializers
//! do it: a zero byte and the schema's id in a registry stand before the JSON. What follows is read
//! as the format `json` reads it; the schema itself is only asked for where values are checked by
//! it (`validity`).
//!
//! ```text
//! 00 00 00 00 07 {"a":1}
//! ── ─────────── ───────▶ json's own decoder, then, on request, the schema
//! │       └ id
//! └ magic
//! ```

mod options;
mod validity;

use std::path::Path;
use std::sync::{Arc, OnceLock};

use self::options::{Against, Framing, JsonSchemaOptions};
use self::validity::{Checker, Schemas};
use super::key::JsonKey;
use super::rewrap::decode_rewrapped;
use super::walk::Stopped;
use super::{Decoded, DecoderContext, Format, FormatPlan, Refused};
use crate::batch::{RecordBatch, Rewrapped, Room, RowBatch};
use crate::blame::Fault;
use crate::config::{Mistake, Section};
use crate::kind::Kind;
use crate::names::Names;
use crate::reject::{Reason, Rejects, Stage};
use crate::schemas::{Doors, Inquiry};

/// The format's entry in its room's table.
pub const KIND: Kind<dyn FormatPlan> = Kind {
    name: "json-schema",
    summary: "JSON behind the id of its schema in a registry, checked on request",
    example: include_str!("json_schema.toml"),
    schema: || schemars::schema_for!(options::Options),
    parse: |section| Ok(Box::new(JsonSchemaPlan::parse(section)?)),
};

/// What stands before a schema's id.
const MAGIC: u8 = 0;

/// The format as configured, and what all of its decoders share.
#[derive(Debug)]
pub struct JsonSchemaPlan {
    options: Arc<JsonSchemaOptions>,
    schemas: OnceLock<Arc<Schemas>>,
}

impl JsonSchemaPlan {
    fn parse(section: &Section) -> Result<JsonSchemaPlan, Mistake> {
        let options = Arc::new(JsonSchemaOptions::parse(section)?);
        Ok(JsonSchemaPlan { options, schemas: OnceLock::new() })
    }

    /// The same for keys, whose columns have this prefix; what is no object goes into this column.
    pub(super) fn of_key(
        section: &Section,
        prefix: &str,
        column: &str,
    ) -> Result<JsonSchemaPlan, Mistake> {
        let options = JsonSchemaOptions::parse(section)?.of_key(section, prefix, column)?;
        Ok(JsonSchemaPlan { options: Arc::new(options), schemas: OnceLock::new() })
    }

    /// What reads keys for one lane.
    pub(super) fn keys(&self, names: &Arc<Names>) -> Keys {
        let JsonSchemaOptions { json, prefix, column, .. } = &*self.options;
        Keys {
            opener: self.opener(usize::MAX),
            json: JsonKey::new(names, (&json.separator, prefix, column), json.depth_max),
        }
    }

    fn opener(&self, bytes_max: usize) -> Opener {
        let checks = self.options.against.is_some();
        Opener {
            framing: self.options.framing,
            called: self.options.part.called(),
            bytes_max,
            checker: checks.then(|| Checker::new(Arc::clone(self.schemas()))),
        }
    }

    fn schemas(&self) -> &Arc<Schemas> {
        self.schemas.get_or_init(|| Arc::new(Schemas::new(Arc::clone(&self.options))))
    }
}

impl FormatPlan for JsonSchemaPlan {
    fn rebase(&mut self, base: &Path) {
        Arc::make_mut(&mut self.options).rebase(base);
    }

    fn open(&self, doors: Doors) -> Result<(), Fault> {
        self.schemas().open(doors)
    }

    fn separator(&self) -> Option<&str> {
        Some(&self.options.json.separator)
    }

    fn keep_exact(&mut self, fields: &[String]) {
        Arc::make_mut(&mut self.options).json.keep_exact(fields);
    }

    fn explain(&self) -> Vec<String> {
        self.options.explain()
    }

    fn inquiry(&self) -> Option<Inquiry<'_>> {
        let Some(Against::Registered(registry)) = &self.options.against else { return None };
        let part = self.options.part;
        Some(Inquiry { registry, kind: "JSON", version: None, subject: None, part })
    }

    fn decoder(&self, context: &DecoderContext) -> Box<dyn Format> {
        Box::new(Decoder {
            opener: self.opener(context.admission.record_bytes_max),
            json: self.options.json.decoder(context),
            room: Room::default(),
        })
    }
}

/// The decoder of one lane.
struct Decoder {
    opener: Opener,
    json: Box<dyn Format>,
    room: Room,
}

impl Format for Decoder {
    fn decode(
        &mut self,
        records: &RecordBatch,
        rows: &mut RowBatch,
        rejects: &mut Rejects,
    ) -> Result<Decoded, Fault> {
        let mut opened = Rewrapped::of(records, std::mem::take(&mut self.room));
        for (index, record) in records.iter().enumerate() {
            match record.value.map(|value| self.opener.open(value)).transpose() {
                Ok(body) => opened.push(index, body),
                Err(Stopped::Record((reason, detail))) => {
                    rejects.push(index as u32, Stage::Format, reason, detail);
                }
                Err(Stopped::Pipeline(fault)) => return Err(fault),
            }
        }
        let decoded = decode_rewrapped(&mut *self.json, &opened, rows, rejects);
        self.room = opened.into_room();
        decoded
    }
}

/// Reads keys for one lane.
pub(super) struct Keys {
    opener: Opener,
    json: JsonKey,
}

impl Keys {
    /// Appends the cells of a key.
    pub(super) fn append(&mut self, key: &[u8], rows: &mut RowBatch) -> Result<(), Stopped> {
        Ok(self.json.append(self.opener.open(key)?, rows)?)
    }
}

/// Takes off what stands before the JSON.
struct Opener {
    framing: Framing,
    /// What begins a sentence about what is read.
    called: &'static str,
    bytes_max: usize,
    /// Where values are checked.
    checker: Option<Checker>,
}

impl Opener {
    #[inline]
    fn open<'v>(&mut self, value: &'v [u8]) -> Result<&'v [u8], Stopped> {
        // `json` refuses it for its size, which is that of the whole.
        if value.len() > self.bytes_max {
            return Ok(value);
        }
        let (id, body) = unframed(self.framing, value).ok_or_else(|| self.misframed(value))?;
        if let Some(checker) = &mut self.checker {
            checker.check(id, body)?;
        }
        Ok(body)
    }

    #[cold]
    fn misframed(&self, value: &[u8]) -> Refused {
        let called = self.called;
        let message = match value {
            [] => return (Reason::Empty, format!("{called} has no bytes")),
            [MAGIC, ..] => {
                format!("{} bytes are too few for a schema's id and JSON", value.len())
            }
            [first, ..] if is_json(value) => format!(
                "{called} begins with {:?} and not with 0 and a schema's id: it is JSON as it is, \
                 which format = \"json\" reads, and framing = \"optional\" as well",
                char::from(*first)
            ),
            [first, ..] => format!(
                "{called} begins with {first:#04x} and not with 0 and a schema's id: does its \
                 producer use a registry?"
            ),
        };
        (Reason::Malformed, message)
    }
}

/// The id of a value's schema, if it names one, and its JSON.
#[inline]
fn unframed(framing: Framing, value: &[u8]) -> Option<(Option<u32>, &[u8])> {
    match (framing, value) {
        (Framing::Bare, _) => Some((None, value)),
        (_, [MAGIC, a, b, c, d, body @ ..]) => {
            Some((Some(u32::from_be_bytes([*a, *b, *c, *d])), body))
        }
        // JSON never begins with a zero byte.
        (Framing::Optional, [first, ..]) if *first != MAGIC => Some((None, value)),
        _ => None,
    }
}

/// Whether a value looks like JSON.
fn is_json(value: &[u8]) -> bool {
    let first = value.iter().find(|byte| !byte.is_ascii_whitespace());
    first.is_some_and(|byte| matches!(byte, b'{' | b'[' | b'"' | b'-' | b'0'..=b'9'))
}

#[cfg(test)]
mod tests;
