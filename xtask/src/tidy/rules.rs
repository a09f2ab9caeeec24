//! The guarantees and the numbered rules that keep them: each has its paragraph in the book and a
//! test that names it.

use std::collections::BTreeMap;

use crate::tree::Tree;

/// The page that says what each rule promises.
const PAGE: &str = "docs/src/semantics.md";

/// The rules by number, from 1.
const RULES: &[&str] = &[
    "A state row is a key, a checksum and a run",
    "State belongs to one sync and one place",
    "Keys keep their own types",
    "The rows in state are counted exactly",
    "Every ordinary change changes the checksum",
    "The seed decides what counts as changed",
    "The comparison never loses a removed row",
    "An intent before sending, a doubt after an unknown outcome",
    "Idempotency keys survive retries and nothing else",
    "Sending starts when the source transaction has ended",
    "One identity, one operation at a time",
    "Identities outside the primary key",
    "One run at a time, and a fence against late ones",
    "Exactly once into PostgreSQL",
    "A file counts when it is published",
    "What the mode skips is remembered",
    "The mirror law",
    "Cursor runs lose nothing",
    "Duplicate keys are frozen",
    "Guards hold a run before its first request",
    "Hidden rows are an error",
    "The model cannot write",
    "State in another database",
    "Time zone and session settings are pinned",
    "Everything adds up",
    "A poisoned batch is halved",
    "The log of rows",
    "A sealed plan sends what was seen or nothing",
    "Chosen keys and kept values",
    "Numbers keep their digits",
    "Taking over from other tools",
];

/// The page of the guarantees.
const GUARANTEES_PAGE: &str = "docs/src/guarantees.md";

/// The guarantees by number, from 1, with the rules that keep them.
const GUARANTEES: &[(&str, &[usize])] = &[
    (
        "State says what was acknowledged, never what was attempted",
        &[1, 4, 7, 8, 15, 16],
    ),
    (
        "At least once, in order, never an older value after a newer one",
        &[9, 11, 12, 13, 14, 17],
    ),
    ("One bad row harms only itself", &[19, 26, 27]),
    ("Every row is accounted for", &[25]),
    ("Guards hold a run before its first request", &[20, 28]),
    ("The model cannot write", &[21, 22]),
    ("Bounded", &[10]),
];

/// A test that names a rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Test {
    name: String,
    file: String,
}

/// Every test that names a rule or a guarantee, by its name, with its file.
pub(crate) fn proofs(tree: &Tree) -> BTreeMap<String, String> {
    ["rule_", "guarantee_"]
        .iter()
        .flat_map(|word| tests(tree, word).into_values().flatten())
        .map(|test| (test.name, test.file))
        .collect()
}

/// Every test by the number in its name: of the rule (`rule_`) or the guarantee (`guarantee_`).
fn tests(tree: &Tree, word: &str) -> BTreeMap<usize, Vec<Test>> {
    let mut tests: BTreeMap<usize, Vec<Test>> = BTreeMap::new();
    for (path, text) in tree.rust().filter(|(path, _)| path.starts_with("crates/")) {
        for line in text.lines() {
            let Some(name) = function(line) else { continue };
            for number in numbers(name, word) {
                tests.entry(number).or_default().push(Test {
                    name: name.to_owned(),
                    file: path.to_owned(),
                });
            }
        }
    }
    for of_one in tests.values_mut() {
        of_one.sort();
        of_one.dedup();
    }
    tests
}

/// The name of the function that a line begins.
fn function(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let line = line.strip_prefix("async ").unwrap_or(line);
    let rest = line.strip_prefix("fn ")?;
    rest.split(|c: char| !c.is_alphanumeric() && c != '_')
        .next()
}

/// The rules in a name like `rule_9_the_key_is_stable` or `rule_10_and_rule_13_hold`.
fn numbers(name: &str, word: &str) -> impl Iterator<Item = usize> {
    name.match_indices(word).filter_map(|(at, word)| {
        let (number, _) = name[at + word.len()..].split_once('_')?;
        number.parse().ok()
    })
}

/// Rules without a paragraph or without a test, and tests of rules that do not exist.
pub(super) fn check(tree: &Tree) -> Vec<String> {
    let mut problems = Vec::new();
    let headings: Vec<&str> = tree
        .get(PAGE)
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.strip_prefix("### "))
        .collect();
    let tests = tests(tree, "rule_");
    for (index, title) in RULES.iter().enumerate() {
        let number = index + 1;
        let heading = format!("{number}. {title}");
        if !headings.contains(&heading.as_str()) {
            problems.push(format!("{PAGE} lacks `### {heading}`"));
        }
        if !tests.contains_key(&number) {
            problems.push(format!(
                "rule {number} ({title}) has no test named rule_{number}_…"
            ));
        }
    }
    for (number, found) in &tests {
        if !(1..=RULES.len()).contains(number) {
            problems.push(format!(
                "{} names rule {number}, which does not exist",
                found[0].name
            ));
        }
    }
    problems.extend(check_guarantees(tree));
    problems
}

/// Guarantees that the book words otherwise, or that no test names.
fn check_guarantees(tree: &Tree) -> Vec<String> {
    let mut problems = Vec::new();
    let page = tree.get(GUARANTEES_PAGE).unwrap_or_default();
    let tests = tests(tree, "guarantee_");
    for (index, (title, _)) in GUARANTEES.iter().enumerate() {
        let number = index + 1;
        let heading = format!("## {number}. {title}");
        if !page.lines().any(|line| line == heading) {
            problems.push(format!("{GUARANTEES_PAGE} lacks `{heading}`"));
        }
        if !tests.contains_key(&number) {
            problems.push(format!(
                "guarantee {number} ({title}) has no test named guarantee_{number}_…"
            ));
        }
    }
    problems
}

/// The generated page of guarantees, rules and their tests.
pub(crate) fn page(tree: &Tree) -> String {
    let rules = tests(tree, "rule_");
    let guarantees = tests(tree, "guarantee_");
    let mut page = String::from(
        "# Guarantees, rules and their tests\n\n\
         <!-- Generated by `cargo xtask generate`; do not edit. -->\n\n\
         Every promise with the tests that would fail if it were broken. `cargo xtask test` fails \
         when a test of this page does not run, and `cargo test --workspace rule_9_` runs those of \
         rule 9.\n\n\
         ## Guarantees\n\n\
         The whole of each of the [guarantees](../guarantees.md) is tested by itself, and so is \
         each of the rules that keep it.\n\n\
         | guarantee | rules | tests |\n|---|---|---|\n",
    );
    for (index, (title, kept_by)) in GUARANTEES.iter().enumerate() {
        let number = index + 1;
        let kept_by: Vec<String> = kept_by.iter().map(usize::to_string).collect();
        let cell = cell(guarantees.get(&number)).unwrap_or_else(|| "none yet".to_owned());
        let rules = kept_by.join(", ");
        page.push_str(&format!("| {number}. {title} | {rules} | {cell} |\n"));
    }
    page.push_str("\n## Rules\n\nThe rules are those of [Semantics](../semantics.md).\n\n");
    page.push_str("| rule | tests |\n|---|---|\n");
    for (index, title) in RULES.iter().enumerate() {
        let number = index + 1;
        let cell = cell(rules.get(&number)).unwrap_or_else(|| "none yet".to_owned());
        page.push_str(&format!("| {number}. {title} | {cell} |\n"));
    }
    page
}

fn cell(tests: Option<&Vec<Test>>) -> Option<String> {
    let tests = tests?.iter();
    let lines: Vec<String> = tests
        .map(|test| format!("`{}` ({})", test.name, test.file))
        .collect();
    Some(lines.join("<br>"))
}

#[cfg(test)]
mod tests_of_this {
    use super::*;

    fn guarantees() -> (String, String) {
        let numbered = GUARANTEES.iter().enumerate();
        numbered
            .map(|(index, (title, _))| {
                let number = index + 1;
                let test = format!("fn guarantee_{number}_holds() {{}}\n");
                (format!("## {number}. {title}\n"), test)
            })
            .unzip()
    }

    fn book() -> String {
        (1..=RULES.len())
            .map(|number| format!("### {number}. {}", RULES[number - 1]))
            .collect::<Vec<_>>()
            .join("\n\nWords.\n\n")
    }

    fn code(without: usize) -> String {
        (1..=RULES.len())
            .filter(|number| *number != without)
            .map(|number| format!("    fn rule_{number}_holds() {{}}"))
            .collect::<Vec<_>>()
            .join("\n")
    }

    #[test]
    fn a_rule_without_test_or_paragraph_is_found() {
        let book = book().replace("### 7. ", "### ");
        let code = code(12);
        let (promises, kept) = guarantees();
        let tree = Tree::of(&[
            (PAGE, &book),
            (GUARANTEES_PAGE, &promises),
            ("crates/a/tests/a.rs", &code),
            ("crates/a/tests/b.rs", &kept),
        ]);
        let problems = check(&tree);
        assert_eq!(problems.len(), 2, "{problems:#?}");
        assert!(problems[0].contains("lacks `### 7. The comparison"));
        assert!(problems[1].contains("rule 12"));
    }

    #[test]
    fn a_guarantee_without_a_test_or_with_other_words_is_found() {
        let (promises, kept) = guarantees();
        let promises = promises.replace("## 7. Bounded", "## 7. Unbounded");
        let kept = kept.replace("guarantee_3_", "guarantee_33_");
        let tree = Tree::of(&[(GUARANTEES_PAGE, &promises), ("crates/a/tests/b.rs", &kept)]);
        let problems = check_guarantees(&tree);
        assert_eq!(problems.len(), 2, "{problems:#?}");
        assert!(problems[0].contains("guarantee 3"));
        assert!(problems[1].contains("lacks `## 7. Bounded`"));
    }

    #[test]
    fn rule_1_is_not_taken_for_rule_12_and_a_name_may_hold_two() {
        assert_eq!(numbers("rule_12_x", "rule_").collect::<Vec<_>>(), [12]);
        assert_eq!(
            numbers("a_rule_1_and_rule_2_b", "rule_").collect::<Vec<_>>(),
            [1, 2]
        );
        assert_eq!(numbers("the_rule_of_thumb", "rule_").count(), 0);
        assert_eq!(function("    async fn rule_3_x() {"), Some("rule_3_x"));
    }

    #[test]
    fn the_generated_page_names_each_rules_tests() {
        let code = code(31);
        let page = page(&Tree::of(&[("crates/a/tests/a.rs", &code)]));
        assert!(page.contains(
            "| 4. The rows in state are counted exactly | `rule_4_holds` (crates/a/tests/a.rs) |"
        ));
        assert!(page.contains("| 31. Taking over from other tools | none yet |"));
    }
}
