//! Finds the placeholders of a template text and the words of an expression.
//!
//! minijinja compiles and evaluates expressions; this module only cuts `text {{ expression }} text`
//! into pieces, and reads an expression's tokens for what has to be known before a row exists:
//! which filters it uses, and whether it has operators. It must never evaluate anything.

/// A piece of a template text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    Text(&'a str),
    /// What stands between `{{` and `}}`.
    Expression(&'a str),
}

/// Cuts a text into pieces.
///
/// # Errors
/// Says what is not allowed or not closed.
pub(super) fn pieces(text: &str) -> Result<Vec<Piece<'_>>, String> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('{') {
        let mark = rest.as_bytes().get(at + 1).copied();
        match mark {
            Some(b'%') => {
                return Err("`{% … %}` statements are not available, only `{{ … }}`".to_owned());
            }
            Some(b'#') => return Err("`{# … #}` comments are not available".to_owned()),
            Some(b'{') => {}
            _ => {
                // A lone brace is text; step over it.
                let (before, after) = rest.split_at(at + 1);
                push_text(&mut pieces, text, before);
                rest = after;
                continue;
            }
        }
        push_text(&mut pieces, text, &rest[..at]);
        let body = &rest[at + 2..];
        let end = end_of_expression(body)
            .ok_or_else(|| format!("`{{{{{}` has no closing `}}}}`", short(body)))?;
        let expression = body[..end].trim();
        if expression.is_empty() {
            return Err("`{{ }}` is empty".to_owned());
        }
        pieces.push(Piece::Expression(expression));
        rest = &body[end + 2..];
    }
    push_text(&mut pieces, text, rest);
    Ok(pieces)
}

/// Joins neighbouring texts, so that a text without placeholders is one piece.
fn push_text<'a>(pieces: &mut Vec<Piece<'a>>, whole: &'a str, text: &'a str) {
    if text.is_empty() {
        return;
    }
    if let Some(Piece::Text(last)) = pieces.last_mut() {
        let start = last.as_ptr() as usize - whole.as_ptr() as usize;
        let end = text.as_ptr() as usize - whole.as_ptr() as usize + text.len();
        *last = &whole[start..end];
    } else {
        pieces.push(Piece::Text(text));
    }
}

fn short(text: &str) -> String {
    let mut short: String = text.chars().take(30).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

/// The position of the `}}` that closes an expression: not inside quotes or brackets.
fn end_of_expression(body: &str) -> Option<usize> {
    let bytes = body.as_bytes();
    let mut depth = 0_usize;
    let mut i = 0;
    while i < bytes.len() {
        match bytes[i] {
            quote @ (b'"' | b'\'') => i = end_of_string(bytes, i, quote)?,
            b'{' | b'[' | b'(' => depth += 1,
            b'}' if depth == 0 => {
                return (bytes.get(i + 1) == Some(&b'}')).then_some(i);
            }
            b'}' | b']' | b')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        i += 1;
    }
    None
}

/// The position of the closing quote of a string that opens at `start`.
fn end_of_string(bytes: &[u8], start: usize, quote: u8) -> Option<usize> {
    let mut i = start + 1;
    while i < bytes.len() {
        match bytes[i] {
            b'\\' => i += 1,
            byte if byte == quote => return Some(i),
            _ => {}
        }
        i += 1;
    }
    None
}

/// A word of an expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'a> {
    Word(&'a str),
    Number(&'a str),
    String,
    /// `**`, `//`, `==` and the like are one token.
    Symbol(&'a str),
}

/// The tokens of an expression. What minijinja would refuse is minijinja's to say.
pub(super) fn tokens(expression: &str) -> Vec<Token<'_>> {
    const PAIRS: [&str; 6] = ["**", "//", "==", "!=", "<=", ">="];
    let bytes = expression.as_bytes();
    let mut tokens = Vec::new();
    let mut i = 0;
    while i < bytes.len() {
        let start = i;
        match bytes[i] {
            byte if byte.is_ascii_whitespace() => i += 1,
            quote @ (b'"' | b'\'') => {
                i = end_of_string(bytes, i, quote).unwrap_or(bytes.len() - 1) + 1;
                tokens.push(Token::String);
            }
            byte if byte.is_ascii_alphabetic() || byte == b'_' => {
                while i < bytes.len() && (bytes[i].is_ascii_alphanumeric() || bytes[i] == b'_') {
                    i += 1;
                }
                tokens.push(Token::Word(&expression[start..i]));
            }
            byte if byte.is_ascii_digit() => {
                while i < bytes.len() && (bytes[i].is_ascii_alphanumeric() || bytes[i] == b'_') {
                    i += 1;
                }
                tokens.push(Token::Number(&expression[start..i]));
            }
            _ => {
                let length = match expression.get(i..i + 2) {
                    Some(pair) if PAIRS.contains(&pair) => 2,
                    _ => expression[i..].chars().next().map_or(1, char::len_utf8),
                };
                i += length;
                tokens.push(Token::Symbol(&expression[start..i]));
            }
        }
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_in_strings_and_dictionaries_do_not_end_an_expression() {
        assert_eq!(
            pieces("a {{ \"}}\" }} {b} {{ {'a': {'b': 1}} }}").unwrap(),
            [
                Piece::Text("a "),
                Piece::Expression("\"}}\""),
                Piece::Text(" {b} "),
                Piece::Expression("{'a': {'b': 1}}"),
            ]
        );
        assert_eq!(pieces("{a}{").unwrap(), [Piece::Text("{a}{")]);
        assert_eq!(pieces("").unwrap(), []);
    }

    #[test]
    fn statements_comments_and_open_ends_are_refused() {
        for text in [
            "{% if a %}",
            "{# a #}",
            "{{ a",
            "{{ }}",
            "{{ 'a }}",
            "{{ a }",
        ] {
            assert!(pieces(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_expression_falls_into_tokens() {
        assert_eq!(
            tokens("a.b|f(1.5) ** 'x' ~ é"),
            [
                Token::Word("a"),
                Token::Symbol("."),
                Token::Word("b"),
                Token::Symbol("|"),
                Token::Word("f"),
                Token::Symbol("("),
                Token::Number("1"),
                Token::Symbol("."),
                Token::Number("5"),
                Token::Symbol(")"),
                Token::Symbol("**"),
                Token::String,
                Token::Symbol("~"),
                Token::Symbol("é"),
            ]
        );
    }
}
