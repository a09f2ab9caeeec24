//! Where a connection breaks, and how.

use std::time::Duration;

use super::frame::Frames;

/// A direction of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// From the client to the server: requests.
    Up,
    /// From the server to the client: answers.
    Down,
}

/// What happens to a connection from a place on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Every piece waits so long, in both directions.
    Latency(Duration),
    /// This direction passes one byte, then waits so long, and so on.
    Drip(Duration),
    /// This direction arrives in segments of one byte.
    Segments,
    /// The client gets a reset (RST), the server an end.
    Reset,
    /// Both ends are closed in order (FIN): a body that is cut, a TLS stream without `close_notify`.
    Close,
    /// Only this direction is closed (FIN); the other goes on.
    CloseOneWay,
    /// Half-open: nothing passes any more in either direction, and nobody is told.
    Swallow,
    /// This direction stops; the other goes on.
    Stall,
    /// The `Content-Length`, or the length of the PostgreSQL message, that follows is so much off.
    WrongLength(i32),
    /// So many bytes that follow are inverted.
    Flip(usize),
    /// These bytes come first.
    Garbage(Vec<u8>),
    /// What follows in the same segment is sent twice.
    Duplicate,
}

/// A place in one direction of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum When {
    /// Before the first byte.
    Start,
    /// After so many bytes.
    Bytes(usize),
    /// Where these bytes begin.
    Seen(Vec<u8>),
    /// Where a PostgreSQL message of this type begins, on a connection that is not encrypted.
    Message(u8),
}

impl When {
    /// Where this text begins.
    pub fn text(text: &str) -> Self {
        Self::Seen(text.as_bytes().to_vec())
    }
}

/// A place and the fault that begins there.
#[derive(Debug, Clone)]
pub struct Rule {
    pub(super) side: Side,
    pub(super) when: When,
    pub(super) fault: Fault,
    pub(super) connection: Option<usize>,
    pub(super) nth: usize,
    pub(super) passes: bool,
    pub(super) times: usize,
}

impl Rule {
    /// Once, at the first passage of the place on any connection. What stands at the place does
    /// not pass any more, if the fault is one that ends something.
    pub fn new(side: Side, when: When, fault: Fault) -> Self {
        Self {
            side,
            when,
            fault,
            connection: None,
            nth: 1,
            passes: false,
            times: 1,
        }
    }

    /// On what the client sends.
    pub fn up(when: When, fault: Fault) -> Self {
        Self::new(Side::Up, when, fault)
    }

    /// On what the server sends.
    pub fn down(when: When, fault: Fault) -> Self {
        Self::new(Side::Down, when, fault)
    }

    /// Only on the connection of this number, from 1.
    #[must_use]
    pub fn on(mut self, connection: usize) -> Self {
        self.connection = Some(connection);
        self
    }

    /// At the n-th passage of the place, from 1, over all connections.
    #[must_use]
    pub fn nth(mut self, nth: usize) -> Self {
        self.nth = nth;
        self
    }

    /// The segment that holds the place is delivered whole before the fault begins, and nothing
    /// that answers it passes: the way to lose an answer to something that took effect.
    #[must_use]
    pub fn passing(mut self) -> Self {
        self.passes = true;
        self
    }

    /// So many times in place of once.
    #[must_use]
    pub fn times(mut self, times: usize) -> Self {
        self.times = times;
        self
    }

    /// At every passage.
    #[must_use]
    pub fn always(self) -> Self {
        self.times(usize::MAX)
    }
}

/// A rule and how often it was passed.
pub(super) struct Armed {
    rule: Rule,
    passages: usize,
    left: usize,
}

/// What one direction of one connection has seen so far.
pub(super) struct Watch {
    side: Side,
    connection: usize,
    started: bool,
    bytes: usize,
    /// The last bytes, in which a pattern may have begun.
    carry: Vec<u8>,
    frames: Frames,
}

/// Patterns are at most so long.
const PATTERN_MAX: usize = 256;

impl Watch {
    pub(super) fn new(side: Side, connection: usize) -> Self {
        Self {
            side,
            connection,
            started: false,
            bytes: 0,
            carry: Vec::new(),
            frames: Frames::new(side),
        }
    }

    /// The first rule that fires in this piece, and at which byte of it. Every rule is asked once
    /// for a piece.
    pub(super) fn look(&mut self, rules: &mut [Armed], piece: &[u8]) -> Option<(usize, Rule)> {
        let frames = self.frames.feed(piece);
        let mut window = std::mem::take(&mut self.carry);
        let carried = window.len();
        window.extend_from_slice(piece);
        let mut first: Option<(usize, usize)> = None;
        for (index, armed) in rules.iter_mut().enumerate() {
            let rule = &armed.rule;
            let elsewhere = rule.connection.is_some_and(|only| only != self.connection);
            if rule.side != self.side || elsewhere || armed.left == 0 {
                continue;
            }
            let places: Vec<usize> = match &rule.when {
                When::Start => (!self.started).then_some(0).into_iter().collect(),
                When::Bytes(after) => (self.bytes..self.bytes + piece.len())
                    .contains(after)
                    .then(|| after - self.bytes)
                    .into_iter()
                    .collect(),
                When::Seen(pattern) => ends_within(&window, carried, pattern),
                When::Message(kind) => frames
                    .iter()
                    .filter(|(of, _)| of == kind)
                    .map(|(_, at)| *at)
                    .collect(),
            };
            for at in places {
                armed.passages += 1;
                if armed.passages >= rule.nth {
                    if first.is_none_or(|(before, _)| at < before) {
                        first = Some((at, index));
                    }
                    break;
                }
            }
        }
        self.started = true;
        self.bytes += piece.len();
        let keep = window.len().min(PATTERN_MAX);
        self.carry = window.split_off(window.len() - keep);
        first.map(|(at, index)| {
            rules[index].left -= 1;
            (at, rules[index].rule.clone())
        })
    }
}

/// Where a pattern begins that ends in the new part of the window, in offsets of that part.
fn ends_within(window: &[u8], carried: usize, pattern: &[u8]) -> Vec<usize> {
    let from = (carried + 1).saturating_sub(pattern.len());
    let Some(tail) = window.get(from..).filter(|_| !pattern.is_empty()) else {
        return Vec::new();
    };
    tail.windows(pattern.len())
        .enumerate()
        .filter(|(_, bytes)| *bytes == pattern)
        .map(|(at, _)| (from + at).saturating_sub(carried))
        .collect()
}

impl Armed {
    pub(super) fn new(rule: Rule) -> Self {
        Self {
            left: rule.times,
            rule,
            passages: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_found_where_it_begins_and_once_even_over_two_pieces() {
        let mut rules = [Armed::new(
            Rule::up(When::text("COMMIT"), Fault::Close).always(),
        )];
        let mut watch = Watch::new(Side::Up, 1);
        assert_eq!(watch.look(&mut rules, b"..COMMIT..").map(|f| f.0), Some(2));
        assert!(watch.look(&mut rules, b"COM").is_none());
        assert_eq!(watch.look(&mut rules, b"MIT...").map(|f| f.0), Some(0));
        assert!(watch.look(&mut rules, b"nothing").is_none());
        assert!(
            Watch::new(Side::Down, 1)
                .look(&mut rules, b"COMMIT")
                .is_none()
        );
    }

    #[test]
    fn bytes_passages_and_connections_are_counted() {
        let rule = |when| Armed::new(Rule::up(when, Fault::Close));
        let mut rules = [rule(When::Bytes(5))];
        let mut watch = Watch::new(Side::Up, 1);
        assert!(watch.look(&mut rules, b"01234").is_none());
        assert_eq!(watch.look(&mut rules, b"56").map(|f| f.0), Some(0));
        assert!(watch.look(&mut rules, b"7").is_none(), "it was used up");

        let mut rules = [Armed::new(
            Rule::up(When::text("x"), Fault::Close).nth(2).on(3),
        )];
        let mut other = Watch::new(Side::Up, 2);
        assert!(other.look(&mut rules, b"xxxx").is_none());
        let mut watch = Watch::new(Side::Up, 3);
        assert_eq!(watch.look(&mut rules, b"axbxcx").map(|f| f.0), Some(3));
    }
}
