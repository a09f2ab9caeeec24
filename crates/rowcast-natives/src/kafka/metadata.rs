//! What a cluster says of itself: its brokers, its topics, and who leads each partition.

use std::collections::BTreeMap;
use std::io;

use super::wire::{Read, Write};

/// The answer to a Metadata request.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Cluster {
    pub(super) name: Option<String>,
    /// Host and port of each broker, by its number.
    pub(super) brokers: BTreeMap<i32, (String, u16)>,
    pub(super) topics: Vec<Topic>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Topic {
    /// 0 when all is well.
    pub(super) code: i16,
    pub(super) name: String,
    /// Kafka's own.
    pub(super) internal: bool,
    /// The broker that leads each partition, by the partition's number; −1 is nobody.
    pub(super) leaders: Vec<i32>,
    /// Whether the user may write to it, as far as the broker tells.
    pub(super) writable: Option<bool>,
}

/// Asks for one topic, or for all. No topic is made by asking.
pub(super) fn request(version: i16, topic: Option<&str>) -> Write {
    let asked = match topic {
        Some(topic) => Write::default().int(1).text(topic),
        None => Write::default().int(-1),
    };
    let asked = asked.byte(0);
    if version >= 8 {
        // Not what is allowed on the cluster, but on the topic.
        asked.byte(0).byte(1)
    } else {
        asked
    }
}

/// Reads the answer of a version from 4 to 8.
///
/// # Errors
/// It is no such answer.
pub(super) fn read(version: i16, answer: &[u8]) -> io::Result<Cluster> {
    let mut content = Read(answer);
    let _throttled = content.int()?;
    let mut cluster = Cluster::default();
    for _ in 0..content.count()? {
        let number = content.int()?;
        let host = content.text()?.unwrap_or_default();
        let port = u16::try_from(content.int()?).unwrap_or_default();
        let _rack = content.text()?;
        cluster.brokers.insert(number, (host, port));
    }
    cluster.name = content.text()?;
    let _controller = content.int()?;
    for _ in 0..content.count()? {
        cluster.topics.push(topic(version, &mut content)?);
    }
    Ok(cluster)
}

fn topic(version: i16, content: &mut Read<'_>) -> io::Result<Topic> {
    let code = content.short()?;
    let name = content.text()?.unwrap_or_default();
    let internal = content.flag()?;
    let mut leaders = BTreeMap::new();
    for _ in 0..content.count()? {
        let _code = content.short()?;
        let number = content.int()?;
        let leader = content.int()?;
        leaders.insert(number, leader);
        if version >= 7 {
            let _epoch = content.int()?;
        }
        // Replicas, those in sync, and since version 5 those that are away.
        for _ in 0..if version >= 5 { 3 } else { 2 } {
            let count = content.count()?;
            content.take(count * 4)?;
        }
    }
    let writable = if version >= 8 {
        // A bit for each operation; the lowest number stands for "not told". 2 is all, 4 is write.
        let allowed = content.int()?;
        (allowed != i32::MIN).then_some(allowed & (1 << 2 | 1 << 4) != 0)
    } else {
        None
    };
    Ok(Topic {
        code,
        name,
        internal,
        leaders: leaders.into_values().collect(),
        writable,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(allowed: i32) -> Vec<u8> {
        let head = Write::default()
            .int(0)
            .int(1)
            .int(3)
            .text("kafka-3")
            .int(9_092)
            .short(-1)
            .text("Q1")
            .int(3);
        let partition = |out: Write, number, leader| {
            let out = out.short(0).int(number).int(leader).int(5);
            out.int(1).int(3).int(1).int(3).int(0)
        };
        let topic = head.int(1).short(0).text("contacts").byte(0).int(2);
        let topic = partition(partition(topic, 1, -1), 0, 3);
        topic.int(allowed).int(i32::MIN).0
    }

    #[test]
    fn leaders_are_in_the_order_of_their_partitions_and_permissions_are_told_or_not() {
        let cluster = read(8, &answer(i32::MIN)).unwrap();
        assert_eq!(cluster.brokers[&3], ("kafka-3".to_owned(), 9_092));
        assert_eq!(cluster.topics[0].leaders, [3, -1]);
        let writable = |allowed| read(8, &answer(allowed)).unwrap().topics[0].writable;
        assert_eq!(writable(i32::MIN), None);
        assert_eq!(writable(1 << 4 | 1 << 8), Some(true));
        assert_eq!(writable(1 << 8), Some(false));
    }

    #[test]
    fn an_answer_that_is_cut_anywhere_is_an_error() {
        let whole = answer(0);
        for length in 0..whole.len() - 8 {
            assert!(read(8, &whole[..length]).is_err(), "{length}");
        }
    }
}
