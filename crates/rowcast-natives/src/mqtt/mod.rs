//! `mqtt`: changes as messages of MQTT 5, each acknowledged by the server (QoS 1).
//!
//! The server says at login how many unacknowledged messages it takes; never are more in flight.
//! Must never call a message delivered whose acknowledgement has not come.

mod descriptor;
#[cfg(feature = "mqtt")]
mod packet;
#[cfg(feature = "mqtt")]
mod publish;
#[cfg(feature = "mqtt")]
mod topic;

pub use descriptor::descriptor;
#[cfg(feature = "mqtt")]
pub(crate) use publish::build;
