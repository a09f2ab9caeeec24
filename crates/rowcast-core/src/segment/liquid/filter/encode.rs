//! HTML, addresses, JSON.

use super::Arguments;
use crate::segment::liquid::render::printed;
use crate::segment::node::Node;
use crate::segment::text;
use crate::value::Value;

/// Applies a filter of this kind; `None` when the name is another's.
///
/// # Errors
/// The value is not what the filter decodes.
pub(super) fn apply(value: &Value, arguments: &Arguments<'_>) -> Result<Option<Value>, String> {
    let plain = || printed(value);
    let made = match arguments.name {
        "raw" => return Ok(Some(value.clone())),
        "escape" | "xml_escape" => escape(&plain()),
        "escape_once" => escape(&unescape(&plain())),
        "strip_html" => strip_html(&plain()),
        "url_encode" => percent(&plain(), "-_.!~*'()").replace("%20", "+"),
        "cgi_escape" => percent(&plain(), "-_.").replace("%20", "+"),
        "uri_escape" => percent(&plain(), "-_.!~*'();/?:@&=+$,#[]"),
        "url_decode" => decode(&plain())?,
        "json" | "jsonify" | "inspect" => match text::json(&Node::of(value)) {
            Some(json) => json,
            None => return Ok(Some(Value::Null)),
        },
        _ => return Ok(None),
    };
    Ok(Some(Value::text(made)))
}

const ENTITIES: [(char, &str); 5] = [
    ('&', "&amp;"),
    ('<', "&lt;"),
    ('>', "&gt;"),
    ('"', "&#34;"),
    ('\'', "&#39;"),
];

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match ENTITIES.iter().find(|(plain, _)| *plain == letter) {
            Some((_, entity)) => out.push_str(entity),
            None => out.push(letter),
        }
    }
    out
}

fn unescape(text: &str) -> String {
    let mut out = text.to_owned();
    for (plain, entity) in ENTITIES.iter().rev() {
        out = out.replace(entity, &plain.to_string());
    }
    out
}

/// Leaves tags, comments, scripts and styles out.
fn strip_html(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find('<') {
        out.push_str(&rest[..start]);
        let tag = &rest[start..];
        let lower = tag.to_ascii_lowercase();
        let close = [
            ("<script", "</script>"),
            ("<style", "</style>"),
            ("<!--", "-->"),
        ]
        .iter()
        .find(|(open, _)| lower.starts_with(open))
        .and_then(|(_, close)| lower.find(close).map(|at| at + close.len()))
        .or_else(|| tag.find('>').map(|at| at + 1));
        let Some(end) = close else {
            out.push_str(tag);
            return out;
        };
        rest = &tag[end..];
    }
    out + rest
}

/// Percent-encodes everything but letters, digits and `kept`.
fn percent(text: &str, kept: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || kept.as_bytes().contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

fn decode(text: &str) -> Result<String, String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'+' => out.push(b' '),
            b'%' => {
                let digits: Option<u32> = bytes.next().zip(bytes.next()).and_then(|(a, b)| {
                    Some(char::from(a).to_digit(16)? * 16 + char::from(b).to_digit(16)?)
                });
                match digits {
                    Some(byte) => out.push(byte as u8),
                    None => return Err(format!("{text:?} is not percent-encoded")),
                }
            }
            byte => out.push(byte),
        }
    }
    String::from_utf8(out).map_err(|_| format!("{text:?} does not decode to a text"))
}
