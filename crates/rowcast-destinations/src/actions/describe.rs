//! An entry of the catalogue as a descriptor: validation, console forms and pages are made from it
//! as from any other connector's.

use rowcast_core::descriptor::{FieldDescription, ObjectDescription, Setting, SettingKind};
use rowcast_core::destination::{ObjectField, ObjectSchema};
use rowcast_core::record::Operation;
use rowcast_core::{Descriptor, Mode};

use super::catalogue::{Action, Entry, Field};
use crate::manifest::{keep, keep_list};

/// The settings that every one of these connectors has beside its own.
pub(super) const OAUTH: &str = "oauth";
pub(super) const ENVIRONMENT: &str = "environment";
pub(super) const REWRITE: &str = "rewrite";
pub(super) const MEMORY: &str = "memory";

/// The description of a destination of the catalogue.
pub fn descriptor(entry: &Entry) -> Descriptor {
    let mut settings: Vec<Setting> = entry.settings.iter().map(setting).collect();
    if entry.has_tokens() {
        settings.push(Setting::optional(
            OAUTH,
            SettingKind::Group(vec![
                Setting::optional(
                    "access_token",
                    SettingKind::Secret,
                    "A token that is valid now, or one that does not expire",
                ),
                Setting::optional(
                    "refresh_token",
                    SettingKind::Secret,
                    "Fetches new access tokens, with the client below",
                ),
                Setting::optional(
                    "client_id",
                    SettingKind::Text,
                    "The client that you registered at the service",
                ),
                Setting::optional("client_secret", SettingKind::Secret, "Its secret"),
            ]),
            "Your own tokens: an access token, or a client with a refresh token",
        ));
    }
    if !entry.environment.is_empty() {
        let help = format!(
            "What Segment has as a partner of the service, and you need of your own: {}",
            entry.environment.join(", ")
        );
        settings.push(Setting::optional(
            ENVIRONMENT,
            SettingKind::Map(Box::new(SettingKind::Secret)),
            keep(&help),
        ));
    }
    settings.push(Setting::optional(
        REWRITE,
        SettingKind::Map(Box::new(SettingKind::Text)),
        "Other origins in place of the service's, such as an emulator or a proxy of your own; credentials go there too",
    ));
    settings.push(
        Setting::optional(
            MEMORY,
            SettingKind::Size,
            "Memory of the actions host, at most",
        )
        .default("512MB"),
    );
    let shown: Vec<&str> = entry
        .actions
        .iter()
        .filter(|action| !action.hidden)
        .map(|action| action.name.as_str())
        .collect();
    let summary = match &entry.unsupported {
        Some(why) => format!("{} Not available here: {why}.", entry.help),
        None => entry.help.clone(),
    };
    let mut all: Vec<Operation> = entry.actions.iter().flat_map(operations).collect();
    all.sort_unstable();
    all.dedup();
    Descriptor {
        name: keep(&entry.connector()),
        title: keep(&entry.title),
        summary: keep(summary.trim()),
        settings,
        request: Vec::new(),
        operations: all,
        object_required: entry.actions.len() > 1,
        object_help: keep(&shown.join(", ")),
        objects: entry.actions.iter().map(object).collect(),
        logs_changes: false,
    }
}

/// What an action can be asked for. One with sync modes says so itself; another does the same
/// whatever happened to a row, so it serves rows that are there or, in the mode `delete`, rows that
/// are gone.
pub fn operations(action: &Action) -> Vec<Operation> {
    if action.modes.is_empty() {
        return vec![Operation::Insert, Operation::Upsert, Operation::Delete];
    }
    Operation::ALL
        .into_iter()
        .filter(|operation| {
            [Mode::Upsert, Mode::Mirror]
                .iter()
                .any(|mode| sync_mode(action, *mode, *operation).is_some())
        })
        .collect()
}

/// The action's sync mode for an operation of a sync's mode.
pub(super) fn sync_mode(action: &Action, mode: Mode, operation: Operation) -> Option<&'static str> {
    let has = |word: &str| action.modes.iter().any(|known| known == word);
    let word = match operation {
        Operation::Insert => "add",
        Operation::Update => "update",
        Operation::Upsert if has("upsert") && mode != Mode::Mirror => "upsert",
        Operation::Delete if has("delete") && mode != Mode::Mirror => "delete",
        Operation::Upsert | Operation::Delete if has("mirror") => "mirror",
        Operation::Upsert => "upsert",
        Operation::Delete => "delete",
    };
    has(word).then_some(word)
}

fn object(action: &Action) -> ObjectDescription {
    ObjectDescription {
        name: keep(&action.name),
        title: keep(&action.title),
        help: keep(&action.help),
        operations: operations(action),
        match_on: Vec::new(),
        fields: action
            .own_fields()
            .map(|field| FieldDescription {
                name: keep(&field.name),
                type_name: keep(&field.type_name()),
                required: field.required && field.literal().is_none(),
                help: keep(&field.help),
            })
            .collect(),
        any_field: false,
    }
}

fn setting(field: &Field) -> Setting {
    let words: Option<Vec<&'static str>> = field
        .choices
        .iter()
        .map(|choice| choice.as_str().map(keep))
        .collect();
    let kind = match (field.kind.as_str(), words) {
        ("boolean", _) => SettingKind::Boolean,
        ("number" | "integer", _) => SettingKind::Integer,
        _ if field.many => SettingKind::TextList,
        (_, Some(words)) if !words.is_empty() => SettingKind::Choice(keep_list(words)),
        _ if field.is_secret() => SettingKind::Secret,
        _ => SettingKind::Text,
    };
    let help = if field.help.is_empty() {
        &field.label
    } else {
        &field.help
    };
    let required = field.required && field.literal().is_none();
    let make = if required {
        Setting::required
    } else {
        Setting::optional
    };
    let mut setting = make(keep(&field.name), kind, keep(help));
    setting.default = field.literal().map(|value| match value {
        serde_json::Value::String(text) => keep(text),
        other => keep(&other.to_string()),
    });
    setting
}

/// The actions with their fields, for `discover`.
pub(super) fn schemas(entry: &Entry) -> Vec<ObjectSchema> {
    let schema = |action: &Action| ObjectSchema {
        name: action.name.as_str().into(),
        fields: action
            .own_fields()
            .map(|field| ObjectField {
                name: field.name.as_str().into(),
                type_name: field.type_name(),
                required: field.required && field.literal().is_none(),
                help: Some(field.help.clone()),
            })
            .collect(),
    };
    entry.actions.iter().map(schema).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actions::catalogue::{all, find};

    #[test]
    fn no_setting_of_a_destination_hides_one_of_ours() {
        for entry in all() {
            let descriptor = descriptor(&entry);
            let mut names: Vec<_> = descriptor.settings.iter().map(|s| s.name).collect();
            names.sort_unstable();
            let before = names.len();
            names.dedup();
            assert_eq!(names.len(), before, "{}", entry.slug);
            assert_eq!(descriptor.objects.len(), entry.actions.len());
        }
    }

    #[test]
    fn sync_modes_of_an_action_decide_what_it_is_asked_for() {
        let entry = find("google-enhanced-conversions").expect("it is there");
        let list = entry.action("userList").expect("an action");
        assert_eq!(
            operations(list),
            [Operation::Insert, Operation::Upsert, Operation::Delete]
        );
        assert_eq!(
            sync_mode(list, Mode::Mirror, Operation::Delete),
            Some("mirror")
        );
        assert_eq!(
            sync_mode(list, Mode::Delete, Operation::Delete),
            Some("delete")
        );
        let braze = find("braze").expect("it is there");
        let profile = braze.action("updateUserProfile2").expect("an action");
        assert_eq!(operations(profile), [Operation::Update]);
    }
}
