//! The catalogue of Segment's package: every destination, action and field, generated from the
//! package itself (`actions-host/generate.js`) and known without Node.
//!
//! Compressed in the program, unpacked when somebody asks for it, and read one destination at a time.

use std::collections::HashMap;
use std::io::Read as _;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use serde::Deserialize;
use serde_json::Value;

/// One destination a line.
const PACKED: &[u8] = include_bytes!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../actions-host/catalogue.jsonl.gz"
));

/// Fields that steer batches: Rowcast fills them in.
pub(super) const CONTROLS: [&str; 4] =
    ["enable_batching", "batch_size", "batch_bytes", "batch_keys"];

/// A destination of the package.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Entry {
    /// The word after `segment/`.
    pub slug: String,
    /// Segment's own id of the destination, which its API calls `metadataId`.
    pub id: String,
    /// Segment's own slug: `actions-hubspot-cloud`.
    pub segment: String,
    pub title: String,
    pub help: String,
    /// `custom`, `basic`, `oauth2`, `oauth-managed`, or empty.
    pub scheme: String,
    /// The package can try the credentials.
    pub tested: bool,
    /// Why it does not run here.
    pub unsupported: Option<String>,
    /// Variables that its code reads: credentials that Segment has as a partner of the service.
    pub environment: Vec<String>,
    pub settings: Vec<Field>,
    pub actions: Vec<Action>,
}

/// What a destination can be asked for: an object of the connector.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Action {
    pub name: String,
    pub title: String,
    pub help: String,
    /// Segment does not offer it any more.
    pub hidden: bool,
    /// It takes several records in a request.
    pub batch: bool,
    /// `add`, `update`, `upsert`, `delete`, `mirror`; empty when it always does the same.
    pub modes: Vec<String>,
    /// The trigger that Segment proposes.
    pub subscription: String,
    pub fields: Vec<Field>,
}

/// A setting of a destination, or a field of an action.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Field {
    pub name: String,
    pub label: String,
    pub help: String,
    /// `string`, `text`, `password`, `number`, `integer`, `boolean`, `datetime`, `object`.
    #[serde(rename = "type")]
    pub kind: String,
    pub format: String,
    /// A list of them.
    pub many: bool,
    pub required: bool,
    /// A literal, or a directive of the mapping language.
    pub default: Option<Value>,
    pub maximum: Option<f64>,
    pub hidden: bool,
    /// The service can be asked for its choices.
    pub dynamic: bool,
    /// An object with members of any name.
    pub any: bool,
    pub choices: Vec<Value>,
    pub members: Vec<Field>,
}

impl Entry {
    /// The word after `connector:`.
    pub fn connector(&self) -> String {
        format!("{}{}", super::PREFIX, self.slug)
    }

    /// An action by its name; the only one there is when the name is empty.
    pub fn action(&self, name: &str) -> Option<&Action> {
        match self.actions.as_slice() {
            [only] if name.is_empty() => Some(only),
            all => all.iter().find(|action| action.name == name),
        }
    }

    /// Whether credentials are tokens that expire.
    pub fn has_tokens(&self) -> bool {
        matches!(self.scheme.as_str(), "oauth2" | "oauth-managed")
    }
}

impl Action {
    /// A field by its name.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// The fields that people map: without those that steer batches.
    pub fn own_fields(&self) -> impl Iterator<Item = &Field> {
        let mut fields = self.fields.iter();
        std::iter::from_fn(move || fields.find(|field| !CONTROLS.contains(&field.name.as_str())))
    }
}

impl Field {
    /// The default, where it is a value and no directive about the row.
    pub fn literal(&self) -> Option<&Value> {
        self.default.as_ref().filter(|value| !has_directive(value))
    }

    /// Whether a setting's value must not be shown: the package marks only some of them.
    pub fn is_secret(&self) -> bool {
        let name = self.name.to_ascii_lowercase();
        let words = ["key", "token", "secret", "password", "passwd"];
        self.kind == "password"
            || self.choices.is_empty()
                && self.kind == "string"
                && words.iter().any(|word| name.contains(word))
    }

    /// The type in words: `string`, `list of object`.
    pub fn type_name(&self) -> String {
        if self.many {
            format!("list of {}", self.kind)
        } else {
            self.kind.clone()
        }
    }
}

fn has_directive(value: &Value) -> bool {
    match value {
        Value::Object(members) => members
            .iter()
            .any(|(name, value)| name.starts_with('@') || has_directive(value)),
        Value::Array(items) => items.iter().any(has_directive),
        Value::String(text) => text.contains("{{"),
        _ => false,
    }
}

fn text() -> &'static str {
    static TEXT: OnceLock<String> = OnceLock::new();
    TEXT.get_or_init(|| {
        let mut text = String::new();
        // A test holds that it can be unpacked and read whole.
        let _ = flate2::read::GzDecoder::new(PACKED).read_to_string(&mut text);
        text
    })
}

fn slug_of(line: &str) -> Option<&str> {
    line.strip_prefix("{\"slug\":\"")?.split('"').next()
}

/// The words after `segment/`, in order.
pub fn slugs() -> impl Iterator<Item = &'static str> {
    text().lines().filter_map(slug_of)
}

/// A destination by its slug.
pub fn find(slug: &str) -> Option<Arc<Entry>> {
    static READ: OnceLock<Mutex<HashMap<&'static str, Arc<Entry>>>> = OnceLock::new();
    let read = READ.get_or_init(Mutex::default);
    let mut read = read.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(entry) = read.get(slug) {
        return Some(Arc::clone(entry));
    }
    let line = text().lines().find(|line| slug_of(line) == Some(slug))?;
    let entry: Arc<Entry> = Arc::new(serde_json::from_str(line).ok()?);
    read.insert(slug_of(line)?, Arc::clone(&entry));
    Some(entry)
}

/// All of them, by slug.
pub fn all() -> Vec<Arc<Entry>> {
    slugs().filter_map(find).collect()
}

/// The slug of a connector's name, if it is one of these.
pub fn slug(connector: &str) -> Option<&str> {
    connector.strip_prefix(super::PREFIX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_package_is_there() {
        let all = all();
        assert_eq!(all.len(), 214);
        let actions: usize = all.iter().map(|entry| entry.actions.len()).sum();
        assert_eq!(actions, 601);
        let batched = all
            .iter()
            .flat_map(|entry| &entry.actions)
            .filter(|action| action.batch);
        assert_eq!(batched.count(), 212);
        let mut schemes: HashMap<&str, usize> = HashMap::new();
        for entry in &all {
            *schemes.entry(&entry.scheme).or_default() += 1;
        }
        assert_eq!(schemes["custom"], 159);
        assert_eq!(schemes["oauth2"], 28);
        assert_eq!(schemes["basic"], 17);
        assert_eq!(schemes["oauth-managed"], 6);
        assert_eq!(schemes[""], 4);
        assert!(all.iter().all(|entry| !entry.title.is_empty()));
    }

    #[test]
    fn a_literal_default_is_told_from_a_directive() {
        let slack = find("slack").expect("it is there");
        let action = slack.action("").expect("the only one");
        let literal = action.field("username").and_then(Field::literal);
        assert_eq!(literal, Some(&Value::from("Segment")));
        let hubspot = find("hubspot").expect("it is there");
        let contact = hubspot.action("upsertContact").expect("an action");
        assert_eq!(contact.field("email").and_then(Field::literal), None);
        assert!(find("hubspott").is_none());
    }
}
