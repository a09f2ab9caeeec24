//! The reader against arbitrary text, and the schema and reference pages against the tables.

use proptest::prelude::*;
use rowcast_config::{documents, reference, schema};

use crate::support::{Fixture, descriptors};

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_text_is_a_problem_and_never_a_panic(
        text in prop_oneof![
            "\\PC{0,80}",
            "([a-z]{1,6}: ?|- |\\[|\\]|\\{|\\}|,|\n|\n  |\t|\"|'|&a|\\*a|#|!|\\||>|\\$\\{env:|\\$\\{var:x\\}|é|%|~|null|10%|[0-9]{1,4}){0,60}",
        ],
        kind in 0_usize..7,
    ) {
        let paths = [
            "rowcast.yml", "sources/x.yml", "models/x.yml", "destinations/x.yml", "syncs/x.yml",
            "environments/x.yml", "tests/x.yml",
        ];
        let mut fixture = Fixture::good();
        fixture.env = Some("x".into());
        fixture.write(paths[kind], &text);
        for problem in fixture.load().problems {
            let shown = problem.render(true);
            prop_assert!(shown.contains("error[E01"), "{}", shown);
        }
    }

    #[test]
    fn arbitrary_values_under_known_keys_never_panic(
        key in prop::sample::select(
            documents().into_iter().flat_map(|d| d.keys).map(|key| key.name).collect::<Vec<_>>(),
        ),
        value in "([a-z0-9:%/*., -]{0,12}|\\[[a-z0-9, ]{0,10}\\]|\\{ ?[a-z]{1,8}: [a-z0-9%\"*]{0,6} ?\\})",
    ) {
        let fixture = Fixture::good();
        for document in documents() {
            if let Some(folder) = document.files.strip_suffix("*.yml") {
                fixture.write(&format!("{folder}x.yml"), format!("{key}: {value}\n"));
            }
        }
        prop_assert!(!fixture.load().problems.is_empty());
    }
}

#[test]
fn deep_and_wide_files_end_in_a_problem_or_a_value() {
    for unit in ["[", "- ", "{a: ", "? ", "a:\n", "${", "*a "] {
        let fixture = Fixture::good();
        fixture.write("rowcast.yml", unit.repeat(20_000));
        assert!(!fixture.load().problems.is_empty(), "{unit}");
    }
}

#[test]
fn every_example_of_the_reference_is_a_good_file() {
    for document in documents() {
        let mut fixture = Fixture::good();
        for variable in ["SHOP_PASSWORD", "HOOK_TOKEN", "SLACK_URL"] {
            fixture.environment.insert(variable.into(), "x".into());
        }
        fixture.write(
            "rowcast.yml",
            "project: shop\nversion: 1\nalerts: { ops: { webhook: x } }\n",
        );
        fixture.write(
            "destinations/crm.yml",
            "destination: crm\nconnector: http\n",
        );
        fixture.write(
            "syncs/customers_to_crm.yml",
            "sync: customers_to_crm\nmodel: customers\ndestination: crm\nfields: { a: a }\n",
        );
        let first = document.example.lines().next().unwrap();
        let name = first.split_once(": ").unwrap().1;
        fixture.write(&document.files.replace('*', name), document.example);
        fixture.project();
    }
}

#[test]
fn the_schema_and_the_reference_name_every_key() {
    let pages = reference::reference_markdown();
    let schemas = schema::documents(&descriptors());
    assert_eq!(pages.len(), 7);
    for ((document, (_, page)), (_, schema)) in documents().iter().zip(&pages).zip(&schemas) {
        for key in &document.keys {
            assert!(
                page.contains(&format!("| `{}`", key.name)),
                "{}\n{page}",
                key.name
            );
            assert!(schema["properties"][key.name].is_object(), "{}", key.name);
        }
        assert_eq!(schema["additionalProperties"], false);
    }
    let page = reference::connector_markdown(&descriptors()[0]);
    assert!(page.contains("| `auth.basic.password` \\* |"), "{page}");
    let destination = &schemas[3].1;
    assert_eq!(
        destination["properties"]["connector"]["enum"][1],
        "postgres"
    );
    assert_eq!(
        destination["allOf"][1]["then"]["properties"]["settings"]["required"][0],
        "url"
    );
}

/// YAML ends a line at a carriage return, also without a line feed.
#[test]
fn an_error_below_carriage_returns_quotes_its_own_line() {
    for end in ["\n", "\r\n", "\r"] {
        let text = ["sync: customers", "mdoe: mirror", ""].join(end);
        let fixture = Fixture::good();
        fixture.write("syncs/customers.yml", &text);
        let problems = fixture.load().problems;
        let unknown = problems.iter().find(|problem| problem.line == Some(2));
        let quoted = unknown.and_then(|problem| problem.source_line.as_deref());
        assert_eq!(quoted, Some("mdoe: mirror"), "{end:?}");
    }
}
