//! Whether the tests that prove the promises did run: named in the book is not enough.
//!
//! The names come from the source text, what ran from the harness's own words. A test that is
//! ignored, filtered out or not compiled is as good as absent.

use std::collections::{BTreeMap, BTreeSet};

/// The names of tests that passed, collected from the lines of the harness.
#[derive(Debug, Default)]
pub(crate) struct Passed(BTreeSet<String>);

impl Passed {
    /// Looks at a line like `test outcomes::rule_8_a_doubt ... ok`.
    pub(crate) fn look(&mut self, line: &str) {
        let name = line
            .strip_prefix("test ")
            .and_then(|rest| rest.strip_suffix(" ... ok"));
        if let Some(name) = name {
            let name = name.rsplit("::").next().unwrap_or(name);
            // `name - should panic` is one way to pass.
            let name = name.split(' ').next().unwrap_or(name);
            self.0.insert(name.to_owned());
        }
    }

    /// The tests that should have run and did not. `elsewhere` says of a file that it is run only
    /// when it is asked for.
    pub(crate) fn missing(
        &self,
        proofs: &BTreeMap<String, String>,
        elsewhere: impl Fn(&str) -> bool,
    ) -> Vec<String> {
        proofs
            .iter()
            .filter(|(name, file)| !self.0.contains(*name) && !elsewhere(file))
            .map(|(name, file)| format!("{name} ({file}) proves something and did not run"))
            .collect()
    }
}

/// The package and the test target that a file under `tests` belongs to.
pub(crate) fn target(file: &str) -> Option<(&str, &str)> {
    let (package, rest) = file.strip_prefix("crates/")?.split_once("/tests/")?;
    let name = rest.split('/').next()?;
    Some((package, name.strip_suffix(".rs").unwrap_or(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_that_was_ignored_or_left_out_is_missing() {
        let mut passed = Passed::default();
        for line in [
            "test a::rule_1_x ... ok",
            "test rule_2_y ... ignored",
            "test rule_3_z - should panic ... ok",
            "test result: ok. 2 passed; 0 failed",
        ] {
            passed.look(line);
        }
        let proofs = ["rule_1_x", "rule_2_y", "rule_3_z", "rule_4_w", "rule_10_v"]
            .map(|name| (name.to_owned(), format!("crates/a/tests/{name}.rs")))
            .into();
        let missing = passed.missing(&proofs, |file| file.contains("rule_10"));
        assert_eq!(missing.len(), 2, "{missing:?}");
        assert!(missing[0].starts_with("rule_2_y") && missing[1].starts_with("rule_4_w"));
    }

    #[test]
    fn a_file_belongs_to_its_test_target() {
        assert_eq!(target("crates/a/tests/b.rs"), Some(("a", "b")));
        assert_eq!(target("crates/a/tests/b/c.rs"), Some(("a", "b")));
        assert_eq!(target("crates/a/src/b.rs"), None);
    }
}
