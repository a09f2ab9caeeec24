//! One batch of the engine on its way to a topic: what waits in each partition, what became of it.
//!
//! No input or output here. In each partition messages go in their order, a part at a time; the next
//! part only after the one before it is settled. Must never call a message delivered that no leader
//! has said is there, and never say *not applied* of one that may be.

use std::collections::{BTreeMap, VecDeque};

use rowcast_core::{Applied, Code, Fault, Outcome, Reason};

use super::answer::{Meaning, meaning, said};
use super::produce::Answer;

/// Bytes of messages in one part, before compression: below the largest batch that a broker takes
/// unless told otherwise (`message.max.bytes`, 1,048,588). A larger message goes alone.
const PART_BYTES: usize = 900_000;

/// The messages of one partition.
#[derive(Debug, Default)]
struct Queue {
    /// Places in the engine's batch, a list for each part.
    parts: VecDeque<Vec<usize>>,
    /// Whether the first part was asked about already.
    asked: bool,
    /// Whether the first part may be there.
    unsure: bool,
    /// Why nothing more is sent, and whether a person must act.
    ended: Option<(Reason, bool)>,
}

/// What became of a batch so far.
#[derive(Debug)]
pub(super) struct Delivery {
    queues: BTreeMap<i32, Queue>,
    outcomes: Vec<Option<Outcome>>,
}

impl Delivery {
    /// Every message with its partition and its size in bytes, in their order.
    pub(super) fn new(messages: impl Iterator<Item = (i32, usize)>) -> Self {
        let mut queues: BTreeMap<i32, Queue> = BTreeMap::new();
        let mut filled: BTreeMap<i32, usize> = BTreeMap::new();
        let mut count = 0;
        for (place, (partition, size)) in messages.enumerate() {
            let queue = queues.entry(partition).or_default();
            let bytes = filled.entry(partition).or_default();
            match queue.parts.back_mut() {
                Some(part) if *bytes + size <= PART_BYTES => {
                    part.push(place);
                    *bytes += size;
                }
                _ => {
                    queue.parts.push_back(vec![place]);
                    *bytes = size;
                }
            }
            count = place + 1;
        }
        Self {
            queues,
            outcomes: vec![None; count],
        }
    }

    /// What is to be sent next: a part for each partition that has one.
    pub(super) fn next(&self) -> Vec<(i32, Vec<usize>)> {
        let open = self
            .queues
            .iter()
            .filter(|(_, queue)| queue.ended.is_none());
        open.filter_map(|(partition, queue)| Some((*partition, queue.parts.front()?.clone())))
            .collect()
    }

    /// Whether something is asked about again, for which the leaders must be known anew.
    pub(super) fn asks_again(&self) -> bool {
        let mut queues = self.queues.values();
        queues.any(|queue| queue.asked && queue.ended.is_none())
    }

    /// A leader answered. Returns how many messages of the partition are newly there.
    pub(super) fn answered(&mut self, answer: &Answer, refusal: impl Fn() -> Reason) -> usize {
        let Some(queue) = self.queues.get_mut(&answer.partition) else {
            return 0;
        };
        let what = said(answer.code, answer.words.as_deref());
        match meaning(answer.code) {
            Meaning::Taken => {
                let part = queue.parts.pop_front().unwrap_or_default();
                (queue.asked, queue.unsure) = (false, false);
                for place in &part {
                    self.outcomes[*place] = Some(Outcome::Delivered);
                }
                return part.len();
            }
            Meaning::TooLarge => {
                let reason = Reason::new(Code::RecordTooLarge, "a record's message is too large")
                    .detail(what)
                    .hint("raise the topic's `max.message.bytes`, or map fewer fields");
                self.halve(answer.partition, reason);
            }
            Meaning::Invalid => {
                let reason = |words: Option<&str>| {
                    Reason::new(Code::DestinationRejected, "the broker refused a record")
                        .detail(said(answer.code, words.or(answer.words.as_deref())))
                        .hint("look at what the topic demands of its messages")
                };
                if !self.blame(answer, &reason) {
                    self.halve(answer.partition, reason(None));
                }
            }
            Meaning::Moved => self.again(answer.partition, false, busy(&what)),
            Meaning::Unsure => self.again(answer.partition, true, busy(&what)),
            Meaning::Busy => queue.ended = Some((busy(&what), false)),
            Meaning::Barred => queue.ended = Some((refusal(), true)),
        }
        0
    }

    /// The part in front is refused because of something in it: its halves are tried, and one message
    /// alone is rejected.
    fn halve(&mut self, partition: i32, reason: Reason) {
        let Some(queue) = self.queues.get_mut(&partition) else {
            return;
        };
        let mut part = queue.parts.pop_front().unwrap_or_default();
        (queue.asked, queue.unsure) = (false, false);
        if let [place] = part[..] {
            self.outcomes[place] = Some(Outcome::Rejected(reason));
        } else if !part.is_empty() {
            let second = part.split_off(part.len() / 2);
            queue.parts.push_front(second);
            queue.parts.push_front(part);
        }
    }

    /// Rejects the messages that the broker names; the others of the part are sent without them.
    /// False when it names none.
    fn blame(&mut self, answer: &Answer, reason: &dyn Fn(Option<&str>) -> Reason) -> bool {
        let Some(queue) = self.queues.get_mut(&answer.partition) else {
            return false;
        };
        let Some(part) = queue.parts.front_mut() else {
            return false;
        };
        let mut named = false;
        for (within, words) in &answer.blamed {
            if let Some(place) = part.get(*within) {
                self.outcomes[*place] = Some(Outcome::Rejected(reason(words.as_deref())));
                named = true;
            }
        }
        let outcomes = &self.outcomes;
        part.retain(|place| outcomes[*place].is_none());
        if part.is_empty() {
            queue.parts.pop_front();
        }
        (queue.asked, queue.unsure) = (false, false);
        named
    }

    /// Asks about the part in front once more, under its old numbers; after that it is for later.
    pub(super) fn again(&mut self, partition: i32, unsure: bool, reason: Reason) {
        if let Some(queue) = self.queues.get_mut(&partition) {
            queue.unsure |= unsure;
            if queue.asked {
                queue.ended = Some((reason, false));
            }
            queue.asked = true;
        }
    }

    /// Nothing more of a partition can be sent for now, or before a person acts.
    pub(super) fn end(&mut self, partition: i32, fault: &Fault) {
        if let Some(queue) = self.queues.get_mut(&partition) {
            let acts = matches!(fault, Fault::Fatal { .. });
            queue.ended = Some((fault.reason().clone(), acts));
        }
    }

    /// Whether every message was settled by an answer, so that the numbers of both sides agree.
    pub(super) fn is_settled(&self) -> bool {
        self.outcomes.iter().all(Option::is_some)
    }

    /// One outcome for each message, or what ended it all.
    pub(super) fn finish(mut self) -> Result<Vec<Outcome>, Fault> {
        let unsure = self.queues.values().any(|queue| queue.unsure);
        let settled = self.outcomes.iter().flatten().count();
        let taken = self.outcomes.contains(&Some(Outcome::Delivered));
        let applied = if unsure || taken {
            Applied::Unknown
        } else {
            Applied::No
        };
        let mut ended = self
            .queues
            .values()
            .filter_map(|queue| queue.ended.as_ref());
        if let Some((reason, _)) = ended.clone().find(|(_, acts)| *acts) {
            let reason = reason.clone();
            return Err(Fault::Fatal { applied, reason });
        }
        if settled == 0
            && let Some((reason, _)) = ended.next()
        {
            return Err(Fault::Transient {
                after: None,
                applied,
                reason: reason.clone(),
            });
        }
        for queue in self.queues.values() {
            if let Some((reason, _)) = &queue.ended {
                for place in queue.parts.iter().flatten() {
                    self.outcomes[*place] = Some(Outcome::Unknown(reason.clone()));
                }
            }
        }
        let missing =
            || Outcome::Unknown(Reason::defect("a message was neither sent nor answered"));
        let outcomes = self.outcomes.into_iter();
        Ok(outcomes
            .map(|outcome| outcome.unwrap_or_else(missing))
            .collect())
    }
}

/// The brokers don't take it now.
pub(super) fn busy(said: &str) -> Reason {
    Reason::new(
        Code::DestinationBusy,
        "the leader of a partition did not take a batch",
    )
    .detail(said)
    .hint("it is tried again; look at the state of the brokers and of the topic's replicas")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(partition: i32, code: i16, blamed: &[usize]) -> Answer {
        Answer {
            partition,
            code,
            words: None,
            blamed: blamed.iter().map(|place| (*place, None)).collect(),
        }
    }

    fn refusal() -> Reason {
        Reason::new(Code::DestinationObject, "no")
    }

    /// Four small messages in two partitions.
    fn four() -> Delivery {
        Delivery::new([(0, 10), (1, 10), (0, 10), (0, 10)].into_iter())
    }

    #[test]
    fn messages_keep_their_order_within_a_partition_and_large_ones_go_alone() {
        let sizes = [
            (0, 500_000),
            (0, 300_000),
            (0, 200_000),
            (0, 5_000_000),
            (0, 1),
        ];
        let mut delivery = Delivery::new(sizes.into_iter());
        let mut sent = Vec::new();
        while let [(0, part)] = &delivery.next()[..] {
            sent.push(part.clone());
            delivery.answered(&answer(0, 0, &[]), refusal);
        }
        assert_eq!(sent, [vec![0, 1], vec![2], vec![3], vec![4]]);
        assert_eq!(delivery.finish().unwrap(), vec![Outcome::Delivered; 5]);
    }

    #[test]
    fn a_part_that_is_too_large_is_halved_until_one_message_is_rejected() {
        let mut delivery = four();
        delivery.answered(&answer(1, 0, &[]), refusal);
        // 0, 2 and 3 together, then 0, then 2 and 3 together, then 2, then 3.
        for code in [10, 0, 10, 10, 0] {
            delivery.answered(&answer(0, code, &[]), refusal);
        }
        assert!(delivery.next().is_empty() && delivery.is_settled());
        let outcomes = delivery.finish().unwrap();
        let rejected = |outcome: &Outcome| matches!(outcome, Outcome::Rejected(reason) if reason.code == Code::RecordTooLarge);
        assert!(rejected(&outcomes[2]));
        assert_eq!(
            outcomes.iter().filter(|outcome| rejected(outcome)).count(),
            1
        );
    }

    #[test]
    fn a_record_that_the_broker_names_is_rejected_and_the_others_are_sent_without_it() {
        let mut delivery = four();
        delivery.answered(&answer(1, 0, &[]), refusal);
        delivery.answered(&answer(0, 87, &[1]), refusal);
        assert_eq!(delivery.next(), [(0, vec![0, 3])]);
        delivery.answered(&answer(0, 0, &[]), refusal);
        let outcomes = delivery.finish().unwrap();
        assert!(
            matches!(&outcomes[2], Outcome::Rejected(reason) if reason.code == Code::DestinationRejected)
        );
        assert_eq!(outcomes[3], Outcome::Delivered);
    }

    #[test]
    fn what_was_never_taken_had_no_effect_and_what_may_have_been_taken_is_unknown() {
        let mut delivery = four();
        for partition in [0, 1] {
            delivery.answered(&answer(partition, 19, &[]), refusal);
        }
        assert_eq!(delivery.finish().unwrap_err().applied(), Applied::No);

        // A leader that moved is asked for once, and not for ever.
        let mut delivery = four();
        for partition in [0, 1] {
            delivery.answered(&answer(partition, 6, &[]), refusal);
        }
        assert!(delivery.asks_again() && delivery.next().len() == 2);
        for partition in [0, 1] {
            delivery.answered(&answer(partition, 6, &[]), refusal);
        }
        assert!(delivery.next().is_empty());
        assert_eq!(delivery.finish().unwrap_err().applied(), Applied::No);

        // A lost answer, then a leader that does not take it: it may still be there.
        let mut delivery = four();
        delivery.answered(&answer(1, 19, &[]), refusal);
        delivery.again(0, true, busy("lost"));
        delivery.answered(&answer(0, 19, &[]), refusal);
        assert_eq!(delivery.finish().unwrap_err().applied(), Applied::Unknown);

        // One partition took its messages: the others' are unknown, not repeated with them.
        let mut delivery = four();
        delivery.answered(&answer(0, 0, &[]), refusal);
        delivery.answered(&answer(1, 19, &[]), refusal);
        let outcomes = delivery.finish().unwrap();
        assert!(matches!(outcomes[1], Outcome::Unknown(_)));
        assert_eq!(outcomes[3], Outcome::Delivered);
    }

    #[test]
    fn a_refusal_that_needs_a_person_ends_the_batch() {
        let mut delivery = four();
        delivery.answered(&answer(0, 0, &[]), refusal);
        delivery.answered(&answer(1, 29, &[]), refusal);
        let fault = delivery.finish().unwrap_err();
        assert!(matches!(fault, Fault::Fatal { .. }));
        assert_eq!(fault.applied(), Applied::Unknown);
    }
}
