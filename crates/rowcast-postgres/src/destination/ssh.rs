//! The `ssh:` of the destination's settings: the server through which the database is reached.

use rowcast_core::descriptor::{Setting, SettingKind};
use rowcast_core::host_key::{self, is_host_key};
use rowcast_core::{Code, Reason, Secret, SettingValue};

use super::settings::wrong;
use crate::connect::{Password, SshConfig};

/// The members of `ssh:`.
pub(super) fn settings() -> Vec<Setting> {
    use Setting as S;
    vec![
        S::required(
            "host",
            SettingKind::Text,
            "name or address of the SSH server",
        )
        .example("bastion.example.com"),
        S::optional("port", SettingKind::Integer, "its port").default("22"),
        S::required("user", SettingKind::Text, "user to log in as there").example("tunnel"),
        S::required(
            "key",
            SettingKind::Secret,
            "the private key itself: ed25519, ECDSA or RSA",
        )
        .example("${file:/run/secrets/tunnel}"),
        S::optional(
            "passphrase",
            SettingKind::Secret,
            "what the key is encrypted with",
        )
        .example("${env:TUNNEL_PASSPHRASE}"),
        S::optional(
            "host_key",
            SettingKind::Text,
            "the server's own key or its SHA256 fingerprint; nothing else is accepted",
        )
        .example("\"SHA256:nThbg6kXUpJWGl7E1IGOCspRomTxdCARLviKw6E5SY8\""),
    ]
}

/// Reads them; every problem is reported.
pub(super) fn read(
    settings: &SettingValue,
    problems: &mut Vec<(String, Reason)>,
) -> Option<SshConfig> {
    let before = problems.len();
    let given = |name: &str| settings.get(name).and_then(SettingValue::as_secret);
    let mut needed = |name: &str| {
        given(name).unwrap_or_else(|| {
            problems.push((
                format!("ssh.{name}"),
                Reason::new(Code::MissingKey, format!("`ssh` has no `{name}`")),
            ));
            Secret::new(String::new())
        })
    };
    let (host, user, key) = (needed("host"), needed("user"), needed("key"));
    let port = match given("port").map(|text| text.reveal().parse()) {
        None => 22,
        Some(Ok(port)) if port != 0 => port,
        Some(_) => {
            problems.push(wrong(
                "ssh.port",
                "`ssh.port` must be a number from 1 to 65535",
            ));
            0
        }
    };
    let host_key = given("host_key").map(|text| text.reveal().clone());
    if host_key.as_deref().is_some_and(|text| !is_host_key(text)) {
        let (path, reason) = wrong(
            "ssh.host_key",
            "`ssh.host_key` must be a host key or its SHA256 fingerprint",
        );
        problems.push((path, reason.hint(host_key::HINT)));
    }
    (problems.len() == before).then(|| SshConfig {
        host: host.reveal().clone(),
        port,
        user: user.reveal().clone(),
        key: Password::Secret(key),
        passphrase: given("passphrase").map(Password::Secret),
        host_key,
    })
}
