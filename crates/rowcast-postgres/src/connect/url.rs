//! `postgres://` URLs as libpq reads them, with the product's default of `verify-full`.
//!
//! Must never print the URL or its query: it may hold a password, also one that was not
//! percent-encoded and therefore ends up in the wrong part.

use std::path::PathBuf;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use rowcast_core::{Code, Reason, Secret};

use super::config::{ChannelBinding, ConnectConfig, Password, RootCert, SslMode};

const ENCODE_HINT: &str = "write postgresql://user:password@host:5432/database; percent-encode the characters : / ? # [ ] @ % in user and password";

fn invalid(what: impl std::fmt::Display) -> Reason {
    Reason::new(
        Code::WrongType,
        format!("the PostgreSQL URL can't be read: {what}"),
    )
    .hint(ENCODE_HINT)
}

fn decode(text: &str, part: &str) -> Result<String, Reason> {
    let bytes = text.as_bytes();
    let broken = bytes.iter().enumerate().any(|(i, b)| {
        *b == b'%'
            && !bytes
                .get(i + 1..i + 3)
                .is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit))
    });
    if broken {
        return Err(invalid(format_args!(
            "the {part} holds a % that starts no escape"
        )));
    }
    let decoded = percent_decode_str(text)
        .decode_utf8()
        .map_err(|_| invalid(format_args!("the {part} is not UTF-8")))?;
    if decoded.contains('\0') {
        return Err(invalid(format_args!("the {part} holds a zero byte")));
    }
    Ok(decoded.into_owned())
}

fn port(text: &str) -> Result<u16, Reason> {
    text.parse()
        .ok()
        .filter(|port| *port != 0)
        .ok_or_else(|| invalid("the port is not a number from 1 to 65535"))
}

impl ConnectConfig {
    /// Reads `postgres://` and `postgresql://` URLs.
    ///
    /// # Errors
    /// The URL is malformed, names several hosts, or carries a parameter that is not honoured.
    pub fn from_url(url: &str) -> Result<Self, Reason> {
        let rest = url
            .strip_prefix("postgresql://")
            .or_else(|| url.strip_prefix("postgres://"))
            .ok_or_else(|| invalid("it does not start with postgresql:// or postgres://"))?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (userinfo, host_port) = authority.rsplit_once('@').unwrap_or(("", authority));

        let mut config = Self::new("", "", "");
        let (user, password) = match userinfo.split_once(':') {
            Some((user, password)) => (user, Some(password)),
            None => (userinfo, None),
        };
        config.user = decode(user, "user")?;
        if let Some(password) = password.filter(|password| !password.is_empty()) {
            config.password = Some(Password::Secret(Secret::new(decode(password, "password")?)));
        }
        config.database = decode(path, "database")?;
        config.read_host_port(host_port)?;
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair
                .split_once('=')
                .ok_or_else(|| invalid("a parameter after ? has no ="))?;
            let name = decode(name, "parameter name")?;
            let value = decode(value, "value of a parameter")?;
            config.read_parameter(&name, value)?;
        }
        config.finish()
    }

    fn read_host_port(&mut self, text: &str) -> Result<(), Reason> {
        if text.contains(',') {
            return Err(invalid("it names several hosts, which is not supported"));
        }
        if let Some(rest) = text.strip_prefix('[') {
            let (host, rest) = rest
                .split_once(']')
                .ok_or_else(|| invalid("the address has no closing ]"))?;
            host.clone_into(&mut self.host);
            return match rest.strip_prefix(':') {
                Some(text) => port(text).map(|port| self.port = port),
                None if rest.is_empty() => Ok(()),
                None => Err(invalid("the address is followed by more than a port")),
            };
        }
        let (host, text) = text.split_once(':').unwrap_or((text, ""));
        self.host = decode(host, "host")?;
        if !text.is_empty() {
            self.port = port(text)?;
        }
        Ok(())
    }

    fn read_parameter(&mut self, name: &str, value: String) -> Result<(), Reason> {
        let refused = |allowed: &str| {
            Err(invalid(format_args!(
                "the parameter \"{name}\" can only be {allowed}"
            )))
        };
        match name {
            "host" => self.host = value,
            "port" => self.port = port(&value)?,
            "dbname" => self.database = value,
            "user" => self.user = value,
            "password" => self.password = Some(Password::Secret(Secret::new(value))),
            "sslmode" => match value.parse::<SslMode>() {
                Ok(mode) => self.sslmode = mode,
                Err(_) => {
                    return refused("disable, allow, prefer, require, verify-ca or verify-full");
                }
            },
            "sslrootcert" => self.sslrootcert = Some(RootCert::parse(&value)),
            "sslcert" => self.sslcert = Some(PathBuf::from(value)),
            "sslkey" => self.sslkey = Some(PathBuf::from(value)),
            "channel_binding" => match value.as_str() {
                "disable" => self.channel_binding = ChannelBinding::Disable,
                "prefer" => self.channel_binding = ChannelBinding::Prefer,
                "require" => self.channel_binding = ChannelBinding::Require,
                _ => return refused("disable, prefer or require"),
            },
            "connect_timeout" => match value.parse::<u64>() {
                // libpq: zero means to wait for ever; here it means the default.
                Ok(0) => {}
                Ok(seconds) => self.connect_timeout = Duration::from_secs(seconds),
                Err(_) => return refused("a number of seconds"),
            },
            "application_name" => self.application_name = value,
            "options" => self.options = Some(value),
            // Spellings of what happens here anyway.
            "gssencmode" if value == "disable" || value == "prefer" => {}
            "gssencmode" => return refused("disable or prefer"),
            "target_session_attrs" if value == "any" => {}
            "target_session_attrs" => return refused("any"),
            "sslnegotiation" if value == "postgres" => {}
            "sslnegotiation" => return refused("postgres"),
            "keepalives" if value == "1" => {}
            "keepalives" => return refused("1"),
            // Others' parameters, said to be harmless by those who paste such URLs everywhere.
            "pgbouncer" | "connection_limit" | "schema" | "pool_timeout" => {
                return Err(invalid(format_args!(
                    "\"{name}\" is a parameter of another tool, not of PostgreSQL"
                ))
                .hint("remove it from the URL; poolers in transaction mode work without it"));
            }
            _ => {
                return Err(invalid(format_args!(
                    "the parameter \"{}\" is not known",
                    name.chars().take(40).collect::<String>()
                ))
                .hint("known are host, port, dbname, user, password, sslmode, sslrootcert, sslcert, sslkey, channel_binding, connect_timeout, application_name and options; percent-encode ? and & in a password"));
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Self, Reason> {
        if self.host.is_empty() {
            return Err(invalid("it names no host"));
        }
        if self.host.contains(',') {
            return Err(invalid("it names several hosts, which is not supported"));
        }
        if self.user.is_empty() {
            return Err(invalid("it names no user"));
        }
        if self.database.is_empty() {
            self.database.clone_from(&self.user);
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_read_with_its_escapes() {
        let config = ConnectConfig::from_url(
            "postgresql://r%40w:p%2Fw%3Ad@db.internal:6543/my%20shop?sslmode=require&connect_timeout=3&application_name=x%26y",
        )
        .unwrap();
        assert_eq!(config.user, "r@w");
        assert_eq!(
            config.password,
            Some(Password::Secret(Secret::new("p/w:d".to_owned())))
        );
        assert_eq!(
            (config.host.as_str(), config.port, config.database.as_str()),
            ("db.internal", 6543, "my shop")
        );
        assert_eq!(config.sslmode, SslMode::Require);
        assert_eq!(config.connect_timeout, Duration::from_secs(3));
        assert_eq!(config.application_name, "x&y");
    }

    #[test]
    fn without_sslmode_the_server_is_verified() {
        let config = ConnectConfig::from_url("postgres://u@h").unwrap();
        assert_eq!(config.sslmode, SslMode::VerifyFull);
        assert_eq!((config.port, config.database.as_str()), (5432, "u"));
    }

    #[test]
    fn every_sslmode_of_a_url_survives() {
        for mode in SslMode::ALL {
            let config = ConnectConfig::from_url(&format!("postgres://u@h/d?sslmode={mode}"));
            assert_eq!(config.unwrap().sslmode, mode);
        }
    }

    #[test]
    fn a_socket_directory_is_a_host() {
        for url in [
            "postgresql://u@%2Fvar%2Frun%2Fpostgresql:5433/d",
            "postgresql://u@:5433/d?host=/var/run/postgresql",
            "postgresql:///d?user=u&port=5433&host=%2Fvar%2Frun%2Fpostgresql",
        ] {
            let config = ConnectConfig::from_url(url).unwrap();
            assert!(config.is_unix_socket());
            assert_eq!(
                config.place(),
                "\"d\" at /var/run/postgresql/.s.PGSQL.5433",
                "{url}"
            );
        }
        let config = ConnectConfig::from_url("postgresql://u@[::1]:5433/d").unwrap();
        assert_eq!(config.place(), "\"d\" at [::1]:5433");
    }

    #[test]
    fn what_is_wrong_is_said_without_the_password() {
        for (url, says) in [
            ("mysql://u:canary@h/d", "does not start with"),
            ("postgres://u:canary@h:port/d", "port is not a number"),
            ("postgres://u:can%ary@h/d", "% that starts no escape"),
            (
                "postgres://u:canary@h/d?sslmode=verify",
                "\"sslmode\" can only be",
            ),
            (
                "postgres://u:canary@h/d?pgbouncer=true",
                "parameter of another tool",
            ),
            (
                "postgres://u:canary@h/d?frobnicate=1",
                "\"frobnicate\" is not known",
            ),
            ("postgres://u:canary@h1,h2/d", "several hosts"),
            ("postgres://:canary@h/d", "names no user"),
            ("postgres://u:canary@/d", "names no host"),
            ("postgres://u:can/ary@h/d", "port is not a number"),
        ] {
            let reason = ConnectConfig::from_url(url).unwrap_err();
            assert!(reason.message.contains(says), "{url}: {}", reason.message);
            assert!(!format!("{reason:?}").contains("canary"), "{reason:?}");
        }
    }
}
