//! `connectors test URL` and `connectors test -- COMMAND`: whether a custom connector keeps the protocol.

use std::path::Path;
use std::time::Duration;

use rowcast_config::Problem;
use rowcast_core::{DestinationConfig, SettingValue};
use rowcast_destinations::custom::conformance::{self, Verdict};
use serde::Serialize;

use crate::{Answer, Failure, Project, wire};

/// Private addresses, which a person who types a URL may well mean. The addresses at which clouds hand
/// out credentials stay closed.
const PRIVATE: [&str; 6] = [
    "127.0.0.0/8",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "::1/128",
    "fc00::/7",
];

/// The connector that is examined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    Url(String),
    Command(Vec<String>),
    /// A destination of the project, with its credentials.
    Destination(String),
}

/// How it is examined.
#[derive(Debug, Clone, Default)]
pub struct ExamineRequest {
    /// The object to write to; the first one listed.
    pub object: Option<String>,
    /// Writes nothing.
    pub read_only: bool,
    /// How long each answer may take.
    pub timeout: Option<Duration>,
}

/// What one check found.
#[derive(Debug, Clone, Serialize)]
pub struct FindingView {
    pub check: &'static str,
    /// What must hold.
    pub demand: &'static str,
    /// `passed`, `failed` or `skipped`.
    pub verdict: &'static str,
    pub found: String,
    pub sent: Option<String>,
    pub got: Option<String>,
}

/// Whether a word names a destination of the project that is a custom connector.
pub fn is_custom_destination(project: &Project, name: &str) -> bool {
    let destination = project.config.destinations.get(name);
    destination.is_some_and(|destination| destination.connector == "custom")
}

/// Runs the conformance suite against a custom connector.
///
/// # Errors
/// It can't be configured so. What is wrong with the connector is in the findings.
pub async fn examine(
    project: Option<&Project>,
    dir: &Path,
    subject: &Subject,
    request: &ExamineRequest,
) -> Answer<Vec<FindingView>> {
    let mut config = match (subject, project) {
        (Subject::Destination(name), Some(project)) => {
            wire::destination_config(project, project.destination(name)?)
        }
        (Subject::Destination(name), None) => {
            return Err(crate::project::unknown("destination", name, [].iter()));
        }
        (Subject::Url(url), _) => typed("url", SettingValue::Text(url.clone()), dir),
        (Subject::Command(words), _) => {
            let words = words.iter().cloned().map(SettingValue::Text).collect();
            typed("command", SettingValue::List(words), dir)
        }
    };
    if request.timeout.is_some() {
        config.timeout = request.timeout;
    }
    let examination = conformance::Examination {
        object: request.object.clone(),
        read_only: request.read_only,
    };
    let findings = conformance::examine(&config, &examination)
        .await
        .map_err(|problems| {
            let problems = problems.into_iter();
            Failure::of(
                problems
                    .map(|problem| Problem::general(problem.reason))
                    .collect(),
            )
        })?;
    let views = findings.into_iter().map(|finding| FindingView {
        check: finding.name,
        demand: finding.demand,
        verdict: match finding.verdict {
            Verdict::Passed => "passed",
            Verdict::Failed => "failed",
            Verdict::Skipped => "skipped",
        },
        found: finding.found,
        sent: finding.sent,
        got: finding.got,
    });
    Ok(views.collect())
}

/// What was typed on a command line, as a destination of no project.
fn typed(setting: &str, value: SettingValue, dir: &Path) -> DestinationConfig {
    DestinationConfig {
        allow_addresses: PRIVATE.iter().map(ToString::to_string).collect(),
        project_dir: dir.to_path_buf(),
        ..DestinationConfig::new(
            "under test",
            SettingValue::Map(vec![(setting.to_owned(), value)]),
        )
    }
}
