//! Reads a tree of configuration as rules, and finds everything that is wrong with it at once.
//!
//! Must never stop at the first problem and never accept what it does not understand.

mod fitness;
mod words;

use self::fitness::constant_failure;
use super::cast::{self, CASTS};
use super::fields::MappingProblem;
use super::function::{self, Function, Input};
use super::rule::{Node, Nulls, Rule};
use super::template::{Template, is_template, nearest};
use crate::code::Code;
use crate::fault::Reason;
use crate::row::Schema;
use crate::value::{Name, Value};

pub(super) use self::words::{MODIFIERS, OPERATORS};

/// How deep rules may nest.
const MAX_DEPTH: usize = 32;

pub(super) struct Compiler<'a> {
    pub(super) schema: Option<&'a Schema>,
    pub(super) sensitive: &'a [Name],
    /// The columns read so far; a rule refers to a column by its position here.
    pub(super) columns: Vec<Name>,
    pub(super) problems: Vec<MappingProblem>,
}

/// Where a rule stands decides whether `nulls` has a meaning.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Field,
    Argument,
}

impl Compiler<'_> {
    pub(super) fn problem(&mut self, path: &str, reason: Reason) {
        self.problems.push(MappingProblem {
            path: path.to_owned(),
            reason,
        });
    }

    fn invalid(&mut self, path: &str, what: impl std::fmt::Display, hint: &str) {
        let mut reason = Reason::new(Code::ExpressionInvalid, format!("{path}: {what}"));
        if !hint.is_empty() {
            reason = reason.hint(hint);
        }
        self.problem(path, reason);
    }

    /// Compiles one rule; what is wrong is noted, and `None` returned.
    pub(super) fn rule(
        &mut self,
        value: &Value,
        path: &str,
        place: Place,
        depth: usize,
    ) -> Option<Rule> {
        if depth > MAX_DEPTH {
            self.invalid(
                path,
                format!("rules are nested more than {MAX_DEPTH} deep"),
                "",
            );
            return None;
        }
        let node = match value {
            Value::Object(members) => return self.operator(members, path, place, depth),
            Value::Text(text) => {
                if is_template(text) || text.contains("{%") || text.contains("{#") {
                    self.template(text, path)?
                } else {
                    self.column(text, path)
                }
            }
            Value::List(_) => {
                self.invalid(
                    path,
                    "a list is not a rule",
                    "write { list: [ … ] } for a list of rules, { literal: [ … ] } for a constant",
                );
                return None;
            }
            constant => Node::Constant(constant.clone()),
        };
        Some(self.finish(node, path))
    }

    fn finish(&self, node: Node, path: &str) -> Rule {
        let hidden = self.reads_sensitive(&node);
        Rule {
            path: path.into(),
            node,
            default: None,
            cast: None,
            nulls: Nulls::Send,
            hidden,
        }
    }

    fn reads_sensitive(&self, node: &Node) -> bool {
        match node {
            Node::Constant(_) => false,
            Node::Column(_, name) => self.sensitive.contains(name),
            Node::Template(template) => template
                .columns()
                .iter()
                .any(|name| self.sensitive.contains(name)),
            Node::Object(members) => members.iter().any(|(_, rule)| rule.hidden),
            Node::List(rules) | Node::Coalesce(rules) | Node::Call(_, rules) => {
                rules.iter().any(|rule| rule.hidden)
            }
            Node::If(rules) => rules.iter().any(|rule| rule.hidden),
        }
    }

    /// Notes a column as read; if the model does not have it, that is a problem at every place.
    fn index(&mut self, name: &str, path: &str) -> usize {
        if let Some(schema) = self.schema
            && schema.position(name).is_none()
        {
            let reason = unknown_column(schema, name, path);
            self.problem(path, reason);
        }
        if let Some(index) = self.columns.iter().position(|column| &**column == name) {
            return index;
        }
        self.columns.push(name.into());
        self.columns.len() - 1
    }

    fn column(&mut self, name: &str, path: &str) -> Node {
        if name.is_empty() {
            self.invalid(
                path,
                "a column's name is missing",
                "for an empty text write { literal: \"\" }",
            );
        }
        let index = self.index(name, path);
        Node::Column(index, self.columns[index].clone())
    }

    fn template(&mut self, text: &str, path: &str) -> Option<Node> {
        match Template::compile(text) {
            Ok(template) => {
                // A lone column needs no template.
                if let Some(column) = template.lone_column() {
                    let column = column.clone();
                    return Some(self.column(&column, path));
                }
                for column in template.columns() {
                    self.index(column, path);
                }
                Some(Node::Template(template))
            }
            Err(mut reason) => {
                reason.message = format!("{path}: {}", reason.message);
                self.problem(path, reason);
                None
            }
        }
    }

    fn operator(
        &mut self,
        members: &[(Name, Value)],
        path: &str,
        place: Place,
        depth: usize,
    ) -> Option<Rule> {
        let mut operator: Option<(&str, &Value)> = None;
        let mut sound = true;
        for (name, value) in members {
            let name = &**name;
            if MODIFIERS.iter().any(|(modifier, _)| *modifier == name) {
                continue;
            }
            let known = OPERATORS.iter().any(|(known, _, _)| *known == name)
                || function::find(name).is_some();
            if !known {
                let names = OPERATORS
                    .iter()
                    .map(|(name, _, _)| *name)
                    .chain(MODIFIERS.iter().map(|(name, _)| *name))
                    .chain(function::all().map(|function| function.name));
                let hint = match nearest(name, names) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => "nested fields need { object: { … } }; the functions are listed under \"Mapping\" in the documentation".to_owned(),
                };
                self.invalid(
                    &format!("{path}.{name}"),
                    format_args!("`{name}` is not an operator, function or modifier"),
                    &hint,
                );
                sound = false;
            } else if let Some((first, _)) = operator {
                self.invalid(
                    path,
                    format_args!(
                        "`{first}` and `{name}` exclude each other: a rule has exactly one operator"
                    ),
                    "functions nest, as in { sha256: { lower: email } }",
                );
                sound = false;
            } else {
                operator = Some((name, value));
            }
        }
        let Some((name, argument)) = operator else {
            if sound {
                self.invalid(
                    path,
                    "a rule needs an operator",
                    "such as { column: name }, { literal: text } or { lower: email }",
                );
            }
            return None;
        };
        let node = self.node(name, argument, path, depth);
        let mut rule = self.finish(node?, path);
        for (name, value) in members {
            match &**name {
                "default" => rule.default = Some(value.clone()),
                "as" => match value.as_text().and_then(cast::find) {
                    Some(cast) => {
                        self.check_cast(&rule.node, cast.name, path);
                        rule.cast = Some(cast);
                    }
                    None => {
                        let names = CASTS
                            .iter()
                            .map(|cast| cast.name)
                            .collect::<Vec<_>>()
                            .join(", ");
                        self.invalid(
                            &format!("{path}.as"),
                            "this is not a type to cast to",
                            &format!("one of: {names}"),
                        );
                        sound = false;
                    }
                },
                "nulls" => {
                    let found = Nulls::NAMES
                        .iter()
                        .find(|(name, _)| value.as_text() == Some(name));
                    match found {
                        Some((_, nulls)) if place == Place::Field => rule.nulls = *nulls,
                        Some(_) => {
                            self.invalid(
                                &format!("{path}.nulls"),
                                "`nulls` belongs to a field of the record, not here",
                                "it stands beside the outermost operator of a field; to replace a null use `default`",
                            );
                            sound = false;
                        }
                        None => {
                            self.invalid(
                                &format!("{path}.nulls"),
                                "this is not a way to treat nulls",
                                "one of: send, omit, clear",
                            );
                            sound = false;
                        }
                    }
                }
                _ => {}
            }
        }
        sound.then_some(rule)
    }

    fn node(&mut self, name: &str, argument: &Value, path: &str, depth: usize) -> Option<Node> {
        match name {
            "literal" => Some(Node::Constant(argument.clone())),
            "column" => match argument {
                Value::Text(column) => Some(self.column(column, path)),
                other => {
                    self.invalid(
                        &format!("{path}.column"),
                        format_args!("a column's name must be text, not {}", other.kind()),
                        "",
                    );
                    None
                }
            },
            "template" => match argument {
                Value::Text(text) => self.template(text, path),
                other => {
                    self.invalid(
                        &format!("{path}.template"),
                        format_args!("a template must be text, not {}", other.kind()),
                        "",
                    );
                    None
                }
            },
            "object" => match argument {
                Value::Object(members) => self
                    .members(members, path, Place::Field, depth + 1)
                    .map(Node::Object),
                other => {
                    self.invalid(
                        &format!("{path}.object"),
                        format_args!(
                            "`object` needs a mapping of names to rules, not {}",
                            other.kind()
                        ),
                        "",
                    );
                    None
                }
            },
            "list" => self
                .rules(name, argument, path, Place::Field, depth)
                .map(Node::List),
            "coalesce" => self
                .rules(name, argument, path, Place::Argument, depth)
                .map(Node::Coalesce),
            "if" => self.condition(argument, path, depth),
            _ => self.call(function::find(name)?, argument, path, depth),
        }
    }

    /// Named rules, each with its own path.
    pub(super) fn members(
        &mut self,
        members: &[(Name, Value)],
        path: &str,
        place: Place,
        depth: usize,
    ) -> Option<Vec<(Name, Rule)>> {
        let mut rules = Vec::with_capacity(members.len());
        let mut sound = true;
        for (i, (name, value)) in members.iter().enumerate() {
            let path = format!("{path}.{name}");
            if members[..i].iter().any(|(earlier, _)| earlier == name) {
                self.invalid(&path, "the name is given twice", "");
                sound = false;
            }
            if is_template(name) {
                self.invalid(&path, "a field's name can't be a template", "");
                sound = false;
            }
            match self.rule(value, &path, place, depth) {
                Some(rule) => rules.push((name.clone(), rule)),
                None => sound = false,
            }
        }
        sound.then_some(rules)
    }

    fn rules(
        &mut self,
        name: &str,
        argument: &Value,
        path: &str,
        place: Place,
        depth: usize,
    ) -> Option<Vec<Rule>> {
        let Value::List(items) = argument else {
            self.invalid(
                &format!("{path}.{name}"),
                format_args!("`{name}` needs a list of rules, not {}", argument.kind()),
                &format!("as in {{ {name}: [mobile, home] }}"),
            );
            return None;
        };
        let rules: Vec<Option<Rule>> = items
            .iter()
            .enumerate()
            .map(|(i, item)| {
                let path = match name {
                    "list" => format!("{path}[{i}]"),
                    _ => format!("{path}.{name}[{i}]"),
                };
                self.rule(item, &path, place, depth + 1)
            })
            .collect();
        rules.into_iter().collect()
    }

    fn condition(&mut self, argument: &Value, path: &str, depth: usize) -> Option<Node> {
        let path = format!("{path}.if");
        let Value::Object(members) = argument else {
            self.invalid(
                &path,
                format_args!(
                    "`if` needs `when`, `then` and `else`, not {}",
                    argument.kind()
                ),
                "as in { if: { when: active, then: email, else: null } }",
            );
            return None;
        };
        let mut sound = true;
        for (name, _) in members {
            if !matches!(&**name, "when" | "then" | "else") {
                self.invalid(
                    &format!("{path}.{name}"),
                    format_args!("`if` has no `{name}`"),
                    "it has `when`, `then` and `else`",
                );
                sound = false;
            }
        }
        let mut part = |name: &str| match argument.get(name) {
            Some(rule) => self.rule(rule, &format!("{path}.{name}"), Place::Argument, depth + 1),
            None if name == "else" => self.rule(
                &Value::Null,
                &format!("{path}.else"),
                Place::Argument,
                depth + 1,
            ),
            None => {
                self.invalid(&path, format_args!("`{name}` is missing"), "");
                None
            }
        };
        let (when, then, otherwise) = (part("when"), part("then"), part("else"));
        let rules = [when?, then?, otherwise?];
        sound.then(|| Node::If(Box::new(rules)))
    }

    fn call(
        &mut self,
        function: &'static Function,
        argument: &Value,
        path: &str,
        depth: usize,
    ) -> Option<Node> {
        let single = std::slice::from_ref(argument);
        let (arguments, listed) = match argument {
            Value::List(items) => (items.as_slice(), true),
            _ => (single, false),
        };
        let path = format!("{path}.{}", function.name);
        if arguments.len() < function.least || arguments.len() > function.most {
            self.invalid(
                &path,
                format_args!(
                    "`{}` takes {}, got {}",
                    function.name,
                    function.takes(),
                    arguments.len()
                ),
                &format!("as in {}", super::reference::flow_text(function.example.0)),
            );
            return None;
        }
        let mut rules = Vec::with_capacity(arguments.len());
        let mut sound = true;
        for (i, argument) in arguments.iter().enumerate() {
            let path = if listed {
                format!("{path}[{i}]")
            } else {
                path.clone()
            };
            let constant =
                i >= function.constants && !matches!(argument, Value::Object(_) | Value::List(_));
            let rule = match argument {
                Value::Text(text) if constant && !is_template(text) => {
                    Some(self.finish(Node::Constant(argument.clone()), &path))
                }
                argument => self.rule(argument, &path, Place::Argument, depth + 1),
            };
            match rule {
                Some(rule) => {
                    if i < function.constants.min(if function.input == Input::Number {
                        usize::MAX
                    } else {
                        1
                    }) {
                        self.check_input(function, &rule, &path);
                    }
                    rules.push(rule);
                }
                None => sound = false,
            }
        }
        if sound && let Some(failure) = constant_failure(function, &rules) {
            self.invalid(
                &path,
                failure,
                &format!("as in {}", super::reference::flow_text(function.example.0)),
            );
            sound = false;
        }
        sound.then_some(Node::Call(function, rules))
    }
}

pub(crate) fn unknown_column(schema: &Schema, name: &str, path: &str) -> Reason {
    let reason = Reason::new(
        Code::UnknownColumn,
        format!("{path}: the model has no column `{name}`"),
    );
    let columns = || schema.columns.iter().map(|column| &*column.name);
    if let Some(other_case) = columns().find(|column| column.to_lowercase() == name.to_lowercase())
    {
        return reason.hint(format!(
            "columns are case-sensitive; the model has `{other_case}`"
        ));
    }
    match nearest(name, columns()) {
        Some(near) => reason.hint(format!("did you mean `{near}`?")),
        None => reason.hint(format!(
            "the model has: {}; for a constant text write {{ literal: \"{name}\" }}",
            columns().collect::<Vec<_>>().join(", ")
        )),
    }
}
