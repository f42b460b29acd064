//! Answers of guests, right or wrong in one thing. The body is shared with the ordinary tests.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::bodies::guest_answers(bytes));
