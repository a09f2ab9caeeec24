//! The private key with which we log in: read anew for each connection, decrypted if need be.
//!
//! Must never show the key or the passphrase; errors name the form alone.

use rowcast_core::{Code, Reason};
use russh::keys::{Error, PrivateKey, decode_secret_key};

use super::super::password;
use super::SshConfig;

pub(super) async fn read(ssh: &SshConfig) -> Result<PrivateKey, Reason> {
    let text = password::reveal(&ssh.key, "SSH key").await?;
    let passphrase = match &ssh.passphrase {
        Some(passphrase) => Some(password::reveal(passphrase, "SSH passphrase").await?),
        None => None,
    };
    // Decrypting is slow on purpose; other tasks must not wait for it.
    let decoded = tokio::task::spawn_blocking(move || {
        let decoded = decode(&text, passphrase.as_deref());
        (decoded, passphrase.is_some())
    });
    let (decoded, with_passphrase) = decoded
        .await
        .map_err(|_| Reason::defect("reading an SSH key was interrupted"))?;
    decoded.map_err(|error| unusable(ssh, &error, with_passphrase))
}

fn decode(text: &str, passphrase: Option<&str>) -> Result<PrivateKey, Error> {
    let key = decode_secret_key(text, passphrase)?;
    if key.is_encrypted() {
        return Err(Error::KeyIsEncrypted);
    }
    Ok(key)
}

fn unusable(ssh: &SshConfig, error: &Error, with_passphrase: bool) -> Reason {
    let reason = Reason::new(
        Code::SshAuth,
        format!("the key for the SSH server {} can't be used", ssh.place()),
    );
    match error {
        Error::KeyIsEncrypted => reason
            .detail("it is encrypted, and no passphrase is configured")
            .hint("set ssh.passphrase, for example to ${env:SSH_PASSPHRASE}"),
        Error::CouldNotReadKey => reason
            .detail("it does not hold a private key that begins with -----BEGIN OPENSSH PRIVATE KEY-----")
            .hint("ssh.key is the key itself, not its path: write key: ${file:/path/to/id_ed25519}"),
        _ if with_passphrase => reason
            .detail("it could not be decrypted and read with the configured passphrase")
            .hint("try them by hand: ssh-keygen -y -f KEY"),
        error => reason
            .detail(error.to_string())
            .hint("make a new one: ssh-keygen -t ed25519 -f KEY"),
    }
}
