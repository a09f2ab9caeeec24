//! A request as the curl command that would send it, with `***` for every secret.

use super::auth::Auth;
use super::request::Prepared;
use super::sender::Sender;

/// How much of a body is shown.
const BODY_MAX: usize = 4_000;

impl Sender {
    /// The command as people see it.
    pub(crate) fn curl(&self, request: &Prepared) -> String {
        let mut out = format!("curl -X {} {}", request.method, quote(&request.shown_url));
        for (name, value) in &request.headers {
            let value = if value.is_sensitive() {
                "***".into()
            } else {
                String::from_utf8_lossy(value.as_bytes())
            };
            out.push_str(&format!(" \\\n  -H {}", quote(&format!("{name}: {value}"))));
        }
        if let Auth::Hmac(_) = self.auth {
            for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
                out.push_str(&format!(" \\\n  -H '{name}: ***'"));
            }
        }
        if let Some(body) = &request.body {
            let mut body = String::from_utf8_lossy(body).into_owned();
            self.service.mask(&mut body);
            let shown = match body.char_indices().nth(BODY_MAX) {
                Some((end, _)) => format!("{}… ({} bytes)", &body[..end], body.len()),
                None => body,
            };
            out.push_str(&format!(" \\\n  --data-binary {}", quote(&shown)));
        }
        out
    }
}

/// Single quotes for a POSIX shell.
fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}
