//! What Segment and RudderStack have in common: calls such as identify and track, sent many at a
//! time to one address with a write key.
//!
//! `call` makes the call of a record, `prepared` puts calls into a body within the service's limits,
//! `tracker` sends it and says what the answer means. A call that the service would drop in silence
//! must be refused here: an answer of 200 is no proof that a call was kept.

pub(crate) mod call;
pub(crate) mod prepared;
pub(crate) mod tracker;
