//! The description of the API, made of the table of routes and the types of what they take and give.

use axum::extract::State;
use schemars::generate::SchemaSettings;
use schemars::{Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use crate::App;
use crate::answer::{Answered, Document, ok};
use crate::routes::{ROUTES, Route};

pub(crate) async fn document(State(_): State<App>) -> Answered {
    ok(&openapi())
}

/// The document.
pub fn openapi() -> Value {
    let mut types = Types::new();
    let problem = types.answers.subschema_for::<Document<'_>>();
    let mut paths = Map::new();
    for route in ROUTES {
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method] = operation(route, &mut types, &problem);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Rowcast",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The API of a project that `rowcast serve` serves.",
        },
        "paths": paths,
        "components": {
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
            "schemas": types.definitions(),
        },
    })
}

/// What describes types: as they are read, and as they are written.
pub(crate) struct Types {
    pub(crate) requests: SchemaGenerator,
    answers: SchemaGenerator,
}

impl Types {
    pub(crate) fn new() -> Self {
        let mut settings = SchemaSettings::draft2020_12();
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
        Self {
            requests: settings.clone().for_deserialize().into_generator(),
            answers: settings.for_serialize().into_generator(),
        }
    }

    fn definitions(mut self) -> Value {
        let mut all = self.requests.take_definitions(true);
        all.append(&mut self.answers.take_definitions(true));
        all.sort_keys();
        all.into()
    }
}

/// The reference page of the API.
pub fn page() -> String {
    let mut out = String::from(
        "# HTTP API\n\nWhat `rowcast serve` answers. [Running as a service](../serve.md#the-api) says how to ask. The same as an \
         OpenAPI document, with every member of every answer: [openapi.json](openapi.json), or `GET /api/v1/openapi.json` of a server.\n\n\
         | request | scope | gives |\n|---|---|---|\n",
    );
    for route in ROUTES {
        out.push_str(&format!(
            "| `{}` | {} | {} |\n",
            route.asked(),
            route.scope_word(),
            route.summary
        ));
    }
    let (mut queries, mut bodies) = (String::new(), String::new());
    let mut types = Types::new();
    for route in ROUTES {
        for (out, describe) in [(&mut queries, route.query), (&mut bodies, route.body)] {
            for member in members(&describe(&mut types.requests)) {
                let asked = route.asked();
                out.push_str(&format!(
                    "| `{asked}` | `{}` | {} |\n",
                    member.name, member.about
                ));
            }
        }
    }
    for (heading, rows) in [("Parameters", queries), ("Members of bodies", bodies)] {
        out.push_str(&format!(
            "\n## {heading}\n\n| request | name | what it is |\n|---|---|---|\n{rows}"
        ));
    }
    out
}

/// A parameter, or a member of a body.
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) about: String,
    required: bool,
    schema: Value,
}

/// The members of an object's description, in the order of its fields.
pub(crate) fn members(schema: &Schema) -> Vec<Member> {
    let required = schema.get("required").and_then(Value::as_array);
    let Some(Value::Object(properties)) = schema.get("properties") else {
        return Vec::new();
    };
    properties
        .iter()
        .map(|(name, described)| {
            let mut described = described.clone();
            let about = match &mut described {
                Value::Object(described) => described.remove("description"),
                _ => None,
            };
            let about = about.as_ref().and_then(Value::as_str).unwrap_or_default();
            Member {
                name: name.clone(),
                about: about.replace('\n', " "),
                required: required.is_some_and(|names| names.iter().any(|known| known == name)),
                schema: described,
            }
        })
        .collect()
}

/// Whether a description is that of `()`.
fn is_nothing(schema: &Schema) -> bool {
    schema.get("type").is_some_and(|kind| kind == "null")
}

fn operation(route: &Route, types: &mut Types, problem: &Schema) -> Value {
    let mut parameters: Vec<Value> = route
        .path
        .split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
        .map(|name| {
            json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } })
        })
        .collect();
    let query = (route.query)(&mut types.requests);
    parameters.extend(members(&query).into_iter().map(|member| {
        json!({
            "name": member.name, "in": "query", "required": member.required,
            "description": member.about, "schema": member.schema,
        })
    }));
    if route.wants_version() {
        parameters.push(json!({
            "name": "If-Match", "in": "header", "required": true, "schema": { "type": "string" },
            "description": "The `ETag` of what is changed: 412 when it has changed since, 428 without it",
        }));
    }
    if route.method == "post" && route.scope.is_some() {
        parameters.push(json!({
            "name": "Idempotency-Key", "in": "header", "required": false, "schema": { "type": "string", "maxLength": 255 },
            "description": "A request that is repeated with the same key within a day is carried out once",
        }));
    }
    let mut operation = json!({
        "operationId": name(route),
        "summary": route.summary,
        "parameters": parameters,
        "security": [],
    });
    if let Some(scope) = route.scope {
        operation["security"] = json!([{ "token": [scope.as_str()] }]);
    }
    let body = (route.body)(&mut types.requests);
    if !is_nothing(&body) {
        let mut forms = content(&body);
        if let Some(form) = body.get("x-text").and_then(Value::as_str) {
            forms[form] = json!({ "schema": { "type": "string" } });
        }
        operation["requestBody"] = json!({ "content": forms });
    }
    let answer = (route.answer)(&mut types.answers);
    let mut good = json!({ "description": "As asked" });
    if !is_nothing(&answer) {
        good["content"] = content(&answer);
    }
    operation["responses"] = json!({
        route.status.to_string(): good,
        "default": {
            "description": "A problem",
            "content": { "application/problem+json": { "schema": problem } },
        },
    });
    operation
}

/// A body or an answer, by the form in which it is sent.
fn content(schema: &Schema) -> Value {
    match schema.get("contentMediaType").and_then(Value::as_str) {
        Some(form) => json!({ form: { "schema": { "type": "string" } } }),
        None => json!({ "application/json": { "schema": schema } }),
    }
}

impl Route {
    /// Whether a body is described.
    pub(crate) fn takes_body(&self) -> bool {
        !is_nothing(&(self.body)(&mut Types::new().requests))
    }

    /// `GET /api/v1/syncs/{name}`.
    pub(crate) fn asked(&self) -> String {
        format!("{} {}", self.method.to_uppercase(), self.path)
    }

    /// Whether it changes a file, and so must say which version.
    fn wants_version(&self) -> bool {
        self.method == "put" || self.method == "delete" && self.path.ends_with("/{name}")
    }

    /// What a token must permit, in a word.
    pub(crate) fn scope_word(&self) -> &'static str {
        self.scope.map_or("none", rowcast_app::serve::Scope::as_str)
    }
}

/// `post_syncs_name_run`: stable as long as method and path are.
fn name(route: &Route) -> String {
    let path = route.path.trim_start_matches("/api/v1");
    let words: Vec<&str> = path
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect();
    format!("{}_{}", route.method, words.join("_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_is_described_under_a_name_of_its_own() {
        let document = openapi();
        let mut names = std::collections::BTreeSet::new();
        for route in ROUTES {
            let found = &document["paths"][route.path][route.method];
            assert_eq!(found["summary"], route.summary);
            assert_eq!(
                found["security"].as_array().map(Vec::is_empty),
                Some(route.scope.is_none())
            );
            assert!(names.insert(name(route)), "{} is there twice", name(route));
        }
        let paths = document["paths"].as_object().unwrap();
        let operations: usize = paths
            .values()
            .map(|path| path.as_object().unwrap().len())
            .sum();
        assert_eq!(operations, ROUTES.len());
    }

    #[test]
    fn a_type_that_is_read_and_written_is_described_once() {
        let mut types = Types::new();
        for route in ROUTES {
            (route.query)(&mut types.requests);
            (route.body)(&mut types.requests);
            (route.answer)(&mut types.answers);
        }
        for (name, read) in types.requests.definitions() {
            if let Some(written) = types.answers.definitions().get(name) {
                assert_eq!(read, written, "{name} would hide another type");
            }
        }
    }

    #[test]
    fn every_parameter_and_member_says_what_it_is() {
        let mut types = Types::new();
        for route in ROUTES {
            for describe in [route.query, route.body] {
                for member in members(&describe(&mut types.requests)) {
                    let asked = route.asked();
                    assert!(!member.about.is_empty(), "{asked}: {}", member.name);
                }
            }
        }
        let text = openapi().to_string();
        for inner in ["[`", "Self", "crate::"] {
            assert!(!text.contains(inner), "{inner} means nothing to a reader");
        }
    }
}
