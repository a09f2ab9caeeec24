//! What the command line promises without a database: help, errors in three parts, JSON, exit codes.

mod terminal;
use terminal::Terminal;

fn write(dir: &std::path::Path, name: &str, text: &str) {
    let path = dir.join(name);
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("make the folder");
    std::fs::write(path, text).expect("write the file");
}

const COMMANDS: [&str; 25] = [
    "demo",
    "init",
    "import",
    "validate",
    "check",
    "tables",
    "setup-sql",
    "preview",
    "plan",
    "run",
    "cancel",
    "status",
    "runs",
    "rejects",
    "retry",
    "baseline",
    "adopt",
    "reset",
    "pause",
    "resume",
    "why",
    "test",
    "map",
    "schema",
    "explain",
];

fn project(terminal: &Terminal) {
    write(&terminal.dir, "rowcast.yml", "project: shop\nversion: 1\n");
    write(
        &terminal.dir,
        "sources/shop.yml",
        "source: shop\nurl: ${env:SHOP_URL}\n",
    );
    write(
        &terminal.dir,
        "models/customers.yml",
        "model: customers\nsource: shop\ntable: customers\nprimary_key: [id]\n",
    );
    write(
        &terminal.dir,
        "destinations/nowhere.yml",
        "destination: nowhere\nconnector: \"null\"\n",
    );
    write(
        &terminal.dir,
        "syncs/away.yml",
        "sync: away\nmodel: customers\ndestination: nowhere\nfields:\n  email: { lower: email }\n  plan: { column: plan, default: free }\n",
    );
    write(
        &terminal.dir,
        "tests/mapped.yml",
        "test: mapped\nsync: away\nrows:\n  - { id: 1, email: ADA@EXAMPLE.COM, plan: pro }\nexpect:\n  - { email: ada@example.com, plan: pro }\n",
    );
}

#[test]
fn the_help_names_every_command_and_each_has_an_example() {
    let terminal = Terminal::new();
    insta::assert_snapshot!(transcript(&terminal, ".", "--help"));
    for command in COMMANDS {
        let ran = terminal.run(".", &format!("{command} --help"));
        assert_eq!(ran.code, 0, "{command}");
        assert!(
            ran.stdout.contains("Example:\n  "),
            "{command} has no example:\n{}",
            ran.stdout
        );
        assert!(ran.stdout.contains("--json"), "{command} has no --json");
    }
}

#[test]
fn wrong_usage_ends_with_2_and_says_what_was_meant() {
    let terminal = Terminal::new();
    let lines = [
        "run --limits 10",
        "explain E9999",
        "run --override nothing",
        "validate",
    ];
    let text: Vec<String> = lines
        .iter()
        .map(|line| transcript(&terminal, ".", line))
        .collect();
    insta::assert_snapshot!(text.join("\n"));
    for line in lines {
        assert_eq!(terminal.run(".", line).code, 2, "{line}");
    }
}

#[test]
fn options_are_understood_after_a_key_and_a_key_may_be_negative() {
    let terminal = Terminal::new();
    let ran = terminal.run(".", "why away -7 --project elsewhere");
    assert_eq!(ran.code, 2);
    assert!(
        ran.stderr
            .contains("error[E0101]: the folder /somewhere/elsewhere"),
        "{}",
        ran.stderr
    );
}

#[test]
fn errors_are_json_on_stdout_when_asked() {
    let terminal = Terminal::new();
    for line in [
        "validate --json",
        "run --limits --json",
        "--json explain E9999",
    ] {
        let ran = terminal.run(".", line);
        assert_eq!(ran.code, 2, "{line}");
        assert_eq!(ran.stderr, "", "{line}");
        let document: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
        assert!(
            document["errors"][0]["code"]
                .as_str()
                .unwrap()
                .starts_with('E'),
            "{document}"
        );
    }
}

#[test]
fn a_project_is_validated_tested_and_mapped_without_secrets() {
    let terminal = Terminal::new();
    project(&terminal);
    let mut text = vec![
        transcript(&terminal, ".", "validate"),
        transcript(&terminal, ".", "test"),
    ];
    write(
        &terminal.dir,
        "tests/mapped.yml",
        "test: mapped\nsync: away\nrows:\n  - { id: 1, email: ADA@EXAMPLE.COM }\nexpect:\n  - { email: ADA@EXAMPLE.COM, plan: pro }\n",
    );
    text.push(transcript(&terminal, ".", "test"));
    insta::assert_snapshot!(text.join("\n"));
}

#[test]
fn every_problem_of_a_project_is_reported_at_once() {
    let terminal = Terminal::new();
    project(&terminal);
    write(
        &terminal.dir,
        "syncs/away.yml",
        "sync: away\nmodel: customer\ndestination: nowhere\nmodus: upsert\nfields:\n  email: { lowr: email }\n",
    );
    insta::assert_snapshot!(transcript(&terminal, ".", "validate"));
}

#[test]
fn rows_are_mapped_line_by_line_and_a_bad_row_is_an_error_on_its_line() {
    let terminal = Terminal::new();
    project(&terminal);
    let rows = "{\"email\":\"ADA@EXAMPLE.COM\"}\nnonsense\n{\"email\":null,\"plan\":\"pro\"}\n";
    let mut child = terminal
        .command(".", &["map", "--sync", "away"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), rows.as_bytes()).unwrap();
    let ran = terminal.ran(&child.wait_with_output().unwrap());
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(lines[0], r#"{"email":"ada@example.com","plan":"free"}"#);
    assert!(
        lines[1].starts_with(r#"{"error":"the line is not JSON"#),
        "{}",
        lines[1]
    );
    assert_eq!(lines[2], r#"{"email":null,"plan":"pro"}"#);
    assert_eq!(ran.code, 0);
}

/// Runs `map` with these arguments on these lines.
fn mapped(terminal: &Terminal, arguments: &[&str], rows: &str) -> terminal::Ran {
    let mut child = terminal
        .command(".", &[&["map"], arguments].concat())
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("run rowcast");
    let mut stdin = child.stdin.take().expect("its input");
    // A refused mapping ends before it reads.
    let _ = std::io::Write::write_all(&mut stdin, rows.as_bytes());
    drop(stdin);
    terminal.ran(&child.wait_with_output().expect("its output"))
}

#[test]
fn a_segment_mapping_and_a_trigger_turn_events_into_payloads() {
    let terminal = Terminal::new();
    write(
        &terminal.dir,
        "mapping.json",
        r#"{"email": {"@case": {"operator": "lower", "value": {"@path": "$.properties.email"}}},
            "hello": {"@liquid": "Hello {{ properties.name | default: 'you' }}"},
            "tags": {"@json": {"mode": "decode", "value": {"@path": "$.properties.tags"}}}}"#,
    );
    let rows = concat!(
        r#"{"type":"track","event":"new","properties":{"email":"ADA@EXAMPLE.COM","name":"Ada","tags":"[1]"}}"#,
        "\n",
        r#"{"type":"track","event":"deleted","properties":{"email":"OLD@EXAMPLE.COM"}}"#,
        "\n[]\n",
        r#"{"type":"track","event":"new","properties":{"id":9007199254740993}}"#,
        "\n"
    );
    let trigger = "type = \"track\" and event = \"new\"";
    let segment = [
        "--dialect",
        "segment",
        "--mapping",
        "mapping.json",
        "--trigger",
        trigger,
    ];
    let ran = mapped(&terminal, &segment, rows);
    assert_eq!(
        ran.stdout,
        concat!(
            r#"{"email":"ada@example.com","hello":"Hello Ada","tags":[1]}"#,
            "\n",
            r#"{"error":"the line holds a list instead of an object"}"#,
            "\n",
            r#"{"hello":"Hello you"}"#,
            "\n"
        )
    );
    assert_eq!(ran.code, 0);
    let filtered = mapped(&terminal, &["--trigger", trigger], rows);
    assert_eq!(filtered.stdout.lines().count(), 3);
    assert!(filtered.stdout.ends_with("{\"id\":9007199254740993}}\n"));
}

#[test]
fn a_segment_mapping_or_trigger_that_is_wrong_ends_with_2_before_any_row() {
    let terminal = Terminal::new();
    write(
        &terminal.dir,
        "wrong.json",
        r#"{"a": {"@pth": "x"}, "b": {"@replace": {"pattern": "far too long a text", "value": {"@path": "x"}}}}"#,
    );
    write(&terminal.dir, "right.json", r#"{"a": {"@path": "x"}}"#);
    for arguments in [
        vec!["--dialect", "segment", "--mapping", "wrong.json"],
        vec!["--dialect", "segment", "--mapping", "wrong.json", "--check"],
    ] {
        let ran = mapped(&terminal, &arguments, "{\"x\":1}\n");
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{}", ran.stderr);
        assert!(ran.stderr.contains("error[E0508]"), "{}", ran.stderr);
        assert!(
            ran.stderr
                .contains("/a/@pth has an invalid directive: @pth"),
            "{}",
            ran.stderr
        );
        assert!(
            ran.stderr.contains("/b/@replace/pattern must be"),
            "{}",
            ran.stderr
        );
    }
    let ran = mapped(&terminal, &["--trigger", "typo"], "{\"x\":1}\n");
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
    assert!(ran.stderr.contains("error[E0509]"), "{}", ran.stderr);
    let right = ["--dialect", "segment", "--mapping", "right.json", "--check"];
    assert_eq!(mapped(&terminal, &right, "").code, 0);
}

#[test]
fn a_server_that_is_not_there_ends_with_3_and_a_missing_secret_with_2() {
    let terminal = Terminal::new();
    project(&terminal);
    let missing = terminal.run(".", "run");
    assert_eq!(missing.code, 2, "{}", missing.stderr);
    assert!(
        missing.stderr.contains("error[E0109]"),
        "{}",
        missing.stderr
    );
    let port = rowcast_testkit::postgres::free_port();
    let done = terminal
        .command(".", &["run"])
        .env(
            "SHOP_URL",
            format!("postgresql://ada:hunter22@127.0.0.1:{port}/shop"),
        )
        .output()
        .unwrap();
    let ran = terminal.ran(&done);
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    assert!(ran.stderr.contains("error[E0201]"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("hunter22"));
}

#[test]
fn the_schema_of_every_kind_of_file_is_json() {
    let terminal = Terminal::new();
    let ran = terminal.run(".", "schema sync");
    let schema: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert!(schema["properties"]["fields"].is_object(), "{schema}");
    let all: serde_json::Value = serde_json::from_str(&terminal.run(".", "schema").stdout).unwrap();
    assert!(all["source"].is_object() && all["test"].is_object());
}

#[test]
fn explain_prints_the_page_of_the_documentation() {
    let terminal = Terminal::new();
    let page = std::fs::read_to_string(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../docs/src/errors/E0205.md"
    ));
    assert_eq!(
        terminal.run(".", "explain e0205").stdout.trim(),
        page.unwrap().trim()
    );
}

/// Runs a command line and gives its transcript.
fn transcript(terminal: &Terminal, below: &str, line: &str) -> String {
    let ran = terminal.run(below, line);
    let mut out = format!("$ rowcast {}{}", terminal.normal(line), ran.stdout);
    if !ran.stderr.is_empty() {
        out.push_str(&format!("--- stderr\n{}", ran.stderr));
    }
    if ran.code != 0 {
        out.push_str(&format!("--- exit code {}\n", ran.code));
    }
    out
}
