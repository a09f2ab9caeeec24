//! The `http` connector against a fake service: what each answer means, and what it means when
//! none comes.

#![allow(clippy::unwrap_used, reason = "helpers of tests panic as tests do")]

mod support;

use rowcast_core::record::Operation;
use rowcast_core::{Applied, CheckStatus, Code, Fault, Outcome};
use rowcast_testkit::api::{Act, Answer, Api, BadRecords, Script};
use serde_json::{Value as Json, json};
use std::sync::Arc;
use std::time::Duration;
use support::{batch, build, config, hook, record, rejected, upsert, with};

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

/// A TLS server with a certificate that nobody vouches for; ends with the test's process.
fn self_signed() -> u16 {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .unwrap();
    let tls = Arc::new(tls);
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut session = rustls::ServerConnection::new(Arc::clone(&tls)).unwrap();
            while session.is_handshaking() && session.complete_io(&mut stream).is_ok() {}
        }
    });
    port
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_stops_the_run() {
    let url = format!("https://127.0.0.1:{}/hook", self_signed());
    let destination = build("http", config(&json!({ "url": url })));
    let fault = destination
        .write(&batch(vec![upsert(1)]))
        .await
        .unwrap_err();
    assert!(matches!(fault, Fault::Fatal { .. }), "{fault:?}");
    assert_eq!(fault.applied(), Applied::No);
    assert_eq!(fault.reason().code, Code::DestinationUnreachable);
    let checks = destination.check().await;
    assert_eq!(checks[1].status, CheckStatus::Failed);
    assert!(checks[1].found.contains("encrypted"), "{checks:?}");
}
