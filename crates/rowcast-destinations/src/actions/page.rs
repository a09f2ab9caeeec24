//! A destination of the catalogue as Markdown: what `connectors show segment/NAME` prints.

use super::catalogue::{Action, Entry, Field};
use super::describe::{descriptor, operations};
use crate::settings::describe as kind_in_words;

/// Longest help of a field in a table.
const HELP_MAX: usize = 160;

/// The page of a destination.
pub fn reference_markdown(entry: &Entry) -> String {
    let descriptor = descriptor(entry);
    let mut out = format!("# {}\n\n", descriptor.name);
    if !descriptor.summary.is_empty() {
        out.push_str(&format!("{}\n\n", descriptor.summary));
    }
    out.push_str(&format!(
        "{} of Segment's catalogue (`{}`, package version {}).\n\n## Settings\n\n| setting | kind | required | default | meaning |\n|---|---|---|---|---|\n",
        entry.title,
        entry.segment,
        super::PACKAGE_VERSION
    ));
    for setting in &descriptor.settings {
        out.push_str(&format!(
            "| `{}` | {} | {} | {} | {} |\n",
            setting.name,
            cell(&kind_in_words(&setting.kind)),
            if setting.required { "yes" } else { "" },
            setting
                .default
                .map_or(String::new(), |text| format!("`{}`", cell(text))),
            cell(setting.help),
        ));
    }
    for action in &entry.actions {
        push_action(&mut out, action);
    }
    out
}

fn push_action(out: &mut String, action: &Action) {
    let words: Vec<&str> = operations(action).iter().map(|o| o.as_str()).collect();
    out.push_str(&format!("\n## object: {}\n\n{}", action.name, action.title));
    if !action.help.is_empty() {
        out.push_str(&format!(": {}", action.help));
    }
    out.push_str(&format!("\n\nOperations: {}.", words.join(", ")));
    if !action.modes.is_empty() {
        out.push_str(&format!(
            " Sync modes at Segment: {}.",
            action.modes.join(", ")
        ));
    }
    out.push_str(if action.batch {
        " Several records in a request.\n"
    } else {
        " One record in a request.\n"
    });
    out.push_str("\n| field | type | required | default | meaning |\n|---|---|---|---|---|\n");
    for field in action.own_fields() {
        push_field(out, "", field);
    }
}

fn push_field(out: &mut String, above: &str, field: &Field) {
    let name = format!("{above}{}", field.name);
    let mut help = field.help.clone();
    if let Some((end, _)) = help.char_indices().nth(HELP_MAX) {
        help.truncate(end);
        help.push('…');
    }
    if !field.choices.is_empty() {
        let words: Vec<String> = field.choices.iter().map(word).collect();
        help.push_str(&format!(" One of {}.", words.join(", ")));
    }
    if field.dynamic {
        help.push_str(" `rowcast connectors choices` asks the service.");
    }
    out.push_str(&format!(
        "| `{name}` | {} | {} | {} | {} |\n",
        cell(&field.type_name()),
        if field.required { "yes" } else { "" },
        field
            .default
            .as_ref()
            .map_or(String::new(), |value| format!("`{}`", cell(&word(value)))),
        cell(help.trim()),
    ));
    for member in &field.members {
        push_field(out, &format!("{name}."), member);
    }
}

fn word(value: &serde_json::Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}
