//! Nothing in the tree may depend on one person's machine: no local paths, no private registries,
//! no dependency from a place that others can't reach.

use crate::tree::{Tree, has_extension};

/// Files in which a trace is part of the matter, with the reason.
const EXCEPTIONS: &[(&str, &str)] = &[];

/// All traces of a local machine.
pub(super) fn check(tree: &Tree) -> Vec<String> {
    // Spelled in two parts, so that this file does not find itself.
    let local = [
        concat!("/wo", "rk/"),
        concat!("/ro", "ot/"),
        concat!("/ho", "me/"),
        concat!("/Us", "ers/"),
        concat!("../sha", "red"),
        concat!("C:\\Us", "ers"),
    ];
    let mut problems = Vec::new();
    for (path, text) in tree.files() {
        if EXCEPTIONS.iter().any(|(except, _)| *except == path) {
            continue;
        }
        for (index, line) in text.lines().enumerate() {
            for trace in local {
                if line.contains(trace) {
                    problems.push(format!(
                        "{path}:{}: `{trace}` is a path of one machine",
                        index + 1
                    ));
                }
            }
        }
    }
    for (path, text) in tree.files() {
        if path == "Cargo.lock" {
            for line in text.lines().filter(|line| line.starts_with("source = ")) {
                if line != "source = \"registry+https://github.com/rust-lang/crates.io-index\"" {
                    problems.push(format!(
                        "Cargo.lock: {line}: dependencies come from crates.io"
                    ));
                }
            }
        }
        if path.starts_with(".cargo/") && has_extension(path, "toml") {
            for key in ["[source", "[registr", "[net", "[http"] {
                if text.lines().any(|line| line.starts_with(key)) {
                    problems.push(format!(
                        "{path}: {key}…] belongs into a person's own configuration"
                    ));
                }
            }
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_paths_and_other_registries_are_found() {
        let text = format!("see {}jo/notes.md\n", concat!("/ho", "me/"));
        let tree = Tree::of(&[
            ("README.md", &text),
            ("Cargo.lock", "source = \"git+https://example.com/x\"\n"),
            (
                ".cargo/config.toml",
                "[alias]\nx = \"y\"\n[source.crates-io]\n",
            ),
        ]);
        let problems = check(&tree);
        assert_eq!(problems.len(), 3, "{problems:#?}");
    }
}
