//! The walk over a batch that formats have in common: which records are admitted, whose key stands
//! behind which row, and that nothing is left of a record that is refused. A format itself reads
//! one value at a time. (JSON walks by itself: most of its records never leave the predictor.)

use std::ops::Range;

use super::key::KeyReader;
use super::{Admission, Admitted, Decoded, DecoderContext, Format, Refused};
use crate::batch::{RecordBatch, Row, RowBatch};
use crate::blame::Fault;
use crate::reject::{Reason, Rejects, Stage};
use crate::schemas::Missing;

/// Cells of one row that come from the value, at most; with the key's they fit a row's count.
pub(super) const CELLS_MAX: usize = 2_000;

/// Reads the values of one format.
pub(super) trait ReadValue: Send {
    /// Appends the rows of one value, each ended by [`Out::end_row`]. What was appended before an
    /// error is taken back.
    fn read(&mut self, value: &[u8], out: &mut Out<'_>) -> Result<(), Stopped>;
}

/// Where the rows of one record go.
pub(super) struct Out<'a> {
    /// Cells and bytes of the row at hand are appended here.
    pub(super) rows: &'a mut RowBatch,
    reader: &'a mut KeyReader,
    key: Option<&'a [u8]>,
    source: u32,
    number: u32,
    /// Where the cells of the row at hand begin.
    start: usize,
    /// The key's cells, once they were read.
    key_cells: Option<Range<usize>>,
}

impl Out<'_> {
    /// Ends the row at hand: the key's cells come last. `table` is interned, or 0.
    #[inline]
    pub(super) fn end_row(&mut self, table: u16) -> Result<(), Stopped> {
        match self.key_cells.clone() {
            // The bytes that they point to are there already, however many rows there are.
            Some(cells) => self.rows.cells.extend_from_within(cells),
            None => {
                let first = self.rows.cells.len();
                self.reader.append(self.key, self.rows)?;
                self.key_cells = Some(first..self.rows.cells.len());
            }
        }
        let cells = self.start as u32;
        let cell_count = (self.rows.cells.len() - self.start) as u16;
        let Out { source, number, .. } = *self;
        self.rows.rows.push(Row { source, number, cells, cell_count, table });
        self.start = self.rows.cells.len();
        self.number += 1;
        Ok(())
    }
}

/// The decoder of a format whose values are read one by one.
pub(super) struct Walker<R> {
    admission: Admission,
    key: KeyReader,
    values: R,
}

impl<R: ReadValue> Walker<R> {
    /// Walks with `values`.
    pub(super) fn new(context: &DecoderContext, values: R) -> Walker<R> {
        Walker { admission: context.admission, key: KeyReader::new(context), values }
    }
}

impl<R: ReadValue> Format for Walker<R> {
    fn decode(
        &mut self,
        records: &RecordBatch,
        rows: &mut RowBatch,
        rejects: &mut Rejects,
    ) -> Result<Decoded, Fault> {
        let Walker { admission, key: reader, values } = self;
        walk(*admission, records, rows, rejects, |source, value, key, rows| {
            let (number, start, key_cells) = (0, rows.cells.len(), None);
            let reader = &mut *reader;
            let mut out = Out { rows, reader, key, source, number, start, key_cells };
            match value {
                Some(value) => values.read(value, &mut out),
                None => out.end_row(0),
            }
        })
    }
}

/// Why a record gives no row: its own fault, or that of all.
pub(super) enum Stopped {
    Record(Refused),
    Pipeline(Fault),
}

impl From<Refused> for Stopped {
    fn from(refused: Refused) -> Stopped {
        Stopped::Record(refused)
    }
}

impl From<Missing> for Stopped {
    fn from(missing: Missing) -> Stopped {
        match missing {
            Missing::Unknown(why) => Stopped::Record((Reason::UnknownSchema, why)),
            Missing::Fault(fault) => Stopped::Pipeline(fault),
        }
    }
}

/// Walks over a batch: `read` appends the rows of a record by its number, its value (`None`: only
/// its key counts) and its key. What it appended before it refused the record is taken back.
#[inline]
pub(super) fn walk<E: Into<Stopped>>(
    admission: Admission,
    records: &RecordBatch,
    rows: &mut RowBatch,
    rejects: &mut Rejects,
    mut read: impl FnMut(u32, Option<&[u8]>, Option<&[u8]>, &mut RowBatch) -> Result<(), E>,
) -> Result<Decoded, Fault> {
    let mut decoded = Decoded::default();
    for (index, record) in records.iter().enumerate() {
        let source = index as u32;
        let value = match admission.admit(record.value) {
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
        match read(source, value, record.key, rows).map_err(E::into) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::testing::{Bench, batch_of};

    /// Text: a row for each word, refused where a word is `no`.
    struct Words(u16);

    impl ReadValue for Words {
        fn read(&mut self, value: &[u8], out: &mut Out<'_>) -> Result<(), Stopped> {
            for word in value.split(|byte| *byte == b' ') {
                let cell = out.rows.cell_bytes(self.0, bridge_abi::Kind::Text, 0, word);
                out.rows.cells.push(cell);
                out.end_row(0)?;
                if word == b"no" {
                    return Err(Stopped::Record((Reason::Malformed, "it says no".to_owned())));
                }
            }
            Ok(())
        }
    }

    #[test]
    fn each_row_has_the_key_and_a_refused_record_leaves_nothing() {
        let bench = Bench::new("format = \"ignore\"", "format = \"string\"");
        let column = bench.context.names.columns.intern("word").expect("room");
        let mut walker = Walker::new(&bench.context, Words(column));
        let records =
            batch_of(&[("k", Some("a b")), ("l", Some("c no")), ("m", None), ("n", Some("d"))]);
        let (mut rows, mut rejects) = (RowBatch::default(), Rejects::default());
        let decoded = walker.decode(&records, &mut rows, &mut rejects);
        assert_eq!(decoded.expect("only records are at fault").skipped, 1);
        let shown = bench.shown(&rows);
        assert_eq!(
            shown,
            ["0.0: word=\"a\" key=\"k\"", "0.1: word=\"b\" key=\"k\"", "3.0: word=\"d\" key=\"n\"",]
        );
        assert_eq!(rejects.found.len(), 1);
        assert_eq!(rows.arena, b"akbdn", "a key's bytes are there once, refused ones not at all");
    }
}
