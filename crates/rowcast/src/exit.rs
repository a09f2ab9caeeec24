//! How the process ends: the exit codes of the contract, and which one wins for several syncs.

use rowcast_core::code::ExitClass;

/// An exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Succeeded = 0,
    /// A run, a check or a test failed.
    Failed = 1,
    /// Usage or invalid configuration.
    Invalid = 2,
    /// Something can't be reached.
    Connect = 3,
    /// Held by a guard before the first request.
    Held = 4,
    /// Finished with rejected or invalid rows, with `--fail-on-rejected`.
    Rejected = 5,
    /// Stopped by a signal; progress is kept.
    Interrupted = 130,
}

/// Code, name and meaning, for the reference page.
pub(crate) const TABLE: [(Exit, &str); 7] = [
    (Exit::Succeeded, "succeeded"),
    (
        Exit::Failed,
        "failed: a run, a check or a test; also a sync that is already running",
    ),
    (Exit::Invalid, "wrong usage or invalid configuration"),
    (Exit::Connect, "cannot connect"),
    (Exit::Held, "held by a guard"),
    (
        Exit::Rejected,
        "finished with rejected or invalid rows, when `--fail-on-rejected` was given",
    ),
    (Exit::Interrupted, "interrupted; progress is kept"),
];

impl Exit {
    /// The one code of several syncs: the first that applies of 130, 2, 3, 1, 4, 5.
    pub(crate) fn worst(all: impl IntoIterator<Item = Self>) -> Self {
        let all: Vec<Self> = all.into_iter().collect();
        [
            Self::Interrupted,
            Self::Invalid,
            Self::Connect,
            Self::Failed,
            Self::Held,
            Self::Rejected,
        ]
        .into_iter()
        .find(|exit| all.contains(exit))
        .unwrap_or(Self::Succeeded)
    }

    /// The number.
    pub(crate) fn code(self) -> u8 {
        self as u8
    }
}

impl From<ExitClass> for Exit {
    fn from(class: ExitClass) -> Self {
        match class {
            ExitClass::Failed => Self::Failed,
            ExitClass::Invalid => Self::Invalid,
            ExitClass::Connect => Self::Connect,
            ExitClass::Held => Self::Held,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Exit::{Connect, Failed, Held, Interrupted, Invalid, Rejected, Succeeded};
    use super::*;

    #[test]
    fn several_syncs_end_with_the_first_code_that_applies() {
        let order = [
            Interrupted,
            Invalid,
            Connect,
            Failed,
            Held,
            Rejected,
            Succeeded,
        ];
        for (i, first) in order.iter().enumerate() {
            let rest = order[i..].iter().rev().copied();
            assert_eq!(Exit::worst(rest), *first);
        }
        assert_eq!(Exit::worst([]), Succeeded);
    }
}
