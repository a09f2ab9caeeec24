//! The reference page of a connector, written from its own description.

use std::fmt::Write as _;

use rowcast_core::Descriptor;
use rowcast_core::descriptor::{Setting, SettingKind};

use crate::settings::describe;

/// A connector's page in Markdown: summary, operations, every setting with its default and an
/// example.
pub fn reference_markdown(descriptor: &Descriptor) -> String {
    let mut out = format!("# {}\n\n{}\n\n", descriptor.title, descriptor.summary);
    let operations: Vec<_> = descriptor
        .operations
        .iter()
        .map(|operation| format!("`{operation}`"))
        .collect();
    let _ = writeln!(
        out,
        "`connector: {}`. Operations: {}.",
        descriptor.name,
        operations.join(", ")
    );
    if descriptor.object_required {
        let _ = writeln!(
            out,
            "\nA sync must name its `object:` ({}).",
            descriptor.object_help
        );
    }
    push_section(
        &mut out,
        "Settings",
        "under `settings:`",
        &descriptor.settings,
    );
    push_section(
        &mut out,
        "Request",
        "under `request:` of a sync",
        &descriptor.request,
    );
    out
}

fn push_section(out: &mut String, title: &str, place: &str, settings: &[Setting]) {
    if settings.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n## {title}\n\nThese go {place}.\n");
    out.push_str("| setting | form | default | meaning |\n|---|---|---|---|\n");
    push_rows(out, "", settings);
    let examples: Vec<_> = settings
        .iter()
        .filter_map(|setting| {
            setting
                .example
                .map(|example| format!("{}: {example}", setting.name))
        })
        .collect();
    if !examples.is_empty() {
        let _ = writeln!(out, "\n```yaml\n{}\n```", examples.join("\n"));
    }
}

fn push_rows(out: &mut String, prefix: &str, settings: &[Setting]) {
    for setting in settings {
        let path = format!("{prefix}{}", setting.name);
        let default = match setting.default {
            Some(default) => format!("`{default}`"),
            None if setting.required => "required".into(),
            None => String::new(),
        };
        let _ = writeln!(
            out,
            "| `{path}` | {} | {default} | {} |",
            describe(&setting.kind).replace('|', "\\|"),
            setting.help.replace('|', "\\|"),
        );
        push_members(out, &path, &setting.kind);
    }
}

fn push_members(out: &mut String, path: &str, kind: &SettingKind) {
    match kind {
        SettingKind::Group(members) | SettingKind::OneOf(members) => {
            push_rows(out, &format!("{path}."), members);
        }
        SettingKind::Either(kinds) => {
            for kind in kinds {
                push_members(out, path, kind);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_of_every_connector_is_on_its_page() {
        for descriptor in crate::CATALOG.descriptors() {
            let page = reference_markdown(&descriptor);
            for setting in descriptor.settings.iter().chain(&descriptor.request) {
                assert!(
                    page.contains(&format!("| `{}` |", setting.name)),
                    "{}: {}",
                    descriptor.name,
                    setting.name
                );
                assert!(!setting.help.is_empty(), "{}: no help", setting.name);
            }
        }
    }
}
