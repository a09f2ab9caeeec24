//! A throwaway PgBouncer in transaction mode in front of a test cluster.
//!
//! It gives every transaction the server connection that was longest idle, so that two transactions
//! of one client are on two connections whenever there are two. It ends with the process that
//! started it. A missing program is an error with the install line, never a skip.

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::postgres::{Cluster, as_server, bin_dir, free_port, give_to_server};

/// A running pooler.
#[derive(Debug)]
pub struct PgBouncer {
    pub port: u16,
    dir: tempfile::TempDir,
    watcher: Child,
}

fn program() -> PathBuf {
    [
        "/usr/sbin/pgbouncer",
        "/usr/bin/pgbouncer",
        "/usr/local/bin/pgbouncer",
    ]
    .map(PathBuf::from)
    .into_iter()
    .find(|path| path.exists())
    .expect("no pgbouncer was found; install it: apt-get install -y pgbouncer")
}

impl PgBouncer {
    /// In front of every database of a cluster, for these roles, with at most `pool_size` server
    /// connections for one role in one database. No startup parameter is ignored.
    pub fn start(cluster: &Cluster, roles: &[&str], pool_size: u32) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("rowcast-pgbouncer")
            .tempdir()
            .expect("temporary folder");
        give_to_server(dir.path());
        let port = free_port();
        let file = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).expect("write a file of pgbouncer");
            give_to_server(&path);
            path.display().to_string()
        };
        let mut users = String::from("\"postgres\" \"\"\n");
        for role in roles {
            users.push_str(&format!("\"{role}\" \"\"\n"));
        }
        let users = file("users", &users);
        let conf = file(
            "pgbouncer.ini",
            &format!(
                "[databases]\n* = host={} port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
                 listen_port = {port}\nunix_socket_dir =\nauth_type = trust\nauth_file = {users}\n\
                 pool_mode = transaction\ndefault_pool_size = {pool_size}\n\
                 server_round_robin = 1\nquery_wait_timeout = 60\nmax_client_conn = 100\n",
                cluster.socket.display(),
                cluster.port
            ),
        );
        let script =
            r#""$1" -q "$2" >"$3/log" 2>&1 & p=$!; cat >/dev/null; kill -KILL $p; wait $p"#;
        let watcher = as_server("sh")
            .args(["-c", script, "sh"])
            .arg(program())
            .arg(&conf)
            .arg(dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("start pgbouncer");
        let pooler = Self { port, dir, watcher };
        pooler.wait_until_ready();
        pooler
    }

    fn wait_until_ready(&self) {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        loop {
            let ready = Command::new(bin_dir().join("pg_isready"))
                .args(["-q", "-h", "127.0.0.1", "-p", &self.port.to_string()])
                .status()
                .expect("run pg_isready");
            if ready.success() {
                return;
            }
            assert!(
                std::time::Instant::now() < deadline,
                "pgbouncer did not start: {}",
                std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
            );
            std::thread::yield_now();
        }
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        drop(self.watcher.stdin.take());
        let _ = self.watcher.wait();
    }
}
