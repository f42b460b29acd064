//! Protobuf's bytes to rows. The body is shared with the ordinary tests.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::bodies::decode_protobuf(bytes));
