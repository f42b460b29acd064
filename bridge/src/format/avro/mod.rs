//! Avro. Records flatten into columns as JSON's objects do, `{"a":{"b":1}}` to `a_b`; a schema is
//! compiled once into a plan (`plan`), and values are walked with it (`walk`).
//!
//! | in the schema | becomes |
//! |---|---|
//! | `int`, `long`, `time-millis`, `time-micros` | a long |
//! | `float`, `double` | a double |
//! | `string`, `uuid`, `duration` | text |
//! | `enum` | a symbol |
//! | `boolean`, `null` | a boolean, an explicit null |
//! | `date`, `timestamp-*`, `local-timestamp-*` | a timestamp of its own unit |
//! | `bytes`, `fixed` | bytes; with `decimal` an exact decimal |
//! | `record`, `map` | columns below its own name |
//! | array of numbers, 1 to 3 dimensions | an array of doubles |
//! | any other array, a record that holds itself | its JSON as text |
//! | a union | what its branch is; null is null in all columns that the others have |
//!
//! A value that is not what its schema says, to the last byte, is a rejected record.

pub(crate) mod defaults;
mod fingerprint;
mod flatten;
mod input;
mod options;
mod parts;
mod plan;
mod resolve;
pub(crate) mod schema;
mod text;
mod walk;
pub(crate) mod words;
mod writers;

use std::path::Path;
use std::sync::{Arc, OnceLock};

pub(super) use self::options::{AvroOptions, Framing};
pub(super) use self::parts::Parts;
pub(super) use self::plan::Plan;
use self::resolve::resolve;
pub(super) use self::schema::{Form, Schema};
pub(super) use self::words::{push_decimal, unscaled};
pub(super) use self::writers::{Compile, Found, Schemas, Writers};
use super::flat::{Naming, Paths};
use super::key::KeyReader;
use super::walk::{Stopped, walk};
use super::{Admission, Decoded, DecoderContext, Format, FormatPlan, Refused};
use crate::batch::{RecordBatch, Row, RowBatch};
use crate::blame::Fault;
use crate::config::{Mistake, Section};
use crate::kind::Kind;
use crate::names::Names;
use crate::reject::{Reason, Rejects};
use crate::schemas::{Doors, Inquiry};

/// The format's entry in its room's table.
pub const KIND: Kind<dyn FormatPlan> = Kind {
    name: "avro",
    summary: "Avro, its schemas from a registry or from files",
    example: include_str!("avro.toml"),
    schema: || schemars::schema_for!(options::Options),
    parse: |section| {
        let options = AvroOptions::parse(section)?;
        Ok(Box::new(AvroPlan { options: Arc::new(options), schemas: OnceLock::new() }))
    },
};

/// The format as configured, and what all of its decoders share.
#[derive(Debug)]
pub struct AvroPlan {
    options: Arc<AvroOptions>,
    schemas: OnceLock<Arc<Schemas>>,
}

impl AvroPlan {
    /// The same for keys, whose columns have this prefix; what is no record goes into this column.
    pub(super) fn of_key(
        section: &Section,
        prefix: &str,
        column: &str,
    ) -> Result<AvroPlan, Mistake> {
        let options = AvroOptions::parse(section)?.of_key(section, prefix, column)?;
        Ok(AvroPlan { options: Arc::new(options), schemas: OnceLock::new() })
    }

    /// What reads keys for one lane.
    pub(super) fn keys(&self, names: &Arc<Names>) -> Keys {
        Keys {
            paths: Paths::new(Arc::clone(names), &self.options.separator),
            writers: Writers::new(
                Arc::clone(self.schemas()),
                Arc::clone(names),
                Rows(Arc::clone(&self.options)),
            ),
        }
    }

    fn schemas(&self) -> &Arc<Schemas> {
        self.schemas.get_or_init(|| Arc::new(Schemas::new(Arc::clone(&self.options))))
    }
}

impl FormatPlan for AvroPlan {
    fn rebase(&mut self, base: &Path) {
        Arc::make_mut(&mut self.options).rebase(base);
    }

    fn open(&self, doors: Doors) -> Result<(), Fault> {
        self.schemas().open(doors)
    }

    fn explain(&self) -> Vec<String> {
        self.options.explain()
    }

    fn inquiry(&self) -> Option<Inquiry<'_>> {
        self.options.inquiry()
    }

    fn separator(&self) -> Option<&str> {
        Some(&self.options.separator)
    }

    fn decoder(&self, context: &DecoderContext) -> Box<dyn Format> {
        let names = Arc::clone(&context.names);
        let rows = Rows(Arc::clone(&self.options));
        Box::new(Decoder {
            admission: context.admission,
            key: KeyReader::new(context),
            paths: Paths::new(Arc::clone(&names), &self.options.separator),
            writers: Writers::new(Arc::clone(self.schemas()), names, rows),
        })
    }
}

/// Reads keys for one lane.
pub(super) struct Keys {
    paths: Paths,
    writers: Writers<Rows>,
}

impl Keys {
    /// Appends the cells of a key.
    #[inline]
    pub(super) fn append(&mut self, key: &[u8], rows: &mut RowBatch) -> Result<(), Stopped> {
        let Found { made: plan, body } = self.writers.find(key)?;
        Ok(plan.read(body, &mut self.paths, rows)?)
    }
}

/// Values become rows, each as it is.
struct Rows(Arc<AvroOptions>);

impl Compile for Rows {
    type Made = Plan;

    fn compile(
        &self,
        writer: &Schema,
        reader: Option<&Schema>,
        names: &Names,
        shown: &str,
    ) -> Result<Plan, Refused> {
        let AvroOptions { separator, column, prefix, .. } = &*self.0;
        let naming = Naming { names, separator, prefix, single: column };
        let resolved = resolve(writer, reader);
        let resolved = resolved.map_err(|why| (Reason::Malformed, format!("{shown}: {why}")))?;
        Plan::compile(resolved, naming)
    }
}

/// The decoder of one lane.
struct Decoder {
    admission: Admission,
    key: KeyReader,
    paths: Paths,
    writers: Writers<Rows>,
}

impl Format for Decoder {
    fn decode(
        &mut self,
        records: &RecordBatch,
        rows: &mut RowBatch,
        rejects: &mut Rejects,
    ) -> Result<Decoded, Fault> {
        self.writers.turn_to(&records.source.topic);
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
            let Found { made: plan, body } = self.writers.find(value)?;
            plan.read(body, &mut self.paths, rows)?;
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
mod tests;
