//! The example transforms of `transforms/`, compiled by the build: for the demo and for tests.

/// Keeps readings that are warm enough: `{"min_celsius": 15.0}`.
pub const DROP_COLD: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/drop_cold.wasm"));
/// Adds fahrenheit, sends alarms to a table of their own: `{"alarm_above": 60.0}`.
pub const ENRICH_ROUTE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/enrich_route.wasm"));
/// One row for each reading of a wide record: `{"prefix": "m_"}`.
pub const SPLIT_READINGS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/split_readings.wasm"));
/// For tests of the fence: traps, loops, lies and grows when told to.
pub const FAULTY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/faulty.wasm"));
