//! The layers of the test suite: a table of what proves what, and how they are run.
//!
//! To add a layer, add a line to `LAYERS`. A test file that is in no layer fails the run before it
//! starts, so that nothing is forgotten quietly.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Instant;

use crate::process::{cargo, cargo_command, pass_on};
use crate::proofs::{self, Passed};
use crate::terminal::{heading, say};
use crate::tidy::rules;
use crate::tree::{Tree, root};
use crate::workspace::{self, Target};
use crate::{Outcome, generate, packaged, pending, postgres, stores, tidy};

/// A part of the suite that proves one kind of thing.
#[derive(Debug)]
struct Layer {
    name: &'static str,
    proves: &'static str,
    members: Members,
    needs: Needs,
    /// Variables that its tests read.
    told: &'static [(&'static str, &'static str)],
    /// Whether it runs without being named.
    usual: bool,
}

#[derive(Debug)]
enum Members {
    /// The tests inside the crates' own modules.
    Units,
    /// Test files as (package, file's name); `*` is every file of the package that no other line
    /// names.
    Files(&'static [(&'static str, &'static str)]),
}

/// What must be built besides the tests themselves.
#[derive(Debug, PartialEq, Eq)]
enum Needs {
    Nothing,
    /// The release program, whose path the tests find in `ROWCAST_RELEASE_BIN`.
    Release,
    /// As `Release`, and the tests themselves are built for release: their services share the machine
    /// with what is measured.
    ReleaseTests,
}

const LAYERS: &[Layer] = &[
    Layer {
        name: "unit",
        proves: "each rule by itself, inside the crate that keeps it",
        members: Members::Units,
        needs: Needs::Nothing,
        told: &[],
        usual: true,
    },
    Layer {
        name: "parts",
        proves: "configuration, mapping and use cases through their public faces",
        members: Members::Files(&[
            ("rowcast-core", "*"),
            ("rowcast-config", "*"),
            ("rowcast-app", "*"),
            ("rowcast-server", "*"),
            ("rowcast-testkit", "*"),
        ]),
        needs: Needs::Nothing,
        told: &[],
        usual: true,
    },
    Layer {
        name: "property",
        proves: "the model law: any history, any outcomes, any crash, and the destination is equal",
        members: Members::Files(&[("rowcast-engine", "*")]),
        needs: Needs::Nothing,
        told: &[],
        usual: true,
    },
    Layer {
        name: "simulation",
        proves: "the engine on virtual time: thousands of seeded worlds of faults, 0 broken laws",
        members: Members::Files(&[("rowcast-engine", "simulation")]),
        needs: Needs::Nothing,
        told: &[],
        usual: true,
    },
    Layer {
        name: "fuzz",
        proves: "every parser holds its promises on its corpus and thousands of mutations of it",
        members: Members::Files(&[("rowcast-fuzz", "*")]),
        needs: Needs::Nothing,
        told: &[],
        usual: true,
    },
    Layer {
        name: "postgres",
        proves: "all SQL against a real server: connections, grants, types, diff, state",
        members: Members::Files(&[("rowcast-postgres", "*")]),
        needs: Needs::Nothing,
        told: &[],
        usual: true,
    },
    Layer {
        name: "destinations",
        proves: "every connector keeps the contract of a destination",
        members: Members::Files(&[("rowcast-destinations", "*")]),
        needs: Needs::Nothing,
        told: &[],
        usual: true,
    },
    Layer {
        name: "natives",
        proves: "every native kind keeps the contract on its real server: MariaDB, Redis, NATS, RabbitMQ, Mosquitto, and on librdkafka's cluster",
        members: Members::Files(&[("rowcast-natives", "*"), ("rowcast", "natives")]),
        needs: Needs::Nothing,
        told: &[],
        usual: true,
    },
    Layer {
        name: "objects",
        proves: "object stores keep the contract: whole objects or none, on moto and azurite; Parquet read by another",
        members: Members::Files(&[("rowcast-objects", "*"), ("rowcast", "buckets")]),
        needs: Needs::Nothing,
        told: &[],
        usual: true,
    },
    Layer {
        name: "cli",
        proves: "the program as people use it: commands, words, exit codes, examples",
        members: Members::Files(&[("rowcast", "*")]),
        needs: Needs::Nothing,
        told: &[],
        usual: true,
    },
    Layer {
        name: "catalogue",
        proves: "Segment's own destinations, run by the actions host, against services that refuse (needs Node, npm)",
        members: Members::Files(&[("rowcast", "catalogue")]),
        needs: Needs::Nothing,
        told: &[],
        usual: true,
    },
    Layer {
        name: "crash",
        proves: "kill -9 between any two steps loses nothing and reorders nothing",
        members: Members::Files(&[("rowcast", "crash")]),
        needs: Needs::Nothing,
        told: &[],
        usual: true,
    },
    Layer {
        name: "faults",
        proves: "broken networks, failing servers, hostile input: never a hang, nothing lost",
        members: Members::Files(&[
            ("rowcast-testkit", "proxy"),
            ("rowcast-postgres", "tls"),
            ("rowcast-postgres", "model_text"),
            ("rowcast-destinations", "addresses"),
            ("rowcast", "canary"),
            ("rowcast", "faults"),
        ]),
        needs: Needs::Nothing,
        told: &[],
        usual: true,
    },
    Layer {
        name: "parity",
        proves: "Segment's mappings and triggers give the same here and in Segment's packages (needs npm)",
        members: Members::Files(&[("rowcast-core", "segment_parity")]),
        needs: Needs::Nothing,
        told: &[],
        usual: false,
    },
    Layer {
        name: "orchestrators",
        proves: "RudderStack's own packages for Airflow and Dagster run syncs here (needs python3 with pip, minutes)",
        members: Members::Files(&[("rowcast", "orchestrators")]),
        needs: Needs::Nothing,
        told: &[],
        usual: false,
    },
    Layer {
        name: "catalogue-pace",
        proves: "rows a second through Segment's own destinations (builds for release; needs Node, npm)",
        members: Members::Files(&[("rowcast", "catalogue_pace")]),
        needs: Needs::ReleaseTests,
        told: &[],
        usual: false,
    },
    Layer {
        name: "scale-short",
        proves: "10 million rows in bounded memory, with 30 s of sending (builds for release)",
        members: Members::Files(&[("rowcast", "scale")]),
        needs: Needs::Release,
        told: &[("ROWCAST_SCALE_SECONDS", "30")],
        usual: false,
    },
    Layer {
        name: "scale",
        proves: "the same with 5 minutes of sending: the figures of the documentation",
        members: Members::Files(&[("rowcast", "scale")]),
        needs: Needs::Release,
        told: &[("ROWCAST_SCALE_SECONDS", "300")],
        usual: false,
    },
];

impl Layer {
    /// The test files of this layer among those that exist.
    fn files<'a>(&self, targets: &'a [Target]) -> Vec<&'a Target> {
        let Members::Files(members) = &self.members else {
            return Vec::new();
        };
        targets
            .iter()
            .filter(|target| {
                members.iter().any(|(package, test)| {
                    target.package == *package
                        && (target.test == *test || *test == "*" && !named_elsewhere(target))
                })
            })
            .collect()
    }

    fn exists(&self, targets: &[Target]) -> bool {
        matches!(self.members, Members::Units) || !self.files(targets).is_empty()
    }
}

/// Whether a line of the table names this file itself.
fn named_elsewhere(target: &Target) -> bool {
    LAYERS.iter().any(|layer| match &layer.members {
        Members::Units => false,
        Members::Files(members) => {
            members.contains(&(target.package.as_str(), target.test.as_str()))
        }
    })
}

/// Test files in no layer, and names that two packages use: `cargo test --test NAME` would run
/// both.
fn problems(targets: &[Target]) -> Vec<String> {
    let mut problems = Vec::new();
    for (index, target) in targets.iter().enumerate() {
        let Target { package, test } = target;
        if !LAYERS
            .iter()
            .any(|layer| layer.files(targets).contains(&target))
        {
            problems.push(format!(
                "the test file `{test}` of {package} is in no layer: add it to LAYERS in xtask/src/layers.rs"
            ));
        }
        if let Some(other) = targets[..index].iter().find(|other| other.test == *test) {
            problems.push(format!(
                "the test file `{test}` exists in {package} and in {}: give one another name",
                other.package
            ));
        }
    }
    problems
}

/// The layers, for `cargo xtask help`.
pub(crate) fn help() -> String {
    let line = |layer: &Layer| {
        let asked = if layer.usual { "" } else { "; only when named" };
        format!("  {:<14}{}{asked}", layer.name, layer.proves)
    };
    LAYERS.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Runs the layers named, or all that usually run; on the server of a major version, or on the one
/// that is installed.
///
/// # Errors
/// Something needed is missing, a name is unknown, or tests failed.
pub(crate) fn run(names: &[&str], major: Option<&str>) -> Outcome {
    let started = Instant::now();
    let targets = workspace::test_targets(&workspace::metadata()?);
    let problems = problems(&targets);
    if !problems.is_empty() {
        return Err(problems.join("\n"));
    }
    let layers = chosen(names, &targets)?;

    heading("tidy", "the rules a compiler does not know");
    tidy::run()?;
    heading(
        "what the tests need",
        "a PostgreSQL server to start and stop, an SSH server, a pooler, brokers, object stores",
    );
    let servers = match major {
        Some(major) => packaged::ensure(major)?,
        None => postgres::ensure()?,
    };
    postgres::ensure_neighbours();
    stores::ensure();
    heading(
        "build",
        "all tests and programs, once, with one feature set",
    );
    workspace::build()?;
    if names.is_empty() {
        heading("generated pages", "the reference says what the code says");
        if pending::is_pending("generate", "") {
            say("pending: the reference is not generated yet");
        } else {
            generate::run(generate::Do::Compare)?;
        }
    }

    let mut passed = 0;
    let mut failed = Vec::new();
    let mut proven = Passed::default();
    let mut left_out = BTreeSet::new();
    for layer in &layers {
        heading(layer.name, layer.proves);
        let count = run_layer(layer, &targets, &servers, &mut proven, &mut left_out)?;
        match count {
            Some(count) => passed += count,
            None => failed.push(layer.name),
        }
    }
    if names.is_empty() && failed.is_empty() {
        prove(&proven)?;
    }
    for what in &left_out {
        say(&format!("\n{what}"));
    }
    let seconds = started.elapsed().as_secs();
    let time = format!("{} min {:02} s", seconds / 60, seconds % 60);
    if failed.is_empty() {
        let what = if names.is_empty() {
            format!("All {} layers passed", layers.len())
        } else {
            let names: Vec<&str> = layers.iter().map(|layer| layer.name).collect();
            format!("Passed: {}", names.join(", "))
        };
        say(&format!("\n{what}: {passed} tests in {time}."));
        Ok(())
    } else {
        let again = failed.join(" ");
        Err(format!(
            "failed after {time}: {}; the failures are above, and `cargo xtask test {again}` runs \
             only {}",
            failed.join(", "),
            if failed.len() == 1 {
                "this layer"
            } else {
                "these layers"
            }
        ))
    }
}

fn chosen(names: &[&str], targets: &[Target]) -> Result<Vec<&'static Layer>, String> {
    for name in names {
        if !LAYERS.iter().any(|layer| layer.name == *name) {
            let known: Vec<&str> = LAYERS.iter().map(|layer| layer.name).collect();
            return Err(format!(
                "there is no layer `{name}`; the layers are {}",
                known.join(", ")
            ));
        }
    }
    let mut layers = Vec::new();
    for layer in LAYERS {
        let named = names.contains(&layer.name);
        if named && !layer.exists(targets) {
            return Err(format!("the layer `{}` has no tests yet", layer.name));
        }
        if named || names.is_empty() && layer.usual && layer.exists(targets) {
            layers.push(layer);
        }
    }
    Ok(layers)
}

/// How a test begins the line that says what it could not run for want of data. The summary repeats
/// it, so that nobody takes the tests for whole.
const LEFT_OUT: &str = "left out: ";

/// The number of tests that passed; `None` when some failed.
fn run_layer(
    layer: &Layer,
    targets: &[Target],
    servers: &Path,
    proven: &mut Passed,
    left_out: &mut BTreeSet<String>,
) -> Result<Option<u64>, String> {
    // Always the whole workspace: narrowing by package would choose other features and rebuild.
    let mut arguments = vec!["test", "--workspace", workspace::FEATURES, "--no-fail-fast"];
    match &layer.members {
        Members::Units => arguments.extend(["--lib", "--bins"]),
        Members::Files(_) => {
            for target in layer.files(targets) {
                arguments.extend(["--test", &target.test]);
            }
        }
    }
    if layer.needs == Needs::ReleaseTests {
        arguments.push("--release");
    }
    let mut command = cargo_command(&arguments);
    // The tests use the very programs that were found here.
    command.env("PGBIN", servers);
    command.envs(layer.told.iter().copied());
    if layer.needs == Needs::Release {
        cargo(&["build", "--release", "--package", "rowcast"])?;
        command.env(
            "ROWCAST_RELEASE_BIN",
            workspace::target_folder()?.join("release/rowcast"),
        );
    }
    let mut passed = 0;
    let succeeded = pass_on(&mut command, |line| {
        passed += passed_of(line);
        proven.look(line);
        if line.starts_with(LEFT_OUT) {
            left_out.insert(line.to_owned());
        }
    })?;
    if succeeded && passed == 0 {
        return Err(format!(
            "no test of the layer `{}` ran: that proves nothing",
            layer.name
        ));
    }
    Ok(succeeded.then_some(passed))
}

/// After a full run: every test that the book names as a proof has run.
fn prove(proven: &Passed) -> Outcome {
    let proofs = rules::proofs(&Tree::read(&root())?);
    let missing = proven.missing(&proofs, |file| {
        proofs::target(file).is_some_and(is_only_asked_for)
    });
    if missing.is_empty() {
        say(&format!(
            "\nEvery test that proves a guarantee or a rule has run: {}.",
            proofs.len()
        ));
        Ok(())
    } else {
        Err(missing.join("\n"))
    }
}

/// Whether only layers that must be named have this test file.
fn is_only_asked_for(target: (&str, &str)) -> bool {
    let has = |layer: &&Layer| match &layer.members {
        Members::Units => false,
        Members::Files(members) => members.contains(&target),
    };
    let mut layers = LAYERS.iter().filter(has).peekable();
    layers.peek().is_some() && layers.all(|layer| !layer.usual)
}

/// The count in a line like `test result: ok. 12 passed; 0 failed; …`.
fn passed_of(line: &str) -> u64 {
    line.strip_prefix("test result: ")
        .and_then(|rest| rest.split_once(". "))
        .and_then(|(_, counts)| counts.split_once(" passed"))
        .and_then(|(count, _)| count.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(package: &str, test: &str) -> Target {
        Target {
            package: package.into(),
            test: test.into(),
        }
    }

    #[test]
    fn a_file_named_by_one_layer_is_left_out_of_another_layers_star() {
        let targets = [target("rowcast", "crash"), target("rowcast", "setup")];
        let files = |name: &str| {
            let layer = LAYERS.iter().find(|layer| layer.name == name).unwrap();
            layer.files(&targets)
        };
        assert_eq!(files("crash"), [&targets[0]]);
        assert_eq!(files("cli"), [&targets[1]]);
        assert!(problems(&targets).is_empty());
    }

    #[test]
    fn a_test_file_in_no_layer_and_a_name_used_twice_are_problems() {
        let targets = [target("new-crate", "a"), target("rowcast", "a")];
        let problems = problems(&targets);
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems[0].contains("`a` of new-crate is in no layer"));
        assert!(problems[1].contains("give one another name"));
    }

    #[test]
    fn a_layer_runs_only_when_its_tests_exist_and_scale_only_when_named() {
        let targets = [target("rowcast", "scale"), target("rowcast", "setup")];
        let names = |asked: &[&str]| -> Result<Vec<&str>, String> {
            Ok(chosen(asked, &targets)?
                .into_iter()
                .map(|layer| layer.name)
                .collect())
        };
        assert_eq!(names(&[]).unwrap(), ["unit", "cli"]);
        assert_eq!(names(&["scale"]).unwrap(), ["scale"]);
        assert!(names(&["crash"]).unwrap_err().contains("no tests yet"));
        assert!(names(&["crsh"]).unwrap_err().contains("no layer `crsh`"));
    }

    #[test]
    fn passed_tests_are_counted_from_the_harness_own_words() {
        assert_eq!(
            passed_of("test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured"),
            12
        );
        assert_eq!(
            passed_of("test result: FAILED. 3 passed; 1 failed; 0 ignored"),
            3
        );
        assert_eq!(passed_of("test tests::result ... ok"), 0);
    }
}
