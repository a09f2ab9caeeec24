//! A notice as it goes to a channel: everything that is told, and nothing else.

use serde::{Deserialize, Serialize};

use super::{Condition, Counts, Notice, NoticeKind};

/// What a channel is given. Stored between attempts, so names are only ever added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// The same in every attempt, and at every receiver.
    pub id: String,
    pub kind: NoticeKind,
    pub project: String,
    pub sync: String,
    /// `None` in a test of a channel.
    pub condition: Option<Condition>,
    /// RFC 3339 in UTC: since when the condition is open.
    pub since: String,
    /// When the notice was made.
    pub at: String,
    /// One sentence.
    pub text: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts: Option<Counts>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Commands that look closer.
    #[serde(default)]
    pub commands: Vec<String>,
}

impl Message {
    /// The message of a notice; `since` and `at` in RFC 3339.
    pub fn of(notice: &Notice, project: &str, sync: &str, since: String, at: String) -> Self {
        let mut commands = vec![format!("rowcast runs {sync}")];
        match (notice.kind, notice.condition) {
            (NoticeKind::Recovered, _) => {}
            (_, Condition::Rejected) => {
                commands.push(format!("rowcast rejects {sync}"));
                commands.push(format!("rowcast why {sync} KEY"));
            }
            (_, Condition::Held | Condition::Deviation | Condition::Full) => {
                commands.push(format!("rowcast plan {sync}"));
            }
            (_, Condition::Late | Condition::Runtime) => {
                commands.push(format!("rowcast status {sync}"));
            }
            (_, Condition::Failed) => {
                if let Some(code) = &notice.cause.code {
                    commands.push(format!("rowcast explain {code}"));
                }
            }
        }
        Self {
            id: notice.id.clone(),
            kind: notice.kind,
            project: project.to_owned(),
            sync: sync.to_owned(),
            condition: Some(notice.condition),
            since,
            at,
            text: notice.cause.text.clone(),
            code: notice.cause.code.clone(),
            run: notice.cause.run,
            counts: notice.cause.counts,
            owner: None,
            commands,
        }
    }

    /// The message that tries a channel.
    pub fn test(id: String, project: &str, channel: &str, at: String) -> Self {
        Self {
            id,
            kind: NoticeKind::Test,
            project: project.to_owned(),
            sync: "none".to_owned(),
            condition: None,
            since: at.clone(),
            at,
            text: format!("this is a test of the channel {channel}; nothing happened"),
            code: None,
            run: None,
            counts: None,
            owner: None,
            commands: vec!["rowcast alerts list".to_owned()],
        }
    }

    /// A few words: the subject of a mail, the first line of a chat message.
    pub fn title(&self) -> String {
        let Some(condition) = self.condition else {
            return format!("{}: test of an alert channel", self.project);
        };
        let what = match (self.kind, condition) {
            (NoticeKind::Recovered, Condition::Failed) => "succeeds again",
            (NoticeKind::Recovered, Condition::Held) => "is no longer held",
            (NoticeKind::Recovered, Condition::Rejected) => "has few rejected records again",
            (NoticeKind::Recovered, Condition::Late) => "is no longer late",
            (NoticeKind::Recovered, Condition::Runtime) => "runs in time again",
            (NoticeKind::Recovered, Condition::Deviation) => "has the usual number of rows again",
            (NoticeKind::Recovered, Condition::Full) => "no longer sends every row",
            (_, Condition::Failed) => "failed",
            (_, Condition::Held) => "was held by a guard",
            (_, Condition::Rejected) => "has many rejected records",
            (_, Condition::Late) => "is late",
            (_, Condition::Runtime) => "takes too long",
            (_, Condition::Deviation) => "has an unusual number of rows",
            (_, Condition::Full) => "sent every row",
        };
        let still = if self.kind == NoticeKind::Reminder {
            "still: "
        } else {
            ""
        };
        format!("{}: {still}sync {} {what}", self.project, self.sync)
    }

    /// What one condition of one sync is known by at a receiver, over raising and recovery.
    pub fn subject(&self) -> String {
        let condition = self.condition.map_or("test", Condition::as_str);
        format!("rowcast/{}/{}/{condition}", self.project, self.sync)
    }

    /// Counts as a line of text.
    pub fn counts_line(&self) -> Option<String> {
        let c = self.counts?;
        Some(format!(
            "read {}, added {}, updated {}, removed {}, delivered {}, rejected {}, invalid {}",
            c.read, c.added, c.updated, c.removed, c.delivered, c.rejected, c.invalid
        ))
    }
}
