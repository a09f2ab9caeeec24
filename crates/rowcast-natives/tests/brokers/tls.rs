//! Encrypted connections, from the first byte (Redis, RabbitMQ) and after the server's first line
//! (NATS).

use std::net::SocketAddr;

use rowcast_core::record::Operation;
use rowcast_core::{CheckStatus, Code, Destination, Outcome};
use rowcast_testkit::servers::{Nats, Redis};
use rowcast_testkit::tls::Front;
use serde_json::{Value, json};

use crate::support::{Certificate, SECRET, batch, build, config, record};

/// The first check that fails.
async fn failed(destination: &dyn Destination) -> Option<(String, Code, String)> {
    let checks = destination.check().await;
    let mut failed = checks
        .into_iter()
        .filter(|check| check.status == CheckStatus::Failed);
    let check = failed.next()?;
    let reason = check.reason.unwrap();
    Some((check.name, reason.code, reason.hint.unwrap()))
}

/// Trusted with its authority; refused without it, and with another one.
async fn only_when_trusted(connector: &str, settings: &Value, certificate: &Certificate) {
    let with = |authority: Option<String>| {
        let mut settings = settings.clone();
        if let Some(authority) = authority {
            settings["tls_ca"] = json!(authority);
        }
        build(connector, config("contacts", &settings))
    };
    for untrusted in [None, Some(Certificate::new())] {
        let authority = untrusted.as_ref().map(Certificate::file);
        let (name, code, hint) = failed(&*with(authority)).await.expect("refused");
        assert_eq!(
            (name.as_str(), code),
            ("connect", Code::DestinationUnreachable)
        );
        assert!(hint.contains("tls_ca"), "{hint}");
    }
    let checks = with(Some(certificate.file())).check().await;
    assert_eq!(checks[0].status, CheckStatus::Passed, "{checks:?}");
    assert!(checks[0].found.contains("encrypted"), "{checks:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_is_reached_through_tls_and_only_with_a_trusted_certificate() {
    let redis = Redis::start();
    let certificate = Certificate::new();
    let target = SocketAddr::from(([127, 0, 0, 1], redis.port));
    let front = Front::to(target, &certificate.pem, &certificate.key);
    let mut settings = json!({ "host": "127.0.0.1", "port": front.address().port() });
    only_when_trusted("redis", &settings, &certificate).await;
    settings["tls_ca"] = json!(certificate.file());
    let destination = build("redis", config("contacts", &settings));
    let one = batch((1..=300).map(|id| record(Operation::Upsert, id)).collect());
    let outcomes = destination.write(&one).await.unwrap();
    assert_eq!(outcomes, vec![Outcome::Delivered; 300]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nats_is_encrypted_after_its_first_line() {
    let certificate = Certificate::new();
    let nats = Nats::encrypted(SECRET, &certificate.pem, &certificate.key);
    let settings = json!({
        "host": "127.0.0.1", "port": nats.port, "user": "caster",
        "password": format!("secret:{SECRET}"),
    });
    only_when_trusted("nats", &settings, &certificate).await;
}
