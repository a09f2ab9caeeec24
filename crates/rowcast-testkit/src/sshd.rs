//! A throwaway OpenSSH server on loopback, with keys and configuration of its own.
//!
//! It runs as the user of the test clusters, who is also the only one that can log in, and ends
//! with the process that started it. A missing sshd is an error with the install line, never a
//! skip.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::postgres::{as_server, free_port, give_to_server, server_user};

/// A running server.
#[derive(Debug)]
pub struct Sshd {
    pub port: u16,
    /// The only user that can log in.
    pub user: String,
    /// Its host keys, as `ssh-ed25519 AAAA…`: ed25519, ECDSA, RSA.
    pub host_keys: Vec<String>,
    dir: tempfile::TempDir,
    watcher: Child,
}

/// A key pair as files' contents.
#[derive(Debug, Clone)]
pub struct KeyPair {
    /// What stands in the private key's file.
    pub private: String,
    /// `ssh-ed25519 AAAA…`.
    pub public: String,
    /// `SHA256:…`.
    pub fingerprint: String,
}

const INSTALL: &str = "install it: apt-get install -y openssh-server";

fn sshd() -> PathBuf {
    let fixed = ["/usr/sbin/sshd", "/usr/local/sbin/sshd", "/usr/bin/sshd"].map(PathBuf::from);
    fixed
        .into_iter()
        .find(|path| path.exists())
        .unwrap_or_else(|| panic!("no sshd was found; {INSTALL}"))
}

/// Makes a key pair with ssh-keygen: `kind` is `ed25519`, `ecdsa` or `rsa`.
pub fn key_pair(kind: &str, passphrase: &str) -> KeyPair {
    let dir = tempfile::tempdir().expect("temporary folder");
    let path = dir.path().join("key");
    let out = Command::new("ssh-keygen")
        .args(["-q", "-t", kind, "-C", "test", "-N", passphrase, "-f"])
        .arg(&path)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("ssh-keygen: {error}; {INSTALL}"));
    assert!(out.status.success(), "ssh-keygen failed: {out:?}");
    let read = |path: &Path| std::fs::read_to_string(path).expect("read a key");
    let public = path.with_extension("pub");
    let out = Command::new("ssh-keygen")
        .arg("-lf")
        .arg(&public)
        .output()
        .expect("ssh-keygen -l");
    let listed = String::from_utf8_lossy(&out.stdout).into_owned();
    KeyPair {
        private: read(&path),
        public: read(&public).trim().to_owned(),
        fingerprint: listed
            .split_whitespace()
            .find(|word| word.starts_with("SHA256:"))
            .expect("a fingerprint")
            .to_owned(),
    }
}

impl Sshd {
    /// A server that takes these public keys and has these host keys; `lines` go into its
    /// configuration before its own, and the first one of a kind counts.
    pub fn start(authorized: &[&KeyPair], host_keys: &[&KeyPair], lines: &[&str]) -> Self {
        let program = sshd();
        let dir = tempfile::Builder::new()
            .prefix("rowcast-sshd")
            .tempdir()
            .expect("temporary folder");
        give_to_server(dir.path());
        let file = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).expect("write a file of sshd");
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
            std::fs::set_permissions(&path, mode).expect("set permissions");
            give_to_server(&path);
            path.display().to_string()
        };
        let publics: Vec<&str> = authorized.iter().map(|key| key.public.as_str()).collect();
        let authorized = file("authorized_keys", &(publics.join("\n") + "\n"));
        let port = free_port();
        let mut conf = lines.join("\n") + "\n";
        for (number, key) in host_keys.iter().enumerate() {
            let path = file(&format!("host_key_{number}"), &key.private);
            conf.push_str(&format!("HostKey {path}\n"));
        }
        conf.push_str(&format!(
            "ListenAddress 127.0.0.1\nPort {port}\nAuthorizedKeysFile {authorized}\n\
             StrictModes no\nUsePAM no\nPasswordAuthentication no\n\
             KbdInteractiveAuthentication no\nPidFile none\nLogLevel VERBOSE\nMaxStartups 100\n"
        ));
        let conf = file("sshd_config", &conf);
        let script = r#""$1" -D -e -f "$2" 2>"$3/log" & p=$!; echo $p >"$3/pid"; cat >/dev/null; kill $p; wait $p; rm -rf "$3""#;
        let watcher = as_server("sh")
            .args(["-c", script, "sh"])
            .arg(&program)
            .arg(&conf)
            .arg(dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("start sshd");
        let server = Self {
            port,
            user: user_name(),
            host_keys: host_keys.iter().map(|key| key.public.clone()).collect(),
            dir,
            watcher,
        };
        server.wait_until_ready();
        server
    }

    fn wait_until_ready(&self) {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        while !self.log().contains("Server listening") {
            assert!(
                std::time::Instant::now() < deadline,
                "sshd did not start: {}",
                self.log()
            );
            std::thread::yield_now();
        }
    }

    /// What it wrote to its log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Kills every connection, but not the server itself.
    pub fn cut_connections(&self) {
        let pid = std::fs::read_to_string(self.dir.path().join("pid")).expect("sshd's id");
        for child in descendants(pid.trim()) {
            let status = as_server("kill").args(["-KILL", &child]).status();
            assert!(status.is_ok(), "kill the connection {child}");
        }
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.cut_connections();
        drop(self.watcher.stdin.take());
        let _ = self.watcher.wait();
    }
}

/// The processes below one, by the parents that the kernel names.
fn descendants(of: &str) -> Vec<String> {
    let mut parents: Vec<(String, String)> = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = entry.file_name().to_string_lossy().into_owned();
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        // The second field may hold anything but ends with the last parenthesis.
        if let Some((_, rest)) = stat.rsplit_once(") ")
            && let Some(parent) = rest.split(' ').nth(1)
        {
            parents.push((pid, parent.to_owned()));
        }
    }
    let mut found = vec![of.to_owned()];
    let mut next = 0;
    while let Some(parent) = found.get(next).cloned() {
        next += 1;
        let children = parents.iter().filter(|(_, of)| *of == parent);
        found.extend(children.map(|(pid, _)| pid.clone()));
    }
    found.split_off(1)
}

/// The name of the user that the servers run as.
fn user_name() -> String {
    let uid = server_user().map_or_else(|| rustix::process::geteuid().as_raw(), |(uid, _)| uid);
    let passwd = std::fs::read_to_string("/etc/passwd").expect("read /etc/passwd");
    passwd
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.get(2).and_then(|id| id.parse().ok()) == Some(uid))
        .map(|fields| fields[0].to_owned())
        .expect("the server's user has a name")
}
