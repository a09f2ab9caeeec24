//! The address of a store's service, as a setting.

use rowcast_core::connector::Problems;
use url::Url;

/// Reads an address: a scheme, a host, perhaps a port and a path; nothing secret.
pub(crate) fn read(text: &str, problems: &mut Problems) -> Option<Url> {
    let plain = |url: &Url| {
        matches!(url.scheme(), "https" | "http")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
    };
    match Url::parse(text) {
        Ok(url) if plain(&url) => Some(url),
        _ => {
            problems.add(
                "settings.endpoint",
                "this is no address of a service",
                "for example https://storage.example.com, without a login or a query",
            );
            None
        }
    }
}
