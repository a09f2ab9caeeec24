//! A connector that is a process of ours: one JSON message a line, on its standard input and output.
//!
//! Started with the first call, ended with the destination, with everything it has started. It sees the
//! variables that `environment:` gives it and those that every program needs, not ours: they hold the
//! passwords of everything else. An end, a hang or a broken pipe in the middle of a call is a call whose
//! effect nobody knows. Its standard error goes to the debug log, but not after it has seen rows: what it
//! writes there may be their values.

mod process;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rowcast_core::{Code, DestinationConfig, Fault, Reason, Secret, SettingValue};
use tokio::sync::Mutex;

use super::link::Exchange;
use super::protocol::Request;
use crate::http::service::Service;
use crate::settings::Problems;
use process::Running;

/// How much of a message is shown to people.
const SHOWN_MAX: usize = 4_000;

/// A command, and the process that it has become.
pub(super) struct Process {
    command: Command,
    timeout: Duration,
    running: Mutex<Option<Arc<Running>>>,
}

/// What is started.
struct Command {
    words: Vec<String>,
    variables: Vec<(String, Secret<String>)>,
    dir: PathBuf,
    /// Whether standard error is logged after rows have been sent.
    log_errors: bool,
    service: Arc<Service>,
}

impl Process {
    /// Reads `command` and `environment`.
    pub(super) fn new(
        config: &DestinationConfig,
        command: &SettingValue,
        timeout: Duration,
        problems: &mut Problems,
    ) -> Option<Self> {
        let settings = &config.settings;
        let mut words = Vec::new();
        for (position, word) in command.items().iter().enumerate() {
            match word.as_text() {
                Some(word) => words.push(word.to_owned()),
                None => problems.add(
                    format!("settings.command[{position}]"),
                    "a secret can't stand in a command: everyone on the machine can read it there",
                    "give it to the connector under environment:",
                ),
            }
        }
        if words.first().is_none_or(String::is_empty) {
            problems.add(
                "settings.command",
                "the command is empty",
                "write the program and its arguments: [python3, connector.py, --stdio]",
            );
        }
        let given = settings.get("environment");
        let variables: Vec<(String, Secret<String>)> = given
            .map_or(&[][..], SettingValue::members)
            .iter()
            .filter_map(|(name, value)| Some((name.clone(), value.as_secret()?)))
            .collect();
        for (name, value) in &variables {
            let is_name = !name.is_empty() && !name.contains(['=', '\0']);
            if !is_name || value.reveal().contains('\0') {
                problems.add(
                    format!("settings.environment.{name}"),
                    "this can't be a variable",
                    "a name has no =, and neither name nor value a zero byte",
                );
            }
        }
        if !problems.is_empty() {
            return None;
        }
        let secrets = given.map_or(&[][..], SettingValue::members).iter();
        let secrets = secrets.filter_map(|(_, value)| match value {
            SettingValue::Secret(secret) => Some(secret.clone()),
            _ => None,
        });
        let service = Service {
            host: format!("the connector {}", config.name),
            secrets: secrets.collect(),
        };
        Some(Self {
            command: Command {
                words,
                variables,
                dir: config.project_dir.clone(),
                log_errors: settings.get("log_errors").and_then(SettingValue::as_bool)
                    == Some(true),
                service: Arc::new(service),
            },
            timeout,
            running: Mutex::new(None),
        })
    }

    pub(super) fn service(&self) -> &Service {
        &self.command.service
    }

    pub(super) fn render(&self, request: &Request) -> String {
        let mut text = request.text.clone();
        self.service().mask(&mut text);
        if let Some((end, _)) = text.char_indices().nth(SHOWN_MAX) {
            let whole = text.len();
            text.truncate(end);
            text.push_str(&format!("… ({whole} bytes)"));
        }
        format!("{} <<< {text}", self.command.words.join(" "))
    }

    /// Starts the process, if it is not running. Says what was started.
    pub(super) async fn start(&self) -> Result<String, Fault> {
        let running = self.running().await?;
        Ok(format!(
            "{} runs as process {}",
            self.command.words[0], running.id
        ))
    }

    /// How many lines of its standard output answered nothing.
    pub(super) async fn strays(&self) -> u64 {
        let running = self.running.lock().await;
        running.as_ref().map_or(0, |running| running.strays())
    }

    /// Whether the process ends when its input does.
    pub(super) async fn ends_with_its_input(&self, within: Duration) -> bool {
        let Some(running) = self.running.lock().await.clone() else {
            return true;
        };
        tokio::time::timeout(within, running.closed()).await.is_ok()
    }

    /// The running process, or a new one in the place of one that has ended.
    async fn running(&self) -> Result<Arc<Running>, Fault> {
        let mut slot = self.running.lock().await;
        if let Some(running) = slot.as_ref().filter(|running| !running.has_ended()) {
            return Ok(Arc::clone(running));
        }
        let started = Arc::new(Running::start(&self.command).map_err(Fault::fatal)?);
        *slot = Some(Arc::clone(&started));
        Ok(started)
    }

    pub(super) async fn exchange(&self, request: &Request) -> Result<Exchange, Fault> {
        let running = self.running().await?;
        let answered = tokio::time::timeout(self.timeout, running.ask(request)).await;
        match answered {
            Ok(Ok(text)) => Ok(Exchange {
                text,
                requests_per_second: None,
            }),
            Ok(Err(fault)) => Err(fault),
            Err(_) => {
                // It hangs: whatever else it was asked will not be answered either.
                running.kill();
                let host = &self.service().host;
                let reason = Reason::new(
                    Code::DestinationUnreachable,
                    format!(
                        "{host} did not answer {} within {} s, and was ended",
                        request.method,
                        self.timeout.as_secs_f32()
                    ),
                );
                Err(Fault::lost(reason.hint(
                    "whether the records arrived is not known; they are sent again. If the connector is slow, raise timeout: or lower its maximum_batch_size",
                )))
            }
        }
    }
}
