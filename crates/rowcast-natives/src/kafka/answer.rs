//! What the brokers' error codes mean: deliver, halve, ask again, wait, or a person must act.

/// What an error code says about a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    Taken,
    /// Too large as a whole.
    TooLarge,
    /// Something in it is refused.
    Invalid,
    /// Not taken; another broker may take it now.
    Moved,
    /// Perhaps taken.
    Unsure,
    /// Not taken; later it may be.
    Busy,
    /// Not taken, and not before a person acts.
    Barred,
}

/// The errors that a producer can meet, by number: name and meaning.
const CODES: &[(i16, &str, Meaning)] = &[
    (0, "NONE", Meaning::Taken),
    // The batch is there from an earlier attempt.
    (46, "DUPLICATE_SEQUENCE_NUMBER", Meaning::Taken),
    (10, "MESSAGE_TOO_LARGE", Meaning::TooLarge),
    (18, "RECORD_LIST_TOO_LARGE", Meaning::TooLarge),
    (87, "INVALID_RECORD", Meaning::Invalid),
    (32, "INVALID_TIMESTAMP", Meaning::Invalid),
    (3, "UNKNOWN_TOPIC_OR_PARTITION", Meaning::Moved),
    (5, "LEADER_NOT_AVAILABLE", Meaning::Moved),
    (6, "NOT_LEADER_OR_FOLLOWER", Meaning::Moved),
    (9, "REPLICA_NOT_AVAILABLE", Meaning::Moved),
    (56, "KAFKA_STORAGE_ERROR", Meaning::Moved),
    (74, "FENCED_LEADER_EPOCH", Meaning::Moved),
    (75, "UNKNOWN_LEADER_EPOCH", Meaning::Moved),
    (-1, "UNKNOWN_SERVER_ERROR", Meaning::Unsure),
    (7, "REQUEST_TIMED_OUT", Meaning::Unsure),
    (13, "NETWORK_EXCEPTION", Meaning::Unsure),
    (20, "NOT_ENOUGH_REPLICAS_AFTER_APPEND", Meaning::Unsure),
    (2, "CORRUPT_MESSAGE", Meaning::Busy),
    (8, "BROKER_NOT_AVAILABLE", Meaning::Busy),
    (14, "COORDINATOR_LOAD_IN_PROGRESS", Meaning::Busy),
    (15, "COORDINATOR_NOT_AVAILABLE", Meaning::Busy),
    (16, "NOT_COORDINATOR", Meaning::Busy),
    (19, "NOT_ENOUGH_REPLICAS", Meaning::Busy),
    // The producer's numbers are begun anew with the next attempt.
    (45, "OUT_OF_ORDER_SEQUENCE_NUMBER", Meaning::Busy),
    (47, "INVALID_PRODUCER_EPOCH", Meaning::Busy),
    (59, "UNKNOWN_PRODUCER_ID", Meaning::Busy),
    (89, "THROTTLING_QUOTA_EXCEEDED", Meaning::Busy),
    (17, "INVALID_TOPIC_EXCEPTION", Meaning::Barred),
    (21, "INVALID_REQUIRED_ACKS", Meaning::Barred),
    (29, "TOPIC_AUTHORIZATION_FAILED", Meaning::Barred),
    (31, "CLUSTER_AUTHORIZATION_FAILED", Meaning::Barred),
    (33, "UNSUPPORTED_SASL_MECHANISM", Meaning::Barred),
    (34, "ILLEGAL_SASL_STATE", Meaning::Barred),
    (35, "UNSUPPORTED_VERSION", Meaning::Barred),
    (43, "UNSUPPORTED_FOR_MESSAGE_FORMAT", Meaning::Barred),
    (44, "POLICY_VIOLATION", Meaning::Barred),
    (58, "SASL_AUTHENTICATION_FAILED", Meaning::Barred),
    (76, "UNSUPPORTED_COMPRESSION_TYPE", Meaning::Barred),
];

/// What a code means. One that is not known here may stand for anything.
pub(super) fn meaning(code: i16) -> Meaning {
    let mut known = CODES.iter();
    known
        .find(|(number, ..)| *number == code)
        .map_or(Meaning::Unsure, |(_, _, meaning)| *meaning)
}

/// The broker's words, with the protocol's name of the code.
pub(super) fn said(code: i16, words: Option<&str>) -> String {
    let mut known = CODES.iter();
    let name = known
        .find(|(number, ..)| *number == code)
        .map_or("an error", |(_, name, _)| *name);
    match words {
        Some(words) if !words.is_empty() => format!("Kafka said: {name} ({code}): {words}"),
        _ => format!("Kafka said: {name} ({code})"),
    }
}

/// How a person lets the connector write, by the code that refused it.
pub(super) fn remedy(code: i16, topic: &str) -> String {
    match code {
        3 | 5 => format!(
            "make it: kafka-topics.sh --bootstrap-server HOST:PORT --create --topic {topic} --partitions 6 --replication-factor 3"
        ),
        29 => format!(
            "allow it: kafka-acls.sh --bootstrap-server HOST:PORT --add --allow-principal User:NAME --producer --topic {topic}"
        ),
        31 => "allow it: kafka-acls.sh --bootstrap-server HOST:PORT --add --allow-principal User:NAME --operation IdempotentWrite --cluster".to_owned(),
        17 => "a topic's name has at most 249 letters, digits, dots, underscores and hyphens: correct `object`".to_owned(),
        76 => "choose another `compression`".to_owned(),
        35 | 43 => "Kafka 1.0 or later is needed, with message format 2".to_owned(),
        _ => "ask those who run the cluster".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_has_one_meaning_and_an_unknown_one_is_never_taken() {
        let mut codes: Vec<i16> = CODES.iter().map(|(code, ..)| *code).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), CODES.len());
        assert_eq!(meaning(12_345), Meaning::Unsure);
        assert_eq!(
            said(12_345, Some("words")),
            "Kafka said: an error (12345): words"
        );
        assert_eq!(said(19, None), "Kafka said: NOT_ENOUGH_REPLICAS (19)");
    }
}
