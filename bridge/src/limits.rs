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
    /// Bytes that the source lends at once, over all lanes, with what the client library needs
    /// for each record; a single batch always passes.
    pub lent_bytes_max: usize,
    /// Bytes that may be held fetched, over all partitions, with what the client library needs for
    /// each record where it fetches.
    pub fetch_bytes_max: usize,
    /// Bytes of one payload before it is closed: its encoded rows and their positions.
    pub payload_bytes_max: usize,
    /// Rows of one payload before it is closed.
    pub payload_rows_max: usize,
    /// Bytes that one courier holds, as payloads that it sends in one request and such that wait
    /// for theirs: their encoded rows and positions.
    pub commit_bytes_max: usize,
    /// Rows of payloads that are sent in one request.
    pub commit_rows_max: usize,
    /// The same of all open payloads of one lane.
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
pub const LINE_BYTES: usize = 24;

/// What a fetched record takes beside its key and value: the client library's operation for it
/// (measured as resident memory over queued records) and its place in a batch. Small records cost
/// more than their bytes, and a bound that forgot this would be off by a factor of five.
pub const RECORD_BYTES: usize = 512;

/// Bursts of rejects that may wait for the dead letters; each holds one batch's at most.
pub const DEAD_LETTERS_MAX: usize = 4;

/// What a courier takes out of its inbox beside the payload at hand, and its connection's buffers.
pub const COURIER_BYTES: usize = MIB;

/// Rows of one batch over its bytes. The arena holds them once more and cells of the shortest
/// values (`"a":1,` is six bytes, a cell sixteen) nearly three times.
const ROWS_PER_BATCH: usize = 4;

/// Bursts of rejects beside those that wait: being stored, as letters and as the client's copies.
const DEAD_LETTERS_AT_HAND: usize = 4;

impl Limits {
    /// What the bounds add up to for one pipeline: (what it is, bytes). `couriers` are those of
    /// all lanes, `sandbox_bytes` is what the transforms of one lane may hold.
    pub fn ceiling(&self, couriers: usize, sandbox_bytes: usize) -> Vec<(&'static str, usize)> {
        let waiting = self.courier_inbox_payloads_max * self.payload_bytes_max;
        let courier = waiting + self.commit_bytes_max.max(self.payload_bytes_max) + COURIER_BYTES;
        let letters = DEAD_LETTERS_MAX + DEAD_LETTERS_AT_HAND;
        vec![
            ("fetched from Kafka", self.fetch_bytes_max),
            ("records on their way to the lanes", self.lent_bytes_max.max(self.batch_held_max())),
            // What a transform makes stands beside what it was made from.
            ("rows in the lanes", 2 * self.lanes * self.portion_bytes_max()),
            ("open payloads", self.lanes * self.open_bytes_max),
            ("payloads with couriers", couriers * courier),
            ("dead letters on their way", letters * self.batch_bytes_max),
            ("sandboxes", self.lanes * sandbox_bytes),
        ]
    }

    /// Rows that one stage of a lane makes before they are sent on, but for those of a single
    /// record that become more.
    pub fn portion_bytes_max(&self) -> usize {
        ROWS_PER_BATCH * self.batch_bytes_max
    }

    /// What a batch takes at most while it is lent, but for a single record that is larger.
    pub fn batch_held_max(&self) -> usize {
        self.batch_bytes_max + self.batch_records_max * RECORD_BYTES
    }
}

/// One MiB.
pub const MIB: usize = 1 << 20;

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            lanes: std::thread::available_parallelism().map_or(2, usize::from).min(8),
            batch_records_max: 2_000,
            batch_bytes_max: MIB / 2,
            lane_inbox_batches_max: 4,
            lent_bytes_max: 10 * MIB,
            fetch_bytes_max: 16 * MIB,
            payload_bytes_max: 2 * MIB,
            payload_rows_max: 100_000,
            commit_bytes_max: 15 * MIB,
            commit_rows_max: 250_000,
            open_bytes_max: 6 * MIB,
            courier_inbox_payloads_max: 1,
            linger: Duration::from_millis(25),
            linger_behind: Duration::from_millis(500),
            behind_records: 50_000,
            tickets_max: 4_096,
            commit_interval: Duration::from_millis(500),
            drain: Duration::from_secs(20),
            guest_memory_bytes_max: 16 * MIB,
            guest_deadline: Duration::from_secs(1),
            reject_share_max: 0.5,
            reject_window: 10_000,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipeline_with_defaults_on_two_cores_fits_into_150_megabytes() {
        let limits = Limits { lanes: 2, ..Limits::default() };
        let sandbox = limits.guest_memory_bytes_max;
        let parts: usize = limits.ceiling(2, sandbox).iter().map(|(_, bytes)| bytes).sum();
        assert!(PROCESS_BYTES + parts <= 150_000_000, "{} bytes", PROCESS_BYTES + parts);
        assert!(limits.payload_bytes_max <= limits.open_bytes_max, "a payload can fill up");
    }
}
