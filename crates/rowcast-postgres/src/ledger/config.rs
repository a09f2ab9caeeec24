//! What a ledger is made from: connections, the model, and what the sync asks of state.

use std::collections::BTreeMap;
use std::time::Duration;

use rowcast_core::guard::Guard;
use rowcast_core::sync::RetryPolicy;
use rowcast_core::{Mode, Name, Selection};

use super::spool::SpoolConfig;
use crate::connect::Connector;

/// Everything a ledger needs. Made by the application from the project's files.
#[derive(Debug, Clone)]
pub struct LedgerConfig {
    pub source: Connector,
    /// Where state lives when not in the source (semantics 23).
    pub state: Option<Connector>,
    /// The source's name in the project, for messages.
    pub source_name: String,
    /// Schema of the state tables.
    pub state_schema: String,
    pub model: ModelSpec,
    pub sync: SyncSpec,
    pub spool: SpoolConfig,
}

/// Which rows.
#[derive(Debug, Clone)]
pub struct ModelSpec {
    pub name: String,
    pub body: ModelBody,
    /// Empty for a table: its own primary key.
    pub primary_key: Vec<String>,
    pub time_zone: String,
    pub search_path: Vec<String>,
    /// `where:` of the sync: a predicate over the model's columns.
    pub filter: Option<String>,
    pub cursor: Option<CursorSpec>,
    /// `row_security: allow`: read what policies let through, knowing that hidden rows look removed.
    pub allow_row_security: bool,
    /// Longest time one read may take.
    pub statement_timeout: Option<Duration>,
}

/// The model's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelBody {
    Sql(String),
    Table {
        schema: Option<String>,
        name: String,
    },
}

/// A column that only grows (semantics 18).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CursorSpec {
    pub column: String,
    /// How far behind the watermark each run reads again.
    pub overlap: Duration,
    /// A full diff runs at least this often.
    pub full_every: Duration,
}

/// How much of the row log is written (semantics 27).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogLevel {
    /// Rejected, invalid and skipped rows, and every operation of runs under 10,000 changes.
    #[default]
    Default,
    /// Rejected and invalid rows only.
    Errors,
    /// Every operation.
    All,
}

/// What the sync asks of state.
#[derive(Debug, Clone)]
pub struct SyncSpec {
    pub name: String,
    /// Its name before a renaming.
    pub was: Option<String>,
    /// What state belongs to besides the key (semantics 2): label → value, without secrets.
    pub identity: BTreeMap<String, String>,
    pub mode: Mode,
    pub on: Selection,
    /// What else a change must pass, as text: when it differs, rows that were skipped are judged
    /// anew.
    pub gate: String,
    /// The model's columns the mapping reads.
    pub columns: Vec<Name>,
    /// The mapping's digests by field.
    pub digests: BTreeMap<String, String>,
    /// Plain columns of `match_on`, when it lies outside the primary key and the mode deletes.
    pub match_columns: Option<Vec<String>>,
    /// Keep the values that were sent (`keep: rows`).
    pub keep_rows: bool,
    pub log: LogLevel,
    pub retry: RetryPolicy,
    pub overrides: Vec<Guard>,
}
