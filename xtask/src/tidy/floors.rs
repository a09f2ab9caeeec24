//! Which crate may import which: the floors of ARCHITECTURE.md, and libraries that only one crate
//! may know.

use serde_json::Value;

use crate::workspace::{list, word};

/// Each crate with the crates of this workspace it may import. Floor by floor; siblings are
/// strangers.
const EDGES: &[(&str, &[&str])] = &[
    ("rowcast-core", &[]),
    ("rowcast-config", &["rowcast-core"]),
    ("rowcast-postgres", &["rowcast-core"]),
    ("rowcast-destinations", &["rowcast-core"]),
    ("rowcast-natives", &["rowcast-core"]),
    // Files in stores: the formats and the HTTP client are those of the connectors there.
    ("rowcast-objects", &["rowcast-core", "rowcast-destinations"]),
    ("rowcast-engine", &["rowcast-core"]),
    (
        "rowcast-app",
        &[
            "rowcast-core",
            "rowcast-config",
            "rowcast-postgres",
            "rowcast-destinations",
            "rowcast-natives",
            "rowcast-objects",
            "rowcast-engine",
        ],
    ),
    ("rowcast-server", &["rowcast-core", "rowcast-app"]),
    (
        "rowcast",
        &["rowcast-core", "rowcast-app", "rowcast-server"],
    ),
    ("rowcast-testkit", &["rowcast-core"]),
    ("rowcast-bench", &[]),
    (
        "rowcast-fuzz",
        &[
            "rowcast-core",
            "rowcast-config",
            "rowcast-postgres",
            "rowcast-destinations",
        ],
    ),
    ("xtask", &[]),
];

/// What tests may import besides.
const TESTS_MAY_IMPORT: &[&str] = &["rowcast-testkit"];

/// Libraries fenced in: who may name them, and why the others must not.
const FENCED: &[(&str, &[&str], &str)] = &[
    (
        "tokio-postgres",
        &["rowcast-postgres", "rowcast-testkit"],
        "all SQL lives in rowcast-postgres",
    ),
    (
        "tokio-postgres-rustls",
        &["rowcast-postgres"],
        "all SQL lives in rowcast-postgres",
    ),
    (
        "rustls",
        &[
            "rowcast-postgres",
            "rowcast-destinations",
            "rowcast-natives",
            "rowcast-testkit",
        ],
        "TLS is set up where connections are made",
    ),
    (
        "reqwest",
        &["rowcast-destinations"],
        "requests go through the HTTP toolkit: size caps, address policy",
    ),
    (
        "mysql_async",
        &["rowcast-natives"],
        "a native kind's client stays in its module",
    ),
    (
        "rdkafka",
        &["rowcast-testkit"],
        "it connects where it likes; only tests use it",
    ),
    (
        "governor",
        &["rowcast-engine"],
        "only the engine waits, retries and limits rates",
    ),
    ("csv", &["rowcast-destinations"], "files are a destination"),
    (
        "serde-saphyr",
        &["rowcast-config"],
        "YAML is read in one place, with positions",
    ),
    (
        "minijinja",
        &["rowcast-core"],
        "templates are part of mapping",
    ),
    (
        "lz4_flex",
        &["rowcast-postgres", "rowcast-natives"],
        "only the spool and Kafka's batches are compressed with it",
    ),
    (
        "axum",
        &["rowcast-server", "rowcast", "rowcast-testkit"],
        "handlers live in the server",
    ),
    (
        "clap",
        &["rowcast"],
        "the command line belongs to the program",
    ),
    (
        "comfy-table",
        &["rowcast"],
        "the terminal belongs to the program",
    ),
    (
        "indicatif",
        &["rowcast"],
        "the terminal belongs to the program",
    ),
    (
        "tracing-subscriber",
        &["rowcast"],
        "libraries emit, the program decides what is shown",
    ),
];

/// What the floor below I/O must never know.
const CORE_NEVER: &[&str] = &["tokio", "tokio-util", "tempfile", "rustix", "url", "uuid"];

/// Edges that are not permitted.
pub(super) fn check(metadata: &Value) -> Vec<String> {
    let mut problems = Vec::new();
    let packages: Vec<&Value> = list(&metadata["packages"]).collect();
    let members: Vec<String> = packages
        .iter()
        .map(|package| word(&package["name"]))
        .collect();
    for package in packages {
        let name = word(&package["name"]);
        let Some((_, permitted)) = EDGES.iter().find(|(of, _)| *of == name) else {
            problems.push(format!(
                "{name} has no floor: add it to EDGES in xtask/src/tidy/floors.rs and to ARCHITECTURE.md"
            ));
            continue;
        };
        for dependency in list(&package["dependencies"]) {
            let on = word(&dependency["name"]);
            let for_tests = dependency["kind"] == "dev";
            if members.contains(&on) {
                let ok = permitted.contains(&on.as_str())
                    || for_tests && TESTS_MAY_IMPORT.contains(&on.as_str());
                if !ok {
                    problems.push(format!(
                        "{name} imports {on}, which its floor does not allow"
                    ));
                }
                continue;
            }
            if let Some((_, holders, why)) = FENCED.iter().find(|(fenced, _, _)| *fenced == on)
                && !for_tests
                && !holders.contains(&name.as_str())
            {
                problems.push(format!("{name} depends on {on}: {why}"));
            }
            if name == "rowcast-core" && !for_tests && CORE_NEVER.contains(&on.as_str()) {
                problems.push(format!("rowcast-core depends on {on}: floor 0 has no I/O"));
            }
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn package(name: &str, dependencies: &[(&str, Option<&str>)]) -> Value {
        let dependencies: Vec<Value> = dependencies
            .iter()
            .map(|(name, kind)| json!({ "name": name, "kind": kind }))
            .collect();
        json!({ "name": name, "dependencies": dependencies })
    }

    #[test]
    fn siblings_upward_imports_and_fenced_libraries_are_found() {
        let metadata = json!({ "packages": [
            package("rowcast-core", &[("tokio", None)]),
            package("rowcast-engine", &[("rowcast-core", None), ("rowcast-postgres", None)]),
            package("rowcast-postgres", &[("rowcast-app", Some("dev")), ("tokio-postgres", None)]),
            package("rowcast-app", &[("rowcast-testkit", None), ("reqwest", None)]),
            package("rowcast-testkit", &[]),
            package("rowcast-extra", &[]),
        ]});
        let problems = check(&metadata);
        assert_eq!(problems.len(), 6, "{problems:#?}");
        for part in [
            "rowcast-core depends on tokio",
            "rowcast-engine imports rowcast-postgres",
            "rowcast-postgres imports rowcast-app",
            "rowcast-app imports rowcast-testkit",
            "rowcast-app depends on reqwest",
            "rowcast-extra has no floor",
        ] {
            assert!(
                problems.iter().any(|problem| problem.contains(part)),
                "{part}"
            );
        }
    }

    #[test]
    fn tests_may_use_the_test_kit_and_any_library() {
        let metadata = json!({ "packages": [
            package("rowcast-testkit", &[]),
            package("rowcast-engine", &[("rowcast-testkit", Some("dev")), ("axum", Some("dev"))]),
        ]});
        assert!(check(&metadata).is_empty());
    }
}
