//! `map`: rows as JSON lines through a mapping. No database, no network, no secrets.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use rowcast_config::Problem;
use rowcast_core::json::{from_json, push_string, push_value};
use rowcast_core::row::{Column, Schema};
use rowcast_core::segment::{Mapping, Trigger};
use rowcast_core::{Code, Mapper, Name, Object, Reason, Row, RunContext, Value};

use rowcast_engine::{Clock as _, SystemClock};

use crate::failure::file_reason;
use crate::{Answer, Failure, Project, wire};

/// A mapping that turns lines into lines.
pub struct Map {
    mapping: Language,
    /// Rows that it does not pass give no line.
    trigger: Option<Trigger>,
    now_us: i64,
}

enum Language {
    Rowcast(Arc<dyn Mapper>),
    Segment(Mapping),
    /// Without a mapping, the row itself is printed.
    None,
}

impl Map {
    /// The `fields:` of a sync.
    ///
    /// # Errors
    /// There is no such sync.
    pub fn of_sync(project: &Project, name: &str) -> Answer<Self> {
        let sync = project.sync(name)?;
        Ok(Self::of(Language::Rowcast(wire::mapper(
            project,
            sync,
            None,
            &[],
            None,
        )?)))
    }

    /// The `fields:` in a JSON file.
    ///
    /// # Errors
    /// The file can't be read, or the mapping is invalid.
    pub fn of_file(path: &Path) -> Answer<Self> {
        Self::of_fields(&mapping_file(path)?)
    }

    /// The `fields:` as they are.
    ///
    /// # Errors
    /// The mapping is invalid.
    pub fn of_fields(fields: &Value) -> Answer<Self> {
        Ok(Self::of(Language::Rowcast(wire::mapper_of_fields(fields)?)))
    }

    /// A mapping in Segment's language in a JSON file.
    ///
    /// # Errors
    /// The file can't be read, or the mapping is invalid: every problem with its path.
    pub fn of_segment_file(path: &Path) -> Answer<Self> {
        Self::of_segment(mapping_file(path)?, &format!(" in {}", path.display()))
    }

    /// A mapping in Segment's language; `place` says where it stands.
    ///
    /// # Errors
    /// The mapping is invalid: every problem with its path.
    pub fn of_segment(mapping: Value, place: &str) -> Answer<Self> {
        let mapping = Mapping::new(mapping).map_err(|problems| {
            let reason = |problem: &dyn std::fmt::Display| {
                Reason::new(
                    Code::SegmentMappingInvalid,
                    format!("the mapping{place} is not valid"),
                )
                .detail(problem.to_string())
                .hint("see `rowcast explain E0508`")
            };
            Failure::of(
                problems
                    .iter()
                    .map(|problem| Problem::general(reason(problem)))
                    .collect(),
            )
        })?;
        Ok(Self::of(Language::Segment(mapping)))
    }

    /// No mapping: rows as they are.
    pub fn identity() -> Self {
        Self::of(Language::None)
    }

    fn of(mapping: Language) -> Self {
        Self {
            mapping,
            trigger: None,
            now_us: now_us(),
        }
    }

    /// Only rows that pass this Segment trigger.
    ///
    /// # Errors
    /// It can't be read.
    pub fn with_trigger(mut self, text: &str) -> Answer<Self> {
        let trigger = Trigger::parse(text).map_err(|error| {
            Reason::new(
                Code::TriggerInvalid,
                format!("can't read the trigger {text:?}"),
            )
            .detail(error.to_string())
            .hint("a trigger looks like: type = \"track\" and event = \"new\"")
        })?;
        self.trigger = Some(trigger);
        Ok(self)
    }

    /// One row to one record; `{"error": "…"}` when the row can't be read or mapped, nothing when
    /// the trigger does not pass it.
    pub fn line(&self, line: &str) -> Option<String> {
        let mut out = String::new();
        match self.value(line) {
            Ok(value) => push_value(&mut out, &value?),
            Err(message) => {
                out.push_str("{\"error\":");
                push_string(&mut out, &message);
                out.push('}');
            }
        }
        Some(out)
    }

    fn value(&self, line: &str) -> Result<Option<Value>, String> {
        let value = from_json(line).map_err(|error| format!("the line is not JSON: {error}"))?;
        if !matches!(value, Value::Object(_)) {
            return Err(format!(
                "the line holds a {} instead of an object",
                value.kind()
            ));
        }
        if let Some(trigger) = &self.trigger
            && !trigger.matches(&value)
        {
            return Ok(None);
        }
        match (&self.mapping, value) {
            (Language::Rowcast(mapper), Value::Object(columns)) => mapper
                .fields(&row(&**mapper, columns), &context("map", self.now_us))
                .map(|fields| Some(Value::Object(fields)))
                .map_err(|reason| reason.to_string()),
            // JSON has no word for an absent value.
            (Language::Segment(mapping), value) => mapping
                .transform(&value, self.now_us)
                .map(|value| Some(value.unwrap_or(Value::Null))),
            (_, value) => Ok(Some(value)),
        }
    }
}

fn mapping_file(path: &Path) -> Answer<Value> {
    let text = std::fs::read_to_string(path).map_err(|e| file_reason("read", path, &e))?;
    from_json(&text).map_err(|error| {
        Reason::new(
            Code::ExpressionInvalid,
            format!("the mapping in {} is not JSON", path.display()),
        )
        .detail(error.to_string())
        .into()
    })
}

/// A row of the given columns; those that the mapping reads and the row has not are null.
pub(crate) fn row(mapper: &dyn Mapper, mut columns: Object) -> Row {
    for name in mapper.columns() {
        if !columns.iter().any(|(given, _)| *given == name) {
            columns.push((name, Value::Null));
        }
    }
    let (names, values): (Vec<Name>, Vec<Value>) = columns.into_iter().unzip();
    let columns = names
        .into_iter()
        .map(|name| Column {
            name,
            type_name: "text".into(),
        })
        .collect();
    Row {
        schema: Arc::new(Schema { columns }),
        values,
    }
}

/// The context of a mapping outside a run.
pub(crate) fn context(sync: &str, started_at: i64) -> RunContext {
    RunContext {
        sync: sync.into(),
        sync_id: String::new(),
        run: 0,
        epoch: 0,
        generation: 0,
        object: "".into(),
        key_columns: Vec::new(),
        started_at,
    }
}

/// Microseconds since 1970 in UTC.
pub(crate) fn now_us() -> i64 {
    SystemClock.now_us()
}

/// Fields by name, for comparing without order.
pub(crate) fn by_name(fields: &Object) -> BTreeMap<&str, &Value> {
    fields
        .iter()
        .map(|(name, value)| (&**name, value))
        .collect()
}
