//! Segment's objects in one shape, whatever they were read from.
//!
//! Terraform writes `snake_case` and settings as JSON text, the Public API `camelCase` and settings
//! as objects; both are read with the same eyes.

use serde_json::Value;

#[derive(Debug, Default)]
pub(super) struct Objects {
    pub(super) sources: Vec<Source>,
    pub(super) models: Vec<Model>,
    pub(super) destinations: Vec<Destination>,
    pub(super) subscriptions: Vec<Subscription>,
    /// Kind and name of what is read and can't be carried over, with the reason.
    pub(super) others: Vec<(String, String, String)>,
    pub(super) notes: Vec<String>,
}

#[derive(Debug)]
pub(super) struct Source {
    pub(super) id: String,
    pub(super) name: Option<String>,
    pub(super) slug: Option<String>,
    /// The catalogue's slug: `postgres`.
    pub(super) kind: Option<String>,
    pub(super) settings: Value,
    pub(super) enabled: bool,
}

#[derive(Debug)]
pub(super) struct Model {
    pub(super) id: String,
    pub(super) source: String,
    pub(super) name: String,
    pub(super) description: String,
    pub(super) enabled: bool,
    pub(super) query: Option<String>,
    pub(super) key: Option<String>,
    /// Of the time when models had schedules.
    pub(super) schedule: Option<Schedule>,
}

#[derive(Debug)]
pub(super) struct Destination {
    pub(super) id: String,
    pub(super) name: Option<String>,
    pub(super) enabled: bool,
    /// The catalogue's slug: `actions-webhook`.
    pub(super) slug: Option<String>,
    /// The catalogue's id.
    pub(super) metadata: Option<String>,
    pub(super) settings: Value,
}

#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) enabled: bool,
    pub(super) destination: String,
    pub(super) model: Option<String>,
    pub(super) action: Option<String>,
    pub(super) trigger: String,
    /// The mapping, or why it can't be read.
    pub(super) settings: Result<Value, String>,
    pub(super) schedule: Option<Schedule>,
}

#[derive(Debug)]
pub(super) struct Schedule {
    pub(super) strategy: String,
    pub(super) config: Value,
}

impl Source {
    pub(super) fn shown(&self) -> &str {
        shown(self.name.as_deref(), &self.id)
    }
}

impl Destination {
    pub(super) fn shown(&self) -> &str {
        shown(self.name.as_deref().or(self.slug.as_deref()), &self.id)
    }
}

impl Subscription {
    pub(super) fn shown(&self) -> String {
        format!("{} ({})", shown(Some(&self.name), "mapping"), self.id)
    }
}

fn shown<'a>(name: Option<&'a str>, other: &'a str) -> &'a str {
    name.filter(|name| !name.is_empty()).unwrap_or(other)
}

impl Objects {
    pub(super) fn len(&self) -> usize {
        self.sources.len()
            + self.models.len()
            + self.destinations.len()
            + self.subscriptions.len()
            + self.others.len()
    }

    /// Takes what a document holds.
    pub(super) fn take(&mut self, document: &Value) {
        let values = document.get("planned_values").or(document.get("values"));
        if let Some(root) = values.and_then(|values| values.get("root_module")) {
            self.module(root, document);
        } else if let Some(resources) = document.get("resources").and_then(Value::as_array) {
            self.state(resources);
        } else if let Some(resources) = document.get("resource").and_then(Value::as_object) {
            self.configuration(resources);
        } else {
            self.answer(document);
        }
    }

    /// A module of `terraform show -json`.
    fn module(&mut self, module: &Value, document: &Value) {
        for resource in list(module, "resources") {
            let kind = string(resource, &["type"]).unwrap_or_default();
            let values = resource.get("values").unwrap_or(&Value::Null);
            let address = string(resource, &["address"]).unwrap_or_default();
            let mut values = values.clone();
            refer(&mut values, &kind, &address, document);
            self.resource(&kind, &values, &address);
        }
        for child in list(module, "child_modules") {
            self.module(child, document);
        }
    }

    /// The resources of a `terraform.tfstate`.
    fn state(&mut self, resources: &[Value]) {
        for resource in resources {
            let kind = string(resource, &["type"]).unwrap_or_default();
            let name = string(resource, &["name"]).unwrap_or_default();
            for instance in list(resource, "instances") {
                let values = instance.get("attributes").unwrap_or(&Value::Null);
                self.resource(&kind, values, &format!("{kind}.{name}"));
            }
        }
    }

    /// The resources of a `.tf.json`, which Terraform has not evaluated.
    fn configuration(&mut self, resources: &serde_json::Map<String, Value>) {
        for (kind, named) in resources {
            for (name, body) in named.as_object().into_iter().flatten() {
                let address = format!("{kind}.{name}");
                // A block may be written as a list of one.
                let mut values = body.get(0).unwrap_or(body).clone();
                resolve(&mut values, kind);
                match expression(&values) {
                    Some(found) if kind.starts_with("segment_") => {
                        let reason = format!(
                            "it holds {found}, which only Terraform can evaluate: import the output of `terraform show -json`"
                        );
                        self.others.push((kind.clone(), address, reason));
                    }
                    _ => self.resource(kind, &values, &address),
                }
            }
        }
    }

    fn resource(&mut self, kind: &str, values: &Value, address: &str) {
        match kind {
            "segment_source" => self.source(values, address),
            "segment_reverse_etl_model" => self.model(values, address),
            "segment_destination" => self.destination(values, address),
            "segment_destination_subscription" => self.subscription(values, address),
            _ if kind.starts_with("segment_") => {
                let reason = "it is no part of Reverse ETL".to_owned();
                self.others
                    .push((kind.to_owned(), address.to_owned(), reason));
            }
            _ => {
                let note = "resources of other providers were passed over".to_owned();
                if !self.notes.contains(&note) {
                    self.notes.push(note);
                }
            }
        }
    }

    /// An answer of the Public API, or a list or an object of such things.
    fn answer(&mut self, value: &Value) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| self.answer(item)),
            Value::Object(members) => {
                if members.contains_key("actionId") && members.contains_key("destinationId") {
                    return self.subscription(value, "");
                }
                if members.contains_key("queryIdentifierColumn") {
                    return self.model(value, "");
                }
                if members.contains_key("metadata") && members.contains_key("id") {
                    // A destination is bound to a source; a source has a slug of its own.
                    return if members.contains_key("sourceId") {
                        self.destination(value, "");
                    } else {
                        self.source(value, "");
                    };
                }
                for key in [
                    "data",
                    "sources",
                    "source",
                    "models",
                    "reverseEtlModels",
                    "model",
                    "reverseEtlModel",
                    "destinations",
                    "destination",
                    "subscriptions",
                    "subscription",
                ] {
                    if let Some(inner) = members.get(key) {
                        self.answer(inner);
                    }
                }
            }
            _ => {}
        }
    }

    fn source(&mut self, value: &Value, address: &str) {
        let source = Source {
            id: id(value, address),
            name: string(value, &["name"]),
            slug: string(value, &["slug"]),
            kind: value
                .get("metadata")
                .and_then(|metadata| string(metadata, &["slug"])),
            settings: nested(value, &["settings"]).unwrap_or(Value::Null),
            enabled: enabled(value),
        };
        if self.sources.iter().all(|known| known.id != source.id) {
            self.sources.push(source);
        }
    }

    fn model(&mut self, value: &Value, address: &str) {
        let id = id(value, address);
        if self.models.iter().any(|known| known.id == id) {
            return;
        }
        self.models.push(Model {
            source: string(value, &["source_id", "sourceId"]).unwrap_or_default(),
            name: string(value, &["name"]).unwrap_or_else(|| id.clone()),
            description: string(value, &["description"]).unwrap_or_default(),
            enabled: enabled(value),
            query: string(value, &["query"]),
            key: string(value, &["query_identifier_column", "queryIdentifierColumn"]),
            schedule: string(value, &["schedule_strategy", "scheduleStrategy"]).map(|strategy| {
                Schedule {
                    strategy,
                    config: nested(value, &["schedule_config", "scheduleConfig"])
                        .unwrap_or(Value::Null),
                }
            }),
            id,
        });
    }

    fn destination(&mut self, value: &Value, address: &str) {
        let id = id(value, address);
        if self.destinations.iter().any(|known| known.id == id) {
            return;
        }
        let metadata = value.get("metadata").unwrap_or(&Value::Null);
        self.destinations.push(Destination {
            id,
            name: string(value, &["name"]),
            enabled: enabled(value),
            slug: string(metadata, &["slug"]),
            metadata: string(metadata, &["id"]),
            settings: nested(value, &["settings"]).unwrap_or(Value::Null),
        });
    }

    fn subscription(&mut self, value: &Value, address: &str) {
        let id = id(value, address);
        if self.subscriptions.iter().any(|known| known.id == id) {
            return;
        }
        let schedule = value
            .get("reverse_etl_schedule")
            .or(value.get("reverseETLSchedule"))
            .or(value.get("reverseEtlSchedule"))
            .filter(|schedule| !schedule.is_null());
        self.subscriptions.push(Subscription {
            name: string(value, &["name"]).unwrap_or_default(),
            enabled: enabled(value),
            destination: string(value, &["destination_id", "destinationId"]).unwrap_or_default(),
            model: string(value, &["model_id", "modelId"]),
            action: string(value, &["action_slug", "actionSlug"]),
            trigger: string(value, &["trigger"]).unwrap_or_default(),
            settings: nested(value, &["settings"]).and_then(|settings| match settings {
                Value::Object(_) => Ok(settings),
                _ => Err("it has no mapping in the file".to_owned()),
            }),
            schedule: schedule.and_then(|schedule| {
                Some(Schedule {
                    strategy: string(schedule, &["strategy"])?,
                    config: nested(schedule, &["config"]).unwrap_or(Value::Null),
                })
            }),
            id,
        });
    }
}

/// The members of a resource that hold ids of others.
fn references(kind: &str) -> &'static [&'static str] {
    match kind {
        "segment_reverse_etl_model" | "segment_destination" => &["source_id"],
        "segment_destination_subscription" => &["destination_id", "model_id"],
        _ => &[],
    }
}

/// `${segment_source.shop.id}` is the source at the address `segment_source.shop`.
fn resolve(values: &mut Value, kind: &str) {
    for name in references(kind) {
        let Some(Value::String(text)) = values.get_mut(*name) else {
            continue;
        };
        let address = text
            .strip_prefix("${")
            .and_then(|rest| rest.strip_suffix(".id}"))
            .filter(|address| {
                address.starts_with("segment_") && !address.contains(['[', '(', ' '])
            });
        if let Some(address) = address {
            *text = address.to_owned();
        }
    }
}

/// The first text in a value that Terraform would evaluate.
fn expression(value: &Value) -> Option<&str> {
    match value {
        Value::String(text) => {
            let plain = text.replace("$${", "").replace("%%{", "");
            (plain.contains("${") || plain.contains("%{")).then_some(text)
        }
        Value::Array(items) => items.iter().find_map(expression),
        Value::Object(members) => members.values().find_map(expression),
        _ => None,
    }
}

/// What a plan does not know yet is an id of something it makes: its address stands for it.
fn refer(values: &mut Value, kind: &str, address: &str, document: &Value) {
    let references = references(kind);
    let Some(expressions) = configured(document, address) else {
        return;
    };
    let Some(members) = values.as_object_mut() else {
        return;
    };
    for name in references {
        if members.get(*name).is_some_and(|value| !value.is_null()) {
            continue;
        }
        // `["segment_source.shop.id", "segment_source.shop"]`: the last is the resource itself.
        let target = expressions
            .get(*name)
            .map(|expression| list(expression, "references"))
            .and_then(<[Value]>::last)
            .and_then(Value::as_str);
        if let Some(target) = target {
            members.insert((*name).to_owned(), Value::from(target));
        }
    }
}

/// The expressions of a resource in the root module of a plan's configuration.
fn configured<'a>(document: &'a Value, address: &str) -> Option<&'a Value> {
    let root = document.get("configuration")?.get("root_module")?;
    list(root, "resources")
        .iter()
        .find(|resource| string(resource, &["address"]).as_deref() == Some(address))?
        .get("expressions")
}

/// Its own id, or its address where it has none yet.
fn id(value: &Value, address: &str) -> String {
    string(value, &["id"]).unwrap_or_else(|| address.to_owned())
}

fn enabled(value: &Value) -> bool {
    value
        .get("enabled")
        .and_then(Value::as_bool)
        .unwrap_or(true)
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value
        .get(key)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// A text under the first of these keys that has one.
fn string(value: &Value, keys: &[&str]) -> Option<String> {
    keys.iter()
        .find_map(|key| value.get(*key)?.as_str())
        .filter(|text| !text.is_empty())
        .map(str::to_owned)
}

/// A text or a number as text.
pub(super) fn text(value: &Value, keys: &[&str]) -> Option<String> {
    keys.iter().find_map(|key| match value.get(*key)? {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    })
}

/// Data that Terraform holds as JSON text.
fn nested(value: &Value, keys: &[&str]) -> Result<Value, String> {
    match keys.iter().find_map(|key| value.get(*key)) {
        None | Some(Value::Null) => Ok(Value::Null),
        Some(Value::String(text)) => {
            serde_json::from_str(text).map_err(|error| format!("{} is no JSON: {error}", keys[0]))
        }
        Some(value) => Ok(value.clone()),
    }
}
