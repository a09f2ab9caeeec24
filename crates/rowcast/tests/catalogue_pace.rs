//! How fast rows go through the actions host: the figures of the documentation, as a table. Only when
//! named: `cargo xtask test catalogue-pace`, which builds the program and this test for release.

use std::fmt::Write as _;
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

/// One line of the table.
fn paced(slug: &str, origin: &str, service: &Service, settings: &str, sync: &str) -> String {
    let host = Path::new(env!("CARGO_TARGET_TMPDIR")).join("actions-host");
    std::fs::create_dir_all(&host).expect("a folder");
    let run = |dir: &Path, words: &[&str]| {
        let mut command = command::rowcast(dir, words);
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
    format!(
        "| `segment/{slug}` | {ROWS} | {} | {seconds:.1} | {:.0} |",
        service.api().requests(),
        ROWS as f64 / seconds
    )
}

#[test]
fn rows_a_second() {
    let webhook = paced(
        "webhook",
        "https://hooks.example.com",
        &Service::webhook(),
        "",
        "object: send\nmapping:\n  url: https://hooks.example.com/hook\n  method: POST\n  \
         enable_batching: true\n  batch_size: 1000\n  data: { \"@path\": $.properties }\n",
    );
    let hubspot = paced(
        "hubspot",
        "https://api.hubapi.com",
        &Service::hubspot(),
        "oauth: { access_token: emulator }",
        "object: upsertObject\nfields:\n  object_details: { object: { object_type: { literal: contact }, \
         id_field_name: { literal: email }, id_field_value: email, property_group: { literal: contactinformation } } }\n  \
         properties: { object: { firstname: first_name, plan: plan } }\n",
    );
    let klaviyo = paced(
        "klaviyo",
        "https://a.klaviyo.com",
        &Service::klaviyo(),
        "api_key: emulator",
        "object: upsertProfile\nfields: { email: email, first_name: first_name }\n",
    );
    let build = if cfg!(debug_assertions) {
        "not optimised"
    } else {
        "for release"
    };
    let mut table = format!(
        "\nbuilt {build}\n| destination | rows | requests | seconds | rows/s |\n|---|---|---|---|---|\n"
    );
    for line in [webhook, hubspot, klaviyo] {
        writeln!(table, "{line}").expect("text grows");
    }
    std::io::stdout()
        .write_all(table.as_bytes())
        .expect("print the table");
}
