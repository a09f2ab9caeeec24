//! The API over real connections and a real database: who may call what, and what each route answers.

#![allow(clippy::unwrap_used)] // the helpers of tests are tests

mod world;

use rowcast_app::serve::{Scope, TokenRequest};
use rowcast_server::openapi::openapi;
use rowcast_server::routes::ROUTES;
use rowcast_testkit::api::{Act, Script};
use rowcast_testkit::postgres::Cluster;
use serde_json::json;

use world::{World, filled, write};

#[tokio::test(flavor = "multi_thread")]
async fn every_route_of_the_document_wants_a_token_of_its_scope() {
    let world = World::open("api_scopes").await;
    let mut tokens = Vec::new();
    for scope in Scope::ALL {
        let request = TokenRequest {
            name: scope.as_str().to_owned(),
            scope,
            expires_in: Some("1h".into()),
        };
        tokens.push((
            scope,
            world.service.make_token(&request).await.unwrap().token,
        ));
    }
    let document = openapi();
    let mut walked = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            walked += 1;
            let what = format!("{method} {path}");
            let path = filled(path);
            let needed = operation["security"][0]["token"][0].as_str();
            let Some(needed) = needed else {
                // A hook wants a signature; here there is none of this name.
                if path == "/hooks/crm" {
                    world.ask_as(None, method, &path, "").await.expect(404);
                    continue;
                }
                assert!(
                    matches!(path.as_str(), "/healthz" | "/readyz" | "/docs/api"),
                    "{what} is open to all"
                );
                world.ask_as(None, method, &path, "").await.expect(200);
                continue;
            };
            for wrong in [None, Some("rowcast_0000"), Some("")] {
                let refused = world.ask_as(wrong, method, &path, "{}").await.expect(401);
                assert!(refused.head.contains("application/problem+json"), "{what}");
                assert_eq!(refused.json()["code"], "E0902", "{what}");
            }
            for (scope, token) in &tokens {
                // What needs a body that is none is refused after the token was accepted.
                let answer = world.ask_as(Some(token), method, &path, "[]").await;
                let permitted = scope.as_str() == needed
                    || Scope::ALL.iter().find(|s| s.as_str() == needed).unwrap() < scope;
                if permitted {
                    assert!(
                        !matches!(answer.status, 401 | 403),
                        "{what} as {}",
                        scope.as_str()
                    );
                } else {
                    assert_eq!(answer.status, 403, "{what} as {}", scope.as_str());
                    assert_eq!(answer.json()["code"], "E0903", "{what}");
                }
            }
        }
    }
    assert_eq!(walked, ROUTES.len());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_stored_as_hashes_and_end_when_they_are_taken_back() {
    let world = World::open("api_tokens").await;
    let made = world
        .post(
            "/api/v1/tokens",
            r#"{"name": "airflow", "scope": "run", "expires_in": "90d"}"#,
        )
        .await
        .expect(201)
        .json();
    let token = made["token"].as_str().unwrap();
    world
        .ask_as(Some(token), "get", "/api/v1/syncs", "")
        .await
        .expect(200);
    let listed = world.get("/api/v1/tokens").await.expect(200);
    assert!(
        !listed.body.contains(token) && listed.body.contains("airflow"),
        "{}",
        listed.body
    );
    let stored =
        Cluster::shared().psql(&world.database.name, "SELECT * FROM _rowcast.control_token");
    assert!(
        !stored.contains(token) && !stored.contains(&world.token),
        "{stored}"
    );
    let path = format!("/api/v1/tokens/{}", made["id"]);
    world
        .ask_as(Some(&world.token), "delete", &path, "")
        .await
        .expect(204);
    world
        .ask_as(Some(token), "get", "/api/v1/syncs", "")
        .await
        .expect(401);
    // One that has come to its end.
    Cluster::shared().psql(
        &world.database.name,
        "UPDATE _rowcast.control_token SET expires_at = now() WHERE name = 'first'",
    );
    world.get("/api/v1/syncs").await.expect(401);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_from_the_request_to_the_row_log() {
    let mut world = World::open("api_run").await;
    let plan = world
        .post("/api/v1/syncs/crm/plan", "")
        .await
        .expect(200)
        .json();
    assert_eq!((&plan["added"], &plan["calls"]), (&json!(40), &json!(2)));
    let asked = world
        .post("/api/v1/syncs/crm/run", r#"{"limit": 30}"#)
        .await
        .expect(202)
        .json();
    let job = asked["job"].as_i64().unwrap();
    let refused = world
        .post("/api/v1/syncs/crm/run", "")
        .await
        .expect(409)
        .json();
    assert_eq!(refused["code"], "E0303");
    assert_eq!(
        world.get(&format!("/api/v1/jobs/{job}")).await.json()["status"],
        "queued"
    );
    world.begin();
    let events = world.ended(job).await;
    assert!(
        events.contains("event: ended") && events.contains("\"outcome\":\"succeeded\""),
        "{events}"
    );

    let run = &world.get("/api/v1/syncs/crm/runs").await.expect(200).json()["items"][0];
    assert_eq!(
        (&run["status"], &run["delivered"], &run["trigger"]),
        (&json!("succeeded"), &json!(30), &json!("api"))
    );
    let number = run["run"].as_i64().unwrap();
    let alone = world
        .get(&format!("/api/v1/syncs/crm/runs/{number}"))
        .await
        .expect(200)
        .json();
    assert_eq!(&alone, run);

    let mut keys = Vec::new();
    let mut after = String::new();
    loop {
        let page = world
            .get(&format!(
                "/api/v1/syncs/crm/runs/{number}/log?limit=12{after}"
            ))
            .await
            .expect(200)
            .json();
        for line in page["items"].as_array().unwrap() {
            assert_eq!(line["outcome"], "delivered");
            keys.push(line["key"].as_str().unwrap().to_owned());
        }
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    let distinct: std::collections::BTreeSet<&String> = keys.iter().collect();
    assert_eq!((keys.len(), distinct.len()), (30, 30));
    let one = world
        .get(&format!(
            "/api/v1/syncs/crm/runs/{number}/log?key={}",
            keys[7]
        ))
        .await
        .json();
    assert_eq!(one["items"].as_array().unwrap().len(), 1);

    for _ in 0..3 {
        let asked = world
            .post("/api/v1/syncs/crm/run", "")
            .await
            .expect(202)
            .json();
        world.ended(asked["job"].as_i64().unwrap()).await;
    }
    let mut numbers = Vec::new();
    let mut before = String::new();
    loop {
        let page = world
            .get(&format!("/api/v1/syncs/crm/runs?limit=3{before}"))
            .await
            .expect(200)
            .json();
        numbers.extend(
            page["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|run| run["run"].as_i64().unwrap()),
        );
        match page["next"].as_str() {
            Some(next) => before = format!("&before={next}"),
            None => break,
        }
    }
    assert_eq!(numbers.len(), 4);
    assert!(numbers.is_sorted_by(|a, b| a > b), "{numbers:?}");

    let why = world.get("/api/v1/syncs/crm/why?key=7").await.expect(200);
    assert!(why.body.contains("delivered"), "{}", why.body);
    let status = world
        .get("/api/v1/syncs/crm/status")
        .await
        .expect(200)
        .json();
    assert_eq!(
        (&status["health"], &status["rows_in_state"]),
        (&json!("healthy"), &json!(40))
    );
    assert_eq!(status["next_runs"].as_array().unwrap().len(), 5);
    let metrics = world.get("/metrics").await.expect(200);
    assert!(
        metrics
            .body
            .contains("rowcast_sync_rows{sync=\"crm\"} 40\n"),
        "{}",
        metrics.body
    );
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_stopped_and_what_waits_is_withdrawn() {
    let mut world = World::open("api_cancel").await;
    let asked = world
        .post("/api/v1/syncs/crm/run", "")
        .await
        .expect(202)
        .json();
    let cancelled = world
        .post("/api/v1/syncs/crm/cancel", "")
        .await
        .expect(200)
        .json();
    assert_eq!(cancelled["running"], true);
    let job = world
        .get(&format!("/api/v1/jobs/{}", asked["job"]))
        .await
        .json();
    assert_eq!(
        (&job["status"], &job["outcome"]),
        (&json!("done"), &json!("cancelled"))
    );
    assert_eq!(world.crm.requests(), 0);

    let crm = std::fs::read_to_string(world.folder.path().join("destinations/crm.yml")).unwrap();
    write(
        world.folder.path(),
        "destinations/crm.yml",
        &format!("{crm}timeout: 1s\n"),
    );
    world.crm.script(Script::once(Act::Hold));
    world.begin();
    let asked = world
        .post("/api/v1/syncs/crm/run", "")
        .await
        .expect(202)
        .json();
    world.crm.wait_async(|log| !log.is_empty()).await;
    let live = world.get("/api/v1/live").await.expect(200).json();
    assert_eq!(
        (&live[0]["sync"], &live[0]["step"]),
        (&json!("crm"), &json!("deliver"))
    );
    let cancelled = world
        .post("/api/v1/syncs/crm/cancel", "")
        .await
        .expect(200)
        .json();
    assert_eq!(cancelled["running"], true);
    let events = world.ended(asked["job"].as_i64().unwrap()).await;
    assert!(events.contains("\"outcome\":\"cancelled\""), "{events}");
    world.crm.release();
    let asked = world
        .post("/api/v1/syncs/crm/run", "")
        .await
        .expect(202)
        .json();
    world.ended(asked["job"].as_i64().unwrap()).await;
    assert_eq!(world.crm.store().records.len(), 40);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_shown_without_secrets_and_rows_masked() {
    let world = World::open("api_objects").await;
    let dir = world.folder.path();
    for path in ["sources", "models", "destinations", "syncs"] {
        let listed = world
            .get(&format!("/api/v1/{path}"))
            .await
            .expect(200)
            .json();
        let name = listed[0]["name"].as_str().unwrap().to_owned();
        let one = world
            .get(&format!("/api/v1/{path}/{name}"))
            .await
            .expect(200);
        assert!(!one.body.contains(&world.database.url()), "{}", one.body);
        assert_eq!(one.json(), listed[0]);
        let missing = world
            .get(&format!("/api/v1/{path}/custmers"))
            .await
            .expect(404)
            .json();
        assert_eq!(missing["code"], "E0108");
    }
    let preview = world
        .get("/api/v1/models/customers/preview?limit=3")
        .await
        .expect(200);
    assert_eq!(preview.json()["rows"].as_array().unwrap().len(), 3);
    assert!(!preview.body.contains("@example.com"), "{}", preview.body);
    let tables = world.get("/api/v1/sources/shop/tables").await.expect(200);
    assert!(tables.body.contains("\"customers\""), "{}", tables.body);
    let checks = world
        .post("/api/v1/check", r#"{"names": ["shop"]}"#)
        .await
        .expect(200)
        .json();
    assert_eq!(checks[0]["name"], "shop");

    write(dir, "syncs/crm.yml", "sync: crm\nmodel: customer\n");
    let found = world.post("/api/v1/validate", "").await.expect(200).json();
    assert_eq!(found["valid"], false);
    assert!(found["problems"].as_array().unwrap().len() > 1, "{found}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_understood_is_a_problem_with_a_hint() {
    let world = World::open("api_problems").await;
    for (method, path, body, status, code) in [
        ("get", "/api/v1/nothing", "", 404, "E0904"),
        ("put", "/api/v1/syncs", "", 405, "E0904"),
        ("get", "/api/v1/syncs/crm/runs?limit=5000", "", 422, "E0904"),
        ("get", "/api/v1/syncs/crm/runs?limt=5", "", 422, "E0904"),
        ("get", "/api/v1/syncs/crm/why?key=1,2", "", 422, "E0904"),
        ("get", "/api/v1/syncs/crm/runs/12345", "", 404, "E0108"),
        ("get", "/api/v1/jobs/12345", "", 404, "E0108"),
        (
            "post",
            "/api/v1/syncs/crm/run",
            "{\"ful\": true}",
            422,
            "E0904",
        ),
        (
            "post",
            "/api/v1/syncs/crm/run",
            "{\"override\": [\"gravity\"]}",
            422,
            "E0801",
        ),
        ("post", "/api/v1/syncs/cmr/run", "", 404, "E0108"),
        (
            "post",
            "/api/v1/tokens",
            "{\"name\": \"x\", \"scope\": \"god\"}",
            422,
            "E0904",
        ),
        ("delete", "/api/v1/tokens/999", "", 404, "E0108"),
    ] {
        let answer = world
            .ask_as(Some(&world.token), method, path, body)
            .await
            .expect(status);
        assert!(answer.head.contains("application/problem+json"), "{path}");
        let problem = answer.json();
        assert_eq!(problem["code"], code, "{path}: {problem}");
        assert_eq!(problem["status"], status, "{path}");
        assert!(
            problem["hint"]
                .as_str()
                .is_some_and(|hint| !hint.is_empty()),
            "{path}: {problem}"
        );
    }
    world.end().await;
}
