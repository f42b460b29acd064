//! Every bound of the sandbox that is not the user's to set, with the reason for its number; and
//! the limiter that holds a store to its memory.

use std::time::Duration;

use bridge_abi::validate;
use wasmtime::ResourceLimiter;

use crate::limits::MIB;
use crate::names::Names;

/// A module: larger than any that was seen, for Go's are some MiB. Compiling takes many times that.
pub(super) const MODULE_BYTES_MAX: usize = 64 * MIB;
/// Records of one call. A thousand amortise the call (20 ns, a Go module 40 ns) to nothing, and
/// keep what a failure costs small.
pub(super) const CALL_RECORDS_MAX: usize = 1_024;
/// The arena a guest is asked for at its start: room for the configuration, and an idle instance
/// stays small.
pub(super) const ARENA_FIRST: usize = 16 << 10;
/// The arena of a working guest; beyond it a call is cut instead.
pub(super) const ARENA_USUAL: usize = MIB;
/// The arena for a single large record, unless half of the guest's memory is less.
pub(super) const ARENA_MAX: usize = 16 * MIB;
/// The configuration as JSON.
pub(super) const CONFIG_BYTES_MAX: usize = MIB;
/// Elements of all of a module's tables: Go's runtime needs some thousands.
pub(super) const TABLE_ELEMENTS_MAX: usize = 65_536;
/// Tables of one module.
pub(super) const TABLES_MAX: u32 = 4;
/// Instances in the process: pipelines, lanes and transforms multiply, and a scratch instance
/// for each load. Costs 4 GiB of addresses each, not memory.
pub(super) const INSTANCES_MAX: u32 = 256;
/// Bytes of wasm stack; half of what a thread's own stack has at least.
pub(super) const STACK_MAX: usize = 512 << 10;
/// A message, a name or a log line that a guest passes; what is longer is cut, or refused.
pub(super) const MESSAGE_BYTES_MAX: usize = 4_096;
/// A name of a column, a table or a topic.
pub(super) const NAME_BYTES_MAX: usize = 1_024;
/// Log lines of one call that are kept.
pub(super) const LOG_LINES_MAX: usize = 32;
/// Log lines a second that are written.
pub(super) const LOG_LINES_PER_SECOND: f64 = 10.0;
/// Names of metrics of one transform.
pub(super) const METRICS_MAX: usize = 64;
/// Records that failed one after the other, without a single success between: the module is at
/// fault then, not the records.
pub(super) const FAILED_IN_A_ROW_MAX: u32 = 100;
/// Batches that pass a module by once it has failed on everything: doubled up to this.
pub(super) const BYPASSED_BATCHES_MAX: u32 = 64;
/// A start may take this long even where calls may not: runtimes set themselves up in it.
pub(super) const START_MIN: Duration = Duration::from_millis(500);
/// A retry may take this long, however short the deadline: a tenth of 50 ms passes while a busy
/// machine runs somebody else, and would cost an innocent record.
pub(super) const RETRY_MIN: Duration = Duration::from_millis(20);
/// Frames of a backtrace that go into a reject.
pub(super) const FRAMES_MAX: usize = 6;
/// Bytes that one record may become beyond the room of a batch, in a chain of transforms: what one
/// answer may hold at most.
pub(super) const RECORD_MADE_MAX: usize = 32 * MIB;
/// Cells of one patch or row.
const ROW_CELLS_MAX: u32 = 4_096;

/// What one answer may hold. The SDK ends a call at 64 Ki actions, 64 Ki cells or a MiB, and one
/// record's worth can come on top.
pub(super) fn of_answer(names: &Names, emits: bool) -> validate::Limits {
    validate::Limits {
        actions_max: 1 << 18,
        cells_max: 1 << 18,
        row_cells_max: ROW_CELLS_MAX,
        bytes_max: 32 * MIB as u64,
        max_column: names.columns.count(),
        max_table: names.tables.count(),
        max_topic: emits.then(|| names.topics.count()),
    }
}

/// The largest arena for a guest of so much memory.
pub(super) fn arena_max(memory_max: usize) -> usize {
    (memory_max / 2).clamp(ARENA_FIRST, ARENA_MAX)
}

/// Holds a store to its memory, and remembers that it wanted more.
#[derive(Debug)]
pub(super) struct Limiter {
    memory_max: usize,
    /// The size that was refused.
    pub(super) refused: Option<usize>,
}

impl Limiter {
    pub(super) fn new(memory_max: usize) -> Limiter {
        Limiter { memory_max, refused: None }
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let allowed = desired <= self.memory_max;
        if !allowed {
            self.refused = Some(desired);
        }
        Ok(allowed)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS_MAX)
    }

    fn instances(&self) -> usize {
        1
    }

    fn tables(&self) -> usize {
        TABLES_MAX as usize
    }

    fn memories(&self) -> usize {
        1
    }
}
