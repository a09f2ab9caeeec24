//! A NATS server with JetStream on disk.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;

use serde_json::{Value, json};

use super::{Process, folder, installed};
use crate::postgres::{free_port, give_to_server};

/// A running server. Its user `caster` is for destinations.
#[derive(Debug)]
pub struct Nats {
    pub port: u16,
    process: Process,
    dir: tempfile::TempDir,
}

/// A message as a stream holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Names and values, in their order.
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Nats {
    /// Starts a server whose user `caster` has this password.
    pub fn start(password: &str) -> Self {
        Self::launch(password, None)
    }

    /// The same with a certificate and its key, both PEM. Tests can't ask it.
    pub fn encrypted(password: &str, certificate: &str, key: &str) -> Self {
        Self::launch(password, Some((certificate, key)))
    }

    fn launch(password: &str, tls: Option<(&str, &str)>) -> Self {
        let program = installed("nats-server", "nats-server");
        let dir = folder("nats");
        let port = free_port();
        let config = dir.path().join("nats.conf");
        write_config(&dir, port, password);
        if let Some((certificate, key)) = tls {
            let file = |name: &str, text: &str| {
                let path = dir.path().join(name);
                std::fs::write(&path, text).expect("write a certificate");
                give_to_server(&path);
                path.display().to_string()
            };
            let tls = format!(
                "tls {{ cert_file: \"{}\", key_file: \"{}\" }}\n",
                file("server.crt", certificate),
                file("server.key", key)
            );
            let text = std::fs::read_to_string(&config).expect("read the configuration");
            std::fs::write(&config, text + &tls).expect("write the configuration");
        }
        let command = vec![
            program.display().to_string(),
            "--config".into(),
            config.display().to_string(),
        ];
        let process = Process::start(command, Vec::new(), "Server is ready");
        Self { port, process, dir }
    }

    /// Kills the server and starts it again with another password of `caster`.
    pub fn restart(&mut self, password: &str) {
        self.process.kill();
        write_config(&self.dir, self.port, password);
        self.process.run();
    }

    /// Makes a stream, or changes one.
    ///
    /// # Panics
    /// The server refuses it.
    pub fn stream(&self, verb: &str, name: &str, more: &Value) {
        let mut config = json!({ "name": name, "allow_direct": true, "storage": "file" });
        for (name, value) in more.as_object().expect("settings of a stream") {
            config[name] = value.clone();
        }
        let answer = self.ask(
            &format!("$JS.API.STREAM.{verb}.{name}"),
            &config.to_string(),
        );
        let answer: Value = serde_json::from_str(&answer.body).expect("JSON");
        assert!(answer["error"].is_null(), "{answer}");
    }

    /// The messages of a stream that still are there, in their order.
    pub fn messages(&self, name: &str) -> Vec<Stored> {
        let info = self.ask(&format!("$JS.API.STREAM.INFO.{name}"), "");
        let info: Value = serde_json::from_str(&info.body).expect("JSON");
        let state = &info["state"];
        let (first, last) = (state["first_seq"].as_u64(), state["last_seq"].as_u64());
        let numbers = first.expect("a number")..=last.expect("a number");
        if state["messages"] == 0 {
            return Vec::new();
        }
        numbers
            .map(|number| {
                let wanted = json!({ "seq": number }).to_string();
                self.ask(&format!("$JS.API.DIRECT.GET.{name}"), &wanted)
            })
            .collect()
    }

    fn ask(&self, subject: &str, body: &str) -> Stored {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).expect("connect to nats");
        let mut writer = stream.try_clone().expect("a second handle");
        let hello = r#"{"verbose":false,"user":"admin","pass":"admin","headers":true}"#;
        write!(
            writer,
            "CONNECT {hello}\r\nSUB answer 1\r\nPUB {subject} answer {}\r\n{body}\r\n",
            body.len()
        )
        .expect("ask nats");
        let mut reader = BufReader::new(stream);
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).expect("an answer of nats");
            let words: Vec<&str> = line.split_whitespace().collect();
            let number = |back: usize| words[words.len() - back].parse::<usize>().expect("a size");
            let (headers, total) = match words.first() {
                Some(&"MSG") => (0, number(1)),
                Some(&"HMSG") => (number(2), number(1)),
                Some(&"-ERR") => panic!("nats answered {line}"),
                None => panic!("nats hung up"),
                _ => continue,
            };
            let mut bytes = vec![0; total];
            reader.read_exact(&mut bytes).expect("a message");
            let text = String::from_utf8(bytes).expect("UTF-8");
            let (head, body) = text.split_at(headers);
            let lines = head.lines().skip(1);
            return Stored {
                headers: lines
                    .filter_map(|line| line.split_once(": "))
                    .map(|(name, value)| (name.to_owned(), value.to_owned()))
                    .collect(),
                body: body.to_owned(),
            };
        }
    }
}

fn write_config(dir: &tempfile::TempDir, port: u16, password: &str) {
    let path = dir.path().join("nats.conf");
    let store = dir.path().join("store");
    std::fs::write(
        &path,
        format!(
            "listen: \"127.0.0.1:{port}\"\nmax_payload: 262144\n\
             jetstream {{ store_dir: \"{}\" }}\n\
             authorization {{ users = [ {{ user: admin, password: admin }}, \
             {{ user: caster, password: \"{password}\" }} ] }}\n",
            store.display()
        ),
    )
    .expect("write the configuration of nats");
    give_to_server(&path);
}
