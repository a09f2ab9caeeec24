//! `map`: rows as JSON lines through a mapping. No database, no network, no secrets.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use rowcast_core::json::{from_json, push_object, push_string};
use rowcast_core::row::{Column, Schema};
use rowcast_core::{Code, Mapper, Name, Object, Reason, Row, RunContext, Value};

use rowcast_engine::{Clock as _, SystemClock};

use crate::failure::file_reason;
use crate::{Answer, Project, wire};

/// A mapping that turns lines into lines.
pub struct Map {
    /// Without one, the row itself is printed.
    mapper: Option<Arc<dyn Mapper>>,
    now_us: i64,
}

impl Map {
    /// The `fields:` of a sync.
    ///
    /// # Errors
    /// There is no such sync.
    pub fn of_sync(project: &Project, name: &str) -> Answer<Self> {
        let sync = project.sync(name)?;
        Ok(Self {
            mapper: Some(wire::mapper(sync, None, &[], None)?),
            now_us: now_us(),
        })
    }

    /// The `fields:` in a JSON file.
    ///
    /// # Errors
    /// The file can't be read, or the mapping is invalid.
    pub fn of_file(path: &Path) -> Answer<Self> {
        let text = std::fs::read_to_string(path).map_err(|e| file_reason("read", path, &e))?;
        let fields = from_json(&text).map_err(|error| {
            Reason::new(
                Code::ExpressionInvalid,
                format!("the mapping in {} is not JSON", path.display()),
            )
            .detail(error.to_string())
        })?;
        Ok(Self {
            mapper: Some(wire::mapper_of_fields(&fields)?),
            now_us: now_us(),
        })
    }

    /// No mapping: rows as they are.
    pub fn identity() -> Self {
        Self {
            mapper: None,
            now_us: now_us(),
        }
    }

    /// One row to one record; `{"error": "…"}` when the row can't be read or mapped.
    pub fn line(&self, line: &str) -> String {
        let mut out = String::new();
        match self.fields(line) {
            Ok(fields) => push_object(&mut out, &fields),
            Err(message) => {
                out.push_str("{\"error\":");
                push_string(&mut out, &message);
                out.push('}');
            }
        }
        out
    }

    fn fields(&self, line: &str) -> Result<Object, String> {
        let value = from_json(line).map_err(|error| format!("the line is not JSON: {error}"))?;
        let Value::Object(columns) = value else {
            return Err(format!(
                "the line holds a {} instead of an object",
                value.kind()
            ));
        };
        match &self.mapper {
            None => Ok(columns),
            Some(mapper) => mapper
                .fields(&row(&**mapper, columns), &context("map", self.now_us))
                .map_err(|reason| reason.to_string()),
        }
    }
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
