//! Functions on text: case, cutting, hashing, encoding.

use std::fmt::Write as _;

use md5::{Digest as _, Md5};
use sha2::Sha256;

use super::{Argument, Failure, Function, Input, bounded, text_of, unary, whole};
use crate::json::to_text;
use crate::mapping::template::percent_encode;
use crate::value::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    unary("lower", Input::Text, "in lower case", (r#"{"lower":"email"}"#, r#"{"email":"Ada@X.org"}"#, r#""ada@x.org""#), |a| Ok(text_of(&a[0]).to_lowercase().into())),
    unary("upper", Input::Text, "in upper case", (r#"{"upper":"country"}"#, r#"{"country":"de"}"#, r#""DE""#), |a| bounded(text_of(&a[0]).to_uppercase())),
    unary("capitalize", Input::Text, "first letter in upper case, the others in lower case", (r#"{"capitalize":"name"}"#, r#"{"name":"ADA"}"#, r#""Ada""#), |a| Ok(capitalize(&text_of(&a[0])).into())),
    unary("title", Input::Text, "first letter of every word in upper case", (r#"{"title":"name"}"#, r#"{"name":"ada lovelace"}"#, r#""Ada Lovelace""#), |a| bounded(title(&text_of(&a[0])))),
    unary("trim", Input::Text, "without blanks at both ends", (r#"{"trim":"name"}"#, r#"{"name":"  Ada "}"#, r#""Ada""#), |a| Ok(text_of(&a[0]).trim().into())),
    unary("concat", Input::Any, "the values one after another; nulls are left out, and if all are null the result is null", (r#"{"concat":["first",{"literal":" "},"last"]}"#, r#"{"first":"Ada","last":"Lovelace"}"#, r#""Ada Lovelace""#), concat).rules("value, …", 1, usize::MAX).sees_null(),
    unary("replace", Input::Text, "every occurrence of a text replaced by another", (r#"{"replace":["phone","-",""]}"#, r#"{"phone":"555-01-23"}"#, r#""5550123""#), replace).options("value, find, replacement", 3, 3),
    unary("substring", Input::Text, "characters from a position on, counted from 1 as in PostgreSQL, optionally at most so many", (r#"{"substring":["zip",1,2]}"#, r#"{"zip":"10115"}"#, r#""10""#), substring).options("value, from, length", 2, 3),
    unary("length", Input::Any, "number of characters of a text, items of a list, members of an object", (r#"{"length":"name"}"#, r#"{"name":"Zoë"}"#, "3"), length),
    unary("sha256", Input::Any, "SHA-256 of the text form, 64 hexadecimal digits in lower case", (r#"{"sha256":{"lower":"email"}}"#, r#"{"email":"A@B.C"}"#, r#""d648b243a3e817eaa3309e00e183483f2867baadf522099f0c2121770536b25a""#), |a| Ok(hex(&Sha256::digest(text_of(&a[0]).as_bytes())).into())),
    unary("md5", Input::Any, "MD5 of the text form, 32 hexadecimal digits in lower case", (r#"{"md5":"email"}"#, r#"{"email":"a@b.c"}"#, r#""5d60d4e28066df254d5452f92c910092""#), |a| Ok(hex(&Md5::digest(text_of(&a[0]).as_bytes())).into())),
    unary("base64", Input::Any, "Base64 of the text form; of bytes, of the bytes", (r#"{"base64":"name"}"#, r#"{"name":"Ada"}"#, r#""QWRh""#), |a| bounded(to_text(&Value::Bytes(bytes_of(&a[0]))))),
    unary("hex", Input::Any, "hexadecimal digits of the text form; of bytes, of the bytes", (r#"{"hex":"name"}"#, r#"{"name":"Ada"}"#, r#""416461""#), |a| bounded(hex(&bytes_of(&a[0])))),
    unary("url_encode", Input::Any, "percent-encoded for a URL", (r#"{"url_encode":"name"}"#, r#"{"name":"a b&c"}"#, r#""a%20b%26c""#), |a| {
        let mut out = String::new();
        percent_encode(&text_of(&a[0]), &mut out);
        bounded(out)
    }),
    unary("normalize_email", Input::Text, "trimmed and in lower case", (r#"{"normalize_email":"email"}"#, r#"{"email":" Ada@X.org "}"#, r#""ada@x.org""#), |a| Ok(text_of(&a[0]).trim().to_lowercase().into())),
    unary("normalize_phone", Input::Text, "E.164 (`+` and 7 to 15 digits), null if it can't be one. A number without `+` or `00` is national when a country code is given: one leading 0 goes, the code is put in front. Otherwise it is taken to begin with its country code", (r#"{"normalize_phone":["phone","49"]}"#, r#"{"phone":"(030) 123-4567"}"#, r#""+49301234567""#), phone).options("value, country code", 1, 2),
    unary("split", Input::Text, "the parts between separators, as a list", (r#"{"split":["tags",","]}"#, r#"{"tags":"a,b"}"#, r#"["a","b"]"#), split).options("value, separator", 2, 2),
];

fn capitalize(text: &str) -> String {
    let mut characters = text.chars();
    match characters.next() {
        Some(first) => first
            .to_uppercase()
            .chain(characters.flat_map(char::to_lowercase))
            .collect(),
        None => String::new(),
    }
}

fn title(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut inside = false;
    for character in text.chars() {
        if inside {
            out.extend(character.to_lowercase());
        } else {
            out.extend(character.to_uppercase());
        }
        inside = character.is_alphanumeric() || character == '\'';
    }
    out
}

fn concat(arguments: &[Argument<'_>]) -> Result<Value, Failure> {
    if arguments.iter().all(|argument| argument.is_null()) {
        return Ok(Value::Null);
    }
    bounded(arguments.iter().map(text_of).collect())
}

fn replace(arguments: &[Argument<'_>]) -> Result<Value, Failure> {
    let (text, find, with) = (
        text_of(&arguments[0]),
        text_of(&arguments[1]),
        text_of(&arguments[2]),
    );
    if find.is_empty() {
        return Err(Failure::new("`replace` can't find an empty text"));
    }
    let found = text.matches(&*find).count();
    if found.saturating_mul(with.len()) > super::MAX_TEXT {
        return Err(Failure::new("the result is larger than 1 MiB"));
    }
    bounded(text.replace(&*find, &with))
}

fn substring(arguments: &[Argument<'_>]) -> Result<Value, Failure> {
    let from = whole(&arguments[1], "from")?;
    let length = match arguments.get(2) {
        Some(length) => whole(length, "length")?,
        None => i64::MAX,
    };
    if from < 1 || length < 0 {
        return Err(Failure::new(
            "`substring` counts from 1, and its length can't be negative",
        ));
    }
    let text = text_of(&arguments[0]);
    let part: String = text
        .chars()
        .skip(from as usize - 1)
        .take(length as usize)
        .collect();
    Ok(part.into())
}

fn length(arguments: &[Argument<'_>]) -> Result<Value, Failure> {
    let value = super::structured(&arguments[0])?;
    let length = match &*value {
        Value::List(items) => items.len(),
        Value::Object(members) => members.len(),
        Value::Bytes(bytes) => bytes.len(),
        value => to_text(value).chars().count(),
    };
    Ok(Value::Int(length as i64))
}

fn hex(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _ = write!(out, "{byte:02x}");
    }
    out
}

fn bytes_of(argument: &Argument<'_>) -> Box<[u8]> {
    match &**argument {
        Value::Bytes(bytes) => bytes.clone(),
        _ => text_of(argument).as_bytes().into(),
    }
}

fn phone(arguments: &[Argument<'_>]) -> Result<Value, Failure> {
    let text = text_of(&arguments[0]);
    let text = text.trim();
    let mut digits: String = text.chars().filter(char::is_ascii_digit).collect();
    if text.starts_with('+') {
    } else if let Some(international) = digits.strip_prefix("00") {
        digits = international.to_owned();
    } else if let Some(code) = arguments.get(1).filter(|code| !code.is_null()) {
        let code = text_of(code);
        let code = code.trim_start_matches('+');
        if code.is_empty() || code.len() > 3 || !code.bytes().all(|b| b.is_ascii_digit()) {
            return Err(Failure::new(
                "`country code` must be 1 to 3 digits, such as 49",
            ));
        }
        let national = digits.strip_prefix('0').unwrap_or(&digits);
        digits = format!("{code}{national}");
    }
    // Letters mean that this is no number that can be dialled, such as `n/a`.
    if text.chars().any(char::is_alphabetic)
        || !(7..=15).contains(&digits.len())
        || digits.starts_with('0')
    {
        return Ok(Value::Null);
    }
    Ok(format!("+{digits}").into())
}

fn split(arguments: &[Argument<'_>]) -> Result<Value, Failure> {
    let (text, separator) = (text_of(&arguments[0]), text_of(&arguments[1]));
    if separator.is_empty() {
        return Err(Failure::new("`split` needs a separator that is not empty"));
    }
    if text.is_empty() {
        return Ok(Value::List(Vec::new()));
    }
    Ok(Value::List(
        text.split(&*separator).map(Value::from).collect(),
    ))
}
