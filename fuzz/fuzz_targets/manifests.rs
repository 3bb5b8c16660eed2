//! `cargo fuzz run --features libfuzzer -s none manifests`
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| corelane_fuzz::manifests(data));
