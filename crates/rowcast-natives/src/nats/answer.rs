//! What JetStream's answer to a message means.

use rowcast_core::{Code, Fault, Outcome, Reason};
use serde_json::Value;

use super::wire::Received;
use crate::connect::Endpoint;

/// An answer to one message: an outcome, or a fault of the whole batch.
pub(super) enum Answer {
    Outcome(Outcome),
    Whole(Fault),
}

/// Reads the answer to a message under `subject`.
pub(super) fn judge(endpoint: &Endpoint, subject: &str, received: &Received) -> Answer {
    if received.status == Some(503) {
        return Answer::Whole(Fault::fatal(no_stream(endpoint, subject)));
    }
    let Ok(answer) = serde_json::from_slice::<Value>(&received.body) else {
        return Answer::Outcome(Outcome::Unknown(
            endpoint.garbled("the acknowledgement is no JSON"),
        ));
    };
    let error = &answer["error"];
    if error.is_null() {
        return if answer["stream"].is_string() {
            Answer::Outcome(Outcome::Delivered)
        } else {
            Answer::Outcome(Outcome::Unknown(
                endpoint.garbled("the acknowledgement names no stream"),
            ))
        };
    }
    let words = error["description"]
        .as_str()
        .unwrap_or("an error without words");
    let number = error["err_code"].as_u64().unwrap_or(0);
    let detail = format!("JetStream said: {words} ({number})");
    match number {
        // Message too large for the stream.
        10_054 => Answer::Outcome(Outcome::Rejected(
            Reason::new(
                Code::RecordTooLarge,
                format!("the stream behind {subject} refused a record"),
            )
            .detail(detail)
            .hint("raise the stream's `max_msg_size`, or map fewer fields"),
        )),
        // The stream is not the one expected, is sealed, or a mirror.
        10_060 | 10_109 | 10_072 => Answer::Whole(Fault::fatal(
            Reason::new(
                Code::DestinationObject,
                format!("the stream behind {subject} can't be written to"),
            )
            .detail(detail)
            .hint("correct `stream` or `object`; `rowcast check` names the stream that listens"),
        )),
        // Full (with `discard: new`), out of memory or disk, no leader, JetStream not available.
        _ => Answer::Whole(Fault::refused(
            Reason::new(
                Code::DestinationBusy,
                format!("the stream behind {subject} takes no messages now"),
            )
            .detail(detail)
            .hint("a full stream needs room: raise its limits or let its consumers catch up"),
        )),
    }
}

/// Nobody keeps what is published there.
pub(super) fn no_stream(endpoint: &Endpoint, subject: &str) -> Reason {
    Reason::new(
        Code::DestinationObject,
        format!(
            "no stream of {} takes messages under {subject}",
            endpoint.place()
        ),
    )
    .detail("nobody answered: there is no stream for the subject, or JetStream is off")
    .hint(format!(
        "make one: nats stream add NAME --subjects \"{subject}\", or correct `object`"
    ))
}
