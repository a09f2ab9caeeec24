//! Every route answers as it is described, and none breaks whatever it is sent.

#![allow(clippy::unwrap_used)] // the helpers of tests are tests

mod world;

use std::collections::BTreeSet;

use rowcast_server::Rate;
use rowcast_server::openapi::openapi;
use rowcast_server::routes::ROUTES;
use rowcast_testkit::api::{Act, Answer, Script};
use rowcast_testkit::postgres::Cluster;
use serde_json::{Value, json};
use world::{World, filled, write};

/// What is asked with, where `{}` or nothing will not do.
const BODIES: &[(&str, &str)] = &[
    (
        "post /api/v1/sources",
        r#"{"object": {"source": "other", "host": "127.0.0.1", "database": "x", "user": "y"}}"#,
    ),
    (
        "post /api/v1/models",
        r#"{"yaml": "model: other\nsource: shop\nprimary_key: [id]\n", "sql": "SELECT 1 AS id"}"#,
    ),
    (
        "post /api/v1/destinations",
        r#"{"yaml": "destination: other\nconnector: \"null\"\n"}"#,
    ),
    (
        "post /api/v1/syncs",
        r#"{"yaml": "sync: other\nmodel: other\ndestination: other\nobject: x\nfields: { id: id }\n"}"#,
    ),
    (
        "post /api/v1/map",
        r#"{"sync": "crm", "rows": [{"email": "a"}, {"x": 1}]}"#,
    ),
    (
        "post /api/v1/destinations/{name}/try",
        r#"{"match": ["email=a@example.com"], "dry_run": true}"#,
    ),
    ("post /api/v1/syncs/{name}/run", r#"{"limit": 30}"#),
    (
        "post /api/v1/tokens",
        r#"{"name": "x", "scope": "read", "expires_in": "1h"}"#,
    ),
];

/// Routes with tests of their own, that need another tool's state, a destination that
/// describes objects, a channel or a signature.
const APART: &[&str] = &[
    "post /api/v1/syncs/{name}/adopt",
    "post /api/v1/syncs/{name}/suggest",
    "post /api/v1/destinations/{name}/choices",
    "post /api/v1/alerts/test",
    "post /api/v1/alerts/test/{channel}",
    "post /api/v1/syncs/{name}/mute",
    "post /api/v1/syncs/{name}/unmute",
    "post /hooks/{name}",
    "post /v2/retl-connections/{id}/start",
    "post /v2/retl-connections/{id}/stop",
    "get /v2/retl-connections/{id}/syncs",
    "get /v2/retl-connections/{id}/syncs/{sync}",
];

fn path_of(path: &str) -> String {
    let name = |kind: &str, name: &str| {
        path.contains(&format!("/{kind}/{{name}}"))
            .then_some(name.to_owned())
    };
    let found = name("sources", "shop")
        .or_else(|| name("models", "customers"))
        .or_else(|| name("connectors", "hubspot"))
        .unwrap_or_else(|| "crm".to_owned());
    let path = filled(&path.replace("{name}", &found));
    if path.ends_with("/why") {
        format!("{path}?key=7")
    } else {
        path
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_gives_what_its_description_says() {
    let mut world = World::open("api_described").await;
    write(
        world.folder.path(),
        "tests/mails.yml",
        "test: mails\nsync: crm\nrows: [{ id: 1, email: a }]\nexpect: [{ email: a }]\n",
    );
    // So that there is a run with rejected rows, in the row log and in groups.
    world
        .crm
        .script(Script::once(Act::Answer(Answer::status(422))));
    world.begin();
    let asked = world
        .post("/api/v1/syncs/crm/run", r#"{"limit": 30}"#)
        .await
        .expect(202)
        .json();
    world.ended(asked["job"].as_i64().unwrap()).await;
    let run =
        world.get("/api/v1/syncs/crm/runs").await.expect(200).json()["items"][0]["run"].clone();
    assert_eq!(run, json!(1));
    // One that reads the files again, so that the test is there.
    let text = std::fs::read_to_string(world.folder.path().join("syncs/crm.yml")).unwrap();
    let body = json!({ "yaml": format!("# again\n{text}") }).to_string();
    world
        .ask("put", "/api/v1/syncs/crm", &["If-Match: *"], &body)
        .await
        .expect(200);

    for route in ROUTES {
        let name = format!("{} {}", route.method, route.path);
        if APART.contains(&name.as_str()) || world.walked.lock().unwrap().contains(&name) {
            continue;
        }
        // In the other order, below: what refers to others first.
        if route.method == "delete" && route.path.contains("{name}") {
            continue;
        }
        let mut path = path_of(route.path);
        let given = BODIES
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, body)| *body);
        let body = match (route.method, given) {
            (_, Some(body)) => body.to_owned(),
            ("put", None) => {
                let file = world.get(&format!("{path}/file")).await.expect(200).json();
                json!({ "yaml": file["yaml"].as_str().unwrap().replace("hunter", "") }).to_string()
            }
            _ => String::new(),
        };
        if route.method == "delete" && route.path.ends_with("{id}") {
            let made = world
                .post("/api/v1/tokens", r#"{"name": "y", "scope": "read"}"#)
                .await
                .expect(201)
                .json();
            path = format!("/api/v1/tokens/{}", made["id"]);
        }
        let answer = world
            .ask(route.method, &path, &["If-Match: *"], &body)
            .await;
        assert!(
            answer.status < 400,
            "{name}: {}\n{}",
            answer.head,
            answer.body
        );
    }
    for kind in ["syncs", "destinations", "models", "sources"] {
        world
            .ask(
                "delete",
                &format!("/api/v1/{kind}/other"),
                &["If-Match: *"],
                "",
            )
            .await;
    }
    let walked = world.walked.lock().unwrap().clone();
    let missing: BTreeSet<String> = ROUTES
        .iter()
        .map(|route| format!("{} {}", route.method, route.path))
        .filter(|name| !walked.contains(name) && !APART.contains(&name.as_str()))
        .collect();
    assert!(missing.is_empty(), "no good answer of {missing:?}");
    world.end().await;
}

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % below as u64) as usize
    }

    /// Some JSON, with names that the routes know now and then.
    fn value(&mut self, depth: usize) -> Value {
        const NAMES: [&str; 18] = [
            "name",
            "names",
            "keys",
            "limit",
            "full",
            "override",
            "wait",
            "confirmed",
            "scope",
            "yaml",
            "object",
            "sql",
            "rows",
            "mapping",
            "dialect",
            "sync",
            "expires_in",
            "from",
        ];
        const TEXTS: [&str; 12] = [
            "",
            "crm",
            "[]",
            "\u{0}",
            "../../etc",
            "${env:HOME}",
            "{{ x }}",
            "read",
            "1",
            "sync: crm\n",
            "segment",
            "\u{1F600}",
        ];
        match self.roll(if depth == 0 { 5 } else { 8 }) {
            0 => Value::Null,
            1 => json!(self.roll(2) == 0),
            2 => json!([0_i64, -1, i64::MAX, 7, 1 << 40][self.roll(5)]),
            3 => json!(1.5e300),
            4 => json!(TEXTS[self.roll(TEXTS.len())]),
            5 => (0..self.roll(4)).map(|_| self.value(depth - 1)).collect(),
            _ => {
                let mut members = serde_json::Map::new();
                for _ in 0..self.roll(5) {
                    members.insert(
                        NAMES[self.roll(NAMES.len())].to_owned(),
                        self.value(depth - 1),
                    );
                }
                Value::Object(members)
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_body_breaks_a_route() {
    let rate = Rate {
        requests: u32::MAX,
        ..Rate::default()
    };
    let world = World::open_with("api_fuzzed", |_| {}, |server| server.with_rate(rate)).await;
    let before = std::fs::read_to_string(world.folder.path().join("syncs/crm.yml")).unwrap();
    let document = openapi();
    let mut dice = Dice(0x9E37_79B9_7F4A_7C15);
    for route in ROUTES
        .iter()
        .filter(|route| matches!(route.method, "post" | "put"))
    {
        let path = path_of(route.path);
        let takes_body = !document["paths"][route.path][route.method]["requestBody"].is_null();
        for round in 0..40 {
            let body = match round {
                0 => "[]".to_owned(),
                1 => "{".to_owned(),
                2 => "\u{0}\u{0}".to_owned(),
                3 => format!("{}{}", "[".repeat(5000), "]".repeat(5000)),
                4 => "\"x\"".to_owned(),
                _ => {
                    let mut value = dice.value(3);
                    if round % 3 == 0 && !value.is_object() {
                        value = json!({ "names": value });
                    }
                    value.to_string()
                }
            };
            // Each answer is held to its description, and one of the server's own faults fails.
            let answer = world
                .ask(route.method, &path, &["If-Match: \"no\""], &body)
                .await;
            if round < 5 && takes_body {
                assert!(
                    answer.status >= 400,
                    "{} {path}: {body}\n{}",
                    route.method,
                    answer.body
                );
            }
        }
    }
    let after = std::fs::read_to_string(world.folder.path().join("syncs/crm.yml")).unwrap();
    assert_eq!(after, before);
    let large = format!("{{\"keys\": [\"{}\"]}}", "x".repeat(2 * 1024 * 1024));
    // The server answers before it has read everything, and may close the line.
    let answer = world
        .post("/api/v1/syncs/crm/retry", &large[..1024 * 1024 + 2])
        .await;
    assert_eq!(
        (answer.status, &answer.json()["code"]),
        (413, &json!("E0904"))
    );
    let state = Cluster::shared().psql(
        &world.database.name,
        "SELECT count(*) FROM _rowcast.control_token",
    );
    assert!(!state.is_empty());
    world.end().await;
}
