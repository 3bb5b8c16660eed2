//! `cargo fuzz run --features libfuzzer -s none http1_chunked`
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| corelane_fuzz::http1_chunked(data));
