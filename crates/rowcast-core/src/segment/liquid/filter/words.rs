//! Texts: case, white space, search, cutting.

use super::Arguments;
use crate::segment::liquid::render::{Renderer, printed};
use crate::value::Value;

/// Applies a filter of this kind; `None` when the name is another's.
///
/// # Errors
/// An argument is missing, or the result would be too long.
pub(super) fn apply(
    renderer: &mut Renderer<'_>,
    value: &Value,
    arguments: &Arguments<'_>,
) -> Result<Option<Value>, String> {
    let text = || printed(value);
    let made = match arguments.name {
        "append" => text() + &arguments.needed(0)?,
        "prepend" => arguments.needed(0)? + &text(),
        "capitalize" => capitalize(&text()),
        "downcase" => text().to_lowercase(),
        "upcase" => text().to_uppercase(),
        "strip" => text().trim().into(),
        "lstrip" => text().trim_start().into(),
        "rstrip" => text().trim_end().into(),
        "strip_newlines" => text().replace("\r\n", "").replace('\n', ""),
        "normalize_whitespace" => squeeze(&text()),
        "number_of_words" => {
            return Ok(Some(Value::Int(text().split_whitespace().count() as i64)));
        }
        "remove" => text().replace(&arguments.needed(0)?, ""),
        "remove_first" => text().replacen(&arguments.needed(0)?, "", 1),
        "remove_last" => replace_last(&text(), &arguments.needed(0)?, ""),
        "replace" => {
            let (text, from) = (text(), arguments.needed(0)?);
            let to = arguments.text(1).unwrap_or_default();
            // The only filter whose result can be far longer than all it is made of.
            renderer.make((text.len() + 1).saturating_mul(to.len()) / from.len().max(1))?;
            if from.is_empty() {
                let letters: Vec<String> = text.chars().map(String::from).collect();
                letters.join(&to)
            } else {
                text.replace(&from, &to)
            }
        }
        "replace_first" => {
            let to = arguments.text(1).unwrap_or_default();
            text().replacen(&arguments.needed(0)?, &to, 1)
        }
        "replace_last" => {
            let to = arguments.text(1).unwrap_or_default();
            replace_last(&text(), &arguments.needed(0)?, &to)
        }
        "truncate" => truncate(
            &text(),
            arguments.number(0).unwrap_or(50.0),
            &arguments.text(1).unwrap_or_else(|| "...".into()),
        ),
        "truncatewords" => truncate_words(
            &text(),
            arguments.number(0).unwrap_or(15.0),
            &arguments.text(1).unwrap_or_else(|| "...".into()),
        ),
        "split" => {
            let separator = arguments.needed(0)?;
            return Ok(Some(split(&text(), &separator)));
        }
        "slugify" => slugify(
            &text(),
            &arguments.text(0).unwrap_or_else(|| "default".into()),
            arguments.get(1) == Some(&Value::Bool(true)),
        ),
        _ => return Ok(None),
    };
    Ok(Some(Value::text(made)))
}

fn capitalize(text: &str) -> String {
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first
            .to_uppercase()
            .chain(letters.as_str().to_lowercase().chars())
            .collect(),
        None => String::new(),
    }
}

fn squeeze(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut in_space = false;
    for letter in text.chars() {
        if !letter.is_whitespace() {
            out.push(letter);
        } else if !in_space {
            out.push(' ');
        }
        in_space = letter.is_whitespace();
    }
    out
}

fn replace_last(text: &str, from: &str, to: &str) -> String {
    match text.rfind(from) {
        Some(at) => format!("{}{to}{}", &text[..at], &text[at + from.len()..]),
        None => text.into(),
    }
}

fn truncate(text: &str, length: f64, mark: &str) -> String {
    let units: Vec<u16> = text.encode_utf16().collect();
    let length = length.max(0.0) as usize;
    if units.len() <= length {
        return text.into();
    }
    let keep = length.saturating_sub(mark.encode_utf16().count());
    String::from_utf16_lossy(&units[..keep]) + mark
}

fn truncate_words(text: &str, words: f64, mark: &str) -> String {
    let words = if words >= 1.0 { words as usize } else { 1 };
    let all: Vec<&str> = text.split_whitespace().collect();
    let kept = all[..all.len().min(words)].join(" ");
    if all.len() >= words {
        kept + mark
    } else {
        kept
    }
}

fn split(text: &str, separator: &str) -> Value {
    let mut parts: Vec<&str> = if separator.is_empty() {
        text.split("").filter(|part| !part.is_empty()).collect()
    } else {
        text.split(separator).collect()
    };
    while parts.last().is_some_and(|part| part.is_empty()) {
        parts.pop();
    }
    Value::List(parts.into_iter().map(Value::from).collect())
}

fn slugify(text: &str, mode: &str, cased: bool) -> String {
    let keeps = |letter: char| match mode {
        "raw" => !letter.is_whitespace(),
        "pretty" => letter.is_alphanumeric() || "._~!$&'()+,;=@".contains(letter),
        "ascii" | "latin" => letter.is_ascii_alphanumeric(),
        _ => letter.is_alphanumeric(),
    };
    if mode == "none" {
        return text.into();
    }
    let mut out = String::new();
    for letter in text.chars() {
        if keeps(letter) {
            out.push(letter);
        } else if !out.is_empty() && !out.ends_with('-') {
            out.push('-');
        }
    }
    let out = out.trim_end_matches('-');
    if cased {
        out.into()
    } else {
        out.to_lowercase()
    }
}
