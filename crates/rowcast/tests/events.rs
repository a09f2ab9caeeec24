//! Syncs to Segment and RudderStack, the whole way: rows in PostgreSQL, the program, a service that
//! keeps its contract to the letter.

use rowcast_testkit::postgres::{Cluster, Database};
use rowcast_testkit::rudderstack::DataPlane;
use rowcast_testkit::segment::Segment;
use serde_json::{Value, json};

#[path = "support/command.rs"]
mod command;
#[path = "support/project.rs"]
mod project;

use command::{Ended, run};
use project::{Project, report};

const KEY: &str = "write-key-canary-7731";

/// A shop whose customers and orders go to both services.
struct Shop {
    project: Project,
    database: Database,
    segment: Segment,
    plane: DataPlane,
}

impl Shop {
    fn open(name: &str) -> Self {
        let database = Cluster::shared().database(name);
        let project = Project::new(&database);
        let (segment, plane) = (Segment::start(KEY), DataPlane::start(KEY));
        let shop = Self {
            project,
            database,
            segment,
            plane,
        };
        shop.sql(
            "CREATE TABLE customers (id int PRIMARY KEY, email text, plan text);
             INSERT INTO customers VALUES (1, 'ann@x.io', 'free'), (2, 'bob@x.io', 'free'), (3, 'cy@x.io', NULL);
             CREATE TABLE orders (id int PRIMARY KEY, customer_id int, total numeric, paid_at timestamptz);
             INSERT INTO orders VALUES (1, 1, 9.50, '2024-02-29 12:30:00Z'), (2, NULL, 1, now()), (3, 3, 7, '2024-03-01 00:00:00Z');",
        );
        shop.project.model("customers", "customers");
        shop.project.model("orders", "orders");
        let file = |name: &str, text: String| {
            shop.project
                .file(&format!("destinations/{name}.yml"), &text);
        };
        file(
            "segment",
            format!(
                "destination: segment\nconnector: segment\nallow_addresses: [127.0.0.1/32]\n\
                 settings:\n  write_key: ${{env:SEGMENT_WRITE_KEY}}\n  endpoint: {}\n  cdn_endpoint: {}\n",
                shop.segment.endpoint(),
                shop.segment.cdn()
            ),
        );
        file(
            "rudder",
            format!(
                "destination: rudder\nconnector: rudderstack\nallow_addresses: [127.0.0.1/32]\n\
                 settings:\n  write_key: ${{env:SEGMENT_WRITE_KEY}}\n  data_plane_url: {}\n  mapper: record\n",
                shop.plane.url()
            ),
        );
        shop.project.sync(
            "identify",
            "customers",
            "segment",
            "event:\n  type: identify\n  user_id: id\n  traits:\n    email: { lower: email }\n    plan: plan\n",
        );
        shop.project.sync(
            "track",
            "orders",
            "segment",
            "mode: insert\nevent:\n  type: track\n  name: { literal: Order Paid }\n  \
             user_id: customer_id\n  timestamp: paid_at\n  properties: { total: total }\n",
        );
        shop.project.sync(
            "record",
            "customers",
            "rudder",
            "object: person\nmode: mirror\nguards: { removed: 100% }\nmatch_on: { external_id: id }\nfields:\n  email: email\n  plan: plan\n",
        );
        shop
    }

    fn sql(&self, sql: &str) {
        Cluster::shared().psql(&self.database.name, sql);
    }

    fn ran(&self, words: &[&str]) -> Ended {
        let mut command = self.project.rowcast(words);
        command.env("SEGMENT_WRITE_KEY", KEY);
        let ended = run(command);
        assert!(!ended.words().contains(KEY), "{}", ended.words());
        ended
    }

    /// The report of one sync's run, which must end with this code.
    fn run(&self, sync: &str, code: i32) -> Value {
        let ended = self.ran(&["run", sync, "--json"]);
        assert_eq!(ended.code, Some(code), "{}", ended.words());
        report(&ended)
    }

    /// The calls that Segment kept after the first `from`, by what the test looks at.
    fn calls(&self, from: usize, of: impl Fn(&Value) -> Value) -> Vec<Value> {
        assert_eq!(self.segment.dropped(), Vec::<String>::new());
        self.segment.calls().iter().skip(from).map(of).collect()
    }
}

fn posts(api: &rowcast_testkit::api::Api) -> usize {
    api.log()
        .iter()
        .filter(|seen| seen.method == "POST")
        .count()
}

#[test]
fn an_identify_sync_sends_what_changed_and_sets_one_bad_row_aside() {
    let shop = Shop::open("events_identify");
    shop.segment.ledger.refuse(|call| call["userId"] == "2");
    let first = shop.run("identify", 0);
    assert_eq!(
        (&first["delivered"], &first["rejected"]),
        (&json!(2), &json!(1))
    );
    let call = |call: &Value| json!([call["userId"], call["traits"]]);
    let mut kept = shop.calls(0, call);
    kept.sort_by_key(Value::to_string);
    assert_eq!(
        kept,
        [
            json!(["1", { "email": "ann@x.io", "plan": "free" }]),
            json!(["3", { "email": "cy@x.io", "plan": null }]),
        ]
    );
    let why = shop.ran(&["why", "identify", "2"]);
    assert!(
        why.stdout.contains("a message is not valid"),
        "{}",
        why.words()
    );

    shop.segment.ledger.behave();
    shop.sql(
        "UPDATE customers SET plan = 'pro' WHERE id = 1;
         DELETE FROM customers WHERE id = 3;
         INSERT INTO customers VALUES (4, 'DEE@x.io', 'free');",
    );
    let second = shop.run("identify", 0);
    assert_eq!(
        second["delivered"], 3,
        "the changed, the new and the one set aside: {second:#}"
    );
    assert_eq!(
        second["skipped"], 1,
        "nothing takes an identify back: {second:#}"
    );
    let mut kept = shop.calls(2, |call| json!([call["userId"], call["traits"]["email"]]));
    kept.sort_by_key(Value::to_string);
    assert_eq!(
        kept,
        [
            json!(["1", "ann@x.io"]),
            json!(["2", "bob@x.io"]),
            json!(["4", "dee@x.io"])
        ]
    );

    let before = posts(&shop.segment.api);
    shop.run("identify", 0);
    assert_eq!(
        posts(&shop.segment.api),
        before,
        "nothing changed, nothing is sent"
    );

    shop.sql("UPDATE customers SET plan = 'free' WHERE id = 1");
    shop.run("identify", 0);
    let ids: Vec<Value> = shop
        .calls(0, |call| json!([call["userId"], call["messageId"]]))
        .into_iter()
        .filter(|call| call[0] == "1")
        .collect();
    assert_eq!(
        ids.len(),
        3,
        "free -> pro -> free is no repetition: {ids:?}"
    );
}

#[test]
fn a_track_sync_sends_each_row_once_at_its_own_time() {
    let shop = Shop::open("events_track");
    let first = shop.run("track", 0);
    assert_eq!(
        (&first["delivered"], &first["invalid"]),
        (&json!(2), &json!(1)),
        "{first:#}"
    );
    let mut kept = shop.calls(0, |call| {
        json!([
            call["event"],
            call["userId"],
            call["timestamp"],
            call["properties"]
        ])
    });
    kept.sort_by_key(Value::to_string);
    assert_eq!(
        kept,
        [
            json!(["Order Paid", "1", "2024-02-29T12:30:00Z", { "total": 9.50 }]),
            json!(["Order Paid", "3", "2024-03-01T00:00:00Z", { "total": 7 }]),
        ]
    );
    shop.sql(
        "UPDATE orders SET total = 10 WHERE id = 1;
         UPDATE orders SET customer_id = 1 WHERE id = 2;
         INSERT INTO orders VALUES (4, 1, 2, '2024-03-02 00:00:00Z');",
    );
    shop.run("track", 0);
    let later = shop.calls(2, |call| call["properties"]["total"].clone());
    assert!(
        later.contains(&json!(2)) && !later.contains(&json!(10)),
        "{later:?}"
    );
}

#[test]
fn a_record_sync_sends_insert_update_and_delete() {
    let shop = Shop::open("events_record");
    assert_eq!(shop.run("record", 0)["delivered"], 3);
    shop.sql(
        "UPDATE customers SET plan = 'pro' WHERE id = 1;
         DELETE FROM customers WHERE id = 3;
         INSERT INTO customers VALUES (4, 'dee@x.io', 'free');",
    );
    assert_eq!(shop.run("record", 0)["delivered"], 3);
    assert_eq!(shop.plane.dropped(), Vec::<String>::new());
    let mut events: Vec<Value> = shop
        .plane
        .events()
        .iter()
        .map(|event| {
            json!([
                event["action"],
                event["identifiers"]["external_id"],
                event["fields"]
            ])
        })
        .collect();
    events[..3].sort_by_key(Value::to_string);
    events[3..].sort_by_key(Value::to_string);
    assert_eq!(
        events,
        [
            json!(["insert", 1, { "email": "ann@x.io", "plan": "free" }]),
            json!(["insert", 2, { "email": "bob@x.io", "plan": "free" }]),
            json!(["insert", 3, { "email": "cy@x.io", "plan": null }]),
            json!(["delete", 3, {}]),
            json!(["insert", 4, { "email": "dee@x.io", "plan": "free" }]),
            json!(["update", 1, { "email": "ann@x.io", "plan": "pro" }]),
        ]
    );
    let sources = |event: &Value| event["context"]["sources"].clone();
    let events = shop.plane.events();
    let (first, last) = (sources(&events[0]), sources(&events[5]));
    assert_eq!(first["job_id"], last["job_id"], "one sync");
    assert_ne!(first["job_run_id"], last["job_run_id"], "two runs");
    let before = shop.plane.api.requests();
    shop.run("record", 0);
    assert_eq!(
        shop.plane.api.requests(),
        before,
        "nothing changed, nothing is sent"
    );
}

#[test]
fn a_removed_row_is_told_of_by_an_event_of_its_own() {
    let shop = Shop::open("events_removed");
    shop.project.sync(
        "left",
        "customers",
        "segment",
        "mode: delete\nguards: { removed: 100% }\nkeep: rows\nevent:\n  type: track\n  \
         name: { literal: Customer Left }\n  user_id: id\n  properties: { email: email }\n",
    );
    assert_eq!(shop.run("left", 0)["delivered"], 0);
    shop.sql("DELETE FROM customers WHERE id = 3");
    assert_eq!(shop.run("left", 0)["delivered"], 1);
    let kept = shop.calls(0, |call| json!([call["event"], call["userId"]]));
    assert_eq!(kept, [json!(["Customer Left", "3"])]);
    let before = posts(&shop.segment.api);
    shop.run("left", 0);
    assert_eq!(posts(&shop.segment.api), before, "told once");
}

#[test]
fn a_plan_and_a_check_show_no_key_and_send_nothing() {
    let shop = Shop::open("events_plan");
    let plan = shop.ran(&["plan", "track"]);
    assert_eq!(plan.code, Some(0), "{}", plan.words());
    assert!(plan.stdout.contains("Order Paid"), "{}", plan.words());
    let check = shop.ran(&["check"]);
    assert_eq!(check.code, Some(0), "{}", check.words());
    assert!(check.stdout.contains("write key"), "{}", check.words());
    assert_eq!(shop.segment.calls(), Vec::<Value>::new());
    assert_eq!(shop.plane.events(), Vec::<Value>::new());
}

#[test]
fn mistakes_of_an_event_are_found_by_validate_at_their_line() {
    let shop = Shop::open("events_mistakes");
    shop.project.sync(
        "wrong",
        "orders",
        "segment",
        "object: track\nmode: mirror\nevent:\n  type: track\n  userid: customer_id\n  \
         properties:\n    total: { lowr: total }\n",
    );
    let ended = shop.project.ran(&["validate"]);
    assert_eq!(ended.code, Some(2), "{}", ended.words());
    let words = ended.words();
    for (line, what) in [
        (4, "has both `event` and `object`"),
        (5, "which events do not support"),
        (6, "needs `name`"),
        (6, "it has neither `user_id` nor `anonymous_id`"),
        (8, "did you mean `user_id`"),
        (10, "is not an operator"),
    ] {
        assert!(
            words.contains(&format!("syncs/wrong.yml:{line}")),
            "{line}: {words}"
        );
        assert!(words.contains(what), "{what}: {words}");
    }
}

#[test]
fn what_segment_cannot_take_is_found_by_validate() {
    let shop = Shop::open("events_objects");
    for (more, place, what) in [
        ("fields: { plan: plan }\n", "", "has no `object`"),
        (
            "object: contact\nfields: { plan: plan }\n",
            ":4",
            "names the object",
        ),
        (
            "object: track\nfields: { plan: plan }\n",
            ":5",
            "does not map the field `event`",
        ),
        (
            "object: identify\nmode: mirror\nfields: { plan: plan }\n",
            ":5",
            "asks for mode mirror",
        ),
    ] {
        shop.project.sync("wrong", "customers", "segment", more);
        let ended = shop.project.ran(&["validate"]);
        assert_eq!(ended.code, Some(2), "{}", ended.words());
        let words = ended.words();
        assert!(
            words.contains(&format!("syncs/wrong.yml{place}")),
            "{words}"
        );
        assert!(words.contains(what), "{what}: {words}");
    }
}

#[test]
fn an_event_is_tested_without_any_service() {
    let shop = Shop::open("events_tested");
    shop.project.file(
        "tests/paid.yml",
        "test: paid\nsync: track\nrows:\n  - { id: 1, customer_id: 7, total: 9.5, paid_at: \"2024-02-29T12:30:00Z\" }\n\
         expect:\n  - type: track\n    event: Order Paid\n    userId: \"7\"\n    \
         timestamp: \"2024-02-29T12:30:00Z\"\n    properties: { total: 9.5 }\n",
    );
    let ended = shop.project.ran(&["test"]);
    assert_eq!(ended.code, Some(0), "{}", ended.words());
}
