//! See `rowcast_fuzz::model`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rowcast_fuzz::model(data));
