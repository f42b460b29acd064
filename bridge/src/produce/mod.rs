//! Lines of a file or a pipe as records of a topic, for `bridge produce`: read by a format, written
//! by the sink `kafka`, whose courier sends them as it sends rows. What is delivered is known by
//! its receipts.
//!
//! ```text
//! lines ──read──▶ records ──format──▶ rows ──encoder──▶ Payload ──courier──▶ topic
//!                    └──────as they are─────────▲           └─Receipt─▶ counts
//! ```

mod lines;
#[cfg(test)]
mod tests;

use std::io::BufRead;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bridge_abi::{Cell, Kind};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};

pub use self::lines::Quoting;
use self::lines::{Line, Lines};
use crate::batch::{
    Emitted, Payload, Receipt, RecordBatch, Row, RowBatch, TopicPartition, Verdict,
};
use crate::blame::Fault;
use crate::config::PipelinePlan;
use crate::format::{DecoderContext, Format};
use crate::limits::MIB;
use crate::names::Names;
use crate::observe::PipelineMeter;
use crate::outbox::{Closing, Outbox, Pool};
use crate::reject::{Reason, Reject, Rejected, Rejects, Stage};
use crate::sink::questdb::Denied;
use crate::sink::schema::Keys;
use crate::sink::text::{Timestamps, fit, push_bare};
use crate::sink::{Commit, CourierDoors, Encoder, Home, Letters, Sink, SinkContext};
use crate::source::OwnedRecord;
use crate::ticket::Share;
use crate::trial::{Told, batches};

/// Lines that are read and encoded at once.
const LINES_AT_ONCE: usize = 1_000;
/// The same in bytes, about.
const BYTES_AT_ONCE: usize = MIB;
/// When a payload is full.
const CLOSING: Closing = Closing {
    payload_bytes_max: BYTES_AT_ONCE,
    payload_rows_max: LINES_AT_ONCE,
    open_bytes_max: usize::MAX,
};
/// Payloads that wait for the courier.
const PAYLOADS_WAITING: usize = 4;
/// How long news are waited for before somebody may look at the clock.
const BEAT: Duration = Duration::from_millis(100);

/// What is to become of lines.
#[derive(Clone, Debug)]
pub struct Wish {
    /// The topic.
    pub topic: String,
    /// Values are the lines as they are, and not what the sink makes of their rows.
    pub as_they_are: bool,
    /// Lines are read by the pipeline's format; else nobody looks at what is in them.
    pub reads: bool,
    /// Lines without anything in them are no records.
    pub skips_empty: bool,
    /// Quotes hold line ends.
    pub quoting: Option<Quoting>,
    /// The first line names the columns of all others.
    pub header: bool,
    /// Of lines as they are: the column that is the key, if the sink makes none with a schema.
    pub key_column: Option<String>,
    /// Of lines as they are: the column that is the partition's number.
    pub partition_column: Option<String>,
    /// Stands between a line's key and its value.
    pub key_delimiter: Option<String>,
    /// The partition of all records.
    pub partition: Option<i32>,
    /// Headers of all records.
    pub headers: Vec<(String, String)>,
    /// So many bad lines are left out before it stops.
    pub bad_max: u64,
    /// How long nothing may be delivered that is to be.
    pub patience: Duration,
}

/// What came of it so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Lines read.
    pub lines: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Records that the brokers have.
    pub delivered: u64,
    /// Records handed over, whose receipts are awaited.
    pub under_way: u64,
    /// Lines that are no records.
    pub bad: u64,
}

/// What is told while it goes on.
pub enum News<'a> {
    /// It goes on.
    Progress(&'a Counts),
    /// A line is no record: its number, and why.
    Bad(u64, &'a str),
}

/// Why it ended.
#[derive(Debug)]
pub enum Ended {
    /// All lines were read.
    Whole,
    /// More lines are bad than may be: at this one.
    BadLine(u64),
    /// Not all that was handed over is known to be delivered.
    Undelivered,
}

/// Sends all lines, and waits until they are delivered.
pub fn produce(
    plan: &PipelinePlan,
    wish: Wish,
    input: &mut dyn BufRead,
    tell: &mut dyn FnMut(News<'_>),
) -> Result<(Counts, Ended), Fault> {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|error| Fault::us(format!("starting a runtime: {error}")))?;
    let names = Arc::new(Names::default());
    let meter = Arc::<PipelineMeter>::default();
    let sink = plan.sink.build(SinkContext {
        pipeline: Arc::clone(&plan.name),
        names: Arc::clone(&names),
        shape: Arc::new(plan.shape.clone()),
        delivery: plan.delivery,
        meter,
        runtime: runtime.handle().clone(),
    })?;
    knock(&*sink, &runtime)?;
    let (payloads, inbox) = mpsc::channel(PAYLOADS_WAITING);
    let (home, receipts) = mpsc::channel(1_024);
    let (dead_letters, letters) = mpsc::channel(1_024);
    let (reset, reset_seen) = watch::channel(0);
    let pool = Arc::<Pool>::default();
    let doors = CourierDoors {
        inbox,
        home: Home::new(home, Arc::new(|| {})),
        dead_letters: Letters::new(dead_letters, None),
        pool: Arc::clone(&pool),
        commit: Commit { bytes_max: 16 * MIB, rows_max: 100_000 },
        reset: reset_seen,
    };
    let key = plan.key.clone();
    let context = DecoderContext { names: Arc::clone(&names), key, admission: plan.admission };
    let producing = Producing {
        encoder: sink.encoder(),
        keys: sink.keys().filter(|_| wish.as_they_are),
        format: plan.value.decoder(&context),
        outbox: Outbox::new(CLOSING, pool, Instant::now()),
        ids: Ids::of(&wish, &names),
        rows: RowBatch::default(),
        rejects: Rejects::default(),
        counts: Counts::default(),
        ended: Ended::Whole,
        payloads: Some(payloads),
        receipts,
        letters,
        reset,
        runtime: &runtime,
        news_at: Instant::now(),
        wish,
        tell,
    };
    let done = beside(&*sink, &runtime, doors, || producing.run(input));
    // A name that is still being resolved is not waited for.
    runtime.shutdown_background();
    done
}

/// Does something while the sink's courier runs, and waits for that to end.
fn beside<T>(
    sink: &dyn Sink,
    runtime: &Runtime,
    doors: CourierDoors,
    act: impl FnOnce() -> Result<T, Fault>,
) -> Result<T, Fault> {
    let courier = sink.courier(0);
    let (done, carried) = std::thread::scope(|scope| {
        let courier = scope.spawn(move || runtime.block_on(courier.run(doors)));
        let done = act();
        sink.abandon();
        (done, courier.join())
    });
    match carried {
        Ok(carried) => carried?,
        Err(_) => return Err(Fault::us("the courier panicked")),
    }
    done
}

/// Knocks on the sink's doors: a topic that is not there is told before the first line is read.
fn knock(sink: &dyn Sink, runtime: &Runtime) -> Result<(), Fault> {
    use crate::sink::FindingState;
    for finding in runtime.block_on(sink.check(true)) {
        if finding.state == FindingState::Fail {
            let message = format!("{}: {}", finding.name, finding.note);
            let fault = Fault { blame: finding.blame, message, hint: finding.fix };
            return Err(fault);
        }
    }
    Ok(())
}

/// Columns by their numbers.
struct Ids {
    topic: u16,
    key: Option<u16>,
    partition: Option<u16>,
}

impl Ids {
    fn of(wish: &Wish, names: &Names) -> Ids {
        let column = |name: &Option<String>| name.as_ref().and_then(|n| names.columns.intern(n));
        Ids {
            topic: names.topics.intern(&wish.topic).unwrap_or_default(),
            key: column(&wish.key_column),
            partition: column(&wish.partition_column),
        }
    }
}

/// Lines on their way.
struct Producing<'a> {
    wish: Wish,
    ids: Ids,
    format: Box<dyn Format>,
    encoder: Box<dyn Encoder>,
    /// Of lines as they are: what makes their keys, if these have a schema.
    keys: Option<Keys>,
    outbox: Outbox,
    rows: RowBatch,
    rejects: Rejects,
    counts: Counts,
    ended: Ended,
    /// Gone when the last line was.
    payloads: Option<mpsc::Sender<Payload>>,
    receipts: mpsc::Receiver<Receipt>,
    letters: mpsc::Receiver<Rejected>,
    reset: watch::Sender<u64>,
    runtime: &'a Runtime,
    /// When something was delivered last.
    news_at: Instant,
    tell: &'a mut dyn FnMut(News<'_>),
}

impl Producing<'_> {
    fn run(mut self, input: &mut dyn BufRead) -> Result<(Counts, Ended), Fault> {
        let mut lines = Lines::new(input, self.wish.quoting);
        let header = match self.wish.header {
            true => lines.next()?.map(|line| line.bytes),
            false => None,
        };
        loop {
            let told = self.read(&mut lines, header.as_deref())?;
            let is_last = told.is_empty();
            for batch in batches(told) {
                self.encode(&batch)?;
            }
            self.outbox.close_all();
            let closed: Vec<Payload> = self.outbox.take_closed().map(|(_, one)| one).collect();
            for payload in closed {
                if !self.hand_over(payload) {
                    return Ok((self.counts, Ended::Undelivered));
                }
            }
            (self.tell)(News::Progress(&self.counts));
            if is_last || !matches!(self.ended, Ended::Whole) {
                break;
            }
        }
        self.finish()
    }

    /// Some lines as records; none at the end.
    fn read(&mut self, lines: &mut Lines<'_>, header: Option<&[u8]>) -> Result<Vec<Told>, Fault> {
        let source = TopicPartition { topic: self.wish.topic.as_str().into(), partition: 0 };
        let (mut told, mut bytes) = (Vec::new(), 0);
        while told.len() < LINES_AT_ONCE && bytes < BYTES_AT_ONCE {
            let Some(Line { number, bytes: line }) = lines.next()? else { break };
            self.counts.lines += 1;
            self.counts.bytes += line.len() as u64 + 1;
            bytes += line.len();
            if self.wish.skips_empty && line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let (key, value) = match self.split(line) {
                Ok(parts) => parts,
                Err(why) => {
                    self.bad(number, why);
                    if !matches!(self.ended, Ended::Whole) {
                        break;
                    }
                    continue;
                }
            };
            let value = match header {
                None => value,
                Some(header) => [header, b"\n", &value].concat(),
            };
            let record = OwnedRecord { timestamp_ms: -1, key, value: Some(value), headers: vec![] };
            told.push(Told { source: source.clone(), offset: number as i64, record });
        }
        Ok(told)
    }

    /// A line's key and value.
    fn split(&self, mut line: Vec<u8>) -> Result<(Option<Vec<u8>>, Vec<u8>), &'static str> {
        let Some(delimiter) = &self.wish.key_delimiter else { return Ok((None, line)) };
        let at = memchr::memmem::find(&line, delimiter.as_bytes());
        let at = at.ok_or("it has no key: the delimiter is not in it")?;
        let value = line.split_off(at + delimiter.len());
        line.truncate(at);
        Ok((Some(line), value))
    }

    /// Lines to payloads.
    fn encode(&mut self, batch: &RecordBatch) -> Result<(), Fault> {
        self.rows.clear();
        if self.wish.reads {
            self.format.decode(batch, &mut self.rows, &mut self.rejects)?;
        }
        if self.wish.as_they_are {
            self.emit(batch)?;
        }
        self.encoder.encode(batch, &self.rows, &mut self.rejects, &mut self.outbox)?;
        for reject in self.rejects.drain(batch) {
            let Reject { offset, reason, detail, .. } = reject;
            self.bad(offset as u64, &format!("{}: {}", reason.name(), of_line(&detail)));
        }
        Ok(())
    }

    /// Makes records of lines as they are, with what rows say of their keys and partitions.
    fn emit(&mut self, batch: &RecordBatch) -> Result<(), Fault> {
        let rows = std::mem::take(&mut self.rows);
        let mut made = RowBatch::default();
        let pair = |made: &mut RowBatch, (name, value): &(String, String)| {
            let name = made.own(name.as_bytes());
            (name, Some(made.own(value.as_bytes())))
        };
        for header in &self.wish.headers {
            let header = pair(&mut made, header);
            made.headers.push(header);
        }
        for (source, record) in (0..).zip(batch.iter()) {
            let refused = self.rejects.found.iter().any(|(refused, ..)| *refused == source);
            let at = rows.rows.partition_point(|row| row.source < source);
            let row = rows.rows.get(at).filter(|row| row.source == source);
            // A line that is read and has no row is a comment.
            if refused || (self.wish.reads && row.is_none()) {
                continue;
            }
            let partition = match cell_of(&rows, row, self.ids.partition) {
                None => self.wish.partition,
                Some(cell) => match i32::try_from(cell.value as i64) {
                    Ok(number) if cell.kind == Kind::I64 as u8 && number >= 0 => Some(number),
                    _ => {
                        let name = self.wish.partition_column.as_deref().unwrap_or_default();
                        let why = format!("`{name}` is no partition's number");
                        let (stage, reason) = (Stage::Shape, Reason::WrongType);
                        self.rejects.push(source, stage, reason, why);
                        continue;
                    }
                },
            };
            let key = match self.key(batch, &rows, row) {
                Ok(key) => key,
                Err(Denied::Pipeline(fault)) => return Err(fault),
                Err(Denied::Record(reason, why)) => {
                    self.rejects.push(source, Stage::Shape, reason, why);
                    continue;
                }
            };
            let key = key.as_deref().or(record.key).map(|key| made.own(key));
            let value = record.value.map(|value| match self.wish.header {
                // The names of the columns stand before it.
                true => memchr::memchr(b'\n', value).map_or(value, |end| &value[end + 1..]),
                false => value,
            });
            let value = value.map(|value| made.own(value));
            let headers = 0..made.headers.len();
            let topic = self.ids.topic;
            let emitted =
                Emitted { source, topic, partition, timestamp_ms: None, key, value, headers };
            made.emitted.push(emitted);
        }
        self.rows = made;
        Ok(())
    }

    /// The key that a row's columns are, if they are one.
    fn key(
        &mut self,
        batch: &RecordBatch,
        rows: &RowBatch,
        row: Option<&Row>,
    ) -> Result<Option<Vec<u8>>, Denied> {
        let mut key = Vec::new();
        if let (Some(keys), Some(row)) = (&mut self.keys, row) {
            let is_there = keys.append(batch, rows, row, &mut key)?;
            return Ok(is_there.then_some(key));
        }
        let Some(cell) = cell_of(rows, row, self.ids.key) else { return Ok(None) };
        let Ok(plain) = fit(cell, rows.pointed(cell), None) else { return Ok(None) };
        push_bare(&mut key, &plain, Timestamps::Iso);
        Ok(Some(key))
    }

    /// A line that is no record.
    fn bad(&mut self, number: u64, why: &str) {
        if !matches!(self.ended, Ended::Whole) {
            return;
        }
        self.counts.bad += 1;
        (self.tell)(News::Bad(number, why));
        if self.counts.bad > self.wish.bad_max {
            self.ended = Ended::BadLine(number);
        }
    }

    /// Gives a payload to the courier; false if it takes none any more.
    fn hand_over(&mut self, payload: Payload) -> bool {
        let mut waits = Some(payload);
        while let Some(payload) = waits.take() {
            self.hear();
            let rows = payload.buffers.lines.len() as u64;
            let Some(payloads) = &self.payloads else { return false };
            match payloads.try_send(payload) {
                Ok(()) => {
                    if self.counts.under_way == 0 {
                        self.news_at = Instant::now();
                    }
                    self.counts.under_way += rows;
                }
                Err(mpsc::error::TrySendError::Closed(_)) => return false,
                Err(mpsc::error::TrySendError::Full(payload)) => {
                    waits = Some(payload);
                    if !self.wait() {
                        return false;
                    }
                }
            }
        }
        true
    }

    /// Waits for the receipts of all that was handed over.
    fn finish(mut self) -> Result<(Counts, Ended), Fault> {
        self.payloads = None;
        while self.counts.under_way > 0 && self.wait() {}
        self.hear();
        let is_all = self.counts.under_way == 0;
        Ok((self.counts, if is_all { self.ended } else { Ended::Undelivered }))
    }

    /// Waits a little for news; false when it has been too long, or nobody is left who has some.
    fn wait(&mut self) -> bool {
        let heard =
            self.runtime.block_on(async { tokio::time::timeout(BEAT, self.receipts.recv()).await });
        match heard {
            Ok(Some(receipt)) => self.count(receipt),
            Ok(None) => return false,
            Err(_elapsed) => {}
        }
        self.hear();
        (self.tell)(News::Progress(&self.counts));
        if self.news_at.elapsed() < self.wish.patience {
            return true;
        }
        // The courier gives back what it holds, and ends.
        self.payloads = None;
        self.reset.send_modify(|count| *count += 1);
        false
    }

    /// Takes note of what came meanwhile.
    fn hear(&mut self) {
        while let Ok(receipt) = self.receipts.try_recv() {
            self.count(receipt);
        }
        while let Ok(Rejected { refusals, shares, .. }) = self.letters.try_recv() {
            shares.into_iter().for_each(redeem);
            for refusal in refusals {
                self.counts.delivered = self.counts.delivered.saturating_sub(1);
                self.bad(refusal.offset as u64, &refusal.detail);
            }
        }
    }

    fn count(&mut self, receipt: Receipt) {
        let Receipt { shares, verdict, rows } = receipt;
        shares.into_iter().for_each(redeem);
        if let Verdict::Stored = verdict {
            self.counts.delivered += rows;
            self.counts.under_way = self.counts.under_way.saturating_sub(rows);
            self.news_at = Instant::now();
        }
    }
}

/// What a row has in a column, if that is not null.
fn cell_of<'a>(rows: &'a RowBatch, row: Option<&Row>, column: Option<u16>) -> Option<&'a Cell> {
    let cell = rows.cells_of(row?).iter().find(|cell| Some(cell.column) == column);
    cell.filter(|cell| cell.kind != Kind::Null as u8)
}

/// No ledger waits for it.
fn redeem(share: Share) {
    share.redeem();
}

/// What is said of a line within its record: it is the only one there.
fn of_line(detail: &str) -> &str {
    let digits = |rest: &'_ str| rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let Some(rest) = detail.strip_prefix("line ") else { return detail };
    let rest = &rest[rest.len() - digits(rest)..];
    let ends = [", ", ": ", " "];
    ends.into_iter().find_map(|end| rest.strip_prefix(end)).unwrap_or(detail)
}
