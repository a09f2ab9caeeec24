//! The reference pages, from the same tables that check the files.

use std::fmt::Write as _;

use rowcast_core::{Descriptor, Setting};

use crate::documents::{Document, documents};
use crate::shape::{Key, Shape, describe, keys_of};

/// One Markdown page for each kind of document: file stem and text.
pub fn reference_markdown() -> Vec<(&'static str, String)> {
    documents()
        .iter()
        .map(|document| (document.kind.as_str(), page(document)))
        .collect()
}

fn page(document: &Document) -> String {
    let mut out = format!("# `{}`\n\n{}\n\n", document.files, document.summary);
    let _ = writeln!(out, "```yaml\n{}```\n", document.example);
    out.push_str("An asterisk marks keys that must be there.\n\n");
    table(&mut out, &document.keys, "");
    out
}

/// The page of files whose keys somebody else describes, such as connector manifests.
pub fn described_markdown(files: &str, summary: &str, keys: &[Setting]) -> String {
    let mut out = format!("# `{files}`\n\n{summary}\n\n");
    out.push_str("An asterisk marks keys that must be there.\n\n");
    table(&mut out, &keys_of(keys), "");
    out
}

/// The page of a connector: its settings, operations and what `object` means.
pub fn connector_markdown(descriptor: &Descriptor) -> String {
    let mut out = format!("# {}\n\n{}\n\n", descriptor.title, descriptor.summary);
    let operations: Vec<&str> = descriptor
        .operations
        .iter()
        .map(|operation| operation.as_str())
        .collect();
    let _ = writeln!(
        out,
        "`connector: {}`. Operations: {}.",
        descriptor.name,
        operations.join(", ")
    );
    if !descriptor.object_help.is_empty() {
        let must = if descriptor.object_required {
            "required"
        } else {
            "optional"
        };
        let _ = writeln!(
            out,
            "`object:` of a sync ({must}): {}.",
            descriptor.object_help
        );
    }
    out.push_str("\n## Settings\n\n");
    settings_table(&mut out, &descriptor.settings);
    if !descriptor.request.is_empty() {
        out.push_str("\n## `request:` of a sync\n\n");
        settings_table(&mut out, &descriptor.request);
    }
    out
}

fn settings_table(out: &mut String, settings: &[Setting]) {
    if settings.is_empty() {
        out.push_str("There are none.\n");
    } else {
        table(out, &keys_of(settings), "");
    }
}

fn table(out: &mut String, keys: &[Key], prefix: &str) {
    out.push_str("| key | value | default | what it is for |\n|---|---|---|---|\n");
    rows(out, keys, prefix);
}

fn rows(out: &mut String, keys: &[Key], prefix: &str) {
    for key in keys {
        let name = format!("{prefix}{}", key.name);
        let star = if key.required { " \\*" } else { "" };
        let default = key
            .default
            .map_or(String::new(), |default| format!("`{default}`"));
        let mut help = cell(key.help);
        if let Some(example) = key.example {
            let _ = write!(help, ", such as `{}`", cell(example));
        }
        let value = cell(&describe(&key.shape));
        let _ = writeln!(
            out,
            "| `{name}`{star} | {value} | {} | {help} |",
            cell(&default)
        );
        members(out, &key.shape, &name);
    }
}

/// Keys below a key, on rows of their own.
fn members(out: &mut String, shape: &Shape, name: &str) {
    match shape {
        Shape::Group(keys) | Shape::OneOf(keys) => rows(out, keys, &format!("{name}.")),
        Shape::Map(value) => members(out, value, &format!("{name}.*")),
        // A list of what stands alone beside it would repeat the same rows.
        Shape::Either(shapes) => {
            if let Some(first) = shapes
                .iter()
                .find(|shape| matches!(shape, Shape::Group(_) | Shape::OneOf(_)))
            {
                members(out, first, name);
            }
        }
        Shape::List(item) => members(out, item, &format!("{name}[]")),
        _ => {}
    }
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}
