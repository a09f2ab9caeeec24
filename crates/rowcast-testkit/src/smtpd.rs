//! A throwaway mail server on loopback: Debian's aiosmtpd, told what to ask of its clients.
//!
//! It ends with the process that started it. A missing aiosmtpd is an error with the install line,
//! never a skip.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::{Value, json};

use crate::postgres::free_port;

const INSTALL: &str = "install it: apt-get install -y python3-aiosmtpd";
/// Longest a test waits for a mail that should be there at once.
const PATIENCE: Duration = Duration::from_secs(60);

/// Prints one line for each mail; ends when its input does.
const SCRIPT: &str = r#"
import json, ssl, sys
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
asked = json.loads(sys.argv[1])

class Handler:
    async def handle_DATA(self, server, session, envelope):
        print(json.dumps({
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "text": envelope.content.decode("utf-8", "replace"),
            "encrypted": session.ssl is not None or asked["tls"] == "implicit",
            "user": session.auth_data,
        }), flush=True)
        return "250 OK"

def authenticate(server, session, envelope, mechanism, data):
    user, password = data.login.decode(), data.password.decode()
    if [user, password] == asked["login"]:
        return AuthResult(success=True, auth_data=user)
    return AuthResult(success=False, handled=False)

options = {}
if asked["login"]:
    options.update(authenticator=authenticate, auth_required=True, auth_require_tls=False)
if asked["tls"]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(asked["certificate"], asked["key"])
    if asked["tls"] == "starttls":
        options.update(tls_context=context, require_starttls=True)
    else:
        options.update(ssl_context=context)
controller = Controller(Handler(), hostname="127.0.0.1", port=asked["port"], **options)
controller.start()
print("ready", flush=True)
sys.stdin.read()
"#;

/// How clients must encrypt.
#[derive(Debug, Clone, Copy)]
pub enum Encryption<'a> {
    None,
    /// Files of a certificate and its key.
    StartTls(&'a Path, &'a Path),
    Implicit(&'a Path, &'a Path),
}

/// A running mail server.
pub struct Smtpd {
    pub port: u16,
    child: Child,
    /// The server lives as long as this is open.
    _input: ChildStdin,
    lines: Mutex<Receiver<String>>,
}

impl Smtpd {
    /// Starts one that takes mail of this user, or of anybody.
    ///
    /// # Panics
    /// When aiosmtpd is not there.
    pub fn start(encryption: Encryption<'_>, login: Option<(&str, &str)>) -> Self {
        let port = free_port();
        let (tls, files) = match encryption {
            Encryption::None => (None, None),
            Encryption::StartTls(certificate, key) => (Some("starttls"), Some((certificate, key))),
            Encryption::Implicit(certificate, key) => (Some("implicit"), Some((certificate, key))),
        };
        let asked = json!({
            "port": port,
            "tls": tls,
            "certificate": files.map(|(certificate, _)| certificate),
            "key": files.map(|(_, key)| key),
            "login": login.map(|(user, password)| [user, password]),
        });
        // The package belongs to the system's Python, whichever one comes first in the path.
        let python = if Path::new("/usr/bin/python3").exists() {
            "/usr/bin/python3"
        } else {
            "python3"
        };
        let mut child = Command::new(python)
            .args(["-W", "ignore", "-c", SCRIPT, &asked.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // It prints a stack for each client that hangs up, as tests make them do.
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("no {python}: {error}; {INSTALL}"));
        let output = BufReader::new(child.stdout.take().expect("its output"));
        let input = child.stdin.take().expect("its input");
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let ready = lines.recv_timeout(PATIENCE);
        assert_eq!(ready.as_deref(), Ok("ready"), "no aiosmtpd; {INSTALL}");
        Self {
            port,
            child,
            _input: input,
            lines: Mutex::new(lines),
        }
    }

    /// The next mail: `from`, `to`, `text` with its headers, `encrypted`, `user`.
    ///
    /// # Panics
    /// When none comes.
    pub fn mail(&self) -> Value {
        let lines = self.lines.lock().expect("no test panicked with it");
        let line = lines.recv_timeout(PATIENCE).expect("a mail");
        serde_json::from_str(&line).expect("a line of the script")
    }
}

impl Drop for Smtpd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
