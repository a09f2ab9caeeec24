//! `azure_blob`: block blobs in a container of Azure Blob Storage.

use rowcast_core::Descriptor;
use rowcast_core::descriptor::{Setting, SettingKind};
use rowcast_core::record::Operation;
use rowcast_destinations::format;

/// What the connector says of itself.
pub(crate) fn descriptor() -> Descriptor {
    let mut settings = vec![
        Setting::required("account", SettingKind::Text, "The storage account's name.")
            .example("acmeexports"),
        Setting::required(
            "container",
            SettingKind::Text,
            "The container. It must exist.",
        )
        .example("exports"),
        Setting::required(
            "auth",
            SettingKind::OneOf(vec![
                Setting::optional(
                    "account_key",
                    SettingKind::Secret,
                    "One of the account's two keys.",
                ),
                Setting::optional(
                    "sas_token",
                    SettingKind::Secret,
                    "A shared access signature for the container, with the rights to read, create, write and list.",
                ),
            ]),
            "How to log in.",
        )
        .example("{ account_key: \"${env:AZURE_STORAGE_KEY}\" }"),
        Setting::optional(
            "endpoint",
            SettingKind::Text,
            "The service's address, for other clouds and emulators. Without it, `https://ACCOUNT.blob.core.windows.net`.",
        ),
    ];
    settings.extend(format::target::settings(
        "The blob's name in the container. `{{ sync }}`, `{{ object }}`, `{{ run }}`, `{{ part }}` and the run's start in UTC as `{{ date }}`, `{{ year }}`, `{{ month }}`, `{{ day }}` and `{{ hour }}` are filled in.",
        "\"customers/date={{ date }}/{{ sync }}-{{ run }}.jsonl\"",
    ));
    settings.extend(format::settings());
    Descriptor {
        name: "azure_blob",
        title: "Azure Blob Storage",
        summary: "Writes each run's changes to a blob in a container, as JSON lines, CSV or \
                  Parquet. The blob appears whole when the run succeeds; a failed or cancelled run \
                  leaves none.",
        settings,
        request: Vec::new(),
        operations: Operation::ALL.to_vec(),
        object_required: false,
        object_help: "a name for the path",
        objects: Vec::new(),
        logs_changes: true,
    }
}

#[cfg(feature = "azure_blob")]
mod build;

#[cfg(feature = "azure_blob")]
pub(crate) use self::build::build;
