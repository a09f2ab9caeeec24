//! Literal search and replace, as `@replace` does it.

/// How to search.
#[derive(Debug, Clone, Copy)]
pub(super) struct Search {
    pub ignore_case: bool,
    /// All places, not only the first.
    pub global: bool,
}

/// Replaces `pattern` in `text`. The replacement is taken literally.
pub(super) fn replace(text: &str, pattern: &str, replacement: &str, search: Search) -> String {
    let pattern: Vec<char> = pattern.chars().collect();
    let letters: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    let mut done = false;
    while at < letters.len() {
        let found = !done
            && !pattern.is_empty()
            && letters.len() - at >= pattern.len()
            && pattern
                .iter()
                .zip(&letters[at..])
                .all(|(a, b)| same(*a, *b, search.ignore_case));
        if found {
            out.push_str(replacement);
            at += pattern.len();
            done = !search.global;
        } else {
            out.push(letters[at]);
            at += 1;
        }
    }
    out
}

fn same(a: char, b: char, ignore_case: bool) -> bool {
    a == b || (ignore_case && folded(a) == folded(b))
}

/// A regular expression's idea of case: the upper case, where that is one letter and does not turn
/// a letter beyond ASCII into ASCII.
fn folded(letter: char) -> char {
    let mut upper = letter.to_uppercase();
    match (upper.next(), upper.next()) {
        (Some(upper), None) if letter.is_ascii() || !upper.is_ascii() => upper,
        _ => letter,
    }
}
