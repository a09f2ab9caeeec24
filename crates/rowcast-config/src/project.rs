//! A project as the rest of Rowcast sees it: typed, with every reference by name.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use rowcast_core::alert::Rules;
use rowcast_core::guard::Guards;
use rowcast_core::segment::{Batching, Trigger};
use rowcast_core::sync::RetryPolicy;
use rowcast_core::{Code, Kind, Mode, Name, Reason, Secret, Selection, SettingValue, Value};

use crate::outside::{Channel, Hook, Smtp};
use crate::placeholder::{FileStamp, read_secret_file};
use crate::problem::Location;
use rowcast_core::schedule::Schedule;

/// Everything a project folder says.
#[derive(Debug, Clone, Default)]
pub struct Project {
    /// The folder that holds `rowcast.yml`.
    pub dir: PathBuf,
    pub name: String,
    pub description: Option<String>,
    pub owner: Option<String>,
    /// The environment chosen by `--env`.
    pub environment: Option<String>,
    /// Variables after the environment's.
    pub variables: BTreeMap<String, String>,
    /// Alert channels.
    pub channels: BTreeMap<String, Channel>,
    /// The mail server of channels that are addresses.
    pub smtp: Option<Smtp>,
    /// What may start runs from outside.
    pub hooks: BTreeMap<String, Hook>,
    /// Of `rowcast.yml`.
    pub positions: Positions,
    /// The shortest distance between two runs that a schedule may ask for.
    pub schedule_gap_min: Duration,
    pub retention: Retention,
    pub spool: Spool,
    pub sources: BTreeMap<String, Source>,
    pub models: BTreeMap<String, Model>,
    pub destinations: BTreeMap<String, Destination>,
    pub syncs: BTreeMap<String, Sync>,
    pub tests: BTreeMap<String, Test>,
    /// Manifests in `connectors/`, by name.
    pub connectors: BTreeMap<String, PathBuf>,
    /// Names of the files in `environments/`.
    pub environments: Vec<String>,
    /// The files that `${file:PATH}` named, as they were before they were read. Sources read them anew
    /// at each connection; what else they hold is as old as this.
    pub secret_files: BTreeMap<PathBuf, FileStamp>,
}

impl Project {
    /// The source whose database holds the state of this source's syncs: itself, or `state:`.
    pub fn state_source<'a>(&'a self, source: &'a Source) -> &'a Source {
        source
            .state_source
            .as_ref()
            .and_then(|name| self.sources.get(name))
            .unwrap_or(source)
    }
}

/// Where the keys of a document stand, by path: `fields.address.city`, `schedule[0].after[1]`.
#[derive(Clone, Default, PartialEq)]
pub struct Positions(pub(crate) BTreeMap<String, Location>);

impl Positions {
    /// The place of a path, or of the nearest thing around it that was written.
    pub fn get(&self, path: &str) -> Option<&Location> {
        let mut path = path;
        loop {
            if let Some(location) = self.0.get(path) {
                return Some(location);
            }
            if path.is_empty() {
                return None;
            }
            path = &path[..path.rfind(['.', '[']).unwrap_or(0)];
        }
    }
}

impl fmt::Debug for Positions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} positions", self.0.len())
    }
}

/// What every object says of itself.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct About {
    pub description: Option<String>,
    pub tags: Vec<String>,
    pub owner: Option<String>,
    pub paused: bool,
}

/// Text that may have come from the environment; then it is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Text {
    text: String,
    secret: bool,
}

impl Text {
    pub(crate) fn new(text: &str, secret: bool) -> Self {
        Self {
            text: text.to_owned(),
            secret,
        }
    }

    /// The text itself: for a connection, never for a message.
    pub fn reveal(&self) -> &str {
        &self.text
    }

    /// Whether it came from the environment or a file.
    pub fn is_secret(&self) -> bool {
        self.secret
    }
}

/// The text, or `***` when it is secret.
impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.secret { "***" } else { &self.text })
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A password, read anew at each connection where that is possible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    Value(Secret<String>),
    /// An absolute path, or one relative to the working folder if the project's is.
    File(PathBuf),
    /// A program and its arguments; its output is the password.
    Command(Vec<Text>),
}

impl Credential {
    /// The present value of a value or a file; `None` for a command, which the caller must run.
    ///
    /// # Errors
    /// The file can't be read any more.
    pub fn read(&self) -> Result<Option<Secret<String>>, Reason> {
        match self {
            Self::Value(secret) => Ok(Some(secret.clone())),
            Self::File(path) => read_secret_file(path)
                .map(|text| Some(Secret::new(text)))
                .map_err(|error| {
                    Reason::new(
                        Code::MissingSecret,
                        format!("the secret file {} can't be read", path.display()),
                    )
                    .detail(error.to_string())
                }),
            Self::Command(_) => Ok(None),
        }
    }
}

/// An SSH server through which a database is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ssh {
    pub host: Text,
    /// Default 22.
    pub port: u16,
    pub user: Text,
    pub key: Credential,
    pub passphrase: Option<Credential>,
    pub host_key: Option<Text>,
}

/// How long history is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Default 90 days.
    pub runs: Duration,
    /// Default 30 days.
    pub row_log: Duration,
}

/// A day.
pub(crate) const DAY: Duration = Duration::from_secs(24 * 3600);

impl Default for Retention {
    fn default() -> Self {
        Self {
            runs: 90 * DAY,
            row_log: 30 * DAY,
        }
    }
}

/// Temporary files of runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spool {
    /// The system's folder for temporary files by default; relative to the project's folder.
    pub dir: Option<PathBuf>,
    /// In bytes, over all runs.
    pub max: Option<u64>,
}

/// `sslmode:` with libpq's words and meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SslMode {
    Disable,
    Allow,
    Prefer,
    Require,
    VerifyCa,
    #[default]
    VerifyFull,
}

impl SslMode {
    /// The mode of libpq's word.
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "disable" => Self::Disable,
            "allow" => Self::Allow,
            "prefer" => Self::Prefer,
            "require" => Self::Require,
            "verify-ca" => Self::VerifyCa,
            "verify-full" => Self::VerifyFull,
            _ => return None,
        })
    }

    /// libpq's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Allow => "allow",
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        }
    }
}

/// Whether row-level security may hide rows (semantics 21).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RowSecurity {
    #[default]
    Error,
    Allow,
}

/// A PostgreSQL connection.
#[derive(Debug, Clone)]
pub struct Source {
    pub name: String,
    pub about: About,
    /// In place of host, port, database and user.
    pub url: Option<Secret<String>>,
    /// A name, an address, or a socket's folder.
    pub host: Option<Text>,
    pub port: Option<u16>,
    pub database: Option<Text>,
    pub user: Option<Text>,
    pub password: Option<Credential>,
    /// `None` when not written: the URL's, else `verify-full`.
    pub sslmode: Option<SslMode>,
    pub sslrootcert: Option<Text>,
    pub sslcert: Option<Text>,
    pub sslkey: Option<Text>,
    pub ssh: Option<Ssh>,
    /// Default `public`.
    pub search_path: Vec<String>,
    /// Default `_rowcast`.
    pub state_schema: String,
    /// `state: { source: … }`.
    pub state_source: Option<String>,
    pub row_security: RowSecurity,
    pub allow_superuser: bool,
    /// Connections open together. Default 4.
    pub connections: u32,
    /// Runs of servers at once.
    pub runs: u32,
    /// Default 10 minutes.
    pub statement_timeout: Duration,
    pub positions: Positions,
}

/// What a model reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Query {
    Sql {
        /// After variables.
        text: String,
        /// The file it stands in, relative to the project's folder; `None` for `sql:`.
        file: Option<String>,
    },
    Table {
        /// Looked up in the search path without one.
        schema: Option<String>,
        name: String,
    },
}

/// Reads only what changed lately (semantics 18).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    pub column: String,
    /// Default 10 minutes.
    pub overlap: Duration,
    /// How often everything is compared. Default daily.
    pub full: Duration,
}

/// Which rows, and what identifies one.
#[derive(Debug, Clone)]
pub struct Model {
    pub name: String,
    pub about: About,
    pub source: String,
    pub query: Query,
    /// Empty for a table that leaves it to its own primary key.
    pub primary_key: Vec<String>,
    pub cursor: Option<Cursor>,
    pub sensitive: Vec<String>,
    /// Category of consent and the boolean column that holds it.
    pub consent: Vec<(String, String)>,
    /// Default UTC.
    pub time_zone: String,
    pub positions: Positions,
}

/// How many requests are allowed in a time.
pub use rowcast_core::destination::Rate;

/// A connector with its settings.
#[derive(Debug, Clone)]
pub struct Destination {
    pub name: String,
    pub about: About,
    pub connector: String,
    pub settings: SettingValue,
    pub batch_records: Option<usize>,
    pub batch_bytes: Option<usize>,
    pub rate: Option<Rate>,
    /// What the account is allowed in a longer time, in place of what its connector says.
    pub quota: Option<Rate>,
    pub concurrency: Option<usize>,
    pub timeout: Option<Duration>,
    pub allow_addresses: Vec<String>,
    /// Categories of consent that a row must have to be sent here.
    pub consent: Vec<String>,
    pub positions: Positions,
}

/// What a run sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Refresh {
    /// What changed.
    #[default]
    Incremental,
    /// Every row.
    Full,
}

/// Which rows the row log names (semantics 27).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RowLog {
    /// Errors always, everything in small runs.
    #[default]
    Auto,
    Errors,
    All,
}

/// Limits of one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RunLimits {
    pub max_duration: Option<Duration>,
    pub max_records: Option<u64>,
}

/// What is told, and to whom.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Alerts {
    pub rules: Rules,
    /// Names of channels.
    pub to: Vec<String>,
}

/// A model to an object of a destination.
#[derive(Debug, Clone)]
pub struct Sync {
    pub name: String,
    pub about: About,
    /// The name before a renaming.
    pub was: Option<String>,
    pub model: String,
    pub destination: String,
    pub object: Option<String>,
    /// Of `mode:`, or of the reserved key in the mapping.
    pub mode: Mode,
    /// The kinds of change that are let through; of a trigger, those that it may let through.
    pub on: Selection,
    /// `on:` as a Segment trigger.
    pub trigger: Option<Trigger>,
    pub refresh: Refresh,
    /// Destination field and column, in order; empty for the primary key.
    pub match_on: Vec<(Name, Name)>,
    /// A condition in SQL.
    pub condition: Option<String>,
    /// An object in the order of the file. Strings are what the mapping says they are (a column or
    /// a template); numbers, booleans and null stand for themselves.
    pub fields: Value,
    /// `mapping:` without its reserved keys, in place of `fields`.
    pub mapping: Option<Value>,
    /// `event:`, in place of `fields`; its own types and keys are looked at when it is compiled.
    pub event: Option<Value>,
    /// What the mapping says about batches.
    pub batching: Batching,
    pub request: SettingValue,
    /// Empty: only commands and triggers run it.
    pub schedules: Vec<Schedule>,
    pub run: RunLimits,
    pub retry: RetryPolicy,
    pub guards: Guards,
    pub alerts: Alerts,
    pub log: RowLog,
    /// `keep: rows`.
    pub keep_rows: bool,
    pub positions: Positions,
}

/// Given rows and the records they must become.
#[derive(Debug, Clone)]
pub struct Test {
    pub name: String,
    pub about: About,
    pub sync: String,
    pub now: Option<jiff::Timestamp>,
    /// What happened to the rows. When it is not written, they are added, whatever the mode says.
    pub change: Option<Kind>,
    /// Objects of columns and values.
    pub rows: Vec<Value>,
    /// One for each row.
    pub expect: Vec<Value>,
    pub positions: Positions,
}

macro_rules! positioned {
    ($($name:ident),*) => {$(
        impl $name {
            /// Where a key stands, by its path (`fields.address.city`, `mode`), or the nearest
            /// thing around it that was written.
            pub fn position(&self, path: &str) -> Option<&Location> {
                self.positions.get(path)
            }
        }
    )*};
}

positioned!(Source, Model, Destination, Sync, Test);
