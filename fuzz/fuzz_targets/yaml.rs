//! See `rowcast_fuzz::yaml`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rowcast_fuzz::yaml(data));
