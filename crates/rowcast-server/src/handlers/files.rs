//! Objects of the project as files: read, made, replaced, deleted. The same functions for each kind.

use axum::Extension;
use axum::extract::{FromRequest, Request, State};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse as _;
use rowcast_app::objects::{
    DestinationDetails, ModelDetails, ObjectKind, SourceDetails, SyncDetails,
};
use rowcast_app::serve::{Caller, Expected, FileRequest, FileView};
use rowcast_core::{Code, Reason};

use crate::App;
use crate::answer::{Answered, Refusal, json as answer};
use crate::input::{Given, Of, bytes};

/// The kind of object that a type says more about.
pub(crate) trait OfKind {
    const KIND: ObjectKind;
}

impl OfKind for SourceDetails {
    const KIND: ObjectKind = ObjectKind::Source;
}

impl OfKind for ModelDetails {
    const KIND: ObjectKind = ObjectKind::Model;
}

impl OfKind for DestinationDetails {
    const KIND: ObjectKind = ObjectKind::Destination;
}

impl OfKind for SyncDetails {
    const KIND: ObjectKind = ObjectKind::Sync;
}

/// A file to write: JSON, or the text itself as `text/yaml`.
#[derive(Debug)]
pub(crate) struct File(FileRequest);

impl<S: Send + Sync> FromRequest<S> for File {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let form = request.headers().get(header::CONTENT_TYPE);
        let form = form.and_then(|form| form.to_str().ok()).unwrap_or_default();
        let form = form.split(';').next().unwrap_or_default().trim();
        if !matches!(
            form,
            "text/yaml" | "application/yaml" | "application/x-yaml"
        ) {
            return Ok(Self(Given::from_request(request, state).await?.0));
        }
        let bytes = bytes(request, state).await?;
        let text = String::from_utf8(bytes.to_vec()).map_err(|error| {
            let reason = Reason::new(Code::RequestInvalid, "the file is not UTF-8 text")
                .detail(error.to_string())
                .hint("save it as UTF-8");
            Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, reason)
        })?;
        Ok(Self(FileRequest {
            yaml: Some(text),
            ..FileRequest::default()
        }))
    }
}

/// Which version the caller wants to change. Without it, two who write at once would not notice.
fn expected(headers: &HeaderMap) -> Result<Expected, Refusal> {
    let words: Vec<&str> = headers
        .get_all(header::IF_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|word| !word.is_empty())
        .collect();
    if words.is_empty() {
        let reason = Reason::new(
            Code::RequestInvalid,
            "the request does not say which version it changes",
        )
        .hint("send the `ETag` of the object in `If-Match`; `If-Match: *` for any version");
        return Err(Refusal::new(StatusCode::PRECONDITION_REQUIRED, reason));
    }
    if words.contains(&"*") {
        return Ok(Expected::Any);
    }
    let versions = words.iter().filter_map(|word| {
        let version = word.strip_prefix('"')?.strip_suffix('"')?;
        Some(version.to_owned())
    });
    Ok(Expected::Versions(versions.collect()))
}

/// An answer with the version of a file.
pub(crate) fn with_version(
    mut response: Response<axum::body::Body>,
    version: &str,
) -> Response<axum::body::Body> {
    if let Ok(value) = HeaderValue::from_str(&format!("\"{version}\"")) {
        response.headers_mut().insert(header::ETAG, value);
    }
    response
}

fn shown(status: StatusCode, file: &FileView) -> Response<axum::body::Body> {
    with_version(answer(status, file), &file.version)
}

pub(crate) async fn file<K: OfKind>(State(app): State<App>, Of(name): Of<String>) -> Answered {
    Ok(shown(StatusCode::OK, &app.service.file(K::KIND, &name)?))
}

pub(crate) async fn create<K: OfKind>(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    File(request): File,
) -> Answered {
    let made = app.service.create(K::KIND, request, &caller.name).await?;
    Ok(shown(StatusCode::CREATED, &made))
}

pub(crate) async fn replace<K: OfKind>(
    State(app): State<App>,
    Of(name): Of<String>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    File(request): File,
) -> Answered {
    let expected = expected(&headers)?;
    let service = &app.service;
    let file = service.replace(K::KIND, &name, expected, request, &caller.name);
    Ok(shown(StatusCode::OK, &file.await?))
}

pub(crate) async fn delete<K: OfKind>(
    State(app): State<App>,
    Of(name): Of<String>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
) -> Answered {
    let expected = expected(&headers)?;
    app.service
        .delete(K::KIND, &name, expected, &caller.name)
        .await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
