//! How fast rows go through the actions host: the figures of the documentation. Only when named:
//! `cargo xtask test catalogue-pace`.

use std::io::Write as _;
use std::path::Path;
use std::time::Instant;

use rowcast_testkit::catalogue::Service;
use rowcast_testkit::postgres::Cluster;

#[path = "support/command.rs"]
mod command;
#[path = "support/project.rs"]
mod project;

/// Enough for the start of Node to be a small part.
const ROWS: usize = 50_000;

#[expect(
    clippy::disallowed_methods,
    reason = "what `cargo xtask` tells this test"
)]
fn program() -> String {
    std::env::var("ROWCAST_RELEASE_BIN")
        .unwrap_or_else(|_| env!("CARGO_BIN_EXE_rowcast").to_owned())
}

fn paced(slug: &str, origin: &str, service: &Service, settings: &str, sync: &str) {
    let program = program();
    let host = Path::new(env!("CARGO_TARGET_TMPDIR")).join("actions-host");
    std::fs::create_dir_all(&host).expect("a folder");
    let run = |dir: &Path, words: &[&str]| {
        let mut command = command::program(Path::new(&program), dir, words);
        command.env("ROWCAST_ACTIONS_HOST", &host);
        let ended = command::run(command);
        assert_eq!(ended.code, Some(0), "{}", ended.words());
        ended
    };
    run(&host, &["connectors", "install", "segment"]);
    let cluster = Cluster::shared();
    let database = cluster.database(&format!("pace_{slug}"));
    cluster.psql(
        &database.name,
        &format!(
            "CREATE TABLE contacts AS SELECT n AS id, 'c' || n || '@example.com' AS email, \
             'Name ' || n AS first_name, 'free' AS plan FROM generate_series(1, {ROWS}) n;
             ALTER TABLE contacts ADD PRIMARY KEY (id)"
        ),
    );
    let project = project::Project::new(&database);
    project.model("contacts", "contacts");
    project.file(
        "destinations/crm.yml",
        &format!(
            "destination: crm\nconnector: segment/{slug}\nallow_addresses: [127.0.0.1/32]\n\
             settings:\n  rewrite: {{ \"{origin}\": \"{}\" }}\n  {settings}\n",
            service.api().url("")
        ),
    );
    project.sync("push", "contacts", "crm", sync);
    let began = Instant::now();
    let report = project::report(&run(project.dir(), &["run", "push", "--json"]));
    let seconds = began.elapsed().as_secs_f64();
    assert_eq!(report["delivered"], ROWS);
    writeln!(
        std::io::stdout(),
        "segment/{slug}: {ROWS} rows in {seconds:.1} s, {:.0} rows/s, {} requests",
        ROWS as f64 / seconds,
        service.api().requests()
    )
    .expect("print the figure");
}

#[test]
fn rows_a_second() {
    paced(
        "webhook",
        "https://hooks.example.com",
        &Service::webhook(),
        "",
        "object: send\nmapping:\n  url: https://hooks.example.com/hook\n  method: POST\n  \
         enable_batching: true\n  batch_size: 1000\n  data: { \"@path\": $.properties }\n",
    );
    paced(
        "hubspot",
        "https://api.hubapi.com",
        &Service::hubspot(),
        "oauth: { access_token: emulator }",
        "object: upsertObject\nfields:\n  object_details: { object: { object_type: { literal: contact }, \
         id_field_name: { literal: email }, id_field_value: email, property_group: { literal: contactinformation } } }\n  \
         properties: { object: { firstname: first_name, plan: plan } }\n",
    );
    paced(
        "klaviyo",
        "https://a.klaviyo.com",
        &Service::klaviyo(),
        "api_key: emulator",
        "object: upsertProfile\nfields: { email: email, first_name: first_name }\n",
    );
}
