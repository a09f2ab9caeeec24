//! A policy's three numbers, which a test may name in place of the program's.
//!
//! A switch of tests, not of people: release builds read no such variable.

/// The numbers that the variable names.
#[cfg(debug_assertions)]
#[expect(
    clippy::disallowed_methods,
    reason = "a switch of tests, not of people"
)]
pub(super) fn named(variable: &str) -> Option<[u64; 3]> {
    numbers(&std::env::var(variable).ok()?)
}

/// The numbers that the variable names: none.
#[cfg(not(debug_assertions))]
pub(super) fn named(_variable: &str) -> Option<[u64; 3]> {
    None
}

/// `1:2:3`.
#[cfg(debug_assertions)]
fn numbers(text: &str) -> Option<[u64; 3]> {
    let parts: Option<Vec<u64>> = text.split(':').map(|part| part.parse().ok()).collect();
    parts?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_three_numbers_or_none() {
        assert_eq!(numbers("1:20:300"), Some([1, 20, 300]));
        for wrong in ["", "1:2", "1:2:3:4", "1:2:x"] {
            assert_eq!(numbers(wrong), None, "{wrong}");
        }
    }
}
