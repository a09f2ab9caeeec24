//! A Kafka cluster within the test's process: librdkafka's mock cluster, and its consumer to read
//! what is in a topic.
//!
//! Writer and reader share no code: the consumer checks every batch's checksum and every length. The
//! mock knows no login, no encryption and no limit of sizes; a `Relay` stands before it for the first
//! two, and `refuse` stands in for the third.

mod relay;

use std::sync::mpsc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Headers as _, Message as _};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

pub use relay::{Numbers, Relay};

/// Longest a reader waits for what is there; only a broken test gets there.
const PATIENCE: Duration = Duration::from_secs(60);

type Cluster = MockCluster<'static, DefaultProducerContext>;
type Command = Box<dyn FnOnce(&Cluster) + Send>;

/// A running cluster.
pub struct Kafka {
    /// The cluster lives on a thread of its own and does what comes here.
    commands: mpsc::Sender<Command>,
    /// Ports of the brokers, in the order of their numbers, which begin at 1.
    pub ports: Vec<u16>,
}

/// What a broker says to a Produce request in place of taking it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    NotEnoughReplicas,
    NotLeader,
    TooLarge,
    NotAllowed,
    /// Taken by the leader, not known to be taken by the others.
    TimedOut,
    /// The connection is closed, without an answer and without effect.
    HangUp,
}

/// A message as a topic holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Produced {
    pub partition: i32,
    pub offset: i64,
    pub key: String,
    /// `None` is a tombstone.
    pub value: Option<String>,
    /// Names and values, in their order.
    pub headers: Vec<(String, String)>,
}

impl Kafka {
    /// Starts a cluster of so many brokers.
    ///
    /// # Panics
    /// It does not start.
    pub fn start(brokers: i32) -> Self {
        let (commands, orders) = mpsc::channel::<Command>();
        let (tell, told) = mpsc::sync_channel(1);
        std::thread::spawn(move || {
            let cluster = Cluster::new(brokers).expect("a mock cluster");
            let _listening = tell.send(cluster.bootstrap_servers());
            for command in orders {
                command(&cluster);
            }
        });
        let servers = told.recv_timeout(PATIENCE).expect("a cluster that runs");
        let port = |server: &str| {
            let (_, port) = server.rsplit_once(':').expect("host and port");
            port.parse().expect("a port")
        };
        Self {
            commands,
            ports: servers.split(',').map(port).collect(),
        }
    }

    fn command<T: Send + 'static>(&self, act: impl FnOnce(&Cluster) -> T + Send + 'static) -> T {
        let (tell, told) = mpsc::sync_channel(1);
        let command: Command = Box::new(move |cluster| {
            let _gone = tell.send(act(cluster));
        });
        self.commands.send(command).expect("the cluster runs");
        told.recv_timeout(PATIENCE).expect("the cluster answers")
    }

    /// The brokers as settings name them.
    pub fn brokers(&self) -> String {
        let brokers = self.ports.iter().map(|port| format!("127.0.0.1:{port}"));
        brokers.collect::<Vec<_>>().join(",")
    }

    /// Makes a topic.
    ///
    /// # Panics
    /// The cluster refuses it.
    pub fn topic(&self, name: &str, partitions: i32) {
        let name = name.to_owned();
        self.command(move |cluster| cluster.create_topic(&name, partitions, 1))
            .expect("a new topic");
    }

    /// Says who leads a partition; `None` leaves it without a leader.
    ///
    /// # Panics
    /// There is no such broker.
    pub fn lead(&self, topic: &str, partition: i32, broker: Option<i32>) {
        let topic = topic.to_owned();
        self.command(move |cluster| cluster.partition_leader(&topic, partition, broker))
            .expect("a leader");
    }

    /// The next Produce requests are answered so, one each.
    pub fn refuse(&self, refusals: &[Refusal]) {
        let codes: Vec<RDKafkaRespErr> = refusals.iter().map(|refusal| refusal.code()).collect();
        self.command(move |cluster| cluster.request_errors(RDKafkaApiKey::Produce, &codes));
    }

    /// The broker of this number, from 1, closes its port and its connections.
    pub fn stop(&self, broker: i32) {
        self.command(move |cluster| cluster.broker_down(broker))
            .expect("a broker that stops");
    }

    /// It listens again.
    pub fn resume(&self, broker: i32) {
        self.command(move |cluster| cluster.broker_up(broker))
            .expect("a broker that comes back");
    }

    /// Everything in a topic, by partition and offset.
    ///
    /// # Panics
    /// It can't be read, or a batch in it is not well formed.
    pub fn messages(&self, topic: &str) -> Vec<Produced> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", self.brokers())
            .set("group.id", "reader")
            .set("enable.auto.commit", "false")
            .set("check.crcs", "true")
            .set("fetch.wait.max.ms", "10")
            .create()
            .expect("a consumer");
        let metadata = consumer
            .fetch_metadata(Some(topic), PATIENCE)
            .expect("the topic's partitions");
        let partitions = metadata.topics()[0].partitions().iter();
        let mut places = TopicPartitionList::new();
        let mut there = 0;
        for partition in partitions.map(rdkafka::metadata::MetadataPartition::id) {
            let (low, high) = consumer
                .fetch_watermarks(topic, partition, PATIENCE)
                .expect("the partition's ends");
            there += high - low;
            places
                .add_partition_offset(topic, partition, Offset::Beginning)
                .expect("a place to begin at");
        }
        consumer.assign(&places).expect("the partitions");
        let mut messages = Vec::new();
        let started = Instant::now();
        while (messages.len() as i64) < there {
            assert!(
                started.elapsed() < PATIENCE,
                "{} of {there} messages of {topic} can be read",
                messages.len()
            );
            if let Some(message) = consumer.poll(Duration::from_millis(100)) {
                messages.push(produced(&message.expect("a well-formed message")));
            }
        }
        messages.sort_by_key(|message| (message.partition, message.offset));
        messages
    }
}

fn produced(message: &rdkafka::message::BorrowedMessage<'_>) -> Produced {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
    let headers = message.headers().into_iter().flat_map(|headers| {
        headers.iter().map(move |header| {
            let value = header.value.map(text).unwrap_or_default();
            (header.key.to_owned(), value)
        })
    });
    Produced {
        partition: message.partition(),
        offset: message.offset(),
        key: message.key().map(text).unwrap_or_default(),
        value: message.payload().map(text),
        headers: headers.collect(),
    }
}

impl Refusal {
    fn code(self) -> RDKafkaRespErr {
        match self {
            Self::NotEnoughReplicas => RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
            Self::NotLeader => RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
            Self::TooLarge => RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE,
            Self::NotAllowed => RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
            Self::TimedOut => RDKafkaRespErr::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
            Self::HangUp => RDKafkaRespErr::RD_KAFKA_RESP_ERR__TRANSPORT,
        }
    }
}
