//! Counters, latency histograms, logs, `/metrics`, and orders from outside. Depends on nothing;
//! anyone may call it.

pub mod admin;
pub mod http;
pub mod log;
mod meter;
mod page;
mod process;
mod prometheus;
pub mod status;
pub mod terminal;

pub use meter::{
    Counter, Difference, Gauge, Latency, ModuleState, OwnMetric, PipelineMeter, ShadowMeter,
    TransformMeter,
};

/// The meters of all pipelines of a process, by name.
pub type Meters = Vec<(std::sync::Arc<str>, std::sync::Arc<PipelineMeter>)>;

/// The clock on the wall, milliseconds since 1970.
pub fn unix_ms() -> i64 {
    let now = std::time::SystemTime::now();
    now.duration_since(std::time::UNIX_EPOCH).map_or(0, |time| time.as_millis() as i64)
}
