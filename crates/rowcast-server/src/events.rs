//! A run as it goes on, as server-sent events.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::response::IntoResponse as _;
use axum::response::sse::{Event, KeepAlive, Sse};
use rowcast_app::serve::LiveRun;
use tokio::sync::watch;

use crate::App;
use crate::answer::Answered;
use crate::handlers::jobs::no_job;
use crate::input::Of;

/// How often a run that another server carries out, or that waits, is asked about.
const LOOK: Duration = Duration::from_secs(1);
/// Not more often than a person can see.
const PAUSE: Duration = Duration::from_millis(100);

enum Next {
    /// Not going on here (yet).
    Look,
    Follow(watch::Receiver<LiveRun>),
    Ended,
}

pub(crate) async fn events(State(app): State<App>, Of(job): Of<i64>) -> Answered {
    if app.service.job(job).await?.is_none() {
        return Err(no_job(job));
    }
    let stream = futures::stream::unfold(Next::Look, move |next| {
        let app = app.clone();
        async move { step(&app, job, next).await }
    });
    Ok(Sse::new(stream)
        .keep_alive(KeepAlive::default())
        .into_response())
}

type Told = Result<Event, Infallible>;

/// The next event, and what follows it.
async fn step(app: &App, job: i64, mut next: Next) -> Option<(Told, Next)> {
    loop {
        if app.stop.is_cancelled() {
            return None;
        }
        match next {
            Next::Ended => return None,
            Next::Follow(mut run) => {
                tokio::select! {
                    changed = run.changed() => match changed {
                        Err(_) => next = Next::Look,
                        Ok(()) => {
                            let now = run.borrow_and_update().clone();
                            // What comes at once is told at once, what follows not faster than can be seen.
                            tokio::time::sleep(PAUSE).await;
                            return Some((told("progress", &now), Next::Follow(run)));
                        }
                    },
                    () = app.stop.cancelled() => return None,
                }
            }
            Next::Look => {
                if let Some(mut run) = app.service.live().follow(job) {
                    let now = run.borrow_and_update().clone();
                    return Some((told("progress", &now), Next::Follow(run)));
                }
                match app.service.job(job).await {
                    Ok(Some(found)) if found.status == "done" => {
                        return Some((told("ended", &found), Next::Ended));
                    }
                    Ok(Some(_)) | Err(_) => {}
                    Ok(None) => return None,
                }
                tokio::select! {
                    () = tokio::time::sleep(LOOK) => {}
                    () = app.stop.cancelled() => return None,
                }
                next = Next::Look;
            }
        }
    }
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "what a stream of events consists of"
)]
fn told(name: &str, value: &impl serde::Serialize) -> Told {
    let event = Event::default().event(name);
    // Views are plain data; what can't be written is left out rather than ending the stream.
    Ok(event.json_data(value).unwrap_or_default())
}
