//! Primary keys as people type them.

use rowcast_core::{Code, Key, KeyPart, Name, Reason};

/// Reads `--keys`: `1,2,3` are three keys of one column; `["EU",7]` is one key of two.
///
/// # Errors
/// A JSON list that is none, or holds something else than text and numbers.
pub fn parse_all(words: &[String]) -> Result<Vec<Vec<String>>, Reason> {
    let mut keys = Vec::new();
    for word in words {
        if word.trim_start().starts_with('[') {
            keys.push(parts(word)?);
        } else {
            keys.extend(
                word.split(',')
                    .map(str::trim)
                    .filter(|part| !part.is_empty())
                    .map(|part| vec![part.to_owned()]),
            );
        }
    }
    Ok(keys)
}

fn parts(word: &str) -> Result<Vec<String>, Reason> {
    let wrong = |detail: String| {
        Reason::new(Code::Usage, format!("can't read the key {word}"))
            .detail(detail)
            .hint("write a JSON list of the key's columns: --keys '[\"EU\", 7]'")
    };
    let parts: Vec<Box<serde_json::value::RawValue>> =
        serde_json::from_str(word).map_err(|error| wrong(error.to_string()))?;
    parts
        .iter()
        .map(|part| {
            let text = part.get();
            match text.as_bytes().first() {
                Some(b'"') => serde_json::from_str(text).map_err(|e| wrong(e.to_string())),
                Some(b'-' | b'0'..=b'9') => Ok(text.to_owned()),
                _ => Err(wrong(format!("{text} is neither text nor a number"))),
            }
        })
        .collect()
}

/// The parts of one key in the types of its columns, as state holds them: integers as numbers,
/// `numeric` with its digits, everything else as text.
///
/// # Errors
/// The number of parts differs, or a whole number is expected.
pub(crate) fn typed(parts: Vec<String>, names: &[Name], types: &[&str]) -> Result<Key, Reason> {
    let hint = || format!("the primary key is ({})", names.join(", "));
    if parts.len() != names.len() {
        return Err(Reason::new(
            Code::Usage,
            format!("can't read the key {}", parts.join(", ")),
        )
        .detail(format!("it has {} parts", parts.len()))
        .hint(hint()));
    }
    let part = |(text, type_name): (String, &&str)| match *type_name {
        "smallint" | "integer" | "bigint" | "oid" => text.parse().map(KeyPart::Int).map_err(|_| {
            Reason::new(Code::Usage, format!("can't read the key {text}"))
                .detail(format!("its column is of type {type_name}"))
                .hint(hint())
        }),
        name if name.starts_with("numeric") => Ok(KeyPart::Decimal(text.into())),
        _ => Ok(KeyPart::Text(text.into())),
    };
    let parts: Result<Vec<KeyPart>, Reason> = parts.into_iter().zip(types).map(part).collect();
    Ok(Key(parts?.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_one_column_are_listed_and_others_are_json() {
        let words = ["1,2".to_owned(), "[\"E,U\", 9007199254740993]".to_owned()];
        assert_eq!(
            parse_all(&words).unwrap(),
            [
                vec!["1".to_owned()],
                vec!["2".to_owned()],
                vec!["E,U".to_owned(), "9007199254740993".to_owned()]
            ]
        );
        assert_eq!(
            parse_all(&["[true]".to_owned()]).unwrap_err().code,
            Code::Usage
        );
    }
}
