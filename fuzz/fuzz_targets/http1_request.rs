//! `cargo fuzz run --features libfuzzer -s none http1_request`
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| corelane_fuzz::http1_request(data));
