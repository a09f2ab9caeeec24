//! Messages into a topic: who leads each partition, the producer's numbers, and the leaders' word on
//! every message.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rowcast_core::connector::Problems;
use rowcast_core::destination::ObjectSchema;
use rowcast_core::{
    Check, Code, Destination, DestinationConfig, Fault, Operation, Outcome, Reason,
};

use super::answer::{Meaning, meaning, said};
use super::batch::{self, Compression, Entry, Origin};
use super::delivery::{Delivery, busy};
use super::door::Door;
use super::partition;
use super::produce::{self, Answer};
use super::sasl::{Login, Mechanism};
use super::wire::{INIT_PRODUCER_ID, PRODUCE, Wire};
use crate::broker::{Body, Broker, Load, Message, Protocol, TIMEOUT};
use crate::connect::{Endpoint, flag, secret, text};

/// Topics that `discover` lists at most.
const LISTED_MAX: usize = 1_000;
/// Longest name of a topic.
const TOPIC_MAX: usize = 249;

pub(crate) fn build(
    config: &DestinationConfig,
    problems: &mut Problems,
) -> Option<Arc<dyn Destination>> {
    let endpoints = endpoints(config, problems);
    let topic = &config.object;
    let fits = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if topic.len() > TOPIC_MAX || !topic.chars().all(fits) {
        problems.add(
            "object",
            "a topic's name has at most 249 letters, digits, dots, underscores and hyphens",
            "correct the name",
        );
    }
    let user = text(config, "user");
    let password = secret(config, "password");
    let mechanism = text(config, "mechanism");
    let login = match (user, password) {
        (Some(user), Some(password)) => Some(Login {
            mechanism: Mechanism::named(mechanism.as_deref()),
            user,
            password,
        }),
        (None, None) if mechanism.is_none() => None,
        _ => {
            problems.add(
                "settings",
                "a login needs `user` and `password`",
                "give both, or neither and no `mechanism`",
            );
            None
        }
    };
    let body = Body::read(config);
    let kafka = Kafka {
        door: Door {
            endpoints: endpoints?,
            login,
            topic: topic.clone(),
        },
        compression: Compression::named(text(config, "compression").as_deref()),
        tombstones: flag(config, "tombstones").unwrap_or(body == Body::Fields),
        patience: config.timeout.unwrap_or(TIMEOUT),
    };
    Broker::open(kafka, config, problems)
}

/// The brokers that the settings name.
fn endpoints(config: &DestinationConfig, problems: &mut Problems) -> Option<Vec<Endpoint>> {
    let encrypted = flag(config, "tls").unwrap_or(true);
    let brokers = text(config, "brokers").unwrap_or_default();
    let mut first: Option<Endpoint> = None;
    let mut others = Vec::new();
    for broker in brokers.split(',').map(str::trim) {
        let (host, port) = match broker.rsplit_once(':') {
            Some((host, port)) if !host.ends_with(':') => (host, port.parse().ok()),
            _ => (broker, Some(if encrypted { 9093 } else { 9092 })),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let (false, Some(port @ 1..)) = (host.is_empty(), port) else {
            problems.add(
                "settings.brokers",
                format!("`{broker}` names no broker"),
                "write host:port, several separated by commas",
            );
            return None;
        };
        match &first {
            None => first = Some(Endpoint::at(config, host, port, problems)?),
            Some(first) => others.push(first.elsewhere(host, port)),
        }
    }
    Some(first.into_iter().chain(others).collect())
}

struct Kafka {
    door: Door,
    compression: Compression,
    /// Whether a delete is a message without a value.
    tombstones: bool,
    /// How long a write may take.
    patience: Duration,
}

/// Connections to a cluster, and what is known of it.
pub(crate) struct Link {
    /// For questions about the cluster.
    control: Wire,
    /// Connections to brokers that lead partitions, by their number.
    leaders: BTreeMap<i32, Wire>,
    brokers: BTreeMap<i32, (String, u16)>,
    /// The leader of each partition; −1 is nobody.
    partitions: Vec<i32>,
    cluster: String,
    /// Who writes; begun with the first message.
    producer: Option<Producer>,
}

/// An idempotent producer: the cluster's number for it, and the next message's in each partition.
struct Producer {
    id: i64,
    epoch: i16,
    next: BTreeMap<i32, i32>,
}

impl Kafka {
    /// Looks again who leads what.
    async fn refresh(&self, link: &mut Link) -> Result<(), Fault> {
        let topic = Some(&*self.door.topic);
        let cluster = match self.door.look(&mut link.control, topic).await {
            Err(Fault::Transient { .. }) => {
                link.control = self.door.enter().await?;
                self.door.look(&mut link.control, topic).await?
            }
            other => other?,
        };
        link.partitions = self.door.topic(&cluster)?.leaders;
        link.brokers = cluster.brokers;
        Ok(())
    }

    /// The connection to a broker, opened when there is none.
    async fn leader<'a>(&self, link: &'a mut Link, number: i32) -> Result<&'a mut Wire, Fault> {
        let wire = match link.leaders.remove(&number) {
            Some(wire) => wire,
            None => match link.brokers.get(&number) {
                Some((host, port)) => self.door.enter_at(host, *port).await?,
                None => {
                    return Err(Fault::refused(busy(
                        "Kafka said: nobody leads the partition",
                    )));
                }
            },
        };
        Ok(link.leaders.entry(number).or_insert(wire))
    }

    /// Begins the producer's numbers.
    async fn producer<'a>(&self, link: &'a mut Link) -> Result<&'a mut Producer, Fault> {
        if link.producer.is_none() {
            let ask = produce::begin;
            let asked = match link.control.ask(INIT_PRODUCER_ID, ask).await {
                Err(error) if error.kind() != io::ErrorKind::InvalidData => {
                    // A connection that waited may have been closed meanwhile.
                    link.control = self.door.enter().await?;
                    link.control.ask(INIT_PRODUCER_ID, ask).await
                }
                other => other,
            };
            let read = asked.and_then(|(version, answer)| produce::begun(version, &answer));
            let (code, id, epoch) = read.map_err(|error| self.door.endpoint().early(&error))?;
            if code != 0 {
                return Err(if meaning(code) == Meaning::Barred {
                    self.door.barred(code, None)
                } else {
                    Fault::refused(
                        Reason::new(
                            Code::DestinationBusy,
                            "the cluster gave no number to write under",
                        )
                        .detail(said(code, None))
                        .hint("it is tried again; look at the state of the brokers"),
                    )
                });
            }
            link.producer = Some(Producer {
                id,
                epoch,
                next: BTreeMap::new(),
            });
        }
        link.producer
            .as_mut()
            .ok_or_else(|| Fault::fatal(Reason::defect("a producer was begun and is not there")))
    }

    /// Sends the parts that are next and reads what their leaders say.
    async fn round(
        &self,
        link: &mut Link,
        load: &Load,
        delivery: &mut Delivery,
        sent: &AtomicBool,
    ) -> Result<(), Fault> {
        if delivery.asks_again()
            && let Err(fault) = self.refresh(link).await
        {
            for (partition, _) in delivery.next() {
                delivery.end(partition, &fault);
            }
            return Ok(());
        }
        let mut by_leader: BTreeMap<i32, Vec<(i32, Vec<usize>)>> = BTreeMap::new();
        for (partition, part) in delivery.next() {
            let leader = link.partitions.get(partition as usize).copied();
            let parts = by_leader.entry(leader.unwrap_or(-1)).or_default();
            parts.push((partition, part));
        }
        let mut waiting = Vec::new();
        for (leader, parts) in by_leader {
            let batches = self.batches(link, load, &parts).await?;
            let asked: Vec<i32> = parts.iter().map(|(partition, _)| *partition).collect();
            let wire = match self.leader(link, leader).await {
                Ok(wire) => wire,
                Err(fault @ Fault::Fatal { .. }) => {
                    for partition in asked {
                        delivery.end(partition, &fault);
                    }
                    continue;
                }
                Err(fault) => {
                    for partition in asked {
                        delivery.again(partition, false, fault.reason().clone());
                    }
                    continue;
                }
            };
            sent.store(true, Ordering::SeqCst);
            // The broker must give up before we do, or nobody knows what became of it.
            let patience = i32::try_from(self.patience.as_millis() * 3 / 4).unwrap_or(i32::MAX);
            let request = |_| produce::request(&self.door.topic, patience, &batches);
            let request = wire.send(PRODUCE, request).await;
            waiting.push((leader, asked, request));
        }
        for (leader, asked, request) in waiting {
            let answers = match (request, link.leaders.get_mut(&leader)) {
                (Ok((version, number)), Some(wire)) => wire
                    .receive(number)
                    .await
                    .and_then(|answer| produce::read(version, &answer)),
                (Err(error), _) => Err(error),
                (_, None) => Err(io::ErrorKind::NotConnected.into()),
            };
            match answers {
                Ok(answers) => self.settle(link, delivery, &asked, &answers),
                Err(error) => {
                    link.leaders.remove(&leader);
                    let fault = self.door.endpoint().lost(&error.to_string());
                    for partition in asked {
                        delivery.again(partition, true, fault.reason().clone());
                    }
                }
            }
        }
        Ok(())
    }

    /// Takes a leader's word on what it was asked, and on nothing else.
    fn settle(&self, link: &mut Link, delivery: &mut Delivery, asked: &[i32], answers: &[Answer]) {
        for partition in asked {
            let mut answers = answers.iter();
            let Some(answer) = answers.find(|answer| answer.partition == *partition) else {
                let reason = busy("the broker's answer lacks the partition");
                delivery.again(*partition, true, reason);
                continue;
            };
            let barred = || {
                let fault = self.door.barred(answer.code, answer.words.as_deref());
                fault.reason().clone()
            };
            let taken = delivery.answered(answer, barred);
            if let Some(producer) = &mut link.producer {
                let next = producer.next.entry(*partition).or_default();
                // Numbers begin again at 0 after the largest.
                *next = ((i64::from(*next) + taken as i64) & i64::from(i32::MAX)) as i32;
            }
        }
    }

    /// A batch for each partition, under the producer's next numbers.
    async fn batches(
        &self,
        link: &mut Link,
        load: &Load,
        parts: &[(i32, Vec<usize>)],
    ) -> Result<Vec<(i32, Vec<u8>)>, Fault> {
        let producer = self.producer(link).await?;
        let batches = parts.iter().map(|(partition, part)| {
            let origin = Origin {
                producer: producer.id,
                epoch: producer.epoch,
                sequence: producer.next.get(partition).copied().unwrap_or(0),
            };
            let entries = part
                .iter()
                .map(|place| self.entry(load, &load.messages[*place]));
            let batch = batch::encode(entries, origin, load.started_at / 1_000, self.compression);
            (*partition, batch)
        });
        Ok(batches.collect())
    }

    fn entry<'a>(&self, load: &'a Load, message: &'a Message) -> Entry<'a> {
        let gone = load.operation == Operation::Delete && self.tombstones;
        Entry {
            key: &message.key,
            value: (!gone).then_some(&*message.body),
            headers: [
                ("rowcast-operation", load.operation.as_str()),
                ("rowcast-idempotency-key", &message.idempotency_key),
                ("rowcast-sync", &load.sync),
                ("rowcast-run", &load.run),
            ],
        }
    }
}

impl Protocol for Kafka {
    type Link = Link;

    fn endpoint(&self) -> &Endpoint {
        self.door.endpoint()
    }

    async fn open(&self) -> Result<Link, Fault> {
        let mut control = self.door.enter().await?;
        // Also without a topic it shows whether we are let in.
        let topic = Some(&*self.door.topic).filter(|topic| !topic.is_empty());
        let cluster = self.door.look(&mut control, topic).await?;
        let partitions = match topic {
            Some(_) => self.door.topic(&cluster)?.leaders,
            None => Vec::new(),
        };
        Ok(Link {
            control,
            leaders: BTreeMap::new(),
            cluster: cluster.name.unwrap_or_default(),
            brokers: cluster.brokers,
            partitions,
            producer: None,
        })
    }

    fn version(&self, link: &Link) -> String {
        let brokers = link.brokers.len();
        let plural = if brokers == 1 { "" } else { "s" };
        format!("Kafka cluster {} of {brokers} broker{plural}", link.cluster)
    }

    async fn inspect(&self, link: &mut Link) -> Vec<Check> {
        let topic = &self.door.topic;
        if topic.is_empty() {
            return Vec::new();
        }
        let looked = self.door.look(&mut link.control, Some(topic)).await;
        let found = looked.and_then(|cluster| self.door.topic(&cluster));
        let name = format!("topic {topic}");
        let writable = match found {
            Ok(found) => found.writable,
            Err(fault) => return vec![Check::failed(name, fault.reason().clone())],
        };
        let count = link.partitions.len();
        let plural = if count == 1 { "" } else { "s" };
        let mut checks = vec![match writable {
            Some(false) => Check::failed(name, self.door.barred(29, None).reason().clone()),
            Some(true) => Check::passed(name, format!("{count} partition{plural}, may be written")),
            None => Check::passed(name, format!("{count} partition{plural}")),
        }];
        // Brokers that only the cluster names are the ones that are written to.
        let mut leaders = link.partitions.clone();
        leaders.sort_unstable();
        leaders.dedup();
        let leaderless = leaders.contains(&-1);
        leaders.retain(|leader| *leader != -1);
        let mut unreached = None;
        for leader in &leaders {
            if let Err(fault) = self.leader(link, *leader).await {
                unreached = Some(fault);
                break;
            }
        }
        let name = "leaders";
        checks.push(match unreached {
            Some(fault) => Check::failed(name, fault.reason().clone()),
            None if leaderless => Check::warned(
                name,
                Reason::new(
                    Code::DestinationBusy,
                    format!("some partitions of {topic} have no leader"),
                )
                .hint("records of these partitions wait; look at the state of the brokers"),
            ),
            None => Check::passed(name, format!("{} reached", leaders.len())),
        });
        checks
    }

    async fn objects(&self, link: &mut Link) -> Result<Vec<ObjectSchema>, Fault> {
        let cluster = self.door.look(&mut link.control, None).await?;
        let topics = cluster.topics.into_iter().filter(|topic| !topic.internal);
        let mut found: Vec<ObjectSchema> = topics
            .map(|topic| ObjectSchema {
                name: topic.name.as_str().into(),
                fields: Vec::new(),
            })
            .collect();
        found.sort_by(|a, b| a.name.cmp(&b.name));
        found.truncate(LISTED_MAX);
        Ok(found)
    }

    async fn publish(
        &self,
        link: &mut Link,
        load: &Load,
        sent: &AtomicBool,
    ) -> Result<Vec<Outcome>, Fault> {
        let partitions = link.partitions.len();
        let mut delivery = Delivery::new(load.messages.iter().map(|message| {
            let partition = partition::of(message.key.as_bytes(), partitions);
            (partition, self.entry(load, message).size())
        }));
        while !delivery.next().is_empty() {
            self.round(link, load, &mut delivery, sent).await?;
        }
        if !delivery.is_settled() {
            // Numbers of which the brokers may think otherwise are not used again.
            link.producer = None;
        }
        delivery.finish()
    }

    fn show(&self, load: &Load, message: &Message) -> String {
        let entry = self.entry(load, message);
        let headers = entry.headers.iter();
        let headers: Vec<String> = headers
            .map(|(name, value)| format!("{name}: {value}"))
            .collect();
        format!(
            "produce to {} with key {}{} ({})",
            self.door.topic,
            message.key,
            if entry.value.is_none() {
                ", no value"
            } else {
                ""
            },
            headers.join(", ")
        )
    }
}
