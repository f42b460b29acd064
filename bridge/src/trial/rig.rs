//! A lane without a ring: one decoder, one instance of each transform, and at will the encoder;
//! each batch becomes the fates of its records.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bridge_abi::{Kind, Unit};

use super::plan::Planned;
use super::said::Said;
use crate::batch::{Emitted, RecordBatch, RowBatch};
use crate::blame::Fault;
use crate::config::PipelinePlan;
use crate::format::{DecoderContext, Format};
use crate::limits::Limits;
use crate::names::Names;
use crate::observe::{PipelineMeter, TransformMeter};
use crate::outbox::{Closing, Outbox, Pool};
use crate::reject::{Reason, Rejects};
use crate::sink::{Rehearsal, SinkContext};
use crate::transform::{LoadContext, Loaded, Portions, Transform, columns};

/// A row that came out.
#[derive(Clone, PartialEq, Debug)]
pub struct Row {
    /// The table that a transform chose.
    pub table: Option<String>,
    /// The topic, of a record that a transform made for one.
    pub topic: Option<String>,
    /// Column and value, as they lie; key, value and headers of a record for a topic.
    pub cells: Vec<(String, Said)>,
}

/// A line as a sink would be sent it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SinkLine {
    /// Its table.
    pub table: String,
    /// Itself, without its end.
    pub text: String,
    /// Whether it says which table it is for.
    pub names_table: bool,
}

impl SinkLine {
    /// As people read it: with its table in front, if it does not say it itself.
    pub fn shown(&self) -> String {
        match self.names_table {
            true => self.text.clone(),
            false => format!("{} {}", self.table, self.text),
        }
    }
}

/// What became of a record.
#[derive(Clone, PartialEq, Debug)]
pub enum Fate {
    /// These rows.
    Rows(Vec<Row>),
    /// These lines.
    Lines(Vec<SinkLine>),
    /// It was refused.
    Rejected {
        /// Why.
        reason: Reason,
        /// The same for a person.
        detail: String,
    },
    /// No row was left of it.
    Filtered,
}

/// What became of a batch.
#[derive(Debug)]
pub struct Tried {
    /// For each record, in order.
    pub fates: Vec<Fate>,
    /// Fuel that the transforms took.
    pub fuel: u64,
}

/// The modules of a pipeline, loaded; instances come from here.
pub struct Stock {
    names: Arc<Names>,
    transforms: Vec<Box<dyn Loaded>>,
    /// Records are read, and nothing else is done to them.
    reads_only: bool,
}

/// Whether what records cost is counted, which costs time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fuel {
    /// In fuel.
    Counted,
    /// Not at all: as in a pipeline.
    Ignored,
}

impl Stock {
    /// Compiles what a pipeline names.
    pub fn load(planned: &Planned, fuel: Fuel) -> Result<Stock, Fault> {
        let names = Arc::new(Names::default());
        let Planned { pipeline, base, cache, emits } = planned;
        let (base, cache) = (base.clone(), cache.clone());
        let context = LoadContext { names: Arc::clone(&names), emits: *emits, base, cache };
        let transforms = pipeline.transforms.iter().map(|plan| match fuel {
            Fuel::Counted => plan.load_metered(&context),
            Fuel::Ignored => plan.load(&context),
        });
        let transforms = transforms.collect::<Result<_, Fault>>()?;
        Ok(Stock { transforms, names, reads_only: false })
    }

    /// The names of its columns and tables.
    pub fn names(&self) -> Arc<Names> {
        Arc::clone(&self.names)
    }

    /// One without transforms: its rigs only read. Columns have the same names.
    pub fn reading(&self) -> Stock {
        Stock { names: Arc::clone(&self.names), transforms: Vec::new(), reads_only: true }
    }
}

/// An encoder of text, and what it writes into: rows as lines.
pub struct Press {
    rehearsal: Rehearsal,
    outbox: Outbox,
}

/// A batch behind the transforms.
#[derive(Debug)]
pub struct Passed {
    /// What came out.
    pub rows: RowBatch,
    /// What was refused on the way; none of it has rows.
    pub rejects: Rejects,
    /// Records without a value that were left out by policy.
    pub skipped: u64,
}

/// What a batch goes through.
pub struct Rig {
    names: Arc<Names>,
    pub(super) format: Box<dyn Format>,
    pub(super) transforms: Vec<Box<dyn Transform>>,
    meters: Vec<Arc<TransformMeter>>,
    press: Option<Press>,
}

impl Rig {
    /// A rig whose records end as rows.
    pub fn of_rows(plan: &PipelinePlan, stock: &Stock) -> Result<Rig, Fault> {
        let names = Arc::clone(&stock.names);
        let (key, admission) = (plan.key.clone(), plan.admission);
        let context = DecoderContext { names: Arc::clone(&names), key, admission };
        let meters: Vec<Arc<TransformMeter>> =
            stock.transforms.iter().map(|_| Arc::default()).collect();
        let instances = stock.transforms.iter().zip(&meters);
        let instances = instances.map(|(loaded, meter)| loaded.instance(Arc::clone(meter)));
        let mut transforms = instances.collect::<Result<Vec<_>, Fault>>()?;
        if !stock.reads_only {
            transforms = columns::around(&plan.shape, &names, transforms);
        }
        Ok(Rig { meters, ..Rig::of_parts(names, plan.value.decoder(&context), transforms) })
    }

    /// A rig of what somebody else loaded; records end as rows.
    pub fn of_parts(
        names: Arc<Names>,
        format: Box<dyn Format>,
        transforms: Vec<Box<dyn Transform>>,
    ) -> Rig {
        Rig { names, format, transforms, meters: Vec::new(), press: None }
    }

    /// A rig whose records end as lines of the pipeline's sink.
    pub fn of_lines(
        plan: &PipelinePlan,
        stock: &Stock,
        runtime: &tokio::runtime::Handle,
    ) -> Result<Rig, Fault> {
        let press = Some(Press::new(plan, &stock.names, runtime));
        Ok(Rig { press, ..Rig::of_rows(plan, stock)? })
    }

    /// Decodes a batch and takes it through the transforms.
    pub fn pass(&mut self, batch: &RecordBatch) -> Result<Passed, Fault> {
        let (mut rows, mut rejects) = (RowBatch::default(), Rejects::default());
        let skipped = self.format.decode(batch, &mut rows, &mut rejects)?.skipped;
        // Whatever they make is one portion, for no room is given.
        Portions::default().next(&mut self.transforms, batch, &mut rows, &mut rejects)?;
        Ok(Passed { rows, rejects, skipped })
    }

    /// What becomes of the records.
    pub fn try_on(&mut self, batch: RecordBatch) -> Result<Tried, Fault> {
        let before: u64 = self.fuel();
        let Passed { rows, mut rejects, .. } = self.pass(&batch)?;
        let fuel = self.fuel() - before;
        let mut fates = match &mut self.press {
            Some(press) => press.lines(&batch, &rows, &mut rejects, &self.names)?,
            None => self.rows(batch.len(), &rows),
        };
        for (source, _, reason, detail) in rejects.found.into_iter().rev() {
            // The first one counts, as it does for the dead letters.
            fates[source as usize] = Fate::Rejected { reason, detail };
        }
        Ok(Tried { fates, fuel })
    }

    fn fuel(&self) -> u64 {
        self.meters.iter().map(|meter| meter.fuel.get()).sum()
    }

    /// Bytes of the largest memory of an instance, of all transforms together.
    pub fn memory_bytes(&self) -> u64 {
        self.meters.iter().map(|meter| meter.memory_bytes.get()).sum::<i64>().unsigned_abs()
    }

    fn rows(&self, records: usize, batch: &RowBatch) -> Vec<Fate> {
        let mut fates: Vec<Fate> = vec![Fate::Filtered; records];
        for row in &batch.rows {
            let cells = batch.cells_of(row).iter().filter_map(|cell| {
                let name = self.names.columns.name(cell.column)?;
                let mut cell = *cell;
                if cell.kind == Kind::Text as u8 {
                    // That it stays text is nobody's matter here.
                    cell.flags = 0;
                }
                let value = bridge_abi::value::decode(&batch.arena, 0, &cell).ok()?;
                Some((name.to_string(), Said::of(value)))
            });
            let table = self.names.tables.name(row.table).map(|table| table.to_string());
            let row_out = Row { table, topic: None, cells: cells.collect() };
            match &mut fates[row.source as usize] {
                Fate::Rows(rows) => rows.push(row_out),
                fate => *fate = Fate::Rows(vec![row_out]),
            }
        }
        for emitted in &batch.emitted {
            let row = emitted_row(batch, emitted, &self.names);
            match &mut fates[emitted.source as usize] {
                Fate::Rows(rows) => rows.push(row),
                fate => *fate = Fate::Rows(vec![row]),
            }
        }
        fates
    }
}

/// A record for a topic, as a row of what it has.
fn emitted_row(batch: &RowBatch, emitted: &Emitted, names: &Names) -> Row {
    let text = |range: &Range<usize>| match std::str::from_utf8(&batch.arena[range.clone()]) {
        Ok(text) => Said::Text(text.to_owned()),
        Err(_) => Said::Bytes(batch.arena[range.clone()].to_vec()),
    };
    let mut cells = Vec::new();
    let mut push = |name: &str, said: Said| cells.push((name.to_owned(), said));
    if let Some(key) = &emitted.key {
        push("key", text(key));
    }
    if let Some(value) = &emitted.value {
        push("value", text(value));
    }
    for (name, value) in &batch.headers[emitted.headers.clone()] {
        let name = String::from_utf8_lossy(&batch.arena[name.clone()]);
        push(&format!("header.{name}"), value.as_ref().map_or(Said::Null, text));
    }
    if let Some(partition) = emitted.partition {
        push("partition", Said::I64(partition.into()));
    }
    if let Some(at) = emitted.timestamp_ms {
        push("timestamp", Said::Timestamp(at, Unit::Millis));
    }
    let topic = names.topics.name(emitted.topic).map(|topic| topic.to_string());
    Row { table: None, topic, cells }
}

/// An empty outbox with a pipeline's bounds, from which nobody fetches.
pub fn outbox(limits: &Limits) -> Outbox {
    let closing = Closing {
        payload_bytes_max: limits.payload_bytes_max,
        payload_rows_max: limits.payload_rows_max,
        open_bytes_max: limits.open_bytes_max,
    };
    Outbox::new(closing, Arc::new(Pool::default()), Instant::now())
}

impl Press {
    /// One that writes as the pipeline's sink does; see [`crate::sink::SinkPlan::rehearse`].
    pub fn new(plan: &PipelinePlan, names: &Arc<Names>, runtime: &tokio::runtime::Handle) -> Press {
        let context = SinkContext {
            pipeline: Arc::clone(&plan.name),
            names: Arc::clone(names),
            shape: Arc::new(plan.shape.clone()),
            delivery: plan.delivery,
            meter: Arc::new(PipelineMeter::default()),
            runtime: runtime.clone(),
        };
        Press { rehearsal: plan.sink.rehearse(&context), outbox: outbox(&plan.limits) }
    }

    /// The rows as the sink would be sent them.
    pub fn lines(
        &mut self,
        batch: &RecordBatch,
        rows: &RowBatch,
        rejects: &mut Rejects,
        names: &Names,
    ) -> Result<Vec<Fate>, Fault> {
        self.outbox.set_pace(Instant::now(), Duration::ZERO);
        self.rehearsal.encoder.encode(batch, rows, rejects, &mut self.outbox)?;
        self.outbox.close_all();
        let places: HashMap<i64, usize> =
            batch.iter().enumerate().map(|(at, record)| (record.offset, at)).collect();
        let names_table = self.rehearsal.names_tables;
        let mut lines: Vec<Vec<(u32, SinkLine)>> = vec![Vec::new(); batch.len()];
        for (_, payload) in self.outbox.take_closed() {
            let mut start = 0;
            for line in &payload.buffers.lines {
                let end = line.end as usize;
                let text = String::from_utf8_lossy(&payload.buffers.bytes[start..end]);
                start = end;
                let Some(at) = places.get(&line.offset) else {
                    return Err(Fault::us("an encoder wrote a line of no record"));
                };
                let text = text.trim_end_matches(['\r', '\n']).to_owned();
                let table = payload.table.to_string();
                lines[*at].push((line.row, SinkLine { table, text, names_table }));
            }
            // Nobody waits for the tickets of what is tried.
            for share in payload.shares {
                share.redeem();
            }
        }
        for emitted in &rows.emitted {
            // Behind the rows, as a line of its value.
            let topic = names.topics.name(emitted.topic).unwrap_or_default();
            let value = emitted.value.clone().map(|range| &rows.arena[range]).unwrap_or_default();
            let text = String::from_utf8_lossy(value).into_owned();
            let line = SinkLine { table: topic.to_string(), text, names_table: false };
            lines[emitted.source as usize].push((u32::MAX, line));
        }
        let fates = lines.into_iter().map(|mut lines| {
            lines.sort_by_key(|(row, _)| *row);
            match lines.is_empty() {
                true => Fate::Filtered,
                false => Fate::Lines(lines.into_iter().map(|(_, line)| line).collect()),
            }
        });
        Ok(fates.collect())
    }
}
