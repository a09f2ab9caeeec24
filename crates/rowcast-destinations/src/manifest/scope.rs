//! What templates of a manifest may name, and nothing else: `settings`, `object`, `match_field`,
//! `operation`, `sync`, `run`, and `record` where one record is meant.

use rowcast_core::mapping::template::Context;
use rowcast_core::record::{Batch, Record};
use rowcast_core::{Name, Object, Secret, Value};

use super::object::ObjectSpec;
use rowcast_core::envelope::envelope;

/// The names there are.
pub(super) const NAMES: [&str; 7] = [
    "settings",
    "object",
    "match_field",
    "operation",
    "sync",
    "run",
    "record",
];

/// The names of one request.
pub(super) struct Scope<'a> {
    settings: &'a Secret<Value>,
    batch: &'a Object,
    record: Option<&'a Value>,
}

impl<'a> Scope<'a> {
    /// Settings and what a batch's records share.
    pub(super) fn new(settings: &'a Secret<Value>, batch: &'a Object) -> Self {
        Self {
            settings,
            batch,
            record: None,
        }
    }

    /// The same again.
    pub(super) fn same(&self) -> Self {
        Self { ..*self }
    }

    /// The same with a record.
    pub(super) fn of(&self, record: &'a Value) -> Self {
        Self {
            record: Some(record),
            ..*self
        }
    }
}

impl Context for Scope<'_> {
    fn lookup(&self, name: &str) -> Option<&Value> {
        match name {
            "settings" => Some(self.settings.reveal()),
            "record" => self.record,
            name => self.batch.lookup(name),
        }
    }
}

/// What a batch's records share.
pub(super) fn shared(batch: &Batch, match_field: Option<&Name>) -> Object {
    let mut members: Object = vec![
        ("object".into(), Value::from(&*batch.context.object)),
        ("operation".into(), Value::from(batch.operation.as_str())),
        ("sync".into(), Value::from(&*batch.context.sync)),
        ("run".into(), Value::from(batch.context.run.to_string())),
    ];
    if let Some(name) = match_field {
        members.push(("match_field".into(), Value::from(&**name)));
    }
    members
}

/// A record as templates see it: its envelope, with the fields put where the object wants them, and
/// what a lookup found.
pub(super) fn record(
    record: &Record,
    batch: &Batch,
    object: &ObjectSpec,
    found: Option<&Value>,
) -> Value {
    let mut members = envelope(record, batch);
    for (name, value) in &mut members {
        if &**name == "fields"
            && let Value::Object(fields) = value
        {
            *fields = object.arrange(std::mem::take(fields));
        }
    }
    if let [(_, value)] = record.match_on.as_slice() {
        members.push(("match_value".into(), value.clone()));
    }
    if let Some(found) = found {
        members.push(("found".into(), found.clone()));
    }
    Value::Object(members)
}
