//! The words of the custom connector protocol: what is asked, and what the answers say.
//!
//! JSON-RPC 2.0 with the methods and shapes of Census's custom destinations. Reading is lenient where a
//! mistake is harmless: the fault is kept as a *complaint*, which the conformance suite shows and a run
//! does not mind.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rowcast_core::json::{from_json, push_string, to_text};
use rowcast_core::{Name, Operation, Value};

/// Most batches in flight that a connector can ask for, as Census has it.
const PARALLEL_MAX: usize = 50;

/// Longest wait that a connector can ask for; beyond it the run would only look hung.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 3600);

/// One call, as it is sent.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) id: String,
    pub(super) method: &'static str,
    /// The whole message, on one line.
    pub(super) text: String,
}

impl Request {
    /// A call with parameters that are the text of a JSON object.
    pub(super) fn new(method: &'static str, params: &str) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let id = format!("rowcast-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let mut text = String::with_capacity(params.len() + 80);
        text.push_str("{\"jsonrpc\":\"2.0\",\"method\":");
        push_string(&mut text, method);
        text.push_str(",\"id\":");
        push_string(&mut text, &id);
        text.push_str(",\"params\":");
        text.push_str(params);
        text.push('}');
        Self { id, method, text }
    }

    /// A call about an object.
    pub(super) fn about(method: &'static str, object: &Object) -> Self {
        let mut params = String::from("{\"object\":");
        object.push(&mut params);
        params.push('}');
        Self::new(method, &params)
    }
}

/// An error that the connector answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RpcError {
    pub(super) code: i64,
    pub(super) message: String,
    /// `error.data.retry_after`, in seconds.
    pub(super) retry_after: Option<Duration>,
}

/// Reads the answer to a call: its result, or its error.
///
/// # Errors
/// Why it is no answer to this call.
pub(super) fn read(text: &str, id: &str) -> Result<Result<Value, RpcError>, String> {
    let answer = from_json(text.trim()).map_err(|_| "it is not JSON".to_owned())?;
    if !matches!(answer, Value::Object(_)) {
        return Err("it is not a JSON object".to_owned());
    }
    match answer.get("id") {
        Some(Value::Text(given)) if &**given == id => {}
        Some(_) => return Err(format!("its `id` is not \"{id}\", that of the request")),
        None => return Err("it has no `id`".to_owned()),
    }
    match (answer.get("result"), answer.get("error")) {
        (Some(result), None | Some(Value::Null)) => Ok(Ok(result.clone())),
        (None | Some(Value::Null), Some(error @ Value::Object(_))) => Ok(Err(RpcError {
            code: match error.get("code") {
                Some(Value::Int(code)) => *code,
                _ => 0,
            },
            message: error.get("message").map(to_text).unwrap_or_default(),
            retry_after: error
                .get("data")
                .and_then(|data| number(data.get("retry_after")?))
                .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
                .map(|wait| wait.min(RETRY_AFTER_MAX)),
        })),
        (Some(_), Some(_)) => Err("it has both `result` and `error`".to_owned()),
        _ => Err("it has neither `result` nor an `error` object".to_owned()),
    }
}

/// Something the connector can write to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Object {
    pub(super) api_name: Name,
    pub(super) label: String,
    /// It takes fields of any name (`can_create_fields: on_write`).
    pub(super) any_field: bool,
}

impl Object {
    /// Appends it as parameters name it.
    pub(super) fn push(&self, out: &mut String) {
        out.push_str("{\"object_api_name\":");
        push_string(out, &self.api_name);
        out.push_str(",\"label\":");
        push_string(out, &self.label);
        out.push('}');
    }
}

/// What a list in an answer holds, and what is wrong with it without mattering.
#[derive(Debug)]
pub(super) struct Told<T> {
    pub(super) items: Vec<T>,
    pub(super) complaints: Vec<String>,
}

/// `list_objects`.
///
/// # Errors
/// What it should have been.
pub(super) fn objects(result: &Value) -> Result<Told<Object>, String> {
    let mut told = Told {
        items: Vec::<Object>::new(),
        complaints: Vec::new(),
    };
    for item in list(result, "objects")? {
        let api_name = text(item, "object_api_name")
            .filter(|name| !name.is_empty())
            .ok_or("an object has no `object_api_name`")?;
        let label = text(item, "label").unwrap_or_else(|| {
            told.complaints
                .push(format!("object {api_name} has no `label`"));
            api_name.clone()
        });
        if told.items.iter().any(|other| *other.api_name == *api_name) {
            told.complaints
                .push(format!("object {api_name} is listed twice"));
            continue;
        }
        told.items.push(Object {
            any_field: text(item, "can_create_fields").is_some_and(|word| word == "on_write"),
            api_name: api_name.as_str().into(),
            label,
        });
    }
    Ok(told)
}

/// The types of fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FieldType {
    Boolean,
    Decimal,
    Float,
    Integer,
    Date,
    DateTime,
    String,
}

impl FieldType {
    pub(super) const ALL: [(&'static str, Self); 7] = [
        ("boolean", Self::Boolean),
        ("decimal", Self::Decimal),
        ("float", Self::Float),
        ("integer", Self::Integer),
        ("date", Self::Date),
        ("date_time", Self::DateTime),
        ("string", Self::String),
    ];

    fn parse(word: &str) -> Option<Self> {
        let known = Self::ALL.iter().find(|(known, _)| *known == word);
        known.map(|(_, kind)| *kind)
    }

    /// The protocol's word.
    pub(super) fn as_str(self) -> &'static str {
        let known = Self::ALL.iter().find(|(_, known)| *known == self);
        known.map_or("string", |(word, _)| word)
    }
}

/// A field of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) api_name: Name,
    pub(super) label: String,
    /// Records can be found by it.
    pub(super) identifier: bool,
    pub(super) required: bool,
    pub(super) createable: bool,
    pub(super) updateable: bool,
    pub(super) kind: FieldType,
    pub(super) array: bool,
}

impl Field {
    /// A field that the object will make when it is first written to.
    pub(super) fn new_on_write(name: &Name, value: &Value) -> Self {
        let (array, one) = match value {
            Value::List(items) => (true, items.first().unwrap_or(&Value::Null)),
            other => (false, other),
        };
        let kind = match one {
            Value::Bool(_) => FieldType::Boolean,
            Value::Int(_) => FieldType::Integer,
            Value::Float { .. } => FieldType::Float,
            Value::Decimal(_) => FieldType::Decimal,
            Value::Date(_) => FieldType::Date,
            Value::Timestamp(_) | Value::TimestampTz(_) => FieldType::DateTime,
            _ => FieldType::String,
        };
        Self {
            api_name: name.clone(),
            label: name.to_string(),
            identifier: false,
            required: false,
            createable: true,
            updateable: true,
            kind,
            array,
        }
    }

    /// Whether anything can be written into it.
    pub(super) fn is_writable(&self) -> bool {
        self.createable || self.updateable
    }

    /// The type as people read it: `string`, `list of string`.
    pub(super) fn type_name(&self) -> String {
        let word = self.kind.as_str();
        if self.array {
            format!("list of {word}")
        } else {
            word.to_owned()
        }
    }

    /// Appends its line in the schema of a sync plan.
    pub(super) fn push(&self, out: &mut String, active_identifier: bool) {
        push_string(out, &self.api_name);
        out.push_str(&format!(
            ":{{\"active_identifier\":{active_identifier},\"field\":{{\"field_api_name\":"
        ));
        push_string(out, &self.api_name);
        out.push_str(",\"label\":");
        push_string(out, &self.label);
        out.push_str(&format!(
            ",\"identifier\":{},\"required\":{},\"createable\":{},\"updateable\":{},\"type\":\"{}\",\"array\":{}}}}}",
            self.identifier,
            self.required,
            self.createable,
            self.updateable,
            self.kind.as_str(),
            self.array,
        ));
    }
}

/// `list_fields`.
///
/// # Errors
/// What it should have been.
pub(super) fn fields(result: &Value) -> Result<Told<Field>, String> {
    let mut items: Vec<Field> = Vec::new();
    let mut complaints = Vec::new();
    for item in list(result, "fields")? {
        let name = text(item, "field_api_name")
            .filter(|name| !name.is_empty())
            .ok_or("a field has no `field_api_name`")?;
        let mut flag = |member: &str, default: bool| match item.get(member) {
            Some(Value::Bool(flag)) => *flag,
            _ => {
                complaints.push(format!("field {name} has no `{member}` of true or false"));
                default
            }
        };
        let field = Field {
            api_name: name.as_str().into(),
            identifier: flag("identifier", false),
            required: flag("required", false),
            createable: flag("createable", true),
            updateable: flag("updateable", true),
            array: flag("array", false),
            label: text(item, "label").unwrap_or_else(|| name.clone()),
            kind: text(item, "type")
                .and_then(|word| FieldType::parse(&word))
                .unwrap_or_else(|| {
                    complaints.push(format!(
                        "field {name} has no `type` of boolean, decimal, float, integer, date, date_time or string"
                    ));
                    FieldType::String
                }),
        };
        let findable = matches!(field.kind, FieldType::String | FieldType::Integer);
        if field.identifier && (field.array || !findable) {
            complaints.push(format!(
                "field {name} can't be an identifier: only one string or integer can"
            ));
        }
        if items.iter().any(|other| other.api_name == field.api_name) {
            complaints.push(format!("field {name} is listed twice"));
            continue;
        }
        items.push(field);
    }
    Ok(Told { items, complaints })
}

/// `supported_operations`. `mirror` is upsert and delete.
///
/// # Errors
/// What it should have been.
pub(super) fn operations(result: &Value) -> Result<Told<Operation>, String> {
    let mut items = Vec::new();
    let mut complaints = Vec::new();
    for item in list(result, "operations")? {
        let word = to_text(item);
        let meant: &[Operation] = match word.as_str() {
            "mirror" => &[Operation::Upsert, Operation::Delete],
            word => {
                let known = Operation::ALL.iter().find(|known| known.as_str() == word);
                known.map_or(&[], std::slice::from_ref)
            }
        };
        if meant.is_empty() {
            complaints.push(format!(
                "the operation \"{word}\" is none of upsert, insert, update, delete and mirror"
            ));
        }
        for operation in meant {
            if !items.contains(operation) {
                items.push(*operation);
            }
        }
    }
    items.sort_unstable();
    Ok(Told { items, complaints })
}

/// `get_sync_speed`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Speed {
    pub(super) batch: usize,
    pub(super) parallel: usize,
    pub(super) records_per_second: Option<f64>,
}

/// Reads `get_sync_speed`.
///
/// # Errors
/// What it should have been.
pub(super) fn speed(result: &Value) -> Result<Speed, String> {
    let most = |name: &str| -> Result<Option<f64>, String> {
        match result.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => number(value)
                .filter(|number| number.is_finite() && *number > 0.0)
                .map(Some)
                .ok_or_else(|| format!("`{name}` is not a number above 0")),
        }
    };
    let whole = |name: &str| -> Result<usize, String> {
        let number = most(name)?.ok_or_else(|| format!("it has no `{name}`"))?;
        Ok((number as usize).max(1))
    };
    Ok(Speed {
        batch: whole("maximum_batch_size")?,
        parallel: whole("maximum_parallel_batches")?.min(PARALLEL_MAX),
        records_per_second: most("maximum_records_per_second")?,
    })
}

/// `test_connection`: whether it works, and why not.
///
/// # Errors
/// What it should have been.
pub(super) fn connection(result: &Value) -> Result<Result<(), String>, String> {
    match result.get("success") {
        Some(Value::Bool(true)) => Ok(Ok(())),
        Some(Value::Bool(false)) => Ok(Err(text(result, "error_message")
            .unwrap_or_else(|| "it gave no `error_message`".to_owned()))),
        _ => Err("it has no `success` of true or false".to_owned()),
    }
}

fn list<'v>(value: &'v Value, name: &str) -> Result<&'v [Value], String> {
    match value.get(name) {
        Some(Value::List(items)) => Ok(items),
        _ => Err(format!("its result has no list `{name}`")),
    }
}

fn text(value: &Value, name: &str) -> Option<String> {
    value.get(name)?.as_text().map(str::to_owned)
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Int(_) | Value::Float { .. } | Value::Decimal(_) => to_text(value).parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Value {
        from_json(text).expect("JSON")
    }

    #[test]
    fn an_answer_belongs_to_its_request_or_is_none() {
        assert_eq!(
            read(
                r#"{"jsonrpc":"2.0","id":"7","result":{"success":true}}"#,
                "7"
            ),
            Ok(Ok(value(r#"{"success":true}"#)))
        );
        let error = read(
            r#"{"id":"7","error":{"code":429,"message":"slower","data":{"retry_after":2.5}}}"#,
            "7",
        );
        let error = error.expect("an answer").expect_err("an error");
        assert_eq!((error.code, error.message.as_str()), (429, "slower"));
        assert_eq!(error.retry_after, Some(Duration::from_millis(2_500)));
        for (text, why) in [
            ("oops", "not JSON"),
            ("[]", "not a JSON object"),
            (r#"{"id":"8","result":{}}"#, "`id` is not"),
            (r#"{"result":{}}"#, "no `id`"),
            (r#"{"id":"7"}"#, "neither"),
            (r#"{"id":"7","result":{},"error":{"code":1}}"#, "both"),
        ] {
            let told = read(text, "7").expect_err(text);
            assert!(told.contains(why), "{text}: {told}");
        }
    }

    #[test]
    fn mistakes_without_harm_are_complaints() {
        let told = fields(&value(
            r#"{"fields":[{"field_api_name":"id","label":"Id","identifier":true,"required":true,
                "createable":true,"updateable":true,"type":"integer","array":false},
               {"field_api_name":"tags","type":"text","array":true},{"field_api_name":"id"}]}"#,
        ))
        .expect("fields");
        let names: Vec<&str> = told.items.iter().map(|field| &*field.api_name).collect();
        assert_eq!(names, ["id", "tags"]);
        assert_eq!(told.items[1].type_name(), "list of string");
        assert!(told.complaints.iter().any(|told| told.contains("twice")));
        assert!(told.complaints.iter().any(|told| told.contains("`type`")));
    }

    #[test]
    fn mirror_is_upsert_and_delete() {
        let told = operations(&value(r#"{"operations":["mirror","update","merge"]}"#));
        let told = told.expect("operations");
        assert_eq!(
            told.items,
            [Operation::Update, Operation::Upsert, Operation::Delete]
        );
        assert_eq!(told.complaints.len(), 1);
    }

    #[test]
    fn a_speed_is_above_zero() {
        let told = speed(&value(
            r#"{"maximum_batch_size":5,"maximum_parallel_batches":99,"maximum_records_per_second":0.5}"#,
        ));
        let told = told.expect("a speed");
        assert_eq!((told.batch, told.parallel), (5, 50));
        assert_eq!(told.records_per_second, Some(0.5));
        assert!(
            speed(&value(
                r#"{"maximum_batch_size":0,"maximum_parallel_batches":1}"#
            ))
            .is_err()
        );
        assert!(speed(&value("{}")).is_err());
    }
}
