//! Brokers that move, hang up, refuse, and say that they are somewhere else.

use std::net::SocketAddr;

use rowcast_core::record::Operation;
use rowcast_core::{Applied, CheckStatus, Code, Destination, Fault, Outcome};
use rowcast_testkit::servers::{Kafka, Refusal, Relay};
use rowcast_testkit::tls::Front;
use serde_json::{Value as Json, json};

use crate::support::{Certificate, SECRET, batch, build, config, record};

fn settings(port: u16) -> Json {
    json!({ "brokers": format!("127.0.0.1:{port}"), "tls": false })
}

async fn write(destination: &dyn Destination, ids: &[i64]) -> Result<Vec<Outcome>, Fault> {
    let records = ids.iter().map(|id| record(Operation::Upsert, *id));
    destination.write(&batch(records.collect())).await
}

/// The first check that fails.
async fn failed(settings: &Json, topic: &str) -> Option<(String, Code, String)> {
    let checks = build("kafka", config(topic, settings)).check().await;
    let mut failed = checks
        .into_iter()
        .filter(|check| check.status == CheckStatus::Failed);
    let check = failed.next()?;
    let reason = check.reason.unwrap();
    let text = format!("{reason} / {}", reason.hint.clone().unwrap_or_default());
    Some((check.name, reason.code, text))
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_lost_answer_the_same_messages_are_asked_about_under_the_same_numbers() {
    let kafka = Kafka::start(1);
    kafka.topic("contacts", 1);
    let relay = Relay::before(&kafka);
    let destination = build("kafka", config("contacts", &settings(relay.port())));
    let delivered = |count| Ok(vec![Outcome::Delivered; count]);
    assert_eq!(write(&*destination, &[1, 2, 3]).await, delivered(3));
    relay.lose_answers(1);
    assert_eq!(write(&*destination, &[4, 5]).await, delivered(2));
    // Not taken at all, then taken.
    kafka.refuse(&[Refusal::HangUp]);
    assert_eq!(write(&*destination, &[6]).await, delivered(1));
    // Another leader, then this one again.
    kafka.refuse(&[Refusal::NotLeader]);
    assert_eq!(write(&*destination, &[7]).await, delivered(1));
    let numbers = relay.numbers();
    assert!(
        numbers
            .iter()
            .all(|one| one.producer == numbers[0].producer)
    );
    let numbers: Vec<_> = numbers
        .iter()
        .map(|one| (one.sequence, one.count))
        .collect();
    assert_eq!(
        numbers,
        [(0, 3), (3, 2), (3, 2), (5, 1), (5, 1), (6, 1), (6, 1)]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_moved_is_followed_and_one_without_a_leader_harms_no_other() {
    let kafka = Kafka::start(2);
    kafka.topic("contacts", 2);
    let settings = json!({ "brokers": kafka.brokers(), "tls": false });
    let destination = build("kafka", config("contacts", &settings));
    let ids: Vec<i64> = (1..=20).collect();
    for leader in [1, 2, 1] {
        for partition in [0, 1] {
            kafka.lead("contacts", partition, Some(leader));
        }
        let outcomes = write(&*destination, &ids).await.unwrap();
        assert_eq!(outcomes, vec![Outcome::Delivered; 20]);
    }
    let there = kafka.messages("contacts");
    assert_eq!(there.len(), 60);
    let in_second = there.iter().filter(|one| one.partition == 1).count() / 3;

    kafka.lead("contacts", 1, None);
    let outcomes = write(&*destination, &ids).await.unwrap();
    let unknown = outcomes
        .iter()
        .filter(|one| matches!(one, Outcome::Unknown(_)));
    assert_eq!(unknown.count(), in_second);
    kafka.lead("contacts", 0, None);
    let fault = write(&*destination, &ids).await.unwrap_err();
    assert!(matches!(fault, Fault::Transient { .. }), "{fault:?}");
    assert_eq!(fault.applied(), Applied::No);
    kafka.lead("contacts", 0, Some(1));
    kafka.lead("contacts", 1, Some(2));
    let outcomes = write(&*destination, &ids).await.unwrap();
    assert_eq!(outcomes, vec![Outcome::Delivered; 20]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_brokers_refuse_is_waited_for_or_stops_the_run() {
    let kafka = Kafka::start(1);
    kafka.topic("contacts", 1);
    let destination = build("kafka", config("contacts", &settings(kafka.ports[0])));
    let refused = async |refusals: &[Refusal]| {
        kafka.refuse(refusals);
        let fault = write(&*destination, &[1, 2]).await.unwrap_err();
        let fatal = matches!(fault, Fault::Fatal { .. });
        (fatal, fault.applied(), fault.reason().code)
    };
    assert_eq!(
        refused(&[Refusal::NotEnoughReplicas]).await,
        (false, Applied::No, Code::DestinationBusy)
    );
    assert_eq!(
        refused(&[Refusal::TimedOut; 2]).await,
        (false, Applied::Unknown, Code::DestinationBusy)
    );
    assert_eq!(
        refused(&[Refusal::NotAllowed]).await,
        (true, Applied::No, Code::DestinationObject)
    );
    kafka.stop(1);
    assert_eq!(
        refused(&[]).await,
        (false, Applied::No, Code::DestinationUnreachable)
    );
    kafka.resume(1);
    let outcomes = write(&*destination, &[1, 2]).await.unwrap();
    assert_eq!(outcomes, [Outcome::Delivered, Outcome::Delivered]);
    // The four refusals left nothing behind.
    assert_eq!(kafka.messages("contacts").len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_the_cluster_advertises_must_be_permitted_and_reachable() {
    let kafka = Kafka::start(1);
    kafka.topic("contacts", 1);
    let relay = Relay::before(&kafka);
    let settings = settings(relay.port());
    assert_eq!(failed(&settings, "contacts").await, None);

    for forbidden in ["10.1.2.3", "169.254.169.254"] {
        relay.advertise(forbidden, 9_092);
        let (check, code, text) = failed(&settings, "contacts").await.unwrap();
        assert_eq!((&*check, code), ("leaders", Code::AddressRefused), "{text}");
        let destination = build("kafka", config("contacts", &settings));
        let fault = write(&*destination, &[1]).await.unwrap_err();
        assert!(matches!(fault, Fault::Fatal { .. }), "{fault:?}");
        assert_eq!(fault.reason().code, Code::AddressRefused);
        assert_eq!(fault.applied(), Applied::No);
    }

    relay.advertise("127.0.0.1", rowcast_testkit::postgres::free_port());
    let (check, code, text) = failed(&settings, "contacts").await.unwrap();
    assert_eq!((&*check, code), ("leaders", Code::DestinationUnreachable));
    assert!(text.contains("advertised.listeners"), "{text}");
    let destination = build("kafka", config("contacts", &settings));
    let fault = write(&*destination, &[1]).await.unwrap_err();
    assert!(matches!(fault, Fault::Transient { .. }), "{fault:?}");
    assert_eq!(fault.applied(), Applied::No);
    assert!(kafka.messages("contacts").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn check_tells_a_missing_topic_from_a_wrong_login_and_a_wrong_broker() {
    let kafka = Kafka::start(1);
    kafka.topic("contacts", 1);
    let relay = Relay::before(&kafka);
    let open = settings(relay.port());
    // Asking makes no topic.
    for _ in 0..2 {
        let (check, code, text) = failed(&open, "orders").await.unwrap();
        assert_eq!((&*check, code), ("object", Code::DestinationObject));
        assert!(text.contains("kafka-topics.sh"), "{text}");
    }
    let destination = build("kafka", config("contacts", &open));
    let names = destination.discover().await.unwrap();
    assert_eq!(names.len(), 1);
    assert_eq!(&*names[0].name, "contacts");

    relay.demand_login("caster", SECRET);
    let mut login = open.clone();
    login["user"] = json!("caster");
    login["password"] = json!(format!("secret:{SECRET}"));
    assert_eq!(failed(&login, "contacts").await, None);
    login["password"] = json!("secret:wrong");
    let (check, code, text) = failed(&login, "contacts").await.unwrap();
    assert_eq!((&*check, code), ("login", Code::DestinationAuth));
    assert!(!text.contains("wrong"), "{text}");
    login["mechanism"] = json!("scram-sha-512");
    let (_, code, text) = failed(&login, "contacts").await.unwrap();
    assert_eq!(code, Code::DestinationAuth);
    assert!(text.contains("it offers: PLAIN"), "{text}");
    let (_, code, text) = failed(&open, "contacts").await.unwrap();
    assert_eq!(code, Code::DestinationUnreachable);
    assert!(text.contains("want a login"), "{text}");

    // One broker of the settings is enough.
    let nobody = rowcast_testkit::postgres::free_port();
    let (check, code, _) = failed(&settings(nobody), "contacts").await.unwrap();
    assert_eq!((&*check, code), ("connect", Code::DestinationUnreachable));
    let two = json!({
        "brokers": format!("127.0.0.1:{nobody}, 127.0.0.1:{}", kafka.ports[0]), "tls": false,
    });
    assert_eq!(failed(&two, "contacts").await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn brokers_are_reached_through_tls_and_only_with_a_trusted_certificate() {
    let kafka = Kafka::start(1);
    kafka.topic("contacts", 1);
    let relay = Relay::before(&kafka);
    let certificate = Certificate::new();
    let target = SocketAddr::from(([127, 0, 0, 1], relay.port()));
    let front = Front::to(target, &certificate.pem, &certificate.key);
    let port = front.address().port();
    relay.advertise("127.0.0.1", port);
    let mut settings = json!({ "brokers": format!("127.0.0.1:{port}") });
    let (check, code, text) = failed(&settings, "contacts").await.unwrap();
    assert_eq!((&*check, code), ("connect", Code::DestinationUnreachable));
    assert!(text.contains("tls_ca"), "{text}");
    settings["tls_ca"] = json!(certificate.file());
    assert_eq!(failed(&settings, "contacts").await, None);
    let destination = build("kafka", config("contacts", &settings));
    let outcomes = write(&*destination, &[1, 2, 3]).await.unwrap();
    assert_eq!(outcomes, vec![Outcome::Delivered; 3]);

    // Without encryption the same port says nothing that could be understood.
    settings["tls"] = json!(false);
    let (_, code, text) = failed(&settings, "contacts").await.unwrap();
    assert!(
        [Code::DestinationAnswer, Code::DestinationUnreachable].contains(&code),
        "{text}"
    );
}
