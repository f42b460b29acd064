//! Every bound of a pipeline, with its unit, and the memory ceiling that they add up to.

use std::time::Duration;

/// The bounds of one pipeline. All have defaults; configuration may change them.
#[derive(Clone, PartialEq, Debug)]
pub struct Limits {
    /// Threads that decode, transform and encode.
    pub lanes: usize,
    /// Records in one batch, at most.
    pub batch_records_max: usize,
    /// Bytes of keys and values in one batch, about; a single record always passes.
    pub batch_bytes_max: usize,
    /// Batches that wait for one lane, at most.
    pub lane_inbox_batches_max: usize,
    /// Bytes that the source lends at once, over all lanes; a single batch always passes.
    pub lent_bytes_max: usize,
    /// Bytes that the Kafka client may hold fetched, over all partitions.
    pub fetch_bytes_max: usize,
    /// Encoded bytes of one payload before it is closed.
    pub payload_bytes_max: usize,
    /// Rows of one payload before it is closed.
    pub payload_rows_max: usize,
    /// Encoded bytes of all open payloads of one lane.
    pub open_bytes_max: usize,
    /// Payloads that wait for one courier, at most.
    pub courier_inbox_payloads_max: usize,
    /// Age at which an open payload is closed: the share of the latency target that waiting has.
    pub linger: Duration,
    /// The same while the pipeline is behind: large commits are cheap, and latency is lost anyway.
    pub linger_behind: Duration,
    /// Records behind the end of their partitions that count as behind.
    pub behind_records: u64,
    /// Batches whose ticket may be out at once.
    pub tickets_max: usize,
    /// Time between two commits.
    pub commit_interval: Duration,
    /// Time that a revoked partition, or a stop, may take to drain.
    pub drain: Duration,
    /// Memory of one transform instance, bytes.
    pub guest_memory_bytes_max: usize,
    /// Time of one transform call.
    pub guest_deadline: Duration,
    /// Rejected records of one reason, among `reject_window` records of one lane, that stop the
    /// pipeline.
    pub reject_share_max: f64,
    /// See `reject_share_max`.
    pub reject_window: u64,
}

/// What the process takes before any record comes: code, threads, the Kafka client's own and the
/// allocator's slack. Measured: 24 MB for a consumer that reads and drops everything.
pub const PROCESS_BYTES: usize = 24 * MIB;

/// Position of one row in a payload, as `batch::Line` keeps it.
const LINE_BYTES: usize = 24;

impl Limits {
    /// What the bounds add up to for one pipeline: (what it is, bytes). `couriers` are those of
    /// all lanes, `sandbox_bytes` is what the transforms of one lane may hold.
    pub fn ceiling(&self, couriers: usize, sandbox_bytes: usize) -> Vec<(&'static str, usize)> {
        let lines = self.payload_rows_max * LINE_BYTES;
        let payloads = couriers * (self.courier_inbox_payloads_max + 1);
        vec![
            ("fetched by the Kafka client", self.fetch_bytes_max),
            ("records on their way to the lanes", self.lent_bytes_max),
            // Their bytes once more in the arenas, and their cells beside them.
            ("rows in the lanes", 2 * self.lent_bytes_max),
            ("open payloads", self.lanes * (self.open_bytes_max + lines)),
            ("payloads with couriers", payloads * (self.payload_bytes_max + lines)),
            ("sandboxes", self.lanes * sandbox_bytes),
        ]
    }
}

/// One MiB.
pub const MIB: usize = 1 << 20;

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            lanes: std::thread::available_parallelism().map_or(2, usize::from).min(8),
            batch_records_max: 2_000,
            batch_bytes_max: MIB,
            lane_inbox_batches_max: 4,
            lent_bytes_max: 6 * MIB,
            fetch_bytes_max: 16 * MIB,
            payload_bytes_max: 6 * MIB,
            payload_rows_max: 100_000,
            open_bytes_max: 8 * MIB,
            courier_inbox_payloads_max: 1,
            linger: Duration::from_millis(25),
            linger_behind: Duration::from_millis(500),
            behind_records: 50_000,
            tickets_max: 4_096,
            commit_interval: Duration::from_millis(500),
            drain: Duration::from_secs(20),
            guest_memory_bytes_max: 24 * MIB,
            guest_deadline: Duration::from_secs(1),
            reject_share_max: 0.5,
            reject_window: 10_000,
        }
    }
}
