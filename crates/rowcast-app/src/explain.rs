//! `explain`: what error codes mean.

use rowcast_core::{Code, Reason};
use schemars::JsonSchema;
use serde::Serialize;

use crate::Answer;

/// An error code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Explained {
    pub code: &'static str,
    /// What it means, in one line.
    pub title: &'static str,
    /// Why it happens and how to fix it, in Markdown; only of a code that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page: Option<&'static str>,
}

/// All codes.
pub fn codes() -> Vec<Explained> {
    let all = Code::ALL.iter();
    all.map(|code| explained(*code, None)).collect()
}

/// One code with its page.
///
/// # Errors
/// There is no such code.
pub fn code(word: &str) -> Answer<Explained> {
    match Code::parse(word) {
        Some(code) => Ok(explained(code, Some(code.page()))),
        None => Err(
            Reason::new(Code::Usage, format!("can't explain the code \"{word}\""))
                .detail("there is no such code")
                .hint("`rowcast explain` lists all codes")
                .into(),
        ),
    }
}

fn explained(code: Code, page: Option<&'static str>) -> Explained {
    Explained {
        code: code.as_str(),
        title: code.title(),
        page,
    }
}
