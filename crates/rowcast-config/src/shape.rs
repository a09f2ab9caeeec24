//! The language in which documents are described, once: strict reading, "did you mean", the
//! editor's JSON Schema and the reference page all come from these tables.

use rowcast_core::{Setting, SettingKind};

/// The form of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shape {
    /// Text that may come from the environment or a file; then it is secret.
    Text,
    /// Text that is never secret: names of columns, SQL, descriptions.
    Plain,
    /// A credential: masked wherever it could be shown.
    Secret,
    /// The name of the document itself: its file's stem.
    OwnName,
    /// The name of another object.
    Reference(Kind),
    /// A whole number within these bounds.
    Integer {
        min: u64,
        max: u64,
    },
    Boolean,
    /// One of these words.
    Choice(Vec<&'static str>),
    /// `30s`, `10m`.
    Duration,
    /// A duration above zero.
    Period,
    /// `500KB`, `1MB`.
    Size,
    /// `10%`.
    Percent,
    /// An IANA time zone: `Europe/Paris`.
    TimeZone,
    /// `09:30`.
    TimeOfDay,
    /// `2024-02-29T12:00:00Z`.
    Timestamp,
    /// Minute, hour, day of month, month, day of week.
    Cron,
    /// `10.0.0.0/8`.
    Addresses,
    /// An SSH server's own key or its fingerprint.
    HostKey,
    List(Box<Shape>),
    /// A mapping with these keys and no others.
    Group(Vec<Key>),
    /// A mapping with exactly one of these keys.
    OneOf(Vec<Key>),
    /// Free names to values of one shape.
    Map(Box<Shape>),
    /// A tree of mappings, lists and scalars that others read.
    Tree,
    /// A tree that may not hold secrets, because what it makes is shown and sent.
    ClearTree,
    /// One of several forms.
    Either(Vec<Shape>),
}

/// One key of a mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    pub name: &'static str,
    pub shape: Shape,
    pub required: bool,
    /// One sentence, without a full stop.
    pub help: &'static str,
    /// As YAML text.
    pub default: Option<&'static str>,
    /// As YAML text.
    pub example: Option<&'static str>,
}

impl Key {
    /// An optional key.
    pub(crate) fn optional(name: &'static str, shape: Shape, help: &'static str) -> Self {
        Self {
            name,
            shape,
            required: false,
            help,
            default: None,
            example: None,
        }
    }

    /// A required key.
    pub(crate) fn required(name: &'static str, shape: Shape, help: &'static str) -> Self {
        Self {
            required: true,
            ..Self::optional(name, shape, help)
        }
    }

    /// With a default, as YAML text.
    pub(crate) fn default(mut self, default: &'static str) -> Self {
        self.default = Some(default);
        self
    }

    /// With an example, as YAML text.
    pub(crate) fn example(mut self, example: &'static str) -> Self {
        self.example = Some(example);
        self
    }
}

/// The kinds of document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Project,
    Source,
    Model,
    Destination,
    Sync,
    Environment,
    Test,
    Connector,
}

impl Kind {
    /// All kinds, in the order of the documentation.
    pub const ALL: [Self; 8] = [
        Self::Project,
        Self::Source,
        Self::Model,
        Self::Destination,
        Self::Sync,
        Self::Environment,
        Self::Test,
        Self::Connector,
    ];

    /// The word: the key that names the object, and what messages call it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Project => "project",
            Self::Source => "source",
            Self::Model => "model",
            Self::Destination => "destination",
            Self::Sync => "sync",
            Self::Environment => "environment",
            Self::Test => "test",
            Self::Connector => "connector",
        }
    }

    /// The folder its files live in; the project file stands at the top.
    pub fn folder(self) -> &'static str {
        match self {
            Self::Project => "",
            Self::Source => "sources",
            Self::Model => "models",
            Self::Destination => "destinations",
            Self::Sync => "syncs",
            Self::Environment => "environments",
            Self::Test => "tests",
            Self::Connector => "connectors",
        }
    }
}

/// A connector's settings in the same language, so that they are checked and documented alike.
pub(crate) fn keys_of(settings: &[Setting]) -> Vec<Key> {
    settings
        .iter()
        .map(|setting| Key {
            name: setting.name,
            shape: shape_of(&setting.kind),
            required: setting.required,
            help: setting.help,
            default: setting.default,
            example: setting.example,
        })
        .collect()
}

fn shape_of(kind: &SettingKind) -> Shape {
    match kind {
        SettingKind::Text => Shape::Text,
        SettingKind::Secret => Shape::Secret,
        SettingKind::Integer => Shape::Integer {
            min: 0,
            max: u64::MAX,
        },
        SettingKind::Boolean => Shape::Boolean,
        SettingKind::Choice(words) => Shape::Choice(words.to_vec()),
        SettingKind::Duration => Shape::Duration,
        SettingKind::Size => Shape::Size,
        SettingKind::Group(members) => Shape::Group(keys_of(members)),
        SettingKind::OneOf(members) => Shape::OneOf(keys_of(members)),
        SettingKind::TextList => Shape::List(Box::new(Shape::Text)),
        SettingKind::List(kind) => Shape::List(Box::new(shape_of(kind))),
        SettingKind::Map(kind) => Shape::Map(Box::new(shape_of(kind))),
        SettingKind::Tree => Shape::Tree,
        SettingKind::Either(kinds) => Shape::Either(kinds.iter().map(shape_of).collect()),
    }
}

/// What a value of this shape is called in messages and tables.
pub(crate) fn describe(shape: &Shape) -> String {
    match shape {
        Shape::Text | Shape::Plain => "text".into(),
        Shape::Secret => "a secret such as ${env:NAME}".into(),
        Shape::OwnName => "the file's name".into(),
        Shape::Reference(kind) => format!("the name of a {}", kind.as_str()),
        Shape::Integer { min, max } => match (*min, *max) {
            (0, u64::MAX) => "a whole number".into(),
            (min, u64::MAX) => format!("a whole number of at least {min}"),
            (min, max) if min == max => format!("the number {min}"),
            (min, max) => format!("a whole number from {min} to {max}"),
        },
        Shape::Boolean => "true or false".into(),
        Shape::Choice(words) => list_words(words, "or"),
        Shape::Duration | Shape::Period => "a duration such as 30s, 10m, 3h or 14d".into(),
        Shape::Size => "a size such as 500KB or 1MB".into(),
        Shape::Percent => "a percentage such as 10%".into(),
        Shape::TimeZone => "a time zone such as Europe/Paris".into(),
        Shape::TimeOfDay => "a time of day such as \"09:30\"".into(),
        Shape::Timestamp => "an instant such as 2024-02-29T12:00:00Z".into(),
        Shape::Cron => "a cron expression such as \"0 6 * * 1-5\"".into(),
        Shape::Addresses => "an address range such as 10.0.0.0/8".into(),
        Shape::HostKey => "a host key or its SHA256 fingerprint".into(),
        Shape::List(item) => match item.as_ref() {
            Shape::Text | Shape::Plain => "a list of text".into(),
            Shape::Choice(words) => format!("a list of {}", list_words(words, "or")),
            Shape::Reference(kind) => format!("a list of names of {}s", kind.as_str()),
            Shape::Group(_) | Shape::OneOf(_) => "a list of mappings".into(),
            Shape::Tree | Shape::ClearTree => "a list".into(),
            Shape::Map(_) => "a list of mappings".into(),
            item => format!("a list of {}", describe(item)),
        },
        Shape::Group(keys) => {
            let names: Vec<&str> = keys.iter().map(|key| key.name).collect();
            format!("a mapping with {}", list_words(&names, "and"))
        }
        Shape::OneOf(keys) => {
            let names: Vec<&str> = keys.iter().map(|key| key.name).collect();
            format!("a mapping with one of {}", list_words(&names, "or"))
        }
        Shape::Map(value) => format!("a mapping of names to {}", plural(value)),
        Shape::Tree | Shape::ClearTree => "a mapping, list or text".into(),
        Shape::Either(shapes) => {
            let shapes: Vec<String> = shapes.iter().map(describe).collect();
            shapes.join(", or ")
        }
    }
}

fn plural(shape: &Shape) -> String {
    match shape {
        Shape::Group(_) | Shape::OneOf(_) | Shape::Map(_) => "mappings".into(),
        Shape::Tree | Shape::ClearTree => "values".into(),
        shape => describe(shape),
    }
}

/// `a, b or c`.
pub(crate) fn list_words(words: &[&str], last: &str) -> String {
    match words {
        [] => String::new(),
        [word] => (*word).to_owned(),
        [start @ .., end] => format!("{} {last} {end}", start.join(", ")),
    }
}
