//! Opens a destination of the catalogue: settings read, the sync held against the action, limits told
//! to the engine.

use std::sync::Arc;
use std::time::Duration;

use rowcast_core::{
    Capabilities, Code, Destination, DestinationConfig, Mode, Reason, SettingValue,
};
use tokio::sync::Mutex;

use super::catalogue::{Action, Entry};
use super::describe::{descriptor, operations, sync_mode};
use super::destination::Seat;
use super::exchange::Exchange;
use super::install::Installation;
use super::settings;
use crate::http::client::{Client, SystemLookup};
use crate::http::service::Service;
use crate::settings::{Problems, SettingProblem};
use rowcast_core::address::AddressPolicy;

pub use super::destination::Actions;

/// Records of a request when the action does not say: Segment's own number.
const RECORDS: usize = 1_000;
/// And at most: what is in flight is held in memory twice, here and in the host.
const RECORDS_MAX: usize = 10_000;
/// Bytes of a batch by our estimate; services' own limits are the actions' business.
const BATCH_BYTES: usize = 4_000_000;
/// Requests in flight together: a batch of an action may make several after each other.
const CONCURRENCY: usize = 4;
/// For one HTTP request.
const TIMEOUT: Duration = Duration::from_secs(30);
/// HTTP requests after each other that one batch may take the full time for.
const STEPS: u32 = 4;
/// So much later than we would does the engine give a batch up.
const SLACK: Duration = Duration::from_secs(5);

/// What makes the fields of a sync's records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mapped {
    /// `fields:`: what the action needs and nobody mapped takes its literal default.
    Fields,
    /// A Segment mapping, which says all there is to say.
    Segment,
}

/// Builds a destination for one sync.
///
/// # Errors
/// Every problem, with the path of the setting or of the sync's key.
pub fn build(
    entry: &Arc<Entry>,
    config: &DestinationConfig,
    mapped: Mapped,
    installation: &Installation,
) -> Result<Arc<dyn Destination>, Vec<SettingProblem>> {
    let mut problems = Problems::default();
    for_sync(entry, config, mapped, &mut problems);
    let opened = opened(entry, config, mapped, installation, problems)?;
    Ok(Arc::new(opened))
}

/// Builds a destination without a sync, for its checks.
///
/// # Errors
/// Every problem of the settings.
pub fn build_for_check(
    entry: &Arc<Entry>,
    config: &DestinationConfig,
    installation: &Installation,
) -> Result<Arc<dyn Destination>, Vec<SettingProblem>> {
    Ok(Arc::new(open(entry, config, installation)?))
}

/// The same, to ask for choices.
///
/// # Errors
/// Every problem of the settings.
pub fn open(
    entry: &Arc<Entry>,
    config: &DestinationConfig,
    installation: &Installation,
) -> Result<Actions, Vec<SettingProblem>> {
    opened(
        entry,
        config,
        Mapped::Segment,
        installation,
        Problems::default(),
    )
}

fn for_sync(entry: &Entry, config: &DestinationConfig, mapped: Mapped, problems: &mut Problems) {
    if config.request != SettingValue::Null {
        problems.add(
            "request",
            format!("connector {} takes no request", entry.connector()),
            "remove request: from the sync",
        );
    }
    let Some(action) = entry.action(&config.object) else {
        problems.add(
            "object",
            format!("{} has no action {}", entry.title, config.object),
            &format!("write one of: {}", descriptor(entry).object_help),
        );
        return;
    };
    if let Some(reason) = unfit_mode(action, config.mode, mapped) {
        problems.push("mode", reason);
    }
}

/// Why a mode is not one of an action. A Segment mapping sees what happened to a row and can tell the
/// service in its own way; `fields:` can't.
pub fn unfit_mode(action: &Action, mode: Mode, mapped: Mapped) -> Option<Reason> {
    if action.modes.is_empty() {
        return (mode == Mode::Mirror && mapped == Mapped::Fields).then(|| {
            Reason::new(
                Code::UnsupportedMode,
                format!("{} does the same for removed rows as for others", action.title),
            )
            .hint("use mode upsert here, and a second sync with mode delete and the action that removes")
        });
    }
    let offered = operations(action);
    let missing = mode
        .operations()
        .into_iter()
        .find(|operation| sync_mode(action, mode, *operation).is_none())?;
    let offered: Vec<&str> = offered.iter().map(|operation| operation.as_str()).collect();
    Some(
        Reason::new(
            Code::UnsupportedMode,
            format!(
                "mode {} needs the operation {missing}, which {} does not have",
                mode.as_str(),
                action.title
            ),
        )
        .hint(format!(
            "it has {}; choose another mode",
            offered.join(", ")
        )),
    )
}

fn opened(
    entry: &Arc<Entry>,
    config: &DestinationConfig,
    mapped: Mapped,
    installation: &Installation,
    mut problems: Problems,
) -> Result<Actions, Vec<SettingProblem>> {
    if let Some(why) = &entry.unsupported {
        let reason = Reason::new(
            Code::ActionsHostMissing,
            format!("{} does not run here", entry.title),
        );
        problems.push(
            "connector",
            reason
                .detail(format!("{why}, which would pass by the address policy"))
                .hint("rowcast connectors list shows others, among them connectors of our own"),
        );
    }
    problems.check_members(&descriptor(entry).settings, &config.settings, "settings");
    if !problems.is_empty() {
        return Err(problems.into_vec());
    }
    let read = settings::read(entry, &config.settings, &mut problems);
    let policy = AddressPolicy::read(config, &mut problems);
    let timeout = config.timeout.unwrap_or(TIMEOUT);
    let client = policy.and_then(|policy| {
        Client::new(policy, Arc::new(SystemLookup), timeout, true)
            .map_err(|reason| problems.push("settings", reason))
            .ok()
    });
    let Some(client) = client.filter(|_| problems.is_empty()) else {
        return Err(problems.into_vec());
    };
    let action = entry.action(&config.object).cloned();
    let deadline = timeout * STEPS;
    let explicit = config.match_fields != config.key_columns;
    let with_match = match &action {
        Some(action) if mapped == Mapped::Fields && explicit => config
            .match_fields
            .iter()
            .filter(|name| action.field(name).is_some())
            .cloned()
            .collect(),
        _ => Vec::new(),
    };
    Ok(Actions {
        capabilities: capabilities(action.as_ref(), config, deadline + SLACK),
        defaults: match &action {
            Some(action) if mapped == Mapped::Fields => defaults(action),
            _ => Vec::new(),
        },
        match_field: match config.match_fields.as_slice() {
            [field] if explicit => Some(field.clone()),
            _ => None,
        },
        mode: config.mode,
        with_match,
        action,
        service: Service {
            host: entry.connector(),
            secrets: read.secrets.clone(),
        },
        exchange: Arc::new(Exchange {
            client,
            rewrites: read.rewrites.clone(),
        }),
        read,
        installation: installation.clone(),
        deadline,
        seat: Mutex::new(Seat::default()),
        entry: Arc::clone(entry),
    })
}

/// Literal defaults of what an action needs, and of its switches: Segment stores them with a
/// mapping. Others are proposals, such as a name to post messages under.
fn defaults(action: &Action) -> Vec<(String, String)> {
    action
        .own_fields()
        .filter(|field| field.required || field.kind == "boolean")
        .filter_map(|field| Some((field.name.clone(), field.literal()?.to_string())))
        .collect()
}

fn capabilities(
    action: Option<&Action>,
    config: &DestinationConfig,
    timeout: Duration,
) -> Capabilities {
    let number = |name: &str| -> (Option<usize>, Option<usize>) {
        let field = action.and_then(|action| action.field(name));
        let positive = |number: u64| usize::try_from(number).ok().filter(|number| *number > 0);
        let literal = field
            .and_then(|field| field.literal()?.as_u64())
            .and_then(positive);
        let most = field.and_then(|field| field.maximum);
        (literal, most.and_then(|most| positive(most as u64)))
    };
    let (usual, most) = number("batch_size");
    let most = most.or(usual).unwrap_or(RECORDS_MAX).min(RECORDS_MAX);
    let records = match action {
        Some(action) if action.batch => config
            .batch_records
            .unwrap_or_else(|| usual.unwrap_or(RECORDS))
            .clamp(1, most),
        _ => 1,
    };
    Capabilities {
        operations: action.map_or_else(Vec::new, operations),
        batch_records_max: records,
        operation_limits: Vec::new(),
        batch_bytes_max: config
            .batch_bytes
            .map_or(BATCH_BYTES, |own| own.min(BATCH_BYTES)),
        concurrency_max: config.concurrency.unwrap_or(CONCURRENCY).max(1),
        rate: config.rate,
        timeout,
        exactly_once: false,
        publishes: false,
    }
}
