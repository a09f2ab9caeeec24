//! What every Rust file keeps to: a head, a bearable length, a name that says something, tests
//! that can be believed.

use crate::tree::Tree;

/// The longest a file may be without an entry in `LONG`.
const LINES_MAX: usize = 600;

/// Longer files, each with the reason why it stays in one piece.
const LONG: &[(&str, &str)] = &[];

/// Names that say nothing of what is inside.
const EMPTY_NAMES: &[&str] = &[
    "util", "utils", "common", "helper", "helpers", "types", "misc", "models",
];

/// What floor 0 must never touch, whatever its dependencies allow.
const WORLD: &[&str] = &[
    "std::fs",
    "std::net",
    "std::env",
    "std::process",
    "SystemTime::now",
    "Instant::now",
    "Timestamp::now",
    "Zoned::now",
];

/// All problems of form.
pub(super) fn check(tree: &Tree) -> Vec<String> {
    let mut problems = Vec::new();
    for (path, text) in tree.rust() {
        if !text.starts_with("//!") {
            problems.push(format!(
                "{path} does not start with `//!`: what is it for, what must it never do?"
            ));
        }
        let lines = text.lines().count();
        if lines > LINES_MAX && !LONG.iter().any(|(long, _)| *long == path) {
            problems.push(format!("{path} has {lines} lines: divide it by step, or give a reason in LONG of xtask/src/tidy/source.rs"));
        }
        for part in path.trim_end_matches(".rs").split('/') {
            if EMPTY_NAMES.contains(&part) {
                problems.push(format!("{path}: `{part}` names no concept"));
            }
        }
        if path.starts_with("crates/rowcast-core/src/") {
            for word in WORLD {
                if code(text).any(|(_, line)| line.contains(word)) {
                    problems.push(format!(
                        "{path} uses {word}: floor 0 knows nothing of the world"
                    ));
                }
            }
        }
        unfinished(path, text, &mut problems);
        sleeping(path, text, &mut problems);
    }
    for (path, _) in LONG {
        match tree.get(path) {
            Some(text) if text.lines().count() > LINES_MAX => {}
            _ => problems.push(format!("{path} is in LONG and need not be")),
        }
    }
    problems
}

/// The lines that are no comments, with their numbers from 1.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line))
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
}

/// Marks of unfinished work. Spelled in two parts, so that this file does not find itself.
fn unfinished(path: &str, text: &str, problems: &mut Vec<String>) {
    let marks = [
        concat!("#[ig", "nore"),
        concat!("to", "do!("),
        concat!("unimple", "mented!("),
        concat!("FIX", "ME"),
        concat!("TO", "DO"),
    ];
    for (index, line) in text.lines().enumerate() {
        for mark in marks {
            if line.contains(mark) {
                problems.push(format!(
                    "{path}:{}: `{mark}`: finish it, or take it out",
                    index + 1
                ));
            }
        }
    }
}

/// The engine's simulation, whose time is virtual: waiting there is what the tests are about.
const VIRTUAL_TIME: &str = "crates/rowcast-engine/tests/simulation/";

/// Waiting for time to pass makes a test slow, and wrong on a slow machine.
fn sleeping(path: &str, text: &str, problems: &mut Vec<String>) {
    if path.starts_with(VIRTUAL_TIME) {
        return;
    }
    let call = concat!("sle", "ep(");
    let whole = path.contains("/tests/");
    let mut inside = whole;
    for (number, line) in code(text) {
        inside |= line.trim() == "#[cfg(test)]";
        // A query that takes long is a thing to test with, not a wait.
        let sleeps = line
            .match_indices(call)
            .any(|(at, _)| !line[..at].ends_with("pg_"));
        if inside && sleeps {
            problems.push(format!(
                "{path}:{number}: a test sleeps: wait for the event itself"
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_head_with_an_empty_name_or_unfinished_work_is_found() {
        let text = format!("fn a() {{ {}\"later\") }}\n", concat!("to", "do!("));
        let tree = Tree::of(&[("crates/a/src/util.rs", &text)]);
        let problems = check(&tree);
        assert_eq!(problems.len(), 3, "{problems:#?}");
    }

    #[test]
    fn a_long_file_is_found() {
        let text = format!("//! Head.\n{}", "//\n".repeat(LINES_MAX));
        let problems = check(&Tree::of(&[("crates/a/src/diff.rs", &text)]));
        assert_eq!(problems.len(), 1, "{problems:#?}");
        assert!(problems[0].contains("601 lines"));
    }

    #[test]
    fn sleeping_is_found_in_tests_and_nowhere_else() {
        let call = concat!("sle", "ep(one).await;");
        let program = format!("//! Head.\nfn a() {{ {call} }}\n");
        let unit = format!("{program}#[cfg(test)]\nmod tests {{ {call} }}\n");
        let slow = format!("//! Head.\nquery(\"SELECT pg_{call}\");\n");
        let tree = Tree::of(&[
            ("crates/a/src/backoff.rs", &program),
            ("crates/a/src/deliver.rs", &unit),
            ("crates/a/tests/deliver.rs", &program),
            ("crates/a/tests/cancel.rs", &slow),
        ]);
        let problems = check(&tree);
        assert_eq!(problems.len(), 2, "{problems:#?}");
        assert!(problems[0].starts_with("crates/a/src/deliver.rs:4"));
        assert!(problems[1].starts_with("crates/a/tests/deliver.rs:2"));
    }

    #[test]
    fn floor_0_may_speak_of_the_world_but_not_touch_it() {
        let tree = Tree::of(&[
            (
                "crates/rowcast-core/src/a.rs",
                "//! Head: no std::fs.\nuse std::time::Instant;\n",
            ),
            ("crates/rowcast-core/src/b.rs", "//! Head.\nuse std::fs;\n"),
        ]);
        let problems = check(&tree);
        assert_eq!(problems.len(), 1, "{problems:#?}");
        assert!(problems[0].contains("b.rs uses std::fs"));
    }
}
