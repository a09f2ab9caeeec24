//! `why`: the story of one row, always answered from state, rejects, doubts and the row log.

use schemars::JsonSchema;
use serde::Serialize;

use crate::{Answer, Project, state};

/// What is known of one row.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Story {
    pub sync: String,
    pub key: String,
    /// One sentence.
    pub verdict: String,
    pub facts: Vec<String>,
    pub log: Vec<StoryEntry>,
}

/// One event of a row, newest first.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct StoryEntry {
    pub run: i64,
    pub at: String,
    pub change: String,
    pub operation: String,
    pub outcome: String,
    pub answer: String,
}

/// Tells the story of a row.
///
/// # Errors
/// The sync has never run, or the key can't be read.
pub async fn why(project: &Project, sync: &str, key: &[String]) -> Answer<Story> {
    let known = state::admin_of(project, sync)?.why(sync, key).await?;
    let mut facts = Vec::new();
    if let Some(reject) = &known.reject {
        facts.push(format!(
            "rejected since run {}, {} attempts, lately in run {}: {} ({})",
            reject.first_run, reject.attempts, reject.last_run, reject.message, reject.code
        ));
    }
    if let Some(run) = known.doubt_since_run {
        facts.push(format!(
            "the answer to what was sent in run {run} was lost; the next run sends the newest value"
        ));
    }
    if known.frozen {
        facts.push(
            "the model returns this key more than once, so it is neither sent nor removed"
                .to_owned(),
        );
    }
    let verdict = match (&known.mark, known.acknowledged_run) {
        _ if known.frozen => format!("Row {} is frozen: its key is not unique.", known.key),
        _ if known.reject.is_some() => {
            format!("Row {} was rejected by the destination.", known.key)
        }
        _ if known.doubt_since_run.is_some() => {
            format!(
                "It is not known whether the destination has row {}.",
                known.key
            )
        }
        (Some(mark), Some(run)) if mark == "skipped" => {
            let said = known
                .log
                .iter()
                .find(|entry| entry.run == i64::from(run) && entry.outcome == "skipped")
                .and_then(|entry| entry.message.clone());
            let because = said.unwrap_or_else(|| "the mode or `on` does not send it".to_owned());
            format!("Row {} was skipped in run {run}: {because}.", known.key)
        }
        (Some(mark), Some(run)) if mark == "gone" => format!(
            "Row {} left the model by run {run} and stays at the destination.",
            known.key
        ),
        (_, Some(run)) => format!("Row {} was last delivered in run {run}.", known.key),
        (_, None) if known.log.is_empty() => format!(
            "Row {} was never delivered: no run has seen it, or the run that did was not to send it.",
            known.key
        ),
        (_, None) => format!(
            "Row {} is not at the destination any more, as far as is known.",
            known.key
        ),
    };
    Ok(Story {
        sync: sync.to_owned(),
        key: known.key,
        verdict,
        facts,
        log: known
            .log
            .into_iter()
            .map(|entry| StoryEntry {
                run: entry.run,
                at: entry.at,
                change: entry.change,
                operation: entry.operation.unwrap_or_default(),
                outcome: entry.outcome,
                answer: match (entry.message, entry.code) {
                    (Some(message), Some(code)) => format!("{message} ({code})"),
                    (Some(message), None) => message,
                    (None, code) => code.unwrap_or_default(),
                },
            })
            .collect(),
    })
}
