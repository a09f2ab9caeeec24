//! A text of a setting: fixed, secret, or made for each request from a template.
//!
//! A secret is taken as it is: what comes from the environment is never read as a template.

use rowcast_core::{Reason, Secret, SettingValue, Value};

/// One text.
#[derive(Clone, Debug)]
pub(super) enum Line {
    Fixed(String),
    Secret(Secret<String>),
}

impl Line {
    /// Reads a scalar setting.
    ///
    /// # Errors
    /// What is wrong with the template.
    pub(super) fn parse(value: &SettingValue) -> Result<Self, Reason> {
        match value {
            SettingValue::Secret(secret) => Ok(Self::Secret(secret.clone())),
            other => {
                let text = other.as_text().unwrap_or_default();
                if text.contains("{{") {
                    return Err(Reason::new(
                        rowcast_core::Code::ExpressionInvalid,
                        "templates are not available here yet",
                    ));
                }
                Ok(Self::Fixed(text.to_owned()))
            }
        }
    }

    /// The text for one request.
    ///
    /// # Errors
    /// Why the template failed for this record.
    #[expect(clippy::unnecessary_wraps, reason = "templates can fail")]
    pub(super) fn text(&self, _scope: &Value) -> Result<String, Reason> {
        match self {
            Self::Fixed(text) => Ok(text.clone()),
            Self::Secret(secret) => Ok(secret.reveal().clone()),
        }
    }

    /// The text of a URL path for one request: what a template puts in is percent-encoded.
    ///
    /// # Errors
    /// As `text`.
    pub(super) fn path(&self, scope: &Value) -> Result<String, Reason> {
        self.text(scope)
    }

    /// Whether it must not be shown.
    pub(super) fn is_secret(&self) -> bool {
        matches!(self, Self::Secret(_))
    }

    /// Whether it differs by record, so that records can't share a request.
    #[expect(clippy::unused_self, reason = "templates differ by record")]
    pub(super) fn names_record(&self) -> bool {
        false
    }
}

impl Line {
    /// Whether a path does not begin with `/` as written.
    #[expect(clippy::unused_self, reason = "only templates can")]
    pub(super) fn begins_elsewhere(&self) -> bool {
        false
    }

    /// Whether a template left a segment of the path empty.
    pub(super) fn has_empty_segment(&self, path: &str) -> bool {
        let _ = path;
        false
    }
}
