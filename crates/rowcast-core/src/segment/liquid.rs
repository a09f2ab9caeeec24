//! Liquid as Segment allows it: no loops, no includes, a closed list of filters.
//!
//! A template comes from a stranger. It can't loop, so what it may do is bounded by its length and
//! by the text it makes: doubling a text forty times fits into a thousand characters.

mod expression;
mod filter;
mod lex;
mod parse;
mod render;

use crate::value::Value;

/// All text that one rendering may make, in bytes. Segment allows 100 MB of memory; nothing that a
/// record carries is a tenth of this.
const TEXT_MAX: usize = 10 << 20;

/// A tag inside a tag, at most.
const DEPTH_MAX: usize = 64;

/// Tags that Segment turned off.
const DISABLED_TAGS: [&str; 6] = ["case", "for", "include", "layout", "render", "tablerow"];

/// Renders a template with the payload's members as variables. `now_us`: what `now` means, in
/// microseconds since 1970.
///
/// # Errors
/// The template can't be read, uses what is turned off, or makes too much text.
pub(super) fn render(template: &str, payload: &Value, now_us: i64) -> Result<String, String> {
    let nodes = parse::template(template)?;
    render::Renderer::new(payload, now_us).render(&nodes)
}

#[cfg(test)]
mod tests;
