//! `${env:NAME}`, `${file:PATH}`, `${var:NAME}` and the escape `$${`: resolved when configuration
//! loads. Whatever holds something from the environment or a file is secret whole.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rowcast_core::{Code, Reason};

use crate::problem::{Problem, reason};
use crate::tree::Node;
use crate::walk::suggest;

/// Whether secrets are needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Secrets {
    /// A missing variable or file is a problem.
    Required,
    /// Placeholders stay as they are, and nothing is read: for `validate`, `test`, `map`.
    Lenient,
}

/// What a file was like: when it was changed, and its size; `None` when it was not there.
pub type FileStamp = Option<(Option<SystemTime>, u64)>;

/// What a file is like now.
pub fn file_stamp(path: &Path) -> FileStamp {
    let about = std::fs::metadata(path).ok()?;
    Some((about.modified().ok(), about.len()))
}

/// Where placeholders find their values.
pub(crate) struct Resolver<'a> {
    pub(crate) secrets: Secrets,
    pub(crate) lookup: &'a dyn Fn(&str) -> Option<String>,
    pub(crate) variables: &'a BTreeMap<String, String>,
    /// Names of the environment files, for hints.
    pub(crate) environment: Option<&'a str>,
    /// Relative paths start here.
    pub(crate) dir: &'a Path,
    /// Every file that was read, as it was before.
    pub(crate) read: RefCell<BTreeMap<PathBuf, FileStamp>>,
}

struct Resolved {
    text: String,
    secret: bool,
    unresolved: bool,
    from_file: Option<String>,
}

impl Resolver<'_> {
    /// Resolves every scalar of a tree.
    pub(crate) fn resolve(&self, node: &mut Node, problems: &mut Vec<Problem>) {
        node.for_each_scalar(&mut |scalar, at| {
            if !scalar.text.contains("${") {
                return;
            }
            let mut reasons = Vec::new();
            let resolved = self.text(&scalar.text, &mut reasons);
            problems.extend(reasons.into_iter().map(|reason| Problem::at(reason, at)));
            scalar.text = resolved.text;
            scalar.secret = resolved.secret;
            scalar.unresolved = resolved.unresolved;
            scalar.from_file = resolved.from_file;
        });
    }

    fn text(&self, text: &str, reasons: &mut Vec<Reason>) -> Resolved {
        let mut out = Resolved {
            text: String::with_capacity(text.len()),
            secret: false,
            unresolved: false,
            from_file: None,
        };
        let mut rest = text;
        while let Some(start) = rest.find("${") {
            let (before, after) = (&rest[..start], &rest[start + 2..]);
            if let Some(before) = before.strip_suffix('$') {
                out.text.push_str(before);
                out.text.push_str("${");
                rest = after;
                continue;
            }
            out.text.push_str(before);
            let Some(end) = after.find('}') else {
                reasons.push(
                    reason(Code::WrongType, "a placeholder `${` is not closed")
                        .hint("add the `}`, or write `$${` for the characters themselves"),
                );
                out.text.push_str("${");
                rest = after;
                break;
            };
            let (inside, whole) = (&after[..end], &rest[start..=start + 2 + end]);
            rest = &after[end + 1..];
            match inside.split_once(':') {
                Some(("var", name)) => match self.variables.get(name) {
                    Some(value) => out.text.push_str(value),
                    None => {
                        reasons.push(self.missing_variable(name));
                        out.unresolved = true;
                        out.text.push_str(whole);
                    }
                },
                Some((kind @ ("env" | "file"), name)) => {
                    out.secret = true;
                    if kind == "file" && whole == text {
                        out.from_file = Some(name.to_owned());
                    }
                    let value = match (self.secrets, kind) {
                        (Secrets::Lenient, _) => None,
                        (Secrets::Required, "env") => self.env(name, reasons),
                        (Secrets::Required, _) => self.file(name, reasons),
                    };
                    match value {
                        Some(value) => out.text.push_str(&value),
                        None => {
                            out.unresolved = true;
                            out.text.push_str(whole);
                        }
                    }
                }
                other => {
                    let kind = other.map_or(inside, |(kind, _)| kind);
                    let hint = match suggest(kind, ["env", "file", "var"].into_iter()) {
                        Some(near) => format!("did you mean `${{{near}:…}}`? `$${{` stands for the characters themselves"),
                        None => "use ${env:NAME}, ${file:PATH} or ${var:NAME}; `$${` stands for the characters themselves".into(),
                    };
                    reasons.push(
                        reason(
                            Code::WrongType,
                            format!("the placeholder `{whole}` is of no known kind"),
                        )
                        .hint(hint),
                    );
                    out.unresolved = true;
                    out.text.push_str(whole);
                }
            }
        }
        out.text.push_str(rest);
        out
    }

    fn env(&self, name: &str, reasons: &mut Vec<Reason>) -> Option<String> {
        let value = (self.lookup)(name);
        if value.is_none() {
            reasons.push(
                reason(
                    Code::MissingSecret,
                    format!("the environment variable {name} is not set"),
                )
                .hint(format!("set it before the command: export {name}='…'")),
            );
        }
        value
    }

    fn file(&self, path: &str, reasons: &mut Vec<Reason>) -> Option<String> {
        let place = self.dir.join(path);
        let stamp = file_stamp(&place);
        self.read.borrow_mut().insert(place.clone(), stamp);
        match read_secret_file(&place) {
            Ok(value) => Some(value),
            Err(error) => {
                reasons.push(
                    reason(Code::MissingSecret, format!("the secret file {path} can't be read"))
                        .detail(error.to_string())
                        .hint("create the file, or correct the path: relative paths start at the project's folder"),
                );
                None
            }
        }
    }

    fn missing_variable(&self, name: &str) -> Reason {
        let base = reason(
            Code::MissingSecret,
            format!("the variable {name} is not defined"),
        );
        let place = self.environment.map_or_else(
            || "rowcast.yml, or choose an environment that sets it with --env".to_owned(),
            |name| format!("environments/{name}.yml or rowcast.yml"),
        );
        match suggest(name, self.variables.keys().map(String::as_str)) {
            Some(near) => base.hint(format!("did you mean ${{var:{near}}}?")),
            None => base.hint(format!("add `{name}: …` under `variables:` of {place}")),
        }
    }

    /// Resolves `${var:NAME}` in SQL and leaves everything else alone: in SQL `$${` may be a
    /// dollar-quoted string, and an environment variable could be a secret in a query's text.
    pub(crate) fn sql(&self, sql: &str, reasons: &mut Vec<(usize, Reason)>) -> String {
        let mut out = String::with_capacity(sql.len());
        let mut rest = sql;
        while let Some(start) = rest.find("${") {
            let at = sql.len() - rest.len() + start;
            let after = &rest[start + 2..];
            out.push_str(&rest[..start]);
            rest = after;
            let inside = after.split_once('}').map(|(inside, _)| inside);
            let Some(name) = inside.and_then(|inside| inside.strip_prefix("var:")) else {
                if inside.is_some_and(|i| i.starts_with("env:") || i.starts_with("file:"))
                    && !out.ends_with('$')
                {
                    reasons.push((
                        at,
                        reason(Code::WrongType, "a model's SQL can't hold a secret")
                            .detail("the text of a query is shown and logged")
                            .hint("use ${var:NAME} and set it under `variables:`"),
                    ));
                }
                out.push_str("${");
                continue;
            };
            if out.ends_with('$') {
                // `$${var:` stands for the characters themselves.
                out.pop();
                out.push_str("${");
                continue;
            }
            match self.variables.get(name) {
                Some(value) => out.push_str(value),
                None => reasons.push((at, self.missing_variable(name))),
            }
            rest = &after["var:".len() + name.len() + 1..];
        }
        out.push_str(rest);
        out
    }
}

/// A secret file's text without the line break at its end.
pub(crate) fn read_secret_file(path: &Path) -> std::io::Result<String> {
    let text = std::fs::read_to_string(path)?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
}
