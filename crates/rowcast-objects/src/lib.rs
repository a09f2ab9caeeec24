//! Object stores as destinations: a run's changes as objects in a bucket.
//!
//! Floor 1, on top of `rowcast-destinations`, whose HTTP client with the address policy and whose
//! file formats it uses. `destination` is the same for every store: it drafts on the local disk and
//! sends nothing before the run has ended well. `upload` makes objects that appear whole or not at
//! all. What differs from store to store, settings and credentials, has a module for each.

mod azure_blob;
mod catalog;
#[cfg(feature = "store")]
mod client;
#[cfg(feature = "store")]
mod destination;
#[cfg(feature = "store")]
mod endpoint;
mod s3;
#[cfg(feature = "store")]
mod upload;

pub use catalog::CATALOG;
