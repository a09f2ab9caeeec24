//! Slack's incoming webhooks: one message a request, errors as one word of text.

use super::Held;
use crate::api::{Answer, Seen};

pub(super) fn answer(held: &mut Held, seen: &Seen) -> Answer {
    let word = |status: u16, word: &str| Answer::status(status).body(word);
    if !seen
        .path()
        .strip_prefix("/services/T/B/")
        .is_some_and(|token| held.knows(token))
    {
        return word(403, "invalid_token");
    }
    if seen.method != "POST" {
        return word(405, "method_not_allowed");
    }
    let Ok(message) = serde_json::from_slice::<serde_json::Value>(&seen.body) else {
        return word(400, "invalid_payload");
    };
    match message["text"].as_str() {
        None | Some("") => word(400, "no_text"),
        Some(text) if text.len() > 40_000 => word(400, "msg_too_long"),
        Some(_) => {
            let number = held.records.len();
            held.records.insert(format!("{number:06}"), message);
            word(200, "ok")
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::asked;
    use super::*;

    #[test]
    fn wrong_messages_are_refused() {
        let ask = |target, body| asked(answer, "POST", target, &[], &body);
        assert_eq!(
            ask("/services/T/B/emulator", json!({ "text": "hello" })),
            200
        );
        assert_eq!(ask("/services/T/B/emulator", json!({ "text": "" })), 400);
        assert_eq!(
            ask("/services/T/B/emulator", json!({ "message": "hello" })),
            400
        );
        assert_eq!(ask("/services/T/B/wrong", json!({ "text": "hello" })), 403);
    }
}
