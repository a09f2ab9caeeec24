//! What is wrong with a project file, and where: the errors people see before anything runs.
//!
//! A problem must never show a secret: excerpts are taken from the file as written, and values
//! known to be secret are masked in every text before a problem leaves this crate.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use rowcast_core::{Code, Reason};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde::ser::SerializeStruct as _;

/// A project file as read.
pub(crate) struct File {
    /// Relative to the project's folder, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl File {
    /// The lines as YAML counts them: a carriage return without a line feed ends one too.
    pub(crate) fn lines(&self) -> impl Iterator<Item = &str> {
        self.text.lines().flat_map(|line| line.split('\r'))
    }
}

/// A place in a project file.
#[derive(Clone)]
pub struct Location {
    file: Arc<File>,
    line: usize,
    column: usize,
    length: usize,
}

impl Location {
    /// A place by its 1-based line and column and its length in characters (at least 1).
    pub(crate) fn new(file: &Arc<File>, line: usize, column: usize, length: usize) -> Self {
        Self {
            file: Arc::clone(file),
            line: line.max(1),
            column: column.max(1),
            length: length.max(1),
        }
    }

    /// The file's path, relative to the project's folder.
    pub fn file(&self) -> &str {
        &self.file.path
    }

    /// The line, from 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// The column in characters, from 1.
    pub fn column(&self) -> usize {
        self.column
    }

    /// How many characters are meant.
    pub fn length(&self) -> usize {
        self.length
    }

    /// The place of a character of a text that stands here, quoted or not; this place itself when
    /// the text goes over several lines.
    pub(crate) fn within(&self, character: usize) -> Self {
        let Some(line) = self.source_line() else {
            return self.clone();
        };
        let mut written = line.chars().skip(self.column - 1).take(self.length);
        let quote = match written.clone().next() {
            Some(quote @ ('"' | '\'')) => written.next().map(|_| quote),
            Some('|' | '>') => return self.clone(),
            _ => None,
        };
        let mut column = self.column + usize::from(quote.is_some());
        for _ in 0..character {
            let escaped = match (quote, written.next()) {
                (_, None) => return self.clone(),
                (Some('"'), Some('\\')) | (Some('\''), Some('\'')) => true,
                _ => false,
            };
            if escaped {
                written.next();
            }
            column += 1 + usize::from(escaped);
        }
        Self {
            column,
            length: 1,
            ..self.clone()
        }
    }

    fn source_line(&self) -> Option<&str> {
        let line = self.file.lines().nth(self.line - 1)?;
        Some(line.trim_start_matches('\u{feff}'))
    }
}

/// `syncs/customers.yml:4:3`; never the file's text.
impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file.path, self.line, self.column)
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl PartialEq for Location {
    fn eq(&self, other: &Self) -> bool {
        self.file.path == other.file.path
            && (self.line, self.column, self.length) == (other.line, other.column, other.length)
    }
}

impl Eq for Location {}

/// One thing that is wrong in a project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub reason: Reason,
    /// Relative to the project's folder; `None` when no file is to blame.
    pub file: Option<String>,
    /// From 1; `None` when the whole file is meant.
    pub line: Option<usize>,
    /// In characters, from 1.
    pub column: Option<usize>,
    /// How many characters the caret marks.
    pub length: usize,
    /// The line as written, with secrets masked.
    pub source_line: Option<String>,
}

impl Problem {
    /// A problem at a place. Errors found later (a mapping against the model's columns) are
    /// pointed at the same way.
    pub fn at(reason: Reason, location: &Location) -> Self {
        Self {
            reason,
            file: Some(location.file().to_owned()),
            line: Some(location.line),
            column: Some(location.column),
            length: location.length,
            source_line: location.source_line().map(mask_credentials),
        }
    }

    /// A problem of a whole file.
    pub fn in_file(reason: Reason, path: &str) -> Self {
        Self {
            file: Some(path.to_owned()),
            ..Self::general(reason)
        }
    }

    /// A problem that no file is to blame for.
    pub fn general(reason: Reason) -> Self {
        Self {
            reason,
            file: None,
            line: None,
            column: None,
            length: 1,
            source_line: None,
        }
    }

    /// Hides values that are known to be secret wherever they may have slipped in.
    pub(crate) fn mask(&mut self, secrets: &[String]) {
        // Short texts are too likely to be part of ordinary words, and too weak to be secrets.
        const SHORTEST: usize = 4;
        let texts = [
            Some(&mut self.reason.message),
            self.reason.detail.as_mut(),
            self.reason.hint.as_mut(),
            self.source_line.as_mut(),
        ];
        for text in texts.into_iter().flatten() {
            for secret in secrets.iter().filter(|secret| secret.len() >= SHORTEST) {
                if text.contains(secret.as_str()) {
                    *text = text.replace(secret.as_str(), "***");
                }
            }
        }
    }

    /// The problem as the command line prints it, ending with a newline.
    pub fn render(&self, color: bool) -> String {
        let paint = Paint(color);
        let mut out = String::new();
        let code = self.reason.code;
        let _ = writeln!(
            out,
            "{}{}",
            paint.red(&format!("error[{code}]")),
            paint.bold(&format!(": {}", self.reason.message)),
        );
        let margin = self.line.map_or(1, |line| line.to_string().len());
        let pad = " ".repeat(margin);
        if let Some(file) = &self.file {
            let _ = write!(out, " {pad}{} {file}", paint.blue("-->"));
            if let (Some(line), Some(column)) = (self.line, self.column) {
                let _ = write!(out, ":{line}:{column}");
            }
            out.push('\n');
        }
        let bar = paint.blue("|");
        if let (Some(line), Some(column), Some(source)) =
            (self.line, self.column, &self.source_line)
        {
            let shown: String = source.replace('\t', " ");
            let room = shown.chars().count().saturating_sub(column - 1).max(1);
            let carets = "^".repeat(self.length.clamp(1, room));
            let indent = " ".repeat(column - 1);
            let _ = writeln!(out, " {pad} {bar}");
            let number = paint.blue(&line.to_string());
            let _ = writeln!(out, " {number} {bar} {shown}");
            let _ = writeln!(out, " {pad} {bar} {indent}{}", paint.red(&carets));
        }
        if self.file.is_some() {
            let _ = writeln!(out, " {pad} {bar}");
        }
        let mut note = |label: &str, text: &str| {
            let label = paint.bold(&format!("{label}:"));
            for (i, line) in text.lines().enumerate() {
                if i == 0 {
                    let _ = writeln!(out, " {pad} {} {label} {line}", paint.blue("="));
                } else {
                    let _ = writeln!(out, " {pad}   {line}");
                }
            }
        };
        if let Some(detail) = &self.reason.detail {
            note("detail", detail);
        }
        if let Some(hint) = &self.reason.hint {
            note("hint", hint);
        }
        note("more", &format!("rowcast explain {code}"));
        out
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl Serialize for Problem {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("Problem", 9)?;
        out.serialize_field("code", self.reason.code.as_str())?;
        out.serialize_field("message", &self.reason.message)?;
        out.serialize_field("detail", &self.reason.detail)?;
        out.serialize_field("hint", &self.reason.hint)?;
        out.serialize_field("file", &self.file)?;
        out.serialize_field("line", &self.line)?;
        out.serialize_field("column", &self.column)?;
        out.serialize_field("length", &self.length)?;
        out.serialize_field("source_line", &self.source_line)?;
        out.end()
    }
}

/// Something that is wrong, with its place in a file.
#[derive(JsonSchema)]
#[schemars(rename = "FoundProblem")]
#[expect(dead_code, reason = "only described, never made")]
struct Shown {
    /// `rowcast explain CODE` says more.
    code: &'static str,
    /// What was attempted, on which object.
    message: String,
    /// The other side's words, or the facts.
    detail: Option<String>,
    /// The way out.
    hint: Option<String>,
    /// In the project's folder; null when no file is to blame.
    file: Option<String>,
    /// From 1; null when the whole file is meant.
    line: Option<usize>,
    /// In characters, from 1.
    column: Option<usize>,
    /// How many characters are meant.
    length: usize,
    /// The line as written, with secrets masked.
    source_line: Option<String>,
}

impl JsonSchema for Problem {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        Shown::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Shown::json_schema(generator)
    }
}

/// A reason of this crate's: a code and a message.
pub(crate) fn reason(code: Code, message: impl Into<String>) -> Reason {
    Reason::new(code, message)
}

/// Hides what follows a key whose name says that it holds a credential. This is the second net,
/// for lines of files that could not be read far enough to know what is secret.
fn mask_credentials(line: &str) -> String {
    const WORDS: [&str; 8] = [
        "password",
        "secret",
        "token",
        "bearer",
        "api_key",
        "apikey",
        "private_key",
        "sslkey",
    ];
    let mut out = String::new();
    let mut rest = line;
    while let Some(colon) = rest.find(": ") {
        let (before, after) = rest.split_at(colon + 2);
        out.push_str(before);
        let key: String = before[..colon]
            .chars()
            .rev()
            .take_while(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '"' | '\''))
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
            .collect::<String>()
            .to_ascii_lowercase();
        let value = after.trim_start();
        let clear = !value.is_empty()
            && !value.starts_with(['{', '|', '>', '#'])
            && !value.trim_start_matches(['"', '\'']).starts_with("${");
        if clear && WORDS.iter().any(|word| key.contains(word)) {
            let end = after.find([',', '}']).unwrap_or(after.len());
            // As many stars as characters, so that the caret stays where it belongs.
            out.extend(after[..end].chars().map(|_| '*'));
            rest = &after[end..];
        } else {
            rest = after;
        }
    }
    out.push_str(rest);
    // A password inside a URL: everything between `://user:` and `@`.
    if let Some(scheme) = out.find("://")
        && let Some(at) = out[scheme..].find('@')
        && let Some(colon) = out[scheme + 3..scheme + at].find(':')
    {
        let (start, end) = (scheme + 3 + colon + 1, scheme + at);
        let stars = "*".repeat(out[start..end].chars().count());
        out.replace_range(start..end, &stars);
    }
    out
}

struct Paint(bool);

impl Paint {
    fn wrap(&self, code: &str, text: &str) -> String {
        if self.0 {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }
    fn red(&self, text: &str) -> String {
        self.wrap("1;31", text)
    }
    fn bold(&self, text: &str) -> String {
        self.wrap("1", text)
    }
    fn blue(&self, text: &str) -> String {
        self.wrap("1;34", text)
    }
}
