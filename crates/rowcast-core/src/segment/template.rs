//! `{{ name }}` and `{{{ name }}}` in a text.
//!
//! Inserted text is never read as a template again.

use super::node::Node;
use crate::value::Value;

/// Fills the places of a template with values of the payload.
pub(super) fn render(template: &str, payload: &Value) -> String {
    walk(template, &mut |name, out| {
        if let Some(value) = super::path::get(payload, name) {
            out.push_str(&super::text::of(&Node::of(&value)));
        }
    })
}

/// The names that a template asks for.
pub(super) fn names(template: &str) -> Vec<String> {
    let mut names = Vec::new();
    walk(template, &mut |name, _| names.push(name.to_owned()));
    names
}

type Fill<'a> = &'a mut dyn FnMut(&str, &mut String);

fn walk(template: &str, fill: Fill<'_>) -> String {
    let mut out = String::new();
    // Pieces between triple braces are looked through for double ones.
    let mut pieces = Vec::new();
    each(template, 3, &mut |piece| pieces.push(piece));
    for piece in pieces {
        match piece {
            Piece::Place(name) => fill(name, &mut out),
            Piece::Plain(text) => each(text, 2, &mut |piece| match piece {
                Piece::Place(name) => fill(name, &mut out),
                Piece::Plain(text) => out.push_str(text),
            }),
        }
    }
    out
}

enum Piece<'a> {
    Plain(&'a str),
    /// A name to be looked up, without the space around it.
    Place(&'a str),
}

/// Walks over the places with so many braces, and what lies between them.
fn each<'a>(text: &'a str, braces: usize, visit: &mut dyn FnMut(Piece<'a>)) {
    let (open, close) = (&"{{{"[..braces], &"}}}"[..braces]);
    let (mut start, mut at) = (0, 0);
    while let Some(found) = text[at..].find(open) {
        let begin = at + found;
        let name_at = begin + braces;
        let name = match text[name_at..].find('}') {
            Some(end) if end > 0 && text[name_at + end..].starts_with(close) => {
                &text[name_at..name_at + end]
            }
            // No place begins here; one may begin a brace later.
            _ => {
                at = begin + 1;
                continue;
            }
        };
        visit(Piece::Plain(&text[start..begin]));
        visit(Piece::Place(name.trim()));
        start = name_at + name.len() + braces;
        at = start;
    }
    visit(Piece::Plain(&text[start..]));
}
