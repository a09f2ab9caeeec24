//! `{{ … }}`: text with expressions over a row's columns, or over any named values.
//!
//! Bodies are trees and templates are their leaves: a value can never change the shape of what is
//! around it. A template must never see the clock, the network or anything but its context, and
//! never run without bound.

mod expression;
mod tree;

use std::borrow::Cow;

use self::expression::Compiled;
use super::scan::{Piece, pieces};
use crate::code::Code;
use crate::fault::Reason;
use crate::json::{from_json, push_text};
use crate::row::Row;
use crate::value::{Name, Object, Value};

pub use self::tree::TemplateTree;

/// The most a template may produce, in bytes: 1 MiB.
pub const MAX_OUTPUT: usize = 1 << 20;

/// The longest template text, in bytes: 64 KiB.
pub const MAX_TEMPLATE: usize = 64 << 10;

/// What a template's names stand for.
pub trait Context {
    /// The value of a name; `None` when there is no such name.
    fn lookup(&self, name: &str) -> Option<&Value>;
}

impl Context for Row {
    fn lookup(&self, name: &str) -> Option<&Value> {
        self.get(name)
    }
}

impl Context for Object {
    fn lookup(&self, name: &str) -> Option<&Value> {
        self.iter().find(|(n, _)| &**n == name).map(|(_, v)| v)
    }
}

/// An object's members; any other value has no names.
impl Context for Value {
    fn lookup(&self, name: &str) -> Option<&Value> {
        self.get(name)
    }
}

/// Whether a text is a template.
pub fn is_template(text: &str) -> bool {
    text.contains("{{")
}

/// A compiled template.
pub struct Template {
    source: Box<str>,
    parts: Vec<Part>,
    columns: Vec<Name>,
}

enum Part {
    Text(Box<str>),
    /// `{{ column }}` or `{{ column.member.member }}`: read as it is, without minijinja.
    Path {
        column: Name,
        members: Vec<Name>,
    },
    Expression(Box<Compiled>),
}

impl std::fmt::Debug for Template {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Template").field(&self.source).finish()
    }
}

impl Template {
    /// Compiles a text. A text without `{{` is a template that is always itself.
    ///
    /// # Errors
    /// E0502: what can't be read, with the expression.
    pub fn compile(text: &str) -> Result<Self, Reason> {
        if text.len() > MAX_TEMPLATE {
            return Err(invalid(text, "the template is longer than 64 KiB"));
        }
        let mut parts = Vec::new();
        let mut columns: Vec<Name> = Vec::new();
        let malformed = |detail: String| {
            invalid(text, detail)
                .hint("an expression stands between two pairs of braces: {{ email }}")
        };
        for piece in pieces(text).map_err(malformed)? {
            let part = match piece {
                Piece::Text(text) => Part::Text(text.into()),
                Piece::Expression(source) => expression::compile(source)?,
            };
            match &part {
                Part::Text(_) => {}
                Part::Path { column, .. } => add_name(&mut columns, column),
                Part::Expression(compiled) => {
                    for column in &compiled.columns {
                        add_name(&mut columns, column);
                    }
                }
            }
            parts.push(part);
        }
        Ok(Self {
            source: text.into(),
            parts,
            columns,
        })
    }

    /// The text it was compiled from.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The top-level names it reads, without repetition, in the order of their first use.
    pub fn columns(&self) -> &[Name] {
        &self.columns
    }

    /// The single column this template is a plain reference to, as in `{{ email }}`.
    pub fn lone_column(&self) -> Option<&Name> {
        match self.parts.as_slice() {
            [Part::Path { column, members }] if members.is_empty() => Some(column),
            _ => None,
        }
    }

    /// The value for a context. A lone placeholder keeps its value's type and exact digits; with
    /// text around it, the result is text in which null is empty.
    ///
    /// # Errors
    /// E0504: the expression failed, ran out of fuel or made too much.
    pub fn evaluate(&self, context: &dyn Context) -> Result<Value, Reason> {
        match self.parts.as_slice() {
            [] => Ok(Value::text("")),
            [Part::Text(text)] => Ok(Value::Text(text.clone())),
            [part] => {
                let value = part.evaluate(context)?.into_owned();
                if text_size(&value) > MAX_OUTPUT {
                    return Err(self.too_large());
                }
                Ok(value)
            }
            _ => self
                .render(context, &|value, out| {
                    push_text(out, value);
                    Ok(())
                })
                .map(Value::from),
        }
    }

    /// The text for a context, with every placeholder's value written by `escape`; the text
    /// between placeholders is left as it is.
    ///
    /// # Errors
    /// E0504 as for `evaluate`, and what `escape` returns.
    pub fn render(
        &self,
        context: &dyn Context,
        escape: &dyn Fn(&Value, &mut String) -> Result<(), Reason>,
    ) -> Result<String, Reason> {
        let mut out = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                part => escape(part.evaluate(context)?.as_ref(), &mut out)?,
            }
            if out.len() > MAX_OUTPUT {
                return Err(self.too_large());
            }
        }
        Ok(out)
    }

    /// A URL path, with an optional query after `?`. Every placeholder's value is percent-encoded
    /// whole, so that it stays within its segment or parameter.
    ///
    /// # Errors
    /// E0504 as for `evaluate`; also when a value in the path is null or empty (the request would
    /// go to the collection instead of one record), or makes a segment `.` or `..`.
    pub fn evaluate_url_path(&self, context: &dyn Context) -> Result<String, Reason> {
        let mut out = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                part => {
                    let value = part.evaluate(context)?;
                    let mut text = String::new();
                    push_text(&mut text, &value);
                    if text.is_empty() && !out.contains('?') {
                        return Err(self
                            .failed("a value in the path is empty")
                            .hint("an empty segment would address something else; make sure that the column is never null or empty"));
                    }
                    percent_encode(&text, &mut out);
                }
            }
            if out.len() > MAX_OUTPUT {
                return Err(self.too_large());
            }
        }
        let path = out.split(['?', '#']).next().unwrap_or_default();
        // A template without placeholders is the author's own text.
        if self.parts.len() > 1 && path.split('/').any(is_dot_segment) {
            return Err(self.failed(
                "a value makes a path segment `.` or `..`, which addresses something else",
            ));
        }
        Ok(out)
    }

    fn too_large(&self) -> Reason {
        self.failed("the result is larger than 1 MiB")
    }

    fn failed(&self, detail: &str) -> Reason {
        Reason::new(
            Code::ExpressionFailed,
            format!("template `{}` failed", short(&self.source)),
        )
        .detail(detail)
    }
}

impl Part {
    fn evaluate<'a>(&'a self, context: &'a dyn Context) -> Result<Cow<'a, Value>, Reason> {
        match self {
            Self::Text(text) => Ok(Cow::Owned(Value::Text(text.clone()))),
            Self::Path { column, members } => follow(context, column, members),
            Self::Expression(compiled) => compiled.evaluate(context).map(Cow::Owned),
        }
    }
}

fn follow<'a>(
    context: &'a dyn Context,
    column: &Name,
    members: &[Name],
) -> Result<Cow<'a, Value>, Reason> {
    let failed = |detail: String| {
        let path = path_text(column, members);
        Reason::new(
            Code::ExpressionFailed,
            format!("expression `{{{{ {path} }}}}` failed"),
        )
        .detail(detail)
        .hint(format!(
            "to allow for its absence: {{{{ {path} | default('') }}}}"
        ))
    };
    let mut value = Cow::Borrowed(
        context
            .lookup(column)
            .ok_or_else(|| failed(format!("there is no `{column}` here")))?,
    );
    for member in members {
        if let Value::Json(text) = &*value {
            value =
                Cow::Owned(from_json(text).map_err(|_| failed(format!("`{column}` is not JSON")))?);
        }
        let found = match value {
            Cow::Borrowed(value) => value.get(member).map(Cow::Borrowed),
            Cow::Owned(value) => value.get(member).cloned().map(Cow::Owned),
        };
        value = found.ok_or_else(|| failed(format!("there is no member `{member}`")))?;
    }
    Ok(value)
}

fn path_text(column: &Name, members: &[Name]) -> String {
    let mut path = column.to_string();
    for member in members {
        path.push('.');
        path.push_str(member);
    }
    path
}

/// The known name that a misspelt one was meant to be.
pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|known| {
            let likeness = if known.eq_ignore_ascii_case(name) {
                1.0
            } else {
                strsim::jaro_winkler(&known.to_lowercase(), &name.to_lowercase())
            };
            (likeness, known)
        })
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, known)| known)
}

fn invalid(source: &str, detail: impl Into<String>) -> Reason {
    Reason::new(
        Code::ExpressionInvalid,
        format!("expression `{}` can't be read", short(source)),
    )
    .detail(detail)
}

fn short(text: &str) -> String {
    let mut short: String = text.chars().take(80).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

fn add_name(names: &mut Vec<Name>, name: &Name) {
    if !names.contains(name) {
        names.push(name.clone());
    }
}

/// A lower bound of a value's size as text: enough to refuse what is too large.
fn text_size(value: &Value) -> usize {
    match value {
        Value::Text(text) | Value::Json(text) | Value::Decimal(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        Value::List(items) => items.iter().map(text_size).sum::<usize>() + items.len(),
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| name.len() + text_size(value) + 1)
            .sum(),
        _ => 1,
    }
}

/// Appends a text with every byte but RFC 3986's unreserved characters as `%XX`.
pub fn percent_encode(text: &str, out: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
}

/// `.` and `..`, also where a dot is written `%2e`: URL parsers resolve them.
fn is_dot_segment(segment: &str) -> bool {
    let plain = segment.to_ascii_lowercase().replace("%2e", ".");
    plain == "." || plain == ".."
}

#[cfg(test)]
mod tests;
