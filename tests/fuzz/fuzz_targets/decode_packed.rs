//! Values that may be compressed. The body is shared with the ordinary tests.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::bodies::decode_packed(bytes));
