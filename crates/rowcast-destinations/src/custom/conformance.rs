//! Whether a connector keeps the protocol: named checks, each with what was sent and what came back.
//!
//! `rowcast connectors test URL` and `… -- COMMAND` run this. It writes made-up records, and deletes them
//! where the connector can; with `read_only` it stops before the first. Every check can fail: the tests
//! hold a wrong connector against each.

mod made_up;
mod writes;

use std::time::Duration;

use rowcast_core::{Check, DestinationConfig, Operation, Value};

use super::link::{Exchange, Link};
use super::protocol::{self, Field, Object, Request, RpcError, Speed};
use crate::settings::{Problems, SettingProblem};

/// How long a process may take to end after its input has.
const END_WITHIN: Duration = Duration::from_secs(5);

/// How much of a message is kept.
const SHOWN_MAX: usize = 800;

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Short and stable: `list_fields`, `one bad record`.
    pub name: &'static str,
    /// What must hold.
    pub demand: &'static str,
    pub verdict: Verdict,
    /// What was found, one line.
    pub found: String,
    /// The last message that was sent for it, without secrets.
    pub sent: Option<String>,
    /// What came back.
    pub got: Option<String>,
}

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Passed,
    Failed,
    /// Not made, because of an earlier failure or because it does not apply.
    Skipped,
}

/// What is asked of the suite.
#[derive(Debug, Clone, Default)]
pub struct Examination {
    /// The object to write to; the first one listed.
    pub object: Option<String>,
    /// Writes nothing.
    pub read_only: bool,
}

/// Runs the suite against the connector that a configuration names.
///
/// # Errors
/// What is wrong with the configuration. What is wrong with the connector is in the findings.
pub async fn examine(
    config: &DestinationConfig,
    request: &Examination,
) -> Result<Vec<Finding>, Vec<SettingProblem>> {
    let mut problems = Problems::default();
    problems.check_members(&super::descriptor().settings, &config.settings, "settings");
    if !problems.is_empty() {
        return Err(problems.into_vec());
    }
    let Some(link) = super::link(config, &mut problems) else {
        return Err(problems.into_vec());
    };
    let mut suite = Suite {
        link,
        findings: Vec::new(),
        exchange: (None, None),
    };
    suite.run(request).await;
    Ok(suite.findings)
}

struct Suite {
    link: Link,
    findings: Vec<Finding>,
    /// What the present check has sent and got.
    exchange: (Option<String>, Option<String>),
}

/// What the calls that change nothing have told.
struct Known {
    object: Object,
    fields: Vec<Field>,
    operations: Vec<Operation>,
    speed: Speed,
}

/// What is wrong.
type Wrong = String;

impl Suite {
    async fn run(&mut self, request: &Examination) {
        let (checks, reached) = self.link.check().await;
        let failed = checks.iter().find_map(|check| check.reason.as_ref());
        let verdict = match failed {
            Some(reason) => Err(reason.to_string()),
            None => Ok(found_of(&checks)),
        };
        self.note(
            "reached",
            "the address answers, or the program starts",
            verdict,
        );
        if !reached {
            return;
        }
        let told = self.test_connection().await;
        self.note(
            "test_connection",
            "a result with `success`, under the request's `id`",
            told,
        );
        let told = self.unknown_method().await;
        self.note(
            "unknown method",
            "a method that there is not is answered with an error",
            told,
        );
        let known = self.ask(request.object.as_deref()).await;
        match (known, request.read_only) {
            (Some(known), false) => self.write(&known).await,
            (known, _) => {
                let why = match known {
                    Some(_) => "nothing is written, as asked",
                    None => "the checks before it must pass first",
                };
                for (name, demand) in writes::CHECKS {
                    self.skip(name, demand, why);
                }
            }
        }
        self.process().await;
    }

    async fn test_connection(&mut self) -> Result<String, Wrong> {
        let result = self.result(&Request::new("test_connection", "{}")).await?;
        match protocol::connection(&result)? {
            Ok(()) => Ok("it says that it works".to_owned()),
            Err(why) => Err(format!("it says that it does not work: {why}")),
        }
    }

    async fn unknown_method(&mut self) -> Result<String, Wrong> {
        let request = Request::new("rowcast_no_such_method", "{}");
        match self.exchange(&request).await {
            Ok(exchange) => match protocol::read(&exchange.text, &request.id)? {
                Ok(_) => Err("it answered with a result".to_owned()),
                Err(error) => Ok(format!("error {}", error.code)),
            },
            // Over HTTP a status says it as well; a process must live on.
            Err(wrong) if matches!(self.link, Link::Web(_)) => Ok(wrong),
            Err(wrong) => Err(wrong),
        }
    }

    /// The calls that change nothing, in the order in which a run makes them.
    async fn ask(&mut self, wanted: Option<&str>) -> Option<Known> {
        let objects = self.objects().await;
        let object = objects.as_ref().ok().and_then(|objects| {
            let named = |object: &&Object| wanted.is_none_or(|name| *object.api_name == *name);
            objects.iter().find(named).cloned()
        });
        let verdict = objects.and_then(|objects| {
            let names: Vec<&str> = objects.iter().map(|object| &*object.api_name).collect();
            match &object {
                Some(_) => Ok(names.join(", ")),
                None => Err(format!(
                    "there is no object {} among them: {}",
                    wanted.unwrap_or_default(),
                    names.join(", ")
                )),
            }
        });
        self.note(
            "list_objects",
            "at least one object, each listed once with `object_api_name` and `label`",
            verdict,
        );
        let Some(object) = object else {
            for (name, demand) in [OPERATIONS, FIELDS, SPEED] {
                self.skip(name, demand, "there is no object to ask for");
            }
            return None;
        };
        let operations = self.operations(&object).await;
        let verdict = operations.clone().map(|operations| {
            let words: Vec<&str> = operations.iter().map(|known| known.as_str()).collect();
            words.join(", ")
        });
        self.note(OPERATIONS.0, OPERATIONS.1, verdict);
        let fields = self.fields(&object).await;
        let verdict = fields.as_ref().map_err(Clone::clone).map(|fields| {
            let found = fields.iter().filter(|field| field.identifier);
            let names: Vec<&str> = found.map(|field| &*field.api_name).collect();
            format!("{} fields, found by {}", fields.len(), names.join(", "))
        });
        self.note(FIELDS.0, FIELDS.1, verdict);
        let speed = self.speed().await;
        let verdict = speed.as_ref().map_err(Clone::clone).map(|speed| {
            format!(
                "{} records a call, {} calls at once",
                speed.batch, speed.parallel
            )
        });
        self.note(SPEED.0, SPEED.1, verdict);
        Some(Known {
            object,
            fields: fields.ok()?,
            operations: operations.ok()?,
            speed: speed.ok()?,
        })
    }

    async fn objects(&mut self) -> Result<Vec<Object>, Wrong> {
        let result = self.result(&Request::new("list_objects", "{}")).await?;
        let told = protocol::objects(&result)?;
        spotless(&told.complaints)?;
        if told.items.is_empty() {
            return Err("there is none".to_owned());
        }
        Ok(told.items)
    }

    async fn operations(&mut self, object: &Object) -> Result<Vec<Operation>, Wrong> {
        let request = Request::about("supported_operations", object);
        let told = protocol::operations(&self.result(&request).await?)?;
        spotless(&told.complaints)?;
        if told.items.is_empty() {
            return Err("there is none".to_owned());
        }
        Ok(told.items)
    }

    async fn fields(&mut self, object: &Object) -> Result<Vec<Field>, Wrong> {
        let request = Request::about("list_fields", object);
        let told = protocol::fields(&self.result(&request).await?)?;
        spotless(&told.complaints)?;
        if !told.items.iter().any(|field| field.identifier) {
            return Err("no field is an `identifier`: no record could be found again".to_owned());
        }
        Ok(told.items)
    }

    async fn speed(&mut self) -> Result<Speed, Wrong> {
        protocol::speed(&self.result(&Request::new("get_sync_speed", "{}")).await?)
    }

    /// What holds for processes alone.
    async fn process(&mut self) {
        let Link::Process(process) = &self.link else {
            return;
        };
        let strays = process.strays().await;
        let ends = process.ends_with_its_input(END_WITHIN).await;
        self.note(
            "standard output",
            "nothing but answers, one a line; everything else goes to standard error",
            match strays {
                0 => Ok("nothing but answers".to_owned()),
                lines => Err(format!("{lines} lines answered nothing")),
            },
        );
        self.note(
            "end of input",
            "the program ends when its standard input does",
            if ends {
                Ok("it ended".to_owned())
            } else {
                Err(format!("it still runs after {} s", END_WITHIN.as_secs()))
            },
        );
    }

    /// Sends a request and keeps what was sent and what came back.
    async fn exchange(&mut self, request: &Request) -> Result<Exchange, Wrong> {
        self.exchange = (Some(self.shown(&request.text)), None);
        match self.link.exchange(request, None).await {
            Ok(exchange) => {
                self.exchange.1 = Some(self.shown(exchange.text.trim()));
                Ok(exchange)
            }
            Err(fault) => Err(fault.reason().to_string()),
        }
    }

    /// The result of a call, which must be one.
    async fn result(&mut self, request: &Request) -> Result<Value, Wrong> {
        let exchange = self.exchange(request).await?;
        match protocol::read(&exchange.text, &request.id)? {
            Ok(result) => {
                let answer = rowcast_core::json::from_json(exchange.text.trim());
                let version = answer
                    .ok()
                    .and_then(|answer| answer.get("jsonrpc").cloned());
                match version.as_ref().and_then(Value::as_text) {
                    Some("2.0") => Ok(result),
                    _ => Err("its `jsonrpc` is not \"2.0\"".to_owned()),
                }
            }
            Err(error) => Err(in_words(&error)),
        }
    }

    fn shown(&self, text: &str) -> String {
        let mut text = text.to_owned();
        self.link.service().mask(&mut text);
        if let Some((end, _)) = text.char_indices().nth(SHOWN_MAX) {
            text.truncate(end);
            text.push('…');
        }
        text
    }

    fn note(&mut self, name: &'static str, demand: &'static str, told: Result<String, Wrong>) {
        let (sent, got) = std::mem::take(&mut self.exchange);
        let (verdict, found) = match told {
            Ok(found) => (Verdict::Passed, found),
            Err(wrong) => (Verdict::Failed, wrong),
        };
        self.findings.push(Finding {
            name,
            demand,
            verdict,
            found: self.link.service().tidy(&found),
            sent,
            got,
        });
    }

    fn skip(&mut self, name: &'static str, demand: &'static str, why: &str) {
        self.exchange = (None, None);
        self.findings.push(Finding {
            name,
            demand,
            verdict: Verdict::Skipped,
            found: why.to_owned(),
            sent: None,
            got: None,
        });
    }
}

const OPERATIONS: (&str, &str) = (
    "supported_operations",
    "at least one of upsert, insert, update, delete and mirror",
);
const FIELDS: (&str, &str) = (
    "list_fields",
    "each field once with its type and its flags, and at least one identifier",
);
const SPEED: (&str, &str) = (
    "get_sync_speed",
    "the largest batch and the most batches at once, above 0",
);

fn in_words(error: &RpcError) -> String {
    format!("it answered with error {}: {}", error.code, error.message)
}

fn spotless(complaints: &[String]) -> Result<(), Wrong> {
    match complaints {
        [] => Ok(()),
        complaints => Err(complaints.join("; ")),
    }
}

fn found_of(checks: &[Check]) -> String {
    let found: Vec<&str> = checks.iter().map(|check| check.found.as_str()).collect();
    found.join(", ")
}
