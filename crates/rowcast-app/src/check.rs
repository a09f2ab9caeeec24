//! `check`: named checks of sources and destinations, each with its cure.

use rowcast_config::{Destination, Problem, Source};
use rowcast_core::{Check, CheckStatus, Code, Reason};
use rowcast_postgres::check::{CheckRequest, ModelCheck, StatePlace};

use crate::view::{CheckGroup, CheckView};
use crate::{Answer, Project, wire};

/// Checks the named sources and destinations, or all.
///
/// # Errors
/// A name is neither. Failed checks are answers, not errors.
pub async fn check(project: &Project, names: &[String]) -> Answer<Vec<CheckGroup>> {
    let config = &project.config;
    for name in names {
        if !config.sources.contains_key(name) && !config.destinations.contains_key(name) {
            let known: Vec<&str> = config
                .sources
                .keys()
                .chain(config.destinations.keys())
                .map(String::as_str)
                .collect();
            return Err(Reason::new(
                Code::UnknownReference,
                format!("the project has no source or destination \"{name}\""),
            )
            .detail(format!("it has: {}", known.join(", ")))
            .into());
        }
    }
    let wanted = |name: &String| names.is_empty() || names.contains(name);
    let mut groups = Vec::new();
    for source in config
        .sources
        .values()
        .filter(|source| wanted(&source.name))
    {
        groups.push(group(
            "source",
            &source.name,
            of_source(project, source).await?,
        ));
    }
    for destination in config.destinations.values().filter(|d| wanted(&d.name)) {
        groups.push(group(
            "destination",
            &destination.name,
            of_destination(project, destination).await,
        ));
    }
    Ok(groups)
}

fn group(kind: &'static str, name: &str, checks: Vec<Check>) -> CheckGroup {
    CheckGroup {
        kind,
        name: name.to_owned(),
        checks: checks.into_iter().map(CheckView::from).collect(),
    }
}

async fn of_source(project: &Project, source: &Source) -> Answer<Vec<Check>> {
    let models = project
        .config
        .models
        .values()
        .filter(|model| model.source == source.name)
        .map(|model| ModelCheck {
            name: model.name.clone(),
            sql: wire::model_sql(model),
            settings: wire::read_settings(model, source),
        })
        .collect();
    let place = project.config.state_source(source);
    let state = if place.name == source.name {
        StatePlace::Here {
            schema: source.state_schema.clone(),
        }
    } else {
        StatePlace::Elsewhere {
            connector: wire::connector(place)?,
            schema: place.state_schema.clone(),
        }
    };
    Ok(rowcast_postgres::check::check(&CheckRequest {
        connector: wire::connector(source)?,
        models,
        state,
    })
    .await)
}

/// The destination's own checks, once for each sync that writes to it: what is checked may depend on
/// the object. Equal answers are shown once.
async fn of_destination(project: &Project, destination: &Destination) -> Vec<Check> {
    let mut checks: Vec<Check> = Vec::new();
    let syncs: Vec<&rowcast_config::Sync> = project
        .config
        .syncs
        .values()
        .filter(|sync| sync.destination == destination.name)
        .collect();
    if syncs.is_empty() {
        return match wire::destination_alone(project, destination) {
            Ok(built) => built.check().await,
            Err(failure) => failed("settings", failure.problems),
        };
    }
    for sync in syncs {
        let found = match for_sync(project, sync).await {
            Ok(found) => found,
            Err(failure) => failed(&format!("sync {}", sync.name), failure.problems),
        };
        for check in found {
            if !checks.contains(&check) {
                checks.push(check);
            }
        }
    }
    checks
}

async fn for_sync(project: &Project, sync: &rowcast_config::Sync) -> Answer<Vec<Check>> {
    let model = project.model(&sync.model)?;
    let source = project.source(&model.source)?;
    // When the model can't be read, the source's own checks say why; the destination can be reached
    // or not all the same.
    let keys = wire::described(model, source)
        .await
        .map_or_else(|_| Vec::new(), |(keys, _)| keys);
    let destination = wire::destination(project, sync, &keys)?;
    let mut checks = destination.check().await;
    if checks.iter().all(|check| check.reason.is_none()) {
        match wire::agree(sync, &keys, &*destination).await {
            Ok(Some(schema)) => checks.push(Check::passed(
                format!("fields of {}", sync.name),
                format!("all mapped fields exist in {}", schema.name),
            )),
            Ok(None) => {}
            Err(failure) => checks.extend(failed(
                &format!("fields of {}", sync.name),
                failure.problems,
            )),
        }
    }
    Ok(checks)
}

fn failed(name: &str, problems: Vec<Problem>) -> Vec<Check> {
    problems
        .into_iter()
        .map(|problem| Check {
            status: CheckStatus::Failed,
            ..Check::failed(name, problem.reason)
        })
        .collect()
}
