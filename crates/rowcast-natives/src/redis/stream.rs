//! Entries into a stream: the connection, its login, and one transaction a batch.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rowcast_core::connector::Problems;
use rowcast_core::destination::ObjectSchema;
use rowcast_core::{Check, Destination, DestinationConfig, Fault, Name, Outcome, Secret};
use tokio::io::{AsyncWriteExt as _, BufReader, WriteHalf};

use super::refusal::judge;
use super::resp::{self, Reader, Reply, push_command};
use crate::broker::{Broker, Load, Message, Protocol};
use crate::connect::{Endpoint, Stream, flag, number, secret, text};

/// Streams that `discover` lists at most.
const LISTED_MAX: usize = 1_000;

pub(crate) fn build(
    config: &DestinationConfig,
    problems: &mut Problems,
) -> Option<Arc<dyn Destination>> {
    let endpoint = Endpoint::read(config, (6379, 6379), problems);
    let redis = Redis {
        endpoint: endpoint?,
        stream: config.object.clone(),
        user: text(config, "user"),
        password: secret(config, "password"),
        database: number(config, "database").unwrap_or(0),
        maxlen: number(config, "maxlen"),
        exact: flag(config, "maxlen_exact").unwrap_or(false),
    };
    Broker::open(redis, config, problems)
}

struct Redis {
    endpoint: Endpoint,
    stream: Name,
    user: Option<String>,
    password: Option<Secret<String>>,
    database: u64,
    maxlen: Option<u64>,
    exact: bool,
}

/// A connection, logged in, with the database chosen.
pub(crate) struct Link {
    reader: Reader,
    writer: WriteHalf<Stream>,
    version: String,
}

impl Link {
    /// Sends one command and reads its reply.
    async fn ask(&mut self, words: &[&[u8]]) -> io::Result<Reply> {
        let mut out = Vec::new();
        push_command(&mut out, words);
        self.writer.write_all(&out).await?;
        self.writer.flush().await?;
        resp::reply(&mut self.reader).await
    }
}

impl Redis {
    fn judge(&self, error: &str) -> Fault {
        judge(&self.endpoint, &self.stream, error)
    }

    async fn demand(&self, link: &mut Link, words: &[&[u8]]) -> Result<Reply, Fault> {
        match link.ask(words).await {
            Ok(Reply::Error(error)) => Err(self.judge(&error)),
            Ok(reply) => Ok(reply),
            Err(error) => Err(self.endpoint.early(&error)),
        }
    }

    fn push_entry(&self, out: &mut Vec<u8>, load: &Load, message: &Message) {
        let length = self.maxlen.map(|length| length.to_string());
        let mut words: Vec<&[u8]> = vec![b"XADD", self.stream.as_bytes()];
        if let Some(length) = &length {
            let how: &[u8] = if self.exact { b"=" } else { b"~" };
            words.extend([b"MAXLEN".as_slice(), how, length.as_bytes()]);
        }
        words.push(b"*");
        for (name, value) in entry(load, message) {
            words.extend([name.as_bytes(), value.as_bytes()]);
        }
        push_command(out, &words);
    }

    /// Reads the replies of a transaction with so many commands.
    async fn replies(&self, reader: &mut Reader, count: usize) -> Result<Vec<Outcome>, Fault> {
        let lost = |error: io::Error| self.endpoint.lost(&error.to_string());
        let mut first_error = None;
        for _ in 0..=count {
            if let Reply::Error(error) = resp::reply(reader).await.map_err(lost)? {
                first_error.get_or_insert(error);
            }
        }
        match (resp::reply(reader).await.map_err(lost)?, first_error) {
            // A command that was refused makes the server drop the transaction.
            (Reply::Error(_) | Reply::Nothing, Some(error)) | (Reply::Error(error), None) => {
                Err(self.judge(&error))
            }
            (Reply::List(entries), None) if entries.len() == count => self.outcomes(entries),
            (other, _) => Err(self
                .endpoint
                .lost(&format!("the transaction was answered with {other:?}"))),
        }
    }

    fn outcomes(&self, entries: Vec<Reply>) -> Result<Vec<Outcome>, Fault> {
        let nothing_added = entries.iter().all(|entry| matches!(entry, Reply::Error(_)));
        if nothing_added && let Some(Reply::Error(error)) = entries.first() {
            return Err(self.judge(error));
        }
        let outcomes = entries.into_iter().map(|entry| match entry {
            Reply::Error(error) => Outcome::Rejected(self.judge(&error).reason().clone()),
            _ => Outcome::Delivered,
        });
        Ok(outcomes.collect())
    }
}

/// The fields of an entry.
fn entry<'a>(load: &'a Load, message: &'a Message) -> [(&'static str, &'a str); 6] {
    [
        ("key", &message.key),
        ("operation", load.operation.as_str()),
        ("idempotency_key", &message.idempotency_key),
        ("sync", &load.sync),
        ("run", &load.run),
        ("body", &message.body),
    ]
}

impl Protocol for Redis {
    type Link = Link;

    fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    async fn open(&self) -> Result<Link, Fault> {
        let (reader, writer) = tokio::io::split(self.endpoint.open().await?);
        let mut link = Link {
            reader: BufReader::new(reader),
            writer,
            version: "Redis".to_owned(),
        };
        if let Some(password) = &self.password {
            let mut words: Vec<&[u8]> = vec![b"AUTH"];
            words.extend(self.user.as_deref().map(str::as_bytes));
            words.push(password.reveal().as_bytes());
            self.demand(&mut link, &words).await?;
        }
        let database = self.database.to_string();
        self.demand(&mut link, &[b"SELECT", database.as_bytes()])
            .await?;
        // Only for `check`; a user of an ACL may not be allowed to ask.
        if let Ok(Reply::Text(text)) = link.ask(&[b"INFO", b"server"]).await
            && let Some(version) = text
                .lines()
                .find_map(|line| line.strip_prefix("redis_version:"))
        {
            link.version = format!("Redis {}", version.trim());
        }
        Ok(link)
    }

    fn version(&self, link: &Link) -> String {
        link.version.clone()
    }

    async fn inspect(&self, link: &mut Link) -> Vec<Check> {
        if self.stream.is_empty() {
            return Vec::new();
        }
        let name = format!("stream {}", self.stream);
        match self.demand(link, &[b"TYPE", self.stream.as_bytes()]).await {
            Ok(Reply::Text(kind)) if kind == "stream" => vec![Check::passed(name, "exists")],
            Ok(Reply::Text(kind)) if kind == "none" => {
                vec![Check::passed(name, "will be made by the first entry")]
            }
            Ok(Reply::Text(kind)) => {
                let fault = self.judge(&format!("WRONGTYPE the key holds a {kind}"));
                vec![Check::failed(name, fault.reason().clone())]
            }
            Ok(other) => vec![Check::failed(
                name,
                self.endpoint.garbled(&format!("{other:?}")),
            )],
            Err(fault) => vec![Check::failed(name, fault.reason().clone())],
        }
    }

    async fn objects(&self, link: &mut Link) -> Result<Vec<ObjectSchema>, Fault> {
        let mut found = Vec::new();
        let mut cursor = "0".to_owned();
        loop {
            let words: [&[u8]; 6] = [
                b"SCAN",
                cursor.as_bytes(),
                b"COUNT",
                b"1000",
                b"TYPE",
                b"stream",
            ];
            let Reply::List(answer) = self.demand(link, &words).await? else {
                return Ok(found);
            };
            let [Reply::Text(next), Reply::List(names)] = answer.as_slice() else {
                return Ok(found);
            };
            found.extend(names.iter().filter_map(|name| match name {
                Reply::Text(name) => Some(ObjectSchema {
                    name: name.as_str().into(),
                    fields: Vec::new(),
                }),
                _ => None,
            }));
            if next == "0" || found.len() >= LISTED_MAX {
                found.sort_by(|a, b| a.name.cmp(&b.name));
                found.truncate(LISTED_MAX);
                return Ok(found);
            }
            cursor.clone_from(next);
        }
    }

    async fn publish(
        &self,
        link: &mut Link,
        load: &Load,
        sent: &AtomicBool,
    ) -> Result<Vec<Outcome>, Fault> {
        let mut out = Vec::new();
        push_command(&mut out, &[b"MULTI"]);
        for message in &load.messages {
            self.push_entry(&mut out, load, message);
        }
        push_command(&mut out, &[b"EXEC"]);
        sent.store(true, Ordering::SeqCst);
        let (reader, writer) = (&mut link.reader, &mut link.writer);
        let writing = async {
            let written = writer.write_all(&out).await;
            let flushed = match written {
                Ok(()) => writer.flush().await,
                Err(error) => Err(error),
            };
            flushed.map_err(|error| self.endpoint.lost(&error.to_string()))
        };
        // Read while writing: a server whose answers nobody takes stops to listen.
        let ((), outcomes) = tokio::try_join!(writing, self.replies(reader, load.messages.len()))?;
        Ok(outcomes)
    }

    fn show(&self, load: &Load, message: &Message) -> String {
        let fields = entry(load, message);
        let fields = fields[..5].iter();
        let fields: Vec<String> = fields
            .map(|(name, value)| format!("{name} {value}"))
            .collect();
        format!("XADD {} * {} body …", self.stream, fields.join(" "))
    }
}
