//! The three acts, told in words and one table, each checked against the CRM's own request log.

use std::path::Path;
use std::time::Instant;

use rowcast_app::run::RunRequest;
use rowcast_app::view::RunView;
use rowcast_app::{Answer, Project};
use rowcast_core::{Reason, RunStatus};
use serde::Serialize;

use super::crm::{Crm, Log};
use super::server::{Server, random_password};
use super::{install, project, shop};
use crate::command::Context;
use crate::command::run::Watcher;
use crate::output::number::{duration, grouped};
use crate::output::table::{Align, table};
use crate::output::{Mark, Output, Role};

/// What happened in one act.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Act {
    pub(crate) what: &'static str,
    pub(crate) rows_read: u64,
    pub(crate) changes: u64,
    pub(crate) requests: u64,
    pub(crate) written: u64,
    pub(crate) deleted: u64,
    pub(crate) refused: u64,
    pub(crate) duration_ms: u64,
}

/// The stage: what keeps running until the demo ends.
pub(crate) struct Stage {
    pub(crate) acts: Vec<Act>,
    pub(crate) server: Server,
    pub(crate) crm: Crm,
}

/// What an act should have sent: written, deleted, refused.
type Expected = (u64, u64, u64);

/// Plays everything.
pub(crate) async fn play(dir: &Path, context: &Context) -> Answer<Stage> {
    let output = context.output;
    let began = Instant::now();
    let bin = install::ensure(output)?;
    let server = Server::start(&bin)?;
    let password = random_password();
    server.query("postgres", "CREATE DATABASE shop")?;
    server.query("shop", &shop::load(password.reveal()))?;
    let crm = Crm::start(random_password()).await?;
    project::write(
        dir,
        &project::Facts {
            port: server.port,
            password: &password,
            crm_port: crm.address.port(),
            crm_token: &crm.token,
        },
    )?;
    say(
        output,
        &format!(
            "A shop with {} customers and 250,000 orders is in a throwaway PostgreSQL {} on port {}.\n\
             A small CRM listens on port {}. Both are gone when the demo ends. ({})\n\
             The project that joins them is in {}.",
            grouped(shop::CUSTOMERS),
            server.version.split_whitespace().next().unwrap_or_default(),
            server.port,
            crm.address.port(),
            duration(began.elapsed().as_millis() as u64),
            dir.display(),
        ),
    );
    let project = Project::load(Some(dir), None)?;
    let mut acts = Vec::new();

    heading(output, "1. The first run sends every row");
    let first = (
        shop::CUSTOMERS - shop::WITHOUT_EMAIL,
        0,
        shop::WITHOUT_EMAIL,
    );
    acts.push(act("first run", &project, context, &crm, first).await?);
    say(
        output,
        &format!(
            "{} contacts arrived. The CRM refused {} that have no e-mail address, and only those;\n\
             they are set aside with its reason and tried again when their rows change.",
            grouped(crm.len()),
            shop::WITHOUT_EMAIL
        ),
    );

    heading(
        output,
        "2. The shop goes on; the second run sends only what changed",
    );
    server.query("shop", &shop::change())?;
    say(
        output,
        &format!(
            "{} customers ordered something, {} got their missing address, {} joined, {} left.",
            grouped(shop::ORDERED),
            shop::WITHOUT_EMAIL,
            shop::JOINED,
            shop::LEFT
        ),
    );
    let second = (
        shop::ORDERED + shop::WITHOUT_EMAIL + shop::JOINED,
        shop::LEFT,
        0,
    );
    acts.push(act("after the changes", &project, context, &crm, second).await?);

    heading(output, "3. Nothing changed; the third run sends nothing");
    acts.push(act("nothing changed", &project, context, &crm, (0, 0, 0)).await?);

    let wanted = server.query("shop", shop::EXPECTED)?;
    if crm.dump().trim_end() != wanted {
        return Err(Reason::defect("the CRM's contacts differ from the shop's rows").into());
    }
    heading(output, "What the CRM's own request log says");
    say(output, &summary(output, &acts));
    say(
        output,
        &format!(
            "{} The CRM now holds {} contacts, each equal to its row in the shop. ({} in all)",
            output.stdout.mark(Mark::Healthy),
            grouped(crm.len()),
            duration(began.elapsed().as_millis() as u64)
        ),
    );
    Ok(Stage { acts, server, crm })
}

async fn act(
    what: &'static str,
    project: &Project,
    context: &Context,
    crm: &Crm,
    expected: Expected,
) -> Answer<Act> {
    crm.take_log();
    let watcher = Watcher::new(context.output, "customers_to_crm");
    let request = RunRequest {
        trigger: "demo".into(),
        ..RunRequest::default()
    };
    let view = rowcast_app::run::run(
        project,
        "customers_to_crm",
        &request,
        watcher.observer(),
        &context.cancel,
    )
    .await?;
    watcher.end();
    let log = crm.take_log();
    let act = judge(what, &view, log, expected)?;
    say(context.output, &crate::output::report::sentence(&view));
    Ok(act)
}

/// Compares what the run reports, what the CRM saw and what must have happened.
fn judge(what: &'static str, view: &RunView, log: Log, expected: Expected) -> Answer<Act> {
    if let Some(failure) = &view.failure {
        return Err(failure.reason.clone().into());
    }
    if view.ended == RunStatus::Cancelled {
        return Err(Reason::new(rowcast_core::Code::Cancelled, "the demo was stopped").into());
    }
    let saw = (log.written, log.deleted, log.refused);
    let reported = (view.delivered, view.rejected);
    if saw != expected || log.turned_away > 0 || reported != (saw.0 + saw.1, saw.2) {
        return Err(Reason::defect(format!("the demo's act \"{what}\" went wrong"))
            .detail(format!(
                "written, deleted, refused should be {expected:?}; the CRM saw {saw:?} and turned \
                 {} requests away; the run reports {} delivered and {} rejected",
                log.turned_away, view.delivered, view.rejected
            ))
            .into());
    }
    Ok(Act {
        what,
        rows_read: view.read,
        changes: view.changes(),
        requests: log.requests,
        written: log.written,
        deleted: log.deleted,
        refused: log.refused,
        duration_ms: view.duration_ms,
    })
}

fn summary(output: Output, acts: &[Act]) -> String {
    table(
        output.stdout,
        &[
            ("run", Align::Left),
            ("rows read", Align::Right),
            ("requests", Align::Right),
            ("written", Align::Right),
            ("deleted", Align::Right),
            ("refused", Align::Right),
            ("time", Align::Right),
        ],
        acts.iter().map(|act| {
            vec![
                act.what.to_owned(),
                grouped(act.rows_read),
                grouped(act.requests),
                grouped(act.written),
                grouped(act.deleted),
                grouped(act.refused),
                duration(act.duration_ms),
            ]
        }),
    )
}

/// The story is the demo's answer, so it goes where answers go.
fn say(output: Output, text: &str) {
    if !output.json {
        output.data(text);
    }
}

fn heading(output: Output, text: &str) {
    say(
        output,
        &format!("\n{}", output.stdout.paint(Role::Strong, text)),
    );
}
