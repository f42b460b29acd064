//! JSON behind the id of its schema. The body is shared with the ordinary tests.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::bodies::decode_json_schema(bytes));
