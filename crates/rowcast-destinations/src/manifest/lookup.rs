//! The one lookup a manifest may make before it writes: which records the service has already.
//!
//! A lookup changes nothing: whatever goes wrong with it, nothing was written.

use std::collections::HashMap;

use rowcast_core::json::{from_json, to_text};
use rowcast_core::{Code, Fault, Reason, SettingValue, Value};

use super::call::Call;
use super::read::Reader;
use crate::http::answer::Rule;
use crate::http::client::Answer;
use crate::http::outcomes::{dotted, walk};
use crate::http::service::Service;

/// How records are found.
#[derive(Debug)]
pub(super) struct Lookup {
    pub(super) call: Call,
    results: Vec<String>,
    /// The member of a found record, and what of our record it equals; without it the first found
    /// record is meant.
    pair: Option<(Vec<String>, Vec<String>)>,
}

impl Lookup {
    pub(super) fn read(
        value: &SettingValue,
        rules: &[Rule],
        reader: &mut Reader<'_>,
        path: &str,
    ) -> Option<Self> {
        let mut call = Call::read(value, rules, reader, path)?;
        let pair = value.get("pair_by").map(|pair| {
            let record = match pair.get("record") {
                Some(path) => dotted(Some(path)),
                None => vec!["match_value".to_owned()],
            };
            (dotted(pair.get("field")), record)
        });
        if pair.is_some() {
            // It takes as many as the operation that asks.
            call.records_max = usize::MAX;
        }
        Some(Self {
            call,
            results: dotted(value.get("results")),
            pair,
        })
    }

    /// What was found for each record.
    ///
    /// # Errors
    /// The answer can't be understood.
    pub(super) fn found(
        &self,
        records: &[Value],
        answer: &Answer,
        match_field: &str,
        service: &Service,
    ) -> Result<Vec<Option<Value>>, Fault> {
        if self.call.accepts(answer.status) {
            return Ok(vec![None; records.len()]);
        }
        let unreadable = || {
            Fault::fatal(
                Reason::new(
                    Code::DestinationAnswer,
                    format!("the answer of {} to a lookup can't be read", service.host),
                )
                .detail(service.said(answer))
                .hint("compare lookup: of the connector with the service's documentation"),
            )
        };
        let text = std::str::from_utf8(&answer.body).map_err(|_| unreadable())?;
        let body = from_json(text).map_err(|_| unreadable())?;
        let items: Vec<&Value> = match walk(&body, &self.results) {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::List(items)) => items.iter().collect(),
            Some(one) => vec![one],
        };
        let Some((field, own)) = &self.pair else {
            let first = items.first().map(|item| (*item).clone());
            return Ok(vec![first; records.len()]);
        };
        // `match_field` stands for the name of the field that records are found by.
        let field: Vec<String> = field
            .iter()
            .map(|name| {
                if name == "match_field" {
                    match_field
                } else {
                    name
                }
                .to_owned()
            })
            .collect();
        let named = |fold: fn(&str) -> String| -> HashMap<String, &Value> {
            items
                .iter()
                .filter_map(|item| Some((fold(&to_text(walk(item, &field)?)), *item)))
                .collect()
        };
        // Some services change the case of e-mail addresses; what is equal to the letter comes first.
        let (exact, folded) = (named(str::to_owned), named(str::to_lowercase));
        Ok(records
            .iter()
            .map(|record| {
                let value = to_text(walk(record, own)?);
                let found = exact.get(&value);
                let found = found.or_else(|| folded.get(&value.to_lowercase()));
                found.map(|item| (*item).clone())
            })
            .collect())
    }
}
