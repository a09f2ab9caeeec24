//! Segment's destinations, run as they are: `connector: segment/<slug>`.
//!
//! `catalogue` is what the package says of itself, known without Node; `describe` makes a descriptor
//! of it and `preset` a default mapping. `install` puts the actions host in place; `host` runs it,
//! `exchange` makes its HTTP requests under the destination's own address policy, `payload` and
//! `verdict` translate records and statuses, `destination` is the connector. The host has no way out
//! but its pipe; a secret goes over that pipe and nowhere else.

pub mod catalogue;
mod describe;
mod destination;
mod exchange;
mod host;
pub mod install;
mod open;
mod page;
mod payload;
pub mod preset;
mod settings;
mod verdict;

pub use catalogue::{Action, Entry, Field};
pub use describe::{descriptor, operations};
pub use install::Installation;
pub use open::{Actions, Mapped, build, build_for_check, open, unfit_mode};
pub use page::reference_markdown;
pub use settings::place;

/// What stands before a slug in `connector:`.
pub const PREFIX: &str = "segment/";

/// The version of Segment's package that the catalogue is of.
pub const PACKAGE_VERSION: &str = "3.497.0";
