//! Connectors that are no database of their own: HTTP services, files, and nowhere.
//!
//! Floor 1: knows `rowcast-core` and the network. A destination here writes one batch and says what
//! became of each record; it never retries, sleeps, limits, counts, logs a payload or touches state.

pub mod actions;
mod catalog;
pub mod custom;
mod events;
pub mod file;
pub mod format;
pub mod http;
pub mod manifest;
pub mod notify;
pub mod null;
pub mod reference;
pub mod rudderstack;
pub mod segment;
pub mod settings;
pub mod signature;

pub use catalog::CATALOG;
pub use reference::reference_markdown;
pub use settings::SettingProblem;
