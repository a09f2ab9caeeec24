//! Messages to an exchange or a queue, and the broker's word on each.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rowcast_core::connector::Problems;
use rowcast_core::destination::ObjectSchema;
use rowcast_core::{
    Applied, Check, Code, Destination, DestinationConfig, Fault, Name, Outcome, Reason, Secret,
};
use tokio::io::{AsyncWriteExt as _, BufReader, ReadHalf};

use super::confirm::Confirms;
use super::frame::{self, AROUND, Kind, Write, push_frame};
use super::link::{CHANNEL, Closed, Door, Link};
use crate::broker::{Broker, Load, Message, Protocol};
use crate::connect::{Endpoint, Stream, secret, text};

/// What a routing key may hold.
const KEY: &str = "{{ key }}";
/// A routing key has at most so many bytes.
const ROUTING_KEY_MAX: usize = 255;

pub(crate) fn build(
    config: &DestinationConfig,
    problems: &mut Problems,
) -> Option<Arc<dyn Destination>> {
    let endpoint = Endpoint::read(config, (5672, 5671), problems);
    let routing_key = text(config, "routing_key").unwrap_or_else(|| KEY.to_owned());
    if routing_key.replace(KEY, "").contains("{{") {
        problems.add(
            "settings.routing_key",
            "only {{ key }} can stand here",
            "write it with one blank on each side, as in customers.{{ key }}",
        );
    }
    if config.object.len() > ROUTING_KEY_MAX {
        problems.add("object", "a name has at most 255 bytes", "correct the name");
    }
    let amqp = Amqp {
        door: Door {
            endpoint: endpoint?,
            user: text(config, "user").unwrap_or_else(|| "guest".to_owned()),
            password: secret(config, "password").unwrap_or_else(|| Secret::new("guest".to_owned())),
            vhost: text(config, "vhost").unwrap_or_else(|| "/".to_owned()),
        },
        object: config.object.clone(),
        to_queue: text(config, "to").as_deref() == Some("queue"),
        routing_key,
    };
    Broker::open(amqp, config, problems)
}

struct Amqp {
    door: Door,
    object: Name,
    to_queue: bool,
    routing_key: String,
}

impl Amqp {
    fn exchange(&self) -> &str {
        if self.to_queue { "" } else { &self.object }
    }

    fn routing_key_of(&self, message: &Message) -> String {
        if self.to_queue {
            self.object.to_string()
        } else {
            self.routing_key.replace(KEY, &message.key)
        }
    }

    /// Asks whether the object is there; the server closes the channel when it is not.
    async fn find(&self, link: &mut Link) -> Result<(), Fault> {
        const PASSIVE: u8 = 1;
        let name = self.object.as_ref();
        if self.to_queue {
            let ask = Write::method(50, 10)
                .short(0)
                .text(name)
                .octet(PASSIVE)
                .table(&[]);
            self.door.demand(link, ask.frame(CHANNEL), 50, 11).await?;
        } else {
            let ask = Write::method(40, 10)
                .short(0)
                .text(name)
                .text("")
                .octet(PASSIVE)
                .table(&[]);
            self.door.demand(link, ask.frame(CHANNEL), 40, 11).await?;
        }
        Ok(())
    }

    /// Appends a message: the method, its properties, its body in pieces.
    fn push_message(&self, out: &mut Vec<u8>, load: &Load, message: &Message, frame_max: usize) {
        const MANDATORY: u8 = 1;
        let publish = Write::method(60, 40)
            .short(0)
            .text(self.exchange())
            .text(&self.routing_key_of(message))
            .octet(MANDATORY);
        push_frame(out, 1, CHANNEL, &publish.0);
        // Content type, headers, persistence, message id, type, application.
        let flags = 1 << 15 | 1 << 13 | 1 << 12 | 1 << 7 | 1 << 5 | 1 << 3;
        let header = Write(Vec::new())
            .short(60)
            .short(0)
            .longlong(message.body.len() as u64)
            .short(flags)
            .text("application/json")
            .table(&[
                ("rowcast-key", &message.key),
                ("rowcast-sync", &load.sync),
                ("rowcast-run", &load.run),
            ])
            .octet(2)
            .text(&message.idempotency_key)
            .text(load.operation.as_str())
            .text("rowcast");
        push_frame(out, 2, CHANNEL, &header.0);
        for piece in message.body.as_bytes().chunks(frame_max - AROUND) {
            push_frame(out, 3, CHANNEL, piece);
        }
    }

    /// Reads until every message is settled.
    async fn confirms(
        &self,
        reader: &mut BufReader<ReadHalf<Stream>>,
        confirms: &mut Confirms<'_>,
        alone: bool,
    ) -> Result<(), Fault> {
        let lost = |error: io::Error| self.door.endpoint.lost(&error.to_string());
        let mut returning = None;
        while !confirms.done() {
            let frame = frame::read(reader).await.map_err(lost)?;
            if let Some(closed) = Closed::read(&frame) {
                return Err(self.closed(&closed, alone));
            }
            match frame.kind {
                Kind::Method(60, 80) => confirms.confirm(&frame.content, true).map_err(lost)?,
                Kind::Method(60, 120) => confirms.confirm(&frame.content, false).map_err(lost)?,
                Kind::Method(60, 50) => {
                    returning = Some(Confirms::returning(&frame.content).map_err(lost)?);
                }
                Kind::Header => {
                    if let Some(words) = returning.take() {
                        confirms.came_back(&frame.content, words).map_err(lost)?;
                    }
                }
                // Bodies that came back, heartbeats, alarms: those end, or our time does.
                _ => {}
            }
        }
        Ok(())
    }

    /// The server's last words in the middle of a batch.
    fn closed(&self, closed: &Closed, alone: bool) -> Fault {
        if closed.code == 406 && closed.words.contains("size") {
            let reason = Reason::new(Code::RecordTooLarge, "a record's message is too large")
                .detail(format!("RabbitMQ said: {}", closed.words))
                .hint("raise the broker's `max_message_size`, or map fewer fields");
            return if alone {
                Fault::fatal(reason)
            } else {
                Fault::Split { reason }
            };
        }
        match self.door.closed(closed) {
            Fault::Fatal { reason, .. } => Fault::Fatal {
                applied: Applied::Unknown,
                reason,
            },
            fault => self.door.endpoint.lost(&fault.reason().to_string()),
        }
    }
}

impl Protocol for Amqp {
    type Link = Link;

    fn endpoint(&self) -> &Endpoint {
        &self.door.endpoint
    }

    async fn open(&self) -> Result<Link, Fault> {
        let mut link = self.door.open().await?;
        if !self.object.is_empty() {
            self.find(&mut link).await?;
        }
        Ok(link)
    }

    fn version(&self, link: &Link) -> String {
        link.version.clone()
    }

    async fn inspect(&self, _link: &mut Link) -> Vec<Check> {
        if self.object.is_empty() {
            return Vec::new();
        }
        // `open` has found it.
        vec![Check::passed("object", format!("{} is there", self.object))]
    }

    async fn objects(&self, _link: &mut Link) -> Result<Vec<ObjectSchema>, Fault> {
        Ok(Vec::new())
    }

    async fn publish(
        &self,
        link: &mut Link,
        load: &Load,
        sent: &AtomicBool,
    ) -> Result<Vec<Outcome>, Fault> {
        let mut out = Vec::new();
        let mut outcomes: Vec<Option<Outcome>> = Vec::with_capacity(load.messages.len());
        let mut ids = Vec::with_capacity(load.messages.len());
        for message in &load.messages {
            let long = self.routing_key_of(message).len() > ROUTING_KEY_MAX;
            outcomes.push(long.then(|| {
                Outcome::Rejected(
                    Reason::new(Code::RecordTooLarge, "a record's routing key is too long")
                        .detail("AMQP allows 255 bytes")
                        .hint("give the destination a `routing_key` without the primary key"),
                )
            }));
            if !long {
                self.push_message(&mut out, load, message, link.frame_max);
                ids.push(message.idempotency_key.as_str());
            }
        }
        if ids.is_empty() {
            return Ok(outcomes.into_iter().flatten().collect());
        }
        let alone = ids.len() == 1;
        let mut confirms = Confirms::new(link.next, ids);
        link.next += outcomes.iter().filter(|outcome| outcome.is_none()).count() as u64;
        sent.store(true, Ordering::SeqCst);
        let (reader, writer) = (&mut link.reader, &mut link.writer);
        let writing = async {
            let flushed = match writer.write_all(&out).await {
                Ok(()) => writer.flush().await,
                Err(error) => Err(error),
            };
            flushed.map_err(|error| self.door.endpoint.lost(&error.to_string()))
        };
        // Read while writing: a broker whose answers nobody takes stops to listen.
        let reading = self.confirms(reader, &mut confirms, alone);
        match tokio::try_join!(reading, writing) {
            Ok(_) => {}
            Err(Fault::Fatal { reason, .. }) if alone && reason.code == Code::RecordTooLarge => {
                return Ok(vec![Outcome::Rejected(reason)]);
            }
            Err(fault) => return Err(fault),
        }
        let mut settled = confirms.outcomes().map_err(Fault::lost)?.into_iter();
        let outcomes = outcomes
            .into_iter()
            .map(|outcome| outcome.or_else(|| settled.next()));
        Ok(outcomes.flatten().collect())
    }

    fn show(&self, load: &Load, message: &Message) -> String {
        let exchange = if self.to_queue {
            "the default exchange"
        } else {
            self.exchange()
        };
        format!(
            "publish to {exchange} with routing key {} (message id {}, type {})",
            self.routing_key_of(message),
            message.idempotency_key,
            load.operation
        )
    }
}
