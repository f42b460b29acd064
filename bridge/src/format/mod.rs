//! Record bytes to rows. A format is one file (or folder) and its two lines below; those that put
//! one value into one column share `single`.
//!
//! ```text
//! record ──admission──▶ value ──▶ rows of the format ──▶ each with the key's columns behind it
//! ```

mod apart;
pub(crate) mod avro;
mod csv;
mod debezium;
mod document;
mod flat;
mod framing;
mod ignore;
mod ilp;
mod json;
mod json_schema;
mod key;
mod msgpack;
mod number;
mod packed;
mod print;
mod protobuf;
mod rewrap;
mod single;
mod varint;
mod walk;

use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;

use crate::batch::{RecordBatch, RowBatch};
use crate::blame::Fault;
use crate::kind::Kind;
use crate::names::Names;
use crate::reject::{Reason, Rejects};
use crate::schemas::{Doors, Inquiry};

pub use self::apart::TakeApart;
pub use self::key::{KeyPlan, KeySchema};
pub use self::packed::Compression;
pub use self::single::{Simple, Single, Written};
/// For keys that go by a schema.
pub use crate::schemas::{Files, RegistryOptions};

/// Every format, by name.
pub const KINDS: &[Kind<dyn FormatPlan>] = &[
    json::KIND,
    json_schema::KIND,
    avro::KIND,
    protobuf::KIND,
    debezium::KIND,
    csv::KIND,
    ilp::KIND,
    msgpack::KIND,
    single::STRING,
    single::RAW,
    single::I16,
    single::I32,
    single::I64,
    single::F32,
    single::F64,
    single::BOOL,
    single::UUID,
    ignore::KIND,
];

/// The format that reads nothing: a value may be so, or a key, but not both.
pub const IGNORE: &str = ignore::KIND.name;

/// Why a record is refused.
type Refused = (Reason, String);

/// A format as configured: makes one decoder for each lane.
pub trait FormatPlan: Send + Sync + Debug {
    /// Relative paths start from here.
    fn rebase(&mut self, _base: &Path) {}

    /// Reads the files that it needs. What it asks of servers from now on it waits for.
    fn open(&self, _doors: Doors) -> Result<(), Fault> {
        Ok(())
    }

    /// What stands between the names of nested objects; `None` where names are taken as they are.
    fn separator(&self) -> Option<&str> {
        None
    }

    /// Numbers of these (flattened) fields must not go by way of a double, as far as it writes
    /// them in digits.
    fn keep_exact(&mut self, _fields: &[String]) {}

    /// What rows that it marks as deleting others ask of the sink; `None`: it marks none.
    fn deletions(&self) -> Option<Deletions> {
        None
    }

    /// A decoder for one lane.
    fn decoder(&self, context: &DecoderContext) -> Box<dyn Format>;

    /// Lines of `bridge explain`, beside the format's name.
    fn explain(&self) -> Vec<String> {
        Vec::new()
    }

    /// What it asks of a registry of schemas, if it does.
    fn inquiry(&self) -> Option<Inquiry<'_>> {
        None
    }

    /// What a decoder may hold beside its rows, bytes.
    fn lane_bytes(&self) -> usize {
        0
    }
}

/// What a format asks of sinks that marks rows as deleting others.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Deletions {
    /// A sink that deletes nothing is a mistake.
    pub must: bool,
    /// Where they are stored, such rows say by a column that they are one.
    pub told: bool,
    /// Columns that differ between a row and what deletes it.
    pub own: Vec<String>,
}

/// What every decoder is given.
#[derive(Clone, Debug)]
pub struct DecoderContext {
    /// The pipeline's names.
    pub names: Arc<Names>,
    /// How the key is read.
    pub key: KeyPlan,
    /// What happens to records without a value, and to very large ones.
    pub admission: Admission,
}

/// What happens to records without a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum NullValue {
    /// They are skipped and counted.
    #[default]
    Skip,
    /// They are rejected.
    Reject,
    /// They become rows of their key's columns, for a sink that deletes these.
    Delete,
}

/// A record that may go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Admitted<'a> {
    /// Its value is to be decoded.
    Value(&'a [u8]),
    /// It has none: its key is to be decoded.
    Key,
    /// It is left out, and counted.
    Skipped,
}

/// What happens to records without a value, and to very large ones.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Admission {
    /// What happens to records without a value.
    pub null_value: NullValue,
    /// Larger values are rejected.
    pub record_bytes_max: usize,
}

impl Admission {
    /// What is to be decoded of a record with this value.
    #[inline]
    pub fn admit<'a>(&self, value: Option<&'a [u8]>) -> Result<Admitted<'a>, (Reason, String)> {
        match value {
            None => match self.null_value {
                NullValue::Skip => Ok(Admitted::Skipped),
                NullValue::Delete => Ok(Admitted::Key),
                NullValue::Reject => {
                    let detail = "the value is null and null_value = \"reject\"";
                    Err((Reason::NullValue, detail.to_owned()))
                }
            },
            Some(value) if value.len() > self.record_bytes_max => {
                let (len, max) = (value.len(), self.record_bytes_max);
                Err((
                    Reason::TooLarge,
                    format!("{len} bytes are more than record_bytes_max = {max}"),
                ))
            }
            Some(value) => Ok(Admitted::Value(value)),
        }
    }
}

/// Counts of one call, published by the lane once for each batch.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Decoded {
    /// Records that were skipped by policy: null values, and what a format says that it leaves out.
    pub skipped: u64,
}

/// A part of a batch that was decoded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Portion {
    /// Its counts.
    pub decoded: Decoded,
    /// The record that the rest begins with, if there is one.
    pub next: Option<usize>,
}

/// Decodes batches. One instance for each lane; pure CPU, but for a schema that nobody has met
/// (`schemas`).
pub trait Format: Send {
    /// Appends the rows of all records, in order; refuses those that are not of this format. A
    /// record of which only the key is admitted is a row of its key's columns.
    /// Never panics, never stops at a bad record, allocates nothing per record in steady state.
    /// An error is none of the records'.
    fn decode(
        &mut self,
        records: &RecordBatch,
        rows: &mut RowBatch,
        rejects: &mut Rejects,
    ) -> Result<Decoded, Fault>;

    /// The same of the records from `from` on, as many as may be decoded at once: where values
    /// become far more than they were when they were fetched, not all.
    fn portion(
        &mut self,
        from: usize,
        records: &RecordBatch,
        rows: &mut RowBatch,
        rejects: &mut Rejects,
    ) -> Result<Portion, Fault> {
        debug_assert_eq!(from, 0, "there was no rest");
        let decoded = self.decode(records, rows, rejects)?;
        Ok(Portion { decoded, next: None })
    }
}

/// Bytes of a value shown in a message, at most.
const SHOWN_BYTES_MAX: usize = 60;

/// The refusal of a value that is no text.
#[cold]
fn not_utf8(value: &[u8]) -> Refused {
    let at = simdutf8::compat::from_utf8(value).map_or_else(|wrong| wrong.valid_up_to(), str::len);
    (Reason::InvalidUtf8, format!("not UTF-8 at byte {at}"))
}

/// The beginning of a value, for a message.
fn quoted(bytes: &[u8]) -> String {
    let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN_BYTES_MAX)]);
    let more = if bytes.len() > SHOWN_BYTES_MAX { "…" } else { "" };
    format!("{shown:?}{more}")
}

#[cfg(test)]
mod golden_tests;
#[cfg(test)]
mod testing;
