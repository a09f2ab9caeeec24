//! The book: every error code has its page, every page its place, every link its end.

use std::collections::BTreeSet;

use crate::tree::{Tree, has_extension};

/// Where the codes are declared.
const CODES: &str = "crates/rowcast-core/src/code.rs";
/// Where their pages are.
const ERRORS: &str = "docs/src/errors/";
/// A page with fewer words than this below its title says nothing yet.
const WORDS_MIN: usize = 40;
/// The book's table of contents.
pub(crate) const SUMMARY: &str = "docs/src/SUMMARY.md";

/// The codes with their titles, as code.rs declares them.
fn codes(tree: &Tree) -> Vec<(String, String)> {
    let text = tree.get(CODES).unwrap_or_default();
    text.lines()
        .filter_map(|line| {
            let (_, rest) = line.split_once(" = \"E")?;
            let (digits, rest) = rest.split_once("\", ")?;
            let (_, title) = rest.split_once(", \"")?;
            Some((format!("E{digits}"), title.strip_suffix("\";")?.to_owned()))
        })
        .collect()
}

/// Codes without a page worth reading, and pages without a code.
pub(super) fn check_errors(tree: &Tree) -> Vec<String> {
    let mut problems = Vec::new();
    let codes = codes(tree);
    if codes.is_empty() {
        problems.push(format!("no error code was found in {CODES}"));
    }
    for (code, title) in &codes {
        let path = format!("{ERRORS}{code}.md");
        let Some(page) = tree.get(&path) else {
            problems.push(format!("{path} is missing: {title}"));
            continue;
        };
        let (first, body) = page.split_once('\n').unwrap_or((page, ""));
        if first != format!("# {code}: {title}") {
            problems.push(format!("{path} must start with `# {code}: {title}`"));
        }
        if body.split_whitespace().count() < WORDS_MIN {
            problems.push(format!(
                "{path} says too little: what it means, why it happens, how to fix it"
            ));
        }
    }
    for (path, _) in tree.markdown() {
        if let Some(name) = path.strip_prefix(ERRORS)
            && !name.eq_ignore_ascii_case("index.md")
            && !codes.iter().any(|(code, _)| name == format!("{code}.md"))
        {
            problems.push(format!("{path} belongs to no code"));
        }
    }
    problems
}

/// A page's title: its first heading.
pub(crate) fn title(page: &str) -> &str {
    page.lines()
        .find_map(|line| line.strip_prefix("# "))
        .unwrap_or("Untitled")
}

/// The table of contents with the lines for errors and for generated pages made anew: one for each
/// code, one for each (path, title) in `reference`. They follow the lines of the two index pages.
pub(crate) fn summary(tree: &Tree, reference: &[(String, String)]) -> String {
    let mut summary = String::new();
    for line in tree.get(SUMMARY).unwrap_or_default().lines() {
        let made_here = ["](errors/E", "](reference/"]
            .iter()
            .any(|part| line.contains(part));
        if !made_here {
            summary.push_str(line);
            summary.push('\n');
        }
        if line.contains("](errors/index.md)") {
            for (code, title) in codes(tree) {
                summary.push_str(&format!("  - [{code}: {title}](errors/{code}.md)\n"));
            }
        }
        if line == "# Reference" {
            summary.push('\n');
            for (path, title) in reference {
                summary.push_str(&format!("- [{title}]({path})\n"));
            }
        }
    }
    // The blank line after a heading is kept once.
    while summary.contains("\n\n\n") {
        summary = summary.replace("\n\n\n", "\n\n");
    }
    summary
}

/// A page in which the lines between `<!-- begin generated: … -->` and `<!-- end generated -->`
/// are replaced by the first table of `from`. `None` when either lacks its part.
pub(crate) fn with_table_of(page: &str, from: &str) -> Option<String> {
    let (before, rest) = page.split_once("<!-- begin generated: ")?;
    let (origin, rest) = rest.split_once(" -->\n")?;
    let (_, after) = rest.split_once("<!-- end generated -->")?;
    let table: Vec<&str> = from
        .lines()
        .skip_while(|line| !line.starts_with('|'))
        .take_while(|line| line.starts_with('|'))
        .collect();
    (!table.is_empty()).then(|| {
        format!(
            "{before}<!-- begin generated: {origin} -->\n{}\n<!-- end generated -->{after}",
            table.join("\n")
        )
    })
}

/// Pages that the table of contents leaves out.
pub(super) fn check_summary(tree: &Tree) -> Vec<String> {
    let summary = tree.get(SUMMARY).unwrap_or_default();
    let listed: BTreeSet<&str> = links(summary).map(|(_, to)| to).collect();
    tree.markdown()
        .filter_map(|(path, _)| path.strip_prefix("docs/src/"))
        .filter(|page| *page != "SUMMARY.md" && !listed.contains(page))
        .map(|page| format!("docs/src/{page} is not in {SUMMARY}"))
        .collect()
}

/// Links to files that do not exist.
pub(super) fn check_links(tree: &Tree) -> Vec<String> {
    let mut problems = Vec::new();
    for (path, text) in tree.markdown() {
        for (line, to) in links(text) {
            let to = to.split('#').next().unwrap_or_default();
            if to.is_empty() || to.contains("://") || to.starts_with("mailto:") {
                continue;
            }
            if !exists(tree, &resolve(path, to)) {
                problems.push(format!("{path}:{line}: the link to {to} leads nowhere"));
            }
        }
    }
    problems
}

/// The targets of inline links with their lines, code blocks left out.
fn links(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    text.lines().enumerate().flat_map(move |(index, line)| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        let line = if fenced || fence { "" } else { line };
        line.match_indices("](").filter_map(move |(at, _)| {
            // Inside `code`, brackets are no link.
            if line[..at].matches('`').count() % 2 == 1 {
                return None;
            }
            let rest = &line[at + 2..];
            Some((index + 1, &rest[..rest.find(')')?]))
        })
    })
}

/// A link's target as a path from the root.
fn resolve(from: &str, to: &str) -> String {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in to.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// Crates that the map of the code leaves out, and places named in a text that do not exist.
pub(super) fn check_map(tree: &Tree) -> Vec<String> {
    let mut problems = crates_off_the_map(tree);
    for (path, text) in tree.markdown() {
        for (index, line) in text.lines().enumerate() {
            // Every second part is inside `code`.
            for place in line.split('`').skip(1).step_by(2) {
                let is_place = ["crates/", "xtask/", "docs/", "examples/"]
                    .iter()
                    .any(|start| place.starts_with(start));
                if is_place && !place.contains(['<', '*', ' ', '…']) && !exists(tree, place) {
                    problems.push(format!("{path}:{}: there is no {place}", index + 1));
                }
            }
        }
    }
    problems
}

/// Whether a file or folder is in the tree.
fn exists(tree: &Tree, path: &str) -> bool {
    let path = path.trim_end_matches('/');
    let folder = format!("{path}/");
    tree.get(path).is_some() || tree.files().any(|(path, _)| path.starts_with(&folder))
}

fn crates_off_the_map(tree: &Tree) -> Vec<String> {
    let map = tree.get("ARCHITECTURE.md").unwrap_or_default();
    tree.files()
        .filter_map(|(path, _)| {
            let name = path.strip_prefix("crates/")?.strip_suffix("/Cargo.toml")?;
            (!map.contains(&format!("| `{name}` |"))).then(|| {
                format!("ARCHITECTURE.md says nothing of the crate {name} in its code map")
            })
        })
        .collect()
}

/// Decision records are numbered without gaps and have their four parts.
pub(super) fn check_decisions(tree: &Tree) -> Vec<String> {
    let mut problems = Vec::new();
    let folder = "docs/adr/";
    let records = tree.markdown().filter_map(|(path, text)| {
        let name = path.strip_prefix(folder)?;
        (has_extension(name, "md") && name != "README.md").then_some((path, name, text))
    });
    for (index, (path, name, text)) in records.enumerate() {
        let number = format!("{:04}-", index + 1);
        if !name.starts_with(&number) {
            problems.push(format!("{path} should begin with {number}"));
        }
        for part in [
            "## Context",
            "## Decision",
            "## What we gave up",
            "## How we would notice we were wrong",
        ] {
            if !text.lines().any(|line| line == part) {
                problems.push(format!("{path} lacks `{part}`"));
            }
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    const DECLARED: &str =
        "codes! {\n    NotThere = \"E0101\", Invalid, \"a thing is not there\";\n}\n";

    #[test]
    fn a_code_without_words_and_a_page_without_a_code_are_found() {
        let tree = Tree::of(&[
            (CODES, DECLARED),
            (
                "docs/src/errors/E0101.md",
                "# E0101: a thing is not there\n",
            ),
            ("docs/src/errors/E0999.md", "# E0999: what\n"),
        ]);
        let problems = check_errors(&tree);
        assert_eq!(problems.len(), 2, "{problems:#?}");
        assert!(problems[0].contains("says too little"));
        assert!(problems[1].contains("belongs to no code"));
    }

    #[test]
    fn a_page_must_carry_its_codes_title() {
        let body = "word ".repeat(WORDS_MIN);
        let page = format!("# E0101: something else\n\n{body}\n");
        let tree = Tree::of(&[(CODES, DECLARED), ("docs/src/errors/E0101.md", &page)]);
        let problems = check_errors(&tree);
        assert_eq!(problems.len(), 1, "{problems:#?}");
        assert!(problems[0].contains("must start with"));
    }

    #[test]
    fn pages_outside_the_summary_and_dead_links_are_found() {
        let tree = Tree::of(&[
            (SUMMARY, "- [A](a.md)\n- [B](concepts/b.md)\n"),
            (
                "docs/src/a.md",
                "[b](concepts/b.md#part) [web](https://example.com) [no](c.md)\n",
            ),
            (
                "docs/src/concepts/b.md",
                "[a](../a.md) `[x](y)`\n```\n[z](z.md)\n```\n",
            ),
            ("docs/src/lost.md", "Nobody links here.\n"),
        ]);
        let problems = check_summary(&tree);
        assert_eq!(problems, ["docs/src/lost.md is not in docs/src/SUMMARY.md"]);
        let problems = check_links(&tree);
        assert_eq!(
            problems,
            ["docs/src/a.md:1: the link to c.md leads nowhere"]
        );
    }

    #[test]
    fn a_generated_table_replaces_the_one_in_the_page() {
        let page = "A\n<!-- begin generated: x -->\nold\n<!-- end generated -->\nB\n";
        let from = "# X\n\n| a |\n|---|\n| 1 |\n\n| b |\n";
        assert_eq!(
            with_table_of(page, from).as_deref(),
            Some(
                "A\n<!-- begin generated: x -->\n| a |\n|---|\n| 1 |\n<!-- end generated -->\nB\n"
            )
        );
        assert_eq!(with_table_of("no marks", from), None);
        assert_eq!(with_table_of(page, "no table"), None);
    }

    #[test]
    fn the_summary_follows_the_codes_and_the_generated_pages() {
        let old = "# Reference\n\n- [Old](reference/old.md)\n\n\
                   - [Errors](errors/index.md)\n  - [E0001: gone](errors/E0001.md)\n";
        let tree = Tree::of(&[(SUMMARY, old), (CODES, DECLARED)]);
        let reference = [("reference/modes.md".to_owned(), "Modes".to_owned())];
        let new = "# Reference\n\n- [Modes](reference/modes.md)\n\n\
                   - [Errors](errors/index.md)\n  - [E0101: a thing is not there](errors/E0101.md)\n";
        assert_eq!(summary(&tree, &reference), new);
        let tree = Tree::of(&[(SUMMARY, new), (CODES, DECLARED)]);
        assert_eq!(
            summary(&tree, &reference),
            new,
            "made twice, it stays the same"
        );
    }

    #[test]
    fn a_crate_outside_the_map_and_a_place_that_is_not_there_are_found() {
        let map = "| `rowcast-core` | words |\nIn `crates/rowcast-core`, `crates/gone.rs`.\n";
        let tree = Tree::of(&[
            ("ARCHITECTURE.md", map),
            ("crates/rowcast-core/Cargo.toml", ""),
            ("crates/rowcast-new/Cargo.toml", ""),
        ]);
        let problems = check_map(&tree);
        assert_eq!(problems.len(), 2, "{problems:#?}");
        assert_eq!(problems[1], "ARCHITECTURE.md:2: there is no crates/gone.rs");
    }

    #[test]
    fn a_decision_record_has_its_number_and_its_parts() {
        let tree = Tree::of(&[(
            "docs/adr/0002-late.md",
            "# Late\n\n## Context\n## Decision\n",
        )]);
        assert_eq!(check_decisions(&tree).len(), 3);
    }
}
