//! Figures and probes: what monitoring reads is well formed and true, and the dashboard asks for
//! nothing that is not there.

#![allow(clippy::unwrap_used)] // the helpers of tests are tests

mod world;

use std::collections::{BTreeMap, BTreeSet};

use rowcast_testkit::postgres::Cluster;
use serde_json::{Value, json};
use world::World;

const DASHBOARD: &str = include_str!("../../../deploy/grafana/rowcast.json");

/// A line of the text format: name, labels, value.
type Sample = (String, BTreeMap<String, String>, f64);

fn is_name(text: &str) -> bool {
    let mut chars = text.chars();
    let first = |c: char| c.is_ascii_alphabetic() || c == '_';
    chars.next().is_some_and(first) && chars.all(|c| first(c) || c.is_ascii_digit())
}

/// Reads Prometheus' text format, version 0.0.4, as strictly as its specification.
fn read(text: &str) -> (BTreeMap<String, String>, Vec<Sample>) {
    assert!(text.ends_with('\n'), "the last line ends");
    let (mut types, mut samples) = (BTreeMap::new(), Vec::new());
    let (mut helped, mut current) = (BTreeSet::new(), String::new());
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, words) = help.split_once(' ').expect(line);
            assert!(is_name(name) && !words.is_empty(), "{line}");
            assert!(helped.insert(name.to_owned()), "told twice: {line}");
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').expect(line);
            assert!(matches!(kind, "gauge" | "counter" | "histogram"), "{line}");
            assert!(helped.contains(name), "without help: {line}");
            assert!(
                types.insert(name.to_owned(), kind.to_owned()).is_none(),
                "{line}"
            );
            name.clone_into(&mut current);
        } else {
            let (series, value) = line.rsplit_once(' ').expect(line);
            let (name, labels) = match series.split_once('{') {
                None => (series, BTreeMap::new()),
                Some((name, labels)) => (name, read_labels(labels.strip_suffix('}').expect(line))),
            };
            assert_eq!(name, current, "figures of one name stand together: {line}");
            samples.push((name.to_owned(), labels, value.parse().expect(line)));
        }
    }
    (types, samples)
}

fn read_labels(mut text: &str) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    while !text.is_empty() {
        let (name, rest) = text.split_once("=\"").expect(text);
        assert!(is_name(name), "{text}");
        let mut value = String::new();
        let mut chars = rest.char_indices();
        let end = loop {
            match chars.next().expect("a quote at the end") {
                (at, '"') => break at,
                (_, '\\') => match chars.next().expect("an escaped character").1 {
                    'n' => value.push('\n'),
                    c @ ('\\' | '"') => value.push(c),
                    c => panic!("no such escape: {c}"),
                },
                (_, c) => value.push(c),
            }
        };
        assert!(labels.insert(name.to_owned(), value).is_none(), "{text}");
        text = rest[end + 1..].trim_start_matches(',');
    }
    labels
}

/// Words of a query that may be names of figures.
fn names(query: &str) -> impl Iterator<Item = &str> {
    query
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| word.starts_with("rowcast_"))
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_are_well_formed_and_the_dashboard_asks_for_no_others() {
    let mut world = World::open("figures").await;
    world.begin();
    let job = world
        .post("/api/v1/syncs/crm/run", "")
        .await
        .expect(202)
        .json()["job"]
        .clone();
    world.ended(job.as_i64().unwrap()).await;
    let text = world.get("/metrics").await.expect(200).body;
    let (types, samples) = read(&text);
    let mut seen = BTreeSet::new();
    for (name, labels, value) in &samples {
        assert!(types.contains_key(name), "{name} has no type");
        assert!(name.starts_with("rowcast_"), "{name}");
        // Base units, at the end of the name.
        for unit in ["_ms", "_us", "_minutes", "_kb", "_mb"] {
            assert!(!name.contains(unit), "{name}");
        }
        assert_eq!(types[name] == "counter", name.ends_with("_total"), "{name}");
        assert!(value.is_finite(), "{name} {value}");
        assert!(
            seen.insert((name, labels)),
            "{name} {labels:?} is there twice"
        );
    }
    let of = |name: &str, labels: &[(&str, &str)]| {
        let wanted = |found: &BTreeMap<String, String>| {
            labels
                .iter()
                .all(|(label, value)| found.get(*label).map(String::as_str) == Some(*value))
        };
        let found = samples.iter().find(|(n, l, _)| n == name && wanted(l));
        found
            .unwrap_or_else(|| panic!("no {name} {labels:?} in\n{text}"))
            .2
    };
    let is = |name: &str, labels: &[(&str, &str)], value: f64| {
        let given = of(name, labels);
        assert!((given - value).abs() < f64::EPSILON, "{name} is {given}");
    };
    let sync = ("sync", "crm");
    for (health, value) in [("healthy", 1.0), ("failed", 0.0), ("pending", 0.0)] {
        is("rowcast_sync_health", &[sync, ("health", health)], value);
    }
    is(
        "rowcast_sync_activity",
        &[sync, ("activity", "pending")],
        1.0,
    );
    is("rowcast_sync_last_run_delivered_rows", &[sync], 40.0);
    assert!(of("rowcast_sync_last_run_database_seconds", &[sync]) > 0.0);

    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    assert!(panels.len() > 5);
    let mut asked = BTreeSet::new();
    for target in panels
        .iter()
        .flat_map(|panel| panel["targets"].as_array().unwrap())
    {
        asked.extend(names(target["expr"].as_str().unwrap()));
    }
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        asked.extend(names(variable["query"].as_str().unwrap_or_default()));
    }
    let given: BTreeSet<&str> = types.keys().map(String::as_str).collect();
    let missing: Vec<_> = asked.difference(&given).collect();
    assert!(missing.is_empty(), "the dashboard asks for {missing:?}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_tell_whether_the_process_lives_and_whether_it_can_work() {
    let world = World::open("probes").await;
    let probe = async |path: &str| world.ask_as(None, "get", path, "").await;
    probe("/healthz").await.expect(200);
    probe("/readyz").await.expect(200);
    let name = &world.database.name;
    Cluster::shared().psql(
        "postgres",
        &format!(
            "ALTER DATABASE {name} ALLOW_CONNECTIONS false;
             SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
        ),
    );
    probe("/healthz").await.expect(200);
    let refused = probe("/readyz").await.expect(503).json();
    assert_eq!(refused["code"], json!("E0201"));
    // Probes need no token, so they say nothing of the place.
    assert!(!refused.to_string().contains(name), "{refused}");
    Cluster::shared().psql(
        "postgres",
        &format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true"),
    );
    probe("/readyz").await.expect(200);
    world.end().await;
}
