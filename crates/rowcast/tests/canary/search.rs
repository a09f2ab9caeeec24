//! The search for markers in whatever the program printed and keeps.

use std::collections::BTreeSet;
use std::path::Path;

use super::shop::Shop;
use super::{BASIC, MARKERS, Tunnel, open};

/// Looks for markers in everything that was printed and is kept.
pub(crate) struct Search {
    pub(crate) shop: Shop,
    pub(crate) tunnels: [Tunnel; 2],
    found: Vec<String>,
}

impl Search {
    pub(crate) fn open(name: &str) -> Self {
        let (shop, tunnels) = open(name);
        Self {
            shop,
            tunnels,
            found: Vec::new(),
        }
    }

    /// The lines of private keys: none of them may be seen alone either.
    pub(crate) fn keys(&self) -> Vec<String> {
        self.tunnels
            .iter()
            .flat_map(|tunnel| tunnel.private.lines())
            .filter(|line| line.len() > 30 && !line.starts_with("-----"))
            .map(str::to_owned)
            .collect()
    }

    pub(crate) fn look(&mut self, place: &str, text: &str) {
        let keys = self.keys();
        assert!(keys.len() >= 4, "{} lines of keys", keys.len());
        let markers = MARKERS.map(|(_, marker)| marker).into_iter().chain([BASIC]);
        for marker in markers.chain(keys.iter().map(String::as_str)) {
            if text.contains(marker) {
                let line = text.lines().find(|line| line.contains(marker));
                self.found.push(format!(
                    "{marker} in {place}: {}",
                    line.unwrap_or_default().trim()
                ));
            }
        }
    }

    /// Runs a command in each of its loudnesses; whether it succeeds does not matter here.
    pub(crate) fn command(&mut self, line: &str) {
        for more in ["", " -vv", " --json"] {
            let line = format!("{line}{more}");
            let done = self.shop.raw(&line);
            for text in [done.stdout, done.stderr] {
                self.look(&line, &String::from_utf8_lossy(&text));
            }
        }
    }

    /// Every row of every table and view of the state schemas, and every file of the project.
    pub(crate) fn kept(&mut self) {
        let relations = self.shop.sql(
            "SELECT format('SELECT %L, t::text FROM %s t;', c.oid::regclass, c.oid::regclass)
             FROM pg_class c WHERE relnamespace = '_rowcast'::regnamespace
               AND relkind IN ('r', 'v')",
        );
        assert!(relations.contains("row_log"), "{relations}");
        let rows = self.shop.sql(&relations);
        assert!(rows.contains("c1@example.com") || rows.contains("to_bearer"));
        self.look("the state schema", &rows);
        let folder = self.shop.terminal.dir.clone();
        self.files(&folder);
    }

    pub(crate) fn files(&mut self, folder: &Path) {
        for entry in std::fs::read_dir(folder).expect("read the folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                self.files(&path);
            } else {
                let bytes = std::fs::read(&path).expect("read the file");
                self.look(
                    &path.display().to_string(),
                    &String::from_utf8_lossy(&bytes),
                );
            }
        }
    }

    pub(crate) fn end(self) {
        let found: BTreeSet<String> = self.found.into_iter().collect();
        assert!(found.is_empty(), "{found:#?}");
    }
}
