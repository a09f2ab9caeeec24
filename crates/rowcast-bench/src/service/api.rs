//! A client of the API: one connection that is kept, one request at a time.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

#[derive(Debug)]
pub(crate) struct Client {
    reader: BufReader<TcpStream>,
    token: String,
}

impl Client {
    pub(crate) fn connect(address: &str, token: &str) -> Result<Self, String> {
        let open = || -> std::io::Result<TcpStream> {
            let stream = TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(Duration::from_secs(30)))?;
            Ok(stream)
        };
        let stream = open().map_err(|error| format!("the API does not listen: {error}"))?;
        Ok(Self {
            reader: BufReader::new(stream),
            token: token.to_owned(),
        })
    }

    /// Asks, and gives the body and how long it took to come whole.
    ///
    /// # Errors
    /// The answer is not 200.
    pub(crate) fn get(&mut self, path: &str) -> Result<(String, Duration), String> {
        let asked = Instant::now();
        let (status, body) = self
            .ask(path)
            .map_err(|error| format!("GET {path}: {error}"))?;
        let took = asked.elapsed();
        if status == 200 {
            Ok((body, took))
        } else {
            Err(format!("GET {path}: {status}: {body}"))
        }
    }

    fn ask(&mut self, path: &str) -> std::io::Result<(u16, String)> {
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {}\r\n\r\n",
            self.token
        );
        self.reader.get_mut().write_all(request.as_bytes())?;
        let mut line = String::new();
        self.reader.read_line(&mut line)?;
        let status = line.split(' ').nth(1).and_then(|word| word.parse().ok());
        let status = status.ok_or_else(|| std::io::Error::other("no answer"))?;
        let mut length = 0;
        loop {
            line.clear();
            self.reader.read_line(&mut line)?;
            let Some((name, value)) = line.trim().split_once(':') else {
                break;
            };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().map_err(std::io::Error::other)?;
            }
        }
        let mut body = vec![0; length];
        self.reader.read_exact(&mut body)?;
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    }
}
