//! What the fence costs: a chain of four, as many instances as there are lanes of 64 partitions,
//! and records that trap.

use anyhow::{Result, ensure};
use bridge::batch::RecordBatch;
use bridge::format::Format;
use bridge::transform::Transform;

use super::Stage;
use super::bed::{Bed, Rows};
use super::sandbox::computed_column;

/// Instances beside one another: one for each of 64 partitions, if each had its own.
pub(super) const INSTANCES: usize = 64;

/// One module, an instance for each batch in turn: none finds its memory in the caches.
pub(super) struct InTurn {
    format: Box<dyn Format>,
    instances: Vec<Vec<Box<dyn Transform>>>,
    turn: usize,
    rows: Rows,
    _bed: Bed,
}

impl InTurn {
    pub(super) fn new() -> Result<InTurn> {
        let bed = Bed::new(&computed_column())?;
        let instances = (0..INSTANCES).map(|_| bed.transforms()).collect::<Result<_>>()?;
        let format = bed.decoder();
        Ok(InTurn { format, instances, turn: 0, rows: Rows::default(), _bed: bed })
    }
}

impl Stage for InTurn {
    fn name(&self) -> &str {
        "sandbox 64 instances"
    }

    fn prepare(&mut self, batch: &RecordBatch) -> Result<()> {
        self.turn = (self.turn + 1) % self.instances.len();
        self.rows.decode(&mut *self.format, batch);
        self.rows.ensure(batch.len())
    }

    fn work(&mut self, batch: &RecordBatch) -> Result<()> {
        self.rows.transform(&mut self.instances[self.turn], batch)
    }

    fn settle(&mut self, batch: &RecordBatch) -> Result<()> {
        self.rows.ensure(batch.len())
    }
}

/// A module written by hand that keeps all and traps at every nth record, if at any.
pub(super) struct Trapping {
    every: Option<usize>,
    format: Box<dyn Format>,
    transforms: Vec<Box<dyn Transform>>,
    rows: Rows,
    _bed: Bed,
}

impl Trapping {
    pub(super) fn new(every: Option<usize>) -> Result<Trapping> {
        let module = wat::parse_str(trapping(every))?;
        let section = "[[pipeline.bench.transform]]\nmodule = \"traps.wasm\"\n";
        let bed = Bed::with(section, &[("traps.wasm", &module)])?;
        let (format, transforms) = (bed.decoder(), bed.transforms()?);
        Ok(Trapping { every, format, transforms, rows: Rows::default(), _bed: bed })
    }
}

impl Stage for Trapping {
    fn name(&self) -> &str {
        match self.every {
            Some(_) => "sandbox 1 % traps",
            None => "sandbox the same, no traps",
        }
    }

    fn prepare(&mut self, batch: &RecordBatch) -> Result<()> {
        self.rows.decode(&mut *self.format, batch);
        self.rows.ensure(batch.len())
    }

    fn work(&mut self, batch: &RecordBatch) -> Result<()> {
        self.rows.transform(&mut self.transforms, batch)
    }

    fn settle(&mut self, batch: &RecordBatch) -> Result<()> {
        let expected = self.every.map_or(0, |every| batch.len() / every);
        let refused = self.rows.rejects.found.len();
        self.rows.rejects.found.clear();
        ensure!(refused == expected, "{refused} records refused in place of {expected}");
        self.rows.ensure(batch.len() - expected)
    }
}

/// Actions at 1024, the arena from 128 KiB on; see `transforms-sdk/ABI.md`.
fn trapping(every: Option<usize>) -> String {
    let trap = every.map_or(String::new(), |every| {
        format!(
            "(if (i64.eqz (i64.rem_u (i64.load (local.get $r)) (i64.const {every})))
                (then unreachable))"
        )
    });
    format!(
        "(module
        (memory (export \"memory\") 32)
        (func (export \"bridge_abi\") (result i32) (i32.const 1))
        (func (export \"bridge_alloc\") (param i32) (result i32)
            (if (result i32) (i32.gt_u (local.get 0) (i32.const 0x1c0000))
                (then (i32.const 0)) (else (i32.const 0x20000))))
        (func (export \"bridge_init\") (param i32 i32) (result i32) (i32.const 8))
        (func (export \"bridge_batch\") (param $b i32) (result i64)
            (local $i i32) (local $r i32) (local $a i32)
            (local.set $r (i32.load offset=12 (local.get $b)))
            (block $done (loop $next
                (br_if $done (i32.ge_u (local.get $i) (i32.load offset=8 (local.get $b))))
                (i32.store offset=44 (local.get $b) (local.get $i))
                {trap}
                (local.set $a (i32.shl (local.get $i) (i32.const 4)))
                (i32.store offset=1024 (local.get $a) (i32.const 1))
                (i32.store offset=1028 (local.get $a) (local.get $i))
                (local.set $i (i32.add (local.get $i) (i32.const 1)))
                (local.set $r (i32.add (local.get $r) (i32.load16_u offset=4 (local.get $b))))
                (br $next)))
            (i64.or (i64.const 0x400_00000000)
                (i64.extend_i32_u (i32.load offset=8 (local.get $b))))))"
    )
}
