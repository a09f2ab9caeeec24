//! Alerts for people: what is open, who is not told, how channels stand, and a test of them.
//!
//! The server does the watching and the telling (`serve`); a run from the command line tells nobody,
//! because whoever started it sees how it ended.

pub(crate) mod channels;
pub(crate) mod facts;

use rowcast_config::Channel;
use rowcast_core::alert::{Condition, Message, Watch};
use rowcast_core::settings::parse_duration;
use rowcast_core::{Code, Reason, Secret};
use rowcast_postgres::control::{Control, WatchRow};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::map::now_us;
use crate::serve::place;
use crate::view::instant;
use crate::{Answer, Project};

/// How alerts stand.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
pub struct AlertsView {
    /// Conditions that are open, by sync.
    pub alerts: Vec<AlertView>,
    pub muted: Vec<MuteView>,
    /// Every channel of the project, and those that messages were made for before.
    pub channels: Vec<ChannelView>,
}

/// An open condition.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct AlertView {
    pub sync: String,
    /// `failed`, `held`, `rejected`, `late`, `runtime`, `deviation`.
    pub condition: &'static str,
    pub since: String,
    /// Whether people were told; not while the sync is muted.
    pub told: bool,
    pub text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<i64>,
}

/// A sync about which nobody is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct MuteView {
    pub sync: String,
    /// RFC 3339; absent until it is unmuted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}

/// How a channel stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ChannelView {
    pub channel: String,
    /// `slack`, `webhook`, `pagerduty`, `email`; `gone` when it is no longer in the project.
    pub kind: &'static str,
    /// Messages that are not delivered yet.
    pub waiting: u64,
    pub delivered: u64,
    /// Messages that were tried for a day in vain.
    pub given_up: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivered_at: Option<String>,
    /// Why the newest message that is not delivered was not taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// How long to mute; until it is unmuted without either.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MuteRequest {
    /// A duration such as `2h`.
    #[serde(rename = "for")]
    pub lasts: Option<String>,
    /// An instant in RFC 3339.
    pub until: Option<String>,
}

/// A sync that was muted or unmuted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Muted {
    pub sync: String,
    pub muted: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}

/// A channel that was tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Tried {
    pub channel: String,
    pub delivered: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<rowcast_config::Problem>,
}

/// The control schema of a project, for commands beside the server.
///
/// # Errors
/// It can't be told where it is, or it can't be made.
pub async fn control(project: &Project, database: Option<&Secret<String>>) -> Answer<Control> {
    let control = place::control(project, database)?;
    control.prepare().await?;
    Ok(control)
}

/// How alerts stand.
///
/// # Errors
/// The control database fails.
pub async fn list(project: &Project, control: &Control) -> Answer<AlertsView> {
    let names = project.sync_names();
    let now = now_us();
    let mut view = AlertsView::default();
    let mut rows = control.watches(&names).await?;
    rows.sort_by(|a, b| a.sync.cmp(&b.sync));
    for row in rows {
        if let Some(until) = muted(&row, now) {
            view.muted.push(MuteView {
                sync: row.sync.clone(),
                until: (until != i64::MAX).then(|| instant(until)),
            });
        }
        for (condition, standing) in watch_of(&row).map(|w| w.conditions).unwrap_or_default() {
            if standing.open && condition != Condition::Full {
                view.alerts.push(AlertView {
                    sync: row.sync.clone(),
                    condition: condition.as_str(),
                    since: instant(standing.since_us),
                    told: standing.told,
                    text: standing.cause.text,
                    code: standing.cause.code,
                    run: standing.cause.run,
                });
            }
        }
    }
    view.channels = channel_views(project, control).await?;
    Ok(view)
}

/// How every channel stands.
///
/// # Errors
/// The control database fails.
pub async fn channel_views(project: &Project, control: &Control) -> Answer<Vec<ChannelView>> {
    let mut rows = control.channels(&project.config.name).await?;
    let mut views = Vec::new();
    let whole = |number: i64| number.unsigned_abs();
    for (name, channel) in &project.config.channels {
        let position = rows.iter().position(|row| row.channel == *name);
        let row = position.map(|position| rows.swap_remove(position));
        views.push(ChannelView {
            channel: name.clone(),
            kind: channels::kind(channel),
            waiting: row.as_ref().map_or(0, |row| whole(row.waiting)),
            delivered: row.as_ref().map_or(0, |row| whole(row.delivered)),
            given_up: row.as_ref().map_or(0, |row| whole(row.given_up)),
            delivered_at: row.as_ref().and_then(|row| row.delivered_us).map(instant),
            error: row.and_then(|row| row.error),
        });
    }
    views.extend(rows.into_iter().map(|row| ChannelView {
        channel: row.channel,
        kind: "gone",
        waiting: whole(row.waiting),
        delivered: whole(row.delivered),
        given_up: whole(row.given_up),
        delivered_at: row.delivered_us.map(instant),
        error: row.error,
    }));
    Ok(views)
}

/// Tells nobody about a sync for a while.
///
/// # Errors
/// The sync is unknown, the time can't be read, or the control database fails.
pub async fn mute(
    project: &Project,
    control: &Control,
    sync: &str,
    request: &MuteRequest,
) -> Answer<Muted> {
    project.sync(sync)?;
    let until = until(request, now_us())?;
    control.mute(sync, until).await?;
    Ok(Muted {
        sync: sync.to_owned(),
        muted: true,
        until: until.map(instant),
    })
}

/// Tells about a sync again: what is open and was not told, at once.
///
/// # Errors
/// The sync is unknown, or the control database fails.
pub async fn unmute(project: &Project, control: &Control, sync: &str) -> Answer<Muted> {
    project.sync(sync)?;
    control.unmute(sync).await?;
    Ok(Muted {
        sync: sync.to_owned(),
        muted: false,
        until: None,
    })
}

/// Sends a message to a channel, or to all, at once and once.
///
/// # Errors
/// There is no such channel, or none at all.
pub async fn test(project: &Project, channel: Option<&str>) -> Answer<Vec<Tried>> {
    let known = &project.config.channels;
    let chosen: Vec<(&String, &Channel)> = match channel {
        None => known.iter().collect(),
        Some(name) => vec![
            known
                .get_key_value(name)
                .ok_or_else(|| unknown(project, name))?,
        ],
    };
    if chosen.is_empty() {
        let reason = Reason::new(Code::UnknownReference, "the project has no alert channel")
            .hint("add one to rowcast.yml: alerts: { ops: { slack: \"${env:SLACK_URL}\" } }");
        return Err(reason.into());
    }
    let mut tried = Vec::new();
    for (name, channel) in chosen {
        let id = format!("alert_{}", uuid::Uuid::new_v4().simple());
        let message = Message::test(id, &project.config.name, name, instant(now_us()));
        let told = channels::build(project, channel).tell(&message).await;
        tried.push(Tried {
            channel: name.clone(),
            delivered: told.is_ok(),
            error: told.err().map(rowcast_config::Problem::general),
        });
    }
    Ok(tried)
}

fn unknown(project: &Project, name: &str) -> Reason {
    let names = project.config.channels.keys().map(String::as_str);
    let hint = match rowcast_config::suggest(name, names) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "channels are under `alerts:` of rowcast.yml".to_owned(),
    };
    Reason::new(
        Code::UnknownReference,
        format!("there is no alert channel {name:?}"),
    )
    .hint(hint)
}

fn until(request: &MuteRequest, now: i64) -> Result<Option<i64>, Reason> {
    let wrong = |text: &str, hint: &str| {
        Reason::new(Code::Usage, format!("can't mute until {text:?}")).hint(hint.to_owned())
    };
    match (&request.lasts, &request.until) {
        (None, None) => Ok(None),
        (Some(text), None) => {
            let lasts = parse_duration(text).filter(|lasts| !lasts.is_zero());
            let us = lasts.and_then(|lasts| i64::try_from(lasts.as_micros()).ok());
            us.and_then(|us| now.checked_add(us))
                .map(Some)
                .ok_or_else(|| wrong(text, "write how long with a unit: `2h`"))
        }
        (None, Some(text)) => {
            let hint = "write a time to come with its zone: `2030-01-31T08:00:00Z`";
            let at: jiff::Timestamp = text.parse().map_err(|_| wrong(text, hint))?;
            Some(at.as_microsecond())
                .filter(|at| *at > now)
                .map(Some)
                .ok_or_else(|| wrong(text, hint))
        }
        (Some(_), Some(text)) => Err(wrong(text, "say either for how long or until when")),
    }
}

/// Until when a sync is muted, if it is.
pub(crate) fn muted(row: &WatchRow, now: i64) -> Option<i64> {
    row.muted_until_us.filter(|until| *until > now)
}

/// A stored watch; `None` when there is none, or it can't be read.
pub(crate) fn watch_of(row: &WatchRow) -> Option<Watch> {
    serde_json::from_str(row.state.as_ref()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mute_ends_when_it_says() {
        let request = |lasts: Option<&str>, until: Option<&str>| MuteRequest {
            lasts: lasts.map(str::to_owned),
            until: until.map(str::to_owned),
        };
        let now = 1_000_000;
        assert_eq!(until(&request(None, None), now), Ok(None));
        let minute = until(&request(Some("1m"), None), now);
        assert_eq!(minute, Ok(Some(61_000_000)));
        let at = until(&request(None, Some("1970-01-01T00:00:02Z")), now);
        assert_eq!(at, Ok(Some(2_000_000)));
        for (lasts, at) in [
            (Some("soon"), None),
            (Some("0s"), None),
            (None, Some("1970-01-01T00:00:01Z")),
            (None, Some("tomorrow")),
            (Some("1h"), Some("2100-01-01T00:00:00Z")),
        ] {
            assert!(until(&request(lasts, at), now).is_err(), "{lasts:?} {at:?}");
        }
    }
}
