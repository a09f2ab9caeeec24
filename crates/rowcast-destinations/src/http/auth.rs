//! How a request proves who sends it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use reqwest::header::{AUTHORIZATION, HeaderName, HeaderValue};
use rowcast_core::{Secret, SettingValue};
use url::Url;

use super::config::SECRET_PART_MIN;
use crate::settings::Problems;
use crate::signature;

/// The kinds of credentials.
#[derive(Clone, Debug)]
pub(crate) enum Auth {
    None,
    /// A header, `Authorization` included, with its whole value.
    Header(HeaderName, HeaderValue),
    Query(String, Secret<String>),
    Hmac(Secret<Vec<u8>>),
}

impl Auth {
    /// Reads `auth:`, whose shape has been checked; adds what is secret in it to `secrets`.
    pub(crate) fn parse(
        value: Option<&SettingValue>,
        problems: &mut Problems,
        secrets: &mut Vec<Secret<String>>,
    ) -> Self {
        const PATH: &str = "settings.auth";
        let Some((kind, value)) = value.and_then(|value| value.members().first()) else {
            return Self::None;
        };
        let path = format!("{PATH}.{kind}");
        let mut secret = |value: Option<&SettingValue>| {
            let secret = value
                .and_then(SettingValue::as_secret)
                .unwrap_or_else(|| Secret::new(String::new()));
            secrets.push(secret.clone());
            secret
        };
        match kind.as_str() {
            "basic" => {
                let user = value
                    .get("user")
                    .and_then(SettingValue::as_secret)
                    .unwrap_or_else(|| Secret::new(String::new()));
                let password = secret(value.get("password"));
                if user.reveal().contains(':') {
                    problems.add(
                        format!("{path}.user"),
                        "a user can't hold a colon",
                        "HTTP basic authentication ends the user at the first colon",
                    );
                }
                let pair = BASE64.encode(format!("{}:{}", user.reveal(), password.reveal()));
                secrets.push(Secret::new(pair.clone()));
                // Some services take their key as the user, and no password.
                if user.reveal().len() >= SECRET_PART_MIN {
                    secrets.push(user.clone());
                }
                header(AUTHORIZATION, &format!("Basic {pair}"), &path, problems)
            }
            "bearer" => {
                let token = secret(Some(value));
                header(
                    AUTHORIZATION,
                    &format!("Bearer {}", token.reveal()),
                    &path,
                    problems,
                )
            }
            "header" => {
                let token = secret(value.get("value"));
                let name = value
                    .get("name")
                    .and_then(SettingValue::as_text)
                    .unwrap_or_default();
                match super::config::header_name(name) {
                    Ok(name) => header(name, token.reveal(), &path, problems),
                    Err((message, hint)) => {
                        problems.add(format!("{path}.name"), message, hint);
                        Self::None
                    }
                }
            }
            "query" => {
                let token = secret(value.get("value"));
                let name = value
                    .get("name")
                    .and_then(SettingValue::as_text)
                    .unwrap_or_default();
                Self::Query(name.to_owned(), token)
            }
            "hmac" => {
                let text = secret(Some(value));
                let key = signature::key(&text);
                if key.reveal().is_empty() {
                    problems.add(
                        path,
                        "the signing secret is empty or what follows whsec_ is not base64",
                        "copy the secret again from the service that verifies it",
                    );
                }
                Self::Hmac(key)
            }
            _ => {
                problems.add(
                    path,
                    "OAuth 2 is not available yet",
                    "use a long-lived token with auth.bearer, or put a proxy that adds the token before the service",
                );
                Self::None
            }
        }
    }
}

impl Auth {
    /// Puts a credential that is a query parameter into a URL, and its name into the shown one.
    pub(crate) fn push_query(&self, url: &mut Url, shown: &mut String) {
        if let Self::Query(name, secret) = self {
            url.query_pairs_mut().append_pair(name, secret.reveal());
            let separator = if shown.contains('?') { '&' } else { '?' };
            shown.push(separator);
            shown.push_str(name);
            shown.push_str("=***");
        }
    }
}

fn header(name: HeaderName, value: &str, path: &str, problems: &mut Problems) -> Auth {
    let value = value.trim_end_matches(['\r', '\n']);
    match HeaderValue::from_str(value) {
        Ok(mut value) => {
            value.set_sensitive(true);
            Auth::Header(name, value)
        }
        Err(_) => {
            problems.add(
                path,
                "the value can't be put into a header: it holds a line break or a control character",
                "look at the variable or file it comes from",
            );
            Auth::None
        }
    }
}
