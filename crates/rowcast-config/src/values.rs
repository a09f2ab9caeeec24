//! From checked trees to typed values. What did not fit is already a problem and reads as absent.

use std::time::Duration;

use rowcast_core::settings::{parse_duration, parse_size};
use rowcast_core::{Secret, SettingValue, Value};

use crate::problem::Location;
use crate::project::{About, Positions, Text};
use crate::shape::{Key, Shape};
use crate::tree::{Node, Yaml};

impl Node {
    /// Text that is never secret: a secret was refused by the walker and must not travel on.
    pub(crate) fn string(&self, key: &str) -> Option<String> {
        let scalar = self.get(key)?.scalar()?;
        (!scalar.secret).then(|| scalar.text.clone())
    }

    /// One of a few words, which may come from the environment because it is no credential.
    pub(crate) fn word(&self, key: &str) -> Option<&str> {
        self.get(key)?.text()
    }

    /// Text that may be secret.
    pub(crate) fn maybe_secret(&self, key: &str) -> Option<Text> {
        self.get(key)?.as_maybe_secret()
    }

    pub(crate) fn as_maybe_secret(&self) -> Option<Text> {
        self.scalar()
            .map(|scalar| Text::new(&scalar.text, scalar.secret))
    }

    pub(crate) fn secret(&self, key: &str) -> Option<Secret<String>> {
        self.get(key)?.text().map(Secret::from)
    }

    pub(crate) fn bool(&self, key: &str) -> Option<bool> {
        self.get(key)?.text()?.parse().ok()
    }

    pub(crate) fn number<T: std::str::FromStr>(&self, key: &str) -> Option<T> {
        self.get(key)?.text()?.parse().ok()
    }

    pub(crate) fn duration(&self, key: &str) -> Option<Duration> {
        parse_duration(self.get(key)?.text()?)
    }

    pub(crate) fn size(&self, key: &str) -> Option<u64> {
        parse_size(self.get(key)?.text()?)
    }

    pub(crate) fn strings(&self, key: &str) -> Option<Vec<String>> {
        let node = self.get(key)?;
        matches!(node.yaml, Yaml::List(_)).then(|| {
            node.items()
                .iter()
                .filter_map(|item| item.scalar().filter(|scalar| !scalar.secret))
                .map(|scalar| scalar.text.clone())
                .collect()
        })
    }

    pub(crate) fn about(&self) -> About {
        About {
            description: self.string("description"),
            tags: self.strings("tags").unwrap_or_default(),
            owner: self.string("owner"),
            paused: self.bool("paused").unwrap_or(false),
        }
    }

    /// A tree without secrets, as the mapping reads it.
    pub(crate) fn value(&self) -> Value {
        match &self.yaml {
            Yaml::Null => Value::Null,
            // A secret here is refused by the walker; its text must not travel on.
            Yaml::Scalar(scalar) if scalar.secret => Value::Null,
            Yaml::Scalar(scalar) => match scalar.as_bool() {
                Some(value) => Value::Bool(value),
                None if scalar.is_number() => scalar
                    .text
                    .parse()
                    .map_or_else(|_| Value::Decimal(scalar.text.as_str().into()), Value::Int),
                None => Value::text(scalar.text.as_str()),
            },
            Yaml::List(items) => Value::List(items.iter().map(Node::value).collect()),
            Yaml::Map(entries) => Value::Object(
                entries
                    .iter()
                    .map(|entry| (entry.key.as_str().into(), entry.value.value()))
                    .collect(),
            ),
        }
    }

    /// A tree of settings. Where the shape says that a scalar can't be a credential (a number, a
    /// choice, a duration) it is read as what it is, even from the environment.
    pub(crate) fn setting(&self, shape: Option<&Shape>) -> SettingValue {
        match &self.yaml {
            Yaml::Null => SettingValue::Null,
            Yaml::Scalar(scalar) => {
                let shape = match shape {
                    Some(Shape::Either(shapes)) => shapes.iter().find(|shape| is_scalar(shape)),
                    shape => shape,
                };
                let secret = match shape {
                    Some(Shape::Secret) => true,
                    Some(
                        Shape::Integer { .. }
                        | Shape::Boolean
                        | Shape::Choice(_)
                        | Shape::Duration
                        | Shape::Period
                        | Shape::Size,
                    ) => scalar.unresolved,
                    _ => scalar.secret,
                };
                let as_secret_number =
                    scalar.secret && matches!(shape, Some(Shape::Integer { .. }));
                let as_secret_bool = scalar.secret && matches!(shape, Some(Shape::Boolean));
                if secret {
                    SettingValue::Secret(Secret::from(scalar.text.as_str()))
                } else if let Ok(value) = scalar.text.parse()
                    && (scalar.as_bool().is_some() || as_secret_bool)
                {
                    SettingValue::Bool(value)
                } else if scalar.is_number() || as_secret_number {
                    SettingValue::Number(scalar.text.clone())
                } else {
                    SettingValue::Text(scalar.text.clone())
                }
            }
            Yaml::List(items) => {
                let item_shape = find(shape, &|shape| match shape {
                    Shape::List(item) => Some(item.as_ref()),
                    _ => None,
                });
                SettingValue::List(items.iter().map(|item| item.setting(item_shape)).collect())
            }
            Yaml::Map(entries) => SettingValue::Map(
                entries
                    .iter()
                    .map(|entry| {
                        let shape = find(shape, &|shape| member(shape, &entry.key));
                        (entry.key.clone(), entry.value.setting(shape))
                    })
                    .collect(),
            ),
        }
    }

    /// Settings against a connector's keys.
    pub(crate) fn settings(&self, keys: Option<&[Key]>) -> SettingValue {
        let shape = keys.map(|keys| Shape::Group(keys.to_vec()));
        self.setting(shape.as_ref())
    }

    pub(crate) fn positions(&self) -> Positions {
        let mut positions = Positions::default();
        self.collect_positions("", &self.at, &mut positions);
        positions
    }

    fn collect_positions(&self, path: &str, at: &Location, positions: &mut Positions) {
        positions.0.insert(path.to_owned(), at.clone());
        for (i, item) in self.items().iter().enumerate() {
            item.collect_positions(&format!("{path}[{i}]"), &item.at, positions);
        }
        for entry in self.entries() {
            // A mapping starts at its first key; the key above it is the better place to point at.
            let at = match entry.value.yaml {
                Yaml::Scalar(_) => &entry.value.at,
                _ => &entry.key_at,
            };
            let path = crate::walk::join(path, &entry.key);
            entry.value.collect_positions(&path, at, positions);
        }
    }
}

fn is_scalar(shape: &Shape) -> bool {
    !matches!(
        shape,
        Shape::Group(_) | Shape::OneOf(_) | Shape::Map(_) | Shape::List(_)
    )
}

fn find<'s>(
    shape: Option<&'s Shape>,
    part: &dyn Fn(&'s Shape) -> Option<&'s Shape>,
) -> Option<&'s Shape> {
    match shape? {
        Shape::Either(shapes) => shapes.iter().find_map(part),
        shape => part(shape),
    }
}

fn member<'s>(shape: &'s Shape, name: &str) -> Option<&'s Shape> {
    match shape {
        Shape::Group(keys) | Shape::OneOf(keys) => keys
            .iter()
            .find(|key| key.name == name)
            .map(|key| &key.shape),
        Shape::Map(value) => Some(value),
        _ => None,
    }
}
