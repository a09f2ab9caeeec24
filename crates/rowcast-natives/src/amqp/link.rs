//! An open channel with confirms: login, virtual host, and the proof that the object is there.

use std::io;

use rowcast_core::{Code, Fault, Reason, Secret};
use tokio::io::{AsyncWriteExt as _, BufReader, ReadHalf, WriteHalf};

use super::frame::{self, FRAME_MAX, Frame, HELLO, Kind, Read, Write};
use crate::connect::{Endpoint, Stream};

/// The one channel of a connection.
pub(super) const CHANNEL: u16 = 1;

/// Who logs in, and where.
pub(super) struct Door {
    pub(super) endpoint: Endpoint,
    pub(super) user: String,
    pub(super) password: Secret<String>,
    pub(super) vhost: String,
}

/// A connection with its channel.
pub(crate) struct Link {
    pub(super) reader: BufReader<ReadHalf<Stream>>,
    pub(super) writer: WriteHalf<Stream>,
    pub(super) version: String,
    /// Largest frame that both sides take.
    pub(super) frame_max: usize,
    /// Number of the next message on the channel, from 1.
    pub(super) next: u64,
}

/// The other side's last words on a connection or a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Closed {
    pub(super) code: u16,
    pub(super) words: String,
}

impl Closed {
    /// Reads `connection.close` and `channel.close`, which begin alike.
    pub(super) fn read(frame: &Frame) -> Option<Self> {
        if !matches!(frame.kind, Kind::Method(10, 50) | Kind::Method(20, 40)) {
            return None;
        }
        let mut content = Read(&frame.content);
        Some(Self {
            code: content.short().ok()?,
            words: content.text().ok()?,
        })
    }
}

impl Link {
    async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.writer.write_all(bytes).await?;
        self.writer.flush().await
    }
}

impl Door {
    /// Connects, logs in and opens the channel.
    ///
    /// # Errors
    /// Nothing was published.
    pub(super) async fn open(&self) -> Result<Link, Fault> {
        let (reader, writer) = tokio::io::split(self.endpoint.open().await?);
        let mut link = Link {
            reader: BufReader::new(reader),
            writer,
            version: "an AMQP server".to_owned(),
            frame_max: FRAME_MAX as usize,
            next: 1,
        };
        link.send(HELLO)
            .await
            .map_err(|error| self.endpoint.early(&error))?;
        let start = self.expect(&mut link, 10, 10).await?;
        link.version = version(&start).unwrap_or(link.version);
        let response = format!("\0{}\0{}", self.user, self.password.reveal());
        self.demand(&mut link, start_ok(&response), 10, 30)
            .await
            .and_then(|tune| {
                let mut content = Read(&tune);
                let read = content.short().and_then(|_| content.long());
                let theirs = read.map_err(|error| self.endpoint.early(&error))?;
                // 0 stands for no limit.
                let agreed = if theirs == 0 {
                    FRAME_MAX
                } else {
                    theirs.min(FRAME_MAX)
                };
                link.frame_max = agreed.max(4_096) as usize;
                Ok(())
            })?;
        // No heartbeats: every wait here has its own end.
        let tuned = Write::method(10, 31)
            .short(CHANNEL)
            .long(link.frame_max as u32)
            .short(0)
            .frame(0);
        link.send(&tuned)
            .await
            .map_err(|error| self.endpoint.early(&error))?;
        let open = Write::method(10, 40).text(&self.vhost).text("").octet(0);
        self.demand(&mut link, open.frame(0), 10, 41).await?;
        let channel = Write::method(20, 10).text("");
        self.demand(&mut link, channel.frame(CHANNEL), 20, 11)
            .await?;
        let confirm = Write::method(85, 10).octet(0);
        self.demand(&mut link, confirm.frame(CHANNEL), 85, 11)
            .await?;
        Ok(link)
    }

    /// Sends a method and waits for the one that answers it.
    pub(super) async fn demand(
        &self,
        link: &mut Link,
        method: Vec<u8>,
        class: u16,
        answer: u16,
    ) -> Result<Vec<u8>, Fault> {
        let sent = link.send(&method).await;
        sent.map_err(|error| self.endpoint.early(&error))?;
        self.expect(link, class, answer).await
    }

    async fn expect(&self, link: &mut Link, class: u16, answer: u16) -> Result<Vec<u8>, Fault> {
        loop {
            let frame = frame::read(&mut link.reader).await;
            let frame = frame.map_err(|error| self.endpoint.early(&error))?;
            if frame.kind == Kind::Method(class, answer) {
                return Ok(frame.content);
            }
            if let Some(closed) = Closed::read(&frame) {
                return Err(self.closed(&closed));
            }
        }
    }

    /// What the server's last words mean before any message was sent.
    pub(super) fn closed(&self, closed: &Closed) -> Fault {
        let said = format!("RabbitMQ said: {} ({})", closed.words, closed.code);
        let unfit = |hint: String| {
            Fault::fatal(
                Reason::new(
                    Code::DestinationObject,
                    format!(
                        "can't publish through destination `{}`",
                        self.endpoint.destination()
                    ),
                )
                .detail(said.clone())
                .hint(hint),
            )
        };
        match closed.code {
            403 if closed.words.contains("access to") => unfit(format!(
                "grant it: rabbitmqctl set_permissions -p {} {} \"\" \".*\" \"\"",
                self.vhost, self.user
            )),
            403 => self.endpoint.login_refused(&said),
            404 => unfit("declare the exchange or queue, or correct `object` and `to`".to_owned()),
            530 => unfit(format!(
                "make the virtual host or let the user in: rabbitmqctl set_permissions -p {} {} \"\" \".*\" \"\"",
                self.vhost, self.user
            )),
            _ => Fault::refused(self.endpoint.unreachable(&said)),
        }
    }
}

/// `PLAIN`, with what the client can do.
fn start_ok(response: &str) -> Vec<u8> {
    let yes = |inner: Write, name: &str| inner.text(name).octet(b't').octet(1);
    let abilities = [
        "publisher_confirms",
        "basic.nack",
        "connection.blocked",
        "authentication_failure_close",
    ];
    let abilities = abilities.into_iter().fold(Write(Vec::new()), yes);
    let properties = Write(Vec::new())
        .text("product")
        .octet(b'S')
        .bytes(b"rowcast")
        .text("version")
        .octet(b'S')
        .bytes(env!("CARGO_PKG_VERSION").as_bytes())
        .text("capabilities")
        .octet(b'F')
        .bytes(&abilities.0);
    Write::method(10, 11)
        .bytes(&properties.0)
        .text("PLAIN")
        .bytes(response.as_bytes())
        .text("en_US")
        .frame(0)
}

fn version(start: &[u8]) -> Option<String> {
    // Two octets of version come before the table.
    let product = Read(start.get(2..)?).text_in_table("product").ok()??;
    let version = Read(start.get(2..)?).text_in_table("version").ok()??;
    Some(format!("{product} {version}"))
}
