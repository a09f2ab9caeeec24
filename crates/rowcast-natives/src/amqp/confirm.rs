//! From the broker's confirms and returns to one outcome for each message.
//!
//! Messages are numbered on their channel. A confirm names one number, or all up to one; a message
//! that no queue took comes back before its confirm. Must never settle a message that the broker has
//! not named.

use std::io;

use rowcast_core::{Code, Outcome, Reason};

use super::frame::{Read, garbled};

/// The messages of one batch, as far as the broker has settled them.
pub(super) struct Confirms<'a> {
    /// The number of the first.
    first: u64,
    ids: Vec<&'a str>,
    outcomes: Vec<Option<Outcome>>,
    /// Messages that came back, with the broker's words.
    returned: Vec<Option<String>>,
    waiting: usize,
}

impl<'a> Confirms<'a> {
    /// For messages with these ids.
    pub(super) fn new(first: u64, ids: Vec<&'a str>) -> Self {
        Self {
            first,
            outcomes: vec![None; ids.len()],
            returned: vec![None; ids.len()],
            waiting: ids.len(),
            ids,
        }
    }

    pub(super) fn done(&self) -> bool {
        self.waiting == 0
    }

    /// `basic.ack` and `basic.nack`.
    pub(super) fn confirm(&mut self, content: &[u8], taken: bool) -> io::Result<()> {
        let mut content = Read(content);
        let number = content.longlong()?;
        let multiple = content.octet()? & 1 == 1;
        let place = number
            .checked_sub(self.first)
            .and_then(|place| usize::try_from(place).ok())
            .filter(|place| *place < self.outcomes.len())
            .ok_or_else(|| garbled("a message was confirmed that was not sent"))?;
        let from = if multiple { 0 } else { place };
        for place in from..=place {
            if self.outcomes[place].is_none() {
                self.outcomes[place] = Some(self.settled(place, taken));
                self.waiting -= 1;
            }
        }
        Ok(())
    }

    fn settled(&self, place: usize, taken: bool) -> Outcome {
        match &self.returned[place] {
            Some(words) => Outcome::Rejected(
                Reason::new(
                    Code::DestinationRejected,
                    "no queue takes the record's message",
                )
                .detail(format!("RabbitMQ said: {words}"))
                .hint("bind a queue to the exchange for the routing key, or correct `routing_key`"),
            ),
            None if taken => Outcome::Delivered,
            None => Outcome::Unknown(refused()),
        }
    }

    /// The words of `basic.return`.
    pub(super) fn returning(content: &[u8]) -> io::Result<String> {
        let mut content = Read(content);
        let code = content.short()?;
        Ok(format!("{} ({code})", content.text()?))
    }

    /// The properties of a message that came back name it.
    pub(super) fn came_back(&mut self, header: &[u8], words: String) -> io::Result<()> {
        let id = message_id(header)?;
        let mut places = self.ids.iter().zip(&self.outcomes);
        let place = places.position(|(known, outcome)| *known == id && outcome.is_none());
        if let Some(place) = place {
            self.returned[place] = Some(words);
        }
        Ok(())
    }

    /// The outcomes; `Err` when the broker refused every message.
    pub(super) fn outcomes(self) -> Result<Vec<Outcome>, Reason> {
        let outcomes: Vec<Outcome> = self.outcomes.into_iter().flatten().collect();
        let refused_all = outcomes
            .iter()
            .all(|outcome| matches!(outcome, Outcome::Unknown(_)));
        if refused_all {
            Err(refused())
        } else {
            Ok(outcomes)
        }
    }
}

/// The broker took responsibility for a message and could not keep it.
fn refused() -> Reason {
    Reason::new(Code::DestinationBusy, "the broker did not keep a message")
        .detail("it answered with basic.nack: a queue is full or has failed")
        .hint(
            "look at the queue's length limit and state; whether the message arrived is not known",
        )
}

/// The message id in a content header whose properties are those this crate sets.
fn message_id(header: &[u8]) -> io::Result<String> {
    let mut content = Read(header);
    // Class, weight, size of the body.
    content.take(12)?;
    let flags = content.short()?;
    if flags & 1 << 15 != 0 {
        content.text()?;
    }
    if flags & 1 << 14 != 0 {
        content.text()?;
    }
    if flags & 1 << 13 != 0 {
        content.bytes()?;
    }
    for bit in [12, 11] {
        if flags & 1 << bit != 0 {
            content.octet()?;
        }
    }
    for bit in [10, 9, 8] {
        if flags & 1 << bit != 0 {
            content.text()?;
        }
    }
    if flags & 1 << 7 == 0 {
        return Err(garbled("a message came back without its id"));
    }
    content.text()
}

#[cfg(test)]
mod tests {
    use super::super::frame::Write;
    use super::*;

    fn number(number: u64, multiple: u8) -> Vec<u8> {
        Write(Vec::new()).longlong(number).octet(multiple).0
    }

    #[test]
    fn every_message_is_settled_once_and_only_when_named() {
        let mut confirms = Confirms::new(5, vec!["a", "b", "c", "d"]);
        confirms.confirm(&number(6, 0), true).unwrap();
        assert!(!confirms.done());
        let header = Write(Vec::new())
            .short(60)
            .short(0)
            .longlong(2)
            .short(1 << 7)
            .text("c");
        confirms
            .came_back(&header.0, "NO_ROUTE (312)".to_owned())
            .unwrap();
        confirms.confirm(&number(7, 1), true).unwrap();
        confirms.confirm(&number(8, 0), false).unwrap();
        assert!(confirms.done());
        assert!(confirms.confirm(&number(9, 0), true).is_err());
        assert!(confirms.confirm(&number(4, 0), true).is_err());
        let outcomes = confirms.outcomes().unwrap();
        assert_eq!(outcomes[..2], [Outcome::Delivered, Outcome::Delivered]);
        assert!(matches!(&outcomes[2], Outcome::Rejected(_)));
        assert!(matches!(&outcomes[3], Outcome::Unknown(_)));
    }
}
