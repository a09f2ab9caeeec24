//! Requests from outside that start runs. They bring a signature in place of a token.

use axum::extract::{Request, State};
use axum::http::StatusCode;
use rowcast_app::Failure;
use rowcast_app::serve::HookRequest;
use rowcast_core::{Code, Reason};

use crate::App;
use crate::answer::{Answered, Refusal, json};
use crate::input::{Of, bytes};

pub(crate) async fn hook(
    State(app): State<App>,
    Of(name): Of<String>,
    request: Request,
) -> Answered {
    let headers = request.headers().clone();
    let body = bytes(request, &()).await?;
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let request = HookRequest {
        authorization: header("authorization"),
        id: header("webhook-id"),
        timestamp: header("webhook-timestamp"),
        signatures: header("webhook-signature"),
        body: &body,
    };
    match app.service.hook(&name, &request).await {
        Ok(Some(answer)) => Ok(json(StatusCode::OK, &answer)),
        Ok(None) => Err(Refusal::new(
            StatusCode::NOT_FOUND,
            Reason::new(Code::UnknownReference, format!("there is no hook {name:?}"))
                .hint("hooks are under `hooks:` of rowcast.yml"),
        )),
        Err(failure) => Err(refused(failure)),
    }
}

/// A signature that is not accepted is a credential that is not accepted.
fn refused(failure: Failure) -> Refusal {
    let first = failure.problems.first().map(|problem| &problem.reason);
    match first {
        Some(reason) if reason.code == Code::SignatureInvalid => {
            Refusal::new(StatusCode::UNAUTHORIZED, reason.clone())
        }
        _ => failure.into(),
    }
}
