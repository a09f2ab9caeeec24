//! `{{ … }}`: text with expressions over a row's columns, or over any named values.
//!
//! Bodies are trees and templates are their leaves: a value can never change the shape of what is
//! around it. A template must never see the clock, the network or anything but its context, and
//! never run without bound.

use std::borrow::Cow;

use minijinja::{Environment, Expression, Value as Jinja};

use super::carried::{Manner, from_jinja, into_jinja};
use super::filters;
use super::scan::{Piece, Token, pieces, tokens};
use crate::code::Code;
use crate::fault::Reason;
use crate::json::{from_json, push_text};
use crate::row::Row;
use crate::value::{Name, Object, Value};

/// The most a template may produce, in bytes: 1 MiB.
pub const MAX_OUTPUT: usize = 1 << 20;

/// The longest template text, in bytes: 64 KiB.
pub const MAX_TEMPLATE: usize = 64 << 10;

/// The most words and symbols in one expression: minijinja's compiler recurses over long chains of
/// operators, and must not meet one that exhausts the stack.
const MAX_TOKENS: usize = 1_500;

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

struct Compiled {
    expression: Expression<'static, 'static>,
    source: Box<str>,
    columns: Vec<Name>,
    manner: Manner,
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
        for piece in pieces(text).map_err(|detail| invalid(text, detail))? {
            let part = match piece {
                Piece::Text(text) => Part::Text(text.into()),
                Piece::Expression(source) => compile_expression(source)?,
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

impl Compiled {
    fn evaluate(&self, context: &dyn Context) -> Result<Value, Reason> {
        // A name that is missing stays undefined, so that `is defined` and `default` can be asked.
        let names: Jinja = Jinja::from_pairs(self.columns.iter().filter_map(|column| {
            context
                .lookup(column)
                .map(|value| (&**column, into_jinja(value, self.manner)))
        }));
        self.expression
            .eval(names)
            .map_err(|error| error_text(&error))
            .and_then(|result| from_jinja(&result))
            .map_err(|detail| {
                Reason::new(
                    Code::ExpressionFailed,
                    format!("expression `{{{{ {} }}}}` failed", short(&self.source)),
                )
                .detail(detail)
            })
    }
}

fn error_text(error: &minijinja::Error) -> String {
    match error.kind() {
        minijinja::ErrorKind::OutOfFuel => format!(
            "it takes more than {} steps, the most that one expression may take",
            filters::FUEL
        ),
        minijinja::ErrorKind::UndefinedError => match error.detail() {
            Some(detail) => format!("a value is undefined: {detail}"),
            None => "a value is undefined".to_owned(),
        },
        kind => match error.detail() {
            Some(detail) => detail.to_owned(),
            None => kind.to_string(),
        },
    }
}

fn compile_expression(source: &str) -> Result<Part, Reason> {
    let tokens = tokens(source);
    if tokens.len() > MAX_TOKENS {
        return Err(invalid(
            source,
            format!("the expression has more than {MAX_TOKENS} words and symbols"),
        ));
    }
    if let Some((column, members)) = plain_path(&tokens) {
        return Ok(Part::Path { column, members });
    }
    let manner = check_tokens(source, &tokens)?;
    let environment: &'static Environment<'static> = filters::environment(manner);
    let expression = environment
        .compile_expression_owned(source.to_owned())
        .map_err(|error| invalid(source, error_text(&error)))?;
    let mut columns: Vec<Name> = expression
        .undeclared_variables(false)
        .into_iter()
        .map(Name::from)
        .collect();
    columns.sort();
    Ok(Part::Expression(Box::new(Compiled {
        expression,
        source: source.into(),
        columns,
        manner,
    })))
}

/// `a` or `a.b.c`, unless it is one of the language's own words.
fn plain_path(tokens: &[Token<'_>]) -> Option<(Name, Vec<Name>)> {
    let mut names = Vec::new();
    for (i, token) in tokens.iter().enumerate() {
        match token {
            Token::Word(word) if i % 2 == 0 => names.push(Name::from(*word)),
            Token::Symbol(".") if i % 2 == 1 => {}
            _ => return None,
        }
    }
    if tokens.len().is_multiple_of(2)
        || matches!(
            &*names[0],
            "true" | "false" | "none" | "True" | "False" | "None"
        )
    {
        return None;
    }
    let column = names.remove(0);
    Some((column, names))
}

/// Refuses what would fail for every row, and finds how values have to appear.
fn check_tokens(source: &str, tokens: &[Token<'_>]) -> Result<Manner, Reason> {
    let mut manner = Manner::default();
    let mut compares_none = false;
    for (i, token) in tokens.iter().enumerate() {
        let before = i.checked_sub(1).map(|i| tokens[i]);
        let after = tokens.get(i + 1).copied();
        match token {
            Token::Symbol("|") => {
                if let Some(Token::Word(name)) = after {
                    if !filters::is_filter(name) {
                        return Err(unknown(source, "filter", name, filters::names()));
                    }
                    manner.calculates |= filters::calculates(name);
                }
            }
            Token::Word("is") => {
                let name = match after {
                    Some(Token::Word("not")) => tokens.get(i + 2).copied(),
                    after => after,
                };
                if let Some(Token::Word(name)) = name {
                    if !filters::TESTS.contains(&name) {
                        return Err(unknown(source, "test", name, filters::TESTS.into_iter()));
                    }
                    manner.calculates |= !matches!(name, "none" | "defined" | "undefined");
                }
            }
            Token::Symbol("(") => {
                if let (Some(Token::Word(name)), Some(place)) =
                    (before, i.checked_sub(2).map(|i| tokens[i]))
                    && place == Token::Symbol(".")
                {
                    return Err(invalid(
                        source,
                        format!("methods like `.{name}()` are not available"),
                    )
                    .hint(format!("use a filter: {{{{ value | {name} }}}}")));
                }
                let called = match before {
                    Some(Token::Word(name)) => {
                        let place = i.checked_sub(2).map(|i| tokens[i]);
                        let word =
                            matches!(name, "and" | "or" | "not" | "in" | "if" | "else" | "is");
                        let filter_or_test =
                            matches!(place, Some(Token::Symbol("|") | Token::Word("is" | "not")));
                        (!word && !filter_or_test).then_some(name)
                    }
                    _ => None,
                };
                if let Some(name) = called {
                    return Err(invalid(
                        source,
                        format!("there is no function `{name}` in templates"),
                    )
                    .hint(format!("use a filter: {{{{ value | {name} }}}}")));
                }
            }
            Token::Symbol("*") => {
                // "x" * 1000000000 and [x] * 1000000000 are one step of fuel each.
                let repeats = |token: Option<Token<'_>>| {
                    matches!(token, Some(Token::String | Token::Symbol("[" | "]")))
                };
                if repeats(before) || repeats(after) {
                    return Err(invalid(source, "text and lists can't be repeated with `*`"));
                }
                manner.calculates = true;
            }
            Token::Symbol("+" | "-" | "/" | "//" | "%" | "**" | "<" | ">" | "<=" | ">=")
            | Token::Word("in") => {
                manner.calculates = true;
            }
            Token::Symbol("==" | "!=") => {
                manner.calculates = true;
                compares_none |= [before, after]
                    .into_iter()
                    .any(|side| matches!(side, Some(Token::Word("none" | "None"))));
            }
            Token::Symbol("~") => manner.joins = true,
            _ => {}
        }
    }
    if manner.joins && compares_none {
        return Err(invalid(
            source,
            "`== none` can't be used beside `~`, where null is empty text",
        )
        .hint("write `is none`"));
    }
    Ok(manner)
}

fn unknown(
    source: &str,
    what: &str,
    name: &str,
    known: impl Iterator<Item = &'static str>,
) -> Reason {
    let reason = invalid(source, format!("there is no {what} `{name}`"));
    match nearest(name, known) {
        Some(near) => reason.hint(format!("did you mean `{near}`?")),
        None => reason,
    }
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

/// A tree whose text leaves may be templates: a request body, a `request:` block.
#[derive(Debug)]
pub struct TemplateTree {
    root: Node,
    columns: Vec<Name>,
}

#[derive(Debug)]
enum Node {
    Constant(Value),
    Template(Template),
    List(Vec<Node>),
    Object(Vec<(Name, Node)>),
}

impl TemplateTree {
    /// Compiles a tree. Keys are taken as they are.
    ///
    /// # Errors
    /// E0502 with the path of the leaf.
    pub fn compile(tree: &Value) -> Result<Self, Reason> {
        let mut columns = Vec::new();
        let root = Node::compile(tree, "", &mut columns)?;
        Ok(Self { root, columns })
    }

    /// The top-level names it reads.
    pub fn columns(&self) -> &[Name] {
        &self.columns
    }

    /// The tree with every template replaced by its value. The shape is the source's: a value
    /// takes exactly the place of its template.
    ///
    /// # Errors
    /// E0504 as for `Template::evaluate`.
    pub fn evaluate(&self, context: &dyn Context) -> Result<Value, Reason> {
        self.root.evaluate(context)
    }
}

impl Node {
    fn compile(tree: &Value, path: &str, columns: &mut Vec<Name>) -> Result<Self, Reason> {
        Ok(match tree {
            Value::Text(text)
                if is_template(text) || text.contains("{%") || text.contains("{#") =>
            {
                let template = Template::compile(text).map_err(|mut reason| {
                    if !path.is_empty() {
                        reason.message = format!("{path}: {}", reason.message);
                    }
                    reason
                })?;
                for column in template.columns() {
                    add_name(columns, column);
                }
                Self::Template(template)
            }
            Value::List(items) => Self::List(
                items
                    .iter()
                    .enumerate()
                    .map(|(i, item)| Self::compile(item, &format!("{path}[{i}]"), columns))
                    .collect::<Result<_, _>>()?,
            ),
            Value::Object(members) => {
                let mut nodes = Vec::with_capacity(members.len());
                for (name, member) in members {
                    let path = if path.is_empty() {
                        name.to_string()
                    } else {
                        format!("{path}.{name}")
                    };
                    if is_template(name) {
                        return Err(invalid(name, format!("{path}: a key can't be a template")));
                    }
                    nodes.push((name.clone(), Self::compile(member, &path, columns)?));
                }
                Self::Object(nodes)
            }
            constant => Self::Constant(constant.clone()),
        })
    }

    fn evaluate(&self, context: &dyn Context) -> Result<Value, Reason> {
        Ok(match self {
            Self::Constant(value) => value.clone(),
            Self::Template(template) => template.evaluate(context)?,
            Self::List(nodes) => Value::List(
                nodes
                    .iter()
                    .map(|node| node.evaluate(context))
                    .collect::<Result<_, _>>()?,
            ),
            Self::Object(nodes) => Value::Object(
                nodes
                    .iter()
                    .map(|(name, node)| Ok((name.clone(), node.evaluate(context)?)))
                    .collect::<Result<_, Reason>>()?,
            ),
        })
    }
}

#[cfg(test)]
mod tests;
