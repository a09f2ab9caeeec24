//! Just enough of PostgreSQL's lexer to find where a statement ends.
//!
//! Decides nothing about safety: whether the text is one statement is the server's word. A text
//! that is misread here only meets a syntax error there.

/// What a piece of text is.
#[derive(PartialEq)]
enum Piece {
    /// White space, a comment, a semicolon.
    Blank,
    Other,
}

/// The next piece: its kind and its length in bytes (at least 1).
fn piece(text: &str, previous: Option<char>) -> (Piece, usize) {
    let bytes = text.as_bytes();
    let quoted = |start: usize, quote: u8, backslash: bool| {
        let mut i = start;
        while i < bytes.len() {
            if backslash && bytes[i] == b'\\' {
                i += 2;
            } else if bytes[i] == quote {
                if bytes.get(i + 1) == Some(&quote) {
                    i += 2;
                } else {
                    return i + 1;
                }
            } else {
                i += 1;
            }
        }
        bytes.len()
    };
    let in_word = previous.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '$');
    match bytes {
        [b, ..] if b.is_ascii_whitespace() || *b == 0x0b => (Piece::Blank, 1),
        [b'-', b'-', ..] => (Piece::Blank, text.find(['\n', '\r']).unwrap_or(text.len())),
        [b'/', b'*', ..] => (Piece::Blank, block_comment(bytes)),
        [b';', ..] => (Piece::Blank, 1),
        [b'\'', ..] => {
            // The character before the quote is E or e only as a prefix of its own; a wrong guess
            // is harmless (see the module's head).
            let escapes = matches!(previous, Some('E' | 'e'));
            (Piece::Other, quoted(1, b'\'', escapes))
        }
        [b'"', ..] => (Piece::Other, quoted(1, b'"', false)),
        [b'$', ..] if !in_word => match dollar_quote(text) {
            Some(length) => (Piece::Other, length),
            None => (Piece::Other, 1),
        },
        _ => (Piece::Other, text.chars().next().map_or(1, char::len_utf8)),
    }
}

/// Comments nest in PostgreSQL.
fn block_comment(bytes: &[u8]) -> usize {
    let (mut depth, mut i) = (0_u32, 0);
    while i < bytes.len() {
        match &bytes[i..] {
            [b'/', b'*', ..] => {
                depth += 1;
                i += 2;
            }
            [b'*', b'/', ..] => {
                depth -= 1;
                i += 2;
                if depth == 0 {
                    return i;
                }
            }
            _ => i += 1,
        }
    }
    bytes.len()
}

/// `$tag$ … $tag$`.
fn dollar_quote(text: &str) -> Option<usize> {
    let tag_end = text[1..].find('$')? + 2;
    let tag = &text[..tag_end];
    let name = &tag[1..tag_end - 1];
    let is_name = name.chars().all(|c| c.is_alphanumeric() || c == '_')
        && !name.starts_with(|c: char| c.is_ascii_digit());
    is_name.then(|| {
        text[tag_end..]
            .find(tag)
            .map_or(text.len(), |at| tag_end + at + tag_end)
    })
}

/// The text without leading and trailing blanks, comments and semicolons.
pub(super) fn body(text: &str) -> &str {
    let (mut at, mut start, mut end) = (0, None, 0);
    let mut previous = None;
    while at < text.len() {
        let (kind, length) = piece(&text[at..], previous);
        // Escapes may jump past the end or into a character of an unfinished literal.
        let mut next = (at + length).min(text.len());
        while !text.is_char_boundary(next) {
            next += 1;
        }
        if kind == Piece::Other {
            start.get_or_insert(at);
            end = next;
        }
        // A semicolon belongs to the body only when something follows; the server refuses that.
        previous = text[at..next].chars().next_back();
        at = next;
    }
    start.map_or("", |start| &text[start..end])
}

/// The first word of a body, in lower case.
pub(super) fn first_word(body: &str) -> Option<String> {
    let end = body
        .find(|c: char| !c.is_ascii_alphabetic())
        .unwrap_or(body.len());
    (end > 0).then(|| body[..end].to_ascii_lowercase())
}

/// An identifier at the start of `text` and its length: quoted, or a plain word in lower case.
fn identifier(text: &str) -> Option<(String, usize)> {
    if let Some(rest) = text.strip_prefix('"') {
        let mut name = String::new();
        let mut at = 0;
        loop {
            let end = at + rest[at..].find('"')?;
            name.push_str(&rest[at..end]);
            if !rest[end + 1..].starts_with('"') {
                return Some((name, end + 2));
            }
            name.push('"');
            at = end + 2;
        }
    }
    let starts = |c: char| c.is_alphabetic() || c == '_';
    if !text.starts_with(starts) {
        return None;
    }
    let end = text
        .find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$'))
        .unwrap_or(text.len());
    Some((text[..end].to_ascii_lowercase(), end))
}

/// Names and `schema.name` pairs in the text, outside literals and comments.
pub(super) fn mentions(text: &str) -> Vec<super::Mention> {
    // Names and dots in order; anything else breaks a chain.
    let mut chains: Vec<Vec<String>> = Vec::new();
    let (mut at, mut joins) = (0, false);
    let mut previous = None;
    while at < text.len() {
        let rest = &text[at..];
        if let Some((name, length)) = identifier(rest) {
            // A prefix of a literal (E'…', U&"…") is no name; the literal itself is skipped below.
            match chains.last_mut() {
                Some(chain) if joins && !chain.is_empty() => chain.push(name),
                _ => chains.push(vec![name]),
            }
            joins = false;
            previous = rest[..length].chars().next_back();
            at += length;
            continue;
        }
        let (kind, length) = piece(rest, previous);
        let mut next = (at + length).min(text.len());
        while !text.is_char_boundary(next) {
            next += 1;
        }
        if kind == Piece::Other {
            joins = rest.starts_with('.');
            if !joins {
                chains.push(Vec::new());
            }
        }
        previous = text[at..next].chars().next_back();
        at = next;
    }
    let mut mentions = Vec::new();
    for chain in chains {
        let mention = match chain.as_slice() {
            [] => continue,
            [name] => super::Mention {
                schema: None,
                name: name.clone(),
            },
            [schema, name, ..] => super::Mention {
                schema: Some(schema.clone()),
                name: name.clone(),
            },
        };
        if !mentions.contains(&mention) {
            mentions.push(mention);
        }
    }
    mentions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trailing_semicolons_and_comments_go() {
        for (text, expected) in [
            ("SELECT 1", "SELECT 1"),
            ("  SELECT 1 ; -- done", "SELECT 1"),
            ("-- head\nSELECT 1;;\n/* a /* b */ ; */\n", "SELECT 1"),
            ("SELECT ';' ;", "SELECT ';'"),
            ("SELECT 'it''s;'", "SELECT 'it''s;'"),
            ("SELECT E'\\';' ;", "SELECT E'\\';'"),
            ("SELECT \"a;\";", "SELECT \"a;\""),
            ("SELECT $$;$$ ; ", "SELECT $$;$$"),
            ("SELECT $x$ $$ ; -- $x$;", "SELECT $x$ $$ ; -- $x$"),
            ("SELECT a$b$c;", "SELECT a$b$c"),
            ("SELECT 1 -- ; é\n", "SELECT 1"),
            ("SELECT 1; SELECT 2;", "SELECT 1; SELECT 2"),
            ("-- nothing\n;", ""),
            ("SELECT 'open ; --", "SELECT 'open ; --"),
            ("SELECT E'é\\", "SELECT E'é\\"),
        ] {
            assert_eq!(body(text), expected, "{text}");
        }
    }

    #[test]
    fn the_first_word_is_lower_case() {
        assert_eq!(first_word("Drop TABLE x").as_deref(), Some("drop"));
        assert_eq!(first_word("(SELECT 1)"), None);
    }

    #[test]
    fn names_are_found_as_postgres_folds_them() {
        let found: Vec<String> = mentions(
            "SELECT O.id, 'app.x' FROM App.Orders o JOIN \"My\"\"S\" . \"T\" /* a.b */ USING (id) -- c.d",
        )
        .into_iter()
        .map(|m| m.schema.map_or(m.name.clone(), |schema| format!("{schema}/{}", m.name)))
        .collect();
        for name in ["app/orders", "My\"S/T", "o/id"] {
            assert!(found.iter().any(|f| f == name), "{name}: {found:?}");
        }
        for name in ["app/x", "a/b", "c/d"] {
            assert!(!found.iter().any(|f| f == name), "{name}: {found:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_can_be_searched_for_names(text in "[-'\"$;/*\\\\ .a-eE\n\u{e9}]{0,40}") {
            let _ = mentions(&text);
        }


        #[test]
        fn any_text_has_a_body_that_is_its_own_body(text in "[-'\"$;/*\\\\ a-eE\n\u{e9}]{0,40}") {
            let once = body(&text);
            proptest::prop_assert!(text.contains(once));
        }
    }
}
