//! `kafka`: changes as messages in a topic.
//!
//! Every message is keyed by the row's primary key, so that all changes of a row are in one partition,
//! and counts as delivered when all in-sync replicas have it. Producers are idempotent: after a lost
//! answer the same messages are asked about once more under their old numbers, and the brokers do not
//! take them twice.

#[cfg(feature = "kafka")]
mod answer;
#[cfg(feature = "kafka")]
mod batch;
#[cfg(feature = "kafka")]
mod delivery;
mod descriptor;
#[cfg(feature = "kafka")]
mod door;
#[cfg(feature = "kafka")]
mod metadata;
#[cfg(feature = "kafka")]
mod partition;
#[cfg(feature = "kafka")]
mod produce;
#[cfg(feature = "kafka")]
mod publish;
#[cfg(feature = "kafka")]
mod sasl;
#[cfg(feature = "kafka")]
mod wire;

pub use descriptor::descriptor;
#[cfg(feature = "kafka")]
pub(crate) use publish::build;
