//! What can go wrong, in three parts for people and in three shapes for the engine.

use std::fmt;
use std::time::Duration;

use crate::code::Code;

/// An error as people see it: a stable code, what was attempted and on which object, what others
/// said about it, and the way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    pub code: Code,
    /// Lower case, one line: what was attempted, which object.
    pub message: String,
    /// The other side's own words, or the facts.
    pub detail: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Reason {
    /// A reason with a message only.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            detail: None,
            hint: None,
        }
    }

    /// Adds the other side's own words.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Adds the way out.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// A defect of Rowcast itself: an invariant that did not hold.
    pub fn defect(message: impl Into<String>) -> Self {
        Self::new(Code::Defect, message)
            .hint("this is a defect in rowcast; please report it with the output above")
    }
}

/// The message and the detail on one line; the code and the hint are the renderer's business.
impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(detail) = &self.detail {
            write!(f, ": {detail}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Reason {}

/// Whether a failed write may have taken effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// Certainly not: the request never left, or was refused whole in an answer.
    No,
    /// Nobody knows: the answer was lost, cut, late, or a server error.
    Unknown,
}

/// Why a whole write failed, and thereby what the engine does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Try again as it is, not before `after`.
    Transient {
        after: Option<Duration>,
        applied: Applied,
        reason: Reason,
    },
    /// Refused whole because it is too big or because one record poisons it: try halves.
    Split { reason: Reason },
    /// A person must act: stop the run.
    Fatal { applied: Applied, reason: Reason },
}

impl Fault {
    /// A transient fault whose effect is unknown.
    pub fn lost(reason: Reason) -> Self {
        Self::Transient {
            after: None,
            applied: Applied::Unknown,
            reason,
        }
    }

    /// A transient fault that certainly had no effect.
    pub fn refused(reason: Reason) -> Self {
        Self::Transient {
            after: None,
            applied: Applied::No,
            reason,
        }
    }

    /// A fatal fault that certainly had no effect.
    pub fn fatal(reason: Reason) -> Self {
        Self::Fatal {
            applied: Applied::No,
            reason,
        }
    }

    /// Why.
    pub fn reason(&self) -> &Reason {
        match self {
            Self::Transient { reason, .. }
            | Self::Split { reason }
            | Self::Fatal { reason, .. } => reason,
        }
    }

    /// Whether the write may have taken effect.
    pub fn applied(&self) -> Applied {
        match self {
            Self::Transient { applied, .. } | Self::Fatal { applied, .. } => *applied,
            Self::Split { .. } => Applied::No,
        }
    }
}
