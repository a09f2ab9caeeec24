//! Alerts as people meet them: through `rowcast serve` to real receivers, and by command.

#[path = "support/server.rs"]
mod server;
#[path = "support/shop.rs"]
mod shop;
#[allow(dead_code, reason = "commands here are run through the shop")]
mod terminal;

use std::path::Path;
use std::time::{Duration, Instant};

use rowcast_testkit::api::{Act, Answer, Api, Script};
use rowcast_testkit::receivers::{PAGERDUTY_KEY, Pagerduty, SLACK_PATH, slack};
use rowcast_testkit::smtpd::{Encryption, Smtpd};
use serde_json::Value;
use server::Server;
use shop::Shop;

/// What is waited for happens within this, or never.
const PATIENCE: Duration = Duration::from_secs(60);

/// Has the shop tell this receiver; more lines of `rowcast.yml`, and `alerts:` of the sync.
fn tells(shop: &Shop, receiver: &Api, project: &str, alerts: &str) {
    shop.write(
        "rowcast.yml",
        &format!(
            "project: shop\nversion: 1\nalerts:\n  hook: {{ webhook: {{ url: \"{}\", secret: whsec_c2VjcmV0, \
             allow_addresses: [127.0.0.1] }} }}\n{project}",
            receiver.url("/alerts")
        ),
    );
    let sync = shop.read("syncs/customers_to_crm.yml");
    let sync = sync.split("alerts:").next().expect("a beginning");
    shop.write(
        "syncs/customers_to_crm.yml",
        &format!("{sync}alerts: {alerts}\n"),
    );
}

/// `raised failed`, `resolved rejected`: what the receiver was told, in order.
fn told(receiver: &Api) -> Vec<String> {
    receiver
        .log()
        .iter()
        .map(|seen| {
            let body: Value = serde_json::from_slice(&seen.body).expect("JSON");
            assert_eq!(seen.header("webhook-id"), body["id"].as_str());
            let signature = seen.header("webhook-signature").expect("a signature");
            assert!(signature.starts_with("v1,"), "{signature}");
            let kind = body["type"].as_str().expect("a type");
            let kind = kind.rsplit('.').next().expect("a word");
            let condition = body["data"]["condition"].as_str().expect("a condition");
            format!("{kind} {condition}")
        })
        .collect()
}

fn wait_for(receiver: &Api, count: usize) {
    receiver.wait(|log| log.iter().filter(|seen| seen.status.is_some()).count() >= count);
}

/// How alerts stand, once this is true of them.
fn alerts_once(shop: &Shop, done: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let view = shop.run("alerts list --json", 0);
        let view: Value = serde_json::from_str(&view.stdout).expect("JSON");
        if done(&view) {
            return view;
        }
        assert!(Instant::now() < deadline, "{view:#}");
    }
}

fn refuses(shop: &Shop) {
    let refused = Answer::status(422).body("{\"error\": \"c7@example.com is bad\"}");
    shop.api.script(Script::always(Act::Answer(refused)));
}

#[test]
fn a_failure_and_its_end_are_told_once_over_restarts_and_by_several_servers() {
    let shop = Shop::open("alerts_failed");
    let receiver = Api::start();
    let pagerduty = Pagerduty::start();
    let oncall = format!(
        "  oncall: {{ pagerduty: {{ key: {PAGERDUTY_KEY}, url: \"{}\", allow_addresses: [127.0.0.1] }} }}\n",
        pagerduty.url()
    );
    tells(
        &shop,
        &receiver,
        &oncall,
        "{ rejected: 5%, to: [hook, oncall] }",
    );
    refuses(&shop);
    let mut first = Server::start(&shop, &[]);
    server::ask(&shop);
    first.wait_for(&["ended", "outcome=\"failed\""]);
    wait_for(&receiver, 2);
    assert_eq!(told(&receiver), ["raised failed", "raised rejected"]);
    let raised: Value = serde_json::from_slice(&receiver.log()[1].body).expect("JSON");
    assert_eq!(raised["data"]["sync"], "customers_to_crm");
    assert_eq!(raised["data"]["counts"]["rejected"], 40);
    let commands = raised["data"]["commands"].to_string();
    assert!(
        commands.contains("rowcast rejects customers_to_crm"),
        "{commands}"
    );
    for seen in receiver.log() {
        assert!(!seen.text().contains("@example.com"), "{}", seen.text());
    }
    // A restart, and a second server beside it: failing on is no news.
    first.stop();
    let _first = Server::start(&shop, &[]);
    let _second = Server::start(&shop, &[]);
    shop.sql("UPDATE customers SET plan = 'other'");
    server::ask(&shop);
    server::ended_jobs(&shop, 2);
    shop.api.behave();
    shop.run("retry customers_to_crm", 0);
    server::ask(&shop);
    server::ended_jobs(&shop, 3);
    wait_for(&receiver, 4);
    assert_eq!(
        told(&receiver),
        [
            "raised failed",
            "raised rejected",
            "resolved failed",
            "resolved rejected"
        ]
    );
    let ids: std::collections::BTreeSet<String> = receiver
        .log()
        .iter()
        .map(|seen| seen.header("webhook-id").expect("an id").to_owned())
        .collect();
    assert_eq!(ids.len(), 4);
    pagerduty
        .api
        .wait(|log| log.iter().filter(|seen| seen.ended.is_some()).count() >= 4);
    for condition in ["failed", "rejected"] {
        let key = format!("rowcast/shop/customers_to_crm/{condition}");
        assert_eq!(pagerduty.incident(&key), ["trigger", "resolve"]);
    }
    let view = alerts_once(&shop, |view| view["channels"][1]["delivered"] == 4);
    assert_eq!(view["alerts"].as_array().map(Vec::len), Some(0));
}

#[test]
fn a_sync_that_does_not_run_is_late() {
    let shop = Shop::open("alerts_late");
    let receiver = Api::start();
    tells(&shop, &receiver, "", "{ late: 1s, to: [hook] }");
    let _server = Server::start(&shop, &[]);
    wait_for(&receiver, 1);
    assert_eq!(told(&receiver), ["raised late"]);
    // Also a run of the command line ends it.
    shop.run("run customers_to_crm", 0);
    tells(&shop, &receiver, "", "{ late: 1d, to: [hook] }");
    wait_for(&receiver, 2);
    assert_eq!(told(&receiver), ["raised late", "resolved late"]);
}

#[test]
fn a_sync_that_was_paused_by_command_is_not_late() {
    let shop = Shop::open("alerts_paused");
    let receiver = Api::start();
    tells(&shop, &receiver, "", "{ late: 1s, to: [hook] }");
    shop.run("run customers_to_crm", 0);
    shop.run("pause customers_to_crm", 0);
    // Syncs are looked at in the order of their names: when the second is told to be late, the first,
    // whose success is older than that one's beginning, was looked at.
    let sync = shop.read("syncs/customers_to_crm.yml");
    let other = sync
        .replace("sync: customers_to_crm", "sync: later_to_crm")
        .replace("object: customer", "object: another");
    shop.write("syncs/later_to_crm.yml", &other);
    let _server = Server::start(&shop, &[]);
    wait_for(&receiver, 1);
    let log = receiver.log();
    let message: Value = serde_json::from_slice(&log[0].body).expect("JSON");
    assert_eq!(message["data"]["sync"], "later_to_crm");
    assert_eq!(told(&receiver), ["raised late"]);
    let view = alerts_once(&shop, |view| view["alerts"][0]["sync"] == "later_to_crm");
    assert_eq!(view["alerts"].as_array().map(Vec::len), Some(1));
}

#[test]
fn a_held_run_and_a_full_one_are_told_with_their_reasons() {
    let shop = Shop::open("alerts_held");
    let receiver = Api::start();
    tells(&shop, &receiver, "", "{ full: true, to: [hook] }");
    let mut server = Server::start(&shop, &[]);
    server::ask(&shop);
    server.wait_for(&server::ENDED);
    wait_for(&receiver, 1);
    shop.sql("DELETE FROM customers WHERE id > 5");
    server::ask(&shop);
    server.wait_for(&["ended", "outcome=\"held\""]);
    wait_for(&receiver, 2);
    assert_eq!(told(&receiver), ["raised full", "raised held"]);
    let log = receiver.log();
    assert!(
        log[0].text().contains("it was the first run"),
        "{}",
        log[0].text()
    );
    assert!(log[1].text().contains("E0401"), "{}", log[1].text());
}

#[test]
fn a_muted_sync_is_told_about_when_the_mute_ends() {
    let shop = Shop::open("alerts_muted");
    let receiver = Api::start();
    tells(&shop, &receiver, "", "{ to: [hook] }");
    refuses(&shop);
    let mut server = Server::start(&shop, &[]);
    shop.run("alerts mute customers_to_crm --for 2h", 0);
    server::ask(&shop);
    server.wait_for(&["ended", "outcome=\"failed\""]);
    let view = alerts_once(&shop, |view| view["alerts"][0]["condition"] == "failed");
    assert_eq!(view["alerts"][0]["told"], false);
    assert_eq!(view["muted"][0]["sync"], "customers_to_crm");
    assert_eq!(receiver.requests(), 0);
    shop.run("alerts unmute customers_to_crm", 0);
    wait_for(&receiver, 1);
    assert_eq!(told(&receiver), ["raised failed"]);
}

#[test]
fn a_channel_that_fails_is_seen_and_holds_nothing_up() {
    let shop = Shop::open("alerts_broken_channel");
    let receiver = Api::start();
    tells(&shop, &receiver, "", "{ full: true, to: [hook] }");
    let gone = Answer::status(410).body("whsec_c2VjcmV0 is gone");
    receiver.script(Script::once(Act::Answer(gone)));
    let mut server = Server::start(&shop, &[]);
    server::ask(&shop);
    server.wait_for(&server::ENDED);
    server.wait_for(&["an alert was not delivered", "status 410"]);
    let view = alerts_once(&shop, |view| view["channels"][0]["error"].is_string());
    let error = view["channels"][0]["error"].as_str().expect("an error");
    assert!(
        error.contains("status 410") && !error.contains("c2VjcmV0"),
        "{error}"
    );
    assert_eq!(view["channels"][0]["waiting"], 1);
    // Runs go on, and the message arrives under its first id.
    server::ask(&shop);
    server.wait_for(&server::ENDED);
    wait_for(&receiver, 2);
    let log = receiver.log();
    assert_eq!(log[0].header("webhook-id"), log[1].header("webhook-id"));
    alerts_once(&shop, |view| view["channels"][0]["delivered"] == 1);
}

#[test]
fn channels_are_tried_by_command_against_what_their_services_document() {
    let shop = Shop::open("alerts_tried");
    let (slack, pagerduty, hook) = (slack(), Pagerduty::start(), Api::start());
    let folder = tempfile::tempdir().expect("a folder");
    let (certificate, key) = (
        folder.path().join("cert.pem"),
        folder.path().join("key.pem"),
    );
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    std::fs::write(&certificate, made.cert.pem()).expect("write it");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("write it");
    let mail = |encryption: Encryption<'_>, tls: &str| {
        let smtpd = Smtpd::start(encryption, Some(("rowcast", "mail-password")));
        let smtp = format!(
            "smtp: {{ host: localhost, port: {}, user: rowcast, password: mail-password, tls: {tls}, \
             from: Rowcast <rowcast@example.com>, allow_addresses: [127.0.0.1, \"::1\"] }}\n",
            smtpd.port
        );
        (smtpd, smtp)
    };
    let (smtpd, smtp) = mail(Encryption::StartTls(&certificate, &key), "starttls");
    let channels = format!(
        "  chat: {{ slack: {{ url: \"{}\", allow_addresses: [127.0.0.1] }} }}\n  \
         oncall: {{ pagerduty: {{ key: {PAGERDUTY_KEY}, url: \"{}\", allow_addresses: [127.0.0.1] }} }}\n  \
         mail: {{ email: [ops@example.com, Data <data@example.com>] }}\n",
        slack.url(SLACK_PATH),
        pagerduty.url()
    );
    tells(&shop, &hook, &format!("{channels}{smtp}"), "{ to: [hook] }");
    let trusting = |line: &str, code: i32| run_trusting(&shop, &certificate, line, code);
    let all = trusting("alerts test --json", 0);
    for (i, name) in ["chat", "hook", "mail", "oncall"].into_iter().enumerate() {
        assert_eq!(all[i]["channel"], name);
        assert_eq!(all[i]["delivered"], true, "{all:#}");
    }
    let got = smtpd.mail();
    assert_eq!(
        (&got["encrypted"], &got["user"]),
        (&true.into(), &"rowcast".into())
    );
    assert_eq!(
        got["to"],
        serde_json::json!(["ops@example.com", "data@example.com"])
    );
    let text = got["text"].as_str().expect("text");
    for part in [
        "Auto-Submitted: auto-generated",
        "Message-ID: <alert_",
        "@example.com>",
        "Subject: shop: test",
    ] {
        assert!(text.contains(part), "no {part} in {text}");
    }
    // Whom nobody vouches for gets neither mail nor password.
    let refused = shop.run("alerts test mail --json", 1);
    assert!(refused.stdout.contains("E0911"), "{}", refused.stdout);
    assert!(
        !refused.stdout.contains("mail-password"),
        "{}",
        refused.stdout
    );
    let (smtpd, smtp) = mail(Encryption::Implicit(&certificate, &key), "implicit");
    tells(&shop, &hook, &format!("{channels}{smtp}"), "{ to: [hook] }");
    trusting("alerts test mail --json", 0);
    assert_eq!(smtpd.mail()["from"], "rowcast@example.com");
    // Encryption that is asked for and not to be had is an error, never a mail in clear.
    let (_smtpd, smtp) = mail(Encryption::None, "starttls");
    tells(&shop, &hook, &format!("{channels}{smtp}"), "{ to: [hook] }");
    trusting("alerts test mail --json", 1);
    let (smtpd, smtp) = mail(Encryption::None, "none");
    tells(&shop, &hook, &format!("{channels}{smtp}"), "{ to: [hook] }");
    shop.run("alerts test mail", 0);
    assert_eq!(smtpd.mail()["encrypted"], false);
}

#[test]
fn channels_obey_the_address_policy() {
    let shop = Shop::open("alerts_addresses");
    let receiver = Api::start();
    shop.write(
        "rowcast.yml",
        &format!(
            "project: shop\nversion: 1\nalerts:\n  hook: {{ webhook: \"{}\" }}\n  mail: {{ email: [ops@example.com] }}\n\
             smtp: {{ host: 127.0.0.1, from: rowcast@example.com }}\n",
            receiver.url("/alerts")
        ),
    );
    for channel in ["hook", "mail"] {
        let refused = shop.run(&format!("alerts test {channel} --json"), 1);
        assert!(refused.stdout.contains("loopback"), "{}", refused.stdout);
    }
    assert_eq!(receiver.requests(), 0);
}

/// Runs a command that trusts this certificate beside none, and gives its JSON.
fn run_trusting(shop: &Shop, certificate: &Path, line: &str, code: i32) -> Value {
    let arguments: Vec<&str> = line.split(' ').collect();
    let done = shop
        .terminal
        .command(".", &arguments)
        .env("SSL_CERT_FILE", certificate)
        .output()
        .expect("run it");
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    assert_eq!(
        done.status.code(),
        Some(code),
        "{text}{}",
        String::from_utf8_lossy(&done.stderr)
    );
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}
