//! As much of an HTTP client as it takes to ask an emulator something wrong.

#![allow(unreachable_pub, reason = "each test file uses its part")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

/// A request that is right until a test spoils it.
#[derive(Clone)]
pub struct Request {
    pub method: &'static str,
    pub path: String,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn post(path: &str, authorization: &str, body: impl Into<Vec<u8>>) -> Self {
        Self {
            method: "POST",
            path: path.to_owned(),
            headers: vec![
                ("authorization", authorization.to_owned()),
                ("content-type", "application/json".to_owned()),
            ],
            body: body.into(),
        }
    }

    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(header, _)| *header != name);
        self
    }

    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    /// Status and body of the answer.
    pub fn send(&self, address: SocketAddr) -> (u16, String) {
        let mut stream = TcpStream::connect(address).expect("the emulator listens");
        let mut head = format!("{} {} HTTP/1.1\r\nhost: test\r\n", self.method, self.path);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("content-length: {}\r\n\r\n", self.body.len()));
        stream.write_all(head.as_bytes()).expect("sent");
        stream.write_all(&self.body).expect("sent");
        stream
            .shutdown(std::net::Shutdown::Write)
            .expect("nothing follows");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let status = answer.split(' ').nth(1).expect("a status line");
        let (_, body) = answer.split_once("\r\n\r\n").expect("a head");
        (status.parse().expect("a status"), body.to_owned())
    }
}
