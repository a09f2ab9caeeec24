//! Records as bytes: what each becomes, and how they share a request.
//!
//! JSON is written by `rowcast_core::json`, digit by digit, never through a float.

use std::sync::Arc;

use rowcast_core::json::{push_string, push_value, to_text};
use rowcast_core::mapping::template::TemplateTree;
use rowcast_core::record::{Batch, Record};
use rowcast_core::{Reason, Value};

use rowcast_core::envelope::{envelope, push_record};

/// What each record becomes.
#[derive(Clone, Debug)]
pub(super) enum Shape {
    /// No body at all.
    None,
    /// The whole record.
    Record,
    /// The mapped fields alone.
    Fields,
    /// A tree of the user's.
    Tree(Arc<TemplateTree>),
}

/// How records share a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// One record, by itself.
    Single,
    Array,
    Ndjson,
    Wrap(String),
    /// `application/x-www-form-urlencoded`, one record.
    Form,
}

impl Format {
    /// Whether a request holds at most one record.
    pub(super) fn is_single(&self) -> bool {
        matches!(self, Self::Single | Self::Form)
    }

    pub(super) fn content_type(&self) -> &'static str {
        match self {
            Self::Single | Self::Array | Self::Wrap(_) => "application/json",
            Self::Ndjson => "application/x-ndjson",
            Self::Form => "application/x-www-form-urlencoded",
        }
    }
}

impl Shape {
    /// Appends one record's body. After an error `out` holds any part of it.
    ///
    /// # Errors
    /// Why a template failed for this record.
    pub(super) fn push(
        &self,
        out: &mut String,
        record: &Record,
        batch: &Batch,
        format: &Format,
    ) -> Result<(), Reason> {
        let form = *format == Format::Form;
        match self {
            Self::None => {}
            Self::Fields if form => push_form(out, &record.fields),
            Self::Record if form => push_form(out, &envelope(record, batch)),
            Self::Fields => record.push_fields(out),
            Self::Record => push_record(out, record, batch),
            Self::Tree(tree) => {
                let value = tree.evaluate(&scope(Some(record), batch))?;
                match &value {
                    Value::Object(members) if form => push_form(out, members),
                    value => push_value(out, value),
                }
            }
        }
        Ok(())
    }
}

/// What templates see: `record` when the request holds one, and `sync`, `run`, `operation` always.
pub(super) fn scope(record: Option<&Record>, batch: &Batch) -> Value {
    let mut members = vec![
        ("sync".into(), Value::from(&*batch.context.sync)),
        ("run".into(), Value::from(batch.context.run.to_string())),
        ("operation".into(), Value::from(batch.operation.as_str())),
    ];
    if let Some(record) = record {
        members.push(("record".into(), Value::Object(envelope(record, batch))));
    }
    Value::Object(members)
}

/// Members as `name=value&…`; lists and mappings are written as JSON.
fn push_form(out: &mut String, members: &[(rowcast_core::Name, Value)]) {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in members {
        form.append_pair(name, &to_text(value));
    }
    out.push_str(&form.finish());
}

impl Format {
    /// Appends what stands before all records.
    pub(super) fn open(&self, out: &mut String) {
        match self {
            Self::Single | Self::Form | Self::Ndjson => {}
            Self::Array => out.push('['),
            Self::Wrap(name) => {
                out.push('{');
                push_string(out, name);
                out.push_str(":[");
            }
        }
    }

    /// Appends what stands between two records.
    pub(super) fn separate(&self, out: &mut String) {
        match self {
            Self::Single | Self::Form => {}
            Self::Array | Self::Wrap(_) => out.push(','),
            Self::Ndjson => out.push('\n'),
        }
    }

    /// Appends what stands after all records.
    pub(super) fn close(&self, out: &mut String) {
        match self {
            Self::Single | Self::Form => {}
            Self::Array => out.push(']'),
            Self::Wrap(_) => out.push_str("]}"),
            Self::Ndjson => out.push('\n'),
        }
    }
}
