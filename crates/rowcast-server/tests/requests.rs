//! What holds for requests to any route: keys, limits, waiting, names, and what is remembered.

#![allow(clippy::unwrap_used)] // the helpers of tests are tests

mod world;

use std::time::Duration;

use rowcast_app::serve::{Scope, TokenRequest};
use rowcast_server::Rate;
use rowcast_server::openapi::openapi;
use rowcast_testkit::api::{Act, Answer, Script};
use rowcast_testkit::postgres::Cluster;
use serde_json::json;
use world::{World, filled};

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_repeated_is_carried_out_once() {
    let world = World::open("api_repeat").await;
    let path = "/api/v1/syncs/crm/run";
    let key = ["Idempotency-Key: 7c9e6679"];
    let body = r#"{"limit": 5}"#;
    let first = world.ask("post", path, &key, body).await.expect(202);
    let again = world.ask("post", path, &key, body).await.expect(202);
    assert_eq!(first.body, again.body);
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!(first.header("idempotency-replayed"), None);
    // Without the key it is another request, and with another body or path the key is wrong.
    world.ask("post", path, &[], body).await.expect(409);
    for (path, body) in [
        (path, r#"{"limit": 6}"#),
        ("/api/v1/syncs/crm/cancel", body),
    ] {
        let refused = world.ask("post", path, &key, body).await.expect(422).json();
        assert_eq!(refused["code"], "E0909");
    }
    // What was refused is remembered as well.
    let other = ["Idempotency-Key: other"];
    world.ask("post", path, &other, "{}").await.expect(409);
    world
        .ask("post", "/api/v1/syncs/crm/cancel", &[], "")
        .await
        .expect(200);
    let refused = world.ask("post", path, &other, "{}").await.expect(409);
    assert_eq!(refused.json()["code"], "E0303");
    // Keys belong to a token.
    let made = TokenRequest {
        name: "second".into(),
        scope: Scope::Run,
        expires_in: None,
    };
    let second = format!(
        "Authorization: Bearer {}",
        world.service.make_token(&made).await.unwrap().token
    );
    let theirs = world
        .ask_with(&[&second, key[0]], "post", path, body)
        .await
        .expect(202);
    assert_ne!(theirs.body, first.body);
    // A token is not stored, so it can't be given twice.
    let token = r#"{"name": "x", "scope": "read"}"#;
    world
        .ask("post", "/api/v1/tokens", &key, token)
        .await
        .expect(422);
    let long = format!("Idempotency-Key: {}", "x".repeat(300));
    world.ask("post", path, &[&long], body).await.expect(422);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_requests_with_one_key_at_once_one_is_carried_out() {
    let world = World::open("api_repeat_race").await;
    let key = ["Idempotency-Key: race"];
    let body = r#"{"yaml": "destination: hole\nconnector: \"null\"\n"}"#;
    let asked = (0..6).map(|_| world.ask("post", "/api/v1/destinations", &key, body));
    let answers = futures::future::join_all(asked).await;
    let made = answers
        .iter()
        .filter(|answer| answer.status == 201 && answer.header("idempotency-replayed").is_none())
        .count();
    assert_eq!(made, 1);
    for answer in &answers {
        assert!(
            answer.status == 201 || answer.json()["code"] == "E0909",
            "{}",
            answer.body
        );
    }
    // The server that had begun died: the key is free after its time.
    Cluster::shared().psql(
        &world.database.name,
        "UPDATE _rowcast.control_repeat SET status = NULL, body = NULL",
    );
    let busy = world
        .ask("post", "/api/v1/destinations", &key, body)
        .await
        .expect(409);
    assert_eq!(
        (busy.header("retry-after"), &busy.json()["code"]),
        (Some("1"), &json!("E0909"))
    );
    Cluster::shared().psql(
        &world.database.name,
        "UPDATE _rowcast.control_repeat SET busy_until = now() - interval '1 second'",
    );
    let exists = world
        .ask("post", "/api/v1/destinations", &key, body)
        .await
        .expect(409);
    assert_eq!(exists.json()["code"], "E0907");
    // A day later nothing is known of it.
    Cluster::shared().psql(
        &world.database.name,
        "UPDATE _rowcast.control_repeat SET at = now() - interval '25 hours'",
    );
    let other = body.replace("hole", "other");
    world
        .ask("post", "/api/v1/destinations", &key, &other)
        .await
        .expect(201);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_asks_too_often_is_told_when_to_come_back() {
    let rate = Rate {
        requests: 3,
        window: Duration::from_secs(3600),
    };
    let world = World::open_with("api_rate", |_| {}, |server| server.with_rate(rate)).await;
    for left in [2, 1, 0] {
        let answer = world.get("/api/v1/syncs").await.expect(200);
        assert_eq!(
            answer.header("ratelimit-policy"),
            Some("\"token\";q=3;w=3600")
        );
        let said = answer.header("ratelimit").unwrap();
        assert!(
            said.starts_with(&format!("\"token\";r={left};t=")),
            "{said}"
        );
    }
    let refused = world.get("/api/v1/syncs").await.expect(429);
    assert_eq!(refused.json()["code"], "E0910");
    assert!(
        refused
            .header("retry-after")
            .unwrap()
            .parse::<u64>()
            .unwrap()
            > 3000
    );
    // Others are not concerned.
    let made = TokenRequest {
        name: "second".into(),
        scope: Scope::Read,
        expires_in: None,
    };
    let second = world.service.make_token(&made).await.unwrap().token;
    world
        .ask_as(Some(&second), "get", "/api/v1/syncs", "")
        .await
        .expect(200);
    world.ask_as(None, "get", "/healthz", "").await.expect(200);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_with_wrong_tokens_waits_and_who_has_a_good_one_does_not() {
    let rate = Rate {
        requests: 3,
        window: Duration::from_secs(3600),
    };
    let wrong = |server: rowcast_server::Server| server.with_wrong_tokens(rate);
    let world = World::open_with("api_wrong_tokens", |_| {}, wrong).await;
    world.get("/api/v1/syncs").await.expect(200);
    for number in 0..3 {
        let token = format!("rowcast_{number}");
        let refused = world.ask_as(Some(&token), "get", "/api/v1/syncs", "").await;
        assert_eq!(refused.expect(401).json()["code"], "E0902");
    }
    let refused = world
        .ask_as(Some("rowcast_3"), "get", "/api/v1/syncs", "")
        .await
        .expect(429);
    assert_eq!(refused.json()["code"], "E0913");
    let seconds: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((3500..=3600).contains(&seconds), "{seconds}");
    world.get("/api/v1/syncs").await.expect(200);
    world.ask_as(None, "get", "/healthz", "").await.expect(200);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_nothing_would_be_made_of_is_refused() {
    let world = World::open("api_bodies").await;
    let document = openapi();
    let mut walked = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            if method == "get" || operation.get("requestBody").is_some() {
                continue;
            }
            walked += 1;
            let path = filled(path);
            for body in [r#"{"limit": 1}"#, "[]", "limit=1"] {
                let refused = world.ask(method, &path, &[], body).await.expect(400).json();
                assert_eq!(refused["code"], "E0904", "{method} {path}");
            }
        }
    }
    assert!(walked > 10, "{walked} routes");
    // Nothing was done, and a body that says nothing is as none.
    assert_eq!(
        world.get("/api/v1/syncs/crm").await.expect(200).json()["paused"],
        false
    );
    for body in ["", "{}", " { }\n"] {
        world
            .ask("post", "/api/v1/syncs/crm/cancel", &[], body)
            .await
            .expect(200);
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_other_names_and_other_sites_are_refused_before_anything() {
    let world = World::open("api_names").await;
    world
        .ask("get", "/api/v1/syncs", &["Host: evil.example"], "")
        .await
        .expect(421);
    world
        .ask("get", "/healthz", &["Host: evil.example"], "")
        .await
        .expect(421);
    world
        .ask("get", "/api/v1/syncs", &["Origin: http://evil.example"], "")
        .await
        .expect(403);
    world
        .ask("post", "/api/v1/syncs/crm/run", &["Origin: null"], "")
        .await
        .expect(403);
    world
        .ask("get", "/api/v1/syncs", &["Origin: http://localhost"], "")
        .await
        .expect(200);
    // A token in another place than the header is none.
    let path = format!("/api/v1/syncs?token={}", world.token);
    world.ask_as(None, "get", &path, "").await.expect(401);
    let cookie = format!("Cookie: token={}", world.token);
    world
        .ask_with(&[&cookie], "get", "/api/v1/syncs", "")
        .await
        .expect(401);
    let page = world.ask_as(None, "get", "/docs/api", "").await.expect(200);
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'"), "{policy}");
    let named = World::open_with(
        "api_named",
        |_| {},
        |server| server.with_names(&["Rowcast.Example.com".to_owned()]),
    )
    .await;
    named
        .ask("get", "/api/v1/syncs", &["Host: rowcast.example.com"], "")
        .await
        .expect(200);
    named.end().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asked_for_what_may_change_something_is_remembered() {
    let world = World::open("api_audit").await;
    world.get("/api/v1/syncs").await.expect(200);
    world
        .post("/api/v1/syncs/crm/run", r#"{"keys": ["4711"]}"#)
        .await
        .expect(202);
    world
        .ask(
            "delete",
            "/api/v1/models/customers?x=secret",
            &["If-Match: *"],
            "",
        )
        .await
        .expect(409);
    let audit = world.get("/api/v1/audit").await.expect(200);
    assert!(
        !audit.body.contains("4711") && !audit.body.contains("secret"),
        "{}",
        audit.body
    );
    let items = audit.json()["items"].clone();
    let told: Vec<String> = items
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            format!(
                "{} {} {} {}",
                row["token_name"], row["method"], row["path"], row["status"]
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            "\"first\" \"DELETE\" \"/api/v1/models/customers\" 409",
            "\"first\" \"POST\" \"/api/v1/syncs/crm/run\" 202",
        ]
    );
    let page = world.get("/api/v1/audit?limit=1").await.expect(200).json();
    let next = page["next"].as_str().unwrap();
    let rest = world
        .get(&format!("/api/v1/audit?before={next}"))
        .await
        .expect(200)
        .json();
    assert_eq!(rest["items"][0], items[1]);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_is_waited_for_and_runs_are_listed_over_all_syncs() {
    let mut world = World::open("api_wait").await;
    let second = "sync: second\nmodel: customers\ndestination: crm\nobject: other\nfields: { email: email }\nlog: all\n";
    world
        .post("/api/v1/syncs", &json!({ "yaml": second }).to_string())
        .await
        .expect(201);
    let asked = world
        .post("/api/v1/syncs/crm/run", "{}")
        .await
        .expect(202)
        .json();
    let path = format!("/api/v1/jobs/{}", asked["job"]);
    // Nothing runs yet: the wait ends by itself.
    assert_eq!(
        world
            .get(&format!("{path}?wait=10ms"))
            .await
            .expect(200)
            .json()["status"],
        "queued"
    );
    for wrong in ["2m", "x", "-1s"] {
        world.get(&format!("{path}?wait={wrong}")).await.expect(422);
    }
    // One batch is refused: its rows are rejected one by one, with numbers of their own.
    world
        .crm
        .script(Script::once(Act::Answer(Answer::status(422))));
    world.begin();
    let ended = world
        .get(&format!("{path}?wait=60s"))
        .await
        .expect(200)
        .json();
    assert_eq!(ended["status"], "done");
    let run = ended["run"].as_i64().unwrap();
    let waited = world
        .get(&format!("/api/v1/syncs/crm/runs/{run}?wait=60s"))
        .await
        .expect(200)
        .json();
    assert_ne!(waited["status"], "running");
    for _ in 0..2 {
        let asked = world
            .post("/api/v1/syncs/second/run", "{}")
            .await
            .expect(202)
            .json();
        world
            .get(&format!("/api/v1/jobs/{}?wait=60s", asked["job"]))
            .await
            .expect(200);
    }
    let mut seen = Vec::new();
    let mut before = String::new();
    loop {
        let page = world
            .get(&format!("/api/v1/runs?limit=2{before}"))
            .await
            .expect(200)
            .json();
        let items = page["items"].as_array().unwrap();
        seen.extend(items.iter().map(|run| {
            (
                run["sync"].as_str().unwrap().to_owned(),
                run["run"].as_i64().unwrap(),
            )
        }));
        match page["next"].as_str() {
            Some(next) => before = format!("&before={next}"),
            None => break,
        }
    }
    let names: Vec<&str> = seen.iter().map(|(sync, _)| sync.as_str()).collect();
    assert_eq!(names, ["second", "second", "crm"]);
    let of = async |query: &str| {
        let found = world
            .get(&format!("/api/v1/runs?{query}"))
            .await
            .expect(200)
            .json();
        found["items"].as_array().unwrap().len()
    };
    assert_eq!(of("sync=crm").await, 1);
    assert_eq!(of("status=succeeded&sync=second").await, 2);
    assert_eq!(of("status=failed").await, 0);
    assert_eq!(
        (
            of("since=2020-01-01T00:00:00Z").await,
            of("since=2999-01-01T00:00:00Z").await
        ),
        (3, 0)
    );
    for wrong in ["sync=nobody", "since=yesterday", "before=x", "limit=0"] {
        assert!(
            world.get(&format!("/api/v1/runs?{wrong}")).await.status >= 400,
            "{wrong}"
        );
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_went_wrong_with_rows_is_told_in_groups() {
    let mut world = World::open("api_groups").await;
    world.begin();
    let asked = world
        .post("/api/v1/syncs/crm/run", "{}")
        .await
        .expect(202)
        .json();
    let done = world
        .get(&format!("/api/v1/jobs/{}?wait=60s", asked["job"]))
        .await
        .expect(200)
        .json();
    Cluster::shared().psql(
        &world.database.name,
        "UPDATE _rowcast.row_history SET outcome = 'rejected', code = 'E0604', message = 'no account \"' || key || '\" in plan ' || key
         WHERE trim(key, '[]')::int <= 30;
         UPDATE _rowcast.row_history SET outcome = 'invalid', code = 'E0501', message = 'empty' WHERE trim(key, '[]')::int > 38",
    );
    let path = format!("/api/v1/syncs/crm/runs/{}/errors", done["run"]);
    let groups = world.get(&path).await.expect(200).json();
    assert_eq!(groups.as_array().unwrap().len(), 2);
    assert_eq!(
        (
            &groups[0]["reason"],
            &groups[0]["count"],
            &groups[0]["code"],
            &groups[0]["keys"]
        ),
        (
            &json!("no account \"…\" in plan [#]"),
            &json!(30),
            &json!("E0604"),
            &json!(["[10]", "[11]", "[12]", "[13]", "[14]"])
        )
    );
    assert_eq!(
        (&groups[1]["outcome"], &groups[1]["keys"]),
        (&json!("invalid"), &json!(["[39]", "[40]"]))
    );
    world
        .get("/api/v1/syncs/crm/runs/999/errors")
        .await
        .expect(404);
    world.end().await;
}
