//! Rows to rows. A transform is one file (or folder) and its two lines below.

use std::fmt::Debug;
use std::path::PathBuf;
use std::sync::Arc;

use crate::batch::{RecordBatch, RowBatch};
use crate::blame::Fault;
use crate::kind::{Kind, Unable};
use crate::names::Names;
use crate::observe::TransformMeter;
use crate::reject::Rejects;

pub mod guest;

/// Every transform, by name.
pub const KINDS: &[Kind<dyn TransformPlan>] = &[guest::KIND];

/// A transform as configured. Loading it (compiling a module, say) happens once, in
/// [`TransformPlan::load`]; each lane gets an instance of its own.
pub trait TransformPlan: Send + Sync + Debug {
    /// The name in logs and metrics.
    fn name(&self) -> &str;
    /// Loads what is shared by all lanes; refuses what can never run.
    fn load(&self, context: &LoadContext) -> Result<Box<dyn Loaded>, Fault>;
    /// The same for a trial: where it is possible, what a record costs is counted in fuel.
    fn load_metered(&self, context: &LoadContext) -> Result<Box<dyn Loaded>, Fault> {
        self.load(context)
    }
    /// Whether the same record gives the same rows at a replay, as far as that is in our hands; if
    /// not, which key of its section says so. Asked where a replay must leave nothing behind.
    fn repeats(&self) -> Result<(), Unable>;
    /// What one instance may hold at most, in bytes, for the memory ceiling; there is one for
    /// each lane.
    fn memory_bytes_max(&self) -> usize {
        0
    }
}

/// What loading is given.
#[derive(Clone, Debug)]
pub struct LoadContext {
    /// The pipeline's names.
    pub names: Arc<Names>,
    /// Whether records for topics have somewhere to go.
    pub emits: bool,
    /// The folder that relative paths in the configuration start from.
    pub base: PathBuf,
    /// The bridge's own folder for machine code it has compiled, if it may keep one.
    pub cache: Option<PathBuf>,
}

/// A transform that was loaded: instances come from here.
pub trait Loaded: Send + Sync {
    /// An instance for one lane.
    fn instance(&self, meter: Arc<TransformMeter>) -> Result<Box<dyn Transform>, Fault>;
    /// What `bridge check` says of it: "abi 1, 14 KB, compiled in 9 ms".
    fn summary(&self) -> String;
}

/// Works on the rows of one lane.
pub trait Transform: Send {
    /// Replaces the rows by what becomes of them. Rows of a record that is refused are left to
    /// the caller to prune.
    fn apply(
        &mut self,
        records: &RecordBatch,
        rows: &mut RowBatch,
        rejects: &mut Rejects,
    ) -> Result<(), Fault>;
}
