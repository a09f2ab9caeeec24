//! A throwaway PostgreSQL server on a free loopback port: passwords by SCRAM, random, its own
//! folder, gone with this process even when that is killed.

use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output as Finished, Stdio};
use std::time::{Duration, Instant};

use rowcast_core::{Code, Reason, Secret};

/// How long the server may take to accept connections.
const START: Duration = Duration::from_secs(30);

/// Stops the server when standard input closes, that is when the demo ends for whatever reason.
const WATCHER: &str =
    r#""$1" -D "$2" >"$3/log" 2>&1 & p=$!; cat >/dev/null; kill -INT $p; wait $p; rm -rf "$3""#;

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    bin: PathBuf,
    pub(crate) port: u16,
    pub(crate) version: String,
    superuser_password: Secret<String>,
    watcher: Child,
    folder: tempfile::TempDir,
}

impl Server {
    /// Makes and starts one.
    pub(crate) fn start(bin: &Path) -> Result<Self, Reason> {
        let folder = tempfile::Builder::new()
            .prefix("rowcast-demo-")
            .tempdir()
            .map_err(|error| failed("make a temporary folder", &error.to_string()))?;
        let data = folder.path().join("data");
        let superuser_password = random_password();
        let password_file = folder.path().join("password");
        std::fs::write(&password_file, superuser_password.reveal())
            .and_then(|()| {
                std::fs::set_permissions(&password_file, std::fs::Permissions::from_mode(0o600))
            })
            .and_then(|()| give_to_server(folder.path()))
            .and_then(|()| give_to_server(&password_file))
            .map_err(|error| failed("prepare the server's folder", &error.to_string()))?;
        let made = as_server(bin.join("initdb"))
            .arg("-D")
            .arg(&data)
            .args([
                "-U",
                "postgres",
                "-A",
                "scram-sha-256",
                "-E",
                "UTF8",
                "--locale=C",
                "-N",
            ])
            .arg(format!("--pwfile={}", password_file.display()))
            .output()
            .map_err(|error| failed("run initdb", &error.to_string()))?;
        succeeded("initdb", &made)?;
        let _ = std::fs::remove_file(&password_file);
        let port = free_port().map_err(|error| failed("find a free port", &error.to_string()))?;
        let settings = format!(
            "listen_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = ''\n\
             fsync = off\nfull_page_writes = off\nshared_buffers = 128MB\nmax_wal_size = 2GB\n\
             log_min_messages = warning\n"
        );
        std::fs::write(data.join("postgresql.auto.conf"), settings)
            .map_err(|error| failed("write the server's settings", &error.to_string()))?;
        let watcher = as_server("sh")
            .args(["-c", WATCHER, "sh"])
            .arg(bin.join("postgres"))
            .arg(&data)
            .arg(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(|error| failed("start the server", &error.to_string()))?;
        let mut server = Self {
            bin: bin.to_owned(),
            port,
            version: String::new(),
            superuser_password,
            watcher,
            folder,
        };
        server.wait_until_ready()?;
        server.version = server.query("postgres", "SHOW server_version")?;
        Ok(server)
    }

    fn wait_until_ready(&self) -> Result<(), Reason> {
        let deadline = Instant::now() + START;
        loop {
            match self.query("postgres", "SELECT 1") {
                Ok(_) => return Ok(()),
                Err(reason) if Instant::now() > deadline => {
                    let log = std::fs::read_to_string(self.folder.path().join("log"));
                    return Err(reason.hint(format!(
                        "the server's log says: {}",
                        log.unwrap_or_default().trim_end()
                    )));
                }
                // Every attempt starts a program, which takes a while of its own.
                Err(_) => std::thread::yield_now(),
            }
        }
    }

    /// Runs SQL as the superuser and gives its output, one line a row, `|` between columns.
    pub(crate) fn query(&self, database: &str, sql: &str) -> Result<String, Reason> {
        let mut psql = Command::new(self.bin.join("psql"))
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"])
            .args(["-h", "127.0.0.1", "-U", "postgres", "-d", database, "-p"])
            .arg(self.port.to_string())
            .env_clear()
            .env("PGPASSWORD", self.superuser_password.reveal())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| failed("run psql", &error.to_string()))?;
        if let Some(mut stdin) = psql.stdin.take() {
            // A server that is not up yet closes the pipe; psql's own words come below.
            let _ = stdin.write_all(sql.as_bytes());
        }
        let done = psql
            .wait_with_output()
            .map_err(|error| failed("run psql", &error.to_string()))?;
        succeeded("psql", &done)?;
        Ok(String::from_utf8_lossy(&done.stdout).trim_end().to_owned())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.watcher.stdin.take());
        let _ = self.watcher.wait();
    }
}

fn failed(doing: &str, detail: &str) -> Reason {
    Reason::new(Code::RunFailed, format!("the demo could not {doing}")).detail(detail.trim_end())
}

fn succeeded(program: &str, done: &Finished) -> Result<(), Reason> {
    if done.status.success() {
        return Ok(());
    }
    Err(failed(
        &format!("run {program}"),
        &String::from_utf8_lossy(&done.stderr),
    ))
}

/// A port that was free a moment ago.
fn free_port() -> std::io::Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?
        .local_addr()?
        .port())
}

/// 122 random bits in hexadecimal.
pub(crate) fn random_password() -> Secret<String> {
    Secret::new(uuid::Uuid::new_v4().simple().to_string())
}

/// The user and group that the server runs as when we are root, because initdb refuses root:
/// PostgreSQL's own where there is one, else nobody.
fn server_user() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let passwd = std::fs::read_to_string("/etc/passwd").ok()?;
    let ids = |name: &str| {
        passwd.lines().find_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            (fields.first() == Some(&name))
                .then(|| Some((fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?)))?
        })
    };
    ids("postgres").or_else(|| ids("nobody"))
}

fn as_server(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    if let Some((uid, gid)) = server_user() {
        command.uid(uid).gid(gid);
    }
    // initdb looks at its working directory, which the other user may not enter.
    command.current_dir("/");
    command
}

fn give_to_server(path: &Path) -> std::io::Result<()> {
    match server_user() {
        Some((uid, gid)) => chown(path, Some(uid), Some(gid)),
        None => Ok(()),
    }
}
