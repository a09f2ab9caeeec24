//! The OpenAPI document, made from the table of routes.

use axum::extract::State;
use serde_json::{Map, Value, json};

use crate::App;
use crate::answer::{Answered, ok};
use crate::routes::{ROUTES, Route};

pub(crate) async fn document(State(_): State<App>) -> Answered {
    ok(&openapi())
}

/// The document.
pub fn openapi() -> Value {
    let mut paths = Map::new();
    for route in ROUTES {
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method] = operation(route);
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
            "schemas": { "Problem": problem() },
        },
    })
}

/// The reference page of the API.
pub fn page() -> String {
    let mut out = String::from(
        "# HTTP API\n\nWhat `rowcast serve` answers. [Running as a service](../serve.md#the-api) says how to ask. The same as an \
         OpenAPI document: `GET /api/v1/openapi.json`.\n\n| request | scope | gives |\n|---|---|---|\n",
    );
    for route in ROUTES {
        let scope = route
            .scope
            .map_or("none", rowcast_app::serve::Scope::as_str);
        let method = route.method.to_uppercase();
        out.push_str(&format!(
            "| `{method} {}` | {scope} | {} |\n",
            route.path, route.summary
        ));
    }
    for (heading, part) in [
        ("Parameters", Part::Query),
        ("Members of bodies", Part::Body),
    ] {
        out.push_str(&format!(
            "\n## {heading}\n\n| request | name | what it is |\n|---|---|---|\n"
        ));
        for route in ROUTES {
            let rows = match part {
                Part::Query => route.query,
                Part::Body => route.body,
            };
            let method = route.method.to_uppercase();
            for (name, about) in rows {
                out.push_str(&format!(
                    "| `{method} {}` | `{name}` | {about} |\n",
                    route.path
                ));
            }
        }
    }
    out
}

enum Part {
    Query,
    Body,
}

fn operation(route: &Route) -> Value {
    let mut parameters: Vec<Value> = route
        .path
        .split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
        .map(|name| {
            json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } })
        })
        .collect();
    parameters.extend(route.query.iter().map(|(name, about)| {
        json!({ "name": name, "in": "query", "description": about, "schema": { "type": "string" } })
    }));
    let mut operation = json!({
        "operationId": name(route),
        "summary": route.summary,
        "parameters": parameters,
        "responses": {
            route.status.to_string(): { "description": "As asked" },
            "default": {
                "description": "A problem",
                "content": {
                    "application/problem+json": {
                        "schema": { "$ref": "#/components/schemas/Problem" }
                    }
                },
            },
        },
        "security": [],
    });
    if let Some(scope) = route.scope {
        operation["security"] = json!([{ "token": [scope.as_str()] }]);
    }
    if !route.body.is_empty() {
        let members: Map<String, Value> = route
            .body
            .iter()
            .map(|(name, about)| ((*name).to_owned(), json!({ "description": about })))
            .collect();
        operation["requestBody"] = json!({
            "content": {
                "application/json": {
                    "schema": { "type": "object", "additionalProperties": false, "properties": members }
                }
            },
        });
    }
    operation
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

fn problem() -> Value {
    json!({
        "type": "object",
        "required": ["type", "title", "status", "code", "detail", "errors"],
        "properties": {
            "type": { "type": "string", "description": "urn:rowcast:error:CODE" },
            "title": { "type": "string", "description": "What the code means" },
            "status": { "type": "integer" },
            "code": { "type": "string", "description": "`rowcast explain CODE` says more" },
            "detail": { "type": "string" },
            "hint": { "type": "string", "description": "The way out" },
            "errors": { "type": "array", "items": { "type": "object" }, "description": "Every problem, with its place in a file" },
        },
    })
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
}
