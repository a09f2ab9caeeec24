//! Text from rows, servers and destinations on its way to a terminal: it must not steer it.
//!
//! Escape sequences, carriage returns, backspaces and marks that turn the direction of writing
//! around could hide or forge what a person reads. Only the colours of this program pass.

use std::borrow::Cow;

/// The colours of `Style::paint`.
const COLOURS: [&str; 6] = [
    "\u{1b}[32m",
    "\u{1b}[33m",
    "\u{1b}[1;31m",
    "\u{1b}[2m",
    "\u{1b}[1m",
    "\u{1b}[0m",
];

/// What a character that steers is replaced by.
const REPLACEMENT: char = '\u{fffd}';

/// Whether a character does something to a terminal or to the order of what is read.
fn steers(c: char) -> bool {
    c.is_control() && !matches!(c, '\n' | '\t')
        || matches!(
            c,
            '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}'
                | '\u{feff}' | '\u{e0000}'..='\u{e007f}'
        )
}

/// A text for people: what steers is shown as a replacement mark. Our colours pass if there are
/// any.
pub(crate) fn tame(text: &str, colours: bool) -> Cow<'_, str> {
    if !text.contains(steers) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let colour = COLOURS.iter().find(|of| colours && rest.starts_with(**of));
        let taken = match colour {
            Some(colour) => {
                out.push_str(colour);
                colour.len()
            }
            // The end of a line as Windows writes it.
            None if rest.starts_with("\r\n") => 1,
            None => {
                out.push(if steers(c) { REPLACEMENT } else { c });
                c.len_utf8()
            }
        };
        rest = &rest[taken..];
    }
    Cow::Owned(out)
}

/// A JSON text with what steers written as escapes: the same document, harmless to look at. The
/// text must be JSON, so that such characters stand in strings only.
pub(crate) fn tame_json(text: &str) -> Cow<'_, str> {
    let steers = |c: char| steers(c) && c != '\r';
    if !text.contains(steers) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if steers(c) {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What rows, servers and services may hold.
    const HOSTILE: [&str; 18] = [
        "\u{1b}[2J\u{1b}[H",
        "\u{1b}]0;title\u{7}",
        "\u{1b}]8;;https://evil.example\u{1b}\\link\u{1b}]8;;\u{1b}\\",
        "\u{1b}]52;c;Y3VybCBldmls\u{7}",
        "\u{1b}P+q544e\u{1b}\\",
        "\u{1b}[6n",
        "\u{1b}[?1049h",
        "\u{1b}[31mred",
        "\u{9b}31m",
        "\u{9d}0;title\u{9c}",
        "failed\rdone  ",
        "failed\u{8}\u{8}\u{8}\u{8}\u{8}\u{8}done",
        "\u{7}\u{b}\u{c}\u{0}\u{7f}",
        "a\u{202e}fdp.exe",
        "\u{2066}a\u{2069}\u{200f}",
        "zero\u{200b}width\u{feff}",
        "line\u{2028}separator\u{2029}",
        "tag\u{e0041}",
    ];

    #[test]
    fn injection_terminal_codes_in_data_do_not_reach_a_terminal() {
        assert!(HOSTILE.len() >= 18);
        for text in HOSTILE {
            for colours in [false, true] {
                let shown = tame(text, colours);
                assert!(!shown.contains(steers), "{shown:?}");
                assert!(shown.contains(REPLACEMENT), "{shown:?}");
            }
            let json = serde_json::to_string(text).unwrap();
            let shown = tame_json(&json);
            assert!(!shown.contains(steers), "{shown:?}");
            assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), text);
        }
    }

    #[test]
    fn our_colours_and_ordinary_text_pass() {
        let ours = "\u{1b}[1;31merror\u{1b}[0m: Ünal\t日本\n";
        assert_eq!(tame(ours, true), ours);
        assert!(!tame(ours, false).contains('\u{1b}'));
        assert_eq!(tame("a\r\nb", false), "a\nb");
        assert_eq!(tame_json("{\n  \"a\": 1\n}"), "{\n  \"a\": 1\n}");
    }
}
