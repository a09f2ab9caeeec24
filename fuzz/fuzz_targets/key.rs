//! See `rowcast_fuzz::key`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rowcast_fuzz::key(data));
