//! Everything that speaks to PostgreSQL: connections, catalog, checks, models.

pub mod catalog;
pub mod check;
pub mod connect;
pub mod control;
pub mod destination;
pub mod ledger;
pub mod model_text;
pub mod preview;
pub mod setup_sql;
pub mod sql;
