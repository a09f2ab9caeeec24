//! The rules that a compiler does not know, as tests: each is a function from the tree (or from
//! Cargo's metadata) to a list of problems, and each is itself tested with a tree that breaks it.

mod floors;
pub(crate) mod pages;
pub(crate) mod rules;
mod source;
mod traces;

use crate::Outcome;
use crate::pending::{PENDING, is_pending};
use crate::terminal::say;
use crate::tree::{Tree, root};
use crate::workspace;

/// From the tree to its problems.
type Check = fn(&Tree) -> Vec<String>;

/// Every check over the tree, by name.
const CHECKS: &[(&str, Check)] = &[
    ("source", source::check),
    ("traces", traces::check),
    ("errors", pages::check_errors),
    ("summary", pages::check_summary),
    ("links", pages::check_links),
    ("map", pages::check_map),
    ("decisions", pages::check_decisions),
    ("rules", rules::check),
];

/// What a check found: what counts, and what is known to be pending.
#[derive(Debug, Default)]
struct Found {
    problems: Vec<String>,
    pending: Vec<String>,
}

fn look(tree: &Tree) -> Result<Found, String> {
    let mut found = Found::default();
    let mut all: Vec<(&str, Vec<String>)> = CHECKS
        .iter()
        .map(|(name, check)| (*name, check(tree)))
        .collect();
    all.push(("floors", floors::check(&workspace::metadata()?)));
    for (check, problems) in all {
        for problem in problems {
            if is_pending(check, &problem) {
                found.pending.push(format!("{check}: {problem}"));
            } else {
                found.problems.push(format!("{check}: {problem}"));
            }
        }
    }
    Ok(found)
}

/// Runs all checks and says what they found.
///
/// # Errors
/// Problems, one a line.
pub(crate) fn run() -> Outcome {
    let found = look(&Tree::read(&root())?)?;
    if !found.pending.is_empty() {
        say(&format!(
            "{} things are known to be pending:",
            found.pending.len()
        ));
        for problem in &found.pending {
            say(&format!("  {problem}"));
        }
    }
    for (check, start) in PENDING {
        let needed = found
            .pending
            .iter()
            .any(|problem| problem.starts_with(&format!("{check}: {start}")));
        if !needed && *check != "generate" {
            say(&format!(
                "take ({check}, {start}) off xtask/src/pending.rs: it is done"
            ));
        }
    }
    if found.problems.is_empty() {
        say("tidy: no problems");
        Ok(())
    } else {
        Err(format!(
            "tidy found {} problems:\n  {}",
            found.problems.len(),
            found.problems.join("\n  ")
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_none(check: &str, problems: Vec<String>) {
        let problems: Vec<String> = problems
            .into_iter()
            .filter(|problem| !is_pending(check, problem))
            .collect();
        assert!(problems.is_empty(), "{}", problems.join("\n"));
    }

    fn assert_tidy(name: &str) {
        let tree = Tree::read(&root()).unwrap();
        let (_, check) = CHECKS.iter().find(|(check, _)| *check == name).unwrap();
        assert_none(name, check(&tree));
    }

    #[test]
    fn crates_keep_to_their_floors() {
        assert_none("floors", floors::check(&workspace::metadata().unwrap()));
    }

    #[test]
    fn every_file_has_its_head_and_a_bearable_length() {
        assert_tidy("source");
    }

    #[test]
    fn nothing_depends_on_one_machine() {
        assert_tidy("traces");
    }

    #[test]
    fn every_error_code_has_its_page() {
        assert_tidy("errors");
    }

    #[test]
    fn every_page_is_in_the_book() {
        assert_tidy("summary");
    }

    #[test]
    fn every_link_leads_somewhere() {
        assert_tidy("links");
    }

    #[test]
    fn every_crate_is_on_the_map() {
        assert_tidy("map");
    }

    #[test]
    fn every_decision_has_its_parts() {
        assert_tidy("decisions");
    }

    #[test]
    fn every_rule_has_its_paragraph_and_its_test() {
        assert_tidy("rules");
    }
}
