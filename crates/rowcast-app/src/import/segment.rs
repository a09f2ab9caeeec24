//! Segment's sources, models, destinations and mappings ("subscriptions"), from Terraform's JSON or
//! answers of the Public API.

mod catalogue;
mod objects;
mod schedule;
mod target;

use std::collections::BTreeMap;
use std::path::PathBuf;

use rowcast_config::render::Part;
use rowcast_core::segment::{Mapping, Trigger};
use serde_json::Value;

use super::draft::{Draft, Page};
use super::unreadable;
use crate::Answer;
use crate::failure::file_reason;
use objects::{Destination, Model, Objects, Source, Subscription};

/// What Segment calls its objects.
const SOURCE: &str = "source";
const MODEL: &str = "model";
const DESTINATION: &str = "destination";
const SUBSCRIPTION: &str = "mapping";

pub(super) fn read(files: &[PathBuf]) -> Answer<Draft> {
    let mut objects = Objects::default();
    for file in files {
        let text =
            std::fs::read_to_string(file).map_err(|error| file_reason("read", file, &error))?;
        let shown = || file.display();
        let documents: Result<Vec<Value>, _> = serde_json::Deserializer::from_str(&text)
            .into_iter::<Value>()
            .collect();
        let documents = documents.map_err(|error| {
            unreadable(
                shown(),
                format!("it is no JSON: {error}"),
                "Terraform writes it: terraform show -json > segment.json",
            )
        })?;
        let before = objects.len();
        for document in &documents {
            objects.take(document);
        }
        if objects.len() == before {
            return Err(unreadable(
                shown(),
                "it holds no sources, models, destinations or subscriptions of Segment",
                "give the output of `terraform show -json`, a terraform.tfstate, a .tf.json, or answers of Segment's Public API",
            ));
        }
    }
    Ok(Writer::default().write(objects))
}

/// Names of what was written, by the ids of Segment.
#[derive(Default)]
struct Writer {
    draft: Draft,
    sources: BTreeMap<String, String>,
    models: BTreeMap<String, String>,
    /// Why a source or model is not there, for those who need it.
    absent: BTreeMap<String, String>,
}

impl Writer {
    fn write(mut self, objects: Objects) -> Draft {
        for source in &objects.sources {
            let wanted = objects.models.iter().any(|model| model.source == source.id);
            self.source(source, wanted);
        }
        for model in &objects.models {
            self.model(model);
        }
        let mut writer = Targets::default();
        for subscription in &objects.subscriptions {
            let destination = objects
                .destinations
                .iter()
                .find(|destination| destination.id == subscription.destination);
            self.subscription(subscription, destination, &objects.models, &mut writer);
        }
        for destination in &objects.destinations {
            self.destination(destination, &objects.subscriptions, &mut writer);
        }
        for (kind, name, reason) in objects.others {
            self.draft.left(kind, name, reason);
        }
        self.draft.notes.extend(objects.notes);
        self.draft
    }

    fn source(&mut self, source: &Source, wanted: bool) {
        let name = source.shown();
        if let Some(kind) = source
            .kind
            .as_deref()
            .filter(|kind| !kind.contains("postgres"))
        {
            let reason = format!("it is {kind}; Rowcast reads PostgreSQL");
            self.absent.insert(source.id.clone(), reason.clone());
            self.draft.left(SOURCE, name, reason);
            return;
        }
        if !wanted && source.kind.is_none() {
            let reason = "no model reads from it: it sends events, or feeds nothing";
            self.draft.left(SOURCE, name, reason);
            return;
        }
        let own = self
            .draft
            .name("sources", source.slug.as_deref().unwrap_or(name));
        let mut page = Page::default();
        page.describe(&[name]);
        let setting = |keys: &[&str]| {
            keys.iter()
                .find_map(|key| objects::text(&source.settings, &[key]))
        };
        let known = [
            ("host", setting(&["hostname", "host"])),
            ("port", setting(&["port"])),
            ("database", setting(&["database", "dbname"])),
            ("user", setting(&["username", "user"])),
        ];
        if known
            .iter()
            .all(|(key, value)| value.is_some() || *key == "port")
        {
            for (key, value) in known {
                match value {
                    Some(value) if key == "port" && value.parse::<u16>().is_ok() => {
                        page.word(key, value);
                    }
                    Some(value) => page.text(key, value),
                    None => {}
                }
            }
            let secret = self.draft.secret(
                &format!("{own}_password"),
                format!("the password of the role that reads source {name}"),
            );
            page.put("password", secret);
        } else {
            let secret = self.draft.secret(
                &format!("{own}_url"),
                format!("postgresql://user:password@host:5432/database of source {name}"),
            );
            page.put("url", secret);
            page.differs("its connection is not in the file; it comes from a variable");
        }
        if source.kind.is_none() {
            page.differs("the file does not say what database it is; Rowcast reads PostgreSQL");
        }
        page.paused(source.enabled);
        let file = self.draft.document("source", &own, &page);
        self.sources.insert(source.id.clone(), own);
        self.draft.wrote(SOURCE, name, vec![file], page.differs);
    }

    /// A source that models read from and that is not in the file.
    fn source_of(&mut self, id: &str) -> String {
        if let Some(name) = self.sources.get(id) {
            return name.clone();
        }
        let own = self.draft.name("sources", "warehouse");
        let mut page = Page::default();
        let secret = self.draft.secret(
            &format!("{own}_url"),
            format!("postgresql://user:password@host:5432/database of Segment's source {id}"),
        );
        page.put("url", secret);
        let file = self.draft.document("source", &own, &page);
        self.draft.add(
            file,
            format!("models read from Segment's source {id}, which is not in the file"),
        );
        self.sources.insert(id.to_owned(), own.clone());
        own
    }

    fn model(&mut self, model: &Model) {
        let refused = match (&model.query, &model.key) {
            (None, _) => {
                Some("it has no query; models of dbt projects have none in the file".to_owned())
            }
            (_, None) => Some("it has no identifier column".to_owned()),
            _ => self
                .absent
                .get(&model.source)
                .map(|reason| format!("its source is not carried over: {reason}")),
        };
        if let Some(reason) = refused {
            self.absent.insert(model.id.clone(), reason.clone());
            self.draft.left(MODEL, &model.name, reason);
            return;
        }
        let (Some(query), Some(key)) = (&model.query, &model.key) else {
            return;
        };
        let source = self.source_of(&model.source);
        let own = self.draft.name("models", &model.name);
        let mut page = Page::default();
        page.describe(&[&model.name, &model.description]);
        page.word("source", source);
        page.put("primary_key", Part::List(vec![Part::text(key)]));
        page.paused(model.enabled);
        let files = vec![
            self.draft.document("model", &own, &page),
            self.draft.file(
                format!("models/{own}.sql"),
                format!("{}\n", query.trim_end().replace("${", "$${")),
            ),
        ];
        self.models.insert(model.id.clone(), own);
        self.draft.wrote(MODEL, &model.name, files, page.differs);
    }

    fn subscription(
        &mut self,
        subscription: &Subscription,
        destination: Option<&Destination>,
        models: &[Model],
        targets: &mut Targets,
    ) {
        match self.sync(subscription, destination, models, targets) {
            Ok(()) => {}
            Err(reason) => self.draft.left(SUBSCRIPTION, subscription.shown(), reason),
        }
    }

    fn sync(
        &mut self,
        subscription: &Subscription,
        destination: Option<&Destination>,
        models: &[Model],
        targets: &mut Targets,
    ) -> Result<(), String> {
        let Some(model_id) = &subscription.model else {
            return Err("it has no model: it belongs to an event source".to_owned());
        };
        let destination = destination.ok_or_else(|| {
            format!(
                "its destination {} is not in the file",
                subscription.destination
            )
        })?;
        if let Some(reason) = self.absent.get(model_id) {
            return Err(format!("its model is not carried over: {reason}"));
        }
        let Some(model) = self.models.get(model_id).cloned() else {
            return Err(format!("its model {model_id} is not in the file"));
        };
        let settings = subscription.settings.as_ref().map_err(Clone::clone)?;
        let target = target::find(destination, subscription)?;
        let mapped = (target.map)(destination, subscription, settings)?;
        check(&mapped.mapping)?;
        let trigger = Trigger::parse(&subscription.trigger)
            .map_err(|error| format!("its trigger can't be read: {error}"))?;

        let at = self.place(targets, destination, target, &mapped);
        let own = self.draft.name("syncs", &format!("{model}_to_{at}"));
        let mut page = Page::default();
        page.describe(&[&subscription.name]);
        page.word("model", model);
        page.word("destination", at);
        if let Some(object) = &mapped.object {
            page.word("object", object);
        }
        if let Some(mode) = target::mode(settings, &trigger, target) {
            page.word("mode", mode);
        }
        page.text("on", &subscription.trigger);
        page.put("mapping", Part::data(&mapped.mapping));
        if let Some(request) = &mapped.request {
            page.put("request", request.clone());
        }
        let of_model = models.iter().find(|model| model.id == *model_id);
        let old = subscription
            .schedule
            .as_ref()
            .or(of_model.and_then(|model| model.schedule.as_ref()));
        schedule::put(&mut page, old);
        page.paused(subscription.enabled);
        page.differs.extend(mapped.differs.clone());
        let file = self.draft.document("sync", &own, &page);
        let shown = subscription.shown();
        self.draft
            .wrote(SUBSCRIPTION, shown, vec![file], page.differs);
        Ok(())
    }

    /// The destination's file for a mapping: mappings with the same settings share one.
    fn place(
        &mut self,
        targets: &mut Targets,
        destination: &Destination,
        target: &target::Target,
        mapped: &target::Mapped,
    ) -> String {
        let key = format!("{:?} {:?}", mapped.connector, mapped.settings);
        let files = targets.files.entry(destination.id.clone()).or_default();
        if let Some((_, name)) = files.iter().find(|(same, _)| *same == key) {
            return name.clone();
        }
        let own = self.draft.name("destinations", destination.shown());
        let mut page = Page::default();
        page.describe(&[destination.shown()]);
        let connector = mapped.connector.as_deref();
        page.word("connector", connector.unwrap_or(target.connector));
        let settings = (target.settings)(&mut self.draft, &own, destination, mapped);
        page.put("settings", settings);
        if let Some(records) = mapped.batch {
            page.put(
                "batch",
                super::draft::map([("max_records", Part::word(records.to_string()))]),
            );
        }
        page.paused(destination.enabled);
        self.draft.document("destination", &own, &page);
        files.push((key, own.clone()));
        own
    }

    fn destination(
        &mut self,
        destination: &Destination,
        subscriptions: &[Subscription],
        targets: &mut Targets,
    ) {
        let name = destination.shown();
        if let Some(files) = targets.files.remove(&destination.id) {
            let files = files
                .iter()
                .map(|(_, name)| format!("destinations/{name}.yml"))
                .collect();
            let differs = target::differs(destination);
            self.draft.wrote(DESTINATION, name, files, differs);
            return;
        }
        let own: Vec<&Subscription> = subscriptions
            .iter()
            .filter(|subscription| subscription.destination == destination.id)
            .collect();
        let reason = match own.iter().find(|subscription| subscription.model.is_some()) {
            None => "no mapping of a model leads to it".to_owned(),
            Some(first) => match target::find(destination, first) {
                Err(reason) => reason,
                Ok(_) => "none of its mappings is carried over".to_owned(),
            },
        };
        self.draft.left(DESTINATION, name, reason);
    }
}

/// The files of each destination, with the settings they were made from.
#[derive(Default)]
struct Targets {
    files: BTreeMap<String, Vec<(String, String)>>,
}

/// Whether a mapping is one, as Segment checks it.
fn check(mapping: &Value) -> Result<(), String> {
    let value = rowcast_core::json::from_json(&mapping.to_string())
        .map_err(|error| format!("its mapping can't be read: {error}"))?;
    Mapping::new(value).map(drop).map_err(|problems| {
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        format!("its mapping is not valid: {}", problems.join(" "))
    })
}
