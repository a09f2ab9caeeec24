//! A project on a database of its own that sends a table of customers to a service, and what a
//! test asks of it: what was printed, what was sent, what state holds.

#![allow(dead_code, reason = "each test file uses its part")]

use std::process::Output;

use rowcast_testkit::api::Api;
use rowcast_testkit::postgres::{Cluster, Database};
use serde_json::Value;

use crate::terminal::{Ran, Terminal};

/// Rows of the table when the test begins.
pub(crate) const ROWS: usize = 40;

pub(crate) struct Shop {
    cluster: &'static Cluster,
    pub(crate) terminal: Terminal,
    pub(crate) database: Database,
    pub(crate) api: Api,
    /// Variables of the commands' environment.
    pub(crate) environment: Vec<(String, String)>,
    role: String,
}

impl Shop {
    /// A project that runs: `customers` to the service, as a mirror, twenty records a request.
    pub(crate) fn open(name: &str) -> Self {
        Self::open_on(Cluster::shared(), name)
    }

    /// The same on another cluster.
    pub(crate) fn open_on(cluster: &'static Cluster, name: &str) -> Self {
        let database = cluster.database(name);
        let role = format!("{}_role", database.name);
        let mut terminal = Terminal::new();
        let api = Api::start();
        for (from, to) in [
            (api.address().to_string(), "127.0.0.1:8080"),
            (format!("127.0.0.1:{}", database.port), "127.0.0.1:5432"),
            (role.clone(), "rowcast"),
            (database.name.clone(), "shop"),
        ] {
            terminal.replace.push((from, to.to_owned()));
        }
        let shop = Self {
            cluster,
            terminal,
            database,
            api,
            environment: Vec::new(),
            role,
        };
        let (role, database) = (&shop.role, &shop.database.name);
        shop.sql(&format!(
            "CREATE TABLE customers (id int PRIMARY KEY, email text, plan text);
             INSERT INTO customers SELECT n, 'c' || n || '@example.com', 'free'
               FROM generate_series(1, {ROWS}) n;
             CREATE ROLE {role} LOGIN;
             GRANT SELECT ON customers TO {role};
             GRANT CREATE ON DATABASE {database} TO {role};"
        ));
        shop.write("rowcast.yml", "project: shop\nversion: 1\n");
        shop.write("sources/shop.yml", &shop.source("sslmode: disable\n"));
        shop.write(
            "models/customers.yml",
            "model: customers\nsource: shop\ntable: customers\nprimary_key: [id]\n",
        );
        shop.write(
            "destinations/crm.yml",
            &format!(
                "destination: crm\nconnector: http\nsettings:\n  url: {}\n\
                 batch: {{ max_records: 20 }}\nallow_addresses: [127.0.0.0/8]\n",
                shop.api.url("/customers")
            ),
        );
        shop.write(
            "syncs/customers_to_crm.yml",
            "sync: customers_to_crm\nmodel: customers\ndestination: crm\nobject: customer\n\
             mode: mirror\nfields:\n  email: email\n  plan: plan\n",
        );
        shop
    }

    /// The role that the project connects as.
    pub(crate) fn role(&self) -> &str {
        &self.role
    }

    /// The source's file, with more lines.
    pub(crate) fn source(&self, more: &str) -> String {
        format!(
            "source: shop\nhost: 127.0.0.1\nport: {}\ndatabase: {}\nuser: {}\n{more}",
            self.database.port, self.database.name, self.role
        )
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.terminal.dir.join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("make the folder");
        std::fs::write(path, text).expect("write the file");
    }

    pub(crate) fn remove(&self, name: &str) {
        std::fs::remove_file(self.terminal.dir.join(name)).expect("remove the file");
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.terminal.dir.join(name)).expect("read the file")
    }

    /// Changes a file and gives its text from before.
    pub(crate) fn edit(&self, name: &str, from: &str, to: &str) -> String {
        let before = self.read(name);
        assert!(before.contains(from), "{name} has no {from}:\n{before}");
        self.write(name, &before.replace(from, to));
        before
    }

    /// SQL as the superuser; `ROLE_OF_ROWCAST` stands for the project's role.
    pub(crate) fn sql(&self, sql: &str) -> String {
        let sql = sql.replace("ROLE_OF_ROWCAST", &self.role);
        self.cluster.psql(&self.database.name, &sql)
    }

    /// Runs a command line to its end.
    pub(crate) fn rowcast(&self, line: &str) -> Ran {
        self.terminal.ran(&self.raw(line))
    }

    /// What it printed, to the byte.
    pub(crate) fn raw(&self, line: &str) -> Output {
        let arguments: Vec<&str> = line.split_whitespace().collect();
        self.terminal
            .command(".", &arguments)
            .envs(self.environment.iter().cloned())
            .output()
            .expect("run rowcast")
    }

    /// Runs a command that must end with this code.
    pub(crate) fn run(&self, line: &str, code: i32) -> Ran {
        let ran = self.rowcast(line);
        assert_eq!(ran.code, code, "{line}\n{}\n{}", ran.stdout, ran.stderr);
        ran
    }

    /// The transcript of a command that must end with this code.
    pub(crate) fn transcript(&self, line: &str, code: i32) -> String {
        let ran = self.run(line, code);
        let mut text = format!("$ rowcast {line}\n{}", ran.stdout);
        if !ran.stderr.is_empty() {
            text.push_str(&format!("--- stderr\n{}", ran.stderr));
        }
        if code != 0 {
            text.push_str(&format!("--- exit code {code}\n"));
        }
        text
    }

    /// Everything that state says of rows: every table of the state schema that holds any, and
    /// the exact counts. Histories of runs are left out: a held or failed run is recorded there.
    pub(crate) fn state(&self) -> String {
        let tables = self.sql(
            "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c
             JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE n.nspname = '_rowcast' AND c.relkind = 'r'
               AND c.relname NOT IN ('layout', 'sync', 'progress', 'run_history', 'row_history')
             ORDER BY 1",
        );
        let mut sql = String::new();
        for table in tables.lines() {
            sql.push_str(&format!(
                "SELECT '{table}', t::text FROM {table} t ORDER BY t::text;\n"
            ));
        }
        if !tables.is_empty() {
            sql.push_str("SELECT 'progress', sync_id, rows FROM _rowcast.progress ORDER BY 2;\n");
        }
        self.sql(&sql)
    }

    /// What the service holds, as the table would print it.
    pub(crate) fn delivered(&self) -> String {
        let mut rows: Vec<(i64, String)> = self
            .api
            .store()
            .records
            .iter()
            .map(|(key, fields)| {
                let key: Value = serde_json::from_str(key).expect("a key is JSON");
                let id = key["id"].as_i64().expect("a number");
                let text = |name: &str| match &fields[name] {
                    Value::String(text) => text.clone(),
                    Value::Null => String::new(),
                    other => other.to_string(),
                };
                (id, format!("{id}|{}|{}\n", text("email"), text("plan")))
            })
            .collect();
        rows.sort();
        rows.into_iter().map(|(_, row)| row).collect()
    }

    /// The rows of the table.
    pub(crate) fn rows(&self) -> String {
        self.sql("SELECT id, email, plan FROM customers ORDER BY id")
    }
}
