//! `{{ name }}` and `{{{ name }}}` in a text.
//!
//! Inserted text is never read as a template again.

use super::node::Node;
use crate::value::Value;

/// Fills the places of a template with values of the payload.
pub(super) fn render(template: &str, payload: &Value) -> String {
    let mut out = String::new();
    each(
        template,
        3,
        &mut out,
        &mut |text, out| {
            each(text, 2, out, &mut |text, out| out.push_str(text), payload);
        },
        payload,
    );
    out
}

/// Walks over the places with so many braces; hands what lies between them to `plain`.
fn each(
    text: &str,
    braces: usize,
    out: &mut String,
    plain: &mut dyn FnMut(&str, &mut String),
    payload: &Value,
) {
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
        plain(&text[start..begin], out);
        if let Some(value) = super::path::get(payload, name.trim()) {
            out.push_str(&super::text::of(&Node::of(&value)));
        }
        start = name_at + name.len() + braces;
        at = start;
    }
    plain(&text[start..], out);
}
