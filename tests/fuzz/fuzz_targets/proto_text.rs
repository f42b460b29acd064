//! The text of a Protobuf schema. The body is shared with the ordinary tests.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::bodies::proto_text(bytes));
