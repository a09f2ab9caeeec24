//! `amqp`: changes as messages to an exchange or a queue of RabbitMQ.
//!
//! Messages are persistent and mandatory, on a channel with publisher confirms: a record counts as
//! delivered when the broker has confirmed its message, and as rejected when no queue took it.

#[cfg(feature = "amqp")]
mod confirm;
mod descriptor;
#[cfg(feature = "amqp")]
mod frame;
#[cfg(feature = "amqp")]
mod link;
#[cfg(feature = "amqp")]
mod publish;

pub use descriptor::descriptor;
#[cfg(feature = "amqp")]
pub(crate) use publish::build;
