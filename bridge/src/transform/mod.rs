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

pub mod columns;
pub mod guest;
mod portions;
mod shadow;

pub use portions::Portions;
pub use shadow::ShadowLoaded;

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
    /// Loads it again if what would be loaded is another than `now`, which runs; `None` if it is
    /// the same.
    fn load_changed(
        &self,
        _context: &LoadContext,
        _now: &Arc<dyn Loaded>,
    ) -> Result<Option<Arc<dyn Loaded>>, Fault> {
        Ok(None)
    }
    /// What would be loaded, seen from outside: another text where it may be another. `None` if
    /// it is nowhere, or can never change. Cheap enough to be asked every second.
    fn looks(&self, _context: &LoadContext) -> Option<String> {
        None
    }
    /// Whether a change is to be taken without an order.
    fn is_watched(&self) -> bool {
        false
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
    /// Where another one is in its shadow: what runs, and what may take its place.
    fn candidate(&self) -> Option<(Arc<dyn Loaded>, Arc<dyn Loaded>)> {
        None
    }
    /// Does what instances leave to others, who have time: writes files. Called every second, and
    /// when all is over.
    fn tend(&self, _meter: &TransformMeter) {}
    /// What people call it: its file, or its name.
    fn from(&self) -> &str;
    /// The hash of what was loaded, in hexadecimal digits: tells it from another.
    fn sha256(&self) -> &str;
}

/// Works on the rows of one lane.
pub trait Transform: Send {
    /// Replaces the rows by what becomes of them. Rows of a record that is refused are left to
    /// the caller to prune. Once what it made takes [`RowBatch::room`], it may leave what it has
    /// not looked at in [`RowBatch::rest`].
    fn apply(
        &mut self,
        records: &RecordBatch,
        rows: &mut RowBatch,
        rejects: &mut Rejects,
    ) -> Result<(), Fault>;
}
