//! The first hour of a newcomer, from an empty folder and a database made by hand: the transcript.

use rowcast_testkit::postgres::Cluster;

mod terminal;
use terminal::Terminal;

#[tokio::test]
async fn from_an_empty_folder_to_the_second_run() {
    let database = Cluster::shared().database("first_hour");
    let client = database.client().await;
    let name = &database.name;
    client
        .batch_execute(&format!(
            "CREATE ROLE ada LOGIN; ALTER DATABASE {name} OWNER TO ada; SET ROLE ada;
             CREATE TABLE customers (id int PRIMARY KEY, email text, name text, signed_up date);
             INSERT INTO customers SELECT n, 'customer' || n || '@example.com', 'Customer ' || n,
               date '2026-01-01' + n FROM generate_series(1, 200) n;
             ANALYZE customers"
        ))
        .await
        .unwrap();

    let mut terminal = Terminal::new();
    terminal.replace.push((
        format!("127.0.0.1:{}", database.port),
        "127.0.0.1:5432".into(),
    ));
    terminal.replace.push((name.clone(), "shop".into()));
    let url = format!("postgresql://ada@127.0.0.1:{}/{name}", database.port);
    let mut hour = Vec::new();
    hour.push(transcript(
        &terminal,
        ".",
        &format!("init shop --url {url}"),
    ));
    for file in [
        "rowcast.yml",
        "sources/database.yml",
        "models/customers.yml",
        "destinations/file.yml",
        "syncs/customers_to_file.yml",
    ] {
        let text = std::fs::read_to_string(terminal.dir.join("shop").join(file)).unwrap();
        hour.push(format!("$ cat {file}\n{text}"));
    }
    for line in ["validate", "check", "plan --limit 10", "run", "run"] {
        hour.push(transcript(&terminal, "shop", line));
    }
    client
        .batch_execute(
            "UPDATE customers SET name = 'Ada Lovelace' WHERE id = 7;
             DELETE FROM customers WHERE id = 9;
             INSERT INTO customers VALUES (201, 'new@example.com', 'New', '2026-11-21')",
        )
        .await
        .unwrap();
    hour.push(transcript(&terminal, "shop", "run"));
    let sent = std::fs::read_to_string(terminal.dir.join("shop/out/customers_to_file-3.jsonl"));
    let mut sent: Vec<String> = sent
        .unwrap()
        .lines()
        .map(|line| {
            line.split(",\"idempotency_key\"")
                .next()
                .unwrap()
                .to_owned()
        })
        .collect();
    sent.sort();
    hour.push(format!(
        "$ cat out/customers_to_file-3.jsonl\n{}\n",
        sent.join("\n")
    ));
    for line in ["status", "why customers_to_file 7", "run --dry-run"] {
        let text = transcript(&terminal, "shop", line);
        // Row log times are the clock's.
        let steady = text
            .lines()
            .map(without_instant)
            .collect::<Vec<_>>()
            .join("\n");
        hour.push(steady + "\n");
    }
    insta::assert_snapshot!(hour.join("\n"));
}

fn without_instant(line: &str) -> String {
    line.split(' ')
        .map(|word| {
            let instant = word.len() == 20 && word.starts_with("20") && word.ends_with('Z');
            if instant {
                "2026-11-21T12:00:00Z"
            } else {
                word
            }
        })
        .collect::<Vec<_>>()
        .join(" ")
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
