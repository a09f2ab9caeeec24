//! From a time on the wall to an instant, on the two days of the year when that is not plain.
//!
//! A time that the clocks jump over happens at the moment of the jump. A time that comes twice
//! happens the first time, or both times for forms that count through the day.

use jiff::Timestamp;
use jiff::civil::{DateTime, Time};
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};

/// What is peculiar about a time near a change of the clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Note {
    /// The wanted time does not exist on this day; it is made up for when the clocks have jumped.
    Missing { wanted: Time },
    /// The time comes twice on this day; this is the first.
    First,
    /// The time comes twice on this day; this is the second.
    Second,
}

impl std::fmt::Display for Note {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Missing { wanted } => write!(
                f,
                "{} does not exist on this day, the clocks go forward over it",
                wanted.strftime("%H:%M")
            ),
            Self::First => {
                f.write_str("the clocks go back and this time comes twice: the first of the two")
            }
            Self::Second => {
                f.write_str("the clocks go back and this time comes twice: the second of the two")
            }
        }
    }
}

/// Whether a form names times of day, or counts through the day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Counting {
    /// `30 2 * * *`: once a day, whatever the clocks do.
    Once,
    /// `*/15 * * * *`: as the clock on the wall shows it, both times when an hour comes twice.
    Through,
}

/// The instants of a time on the wall, in order: one, or none or two by the rules above.
pub(super) fn instants(
    zone: &TimeZone,
    wanted: DateTime,
    counting: Counting,
) -> impl Iterator<Item = (Timestamp, Option<Note>)> + use<> {
    let at = |offset: Offset| offset.to_timestamp(wanted).ok();
    let (first, second) = match zone.to_ambiguous_timestamp(wanted).offset() {
        AmbiguousOffset::Unambiguous { offset } => (at(offset).map(|at| (at, None)), None),
        AmbiguousOffset::Gap { .. } if counting == Counting::Through => (None, None),
        AmbiguousOffset::Gap { before, .. } => {
            let wanted = wanted.time();
            let jump = at(before).and_then(|late| jump_before(zone, late));
            (jump.map(|at| (at, Some(Note::Missing { wanted }))), None)
        }
        AmbiguousOffset::Fold { before, after } => (
            at(before).map(|at| (at, Some(Note::First))),
            at(after)
                .filter(|_| counting == Counting::Through)
                .map(|at| (at, Some(Note::Second))),
        ),
    };
    first.into_iter().chain(second)
}

/// The last change of the clocks at or before `late`.
fn jump_before(zone: &TimeZone, late: Timestamp) -> Option<Timestamp> {
    let just_after = late.checked_add(jiff::SignedDuration::from_nanos(1)).ok()?;
    Some(zone.preceding(just_after).next()?.timestamp())
}
