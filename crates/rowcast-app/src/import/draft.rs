//! A project in the making: its objects with names of their own, and the report about them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rowcast_config::render::{Part, document};
use rowcast_core::Reason;

use super::{Added, NotCarried, Written};

/// The longest name of a file's stem.
const NAME_MAX: usize = 63;

#[derive(Debug, Default)]
pub(super) struct Draft {
    documents: BTreeMap<String, String>,
    names: BTreeSet<String>,
    /// File of a sync and the object it stands for, by its place in `written`.
    syncs: BTreeMap<String, usize>,
    pub(super) written: Vec<Written>,
    pub(super) not_carried: Vec<NotCarried>,
    pub(super) added: Vec<Added>,
    pub(super) variables: BTreeMap<String, String>,
    pub(super) notes: Vec<String>,
}

/// A document being written: its members, and what of the old object it does not say.
#[derive(Debug, Default)]
pub(super) struct Page {
    members: Vec<(String, Part)>,
    pub(super) differs: Vec<String>,
}

impl Page {
    pub(super) fn put(&mut self, key: &str, part: Part) {
        self.members.push((key.to_owned(), part));
    }

    pub(super) fn word(&mut self, key: &str, word: impl Into<String>) {
        self.put(key, Part::word(word));
    }

    pub(super) fn text(&mut self, key: &str, text: impl Into<String>) {
        self.put(key, Part::text(text));
    }

    /// The old name, when ours says less, and the old description.
    pub(super) fn describe(&mut self, words: &[&str]) {
        let words: Vec<&str> = words
            .iter()
            .copied()
            .filter(|word| !word.is_empty())
            .collect();
        if !words.is_empty() {
            self.text("description", words.join(": "));
        }
    }

    pub(super) fn paused(&mut self, enabled: bool) {
        if !enabled {
            self.word("paused", "true");
        }
    }

    pub(super) fn differs(&mut self, what: impl Into<String>) {
        self.differs.push(what.into());
    }
}

/// A map that keeps its order.
pub(super) fn map<const N: usize>(members: [(&str, Part); N]) -> Part {
    Part::Map(
        members
            .into_iter()
            .map(|(name, part)| (name.to_owned(), part))
            .collect(),
    )
}

impl Draft {
    /// A name of our own for an object: `folder` and name are its file.
    pub(super) fn name(&mut self, folder: &str, wanted: &str) -> String {
        let mut base = String::new();
        for c in wanted.chars() {
            if c.is_ascii_alphanumeric() {
                base.push(c.to_ascii_lowercase());
            } else if !base.is_empty() && !base.ends_with('_') {
                base.push('_');
            }
        }
        base.truncate(NAME_MAX - 4);
        let base = match base.trim_matches('_') {
            "" => folder.trim_end_matches('s'),
            base => base,
        };
        let mut name = base.to_owned();
        let mut number = 2;
        while !self.names.insert(format!("{folder}/{name}")) {
            name = format!("{base}_{number}");
            number += 1;
        }
        name
    }

    /// A placeholder for what must not be written down: `${env:NAME}`, with what to set it to.
    pub(super) fn secret(&mut self, name: &str, what: impl Into<String>) -> Part {
        let name = variable(name);
        self.variables.entry(name.clone()).or_insert(what.into());
        Part::Word(format!("${{env:{name}}}"))
    }

    /// A file with the document of one object, whose first key is its kind and name.
    pub(super) fn document(&mut self, kind: &str, name: &str, page: &Page) -> String {
        let path = format!("{kind}s/{name}.yml");
        let mut members = vec![(kind.to_owned(), Part::word(name))];
        members.extend(page.members.iter().cloned());
        self.documents.insert(path.clone(), document(&members));
        path
    }

    /// A file as it is.
    pub(super) fn file(&mut self, path: String, text: String) -> String {
        self.documents.insert(path.clone(), text);
        path
    }

    pub(super) fn wrote(
        &mut self,
        kind: &'static str,
        name: impl Into<String>,
        files: Vec<String>,
        differs: Vec<String>,
    ) {
        if let Some(sync) = files.iter().find(|file| file.starts_with("syncs/")) {
            self.syncs.insert(sync.clone(), self.written.len());
        }
        self.written.push(Written {
            kind,
            name: name.into(),
            files,
            differs,
        });
    }

    pub(super) fn left(
        &mut self,
        kind: impl Into<String>,
        name: impl Into<String>,
        reason: impl Into<String>,
    ) {
        self.not_carried.push(NotCarried {
            kind: kind.into(),
            name: name.into(),
            reason: reason.into(),
        });
    }

    pub(super) fn add(&mut self, path: String, why: impl Into<String>) {
        self.added.push(Added {
            path,
            why: why.into(),
        });
    }

    /// `rowcast.yml`, named after the folder.
    pub(super) fn project_file(&mut self, dir: &Path) {
        let name = std::path::absolute(dir)
            .ok()
            .and_then(|dir| Some(dir.file_name()?.to_string_lossy().into_owned()))
            .unwrap_or_default();
        let name = self.name("project", &name);
        let text = document(&[
            ("project".to_owned(), Part::word(name)),
            ("version".to_owned(), Part::word("1")),
        ]);
        self.file(rowcast_config::PROJECT_FILE.to_owned(), text);
        self.add(
            rowcast_config::PROJECT_FILE.to_owned(),
            "the project itself",
        );
    }

    pub(super) fn files(&self) -> BTreeMap<String, String> {
        self.documents.clone()
    }

    /// Takes a sync back, because something in it is wrong. `false` when the file is not a sync's.
    pub(super) fn drop_sync(&mut self, file: &str, reason: &Reason) -> bool {
        let Some(at) = self.syncs.remove(file) else {
            return false;
        };
        self.documents.remove(file);
        let written = self.written.remove(at);
        for place in self.syncs.values_mut() {
            *place -= usize::from(*place > at);
        }
        // With the files that only it had.
        for file in &written.files {
            self.documents.remove(file);
        }
        let detail = reason
            .detail
            .as_ref()
            .map(|detail| format!(": {detail}"))
            .unwrap_or_default();
        self.left(
            written.kind,
            written.name,
            format!("{}{detail}", reason.message),
        );
        true
    }
}

/// `SHOP_PASSWORD`.
pub(super) fn variable(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        if c.is_ascii_alphanumeric() {
            out.push(c.to_ascii_uppercase());
        } else if !out.is_empty() && !out.ends_with('_') {
            out.push('_');
        }
    }
    let out = out.trim_end_matches('_');
    if out.is_empty() || out.starts_with(|c: char| c.is_ascii_digit()) {
        format!("V_{out}")
    } else {
        out.to_owned()
    }
}
