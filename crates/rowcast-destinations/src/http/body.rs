//! Records as bytes: what each becomes, and how they share a request.
//!
//! JSON is written by `rowcast_core::json`, digit by digit, never through a float.

use std::sync::Arc;

use rowcast_core::json::{push_object, push_string, push_value, to_text};
use rowcast_core::mapping::template::TemplateTree;
use rowcast_core::record::{Batch, Record};
use rowcast_core::{Reason, Value};

use crate::envelope::{envelope, push_record};

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
    /// One record's body.
    ///
    /// # Errors
    /// Why a template failed for this record.
    pub(super) fn text(
        &self,
        record: &Record,
        batch: &Batch,
        format: &Format,
    ) -> Result<String, Reason> {
        let mut out = String::new();
        let form = *format == Format::Form;
        match self {
            Self::None => {}
            Self::Fields if form => push_form(&mut out, &record.fields),
            Self::Record if form => push_form(&mut out, &envelope(record, batch)),
            Self::Fields => push_object(&mut out, &record.fields),
            Self::Record => push_record(&mut out, record, batch),
            Self::Tree(tree) => {
                let value = tree.evaluate(&scope(Some(record), batch))?;
                match &value {
                    Value::Object(members) if form => push_form(&mut out, members),
                    value => push_value(&mut out, value),
                }
            }
        }
        Ok(out)
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

/// Puts the records' bodies together.
pub(super) fn join(format: &Format, bodies: &[String]) -> String {
    let list = |out: &mut String| {
        out.push('[');
        for (i, body) in bodies.iter().enumerate() {
            if i > 0 {
                out.push(',');
            }
            out.push_str(body);
        }
        out.push(']');
    };
    let mut out = String::with_capacity(bodies.iter().map(|b| b.len() + 1).sum::<usize>() + 32);
    match format {
        Format::Single | Format::Form => bodies.iter().for_each(|body| out.push_str(body)),
        Format::Array => list(&mut out),
        Format::Ndjson => {
            for body in bodies {
                out.push_str(body);
                out.push('\n');
            }
        }
        Format::Wrap(name) => {
            out.push('{');
            push_string(&mut out, name);
            out.push(':');
            list(&mut out);
            out.push('}');
        }
    }
    out
}
