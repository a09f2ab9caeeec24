//! The address policy: every case of a table, and the names that lead there.

#![allow(clippy::print_stdout, reason = "it says how many cases ran")]
#![allow(clippy::unwrap_used, reason = "helpers of tests panic as tests do")]

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rowcast_core::address::AddressPolicy;
use rowcast_core::{Applied, BoxFuture, Code, Fault};
use rowcast_destinations::http::client::{Client, Lookup};
use rowcast_testkit::api::Api;
use url::Url;

/// Refused unless listed.
const REFUSED: &[&str] = &[
    // this network, unspecified
    "0.0.0.0",
    "0.1.2.3",
    "0.255.255.255",
    // loopback
    "127.0.0.1",
    "127.0.0.2",
    "127.1.2.3",
    "127.255.255.255",
    // private
    "10.0.0.0",
    "10.0.0.1",
    "10.255.255.255",
    "172.16.0.0",
    "172.16.0.1",
    "172.20.10.2",
    "172.31.255.255",
    "192.168.0.0",
    "192.168.1.1",
    "192.168.255.255",
    // link-local
    "169.254.0.0",
    "169.254.1.1",
    "169.254.255.255",
    // carrier-grade NAT
    "100.64.0.0",
    "100.64.0.1",
    "100.100.0.1",
    "100.127.255.255",
    // protocol assignments, documentation, relay, benchmarking
    "192.0.0.1",
    "192.0.0.170",
    "192.0.2.1",
    "198.51.100.7",
    "203.0.113.9",
    "192.88.99.1",
    "198.18.0.1",
    "198.19.255.255",
    // multicast, reserved, broadcast
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "254.1.1.1",
    "255.255.255.255",
    // IPv6: unspecified, loopback, compatible
    "::",
    "::1",
    "::127.0.0.1",
    "::8.8.8.8",
    // IPv4-mapped and translated
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:192.168.1.1",
    "::ffff:8.8.8.8",
    "::ffff:0:127.0.0.1",
    // NAT64
    "64:ff9b::7f00:1",
    "64:ff9b::10.0.0.1",
    "64:ff9b::8.8.8.8",
    "64:ff9b:1::1",
    // 6to4, Teredo, ORCHID, benchmarking
    "2002:7f00:1::",
    "2002:a00:1::1",
    "2002:808:808::",
    "2001::1",
    "2001:10::1",
    "2001:2::1",
    // documentation, discard
    "2001:db8::1",
    "3fff::1",
    "100::1",
    // unique local, link-local, site-local, multicast
    "fc00::1",
    "fd00::1",
    "fdff:ffff::1",
    "fe80::1",
    "febf::1",
    "fec0::1",
    "feff::1",
    "ff02::1",
    "ff0e::1",
    // not assigned for the public
    "4000::1",
    "5f00::1",
    "8000::1",
    "e000::1",
];

/// Refused always.
const METADATA: &[&str] = &[
    "169.254.169.254",
    "169.254.170.2",
    "169.254.170.23",
    "169.254.0.23",
    "169.254.42.42",
    "100.100.100.200",
    "192.0.0.192",
    "168.63.129.16",
    "fd00:ec2::254",
    "fd00:ec2::23",
    "fd20:ce::254",
    "fe80::a9fe:a9fe",
    "::ffff:169.254.169.254",
    "::169.254.169.254",
    "64:ff9b::169.254.169.254",
    "64:ff9b:1::169.254.169.254",
    "2002:a9fe:a9fe::",
    "2001:0:1:2:3:4:5601:5601",
    "::ffff:100.100.100.200",
];

/// Public.
const PERMITTED: &[&str] = &[
    "1.1.1.1",
    "8.8.8.8",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.0",
    "169.253.255.255",
    "169.255.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "192.167.255.255",
    "192.169.0.0",
    "198.17.255.255",
    "198.20.0.0",
    "223.255.255.255",
    "2606:4700::1111",
    "2a00:1450:4001:800::200e",
    "2001:4860:4860::8888",
    "2400:cb00::1",
    "3ffe::1",
];

fn address(text: &str) -> IpAddr {
    text.parse().expect(text)
}

#[test]
fn only_public_unicast_addresses_are_reached_unless_listed() {
    let nothing = AddressPolicy::default();
    let wide: Vec<String> = [
        "10.0.0.0/8",
        "100.64.0.0/10",
        "168.0.0.0/8",
        "169.254.0.0/16",
        "192.0.0.0/8",
        "fc00::/7",
        "fe80::/10",
        "2002::/16",
        "2001::/23",
        "64:ff9b::/32",
        "::/7",
    ]
    .map(String::from)
    .to_vec();
    let open = AddressPolicy::new(&wide).unwrap();
    let cases = REFUSED.len() + METADATA.len() + PERMITTED.len();
    println!("addresses: {cases} cases");
    assert!(cases >= 80, "{cases}");
    for text in REFUSED {
        let refused = nothing.permit(address(text)).expect_err(text);
        assert!(refused.openable, "{text}");
        let line = format!("{text}/{}", if text.contains(':') { 128 } else { 32 });
        let listed = AddressPolicy::new(&[line]).unwrap();
        assert_eq!(listed.permit(address(text)), Ok(()), "{text} listed");
    }
    for text in METADATA {
        for policy in [&nothing, &open] {
            let refused = policy.permit(address(text)).expect_err(text);
            assert!(!refused.openable, "{text}");
        }
        let alone = AddressPolicy::new(&[(*text).to_owned()]).unwrap();
        assert!(
            alone.permit(address(text)).is_err(),
            "{text} listed by itself"
        );
    }
    for text in PERMITTED {
        assert_eq!(nothing.permit(address(text)), Ok(()), "{text}");
    }
}

#[test]
fn a_range_opens_its_addresses_and_no_others() {
    let policy = AddressPolicy::new(&["10.1.0.0/16".into(), "127.0.0.1".into()]).unwrap();
    for text in ["10.1.0.1", "10.1.255.255", "127.0.0.1", "::ffff:10.1.2.3"] {
        assert_eq!(policy.permit(address(text)), Ok(()), "{text}");
    }
    for text in [
        "10.2.0.1",
        "10.0.255.255",
        "127.0.0.2",
        "::ffff:10.2.0.1",
        "::1",
    ] {
        assert!(policy.permit(address(text)).is_err(), "{text}");
    }
    for wrong in [
        "0.0.0.0/0",
        "::/0",
        "8.0.0.0/7",
        "10.0.0.0/33",
        "localhost",
        "10.0.0",
        "",
    ] {
        assert!(AddressPolicy::new(&[wrong.into()]).is_err(), "{wrong}");
    }
}

#[test]
fn the_reason_names_the_line_to_add() {
    let policy = AddressPolicy::default();
    for (text, line) in [
        ("10.1.2.3", "allow_addresses: [10.1.2.3/32]"),
        ("::1", "allow_addresses: [\"::1/128\"]"),
        ("::ffff:127.0.0.1", "allow_addresses: [127.0.0.1/32]"),
    ] {
        let reason = policy.permit(address(text)).unwrap_err().reason("host");
        assert_eq!(reason.code, Code::AddressRefused);
        assert!(
            reason.hint.as_deref().unwrap().ends_with(line),
            "{reason:?}"
        );
    }
    let metadata = policy.permit(address("169.254.169.254")).unwrap_err();
    assert!(
        !metadata
            .reason("host")
            .hint
            .unwrap()
            .contains("allow_addresses")
    );
}

/// A resolver that gives one answer after the other.
struct Scripted {
    answers: Vec<Vec<IpAddr>>,
    asked: AtomicUsize,
}

impl Lookup for Scripted {
    fn addresses(&self, _host: String) -> BoxFuture<'static, std::io::Result<Vec<IpAddr>>> {
        let n = self.asked.fetch_add(1, Ordering::SeqCst);
        let answer = self.answers[n.min(self.answers.len() - 1)].clone();
        Box::pin(async move { Ok(answer) })
    }
}

fn scripted(answers: &[&[&str]]) -> Arc<Scripted> {
    Arc::new(Scripted {
        answers: answers
            .iter()
            .map(|answer| answer.iter().map(|text| address(text)).collect())
            .collect(),
        asked: AtomicUsize::new(0),
    })
}

fn client(allow: &[&str], lookup: Arc<Scripted>) -> Client {
    let allow: Vec<_> = allow.iter().map(ToString::to_string).collect();
    let policy = AddressPolicy::new(&allow).unwrap();
    Client::new(policy, lookup, Duration::from_secs(20), false).unwrap()
}

async fn get(client: &Client, url: &str) -> Result<u16, Fault> {
    let request = reqwest::Request::new(reqwest::Method::GET, url.parse().unwrap());
    client
        .send(request, "host")
        .await
        .map(|answer| answer.status)
}

#[tokio::test]
async fn names_that_lead_to_refused_addresses_are_refused() {
    for text in REFUSED.iter().chain(METADATA) {
        for name in [
            "http://rebind.example:9/",
            "http://rebind.example.:9/",
            "http://b\u{fc}cher.example:9/",
        ] {
            let client = client(&[], scripted(&[&[text]]));
            let fault = get(&client, name).await.unwrap_err();
            assert_eq!(fault.reason().code, Code::AddressRefused, "{text} {name}");
            assert_eq!(fault.applied(), Applied::No);
        }
    }
}

#[tokio::test]
async fn a_name_that_changes_its_mind_is_connected_to_as_checked() {
    let api = Api::start();
    let url = format!("http://rebind.example:{}/", api.address().port());
    // The check sees an allowed address, the connection would see the metadata service.
    let lookup = scripted(&[&["127.0.0.1"], &["169.254.169.254"]]);
    let client = client(&["127.0.0.1"], lookup);
    let parsed: Url = url.parse().unwrap();
    client.resolve(&parsed, "host").await.unwrap();
    let fault = get(&client, &url).await.unwrap_err();
    assert_eq!(fault.reason().code, Code::AddressRefused);
    assert_eq!(api.requests(), 0);
}

#[tokio::test]
async fn only_the_permitted_addresses_of_a_name_are_used() {
    let api = Api::start();
    let url = format!("http://mixed.example:{}/", api.address().port());
    let lookup = scripted(&[&["10.0.0.1", "127.0.0.1", "169.254.169.254"]]);
    let client = client(&["127.0.0.1"], lookup);
    get(&client, &url).await.unwrap();
    assert_eq!(api.requests(), 1);
}

#[tokio::test]
async fn hosts_written_as_numbers_are_addresses_in_every_spelling() {
    let client = client(&[], scripted(&[&["8.8.8.8"]]));
    for host in [
        "127.0.0.1",
        "127.1",
        "127.0.1",
        "2130706433",
        "0x7f000001",
        "0x7f.0.0.1",
        "0177.0.0.1",
        "017700000001",
        "0x7f.1",
        "127.0.0.1.",
        "①②⑦.0.0.1",
        "127。0。0。1",
        "%31%32%37.0.0.1",
        "169.254.169.254",
        "2852039166",
        "0xa9fea9fe",
        "0251.0376.0251.0376",
        "169.254.43518",
        "[::1]",
        "[::ffff:7f00:1]",
        "[0:0:0:0:0:ffff:127.0.0.1]",
        "[fd00:ec2::254]",
        "0",
        "0x0",
    ] {
        let fault = get(&client, &format!("http://{host}:9/"))
            .await
            .unwrap_err();
        assert_eq!(fault.reason().code, Code::AddressRefused, "{host}");
    }
}

#[tokio::test]
async fn proxies_of_the_environment_are_not_used() {
    // Read from the environment by other tools; a proxy would connect where we do not look.
    let api = Api::start();
    let binary = std::env::current_exe().unwrap();
    let proxy = format!("http://127.0.0.1:{}", api.address().port());
    let status = std::process::Command::new(binary)
        .args(["--exact", "through_a_proxy_nothing_goes", "--nocapture"])
        .envs([
            ("HTTP_PROXY", &proxy),
            ("http_proxy", &proxy),
            ("ALL_PROXY", &proxy),
        ])
        .output()
        .unwrap();
    assert!(
        status.status.success(),
        "{}",
        String::from_utf8_lossy(&status.stdout)
    );
    assert_eq!(api.requests(), 0);
}

#[tokio::test]
async fn through_a_proxy_nothing_goes() {
    let client = client(&[], scripted(&[&["10.0.0.1"]]));
    let fault = get(&client, "http://inside.example/").await.unwrap_err();
    assert_eq!(fault.reason().code, Code::AddressRefused);
}
