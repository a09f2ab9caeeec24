//! Connections to brokers: those that the settings name, and those that the cluster advertises.
//!
//! An advertised broker is no more trusted than the settings: its name is looked up here, its address
//! must be permitted, its certificate must be for its name.

use std::io;

use rowcast_core::{Code, Fault, Name, Reason};
use tokio::time::timeout;

use super::answer::{remedy, said};
use super::metadata::{self, Cluster, Topic};
use super::sasl::{Login, Mechanism, Proof};
use super::wire::{
    INIT_PRODUCER_ID, METADATA, PRODUCE, Read, SASL_AUTHENTICATE, SASL_HANDSHAKE, Wire, Write,
};
use crate::connect::Endpoint;

/// The ways in.
pub(super) struct Door {
    /// At least one.
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) login: Option<Login>,
    /// The topic, or empty.
    pub(super) topic: Name,
}

impl Door {
    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoints[0]
    }

    /// A connection to the first broker of the settings that lets us in.
    ///
    /// # Errors
    /// What the last one said; a refused login ends it at once.
    pub(super) async fn enter(&self) -> Result<Wire, Fault> {
        let mut last = None;
        for endpoint in &self.endpoints {
            match self.open(endpoint).await {
                Ok(wire) => return Ok(wire),
                Err(fault) if fault.reason().code == Code::DestinationAuth => return Err(fault),
                Err(fault) => last = Some(fault),
            }
        }
        Err(last.unwrap_or_else(|| Fault::fatal(Reason::defect("a Kafka cluster has no brokers"))))
    }

    /// A connection to a broker that the cluster names.
    ///
    /// # Errors
    /// It can't be reached or does not let us in.
    pub(super) async fn enter_at(&self, host: &str, port: u16) -> Result<Wire, Fault> {
        let endpoint = self.endpoint().elsewhere(host, port);
        let advertised = |mut reason: Reason| {
            reason.message = format!("{}, where the cluster says a broker is", reason.message);
            reason
        };
        self.open(&endpoint).await.map_err(|fault| match fault {
            Fault::Transient {
                after,
                applied,
                reason,
            } => Fault::Transient {
                after,
                applied,
                reason: advertised(reason).hint(
                    "the cluster advertises this address to its clients (`advertised.listeners`): it must be one that this machine can reach",
                ),
            },
            Fault::Fatal { applied, reason } => Fault::Fatal {
                applied,
                reason: advertised(reason),
            },
            split @ Fault::Split { .. } => split,
        })
    }

    /// Connects and logs in, or gives up in time for another broker.
    async fn open(&self, endpoint: &Endpoint) -> Result<Wire, Fault> {
        let patience = endpoint.patience();
        let opening = timeout(patience, self.introduce(endpoint));
        opening.await.unwrap_or_else(|_| {
            let seconds = patience.as_secs_f32();
            Err(Fault::refused(endpoint.unreachable(&format!(
                "it said nothing that ends the login within {seconds} s"
            ))))
        })
    }

    async fn introduce(&self, endpoint: &Endpoint) -> Result<Wire, Fault> {
        let stream = endpoint.open().await?;
        let wire = Wire::new(stream).await;
        let mut wire = wire.map_err(|error| endpoint.early(&error))?;
        for api in [METADATA, PRODUCE, INIT_PRODUCER_ID] {
            wire.version(api).map_err(|error| endpoint.early(&error))?;
        }
        if let Some(login) = &self.login {
            log_in(endpoint, login, &mut wire).await?;
        }
        Ok(wire)
    }

    /// What the cluster says of one topic, or of all.
    ///
    /// # Errors
    /// The broker is gone, or does not speak to strangers.
    pub(super) async fn look(
        &self,
        wire: &mut Wire,
        topic: Option<&str>,
    ) -> Result<Cluster, Fault> {
        let asked = wire.ask(METADATA, |version| metadata::request(version, topic));
        let read = match asked.await {
            Ok((version, answer)) => metadata::read(version, &answer),
            Err(error) => Err(error),
        };
        read.map_err(|error| {
            if self.login.is_none() && error.kind() == io::ErrorKind::UnexpectedEof {
                return Fault::refused(self.endpoint().unreachable(
                    "the broker closed the connection: it may be stopping, or want a login",
                ));
            }
            self.endpoint().early(&error)
        })
    }

    /// The topic in an answer.
    ///
    /// # Errors
    /// It is not there, or not for us.
    pub(super) fn topic(&self, cluster: &Cluster) -> Result<Topic, Fault> {
        let mut topics = cluster.topics.iter();
        let Some(topic) = topics.find(|topic| topic.name == *self.topic) else {
            return Err(Fault::fatal(
                self.endpoint()
                    .garbled("the cluster's answer lacks the topic"),
            ));
        };
        match topic.code {
            0 if topic.leaders.is_empty() => Err(self.barred(3, None)),
            0 => Ok(topic.clone()),
            // A topic that was made a moment ago.
            5 => Err(Fault::refused(
                Reason::new(
                    Code::DestinationBusy,
                    format!("the topic {} has no leaders yet", self.topic),
                )
                .detail(said(5, None))
                .hint("it is tried again; look at the state of the brokers"),
            )),
            code => Err(self.barred(code, None)),
        }
    }

    /// Nothing is taken before a person acts.
    pub(super) fn barred(&self, code: i16, words: Option<&str>) -> Fault {
        let message = match code {
            3 => format!("there is no topic {}", self.topic),
            _ => format!(
                "can't write to the topic {} of destination `{}`",
                self.topic,
                self.endpoint().destination()
            ),
        };
        Fault::fatal(
            Reason::new(Code::DestinationObject, message)
                .detail(said(code, words))
                .hint(remedy(code, &self.topic)),
        )
    }
}

async fn log_in(endpoint: &Endpoint, login: &Login, wire: &mut Wire) -> Result<(), Fault> {
    let wanted = login.mechanism.as_str();
    let asked = wire.ask(SASL_HANDSHAKE, |_| Write::default().text(wanted));
    let (_, answer) = asked.await.map_err(|error| endpoint.early(&error))?;
    let mut content = Read(&answer);
    let mut handshake = || {
        let code = content.short()?;
        let mut offered = Vec::new();
        for _ in 0..content.count()? {
            offered.extend(content.text()?);
        }
        Ok((code, offered.join(", ")))
    };
    let (code, offered) = handshake().map_err(|error| endpoint.early(&error))?;
    let refused = |hint: &str| {
        Fault::fatal(
            Reason::new(
                Code::DestinationAuth,
                format!("{} takes no login by {wanted}", endpoint.place()),
            )
            .detail(format!("{}; it offers: {offered}", said(code, None)))
            .hint(hint),
        )
    };
    match code {
        0 => {}
        33 => return Err(refused("set `mechanism` to one that the broker offers")),
        _ => {
            return Err(refused(
                "name a listener of the broker that takes logins (SASL), or leave `user` and `password` out",
            ));
        }
    }

    if login.mechanism == Mechanism::Plain {
        prove(endpoint, wire, &login.plain()).await?;
        return Ok(());
    }
    let scram = login
        .scram()
        .map_err(|why| Fault::refused(endpoint.unreachable(why)))?;
    let challenge = prove(endpoint, wire, scram.first().as_bytes()).await?;
    let (last, proof) = scram
        .last(&challenge)
        .map_err(|why| Fault::fatal(endpoint.garbled(&why)))?;
    let end = prove(endpoint, wire, last.as_bytes()).await?;
    if proof.is_given_by(&end) {
        Ok(())
    } else {
        Err(endpoint.login_refused(&Proof::refusal(&end)))
    }
}

/// One step of a login: what we say, and what the broker answers.
async fn prove(endpoint: &Endpoint, wire: &mut Wire, words: &[u8]) -> Result<String, Fault> {
    let asked = wire.ask(SASL_AUTHENTICATE, |_| Write::default().bytes(words));
    let (_, answer) = asked.await.map_err(|error| endpoint.early(&error))?;
    let mut content = Read(&answer);
    let mut read = || {
        let code = content.short()?;
        let words = content.text()?;
        Ok((
            code,
            words,
            String::from_utf8_lossy(content.bytes()?).into_owned(),
        ))
    };
    match read().map_err(|error| endpoint.early(&error))? {
        (0, _, answer) => Ok(answer),
        (code, words, _) => Err(endpoint.login_refused(&said(code, words.as_deref()))),
    }
}
