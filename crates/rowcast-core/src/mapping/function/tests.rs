//! Every function by its own example and by its edges: nulls, wrong types, Unicode, huge numbers.

use super::*;
use crate::json::to_json;
use crate::mapping::cast::CASTS;
use crate::mapping::template::Template;
use crate::mapping::{CompileInput, FieldMapping, Mapper as _};
use crate::record::RunContext;
use crate::row::{Column, Row, Schema};
use crate::value::Object;
use std::sync::Arc;

fn context() -> RunContext {
    RunContext {
        sync: "s".into(),
        sync_id: "id".into(),
        run: 1,
        epoch: 1,
        generation: 1,
        object: "o".into(),
        key_columns: Vec::new(),
        started_at: 0,
    }
}

/// The JSON of a rule's value for a row given as a JSON object.
fn mapped(rule: &str, row: &str) -> Result<String, String> {
    let rule = from_json(rule).unwrap();
    let Value::Object(row) = from_json(row).unwrap() else {
        panic!("a row is an object");
    };
    let fields = Value::Object(vec![("f".into(), rule)]);
    let mapping = FieldMapping::compile(CompileInput {
        fields: &fields,
        match_on: None,
        key_columns: &[],
        schema: None,
        sensitive: &[],
    })
    .map_err(|problems| {
        problems
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("; ")
    })?;
    let schema = Arc::new(Schema {
        columns: row
            .iter()
            .map(|(name, _)| Column {
                name: name.clone(),
                type_name: "text".into(),
            })
            .collect(),
    });
    let row = Row {
        schema,
        values: row.into_iter().map(|(_, value)| value).collect(),
    };
    mapping
        .fields(&row, &context())
        .map(|fields: Object| {
            fields
                .first()
                .map_or("absent".to_owned(), |(_, value)| to_json(value))
        })
        .map_err(|reason| reason.to_string())
}

#[test]
fn every_function_does_what_its_example_says() {
    for function in all() {
        let (rule, row, result) = function.example;
        assert_eq!(
            mapped(rule, row).as_deref(),
            Ok(result),
            "{}",
            function.name
        );
    }
}

#[test]
fn every_cast_does_what_its_example_says_and_keeps_null() {
    for cast in CASTS {
        let (value, result) = cast.example;
        let rule = format!(r#"{{"column":"v","as":"{}"}}"#, cast.name);
        assert_eq!(
            mapped(&rule, &format!(r#"{{"v":{value}}}"#)).as_deref(),
            Ok(result),
            "{}",
            cast.name
        );
        assert_eq!(
            mapped(&rule, r#"{"v":null}"#).as_deref(),
            Ok("null"),
            "{}",
            cast.name
        );
    }
}

#[test]
fn every_function_of_one_argument_is_a_filter_with_the_same_result() {
    for function in all().filter(|function| function.most == 1) {
        let (rule, row, _) = function.example;
        let Ok(Value::Object(members)) = from_json(rule) else {
            panic!("{rule}")
        };
        let Some(column) = members[0].1.as_text() else {
            continue;
        };
        let template =
            Template::compile(&format!("{{{{ {column} | {} }}}}", function.name)).unwrap();
        let value = template.evaluate(&from_json(row).unwrap()).unwrap();
        assert_eq!(Ok(to_json(&value)), mapped(rule, row), "{}", function.name);
    }
}

#[test]
fn functions_give_null_for_null_unless_they_say_otherwise() {
    for function in all().filter(|function| function.null_is_null) {
        let arguments = vec![r#""n""#; function.least].join(",");
        let rule = format!(r#"{{"{}":[{arguments}]}}"#, function.name);
        // A constant "n" may be refused as a pattern before any row; a null never is.
        match mapped(&rule, r#"{"n":null}"#) {
            Ok(value) => assert_eq!(value, "null", "{}", function.name),
            Err(problem) => assert!(function.constants == 1, "{}: {problem}", function.name),
        }
    }
    assert_eq!(
        mapped(r#"{"concat":["a","b"]}"#, r#"{"a":null,"b":null}"#).unwrap(),
        "null"
    );
    assert_eq!(
        mapped(r#"{"concat":["a","b"]}"#, r#"{"a":null,"b":"x"}"#).unwrap(),
        "\"x\""
    );
    assert_eq!(
        mapped(r#"{"equals":["a",null]}"#, r#"{"a":null}"#).unwrap(),
        "true"
    );
}

#[test]
fn more_cases_of_functions() {
    for (rule, row, result) in [
        (
            r#"{"normalize_phone":"p"}"#,
            r#"{"p":"+1 (212) 555-0123"}"#,
            r#""+12125550123""#,
        ),
        (
            r#"{"normalize_phone":"p"}"#,
            r#"{"p":"0049 30 1234567"}"#,
            r#""+49301234567""#,
        ),
        (
            r#"{"normalize_phone":["p","+1"]}"#,
            r#"{"p":"212.555.0123"}"#,
            r#""+12125550123""#,
        ),
        (r#"{"normalize_phone":"p"}"#, r#"{"p":"n/a"}"#, "null"),
        (r#"{"normalize_phone":"p"}"#, r#"{"p":"123"}"#, "null"),
        (r#"{"substring":["t",3]}"#, r#"{"t":"Zoë!"}"#, r#""ë!""#),
        (r#"{"substring":["t",9,2]}"#, r#"{"t":"abc"}"#, r#""""#),
        (r#"{"round":"n"}"#, r#"{"n":2.5}"#, "3"),
        (r#"{"round":["n",-2]}"#, r#"{"n":1250}"#, "1300"),
        (r#"{"divide":[1,3]}"#, "{}", "0.33333333333333333333"),
        (
            r#"{"add":["a","b","c"]}"#,
            r#"{"a":9223372036854775807,"b":1,"c":0.5}"#,
            "9223372036854775808.5",
        ),
        (r#"{"lower":"n"}"#, r#"{"n":12.50}"#, r#""12.50""#),
        (r#"{"sha256":"n"}"#, r#"{"n":null}"#, "null"),
        (r#"{"length":"l"}"#, r#"{"l":[1,2,3]}"#, "3"),
        (
            r#"{"first":{"split":["t",";"]}}"#,
            r#"{"t":"a;b"}"#,
            r#""a""#,
        ),
        (
            r#"{"json_get":["d","a[0][1].b"]}"#,
            r#"{"d":"{\"a\":[[1,{\"b\":1.50}]]}"}"#,
            "1.50",
        ),
        (r#"{"json_get":["d","x.y[3]"]}"#, r#"{"d":{}}"#, "null"),
        (
            r#"{"parse_date":["t","%d.%m.%Y %H:%M"]}"#,
            r#"{"t":"29.02.2024 12:30"}"#,
            r#""2024-02-29T12:30:00""#,
        ),
        (
            r#"{"parse_date":["t","%Y-%m-%d %H:%M %z"]}"#,
            r#"{"t":"2024-02-29 12:30 +0200"}"#,
            r#""2024-02-29T10:30:00Z""#,
        ),
        (r#"{"contains":["l","b"]}"#, r#"{"l":["a","b"]}"#, "true"),
        (r#"{"equals":["a",1]}"#, r#"{"a":1.00}"#, "true"),
        (
            r#"{"replace":["t",{"column":"f"},"x"]}"#,
            r#"{"t":"a-b","f":"-"}"#,
            r#""axb""#,
        ),
        (r#"{"not":"b"}"#, r#"{"b":null}"#, "null"),
    ] {
        assert_eq!(mapped(rule, row).as_deref(), Ok(result), "{rule}");
    }
}

#[test]
fn functions_and_casts_say_why_they_refuse_a_value() {
    for (rule, row, part) in [
        (r#"{"divide":["n",0]}"#, r#"{"n":1}"#, "division by zero"),
        (r#"{"add":["n",1]}"#, r#"{"n":"1"}"#, "text is not a number"),
        (
            r#"{"date_format":["t","%Y"]}"#,
            r#"{"t":"soon"}"#,
            "not an ISO date",
        ),
        (r#"{"parse_json":"t"}"#, r#"{"t":"{"}"#, "not JSON"),
        (r#"{"first":"t"}"#, r#"{"t":"a"}"#, "needs a list"),
        (
            r#"{"column":"t","as":"integer"}"#,
            r#"{"t":"1.5"}"#,
            "fields.f: the value can't be cast to integer: text can't be cast to integer: `1.5`",
        ),
        (
            r#"{"column":"t","as":"boolean"}"#,
            r#"{"t":"maybe"}"#,
            "cast to boolean",
        ),
        (
            r#"{"column":"t","as":"date"}"#,
            r#"{"t":"2024-02-30"}"#,
            "cast to date",
        ),
        (
            r#"{"if":{"when":"t","then":1}}"#,
            r#"{"t":"x"}"#,
            "must be a boolean",
        ),
    ] {
        let problem = mapped(rule, row).unwrap_err();
        assert!(problem.contains(part), "{rule}: {problem}");
    }
    let huge = r#"{"multiply":["n","n"],"as":"string"}"#;
    let digits = "9".repeat(1_900);
    assert!(
        mapped(huge, &format!(r#"{{"n":{digits}}}"#))
            .unwrap_err()
            .contains("digits")
    );
    let x = "x".repeat(700_000);
    assert!(
        mapped(r#"{"concat":["x","x"]}"#, &format!(r#"{{"x":"{x}"}}"#))
            .unwrap_err()
            .contains("1 MiB")
    );
}
