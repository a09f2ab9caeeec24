//! Hosts that misbehave: shell scripts in Node's place.

use rowcast_testkit::api::Api;

use super::*;
use crate::http::client::{Client, SystemLookup};
use rowcast_core::address::AddressPolicy;

/// A host whose program is this script, which has said that it is ready.
async fn host(folder: &tempfile::TempDir, script: &str) -> Host {
    let node = folder.path().join("node");
    let text = format!("#!/bin/sh\necho '{{\"ready\":\"20\"}}'\nread line\n{script}\n");
    // Another process writes the program: while this one has a file open for writing, a test beside
    // that starts a process hands it on, and a file that is open for writing can't be run.
    let source = folder.path().join("source");
    std::fs::write(&source, text).expect("a script");
    let install = std::process::Command::new("install")
        .args(["-m", "755"])
        .args([&source, &node])
        .status();
    assert!(install.expect("install runs").success(), "a program");
    let path = std::env::join_paths([folder.path()]).expect("a path");
    let installation = Installation::at(folder.path().to_path_buf(), Some(&path));
    let policy = AddressPolicy::new(&["127.0.0.1".to_owned()]).expect("a policy");
    let client = Client::new(
        policy,
        Arc::new(SystemLookup),
        Duration::from_secs(5),
        false,
    );
    let exchange = Exchange {
        client: client.expect("a client"),
        rewrites: Vec::new(),
    };
    Host::start(&installation, Arc::new(exchange), 512)
        .await
        .expect("it starts")
}

async fn called(host: &Host, deadline: Duration) -> (End, Doings) {
    host.call("write", &Secret::new("{}".to_owned()), deadline)
        .await
}

fn gone(end: End) -> String {
    match end {
        End::Gone(how) => how,
        other => panic!("{other:?}"),
    }
}

const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_host_that_ends_had_no_effect_before_its_first_request() {
    let folder = tempfile::tempdir().expect("a folder");
    let host = host(&folder, "exit 1").await;
    let (end, doings) = called(&host, LONG).await;
    assert_eq!(gone(end), "it ended");
    assert_eq!(doings.reached, 0);
    assert!(!host.is_alive());
}

#[tokio::test]
async fn a_host_that_dies_after_a_request_may_have_had_an_effect() {
    let folder = tempfile::tempdir().expect("a folder");
    let api = Api::start();
    let asked = format!(
        r#"{{"fetch":1,"for":1,"method":"POST","url":"{}","headers":[["content-type","application/json"]],"text":"{{}}"}}"#,
        api.url("/x")
    );
    let host = host(&folder, &format!("echo '{asked}'\nread answer\nexit 1")).await;
    let (end, doings) = called(&host, LONG).await;
    gone(end);
    assert_eq!((doings.reached, doings.answered), (1, 1));
    assert_eq!(api.requests(), 1);
}

#[tokio::test]
async fn no_request_is_made_for_what_nobody_waits_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let api = Api::start();
    let asked = format!(
        r#"{{"fetch":1,"for":7,"method":"GET","url":"{}","headers":[]}}"#,
        api.url("/x")
    );
    let script =
        format!("echo '{asked}'\nread answer\necho '{{\"id\":1,\"result\":7}}'\nread rest");
    let host = host(&folder, &script).await;
    let (end, _) = called(&host, LONG).await;
    assert!(matches!(end, End::Answered(value) if value == 7));
    assert_eq!(api.requests(), 0);
}

#[tokio::test]
async fn a_host_that_hangs_is_killed() {
    let folder = tempfile::tempdir().expect("a folder");
    let host = host(&folder, "read never").await;
    let (end, _) = called(&host, Duration::from_millis(50)).await;
    assert!(gone(end).contains("did not answer"));
    assert!(!host.is_alive());
}

#[tokio::test]
async fn memory_that_ran_out_and_nonsense_are_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let words = "FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory: hunter2";
    let first = host(&folder, &format!("echo '{words}' >&2\nkill -ABRT $$")).await;
    let how = gone(called(&first, LONG).await.0);
    assert!(how.contains("ran out of its memory"), "{how}");
    assert!(!how.contains("hunter2"));
    let second = host(&folder, "echo nonsense\nread never").await;
    let how = gone(called(&second, LONG).await.0);
    assert!(how.contains("no message"), "{how}");
}
