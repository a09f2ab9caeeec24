//! Why a use case could not be done: one or more problems, each in three parts, some with a place
//! in a file.

use rowcast_config::Problem;
use rowcast_core::code::ExitClass;
use rowcast_core::{Code, Reason};

/// A use case that could not be done. Holds at least one problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub problems: Vec<Problem>,
}

impl Failure {
    /// Every problem of a project at once.
    pub fn of(problems: Vec<Problem>) -> Self {
        debug_assert!(!problems.is_empty(), "a failure has a reason");
        Self { problems }
    }

    /// How the process ends: the first that applies of invalid, connect, failed, held.
    pub fn exit(&self) -> ExitClass {
        let has = |class| {
            self.problems
                .iter()
                .any(|problem| problem.reason.code.exit() == class)
        };
        [
            ExitClass::Invalid,
            ExitClass::Connect,
            ExitClass::Failed,
            ExitClass::Held,
        ]
        .into_iter()
        .find(|class| has(*class))
        .unwrap_or(ExitClass::Failed)
    }
}

impl From<Reason> for Failure {
    fn from(reason: Reason) -> Self {
        Self {
            problems: vec![Problem::general(reason)],
        }
    }
}

/// A file that can't be read or written.
pub(crate) fn file_reason(doing: &str, path: &std::path::Path, error: &std::io::Error) -> Reason {
    Reason::new(
        Code::FileUnreadable,
        format!("can't {doing} {}", path.display()),
    )
    .detail(error.to_string())
}
