//! RudderStack's four calls for orchestrators, with its codes and shapes.

use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse as _;
use rowcast_app::serve::{RetlFilter, RetlSync, retl_status};
use rowcast_core::{Code, Reason};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::App;
use crate::answer::{Answered, Refusal, ok};
use crate::input::{Asked, Given, Of};

/// Runs of a page that says no number, and the most.
const PER_PAGE: u32 = 20;
const PER_PAGE_MAX: u32 = 100;

/// Members that Rowcast does not know are passed over, as an API that is copied would.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct Start {
    /// `incremental`, or `full` to send every row again
    #[serde(rename = "syncType")]
    sync_type: Option<String>,
}

/// A run that was started.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RetlStarted {
    sync_id: String,
}

/// A page of runs.
#[derive(Serialize, JsonSchema)]
pub(crate) struct RetlPage {
    syncs: Vec<RetlSync>,
    paging: Paging,
}

/// Where the list goes on.
#[derive(Serialize, JsonSchema)]
struct Paging {
    /// Runs on all pages
    total: u64,
    /// Absent on the last page
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

fn bad(message: impl Into<String>, hint: &str) -> Refusal {
    let reason = Reason::new(Code::RequestInvalid, message).hint(hint);
    Refusal::new(StatusCode::BAD_REQUEST, reason)
}

pub(crate) async fn start(
    State(app): State<App>,
    Of(id): Of<String>,
    Given(start): Given<Start>,
) -> Answered {
    let full = match start.sync_type.as_deref() {
        None | Some("incremental") => false,
        Some("full") => true,
        Some(other) => {
            return Err(bad(
                format!("there is no syncType {other:?}"),
                "write incremental or full",
            ));
        }
    };
    let sync_id = app.service.retl_start(&id, full).await?;
    ok(&RetlStarted { sync_id })
}

pub(crate) async fn stop(State(app): State<App>, Of(id): Of<String>) -> Answered {
    app.service.cancel(&id).await?;
    Ok::<Response<Body>, Refusal>(StatusCode::NO_CONTENT.into_response())
}

#[derive(Deserialize, JsonSchema)]
pub(crate) struct Filter {
    /// `running`, `succeeded` or `failed`
    status: Option<String>,
    /// only those that began after this instant
    started_after: Option<String>,
    /// only those that began before this instant
    started_before: Option<String>,
    /// from 1
    page: Option<u32>,
    /// 20 by default and 100 at most
    per_page: Option<u32>,
}

pub(crate) async fn syncs(
    State(app): State<App>,
    Of(id): Of<String>,
    Asked(asked): Asked<Filter>,
) -> Answered {
    let page = asked.page.unwrap_or(1);
    let per_page = asked.per_page.unwrap_or(PER_PAGE);
    if page == 0 || !(1..=PER_PAGE_MAX).contains(&per_page) {
        return Err(bad(
            "there is no such page",
            "pages begin with 1 and have 1 to 100 entries",
        ));
    }
    let instant = |text: &Option<String>| match text {
        None => Ok(None),
        Some(text) => rowcast_app::instant_us(text).map(Some).ok_or_else(|| {
            bad(
                format!("{text:?} is no instant"),
                "write it as 2030-01-31T08:00:00Z",
            )
        }),
    };
    let status = match &asked.status {
        None => None,
        Some(word) => Some(
            retl_status(word).map_err(|reason| Refusal::new(StatusCode::BAD_REQUEST, reason))?,
        ),
    };
    let filter = RetlFilter {
        status,
        started_after_us: instant(&asked.started_after)?,
        started_before_us: instant(&asked.started_before)?,
        page,
        per_page,
    };
    let (syncs, total) = app.service.retl_syncs(&id, &filter).await?;
    let more = u64::from(page) * u64::from(per_page) < total;
    let next = more.then(|| next(&id, &asked, page + 1, per_page));
    let paging = Paging { total, next };
    ok(&RetlPage { syncs, paging })
}

/// The next page, with what this one was asked for.
fn next(id: &str, asked: &Filter, page: u32, per_page: u32) -> String {
    let mut next = format!("/v2/retl-connections/{id}/syncs?page={page}&per_page={per_page}");
    for (name, value) in [
        ("status", &asked.status),
        ("started_after", &asked.started_after),
        ("started_before", &asked.started_before),
    ] {
        if let Some(value) = value {
            // Instants and words: only a plus would be read as something else.
            next.push_str(&format!("&{name}={}", value.replace('+', "%2B")));
        }
    }
    next
}

pub(crate) async fn sync(State(app): State<App>, Of((id, sync)): Of<(String, String)>) -> Answered {
    match app.service.retl_sync(&id, &sync).await? {
        Some(found) => ok(&found),
        None => Err(Refusal::new(
            StatusCode::NOT_FOUND,
            Reason::new(Code::UnknownReference, format!("{id} has no sync {sync:?}"))
                .hint("they are forgotten a week after their end"),
        )),
    }
}
