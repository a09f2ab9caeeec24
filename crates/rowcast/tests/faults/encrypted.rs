//! Connections that are cut inside TLS: in the handshake and in the middle of the stream, without
//! `close_notify`. A cut stream must never look like a complete answer.

use rcgen::{CertificateParams, KeyPair};
use rowcast_testkit::postgres::{Cluster, Options};
use rowcast_testkit::proxy::{Fault, Rule, When};

use crate::world::{Kind, World};
use crate::{Case, End, Path};

/// In the handshake: no encrypted connection, or none at all.
const HANDSHAKE: &[End] = &[(3, "E0203"), (3, "E0201")];
/// After it: lost before the first request.
const STREAM: &[End] = &[(3, "E0214"), (1, "E0215")];

fn server() -> &'static Cluster {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a certificate");
    let certificate = params.self_signed(&key).expect("a certificate");
    let options = Options {
        conf: [
            "ssl = on",
            "ssl_cert_file = 'server.crt'",
            "ssl_key_file = 'server.key'",
        ]
        .map(str::to_owned)
        .to_vec(),
        files: vec![
            ("server.crt".to_owned(), certificate.pem()),
            ("server.key".to_owned(), key.serialize_pem()),
        ],
        ..Options::default()
    };
    Box::leak(Box::new(Cluster::start(&options)))
}

#[test]
fn a_cut_inside_tls_never_looks_like_an_end() {
    let mut world = World::on(server(), Kind::Http, "encrypted");
    world.file(
        "sources/source.yml",
        &format!(
            "source: source\nurl: postgresql://postgres@127.0.0.1:{}/{}?connect_timeout=2\n\
             sslmode: require\nlimits: {{ statement_timeout: 2s }}\n",
            world.to_source.port(),
            world.source.name
        ),
    );
    world.settle();
    let mut walked = 0;
    for (how, fault) in [
        ("reset", Fault::Reset),
        ("closed", Fault::Close),
        ("half-open", Fault::Swallow),
        ("flipped", Fault::Flip(8)),
    ] {
        // The first flight of the server is about a kilobyte. The connections of a run get 3 kB each that
        // look at the source, and 6 and 8 kB that read and keep state.
        for (place, bytes, ends) in [
            ("first answer", 0, HANDSHAKE),
            ("handshake", 200, HANDSHAKE),
            ("stream", 2_500, STREAM),
            ("late in the stream", 5_500, STREAM),
        ] {
            let case = Case {
                name: format!("{place}, {how}"),
                path: Path::ToSource,
                rules: vec![Rule::down(When::Bytes(bytes), fault.clone())],
                ends,
                repeats: false,
            };
            let said = world.cross(&case);
            println!("{}: {said}", case.name);
            walked += 1;
        }
    }
    println!("encrypted: {walked} cases ran");
    assert_eq!(walked, 16);
}
