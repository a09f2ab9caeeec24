//! A connection as a sync to the data plane.

use std::collections::{BTreeMap, BTreeSet};

use rowcast_config::render::Part;
use serde_json::Value;

use super::specs::{Spec, target, text};
use super::{DESTINATION, MODEL, TABLE, Writer};
use crate::import::draft::{Draft, Page, map};
use crate::wire;

/// What RudderStack calls one connection.
const CONNECTION: &str = "retl-connection";
/// The connector that all of them need.
const CONNECTOR: &str = "rudderstack";

/// RudderStack's destinations with an object, and the mapper that makes what each takes: one entry
/// for each that is known.
const OBJECT_MAPPERS: &[(&str, &str)] = &[("bingads_offline_conversions", "record")];

/// The cursor columns of the models' connections.
pub(super) struct Cursors(BTreeMap<String, BTreeSet<Option<String>>>);

/// The cursor columns that connections ask of their models.
pub(super) fn cursors(specs: &[Spec]) -> Cursors {
    let mut found: BTreeMap<String, BTreeSet<Option<String>>> = BTreeMap::new();
    for one in specs.iter().flat_map(Spec::connections) {
        if let Some(source) = source(one) {
            let cursor = one
                .get("config")
                .and_then(|config| text(config, "cursor_column"));
            found.entry(source).or_default().insert(cursor);
        }
    }
    Cursors(found)
}

impl Cursors {
    /// The column, where all connections of the model have the same.
    pub(super) fn of(&self, model: &str) -> Option<&str> {
        let found = self.0.get(model)?;
        match (found.len(), found.first()) {
            (1, Some(Some(column))) => Some(column),
            _ => None,
        }
    }
}

fn source(connection: &Value) -> Option<String> {
    let reference = text(connection, "source")?;
    target(&reference, MODEL).or_else(|| target(&reference, TABLE))
}

impl Writer {
    pub(super) fn connection(&mut self, connection: &Value, specs: &[Spec], cursors: &Cursors) {
        let id = text(connection, "id").unwrap_or_else(|| "(without an id)".to_owned());
        if let Err(reason) = self.sync(connection, &id, specs, cursors) {
            if let Some(destination) = destination(connection) {
                self.absent.entry(destination).or_insert_with(|| {
                    format!("its connection {id} is not carried over: {reason}")
                });
            }
            self.draft.left(CONNECTION, id, reason);
        }
    }

    fn sync(
        &mut self,
        connection: &Value,
        id: &str,
        specs: &[Spec],
        cursors: &Cursors,
    ) -> Result<(), String> {
        let config = connection.get("config").unwrap_or(&Value::Null);
        let model_id = source(connection).ok_or("it names no source that can be read")?;
        if let Some(reason) = self.absent.get(&model_id) {
            return Err(format!("its source is not carried over: {reason}"));
        }
        let model = self
            .models
            .get(&model_id)
            .cloned()
            .ok_or_else(|| format!("its source {model_id} is not in the folder"))?;
        let to = destination(connection).ok_or("it names no destination that can be read")?;
        let spec = specs
            .iter()
            .find(|spec| spec.kind == DESTINATION && spec.id == to);
        if !wire::descriptors()
            .iter()
            .any(|descriptor| descriptor.name == CONNECTOR)
        {
            return Err(format!(
                "it needs the connector {CONNECTOR}, which this build does not have"
            ));
        }
        let object = text(config, "object");
        let mapper = mapper(object.as_deref(), spec)?;
        let behaviour = text(config, "sync_behaviour").unwrap_or_else(|| "upsert".to_owned());
        if behaviour == "mirror" && mapper == "json" {
            return Err("mirror needs a destination with objects; calls of type identify and track delete nothing".to_owned());
        }
        let mut page = Page::default();
        page.word("model", model.clone());
        let at = self.place(&to, spec, mapper);
        page.word("destination", at.clone());
        match &object {
            Some(object) => self::object(&mut page, config, object)?,
            None => call(&mut page, config)?,
        }
        match behaviour.as_str() {
            "upsert" => {}
            "mirror" => page.word("mode", "mirror"),
            "full" => page.word("refresh", "full"),
            other => return Err(format!("its sync behaviour {other} is not known")),
        }
        schedule(&mut page, config);
        settings(&mut page, config);
        if let Some(column) = text(config, "cursor_column")
            && cursors.of(&model_id) != Some(column.as_str())
        {
            page.differs(format!("its cursor column {column} is left out, because other connections of the model have none or another: it compares all rows"));
        }
        let enabled = connection
            .get("enabled")
            .and_then(Value::as_bool)
            .unwrap_or(true);
        page.paused(enabled);
        let own = self.draft.name("syncs", id);
        let file = self.draft.document("sync", &own, &page);
        self.draft.wrote(CONNECTION, id, vec![file], page.differs);
        Ok(())
    }

    /// The destination's file: the data plane, with a write key of its own.
    fn place(&mut self, id: &str, spec: Option<&Spec>, mapper: &str) -> String {
        if let Some(own) = self.destinations.get(id) {
            return own.clone();
        }
        let own = self.draft.name("destinations", id);
        let mut page = Page::default();
        let shown = spec.and_then(|spec| text(&spec.body, "display_name"));
        page.describe(&[shown.as_deref().unwrap_or_default()]);
        page.word("connector", CONNECTOR);
        page.put("settings", plane(&mut self.draft, &own, id, mapper));
        page.paused(spec.is_none_or(|spec| spec.enabled));
        let file = self.draft.document("destination", &own, &page);
        if spec.is_none() {
            self.draft.add(
                file,
                format!("connections lead to destination {id}, which is not in the folder"),
            );
        }
        self.destinations.insert(id.to_owned(), own.clone());
        own
    }
}

fn destination(connection: &Value) -> Option<String> {
    target(&text(connection, "destination")?, DESTINATION)
}

/// `mapper:` of the connector.
fn mapper(object: Option<&str>, spec: Option<&Spec>) -> Result<&'static str, String> {
    let Some(object) = object else {
        return Ok("json");
    };
    let kind = spec.and_then(|spec| text(&spec.body, "type"));
    OBJECT_MAPPERS
        .iter()
        .find(|(known, _)| Some(*known) == kind.as_deref())
        .map(|(_, mapper)| *mapper)
        .ok_or_else(|| {
            format!(
                "it fills the object {object} of a destination of type {}, and what such objects are sent as is not known here",
                kind.as_deref().unwrap_or("unknown")
            )
        })
}

fn plane(draft: &mut Draft, own: &str, id: &str, mapper: &str) -> Part {
    let url = draft.secret(
        "RUDDERSTACK_DATA_PLANE_URL",
        "the address of the RudderStack data plane, such as https://plane.example.com",
    );
    let key = draft.secret(
        &format!("{own}_write_key"),
        format!(
            "the write key of a source of the data plane that is connected to destination {id}"
        ),
    );
    let mut members = vec![
        ("data_plane_url".to_owned(), url),
        ("write_key".to_owned(), key),
    ];
    if mapper != "json" {
        members.push(("mapper".to_owned(), Part::word(mapper)));
    }
    Part::Map(members)
}

fn pairs(config: &Value, key: &str, names: [&str; 2]) -> Result<Vec<(String, String)>, String> {
    let items = config.get(key).and_then(Value::as_array);
    items
        .map_or(&[][..], Vec::as_slice)
        .iter()
        .map(|item| {
            let part = |name| {
                text(item, name).ok_or_else(|| format!("an entry of its {key} has no {name}"))
            };
            Ok((part(names[0])?, part(names[1])?))
        })
        .collect()
}

/// A column, also where its name would read as a template.
fn column(name: &str) -> Part {
    if name.contains("{{") {
        map([("column", Part::text(name))])
    } else {
        Part::text(name)
    }
}

/// The JSON mapper: an identify or track call.
fn call(page: &mut Page, config: &Value) -> Result<(), String> {
    let event = config.get("event").unwrap_or(&Value::Null);
    let kind = text(event, "type").unwrap_or_else(|| "identify".to_owned());
    if !["identify", "track"].contains(&kind.as_str()) {
        return Err(format!("its event type {kind} is not known"));
    }
    page.word("object", kind.clone());
    let mut fields = Vec::new();
    for (from, to) in pairs(config, "identifiers", ["from", "to"])? {
        fields.push((to, column(&from)));
    }
    match (text(event, "name"), text(event, "name_column")) {
        (Some(name), _) => fields.push(("event".to_owned(), map([("literal", Part::text(name))]))),
        (None, Some(from)) => fields.push(("event".to_owned(), column(&from))),
        (None, None) if kind == "track" => return Err("its events have no name".to_owned()),
        (None, None) => {}
    }
    for (from, to) in pairs(config, "mappings", ["from", "to"])? {
        fields.push((to, column(&from)));
    }
    for (key, value) in pairs(config, "constants", ["key", "value"])? {
        fields.push((key, map([("literal", Part::text(value))])));
    }
    page.put("fields", Part::Map(fields));
    Ok(())
}

/// Object mapping: one identifier, fields in the destination's names.
fn object(page: &mut Page, config: &Value, object: &str) -> Result<(), String> {
    page.text("object", object);
    let identifiers = pairs(config, "identifiers", ["from", "to"])?;
    if identifiers.is_empty() {
        return Err("it has no identifier".to_owned());
    }
    let matched = identifiers
        .into_iter()
        .map(|(from, to)| (to, Part::text(from)))
        .collect();
    page.put("match_on", Part::Map(matched));
    let fields = pairs(config, "mappings", ["from", "to"])?
        .into_iter()
        .map(|(from, to)| (to, column(&from)))
        .collect();
    page.put("fields", Part::Map(fields));
    Ok(())
}

fn schedule(page: &mut Page, config: &Value) {
    let schedule = config.get("schedule").unwrap_or(&Value::Null);
    let part = match text(schedule, "type").as_deref() {
        Some("manual") | None => return,
        Some("basic") => text(schedule, "every_minutes")
            .map(|minutes| map([("every", Part::Word(format!("{minutes}m")))])),
        Some("cron") => {
            text(schedule, "cron_expression").map(|cron| map([("cron", Part::text(cron))]))
        }
        Some(_) => None,
    };
    match part {
        Some(part) => page.put("schedule", part),
        None => page.differs(format!(
            "its schedule {schedule} has no counterpart: it runs when you run it"
        )),
    }
}

fn settings(page: &mut Page, config: &Value) {
    let settings = config.get("sync_settings").unwrap_or(&Value::Null);
    let retry = settings
        .get("failed_keys")
        .and_then(|keys| keys.get("retry"))
        .and_then(Value::as_bool);
    if retry == Some(false) {
        page.put("retry", map([("runs", Part::word("0"))]));
    }
    if settings.get("sync_logs").is_some() {
        page.differs("how long runs and rows are remembered is said for all syncs, by `retention:` in rowcast.yml");
    }
}
