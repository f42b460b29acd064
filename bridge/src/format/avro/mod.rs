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

mod defaults;
mod fingerprint;
mod flatten;
mod input;
mod options;
mod plan;
mod resolve;
mod schema;
mod text;
mod walk;
mod words;
mod writers;

use std::path::Path;
use std::sync::{Arc, OnceLock};

use self::flatten::Paths;
use self::options::AvroOptions;
use self::writers::{Found, Schemas, Writers};
use super::key::KeyReader;
use super::walk::{Stopped, walk};
use super::{Admission, Decoded, DecoderContext, Format, FormatPlan};
use crate::batch::{RecordBatch, Row, RowBatch};
use crate::blame::Fault;
use crate::kind::Kind;
use crate::reject::Rejects;
use crate::schemas::Doors;

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
struct AvroPlan {
    options: Arc<AvroOptions>,
    schemas: OnceLock<Arc<Schemas>>,
}

impl AvroPlan {
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

    fn decoder(&self, context: &DecoderContext) -> Box<dyn Format> {
        let names = Arc::clone(&context.names);
        Box::new(Decoder {
            admission: context.admission,
            key: KeyReader::new(context),
            paths: Paths::new(Arc::clone(&names), &self.options.separator),
            writers: Writers::new(Arc::clone(self.schemas()), names),
        })
    }
}

/// The decoder of one lane.
struct Decoder {
    admission: Admission,
    key: KeyReader,
    paths: Paths,
    writers: Writers,
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
            let Found { plan, body } = self.writers.find(value)?;
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
