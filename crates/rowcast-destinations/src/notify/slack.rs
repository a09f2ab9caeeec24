//! An incoming webhook of Slack.

use rowcast_core::Secret;
use rowcast_core::alert::{Message, NoticeKind};
use serde_json::json;

use super::Request;

/// Longest text of a section, as Slack documents it.
const TEXT_MAX: usize = 3_000;
/// Longest text of a header.
const HEADER_MAX: usize = 150;

pub(super) fn request(url: &Secret<String>, message: &Message) -> Request {
    let mark = match message.kind {
        NoticeKind::Recovered => ":white_check_mark:",
        NoticeKind::Test => ":information_source:",
        NoticeKind::Raised | NoticeKind::Reminder => ":rotating_light:",
    };
    let title = message.title();
    let mut text = format!("{mark} {}", escaped(&message.text));
    if let Some(counts) = message.counts_line() {
        text.push_str(&format!("\n{counts}"));
    }
    if let Some(owner) = &message.owner {
        text.push_str(&format!("\nowner: {}", escaped(owner)));
    }
    let commands: Vec<String> = message
        .commands
        .iter()
        .map(|command| format!("`{}`", escaped(command)))
        .collect();
    let body = json!({
        // What notifications show, and clients that know no blocks.
        "text": cut(&escaped(&format!("{title}: {}", message.text)), TEXT_MAX),
        "blocks": [
            { "type": "header", "text": { "type": "plain_text", "text": cut(&title, HEADER_MAX) } },
            { "type": "section", "text": { "type": "mrkdwn", "text": cut(&text, TEXT_MAX) } },
            { "type": "context", "elements": [
                { "type": "mrkdwn", "text": cut(&format!("look closer: {}", commands.join("  ")), TEXT_MAX) },
            ] },
        ],
    });
    Request {
        url: url.clone(),
        headers: Vec::new(),
        body: body.to_string().into_bytes(),
        secrets: Vec::new(),
        taken: |status, _| status == 200,
    }
}

/// The three characters that mean something in Slack's text.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// At most so many characters.
pub(super) fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some(_) => {
            let mut short: String = text.chars().take(most - 1).collect();
            short.push('…');
            short
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped_and_has_an_end() {
        assert_eq!(escaped("<!channel> & co"), "&lt;!channel&gt; &amp; co");
        assert_eq!(cut("äöü", 3), "äöü");
        assert_eq!(cut("äöüß", 3), "äö…");
    }
}
