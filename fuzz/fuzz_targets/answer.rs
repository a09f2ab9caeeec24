//! See `rowcast_fuzz::answer`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rowcast_fuzz::answer(data));
