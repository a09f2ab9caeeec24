//! A manifest as a descriptor: what validation, console forms, editors and pages are made from.

use std::collections::HashSet;
use std::sync::{Mutex, OnceLock, PoisonError};

use rowcast_core::descriptor::{FieldDescription, ObjectDescription, Setting, SettingKind};
use rowcast_core::destination::{ObjectField, ObjectSchema};
use rowcast_core::json::to_text;
use rowcast_core::record::Operation;
use rowcast_core::{Descriptor, SettingValue};

use super::object::ObjectSpec;
use super::{ENDPOINT, Manifest, SettingSpec, SpecKind};

/// What the setting is for that all these connectors have.
pub fn endpoint_help() -> &'static str {
    "Another origin in place of the service's, such as an emulator or a proxy of your own; credentials go there too"
}

pub(super) fn empty() -> Descriptor {
    Descriptor {
        name: "",
        title: "",
        summary: "",
        settings: Vec::new(),
        request: Vec::new(),
        operations: Vec::new(),
        object_required: false,
        object_help: "",
        objects: Vec::new(),
        logs_changes: false,
    }
}

pub(super) fn descriptor(manifest: &Manifest) -> Descriptor {
    let mut settings: Vec<Setting> = manifest.settings.iter().map(setting).collect();
    settings.push(Setting::optional(
        ENDPOINT,
        SettingKind::Text,
        endpoint_help(),
    ));
    let named: Vec<&str> = manifest
        .objects
        .iter()
        .map(|object| object.name.as_str())
        .filter(|name| *name != "*")
        .collect();
    let any = manifest.objects.iter().find(|object| object.name == "*");
    let mut help = named.join(", ");
    if let Some(any) = any {
        help.push_str(if named.is_empty() { "" } else { ", or " });
        help.push_str(&any.help);
    }
    Descriptor {
        name: keep(&manifest.name),
        title: keep(&manifest.title),
        summary: keep(&manifest.summary),
        settings,
        request: Vec::new(),
        operations: Operation::ALL
            .into_iter()
            .filter(|operation| {
                let mut objects = manifest.objects.iter();
                objects.any(|object| object.steps(*operation).is_some())
            })
            .collect(),
        object_required: named.len() != 1 || any.is_some(),
        object_help: keep(&help),
        objects: manifest.objects.iter().map(object).collect(),
        logs_changes: false,
    }
}

fn object(object: &ObjectSpec) -> ObjectDescription {
    ObjectDescription {
        name: keep(&object.name),
        title: keep(&object.title),
        help: keep(&object.help),
        operations: object
            .operations
            .iter()
            .map(|(operation, _)| *operation)
            .collect(),
        match_on: object.match_on.iter().map(|name| keep(name)).collect(),
        fields: object
            .fields
            .iter()
            .map(|field| FieldDescription {
                name: keep(&field.name),
                type_name: keep(&field.type_name),
                required: field.required,
                help: keep(&field.help),
            })
            .collect(),
        any_field: object.other.is_some(),
    }
}

fn setting(spec: &SettingSpec) -> Setting {
    let kind = match &spec.kind {
        SpecKind::Text => SettingKind::Text,
        SpecKind::Secret => SettingKind::Secret,
        SpecKind::Integer => SettingKind::Integer,
        SpecKind::Boolean => SettingKind::Boolean,
        SpecKind::Choice(words) => {
            let words: Vec<&'static str> = words.iter().map(|(word, _)| keep(word)).collect();
            SettingKind::Choice(keep_list(words))
        }
    };
    let mut setting = if spec.required {
        Setting::required(keep(&spec.name), kind, keep(&spec.help))
    } else {
        Setting::optional(keep(&spec.name), kind, keep(&spec.help))
    };
    setting.default = spec.default.as_ref().map(|value| keep(&to_text(value)));
    setting.example = spec.example.as_deref().map(keep);
    setting
}

/// The objects with their fields, for `discover`.
pub(super) fn schemas(manifest: &Manifest) -> Vec<ObjectSchema> {
    let described = manifest.objects.iter().filter(|object| object.name != "*");
    described
        .map(|object| ObjectSchema {
            name: object.name.as_str().into(),
            fields: object
                .fields
                .iter()
                .map(|field| ObjectField {
                    name: field.name.as_str().into(),
                    type_name: field.type_name.clone(),
                    required: field.required,
                    help: Some(field.help.clone()),
                })
                .collect(),
        })
        .collect()
}

/// What of a destination's settings says which place at the service it is, without secrets: state
/// belongs to it (semantics 2).
pub fn place(manifest: &Manifest, settings: &SettingValue) -> Vec<(String, String)> {
    let mut place = Vec::new();
    let own = manifest.settings.iter().filter(|spec| spec.place);
    let names = own.map(|spec| (spec.name.as_str(), spec.default.as_ref()));
    for (name, default) in names.chain([(ENDPOINT, None)]) {
        let text = match settings.get(name) {
            Some(SettingValue::Secret(secret)) => {
                let hash = blake3::hash(secret.reveal().as_bytes());
                format!("hash {}", &hash.to_hex()[..16])
            }
            Some(SettingValue::Bool(value)) => value.to_string(),
            Some(value) => value.as_text().unwrap_or_default().to_owned(),
            None => match default {
                Some(default) => to_text(default),
                None => continue,
            },
        };
        place.push((name.to_owned(), text));
    }
    place
}

/// Keeps a text for as long as the program runs. Descriptors are made of such texts; the same text
/// is kept once, however often a project is read.
pub(crate) fn keep(text: &str) -> &'static str {
    static KEPT: OnceLock<Mutex<HashSet<&'static str>>> = OnceLock::new();
    let kept = KEPT.get_or_init(Mutex::default);
    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(same) = kept.get(text) {
        return same;
    }
    let text: &'static str = Box::leak(text.to_owned().into_boxed_str());
    kept.insert(text);
    text
}

/// The same for the words of a choice.
pub(crate) fn keep_list(words: Vec<&'static str>) -> &'static [&'static str] {
    static KEPT: OnceLock<Mutex<HashSet<&'static [&'static str]>>> = OnceLock::new();
    let kept = KEPT.get_or_init(Mutex::default);
    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(same) = kept.get(words.as_slice()) {
        return same;
    }
    let words: &'static [&'static str] = words.leak();
    kept.insert(words);
    words
}
