//! `adopt`: another tool's state becomes a sync's own.
//!
//! It never sends, and never writes before it was confirmed.

use rowcast_core::guard::REMOVED_ROWS_FREE;
use rowcast_core::{Code, Reason};
use rowcast_postgres::ledger::{AdoptRequest, Adopted, Belief};
use schemars::JsonSchema;
use serde::Serialize;

use crate::{Answer, Project, wire};

pub use rowcast_postgres::ledger::OldTool;

/// What to adopt.
#[derive(Debug, Clone)]
pub struct Request {
    pub tool: OldTool,
    /// Present rows count as delivered as they are.
    pub trust: bool,
    /// Present rows count as there, and are all sent again.
    pub resend: bool,
    /// The old tool's id of the mapping or connection.
    pub id: Option<String>,
    /// The old tool's id of its newest run.
    pub run: Option<String>,
    pub schema: Option<String>,
    /// Without it, only what would be done is told.
    pub confirmed: bool,
}

/// What was adopted, or would be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Adoption {
    pub sync: String,
    /// `segment` or `rudder`.
    pub from: &'static str,
    /// `compare`, `trust` or `resend`.
    pub belief: &'static str,
    #[serde(flatten)]
    pub adopted: Adopted,
    /// What the next run does with rows that are gone, in the sync's mode.
    pub gone_are: &'static str,
    /// False when it was only told.
    pub done: bool,
}

/// Takes over what another tool had delivered to a sync's destination (semantics 31).
///
/// # Errors
/// The old state is missing or unfit, the sync has state of its own, the model can't be read.
pub async fn adopt(project: &Project, sync: &str, request: &Request) -> Answer<Adoption> {
    let (belief, word) = match (request.trust, request.resend, request.tool) {
        (true, true, _) => {
            return Err(
                Reason::new(Code::Usage, "rows can't be both trusted and sent again")
                    .hint("give one of --trust and --resend")
                    .into(),
            );
        }
        (true, false, _) => (Belief::Trust, "trust"),
        (false, true, _) | (false, false, OldTool::Segment) => (Belief::Resend, "resend"),
        (false, false, OldTool::Rudder) => (Belief::Compare, "compare"),
    };
    let parts = wire::parts(project, sync, &[], None).await?;
    let asked = AdoptRequest {
        tool: request.tool,
        belief,
        id: request.id.clone(),
        run: request.run.clone(),
        schema: request.schema.clone(),
        dry_run: !request.confirmed,
    };
    let mut adopted = Box::pin(parts.ledger.adopt(&asked)).await?;
    let plan = &parts.plan;
    let rows = adopted.present + adopted.gone;
    let allowed = rows as f64 * plan.guards.removed_percent / 100.0;
    if adopted.gone > REMOVED_ROWS_FREE && adopted.gone as f64 > allowed {
        adopted.notes.push(format!(
            "the guard `removed` will hold the next run, because {} of {rows} rows are gone: look whether \
             model and old state belong together, then run with `--override removed`",
            adopted.gone
        ));
    }
    let deletes = plan.mode.deletes() && plan.on.includes(rowcast_core::Kind::Removed);
    Ok(Adoption {
        sync: sync.to_owned(),
        from: match request.tool {
            OldTool::Segment => "segment",
            OldTool::Rudder => "rudder",
        },
        belief: word,
        adopted,
        gone_are: if deletes { "deleted" } else { "left there" },
        done: request.confirmed,
    })
}
