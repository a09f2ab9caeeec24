//! What a person sees who made a mistake, or whose database did: an error in three parts with its
//! code and exit status, before anything is sent. Nothing is lost: when the cause is mended, the
//! next run delivers everything.

#[path = "support/shop.rs"]
mod shop;
#[allow(dead_code, reason = "shared with tests that use more of it")]
mod terminal;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rowcast_testkit::postgres::{Cluster, Options, free_port};

use shop::Shop;

/// The transcripts of one test, with a heading each.
struct Golden {
    shop: Shop,
    text: String,
}

impl Golden {
    /// A shop whose rows were delivered once.
    fn after_a_run(shop: Shop) -> Self {
        shop.run("run", 0);
        assert_eq!(shop.delivered(), shop.rows());
        Self {
            shop,
            text: String::new(),
        }
    }

    /// Changes rows, spoils something, and runs a command that must fail without a request and
    /// without touching state. Then mends it: the next run must deliver all that changed.
    fn mishap(
        &mut self,
        what: &str,
        line: &str,
        code: i32,
        spoil: impl FnOnce(&Shop),
        mend: impl FnOnce(&Shop),
    ) {
        let shop = &self.shop;
        shop.sql(
            "UPDATE customers SET plan = plan || '+' WHERE id = 1;
             DELETE FROM customers WHERE id = (SELECT max(id) FROM customers);
             INSERT INTO customers SELECT max(id) + 2, 'new@example.com', 'trial' FROM customers",
        );
        spoil(shop);
        let (state, requests) = (shop.state(), shop.api.requests());
        let transcript = shop.transcript(line, code);
        assert_eq!(shop.api.requests(), requests, "{what}: something was sent");
        assert_eq!(shop.state(), state, "{what}: state was touched");
        self.text.push_str(&format!("# {what}\n{transcript}\n"));
        mend(shop);
        shop.run("run", 0);
        assert_eq!(shop.delivered(), shop.rows(), "{what}: something was lost");
    }

    /// The same for a text in a file; an empty `from` replaces the whole file.
    fn mistake(&mut self, what: &str, code: i32, file: &str, from: &str, to: &str) {
        let before = self.shop.read(file);
        self.mishap(
            what,
            "run",
            code,
            |shop| {
                if from.is_empty() {
                    shop.write(file, to);
                } else {
                    shop.edit(file, from, to);
                }
            },
            |shop| shop.write(file, &before),
        );
    }

    /// The same for SQL that an administrator runs, and the SQL that mends it.
    fn accident(&mut self, what: &str, code: i32, spoil: &str, mend: &str) {
        self.mishap(
            what,
            "run",
            code,
            |shop| drop(shop.sql(spoil)),
            |shop| drop(shop.sql(mend)),
        );
    }

    fn check(self, name: &str) {
        let mut settings = insta::Settings::clone_current();
        settings.add_filter(r"20\d\d-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?Z?", "[TIME]");
        settings.add_filter(r"log is at [0-9A-F]+/[0-9A-F]+", "log is at 0/1A2B3C4");
        settings.add_filter(
            r#""(duration_ms|spool_bytes|database_ms|wal_bytes)": \d+"#,
            r#""$1": 0"#,
        );
        // From PostgreSQL 18 on a run knows how much log it wrote itself.
        settings.add_filter(r#""wal_of": "run""#, r#""wal_of": "server""#);
        settings.bind(|| insta::assert_snapshot!(name, self.text));
    }
}

const SYNC: &str = "syncs/customers_to_crm.yml";
const MODEL: &str = "models/customers.yml";
const SOURCE: &str = "sources/shop.yml";

#[test]
fn mistakes_in_files() {
    let mut golden = Golden::after_a_run(Shop::open("input_files"));
    golden.mistake("unknown key", 2, SYNC, "mode:", "mdoe:");
    golden.mistake("wrong type", 2, "destinations/crm.yml", "20", "many");
    golden.mistake("not YAML", 2, SYNC, "fields:\n", "fields: {\n");
    golden.mistake(
        "missing secret",
        2,
        SOURCE,
        "sslmode:",
        "password: ${env:SHOP_PASSWORD}\nsslmode:",
    );
    golden.mistake("missing column", 2, SYNC, "email: email", "email: emial");
    golden.mistake(
        "unknown filter in a template",
        2,
        SYNC,
        "email: email",
        "email: \"{{ email | uper }}\"",
    );
    golden.mistake(
        "unfinished template",
        2,
        SYNC,
        "email: email",
        "email: \"{{ email }\"",
    );
    golden.mistake(
        "unknown model",
        2,
        SYNC,
        "model: customers",
        "model: custmers",
    );
    golden.mistake(
        "a setting that the connector does not know",
        2,
        "destinations/crm.yml",
        "settings:",
        "settings:\n  ulr: https://crm.example.com",
    );
    golden.mistake(
        "everything at once",
        2,
        SYNC,
        "",
        "sync: customers\nmodel: custmers\ndestination: crm\nmode: miror\nfields: { email: }\n\
         guards: { removed: 10 }\nschedule: { every: 5s }\n",
    );
    golden.check("mistakes_in_files");
}

#[test]
fn mistakes_in_sql() {
    let mut golden = Golden::after_a_run(Shop::open("input_sql"));
    let model =
        |sql: &str| format!("model: customers\nsource: shop\nsql: |\n  {sql}\nprimary_key: [id]\n");
    for (what, sql) in [
        (
            "a model with two statements",
            "SELECT * FROM customers; SELECT 1",
        ),
        (
            "a model that ends its own brackets",
            "SELECT * FROM customers) x; DELETE FROM customers; SELECT * FROM (SELECT 1",
        ),
        (
            "a model that writes",
            "DELETE FROM customers RETURNING id, email, plan",
        ),
        (
            "a model that writes in a WITH",
            "WITH gone AS (DELETE FROM customers RETURNING *) SELECT * FROM gone",
        ),
        (
            "a model that calls a function that writes",
            "SELECT id, email, set_plan(id) AS plan FROM customers",
        ),
        ("a model with a typing error", "SELEC * FROM customers"),
        (
            "a model of a table that is not there",
            "SELECT * FROM custmers",
        ),
        (
            "a model of a column that is not there",
            "SELECT id, emial AS email, plan FROM customers",
        ),
        (
            "a model without the primary key's column",
            "SELECT email, plan FROM customers",
        ),
    ] {
        golden.shop.sql(
            "CREATE OR REPLACE FUNCTION set_plan(int) RETURNS text LANGUAGE sql SECURITY DEFINER
             AS 'UPDATE customers SET plan = ''stolen'' WHERE id = $1 RETURNING plan'",
        );
        golden.mistake(what, 2, MODEL, "", &model(sql));
    }
    for (what, filter) in [
        ("a where with two statements", "true; DELETE FROM customers"),
        ("a where that ends its own brackets", "true) OR (true"),
        ("a where that is no condition", "plan"),
        ("a where of a column that is not there", "plam = 'free'"),
    ] {
        golden.mistake(
            what,
            2,
            SYNC,
            "mode: mirror",
            &format!("mode: mirror\nwhere: \"{filter}\""),
        );
    }
    golden.mistake(
        "a key type without equality",
        2,
        MODEL,
        "",
        &model("SELECT to_json(id) AS id, email, plan FROM customers"),
    );
    golden.mishap(
        "a table without a primary key",
        "run",
        2,
        |shop| {
            shop.sql("ALTER TABLE customers DROP CONSTRAINT customers_pkey");
            shop.edit(MODEL, "primary_key: [id]\n", "");
        },
        |shop| {
            shop.sql("ALTER TABLE customers ADD PRIMARY KEY (id)");
            shop.edit(
                MODEL,
                "table: customers\n",
                "table: customers\nprimary_key: [id]\n",
            );
        },
    );
    golden.check("mistakes_in_sql");
}

#[test]
fn mistakes_on_the_command_line() {
    let mut golden = Golden::after_a_run(Shop::open("input_line"));
    for (what, line) in [
        ("unknown sync", "run customers_to_crn"),
        ("unknown sync, for programs", "run customers_to_crn --json"),
        ("unknown guard", "run --override remove"),
        ("no project folder", "run --project elsewhere"),
        ("unknown environment", "run --env prod"),
        ("unknown command", "rum"),
        ("unknown option", "run --ful"),
        ("a key of the wrong type", "run --keys seven"),
        ("a key of too many columns", "run --keys [1,2]"),
        ("a plan that is none", "run --plan rowcast.yml"),
        ("a plan that is not there", "run --plan plan.json"),
        ("unknown source", "tables shoop"),
        ("unknown model", "preview customer"),
        ("unknown sync of why", "why customer 1"),
        (
            "a key of the wrong type of why",
            "why customers_to_crm seven",
        ),
        ("unknown sync of status", "status customer"),
        ("unknown error code", "explain E9999"),
        ("nothing to test", "test"),
    ] {
        golden.mishap(what, line, 2, |_| {}, |_| {});
    }
    golden.check("mistakes_on_the_command_line");
}

#[test]
fn accidents_in_the_database() {
    let mut golden = Golden::after_a_run(Shop::open("input_accidents"));
    let whole = "CREATE TABLE kept AS TABLE customers; DELETE FROM customers";
    let back = "INSERT INTO customers TABLE kept; DROP TABLE kept";
    golden.accident("the model is empty", 4, whole, back);
    golden.accident(
        "many rows were removed",
        4,
        &format!("{whole} WHERE id > 10"),
        "INSERT INTO customers SELECT * FROM kept WHERE id > 10; DROP TABLE kept",
    );
    golden.accident(
        "a mapped column was dropped",
        2,
        "ALTER TABLE customers RENAME plan TO tariff",
        "ALTER TABLE customers RENAME tariff TO plan",
    );
    golden.accident(
        "a mapped column was retyped",
        4,
        "CREATE TABLE kept AS TABLE customers;
         ALTER TABLE customers ALTER plan TYPE int USING length(plan)",
        "ALTER TABLE customers ALTER plan TYPE text;
         UPDATE customers c SET plan = k.plan FROM kept k WHERE k.id = c.id; DROP TABLE kept",
    );
    golden.accident(
        "the key's column was retyped",
        2,
        "ALTER TABLE customers ALTER id TYPE text",
        "ALTER TABLE customers ALTER id TYPE int USING id::int",
    );
    golden.accident(
        "the source moved back",
        4,
        "UPDATE _rowcast.progress SET wal_position = 'FFFF/0'",
        "UPDATE _rowcast.progress SET wal_position = '0/0'",
    );
    golden.accident(
        "the state came with a copy of another server",
        4,
        "UPDATE _rowcast.progress SET system_identifier = '1'",
        "UPDATE _rowcast.progress SET system_identifier =
           (SELECT system_identifier FROM pg_control_system())",
    );
    golden.accident(
        "the role lacks SELECT",
        1,
        "REVOKE SELECT ON customers FROM ROLE_OF_ROWCAST",
        "GRANT SELECT ON customers TO ROLE_OF_ROWCAST",
    );
    golden.accident(
        "row-level security hides rows",
        1,
        "ALTER TABLE customers ENABLE ROW LEVEL SECURITY",
        "ALTER TABLE customers DISABLE ROW LEVEL SECURITY",
    );
    golden.accident(
        "the sync is already running",
        1,
        "UPDATE _rowcast.sync SET lease_owner = 'worker-2', lease_until = now() + interval '1 h'",
        "UPDATE _rowcast.sync SET lease_owner = NULL, lease_until = NULL",
    );
    golden.accident(
        "state is not writable any more",
        1,
        "SELECT format('REVOKE ALL ON %s FROM %s', c.oid::regclass, 'ROLE_OF_ROWCAST')
         FROM pg_class c WHERE relnamespace = '_rowcast'::regnamespace AND relkind = 'r' \\gexec",
        "SELECT format('GRANT ALL ON %s TO %s', c.oid::regclass, 'ROLE_OF_ROWCAST')
         FROM pg_class c WHERE relnamespace = '_rowcast'::regnamespace AND relkind = 'r' \\gexec",
    );
    golden.accident(
        "a newer Rowcast was here",
        1,
        "UPDATE _rowcast.layout SET version = 99",
        "UPDATE _rowcast.layout SET version = 4",
    );
    golden.check("accidents_in_the_database");
}

#[test]
fn state_that_is_pointed_elsewhere() {
    let mut golden = Golden::after_a_run(Shop::open("input_identity"));
    golden.mistake(
        "another place at the destination",
        2,
        "destinations/crm.yml",
        "/customers",
        "/contacts",
    );
    golden.mistake(
        "another object",
        2,
        SYNC,
        "object: customer",
        "object: contact",
    );
    golden.mistake(
        "another identity",
        2,
        SYNC,
        "mode: mirror",
        "mode: mirror\nmatch_on: { email: email }",
    );
    golden.mishap(
        "a plan that the source has left behind",
        "run --plan plan.json",
        4,
        |shop| {
            shop.run("plan --out plan.json", 0);
            shop.sql("UPDATE customers SET plan = 'late' WHERE id = 2");
        },
        |_| {},
    );
    golden.mishap(
        "a plan that the source has left behind, for programs",
        "run --plan plan.json --json",
        4,
        |shop| {
            shop.run("plan --out plan.json", 0);
            shop.sql("UPDATE customers SET plan = 'later' WHERE id = 2");
        },
        |_| {},
    );
    golden.check("state_that_is_pointed_elsewhere");
}

#[test]
fn state_that_can_not_be_made() {
    let shop = Shop::open("input_state");
    shop.sql(&format!(
        "REVOKE CREATE ON DATABASE {} FROM ROLE_OF_ROWCAST",
        shop.database.name
    ));
    let mut text = String::new();
    text.push_str("# the state schema may not be made\n");
    text.push_str(&shop.transcript("run", 1));
    shop.sql("CREATE SCHEMA _rowcast");
    text.push_str("\n# the state schema may not be used\n");
    text.push_str(&shop.transcript("run", 1));
    shop.sql("GRANT USAGE ON SCHEMA _rowcast TO ROLE_OF_ROWCAST");
    text.push_str("\n# the state schema may not be written\n");
    text.push_str(&shop.transcript("run", 1));
    assert_eq!(shop.api.requests(), 0);
    shop.sql("GRANT CREATE ON SCHEMA _rowcast TO ROLE_OF_ROWCAST");
    shop.run("run", 0);
    assert_eq!(shop.delivered(), shop.rows());
    insta::assert_snapshot!("state_that_can_not_be_made", text);
}

#[test]
fn duplicate_keys_are_reported_and_the_others_are_delivered() {
    let shop = Shop::open("input_duplicates");
    let table = shop.read(MODEL);
    shop.write(
        MODEL,
        "model: customers\nsource: shop\nprimary_key: [id]\nsql: |\n  SELECT * FROM customers\n  \
         UNION ALL SELECT id, 'twin@example.com', plan FROM customers WHERE id IN (3, 7)\n",
    );
    let first = shop.transcript("run --fail-on-rejected", 5);
    let ids = |shop: &Shop| shop.api.store().records.len();
    assert_eq!(ids(&shop), shop::ROWS - 2, "twins are not sent");
    let preview = shop.transcript("preview customers", 1);
    shop.write(MODEL, &table);
    shop.run("run", 0);
    assert_eq!(shop.delivered(), shop.rows());
    insta::assert_snapshot!("duplicate_keys_are_reported", format!("{first}\n{preview}"));
}

/// A server that speaks TLS as `localhost`, asks for passwords, and is left alone otherwise.
fn careful_server() -> (&'static Cluster, String) {
    let mut params = CertificateParams::new(Vec::new()).expect("make a certificate");
    params
        .distinguished_name
        .push(DnType::CommonName, "Example Authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root =
        CertifiedIssuer::self_signed(params, KeyPair::generate().expect("make a certificate"))
            .expect("make a certificate");
    let key = KeyPair::generate().expect("make a certificate");
    let mut leaf =
        CertificateParams::new(vec!["localhost".to_owned()]).expect("make a certificate");
    leaf.distinguished_name
        .push(DnType::CommonName, "localhost");
    let leaf = leaf.signed_by(&key, &root).expect("make a certificate");
    let cluster = Cluster::start(&Options {
        conf: vec![
            "ssl = on".into(),
            "ssl_cert_file = 'server.crt'".into(),
            "ssl_key_file = 'server.key'".into(),
        ],
        hba: Some(
            "local all all trust\nhostssl all nobody all reject\nhost all all all scram-sha-256\n"
                .into(),
        ),
        files: vec![
            ("server.crt".into(), leaf.pem()),
            ("server.key".into(), key.serialize_pem()),
        ],
    });
    // Leaked on purpose: the server ends with this process.
    (Box::leak(Box::new(cluster)), root.pem())
}

#[test]
fn connections_that_can_not_be_made() {
    let (cluster, root) = careful_server();
    let mut shop = Shop::open_on(cluster, "input_connect");
    shop.sql("ALTER ROLE ROLE_OF_ROWCAST PASSWORD 'right'");
    shop.environment
        .push(("SHOP_PASSWORD".into(), "right".into()));
    shop.environment
        .push(("WRONG".into(), "wr0ng-s3cret".into()));
    shop.write("root.crt", &root);
    let port = shop.database.port;
    shop.terminal
        .replace
        .push((format!("localhost:{port}"), "localhost:5432".into()));
    shop.terminal
        .replace
        .push((format!("{port}"), "5432".into()));
    let closed = free_port();
    shop.terminal
        .replace
        .push((closed.to_string(), "6543".into()));
    let right = shop
        .source("password: ${env:SHOP_PASSWORD}\nsslrootcert: root.crt\n")
        .replace("127.0.0.1", "localhost");
    shop.write(SOURCE, &right);
    let mut golden = Golden::after_a_run(shop);
    let port_line = format!("port: {port}");
    golden.mistake(
        "nobody listens",
        3,
        SOURCE,
        &port_line,
        &format!("port: {closed}"),
    );
    golden.mistake(
        "no such host",
        3,
        SOURCE,
        "host: localhost",
        "host: db.invalid",
    );
    golden.mistake(
        "wrong password",
        3,
        SOURCE,
        "${env:SHOP_PASSWORD}",
        "${env:WRONG}",
    );
    golden.mistake(
        "no password",
        3,
        SOURCE,
        "password: ${env:SHOP_PASSWORD}\n",
        "",
    );
    golden.mistake("no such role", 3, SOURCE, "user: ", "user: not_");
    golden.mistake(
        "no such database",
        3,
        SOURCE,
        "database: ",
        "database: not_",
    );
    golden.mistake(
        "a certificate for another name",
        3,
        SOURCE,
        "host: localhost",
        "host: 127.0.0.1",
    );
    golden.mistake(
        "a certificate that nobody vouches for",
        3,
        SOURCE,
        "sslrootcert: root.crt\n",
        "",
    );
    golden.mishap(
        "a certificate for another name, for programs",
        "run --json",
        3,
        |shop| drop(shop.edit(SOURCE, "host: localhost", "host: 127.0.0.1")),
        |shop| drop(shop.edit(SOURCE, "host: 127.0.0.1", "host: localhost")),
    );
    golden.check("connections_that_can_not_be_made");
}

#[test]
fn a_server_without_encryption_where_it_is_required() {
    let shop = Shop::open("input_plain");
    let mut golden = Golden::after_a_run(shop);
    for mode in ["require", "verify-full"] {
        golden.mistake(
            &format!("no TLS, sslmode: {mode}"),
            3,
            SOURCE,
            "sslmode: disable",
            &format!("sslmode: {mode}"),
        );
    }
    golden.check("a_server_without_encryption");
}

#[test]
fn destinations_that_can_not_be_reached() {
    let mut golden = Golden::after_a_run(Shop::open("input_destination"));
    golden.mistake(
        "an address that is not allowed",
        1,
        "destinations/crm.yml",
        "allow_addresses: [127.0.0.0/8]\n",
        "",
    );
    golden.check("destinations_that_can_not_be_reached");
}
