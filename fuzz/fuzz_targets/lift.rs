//! Runs `callgate_test_suite::fuzz::lift`, where it says what is tried.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| callgate_test_suite::fuzz::lift(data));
