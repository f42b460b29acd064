//! Fuzz targets in cargo-fuzz's layout, in a workspace of their own: libFuzzer wants a nightly
//! compiler, which nothing else here does. The bodies also run in the bridge's own tests.
//!
//! ```console
//! $ cargo +nightly fuzz run --fuzz-dir tests/fuzz decode_json
//! ```

pub mod bodies;
