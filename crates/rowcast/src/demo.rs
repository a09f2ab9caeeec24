//! `rowcast demo`: a shop, a CRM and three runs between them, on a machine with nothing prepared.
//!
//! Everything it starts is its own and ends with it. It delivers through the same use cases as
//! `rowcast run`, and believes only the CRM's own request log.

pub(crate) mod crm;
pub(crate) mod install;
pub(crate) mod project;
pub(crate) mod server;
pub(crate) mod shop;
pub(crate) mod story;
