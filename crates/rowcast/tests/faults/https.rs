//! Services whose encryption is not what it should be. Each is refused with its own words before
//! a request reaches it, no record counts as delivered, and a stream that is cut inside TLS never
//! looks like an answer.

use std::path::{Path as FilePath, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};
use rowcast_testkit::api::{Act, Answer, Api, Script};
use rowcast_testkit::proxy::{Fault, Rule, When};
use rowcast_testkit::tls::Front;
use serde_json::json;

use crate::world::{Kind, Running, World, end_of};
use crate::{Case, End, Path};

/// It is tried again within the run.
const OVERCOME: &[End] = &[(0, "")];
const REFUSED: End = (3, "E0601");
/// Other bytes in a handshake can't be told from a server that does not prove itself.
const UNPROVEN: &[End] = &[REFUSED];

type Authority = CertifiedIssuer<'static, KeyPair>;

fn key() -> KeyPair {
    KeyPair::generate().expect("a key")
}

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::new(Vec::new()).expect("a certificate");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    CertifiedIssuer::self_signed(params, key()).expect("a certificate")
}

fn leaf(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a certificate");
    params
        .distinguished_name
        .push(DnType::CommonName, "service");
    params
}

/// Certificate and key, PEM.
fn issue(authority: &Authority, params: &CertificateParams) -> (String, String) {
    let key = key();
    let certificate = params.signed_by(&key, authority).expect("a certificate");
    (certificate.pem(), key.serialize_pem())
}

fn self_signed(params: &CertificateParams) -> (String, String) {
    let key = key();
    let certificate = params.self_signed(&key).expect("a certificate");
    (certificate.pem(), key.serialize_pem())
}

/// The encrypted side of an API.
pub(crate) struct Encrypted {
    pub(crate) front: Front,
    /// The file of the authority that the program trusts.
    pub(crate) roots: PathBuf,
    authority: Authority,
}

impl Encrypted {
    /// With a good certificate for 127.0.0.1.
    pub(crate) fn before(api: &Api, dir: &FilePath) -> Self {
        let authority = authority("Trusted Root");
        let roots = dir.join("roots.pem");
        std::fs::write(&roots, authority.pem()).expect("write the authority's file");
        let (certificate, key) = issue(&authority, &leaf("127.0.0.1"));
        Self {
            front: Front::to(api.address(), &certificate, &key),
            roots,
            authority,
        }
    }

    fn heal(&self) {
        let (certificate, key) = issue(&self.authority, &leaf("127.0.0.1"));
        self.front.present(&certificate, &key);
    }
}

#[test]
fn a_service_that_can_not_prove_itself_gets_no_record() {
    let mut world = World::new(Kind::Https, "https");
    let trusted = |world: &World, params: &CertificateParams| {
        let encrypted = world.encrypted.as_ref().expect("an encrypted world");
        issue(&encrypted.authority, params)
    };
    let mut expired = leaf("127.0.0.1");
    expired.not_before = date_time_ymd(2020, 1, 1);
    expired.not_after = date_time_ymd(2021, 1, 1);
    let mut early = leaf("127.0.0.1");
    early.not_before = date_time_ymd(2090, 1, 1);
    early.not_after = date_time_ymd(2091, 1, 1);
    let mut own_authority = leaf("127.0.0.1");
    own_authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let cases = [
        (
            "unknown authority",
            Some(issue(&authority("Stranger Root"), &leaf("127.0.0.1"))),
            "issued by an authority that this machine does not trust",
        ),
        (
            "expired",
            Some(trusted(&world, &expired)),
            "certificate expired",
        ),
        (
            "not valid yet",
            Some(trusted(&world, &early)),
            "not valid yet",
        ),
        (
            "wrong host",
            Some(trusted(&world, &leaf("elsewhere.example"))),
            "for another host",
        ),
        (
            "self-signed",
            Some(self_signed(&leaf("127.0.0.1"))),
            "is self-signed",
        ),
        (
            "self-signed and marked as an authority",
            Some(self_signed(&own_authority)),
            "is self-signed",
        ),
        ("no TLS at all", None, "does not speak TLS on this port"),
    ];
    let mut walked = 0;
    for (name, shown, says) in cases {
        world.change();
        let encrypted = world.encrypted.as_ref().expect("an encrypted world");
        match shown {
            Some((certificate, key)) => encrypted.front.present(&certificate, &key),
            None => encrypted.front.without_tls(),
        }
        let requests = world.api().requests();
        let store = world.api().store().history.len();
        let ended = Running::start(world.run()).ended();
        let end = end_of(&ended);
        assert_eq!(
            (end.0, end.1.as_str()),
            REFUSED,
            "{name}: {}",
            ended.words()
        );
        let run = ended.json()["runs"][0].clone();
        let detail = run["failure"]["detail"].as_str().unwrap_or_default();
        assert!(detail.contains(says), "{name}: {}", ended.words());
        assert_eq!(run["delivered"], 0, "{name}: {}", ended.words());
        // Nothing of a request was read: not even its head is given to a stranger.
        let asked: Vec<String> = world.api().log()[requests..]
            .iter()
            .filter(|seen| !seen.method.is_empty())
            .map(|seen| seen.target.clone())
            .collect();
        assert_eq!(asked, [] as [String; 0], "{name}");
        assert_eq!(world.api().store().history.len(), store, "{name}");
        // The check of the destination says the same.
        let check = Running::start(world.rowcast(&["check", "there"])).ended();
        assert_eq!(check.code, Some(REFUSED.0), "{name}: {}", check.words());
        assert!(check.stdout.contains(says), "{name}: {}", check.words());
        world.encrypted.as_ref().expect("an encrypted world").heal();
        let repeats = world.settle();
        assert_eq!(repeats, 0, "{name}: records came twice");
        println!("{name}: {detail}");
        walked += 1;
    }
    println!("https: {walked} cases ran");
    assert_eq!(walked, 7);
}

#[test]
fn a_cut_inside_tls_is_an_unknown_answer() {
    let mut world = World::new(Kind::Https, "https_cut");
    // Long enough that a place in the middle of an answer is known without looking into TLS.
    let long = Answer::json(200, &json!({ "padding": "x".repeat(100_000) }));
    let mut walked = 0;
    for (how, fault) in [
        ("reset", Fault::Reset),
        ("closed", Fault::Close),
        ("half-open", Fault::Swallow),
        ("flipped", Fault::Flip(8)),
    ] {
        for (place, bytes) in [
            ("first answer", 0),
            ("handshake", 200),
            ("middle of the answer", 50_000),
        ] {
            let taken = Act::TakeAndAnswer(long.clone());
            world.api().script(Script::always(taken));
            let requests = world.api().requests();
            let case = Case {
                name: format!("{place}, {how}"),
                path: Path::ToDestination,
                rules: vec![Rule::down(When::Bytes(bytes), fault.clone())],
                ends: if how == "flipped" && bytes <= 200 {
                    UNPROVEN
                } else {
                    OVERCOME
                },
                repeats: bytes > 200,
            };
            let said = world.cross(&case);
            assert!(world.api().requests() > requests, "{}", case.name);
            world.api().behave();
            println!("{}: {said}", case.name);
            walked += 1;
        }
    }
    println!("cut inside TLS: {walked} cases ran");
    assert_eq!(walked, 12);
}
