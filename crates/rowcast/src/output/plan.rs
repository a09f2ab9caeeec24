//! A plan: what a run would send, with samples and requests.

use rowcast_app::view::PlanView;

use super::number::{counted, duration, grouped};
use super::problem::render as problem;
use super::table::{Align, table};
use super::{Mark, Role, Style};

/// Widest sample that is shown whole, in characters.
const FIELDS_MAX: usize = 100;

/// Lines of rendered requests that are shown.
const REQUEST_LINES: usize = 8;

/// The plan of one sync.
pub(crate) fn render(view: &PlanView, style: Style) -> String {
    let to = if view.object.is_empty() {
        view.destination.clone()
    } else {
        format!("{} / {}", view.destination, view.object)
    };
    let sends: u64 = view
        .operations
        .iter()
        .map(|operation| operation.count)
        .sum();
    let mut out = if sends == 0 {
        format!(
            "{} {}: nothing to send to {to}; {} read, none to deliver.\n",
            style.mark(Mark::Healthy),
            view.sync,
            counted(view.read, "row")
        )
    } else {
        format!(
            "{} {}: would send {} to {to} ({} mode) in {}, about {}.\n",
            style.mark(Mark::New),
            view.sync,
            counted(sends, "record"),
            view.mode,
            counted(view.calls, "request"),
            duration(view.time_ms)
        )
    };
    if view.state_rows == 0 && view.read > 0 {
        out.push_str("Nothing was delivered yet, so every row counts as added.\n");
    }
    out.push('\n');
    out.push_str(&counts(view, style));
    if !view.samples.is_empty() {
        out.push_str(&format!(
            "\n{}\n",
            style.paint(Role::Muted, "some of the records:")
        ));
        let rows = view.samples.iter().map(|sample| {
            vec![
                format!("  {}", sample.change),
                sample.key.clone(),
                sample.operation.to_owned(),
                fields(sample),
            ]
        });
        let left = ("", Align::Left);
        out.push_str(&table(style, &[left, left, left, left], rows));
    }
    out.push_str(&requests(view, style));
    if !view.reasons.is_empty() {
        out.push_str("\nCan't be sent, by reason:\n");
        for reason in &view.reasons {
            out.push_str(&format!(
                "  {:>8} × {} ({})\n",
                grouped(reason.count),
                reason.message,
                reason.code
            ));
        }
    }
    for note in &view.notes {
        out.push_str(&format!("\n{} {note}\n", style.paint(Role::Muted, "note:")));
    }
    for guard in &view.guards {
        out.push('\n');
        out.push_str(&problem(&guard.problem, style));
    }
    out
}

/// The first requests as they would be sent.
fn requests(view: &PlanView, style: Style) -> String {
    if view.requests.is_empty() {
        return String::new();
    }
    let lines: Vec<&str> = view
        .requests
        .iter()
        .flat_map(|request| request.trim_end().lines())
        .collect();
    let mut out = format!(
        "\n{}\n",
        style.paint(Role::Muted, "how they would be sent:")
    );
    for line in lines.iter().take(REQUEST_LINES) {
        out.push_str(&format!("  {line}\n"));
    }
    if let Some(more) = lines
        .len()
        .checked_sub(REQUEST_LINES)
        .filter(|more| *more > 0)
    {
        out.push_str(&format!(
            "  … and {} more (all of them with --json)\n",
            counted(more as u64, "line")
        ));
    }
    out
}

fn counts(view: &PlanView, style: Style) -> String {
    let mut rows = vec![
        ("read", view.read, String::new()),
        ("unchanged", view.unchanged, String::new()),
    ];
    for (name, count) in [
        ("added", view.added),
        ("updated", view.updated),
        ("removed", view.removed),
        ("retried", view.retried),
    ] {
        let into: Vec<String> = view
            .operations
            .iter()
            .filter(|operation| operation.change == name)
            .map(|operation| format!("{} {}", grouped(operation.count), operation.operation))
            .collect();
        rows.push((name, count, into.join(", ")));
    }
    let rows = rows
        .into_iter()
        .filter(|(name, count, _)| *name != "retried" || *count > 0)
        .map(|(name, count, into)| {
            let arrow = if into.is_empty() {
                String::new()
            } else {
                format!("→ {into}")
            };
            vec![format!("  {name}"), grouped(count), arrow]
        });
    table(
        style,
        &[("", Align::Left), ("", Align::Right), ("", Align::Left)],
        rows,
    )
}

fn fields(sample: &rowcast_app::view::SampleView) -> String {
    let json = sample.fields.get();
    if json.chars().count() > FIELDS_MAX {
        let mut text: String = json.chars().take(FIELDS_MAX - 1).collect();
        text.push('…');
        return text;
    }
    json.to_owned()
}
