//! What requests bring: parts of paths, queries and bodies, strict, with the same words as everything
//! else.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use rowcast_core::{Code, Reason};
use serde::de::DeserializeOwned;

use crate::answer::Refusal;

/// Parts of the path.
#[derive(Debug)]
pub(crate) struct Of<T>(pub(crate) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Of<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(found)) => Ok(Self(found)),
            Err(rejection) => Err(refused("the path", &rejection.body_text(), "paths")),
        }
    }
}

/// The query.
#[derive(Debug)]
pub(crate) struct Asked<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        match Query::from_request_parts(parts, state).await {
            Ok(Query(found)) => Ok(Self(found)),
            Err(rejection) => Err(refused("the query", &rejection.body_text(), "parameters")),
        }
    }
}

/// The JSON body; one that is empty is an empty object.
#[derive(Debug)]
pub(crate) struct Given<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Given<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let bytes = bytes(request, state).await?;
        object(&bytes).map(Self)
    }
}

/// The bytes of a body, within the limit.
pub(crate) async fn bytes<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Refusal> {
    Bytes::from_request(request, state).await.map_err(|error| {
        let status = error.status();
        let reason = match &error {
            BytesRejection::FailedToBufferBody(_) if status == StatusCode::PAYLOAD_TOO_LARGE => {
                Reason::new(Code::RequestInvalid, "the body is too large")
                    .detail(format!(
                        "{} bytes are read at most",
                        crate::router::BODY_MAX
                    ))
                    .hint("send it in several requests")
            }
            _ => Reason::new(Code::RequestInvalid, "the body could not be read")
                .detail(error.body_text())
                .hint("send the request again"),
        };
        Refusal::new(status, reason)
    })
}

/// A JSON object, and nothing else: a list is not taken for the members in order.
fn object<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refusal> {
    let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
    let bytes: &[u8] = match first {
        None => b"{}",
        Some(b'{') => bytes,
        Some(_) => return Err(refused("the body", "it is no JSON object", "bodies")),
    };
    serde_json::from_slice(bytes).map_err(|error| refused("the body", &error.to_string(), "bodies"))
}

fn refused(what: &str, detail: &str, described: &str) -> Refusal {
    let reason = Reason::new(Code::RequestInvalid, format!("{what} can't be understood"))
        .detail(detail)
        .hint(format!(
            "`GET /api/v1/openapi.json` describes the {described}"
        ));
    Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, reason)
}
