//! Counters, latency histograms, logs, `/metrics`. Depends on nothing; anyone may call it.

mod meter;

pub use meter::{Counter, Gauge, Latency, PipelineMeter, TransformMeter};
