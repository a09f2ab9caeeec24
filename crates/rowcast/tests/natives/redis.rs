//! From PostgreSQL to a stream of Redis.

use std::collections::{BTreeMap, BTreeSet};

use rowcast_testkit::servers::Redis;
use serde_json::Value;

use crate::customers::{self, killed};
use crate::project::Project;

const PASSWORD: &str = "canary-7731";

/// The user `caster` has this password from now on.
fn allow(redis: &Redis, password: &str) {
    let word = format!(">{password}");
    redis.ask(&["ACL", "SETUSER", "caster", "reset"]);
    redis.ask(&["ACL", "SETUSER", "caster", "on", &word, "~*", "+@all"]);
}

/// The newest value of each key, and the idempotency keys there are.
fn held(redis: &Redis) -> (BTreeMap<i64, String>, BTreeSet<String>) {
    let entries = redis.ask(&["XRANGE", "customers", "-", "+"]);
    let mut held = BTreeMap::new();
    let mut known = BTreeSet::new();
    for entry in entries.items() {
        let words: Vec<&str> = entry.items()[1]
            .items()
            .iter()
            .map(rowcast_testkit::servers::Answer::text)
            .collect();
        let field = |name: &str| {
            let place = words.iter().position(|word| *word == name);
            words[place.expect("the field is there") + 1]
        };
        known.insert(field("idempotency_key").to_owned());
        let key: i64 = field("key").parse().expect("a key");
        if field("operation") == "delete" {
            held.remove(&key);
        } else {
            let body: Value = serde_json::from_str(field("body")).expect("fields");
            held.insert(key, body["name"].as_str().unwrap_or_default().to_owned());
        }
    }
    (held, known)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_worker_and_a_refused_login_lose_nothing_and_repetitions_carry_their_keys() {
    let redis = Redis::start();
    allow(&redis, PASSWORD);
    let source = customers::source("native_redis").await;
    let project = Project::new(&source);
    project.model("customers", "customers");
    project.file(
        "destinations/cache.yml",
        &format!(
            "destination: cache\nconnector: redis\nallow_addresses: [127.0.0.1/32]\n\
             timeout: 1s\nbatch: {{ max_records: 50 }}\n\
             settings:\n  host: 127.0.0.1\n  port: {}\n  tls: false\n  body: fields\n  \
             user: caster\n  password: {PASSWORD}\n",
            redis.port
        ),
    );
    project.sync(
        "customers_to_cache",
        "customers",
        "cache",
        "object: customers\nmode: mirror\nguards: { removed: 100% }\nfields: { name: name }\n",
    );

    killed(&project, "customers_to_cache", "request-answered:3");
    let again = project.ran(&["run", "customers_to_cache", "--wait"]);
    assert_eq!(again.code, Some(0), "{}", again.words());
    let (found, known) = held(&redis);
    assert_eq!(found, customers::rows(&source).await);
    assert_eq!(known.len(), 300);

    let client = source.client().await;
    client
        .batch_execute("DELETE FROM customers WHERE id > 100; UPDATE customers SET name = 'last'")
        .await
        .expect("a change");
    // With another password nothing gets in; with the right one everything does.
    allow(&redis, "another");
    let refused = project.ran(&["run", "customers_to_cache"]);
    assert_eq!(refused.code, Some(1), "{}", refused.words());
    assert!(refused.words().contains("E0602"), "{}", refused.words());
    assert!(!refused.words().contains(PASSWORD));
    allow(&redis, PASSWORD);
    project.run("customers_to_cache", &[], 0);
    let (found, known) = held(&redis);
    assert_eq!(found, customers::rows(&source).await);
    assert_eq!(known.len(), 600);
}
