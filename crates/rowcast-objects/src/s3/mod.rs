//! `s3`: objects in Amazon S3 and in whatever speaks its interface.

use rowcast_core::Descriptor;
use rowcast_core::descriptor::{Setting, SettingKind};
use rowcast_core::record::Operation;
use rowcast_destinations::format;

/// What the connector says of itself.
pub(crate) fn descriptor() -> Descriptor {
    let mut settings = vec![
        Setting::required("bucket", SettingKind::Text, "The bucket. It must exist.")
            .example("acme-exports"),
        Setting::optional(
            "region",
            SettingKind::Text,
            "The bucket's region, which signatures name too.",
        )
        .default("us-east-1")
        .example("eu-central-1"),
        Setting::optional(
            "endpoint",
            SettingKind::Text,
            "The service's address, for services that speak the interface of S3. Without it, Amazon's for the region.",
        )
        .example("https://storage.googleapis.com"),
        Setting::optional(
            "path_style",
            SettingKind::Boolean,
            "Whether the bucket stands in the path and not in the host's name. By default it does with an `endpoint`.",
        ),
        Setting::required(
            "access_key_id",
            SettingKind::Secret,
            "The access key's id.",
        )
        .example("${env:S3_ACCESS_KEY_ID}"),
        Setting::required(
            "secret_access_key",
            SettingKind::Secret,
            "The access key's secret.",
        )
        .example("${env:S3_SECRET_ACCESS_KEY}"),
        Setting::optional(
            "session_token",
            SettingKind::Secret,
            "The token of temporary credentials.",
        ),
    ];
    settings.extend(format::target::settings(
        "The object's name in the bucket. `{{ sync }}`, `{{ object }}`, `{{ run }}`, `{{ part }}` and the run's start in UTC as `{{ date }}`, `{{ year }}`, `{{ month }}`, `{{ day }}` and `{{ hour }}` are filled in.",
        "\"customers/date={{ date }}/{{ sync }}-{{ run }}.jsonl\"",
    ));
    settings.extend(format::settings());
    Descriptor {
        name: "s3",
        title: "Amazon S3 and compatible stores",
        summary: "Writes each run's changes to an object in a bucket, as JSON lines, CSV or \
                  Parquet. The object appears whole when the run succeeds; a failed or cancelled \
                  run leaves none.",
        settings,
        request: Vec::new(),
        operations: Operation::ALL.to_vec(),
        object_required: false,
        object_help: "a name for the path",
        objects: Vec::new(),
        logs_changes: true,
    }
}

#[cfg(feature = "s3")]
mod build;

#[cfg(feature = "s3")]
pub(crate) use self::build::build;
