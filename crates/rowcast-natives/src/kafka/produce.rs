//! Produce requests: one batch for each of some partitions, and what the broker says of each. And the
//! request that comes before them, for the number of an idempotent producer.

use std::io;

use super::wire::{Read, Write, garbled};

/// What a broker says of one partition's batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) partition: i32,
    pub(super) code: i16,
    /// The broker's own words.
    pub(super) words: Option<String>,
    /// Places in the batch of the records that are to blame, with words on each.
    pub(super) blamed: Vec<(usize, Option<String>)>,
}

/// Asks for a producer's number, in a version from 0 to 4.
pub(super) fn begin(version: i16) -> Write {
    // None of its transactions may take longer than this; it makes none.
    const PATIENCE_MS: i32 = i32::MAX;
    if version < 2 {
        const NO_TRANSACTION: i16 = -1;
        return Write::default().short(NO_TRANSACTION).int(PATIENCE_MS);
    }
    // The one flexible request here, for servers that know no older version: the tags of its head, a
    // transaction's name that is not there, and at its end its own tags.
    let out = Write::default().byte(0).byte(0).int(PATIENCE_MS);
    let out = if version >= 3 {
        // A producer that has no number yet.
        out.long(-1).short(-1)
    } else {
        out
    };
    out.byte(0)
}

/// The answer: a code, the number and its epoch.
///
/// # Errors
/// It is no such answer.
pub(super) fn begun(version: i16, answer: &[u8]) -> io::Result<(i16, i64, i16)> {
    let mut content = Read(answer);
    if version >= 2 && content.flag()? {
        return Err(garbled());
    }
    let _throttled = content.int()?;
    Ok((content.short()?, content.long()?, content.short()?))
}

/// Asks to append, and to be answered when all in-sync replicas have done so, or after so many
/// milliseconds.
pub(super) fn request(topic: &str, patience_ms: i32, batches: &[(i32, Vec<u8>)]) -> Write {
    const ALL_IN_SYNC: i16 = -1;
    const NO_TRANSACTION: i16 = -1;
    let mut out = Write::default()
        .short(NO_TRANSACTION)
        .short(ALL_IN_SYNC)
        .int(patience_ms)
        .int(1)
        .text(topic)
        .int(batches.len() as i32);
    for (partition, batch) in batches {
        out = out.int(*partition).bytes(batch);
    }
    out
}

/// Reads the answer of a version from 3 to 8.
///
/// # Errors
/// It is no such answer.
pub(super) fn read(version: i16, answer: &[u8]) -> io::Result<Vec<Answer>> {
    let mut content = Read(answer);
    let mut answers = Vec::new();
    for _ in 0..content.count()? {
        let _topic = content.text()?;
        for _ in 0..content.count()? {
            let partition = content.int()?;
            let code = content.short()?;
            let _offset = content.long()?;
            let _time = content.long()?;
            if version >= 5 {
                let _log_start = content.long()?;
            }
            let mut blamed = Vec::new();
            let mut words = None;
            if version >= 8 {
                for _ in 0..content.count()? {
                    let place = usize::try_from(content.int()?).unwrap_or(usize::MAX);
                    blamed.push((place, content.text()?));
                }
                words = content.text()?;
            }
            answers.push(Answer {
                partition,
                code,
                words,
                blamed,
            });
        }
    }
    Ok(answers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_records_to_blame_are_read_with_the_brokers_words() {
        let answer = Write::default()
            .int(1)
            .text("contacts")
            .int(1)
            .int(4)
            .short(87)
            .long(-1)
            .long(-1)
            .long(-1)
            .int(2)
            .int(0)
            .short(-1)
            .int(9)
            .text("no key")
            .text("one or more records are invalid")
            .int(0);
        let read = read(8, &answer.0).unwrap();
        let expected = Answer {
            partition: 4,
            code: 87,
            words: Some("one or more records are invalid".to_owned()),
            blamed: vec![(0, None), (9, Some("no key".to_owned()))],
        };
        assert_eq!(read, [expected]);
    }
}
