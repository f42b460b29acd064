//! What every stage lies in: a pipeline out of TOML whose source and sink are memory, and records
//! in batches as the intake cuts them. No server, no threads.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context, Result, anyhow, ensure};
use bridge::batch::{
    EachHeader, Owner, PartitionIndex, Record, RecordBatch, Records, Route, RowBatch,
    TopicPartition,
};
use bridge::blame::Fault;
use bridge::config::{Overrides, PipelinePlan, Plan, Surroundings};
use bridge::format::{DecoderContext, Format};
use bridge::modules;
use bridge::names::Names;
use bridge::observe::PipelineMeter;
use bridge::outbox::{Closing, Outbox, Pool};
use bridge::reject::Rejects;
use bridge::sink::{Encoder, SinkContext};
use bridge::ticket::{Lost, Ticket};
use bridge::transform::{LoadContext, Loaded, Portions, Transform};
use world::Directory;

use crate::harness::scenario::{Scenario, Sensors};

/// Kafka's timestamp of every record, milliseconds since 1970.
const TIMESTAMP_MS: i64 = 1_700_000_000_000;

/// A plan, and the folder of its files if it has any.
pub(super) struct Installed {
    pub(super) plan: Plan,
    pub(super) folder: Option<Directory>,
}

/// Reads a configuration, with these files beside it, and the example modules if it names any.
/// One that needs no files touches none: what is counted must not depend on what lies about.
pub(super) fn install(text: &str, files: &[(&str, &[u8])]) -> Result<Installed> {
    let taken = *TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    let modules: &[(&str, &[u8])] = if text.contains(".wasm") { &taken } else { &[] };
    let has_files = !modules.is_empty() || !files.is_empty();
    let folder = has_files.then(|| Directory::create("micro")).transpose()?;
    let base = folder.as_ref().map_or(Path::new("."), Directory::path);
    for (name, bytes) in modules.iter().chain(files) {
        let path = base.join(name);
        std::fs::write(&path, bytes).with_context(|| format!("writing {}", path.display()))?;
    }
    let with = Surroundings { env: &|_| None, host: "host".to_owned(), base };
    let plan = Plan::parse("bridge.toml", text, &with, &Overrides::default());
    Ok(Installed { plan: plan.map_err(|mistakes| anyhow!("{mistakes}"))?, folder })
}

/// The modules of `transforms/`.
const MODULES: [(&str, &[u8]); 3] = [
    ("drop_cold.wasm", modules::DROP_COLD),
    ("enrich_route.wasm", modules::ENRICH_ROUTE),
    ("split_readings.wasm", modules::SPLIT_READINGS),
];

/// Those that are used.
static TAKEN: Mutex<[(&str, &[u8]); 3]> = Mutex::new(MODULES);

/// From now on the modules are those of this folder, under the same names.
pub(super) fn take_modules_from(folder: &Path) -> Result<()> {
    let mut taken = MODULES;
    for (name, bytes) in &mut taken {
        let path = folder.join(*name);
        let read = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        // For as long as the process lives, as those of the build do.
        *bytes = read.leak();
    }
    *TAKEN.lock().unwrap_or_else(PoisonError::into_inner) = taken;
    Ok(())
}

/// From now on they are those that are built with the bridge.
pub(super) fn take_own_modules() {
    *TAKEN.lock().unwrap_or_else(PoisonError::into_inner) = MODULES;
}

/// One pipeline whose parts are used one by one.
pub(super) struct Bed {
    plan: PipelinePlan,
    names: Arc<Names>,
    context: LoadContext,
    sink: SinkContext,
    pool: Arc<Pool>,
    // Only held: the sink has a handle on it.
    _runtime: tokio::runtime::Runtime,
    folder: Option<Directory>,
}

impl Bed {
    /// A pipeline by the lines of its sections below `[pipeline.bench]`.
    pub(super) fn new(sections: &str) -> Result<Bed> {
        Bed::with(sections, &[])
    }

    /// The same with files beside it.
    pub(super) fn with(sections: &str, files: &[(&str, &[u8])]) -> Result<Bed> {
        let text = format!(
            "cache = false\n[pipeline.bench]\nsource = {{ kind = \"memory\" }}\n{sections}"
        );
        let Installed { plan, folder } = install(&text, files)?;
        let (base, cache) = (plan.base, plan.cache);
        let plan = plan.pipelines.into_iter().next().context("there is one pipeline")?;
        let names = Arc::new(Names::default());
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let runtime = runtime.context("starting a runtime")?;
        let sink = SinkContext {
            pipeline: Arc::clone(&plan.name),
            names: Arc::clone(&names),
            shape: Arc::new(plan.shape.clone()),
            delivery: plan.delivery,
            meter: Arc::new(PipelineMeter::default()),
            runtime: runtime.handle().clone(),
        };
        let context = LoadContext { names: Arc::clone(&names), emits: false, base, cache };
        let pool = Arc::default();
        Ok(Bed { plan, names, context, sink, pool, _runtime: runtime, folder })
    }

    pub(super) fn names(&self) -> Arc<Names> {
        Arc::clone(&self.names)
    }

    pub(super) fn decoder(&self) -> Box<dyn Format> {
        let (names, key) = (Arc::clone(&self.names), self.plan.key.clone());
        self.plan.value.decoder(&DecoderContext { names, key, admission: self.plan.admission })
    }

    pub(super) fn transforms(&self) -> Result<Vec<Box<dyn Transform>>> {
        let loaded = self.loaded()?;
        let instances = loaded.iter().map(|loaded| loaded.instance(Arc::default()));
        instances.collect::<Result<_, Fault>>().map_err(said)
    }

    /// What instances come from.
    pub(super) fn loaded(&self) -> Result<Vec<Box<dyn Loaded>>> {
        let loaded = self.plan.transforms.iter().map(|plan| plan.load(&self.context));
        loaded.collect::<Result<_, Fault>>().map_err(said)
    }

    /// Keeps machine code beside the modules from now on, as `cache` does.
    pub(super) fn keep_machine_code(&mut self) -> Result<()> {
        let folder = self.folder.as_ref().context("it has modules of its own")?;
        self.context.cache = Some(folder.path().join("cache"));
        Ok(())
    }

    pub(super) fn encoder(&self) -> Result<Box<dyn Encoder>> {
        let sink = self.plan.sink.build(self.sink.clone()).map_err(said)?;
        Ok(sink.encoder())
    }

    pub(super) fn outbox(&self) -> Outbox {
        let limits = &self.plan.limits;
        let closing = Closing {
            payload_bytes_max: limits.payload_bytes_max,
            payload_rows_max: limits.payload_rows_max,
            open_bytes_max: limits.open_bytes_max,
        };
        Outbox::new(closing, Arc::clone(&self.pool), Instant::now())
    }

    /// What couriers would do with payloads that were closed.
    pub(super) fn give_back(&self, outbox: &mut Outbox) {
        for (_, payload) in outbox.take_closed() {
            self.pool.put(payload.buffers);
            for share in payload.shares {
                share.redeem();
            }
        }
    }
}

/// What one lane works on.
#[derive(Default)]
pub(super) struct Rows {
    pub(super) rows: RowBatch,
    pub(super) rejects: Rejects,
}

impl Rows {
    /// The rows of a batch, as a decoder makes them.
    pub(super) fn decode(&mut self, format: &mut dyn Format, batch: &RecordBatch) {
        self.rows.clear();
        let decoded = format.decode(batch, &mut self.rows, &mut self.rejects);
        decoded.expect("the format of the benches asks nobody");
    }

    /// The rows as transforms leave them, one after the other.
    pub(super) fn transform(
        &mut self,
        transforms: &mut [Box<dyn Transform>],
        batch: &RecordBatch,
    ) -> Result<()> {
        let Rows { rows, rejects } = self;
        Portions::default().next(transforms, batch, rows, rejects).map(drop).map_err(said)
    }

    /// Whether nothing was refused and so many rows are there.
    pub(super) fn ensure(&self, rows: usize) -> Result<()> {
        let (kept, refused) = (self.rows.rows.len(), self.rejects.found.len());
        ensure!(refused == 0 && kept == rows, "{kept} rows for {rows}, {refused} records refused");
        Ok(())
    }
}

pub(super) fn said(fault: Fault) -> anyhow::Error {
    anyhow!("{fault}")
}

/// Keys and values of a batch.
struct Pairs {
    _pairs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Owner for Pairs {
    fn headers(&self, _: usize, _: EachHeader<'_>) {}
}

/// Writes the key and the value of a record by its number.
pub(super) type Write = fn(u64, &mut Vec<u8>, &mut Vec<u8>);

/// The record that all stages but one work on.
pub(super) fn sensors(seq: u64, key: &mut Vec<u8>, value: &mut Vec<u8>) {
    Sensors.write(seq, key, value);
}

/// So many records in batches of this size.
pub(super) fn batches(records: u64, batch_records: usize, write: Write) -> Vec<RecordBatch> {
    let numbers: Vec<u64> = (0..records).collect();
    let cut = numbers.chunks(batch_records).enumerate();
    cut.map(|(index, numbers)| batch(index as u64, numbers, write)).collect()
}

fn batch(index: u64, numbers: &[u64], write: Write) -> RecordBatch {
    let (mut key, mut value) = (Vec::new(), Vec::new());
    let pairs: Vec<(Vec<u8>, Vec<u8>)> = numbers
        .iter()
        .map(|seq| {
            write(*seq, &mut key, &mut value);
            (key.clone(), value.clone())
        })
        .collect();
    let mut records = Records::with_capacity(pairs.len());
    for (seq, (key, value)) in numbers.iter().zip(&pairs) {
        let (key, value) = (Some(&**key), Some(&**value));
        let offset = *seq as i64;
        // SAFETY: the bytes belong to `pairs`, which becomes the batch's owner and is not changed.
        unsafe { records.push(Record { offset, timestamp_ms: TIMESTAMP_MS, key, value }) };
    }
    let ticket = Ticket::issue(index, Arc::new(Lost::default()));
    let source = TopicPartition { topic: "sensors".into(), partition: 0 };
    let taken = records.owned_by(Box::new(Pairs { _pairs: pairs }));
    taken.into_batch(PartitionIndex(0), source, ticket, Route::Primary)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_hold_every_record_once() {
        let batches = batches(4_500, 2_000, sensors);
        assert_eq!(batches.iter().map(RecordBatch::len).collect::<Vec<_>>(), [2_000, 2_000, 500]);
        let offsets = batches.iter().flat_map(|batch| batch.iter().map(|record| record.offset));
        assert!(offsets.eq(0..4_500));
    }
}
