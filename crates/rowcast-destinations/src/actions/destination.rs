//! The connector: a batch to the host, the host's results to outcomes.
//!
//! Opens the host when the first batch comes, again when it is gone, and fetches a new access token
//! once when the old one is refused. It never retries: a host that ends in the middle of a batch is
//! one transient fault.

use std::sync::Arc;
use std::time::Duration;

use rowcast_core::destination::ObjectSchema;
use rowcast_core::record::Batch;
use rowcast_core::{
    Applied, BoxFuture, Capabilities, Check, Code, Destination, Fault, Mode, Name, Outcome, Reason,
    Secret,
};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::catalogue::{Action, Entry};
use super::describe::{schemas, sync_mode};
use super::exchange::Exchange;
use super::host::{Doings, End, Host};
use super::install::Installation;
use super::payload::{self, Asked};
use super::settings::{Read, Tokens};
use super::verdict::{Told, judge, unauthorized};
use crate::http::service::Service;

/// A destination of the catalogue, opened for one sync.
pub struct Actions {
    pub(super) entry: Arc<Entry>,
    /// None for checks.
    pub(super) action: Option<Action>,
    pub(super) mode: Mode,
    pub(super) match_field: Option<Name>,
    pub(super) with_match: Vec<Name>,
    pub(super) defaults: Vec<(String, String)>,
    pub(super) read: Read,
    pub(super) service: Service,
    pub(super) exchange: Arc<Exchange>,
    pub(super) installation: Installation,
    /// For one request to the host, with all HTTP requests it makes.
    pub(super) deadline: Duration,
    pub(super) capabilities: Capabilities,
    pub(super) seat: Mutex<Seat>,
}

/// The running host, and the tokens as they are now.
#[derive(Default)]
pub(super) struct Seat {
    host: Option<Arc<Host>>,
    tokens: Option<Tokens>,
    /// Rises with each new access token.
    refreshed: u64,
}

impl Actions {
    /// The running host, started if there is none.
    async fn host(&self) -> Result<(Arc<Host>, u64), Fault> {
        let mut seat = self.seat.lock().await;
        if let Some(host) = seat.host.as_ref().filter(|host| host.is_alive()) {
            return Ok((Arc::clone(host), seat.refreshed));
        }
        if let Some(reason) = self.installation.missing() {
            return Err(Fault::fatal(reason));
        }
        let exchange = Arc::clone(&self.exchange);
        let host = Host::start(&self.installation, exchange, self.read.memory_mb)
            .await
            .map_err(Fault::refused)?;
        let tokens = seat.tokens.get_or_insert_with(|| self.read.tokens.clone());
        let mut opening = self.read.opening.reveal().clone();
        opening["oauth"] = tokens.to_json().reveal().clone();
        let without_token = tokens.access.is_none() && tokens.can_refresh();
        let opening = Secret::new(opening.to_string());
        let (end, _) = host.call("open", &opening, self.deadline).await;
        self.answered(end)
            .map_err(|refused| refused.fault(Applied::No))?;
        let host = Arc::new(host);
        if without_token {
            self.refresh_now(&host, &mut seat).await?;
        }
        seat.host = Some(Arc::clone(&host));
        Ok((host, seat.refreshed))
    }

    /// Fetches a new access token, unless somebody did since `seen`.
    async fn refresh(&self, host: &Host, seen: u64) -> Result<(), Fault> {
        let mut seat = self.seat.lock().await;
        if seat.refreshed != seen {
            return Ok(());
        }
        self.refresh_now(host, &mut seat).await
    }

    async fn refresh_now(&self, host: &Host, seat: &mut Seat) -> Result<(), Fault> {
        let nothing = Secret::new("{}".to_owned());
        let (end, _) = host.call("refresh", &nothing, self.deadline).await;
        let found = self.answered(end).map_err(|refused| {
            let passing = matches!(refused.status, Some(0 | 408 | 423 | 429 | 500..) | None);
            let reason = Reason::new(
                Code::DestinationAuth,
                format!("{} gave no new access token", self.service.host),
            )
            .detail(refused.reason.to_string())
            .hint("look at client_id, client_secret and refresh_token below oauth:; a refresh token may have been withdrawn");
            if passing { Fault::refused(reason) } else { Fault::fatal(reason) }
        })?;
        let text = |name: &str| Some(Secret::new(found.get(name)?.as_str()?.to_owned()));
        if let Some(tokens) = &mut seat.tokens {
            tokens.access = text("access_token");
            tokens.refresh = text("refresh_token").or(tokens.refresh.take());
        }
        seat.refreshed += 1;
        Ok(())
    }

    async fn deliver(&self, batch: &Batch) -> Result<Vec<Outcome>, Fault> {
        let (host, seen) = self.host().await?;
        let all: Vec<usize> = (0..batch.records.len()).collect();
        let (mut told, mut doings) = self.send(&host, batch, &all).await?;
        let refused = unauthorized(&told, &doings);
        if !refused.is_empty() && self.read.tokens.can_refresh() {
            self.refresh(&host, seen).await?;
            let (again, later) = self.send(&host, batch, &refused).await?;
            for (at, told_again) in refused.into_iter().zip(again) {
                told[at] = told_again;
            }
            doings.join(later);
        }
        judge(&told, &doings, &self.service)
    }

    /// Has the host send the records at these positions.
    async fn send(
        &self,
        host: &Host,
        batch: &Batch,
        positions: &[usize],
    ) -> Result<(Vec<Told>, Doings), Fault> {
        let asked = self.asked(batch)?;
        let params = Secret::new(payload::write(batch, positions, &asked));
        let (end, doings) = host.call("write", &params, self.deadline).await;
        let applied = if doings.reached == 0 {
            Applied::No
        } else {
            Applied::Unknown
        };
        let found = self
            .answered(end)
            .map_err(|refused| refused.fault(applied))?;
        let results = found.get("results").cloned().unwrap_or_default();
        let told: Vec<Told> = serde_json::from_value(results).unwrap_or_default();
        if told.len() == positions.len() {
            return Ok((told, doings));
        }
        Err(Fault::Transient {
            after: None,
            applied,
            reason: Reason::new(
                Code::ActionsHostFailed,
                "the actions host gave not one result for each record",
            ),
        })
    }

    fn asked(&self, batch: &Batch) -> Result<Asked<'_>, Fault> {
        let action = self.action.as_ref().ok_or_else(|| {
            Fault::fatal(Reason::defect(
                "a destination for checks was asked to write",
            ))
        })?;
        Ok(Asked {
            action: &action.name,
            sync_mode: sync_mode(action, self.mode, batch.operation),
            match_field: self.match_field.as_ref(),
            single: self.capabilities.batch_records_max == 1,
            defaults: &self.defaults,
            with_match: &self.with_match,
        })
    }

    fn answered(&self, end: End) -> Result<Value, HostRefused> {
        match end {
            End::Answered(value) => Ok(value),
            End::Refused { message, status } => Err(HostRefused {
                status: Some(status),
                reason: Reason::new(
                    Code::DestinationRejected,
                    format!("{} refused", self.service.host),
                )
                .detail(self.service.tidy(&message)),
            }),
            End::Gone(how) => Err(HostRefused {
                status: None,
                reason: Reason::new(Code::ActionsHostFailed, "the actions host is gone")
                    .detail(how)
                    .hint("it is started again; if this comes back, raise settings.memory or timeout, or lower batch.max_records"),
            }),
        }
    }

    /// The values that the service offers for a field of an action, with their labels. `payload`:
    /// the other fields, as far as the choice depends on them.
    ///
    /// # Errors
    /// The host or the service refused.
    pub async fn choices(
        &self,
        action: &str,
        field: &str,
        payload: &Value,
    ) -> Result<Vec<(String, String)>, Reason> {
        let (host, _) = self.host().await.map_err(|fault| fault.reason().clone())?;
        let params = json!({ "action": action, "field": field, "payload": payload });
        let params = Secret::new(params.to_string());
        let (end, _) = host.call("choices", &params, self.deadline).await;
        let found = self.answered(end).map_err(|refused| refused.reason)?;
        let text = |choice: &Value, name: &str| match choice.get(name) {
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => String::new(),
        };
        let choices = found.get("choices").and_then(Value::as_array);
        Ok(choices
            .into_iter()
            .flatten()
            .map(|choice| (text(choice, "value"), text(choice, "label")))
            .collect())
    }

    async fn check_account(&self) -> Check {
        let host = match self.host().await {
            Ok((host, _)) => host,
            Err(fault) => return Check::failed("account", fault.reason().clone()),
        };
        let nothing = Secret::new("{}".to_owned());
        let (end, doings) = host.call("check", &nothing, self.deadline).await;
        match self.answered(end) {
            Ok(found) if found["called"] == true => Check::passed(
                "account",
                format!("{} took the credentials", self.entry.title),
            ),
            Ok(_) => Check::skipped(
                "account",
                "not called: the service has no request that changes nothing",
            ),
            Err(refused) => Check::failed(
                "account",
                match doings.fatal.or(doings.failure) {
                    Some(reason) => reason,
                    None if refused.status.is_none() => refused.reason,
                    None => Reason::new(
                        Code::DestinationAuth,
                        format!("{} did not take the settings", self.entry.title),
                    )
                    .detail(refused.reason.detail.unwrap_or_default())
                    .hint("look at the settings of the destination"),
                },
            ),
        }
    }
}

/// Why the host gave no answer.
struct HostRefused {
    /// None when it is gone.
    status: Option<u16>,
    reason: Reason,
}

impl HostRefused {
    fn fault(self, applied: Applied) -> Fault {
        match self.status {
            None => Fault::Transient {
                after: None,
                applied,
                reason: self.reason,
            },
            Some(_) => Fault::Fatal {
                applied,
                reason: self.reason,
            },
        }
    }
}

impl std::fmt::Debug for Actions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Actions")
            .field("entry", &self.entry.slug)
            .finish_non_exhaustive()
    }
}

impl Destination for Actions {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn check(&self) -> BoxFuture<'_, Vec<Check>> {
        Box::pin(async {
            let installation = self.installation.clone();
            let version = tokio::task::spawn_blocking(move || {
                let version = installation.node_version()?;
                installation.missing().map_or(Ok(version), Err)
            });
            let version = version
                .await
                .unwrap_or_else(|_| Err(Reason::defect("the look for Node ended early")));
            match version {
                Ok(version) => {
                    let found = format!(
                        "Node {version}, Segment's destinations {}",
                        super::PACKAGE_VERSION
                    );
                    vec![
                        Check::passed("actions host", found),
                        self.check_account().await,
                    ]
                }
                Err(reason) => vec![
                    Check::failed("actions host", reason),
                    Check::skipped("account", "the actions host must be there first"),
                ],
            }
        })
    }

    fn discover(&self) -> BoxFuture<'_, Result<Vec<ObjectSchema>, Fault>> {
        Box::pin(async { Ok(schemas(&self.entry)) })
    }

    fn write<'a>(&'a self, batch: &'a Batch) -> BoxFuture<'a, Result<Vec<Outcome>, Fault>> {
        Box::pin(async move {
            self.capabilities.admit(batch)?;
            self.deliver(batch).await
        })
    }

    fn render(&self, batch: &Batch) -> Vec<String> {
        let Ok(asked) = self.asked(batch) else {
            return Vec::new();
        };
        let mode = asked
            .sync_mode
            .map_or_else(String::new, |mode| format!(" ({mode})"));
        let head = format!("{} {}{mode}", self.entry.connector(), asked.action);
        batch
            .records
            .iter()
            .map(|record| {
                let mut line = format!("{head} ");
                payload::push_fields(&mut line, record, &asked);
                line
            })
            .collect()
    }
}
