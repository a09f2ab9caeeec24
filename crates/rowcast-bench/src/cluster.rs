//! A PostgreSQL server of the benchmark's own, with default settings: durable, as users run it.
//!
//! It ends with this process, even when that is killed: a small shell waits on a pipe whose other
//! end dies with us.

use std::io::Write as _;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::proc;

/// Settings that the results name, because they decide most.
const SETTINGS: &[&str] = &[
    "shared_buffers",
    "work_mem",
    "maintenance_work_mem",
    "max_wal_size",
    "fsync",
    "synchronous_commit",
    "full_page_writes",
    "max_parallel_workers_per_gather",
    "jit",
    "autovacuum",
];

/// The running server.
#[derive(Debug)]
pub(crate) struct Cluster {
    /// Folder of psql and the server programs.
    pub(crate) programs: PathBuf,
    pub(crate) data: PathBuf,
    pub(crate) port: u16,
    postmaster: u32,
    shell: Child,
}

/// The user and group that the server runs as: initdb refuses root.
fn server_user() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let passwd = std::fs::read_to_string("/etc/passwd").ok()?;
    let entry = |name: &str| {
        passwd.lines().find_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            (fields.first() == Some(&name))
                .then(|| Some((fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?)))?
        })
    };
    entry("postgres").or_else(|| entry("nobody"))
}

fn as_server(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    if let Some((uid, gid)) = server_user() {
        command.uid(uid).gid(gid);
    }
    command.current_dir("/");
    command
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> Result<u16, String> {
    std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(|error| format!("no free port: {error}"))
}

impl Cluster {
    /// Starts a server whose data is in `folder`.
    pub(crate) fn start(programs: &Path, folder: &Path) -> Result<Self, String> {
        let failed = |what: &str, error: &dyn std::fmt::Display| format!("{what}: {error}");
        let home = folder.join("postgres");
        std::fs::create_dir_all(&home).map_err(|e| failed("could not make a folder", &e))?;
        if let Some((uid, gid)) = server_user() {
            chown(&home, Some(uid), Some(gid)).map_err(|e| failed("chown", &e))?;
        }
        let data = home.join("data");
        let made = as_server(programs.join("initdb"))
            .arg("-D")
            .arg(&data)
            .args(["-U", "postgres", "-A", "trust", "-E", "UTF8"])
            .args(["--locale=C.UTF-8", "-N"])
            .output()
            .map_err(|e| failed("could not run initdb", &e))?;
        if !made.status.success() {
            return Err(format!(
                "initdb failed in {}: {} (does the server's user reach that folder? \
                 `--dir FOLDER` names another)",
                home.display(),
                String::from_utf8_lossy(&made.stderr)
            ));
        }
        let port = free_port()?;
        let conf = format!(
            "listen_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = ''\n"
        );
        std::fs::write(data.join("postgresql.auto.conf"), conf)
            .map_err(|e| failed("could not write the configuration", &e))?;
        let script = r#""$1" -D "$2" >"$3" 2>&1 & p=$!; cat >/dev/null; kill -INT $p; wait $p"#;
        let shell = as_server("sh")
            .args(["-c", script, "sh"])
            .arg(programs.join("postgres"))
            .arg(&data)
            .arg(home.join("log"))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(|e| failed("could not start the server", &e))?;
        let mut cluster = Self {
            programs: programs.to_path_buf(),
            data,
            port,
            postmaster: 0,
            shell,
        };
        cluster.wait_until_ready()?;
        let pid = std::fs::read_to_string(cluster.data.join("postmaster.pid"))
            .map_err(|e| failed("could not read postmaster.pid", &e))?;
        cluster.postmaster = pid.lines().next().and_then(|l| l.parse().ok()).unwrap_or(0);
        Ok(cluster)
    }

    fn wait_until_ready(&self) -> Result<(), String> {
        let deadline = Instant::now() + Duration::from_secs(60);
        while Instant::now() < deadline {
            let ready = Command::new(self.programs.join("pg_isready"))
                .args(["-q", "-h", "127.0.0.1", "-p", &self.port.to_string()])
                .status();
            if ready.is_ok_and(|status| status.success()) {
                return Ok(());
            }
            std::thread::park_timeout(Duration::from_millis(50));
        }
        Err("the PostgreSQL server did not start within a minute".to_owned())
    }

    /// psql with a statement's place still open.
    pub(crate) fn psql_command(&self, database: &str) -> Command {
        let mut command = Command::new(self.programs.join("psql"));
        command
            .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-U", "postgres"])
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string()])
            .args(["-d", database]);
        command
    }

    /// Runs SQL and gives its output, columns separated by `|`.
    pub(crate) fn psql(&self, database: &str, sql: &str) -> Result<String, String> {
        let mut child = self
            .psql_command(database)
            .args(["-A", "-t"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("could not run psql: {error}"))?;
        if let Some(mut input) = child.stdin.take() {
            // A psql that stopped early says why itself.
            let _ = input.write_all(sql.as_bytes());
        }
        let out = child
            .wait_with_output()
            .map_err(|error| format!("could not run psql: {error}"))?;
        if out.status.success() {
            Ok(String::from_utf8_lossy(&out.stdout).trim().to_owned())
        } else {
            let words = String::from_utf8_lossy(&out.stderr);
            Err(format!("{} (running {sql})", words.trim()))
        }
    }

    /// One number.
    pub(crate) fn number(&self, database: &str, sql: &str) -> Result<f64, String> {
        let text = self.psql(database, sql)?;
        text.parse()
            .map_err(|_| format!("`{text}` is no number (running {sql})"))
    }

    /// CPU seconds of the whole server so far.
    pub(crate) fn cpu(&self) -> f64 {
        proc::cpu_with_children(self.postmaster)
    }

    /// Waits until the only session is the one that asks; a session's account of temporary files
    /// is closed at its end.
    pub(crate) fn settle(&self) -> Result<(), String> {
        let others = "SELECT count(*) FROM pg_stat_activity \
                      WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
        for _ in 0..200 {
            if self.number("postgres", others)? < 1.0 {
                return Ok(());
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
        Err("sessions of an earlier run are still there".to_owned())
    }

    /// The end of the log and the temporary bytes written so far.
    pub(crate) fn counters(&self) -> Result<Counters, String> {
        let line = self.psql(
            "postgres",
            "SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn, \
             (SELECT sum(temp_bytes) FROM pg_stat_database)",
        )?;
        let fields: Vec<&str> = line.split('|').collect();
        let number = |i: usize| fields.get(i).and_then(|f| f.parse().ok()).unwrap_or(0.0);
        Ok(Counters {
            wal: number(0),
            temporary: number(1),
        })
    }

    /// The server's version.
    pub(crate) fn version(&self) -> Result<String, String> {
        self.psql("postgres", "SHOW server_version")
    }

    /// The settings that decide most, with their values.
    pub(crate) fn settings(&self) -> Result<Vec<(String, String)>, String> {
        let ask = |name: &&str| {
            let value = self.psql("postgres", &format!("SHOW {name}"))?;
            Ok(((*name).to_owned(), value))
        };
        SETTINGS.iter().map(ask).collect()
    }
}

/// Accounts of the server that only grow.
#[derive(Debug, Clone)]
pub(crate) struct Counters {
    /// Bytes of write-ahead log.
    pub(crate) wal: f64,
    /// Bytes of temporary files.
    pub(crate) temporary: f64,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}
