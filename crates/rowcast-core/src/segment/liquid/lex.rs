//! Cuts a template into text, outputs `{{ … }}` and tags `{% … %}`.

/// One piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    Text(String),
    Output(String),
    Tag { name: String, rest: String },
}

/// The pieces of a template; a dash inside a mark takes the white space beside it away.
///
/// # Errors
/// A mark is not closed.
pub(super) fn pieces(template: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut rest = template;
    let mut trim = false;
    loop {
        let start = match (rest.find("{{"), rest.find("{%")) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        let mut text = &rest[..start.unwrap_or(rest.len())];
        if trim {
            text = text.trim_start();
        }
        let Some(start) = start else {
            push_text(&mut pieces, text);
            return Ok(pieces);
        };
        let is_tag = rest[start..].starts_with("{%");
        let inside = &rest[start + 2..];
        let (inside, trims_before) = match inside.strip_prefix('-') {
            Some(inside) => (inside, true),
            None => (inside, false),
        };
        push_text(
            &mut pieces,
            if trims_before { text.trim_end() } else { text },
        );
        let close = if is_tag { "%}" } else { "}}" };
        let end = end_of(inside, close).ok_or_else(|| {
            format!(
                "{:?} is not closed",
                &rest[start..rest.len().min(start + 2)]
            )
        })?;
        let content = &inside[..end];
        rest = &inside[end + 2..];
        let (content, trims_after) = match content.strip_suffix('-') {
            Some(content) => (content, true),
            None => (content, false),
        };
        trim = trims_after;
        let content = content.trim();
        if !is_tag {
            pieces.push(Piece::Output(content.into()));
            continue;
        }
        let tag = tag(content)?;
        match &tag {
            Piece::Tag { name, .. } if name == "raw" || name == "comment" => {
                let (body, after, trims) = until_end(rest, name)?;
                if name == "raw" {
                    push_text(&mut pieces, if trim { body.trim_start() } else { body });
                }
                rest = after;
                trim = trims;
            }
            _ => pieces.push(tag),
        }
    }
}

fn push_text(pieces: &mut Vec<Piece>, text: &str) {
    if !text.is_empty() {
        pieces.push(Piece::Text(text.into()));
    }
}

/// Where a mark closes, outside of quotes.
fn end_of(inside: &str, close: &str) -> Option<usize> {
    let mut quote = None;
    for (at, letter) in inside.char_indices() {
        match quote {
            Some(open) if letter == open => quote = None,
            Some(_) => {}
            None if inside[at..].starts_with(close) => return Some(at),
            None if matches!(letter, '"' | '\'') => quote = Some(letter),
            None => {}
        }
    }
    // An apostrophe in a sentence is not a quote.
    inside.find(close)
}

/// A tag from what stands between its marks, or from a line of the `liquid` tag.
///
/// # Errors
/// There is no name.
pub(super) fn tag(content: &str) -> Result<Piece, String> {
    let content = content.trim();
    let end = content
        .find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(content.len());
    // `#` is a comment in one tag.
    let end = if content.starts_with('#') { 1 } else { end };
    if end == 0 {
        return Err(format!("{{% {content} %}} has no name"));
    }
    Ok(Piece::Tag {
        name: content[..end].into(),
        rest: content[end..].trim().into(),
    })
}

/// The body of `raw` or `comment`, what follows its end, and whether the end trims.
fn until_end<'a>(text: &'a str, name: &str) -> Result<(&'a str, &'a str, bool), String> {
    let mut at = 0;
    while let Some(found) = text[at..].find("{%") {
        let start = at + found;
        let Some(end) = text[start..].find("%}") else {
            break;
        };
        let content = &text[start + 2..start + end];
        let trims = content.ends_with('-');
        if content.trim_matches('-').trim() == format!("end{name}") {
            let body = &text[..start];
            let body = if content.starts_with('-') {
                body.trim_end()
            } else {
                body
            };
            return Ok((body, &text[start + end + 2..], trims));
        }
        at = start + 2;
    }
    Err(format!("{{% {name} %}} is not closed"))
}
