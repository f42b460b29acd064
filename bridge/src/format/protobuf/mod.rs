//! Protobuf. Messages flatten into columns as JSON's objects do, `a { b: 1 }` to `a_b`; a message
//! type is compiled once into a plan (`plan`), and values are walked with it (`walk`). What comes
//! in pieces is read at the end of a record (`late`), what the schema does not name (`below`) or
//! has no column of its own (`text`) by what is gathered of it (`gather`).
//!
//! | in the schema | becomes |
//! |---|---|
//! | `int32` … `sfixed64` | a long; without a sign and beyond 63 bits the nearest double |
//! | `float`, `double` | a double |
//! | `bool`, `string`, `bytes` | a boolean, text, bytes |
//! | an enum | a symbol, or a long (`enums`) |
//! | a message, a group, a map, a `Struct` | columns below its own name |
//! | repeated numbers | an array of doubles |
//! | any other repeated field, a message that holds itself, `Any` | its JSON as text |
//! | `Timestamp`, `google.type.Date` | a timestamp |
//! | `Duration` | a long of nanoseconds, or text (`durations`) |
//! | wrappers | what they hold |
//! | `FieldMask` | text |
//! | `confluent.type.Decimal` | an exact decimal |
//! | a message without fields | true |
//!
//! What the schema does not have is passed over; what is written otherwise than the schema says is
//! a rejected record.

mod below;
mod gather;
mod late;
mod model;
mod options;
mod plan;
mod text;
mod walk;
mod wire;
mod writers;

use std::path::Path;
use std::sync::{Arc, OnceLock};

use self::options::ProtobufOptions;
use self::walk::Scratch;
use self::writers::{Found, Schemas, Writers};
use super::flat::Paths;
use super::json::Flattener;
use super::key::KeyReader;
use super::walk::{Stopped, walk};
use super::{Admission, Decoded, DecoderContext, Format, FormatPlan};
use crate::batch::{RecordBatch, Row, RowBatch};
use crate::blame::Fault;
use crate::config::{Mistake, Section};
use crate::kind::Kind;
use crate::names::Names;
use crate::reject::Rejects;
use crate::schemas::{Doors, Inquiry};

/// The format's entry in its room's table.
pub const KIND: Kind<dyn FormatPlan> = Kind {
    name: "protobuf",
    summary: "Protobuf, its types from a registry, .proto files or a descriptor set",
    example: include_str!("protobuf.toml"),
    schema: || schemars::schema_for!(options::Options),
    parse: |section| {
        let options = ProtobufOptions::parse(section)?;
        Ok(Box::new(ProtobufPlan { options: Arc::new(options), schemas: OnceLock::new() }))
    },
};

/// The format as configured, and what all of its decoders share.
#[derive(Debug)]
pub struct ProtobufPlan {
    options: Arc<ProtobufOptions>,
    schemas: OnceLock<Arc<Schemas>>,
}

impl ProtobufPlan {
    /// The same for keys, whose columns have this prefix; what is no record goes into this column.
    pub(super) fn of_key(
        section: &Section,
        prefix: &str,
        column: &str,
    ) -> Result<ProtobufPlan, Mistake> {
        let options = ProtobufOptions::parse(section)?.of_key(prefix, column);
        Ok(ProtobufPlan { options: Arc::new(options), schemas: OnceLock::new() })
    }

    /// What reads messages for one lane.
    pub(super) fn messages(&self, names: &Arc<Names>) -> Messages {
        let (separator, prefix) = (&self.options.separator, &self.options.prefix);
        let paths = Paths::new(Arc::clone(names), separator);
        let flattener = Flattener::new(separator, prefix, Arc::clone(names));
        Messages {
            scratch: Scratch::new(paths, flattener),
            writers: Writers::new(Arc::clone(self.schemas()), Arc::clone(names)),
        }
    }

    fn schemas(&self) -> &Arc<Schemas> {
        self.schemas.get_or_init(|| Arc::new(Schemas::new(Arc::clone(&self.options))))
    }
}

impl FormatPlan for ProtobufPlan {
    fn rebase(&mut self, base: &Path) {
        Arc::make_mut(&mut self.options).rebase(base);
    }

    fn open(&self, doors: Doors) -> Result<(), Fault> {
        self.schemas().open(doors)
    }

    fn separator(&self) -> Option<&str> {
        Some(&self.options.separator)
    }

    fn explain(&self) -> Vec<String> {
        self.options.explain()
    }

    fn inquiry(&self) -> Option<Inquiry<'_>> {
        self.options.inquiry()
    }

    fn decoder(&self, context: &DecoderContext) -> Box<dyn Format> {
        Box::new(Decoder {
            admission: context.admission,
            key: KeyReader::new(context),
            messages: self.messages(&context.names),
        })
    }
}

/// Reads messages for one lane: keys, and values as well.
pub(super) struct Messages {
    scratch: Scratch,
    writers: Writers,
}

impl Messages {
    /// Appends the cells of a message.
    #[inline]
    pub(super) fn append(&mut self, message: &[u8], rows: &mut RowBatch) -> Result<(), Stopped> {
        let Found { plan, body } = self.writers.find(message)?;
        Ok(plan.read(message, body, &mut self.scratch, rows)?)
    }
}

/// The decoder of one lane.
struct Decoder {
    admission: Admission,
    key: KeyReader,
    messages: Messages,
}

impl Format for Decoder {
    fn decode(
        &mut self,
        records: &RecordBatch,
        rows: &mut RowBatch,
        rejects: &mut Rejects,
    ) -> Result<Decoded, Fault> {
        walk(self.admission, records, rows, rejects, |source, value, key, rows| {
            self.row(source, value, key, rows)
        })
    }
}

impl Decoder {
    #[inline]
    fn row(
        &mut self,
        source: u32,
        value: Option<&[u8]>,
        key: Option<&[u8]>,
        rows: &mut RowBatch,
    ) -> Result<(), Stopped> {
        let start = rows.cells.len();
        if let Some(value) = value {
            self.messages.append(value, rows)?;
        }
        self.key.append(key, rows)?;
        let cell_count = (rows.cells.len() - start) as u16;
        rows.rows.push(Row { source, number: 0, cells: start as u32, cell_count, table: 0 });
        Ok(())
    }
}

#[cfg(test)]
mod oracle;
#[cfg(test)]
mod schema_tests;
#[cfg(test)]
mod tests;
