//! What a connector says of itself: the one description behind validation, the reference page,
//! the editor schema and the example file.

use crate::record::Operation;

/// The kind of a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SettingKind {
    Text,
    /// Never printed; must come from `${env:…}` or `${file:…}` in shared projects.
    Secret,
    Integer,
    Boolean,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// `30s`, `10m`.
    Duration,
    /// `500KB`, `1MB`.
    Size,
    /// A mapping with these members.
    Group(Vec<Setting>),
    /// A mapping with exactly one of these members.
    OneOf(Vec<Setting>),
    /// A list of text.
    TextList,
    /// A list of values of one kind.
    List(Box<SettingKind>),
    /// Free names to values of one kind (headers).
    Map(Box<SettingKind>),
    /// A tree of mappings, lists and text that may hold `{{ … }}` templates.
    Tree,
    /// One of several forms (a word or a group).
    Either(Vec<SettingKind>),
}

/// One setting of a connector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    pub name: &'static str,
    pub kind: SettingKind,
    pub required: bool,
    pub help: &'static str,
    /// As YAML text.
    pub default: Option<&'static str>,
    /// As YAML text.
    pub example: Option<&'static str>,
}

impl Setting {
    /// An optional setting.
    pub fn optional(name: &'static str, kind: SettingKind, help: &'static str) -> Self {
        Self {
            name,
            kind,
            required: false,
            help,
            default: None,
            example: None,
        }
    }

    /// A required setting.
    pub fn required(name: &'static str, kind: SettingKind, help: &'static str) -> Self {
        Self {
            name,
            kind,
            required: true,
            help,
            default: None,
            example: None,
        }
    }

    /// With a default, as YAML text.
    #[must_use]
    pub fn default(mut self, default: &'static str) -> Self {
        self.default = Some(default);
        self
    }

    /// With an example, as YAML text.
    #[must_use]
    pub fn example(mut self, example: &'static str) -> Self {
        self.example = Some(example);
        self
    }
}

/// One object of a connector that knows its objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectDescription {
    /// The word after `object:`; `*` stands for every name that has no description of its own.
    pub name: &'static str,
    pub title: &'static str,
    pub help: &'static str,
    /// What can be asked for: a part of the connector's operations.
    pub operations: Vec<Operation>,
    /// Fields a record may be matched by, one at a time; empty means any.
    pub match_on: Vec<&'static str>,
    pub fields: Vec<FieldDescription>,
    /// Fields without a description are taken too.
    pub any_field: bool,
}

/// One field of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldDescription {
    pub name: &'static str,
    /// The service's own word: `string`, `email`, `number`.
    pub type_name: &'static str,
    /// Inserts and upserts without it are refused.
    pub required: bool,
    pub help: &'static str,
}

impl Descriptor {
    /// The description of an object, by its own name or by `*`.
    pub fn object(&self, name: &str) -> Option<&ObjectDescription> {
        let named = |wanted: &str| self.objects.iter().find(|object| object.name == wanted);
        named(name).or_else(|| named("*"))
    }
}

/// Everything there is to know about a connector before it is configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor {
    /// The word after `connector:`.
    pub name: &'static str,
    pub title: &'static str,
    /// One paragraph.
    pub summary: &'static str,
    pub settings: Vec<Setting>,
    /// Settings under `request:` of a sync, where the connector takes them.
    pub request: Vec<Setting>,
    /// Operations it can do, if its settings allow them.
    pub operations: Vec<Operation>,
    /// Whether a sync must name an `object:`.
    pub object_required: bool,
    /// What `object` means here: `table`, `file`.
    pub object_help: &'static str,
    /// The objects, where the connector knows them before it is asked; empty means any.
    pub objects: Vec<ObjectDescription>,
    /// It writes down changes, run by run, and holds no records that two syncs could fight over.
    pub logs_changes: bool,
}
