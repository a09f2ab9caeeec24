//! Cursor runs (semantics 18): read only what lies behind the watermark, less the overlap.
//!
//! A cursor narrows the read; the checksum still decides what changed. Removed rows and late
//! commits are found by the full diff that runs at least daily.

use rowcast_core::ledger::DiffRequest;
use rowcast_core::{Code, Reason};

use super::config::LedgerConfig;
use super::extract::StateFacts;
use super::model::Model;
use crate::sql::{ident, literal};

/// What a run reads.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// SQL over `m`; `None` reads everything.
    pub condition: Option<String>,
    /// The cursor's value, SQL over `m`: the highest one that is read moves the watermark.
    pub value: Option<String>,
    pub note: Option<String>,
}

/// Decides between a cursor run and a full diff.
///
/// # Errors
/// The cursor column does not exist or has no order.
pub(super) fn window(
    config: &LedgerConfig,
    facts: &StateFacts,
    model: &Model,
    request: &DiffRequest,
) -> Result<Window, Reason> {
    let Some(cursor) = &config.model.cursor else {
        return Ok(Window::default());
    };
    if !request.keys.is_empty() || model.matching.is_some() {
        return Ok(Window::default());
    }
    let column = model.cursor.as_ref().ok_or_else(|| {
        Reason::new(
            Code::UnknownColumn,
            format!(
                "model {:?} has no cursor column {}",
                config.model.name,
                ident(&cursor.column)
            ),
        )
    })?;
    if !column.ordered {
        return Err(Reason::new(
            Code::UnknownColumn,
            format!(
                "column {} of type {} can't be a cursor",
                ident(&cursor.column),
                column.type_name
            ),
        )
        .hint("a cursor is a timestamp, a date or a number that only grows"));
    }
    let name = format!("m.{}", ident(&cursor.column));
    let is_time = matches!(column.base.as_str(), "timestamp" | "timestamptz" | "date");
    let value = if is_time {
        // A moment that has not come yet (a wrong clock, `infinity`) must not carry the watermark
        // past the rows that change until then.
        let now = format!("now()::{}", column.type_name);
        format!("CASE WHEN {name} > {now} THEN {now} ELSE {name} END")
    } else {
        name.clone()
    };
    let full = Window {
        value: Some(value),
        ..Window::default()
    };
    // Another text, another `where:`, another cursor: rows far behind the watermark may be new.
    if facts.model_digest.as_deref() != Some(&model.digest) {
        return Ok(full);
    }
    let Some(watermark) = &facts.watermark else {
        return Ok(full);
    };
    let due = facts
        .full_age
        .is_none_or(|age| age >= cursor.full_every.as_secs() as i64);
    if due {
        return Ok(Window {
            note: facts
                .full_age
                .map(|_| "full diff: the last one is older than the cursor's `full`".into()),
            ..full
        });
    }
    let overlap = if is_time {
        format!(" - interval '{} milliseconds'", cursor.overlap.as_millis())
    } else {
        String::new()
    };
    Ok(Window {
        condition: Some(format!(
            "{name} >= {}::{}{overlap} OR {name} IS NULL",
            literal(watermark),
            column.type_name
        )),
        ..full
    })
}

/// The later of two cursor values in text form: numbers by size, timestamps in ISO form by text.
pub(super) fn later(a: Option<String>, b: Option<String>) -> Option<String> {
    match (a, b) {
        (Some(a), Some(b)) => {
            let greater = match (a.parse::<i128>(), b.parse::<i128>()) {
                (Ok(x), Ok(y)) => y > x,
                _ => b > a,
            };
            Some(if greater { b } else { a })
        }
        (a, b) => a.or(b),
    }
}
