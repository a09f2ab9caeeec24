//! A text of a setting: fixed, secret, or made for each request from a template.
//!
//! A secret is taken as it is: what comes from the environment is never read as a template.

use std::sync::Arc;

use rowcast_core::json::push_text;
use rowcast_core::mapping::template::{Template, TemplateTree, is_template};
use rowcast_core::{Code, Name, Reason, Secret, SettingValue, Value};

/// What a template of a destination may name.
const NAMES: [&str; 4] = ["record", "sync", "run", "operation"];

/// One text.
#[derive(Clone, Debug)]
pub(super) enum Line {
    Fixed(String),
    Secret(Secret<String>),
    Template(Arc<Template>),
}

impl Line {
    /// Reads a scalar setting.
    ///
    /// # Errors
    /// What is wrong with the template.
    pub(super) fn parse(value: &SettingValue) -> Result<Self, Reason> {
        if let SettingValue::Secret(secret) = value {
            return Ok(Self::Secret(secret.clone()));
        }
        let text = value.as_text().unwrap_or_default();
        if !is_template(text) {
            return Ok(Self::Fixed(text.to_owned()));
        }
        let template = Template::compile(text)?;
        known(template.columns())?;
        Ok(Self::Template(Arc::new(template)))
    }

    /// The text for one request.
    ///
    /// # Errors
    /// Why the template failed for this record.
    pub(super) fn text(&self, scope: &Value) -> Result<String, Reason> {
        match self {
            Self::Fixed(text) => Ok(text.clone()),
            Self::Secret(secret) => Ok(secret.reveal().clone()),
            Self::Template(template) => template.render(scope, &|value, out| {
                push_text(out, value);
                Ok(())
            }),
        }
    }

    /// The text of a URL path for one request: what a template puts in is percent-encoded, and can
    /// be neither empty nor climb.
    ///
    /// # Errors
    /// As `text`.
    pub(super) fn path(&self, scope: &Value) -> Result<String, Reason> {
        match self {
            Self::Template(template) => template.evaluate_url_path(scope),
            other => other.text(scope),
        }
    }

    /// Whether a path begins with `/` as written, so that no value can change the host.
    pub(super) fn begins_with_slash(&self) -> bool {
        match self {
            Self::Fixed(text) => text.starts_with('/'),
            Self::Secret(secret) => secret.reveal().starts_with('/'),
            Self::Template(template) => template.source().starts_with('/'),
        }
    }

    /// Whether it must not be shown.
    pub(super) fn is_secret(&self) -> bool {
        matches!(self, Self::Secret(_))
    }

    /// Whether it is made for each request.
    pub(super) fn is_template(&self) -> bool {
        matches!(self, Self::Template(_))
    }

    /// Whether it differs by record, so that records can't share a request.
    pub(super) fn names_record(&self) -> bool {
        match self {
            Self::Template(template) => template.columns().iter().any(|name| &**name == "record"),
            _ => false,
        }
    }
}

/// Compiles a body that is a tree; adds the secrets in it to `secrets`.
///
/// # Errors
/// What is wrong with which leaf.
pub(super) fn tree(
    tree: &SettingValue,
    secrets: &mut Vec<Secret<String>>,
) -> Result<Arc<TemplateTree>, Reason> {
    let compiled = TemplateTree::compile(&value_of(tree, secrets)?)?;
    known(compiled.columns())?;
    Ok(Arc::new(compiled))
}

fn known(names: &[Name]) -> Result<(), Reason> {
    match names.iter().find(|name| !NAMES.contains(&&***name)) {
        None => Ok(()),
        Some(name) => Err(Reason::new(
            Code::ExpressionInvalid,
            format!("{name} is not known in a request"),
        )
        .hint(format!(
            "a request knows {}; a column is {{{{ record.fields.… }}}} or {{{{ record.key.… }}}}",
            NAMES.join(", ")
        ))),
    }
}

fn value_of(setting: &SettingValue, secrets: &mut Vec<Secret<String>>) -> Result<Value, Reason> {
    Ok(match setting {
        SettingValue::Null => Value::Null,
        SettingValue::Bool(value) => Value::Bool(*value),
        SettingValue::Number(text) => match text.parse::<i64>() {
            Ok(value) => Value::Int(value),
            Err(_) => Value::Decimal(text.as_str().into()),
        },
        SettingValue::Text(text) => Value::from(text.as_str()),
        SettingValue::Secret(secret) => {
            if ["{{", "{%", "{#"]
                .iter()
                .any(|mark| secret.reveal().contains(mark))
            {
                return Err(Reason::new(
                    Code::ExpressionInvalid,
                    "a secret in a body can't hold {{, {% or {#",
                )
                .hint("send it in a header"));
            }
            secrets.push(secret.clone());
            Value::from(secret.reveal().as_str())
        }
        SettingValue::List(items) => Value::List(
            items
                .iter()
                .map(|item| value_of(item, secrets))
                .collect::<Result<_, _>>()?,
        ),
        SettingValue::Map(members) => Value::Object(
            members
                .iter()
                .map(|(name, value)| Ok((name.as_str().into(), value_of(value, secrets)?)))
                .collect::<Result<_, Reason>>()?,
        ),
    })
}
