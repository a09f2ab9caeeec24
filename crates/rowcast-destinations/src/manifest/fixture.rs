//! Fixtures: records, the exact requests they must become, the service's answers, and what must
//! come of them. Documentation and test in one.
//!
//! A fixture runs the real destination against a server on this machine that knows nothing but the
//! recorded exchange.

mod server;

use std::sync::Arc;
use std::time::Duration;

use rowcast_core::json::{from_json, to_json};
use rowcast_core::record::{Batch, Operation, Record, RunContext};
use rowcast_core::settings::parse_duration;
use rowcast_core::{
    Code, DestinationConfig, Fault, Key, Mode, Name, Object, Outcome, SettingValue, Value,
};

use super::body::plain;
use super::object::text;
use super::vocabulary::METHODS;
use super::{ENDPOINT, Manifest, build, fixture_vocabulary};
use crate::settings::{Problems, SettingProblem};

/// One recorded story.
#[derive(Debug)]
pub struct Fixture {
    why: String,
    settings: SettingValue,
    object: String,
    operation: Operation,
    /// Match values and fields of each record.
    records: Vec<(Object, Object)>,
    exchange: Vec<Exchange>,
    expected: Expected,
}

/// One request and its answer.
#[derive(Debug, Clone)]
pub(super) struct Exchange {
    /// Method and whole URL; any when `None`.
    call: Option<(String, String)>,
    headers: Vec<(String, String)>,
    json: Option<Value>,
    form: Option<Vec<(String, String)>>,
    pub(super) answer: FixtureAnswer,
}

/// What the service says.
#[derive(Debug, Clone)]
pub(super) struct FixtureAnswer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: String,
}

#[derive(Debug)]
enum Expected {
    Outcomes(Vec<ExpectedOutcome>),
    Fault(String, Option<Duration>),
}

#[derive(Debug)]
enum ExpectedOutcome {
    Delivered,
    Rejected(String),
    Unknown(String),
    Coded(Code),
}

/// What a fixture shows, for the rules that every connector's fixtures keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shows {
    /// Every record is delivered.
    Accepted,
    /// At least one record is rejected.
    Rejected,
    /// Status 429 makes the engine wait.
    Slower,
    /// Status 401 stops the run.
    Unauthorized,
    Other,
}

/// What the fixtures of a connector must show and these don't.
pub fn missing_stories(shown: &[Shows]) -> Vec<String> {
    [
        (
            Shows::Accepted,
            "no fixture shows records that are all accepted",
        ),
        (
            Shows::Rejected,
            "no fixture shows a record that is rejected",
        ),
        (Shows::Slower, "no fixture shows the status 429"),
        (Shows::Unauthorized, "no fixture shows the status 401"),
    ]
    .into_iter()
    .filter(|(story, _)| !shown.contains(story))
    .map(|(_, words)| words.to_owned())
    .collect()
}

impl Fixture {
    /// Reads a fixture from its tree.
    ///
    /// # Errors
    /// Every problem, with the path of the key.
    pub fn read(tree: &SettingValue) -> Result<Self, Vec<SettingProblem>> {
        let mut problems = Problems::default();
        problems.check_tree(&fixture_vocabulary(), tree);
        if !problems.is_empty() {
            return Err(problems.into_vec());
        }
        let fixture = Self::read_checked(tree, &mut problems);
        match fixture {
            Some(fixture) if problems.is_empty() => Ok(fixture),
            _ => Err(problems.into_vec()),
        }
    }

    fn read_checked(tree: &SettingValue, problems: &mut Problems) -> Option<Self> {
        let mut records = Vec::new();
        let mut operations = Vec::new();
        let items = tree.get("records")?.items();
        for (position, item) in items.iter().enumerate() {
            let mut given = Operation::ALL
                .into_iter()
                .filter_map(|operation| Some((operation, item.get(operation.as_str())?)));
            let (Some((operation, fields)), None) = (given.next(), given.next()) else {
                problems.add(
                    format!("records[{position}]"),
                    "a record has exactly one operation",
                    "for example upsert: { email: a@example.com }",
                );
                return None;
            };
            operations.push(operation);
            let matching = item.get("match").map(object).unwrap_or_default();
            records.push(match operation {
                Operation::Delete if matching.is_empty() => (object(fields), Vec::new()),
                _ => (matching, object(fields)),
            });
        }
        let operation = *operations.first()?;
        if operations.iter().any(|other| *other != operation) {
            problems.add("records", "a batch has one operation", "write two fixtures");
        }
        let expected = match (tree.get("outcomes"), text(tree, "fault")) {
            (Some(list), None) => Expected::Outcomes(list.items().iter().map(outcome).collect()),
            (None, Some(word)) => {
                let after = text(tree, "after").and_then(|text| parse_duration(&text));
                Expected::Fault(word, after)
            }
            _ => {
                problems.add(
                    "outcomes",
                    "a fixture has either outcomes or a fault",
                    "say what must become of the records",
                );
                return None;
            }
        };
        Some(Self {
            why: text(tree, "why")?,
            settings: tree.get("settings").cloned().unwrap_or_default(),
            object: text(tree, "object").unwrap_or_default(),
            operation,
            records,
            exchange: tree.get("exchange")?.items().iter().map(exchange).collect(),
            expected,
        })
    }

    /// What it shows, in its own words.
    pub fn why(&self) -> &str {
        &self.why
    }

    /// The operation of its records.
    pub fn operation(&self) -> Operation {
        self.operation
    }

    /// What it shows.
    pub fn shows(&self) -> Shows {
        let status = self.exchange.last().map(|exchange| exchange.answer.status);
        match &self.expected {
            Expected::Outcomes(all)
                if all
                    .iter()
                    .all(|one| matches!(one, ExpectedOutcome::Delivered)) =>
            {
                Shows::Accepted
            }
            Expected::Outcomes(all)
                if all.iter().any(|one| {
                    matches!(
                        one,
                        ExpectedOutcome::Rejected(_) | ExpectedOutcome::Coded(_)
                    )
                }) =>
            {
                Shows::Rejected
            }
            Expected::Fault(word, _) if word == "transient" && status == Some(429) => Shows::Slower,
            Expected::Fault(word, _) if word == "fatal" && status == Some(401) => {
                Shows::Unauthorized
            }
            _ => Shows::Other,
        }
    }

    /// Runs it. The answer is what did not fit; nothing when all did.
    pub async fn run(&self, manifest: &Arc<Manifest>) -> Vec<String> {
        let mut config = self.config();
        // The settings alone first: where the requests would go without a server of ours.
        if let Err(problems) = build(manifest, &config) {
            return problems
                .into_iter()
                .map(|problem| problem.reason.to_string())
                .collect();
        }
        let Some(origin) = super::open::origin(manifest, &config) else {
            return vec!["the settings make no address".to_owned()];
        };
        let server = match server::Server::start(self.exchange.clone(), origin).await {
            Ok(server) => server,
            Err(error) => return vec![format!("no port of this machine is free: {error}")],
        };
        let endpoint = SettingValue::Text(format!("http://{}", server.address));
        if let SettingValue::Null = config.settings {
            config.settings = SettingValue::Map(Vec::new());
        }
        if let SettingValue::Map(members) = &mut config.settings {
            members.push((ENDPOINT.to_owned(), endpoint));
        }
        config.allow_addresses = vec!["127.0.0.1/32".to_owned()];
        let destination = match build(manifest, &config) {
            Ok(destination) => destination,
            Err(problems) => {
                return problems
                    .into_iter()
                    .map(|problem| problem.reason.to_string())
                    .collect();
            }
        };
        let answer = destination.write(&self.batch()).await;
        let mut wrong = server.finish();
        // A request that was refused for not being the expected one explains what follows from it.
        if wrong.is_empty() {
            self.compare(answer, &mut wrong);
        }
        wrong
    }

    fn config(&self) -> DestinationConfig {
        let fields = self.records.first();
        DestinationConfig {
            object: self.object.as_str().into(),
            mode: match self.operation {
                Operation::Insert => Mode::Insert,
                Operation::Update => Mode::Update,
                Operation::Upsert => Mode::Upsert,
                Operation::Delete => Mode::Delete,
            },
            match_fields: fields
                .map(|(matching, _)| matching.iter().map(|(name, _)| name.clone()).collect())
                .unwrap_or_default(),
            key_columns: vec!["id".into()],
            ..DestinationConfig::new("fixture", self.settings.clone())
        }
    }

    fn batch(&self) -> Batch {
        let records = self.records.iter().zip(1_i64..);
        Batch {
            intent: 1,
            operation: self.operation,
            records: records
                .map(|((matching, fields), id)| Record {
                    key: Key::int(id),
                    operation: self.operation,
                    kind: self.operation.usual_kind(),
                    match_on: matching.clone(),
                    fields: fields.clone(),
                    json: None,
                    raw: None,
                    idempotency_key: format!("key-{id}"),
                    checksum: None,
                    doubtful: false,
                })
                .collect(),
            context: Arc::new(RunContext {
                sync: "fixture".into(),
                sync_id: "fixture".into(),
                run: 1,
                epoch: 1,
                generation: 1,
                object: self.object.as_str().into(),
                key_columns: vec!["id".into()],
                started_at: 0,
            }),
        }
    }

    fn compare(&self, answer: Result<Vec<Outcome>, Fault>, wrong: &mut Vec<String>) {
        match (&self.expected, answer) {
            (Expected::Outcomes(expected), Ok(outcomes)) => {
                if expected.len() != outcomes.len() {
                    wrong.push(format!(
                        "{} outcomes are expected for {} records",
                        expected.len(),
                        outcomes.len()
                    ));
                }
                for (position, (expected, outcome)) in expected.iter().zip(&outcomes).enumerate() {
                    if !expected.fits(outcome) {
                        wrong.push(format!(
                            "record {}: expected {expected:?}, it is {}",
                            position + 1,
                            words(outcome)
                        ));
                    }
                }
            }
            (Expected::Fault(word, after), Err(fault)) => {
                let (is, wait) = match &fault {
                    Fault::Transient { after, .. } => ("transient", *after),
                    Fault::Split { .. } => ("split", None),
                    Fault::Fatal { .. } => ("fatal", None),
                };
                if is != word {
                    wrong.push(format!("expected {word}, it is {is}: {}", fault.reason()));
                } else if after.is_some() && *after != wait {
                    wrong.push(format!("expected a wait of {after:?}, it is {wait:?}"));
                }
            }
            (Expected::Outcomes(_), Err(fault)) => {
                wrong.push(format!("expected outcomes, it failed: {}", fault.reason()));
            }
            (Expected::Fault(word, _), Ok(outcomes)) => {
                let words: Vec<String> = outcomes.iter().map(words).collect();
                wrong.push(format!("expected {word}, it is {}", words.join(", ")));
            }
        }
    }
}

impl ExpectedOutcome {
    fn fits(&self, outcome: &Outcome) -> bool {
        let said = |reason: &rowcast_core::Reason, words: &str| reason.to_string().contains(words);
        match (self, outcome) {
            (Self::Delivered, Outcome::Delivered) => true,
            (Self::Rejected(words), Outcome::Rejected(reason))
            | (Self::Unknown(words), Outcome::Unknown(reason)) => said(reason, words),
            (Self::Coded(code), Outcome::Rejected(reason)) => reason.code == *code,
            _ => false,
        }
    }
}

fn words(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Delivered => "delivered".into(),
        Outcome::Accepted => "accepted".into(),
        Outcome::Rejected(reason) => format!("rejected ({reason})"),
        Outcome::Unknown(reason) => format!("unknown ({reason})"),
    }
}

fn object(tree: &SettingValue) -> Object {
    match plain(tree) {
        Value::Object(members) => members,
        _ => Vec::new(),
    }
}

fn outcome(value: &SettingValue) -> ExpectedOutcome {
    match value.as_text() {
        Some("delivered") => ExpectedOutcome::Delivered,
        Some("not_found") => ExpectedOutcome::Coded(Code::NotFound),
        Some("already_exists") => ExpectedOutcome::Coded(Code::AlreadyExists),
        Some(_) => ExpectedOutcome::Unknown(String::new()),
        None => match text(value, "rejected") {
            Some(words) => ExpectedOutcome::Rejected(words),
            None => ExpectedOutcome::Unknown(text(value, "unknown").unwrap_or_default()),
        },
    }
}

fn pairs(value: Option<&SettingValue>) -> Vec<(String, String)> {
    value
        .map_or(&[][..], SettingValue::members)
        .iter()
        .map(|(name, _)| {
            (
                name.clone(),
                value.and_then(|v| text(v, name)).unwrap_or_default(),
            )
        })
        .collect()
}

fn exchange(value: &SettingValue) -> Exchange {
    let request = value.get("request");
    let answer = value.get("answer");
    let method = METHODS
        .iter()
        .find_map(|method| Some((method.to_uppercase(), text(request?, method)?)));
    let of_answer = |name| answer.and_then(|answer| answer.get(name));
    Exchange {
        call: method,
        headers: pairs(request.and_then(|request| request.get("headers"))),
        json: request.and_then(|request| request.get("json")).map(plain),
        form: request
            .and_then(|request| request.get("form"))
            .map(|form| pairs(Some(form))),
        answer: FixtureAnswer {
            status: of_answer("status")
                .and_then(SettingValue::as_u64)
                .map_or(200, |status| status as u16),
            headers: pairs(of_answer("headers")),
            body: match (of_answer("json"), of_answer("text")) {
                (Some(tree), _) => to_json(&plain(tree)),
                (None, Some(text)) => text.as_text().unwrap_or_default().to_owned(),
                (None, None) => String::new(),
            },
        },
    }
}

impl Exchange {
    /// What of a request is not as expected.
    pub(super) fn differs(
        &self,
        origin: &str,
        method: &str,
        target: &str,
        headers: &[(String, String)],
        body: &[u8],
    ) -> Vec<String> {
        let mut wrong = Vec::new();
        if let Some((expected_method, expected_url)) = &self.call {
            let url = format!("{origin}{target}");
            if expected_method != method || *expected_url != url {
                wrong.push(format!(
                    "expected {expected_method} {expected_url}, it is {method} {url}"
                ));
            }
        }
        for (name, expected) in &self.headers {
            let found = headers
                .iter()
                .find(|(other, _)| other.eq_ignore_ascii_case(name))
                .map(|(_, value)| value.as_str());
            if found != Some(expected) {
                wrong.push(format!(
                    "header {name}: expected {expected:?}, it is {found:?}"
                ));
            }
        }
        let text = String::from_utf8_lossy(body);
        if let Some(expected) = &self.json {
            let found = from_json(&text).ok();
            if !found.as_ref().is_some_and(|found| same(found, expected)) {
                wrong.push(format!(
                    "expected the body {}, it is {text}",
                    to_json(expected)
                ));
            }
        }
        if let Some(expected) = &self.form {
            let found: Vec<(String, String)> =
                url::form_urlencoded::parse(body).into_owned().collect();
            if found != *expected {
                wrong.push(format!("expected the form {expected:?}, it is {found:?}"));
            }
        }
        wrong
    }
}

/// Whether two values say the same, whatever the order of members.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Object(a), Value::Object(b)) => {
            let there =
                |(name, value): &(Name, Value)| b.iter().any(|(n, v)| n == name && same(value, v));
            a.len() == b.len() && a.iter().all(there)
        }
        (Value::List(a), Value::List(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (a, b) => to_json(a) == to_json(b),
    }
}
