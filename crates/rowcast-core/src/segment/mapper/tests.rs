//! The mapping of a sync in Segment's language: what it reads, gives and refuses.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::json::{from_json, to_json};
use crate::key::Key;
use crate::row::Column;

fn schema(names: &[&str]) -> Schema {
    let columns = names
        .iter()
        .map(|name| Column {
            name: (*name).into(),
            type_name: "text".into(),
        })
        .collect();
    Schema { columns }
}

fn compiled(mapping: &str, columns: &[&str]) -> Result<SegmentMapping, String> {
    SegmentMapping::compile(SegmentInput {
        mapping: &from_json(mapping).unwrap(),
        match_on: None,
        key_columns: &["id".into()],
        schema: Some(&schema(columns)),
        sensitive: &["email".into()],
    })
    .map_err(|problems| {
        problems
            .iter()
            .map(|problem| format!("{}: {}", problem.path, problem.reason))
            .collect::<Vec<_>>()
            .join("; ")
    })
}

fn context() -> RunContext {
    RunContext {
        sync: "s".into(),
        sync_id: "id".into(),
        run: 1,
        epoch: 1,
        generation: 1,
        object: "o".into(),
        key_columns: vec!["id".into()],
        started_at: 0,
    }
}

#[test]
fn a_record_is_what_the_mapping_makes_of_the_row_event() {
    let mapping = compiled(
        r#"{"what":{"@path":"$.event"},"id":{"@path":"$.__segment_id"},"mail":{"@path":"$.properties.email"},
            "gone":{"@path":"$.properties.nothing"}}"#,
        &["id", "email", "nothing"],
    )
    .unwrap();
    let row = Row {
        schema: Arc::new(schema(&["id", "email"])),
        values: vec![Value::Int(7), Value::from("a@x")],
    };
    let key = Key::int(7);
    let at = |kind, row| {
        let occasion = Occasion {
            kind,
            key: Some(&key),
            row,
        };
        to_json(&Value::Object(
            mapping.fields_at(&occasion, &context()).unwrap(),
        ))
    };
    assert_eq!(
        at(Kind::Updated, Some(&row)),
        r#"{"what":"updated","id":"7","mail":"a@x","gone":null}"#
    );
    assert_eq!(
        at(Kind::Removed, None),
        r#"{"what":"deleted","id":"7","mail":null,"gone":null}"#
    );
    assert_eq!(
        mapping.columns(),
        ["email", "nothing", "id"].map(Name::from)
    );
}

#[test]
fn a_result_that_is_no_object_makes_the_row_invalid_without_its_values() {
    let mapping = compiled(r#"{"@path":"$.properties.email"}"#, &["id", "email"]).unwrap();
    let row = Row {
        schema: Arc::new(schema(&["email"])),
        values: vec![Value::from("ada@example.com")],
    };
    let reason = mapping.fields(&row, &context()).unwrap_err();
    assert_eq!(reason.code, Code::ExpressionFailed);
    assert!(reason.to_string().contains("it gave a text instead"));
    assert!(!reason.to_string().contains("ada"));
}

#[test]
fn rule_6_an_edit_is_told_from_one_that_only_moves_keys() {
    let digests = |mapping: &str| compiled(mapping, &["id", "a", "b"]).unwrap().digests();
    let one =
        digests(r#"{"x":{"@replace":{"pattern":"a","value":{"@path":"$.properties.a"}}},"y":1}"#);
    let moved =
        digests(r#"{"y":1,"x":{"@replace":{"value":{"@path":"$.properties.a"},"pattern":"a"}}}"#);
    assert_eq!(one, moved);
    let edited =
        digests(r#"{"y":2,"x":{"@replace":{"value":{"@path":"$.properties.a"},"pattern":"a"}}}"#);
    assert_ne!(one, edited);
    // A removed field is only missing.
    let fewer = digests(r#"{"y":1}"#);
    assert!(
        fewer
            .iter()
            .all(|(name, digest)| one.get(name) == Some(digest))
    );
    // The order of a list means something.
    assert_ne!(digests(r#"{"x":[1,2]}"#), digests(r#"{"x":[2,1]}"#));
    // A column that comes to the whole row changes its record.
    let whole = |columns: &[&str]| {
        compiled(r#"{"x":{"@path":"$.properties"}}"#, columns)
            .unwrap()
            .digests()
    };
    assert_ne!(whole(&["id", "a"]), whole(&["id", "a", "b"]));
}

#[test]
fn columns_that_do_not_exist_and_problems_of_the_mapping_are_told() {
    let problems =
        compiled(r#"{"x":{"@path":"$.properties.emial"}}"#, &["id", "email"]).unwrap_err();
    assert!(
        problems.contains("the model has no column `emial`"),
        "{problems}"
    );
    let problems =
        compiled(r#"{"x":{"@pth":1},"y":{"@case":{"operator":1}}}"#, &["id"]).unwrap_err();
    assert!(problems.contains("mapping.x.@pth: "), "{problems}");
    assert!(
        problems.contains("mapping.y.@case.operator: "),
        "{problems}"
    );
}

fn rule() -> impl Strategy<Value = String> {
    let column = prop::sample::select(vec!["a", "b", "c", "d"]);
    let leaf = prop_oneof![
        column
            .clone()
            .prop_map(|name| format!(r#"{{"@path":"$.properties.{name}"}}"#)),
        column
            .clone()
            .prop_map(|name| format!(r#"{{"@template":"<{{{{properties.{name}}}}}>"}}"#)),
        column.prop_map(|name| format!(r#"{{"@liquid":"{{{{ properties.{name} }}}}"}}"#)),
        Just("1".to_owned()),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone(), inner.clone()).prop_map(|(a, b, c)| format!(
                r#"{{"@if":{{"exists":{a},"then":{b},"else":{c}}}}}"#
            )),
            inner
                .clone()
                .prop_map(|a| format!(r#"{{"@json":{{"value":{a},"mode":"encode"}}}}"#)),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!(r#"{{"l":{a},"m":{b}}}"#)),
            prop::collection::vec(inner, 1..3).prop_map(|items| format!("[{}]", items.join(","))),
        ]
    })
}

proptest! {
    /// What a mapping is not said to read changes nothing about its result: so a checksum over the
    /// columns it reads finds every change of a record.
    #[test]
    fn rule_5_a_column_that_is_not_read_never_matters(
        rule in rule(),
        values in prop::collection::vec(prop::option::of("[xyz]{0,2}"), 4),
        other in prop::collection::vec(prop::option::of("[xyz]{0,2}"), 4),
    ) {
        let mapping = compiled(&format!("{{\"r\":{rule}}}"), &["id", "a", "b", "c", "d"]).unwrap();
        let read = mapping.columns();
        let row = |values: &[Option<String>]| Row {
            schema: Arc::new(schema(&["a", "b", "c", "d"])),
            values: values
                .iter()
                .map(|value| value.as_deref().map_or(Value::Null, Value::from))
                .collect(),
        };
        let mixed: Vec<Option<String>> = ["a", "b", "c", "d"]
            .iter()
            .enumerate()
            .map(|(i, name)| {
                let reads = read.iter().any(|column| &**column == *name);
                if reads { values[i].clone() } else { other[i].clone() }
            })
            .collect();
        // All four columns in the event, whatever the mapping is said to read.
        let all: Vec<Name> = ["a", "b", "c", "d"].map(Name::from).into();
        let result = |values: &[Option<String>]| {
            let row = row(values);
            let occasion = Occasion { kind: Kind::Added, key: None, row: Some(&row) };
            mapping.mapping.transform(&row_event(&occasion, Some(&all), 0), 0)
        };
        prop_assert_eq!(result(&values), result(&mixed));
    }
}
