//! See `rowcast_fuzz::template`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rowcast_fuzz::template(data));
