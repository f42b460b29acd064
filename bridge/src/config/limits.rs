//! `[limits]`: the bounds, their one knob for latency, and what they must be to each other.

use super::draft::LimitsDraft;
use super::mistake::Mistake;
use super::section::Section;
use crate::limits::Limits;

/// The share of the latency target for which a payload may wait: the rest is Kafka's, the
/// network's and the database's.
const LINGER_SHARE: u32 = 4;

/// Applies a section to the bounds so far.
pub fn apply(section: &Section, limits: &mut Limits) -> Result<(), Mistake> {
    let draft: LimitsDraft = section.read()?;
    if draft.latency.is_some() && draft.linger.is_some() {
        return Err(section
            .mistake("linger", "`latency` and `linger` say the same thing")
            .help("keep `latency`: `linger` is a quarter of it"));
    }
    macro_rules! take {
        ($($field:ident $(. $inner:tt)?),* $(,)?) => {
            $(if let Some(value) = draft.$field { limits.$field = value$(.$inner)?; })*
        };
    }
    // A macro, because a field that is forgotten here would be a key that does nothing.
    take!(
        lanes,
        batch_records_max,
        batch_bytes_max.0,
        lane_inbox_batches_max,
        lent_bytes_max.0,
        fetch_bytes_max.0,
        payload_bytes_max.0,
        payload_rows_max,
        commit_bytes_max.0,
        commit_rows_max,
        open_bytes_max.0,
        courier_inbox_payloads_max,
        linger.0,
        linger_behind.0,
        behind_records,
        tickets_max,
        commit_interval.0,
        drain.0,
        guest_memory_bytes_max.0,
        guest_deadline.0,
        reject_share_max,
        reject_window,
    );
    if let Some(latency) = draft.latency {
        limits.linger = latency.0 / LINGER_SHARE;
        limits.linger_behind = limits.linger_behind.max(limits.linger);
    }
    check(section, limits)
}

fn check(section: &Section, limits: &Limits) -> Result<(), Mistake> {
    let positive = [
        ("lanes", limits.lanes),
        ("batch_records_max", limits.batch_records_max),
        ("batch_bytes_max", limits.batch_bytes_max),
        ("lane_inbox_batches_max", limits.lane_inbox_batches_max),
        ("payload_bytes_max", limits.payload_bytes_max),
        ("payload_rows_max", limits.payload_rows_max),
        ("courier_inbox_payloads_max", limits.courier_inbox_payloads_max),
        ("tickets_max", limits.tickets_max),
    ];
    for (key, value) in positive {
        if value == 0 {
            return Err(section.mistake(key, "must be 1 or more"));
        }
    }
    if limits.lanes > LANES_MAX {
        return Err(section.mistake("lanes", format!("more than {LANES_MAX} lanes")));
    }
    if limits.payload_bytes_max > limits.open_bytes_max {
        let message = "`payload_bytes_max` is more than `open_bytes_max`: no payload could fill up";
        let key =
            if section.has("payload_bytes_max") { "payload_bytes_max" } else { "open_bytes_max" };
        return Err(section.mistake(key, message));
    }
    if !(limits.reject_share_max > 0.0 && limits.reject_share_max <= 1.0) {
        let message = "a share is more than 0 and at most 1";
        return Err(section.mistake("reject_share_max", message));
    }
    Ok(())
}

/// More threads than this come from a slip of the finger.
const LANES_MAX: usize = 256;
