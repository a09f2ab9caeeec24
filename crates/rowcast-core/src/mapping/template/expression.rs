//! One expression between `{{` and `}}`: what is refused before any row exists, and its value.
//!
//! What reaches minijinja has passed `check_tokens`. Must never let through a call, a filter or a
//! test that is not ours, nor one step of fuel that makes a value without bound.

use minijinja::{Environment, Expression, Value as Jinja};

use super::super::carried::{Manner, from_jinja, into_jinja};
use super::super::filters;
use super::super::scan::{Token, tokens};
use super::{Context, Part, invalid, nearest, short};
use crate::code::Code;
use crate::fault::Reason;
use crate::value::{Name, Value};

/// The most words and symbols in one expression: minijinja's compiler recurses over long chains of
/// operators, and must not meet one that exhausts the stack.
const MAX_TOKENS: usize = 1_500;

/// An expression that minijinja evaluates, with the names it reads.
pub(super) struct Compiled {
    expression: Expression<'static, 'static>,
    source: Box<str>,
    pub(super) columns: Vec<Name>,
    manner: Manner,
}

impl Compiled {
    pub(super) fn evaluate(&self, context: &dyn Context) -> Result<Value, Reason> {
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

/// A part from the text between the braces: a plain path where that is enough.
pub(super) fn compile(source: &str) -> Result<Part, Reason> {
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
