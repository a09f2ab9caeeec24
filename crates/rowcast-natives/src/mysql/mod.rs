//! `mysql`: records into a table of MySQL 8 or MariaDB 10.4 and later, exactly once.
//!
//! The records of a batch and the note that it was delivered are committed in one transaction, so an
//! attempt with a lost answer is asked for, never guessed (semantics 14). Start reading at
//! `write.rs`.

#[cfg(feature = "mysql")]
mod check;
#[cfg(feature = "mysql")]
mod create;
mod descriptor;
#[cfg(feature = "mysql")]
mod destination;
#[cfg(feature = "mysql")]
mod link;
#[cfg(feature = "mysql")]
mod name;
#[cfg(feature = "mysql")]
mod progress;
#[cfg(feature = "mysql")]
mod refusal;
#[cfg(feature = "mysql")]
mod statement;
#[cfg(feature = "mysql")]
mod target;
#[cfg(feature = "mysql")]
mod values;
#[cfg(feature = "mysql")]
mod write;

pub use descriptor::descriptor;
#[cfg(feature = "mysql")]
pub(crate) use destination::build;
