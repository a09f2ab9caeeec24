//! One rule: how a value of a record comes from a row.
//!
//! A rule is compiled once and evaluated for every row. A plain column is a position in the row:
//! no lookup by name, no template, no copy before the record needs it.

use std::borrow::Cow;
use std::fmt::Write as _;

use super::cast::Cast;
use super::function::{Failure, Function};
use super::template::{Context, Template};
use crate::code::Code;
use crate::fault::Reason;
use crate::json::push_string;
use crate::row::Row;
use crate::value::{Name, Object, Value};

/// What happens to a field whose value is null.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Nulls {
    /// Null is sent.
    #[default]
    Send,
    /// The field is left out of the record.
    Omit,
    /// An empty text is sent, which most services take as "clear this field".
    Clear,
}

impl Nulls {
    pub(super) const NAMES: [(&'static str, Self); 3] = [
        ("send", Self::Send),
        ("omit", Self::Omit),
        ("clear", Self::Clear),
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Omit => "omit",
            Self::Clear => "clear",
        }
    }
}

/// A compiled rule.
#[derive(Debug)]
pub(super) struct Rule {
    /// Where it stands, for errors: `fields.phones[1].sha256`.
    pub(super) path: Box<str>,
    pub(super) node: Node,
    pub(super) default: Option<Value>,
    pub(super) cast: Option<&'static Cast>,
    pub(super) nulls: Nulls,
    /// It reads a sensitive column: errors must not show values.
    pub(super) hidden: bool,
}

#[derive(Debug)]
pub(super) enum Node {
    Constant(Value),
    /// A position in the mapping's list of columns.
    Column(usize, Name),
    Template(Template),
    Object(Vec<(Name, Rule)>),
    List(Vec<Rule>),
    Coalesce(Vec<Rule>),
    If(Box<[Rule; 3]>),
    Call(&'static Function, Vec<Rule>),
}

/// A row, seen through the mapping's list of columns.
pub(super) struct View<'a> {
    pub(super) row: &'a Row,
    pub(super) columns: &'a [Name],
    /// For each column of the mapping, its position in the row; `usize::MAX` if it is not there.
    pub(super) positions: &'a [usize],
}

impl View<'_> {
    pub(super) fn column(&self, index: usize) -> Option<&Value> {
        self.row.values.get(*self.positions.get(index)?)
    }
}

impl Context for View<'_> {
    fn lookup(&self, name: &str) -> Option<&Value> {
        self.column(self.columns.iter().position(|column| &**column == name)?)
    }
}

impl Rule {
    /// The value for a row.
    pub(super) fn evaluate<'a>(&'a self, view: &'a View<'_>) -> Result<Cow<'a, Value>, Reason> {
        let mut value = match &self.node {
            Node::Constant(value) => Cow::Borrowed(value),
            Node::Column(index, name) => {
                Cow::Borrowed(view.column(*index).ok_or_else(|| self.no_column(name))?)
            }
            Node::Template(template) => Cow::Owned(
                template
                    .evaluate(view)
                    .map_err(|reason| self.place(reason))?,
            ),
            Node::Object(members) => Cow::Owned(Value::Object(object(members, view)?)),
            Node::List(items) => {
                let mut list = Vec::with_capacity(items.len());
                for item in items {
                    if let Some(value) = item.field(view)? {
                        list.push(value);
                    }
                }
                Cow::Owned(Value::List(list))
            }
            Node::Coalesce(rules) => {
                let mut found = Cow::Owned(Value::Null);
                for rule in rules {
                    found = rule.evaluate(view)?;
                    if !found.is_null() {
                        break;
                    }
                }
                found
            }
            Node::If(rules) => {
                let [when, then, otherwise] = &**rules;
                let condition = when.evaluate(view)?;
                let holds = super::function::truth(&condition)
                    .map_err(|failure| when.failed(Code::ExpressionFailed, &failure))?;
                if holds {
                    then.evaluate(view)?
                } else {
                    otherwise.evaluate(view)?
                }
            }
            Node::Call(function, rules) => {
                let arguments: Vec<Cow<'_, Value>> = rules
                    .iter()
                    .map(|rule| rule.evaluate(view))
                    .collect::<Result<_, _>>()?;
                Cow::Owned(
                    function
                        .apply(&arguments)
                        .map_err(|failure| self.failed(Code::ExpressionFailed, &failure))?,
                )
            }
        };
        if value.is_null()
            && let Some(default) = &self.default
        {
            value = Cow::Borrowed(default);
        }
        if let Some(cast) = self.cast {
            value = Cow::Owned(cast.apply(&value).map_err(|failure| {
                let mut reason = self.failed(Code::CastFailed, &failure);
                reason.message = format!("{}: the value can't be cast to {}", self.path, cast.name);
                reason
            })?);
        }
        Ok(value)
    }

    /// The value as a field or item; `None` when it is left out.
    pub(super) fn field(&self, view: &View<'_>) -> Result<Option<Value>, Reason> {
        let value = self.evaluate(view)?;
        Ok(match self.nulls {
            Nulls::Omit if value.is_null() => None,
            Nulls::Clear if value.is_null() => Some(Value::text("")),
            _ => Some(value.into_owned()),
        })
    }

    /// The column that this rule gives as it is, null included.
    pub(super) fn plain(&self) -> Option<(usize, &Name)> {
        match &self.node {
            Node::Column(index, name)
                if self.default.is_none() && self.cast.is_none() && self.nulls == Nulls::Send =>
            {
                Some((*index, name))
            }
            _ => None,
        }
    }

    fn no_column(&self, name: &str) -> Reason {
        Reason::new(
            Code::UnknownColumn,
            format!("{}: the row has no column `{name}`", self.path),
        )
        .hint("columns are case-sensitive; `rowcast preview` shows those of the model")
    }

    fn failed(&self, code: Code, failure: &Failure) -> Reason {
        let mut reason = Reason::new(code, format!("{}: failed for a row", self.path))
            .detail(failure.text(self.hidden));
        if let Some(hint) = failure.hint {
            reason = reason.hint(hint);
        }
        reason
    }

    fn place(&self, mut reason: Reason) -> Reason {
        reason.message = format!("{}: {}", self.path, reason.message);
        if self.hidden {
            // minijinja quotes values in some of its messages.
            reason.detail =
                Some("it reads a sensitive column, so the details are not shown".into());
        }
        reason
    }

    /// A digest of the canonical form.
    pub(super) fn digest(&self) -> String {
        let mut canonical = String::new();
        self.push_canonical(&mut canonical);
        blake3::hash(canonical.as_bytes()).to_hex().to_string()
    }

    /// Appends the canonical form: the same for every way to write the same rule.
    pub(super) fn push_canonical(&self, out: &mut String) {
        match &self.node {
            Node::Constant(value) => {
                let _ = write!(
                    out,
                    "literal({}:{})",
                    value.kind(),
                    crate::json::to_json(value)
                );
            }
            Node::Column(_, name) => {
                out.push_str("column(");
                push_string(out, name);
                out.push(')');
            }
            Node::Template(template) => {
                out.push_str("template(");
                push_string(out, template.source());
                out.push(')');
            }
            Node::Object(members) => {
                out.push_str("object(");
                for (name, rule) in members {
                    push_string(out, name);
                    out.push(':');
                    rule.push_canonical(out);
                    out.push(',');
                }
                out.push(')');
            }
            Node::List(rules) => push_call(out, "list", rules),
            Node::Coalesce(rules) => push_call(out, "coalesce", rules),
            Node::If(rules) => push_call(out, "if", &**rules),
            Node::Call(function, rules) => push_call(out, function.name, rules),
        }
        if let Some(default) = &self.default {
            let _ = write!(
                out,
                "default({}:{})",
                default.kind(),
                crate::json::to_json(default)
            );
        }
        if let Some(cast) = self.cast {
            let _ = write!(out, "as({})", cast.name);
        }
        if self.nulls != Nulls::Send {
            let _ = write!(out, "nulls({})", self.nulls.name());
        }
    }
}

fn push_call(out: &mut String, name: &str, rules: &[Rule]) {
    out.push_str(name);
    out.push('(');
    for rule in rules {
        rule.push_canonical(out);
        out.push(',');
    }
    out.push(')');
}

/// The members of an object, or the fields of a record.
pub(super) fn object(members: &[(Name, Rule)], view: &View<'_>) -> Result<Object, Reason> {
    let mut object = Object::with_capacity(members.len());
    for (name, rule) in members {
        if let Some(value) = rule.field(view)? {
            object.push((name.clone(), value));
        }
    }
    Ok(object)
}
