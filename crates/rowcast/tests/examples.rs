//! Runs the examples as their READMEs say and compares what is printed. With `UPDATE_EXAMPLES=1` the
//! blocks in the READMEs are written anew.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use rowcast_testkit::api::{Api, BadRecords};
use rowcast_testkit::postgres::{Cluster, Database, bin_dir};
use rowcast_testkit::rudderstack::DataPlane;

#[allow(dead_code, reason = "shared with tests that use more of it")]
mod terminal;
use terminal::Terminal;

/// What an example needs beside its own folder.
#[derive(Default)]
struct Needs {
    /// The variable of its second database, prepared by setup-second.sql.
    second: Option<&'static str>,
    /// The variable of a receiver that refuses what its receiver.py refuses.
    receiver: Option<&'static str>,
    /// The variable of a receiver that takes everything.
    hook: Option<&'static str>,
    /// The page of the documentation whose commands are typed in place of the README's.
    page: Option<&'static str>,
    /// Other names of the first database's URL, and more variables.
    variables: Vec<(&'static str, String)>,
    /// The database of this name, where a variable speaks of it.
    database: Option<Database>,
}

/// A fenced block of a README.
#[derive(Debug, PartialEq)]
struct Block {
    language: String,
    text: String,
    /// Where its text begins and ends in the file.
    range: std::ops::Range<usize>,
}

fn blocks(readme: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<(String, usize)> = None;
    let mut at = 0;
    for line in readme.split_inclusive('\n') {
        let next = at + line.len();
        if let Some(language) = line.strip_prefix("```") {
            open = match open.take() {
                Some((language, start)) => {
                    blocks.push(Block {
                        language,
                        text: readme[start..at].to_owned(),
                        range: start..at,
                    });
                    None
                }
                None => Some((language.trim().to_owned(), next)),
            };
        }
        at = next;
    }
    assert!(open.is_none(), "a block is not closed");
    blocks
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("make the folder");
    for entry in std::fs::read_dir(from).expect("read the folder") {
        let entry = entry.expect("an entry");
        let name = entry.file_name();
        if entry.file_type().expect("a type").is_dir() {
            if name != "out" {
                copy(&entry.path(), &to.join(name));
            }
        } else {
            std::fs::copy(entry.path(), to.join(name)).expect("copy the file");
        }
    }
}

fn url(database: &Database) -> String {
    format!(
        "postgresql://postgres@127.0.0.1:{}/{}?sslmode=disable",
        database.port, database.name
    )
}

fn prepare(folder: &Path, name: &str, file: &str) -> Database {
    let cluster = Cluster::shared();
    let database = cluster.database(name);
    let sql = std::fs::read_to_string(folder.join(file)).expect("the example's SQL");
    cluster.psql(&database.name, &sql);
    database
}

/// Types what the README's "Try it" says, and compares. Gives the receiver that takes everything.
fn example(name: &str, needs: &Needs) -> Option<Api> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../examples")
        .join(name);
    let terminal = Terminal::new();
    copy(&folder, &terminal.dir);
    let first = match &needs.database {
        Some(first) => url(first),
        None => url(&prepare(&folder, &format!("example_{name}"), "setup.sql")),
    };
    let mut variables = vec![("DATABASE_URL", first)];
    variables.extend(needs.variables.iter().cloned());
    if let Some(variable) = needs.second {
        let second = prepare(&folder, &format!("example_{name}_2"), "setup-second.sql");
        variables.push((variable, url(&second)));
    }
    let api = needs.receiver.map(|variable| {
        let api = Api::start();
        api.refuse(
            BadRecords::by_record(|record| {
                !record["fields"]["email"]
                    .as_str()
                    .unwrap_or_default()
                    .contains('@')
            })
            .message("email is not valid"),
        );
        variables.push((variable, api.url("/contacts")));
        api
    });

    let hook = needs.hook.map(|variable| {
        let api = Api::start();
        variables.push((variable, api.url("")));
        api
    });

    let path = match needs.page {
        Some(page) => folder.join("../../docs/src").join(page),
        None => folder.join("README.md"),
    };
    let mut readme = std::fs::read_to_string(&path).expect("the README");
    let start = readme.find("\n## Try it\n").expect("a section `Try it`");
    let all = blocks(&readme);
    let mut wrong = Vec::new();
    let mut written = Vec::new();
    let try_it: Vec<&Block> = all.iter().filter(|b| b.range.start > start).collect();
    assert!(try_it.len() > 1, "nothing to try");
    for pair in try_it.chunks(2) {
        let [commands, printed] = pair else {
            panic!("commands without what they print: {pair:?}");
        };
        assert_eq!((&*commands.language, &*printed.language), ("sh", "text"));
        let got = terminal.normal(&shell(&terminal, &commands.text, &variables));
        let got = match api.as_ref().or(hook.as_ref()) {
            Some(api) => got.replace(&api.address().to_string(), "127.0.0.1:8080"),
            None => got,
        };
        let got: Vec<String> = got.lines().map(without_instant).collect();
        let got = got.join("\n") + "\n";
        if sorted(&got) != sorted(&printed.text) {
            wrong.push(format!("{}\n{got}", commands.text));
        }
        written.push((printed.range.clone(), got));
    }
    if std::env::var_os("UPDATE_EXAMPLES").is_some() {
        for (range, text) in written.into_iter().rev() {
            readme.replace_range(range, &text);
        }
        std::fs::write(&path, readme).expect("write the README");
    } else {
        assert!(
            wrong.is_empty(),
            "{} shows something else (UPDATE_EXAMPLES=1 writes it anew):\n{}",
            path.display(),
            wrong.join("\n")
        );
    }
    hook
}

/// A line whose instants are always the same.
fn without_instant(line: &str) -> String {
    let word = |word: &str| {
        if word.len() == 20 && word.starts_with("20") && word.ends_with('Z') {
            "2026-11-21T12:00:00Z".to_owned()
        } else {
            word.to_owned()
        }
    };
    line.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

/// The lines in an order of their own: rows come in the order that the server finds them.
fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines
}

/// What a shell prints that runs these lines, both streams as they come.
fn shell(terminal: &Terminal, script: &str, variables: &[(&str, String)]) -> String {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_rowcast"));
    let mut folders = vec![program.parent().expect("a folder").to_owned(), bin_dir()];
    folders.extend(std::env::split_paths(
        &std::env::var_os("PATH").expect("a PATH"),
    ));
    let done = std::process::Command::new("sh")
        .arg("-c")
        .arg(format!("exec 2>&1\n{script}"))
        .current_dir(&terminal.dir)
        .env_clear()
        .env("LANG", "C.UTF-8")
        .env("TMPDIR", std::env::temp_dir())
        .env("PATH", std::env::join_paths(folders).expect("a PATH"))
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .output()
        .expect("run sh");
    String::from_utf8(done.stdout).expect("text")
}

#[test]
fn first_sync() {
    example("first-sync", &Needs::default());
}

#[test]
fn joined_model() {
    example(
        "joined-model",
        &Needs {
            receiver: Some("HOOK_URL"),
            ..Needs::default()
        },
    );
}

#[test]
fn postgres_mirror() {
    example(
        "postgres-mirror",
        &Needs {
            second: Some("WAREHOUSE_URL"),
            ..Needs::default()
        },
    );
}

#[test]
fn mapping() {
    example("mapping", &Needs::default());
}

#[test]
fn environments() {
    example(
        "environments",
        &Needs {
            second: Some("PROD_DATABASE_URL"),
            ..Needs::default()
        },
    );
}

#[test]
fn custom_connector() {
    example("custom-connector", &Needs::default());
}

#[test]
fn guards_and_retries() {
    example(
        "guards-and-retries",
        &Needs {
            second: Some("CRM_URL"),
            ..Needs::default()
        },
    );
}

#[test]
fn coming_from_segment() {
    let folder =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../examples/coming-from-segment");
    let database = prepare(&folder, "example_segment", "setup.sql");
    let hook = example(
        "coming-from-segment",
        &Needs {
            hook: Some("HOOK_URL"),
            page: Some("coming-from-segment.md"),
            variables: vec![
                ("SHOP_URL", url(&database)),
                ("WEBHOOK_TOKEN", "4f5e6d".to_owned()),
            ],
            database: Some(database),
            ..Needs::default()
        },
    );
    let log = hook.expect("a receiver").log();
    let got: Vec<String> = log
        .iter()
        .map(|seen| format!("{} {} {}", seen.method, seen.target, seen.text()))
        .collect();
    // As Segment's webhook was sent to, with the mapping's own values and nothing around them.
    assert_eq!(
        got,
        [
            r#"POST /customers?token=4f5e6d {"id":"9","change":"deleted","email":null,"greeting":"Hello "}"#,
            r#"POST /customers?token=4f5e6d {"id":"5","change":"new","email":"barbara@example.com","greeting":"Hello Barbara"}"#,
        ]
    );
}

#[test]
fn coming_from_rudderstack() {
    let folder =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../examples/coming-from-rudderstack");
    let database = prepare(&folder, "example_rudder", "setup.sql");
    let plane = DataPlane::start("key-of-the-crm");
    example(
        "coming-from-rudderstack",
        &Needs {
            page: Some("coming-from-rudderstack.md"),
            variables: vec![
                ("PG_HOST", "127.0.0.1".to_owned()),
                ("PG_PORT", database.port.to_string()),
                ("PG_DATABASE", database.name.clone()),
                ("PG_USER", "postgres".to_owned()),
                ("PG_PASSWORD", "any".to_owned()),
                ("RUDDERSTACK_DATA_PLANE_URL", plane.url()),
                ("CRM_WEBHOOK_WRITE_KEY", "key-of-the-crm".to_owned()),
            ],
            database: Some(database),
            ..Needs::default()
        },
    );
    let mut ids: Vec<String> = plane
        .events()
        .iter()
        .map(|event| format!("{} {}", event["userId"], event["context"]["env"]))
        .collect();
    ids.sort();
    assert_eq!(ids, [2, 3, 4].map(|id| format!("\"{id}\" \"prod\"")));
    assert!(plane.dropped().is_empty());
}

/// A README that promises more, or a folder without a test, would go unnoticed.
#[test]
fn every_example_is_run() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .expect("the examples")
        .flatten()
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    assert_eq!(
        names,
        [
            "coming-from-rudderstack",
            "coming-from-segment",
            "custom-connector",
            "environments",
            "first-sync",
            "guards-and-retries",
            "joined-model",
            "mapping",
            "postgres-mirror"
        ]
    );
}
