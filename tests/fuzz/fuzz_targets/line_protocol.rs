//! Lines of line protocol, read. The body is shared with the ordinary tests.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::bodies::line_protocol(bytes));
