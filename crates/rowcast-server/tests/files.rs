//! Objects of the project over the API: written to its files, or refused without a trace.

#![allow(clippy::unwrap_used)] // the helpers of tests are tests

mod world;

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use world::{World, write};

const EVENTS: &str = "# Who asked for this: the shop.\nsync: events\nmodel: customers\ndestination: crm\nobject: event\n\
                      fields:\n  email: email # lower case already\n";

fn read(world: &World, file: &str) -> Option<String> {
    std::fs::read_to_string(world.folder.path().join(file)).ok()
}

/// Every file of the project with its text.
fn all(dir: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for folder in ["", "sources", "models", "destinations", "syncs"] {
        for entry in std::fs::read_dir(dir.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                let text = std::fs::read_to_string(&path).unwrap();
                found.push((path.to_string_lossy().into_owned(), text));
            }
        }
    }
    found.sort();
    found
}

fn yaml(text: &str) -> String {
    json!({ "yaml": text }).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_is_made_changed_and_deleted_in_its_file_and_served_at_once() {
    let world = World::open("api_files").await;
    let made = world
        .ask(
            "post",
            "/api/v1/syncs",
            &["Content-Type: text/yaml"],
            EVENTS,
        )
        .await
        .expect(201);
    assert_eq!(read(&world, "syncs/events.yml").as_deref(), Some(EVENTS));
    let first = made.header("etag").unwrap().to_owned();
    assert_eq!(made.json()["version"], first.trim_matches('"'));
    let listed = world.get("/api/v1/syncs/events").await.expect(200);
    assert_eq!(listed.header("etag"), Some(first.as_str()));
    assert_eq!(listed.json()["model"], "customers");

    // As an object, without comments; placeholders are placeholders.
    let model = json!({ "object": {
        "model": "mails", "source": "shop", "primary_key": ["id"], "description": "no: \"quotes\" # here",
    }, "sql": "SELECT id, email FROM customers\n" });
    world
        .post("/api/v1/models", &model.to_string())
        .await
        .expect(201);
    assert!(
        read(&world, "models/mails.sql")
            .unwrap()
            .starts_with("SELECT id")
    );
    let preview = world
        .get("/api/v1/models/mails/preview?limit=1")
        .await
        .expect(200)
        .json();
    assert_eq!(preview["columns"][1]["name"], "email");

    let changed = EVENTS.replace("customers", "mails");
    let header = format!("If-Match: {first}");
    let path = "/api/v1/syncs/events";
    let second = world
        .ask("put", path, &[&header], &yaml(&changed))
        .await
        .expect(200);
    let second = second.header("etag").unwrap().to_owned();
    assert_ne!(first, second);
    assert_eq!(read(&world, "syncs/events.yml"), Some(changed));
    assert_eq!(world.get(path).await.expect(200).json()["model"], "mails");

    // Which version, and that it is this one, must be said.
    let refused = world.ask("put", path, &[], &yaml(EVENTS)).await.expect(428);
    assert!(refused.body.contains("If-Match"), "{}", refused.body);
    let stale = world
        .ask("put", path, &[&header], &yaml(EVENTS))
        .await
        .expect(412);
    assert_eq!(stale.json()["code"], "E0906");
    world.ask("delete", path, &[&header], "").await.expect(412);
    world.ask("delete", path, &[], "").await.expect(428);
    world
        .ask(
            "put",
            "/api/v1/syncs/nobody",
            &["If-Match: *"],
            &yaml(EVENTS),
        )
        .await
        .expect(404);
    let taken = world.post("/api/v1/syncs", &yaml(EVENTS)).await.expect(409);
    assert_eq!(taken.json()["code"], "E0907");

    // Deleted, when nobody refers to it.
    let used = world
        .ask("delete", "/api/v1/models/mails", &["If-Match: *"], "")
        .await
        .expect(409);
    assert_eq!(used.json()["code"], "E0905");
    assert!(used.body.contains("sync events"), "{}", used.body);
    let header = format!("If-Match: {second}");
    world.ask("delete", path, &[&header], "").await.expect(204);
    assert_eq!(read(&world, "syncs/events.yml"), None);
    world.get(path).await.expect(404);
    world
        .ask("delete", "/api/v1/models/mails", &["If-Match: *"], "")
        .await
        .expect(204);
    assert_eq!(
        (
            read(&world, "models/mails.yml"),
            read(&world, "models/mails.sql")
        ),
        (None, None)
    );
    for (kind, name) in [
        ("sources", "shop"),
        ("destinations", "crm"),
        ("models", "customers"),
    ] {
        let path = format!("/api/v1/{kind}/{name}");
        world
            .ask("delete", &path, &["If-Match: *"], "")
            .await
            .expect(409);
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_valid_leaves_no_trace() {
    let world = World::open("api_files_invalid").await;
    let before = all(world.folder.path());
    let any = ["If-Match: *"];
    let wrong = EVENTS.replace("model: customers", "model: custmers");
    let refused = world
        .post("/api/v1/syncs", &yaml(&wrong))
        .await
        .expect(422)
        .json();
    let error = &refused["errors"][0];
    assert_eq!(
        (&error["file"], &error["line"]),
        (&json!("syncs/events.yml"), &json!(3)),
        "{refused}"
    );
    let dry = json!({ "yaml": EVENTS, "dry_run": true });
    world
        .post("/api/v1/syncs", &dry.to_string())
        .await
        .expect(201);
    for body in [
        "[]".to_owned(),
        "{}".to_owned(),
        yaml("sync: [\n"),
        yaml("model: customers\n"),
        yaml(&EVENTS.replace("sync: events", "sync: ../../etc/passwd")),
        yaml(&EVENTS.replace("sync: events", "sync: .hidden")),
        yaml(&EVENTS.replace("sync: events", "sync: a/b")),
        json!({ "yaml": EVENTS, "object": {} }).to_string(),
        json!({ "yaml": EVENTS, "sql": "SELECT 1" }).to_string(),
    ] {
        world.post("/api/v1/syncs", &body).await.expect(422);
    }
    for name in [
        "..%2f..%2fetc%2fpasswd",
        "%2e%2e",
        "a%00b",
        "syncs%2fcrm",
        "x.yml",
    ] {
        for path in [
            format!("/api/v1/syncs/{name}"),
            format!("/api/v1/models/{name}"),
        ] {
            world
                .ask("put", &path, &any, &yaml(EVENTS))
                .await
                .expect(422);
            world.ask("delete", &path, &any, "").await.expect(422);
            world.get(&format!("{path}/file")).await.expect(422);
        }
    }
    // A name in the file that is not the path's.
    let other = world
        .ask("put", "/api/v1/syncs/crm", &any, &yaml(EVENTS))
        .await
        .expect(422);
    assert_eq!(other.json()["code"], "E0107");
    // Secrets and commands.
    let url = world.database.url();
    for line in [
        "password: hunter22".to_owned(),
        "password: { command: [sh, -c, id] }".to_owned(),
        format!("url: {}", url.replace("://", "://rowcast:hunter22@")),
    ] {
        let text =
            format!("source: other\nhost: localhost\ndatabase: shop\nuser: rowcast\n{line}\n");
        let refused = world
            .post("/api/v1/sources", &yaml(&text))
            .await
            .expect(422);
        let codes: Vec<Value> = refused.json()["errors"]
            .as_array()
            .unwrap()
            .iter()
            .map(|e| e["code"].clone())
            .collect();
        assert!(codes.contains(&json!("E0117")), "{line}: {}", refused.body);
        assert!(!refused.body.contains("hunter22"), "{}", refused.body);
    }
    assert_eq!(all(world.folder.path()), before);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_writers_of_one_version_exactly_one_wins() {
    let world = World::open("api_files_race").await;
    let version = world.get("/api/v1/syncs/crm").await.expect(200);
    let version = format!("If-Match: {}", version.header("etag").unwrap());
    let text = read(&world, "syncs/crm.yml").unwrap();
    let bodies: Vec<String> = (0..8).map(|n| yaml(&format!("# {n}\n{text}"))).collect();
    let headers = [version.as_str()];
    let asked = bodies
        .iter()
        .map(|body| world.ask("put", "/api/v1/syncs/crm", &headers, body));
    let mut statuses: Vec<u16> = futures::future::join_all(asked)
        .await
        .iter()
        .map(|a| a.status)
        .collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 412, 412, 412, 412, 412, 412, 412]);
    let written = read(&world, "syncs/crm.yml").unwrap();
    assert!(
        written.ends_with(&text) && written.starts_with("# "),
        "{written}"
    );
    world.end().await;
}

fn git(dir: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .arg("-C")
        .arg(dir)
        .args(["-c", "user.name=t", "-c", "user.email=t@example.com"])
        .args(arguments)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_becomes_a_commit_of_that_file_alone() {
    let world = World::open_as("api_files_git", |options| {
        git(&options.dir, &["init", "-q"]);
        git(&options.dir, &["add", "-A"]);
        git(&options.dir, &["commit", "-q", "-m", "first"]);
        options.git = true;
    })
    .await;
    let dir = world.folder.path();
    // What somebody else is in the middle of.
    write(dir, "notes.txt", "mine\n");
    git(dir, &["add", "notes.txt"]);
    write(
        dir,
        "models/customers.yml",
        &(read(&world, "models/customers.yml").unwrap() + "# mine\n"),
    );

    let body = json!({ "yaml": EVENTS, "author": "Ada <ada@example.com>", "message": "Send events\n\nAsked for." });
    let made = world
        .post("/api/v1/syncs", &body.to_string())
        .await
        .expect(201)
        .json();
    assert_eq!(made["commit"], git(dir, &["rev-parse", "HEAD"]));
    let shown = ["show", "--name-status", "--format=%an <%ae>|%cn|%s"];
    assert_eq!(
        git(dir, &shown),
        "Ada <ada@example.com>|Rowcast|Send events\n\nA\tsyncs/events.yml"
    );
    world
        .ask("delete", "/api/v1/syncs/events", &["If-Match: *"], "")
        .await
        .expect(204);
    assert_eq!(
        git(dir, &shown),
        "first <token@rowcast.invalid>|Rowcast|Delete sync events\n\nD\tsyncs/events.yml"
    );
    let status = git(dir, &["status", "--porcelain"]);
    assert_eq!(
        status, "M models/customers.yml\nA  notes.txt",
        "what is others' stays as it was"
    );

    // A commit that can't be made: the file is as before, and nothing is staged.
    write(
        dir,
        ".git/hooks/pre-commit",
        "#!/bin/sh\necho no such thing >&2\nexit 1\n",
    );
    let made = Command::new("chmod")
        .arg("+x")
        .arg(dir.join(".git/hooks/pre-commit"))
        .status();
    assert!(made.unwrap().success());
    let refused = world.post("/api/v1/syncs", &body.to_string()).await;
    assert_eq!(
        (refused.status, &refused.json()["code"]),
        (409, &json!("E0908"))
    );
    assert!(refused.body.contains("no such thing"), "{}", refused.body);
    assert_eq!(read(&world, "syncs/events.yml"), None);
    assert_eq!(git(dir, &["status", "--porcelain"]), status);
    world.get("/api/v1/syncs/events").await.expect(404);
    let wrong = json!({ "yaml": EVENTS, "author": "--amend" });
    world
        .post("/api/v1/syncs", &wrong.to_string())
        .await
        .expect(422);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_can_not_commit_says_so_at_its_start() {
    let world = World::open("api_files_nogit").await;
    let options = rowcast_app::serve::ServeOptions {
        dir: world.folder.path().to_owned(),
        env: None,
        database: None,
        jobs: 1,
        git: true,
    };
    let failure = rowcast_app::serve::Service::open(options)
        .await
        .unwrap_err();
    assert_eq!(failure.problems[0].reason.code.as_str(), "E0908");
    assert!(
        failure.problems[0]
            .reason
            .hint
            .as_deref()
            .unwrap()
            .contains("--git")
    );
    world.end().await;
}
