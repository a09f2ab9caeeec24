//! The connector itself.

use std::sync::Arc;

use object_store::aws::AmazonS3Builder;
use rowcast_core::connector::Problems;
use rowcast_core::{Destination, DestinationConfig, SettingValue};
use rowcast_destinations::format::Format;
use rowcast_destinations::format::target::{Target, timeout};
use url::Url;

use crate::client::{Service, retries};
use crate::destination::{Objects, Trial};
use crate::endpoint;

/// Builds the destination of a sync.
pub(crate) fn build(
    config: &DestinationConfig,
    problems: &mut Problems,
) -> Option<Arc<dyn Destination>> {
    let text = |name| config.settings.get(name).and_then(SettingValue::as_text);
    let secret = |name| {
        let secret = config.settings.get(name).and_then(SettingValue::as_secret);
        secret.map(|secret| secret.reveal().clone())
    };
    let format = Format::read(config, problems);
    let target = Target::read(config, &format, problems)?;
    let bucket = text("bucket").unwrap_or_default();
    let region = text("region").unwrap_or("us-east-1");
    let given = text("endpoint");
    let in_path = config
        .settings
        .get("path_style")
        .and_then(SettingValue::as_bool)
        .unwrap_or(given.is_some());
    let base = given.map_or_else(|| format!("https://s3.{region}.amazonaws.com"), Into::into);
    let base = endpoint::read(&base, problems)?;
    let root = root(base, (!in_path).then_some(bucket), problems)?;
    let service = Service::new(config, root.clone(), timeout(config), problems)?;
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(bucket)
        .with_region(region)
        .with_endpoint(root.as_str().trim_end_matches('/'))
        .with_virtual_hosted_style_request(!in_path)
        .with_allow_http(root.scheme() == "http")
        .with_access_key_id(secret("access_key_id").unwrap_or_default())
        .with_secret_access_key(secret("secret_access_key").unwrap_or_default())
        .with_retry(retries(timeout(config)))
        .with_http_connector(service.clone());
    if let Some(token) = secret("session_token") {
        builder = builder.with_token(token);
    }
    match builder.build() {
        Ok(store) => Some(Arc::new(Objects::new(
            config,
            Arc::new(store),
            service,
            format!("s3://{bucket}"),
            Trial::Upload,
            target,
            format,
        ))),
        Err(error) => {
            problems.add("settings", error.to_string(), "see the connector's page");
            None
        }
    }
}

/// The service's address, with the bucket in the host's name where it goes there.
fn root(mut base: Url, bucket: Option<&str>, problems: &mut Problems) -> Option<Url> {
    let Some(bucket) = bucket else {
        return Some(base);
    };
    let host = base.host_str().unwrap_or_default().to_owned();
    if base.set_host(Some(&format!("{bucket}.{host}"))).is_err() {
        problems.add(
            "settings.bucket",
            "the bucket's name can't be part of a host's name",
            "correct it, or say path_style: true",
        );
        return None;
    }
    Some(base)
}
