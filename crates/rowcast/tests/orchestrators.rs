//! The packages that people use with RudderStack, unchanged, against `rowcast serve`: the hook and
//! operator of `rudderstack-airflow-provider`, the resource of `dagster-rudderstack`.
//!
//! Dagster is the real one. Of Airflow only the two classes that the provider inherits from are
//! stood in for, by what they do here: to look up a connection. They come from PyPI into a virtual
//! environment in the target folder, which takes minutes; so this layer must be named.

#[path = "support/server.rs"]
mod server;
#[path = "support/shop.rs"]
mod shop;
#[allow(dead_code, reason = "commands here are run through the shop")]
mod terminal;

use std::path::PathBuf;
use std::process::Command;

use rowcast_testkit::api::{Act, Answer, Script};
use server::Server;
use shop::Shop;

const DAGSTER: [&str; 2] = ["dagster-rudderstack==1.3.0", "dagster==1.13.29"];
const AIRFLOW: &str = "rudderstack-airflow-provider==2.4.3";

fn good(command: &mut Command) {
    let done = command.output().expect("python3 with venv and pip");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        done.status.success(),
        "{command:?}\n{}\n{}",
        text(&done.stdout),
        text(&done.stderr)
    );
}

/// Python with the packages.
fn python() -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("orchestrators");
    let python = folder.join("bin/python");
    let whole = folder.join("whole");
    if !whole.exists() {
        good(Command::new("python3").args(["-m", "venv"]).arg(&folder));
        let pip = |more: &[&str]| {
            let mut command = Command::new(&python);
            command.args(["-m", "pip", "install", "-q", "--disable-pip-version-check"]);
            good(command.args(more));
        };
        pip(&DAGSTER);
        // Its own dependencies are the whole of Airflow.
        pip(&["--no-deps", AIRFLOW]);
        std::fs::write(whole, "").expect("note that it is whole");
    }
    python
}

#[test]
fn the_packages_of_rudderstack_run_syncs_unchanged() {
    let python = python();
    let shop = Shop::open("orchestrators");
    let server = Server::start(&shop, &[]);
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/support/orchestrators.py"
    );
    let run = |part: &str| {
        let mut command = Command::new(&python);
        command
            .args([script, part])
            .env("ROWCAST_URL", server.said(" on "))
            .env("ROWCAST_TOKEN", server.said("not shown again: "))
            .env("DAGSTER_DISABLE_TELEMETRY", "yes");
        good(&mut command);
    };
    run("succeeds");
    assert_eq!(shop.delivered().lines().count(), shop::ROWS);
    shop.sql("UPDATE customers SET plan = 'other'");
    let refused = Answer::status(422);
    shop.api.script(Script::always(Act::Answer(refused)));
    run("fails");
}
