//! The stores there are: one line each, with or without the library that speaks to them.

use rowcast_core::catalog::{Catalog, Entry};

use crate::{azure_blob, s3};

/// What brings the stores to the program: a bucket usually holds Parquet too.
const FEATURES: &str = "objects,parquet";

/// Every store of this crate.
pub const CATALOG: Catalog = Catalog(&[
    Entry {
        describe: s3::descriptor,
        #[cfg(feature = "s3")]
        build: Some(s3::build),
        #[cfg(not(feature = "s3"))]
        build: None,
        features: FEATURES,
    },
    Entry {
        describe: azure_blob::descriptor,
        #[cfg(feature = "azure_blob")]
        build: Some(azure_blob::build),
        #[cfg(not(feature = "azure_blob"))]
        build: None,
        features: FEATURES,
    },
]);
