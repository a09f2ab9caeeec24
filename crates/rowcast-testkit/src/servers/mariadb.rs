//! A MariaDB server with one user who may do everything.

use std::process::{Command, Stdio};

use super::{Process, folder, installed};
use crate::postgres::{as_server, free_port, give_to_server};

/// A running server. Its user is `rowcast`, the database `shop`.
#[derive(Debug)]
pub struct MariaDb {
    pub port: u16,
    /// The password of the user.
    pub password: &'static str,
    process: Process,
    _dir: tempfile::TempDir,
}

impl MariaDb {
    /// Starts a server that writes to disk before it confirms a commit.
    ///
    /// # Panics
    /// It is not installed or does not start.
    pub fn start() -> Self {
        Self::launch(None)
    }

    /// The same with a certificate and its key, both PEM.
    ///
    /// # Panics
    /// As `start`.
    pub fn encrypted(certificate: &str, key: &str) -> Self {
        Self::launch(Some((certificate, key)))
    }

    fn launch(tls: Option<(&str, &str)>) -> Self {
        let program = installed("mariadbd", "mariadb-server");
        let dir = folder("mariadb");
        let data = dir.path().join("data");
        let made = as_server(installed("mariadb-install-db", "mariadb-server"))
            .arg("--no-defaults")
            .arg(format!("--datadir={}", data.display()))
            // Its own: those that are made at the same moment give their files the same names.
            .arg(format!("--tmpdir={}", dir.path().display()))
            .args(["--auth-root-authentication-method=normal", "--skip-test-db"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .output()
            .expect("run mariadb-install-db");
        assert!(
            made.status.success(),
            "mariadb-install-db failed: {}",
            String::from_utf8_lossy(&made.stderr)
        );
        let password = "canary-7731";
        let first = dir.path().join("first.sql");
        std::fs::write(
            &first,
            format!(
                "CREATE DATABASE IF NOT EXISTS shop;\n\
                 CREATE USER IF NOT EXISTS admin@'127.0.0.1' IDENTIFIED BY 'admin';\n\
                 GRANT ALL ON *.* TO admin@'127.0.0.1' WITH GRANT OPTION;\n\
                 CREATE USER IF NOT EXISTS rowcast@'127.0.0.1' IDENTIFIED BY '{password}';\n\
                 GRANT ALL ON *.* TO rowcast@'127.0.0.1';\n"
            ),
        )
        .expect("write the first statements");
        give_to_server(&first);
        let port = free_port();
        let mut command = vec![
            program.display().to_string(),
            "--no-defaults".into(),
            format!("--datadir={}", data.display()),
            format!("--socket={}", dir.path().join("socket").display()),
            format!("--tmpdir={}", dir.path().display()),
            format!("--pid-file={}", dir.path().join("pid").display()),
            format!("--init-file={}", first.display()),
            format!("--port={port}"),
            "--bind-address=127.0.0.1".into(),
            "--skip-name-resolve".into(),
            "--innodb-buffer-pool-size=32M".into(),
            "--innodb-flush-log-at-trx-commit=1".into(),
        ];
        if let Some((certificate, key)) = tls {
            for (option, name, text) in [
                ("ssl-cert", "server.crt", certificate),
                ("ssl-key", "server.key", key),
            ] {
                let path = dir.path().join(name);
                std::fs::write(&path, text).expect("write a certificate");
                give_to_server(&path);
                command.push(format!("--{option}={}", path.display()));
            }
        }
        let process = Process::start(command, Vec::new(), "ready for connections");
        Self {
            port,
            password,
            process,
            _dir: dir,
        }
    }

    /// Kills the server and starts it again on what it had written.
    pub fn restart(&mut self) {
        self.process.kill();
        self.process.run();
    }

    /// Runs statements as an administrator in the database `shop`: the rows, cells between tabs.
    ///
    /// # Panics
    /// A statement fails.
    pub fn sql(&self, sql: &str) -> Vec<String> {
        let out = Command::new(installed("mariadb", "mariadb-client"))
            .args(["--no-defaults", "--protocol=tcp", "--host=127.0.0.1"])
            .arg(format!("--port={}", self.port))
            .args(["--user=admin", "--password=admin", "--batch"])
            .args(["--skip-column-names", "--default-character-set=utf8mb4"])
            .args(["--database=shop", "--execute", sql])
            .output()
            .expect("run mariadb");
        assert!(
            out.status.success(),
            "{sql}: {}",
            String::from_utf8_lossy(&out.stderr)
        );
        let text = String::from_utf8(out.stdout).expect("UTF-8");
        text.lines().map(str::to_owned).collect()
    }
}
