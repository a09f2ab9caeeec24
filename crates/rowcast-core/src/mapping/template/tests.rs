//! Templates against rows: exact digits, encoding, bounds, and what must not compile.

use super::*;
use crate::json::{to_json, to_text};
use proptest::prelude::*;

fn context() -> Value {
    from_json(
        r#"{"first_name":"Ada","last_name":null,"id":7,"big":12345678901234567890.120,
            "active":true,"tags":["a","b"],"path":"a/b ?&é","dots":"..","empty":"",
            "record":{"key":{"id":42},"fields":{"n":1.50}}}"#,
    )
    .unwrap()
}

fn evaluate(text: &str) -> Value {
    Template::compile(text)
        .unwrap()
        .evaluate(&context())
        .unwrap()
}

fn failure(text: &str) -> Reason {
    Template::compile(text)
        .unwrap()
        .evaluate(&context())
        .unwrap_err()
}

#[test]
fn templates_give_these_values() {
    for (text, json) in [
        ("", "\"\""),
        ("plain {text}", "\"plain {text}\""),
        ("{{ id }}", "7"),
        ("{{id}}", "7"),
        ("{{ big }}", "12345678901234567890.120"),
        ("{{ active }}", "true"),
        ("{{ last_name }}", "null"),
        ("{{ tags }}", "[\"a\",\"b\"]"),
        ("{{ record.fields.n }}", "1.50"),
        ("{{ record.key }}", "{\"id\":42}"),
        ("{{ first_name }} {{ last_name }}.", "\"Ada .\""),
        (
            "{{ id }}-{{ active }}-{{ big }}",
            "\"7-true-12345678901234567890.120\"",
        ),
        ("{{ tags }}!", "\"[\\\"a\\\",\\\"b\\\"]!\""),
        (
            "{{ first_name ~ '-' ~ last_name ~ big ~ active }}",
            "\"Ada-12345678901234567890.120true\"",
        ),
        ("{{ last_name is none }}", "true"),
        ("{{ last_name is none and 'x' ~ 1 }}", "\"x1\""),
        ("{{ id + 1 }}", "8"),
        ("{{ record.fields.n * 2 }}", "3"),
        ("{{ record.fields.n > 1 }}", "true"),
        ("{{ 'yes' if active else 'no' }}", "\"yes\""),
        ("{{ tags[1] }}", "\"b\""),
        ("{{ missing | default('d') }}", "\"d\""),
        ("{{ record.nothing | default('d') }}", "\"d\""),
        ("{{ big if active else 0 }}", "12345678901234567890.120"),
        (
            "{{ {'a': [id, big]} }}",
            "{\"a\":[7,12345678901234567890.120]}",
        ),
        ("{{ last_name | upper ~ first_name | upper }}", "\"ADA\""),
        ("{{ (record.fields.n | round(1)) * 3 }}", "4.5"),
        ("{{ last_name | default('d') }}", "\"d\""),
        ("{{ last_name | upper | if_empty('d') }}", "\"d\""),
        ("{{ empty | if_empty('d') }}", "\"d\""),
        ("{{ last_name | string }}", "null"),
        ("{{ '3.7' | int + 1 }}", "4"),
        ("{{ id | string | length }}", "1"),
        ("{{ '0.5' | float }}", "0.5"),
        ("{{ 1 | bool }}", "true"),
        ("{{ tags | tojson }}", "\"[\\\"a\\\",\\\"b\\\"]\""),
        ("{{ path | urlencode }}", "\"a%2Fb%20%3F%26%C3%A9\""),
        ("{{ tags | count }}", "2"),
        ("{{ 'ab' | list }}", "[\"a\",\"b\"]"),
        ("{{ 'a b' | lines }}", "[\"a b\"]"),
        ("{{ tags | reverse }}", "[\"b\",\"a\"]"),
        ("{{ ['b', 'a', 'a'] | sort }}", "[\"a\",\"a\",\"b\"]"),
        ("{{ ['b', 'a', 'b'] | unique }}", "[\"b\",\"a\"]"),
        ("{{ [id, 3] | min }}", "3"),
        ("{{ [id, 3] | max }}", "7"),
        ("{{ [id, 3, record.fields.n] | sum }}", "11.5"),
        ("{{ tags | map('upper') }}", "[\"A\",\"B\"]"),
        ("{{ [1, 2, 3] | select('odd') }}", "[1,3]"),
        ("{{ [1, 2, 3] | reject('odd') }}", "[2]"),
        (
            "{{ [record.key] | selectattr('id', 'eq', 42) }}",
            "[{\"id\":42}]",
        ),
        ("{{ [record.key] | rejectattr('id', 'eq', 42) }}", "[]"),
        ("{{ record.key | attr('id') }}", "42"),
        ("{{ record.key | items }}", "[[\"id\",42]]"),
        ("{{ missing | d('d') }}", "\"d\""),
        (
            "{{ first_name | lower | sha256 | substring(1, 4) }}",
            "\"fdee\"",
        ),
        (
            "{{ '2024-02-29T12:30:00Z' | date_format('%d.%m.%Y') }}",
            "\"29.02.2024\"",
        ),
        ("{{ '{{' }}", "\"{{\""),
    ] {
        assert_eq!(to_json(&evaluate(text)), json, "{text}");
    }
}

#[test]
fn a_template_that_can_not_be_read_is_refused_before_any_row() {
    for (text, part) in [
        ("{% if a %}", "statements"),
        ("{# a #}", "comments"),
        ("{{ a", "closing"),
        ("{{ a + }}", ""),
        ("{{ a b }}", ""),
        ("{{ a | shout }}", "no filter `shout`"),
        ("{{ a is prime }}", "no test `prime`"),
        ("{{ now() }}", "no function `now`"),
        ("{{ a.strip() }}", "methods"),
        ("{{ 'x' * 1000000000 }}", "repeated"),
        ("{{ a ~ b == none }}", "is none"),
    ] {
        let reason = Template::compile(text).unwrap_err();
        assert_eq!(reason.code, Code::ExpressionInvalid, "{text}");
        let words = format!("{reason} {}", reason.hint.clone().unwrap_or_default());
        assert!(words.contains(part), "{text}: {words}");
    }
    let reason = Template::compile("{{ a | lenght }}").unwrap_err();
    assert_eq!(reason.hint.as_deref(), Some("did you mean `length`?"));
}

#[test]
fn a_template_fails_for_a_row_with_a_reason() {
    for (text, part) in [
        ("{{ missing }}", "there is no `missing` here"),
        ("{{ missing }}x", "there is no `missing` here"),
        ("{{ record.key.nothing }}", "no member `nothing`"),
        ("{{ missing + 1 }}", "undefined"),
        ("{{ first_name + 1 }}", ""),
        ("{{ id / 0 }}", ""),
    ] {
        let reason = failure(text);
        assert_eq!(reason.code, Code::ExpressionFailed, "{text}");
        assert!(reason.to_string().contains(part), "{text}: {reason}");
    }
}

#[test]
fn a_template_says_what_it_reads() {
    let template = Template::compile("{{ b }} {{ a.x }} {{ c ~ b ~ 'd' }}").unwrap();
    let names: Vec<&str> = template.columns().iter().map(|name| &**name).collect();
    assert_eq!(names, ["b", "a", "c"]);
    assert!(
        Template::compile("{{ a }}")
            .unwrap()
            .lone_column()
            .is_some()
    );
    assert!(
        Template::compile("{{ a }} ")
            .unwrap()
            .lone_column()
            .is_none()
    );
}

#[test]
fn fuel_and_output_are_bounded() {
    let long = format!("{{{{ id{} }}}}", " + id".repeat(700));
    let reason = failure(&long);
    assert_eq!(reason.code, Code::ExpressionFailed);
    assert!(reason.to_string().contains("steps"), "{reason}");
    for long in [
        "{{ id + X }}",
        "{{ not X }}",
        "{{ id | X }}",
        "{{ [X] }}",
        "{{ X }}",
    ] {
        for link in ["id + ", "not ", "- ", "default(1) | ", "(", "["] {
            let long = long.replace('X', &link.repeat(5_000));
            assert!(Template::compile(&long).is_err());
            let long = long.replace(&link.repeat(5_000), &link.repeat(300));
            if let Ok(template) = Template::compile(&long) {
                let _ = template.evaluate(&context());
            }
        }
    }

    let large: Object = vec![("t".into(), Value::from("x".repeat(700_000)))];
    for text in ["{{ t }}{{ t }}", "{{ t ~ t }}", "{{ [t, t] }}"] {
        let reason = Template::compile(text)
            .unwrap()
            .evaluate(&large)
            .unwrap_err();
        assert!(reason.to_string().contains("1 MiB"), "{text}: {reason}");
    }
}

#[test]
fn url_paths_percent_encode_values_and_refuse_what_would_change_the_path() {
    let url = |text: &str| {
        Template::compile(text)
            .unwrap()
            .evaluate_url_path(&context())
    };
    assert_eq!(
        url("/customers/{{ record.key.id }}").unwrap(),
        "/customers/42"
    );
    assert_eq!(
        url("/x/{{ path }}?q={{ path }}&e={{ empty }}").unwrap(),
        "/x/a%2Fb%20%3F%26%C3%A9?q=a%2Fb%20%3F%26%C3%A9&e="
    );
    assert_eq!(url("/x/{{ dots }}y").unwrap(), "/x/..y");
    for text in [
        "/x/{{ dots }}",
        "/x/{{ dots }}/y",
        "/x/.{{ '.' }}",
        "/x/{{ last_name }}",
        "/x/{{ empty }}",
    ] {
        assert_eq!(
            url(text).unwrap_err().code,
            Code::ExpressionFailed,
            "{text}"
        );
    }
}

#[test]
fn trees_keep_types_and_name_the_leaf_that_is_wrong() {
    let tree = from_json(
        r#"{"id":"{{ id }}","x":{"list":["{{ big }}","a {{ id }}",1,null]},"k":"plain"}"#,
    )
    .unwrap();
    let tree = TemplateTree::compile(&tree).unwrap();
    assert_eq!(
        to_json(&tree.evaluate(&context()).unwrap()),
        r#"{"id":7,"x":{"list":[12345678901234567890.120,"a 7",1,null]},"k":"plain"}"#
    );
    let names: Vec<&str> = tree.columns().iter().map(|name| &**name).collect();
    assert_eq!(names, ["id", "big"]);
    let bad = from_json(r#"{"x":{"list":["a","{{ b | nope }}"]}}"#).unwrap();
    let reason = TemplateTree::compile(&bad).unwrap_err();
    assert!(reason.message.starts_with("x.list[1]: "), "{reason}");
    assert!(TemplateTree::compile(&from_json(r#"{"{{ a }}":1}"#).unwrap()).is_err());
}

proptest! {
    #[test]
    fn a_value_in_a_body_tree_changes_neither_its_siblings_nor_the_shape(text in "\\PC*", quote in "[\"'\\\\{}%,:\\[\\]\n]{0,8}") {
        let text = format!("{quote}{text}{quote}");
        let tree = from_json(r#"{"before":1,"alone":"{{ v }}","inside":"<{{ v }}>","joined":"{{ v ~ '' }}","list":["{{ v }}",2],"after":"x"}"#).unwrap();
        let tree = TemplateTree::compile(&tree).unwrap();
        let context: Object = vec![("v".into(), Value::from(text.clone()))];
        let json = to_json(&tree.evaluate(&context).unwrap());
        let read = from_json(&json).unwrap();
        let expected = Value::Object(vec![
            ("before".into(), Value::Int(1)),
            ("alone".into(), Value::from(text.clone())),
            ("inside".into(), Value::from(format!("<{text}>"))),
            ("joined".into(), Value::from(text.clone())),
            ("list".into(), Value::List(vec![Value::from(text), Value::Int(2)])),
            ("after".into(), Value::from("x")),
        ]);
        prop_assert_eq!(read, expected);
    }

    #[test]
    fn exact_numbers_survive_a_placeholder(digits in "-?[1-9][0-9]{0,30}(\\.[0-9]{1,30})?") {
        let context: Object = vec![("n".into(), Value::Decimal(digits.clone().into()))];
        for text in ["{{ n }}", "{{n}}", "{{ n | default(0) }}", "{{ (n) }}"] {
            let value = Template::compile(text).unwrap().evaluate(&context).unwrap();
            prop_assert_eq!(to_json(&value), digits.clone());
        }
        let text = Template::compile("<{{ n }}>").unwrap().evaluate(&context).unwrap();
        prop_assert_eq!(to_text(&text), format!("<{digits}>"));
    }

    #[test]
    fn no_text_makes_the_compiler_or_the_evaluation_panic(text in "(\\{\\{|\\}\\}|[a-z|~.*'\"\\[\\](){}+0-9 é%#-]){0,40}") {
        if let Ok(template) = Template::compile(&text) {
            let _ = template.evaluate(&context());
            let _ = template.evaluate_url_path(&context());
        }
    }
}
