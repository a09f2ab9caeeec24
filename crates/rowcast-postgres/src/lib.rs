//! Everything that speaks to PostgreSQL: connections, catalog, checks, models.

pub mod connect;
pub mod sql;
