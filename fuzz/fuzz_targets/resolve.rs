//! Runs `callgate_test_suite::fuzz::resolve`, where it says what is tried.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| callgate_test_suite::fuzz::resolve(data));
