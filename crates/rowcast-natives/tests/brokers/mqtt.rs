//! `mqtt`, on a Mosquitto server.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use rowcast_core::record::Operation;
use rowcast_core::{BoxFuture, CheckStatus, Code, Destination, Mode, Outcome};
use rowcast_testkit::conformance::{Held, Subject, Trouble, run};
use rowcast_testkit::proxy::{Fault as Break, Proxy, Rule, When};
use rowcast_testkit::servers::Mosquitto;
use serde_json::{Value as Json, json};

use crate::support::{ALWAYS, Mended, SECRET, apply, batch, build, config, record};

struct Topics {
    server: Mutex<Mosquitto>,
    proxy: Arc<Proxy>,
    broken: Arc<AtomicBool>,
}

impl Topics {
    fn start() -> Self {
        let server = Mosquitto::start(SECRET, "contacts/402");
        let proxy = Arc::new(Proxy::to_port(server.port));
        Self {
            server: Mutex::new(server),
            proxy,
            broken: Arc::default(),
        }
    }
}

fn settings(port: u16) -> Json {
    json!({
        "host": "127.0.0.1", "port": port, "tls": false, "user": "caster",
        "password": format!("secret:{SECRET}"), "topic": "{{ object }}/{{ key }}", "retain": true,
    })
}

impl Subject for Topics {
    fn build(&self, mode: Mode, records: usize) -> Arc<dyn Destination> {
        let mut config = config("contacts", &settings(self.proxy.port()));
        config.mode = mode;
        config.batch_records = Some(records);
        let proxy = Arc::clone(&self.proxy);
        Arc::new(Mended {
            inner: build("mqtt", config),
            broken: Arc::clone(&self.broken),
            mend: move || proxy.heal(),
        })
    }

    fn held(&self) -> BoxFuture<'_, Option<Held>> {
        Box::pin(async {
            let mut held = Held::new();
            let server = self.server.lock().unwrap();
            for (topic, body) in server.retained() {
                assert!(topic.starts_with("contacts/"), "{topic}");
                apply(&mut held, &body);
            }
            Some(held)
        })
    }

    fn trouble(&self, trouble: Trouble) -> bool {
        match trouble {
            // The server's rules deny its topic.
            Trouble::BadRecord(id) => assert_eq!(id, 402),
            Trouble::Busy => {
                self.proxy.refuse();
                self.broken.store(true, Ordering::SeqCst);
            }
            Trouble::LostAnswer => {
                let rule = Rule::up(When::text("contacts/600"), Break::Reset);
                self.proxy.inject(rule.passing());
            }
            Trouble::Revoked => self.server.lock().unwrap().change_password("another"),
        }
        true
    }

    fn secrets(&self) -> Vec<String> {
        vec![SECRET.into()]
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mqtt_keeps_the_contract() {
    let troubles = [
        "rejected in the middle",
        "transient, then success",
        "lost answer, sent again",
        "credentials revoked",
    ];
    let ran = run(&Topics::start()).await;
    assert_eq!(ran, [&ALWAYS[..], &troubles].concat());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retained_row_goes_away_with_its_row_and_more_messages_than_the_server_takes_at_once_arrive()
 {
    let server = Mosquitto::start(SECRET, "nothing");
    let mut settings = settings(server.port);
    settings["body"] = json!("fields");
    let destination = build("mqtt", config("contacts", &settings));
    let upserts: Vec<_> = (1..=300).map(|id| record(Operation::Upsert, id)).collect();
    let outcomes = destination.write(&batch(upserts)).await.unwrap();
    assert_eq!(outcomes, vec![Outcome::Delivered; 300]);
    assert_eq!(server.retained().len(), 300);
    let deletes = batch((1..=299).map(|id| record(Operation::Delete, id)).collect());
    let outcomes = destination.write(&deletes).await.unwrap();
    assert_eq!(outcomes, vec![Outcome::Delivered; 299]);
    assert_eq!(
        server.retained(),
        [(
            "contacts/300".to_owned(),
            r#"{"email":"c300@example.com"}"#.to_owned()
        )]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn check_tells_a_wrong_login_from_a_server_of_another_kind() {
    let server = Mosquitto::start("another", "nothing");
    let failed = async |port: u16| {
        let checks = build("mqtt", config("contacts", &settings(port)))
            .check()
            .await;
        let failed = checks
            .into_iter()
            .find(|check| check.status == CheckStatus::Failed)
            .expect("a check fails");
        (failed.name, failed.reason.unwrap().code)
    };
    assert_eq!(
        failed(server.port).await,
        ("login".to_owned(), Code::DestinationAuth)
    );
    let nobody = rowcast_testkit::postgres::free_port();
    assert_eq!(
        failed(nobody).await,
        ("connect".to_owned(), Code::DestinationUnreachable)
    );
}
