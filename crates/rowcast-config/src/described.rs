//! YAML files whose keys somebody else describes, such as connector manifests: read as strictly as
//! the project's own, with positions for the problems that only their owner can see.
//!
//! Placeholders have no meaning in such files: they hold no secrets.

use std::sync::Arc;

use rowcast_core::{Code, Setting, SettingValue};

use crate::problem::{File, Problem};
use crate::project::Positions;
use crate::shape::{Shape, keys_of};
use crate::tree;
use crate::walk::Walker;

/// A file as a tree, and where its keys stand.
#[derive(Debug, Clone)]
pub struct Described {
    pub tree: SettingValue,
    pub positions: Positions,
}

/// Reads a file against its keys. `path` and `subject` are what messages call it: the file's name
/// and, say, `connector "crm"`.
///
/// # Errors
/// Every problem, with its place.
pub fn read_described(
    path: &str,
    text: &str,
    subject: &str,
    keys: &[Setting],
) -> Result<Described, Vec<Problem>> {
    let file = Arc::new(File {
        path: path.to_owned(),
        text: text.to_owned(),
    });
    let mut problems = Vec::new();
    let Some(node) = tree::read(&file, &mut problems) else {
        return Err(problems);
    };
    let keys = keys_of(keys);
    let mut secrets = Vec::new();
    let mut walker = Walker {
        problems: &mut problems,
        secrets: &mut secrets,
        subject: subject.to_owned(),
        wrong: Code::WrongType,
    };
    walker.group(&node, &keys, &Shape::Group(keys.clone()), "");
    if problems.is_empty() {
        Ok(Described {
            tree: node.settings(Some(&keys)),
            positions: node.positions(),
        })
    } else {
        Err(problems)
    }
}
