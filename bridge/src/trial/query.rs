//! `bridge query`: rows of a topic for which a condition is true, with what Kafka says of their
//! record.

use bridge_abi::Value;
use bridge_expr::{Program, Row as Seen, Scratch, compile};

use super::records::{Told, batches};
use super::rig::{Fate, Passed, Press, Rig, SinkLine};
use super::said::Said;
use crate::batch::{RecordBatch, Row, RowBatch, TopicPartition};
use crate::blame::Fault;
use crate::names::Names;

/// A condition over rows.
pub struct Condition {
    program: Program,
    scratch: Scratch,
}

impl Condition {
    /// Reads it; columns that no row has are missing.
    pub fn new(text: &str, names: &Names) -> Result<Condition, Fault> {
        let mut column = |name: &str| {
            names.columns.intern(name).ok_or_else(|| "there are too many columns".to_owned())
        };
        let program = compile(text, &mut column).and_then(|program| {
            program.must_be_condition()?;
            Ok(program)
        });
        let program =
            program.map_err(|error| Fault::operator(format!("reading the condition: {error}")))?;
        Ok(Condition { program, scratch: Scratch::default() })
    }

    /// Whether it is true of a row; the part that failed, if it cannot be said.
    fn holds(&mut self, row: &InBatch<'_>) -> Result<bool, String> {
        let Condition { program, scratch } = self;
        program.holds(row, scratch).map_err(|failure| program.failed(failure).to_string())
    }
}

/// A row, and what its record has.
#[derive(Clone, Copy)]
struct InBatch<'r> {
    records: &'r RecordBatch,
    rows: &'r RowBatch,
    row: &'r Row,
    headers: &'r [(Vec<u8>, Option<Vec<u8>>)],
}

impl<'r> InBatch<'r> {
    fn source(&self) -> usize {
        self.row.source as usize
    }
}

impl<'r> Seen<'r> for InBatch<'r> {
    fn column(&self, id: u16) -> Option<Value<'r>> {
        let cell = self.rows.cells_of(self.row).iter().rev().find(|cell| cell.column == id)?;
        bridge_abi::value::decode(&self.rows.arena, 0, cell).ok()
    }

    fn topic(&self) -> &'r str {
        &self.records.source.topic
    }

    fn partition(&self) -> i32 {
        self.records.source.partition
    }

    fn offset(&self) -> i64 {
        self.records.get(self.source()).offset
    }

    fn timestamp_ms(&self) -> i64 {
        self.records.get(self.source()).timestamp_ms
    }

    fn key(&self) -> Option<&'r [u8]> {
        self.records.get(self.source()).key
    }

    fn header(&self, name: &str) -> Option<&'r [u8]> {
        let found = self.headers.iter().rev().find(|(own, _)| own == name.as_bytes());
        found?.1.as_deref()
    }
}

/// A row that was asked for.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its record's partition.
    pub source: TopicPartition,
    /// Its record's offset.
    pub offset: i64,
    /// Kafka's timestamp, milliseconds since 1970; -1 for none.
    pub timestamp_ms: i64,
    /// Its record's key.
    pub key: Option<Vec<u8>>,
    /// The table that a transform chose.
    pub table: Option<String>,
    /// Column and value.
    pub cells: Vec<(String, Said)>,
    /// The same as lines of the sink, where these are asked for; of the whole record.
    pub lines: Vec<SinkLine>,
}

/// What was seen beside the rows.
#[derive(Clone, Debug, Default)]
pub struct QueryTally {
    /// Records that were read.
    pub records: u64,
    /// Records that were refused, and why the first one was.
    pub rejected: (u64, Option<String>),
    /// Rows of which the condition cannot be said, and why of the first one.
    pub unsaid: (u64, Option<String>),
}

impl QueryTally {
    fn count(place: &mut (u64, Option<String>), why: impl FnOnce() -> String) {
        place.0 += 1;
        place.1.get_or_insert_with(why);
    }
}

/// What records go through.
pub struct Query {
    /// Decoder and transforms.
    pub rig: Rig,
    /// What writes lines, where they are asked for.
    pub press: Option<Press>,
    /// What is asked of rows.
    pub condition: Option<Condition>,
    /// Names of columns and tables.
    pub names: std::sync::Arc<Names>,
    /// What was seen so far.
    pub tally: QueryTally,
}

impl Query {
    /// The rows that are asked for, in the order of the records.
    pub fn answer(&mut self, told: Vec<Told>) -> Result<Vec<Found>, Fault> {
        let mut found = Vec::new();
        for batch in batches(told) {
            self.tally.records += batch.len() as u64;
            let Passed { mut rows, mut rejects, .. } = self.rig.pass(&batch)?;
            self.keep(&batch, &mut rows);
            let lines = match &mut self.press {
                Some(press) => press.lines(&batch, &rows, &mut rejects, &self.names)?,
                None => Vec::new(),
            };
            for (source, _, reason, detail) in rejects.found {
                let offset = batch.get(source as usize).offset;
                let at = format!("{}@{offset}", batch.source);
                let why = || format!("{at}: {}: {detail}", reason.name());
                QueryTally::count(&mut self.tally.rejected, why);
            }
            let mut of = None;
            for row in &rows.rows {
                // The lines of a record are told once.
                let is_first = of.replace(row.source) != Some(row.source);
                let lines = match lines.get(row.source as usize) {
                    Some(Fate::Lines(lines)) if is_first => lines.clone(),
                    _ => Vec::new(),
                };
                found.push(Found { lines, ..self.found(&batch, &rows, row) });
            }
        }
        Ok(found)
    }

    /// Leaves the rows for which the condition is true.
    fn keep(&mut self, batch: &RecordBatch, rows: &mut RowBatch) {
        rows.emitted.clear();
        let Some(condition) = &mut self.condition else { return };
        let all = std::mem::take(&mut rows.rows);
        let mut headers = Vec::new();
        let mut of = None;
        let mut kept = Vec::with_capacity(all.len());
        for row in all {
            if of.replace(row.source) != Some(row.source) {
                headers.clear();
                batch.headers(row.source as usize, &mut |name, value| {
                    headers.push((name.to_vec(), value.map(<[u8]>::to_vec)));
                });
            }
            let seen = InBatch { records: batch, rows, row: &row, headers: &headers };
            match condition.holds(&seen) {
                Ok(true) => kept.push(row),
                Ok(false) => {}
                Err(why) => QueryTally::count(&mut self.tally.unsaid, || {
                    format!("{}@{}: {why}", batch.source, seen.offset())
                }),
            }
        }
        rows.rows = kept;
    }

    fn found(&self, batch: &RecordBatch, rows: &RowBatch, row: &Row) -> Found {
        let record = batch.get(row.source as usize);
        let cells = rows.cells_of(row).iter().filter_map(|cell| {
            let name = self.names.columns.name(cell.column)?;
            let value = bridge_abi::value::decode(&rows.arena, 0, cell).ok()?;
            Some((name.to_string(), Said::of(value)))
        });
        Found {
            source: batch.source.clone(),
            offset: record.offset,
            timestamp_ms: record.timestamp_ms,
            key: record.key.map(<[u8]>::to_vec),
            table: self.names.tables.name(row.table).map(|table| table.to_string()),
            cells: cells.collect(),
            lines: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::OwnedRecord;
    use crate::trial::{Fuel, Stock, of_values};

    fn told(offset: i64, value: &str) -> Told {
        let record = OwnedRecord {
            timestamp_ms: 1_000 * offset,
            key: Some(format!("k{offset}").into_bytes()),
            value: Some(value.as_bytes().to_vec()),
            headers: vec![
                (b"kind".to_vec(), Some(b"old".to_vec())),
                (b"kind".to_vec(), Some(b"new".to_vec())),
            ],
        };
        Told { source: TopicPartition { topic: "t".into(), partition: 3 }, offset, record }
    }

    fn query(condition: &str, lines: bool) -> Query {
        let planned = of_values(toml::Table::new(), None).expect("nothing is wrong");
        let stock = Stock::load(&planned, Fuel::Ignored).expect("no modules");
        let names = stock.names();
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let press = lines.then(|| Press::new(&planned.pipeline, &names, runtime.handle()));
        let rig = Rig::of_rows(&planned.pipeline, &stock).expect("nothing is wrong");
        let condition = Some(Condition::new(condition, &names).expect("it is right"));
        Query { rig, press, condition, names, tally: QueryTally::default() }
    }

    fn offsets(condition: &str) -> (Vec<i64>, QueryTally) {
        let mut query = query(condition, false);
        let told = vec![
            told(1, r#"{"t":1.5,"site":"a"}"#),
            told(2, r#"{"t":"hot"}"#),
            told(3, "no JSON"),
            told(4, r#"{"t":20,"site":"b"}"#),
        ];
        let found = query.answer(told).expect("no fault");
        (found.iter().map(|found| found.offset).collect(), query.tally)
    }

    #[test]
    fn rows_are_found_by_columns_and_by_what_kafka_says() {
        assert_eq!(offsets("site = 'b'").0, [4]);
        assert_eq!(offsets("key = 'k2' or offset = 4 and partition = 3").0, [2, 4]);
        assert_eq!(offsets("header('kind') = 'new' and topic = 't'").0, [1, 2, 4]);
        assert_eq!(offsets("timestamp >= timestamp '1970-01-01T00:00:02Z'").0, [2, 4]);
        assert_eq!(offsets("nowhere is missing").0, [1, 2, 4]);
    }

    #[test]
    fn what_cannot_be_said_is_counted() {
        let (found, tally) = offsets("t > 10");
        assert_eq!(found, [4]);
        assert_eq!((tally.records, tally.rejected.0, tally.unsaid.0), (4, 1, 1));
        assert!(tally.unsaid.1.is_some_and(|why| why.starts_with("t/3@2: `t > 10`")));
        assert!(tally.rejected.1.is_some_and(|why| why.starts_with("t/3@3: malformed")));
    }

    #[test]
    fn lines_are_those_of_the_rows_that_are_left() {
        let mut query = query("t > 10", true);
        let found = query.answer(vec![told(1, r#"{"t":1.5}"#), told(2, r#"{"t":30.5}"#)]);
        let found = found.expect("no fault");
        let lines: Vec<&str> =
            found.iter().flat_map(|found| &found.lines).map(|line| &*line.text).collect();
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].contains("t=30.5"), "{lines:?}");
    }
}
