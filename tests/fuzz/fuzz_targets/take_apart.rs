//! Hostile records through what the bridge does itself around transforms. The body is shared with
//! the ordinary tests.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::bodies::take_apart(bytes));
