//! Configuration as code: a folder of YAML files becomes a typed [`Project`], or a list of
//! [`Problem`]s that point at the lines to mend.
//!
//! Floor 1. It reads files and nothing else: no database, no network, no process environment (the
//! caller hands in a lookup). Everything is reported at once, and a secret never shows.
//!
//! Documents are described once, in `documents`; strict reading, suggestions, the editor's JSON
//! Schema ([`schema`]) and the reference pages ([`mod@reference`]) all come from there.

mod checks;
mod described;
mod described_objects;
mod documents;
pub mod foreign;
mod frequency;
#[doc(hidden)]
pub mod fuzzed;
mod load;
mod merge;
mod model;
mod objects;
mod outside;
mod placeholder;
mod policies;
mod problem;
mod project;
pub mod reference;
pub mod render;
mod schedule;
pub mod schema;
mod segment;
mod shape;
mod sync;
mod timetable;
mod tree;
mod values;
mod walk;

pub use described::{Described, read_described};
pub use documents::{Document, documents};
pub use load::{Change, LoadOptions, Loaded, PROJECT_FILE, find, is_name, load};
pub use outside::{Channel, Hook, Smtp, SmtpTls};
pub use placeholder::{FileStamp, Secrets, file_stamp};
pub use problem::{Location, Problem};
pub use project::{
    About, Alerts, Credential, Cursor, Destination, Model, Positions, Project, Query, Rate,
    Refresh, Retention, RowLog, RowSecurity, RunLimits, Source, Spool, Ssh, SslMode, Sync, Test,
    Text,
};
pub use rowcast_core::schedule::{AfterWhen, EVERY_MIN, Overlap, Schedule, Trigger};
pub use shape::{Key, Kind, Shape};
pub use walk::suggest;
