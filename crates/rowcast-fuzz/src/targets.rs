//! The targets with their invariants.

use std::sync::Arc;

use rowcast_core::json::{from_json, to_json};
use rowcast_core::mapping::template::{MAX_OUTPUT, Template};
use rowcast_core::{
    Batch, DestinationConfig, Key, KeyPart, Mode, Operation, Outcome, Record, RunContext,
    SettingValue, Value,
};
use rowcast_destinations::http::fuzzed::outcomes;
use rowcast_postgres::ledger::fuzzed::{copy_fields, copy_value};
use rowcast_postgres::model_text;

use crate::INPUT_MAX;

fn text(data: &[u8]) -> Option<&str> {
    std::str::from_utf8(data.get(..INPUT_MAX).unwrap_or(data)).ok()
}

/// Configuration: see `rowcast_config::fuzzed::yaml`.
pub fn yaml(data: &[u8]) {
    if let Some(text) = text(data) {
        rowcast_config::fuzzed::yaml(text);
    }
}

/// A template, a NUL, and the value of every column it names: evaluation is pure and bounded, and
/// a value in a URL's path stays within its segment, whatever it is.
///
/// # Panics
/// That does not hold.
pub fn template(data: &[u8]) {
    let Some(text) = text(data) else { return };
    let (source, value) = text.split_once('\0').unwrap_or((text, "x"));
    let column = |name: &str, value: Value| vec![(name.into(), value)];
    let value = from_json(value).unwrap_or_else(|_| Value::Text(value.into()));
    if let Ok(template) = Template::compile(source) {
        let context: Vec<_> = template
            .columns()
            .iter()
            .map(|name| (name.clone(), value.clone()))
            .collect();
        let first = template.evaluate(&context);
        let second = template.evaluate(&context);
        assert_eq!(first.is_ok(), second.is_ok(), "not pure");
        if let (Ok(first), Ok(second)) = (first, second) {
            let (first, second) = (to_json(&first), to_json(&second));
            assert_eq!(first, second, "not pure");
            // JSON may write each byte as an escape of six.
            assert!(first.len() <= 8 * MAX_OUTPUT, "{} bytes", first.len());
        }
    }
    let path = Template::compile("/a/{{ v }}/b?q={{ v }}").expect("a good template");
    if let Ok(url) = path.evaluate_url_path(&column("v", value)) {
        let (path, query) = url.split_once('?').expect("its own question mark");
        let segments: Vec<&str> = path.split('/').collect();
        let query = query.strip_prefix("q=").expect("its own parameter");
        assert!(
            matches!(segments.as_slice(), ["", "a", value, "b"] if *value == query),
            "{url}"
        );
        let tame = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%".contains(&byte);
        assert!(query.bytes().all(tame), "{url}");
        assert!(!matches!(query, "." | ".."), "{url}");
    }
}

/// A key of up to four columns from the bytes.
fn some_key(data: &[u8]) -> Key {
    let parts = data.split(|byte| *byte == 0xff).take(4).map(|bytes| {
        if bytes.len() == 8 {
            KeyPart::Int(i64::from_le_bytes(bytes.try_into().unwrap_or_default()))
        } else {
            KeyPart::Text(String::from_utf8_lossy(bytes).into())
        }
    });
    Key(parts.collect())
}

/// Keys: the canonical text is JSON that gives the key back, and different keys differ in it.
///
/// # Panics
/// That does not hold.
pub fn key(data: &[u8]) {
    let (first, second) = data.split_at(data.len() / 2);
    let (first, second) = (some_key(first), some_key(second));
    for key in [&first, &second] {
        let canonical = key.canonical();
        let Ok(Value::List(parts)) = from_json(&canonical) else {
            panic!("{canonical} is not a JSON list");
        };
        assert_eq!(parts.len(), key.0.len(), "{canonical}");
        for (part, read) in key.0.iter().zip(&parts) {
            let same = match part {
                KeyPart::Int(number) => to_json(read) == number.to_string(),
                KeyPart::Decimal(text) | KeyPart::Text(text) => read.as_text() == Some(text),
            };
            assert!(same, "{canonical}: {part:?} is read as {read:?}");
        }
        // A line of a log or a terminal: nothing in it ends the line.
        assert!(!canonical.contains(['\n', '\r', '\u{1b}']), "{canonical:?}");
    }
    if first != second {
        assert_ne!(first.canonical(), second.canonical());
    }
}

/// A type's number and a field's bytes: an error or a value, and each value is JSON. The same bytes
/// as a tuple: no field is longer than what is there.
///
/// # Panics
/// That does not hold.
pub fn copy(data: &[u8]) {
    let Some((which, bytes)) = data.split_first() else {
        return;
    };
    if let Some((value, foreign)) = copy_value(*which, bytes) {
        let json = to_json(&value);
        assert!(json.len() <= 64 + 16 * (bytes.len() + 32_768), "{json}");
        if !foreign {
            assert!(from_json(&json).is_ok(), "{value:?} as JSON is {json}");
        }
    }
    let taken: usize = copy_fields(bytes)
        .iter()
        .map(|length| 4 + length.unwrap_or(0))
        .sum();
    assert!(taken <= bytes.len());
}

fn map(members: &[(&str, SettingValue)]) -> SettingValue {
    let members = members.iter().cloned();
    SettingValue::Map(members.map(|(name, value)| (name.into(), value)).collect())
}

fn config(paired: bool) -> DestinationConfig {
    let word = |text: &str| SettingValue::Text(text.into());
    let pair = if paired {
        map(&[("field", word("id"))])
    } else {
        word("index")
    };
    let rejected = [
        ("path", word("status")),
        ("in", SettingValue::List(vec![word("error")])),
    ];
    DestinationConfig {
        object: "contact".into(),
        mode: Mode::Upsert,
        match_fields: vec!["id".into()],
        key_columns: vec!["id".into()],
        batch_records: Some(3),
        allow_addresses: vec!["127.0.0.1/32".into()],
        ..DestinationConfig::new(
            "hook",
            map(&[
                ("url", word("http://127.0.0.1:1/")),
                ("format", word("array")),
                (
                    "outcomes",
                    map(&[
                        ("at", word("results")),
                        ("pair_by", pair),
                        ("rejected_when", map(&rejected)),
                        ("message", word("error")),
                    ]),
                ),
            ]),
        )
    }
}

fn batch() -> Batch {
    let record = |id: i64| Record {
        key: Key::int(id),
        operation: Operation::Upsert,
        kind: Operation::Upsert.usual_kind(),
        match_on: vec![("id".into(), Value::Int(id))],
        fields: Vec::new(),
        idempotency_key: format!("k{id}"),
        checksum: Some(id),
        doubtful: false,
        json: None,
        raw: None,
    };
    Batch {
        intent: 1,
        operation: Operation::Upsert,
        records: (1..=3).map(record).collect(),
        context: Arc::new(RunContext {
            sync: "s".into(),
            sync_id: "id".into(),
            run: 1,
            epoch: 1,
            generation: 1,
            object: "contact".into(),
            key_columns: vec!["id".into()],
            started_at: 0,
        }),
    }
}

/// Whether results are paired by a field, a status and a body: one outcome for each record or a
/// failure of the whole; nothing is delivered without a success, nor when the answer can't be read.
///
/// # Panics
/// That does not hold.
pub fn answer(data: &[u8]) {
    let [paired, high, low, body @ ..] = data else {
        return;
    };
    let status = 100 + u16::from_be_bytes([*high, *low]) % 500;
    let config = config(paired % 2 == 1);
    let Some(outcomes) = outcomes(&config, &batch(), status, body) else {
        return;
    };
    let delivered = outcomes.contains(&Outcome::Delivered);
    if delivered {
        assert!((200..300).contains(&status), "delivered with {status}");
        let readable = std::str::from_utf8(body).is_ok_and(|body| from_json(body).is_ok());
        assert!(readable, "delivered by an answer that can't be read");
    }
    for outcome in &outcomes {
        if let Outcome::Rejected(reason) | Outcome::Unknown(reason) = outcome {
            let said = reason.to_string();
            let tame = |c: char| !c.is_control() || c == '\n' || c == '\t';
            assert!(said.chars().all(tame), "{said:?}");
            assert!(said.len() < 8_192, "{} bytes of words", said.len());
        }
    }
}

/// A model's text: what is sent to the server is the text without its end, once and for all.
///
/// # Panics
/// That does not hold.
pub fn model(data: &[u8]) {
    let Some(text) = text(data) else { return };
    let body = model_text::body(text);
    assert!(text.contains(body));
    assert_eq!(model_text::body(body), body, "not once and for all");
    assert!(model_text::wrapped(text).contains(body));
}
