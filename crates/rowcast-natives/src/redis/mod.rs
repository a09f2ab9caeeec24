//! `redis`: changes as entries of a stream.
//!
//! A batch is one transaction (MULTI … EXEC), so that a refusal for the server's state, such as its
//! memory being full, leaves nothing behind and can be tried again as it is. Must never publish
//! outside of one.

mod descriptor;
#[cfg(feature = "redis")]
mod refusal;
#[cfg(feature = "redis")]
mod resp;
#[cfg(feature = "redis")]
mod stream;

pub use descriptor::descriptor;
#[cfg(feature = "redis")]
pub(crate) use stream::build;
