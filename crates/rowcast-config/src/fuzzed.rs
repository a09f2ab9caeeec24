//! What fuzzing reaches of this crate: its parsers behind plain functions. Not for programs.

use std::sync::Arc;

use crate::problem::File;
use crate::tree::{self, Node, Yaml};

/// Reads a YAML text. What is found and what is wrong must lie within the text, every problem can
/// be shown, and the tree is no larger than the text can hold.
///
/// # Panics
/// One of these does not hold.
pub fn yaml(text: &str) {
    let file = Arc::new(File {
        path: "fuzzed.yml".into(),
        text: text.to_owned(),
    });
    let mut problems = Vec::new();
    let root = tree::read(&file, &mut problems);
    assert!(
        root.is_some() || !problems.is_empty() || text.len() < 4_096,
        "nothing was read and nothing is wrong"
    );
    for problem in &problems {
        assert!(!problem.render(false).is_empty());
    }
    if let Some(root) = root {
        let nodes = within(&root, file.lines().count() + 1);
        assert!(nodes <= 2 * text.len() + 1, "{nodes} nodes");
    }
}

/// The number of nodes; each lies on a line that exists.
fn within(node: &Node, lines: usize) -> usize {
    assert!(
        node.at.line() <= lines,
        "line {} of {lines}",
        node.at.line()
    );
    1 + match &node.yaml {
        Yaml::Null | Yaml::Scalar(_) => 0,
        Yaml::List(items) => items.iter().map(|item| within(item, lines)).sum(),
        Yaml::Map(entries) => entries
            .iter()
            .map(|entry| within(&entry.value, lines))
            .sum(),
    }
}
