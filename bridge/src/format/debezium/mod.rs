//! Changes of databases as Debezium writes them, in JSON or Avro: an event becomes the row that it
//! leaves behind, and one of a deletion says that the row of its key is to be deleted
//! (`RowBatch::deleting`).
//!
//! ```text
//! value ──json──▶ tape  ─┐                       ┌─▶ after, or before: the row's cells ─▶ meaning
//!       ──avro──▶ spans ─┴─▶ its parts ──event───┼─▶ source, op, deleted: columns of their own
//!                                                └─▶ skipped, refused, or the end
//! ```
//!
//! What columns mean stands in schemas, by Connect's names (`meaning`): beside each value
//! (`envelope`, `connect`), in a registry (`avro`), or in the option `types`.

mod avro;
mod coerce;
mod connect;
mod digits;
mod envelope;
mod event;
mod json;
mod meaning;
mod options;

use std::path::Path;
use std::sync::{Arc, OnceLock};

use self::avro::Avro;
use self::event::{Done, Events};
use self::json::Json;
use self::options::{Checked, Deletes};
use super::avro::{AvroOptions, Schemas};
use super::key::KeyReader;
use super::walk::{Stopped, walk};
use super::{Admission, Decoded, DecoderContext, Deletions, Format, FormatPlan};
use crate::batch::{RecordBatch, Row, RowBatch};
use crate::blame::Fault;
use crate::kind::Kind;
use crate::reject::Rejects;
use crate::schemas::{Doors, Inquiry};

/// The format's entry in its room's table.
pub const KIND: Kind<dyn FormatPlan> = Kind {
    name: "debezium",
    summary: "changes of databases as Debezium writes them, in JSON or Avro",
    example: include_str!("debezium.toml"),
    schema: || schemars::schema_for!(options::Options),
    parse: |section| {
        let options = Checked::parse(section)?;
        Ok(Box::new(DebeziumPlan { options: Arc::new(options), schemas: OnceLock::new() }))
    },
};

/// The format as configured, and what all of its decoders share.
#[derive(Debug)]
struct DebeziumPlan {
    options: Arc<Checked>,
    schemas: OnceLock<Option<Arc<Schemas>>>,
}

impl DebeziumPlan {
    /// Where the schemas of Avro are; `None`: it is JSON.
    fn schemas(&self) -> Option<&Arc<Schemas>> {
        let make = || {
            let options = self.options.avro.clone()?;
            Some(Arc::new(Schemas::new(Arc::new(options))))
        };
        self.schemas.get_or_init(make).as_ref()
    }
}

impl FormatPlan for DebeziumPlan {
    fn rebase(&mut self, base: &Path) {
        if let Some(avro) = &mut Arc::make_mut(&mut self.options).avro {
            avro.rebase(base);
        }
    }

    fn open(&self, doors: Doors) -> Result<(), Fault> {
        self.schemas().map_or(Ok(()), |schemas| schemas.open(doors))
    }

    fn separator(&self) -> Option<&str> {
        Some(&self.options.separator)
    }

    fn explain(&self) -> Vec<String> {
        self.options.avro.iter().flat_map(AvroOptions::explain).collect()
    }

    fn inquiry(&self) -> Option<Inquiry<'_>> {
        self.options.avro.as_ref().and_then(AvroOptions::inquiry)
    }

    fn deletions(&self) -> Option<Deletions> {
        let options = &self.options;
        let must = match options.deletes {
            Deletes::Auto => false,
            Deletes::Delete => true,
            Deletes::Row | Deletes::Skip => return None,
        };
        let told = options.deleted.is_some() || options.op.is_some();
        let own = options.own().map(str::to_owned).collect();
        Some(Deletions { must, told, own })
    }

    fn decoder(&self, context: &DecoderContext) -> Box<dyn Format> {
        let events = Events::new(&self.options, context);
        let values = match self.schemas() {
            None => Values::Json(Box::new(Json::new(&events))),
            Some(schemas) => Values::Avro(Box::new(Avro::new(&events, Arc::clone(schemas)))),
        };
        let (admission, key) = (context.admission, KeyReader::new(context));
        Box::new(Decoder { admission, key, events, values })
    }
}

/// What events are written in.
enum Values {
    Json(Box<Json>),
    Avro(Box<Avro>),
}

/// The decoder of one lane.
struct Decoder {
    admission: Admission,
    key: KeyReader,
    events: Events,
    values: Values,
}

impl Format for Decoder {
    fn decode(
        &mut self,
        records: &RecordBatch,
        rows: &mut RowBatch,
        rejects: &mut Rejects,
    ) -> Result<Decoded, Fault> {
        let mut skipped = 0;
        let mut decoded =
            walk(self.admission, records, rows, rejects, |source, value, key, rows| {
                let done = self.row(source, value, key, rows)?;
                skipped += u64::from(done == Done::Skipped);
                match done {
                    Done::Stop => {
                        let offset = records.get(source as usize).offset;
                        Err(Stopped::Pipeline(truncated(&format!("{}@{offset}", records.source))))
                    }
                    _ => Ok(()),
                }
            })?;
        decoded.skipped += skipped;
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
    ) -> Result<Done, Stopped> {
        let (start, arena) = (rows.cells.len(), rows.arena.len());
        let done = match (value, &mut self.values) {
            // Its key alone counts, and what it means is said by its missing value.
            (None, _) => Done::Row { deletes: false, table: 0 },
            (Some(value), Values::Json(json)) => json.read(value, &mut self.events, rows)?,
            (Some(value), Values::Avro(avro)) => avro.read(value, &mut self.events, rows)?,
        };
        let Done::Row { deletes, table } = done else {
            rows.cells.truncate(start);
            rows.arena.truncate(arena);
            return Ok(done);
        };
        self.key.append(key, rows)?;
        let cell_count = (rows.cells.len() - start) as u16;
        rows.rows.push(Row { source, number: 0, cells: start as u32, cell_count, table });
        if deletes {
            rows.deleting.insert(source);
        }
        Ok(done)
    }
}

/// A table was truncated, and that is not to be passed over.
#[cold]
fn truncated(record: &str) -> Fault {
    let message = format!("{record}: the table was truncated, and truncate = \"stop\"");
    let hint = "empty the table that it is stored in, then start with truncate = \"skip\"";
    Fault::operator(message).hint(hint)
}

#[cfg(test)]
mod oracle;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod type_tests;
#[cfg(test)]
mod written;
