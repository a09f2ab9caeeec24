//! Throwaway PostgreSQL clusters for tests.
//!
//! One cluster for a test binary (`Cluster::shared`), one database for a test. The cluster ends
//! with the process that started it, even when that is killed: a small shell waits on a pipe whose
//! other end dies with us. A missing server is an error with the install line, never a skip.

use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

mod standby;

/// A running cluster that trusts its superuser `postgres` on a unix socket and on loopback.
#[derive(Debug)]
pub struct Cluster {
    /// Data directory.
    pub data: PathBuf,
    /// Directory of the unix socket: usable as `host`.
    pub socket: PathBuf,
    pub port: u16,
    watcher: Child,
    _dir: tempfile::TempDir,
    databases: AtomicU32,
}

/// Extra lines for a private cluster.
#[derive(Debug, Default, Clone)]
pub struct Options {
    /// Lines of postgresql.conf.
    pub conf: Vec<String>,
    /// pg_hba.conf, whole; by default everything local is trusted.
    pub hba: Option<String>,
    /// Files to put into the data directory before the start (certificates), owned by the server.
    pub files: Vec<(String, String)>,
}

/// One database of a cluster.
#[derive(Debug, Clone)]
pub struct Database {
    pub name: String,
    /// Directory of the unix socket.
    pub host: String,
    pub port: u16,
}

impl Database {
    /// A URL as the superuser over the unix socket.
    pub fn url(&self) -> String {
        self.url_as("postgres")
    }

    /// A URL as another role over the unix socket.
    pub fn url_as(&self, role: &str) -> String {
        let host = self.host.replace('/', "%2F");
        format!("postgresql://{role}@{host}:{}/{}", self.port, self.name)
    }

    /// A client as the superuser; its connection runs on the current tokio runtime.
    pub async fn client(&self) -> tokio_postgres::Client {
        self.client_as("postgres").await
    }

    /// A client as another role.
    pub async fn client_as(&self, role: &str) -> tokio_postgres::Client {
        let (client, connection) = tokio_postgres::Config::new()
            .host_path(&self.host)
            .port(self.port)
            .user(role)
            .dbname(&self.name)
            .connect(tokio_postgres::NoTls)
            .await
            .expect("connect to the test database");
        tokio::spawn(connection);
        client
    }
}

/// Where the server programs are: `$PGBIN`, the newest of Debian's folders, RPM's, Homebrew's, PATH.
pub fn bin_dir() -> PathBuf {
    let mut candidates: Vec<PathBuf> = std::env::var_os("PGBIN")
        .into_iter()
        .map(PathBuf::from)
        .collect();
    if let Ok(versions) = std::fs::read_dir("/usr/lib/postgresql") {
        let mut versions: Vec<PathBuf> = versions.flatten().map(|entry| entry.path()).collect();
        versions.sort_by_key(|path| {
            path.file_name()
                .and_then(|name| name.to_str()?.parse::<u32>().ok())
                .unwrap_or(0)
        });
        candidates.extend(versions.into_iter().rev().map(|path| path.join("bin")));
    }
    candidates.extend(
        [
            "/usr/pgsql-17/bin",
            "/usr/pgsql-16/bin",
            "/opt/homebrew/bin",
        ]
        .map(PathBuf::from),
    );
    if let Some(path) = std::env::var_os("PATH") {
        candidates.extend(std::env::split_paths(&path));
    }
    candidates
        .into_iter()
        .find(|dir| dir.join("initdb").exists() && dir.join("postgres").exists())
        .expect("no PostgreSQL server programs found; install them: apt-get install -y postgresql")
}

/// The user and group ids the server runs as: initdb refuses root.
pub(crate) fn server_user() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let passwd = std::fs::read_to_string("/etc/passwd").expect("read /etc/passwd");
    let entry = |name: &str| {
        passwd.lines().find_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            (fields.first() == Some(&name))
                .then(|| Some((fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?)))?
        })
    };
    entry("postgres").or_else(|| entry("nobody"))
}

pub(crate) fn as_server(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    if let Some((uid, gid)) = server_user() {
        command.uid(uid).gid(gid);
    }
    command.current_dir("/");
    command
}

pub(crate) fn give_to_server(path: &Path) {
    if let Some((uid, gid)) = server_user() {
        chown(path, Some(uid), Some(gid)).expect("chown to the server's user");
    }
}

impl Cluster {
    /// The cluster of this test binary.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Cluster> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(&Options::default()))
    }

    /// A cluster of its own.
    pub fn start(options: &Options) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("rowcast-pg")
            .tempdir()
            .expect("temporary folder");
        give_to_server(dir.path());
        let data = dir.path().join("data");
        let socket = dir.path().to_path_buf();
        let bin = bin_dir();
        let out = as_server(bin.join("initdb"))
            .args(["-D"])
            .arg(&data)
            .args([
                "-U",
                "postgres",
                "-A",
                "trust",
                "-E",
                "UTF8",
                "--locale=C.UTF-8",
                "-N",
            ])
            .output()
            .expect("run initdb");
        assert!(
            out.status.success(),
            "initdb failed: {}",
            String::from_utf8_lossy(&out.stderr)
        );
        for (name, content) in &options.files {
            let path = data.join(name);
            std::fs::write(&path, content).expect("write server file");
            give_to_server(&path);
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
            std::fs::set_permissions(&path, mode).expect("set permissions");
        }
        if let Some(hba) = &options.hba {
            std::fs::write(data.join("pg_hba.conf"), hba).expect("write pg_hba.conf");
        }
        let port = free_port();
        let mut conf = format!(
            "listen_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = '{}'\n\
             fsync = off\nsynchronous_commit = on\nfull_page_writes = off\nmax_connections = 100\n\
             shared_buffers = 128MB\nlog_min_messages = fatal\nautovacuum_naptime = 5min\n",
            socket.display()
        );
        for line in &options.conf {
            conf.push_str(line);
            conf.push('\n');
        }
        std::fs::write(data.join("postgresql.auto.conf"), conf).expect("write configuration");
        Self::launch(dir, data, port)
    }

    /// Starts the server of a data directory that lies in `dir`.
    fn launch(dir: tempfile::TempDir, data: PathBuf, port: u16) -> Self {
        let bin = bin_dir();
        // The shell stops the server when its standard input closes: that is, when we end.
        // It may be another process by then: a test may have restarted it.
        let script = r#""$1" -D "$2" >"$3/log" 2>&1 & p=$!; cat >/dev/null
            q=$(head -n 1 "$2/postmaster.pid"); kill -QUIT $p $q; wait $p
            while kill -0 $q; do sleep 0.1; done; rm -rf "$3""#;
        let watcher = as_server("sh")
            .args(["-c", script, "sh"])
            .arg(bin.join("postgres"))
            .arg(&data)
            .arg(dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("start the server");
        let cluster = Self {
            data,
            socket: dir.path().to_path_buf(),
            port,
            watcher,
            _dir: dir,
            databases: AtomicU32::new(0),
        };
        cluster.wait_until_ready(&bin);
        cluster
    }

    /// Stops the server as a power cut would: nothing is written any more, clients are cut off.
    pub fn crash(&self) {
        self.control(&["stop", "-m", "immediate"]);
    }

    /// Starts the server again after `crash`. `ready`: waits until it takes connections.
    pub fn start_again(&self, ready: bool) {
        let log = self.socket.join("log").display().to_string();
        let wait = if ready { "-w" } else { "-W" };
        self.control(&["start", wait, "-l", &log]);
    }

    fn control(&self, words: &[&str]) {
        let status = as_server(bin_dir().join("pg_ctl"))
            .arg("-D")
            .arg(&self.data)
            .args(words)
            .stdout(Stdio::null())
            .status()
            .expect("run pg_ctl");
        assert!(status.success(), "pg_ctl {words:?} failed");
    }

    fn wait_until_ready(&self, bin: &Path) {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        loop {
            let ready = Command::new(bin.join("pg_isready"))
                .arg("-q")
                .arg("-h")
                .arg(&self.socket)
                .args(["-p", &self.port.to_string()])
                .status()
                .expect("run pg_isready");
            if ready.success() {
                return;
            }
            assert!(
                std::time::Instant::now() < deadline,
                "the server did not start: {}",
                std::fs::read_to_string(self.socket.join("log")).unwrap_or_default()
            );
            std::thread::yield_now();
        }
    }

    /// A fresh database whose name starts with `name`.
    pub fn database(&self, name: &str) -> Database {
        let number = self.databases.fetch_add(1, Ordering::Relaxed);
        let mut name: String = name
            .chars()
            .map(|c| {
                if c.is_ascii_alphanumeric() {
                    c.to_ascii_lowercase()
                } else {
                    '_'
                }
            })
            .take(50)
            .collect();
        name.push_str(&format!("_{number}"));
        self.psql("postgres", &format!("CREATE DATABASE {name}"));
        Database {
            name,
            host: self.socket.display().to_string(),
            port: self.port,
        }
    }

    /// Runs SQL with psql as the superuser and gives its output; stops at the first error.
    pub fn psql(&self, database: &str, sql: &str) -> String {
        self.psql_as("postgres", database, sql)
            .unwrap_or_else(|error| panic!("psql failed: {error}\n{sql}"))
    }

    /// Runs SQL with psql as a role.
    ///
    /// # Errors
    /// psql's standard error.
    pub fn psql_as(&self, role: &str, database: &str, sql: &str) -> Result<String, String> {
        let mut child = Command::new(bin_dir().join("psql"))
            .args([
                "-X",
                "-q",
                "-A",
                "-t",
                "-v",
                "ON_ERROR_STOP=1",
                "-U",
                role,
                "-d",
                database,
            ])
            .args(["-p", &self.port.to_string(), "-h"])
            .arg(&self.socket)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("run psql");
        std::io::Write::write_all(&mut child.stdin.take().expect("stdin"), sql.as_bytes())
            .expect("write to psql");
        let out = child.wait_with_output().expect("wait for psql");
        if out.status.success() {
            Ok(String::from_utf8_lossy(&out.stdout).into_owned())
        } else {
            Err(String::from_utf8_lossy(&out.stderr).into_owned())
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.watcher.stdin.take());
        let _ = self.watcher.wait();
    }
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a free port")
        .port()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_database_answers_and_is_empty() {
        let database = Cluster::shared().database("smoke");
        let client = database.client().await;
        let row = client
            .query_one("SELECT current_database()", &[])
            .await
            .unwrap();
        assert_eq!(row.get::<_, String>(0), database.name);
    }
}
