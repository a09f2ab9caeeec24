//! Holds answers against the description of the API, more strictly than it says: a member that is not
//! described is refused.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use jsonschema::Validator;
use rowcast_server::openapi::openapi;
use rowcast_server::routes::ROUTES;
use serde_json::{Value, json};

use super::Answer;

/// What an answer to a route must look like, by its method and path.
struct Described {
    good: BTreeMap<String, Option<Validator>>,
    problem: Validator,
}

fn described() -> &'static Described {
    static DESCRIBED: OnceLock<Described> = OnceLock::new();
    DESCRIBED.get_or_init(|| {
        let mut document = openapi();
        for (_, schema) in document["components"]["schemas"].as_object_mut().unwrap() {
            close(schema);
        }
        let components = document["components"].clone();
        let validator = |schema: &Value| {
            let whole = json!({ "allOf": [schema], "components": components });
            jsonschema::draft202012::new(&whole).unwrap()
        };
        let mut good = BTreeMap::new();
        for route in ROUTES {
            let operation = &document["paths"][route.path][route.method];
            let content = &operation["responses"][route.status.to_string()]["content"];
            let schema = content.get("application/json").map(|form| &form["schema"]);
            let name = format!("{} {}", route.method, route.path);
            good.insert(name, schema.map(validator));
        }
        let problem = validator(&json!({ "$ref": "#/components/schemas/Problem" }));
        Described { good, problem }
    })
}

/// Objects that name their members have no others.
fn close(schema: &mut Value) {
    if let Value::Object(members) = schema {
        if members.contains_key("properties") && !members.contains_key("additionalProperties") {
            members.insert("additionalProperties".into(), json!(false));
        }
        members.values_mut().for_each(close);
    } else if let Value::Array(items) = schema {
        items.iter_mut().for_each(close);
    }
}

/// The route of a path.
fn route(method: &str, path: &str) -> Option<&'static rowcast_server::routes::Route> {
    let path = path.split('?').next().unwrap();
    let fits = |template: &str| {
        template.split('/').count() == path.split('/').count()
            && template
                .split('/')
                .zip(path.split('/'))
                .all(|(part, given)| part == given || part.starts_with('{') && !given.is_empty())
    };
    let mut found: Vec<_> = ROUTES
        .iter()
        .filter(|route| route.method.eq_ignore_ascii_case(method) && fits(route.path))
        .collect();
    // As the router does: what is written out goes before a parameter.
    found.sort_by_key(|route| route.path.matches('{').count());
    found.first().copied()
}

/// Panics unless the answer is as described. Gives the route if it answered as was asked.
pub(super) fn hold(method: &str, path: &str, answer: &Answer) -> Option<String> {
    let described = described();
    let what = format!("{method} {path}: {}\n{}", answer.head, answer.body);
    // Trouble at a destination is not the server's own, and a probe says so when there is any.
    let permitted = answer.status == 502 || answer.status == 503 && path == "/readyz";
    assert!(answer.status < 500 || permitted, "{what}");
    if answer.status >= 400 {
        assert!(
            answer
                .head
                .contains("content-type: application/problem+json"),
            "{what}"
        );
        valid(&described.problem, answer, &what);
        assert_eq!(answer.json()["status"], answer.status, "{what}");
        return None;
    }
    let route = route(method, path).unwrap_or_else(|| panic!("no route: {what}"));
    assert_eq!(answer.status, route.status, "{what}");
    let name = format!("{} {}", route.method, route.path);
    match &described.good[&name] {
        Some(validator) => {
            assert!(
                answer.head.contains("content-type: application/json"),
                "{what}"
            );
            valid(validator, answer, &what);
        }
        None => assert!(!answer.head.contains("application/json"), "{what}"),
    }
    Some(name)
}

fn valid(validator: &Validator, answer: &Answer, what: &str) {
    let wrong: Vec<String> = validator
        .iter_errors(&answer.json())
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(wrong.is_empty(), "{}\n{what}", wrong.join("\n"));
}
