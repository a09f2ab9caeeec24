//! The `http` connector against a fake service: what is sent, byte for byte.

mod support;

use rowcast_core::record::{Operation, Record, RecordJson};
use rowcast_core::{Code, Mode, Outcome, Value};
use rowcast_testkit::api::{Act, Answer, Api, Script};
use serde_json::{Value as Json, json};
use support::{batch, build, config, hook, problems, record, rejected, settings, upsert, with};

#[tokio::test]
async fn rule_30_a_record_body_carries_exact_digits() {
    let api = Api::start();
    let destination = build("http", config(&hook(&api)));
    let fields = vec![
        ("big", Value::Int(9_223_372_036_854_775_807)),
        ("exact", Value::Decimal("12345678901234567890.10".into())),
        ("text", Value::from("a\"b\\\n\u{1}é\u{1F600}")),
        ("nothing", Value::Null),
        ("day", Value::Date(-1)),
        ("json", Value::Json("{\"a\": 1.0}".into())),
        ("Mixed Case", Value::Bool(true)),
    ];
    let values = record(Operation::Upsert, 7, fields);
    let text = as_json(&values);
    for record in [values, text] {
        let outcomes = destination.write(&batch(vec![record])).await.unwrap();
        assert_eq!(outcomes, [Outcome::Delivered]);
    }
    let log = api.log();
    assert_eq!(log[0].text(), log[1].text());
    assert_eq!(
        log[0].text(),
        concat!(
            r#"{"operation":"upsert","key":{"id":7},"match":{"id":7},"fields":{"#,
            r#""big":9223372036854775807,"exact":12345678901234567890.10,"#,
            "\"text\":\"a\\\"b\\\\\\n\\u0001é😀\",",
            r#""nothing":null,"day":"1969-12-31","json":{"a": 1.0},"Mixed Case":true},"#,
            r#""idempotency_key":"00000000000000000000000000000007","sync":"customers_to_crm","run":"12"}"#
        )
    );
    assert_eq!(log[0].method, "POST");
    assert_eq!(log[0].target, "/hook");
    assert_eq!(log[0].header("content-type"), Some("application/json"));
    assert!(log[0].header("user-agent").unwrap().starts_with("rowcast/"));
}

/// The record as the engine hands it to destinations that take JSON.
fn as_json(record: &Record) -> Record {
    let mut text = String::new();
    record.push_match(&mut text);
    let fields_at = text.len();
    record.push_fields(&mut text);
    Record {
        json: Some(RecordJson::new(&text, fields_at)),
        match_on: Vec::new(),
        fields: Vec::new(),
        ..record.clone()
    }
}

#[tokio::test]
async fn values_are_asked_for_where_a_template_or_an_answer_needs_them() {
    let api = Api::start();
    let takes_json = |more: Json| build("http", config(&with(hook(&api), &more))).takes_json();
    assert!(takes_json(json!({})));
    assert!(takes_json(json!({ "body": "fields", "format": "ndjson" })));
    assert!(!takes_json(json!({ "format": "form" })));
    assert!(!takes_json(
        json!({ "body": { "n": "{{ record.fields.n }}" } })
    ));
    assert!(!takes_json(
        json!({ "headers": { "X-N": "{{ record.fields.n }}" } })
    ));
    let mut outcomes =
        json!({ "at": "results", "rejected_when": { "path": "ok", "not_in": ["true"] } });
    assert!(takes_json(json!({ "outcomes": outcomes })));
    outcomes["pair_by"] = json!({ "field": "email" });
    assert!(!takes_json(json!({ "outcomes": outcomes })));
}

#[tokio::test]
async fn rule_9_every_request_carries_its_idempotency_key() {
    let api = Api::start();
    let one = build("http", config(&hook(&api)));
    let mut several = config(&hook(&api));
    several.batch_records = Some(10);
    let several = build("http", several);
    let pair = batch(vec![upsert(1), upsert(2)]);
    one.write(&batch(vec![upsert(1)])).await.unwrap();
    several.write(&pair).await.unwrap();
    several.write(&pair).await.unwrap();
    let log = api.log();
    assert_eq!(
        log[0].header("idempotency-key"),
        Some(upsert(1).idempotency_key.as_str())
    );
    assert_eq!(
        log[1].header("idempotency-key"),
        Some(pair.idempotency_key().as_str())
    );
    assert_eq!(
        log[1].header("idempotency-key"),
        log[2].header("idempotency-key")
    );
}

#[tokio::test]
async fn records_share_a_request_as_list_lines_or_wrapped_list() {
    for (format, start, end, kind) in [
        (Json::Null, "[{\"op", "}]", "application/json"),
        (json!("array"), "[{\"op", "}]", "application/json"),
        (json!("ndjson"), "{\"op", "}\n", "application/x-ndjson"),
        (
            json!({ "wrap": "rows" }),
            "{\"rows\":[{\"op",
            "}]}",
            "application/json",
        ),
    ] {
        let api = Api::start();
        let mut settings = hook(&api);
        if !format.is_null() {
            settings["format"] = format;
        }
        let mut config = config(&settings);
        config.batch_records = Some(3);
        let destination = build("http", config);
        let outcomes = destination
            .write(&batch(vec![upsert(1), upsert(2), upsert(3)]))
            .await
            .unwrap();
        assert_eq!(outcomes, vec![Outcome::Delivered; 3]);
        let seen = &api.log()[0];
        assert!(seen.text().starts_with(start), "{}", seen.text());
        assert!(seen.text().ends_with(end), "{}", seen.text());
        assert_eq!(seen.records.len(), 3);
        assert_eq!(seen.header("content-type"), Some(kind));
    }
}

#[tokio::test]
async fn a_base_url_has_a_request_for_each_operation() {
    let api = Api::start();
    let mut config = config(&json!({ "base_url": api.url("/v1/"), "body": "fields" }));
    config.mode = Mode::Mirror;
    config.request = settings(&json!({
        "upsert": { "put": "/customers/{{ record.key.id }}?by={{ record.fields.email }}", "headers": { "X-Run": "{{ run }}" } },
        "delete": { "delete": "/customers/{{ record.key.id }}", "accept": [404] },
    }));
    let destination = build("http", config);
    assert_eq!(destination.capabilities().batch_records_max, 1);
    destination.write(&batch(vec![upsert(7)])).await.unwrap();
    let delete = batch(vec![record(Operation::Delete, 7, vec![])]);
    assert_eq!(
        destination.write(&delete).await.unwrap(),
        [Outcome::Delivered]
    );
    assert_eq!(
        destination.write(&delete).await.unwrap(),
        [Outcome::Delivered],
        "a delete of what the service does not know counts as delivered"
    );
    let log = api.log();
    assert_eq!(log[0].method, "PUT");
    assert_eq!(log[0].target, "/v1/customers/7?by=c7%40example.com");
    assert_eq!(log[0].header("x-run"), Some("12"));
    assert_eq!(log[0].text(), r#"{"email":"c7@example.com"}"#);
    assert_eq!(
        (log[1].method.as_str(), log[1].text().as_str()),
        ("DELETE", "")
    );
    assert_eq!(log[2].status, Some(404));
}

#[tokio::test]
async fn a_value_stays_within_its_segment_or_its_record_is_not_sent() {
    let api = Api::start();
    let mut config = config(&json!({ "base_url": api.url("") }));
    config.request = settings(&json!({ "upsert": { "put": "/c/{{ record.fields.slug }}" } }));
    let destination = build("http", config);
    let send = |slug: Value| batch(vec![record(Operation::Upsert, 1, vec![("slug", slug)])]);
    for (slug, target) in [
        ("a/b", "/c/a%2Fb"),
        ("a?b=c#d", "/c/a%3Fb%3Dc%23d"),
        ("../x", "/c/..%2Fx"),
        ("%2e%2e", "/c/%252e%252e"),
        ("ü\r\nX: 1", "/c/%C3%BC%0D%0AX%3A%201"),
        ("//evil.example", "/c/%2F%2Fevil.example"),
    ] {
        destination.write(&send(Value::from(slug))).await.unwrap();
        assert_eq!(api.log().last().unwrap().target, target);
    }
    let sent = api.requests();
    for slug in [
        Value::from(""),
        Value::Null,
        Value::from("."),
        Value::from(".."),
    ] {
        let outcomes = destination.write(&send(slug)).await.unwrap();
        assert_eq!(rejected(&outcomes[0]).code, Code::ExpressionFailed);
    }
    assert_eq!(api.requests(), sent, "nothing was sent");
}

#[tokio::test]
async fn a_body_can_be_a_tree_and_a_failing_record_harms_only_itself() {
    let api = Api::start();
    let settings = json!({
        "url": api.url("/hook"),
        "body": { "contact": { "mail": "{{ record.fields.email }}", "n": "{{ record.fields.n + 1 }}", "fixed": 1.50 } },
    });
    let mut config = config(&settings);
    config.batch_records = Some(3);
    let destination = build("http", config);
    let with_n = |id, n| {
        record(
            Operation::Upsert,
            id,
            vec![("email", Value::from("e\"}")), ("n", n)],
        )
    };
    let outcomes = destination
        .write(&batch(vec![
            with_n(1, Value::Int(1)),
            with_n(2, Value::from("no number")),
            with_n(3, Value::Int(3)),
        ]))
        .await
        .unwrap();
    assert_eq!(outcomes[0], Outcome::Delivered);
    assert_eq!(rejected(&outcomes[1]).code, Code::ExpressionFailed);
    assert_eq!(outcomes[2], Outcome::Delivered);
    assert_eq!(
        api.log()[0].text(),
        r#"[{"contact":{"mail":"e\"}","n":2,"fixed":1.5}},{"contact":{"mail":"e\"}","n":4,"fixed":1.5}}]"#
    );
}

#[tokio::test]
async fn credentials_go_where_the_service_looks_for_them() {
    let api = Api::start();
    for (auth, header, value) in [
        (
            json!({ "basic": { "user": "ann", "password": "secret:s3:cret" } }),
            "authorization",
            "Basic YW5uOnMzOmNyZXQ=",
        ),
        (
            json!({ "bearer": "secret:tok\n" }),
            "authorization",
            "Bearer tok",
        ),
        (
            json!({ "header": { "name": "X-Api-Key", "value": "secret:tok" } }),
            "x-api-key",
            "tok",
        ),
    ] {
        let destination = build("http", config(&with(hook(&api), &json!({ "auth": auth }))));
        destination.write(&batch(vec![upsert(1)])).await.unwrap();
        assert_eq!(api.log().last().unwrap().header(header), Some(value));
    }
    let query = json!({ "auth": { "query": { "name": "api key", "value": "secret:a&b" } } });
    let destination = build("http", config(&with(hook(&api), &query)));
    destination.write(&batch(vec![upsert(1)])).await.unwrap();
    assert_eq!(api.log().last().unwrap().target, "/hook?api+key=a%26b");
}

#[tokio::test]
async fn a_signature_covers_the_exact_bytes() {
    use base64::Engine as _;
    use hmac::{KeyInit as _, Mac as _};
    let api = Api::start();
    let auth = json!({ "auth": { "hmac": "secret:whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" } });
    let destination = build("http", config(&with(hook(&api), &auth)));
    destination.write(&batch(vec![upsert(1)])).await.unwrap();
    let seen = &api.log()[0];
    let id = seen.header("webhook-id").unwrap();
    let at = seen.header("webhook-timestamp").unwrap();
    let base64 = base64::engine::general_purpose::STANDARD;
    let key = base64.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    let mut mac = hmac::Hmac::<sha2::Sha256>::new_from_slice(&key).unwrap();
    mac.update(format!("{id}.{at}.").as_bytes());
    mac.update(&seen.body);
    let expected = format!("v1,{}", base64.encode(mac.finalize().into_bytes()));
    assert_eq!(seen.header("webhook-signature"), Some(expected.as_str()));
    assert_eq!(Some(id), seen.header("idempotency-key"));
}

#[tokio::test]
async fn a_value_can_add_no_header() {
    let api = Api::start();
    let headers = json!({ "headers": { "X-Mail": "{{ record.fields.email }}" } });
    let destination = build("http", config(&with(hook(&api), &headers)));
    for value in ["a\r\nX-Evil: 1", "a\nb", "a\0b", "\u{7f}"] {
        let fields = vec![("email", Value::from(value))];
        let outcomes = destination
            .write(&batch(vec![record(Operation::Upsert, 1, fields)]))
            .await
            .unwrap();
        assert_eq!(
            rejected(&outcomes[0]).code,
            Code::ExpressionFailed,
            "{value:?}"
        );
    }
    assert_eq!(api.requests(), 0);
    for headers in [
        json!({ "X-A": "a\r\nX-Evil: 1" }),
        json!({ "X-A": "secret:a\r\nX-Evil: 1" }),
        json!({ "X-A\r\nX-Evil": "1" }),
        json!({ "Host": "evil.example" }),
        json!({ "Content-Length": "0" }),
        json!({ "Idempotency-Key": "x" }),
    ] {
        let found = problems(
            "http",
            config(&with(hook(&api), &json!({ "headers": headers }))),
        );
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].path.starts_with("settings.headers."));
    }
}

#[tokio::test]
async fn secrets_are_never_shown() {
    const CANARY: &str = "canary/0451\"x";
    let api = Api::start();
    let echo = |seen: &rowcast_testkit::api::Seen| {
        seen.headers
            .iter()
            .map(|(n, v)| format!("{n}: {v}"))
            .collect::<Vec<_>>()
            .join("\n")
    };
    let secret = format!("secret:{CANARY}");
    let cases = [
        json!({ "auth": { "basic": { "user": "ann", "password": secret } } }),
        json!({ "auth": { "bearer": secret } }),
        json!({ "auth": { "header": { "name": "X-Key", "value": secret } } }),
        json!({ "auth": { "query": { "name": "key", "value": secret } } }),
        json!({ "auth": { "hmac": secret } }),
        json!({ "headers": { "X-Key": secret } }),
        json!({ "body": { "key": secret, "mail": "{{ record.fields.email }}" } }),
        json!({ "url": format!("secret:{}", api.url("/canary/0451\"x")) }),
    ];
    for case in cases {
        let destination = build("http", config(&with(hook(&api), &case)));
        let one = batch(vec![upsert(1)]);
        destination.write(&one).await.unwrap();
        let echoed = {
            let seen = api.log().pop().unwrap();
            format!("{}\n{}\n{}", seen.target, echo(&seen), seen.text())
        };
        let mut shown = destination.render(&one).join("\n");
        for status in [401, 422, 500, 302] {
            let answer = Answer::status(status)
                .body(echoed.clone())
                .header("location", &format!("http://x/{CANARY}"));
            api.script(Script::once(Act::Answer(answer)));
            shown.push_str(&format!("{:?}", destination.write(&one).await));
        }
        shown.push_str(&format!("{:?}", destination.check().await));
        assert!(shown.contains("***"), "{case}: {shown}");
        for canary in [CANARY, "canary", "0451", "YW5uOmNhbmFyeS8wNDUxIng="] {
            assert!(!shown.contains(canary), "{case} shows {canary}: {shown}");
        }
    }
}

#[tokio::test]
async fn render_is_the_request_as_curl() {
    let api = Api::start();
    let more = json!({ "auth": { "bearer": "secret:tok" }, "body": "fields" });
    let destination = build("http", config(&with(hook(&api), &more)));
    let fields = vec![("name", Value::from("O'Hara"))];
    let shown = destination.render(&batch(vec![record(Operation::Upsert, 7, fields)]));
    assert_eq!(
        shown,
        [format!(
            "curl -X POST '{}' \\\n  -H 'idempotency-key: 00000000000000000000000000000007' \\\n  -H 'content-type: application/json' \\\n  -H 'authorization: ***' \\\n  --data-binary '{{\"name\":\"O'\\''Hara\"}}'",
            api.url("/hook")
        )]
    );
    assert_eq!(api.requests(), 0);
}

#[test]
fn wrong_settings_are_named_by_their_path() {
    let url = || json!({ "url": "https://example.com/" });
    for (settings, path) in [
        (json!({}), "settings.url"),
        (
            json!({ "url": "https://a/", "base_url": "https://a/" }),
            "settings.url",
        ),
        (json!({ "url": "ftp://example.com/" }), "settings.url"),
        (json!({ "url": "file:///etc/passwd" }), "settings.url"),
        (json!({ "url": "example.com" }), "settings.url"),
        (
            json!({ "url": "https://user:pw@example.com/" }),
            "settings.url",
        ),
        (with(url(), &json!({ "auth": "bearer" })), "settings.auth"),
        (
            with(
                url(),
                &json!({ "auth": { "bearer": "a", "basic": { "user": "a", "password": "b" } } }),
            ),
            "settings.auth",
        ),
        (
            with(
                url(),
                &json!({ "auth": { "oauth2": { "token_url": "x" } } }),
            ),
            "settings.auth.oauth2",
        ),
        (
            with(url(), &json!({ "auth": { "hmac": "whsec_%%%" } })),
            "settings.auth.hmac",
        ),
        (with(url(), &json!({ "body": "recrod" })), "settings.body"),
        (
            with(url(), &json!({ "body": { "a": "{{ email }}" } })),
            "settings.body",
        ),
        (with(url(), &json!({ "format": "xml" })), "settings.format"),
        (
            with(
                url(),
                &json!({ "outcomes": { "rejected_when": { "path": "s" } } }),
            ),
            "settings.outcomes.rejected_when",
        ),
        (
            with(url(), &json!({ "headers": { "X": "{{ record." } })),
            "settings.headers.X",
        ),
        (with(url(), &json!({ "urll": "x" })), "settings.urll"),
    ] {
        let found = problems("http", config(&settings));
        assert_eq!(found.len(), 1, "{settings}: {found:?}");
        assert_eq!(found[0].path, path, "{settings}");
    }
    let mut base = config(&json!({ "base_url": "https://example.com" }));
    base.request = settings(&json!({ "upsert": { "put": "customers" } }));
    assert!(
        problems("http", base.clone())
            .iter()
            .any(|p| p.path == "request.upsert.put")
    );
    base.request = settings(&json!({ "upsert": { "put": "/c", "post": "/c" } }));
    assert_eq!(problems("http", base.clone())[0].path, "request.upsert");
    base.request = settings(&json!({ "upsert": { "put": "/c/{{ record.key.id }}" } }));
    base.batch_records = Some(10);
    assert_eq!(problems("http", base.clone())[0].path, "request.upsert");
    base.batch_records = None;
    base.mode = Mode::Mirror;
    let missing = problems("http", base);
    assert_eq!(missing[0].path, "request.delete");
    assert_eq!(missing[0].reason.code, Code::UnsupportedMode);
    let mut wide = config(&url());
    wide.allow_addresses = vec!["0.0.0.0/0".into()];
    assert_eq!(problems("http", wide)[0].path, "allow_addresses");
}
