//! The checks that write.

use rowcast_core::json::{push_object, to_text};
use rowcast_core::{Name, Object as Record, Operation, Value};

use super::super::batch::Plan;
use super::super::link::Link;
use super::super::protocol::{self, Field, Request};
use super::{Known, Suite, Wrong, made_up};

/// The largest batch that is tried, whatever the connector says it takes.
const BATCH_MAX: usize = 1_000;

/// Calls that are made at once.
const PARALLEL: usize = 4;

/// Their names, and what each demands.
pub(super) const CHECKS: [(&str, &str); 6] = [SYNC, AGAIN, BAD, PARALLEL_CALLS, LARGEST, DELETE];

const SYNC: (&str, &str) = (
    "sync_batch",
    "exactly one result for each record, under its identifier, with `success`",
);
const AGAIN: (&str, &str) = (
    "the same again",
    "a batch whose answer was lost comes twice, and ends the same",
);
const BAD: (&str, &str) = ("one bad record", "it harms only itself: the others succeed");
const PARALLEL_CALLS: (&str, &str) = (
    "calls at once",
    "as many as `maximum_parallel_batches` says, each with its own answer",
);
const LARGEST: (&str, &str) = (
    "the largest batch",
    "as many records as `maximum_batch_size` says, at most 1,000",
);
const DELETE: (&str, &str) = (
    "delete",
    "deleted records are gone, and deleting them again is no failure",
);

/// What an answer said of one record.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Said {
    Success,
    Failure(String),
}

impl Suite {
    /// Everything that writes, and the removal of what was written.
    pub(super) async fn write(&mut self, known: &Known) {
        let by = known.fields.iter().find(|field| field.identifier);
        let operation = [Operation::Upsert, Operation::Insert, Operation::Update]
            .into_iter()
            .find(|operation| known.operations.contains(operation));
        let (Some(by), Some(operation)) = (by, operation) else {
            for (name, demand) in CHECKS {
                self.skip(name, demand, "it takes nothing but deletes");
            }
            return;
        };
        let test = Test {
            known,
            by,
            operation,
        };
        let first: Vec<usize> = (1..=3).collect();
        let records = test.records(&first);
        let said = self.send(&test, operation, &records).await;
        self.note(SYNC.0, SYNC.1, said.clone().map(|said| summary(&said)));
        let Ok(said) = said else {
            for (name, demand) in &CHECKS[1..] {
                self.skip(name, demand, "sync_batch must work first");
            }
            return;
        };
        if operation == Operation::Upsert {
            let told = self.again(&test, &records, &said).await;
            self.note(AGAIN.0, AGAIN.1, told);
        } else {
            self.skip(AGAIN.0, AGAIN.1, "there is no upsert");
        }
        match test.with_a_bad_one() {
            Some(records) => {
                let told = self.one_bad(&test, &records).await;
                self.note(BAD.0, BAD.1, told);
            }
            None => self.skip(BAD.0, BAD.1, "no value of these fields can be wrong"),
        }
        if known.speed.parallel > 1 {
            let told = self.at_once(&test).await;
            self.note(PARALLEL_CALLS.0, PARALLEL_CALLS.1, told);
        } else {
            self.skip(
                PARALLEL_CALLS.0,
                PARALLEL_CALLS.1,
                "it takes one call at a time",
            );
        }
        let most: Vec<usize> = (1..=known.speed.batch.min(BATCH_MAX)).collect();
        let told = self.largest(&test, &most).await;
        self.note(LARGEST.0, LARGEST.1, told);
        if known.operations.contains(&Operation::Delete) {
            let highest = most.len().max(3 + 2 * PARALLEL).max(6);
            let told = self.delete(&test, highest).await;
            self.note(DELETE.0, DELETE.1, told);
        } else {
            let why = "it can't delete: the made-up records stay";
            self.skip(DELETE.0, DELETE.1, why);
        }
    }

    async fn again(
        &mut self,
        test: &Test<'_>,
        records: &[Record],
        before: &[Said],
    ) -> Result<String, Wrong> {
        let said = self.send(test, test.operation, records).await?;
        if said == before {
            Ok("the results are the same".to_owned())
        } else {
            Err(format!("the results differ: {}", summary(&said)))
        }
    }

    async fn one_bad(&mut self, test: &Test<'_>, records: &[Record]) -> Result<String, Wrong> {
        let said = self.send(test, test.operation, records).await?;
        let [before, bad, after] = said.as_slice() else {
            return Err("there are not three results".to_owned());
        };
        for (which, said) in [("before", before), ("after", after)] {
            if let Said::Failure(why) = said {
                return Err(format!("the record {which} it was refused as well: {why}"));
            }
        }
        Ok(match bad {
            Said::Failure(why) if why.is_empty() => {
                return Err("it was refused without an `error_message`".to_owned());
            }
            Said::Failure(why) => format!("refused: {why}"),
            Said::Success => "it was taken: the connector does not mind such values".to_owned(),
        })
    }

    async fn at_once(&mut self, test: &Test<'_>) -> Result<String, Wrong> {
        let calls = test.known.speed.parallel.min(PARALLEL);
        let mut sets = Vec::new();
        for call in 0..calls {
            let numbers: Vec<usize> = (4 + 2 * call..6 + 2 * call)
                .take(test.known.speed.batch)
                .collect();
            sets.push(test.records(&numbers));
        }
        let requests: Vec<Request> = sets
            .iter()
            .map(|records| test.request(test.operation, records))
            .collect();
        let answers = all(&self.link, &requests).await;
        for ((request, records), answer) in requests.iter().zip(&sets).zip(answers) {
            self.exchange.0 = Some(self.shown(&request.text));
            let text = answer?;
            self.exchange.1 = Some(self.shown(text.trim()));
            let result = protocol::read(&text, &request.id)?.map_err(|e| super::in_words(&e))?;
            test.said(&result, records)?;
        }
        Ok(format!("{calls} calls, {calls} answers"))
    }

    async fn largest(&mut self, test: &Test<'_>, numbers: &[usize]) -> Result<String, Wrong> {
        let said = self
            .send(test, test.operation, &test.records(numbers))
            .await?;
        Ok(summary(&said))
    }

    async fn delete(&mut self, test: &Test<'_>, highest: usize) -> Result<String, Wrong> {
        let numbers: Vec<usize> = (1..=highest).collect();
        for part in numbers.chunks(test.known.speed.batch) {
            let records: Vec<Record> = part.iter().map(|number| test.named(*number)).collect();
            for time in ["first", "second"] {
                for said in self.send(test, Operation::Delete, &records).await? {
                    if let Said::Failure(why) = said {
                        return Err(format!("the {time} time one was refused: {why}"));
                    }
                }
            }
        }
        Ok(format!("{highest} records, twice"))
    }

    /// Sends records and reads exactly one result for each.
    async fn send(
        &mut self,
        test: &Test<'_>,
        operation: Operation,
        records: &[Record],
    ) -> Result<Vec<Said>, Wrong> {
        let result = self.result(&test.request(operation, records)).await?;
        test.said(&result, records)
    }
}

/// What the made-up records are written into, and how.
struct Test<'a> {
    known: &'a Known,
    by: &'a Field,
    operation: Operation,
}

impl Test<'_> {
    fn records(&self, numbers: &[usize]) -> Vec<Record> {
        let numbers = numbers.iter().take(self.known.speed.batch);
        numbers
            .map(|number| made_up::record(&self.known.fields, self.by, *number))
            .collect()
    }

    /// A record with nothing but what it is found by.
    fn named(&self, number: usize) -> Record {
        vec![(
            self.by.api_name.clone(),
            made_up::identifier(self.by, number),
        )]
    }

    /// Three records, of which the middle one can't be right.
    fn with_a_bad_one(&self) -> Option<Vec<Record>> {
        let fields = &self.known.fields;
        if self.known.speed.batch < 3 {
            return None;
        }
        Some(vec![
            made_up::record(fields, self.by, 1),
            made_up::bad(fields, self.by, 2)?,
            made_up::record(fields, self.by, 3),
        ])
    }

    fn request(&self, operation: Operation, records: &[Record]) -> Request {
        let plan = Plan {
            object: &self.known.object,
            fields: &self.known.fields,
            identifier: &self.by.api_name,
        };
        let mut text = String::new();
        let mut keys = String::new();
        for (position, record) in records.iter().enumerate() {
            if position > 0 {
                text.push(',');
                keys.push(',');
            }
            push_object(&mut text, record);
            let key = format!("rowcast-test-{operation}-{position}");
            rowcast_core::json::push_string(&mut keys, &key);
        }
        let names = |name: &Name| records.iter().flatten().any(|(known, _)| known == name);
        let fields = self.known.fields.iter();
        let schema: Vec<Field> = fields
            .filter(|field| names(&field.api_name))
            .cloned()
            .collect();
        let params = plan.text(operation, (1, "rowcast-test"), &schema, &text, &keys);
        Request::new("sync_batch", &params)
    }

    /// What an answer says of each record, in the order of the records.
    fn said(&self, result: &Value, records: &[Record]) -> Result<Vec<Said>, Wrong> {
        let Some(Value::List(results)) = result.get("record_results") else {
            return Err("its result has no list `record_results`".to_owned());
        };
        let identifiers: Vec<&Value> = records
            .iter()
            .filter_map(|record| {
                let own = record.iter().find(|(name, _)| *name == self.by.api_name);
                own.map(|(_, value)| value)
            })
            .collect();
        let named = |result: &Value, value: &Value| {
            result.get("identifier").map(to_text) == Some(to_text(value))
        };
        for one in results {
            if !identifiers.iter().any(|value| named(one, value)) {
                let identifier = one.get("identifier").map(to_text).unwrap_or_default();
                return Err(format!(
                    "a result is for `{identifier}`, which was not in the batch"
                ));
            }
        }
        identifiers
            .into_iter()
            .map(|value| {
                let own: Vec<&Value> = results.iter().filter(|one| named(one, value)).collect();
                match own.as_slice() {
                    [one] => said(one, value),
                    several => Err(format!(
                        "there are {} results for {}",
                        several.len(),
                        to_text(value)
                    )),
                }
            })
            .collect()
    }
}

/// In words, how many results there are and why one is a failure.
fn summary(said: &[Said]) -> String {
    let failed = said.iter().find_map(|said| match said {
        Said::Failure(why) => Some(format!("; a made-up record was refused: {why}")),
        Said::Success => None,
    });
    format!(
        "{} results for {} records{}",
        said.len(),
        said.len(),
        failed.unwrap_or_default()
    )
}

fn said(result: &Value, identifier: &Value) -> Result<Said, Wrong> {
    match result.get("success") {
        Some(Value::Bool(true)) => Ok(Said::Success),
        Some(Value::Bool(false)) => Ok(Said::Failure(
            result.get("error_message").map(to_text).unwrap_or_default(),
        )),
        _ => Err(format!(
            "the result for {} has no `success` of true or false",
            to_text(identifier)
        )),
    }
}

/// All answers, of calls that are made at once.
async fn all(link: &Link, requests: &[Request]) -> Vec<Result<String, Wrong>> {
    let mut answers = Vec::new();
    let mut calls: Vec<_> = requests
        .iter()
        .map(|request| Box::pin(link.exchange(request, None)))
        .collect();
    // Polled together: the first wait starts every call.
    let mut done: Vec<Option<Result<String, Wrong>>> = vec![None; calls.len()];
    std::future::poll_fn(|context| {
        for (call, done) in calls.iter_mut().zip(&mut done) {
            if done.is_none()
                && let std::task::Poll::Ready(answer) = call.as_mut().poll(context)
            {
                *done = Some(match answer {
                    Ok(exchange) => Ok(exchange.text),
                    Err(fault) => Err(fault.reason().to_string()),
                });
            }
        }
        if done.iter().all(Option::is_some) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    answers.extend(done.into_iter().flatten());
    answers
}
