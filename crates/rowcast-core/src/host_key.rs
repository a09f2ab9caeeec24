//! How an SSH server's own key is written down, so that a slip is found before anything connects.
//!
//! A line of a `.pub` file or of known_hosts, or a SHA256 fingerprint. Whether the server has that key
//! is for the connection to find out; here nothing is ever trusted.

/// The kinds of key that a connection takes: RSA signs with SHA-2 there, DSA is refused.
const KINDS: [&str; 5] = [
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "ssh-rsa",
];

/// What to write in its place.
pub const HINT: &str = "write the line that `ssh-keyscan -t ed25519 HOST` prints, once it is compared with /etc/ssh/ssh_host_ed25519_key.pub on that host; or its fingerprint, `SHA256:` and 43 characters";

/// Whether a text can be the key of a server, or its fingerprint. The host's name may stand before a
/// key and a comment behind it, as in the files that hold them.
pub fn is_host_key(text: &str) -> bool {
    let words: Vec<&str> = text.split_whitespace().collect();
    if let [word] = words[..]
        && let Some(hash) = word.strip_prefix("SHA256:")
    {
        return hash.len() == 43 && bytes(hash).is_some_and(|hash| hash.len() == 32);
    }
    let kind = words.iter().position(|word| KINDS.contains(word));
    let Some([kind, data]) = kind.and_then(|start| words.get(start..start + 2)) else {
        return false;
    };
    bytes(data).is_some_and(|data| holds(&data, kind))
}

/// Whether a key's bytes are whole: its kind and one to two more strings, each behind its length.
fn holds(mut data: &[u8], kind: &str) -> bool {
    let mut strings = Vec::new();
    while let Some((length, rest)) = data.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        let Some((string, rest)) = rest.split_at_checked(length) else {
            return false;
        };
        strings.push(string);
        data = rest;
    }
    let whole = data.is_empty() && strings.iter().all(|string| !string.is_empty());
    let expected = if kind == "ssh-ed25519" { 2 } else { 3 };
    whole && strings.len() == expected && strings[0] == kind.as_bytes()
}

/// Base64 with or without its padding.
fn bytes(text: &str) -> Option<Vec<u8>> {
    let text = text.strip_suffix('=').unwrap_or(text);
    let text = text.strip_suffix('=').unwrap_or(text);
    let (mut out, mut bits, mut held) = (Vec::with_capacity(text.len()), 0u32, 0u32);
    for letter in text.bytes() {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        (bits, held) = ((bits << 6) | u32::from(value), held + 6);
        if held >= 8 {
            held -= 8;
            out.push((bits >> held) as u8);
            bits &= (1 << held) - 1;
        }
    }
    (held < 6).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ED25519: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
    const ECDSA: &str = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBEmKSENjQEezOmxkZMy7opKgwFB9nkt5YRrYMjNuG5N87uRgg6CLrbo5wAdT/y6v0mKV0U2w0WZ2YB/++Tpockg=";

    #[test]
    fn keys_lines_of_known_hosts_and_fingerprints_are_taken() {
        for text in [
            ED25519.to_owned(),
            format!("bastion.example.com,192.0.2.1 {ED25519}"),
            format!("{ED25519} root@bastion\n"),
            ECDSA.to_owned(),
            "SHA256:nThbg6kXUpJWGl7E1IGOCspRomTxdCARLviKw6E5SY8".to_owned(),
        ] {
            assert!(is_host_key(&text), "{text}");
        }
    }

    #[test]
    fn what_was_cut_mixed_up_or_made_up_is_not() {
        for text in [
            "",
            "yes",
            "ssh-ed25519",
            "ssh-ed25519 AAAA",
            &ED25519[..ED25519.len() - 1],
            &ED25519[..ED25519.len() - 4],
            &ED25519.replace("ssh-ed25519 ", "ssh-rsa "),
            &ED25519.replace("ssh-ed25519 ", "ssh-dss "),
            &ED25519.replace(' ', "  …"),
            &ED25519["ssh-ed25519 ".len()..],
            "SHA256:",
            "SHA256:nThbg6kXUpJWGl7E1IGOCspRomTxdCARLviKw6E5SY",
            "SHA256:nThbg6kXUpJWGl7E1IGOCspRomTxdCARLviKw6E5SY8=",
            "MD5:aa:bb:cc:dd:ee:ff:00:11:22:33:44:55:66:77:88:99",
        ] {
            assert!(!is_host_key(text), "{text}");
        }
    }
}
