//! `cargo fuzz run --features libfuzzer -s none http1_response`
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| corelane_fuzz::http1_response(data));
