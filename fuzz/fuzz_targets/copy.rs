//! See `rowcast_fuzz::copy`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rowcast_fuzz::copy(data));
