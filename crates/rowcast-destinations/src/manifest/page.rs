//! The reference page of a manifest: settings as every connector's, then objects, fields, limits.

use std::fmt::Write as _;

use rowcast_core::destination::Rate;

use super::Manifest;
use super::call::Call;
use super::object::ObjectSpec;

/// The page in Markdown.
pub fn reference_markdown(manifest: &Manifest) -> String {
    let mut out = crate::reference::reference_markdown(manifest.descriptor());
    let tried = if manifest.tried {
        "It was tried with the real service."
    } else {
        "It is proven by recorded exchanges and was never tried with the real service: try it with a few records first (`rowcast connectors try`, `rowcast run --limit 10`)."
    };
    let _ = writeln!(
        out,
        "\n## Service\n\n{tried} Its documentation: <{}>. Requests go to {} and nowhere else.\n",
        manifest.docs,
        manifest
            .hosts
            .iter()
            .map(|host| format!("`{host}`"))
            .collect::<Vec<_>>()
            .join(", "),
    );
    let connect = &manifest.connect;
    if let Some(rate) = connect.rate {
        let _ = writeln!(
            out,
            "Rate: {}, shared by all syncs of a destination.",
            words(rate)
        );
    }
    if let Some(quota) = connect.quota {
        let _ = writeln!(out, "Quota: {}.", words(quota));
    }
    let _ = writeln!(out, "Requests in flight together: {}.", connect.concurrency);
    for object in &manifest.objects {
        push_object(&mut out, object);
    }
    out
}

fn words(rate: Rate) -> String {
    let per = match rate.per.as_secs() {
        1 => "a second".to_owned(),
        60 => "a minute".to_owned(),
        3_600 => "an hour".to_owned(),
        86_400 => "a day".to_owned(),
        seconds => format!("in {seconds} seconds"),
    };
    format!("{} requests {per}", rate.requests)
}

fn push_object(out: &mut String, object: &ObjectSpec) {
    let name = if object.name == "*" {
        "any other name"
    } else {
        &object.name
    };
    let _ = writeln!(out, "\n## {}: `object: {name}`\n", object.title);
    if !object.help.is_empty() {
        let _ = writeln!(out, "{}.\n", object.help.trim_end_matches('.'));
    }
    if object.matches {
        let fields: Vec<String> = object.match_on.iter().map(|f| format!("`{f}`")).collect();
        let by = if fields.is_empty() {
            "any field".to_owned()
        } else {
            fields.join(", ")
        };
        let _ = writeln!(out, "Found by (`match_on`): {by}.\n");
    }
    out.push_str("| operation | records a request | looked up first |\n|---|---|---|\n");
    for (operation, steps) in &object.operations {
        let most = steps.calls().map(Call::most).min().unwrap_or(1);
        let looked = if steps.looks_up() { "yes" } else { "" };
        let _ = writeln!(out, "| {operation} | {most} | {looked} |");
    }
    out.push_str("\n| field | type | what it is |\n|---|---|---|\n");
    for field in object.fields.iter().chain(&object.other) {
        let name = if field.name == "*" {
            "any other".to_owned()
        } else {
            format!("`{}`", field.name)
        };
        let star = if field.required { " \\*" } else { "" };
        let help = field.help.replace('|', "\\|");
        let _ = writeln!(out, "| {name}{star} | {} | {help} |", field.type_name);
    }
}
