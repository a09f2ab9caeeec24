//! `nats`: changes as messages into a JetStream stream.
//!
//! Every message is published with the record's idempotency key as `Nats-Msg-Id`, so the stream
//! drops repetitions within its window, and counts as delivered when the stream has acknowledged it.

#[cfg(feature = "nats")]
mod answer;
#[cfg(feature = "nats")]
mod credentials;
mod descriptor;
#[cfg(feature = "nats")]
mod jetstream;
#[cfg(feature = "nats")]
mod wire;

pub use descriptor::descriptor;
#[cfg(feature = "nats")]
pub(crate) use jetstream::build;
