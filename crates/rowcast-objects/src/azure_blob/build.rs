//! The connector itself.

use std::sync::Arc;

use object_store::azure::{MicrosoftAzureBuilder, split_sas};
use rowcast_core::connector::Problems;
use rowcast_core::{Destination, DestinationConfig, SettingValue};
use rowcast_destinations::format::Format;
use rowcast_destinations::format::target::{Target, timeout};

use crate::client::{Service, retries};
use crate::destination::{Objects, Trial};
use crate::endpoint;

/// Builds the destination of a sync.
pub(crate) fn build(
    config: &DestinationConfig,
    problems: &mut Problems,
) -> Option<Arc<dyn Destination>> {
    let text = |name| config.settings.get(name).and_then(SettingValue::as_text);
    let auth = |name| {
        let auth = config.settings.get("auth")?.get(name)?.as_secret()?;
        Some(auth.reveal().clone())
    };
    let format = Format::read(config, problems);
    let target = Target::read(config, &format, problems)?;
    let account = text("account").unwrap_or_default();
    let container = text("container").unwrap_or_default();
    let root = match text("endpoint") {
        Some(given) => given.to_owned(),
        None => format!("https://{account}.blob.core.windows.net"),
    };
    let root = endpoint::read(&root, problems)?;
    let service = Service::new(config, root.clone(), timeout(config), problems)?;
    let mut builder = MicrosoftAzureBuilder::new()
        .with_account(account)
        .with_container_name(container)
        .with_endpoint(root.as_str().trim_end_matches('/').to_owned())
        .with_allow_http(root.scheme() == "http")
        .with_retry(retries(timeout(config)))
        .with_http_connector(service.clone());
    if let Some(key) = auth("account_key") {
        builder = builder.with_access_key(key);
    } else if let Some(token) = auth("sas_token") {
        match split_sas(&token) {
            Ok(pairs) => builder = builder.with_sas_authorization(pairs),
            Err(_) => {
                problems.add(
                    "settings.auth.sas_token",
                    "this is not a shared access signature",
                    "it looks like sv=…&ss=b&sig=…",
                );
                return None;
            }
        }
    }
    match builder.build() {
        Ok(store) => Some(Arc::new(Objects::new(
            config,
            Arc::new(store),
            service,
            format!("container {container} of account {account}"),
            Trial::List,
            target,
            format,
        ))),
        // Its words may hold a part of the key.
        Err(_) => {
            problems.add(
                "settings.auth",
                "the credentials can't be read",
                "an account_key is the key in base64, as the portal shows it",
            );
            None
        }
    }
}
