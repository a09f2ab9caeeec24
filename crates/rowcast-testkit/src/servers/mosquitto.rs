//! A Mosquitto server with two users: `caster`, who may publish but to one topic, and `reader`.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;

use super::{Process, folder, installed};
use crate::postgres::{free_port, give_to_server};

/// A running server.
#[derive(Debug)]
pub struct Mosquitto {
    pub port: u16,
    process: Process,
    dir: tempfile::TempDir,
}

impl Mosquitto {
    /// Starts a server. `caster` logs in with the password and may publish to every topic but
    /// `denied`.
    pub fn start(password: &str, denied: &str) -> Self {
        let program = installed("mosquitto", "mosquitto");
        let dir = folder("mosquitto");
        let port = free_port();
        let file = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).expect("write a file of mosquitto");
            give_to_server(&path);
            path.display().to_string()
        };
        passwords(dir.path(), password);
        let access = file(
            "access",
            &format!("user caster\ntopic write #\ntopic deny {denied}\nuser reader\ntopic #\n"),
        );
        let conf = file(
            "mosquitto.conf",
            &format!(
                "listener {port} 127.0.0.1\nallow_anonymous false\npassword_file {}\n\
                 acl_file {access}\npersistence false\nlog_dest stderr\n",
                dir.path().join("passwords").display()
            ),
        );
        let command = vec![program.display().to_string(), "-c".into(), conf];
        let process = Process::start(command, Vec::new(), " running");
        Self { port, process, dir }
    }

    /// Ends the server and starts it again with another password for `caster`. Nothing is kept.
    pub fn change_password(&mut self, password: &str) {
        self.process.kill();
        passwords(self.dir.path(), password);
        self.process.run();
    }

    /// The retained messages: topic and body.
    ///
    /// # Panics
    /// The server does not answer as it should.
    pub fn retained(&self) -> Vec<(String, String)> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("connect");
        let mut body = Vec::from(*b"\x00\x04MQTT\x05\xC2\x00\x00\x00\x00\x00");
        for word in ["reader", "reader"] {
            push_text(&mut body, word);
        }
        send(&mut stream, 0x10, &body);
        let (kind, welcome) = packet(&mut stream);
        assert_eq!((kind, welcome[1]), (0x20, 0), "a login");
        let mut body = Vec::from([0, 1, 0]);
        push_text(&mut body, "#");
        body.push(0);
        send(&mut stream, 0x82, &body);
        // It comes back after all that was kept: messages of one client are in order.
        let mut body = Vec::new();
        push_text(&mut body, "end-of-what-is-kept");
        body.push(0);
        send(&mut stream, 0x30, &body);
        let mut found = Vec::new();
        loop {
            let (kind, body) = packet(&mut stream);
            if kind & 0xF0 != 0x30 {
                continue;
            }
            let length = usize::from(u16::from_be_bytes([body[0], body[1]]));
            let topic = String::from_utf8(body[2..2 + length].to_vec()).expect("a topic");
            if topic == "end-of-what-is-kept" {
                return found;
            }
            let rest = &body[2 + length..];
            let (properties, bytes) = length_of(rest);
            let text = String::from_utf8(rest[bytes + properties..].to_vec());
            found.push((topic, text.expect("a body")));
        }
    }
}

fn passwords(dir: &std::path::Path, password: &str) {
    let path = dir.join("passwords");
    let _ = std::fs::remove_file(&path);
    let users: [(&[&str], &str, &str); 2] = [
        (&["-c", "-b"], "caster", password),
        (&["-b"], "reader", "reader"),
    ];
    for (options, user, word) in users {
        let done = Command::new("mosquitto_passwd")
            .args(options)
            .arg(&path)
            .args([user, word])
            .output()
            .expect("run mosquitto_passwd");
        assert!(done.status.success(), "{done:?}");
    }
    give_to_server(&path);
}

fn push_text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&(text.len() as u16).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn send(stream: &mut TcpStream, head: u8, body: &[u8]) {
    let mut packet = vec![head, u8::try_from(body.len()).expect("a short packet")];
    packet.extend_from_slice(body);
    stream.write_all(&packet).expect("send to mosquitto");
}

fn packet(stream: &mut TcpStream) -> (u8, Vec<u8>) {
    let mut head = [0];
    stream.read_exact(&mut head).expect("a packet");
    let mut bytes = Vec::new();
    loop {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a length");
        bytes.push(byte[0]);
        if byte[0] & 0x80 == 0 {
            break;
        }
    }
    let mut body = vec![0; length_of(&bytes).0];
    stream.read_exact(&mut body).expect("a packet's body");
    (head[0], body)
}

/// A length, and how many bytes it took.
fn length_of(bytes: &[u8]) -> (usize, usize) {
    let mut length = 0;
    for (index, byte) in bytes.iter().enumerate() {
        length |= usize::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            return (length, index + 1);
        }
    }
    panic!("no length")
}
