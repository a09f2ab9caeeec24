//! The end of a run: a sentence, the two sides of the balance, rejected grouped by reason.

use rowcast_app::view::RunView;
use rowcast_core::RunStatus;

use super::number::{counted, duration, grouped};
use super::problem::render;
use super::{Mark, Role, Style};

/// Reasons shown before the rest is counted.
const REASONS_SHOWN: usize = 10;

/// A whole report.
pub(crate) fn report(view: &RunView, style: Style) -> String {
    let mut out = format!("{} {}\n", style.mark(mark(view.ended)), sentence(view));
    if view.first && view.ended != RunStatus::Held {
        out.push_str("This was the first run, so every row counted as added.\n");
    }
    if view.read + view.changes() > 0 {
        out.push('\n');
        out.push_str(&balance(view, style));
    }
    let reasons = grouped_reasons(view);
    if !reasons.is_empty() {
        out.push('\n');
        out.push_str(&reasons);
    }
    for note in &view.notes {
        out.push_str(&format!("\n{} {note}\n", style.paint(Role::Muted, "note:")));
    }
    for guard in &view.guards {
        out.push('\n');
        out.push_str(&render(&guard.problem, style));
    }
    if let Some(failure) = &view.failure
        && !view.guards.iter().any(|g| g.problem == *failure)
    {
        out.push('\n');
        out.push_str(&render(failure, style));
    }
    if view.rejected + view.invalid > 0 {
        out.push_str(&format!(
            "\nSee them with `rowcast rejects {}`; the next runs try rejected rows again.\n",
            view.sync
        ));
    }
    out
}

fn mark(status: RunStatus) -> Mark {
    match status {
        RunStatus::Succeeded => Mark::Healthy,
        RunStatus::Partial | RunStatus::Cancelled | RunStatus::Held => Mark::Warning,
        RunStatus::Failed => Mark::Failing,
        RunStatus::Running => Mark::New,
    }
}

/// `Delivered 1,204 of 1,209 changes to crm / contact in 41 s; 5 rejected.`
pub(crate) fn sentence(view: &RunView) -> String {
    let to = if view.object.is_empty() {
        view.destination.clone()
    } else {
        format!("{} / {}", view.destination, view.object)
    };
    let took = duration(view.duration_ms);
    let mut rest = String::new();
    for (count, word) in [
        (view.rejected, "rejected"),
        (view.invalid, "invalid"),
        (view.skipped, "skipped"),
        (view.held, "held"),
        (view.pending, "pending"),
    ] {
        if count > 0 {
            rest.push_str(if rest.is_empty() { "; " } else { ", " });
            rest.push_str(&format!("{} {word}", grouped(count)));
        }
    }
    let delivered = if view.changes() == 0 {
        format!(
            "Nothing to deliver to {to}: {} read, none changed, in {took}{rest}.",
            counted(view.read, "row")
        )
    } else {
        format!(
            "Delivered {} of {} to {to} in {took}{rest}.",
            grouped(view.delivered),
            counted(view.changes(), "change"),
        )
    };
    match view.ended {
        RunStatus::Succeeded | RunStatus::Partial | RunStatus::Running => delivered,
        RunStatus::Failed if view.read + view.changes() == 0 => format!(
            "Run {} of {} failed before anything was compared or sent.",
            view.run, view.sync
        ),
        RunStatus::Failed => format!("Run {} of {} failed. {delivered}", view.run, view.sync),
        RunStatus::Cancelled => format!(
            "Run {} of {} was cancelled; what was delivered is kept. {delivered}",
            view.run, view.sync
        ),
        RunStatus::Held => format!(
            "Held {} before the first request; nothing was sent to {to}.",
            view.sync
        ),
    }
}

/// The two sides that must add up, side by side.
pub(crate) fn balance(view: &RunView, style: Style) -> String {
    let mut left = vec![
        ("read", view.read, false),
        ("unchanged", view.unchanged, false),
        ("added", view.added, true),
        ("updated", view.updated, true),
        ("removed", view.removed, true),
    ];
    if view.retried > 0 {
        left.push(("retried", view.retried, true));
    }
    if view.invalid_keys > 0 {
        left.push(("invalid key", view.invalid_keys, false));
    }
    let mut right = vec![
        ("delivered", view.delivered),
        ("rejected", view.rejected),
        ("invalid", view.invalid),
        ("skipped", view.skipped),
    ];
    if view.held > 0 {
        right.push(("held", view.held));
    }
    right.push(("pending", view.pending));
    let most = right.iter().map(|(_, count)| *count).max().unwrap_or(0);
    let width = left
        .iter()
        .map(|(_, count, _)| grouped(*count).len())
        .chain(right.iter().map(|(_, count)| grouped(*count).len()))
        .max()
        .unwrap_or(1)
        .max(6);
    let muted = |count: u64, text: String| {
        if count == 0 {
            style.paint(Role::Muted, &text)
        } else {
            text
        }
    };
    let gap = " ".repeat(6);
    let mut out = style.paint(
        Role::Muted,
        &format!(" {:<w$}{gap}destination", "source", w = 12 + width),
    );
    out.push('\n');
    for i in 0..left.len().max(right.len()) {
        let mut line = match left.get(i) {
            Some((name, count, _)) => {
                let cell = format!("{:>width$}", grouped(*count));
                format!(" {name:<12}{}", muted(*count, cell))
            }
            None => " ".repeat(13 + width),
        };
        if let Some((name, count)) = right.get(i) {
            let cell = format!("{:>width$}", grouped(*count));
            line.push_str(&format!("{gap}{name:<10}{}", muted(*count, cell)));
            let bar = bar(*count, most, style);
            if !bar.is_empty() {
                line.push_str(&format!("  {bar}"));
            }
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// A bar of at most 20 cells; anything above zero shows at least a sliver.
fn bar(count: u64, most: u64, style: Style) -> String {
    if count == 0 || most == 0 {
        return String::new();
    }
    let cells = (count as f64 / most as f64 * 20.0) as usize;
    match (cells, style.unicode) {
        (0, true) => "▏".to_owned(),
        (0, false) => ".".to_owned(),
        (cells, true) => "█".repeat(cells),
        (cells, false) => "#".repeat(cells),
    }
}

fn grouped_reasons(view: &RunView) -> String {
    if view.reasons.is_empty() {
        return String::new();
    }
    let mut out = String::from("Not delivered, by reason:\n");
    for reason in view.reasons.iter().take(REASONS_SHOWN) {
        out.push_str(&format!(
            "  {:>8} × {} ({})\n",
            grouped(reason.count),
            reason.message,
            reason.code
        ));
    }
    if let Some(more) = view
        .reasons
        .len()
        .checked_sub(REASONS_SHOWN)
        .filter(|n| *n > 0)
    {
        out.push_str(&format!(
            "           and {}\n",
            counted(more as u64, "other reason")
        ));
    }
    out
}

#[cfg(test)]
mod tests {
    use rowcast_core::RunReport;
    use rowcast_core::ledger::DiffCounts;

    use super::*;

    fn sample() -> RunReport {
        let mut report = RunReport::new("contacts".into(), 7, 0);
        report.status = RunStatus::Partial;
        report.duration_us = 41_200_000;
        report.counts = DiffCounts {
            read: 98_412,
            unchanged: 97_228,
            added: 310,
            updated: 874,
            removed: 25,
            state_rows: 98_127,
            ..DiffCounts::default()
        };
        report.delivered = 1_204;
        report.rejected = 5;
        report
            .reasons
            .insert(("E0603".into(), "invalid email".into()), 3);
        report
            .reasons
            .insert(("E0603".into(), "unknown plan".into()), 2);
        report
    }

    #[test]
    fn a_report_is_a_sentence_two_sides_and_reasons() {
        let report_of = sample();
        report_of.balance().unwrap();
        let view = RunView::new(&report_of, "crm", "contact");
        insta::assert_snapshot!(report(&view, Style::PLAIN), @r"
        ▲ Delivered 1,204 of 1,209 changes to crm / contact in 41 s; 5 rejected.

         source                  destination
         read        98,412      delivered  1,204  ████████████████████
         unchanged   97,228      rejected       5  ▏
         added          310      invalid        0
         updated        874      skipped        0
         removed         25      pending        0

        Not delivered, by reason:
                 3 × invalid email (E0603)
                 2 × unknown plan (E0603)

        See them with `rowcast rejects contacts`; the next runs try rejected rows again.
        ");
    }

    #[test]
    fn a_run_without_changes_says_so() {
        let mut report_of = sample();
        report_of.status = RunStatus::Succeeded;
        report_of.counts = DiffCounts {
            read: 1_000,
            unchanged: 1_000,
            state_rows: 1_000,
            ..DiffCounts::default()
        };
        report_of.delivered = 0;
        report_of.rejected = 0;
        report_of.reasons.clear();
        let view = RunView::new(&report_of, "crm", "");
        assert_eq!(
            sentence(&view),
            "Nothing to deliver to crm: 1,000 rows read, none changed, in 41 s."
        );
    }
}
