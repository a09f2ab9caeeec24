//! Settings of a connector as configuration hands them over: a tree whose secrets stay secret.

use std::time::Duration;

use crate::secret::Secret;

/// A node of a settings tree.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum SettingValue {
    #[default]
    Null,
    Bool(bool),
    /// The number's text, exactly as written.
    Number(String),
    Text(String),
    /// A scalar that holds a resolved `${env:…}`, `${file:…}` or command: secret whole.
    Secret(Secret<String>),
    List(Vec<SettingValue>),
    /// In the order of the file; keys are unique.
    Map(Vec<(String, SettingValue)>),
}

impl SettingValue {
    /// A member of a map.
    pub fn get(&self, name: &str) -> Option<&SettingValue> {
        match self {
            Self::Map(members) => members.iter().find(|(n, _)| n == name).map(|(_, v)| v),
            _ => None,
        }
    }

    /// Text that is not secret.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) | Self::Number(text) => Some(text),
            _ => None,
        }
    }

    /// A scalar as a secret, whether it was written in clear or came from the environment.
    pub fn as_secret(&self) -> Option<Secret<String>> {
        match self {
            Self::Text(text) | Self::Number(text) => Some(Secret::new(text.clone())),
            Self::Secret(secret) => Some(secret.clone()),
            _ => None,
        }
    }

    /// A whole number.
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Number(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// A boolean.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// The members of a map.
    pub fn members(&self) -> &[(String, SettingValue)] {
        match self {
            Self::Map(members) => members,
            _ => &[],
        }
    }

    /// The items of a list.
    pub fn items(&self) -> &[SettingValue] {
        match self {
            Self::List(items) => items,
            _ => &[],
        }
    }
}

/// Reads `250ms`, `30s`, `10m`, `3h`, `14d`.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let split = text.find(|c: char| !c.is_ascii_digit())?;
    let number: u64 = text[..split].parse().ok()?;
    let millis = match &text[split..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(millis).map(Duration::from_millis)
}

/// Reads `500`, `500B`, `500KB`, `1MB`, `2GB` (decimal, as services document their limits) and
/// `1KiB`, `1MiB`, `1GiB`. The answer is in bytes.
pub fn parse_size(text: &str) -> Option<u64> {
    let split = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let number: u64 = text[..split].parse().ok()?;
    let unit = match &text[split..] {
        "" | "B" => 1,
        "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_need_a_known_unit() {
        assert_eq!(parse_duration("15m"), Some(Duration::from_secs(900)));
        assert_eq!(parse_duration("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(parse_duration("15"), None);
        assert_eq!(parse_duration("m"), None);
        assert_eq!(parse_size("1MB"), Some(1_000_000));
        assert_eq!(parse_size("1MiB"), Some(1_048_576));
        assert_eq!(parse_size("1 MB"), None);
    }
}
