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
use super::{Admission, Admitted, Decoded, DecoderContext, Format, FormatPlan, Refused};
use crate::batch::{RecordBatch, Row, RowBatch};
use crate::blame::Fault;
use crate::kind::Kind;
use crate::reject::{Rejects, Stage};
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

/// Why a record gives no row: its own fault, or that of all.
enum Stopped {
    Record(Refused),
    Pipeline(Fault),
}

impl From<Refused> for Stopped {
    fn from(refused: Refused) -> Stopped {
        Stopped::Record(refused)
    }
}

impl Format for Decoder {
    fn decode(
        &mut self,
        records: &RecordBatch,
        rows: &mut RowBatch,
        rejects: &mut Rejects,
    ) -> Result<Decoded, Fault> {
        let mut decoded = Decoded::default();
        self.writers.turn_to(&records.source.topic);
        for (index, record) in records.iter().enumerate() {
            let source = index as u32;
            let value = match self.admission.admit(record.value) {
                Ok(Admitted::Value(value)) => Some(value),
                Ok(Admitted::Key) => None,
                Ok(Admitted::Skipped) => {
                    decoded.skipped += 1;
                    continue;
                }
                Err((reason, detail)) => {
                    rejects.push(source, Stage::Intake, reason, detail);
                    continue;
                }
            };
            let marks = (rows.rows.len(), rows.cells.len(), rows.arena.len());
            match self.row(source, value, record.key, rows) {
                Ok(()) => {}
                Err(Stopped::Record((reason, detail))) => {
                    rows.rows.truncate(marks.0);
                    rows.cells.truncate(marks.1);
                    rows.arena.truncate(marks.2);
                    rejects.push(source, Stage::Format, reason, detail);
                }
                Err(Stopped::Pipeline(fault)) => return Err(fault),
            }
        }
        Ok(decoded)
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
