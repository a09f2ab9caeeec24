//! Connectors that are manifests, those that come with the program and the project's own; those of
//! Segment's catalogue; and the proof of connectors of every kind.

pub(crate) mod catalogue;
mod examine;
mod manage;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use rowcast_config::{Positions, Problem, read_described};
use rowcast_core::{Code, Descriptor, Reason};
use rowcast_destinations::SettingProblem;
use rowcast_destinations::manifest::fixture::Fixture;
use rowcast_destinations::manifest::{Manifest, built_in, fixture_vocabulary, manifest_vocabulary};

use crate::wire;

pub use catalogue::{Choice, Installed, choices, install};
pub use examine::{ExamineRequest, FindingView, Subject, examine, is_custom_destination};
pub use manage::{
    ConnectorRow, ConnectorView, FixtureResult, NewConnector, TryRequest, TryView, list, make,
    show, test, try_record,
};

/// Manifests by name.
pub(crate) type Manifests = BTreeMap<String, Arc<Manifest>>;

/// Those that come with the program.
pub(crate) fn shipped() -> &'static Manifests {
    static SHIPPED: OnceLock<Manifests> = OnceLock::new();
    SHIPPED.get_or_init(|| {
        built_in()
            .iter()
            .filter_map(|connector| {
                let path = format!("{}/manifest.yml", connector.name);
                // A test holds that each of them can be read.
                let manifest = read(&path, connector.manifest, connector.name).ok()?;
                Some((connector.name.to_owned(), Arc::new(manifest)))
            })
            .collect()
    })
}

/// The reference pages of the manifests that come with the program, by name.
pub(crate) fn pages() -> Vec<(String, String)> {
    let pages = shipped().iter().map(|(name, manifest)| {
        let text = rowcast_destinations::manifest::reference_markdown(manifest);
        (name.clone(), text)
    });
    pages.collect()
}

/// What the manifests that come with the program say of themselves.
pub(crate) fn descriptors() -> impl Iterator<Item = Descriptor> {
    shipped()
        .values()
        .map(|manifest| manifest.descriptor().clone())
}

/// The manifests in a project's `connectors/`, with every problem.
pub(crate) fn of_project(dir: &Path) -> (Manifests, Vec<Problem>) {
    let mut manifests = Manifests::new();
    let mut problems = Vec::new();
    let Ok(entries) = std::fs::read_dir(dir.join("connectors")) else {
        return (manifests, problems);
    };
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter_map(|name| Some(name.strip_suffix(".yml")?.to_owned()))
        .filter(|name| !name.starts_with('.'))
        .collect();
    names.sort();
    for name in names {
        let path = format!("connectors/{name}.yml");
        match std::fs::read_to_string(dir.join(&path)) {
            Ok(text) => match read(&path, &text, &name) {
                Ok(manifest) => {
                    manifests.insert(name, Arc::new(manifest));
                }
                Err(found) => problems.extend(found),
            },
            Err(error) => problems.push(Problem::in_file(
                Reason::new(
                    Code::FileUnreadable,
                    format!("the file {path} can't be read"),
                )
                .detail(error.to_string()),
                &path,
            )),
        }
    }
    (manifests, problems)
}

/// Reads one manifest, whose file or folder has this name.
fn read(path: &str, text: &str, name: &str) -> Result<Manifest, Vec<Problem>> {
    let subject = format!("connector \"{name}\"");
    let described = read_described(path, text, &subject, &manifest_vocabulary())?;
    let manifest =
        Manifest::read(&described.tree).map_err(|found| placed(found, &described.positions))?;
    let note = |reason| match described.positions.get("connector") {
        Some(location) => Problem::at(reason, location),
        None => Problem::general(reason),
    };
    if manifest.name() != name {
        let reason = Reason::new(
            Code::NameMismatch,
            format!(
                "the connector is named \"{}\", its file \"{name}\"",
                manifest.name()
            ),
        );
        return Err(vec![note(
            reason.hint(format!("write `connector: {name}`")),
        )]);
    }
    if wire::natives().iter().any(|native| native.name == name) {
        let reason = Reason::new(
            Code::NameMismatch,
            format!("there is a connector {name} already"),
        );
        return Err(vec![note(reason.hint("give the manifest another name"))]);
    }
    Ok(manifest)
}

/// Reads one fixture.
fn read_fixture(path: &str, text: &str) -> Result<Fixture, Vec<Problem>> {
    let described = read_described(path, text, "the fixture", &fixture_vocabulary())?;
    Fixture::read(&described.tree).map_err(|found| placed(found, &described.positions))
}

fn placed(problems: Vec<SettingProblem>, positions: &Positions) -> Vec<Problem> {
    problems
        .into_iter()
        .map(|problem| match positions.get(&problem.path) {
            Some(location) => Problem::at(problem.reason, location),
            None => Problem::general(problem.reason),
        })
        .collect()
}
