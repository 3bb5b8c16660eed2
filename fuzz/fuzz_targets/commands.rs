//! `cargo fuzz run --features libfuzzer -s none commands`
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| corelane_fuzz::commands(data));
