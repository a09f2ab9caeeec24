//! The words of Rowcast's domain: rows, keys, changes, records, modes, outcomes, reports.
//!
//! Floor 0. Everything here can be tested without the world: no I/O, no async runtime, no clock,
//! no SQL, no HTTP, no files. Every other crate speaks in these types.

pub mod address;
pub mod alert;
pub mod catalog;
pub mod change;
pub mod code;
pub mod connector;
pub mod descriptor;
pub mod destination;
pub mod envelope;
pub mod fault;
pub mod gate;
pub mod guard;
pub mod host_key;
pub mod json;
pub mod key;
pub mod killpoint;
pub mod ledger;
pub mod mapping;
pub mod mode;
pub mod progress;
pub mod quota;
pub mod record;
pub mod report;
pub mod row;
pub mod schedule;
pub mod secret;
pub mod segment;
pub mod settings;
pub mod settle;
pub mod sync;
pub mod time;
pub mod value;

pub use change::{Change, Kind, Retried};
pub use code::Code;
pub use descriptor::{Descriptor, Setting, SettingKind};
pub use destination::{Capabilities, Check, CheckStatus, Destination, DestinationConfig, Outcome};
pub use fault::{Applied, Fault, Reason};
pub use gate::Gate;
pub use key::{Key, KeyPart};
pub use ledger::{ChangeReader, ChangeSet, Lease, Ledger};
pub use mapping::Mapper;
pub use mode::{Mode, Selection};
pub use quota::Quota;
pub use record::{Batch, Operation, Record, RunContext};
pub use report::{RunReport, RunStatus};
pub use row::{Column, Row, Schema};
pub use secret::Secret;
pub use settings::SettingValue;
pub use settle::{Effect, Settled, Verdict};
pub use sync::SyncPlan;
pub use value::{Name, Object, Value};

/// A boxed, sendable future: what lets `Destination` and `Ledger` be trait objects.
pub type BoxFuture<'a, T> = futures::future::BoxFuture<'a, T>;
