//! One budget of requests for each account at a service, shared by every sync that writes to it,
//! however many destinations name the account.
//!
//! Rate and concurrency are shared within this process; a quota is counted where state lives, for
//! every process. What is stored there to tell accounts apart is a name, never anything made from a
//! secret: whoever reads the state schema can't try tokens against it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rowcast_core::{Destination, Quota, SettingValue};
use rowcast_engine::Limiter;

use crate::{Answer, Project};

type Budgets = Mutex<BTreeMap<String, Arc<Limiter>>>;

/// The limiter of a destination's account. An edit of its rate makes a new one.
///
/// # Errors
/// There is no such destination.
pub(crate) fn shared(
    project: &Project,
    name: &str,
    opened: &dyn Destination,
) -> Answer<Arc<Limiter>> {
    static BUDGETS: OnceLock<Budgets> = OnceLock::new();
    let destination = project.destination(name)?;
    let rate = opened.capabilities().rate;
    let account = match credentials(&destination.settings) {
        Some(digest) => digest,
        // Without a credential the destination itself is the account.
        None => format!("{} {name}", project.dir().display()),
    };
    let key = format!("{} {account} {rate:?}", destination.connector);
    let budgets = BUDGETS.get_or_init(Mutex::default);
    let mut budgets = budgets.lock().unwrap_or_else(PoisonError::into_inner);
    let limiter = budgets
        .entry(key)
        .or_insert_with(|| Arc::new(Limiter::new(rate)));
    Ok(Arc::clone(limiter))
}

/// The quota of a destination's account: the destination's own, or else its connector's.
///
/// # Errors
/// There is no such destination.
pub(crate) fn quota(
    project: &Project,
    name: &str,
    opened: &dyn Destination,
) -> Answer<Option<Quota>> {
    let destination = project.destination(name)?;
    let Some(allowed) = destination.quota.or_else(|| opened.quota()) else {
        return Ok(None);
    };
    let digest = credentials(&destination.settings);
    // Several destinations of one account are counted under the name of the first.
    let same = |other: &&rowcast_config::Destination| {
        other.connector == destination.connector
            && digest.is_some()
            && credentials(&other.settings) == digest
    };
    let first = project.config.destinations.values().find(same);
    let account = first.map_or(name, |first| &first.name);
    Ok(Some(Quota {
        account: format!("{}/{account}", project.config.name),
        allowed,
    }))
}

/// A digest of everything secret in settings; `None` when nothing is.
fn credentials(settings: &SettingValue) -> Option<String> {
    let mut hasher = blake3::Hasher::new();
    let mut found = false;
    hash(settings, &mut hasher, &mut found);
    found.then(|| hasher.finalize().to_hex().to_string())
}

fn hash(settings: &SettingValue, hasher: &mut blake3::Hasher, found: &mut bool) {
    match settings {
        SettingValue::Secret(secret) => {
            *found = true;
            hasher.update(secret.reveal().as_bytes());
            hasher.update(b"\0");
        }
        SettingValue::List(items) => items.iter().for_each(|item| hash(item, hasher, found)),
        SettingValue::Map(members) => members
            .iter()
            .for_each(|(_, value)| hash(value, hasher, found)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_known_by_its_credentials_alone() {
        let settings = |token: &str, region: &str| {
            SettingValue::Map(vec![
                ("region".into(), SettingValue::Text(region.into())),
                (
                    "auth".into(),
                    SettingValue::Map(vec![("bearer".into(), SettingValue::Secret(token.into()))]),
                ),
            ])
        };
        let of = |token, region| credentials(&settings(token, region)).expect("a digest");
        assert_eq!(of("a", "eu"), of("a", "us"));
        assert_ne!(of("a", "eu"), of("b", "eu"));
        assert_eq!(credentials(&SettingValue::Text("public".into())), None);
    }
}
