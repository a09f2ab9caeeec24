//! Cases of the language that the published ones leave out.

use super::*;
use crate::json::{from_json, to_json};

fn mapped(mapping: &str, payload: &str) -> Result<String, String> {
    let mapping = Mapping::new(from_json(mapping).unwrap()).expect("a valid mapping");
    let value = mapping.transform(&from_json(payload).unwrap(), 0)?;
    Ok(value.map_or("absent".into(), |value| to_json(&value)))
}

#[test]
fn ids_beyond_a_double_keep_their_digits_in_templates_and_json() {
    let payload = r#"{"id": 9007199254740993, "total": 12345678901234567.89}"#;
    let template = r#"{"a": {"@template": "{{id}} {{total}}"}, "b": {"@json": {"mode": "encode", "value": {"@path": "total"}}}}"#;
    assert_eq!(
        mapped(template, payload).unwrap(),
        r#"{"a":"9007199254740993 12345678901234567.89","b":"12345678901234567.89"}"#
    );
}

#[test]
fn numbers_print_as_javascript_prints_them() {
    for (digits, printed) in [
        ("12.50", "12.5"),
        ("1e21", "1e+21"),
        ("0.0000001", "1e-7"),
        ("100000000000000000000", "100000000000000000000"),
        ("-0.0", "0"),
    ] {
        let payload = format!("{{\"n\": {digits}}}");
        assert_eq!(
            mapped(r#"{"@template": "{{n}}"}"#, &payload).unwrap(),
            format!("\"{printed}\"")
        );
    }
}

#[test]
fn inserted_text_is_not_read_as_a_template() {
    let payload = r#"{"a": "{{secret}}", "secret": "hidden"}"#;
    assert_eq!(
        mapped(r#"{"@template": "{{a}} {{{a}}}"}"#, payload).unwrap(),
        r#""{{secret}} {{secret}}""#
    );
}

#[test]
fn an_absent_member_erases_in_a_merge_and_is_gone_at_the_end() {
    let mapping = r#"{"@merge": {"direction": "right", "objects": [{"a": 1, "b": 2}, {"a": {"@path": "missing"}}]}}"#;
    assert_eq!(mapped(mapping, "{}").unwrap(), r#"{"b":2}"#);
}

#[test]
fn every_problem_is_reported_with_its_path() {
    let mapping = r#"{"a": {"@path": 1}, "b": {"@oops": {}}, "c": {"@replace": {"pattern": "", "value": {"@path": {}}}},
        "d": {"@path": "x", "y": 1}, "e": {"@if": {"then": {"@case": 1}}}}"#;
    let problems = Mapping::new(from_json(mapping).unwrap()).unwrap_err();
    let paths: Vec<&str> = problems
        .iter()
        .map(|problem| problem.path.as_str())
        .collect();
    assert_eq!(
        paths,
        [
            "/a/@path",
            "/b/@oops",
            "/c/@replace/pattern",
            "/c/@replace/value/@path",
            "/d",
            "/e/@if/then/@case"
        ]
    );
}

#[test]
fn a_trigger_that_can_not_be_read_says_where() {
    for (text, at) in [
        ("", 0),
        ("type", 4),
        ("typo = 1", 0),
        ("type * \"x\"", 5),
        ("type = ", 7),
        ("type = \"x", 7),
        ("(type = \"x\"", 11),
        ("type = \"x\" and", 14),
        ("properties.a < \"10\"", 15),
        ("!type = 1", 1),
        ("match(event, \"X\")", 13),
    ] {
        assert_eq!(Trigger::parse(text).unwrap_err().at, at, "{text}");
    }
}

#[test]
fn a_level_of_a_trigger_is_joined_by_its_last_word() {
    let event = from_json(r#"{"type": "track", "event": "new"}"#).unwrap();
    let matches = |text: &str| Trigger::parse(text).unwrap().matches(&event);
    assert!(matches("type = \"x\" and type = \"y\" or event = \"new\""));
    assert!(!matches(
        "type = \"track\" or event = \"new\" and type = \"x\""
    ));
    assert!(matches(
        "type = \"track\" and (type = \"x\" or event = \"new\")"
    ));
}
