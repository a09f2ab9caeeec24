//! What requests bring: bodies and queries, strict, with the same words as everything else.

use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use axum::http::StatusCode;
use rowcast_core::{Code, Reason};
use serde::de::DeserializeOwned;

use crate::answer::Refusal;

/// The JSON body of a request.
pub(crate) fn body<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refusal> {
    let bytes: &[u8] = if bytes.is_empty() { b"{}" } else { bytes };
    serde_json::from_slice(bytes).map_err(|error| {
        let reason = Reason::new(Code::RequestInvalid, "the body can't be understood")
            .detail(error.to_string())
            .hint("`GET /api/v1/openapi.json` describes the bodies");
        Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, reason)
    })
}

/// The query of a request.
pub(crate) fn query<T>(query: Result<Query<T>, QueryRejection>) -> Result<T, Refusal> {
    match query {
        Ok(Query(query)) => Ok(query),
        Err(rejection) => Err(Refusal::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            Reason::new(Code::RequestInvalid, "the query can't be understood")
                .detail(rejection.body_text())
                .hint("`GET /api/v1/openapi.json` describes the parameters"),
        )),
    }
}
