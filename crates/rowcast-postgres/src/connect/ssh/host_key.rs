//! Host keys: which one is pinned, whether the offered one is it, and how to pin one.
//!
//! Nothing here ever accepts a key for being the first.

use rowcast_core::{Code, Reason};
use russh::keys::ssh_key::Fingerprint;
use russh::keys::{Algorithm, EcdsaCurve, HashAlg, PublicKey};

use super::SshConfig;

/// The one key to accept.
#[derive(Debug, Clone)]
pub(super) enum Pin {
    Key(Box<PublicKey>),
    Fingerprint(Fingerprint),
}

impl Pin {
    pub(super) fn is(&self, offered: &PublicKey) -> bool {
        match self {
            Self::Key(key) => key.key_data() == offered.key_data(),
            Self::Fingerprint(pinned) => offered.fingerprint(HashAlg::Sha256) == *pinned,
        }
    }

    /// Whether the pin does not tell which kind of key it belongs to.
    pub(super) fn is_of_any_kind(&self) -> bool {
        matches!(self, Self::Fingerprint(_))
    }
}

/// Reads what stands under `host_key:`: a fingerprint, or a key as in known_hosts and in the
/// output of ssh-keyscan, with or without the host's name before it.
pub(super) fn parse(text: &str) -> Result<Pin, Reason> {
    let words: Vec<&str> = text.split_whitespace().collect();
    if let [word] = words[..]
        && word.starts_with("SHA256:")
        && let Ok(fingerprint) = word.parse()
    {
        return Ok(Pin::Fingerprint(fingerprint));
    }
    let kind = words
        .iter()
        .position(|word| word.starts_with("ssh-") || word.starts_with("ecdsa-sha2-"));
    if let Some(start) = kind
        && let Some([kind, data]) = words.get(start..start + 2)
        && let Ok(key) = PublicKey::from_openssh(&format!("{kind} {data}"))
    {
        return Ok(Pin::Key(Box::new(key)));
    }
    Err(
        Reason::new(Code::WrongType, "the pinned SSH host key can't be read").hint(
            "write host_key: ssh-ed25519 AAAA… as in /etc/ssh/ssh_host_ed25519_key.pub of the SSH host, or its fingerprint SHA256:…",
        ),
    )
}

/// Every kind of host key that is accepted, the best first, and before all that of the pinned key.
/// RSA with SHA-1 and DSA are not among them.
pub(super) fn kinds(pinned: Option<&Pin>) -> Vec<Algorithm> {
    let ecdsa = |curve| Algorithm::Ecdsa { curve };
    let rsa = |hash| Algorithm::Rsa { hash: Some(hash) };
    let mut kinds = vec![
        Algorithm::Ed25519,
        ecdsa(EcdsaCurve::NistP256),
        ecdsa(EcdsaCurve::NistP384),
        ecdsa(EcdsaCurve::NistP521),
        rsa(HashAlg::Sha512),
        rsa(HashAlg::Sha256),
    ];
    if let Some(Pin::Key(key)) = pinned {
        kinds.sort_by_key(|kind| !same_kind(kind, &key.algorithm()));
    }
    kinds
}

/// Whether two algorithms are for the same key of a server: RSA with any hash is one key.
pub(super) fn same_kind(one: &Algorithm, other: &Algorithm) -> bool {
    let rsa = |kind: &Algorithm| matches!(kind, Algorithm::Rsa { .. });
    one == other || rsa(one) && rsa(other)
}

/// A public key for messages: `ssh-ed25519 SHA256:…`.
pub(super) fn described(key: &PublicKey) -> String {
    format!("{} {}", key.algorithm(), key.fingerprint(HashAlg::Sha256))
}

/// A public key as a line of a file.
pub(super) fn line(key: &PublicKey) -> String {
    PublicKey::new(key.key_data().clone(), "rowcast")
        .to_openssh()
        .unwrap_or_default()
}

/// The server's keys are not the pinned one, or none is pinned.
pub(super) fn refused(ssh: &SshConfig, pinned: Option<&Pin>, offered: &[PublicKey]) -> Reason {
    let offers = offered.iter().map(described).collect::<Vec<_>>().join(", ");
    let place = ssh.place();
    let Some(pinned) = pinned else {
        let fingerprint = offered
            .first()
            .map(|key| key.fingerprint(HashAlg::Sha256).to_string())
            .unwrap_or_default();
        return Reason::new(
            Code::SshHostKey,
            format!("the host key of the SSH server {place} is not pinned"),
        )
        .detail(format!("it offered {offers}"))
        .hint(format!(
            "compare with `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` on that host or with its operator; if they are equal, write under ssh: host_key: \"{fingerprint}\""
        ));
    };
    let wanted = match pinned {
        Pin::Key(key) => described(key),
        Pin::Fingerprint(fingerprint) => fingerprint.to_string(),
    };
    Reason::new(
        Code::SshHostKey,
        format!("the SSH server {place} has another host key than the pinned one"),
    )
    .detail(format!("pinned is {wanted}, it offered {offers}"))
    .hint("the server was reinstalled, or somebody stands between: ask its operator before you change host_key")
}

#[cfg(test)]
mod tests {
    use rowcast_core::host_key::is_host_key;

    use super::*;

    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";

    #[test]
    fn a_pin_is_a_key_a_line_of_known_hosts_or_a_fingerprint() {
        let Ok(Pin::Key(key)) = parse(KEY) else {
            panic!("a key");
        };
        let fingerprint = key.fingerprint(HashAlg::Sha256).to_string();
        for text in [
            format!("{KEY} root@bastion"),
            format!("bastion.example.com {KEY}"),
            fingerprint,
        ] {
            assert!(parse(&text).unwrap().is(&key), "{text}");
            assert!(is_host_key(&text), "validation refuses {text}");
        }
    }

    #[test]
    fn what_is_no_pin_says_how_one_looks() {
        for text in [
            "",
            "SHA256:",
            "MD5:aa:bb",
            "ssh-ed25519",
            "ssh-ed25519 AAAA",
            "yes",
        ] {
            let reason = parse(text).unwrap_err();
            assert_eq!(reason.code, Code::WrongType, "{text}");
            assert!(reason.hint.unwrap().contains("ssh-ed25519 AAAA"));
            assert!(!is_host_key(text), "validation takes {text:?}");
        }
    }

    #[test]
    fn the_kind_of_the_pinned_key_is_asked_for_first_and_sha1_never() {
        let all = kinds(None);
        assert!(!all.contains(&Algorithm::Rsa { hash: None }));
        assert!(!all.contains(&Algorithm::Dsa));
        let pin = parse(KEY).unwrap();
        assert_eq!(kinds(Some(&pin))[0], Algorithm::Ed25519);
    }
}
