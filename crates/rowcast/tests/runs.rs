//! How runs end: exit codes, guards, rejected rows, sealed plans, signals, two processes at once.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use rowcast_testkit::api::{Act, Answer, Api, BadRecords, Script};
use rowcast_testkit::postgres::{Cluster, Database};

mod terminal;
use terminal::Terminal;

/// A project that sends 100 rows to a service.
struct Shop {
    terminal: Terminal,
    database: Database,
    client: tokio_postgres::Client,
    api: Api,
}

impl Shop {
    async fn open(name: &str) -> Self {
        let database = Cluster::shared().database(name);
        let client = database.client().await;
        client
            .batch_execute(
                "CREATE TABLE customers (id int PRIMARY KEY, email text);
                 INSERT INTO customers SELECT n, n || '@example.com' FROM generate_series(1, 100) n",
            )
            .await
            .expect("make the table");
        let api = Api::start();
        let shop = Self {
            terminal: Terminal::new(),
            database,
            client,
            api,
        };
        shop.write("rowcast.yml", "project: shop\nversion: 1\n");
        shop.write(
            "sources/shop.yml",
            &format!(
                "source: shop\nurl: postgresql://postgres@127.0.0.1:{}/{}\nsslmode: disable\n",
                shop.database.port, shop.database.name
            ),
        );
        shop.write(
            "models/customers.yml",
            "model: customers\nsource: shop\ntable: customers\nprimary_key: [id]\n",
        );
        shop.write(
            "destinations/crm.yml",
            &format!(
                "destination: crm\nconnector: http\nsettings:\n  url: {}\nallow_addresses: [127.0.0.0/8]\n",
                shop.api.url("/customers")
            ),
        );
        shop.write(
            "syncs/crm.yml",
            "sync: crm\nmodel: customers\ndestination: crm\nmode: mirror\nfields: { email: email }\n",
        );
        shop
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.terminal.dir.join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("make the folder");
        std::fs::write(path, text).expect("write the file");
    }

    fn run(&self, line: &str, code: i32) -> terminal::Ran {
        let ran = self.terminal.run(".", line);
        assert_eq!(ran.code, code, "{line}\n{}\n{}", ran.stdout, ran.stderr);
        ran
    }

    fn json(&self, line: &str, code: i32) -> serde_json::Value {
        serde_json::from_str(&self.run(line, code).stdout).expect("as it should be")
    }

    /// Starts a run and waits until the service holds a request of it.
    fn start_held(&self, script: Script) -> Child {
        self.api.script(script);
        let before = self.api.requests();
        let child = self
            .terminal
            .command(".", &["run"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("as it should be");
        self.api.wait(|log| log.len() > before);
        child
    }
}

fn signal(child: &Child, name: &str) {
    let done = Command::new("kill")
        .args([name, &child.id().to_string()])
        .status()
        .expect("as it should be");
    assert!(done.success());
}

#[tokio::test]
async fn rejected_rows_fail_the_command_only_when_asked() {
    let shop = Shop::open("cli_rejected").await;
    shop.api
        .refuse(BadRecords::by_record(BadRecords::ids(&[7])).message("no such plan"));
    shop.run("run --limit 50", 0);
    let view = shop.json("run --fail-on-rejected --json", 5);
    assert_eq!(view["runs"][0]["status"], "partial");
    assert_eq!(view["runs"][0]["delivered"], 50);
    assert_eq!(view["runs"][0]["rejected"], 1);
    // A run in which everything was rejected is failed, asked or not.
    shop.run("run", 1);
    let rejects = shop.json("rejects crm --json", 0);
    assert_eq!(rejects[0]["key"], "7");
    let why = shop.run("why crm 7", 0);
    assert!(why.stdout.contains("rejected"), "{}", why.stdout);
    shop.run("retry crm --keys 7", 0);
    shop.api.behave();
    shop.api.refuse(BadRecords::by_record(|_| false));
    assert_eq!(shop.json("run --json", 0)["runs"][0]["delivered"], 1);
}

#[tokio::test]
async fn rule_20_a_guard_holds_the_command_until_it_is_overridden() {
    let shop = Shop::open("cli_held").await;
    shop.run("run", 0);
    shop.client
        .execute("DELETE FROM customers WHERE id <= 50", &[])
        .await
        .unwrap();
    let before = shop.api.requests();
    shop.run("plan", 4);
    let held = shop.run("run", 4);
    assert!(held.stdout.contains("error[E0401]"), "{}", held.stdout);
    assert_eq!(shop.api.requests(), before, "held before the first request");
    shop.run("run --override removed", 0);
    assert_eq!(shop.api.requests(), before + 50);
}

#[tokio::test]
async fn rule_28_a_sealed_plan_is_sent_exactly_or_refused() {
    let shop = Shop::open("cli_sealed").await;
    shop.run("plan --out plan.json", 0);
    shop.client
        .execute("UPDATE customers SET email = 'x' WHERE id = 1", &[])
        .await
        .unwrap();
    let stale = shop.run("run --plan plan.json", 4);
    assert!(stale.stdout.contains("E0309"), "{}", stale.stdout);
    assert_eq!(shop.api.requests(), 0);
    shop.run("plan --out plan.json", 0);
    let view = shop.json("run --plan plan.json --json", 0);
    assert_eq!(view["runs"][0]["delivered"], 100);
    shop.run("plan --out plan.json", 0);
    shop.write(
        "syncs/crm.yml",
        "sync: crm\nmodel: customers\ndestination: crm\nmode: upsert\nfields: { email: email }\n",
    );
    shop.run("run --plan plan.json", 4);
}

#[tokio::test]
async fn rule_28_the_sealed_plan_of_a_first_run_is_sent() {
    let shop = Shop::open("cli_sealed_first").await;
    shop.run("plan --out plan.json", 0);
    let view = shop.json("run --plan plan.json --json", 0);
    assert_eq!(view["runs"][0]["delivered"], 100);
}

#[tokio::test]
async fn an_interrupted_run_keeps_its_progress_and_ends_with_130() {
    let shop = Shop::open("cli_interrupted").await;
    let mut child = shop.start_held(Script::once(Act::Hold));
    // Kept to the end, so that nothing said later has nowhere to go.
    let mut said = BufReader::new(child.stderr.take().unwrap());
    signal(&child, "-INT");
    let mut heard = String::new();
    while !heard.contains("stopping") {
        assert_ne!(said.read_line(&mut heard).unwrap(), 0, "{heard}");
    }
    shop.api.release();
    let ended = shop.terminal.ran(&child.wait_with_output().unwrap());
    assert_eq!(ended.code, 130, "{}\n{heard}", ended.stdout);
    let sent = shop.api.requests();
    assert!(sent < 100, "it went on after the signal: {sent}");
    let view = shop.json("run --json", 0);
    let delivered = view["runs"][0]["delivered"].as_u64().unwrap();
    assert!(delivered < 100, "nothing of the first run was kept");
    assert_eq!(shop.api.store().duplicates().len(), 0);
}

#[tokio::test]
async fn a_second_process_is_refused_and_a_cancelled_one_stops() {
    let shop = Shop::open("cli_two").await;
    // Leases are renewed about once in a request's timeout; that is when a cancel is noticed.
    let crm = std::fs::read_to_string(shop.terminal.dir.join("destinations/crm.yml")).unwrap();
    shop.write("destinations/crm.yml", &format!("{crm}timeout: 1s\n"));
    let child = shop.start_held(Script::always(Act::Hold));
    let refused = shop.run("run", 1);
    assert!(refused.stderr.contains("E0303"), "{}", refused.stderr);
    let cancelled = shop.run("cancel crm", 0);
    assert!(
        cancelled.stdout.contains("asked to stop"),
        "{}",
        cancelled.stdout
    );
    let ended = shop.terminal.ran(&child.wait_with_output().unwrap());
    shop.api.release();
    assert_eq!(ended.code, 130, "{}\n{}", ended.stdout, ended.stderr);
    let idle = shop.run("cancel crm", 0);
    assert!(idle.stdout.contains("not running"), "{}", idle.stdout);
}

#[tokio::test]
async fn a_paused_sync_does_not_run_until_it_is_resumed() {
    let shop = Shop::open("cli_paused").await;
    shop.run("run --limit 10", 0);
    assert_eq!(shop.api.requests(), 10);
    shop.run("pause crm", 0);
    let left = shop.run("run", 0);
    assert!(left.stderr.contains("paused"), "{}", left.stderr);
    assert_eq!(shop.api.requests(), 10);
    assert_eq!(shop.json("status --json", 0)[0]["activity"], "paused");
    shop.run("resume crm", 0);
    shop.run("run", 0);
    assert_eq!(shop.api.requests(), 100);
}

#[tokio::test]
async fn a_baseline_sends_nothing_and_a_reset_sends_everything() {
    let shop = Shop::open("cli_baseline").await;
    assert_eq!(shop.json("baseline crm --json", 0)["done"], false);
    assert_eq!(shop.json("baseline crm --yes --json", 0)["rows"], 100);
    shop.run("run", 0);
    assert_eq!(shop.api.requests(), 0);
    shop.run("reset crm --yes", 0);
    shop.run("run", 0);
    assert_eq!(shop.api.requests(), 100);
}

#[tokio::test]
async fn one_failing_sync_does_not_stop_the_others() {
    let shop = Shop::open("cli_several").await;
    shop.write(
        "models/broken.yml",
        "model: broken\nsource: shop\ntable: nowhere\nprimary_key: [id]\n",
    );
    shop.write(
        "syncs/broken.yml",
        "sync: broken\nmodel: broken\ndestination: crm\nfields: { email: email }\n",
    );
    let view = shop.json("run --json", 2);
    assert_eq!(view["runs"][0]["sync"], "crm");
    assert_eq!(view["runs"][0]["delivered"], 100);
    assert_eq!(view["failed"][0]["sync"], "broken");
}

#[tokio::test]
async fn rule_25_the_views_add_up_whatever_became_of_the_runs() {
    let shop = Shop::open("cli_views").await;
    let sql = async |sql: &str| shop.client.batch_execute(sql).await.unwrap();
    // partial, succeeded with some left, failed, held, with invalid keys.
    shop.api
        .refuse(BadRecords::by_record(BadRecords::ids(&[7, 8])));
    shop.run("run", 0);
    shop.api.behave();
    sql("UPDATE customers SET email = 'new' || id WHERE id > 20").await;
    shop.run("run --limit 10", 0);
    shop.api
        .script(Script::always(Act::Answer(Answer::status(401))));
    shop.run("run", 1);
    shop.api.behave();
    sql("DELETE FROM customers WHERE id > 40").await;
    shop.run("run", 4);
    shop.run("run --override removed", 0);
    let states = "SELECT string_agg(DISTINCT status, ' ' ORDER BY status) FROM _rowcast.runs";
    let states: String = shop.client.query_one(states, &[]).await.unwrap().get(0);
    assert_eq!(states, "failed held partial succeeded");
    let unbalanced = "SELECT count(*) FROM _rowcast.runs WHERE finished_at IS NULL OR
        read IS DISTINCT FROM unchanged + added + updated + retried_present + invalid_keys OR
        added + updated + removed + retried IS DISTINCT FROM
          delivered + skipped + invalid + rejected + held + pending OR
        database_us IS NULL OR database_us > duration_us + 1000000 OR
        wal_of IS NULL OR wal_bytes < 0 OR jsonb_array_length(phases) < 2";
    let unbalanced: i64 = shop.client.query_one(unbalanced, &[]).await.unwrap().get(0);
    assert_eq!(unbalanced, 0);
    // Rows that were refused are told in both views.
    let told = "SELECT (SELECT sum(rejected) FROM _rowcast.runs)::bigint,
        (SELECT count(*) FROM _rowcast.row_log WHERE outcome = 'rejected')";
    let told = shop.client.query_one(told, &[]).await.unwrap();
    assert_eq!(told.get::<_, i64>(0), told.get::<_, i64>(1));

    // And as the command shows them.
    let shown = shop.json("runs crm --json", 0);
    let first = &shown[shown.as_array().unwrap().len() - 1];
    let cost = &first["cost"];
    assert!(
        cost["database_ms"].is_u64() && cost["wal_bytes"].as_u64() > Some(0),
        "{first}"
    );
    assert_eq!(cost["rows_read"], 100);
    let text = shop.run("runs crm --cost", 0).stdout;
    assert!(
        text.contains("in database") && text.contains("deliver"),
        "{text}"
    );
}
