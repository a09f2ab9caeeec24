//! Everything that speaks to PostgreSQL: connections, catalog, checks, models.

pub mod connect;
pub mod model_text;
pub mod sql;
