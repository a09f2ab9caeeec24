//! Messages into a stream: the connection, its login, and one acknowledgement a message.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rowcast_core::connector::Problems;
use rowcast_core::destination::ObjectSchema;
use rowcast_core::{Check, Code, Destination, DestinationConfig, Fault, Name, Outcome, Reason};
use serde_json::{Map, Value, json};
use tokio::io::{AsyncWriteExt as _, BufReader, ReadHalf, WriteHalf};

use super::answer::{Answer, judge, no_stream};
use super::credentials::{Credentials, Login};
use super::wire::{self, Received, Sent, push_message, token};
use crate::broker::{Broker, Load, Message, Protocol};
use crate::connect::{Endpoint, Stream, secret, text};

pub(crate) fn build(
    config: &DestinationConfig,
    problems: &mut Problems,
) -> Option<Arc<dyn Destination>> {
    let endpoint = Endpoint::read(config, (4222, 4222), problems);
    let login = login(config, problems);
    let bad = |letter: char| letter.is_whitespace() || matches!(letter, '*' | '>');
    if config.object.contains(bad)
        || config.object.split('.').any(str::is_empty) && !config.object.is_empty()
    {
        problems.add(
            "object",
            "this is not the beginning of a subject",
            "write names with dots between them, such as crm.customers, without blanks, * and >",
        );
    }
    let nats = Nats {
        endpoint: endpoint?,
        subject: config.object.clone(),
        stream: text(config, "stream"),
        login: login?,
    };
    Broker::open(nats, config, problems)
}

fn login(config: &DestinationConfig, problems: &mut Problems) -> Option<Login> {
    if let Some(text) = secret(config, "credentials") {
        let read = Credentials::read(text.reveal());
        if read.is_none() {
            problems.add(
                "settings.credentials",
                "this is not the text of a .creds file",
                "write ${file:PATH} with the path of the file that `nsc generate creds` wrote",
            );
        }
        return read.map(Login::Credentials);
    }
    if let Some(token) = secret(config, "token") {
        return Some(Login::Token(token));
    }
    Some(match (text(config, "user"), secret(config, "password")) {
        (Some(user), Some(password)) => Login::Password { user, password },
        _ => Login::Nobody,
    })
}

struct Nats {
    endpoint: Endpoint,
    subject: Name,
    stream: Option<String>,
    login: Login,
}

/// A connection, logged in, with a subscription for answers.
pub(crate) struct Link {
    reader: BufReader<ReadHalf<Stream>>,
    writer: WriteHalf<Stream>,
    version: String,
    /// Most bytes of one message.
    payload_max: usize,
    /// Answers come to this subject with a number behind it.
    inbox: String,
    /// Number of the next answer that is asked for.
    next: u64,
}

impl Nats {
    /// An error that the server sends about the connection as a whole.
    fn refused(&self, error: &str) -> Fault {
        let lower = error.to_ascii_lowercase();
        if lower.contains("permissions violation") {
            return Fault::fatal(
                Reason::new(
                    Code::DestinationObject,
                    format!(
                        "destination `{}` may not publish",
                        self.endpoint.destination()
                    ),
                )
                .detail(format!("NATS said: {error}"))
                .hint(format!(
                    "allow the user to publish to {}.> and $JS.API.>, and to subscribe to _INBOX.>",
                    self.subject
                )),
            );
        }
        if lower.contains("authorization") || lower.contains("authentication") {
            return self.endpoint.login_refused(&format!("NATS said: {error}"));
        }
        Fault::refused(self.endpoint.unreachable(&format!("NATS said: {error}")))
    }

    /// Asks JetStream and waits for the answer.
    async fn ask(&self, link: &mut Link, subject: &str, body: &Value) -> Result<Received, Fault> {
        let reply = link.reply();
        let mut out = Vec::new();
        push_message(&mut out, subject, &reply, &[], &body.to_string());
        let early = |error: io::Error| self.endpoint.early(&error);
        link.writer.write_all(&out).await.map_err(early)?;
        link.writer.flush().await.map_err(early)?;
        loop {
            match wire::next(&mut link.reader).await.map_err(early)? {
                Sent::Message(received) if received.subject == reply => return Ok(received),
                Sent::Ping => link.writer.write_all(b"PONG\r\n").await.map_err(early)?,
                Sent::Error(error) => return Err(self.refused(&error)),
                _ => {}
            }
        }
    }

    /// The streams that listen to a subject; all without one. At most a page of them.
    async fn streams(&self, link: &mut Link, subject: Option<&str>) -> Result<Vec<String>, Fault> {
        let asked = subject.map_or_else(|| json!({}), |subject| json!({ "subject": subject }));
        let received = self.ask(link, "$JS.API.STREAM.NAMES", &asked).await?;
        if received.status == Some(503) {
            return Err(Fault::fatal(no_stream(&self.endpoint, &self.example())));
        }
        let answer: Value = serde_json::from_slice(&received.body)
            .map_err(|error| Fault::fatal(self.endpoint.garbled(&error.to_string())))?;
        let names = answer["streams"].as_array().into_iter().flatten();
        Ok(names
            .filter_map(|name| name.as_str().map(str::to_owned))
            .collect())
    }

    /// The subject of all keys.
    fn example(&self) -> String {
        format!("{}.>", self.subject)
    }

    fn subject_of(&self, message: &Message) -> String {
        format!("{}.{}", self.subject, token(&message.key))
    }

    /// Reads one answer for each message that was sent, in whatever order they come.
    async fn answers(
        &self,
        reader: &mut BufReader<ReadHalf<Stream>>,
        inbox: &str,
        first: u64,
        outcomes: &mut [Option<Outcome>],
    ) -> Result<(), Fault> {
        let mut waiting = outcomes.iter().filter(|outcome| outcome.is_none()).count();
        let mut whole = None;
        while waiting > 0 {
            let sent = wire::next(reader).await;
            let received = match sent.map_err(|error| self.endpoint.lost(&error.to_string()))? {
                Sent::Message(received) => received,
                Sent::Error(error) => {
                    let fault = self.refused(&error);
                    // What was published before the error may have been kept.
                    return Err(match fault {
                        Fault::Fatal { reason, .. } if waiting == outcomes.len() => {
                            Fault::fatal(reason)
                        }
                        fault => self.endpoint.lost(&fault.reason().to_string()),
                    });
                }
                _ => continue,
            };
            let number = received
                .subject
                .strip_prefix(inbox)
                .and_then(|rest| rest.strip_prefix('.')?.parse::<u64>().ok())
                .and_then(|number| number.checked_sub(first));
            let place = number
                .and_then(|number| usize::try_from(number).ok())
                .and_then(|place| outcomes.get_mut(place))
                .filter(|outcome| outcome.is_none());
            // An answer to an earlier batch that had given up on it.
            let Some(place) = place else { continue };
            waiting -= 1;
            *place = Some(match judge(&self.endpoint, &self.example(), &received) {
                Answer::Outcome(outcome) => outcome,
                Answer::Whole(fault) => {
                    let outcome = Outcome::Unknown(fault.reason().clone());
                    whole.get_or_insert(fault);
                    outcome
                }
            });
        }
        let taken = |outcome: &Option<Outcome>| matches!(outcome, Some(Outcome::Delivered));
        match whole {
            // Nothing of the batch was kept: it can be tried again as it is.
            Some(fault) if !outcomes.iter().any(taken) => Err(fault),
            _ => Ok(()),
        }
    }
}

impl Link {
    fn reply(&mut self) -> String {
        let reply = format!("{}.{}", self.inbox, self.next);
        self.next += 1;
        reply
    }
}

impl Protocol for Nats {
    type Link = Link;

    fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The server speaks first; encryption begins after its first line.
    async fn open(&self) -> Result<Link, Fault> {
        let mut plain = BufReader::new(self.endpoint.open_plain().await?);
        let first = wire::next(&mut plain).await;
        let info = match first.map_err(|error| self.endpoint.early(&error))? {
            Sent::Info(text) => serde_json::from_str::<Value>(&text)
                .map_err(|error| Fault::fatal(self.endpoint.garbled(&error.to_string())))?,
            Sent::Error(error) => return Err(self.refused(&error)),
            other => return Err(Fault::fatal(self.endpoint.garbled(&format!("{other:?}")))),
        };
        if info["tls_required"] == true && !self.endpoint.is_encrypted() {
            let reason = self
                .endpoint
                .unreachable("the server lets in encrypted connections only");
            return Err(Fault::fatal(
                reason.hint("remove `tls: false` from the settings"),
            ));
        }
        let stream = self.endpoint.secure(plain.into_inner()).await?;
        let (reader, writer) = tokio::io::split(stream);
        let number = info["client_id"].as_u64().unwrap_or(0);
        let mut link = Link {
            reader: BufReader::new(reader),
            writer,
            version: format!("NATS {}", info["version"].as_str().unwrap_or("")),
            payload_max: info["max_payload"]
                .as_u64()
                .and_then(|bytes| usize::try_from(bytes).ok())
                .unwrap_or(1 << 20),
            // The server's number of this connection keeps answers of two of them apart.
            inbox: format!(
                "_INBOX.rowcast{}{number}",
                token(info["server_id"].as_str().unwrap_or(""))
            ),
            next: 0,
        };
        let mut connect = Map::new();
        for (name, value) in [
            ("verbose", json!(false)),
            ("pedantic", json!(false)),
            ("lang", json!("rust")),
            ("version", json!(env!("CARGO_PKG_VERSION"))),
            ("name", json!("rowcast")),
            ("protocol", json!(1)),
            ("headers", json!(true)),
            ("no_responders", json!(true)),
            ("echo", json!(true)),
        ] {
            connect.insert(name.to_owned(), value);
        }
        self.login
            .add_to(&mut connect, info["nonce"].as_str().unwrap_or(""));
        let hello = format!(
            "CONNECT {}\r\nSUB {}.* 1\r\nPING\r\n",
            Value::Object(connect),
            link.inbox
        );
        let early = |error: io::Error| self.endpoint.early(&error);
        link.writer
            .write_all(hello.as_bytes())
            .await
            .map_err(early)?;
        link.writer.flush().await.map_err(early)?;
        loop {
            match wire::next(&mut link.reader).await.map_err(early)? {
                Sent::Pong => return Ok(link),
                Sent::Ping => link.writer.write_all(b"PONG\r\n").await.map_err(early)?,
                Sent::Error(error) => return Err(self.refused(&error)),
                _ => {}
            }
        }
    }

    fn version(&self, link: &Link) -> String {
        link.version.clone()
    }

    async fn inspect(&self, link: &mut Link) -> Vec<Check> {
        if self.subject.is_empty() {
            return Vec::new();
        }
        let example = self.example();
        let name = format!("subject {example}");
        let found = match self.streams(link, Some(&example)).await {
            Ok(found) => found,
            Err(fault) => return vec![Check::failed(name, fault.reason().clone())],
        };
        vec![match (found.as_slice(), &self.stream) {
            ([], _) => Check::failed(name, no_stream(&self.endpoint, &example)),
            (found, Some(wanted)) if !found.contains(wanted) => Check::failed(
                name,
                Reason::new(
                    Code::DestinationObject,
                    format!("the stream {wanted} does not listen to {example}"),
                )
                .detail(format!("these do: {}", found.join(", ")))
                .hint("correct `stream`, or add the subject to the stream"),
            ),
            (found, _) => Check::passed(name, format!("kept by {}", found.join(", "))),
        }]
    }

    async fn objects(&self, link: &mut Link) -> Result<Vec<ObjectSchema>, Fault> {
        let names = self.streams(link, None).await?;
        let object = |name: String| ObjectSchema {
            name: name.into(),
            fields: Vec::new(),
        };
        Ok(names.into_iter().map(object).collect())
    }

    async fn publish(
        &self,
        link: &mut Link,
        load: &Load,
        sent: &AtomicBool,
    ) -> Result<Vec<Outcome>, Fault> {
        let first = link.next;
        let mut out = Vec::new();
        let mut outcomes = Vec::with_capacity(load.messages.len());
        for message in &load.messages {
            let reply = link.reply();
            let before = out.len();
            let mut headers = vec![
                ("Nats-Msg-Id", message.idempotency_key.as_str()),
                ("Rowcast-Key", &message.key),
                ("Rowcast-Operation", load.operation.as_str()),
                ("Rowcast-Sync", &load.sync),
                ("Rowcast-Run", &load.run),
            ];
            if let Some(stream) = &self.stream {
                headers.push(("Nats-Expected-Stream", stream));
            }
            push_message(
                &mut out,
                &self.subject_of(message),
                &reply,
                &headers,
                &message.body,
            );
            // The server closes the connection on a message that is too large.
            outcomes.push((out.len() - before > link.payload_max).then(|| {
                out.truncate(before);
                Outcome::Rejected(
                    Reason::new(
                        Code::RecordTooLarge,
                        format!("a record is larger than {} takes", self.endpoint.place()),
                    )
                    .detail(format!("its `max_payload` is {} bytes", link.payload_max))
                    .hint("raise the server's `max_payload`, or map fewer fields"),
                )
            }));
        }
        sent.store(true, Ordering::SeqCst);
        let Link {
            reader,
            writer,
            inbox,
            ..
        } = link;
        let writing = async {
            // A PONG the server may be waiting for goes with every batch.
            let written = match writer.write_all(&out).await {
                Ok(()) => writer.write_all(b"PONG\r\n").await,
                Err(error) => Err(error),
            };
            let flushed = match written {
                Ok(()) => writer.flush().await,
                Err(error) => Err(error),
            };
            flushed.map_err(|error| self.endpoint.lost(&error.to_string()))
        };
        let reading = self.answers(reader, inbox, first, &mut outcomes);
        tokio::try_join!(writing, reading)?;
        let unanswered = || Outcome::Unknown(self.endpoint.garbled("a message has no answer"));
        let outcomes = outcomes.into_iter();
        Ok(outcomes
            .map(|outcome| outcome.unwrap_or_else(unanswered))
            .collect())
    }

    fn show(&self, load: &Load, message: &Message) -> String {
        format!(
            "PUB {} (Nats-Msg-Id: {}, Rowcast-Operation: {})",
            self.subject_of(message),
            message.idempotency_key,
            load.operation
        )
    }
}
