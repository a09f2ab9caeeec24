//! `event:` of a sync: rows as the calls of Segment and RudderStack.
//!
//! The values follow the rules of `fields:`; what is made of them is a call as it is on the wire,
//! which any destination may take as a record's fields. A row that would make a call without an
//! identifier or a name is invalid, because the services drop such calls in silence.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Mapper;
use super::fields::{CompileInput, FieldMapping, MappingProblem};
use super::moment::instant;
use super::rule::{Node, Rule};
use super::template::nearest;
use crate::change::Kind;
use crate::code::Code;
use crate::fault::Reason;
use crate::json::to_text;
use crate::record::RunContext;
use crate::row::{Column, Row, Schema};
use crate::segment::Occasion;
use crate::value::{Name, Object, Value};

/// The types of event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventType {
    Identify,
    Track,
    Page,
    Screen,
    Group,
    Alias,
}

impl EventType {
    /// All of them, in the order of the documentation.
    pub const ALL: [Self; 6] = [
        Self::Identify,
        Self::Track,
        Self::Page,
        Self::Screen,
        Self::Group,
        Self::Alias,
    ];

    /// The words, in the same order.
    pub const WORDS: [&str; 6] = ["identify", "track", "page", "screen", "group", "alias"];

    /// The word in YAML and on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Identify => "identify",
            Self::Track => "track",
            Self::Page => "page",
            Self::Screen => "screen",
            Self::Group => "group",
            Self::Alias => "alias",
        }
    }

    /// The type of a word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }

    /// Where what is known of the user or the happening stands.
    pub fn bag(self) -> &'static str {
        match self {
            Self::Identify | Self::Group | Self::Alias => "traits",
            Self::Track | Self::Page | Self::Screen => "properties",
        }
    }

    /// The keys that an event of this type must have; without `previous_id` one of the identifiers
    /// will do.
    fn needs(self) -> &'static [&'static str] {
        match self {
            Self::Track => &["name"],
            Self::Group => &["group_id"],
            Self::Alias => &["user_id", "previous_id"],
            Self::Identify | Self::Page | Self::Screen => &[],
        }
    }

    fn takes(self, key: &str) -> bool {
        match key {
            "name" => matches!(self, Self::Track | Self::Page | Self::Screen),
            "category" => matches!(self, Self::Page | Self::Screen),
            "group_id" => self == Self::Group,
            "previous_id" => self == Self::Alias,
            "traits" | "properties" => key == self.bag(),
            _ => KEYS.contains(&key),
        }
    }

    /// The name on the wire of a key.
    fn wire(self, key: &str) -> &str {
        match key {
            "user_id" => "userId",
            "anonymous_id" => "anonymousId",
            "group_id" => "groupId",
            "previous_id" => "previousId",
            "name" if self == Self::Track => "event",
            other => other,
        }
    }
}

/// The keys of `event:`.
pub const KEYS: [&str; 12] = [
    "type",
    "name",
    "category",
    "user_id",
    "anonymous_id",
    "group_id",
    "previous_id",
    "timestamp",
    "properties",
    "traits",
    "context",
    "integrations",
];

/// Keys whose members are named rules.
const STRUCTURED: [&str; 4] = ["properties", "traits", "context", "integrations"];

/// A compiled `event:`.
#[derive(Debug)]
pub struct EventMapping {
    kind: EventType,
    /// The keys as fields of their own, under their names in YAML.
    keys: FieldMapping,
    key_columns: Vec<Name>,
    /// What is read of a row that is gone.
    gone: Arc<Schema>,
}

impl EventMapping {
    /// Compiles `event:`, which stands in the place of the fields of `input`.
    ///
    /// # Errors
    /// Every problem, each at its path below `event`.
    pub fn compile(input: CompileInput<'_>) -> Result<Self, Vec<MappingProblem>> {
        let mut problems = Vec::new();
        let Value::Object(members) = input.fields else {
            problems.push(problem(
                "event",
                Code::WrongType,
                format!("it must be a mapping, not {}", input.fields.kind()),
                "as in event: { type: track, name: { literal: Order Paid }, user_id: id }",
            ));
            return Err(problems);
        };
        let kind = kind(input.fields, &mut problems);
        let mut rules = Object::new();
        for (name, value) in members.iter().filter(|(name, _)| &**name != "type") {
            if let Some(rule) = key(name, value, kind, &mut problems) {
                rules.push((name.clone(), rule));
            }
        }
        if let Some(kind) = kind {
            complete(kind, input.fields, &mut problems);
        }
        let rules = Value::Object(rules);
        let compiled = FieldMapping::compile_at(
            "event",
            CompileInput {
                fields: &rules,
                ..input
            },
        );
        match (kind, compiled) {
            (Some(kind), Ok(keys)) if problems.is_empty() => {
                let column = |name: Name| Column {
                    name,
                    type_name: "".into(),
                };
                let columns = keys.columns().into_iter().map(column).collect();
                Ok(Self {
                    kind,
                    keys,
                    key_columns: input.key_columns.to_vec(),
                    gone: Arc::new(Schema { columns }),
                })
            }
            (_, compiled) => {
                problems.extend(compiled.err().unwrap_or_default());
                Err(problems)
            }
        }
    }

    /// Its type.
    pub fn kind(&self) -> EventType {
        self.kind
    }
}

fn problem(
    path: impl Into<String>,
    code: Code,
    message: impl std::fmt::Display,
    hint: &str,
) -> MappingProblem {
    let path = path.into();
    MappingProblem {
        reason: Reason::new(code, format!("{path}: {message}")).hint(hint),
        path,
    }
}

fn kind(event: &Value, problems: &mut Vec<MappingProblem>) -> Option<EventType> {
    let all = EventType::WORDS.join(", ");
    let Some(word) = event.get("type") else {
        problems.push(problem(
            "event",
            Code::MissingKey,
            "`type` is missing",
            &format!("one of: {all}"),
        ));
        return None;
    };
    let text = word.as_text().unwrap_or_default();
    let kind = EventType::parse(text);
    if kind.is_none() {
        let hint = match nearest(text, EventType::WORDS.into_iter()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("one of: {all}"),
        };
        problems.push(problem(
            "event.type",
            Code::WrongType,
            "this is no type of event",
            &hint,
        ));
    }
    kind
}

/// The rule of one key; `None` when the key itself is wrong.
fn key(
    name: &str,
    value: &Value,
    kind: Option<EventType>,
    problems: &mut Vec<MappingProblem>,
) -> Option<Value> {
    let path = format!("event.{name}");
    if !KEYS.contains(&name) {
        let hint = match nearest(name, KEYS.into_iter()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("the keys are {}", KEYS.join(", ")),
        };
        problems.push(problem(
            path,
            Code::UnknownKey,
            "an event has no such key",
            &hint,
        ));
        return None;
    }
    if let Some(kind) = kind.filter(|kind| !kind.takes(name)) {
        let hint = match name {
            "traits" | "properties" => format!("they are called `{}` here", kind.bag()),
            "name" | "category" => {
                format!("put it under `{}`: {{ {name}: {name} }}", kind.bag())
            }
            _ => "remove it".to_owned(),
        };
        problems.push(problem(
            path,
            Code::Exclusive,
            format!("an event of type {} has none", kind.as_str()),
            &hint,
        ));
        return None;
    }
    if !STRUCTURED.contains(&name) {
        let empty = match value {
            Value::Null => true,
            Value::Object(_) => value
                .get("literal")
                .is_some_and(|literal| literal.is_null() || literal.as_text() == Some("")),
            _ => false,
        };
        if empty {
            problems.push(problem(
                path,
                Code::MissingKey,
                "it is empty in every row",
                "name a column, or give { literal: … }",
            ));
            return None;
        }
        return Some(value.clone());
    }
    match value {
        // Each member is a rule; a member may well be called `column` or `lower`.
        Value::Object(_) => Some(Value::Object(vec![("object".into(), value.clone())])),
        Value::Text(_) => Some(value.clone()),
        other => {
            problems.push(problem(
                path,
                Code::WrongType,
                format!(
                    "it must be a mapping of names to rules, not {}",
                    other.kind()
                ),
                "as in properties: { total: total }, or the name of a column that holds an object",
            ));
            None
        }
    }
}

fn complete(kind: EventType, event: &Value, problems: &mut Vec<MappingProblem>) {
    let word = kind.as_str();
    for key in kind.needs() {
        if event.get(key).is_none() {
            let hint = match *key {
                "name" => "name: { literal: Order Paid }, or name: column",
                _ => "name the column that holds it",
            };
            problems.push(problem(
                "event",
                Code::MissingKey,
                format!("an event of type {word} needs `{key}`"),
                hint,
            ));
        }
    }
    let identified = event.get("user_id").is_some() || event.get("anonymous_id").is_some();
    if !identified && kind != EventType::Alias {
        problems.push(problem(
            "event",
            Code::MissingKey,
            "it has neither `user_id` nor `anonymous_id`",
            "services take no event without one: user_id: id",
        ));
    }
}

impl Mapper for EventMapping {
    fn columns(&self) -> Vec<Name> {
        self.keys.columns()
    }

    /// One entry a property or trait, so that an event which only loses some is not sent again.
    fn digests(&self) -> BTreeMap<String, String> {
        let mut digests = self.keys.match_digests();
        digests.insert("event:type".to_owned(), self.kind.as_str().to_owned());
        for (name, rule) in self.keys.rules() {
            match &rule.node {
                Node::Object(members) => {
                    let member = |(member, rule): &(Name, Rule)| {
                        (format!("event:{name}.{member}"), rule.digest())
                    };
                    digests.extend(members.iter().map(member));
                }
                _ => {
                    digests.insert(format!("event:{name}"), rule.digest());
                }
            }
        }
        digests
    }

    fn fields(&self, row: &Row, context: &RunContext) -> Result<Object, Reason> {
        let keys = self.keys.fields(row, context)?;
        let mut event: Object = vec![("type".into(), Value::from(self.kind.as_str()))];
        for (name, value) in keys {
            let value = match &*name {
                "user_id" | "anonymous_id" | "group_id" | "previous_id" | "name" | "category" => {
                    match to_text(&value) {
                        text if value.is_null() || text.is_empty() => continue,
                        text => Value::from(text),
                    }
                }
                "timestamp" if value.is_null() => continue,
                "timestamp" => Value::from(instant(&value).map_err(|why| {
                    Reason::new(
                        Code::CastFailed,
                        "event.timestamp: the row's value is no time",
                    )
                    .detail(why)
                    .hint("map a date or timestamp, or read text with parse_date")
                })?),
                structured if STRUCTURED.contains(&structured) && value.is_null() => continue,
                _ => value,
            };
            event.push((self.kind.wire(&name).into(), value));
        }
        self.identified(&event)?;
        Ok(event)
    }

    /// A removed row makes an event too, with mode `delete`: of what is known of it.
    fn looks_at_changes(&self) -> bool {
        true
    }

    fn fields_at(&self, occasion: &Occasion<'_>, context: &RunContext) -> Result<Object, Reason> {
        match occasion.row {
            Some(row) if occasion.kind != Kind::Removed => self.fields(row, context),
            _ => self.fields(&self.last_known(occasion), context).map_err(|reason| {
                reason.hint("of a removed row only its primary key is known; `keep: rows` in the sync keeps the rest")
            }),
        }
    }

    fn match_on(&self, row: &Row, context: &RunContext) -> Result<Object, Reason> {
        self.keys.match_on(row, context)
    }
}

impl EventMapping {
    /// A removed row: the values that were kept, its key, and null for the rest.
    fn last_known(&self, occasion: &Occasion<'_>) -> Row {
        let value = |column: &Column| {
            let kept = occasion.row.and_then(|row| row.get(&column.name));
            let part = || {
                let at = self
                    .key_columns
                    .iter()
                    .position(|name| *name == column.name)?;
                Some(occasion.key?.0.get(at)?.to_value())
            };
            kept.cloned().or_else(part).unwrap_or(Value::Null)
        };
        Row {
            schema: Arc::clone(&self.gone),
            values: self.gone.columns.iter().map(value).collect(),
        }
    }

    /// What a row must have a value for.
    fn identified(&self, event: &Object) -> Result<(), Reason> {
        let has = |key: &str| {
            let wire = self.kind.wire(key);
            event.iter().any(|(name, _)| &**name == wire)
        };
        let missing = |key: &str, what: &str| {
            Err(Reason::new(
                Code::MatchMissing,
                format!("event.{key}: the row has no {what}"),
            )
            .detail("the value is null or empty")
            .hint("leave such rows out with `where:`, or give a `default`"))
        };
        for key in self.kind.needs() {
            if !has(key) {
                let what = if *key == "name" {
                    "name for the event"
                } else {
                    "value for it"
                };
                return missing(key, what);
            }
        }
        if self.kind != EventType::Alias && !has("user_id") && !has("anonymous_id") {
            let written = self
                .keys
                .rules()
                .iter()
                .any(|(name, _)| &**name == "user_id");
            let key = if written { "user_id" } else { "anonymous_id" };
            return missing(key, "user_id or anonymous_id");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
