//! The `http` connector against a fake service: what is sent, byte for byte, and what each answer
//! means.

mod support;

use rowcast_core::record::Operation;
use rowcast_core::{Applied, CheckStatus, Code, Fault, Mode, Outcome, Value};
use rowcast_testkit::api::{Act, Answer, Api, BadRecords, Script};
use serde_json::{Value as Json, json};
use std::time::Duration;
use support::{batch, build, config, problems, record, settings, upsert};

fn hook(api: &Api) -> Json {
    json!({ "url": api.url("/hook") })
}

fn with(mut base: Json, more: &Json) -> Json {
    for (name, value) in more.as_object().expect("an object") {
        base[name] = value.clone();
    }
    base
}

fn rejected(outcome: &Outcome) -> &rowcast_core::Reason {
    match outcome {
        Outcome::Rejected(reason) => reason,
        other => panic!("{other:?}"),
    }
}

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
    let outcomes = destination
        .write(&batch(vec![record(Operation::Upsert, 7, fields)]))
        .await
        .unwrap();
    assert_eq!(outcomes, [Outcome::Delivered]);
    let log = api.log();
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

#[derive(Debug, PartialEq)]
enum Meaning {
    Delivered,
    Rejected(Code),
    Transient(Applied),
    Split,
    Fatal(Code),
}

fn meaning(result: &Result<Vec<Outcome>, Fault>) -> Meaning {
    match result {
        Ok(outcomes) => match &outcomes[0] {
            Outcome::Delivered => Meaning::Delivered,
            Outcome::Rejected(reason) => Meaning::Rejected(reason.code),
            other => panic!("{other:?}"),
        },
        Err(Fault::Transient { applied, .. }) => Meaning::Transient(*applied),
        Err(Fault::Split { .. }) => Meaning::Split,
        Err(Fault::Fatal { reason, .. }) => Meaning::Fatal(reason.code),
    }
}

#[tokio::test]
async fn each_status_means_what_the_table_says() {
    use Meaning::{Delivered, Fatal, Rejected, Split, Transient};
    use Operation::{Delete, Insert, Update, Upsert};
    let refused = || Rejected(Code::DestinationRejected);
    let object = || Fatal(Code::DestinationObject);
    let table = [
        (200, Upsert, Delivered, Delivered),
        (202, Upsert, Delivered, Delivered),
        (204, Delete, Delivered, Delivered),
        (301, Upsert, object(), object()),
        (307, Upsert, object(), object()),
        (400, Upsert, refused(), Split),
        (
            401,
            Upsert,
            Fatal(Code::DestinationAuth),
            Fatal(Code::DestinationAuth),
        ),
        (
            403,
            Upsert,
            Fatal(Code::DestinationAuth),
            Fatal(Code::DestinationAuth),
        ),
        (404, Upsert, object(), object()),
        (404, Update, Rejected(Code::NotFound), Split),
        (404, Delete, Delivered, Split),
        (405, Upsert, object(), object()),
        (
            408,
            Upsert,
            Transient(Applied::Unknown),
            Transient(Applied::Unknown),
        ),
        (409, Insert, Rejected(Code::AlreadyExists), Split),
        (409, Upsert, refused(), Split),
        (410, Upsert, object(), object()),
        (413, Upsert, Rejected(Code::RecordTooLarge), Split),
        (415, Upsert, object(), object()),
        (418, Upsert, refused(), Split),
        (422, Upsert, refused(), Split),
        (
            425,
            Upsert,
            Transient(Applied::Unknown),
            Transient(Applied::Unknown),
        ),
        (429, Upsert, Transient(Applied::No), Transient(Applied::No)),
        (
            500,
            Upsert,
            Transient(Applied::Unknown),
            Transient(Applied::Unknown),
        ),
        (501, Upsert, object(), object()),
        (
            502,
            Upsert,
            Transient(Applied::Unknown),
            Transient(Applied::Unknown),
        ),
        (
            503,
            Upsert,
            Transient(Applied::Unknown),
            Transient(Applied::Unknown),
        ),
        (
            504,
            Upsert,
            Transient(Applied::Unknown),
            Transient(Applied::Unknown),
        ),
    ];
    let api = Api::start();
    let single = build("http", config(&hook(&api)));
    let mut several = config(&hook(&api));
    several.batch_records = Some(2);
    let several = build("http", several);
    for (status, operation, alone, together) in table {
        api.behave();
        api.script(Script::always(Act::Answer(Answer::status(status))));
        let of = |id| record(operation, id, vec![]);
        let one = single.write(&batch(vec![of(1)])).await;
        assert_eq!(meaning(&one), alone, "{status} {operation}, one record");
        let two = several.write(&batch(vec![of(1), of(2)])).await;
        assert_eq!(meaning(&two), together, "{status} {operation}, two records");
    }
}

#[tokio::test]
async fn an_html_page_in_place_of_an_answer_is_no_acknowledged_delete() {
    let api = Api::start();
    let page = Answer::status(404)
        .header("content-type", "text/html; charset=utf-8")
        .body("<h1>Not Found</h1>");
    api.script(Script::always(Act::Answer(page)));
    let destination = build("http", config(&hook(&api)));
    let fault = destination
        .write(&batch(vec![record(Operation::Delete, 1, vec![])]))
        .await;
    assert_eq!(meaning(&fault), Meaning::Fatal(Code::DestinationObject));
}

#[tokio::test]
async fn retry_after_is_read_in_seconds_and_as_a_date() {
    let api = Api::start();
    let destination = build("http", config(&hook(&api)));
    let after = |answer: Answer| {
        api.script(Script::once(Act::Answer(answer)));
        let destination = &destination;
        async move {
            match destination.write(&batch(vec![upsert(1)])).await {
                Err(Fault::Transient { after, .. }) => after,
                other => panic!("{other:?}"),
            }
        }
    };
    let limited = |value: &str| Answer::status(429).header("retry-after", value);
    assert_eq!(after(limited("17")).await, Some(Duration::from_secs(17)));
    assert_eq!(
        after(limited("Wed, 21 Oct 2015 07:28:00 GMT")).await,
        Some(Duration::ZERO)
    );
    let far = after(limited("Tue, 31 Dec 2999 23:59:59 GMT")).await;
    assert_eq!(
        far,
        Some(Duration::from_secs(86_400)),
        "at most a day is believed"
    );
    assert_eq!(after(limited("soon")).await, None);
    assert_eq!(
        after(Answer::status(503).header("retry-after", "3")).await,
        Some(Duration::from_secs(3))
    );
}

#[tokio::test]
async fn a_rejection_quotes_the_service_without_its_markup_or_our_secrets() {
    let api = Api::start();
    let auth = json!({ "auth": { "bearer": "secret:canary-0451" } });
    let destination = build("http", config(&with(hook(&api), &auth)));
    for (body, said) in [
        (
            r#"{"error":{"message":"email is taken"}}"#,
            "status 422: email is taken",
        ),
        (
            r#"{"errors":[{"detail":"too long"}]}"#,
            "status 422: too long",
        ),
        (
            r#"{"message":"bad\u001b[31m\nline"}"#,
            "status 422: bad [31m line",
        ),
        ("plain words", "status 422: plain words"),
        ("", "status 422"),
        (
            r#"{"detail":"token canary-0451 can't"}"#,
            "status 422: token *** can't",
        ),
    ] {
        api.script(Script::once(Act::Answer(Answer::status(422).body(body))));
        let outcomes = destination.write(&batch(vec![upsert(1)])).await.unwrap();
        assert_eq!(rejected(&outcomes[0]).detail.as_deref(), Some(said));
    }
}

#[tokio::test]
async fn results_pair_by_position_or_by_value_and_a_missing_one_is_unknown() {
    let api = Api::start();
    let by_index = json!({ "outcomes": { "at": "results", "pair_by": "index", "rejected_when": { "path": "status", "in": ["error"] }, "message": "error" } });
    let by_key = json!({ "outcomes": { "at": "data.items", "pair_by": { "field": "id" }, "rejected_when": { "path": "ok", "not_in": ["true"] }, "message": "why" } });
    let make = |more: &Json| {
        let mut config = config(&with(hook(&api), more));
        config.batch_records = Some(10);
        build("http", config)
    };
    let three = batch(vec![upsert(1), upsert(2), upsert(3)]);

    api.refuse(BadRecords::by_record(BadRecords::ids(&[2])).message("no such plan"));
    let outcomes = make(&by_index).write(&three).await.unwrap();
    assert_eq!(outcomes[0], Outcome::Delivered);
    assert_eq!(
        rejected(&outcomes[1]).detail.as_deref(),
        Some("no such plan")
    );
    assert_eq!(outcomes[2], Outcome::Delivered);
    assert_eq!(api.store().records.len(), 2);

    let answer = json!({ "data": { "items": [ { "id": 3, "ok": false, "why": "late" }, { "id": 1, "ok": true } ] } });
    api.script(Script::once(Act::Answer(Answer::json(200, &answer))));
    let outcomes = make(&by_key).write(&three).await.unwrap();
    assert_eq!(outcomes[0], Outcome::Delivered);
    assert!(matches!(&outcomes[1], Outcome::Unknown(reason) if reason.code == Code::NoResult));
    assert_eq!(rejected(&outcomes[2]).detail.as_deref(), Some("late"));

    api.script(Script::once(Act::Answer(
        Answer::status(200).body("<html>"),
    )));
    let outcomes = make(&by_index).write(&three).await.unwrap();
    assert!(
        outcomes
            .iter()
            .all(|o| matches!(o, Outcome::Unknown(r) if r.code == Code::DestinationAnswer)),
        "{outcomes:?}"
    );
}

#[tokio::test]
async fn what_is_lost_is_unknown_and_what_never_left_is_not() {
    let api = Api::start();
    let mut quick = config(&hook(&api));
    quick.timeout = Some(Duration::from_secs(1));
    let quick = build("http", quick);
    let destination = build("http", config(&hook(&api)));
    for act in [Act::Cut, Act::TakeAndCut, Act::TakeAndTruncate] {
        api.script(Script::once(act.clone()));
        let result = destination.write(&batch(vec![upsert(1)])).await;
        assert_eq!(
            meaning(&result),
            Meaning::Transient(Applied::Unknown),
            "{act:?}"
        );
    }
    api.script(Script::once(Act::Hold));
    let result = quick.write(&batch(vec![upsert(1)])).await;
    assert_eq!(meaning(&result), Meaning::Transient(Applied::Unknown));
    assert!(
        result
            .unwrap_err()
            .reason()
            .message
            .contains("did not answer within 1 s")
    );
    api.release();

    let port = rowcast_testkit::postgres::free_port();
    let nobody = build(
        "http",
        config(&json!({ "url": format!("http://127.0.0.1:{port}/") })),
    );
    let result = nobody.write(&batch(vec![upsert(1)])).await;
    assert_eq!(meaning(&result), Meaning::Transient(Applied::No));
    assert_eq!(
        result.unwrap_err().reason().code,
        Code::DestinationUnreachable
    );
}

#[tokio::test]
async fn loopback_is_refused_unless_listed_in_every_spelling() {
    let api = Api::start();
    let port = api.address().port();
    for host in [
        "127.0.0.1",
        "localhost",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "127.1",
        "[::ffff:127.0.0.1]",
        "[::1]",
        "0.0.0.0",
    ] {
        let mut config = config(&json!({ "url": format!("http://{host}:{port}/hook") }));
        config.allow_addresses.clear();
        let destination = build("http", config);
        let result = destination.write(&batch(vec![upsert(1)])).await;
        assert_eq!(
            meaning(&result),
            Meaning::Fatal(Code::AddressRefused),
            "{host}"
        );
        let checks = destination.check().await;
        assert_eq!(checks[0].status, CheckStatus::Failed, "{host}");
        let hint = checks[0].reason.as_ref().unwrap().hint.clone().unwrap();
        assert!(hint.contains("allow_addresses: ["), "{hint}");
    }
    assert_eq!(api.requests(), 0);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let api = Api::start();
    let away = Answer::status(302).header("location", "http://169.254.169.254/latest");
    api.script(Script::always(Act::Answer(away)));
    let result = build("http", config(&hook(&api)))
        .write(&batch(vec![upsert(1)]))
        .await;
    let fault = result.unwrap_err();
    assert_eq!(
        fault.reason().detail.as_deref(),
        Some("status 302 to http://169.254.169.254/latest")
    );
    assert_eq!(api.requests(), 1);
}

#[tokio::test]
async fn check_connects_and_sends_nothing() {
    let api = Api::start();
    let checks = build("http", config(&hook(&api))).check().await;
    let states: Vec<_> = checks.iter().map(|c| (c.name.as_str(), c.status)).collect();
    assert_eq!(
        states,
        [
            ("resolve", CheckStatus::Passed),
            ("connect", CheckStatus::Passed),
            ("write", CheckStatus::Skipped)
        ]
    );
    assert_eq!(api.requests(), 0);
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
