//! Importing what Segment or RudderStack were configured with: every object is accounted for, no
//! secret is written, nothing is overwritten, and what is written validates.

#![expect(clippy::unwrap_used, reason = "a test panics")]

use std::path::{Path, PathBuf};

use rowcast_app::import::{From, Imported, Request, import};
use rowcast_app::{Answer, Project};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A text that must not appear anywhere in what is written or reported.
const CANARY: &str = "canary-5f3a91";

struct World {
    dir: TempDir,
}

impl World {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn put(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    fn request(&self, from: From) -> Request {
        Request {
            from,
            project: Some(self.path("project")),
            dry_run: false,
        }
    }

    fn segment(&self, documents: &[Value]) -> Answer<Imported> {
        let text: Vec<String> = documents.iter().map(Value::to_string).collect();
        let file = self.put("segment.json", &text.join("\n"));
        import(&self.request(From::Segment(vec![file])))
    }

    fn rudder(&self) -> Answer<Imported> {
        import(&self.request(From::Rudder(self.path("rudder"))))
    }

    fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.path("project").join(file)).unwrap()
    }

    /// What must hold after every import.
    fn holds(&self, imported: &Imported, objects: u64) {
        assert_eq!(imported.read, objects, "{imported:#?}");
        let accounted = imported.written.len() + imported.not_carried.len();
        assert_eq!(imported.read, accounted as u64);
        assert!(
            imported
                .not_carried
                .iter()
                .all(|one| !one.reason.is_empty())
        );
        Project::load_without_secrets(Some(&self.path("project")), None).unwrap();
        assert!(!format!("{imported:?}").contains(CANARY));
        for file in &imported.files {
            assert_eq!(self.read(&file.path), file.text);
        }
        for variable in &imported.variables {
            let placeholder = format!("${{env:{}}}", variable.name);
            let read = |file: &rowcast_app::import::File| file.text.contains(&placeholder);
            assert!(
                imported.files.iter().any(read),
                "{variable:?} is read nowhere"
            );
        }
    }
}

fn left<'a>(imported: &'a Imported, name: &str) -> &'a str {
    let found = imported
        .not_carried
        .iter()
        .find(|one| one.name.contains(name));
    &found
        .unwrap_or_else(|| panic!("{name} is carried over: {imported:#?}"))
        .reason
}

fn differs<'a>(imported: &'a Imported, name: &str) -> &'a [String] {
    let found = imported.written.iter().find(|one| one.name.contains(name));
    &found
        .unwrap_or_else(|| panic!("{name} is not written: {imported:#?}"))
        .differs
}

fn files(imported: &Imported) -> String {
    let texts: Vec<String> = imported
        .files
        .iter()
        .map(|file| format!("# {}\n{}", file.path, file.text))
        .collect();
    texts.join("\n")
}

fn hook(more: Value) -> Value {
    let mut settings = json!({ "url": "https://hooks.example.com/in", "method": "POST",
        "data": { "id": { "@path": "$.__segment_id" }, "cost": "${5}" } });
    for (name, value) in more.as_object().unwrap() {
        settings[name] = value.clone();
    }
    settings
}

fn mapping(id: &str, to: [&str; 2], settings: Value, strategy: &str, config: Value) -> Value {
    json!({ "id": id, "name": id, "actionId": "a", "actionSlug": "send", "destinationId": to[0],
            "modelId": to[1], "enabled": true, "trigger": "event = \"new\" or event = \"updated\"",
            "settings": settings, "reverseETLSchedule": { "strategy": strategy, "config": config } })
}

/// Answers of the Public API: two sources, three models, three destinations, eight mappings.
fn api() -> Vec<Value> {
    let model = |id: &str, source: &str| {
        json!({ "id": id, "sourceId": source, "name": format!("Model {id}"), "description": "", "enabled": id != "m2",
                "query": "SELECT '${x}' AS id -- all\n", "queryIdentifierColumn": "id" })
    };
    vec![
        json!({ "data": { "sources": [
            { "id": "s1", "slug": "shop-db", "name": "Shop", "enabled": true, "metadata": { "id": "x", "slug": "postgres" },
              "settings": { "hostname": "db.internal", "port": "5433", "database": "shop", "username": "segment", "password": CANARY } },
            { "id": "s2", "slug": "lake", "name": "Lake", "enabled": true, "metadata": { "id": "y", "slug": "snowflake" }, "settings": {} },
        ], "pagination": {} } }),
        json!({ "data": { "models": [model("m1", "s1"), model("m2", "s1"), model("m3", "s2")] } }),
        json!({ "data": { "destinations": [
            { "id": "d1", "name": "Web Hook", "enabled": true, "sourceId": "s1", "metadata": { "id": "614a3c7d791c91c41bae7599" },
              "settings": { "sharedSecret": CANARY } },
            { "id": "d2", "name": "Sheet", "enabled": true, "sourceId": "s1", "metadata": { "id": "h", "slug": "actions-google-sheets" },
              "settings": { "apiKey": CANARY } },
            { "id": "d3", "name": "Events", "enabled": false, "sourceId": "s1", "metadata": { "id": "e", "slug": "actions-segment" },
              "settings": { "source_write_key": CANARY, "endpoint": "europe" } },
        ] } }),
        json!({ "data": { "subscriptions": [
            mapping("u1", ["d1", "m1"], hook(json!({})), "PERIODIC", json!({ "interval": "15m" })),
            mapping("u2", ["d1", "m2"], hook(json!({
                "headers": { "Authorization": format!("Bearer {CANARY}"), "Content-Type": "application/json" },
                "method": "PUT", "enable_batching": true, "batch_size": 200 })),
                "SPECIFIC_DAYS", json!({ "days": [1, 4], "hours": [6, 18], "timezone": "Europe/Paris" })),
            mapping("u3", ["d1", "m1"], hook(json!({ "url": { "@template": "https://{{properties.host}}" } })), "MANUAL", json!(null)),
            mapping("u4", ["d2", "m1"], json!({ "email": { "@path": "$.properties.email" } }), "MANUAL", json!(null)),
            mapping("u5", ["d1", "m3"], hook(json!({})), "MANUAL", json!(null)),
            mapping("u6", ["d1", "m1"], hook(json!({ "data": { "id": { "@nowhere": 1 } } })), "MANUAL", json!(null)),
            mapping("u7", ["d1", "m1"], hook(json!({})), "CRON", json!({ "spec": "61 * * * *" })),
        ] } }),
        json!({ "data": { "subscription": {
            "id": "u8", "name": "Who", "actionId": "a", "actionSlug": "sendIdentify", "destinationId": "d3", "modelId": "m1",
            "enabled": true, "trigger": "type = \"track\"", "settings": {
                "user_id": { "@path": "$.__segment_id" }, "traits": { "@path": "$.properties" },
                "ip_address": "127.0.0.1", "message_id": "x", "engage_space": "y" } } } }),
    ]
}

#[test]
fn answers_of_segments_api_become_a_project() {
    let world = World::new();
    let imported = world.segment(&api()).unwrap();
    world.holds(&imported, 2 + 3 + 3 + 8);
    assert!(left(&imported, "Lake").contains("snowflake"));
    assert!(left(&imported, "Model m3").contains("snowflake"));
    assert!(left(&imported, "u3").contains("URL is computed"));
    assert!(left(&imported, "u4").contains("no action \"send\""));
    assert!(left(&imported, "Sheet").contains("none of its mappings"));
    assert!(left(&imported, "u5").contains("its model is not carried over"));
    assert!(left(&imported, "u6").contains("@nowhere"));
    assert!(
        left(&imported, "u7").contains("schedule"),
        "{}",
        left(&imported, "u7")
    );
    assert!(differs(&imported, "Web Hook")[0].contains("X-Signature"));
    insta::assert_snapshot!(files(&imported));
}

#[test]
fn other_destinations_of_segment_run_the_same_code() {
    let mut documents = api();
    documents.truncate(2);
    let destination = |id: &str, slug: &str| {
        json!({ "id": id, "name": id, "enabled": true, "sourceId": "s1", "metadata": { "id": "x", "slug": slug },
            "settings": { "api_key": CANARY, "endpoint": "https://rest.iad-01.braze.com" } })
    };
    let braze = destination("Braze", "actions-braze-cloud");
    let hubspot = destination("HubSpot", "actions-hubspot-cloud");
    let files_of = destination("Bucket", "actions-s3");
    documents.push(json!({ "data": { "destinations": [braze, hubspot, files_of] } }));
    let of = |to: &str, action: &str, settings: Value| {
        let mut mapping = mapping(to, [to, "m1"], settings, "MANUAL", json!(null));
        mapping["actionSlug"] = json!(action);
        mapping
    };
    let profile = json!({ "external_id": { "@path": "$.properties.id" }, "gone": "x",
        "__segment_internal_sync_mode": "update", "enable_batching": true, "batch_size": 50 });
    let contact = json!({ "email": { "@path": "$.properties.email" } });
    documents.push(json!({ "data": { "subscriptions": [
        of("Braze", "updateUserProfile2", profile),
        of("HubSpot", "upsertContact", contact),
        of("Bucket", "syncToS3", json!({})),
    ] } }));
    let world = World::new();
    let imported = world.segment(&documents).unwrap();
    world.holds(&imported, 2 + 3 + 3 + 3);
    let sync = world.read("syncs/model_m1_to_braze.yml");
    assert!(sync.contains("object: updateUserProfile2"), "{sync}");
    assert!(sync.contains("batch_size: 50"), "{sync}");
    assert!(!sync.contains("gone"), "{sync}");
    assert!(
        differs(&imported, "Braze (")
            .iter()
            .any(|words| words.contains("gone"))
    );
    let braze = world.read("destinations/braze.yml");
    assert!(braze.contains("connector: segment/braze"), "{braze}");
    assert!(braze.contains("${env:BRAZE_API_KEY}"), "{braze}");
    assert!(braze.contains("https://rest.iad-01.braze.com"), "{braze}");
    let hubspot = world.read("destinations/hubspot.yml");
    assert!(
        hubspot.contains("${env:HUBSPOT_REFRESH_TOKEN}"),
        "{hubspot}"
    );
    assert!(left(&imported, "Bucket").contains("does not run here"));
}

fn resource(kind: &str, name: &str, values: Value) -> Value {
    json!({ "address": format!("{kind}.{name}"), "mode": "managed", "type": kind, "name": name, "values": values })
}

fn with(mut value: Value, more: &[(&str, &str)]) -> Value {
    for (name, text) in more {
        value[*name] = json!(text);
    }
    value
}

#[test]
fn terraforms_plan_state_and_output_say_the_same() {
    let settings =
        json!({ "url": "https://h.example.com/", "data": { "@path": "$." } }).to_string();
    let model = json!({ "name": "M", "enabled": true, "description": null, "query": "SELECT 1 AS id", "query_identifier_column": "id" });
    let destination = json!({ "name": "Hook", "enabled": true, "metadata": { "id": "614a3c7d791c91c41bae7599" }, "settings": "{}" });
    let subscription = json!({ "name": "S", "enabled": true, "trigger": "event = \"new\"", "settings": settings,
        "reverse_etl_schedule": { "strategy": "CRON", "config": "{\"spec\":\"0 6 * * *\"}" } });
    let known = [
        with(model.clone(), &[("id", "m"), ("source_id", "s")]),
        with(destination.clone(), &[("id", "d"), ("source_id", "s")]),
        with(
            subscription.clone(),
            &[("id", "u"), ("destination_id", "d"), ("model_id", "m")],
        ),
    ];
    let shown = json!({ "format_version": "1.0", "values": { "root_module": {
        "resources": [resource("segment_reverse_etl_model", "m", known[0].clone()), resource("aws_s3_bucket", "b", json!({}))],
        "child_modules": [{ "resources": [
            resource("segment_destination", "d", known[1].clone()),
            resource("segment_destination_subscription", "u", known[2].clone()),
            resource("segment_label", "l", json!({ "key": "k" })),
        ] }] } } });
    let instance = |kind: &str, values: &Value| json!({ "mode": "managed", "type": kind, "name": "x", "instances": [{ "attributes": values }] });
    let state = json!({ "version": 4, "resources": [
        instance("segment_reverse_etl_model", &known[0]), instance("segment_destination", &known[1]),
        instance("segment_destination_subscription", &known[2]), instance("segment_label", &json!({})),
    ] });
    let configuration = json!({ "resource": {
        "segment_reverse_etl_model": { "m": with(model.clone(), &[("source_id", "s")]) },
        // A block may be a list of one.
        "segment_destination": { "d": [with(destination.clone(), &[("source_id", "s")])] },
        "segment_destination_subscription": { "u": with(subscription.clone(), &[
            ("destination_id", "${segment_destination.d.id}"),
            ("model_id", "${segment_reverse_etl_model.m.id}"),
        ]) },
        "segment_label": { "l": { "key": "k" } },
        "aws_s3_bucket": { "b": {} },
    } });
    let plan = json!({ "format_version": "1.2",
        "planned_values": { "root_module": { "resources": [
            resource("segment_reverse_etl_model", "m", with(model, &[("source_id", "s")])),
            resource("segment_destination", "d", with(destination, &[("source_id", "s")])),
            resource("segment_destination_subscription", "u", subscription),
            resource("segment_label", "l", json!({})),
        ] } },
        "configuration": { "root_module": { "resources": [{
            "address": "segment_destination_subscription.u",
            "expressions": {
                "destination_id": { "references": ["segment_destination.d.id", "segment_destination.d"] },
                "model_id": { "references": ["segment_reverse_etl_model.m.id", "segment_reverse_etl_model.m"] },
            } }] } } });
    let mut all = Vec::new();
    for document in [shown, state, plan, configuration] {
        let world = World::new();
        let imported = world.segment(&[document]).unwrap();
        world.holds(&imported, 4);
        assert!(left(&imported, "").contains("no part of Reverse ETL"));
        assert_eq!(imported.written.len(), 3);
        assert_eq!(
            imported.added.len(),
            2,
            "the project, and the source that is not in the file"
        );
        all.push(files(&imported));
    }
    assert_eq!(all[0], all[1]);
    assert_eq!(all[0], all[2]);
    assert_eq!(all[0], all[3]);
    assert!(all[0].contains("cron: \"0 6 * * *\""), "{}", all[0]);
}

#[test]
fn what_only_terraform_can_evaluate_is_named_and_not_carried() {
    let document = json!({ "resource": {
        "segment_reverse_etl_model": {
            "plain": { "name": "Plain", "query": "SELECT 1 AS id, '$${kept}' AS t", "query_identifier_column": "id", "source_id": "s" },
            "open": { "name": "Open", "query": "SELECT 1 FROM ${var.schema}.t", "query_identifier_column": "id", "source_id": "s" },
        } } });
    let imported = World::new().segment(&[document]).unwrap();
    let reason = left(&imported, "segment_reverse_etl_model.open");
    assert!(
        reason.contains("${var.schema}") && reason.contains("terraform show -json"),
        "{reason}"
    );
    assert_eq!(imported.written.len(), 1, "{:?}", imported.written);
}

#[test]
fn nothing_is_overwritten_and_a_dry_run_writes_nothing() {
    let world = World::new();
    let text: Vec<String> = api()[..2].iter().map(Value::to_string).collect();
    let file = world.put("segment.json", &text.concat());
    let request = world.request(From::Segment(vec![file]));
    let looked = import(&Request {
        dry_run: true,
        ..request.clone()
    });
    assert!(!looked.unwrap().done && !world.path("project").exists());
    world.put("project/sources/shop_db.yml", "mine\n");
    world.put("project/models/model_m2.sql", "mine\n");
    let failure = import(&request).unwrap_err();
    let reason = &failure.problems[0].reason;
    assert_eq!(reason.code, rowcast_core::Code::ImportExists);
    let detail = reason.detail.as_deref().unwrap();
    for file in ["models/model_m2.sql", "sources/shop_db.yml"] {
        assert!(detail.contains(file), "{detail}");
        assert_eq!(world.read(file), "mine\n");
    }
    assert!(
        !world.path("project/models/model_m1.yml").exists(),
        "all or nothing"
    );
    // A project that is there is added to.
    std::fs::remove_dir_all(world.path("project")).unwrap();
    world.put("project/rowcast.yml", "project: mine\nversion: 1\n");
    let imported = import(&request).unwrap();
    assert!(imported.files.iter().all(|file| file.path != "rowcast.yml"));
    assert_eq!(world.read("rowcast.yml"), "project: mine\nversion: 1\n");
    Project::load_without_secrets(Some(&world.path("project")), None).unwrap();
}

#[test]
fn what_is_no_configuration_is_refused() {
    let world = World::new();
    for (text, words) in [
        (
            "resource \"segment_source\" \"a\" {}",
            "terraform show -json",
        ),
        ("{}", "Public API"),
        ("[1, \"a\"]", "Public API"),
    ] {
        let file = world.put("x.json", text);
        let failure = import(&world.request(From::Segment(vec![file]))).unwrap_err();
        let reason = &failure.problems[0].reason;
        assert_eq!(reason.code, rowcast_core::Code::ImportUnreadable);
        assert!(
            reason.hint.as_deref().unwrap().contains(words),
            "{text}: {reason:?}"
        );
    }
    world.put("rudder/compose.yml", "services: {}\n");
    let failure = world.rudder().unwrap_err();
    assert_eq!(
        failure.problems[0].reason.code,
        rowcast_core::Code::ImportUnreadable
    );
    world.put("rudder/broken.yaml", "a: [\n");
    let failure = world.rudder().unwrap_err();
    assert!(failure.problems[0].reason.message.contains("broken.yaml"));
    assert!(!world.path("project").exists());
}

const SPECS: &str = r##"version: rudder/v1
kind: account
metadata: { name: pg }
spec:
  id: pg
  account_definition_name: SOURCE_POSTGRES
  config: { host: db, port: "5432", dbname: shop, user: rudder, password: CANARY, sslMode: require }
---
version: rudder/v1
kind: account
metadata: { name: snow }
spec: { id: snow, account_definition_name: SOURCE_SNOWFLAKE, config: { password: CANARY } }
---
version: rudder/v1
kind: retl-source-table
metadata: { name: users }
spec: { id: users, display_name: Users, account: "#account:pg", primary_key: id, source_definition: postgres, schema: Shop, table: users }
---
version: rudder/v1
kind: retl-source-sql-model
metadata: { name: orders }
spec: { id: orders, display_name: Orders, account_id: other, primary_key: id, source_definition: postgres, sql: "SELECT 1 AS id;" }
---
version: rudder/v1
kind: retl-source-sql-model
metadata: { name: lake }
spec: { id: lake, display_name: Lake, account: "#account:snow", primary_key: id, source_definition: postgres, sql: SELECT 1 AS id }
---
version: rudder/v1
kind: destination
metadata: { name: crm }
spec: { id: crm, display_name: CRM, type: webhook, enabled: true, config: { webhook_url: "https://CANARY" } }
---
version: rudder/v1
kind: destination
metadata: { name: bing }
spec: { id: bing, display_name: Bing, type: bingads_offline_conversions, enabled: false, config: {} }
---
version: rudder/v1
kind: destination
metadata: { name: hs }
spec: { id: hs, display_name: HubSpot, type: hs, config: { token: CANARY } }
---
version: rudder/v1
kind: event-stream-source
metadata: { name: web }
spec: { id: web, type: javascript }
"##;

const CONNECTIONS: &str = r##"version: rudder/v1
kind: retl-connections
metadata: { name: c }
spec:
  connections:
    - { id: identify, source: "#retl-source-table:users", destination: "#destination:crm", enabled: false,
        config: { cursor_column: updated_at, schedule: { type: cron, cron_expression: "0 6 * * 1-5" },
          identifiers: [{ from: id, to: user_id }], mappings: [{ from: email, to: traits.email }],
          constants: [{ key: context.env, value: "${prod}" }], event: { type: identify },
          sync_settings: { failed_keys: { retry: false }, sync_logs: { retention_days: 7 } } } }
    - { id: track, source: "#retl-source-sql-model:orders", destination: "#destination:crm",
        config: { sync_behaviour: full, schedule: { type: basic, every_minutes: 90 },
          identifiers: [{ from: user, to: anonymous_id }], mappings: [{ from: total, to: properties.total }],
          event: { type: track, name_column: kind } } }
    - { id: object, source: "#retl-source-sql-model:orders", destination: "#destination:bing",
        config: { object: conversions, sync_behaviour: mirror, schedule: { type: manual },
          identifiers: [{ from: click, to: microsoftClickId }], mappings: [{ from: name, to: conversionName }] } }
    - { id: unknown-object, source: "#retl-source-sql-model:orders", destination: "#destination:hs",
        config: { object: contacts, schedule: { type: manual }, identifiers: [{ from: email, to: email }] } }
    - { id: mirrored, source: "#retl-source-sql-model:orders", destination: "#destination:crm",
        config: { sync_behaviour: mirror, schedule: { type: manual }, identifiers: [{ from: id, to: user_id }], mappings: [{ from: a, to: traits.a }] } }
    - { id: from-lake, source: "#retl-source-sql-model:lake", destination: "#destination:crm",
        config: { schedule: { type: manual }, identifiers: [{ from: id, to: user_id }], mappings: [{ from: a, to: traits.a }] } }
    - { id: never, source: "#retl-source-sql-model:orders", destination: "#destination:crm",
        config: { schedule: { type: cron, cron_expression: "0 0 30 2 *" }, identifiers: [{ from: id, to: user_id }], mappings: [{ from: a, to: traits.a }] } }
"##;

#[test]
fn rudders_yaml_becomes_a_project() {
    let world = World::new();
    world.put("rudder/all.yaml", &SPECS.replace("CANARY", CANARY));
    world.put("rudder/more/connections.yml", CONNECTIONS);
    let imported = world.rudder().unwrap();
    // Two accounts, three models, three destinations, an event source, seven connections.
    world.holds(&imported, 2 + 3 + 3 + 1 + 7);
    assert!(left(&imported, "snow").contains("SNOWFLAKE"));
    assert!(left(&imported, "web").contains("event-stream-source"));
    assert!(left(&imported, "unknown-object").contains("contacts"));
    assert!(left(&imported, "hs in").contains("unknown-object"));
    assert!(left(&imported, "mirrored").contains("mirror"));
    assert!(left(&imported, "from-lake").contains("SNOWFLAKE"));
    assert!(
        left(&imported, "never").contains("schedule"),
        "{}",
        left(&imported, "never")
    );
    insta::assert_snapshot!(files(&imported));
}

/// Names that are nothing but signs, too long, or the same twice.
#[test]
fn names_become_names_of_files() {
    let world = World::new();
    let model = |id: &str, name: &str| {
        json!({ "id": id, "sourceId": "s", "name": name, "enabled": true,
                "query": "SELECT 1 AS id", "queryIdentifierColumn": "id" })
    };
    let models = json!([
        model("1", "Ünïcode & more"),
        model("2", "ünïcode - more"),
        model("3", "!!"),
        model("4", &"long ".repeat(40)),
    ]);
    let imported = world.segment(&[models]).unwrap();
    world.holds(&imported, 4);
    let names = imported.files.iter().map(|file| file.path.as_str());
    let mut names: Vec<&str> = names
        .filter(|path| Path::new(path).extension().is_some_and(|end| end == "sql"))
        .collect();
    names.sort_by_key(|name| name.len());
    assert_eq!(
        names[..3],
        [
            "models/model.sql",
            "models/n_code_more.sql",
            "models/n_code_more_2.sql"
        ]
    );
    assert!(Path::new(names[3]).file_stem().unwrap().len() <= 63);
}
