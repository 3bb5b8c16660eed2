//! `cargo fuzz run --features libfuzzer -s none resp_parser`
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| corelane_fuzz::resp_parser(data));
