//! How answers look: JSON, and problems as RFC 9457 with Rowcast's code and hint.

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse;
use rowcast_app::{Failure, Problem};
use rowcast_core::code::ExitClass;
use rowcast_core::{Code, Reason};
use schemars::JsonSchema;
use serde::Serialize;

/// What a handler gives.
pub(crate) type Answered = Result<Response<Body>, Refusal>;

/// Why a request was not answered as it wished.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    problems: Vec<Problem>,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, reason: Reason) -> Self {
        Self {
            status,
            problems: vec![Problem::general(reason)],
        }
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        let first = failure.problems.first();
        // What a file refers to is another matter than what a path names.
        let in_file = first.is_some_and(|problem| problem.file.is_some());
        let status = match first.map(|problem| problem.reason.code) {
            Some(Code::UnknownReference) if !in_file => StatusCode::NOT_FOUND,
            Some(
                Code::SyncRunning | Code::ObjectInUse | Code::ObjectExists | Code::CommitFailed,
            ) => StatusCode::CONFLICT,
            Some(Code::FileChanged) => StatusCode::PRECONDITION_FAILED,
            _ => match failure.exit() {
                ExitClass::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
                ExitClass::Connect => StatusCode::BAD_GATEWAY,
                ExitClass::Held => StatusCode::CONFLICT,
                // What a destination says or lacks is no fault of the server.
                ExitClass::Failed if first.is_some_and(of_destination) => StatusCode::BAD_GATEWAY,
                ExitClass::Failed => StatusCode::INTERNAL_SERVER_ERROR,
            },
        };
        Self {
            status,
            problems: failure.problems,
        }
    }
}

/// Whether a problem is of the family of destinations.
fn of_destination(problem: &Problem) -> bool {
    problem.reason.code.as_str().starts_with("E06")
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Failure::from(reason).into()
    }
}

/// A problem, as RFC 9457 says.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Problem")]
pub(crate) struct Document<'a> {
    /// `urn:rowcast:error:CODE`.
    #[serde(rename = "type")]
    kind: String,
    /// What the code means.
    title: &'a str,
    status: u16,
    /// `rowcast explain CODE` says more.
    code: &'a str,
    /// What was attempted, on which object.
    detail: String,
    /// The way out.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'a str>,
    /// Every problem, with its place in a file if it has one.
    errors: &'a [Problem],
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response<Body> {
        let defect = Reason::defect("a request was refused without a reason");
        let first = self
            .problems
            .first()
            .map_or(&defect, |problem| &problem.reason);
        let document = Document {
            kind: format!("urn:rowcast:error:{}", first.code),
            title: first.code.title(),
            status: self.status.as_u16(),
            code: first.code.as_str(),
            detail: match &first.detail {
                Some(detail) => format!("{}: {detail}", first.message),
                None => first.message.clone(),
            },
            hint: first.hint.as_deref(),
            errors: &self.problems,
        };
        let mut response = json(self.status, &document);
        let kind = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        if self.status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer");
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, scheme);
        }
        response
    }
}

/// An answer with a status.
pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Response<Body> {
    (status, axum::Json(value)).into_response()
}

/// An answer.
#[expect(
    clippy::unnecessary_wraps,
    reason = "handlers give it as their own answer"
)]
pub(crate) fn ok(value: &impl Serialize) -> Answered {
    Ok(json(StatusCode::OK, value))
}
