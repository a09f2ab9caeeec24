//! Others that start runs: RudderStack's calls as its clients for Airflow and Dagster make them,
//! webhooks of dbt Cloud, signed triggers.

#![allow(clippy::unwrap_used)] // the helpers of tests are tests

mod world;

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit as _, Mac as _};
use rowcast_testkit::api::{Act, Answer, Script};
use rowcast_testkit::postgres::Cluster;
use serde_json::{Value, json};
use sha2::Sha256;
use world::{World, write};

const SECRET: &str = "the-secret-of-the-hook";

fn signature(body: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(body.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn digits(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// Seconds since 1970 on this machine, as the server sees it.
#[expect(
    clippy::disallowed_methods,
    reason = "a signature's time is compared with the server's clock"
)]
fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap().as_secs()
}

impl World {
    /// A server with the hooks `dbt_cloud` and `nightly`, and a sync after job 1234.
    async fn with_hooks(name: &str) -> Self {
        Self::open_as(name, |options| {
            let dir = &options.dir;
            write(
                dir,
                "rowcast.yml",
                &format!(
                    "project: shop\nversion: 1\nhooks:\n  dbt_cloud: {{ dbt: {{ secret: {SECRET} }} }}\n  \
                     nightly: {{ trigger: {{ secret: [another, {SECRET}], syncs: [crm, idle] }} }}\n"
                ),
            );
            write(
                dir,
                "syncs/after_dbt.yml",
                "sync: after_dbt\nmodel: customers\ndestination: crm\nobject: other\nfields: { email: email }\n\
                 schedule: { dbt: { job: 1234 } }\n",
            );
            write(
                dir,
                "syncs/idle.yml",
                "sync: idle\nmodel: customers\ndestination: crm\nobject: third\nfields: { email: email }\npaused: true\n",
            );
        })
        .await
    }

    async fn dbt(&self, body: &str) -> world::Answer {
        let digits = digits(&signature(body));
        let header = format!("Authorization: {digits}");
        self.ask_with(&[&header], "post", "/hooks/dbt_cloud", body)
            .await
    }

    async fn trigger(&self, id: &str, at: u64, body: &str) -> world::Answer {
        let signed = BASE64.encode(signature(&format!("{id}.{at}.{body}")));
        let headers = [
            format!("webhook-id: {id}"),
            format!("webhook-timestamp: {at}"),
            format!("webhook-signature: v1,{signed}"),
        ];
        let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
        self.ask_with(&headers, "post", "/hooks/nightly", body)
            .await
    }

    fn jobs(&self) -> String {
        let sql = "SELECT sync, trigger, status FROM _rowcast.control_job ORDER BY id";
        Cluster::shared().psql(&self.database.name, sql)
    }
}

/// A webhook as dbt Cloud documents it.
fn dbt_event(id: &str, kind: &str, job: &str, code: i64) -> String {
    json!({
        "accountId": 1,
        "webhookId": "wsu_12345abcde",
        "eventId": id,
        "timestamp": today(),
        "eventType": kind,
        "webhookName": "test",
        "data": {
            "jobId": job,
            "jobName": "Daily Job (dbt build)",
            "runId": "12345",
            "environmentId": "1234",
            "runStatus": if code == 10 { "Success" } else { "Errored" },
            "runStatusCode": code,
            "runStatusMessage": "None",
            "runReason": "Kicked off from the UI",
            "runStartedAt": "2023-01-31T19:28:07Z",
        },
    })
    .to_string()
}

/// The time as the webhook writes it; any day of the present does.
fn today() -> String {
    let sql = "SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')";
    Cluster::shared().psql("postgres", sql).trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_of_dbt_cloud_that_succeeded_starts_its_syncs_once() {
    let world = World::with_hooks("triggers_dbt").await;
    for nothing in [
        dbt_event("wev_1", "job.run.started", "1234", 1),
        dbt_event("wev_2", "job.run.completed", "1234", 20),
        dbt_event("wev_3", "job.run.completed", "99", 10),
    ] {
        let answer = world.dbt(&nothing).await.expect(200).json();
        assert_eq!(answer["started"], json!([]), "{nothing}");
        assert!(answer["note"].is_string());
    }
    assert_eq!(world.jobs(), "");
    let good = dbt_event("wev_4", "job.run.completed", "1234", 10);
    let answer = world.dbt(&good).await.expect(200).json();
    assert_eq!(answer["started"][0]["sync"], "after_dbt");
    Cluster::shared().psql(
        &world.database.name,
        "UPDATE _rowcast.control_job SET status = 'done', outcome = 'succeeded', finished_at = now()",
    );
    let again = world.dbt(&good).await.expect(200).json();
    assert_eq!(again["started"], json!([]));
    assert_eq!(world.jobs().trim(), "after_dbt|dbt|done");
    // Another event of the same job starts it again.
    world
        .dbt(&dbt_event("wev_5", "job.run.completed", "1234", 10))
        .await
        .expect(200);
    assert_eq!(world.jobs().lines().count(), 2);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_signed_starts_nothing() {
    let world = World::with_hooks("triggers_unsigned").await;
    let body = dbt_event("wev_1", "job.run.completed", "1234", 10);
    let other = body.replace("\"1234\"", "\"1235\"");
    let digits = digits(&signature(&body));
    for (headers, body) in [
        (vec![], &body),
        (vec![format!("Authorization: {digits}")], &other),
        (vec!["Authorization: Bearer abc".to_owned()], &body),
        (
            vec![format!("Authorization: Bearer {}", world.token)],
            &body,
        ),
    ] {
        let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
        let answer = world
            .ask_with(&headers, "post", "/hooks/dbt_cloud", body)
            .await;
        let answer = answer.expect(401);
        assert_eq!(answer.json()["code"], "E0912");
        assert!(!answer.body.contains(&digits) && !answer.body.contains(SECRET));
    }
    // Of the year the example is from: it may have been dealt with and forgotten.
    let old = body.replace(&today()[..4], "2023");
    world.dbt(&old).await.expect(401);
    world.dbt("{\"eventId\": 1}").await.expect(422);
    for at in [now() - 301, now() + 301] {
        world.trigger("late", at, "{}").await.expect(401);
    }
    world
        .ask_with(&[], "post", "/hooks/nothing", "{}")
        .await
        .expect(404);
    assert_eq!(world.jobs(), "");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_trigger_starts_its_syncs_and_a_repetition_nothing() {
    let world = World::with_hooks("triggers_signed").await;
    let answer = world.trigger("msg_1", now(), "{}").await.expect(200).json();
    assert_eq!(answer["started"].as_array().map(Vec::len), Some(1));
    assert_eq!(answer["started"][0]["sync"], "crm");
    assert!(answer["note"].as_str().unwrap().contains("paused"));
    let again = world.trigger("msg_1", now(), "{}").await.expect(200).json();
    assert_eq!(again["started"], json!([]));
    // One waits already.
    let busy = world.trigger("msg_2", now(), "{}").await.expect(200).json();
    assert_eq!(busy["started"], json!([]));
    assert_eq!(world.jobs().trim(), "crm|hook|queued");
    world.end().await;
}

const CONNECTION: &str = "/v2/retl-connections/crm";

impl World {
    /// As the clients poll: until it is no longer running.
    async fn polled(&self, id: &str) -> Value {
        let job: i64 = id.parse().unwrap();
        self.ended(job).await;
        let path = format!("{CONNECTION}/syncs/{id}");
        self.get(&path).await.expect(200).json()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn orchestrators_of_rudderstack_start_follow_and_stop_runs() {
    let mut world = World::open("triggers_retl").await;
    world.crm.script(Script::always(Act::Hold));
    world.begin();
    // The provider for Airflow sends an empty object, Dagster's resource a type.
    let started = world
        .post(&format!("{CONNECTION}/start"), "{}")
        .await
        .expect(200);
    let id = started.json()["syncId"].as_str().unwrap().to_owned();
    world.crm.wait_async(|log| !log.is_empty()).await;
    let running = world
        .get(&format!("{CONNECTION}/syncs/{id}"))
        .await
        .expect(200)
        .json();
    assert_eq!(running["status"], "running");
    assert_eq!(
        (&running["finishedAt"], &running["error"]),
        (&Value::Null, &Value::Null)
    );
    let body = r#"{"syncType": "incremental"}"#;
    world
        .post(&format!("{CONNECTION}/start"), body)
        .await
        .expect(409);
    world.crm.behave();
    world.crm.release();
    let done = world.polled(&id).await;
    assert_eq!(done["status"], "succeeded", "{done:#}");
    assert_eq!(done["id"], id.as_str());
    let metrics = &done["metrics"];
    assert_eq!(metrics["succeeded"]["total"], 40);
    assert_eq!(metrics["changed"]["total"], 40);
    assert_eq!(
        (&metrics["failed"]["total"], &metrics["total"]),
        (&json!(0), &json!(40))
    );
    assert!(done["startedAt"].is_string() && done["finishedAt"].is_string());
    // What fails says why.
    world
        .crm
        .script(Script::always(Act::Answer(Answer::status(422))));
    let full = r#"{"syncType": "full"}"#;
    let started = world
        .post(&format!("{CONNECTION}/start"), full)
        .await
        .expect(200);
    let failed = world
        .polled(started.json()["syncId"].as_str().unwrap())
        .await;
    assert_eq!(failed["status"], "failed");
    assert!(
        failed["error"].as_str().unwrap().contains("E0702"),
        "{failed:#}"
    );
    assert_eq!(failed["metrics"]["failed"]["total"], 40);
    // Stopping, also when nothing runs.
    world
        .post(&format!("{CONNECTION}/stop"), "")
        .await
        .expect(204);
    let list = world
        .get(&format!("{CONNECTION}/syncs"))
        .await
        .expect(200)
        .json();
    assert_eq!(list["paging"], json!({ "total": 2 }));
    assert_eq!(list["syncs"][0], failed);
    assert_eq!(list["syncs"][1], done);
    let page = world
        .get(&format!("{CONNECTION}/syncs?per_page=1&status=succeeded"))
        .await;
    assert_eq!(page.expect(200).json()["syncs"], json!([done]));
    let page = world
        .get(&format!("{CONNECTION}/syncs?per_page=1"))
        .await
        .expect(200)
        .json();
    let next = page["paging"]["next"].as_str().unwrap();
    let page = world.get(next).await.expect(200).json();
    assert_eq!(page["syncs"], json!([done]));
    let after = format!("{CONNECTION}/syncs?started_after=2100-01-01T00:00:00Z");
    assert_eq!(
        world.get(&after).await.expect(200).json()["paging"]["total"],
        0
    );
    // What is not there.
    for path in ["start", "stop"] {
        let path = format!("/v2/retl-connections/none/{path}");
        world.post(&path, "{}").await.expect(404);
    }
    for path in ["crm/syncs/999", "crm/syncs/x", "none/syncs", "none/syncs/1"] {
        world
            .get(&format!("/v2/retl-connections/{path}"))
            .await
            .expect(404);
    }
    let wrong = r#"{"syncType": "mirror"}"#;
    world
        .post(&format!("{CONNECTION}/start"), wrong)
        .await
        .expect(400);
    world.end().await;
}
