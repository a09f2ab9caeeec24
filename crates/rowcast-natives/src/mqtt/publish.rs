//! Messages to a server: the login, and a window of messages that wait for their acknowledgements.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rowcast_core::connector::Problems;
use rowcast_core::destination::ObjectSchema;
use rowcast_core::{Check, Code, Destination, DestinationConfig, Fault, Outcome, Reason, Secret};
use tokio::io::{AsyncWriteExt as _, BufReader, ReadHalf, WriteHalf};

use super::packet::{self, Answer, Limits, Said, push_publish};
use super::topic::Topic;
use crate::broker::{Broker, Load, Message, Protocol};
use crate::connect::{Endpoint, Stream, flag, secret, text};

/// Messages in flight at most, whatever the server takes.
const WINDOW_MAX: usize = 1_000;

pub(crate) fn build(
    config: &DestinationConfig,
    problems: &mut Problems,
) -> Option<Arc<dyn Destination>> {
    let endpoint = Endpoint::read(config, (1883, 8883), problems);
    let template = text(config, "topic").unwrap_or_else(|| "{{ object }}".to_owned());
    let topic = Topic::parse(&template, &config.object)
        .map_err(|what| {
            problems.add(
                "settings.topic",
                what,
                "for example \"{{ object }}/{{ key }}\"",
            );
        })
        .ok();
    let mqtt = Mqtt {
        endpoint: endpoint?,
        topic: topic?,
        retain: flag(config, "retain").unwrap_or(false),
        user: text(config, "user"),
        password: secret(config, "password"),
    };
    Broker::open(mqtt, config, problems)
}

struct Mqtt {
    endpoint: Endpoint,
    topic: Topic,
    retain: bool,
    user: Option<String>,
    password: Option<Secret<String>>,
}

/// A connection, logged in.
pub(crate) struct Link {
    reader: BufReader<ReadHalf<Stream>>,
    writer: WriteHalf<Stream>,
    limits: Limits,
}

impl Mqtt {
    /// A login that was refused.
    fn unwelcome(&self, answer: &Answer) -> Fault {
        let said = words(answer);
        match answer.code {
            0x86 | 0x87 | 0x8A | 0x8C => self.endpoint.login_refused(&said),
            0x84 => Fault::fatal(self.endpoint.garbled(&said)),
            _ => Fault::refused(
                Reason::new(
                    Code::DestinationBusy,
                    format!("{} takes no connections now", self.endpoint.place()),
                )
                .detail(said)
                .hint("it is tried again; look at the server's load and limits"),
            ),
        }
    }

    fn rejected(&self, topic: &str, answer: &Answer) -> Reason {
        Reason::new(
            Code::DestinationRejected,
            format!("{} refused a message to {topic}", self.endpoint.place()),
        )
        .detail(words(answer))
        .hint(if answer.code == 0x87 {
            "allow the user to write to this topic"
        } else {
            "look at the server's log"
        })
    }

    /// The packets of a batch, each with its topic; or why it is not sent.
    fn packets(&self, load: &Load, limits: &Limits) -> Vec<Result<(String, Vec<u8>), Reason>> {
        let packet = |(index, message): (usize, &Message)| {
            let topic = self.topic.of(&message.key);
            let mut out = Vec::new();
            // Numbers begin at 1; a batch is smaller than their range.
            let id = u16::try_from(index + 1).unwrap_or(u16::MAX);
            let properties = properties(load, message);
            let body = message.body.as_bytes();
            push_publish(&mut out, id, &topic, self.retain, &properties, body);
            if out.len() > limits.bytes || !Topic::fits(&topic) {
                return Err(Reason::new(
                    Code::RecordTooLarge,
                    format!(
                        "a message of {} bytes is larger than {} takes",
                        out.len(),
                        self.endpoint.place()
                    ),
                )
                .hint("send fewer fields, or raise the server's largest packet"));
            }
            Ok((topic, out))
        };
        load.messages.iter().enumerate().map(packet).collect()
    }
}

/// What stands beside a message's body.
fn properties<'a>(load: &'a Load, message: &'a Message) -> [(&'static str, &'a str); 5] {
    [
        ("key", &message.key),
        ("operation", load.operation.as_str()),
        ("idempotency_key", &message.idempotency_key),
        ("sync", &load.sync),
        ("run", &load.run),
    ]
}

/// The protocol's name of a reason, and the server's own words.
fn words(answer: &Answer) -> String {
    let name = match answer.code {
        0x80 => "unspecified error",
        0x81 => "malformed packet",
        0x82 => "protocol error",
        0x83 => "implementation specific error",
        0x84 => "the protocol's version is not supported",
        0x86 => "bad user name or password",
        0x87 => "not authorized",
        0x88 => "server unavailable",
        0x89 => "server busy",
        0x8A => "banned",
        0x8B => "server shutting down",
        0x8C => "bad authentication method",
        0x90 => "topic name invalid",
        0x93 => "too many messages in flight",
        0x95 => "packet too large",
        0x97 => "quota exceeded",
        0x99 => "payload format invalid",
        _ => "refused",
    };
    let code = answer.code;
    match answer.text.as_str() {
        "" => format!("{name} (0x{code:02X})"),
        text => format!("{name} (0x{code:02X}): {text}"),
    }
}

impl Protocol for Mqtt {
    type Link = Link;

    fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    async fn open(&self) -> Result<Link, Fault> {
        let (reader, mut writer) = tokio::io::split(self.endpoint.open().await?);
        let mut reader = BufReader::new(reader);
        let password = self
            .password
            .as_ref()
            .map(|password| password.reveal().as_str());
        let hello = packet::connect(self.user.as_deref(), password);
        let asked = match writer.write_all(&hello).await {
            Ok(()) => writer.flush().await,
            Err(error) => Err(error),
        };
        asked.map_err(|error| self.endpoint.early(&error))?;
        match packet::read(&mut reader).await {
            Ok(Said::Welcome(Answer { code: 0, .. }, limits)) => {
                if !limits.acknowledges || self.retain && !limits.retains {
                    return Err(Fault::fatal(
                        Reason::new(
                            Code::DestinationObject,
                            format!(
                                "{} does not take acknowledged or retained messages",
                                self.endpoint.place()
                            ),
                        )
                        .hint("it must allow quality of service 1, and retained messages for retain: true"),
                    ));
                }
                Ok(Link {
                    reader,
                    writer,
                    limits,
                })
            }
            Ok(Said::Welcome(answer, _) | Said::Goodbye(answer)) => Err(self.unwelcome(&answer)),
            Ok(Said::Taken(..)) => Err(Fault::fatal(
                self.endpoint
                    .garbled("a message was acknowledged before any was sent"),
            )),
            Err(error) => Err(self.endpoint.early(&error)),
        }
    }

    fn version(&self, link: &Link) -> String {
        format!("MQTT 5, {} messages in flight", link.limits.messages)
    }

    async fn inspect(&self, _: &mut Link) -> Vec<Check> {
        // Whether a topic may be written to is known only by writing.
        Vec::new()
    }

    async fn objects(&self, _: &mut Link) -> Result<Vec<ObjectSchema>, Fault> {
        Ok(Vec::new())
    }

    async fn publish(
        &self,
        link: &mut Link,
        load: &Load,
        sent: &AtomicBool,
    ) -> Result<Vec<Outcome>, Fault> {
        let packets = self.packets(load, &link.limits);
        let window = usize::from(link.limits.messages).min(WINDOW_MAX);
        let lost = |error: io::Error| self.endpoint.lost(&error.to_string());
        let mut outcomes: Vec<Option<Outcome>> = vec![None; packets.len()];
        let mut waiting: HashMap<u16, usize> = HashMap::new();
        let mut next = 0;
        while next < packets.len() || !waiting.is_empty() {
            let mut out = Vec::new();
            while next < packets.len() && waiting.len() < window {
                match &packets[next] {
                    Ok((_, packet)) => {
                        out.extend_from_slice(packet);
                        waiting.insert(u16::try_from(next + 1).unwrap_or(u16::MAX), next);
                    }
                    Err(reason) => outcomes[next] = Some(Outcome::Rejected(reason.clone())),
                }
                next += 1;
            }
            if !out.is_empty() {
                sent.store(true, Ordering::SeqCst);
                link.writer.write_all(&out).await.map_err(lost)?;
                link.writer.flush().await.map_err(lost)?;
            }
            if waiting.is_empty() {
                continue;
            }
            match packet::read(&mut link.reader).await.map_err(lost)? {
                Said::Taken(id, answer) => {
                    let Some(index) = waiting.remove(&id) else {
                        return Err(self.endpoint.lost("a message was acknowledged twice"));
                    };
                    outcomes[index] = Some(match &packets[index] {
                        Ok((topic, _)) if answer.code >= 0x80 => {
                            Outcome::Rejected(self.rejected(topic, &answer))
                        }
                        _ => Outcome::Delivered,
                    });
                }
                Said::Goodbye(answer) => return Err(self.endpoint.lost(&words(&answer))),
                Said::Welcome(..) => return Err(self.endpoint.lost("a second welcome")),
            }
        }
        let missing = || {
            Outcome::Unknown(Reason::defect(
                "a message was neither sent nor acknowledged",
            ))
        };
        Ok(outcomes
            .into_iter()
            .map(|outcome| outcome.unwrap_or_else(missing))
            .collect())
    }

    fn show(&self, load: &Load, message: &Message) -> String {
        let properties = properties(load, message);
        let properties = properties
            .iter()
            .map(|(name, value)| format!("{name} {value}"));
        let properties: Vec<String> = properties.collect();
        format!(
            "PUBLISH {} qos 1{} {}",
            self.topic.of(&message.key),
            if self.retain { " retain" } else { "" },
            properties.join(" ")
        )
    }
}
