//! Path lookup: `a.b[0]['c']`.
//!
//! Must never reach anything but members of the data: no built-in property of any language.

use std::borrow::Cow;

use crate::value::Value;

/// A step of a path that is falsy ends the walk with itself; anything missing is absent.
pub(super) fn get<'a>(root: &'a Value, path: &str) -> Option<Cow<'a, Value>> {
    let mut current = Cow::Borrowed(root);
    if path.is_empty() || path == "." {
        return Some(current);
    }
    for piece in pieces(path) {
        if super::convert::is_falsy(&current) {
            break;
        }
        current = match current {
            Cow::Borrowed(value) => member(value, &piece)?,
            Cow::Owned(value) => Cow::Owned(member(&value, &piece)?.into_owned()),
        };
    }
    Some(current)
}

/// Without the first `$.`, as `@path` and `@arrayPath` read it.
pub(super) fn without_root(path: &str) -> String {
    path.replacen("$.", "", 1)
}

fn member<'a>(value: &'a Value, name: &str) -> Option<Cow<'a, Value>> {
    let index = || {
        let index: usize = name.parse().ok()?;
        // "01" is a name, not an index.
        (index.to_string() == name).then_some(index)
    };
    match value {
        Value::Object(_) => value.get(name).map(Cow::Borrowed),
        Value::List(items) => items.get(index()?).map(Cow::Borrowed),
        // A text is a list of letters to JavaScript.
        Value::Text(text) => {
            let letter = super::text::letters(text).nth(index()?)?;
            Some(Cow::Owned(Value::text(letter)))
        }
        _ => None,
    }
}

/// Splits at dots, at brackets that open before a digit or a quote, and at brackets that close
/// after one; quotes are dropped, which is why they do not protect a dot.
pub(super) fn pieces(path: &str) -> Vec<String> {
    let inside =
        |c: Option<&char>| c.is_some_and(|c| c.is_ascii_digit() || matches!(c, '"' | '\''));
    let letters: Vec<char> = path.chars().collect();
    let mut pieces = vec![String::new()];
    for (i, &letter) in letters.iter().enumerate() {
        let splits = match letter {
            '.' => true,
            '[' => inside(letters.get(i + 1)),
            ']' => i > 0 && inside(letters.get(i - 1)),
            _ => false,
        };
        if splits {
            pieces.push(String::new());
        } else if let Some(piece) = pieces.last_mut() {
            piece.push(letter);
        }
    }
    pieces.retain(|piece| !piece.is_empty());
    for piece in &mut pieces {
        piece.retain(|letter| !matches!(letter, '"' | '\''));
    }
    pieces
}
