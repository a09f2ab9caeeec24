//! Fuzz targets as plain functions: what must hold for any bytes.
//!
//! The fuzzer in `fuzz/` calls them, and so does a test with the committed corpus and seeded
//! mutations of it, so that every test run is a smoke run. A target must never do I/O.

mod targets;

pub use targets::{answer, copy, key, model, template, yaml};

/// A target: panics when something does not hold.
pub type Target = fn(&[u8]);

/// Every target by its name, which is also the name of its corpus.
pub const TARGETS: [(&str, Target); 6] = [
    ("yaml", yaml),
    ("template", template),
    ("key", key),
    ("copy", copy),
    ("answer", answer),
    ("model", model),
];

/// Bytes of an input that are looked at; longer ones only take longer.
pub const INPUT_MAX: usize = 16 << 10;
