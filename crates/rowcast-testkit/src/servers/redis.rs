//! A Redis server that writes every command to disk before it answers.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;

use super::{Process, folder, installed};
use crate::postgres::free_port;

/// A running server.
#[derive(Debug)]
pub struct Redis {
    pub port: u16,
    process: Process,
    _dir: tempfile::TempDir,
}

/// An answer of the server, as far as tests read them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Text(String),
    List(Vec<Answer>),
    Nothing,
}

impl Answer {
    /// The text.
    ///
    /// # Panics
    /// It is none.
    pub fn text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            other => panic!("{other:?} is no text"),
        }
    }

    /// The items.
    ///
    /// # Panics
    /// It is no list.
    pub fn items(&self) -> &[Answer] {
        match self {
            Self::List(items) => items,
            other => panic!("{other:?} is no list"),
        }
    }
}

impl Redis {
    /// Starts a server whose default user needs no password.
    pub fn start() -> Self {
        let program = installed("redis-server", "redis-server");
        let dir = folder("redis");
        let port = free_port();
        let command = [
            program.display().to_string(),
            "--port".into(),
            port.to_string(),
            "--bind".into(),
            "127.0.0.1".into(),
            "--dir".into(),
            dir.path().display().to_string(),
            "--save".into(),
            String::new(),
            "--appendonly".into(),
            "yes".into(),
            "--appendfsync".into(),
            "always".into(),
        ];
        let process = Process::start(command.to_vec(), Vec::new(), "Ready to accept connections");
        Self {
            port,
            process,
            _dir: dir,
        }
    }

    /// Kills the server and starts it again on what it had written.
    pub fn restart(&mut self) {
        self.process.kill();
        self.process.run();
    }

    /// Asks the server, as its default user.
    ///
    /// # Panics
    /// It answers with an error.
    pub fn ask(&self, words: &[&str]) -> Answer {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("connect to redis");
        let mut out = format!("*{}\r\n", words.len());
        for word in words {
            out.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        stream.write_all(out.as_bytes()).expect("ask redis");
        read(&mut BufReader::new(stream))
    }
}

fn read(reader: &mut BufReader<TcpStream>) -> Answer {
    let mut line = String::new();
    reader.read_line(&mut line).expect("an answer of redis");
    let line = line.trim_end();
    let (kind, rest) = line.split_at(1);
    let length = || usize::try_from(rest.parse::<i64>().expect("a length")).ok();
    match kind {
        "+" | ":" => Answer::Text(rest.to_owned()),
        "$" => length().map_or(Answer::Nothing, |length| {
            let mut bytes = vec![0; length + 2];
            reader.read_exact(&mut bytes).expect("a text");
            bytes.truncate(length);
            Answer::Text(String::from_utf8(bytes).expect("UTF-8"))
        }),
        "*" => length().map_or(Answer::Nothing, |count| {
            Answer::List((0..count).map(|_| read(reader)).collect())
        }),
        _ => panic!("redis answered {line}"),
    }
}
