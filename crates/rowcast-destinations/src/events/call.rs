//! From a record to a call: its type, its identifiers, and where each field stands in it.
//!
//! A sync with `event:` brings the whole call. A sync with `fields:` names the type with `object:`;
//! a field is then a member of the call by its name (`user_id`, `event`), a place inside it by its
//! dots (`context.env`), or else a trait or property. Must never make a call without an identifier.

use rowcast_core::json::{from_json, to_text};
pub(crate) use rowcast_core::mapping::EventType as CallType;
use rowcast_core::mapping::instant;
use rowcast_core::record::{Operation, Record};
use rowcast_core::value::{Name, Object};
use rowcast_core::{Code, Mode, Reason, Value};

/// The words of these types, for messages: `identify, track, …`.
pub(crate) fn words(kinds: &[CallType]) -> String {
    let words: Vec<_> = kinds.iter().map(|kind| kind.as_str()).collect();
    words.join(", ")
}

/// Whether `name` stands at the top of a call of this type.
fn has(kind: CallType, name: &str) -> bool {
    match name {
        "userId" | "anonymousId" | "timestamp" | "context" | "integrations" => true,
        "traits" | "properties" => name == kind.bag(),
        "event" => kind == CallType::Track,
        "name" | "category" => matches!(kind, CallType::Page | CallType::Screen),
        "groupId" => kind == CallType::Group,
        "previousId" => kind == CallType::Alias,
        _ => false,
    }
}

/// How the time of an event is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Times {
    /// The call's own `timestamp`.
    Own,
    /// As RudderStack does for events of its reverse ETL: a time among the properties, traits or
    /// context comes before the call's own.
    RudderStack,
}

/// A call: its members in the order of the wire, without the ones that a service adds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Call {
    pub(crate) kind: CallType,
    pub(crate) members: Object,
}

impl Call {
    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        self.members
            .iter()
            .find(|(member, _)| &**member == name)
            .map(|(_, value)| value)
    }

    /// Puts a member into the context, which is made when there is none.
    pub(crate) fn put_context(&mut self, name: &str, value: Value) {
        let mut context = self.get("context").and_then(object_of).unwrap_or_default();
        put(&mut context, name, value);
        self.put("context", Value::Object(context));
    }

    /// Puts a member in the place of one of the same name.
    pub(crate) fn put(&mut self, name: &str, value: Value) {
        put(&mut self.members, name, value);
    }
}

/// What calls can be asked to do. Nothing takes one back; with mode `delete` alone a removed row is
/// told of by a call of its own.
pub(crate) fn operations(mode: Mode) -> &'static [Operation] {
    const WITHOUT_DELETE: [Operation; 3] =
        [Operation::Insert, Operation::Update, Operation::Upsert];
    if mode == Mode::Delete {
        &Operation::ALL
    } else {
        &WITHOUT_DELETE
    }
}

/// Puts a member in the place of one of the same name, or at the end.
pub(crate) fn put(members: &mut Object, name: &str, value: Value) {
    match members.iter_mut().find(|(member, _)| &**member == name) {
        Some((_, held)) => *held = value,
        None => members.push((name.into(), value)),
    }
}

/// The call of a record. `object` is the type for syncs with `fields:`; without it the fields are an
/// event and bring their type along.
///
/// # Errors
/// Why the service would refuse the call, or drop it in silence.
pub(crate) fn call(
    record: &Record,
    object: Option<CallType>,
    times: Times,
) -> Result<Call, Reason> {
    if record.operation == Operation::Delete && record.fields.is_empty() {
        return Err(refused("there is no call that deletes").hint(
            "describe what is told about a removed row with `event:`, or choose another mode",
        ));
    }
    let mut call = match object {
        Some(kind) => of_fields(record, kind)?,
        None => of_event(&record.fields)?,
    };
    identifiers(&mut call);
    timestamp(&mut call, times)?;
    shaped(&mut call)?;
    complete(&call)?;
    Ok(in_order(call))
}

fn of_event(fields: &Object) -> Result<Call, Reason> {
    let word = fields
        .iter()
        .find(|(name, _)| &**name == "type")
        .and_then(|(_, value)| value.as_text());
    let Some(kind) = word.and_then(CallType::parse) else {
        return Err(
            refused("the record is no event: it has no known type").hint(
                "describe the event with `event:` in the sync, or name its type with `object:`",
            ),
        );
    };
    let mut members = Object::new();
    for (name, value) in fields.iter().filter(|(name, _)| &**name != "type") {
        if !has(kind, name) {
            return Err(refused(format!(
                "a call of type {} has no {name}",
                kind.as_str()
            )));
        }
        members.push((name.clone(), value.clone()));
    }
    Ok(Call { kind, members })
}

fn of_fields(record: &Record, kind: CallType) -> Result<Call, Reason> {
    let mut call = Call {
        kind,
        members: Object::new(),
    };
    for (name, value) in &record.match_on {
        let name = canonical(name);
        if has(kind, name) {
            call.put(name, value.clone());
        }
    }
    for (field, value) in &record.fields {
        let mut parts: Vec<&str> = field.split('.').collect();
        let first = canonical(parts[0]);
        if reserved(first, &parts) {
            return Err(
                refused(format!("{field} is set by rowcast or by the service"))
                    .hint("remove this field from the sync"),
            );
        }
        let structured = matches!(first, "traits" | "properties" | "context" | "integrations");
        if has(kind, first) && (structured || parts.len() == 1) {
            parts[0] = first;
        } else {
            parts.insert(0, kind.bag());
        }
        nest(&mut call.members, &parts, value.clone()).map_err(|()| {
            refused(format!("{field} goes into a field that is no object"))
                .hint("two fields of the sync claim the same place: rename one")
        })?;
    }
    Ok(call)
}

/// Names as the wire has them; the mapper of RudderStack writes them with underscores.
pub(crate) fn canonical(name: &str) -> &str {
    match name {
        "user_id" => "userId",
        "anonymous_id" => "anonymousId",
        "group_id" => "groupId",
        "previous_id" => "previousId",
        other => other,
    }
}

/// Whether a field's place belongs to the sender. `parts` are the dotted parts of its name.
fn reserved(first: &str, parts: &[&str]) -> bool {
    match parts {
        [_] => matches!(first, "messageId" | "message_id"),
        [_, second, ..] => {
            first == "context"
                && matches!(*second, "sources" | "mappedToDestination" | "externalId")
        }
        [] => false,
    }
}

/// Whether RudderStack keeps this name for itself: [`reserved`], by the whole name.
pub(crate) fn is_reserved(field: &str) -> bool {
    let parts: Vec<&str> = field.split('.').collect();
    reserved(canonical(parts[0]), &parts)
}

fn nest(members: &mut Object, path: &[&str], value: Value) -> Result<(), ()> {
    let [name, rest @ ..] = path else {
        return Ok(());
    };
    let at = members.iter().position(|(member, _)| &**member == *name);
    match (at, rest) {
        (Some(at), []) => {
            // `traits: profile` beside `traits.plan: plan`: both are wanted.
            match (&mut members[at].1, object_of(&value)) {
                (Value::Object(held), Some(more)) => {
                    for (name, value) in more {
                        put(held, &name, value);
                    }
                }
                (held, _) => *held = value,
            }
            Ok(())
        }
        (None, []) => {
            members.push(((*name).into(), value));
            Ok(())
        }
        (at, rest) => {
            let at = at.unwrap_or_else(|| {
                members.push(((*name).into(), Value::Object(Object::new())));
                members.len() - 1
            });
            if let Some(object) = object_of(&members[at].1) {
                members[at].1 = Value::Object(object);
            }
            match &mut members[at].1 {
                Value::Object(inner) => nest(inner, rest, value),
                _ => Err(()),
            }
        }
    }
}

/// The members of an object, also of one that came as a JSON column.
pub(crate) fn object_of(value: &Value) -> Option<Object> {
    match value {
        Value::Object(members) => Some(members.clone()),
        Value::Json(text) => match from_json(text) {
            Ok(Value::Object(members)) => Some(members),
            _ => None,
        },
        _ => None,
    }
}

/// Identifiers are text on the wire; null and empty ones are none.
fn identifiers(call: &mut Call) {
    for (name, value) in &mut call.members {
        if matches!(
            &**name,
            "userId" | "anonymousId" | "groupId" | "previousId" | "event"
        ) && !value.is_null()
        {
            *value = Value::from(to_text(value));
        }
    }
    call.members.retain(|(name, value)| {
        let dropped = matches!(
            &**name,
            "userId" | "anonymousId" | "groupId" | "previousId" | "event" | "timestamp"
        );
        !(dropped && (value.is_null() || value.as_text() == Some("")))
    });
}

fn timestamp(call: &mut Call, times: Times) -> Result<(), Reason> {
    let before: &[&[&str]] = match (times, call.kind) {
        (Times::RudderStack, CallType::Identify) => &[
            &["context", "timestamp"],
            &["context", "traits", "timestamp"],
            &["traits", "timestamp"],
        ],
        (Times::RudderStack, CallType::Track) => &[&["properties", "timestamp"]],
        _ => &[],
    };
    for path in before {
        if let Some(at) = find(&call.members, path).and_then(|value| instant(&value).ok()) {
            call.put("timestamp", Value::from(at));
            return Ok(());
        }
    }
    let Some(own) = call.get("timestamp") else {
        return Ok(());
    };
    match instant(own) {
        Ok(at) => call.put("timestamp", Value::from(at)),
        Err(why) => {
            return Err(refused("the event's timestamp is no time")
                .detail(why)
                .hint("map a timestamp or date column, or read text with parse_date"));
        }
    }
    Ok(())
}

fn find(members: &Object, path: &[&str]) -> Option<Value> {
    let (name, rest) = path.split_first()?;
    let value = members
        .iter()
        .find(|(member, _)| &**member == *name)
        .map(|(_, value)| value)?;
    if rest.is_empty() {
        return (!value.is_null()).then(|| value.clone());
    }
    find(&object_of(value)?, rest)
}

/// Traits, properties, context and integrations are objects, or they are not there.
fn shaped(call: &mut Call) -> Result<(), Reason> {
    let structured =
        |name: &str| matches!(name, "traits" | "properties" | "context" | "integrations");
    call.members
        .retain(|(name, value)| !(structured(name) && value.is_null()));
    for (name, value) in &mut call.members {
        if !structured(name) {
            continue;
        }
        match object_of(value) {
            Some(members) => *value = Value::Object(members),
            None => {
                return Err(
                    refused(format!("{name} must be an object, not {}", value.kind()))
                        .hint("name its members, or map a column of type json"),
                );
            }
        }
    }
    Ok(())
}

fn complete(call: &Call) -> Result<(), Reason> {
    let missing = |what: &str, hint: &str| {
        Err(refused(format!(
            "a call of type {} needs {what}",
            call.kind.as_str()
        ))
        .hint(hint))
    };
    if call.kind == CallType::Alias {
        if call.get("userId").is_none() || call.get("previousId").is_none() {
            return missing(
                "user_id and previous_id",
                "map both to columns that are never null",
            );
        }
        return Ok(());
    }
    if call.get("userId").is_none() && call.get("anonymousId").is_none() {
        return missing(
            "user_id or anonymous_id",
            "map one of them to a column that is never null, or leave such rows out with `where:`",
        );
    }
    match call.kind {
        CallType::Track if call.get("event").is_none() => {
            missing("the event's name", "give it as a literal or a column")
        }
        CallType::Group if call.get("groupId").is_none() => {
            missing("group_id", "map it to a column that is never null")
        }
        _ => Ok(()),
    }
}

/// The same order for every call, so that equal records are equal bytes.
fn in_order(call: Call) -> Call {
    const ORDER: [&str; 12] = [
        "userId",
        "anonymousId",
        "groupId",
        "previousId",
        "event",
        "name",
        "category",
        "traits",
        "properties",
        "context",
        "integrations",
        "timestamp",
    ];
    let mut members = call.members;
    let place = |name: &Name| ORDER.iter().position(|known| *known == &**name);
    members.sort_by_key(|(name, _)| place(name).unwrap_or(ORDER.len()));
    Call {
        kind: call.kind,
        members,
    }
}

fn refused(message: impl Into<String>) -> Reason {
    Reason::new(Code::DestinationRejected, message)
}

#[cfg(test)]
mod tests;
