//! A YAML file as a tree that remembers where everything stands.
//!
//! One document a file, string keys, no duplicate keys, no tags, no aliases (so an alias bomb
//! can't be written at all). `no` is text; only `true` and `false` are booleans. The reader must
//! never panic, whatever the text.

use std::sync::Arc;

use rowcast_core::Code;
use serde_saphyr::granit_parser::{Event, Parser, ScalarStyle, Span};

use crate::problem::{File, Location, Problem, reason};

/// A node and its place.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) yaml: Yaml,
    pub(crate) at: Location,
}

#[derive(Clone, Debug)]
pub(crate) enum Yaml {
    Null,
    Scalar(Scalar),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A scalar that is not null.
#[derive(Clone)]
pub(crate) struct Scalar {
    pub(crate) text: String,
    /// Written without quotes, so that it may be a number or a boolean.
    pub(crate) plain: bool,
    /// Holds something from the environment or a secret file.
    pub(crate) secret: bool,
    /// Still holds its placeholder, because secrets were not asked for.
    pub(crate) unresolved: bool,
    /// The path, when the whole scalar is one `${file:…}`.
    pub(crate) from_file: Option<String>,
    /// Came over the network: what is secret may only be a placeholder.
    pub(crate) guarded: bool,
}

impl std::fmt::Debug for Scalar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.secret { "***" } else { &self.text })
    }
}

/// A key with its value.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_at: Location,
    pub(crate) value: Node,
}

impl Node {
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        self.entries()
            .iter()
            .find(|entry| entry.key == key)
            .map(|entry| &entry.value)
    }

    pub(crate) fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.key == key)
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        match &self.yaml {
            Yaml::Map(entries) => entries,
            _ => &[],
        }
    }

    pub(crate) fn items(&self) -> &[Node] {
        match &self.yaml {
            Yaml::List(items) => items,
            _ => &[],
        }
    }

    pub(crate) fn scalar(&self) -> Option<&Scalar> {
        match &self.yaml {
            Yaml::Scalar(scalar) => Some(scalar),
            _ => None,
        }
    }

    pub(crate) fn text(&self) -> Option<&str> {
        self.scalar().map(|scalar| scalar.text.as_str())
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self.yaml, Yaml::Null)
    }

    /// What was found, for messages; never a secret's text.
    pub(crate) fn found(&self) -> String {
        match &self.yaml {
            Yaml::Null => "nothing".into(),
            Yaml::List(_) => "a list".into(),
            Yaml::Map(_) => "a mapping".into(),
            Yaml::Scalar(scalar) if scalar.secret => {
                "a value from the environment or a file".into()
            }
            Yaml::Scalar(scalar) if scalar.as_bool().is_some() => {
                format!("the boolean {}", scalar.text)
            }
            Yaml::Scalar(scalar) if scalar.is_number() => format!("the number {}", scalar.text),
            Yaml::Scalar(scalar) => format!("\"{}\"", shorten(&scalar.text)),
        }
    }

    /// Visits every scalar.
    pub(crate) fn for_each_scalar(&mut self, visit: &mut dyn FnMut(&mut Scalar, &Location)) {
        match &mut self.yaml {
            Yaml::Null => {}
            Yaml::Scalar(scalar) => visit(scalar, &self.at),
            Yaml::List(items) => items.iter_mut().for_each(|n| n.for_each_scalar(visit)),
            Yaml::Map(entries) => entries
                .iter_mut()
                .for_each(|entry| entry.value.for_each_scalar(visit)),
        }
    }
}

fn shorten(text: &str) -> String {
    const LONGEST: usize = 60;
    let line = text.lines().next().unwrap_or_default();
    if line.chars().count() > LONGEST || line.len() < text.trim_end().len() {
        let start: String = line.chars().take(LONGEST).collect();
        format!("{start}…")
    } else {
        line.to_owned()
    }
}

impl Scalar {
    pub(crate) fn as_bool(&self) -> Option<bool> {
        match self.text.as_str() {
            "true" if self.plain => Some(true),
            "false" if self.plain => Some(false),
            _ => None,
        }
    }

    pub(crate) fn is_number(&self) -> bool {
        self.plain && rowcast_core::json::is_json_number(&self.text)
    }
}

/// A file with more than these is not what its author thinks; nobody reads on.
const SYNTAX_PROBLEMS_MAX: usize = 50;

/// Reads one file. `None` when nothing usable was found; the problems say why.
pub(crate) fn read(file: &Arc<File>, problems: &mut Vec<Problem>) -> Option<Node> {
    let mut reader = Reader {
        parser: Parser::new_from_str(&file.text),
        file,
        problems,
        syntax_problems: 0,
    };
    reader.document()
}

struct Reader<'a, 'p> {
    parser: Parser<'a, serde_saphyr::granit_parser::StrInput<'a>>,
    file: &'a Arc<File>,
    problems: &'p mut Vec<Problem>,
    syntax_problems: usize,
}

/// The parser stopped; the problem is already noted.
struct Stopped;

impl<'a> Reader<'a, '_> {
    fn document(&mut self) -> Option<Node> {
        let mut root = None;
        loop {
            match self.next() {
                Err(Stopped) => return None,
                Ok((Event::StreamEnd, _)) => break,
                Ok((Event::DocumentStart(..), span)) if root.is_some() => {
                    let at = self.location(span);
                    self.syntax(
                        &at,
                        "a file holds one YAML document",
                        "move what follows `---` to its own file",
                    );
                    return root;
                }
                Ok((
                    event @ (Event::Scalar(..)
                    | Event::SequenceStart(..)
                    | Event::MappingStart(..)
                    | Event::Alias(_)),
                    span,
                )) => {
                    let mut node = self.node(event, span).ok()?;
                    self.name_null(&mut node);
                    root = Some(node);
                }
                Ok(_) => {}
            }
        }
        if root.is_none() {
            let at = Location::new(self.file, 1, 1, 1);
            self.syntax(
                &at,
                "the file is empty",
                "write the object's keys, or remove the file",
            );
        }
        root
    }

    /// A connector is called `null`, which in YAML is no value: where the document names its
    /// connector, the bare word is the name.
    fn name_null(&self, root: &mut Node) {
        const WORD: &str = "null";
        let Yaml::Map(entries) = &mut root.yaml else {
            return;
        };
        for entry in entries.iter_mut().filter(|entry| entry.key == "connector") {
            let at = &entry.value.at;
            let mut lines = self.file.text.lines();
            let written = lines.nth(at.line().saturating_sub(1)).is_some_and(|line| {
                let rest = line.chars().skip(at.column().saturating_sub(1));
                rest.take(WORD.len()).eq(WORD.chars())
            });
            if entry.value.is_null() && written {
                entry.value.yaml = Yaml::Scalar(Scalar {
                    text: WORD.to_owned(),
                    plain: false,
                    secret: false,
                    unresolved: false,
                    from_file: None,
                    guarded: false,
                });
            }
        }
    }

    fn next(&mut self) -> Result<(Event<'a>, Span), Stopped> {
        loop {
            match self.parser.next_event() {
                Some(Ok((Event::Comment(..) | Event::Anchor(..), _))) => {}
                Some(Ok(event)) => return Ok(event),
                None => return Ok((Event::StreamEnd, Span::default())),
                Some(Err(error)) => {
                    let mark = error.marker();
                    let mut at = Location::new(self.file, mark.line(), mark.col() + 1, 1);
                    let mut reason =
                        reason(Code::YamlSyntax, "the file is not valid YAML").detail(error.info());
                    if let Some((line, column)) = self.tab_near(mark.line()) {
                        at = Location::new(self.file, line, column, 1);
                        reason = reason
                            .hint("indent with spaces: YAML does not allow tabs for indentation");
                    } else {
                        reason = reason.hint("look at the marked place and the line above it: a missing quote, colon or space");
                    }
                    self.problems.push(Problem::at(reason, &at));
                    return Err(Stopped);
                }
            }
        }
    }

    /// A tab in the indentation of this line or the next: the parser notices it late or early.
    fn tab_near(&self, line: usize) -> Option<(usize, usize)> {
        let lines = self.file.lines().enumerate();
        lines
            .skip(line.saturating_sub(1))
            .take(2)
            .find_map(|(i, text)| {
                let indent = &text[..text.len() - text.trim_start().len()];
                Some((i + 1, indent.chars().position(|c| c == '\t')? + 1))
            })
    }

    fn location(&self, span: Span) -> Location {
        let (start, end) = (span.start, span.end);
        let length = if start.line() == end.line() {
            end.col().saturating_sub(start.col())
        } else {
            let line = self.file.lines().nth(start.line().saturating_sub(1));
            line.map_or(1, |line| {
                line.trim_end().chars().count().saturating_sub(start.col())
            })
        };
        Location::new(self.file, start.line(), start.col() + 1, length)
    }

    fn syntax(&mut self, at: &Location, message: &str, hint: &str) {
        self.syntax_problems += 1;
        if self.syntax_problems <= SYNTAX_PROBLEMS_MAX {
            let reason = reason(Code::YamlSyntax, message).hint(hint);
            self.problems.push(Problem::at(reason, at));
        }
    }

    fn node(&mut self, event: Event<'a>, span: Span) -> Result<Node, Stopped> {
        let at = self.location(span);
        if event.tag().is_some() {
            self.syntax(
                &at,
                "a YAML tag (`!…`) has no meaning here",
                "remove it; put text that looks like a number in quotes",
            );
        }
        let yaml = match event {
            Event::Scalar(text, style, ..) => {
                let plain = style == ScalarStyle::Plain;
                if plain && matches!(text.as_ref(), "" | "~" | "null") {
                    Yaml::Null
                } else {
                    Yaml::Scalar(Scalar {
                        text: text.into_owned(),
                        plain,
                        secret: false,
                        unresolved: false,
                        from_file: None,
                        guarded: false,
                    })
                }
            }
            Event::SequenceStart(..) => Yaml::List(self.list()?),
            Event::MappingStart(..) => Yaml::Map(self.map()?),
            _ => {
                self.syntax(
                    &at,
                    "a YAML alias (`*…`) can't be used here",
                    "write the value out, or put shared values under `defaults:` in rowcast.yml",
                );
                Yaml::Null
            }
        };
        Ok(Node { yaml, at })
    }

    fn list(&mut self) -> Result<Vec<Node>, Stopped> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd | Event::StreamEnd, _) => return Ok(items),
                (event, span) => items.push(self.node(event, span)?),
            }
        }
    }

    fn map(&mut self) -> Result<Vec<Entry>, Stopped> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut seen: std::collections::HashMap<String, usize> = std::collections::HashMap::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::MappingEnd | Event::StreamEnd) {
                return Ok(entries);
            }
            let key = self.node(event, span)?;
            let (event, span) = self.next()?;
            let value = self.node(event, span)?;
            let Some(name) = key.text().map(str::to_owned) else {
                self.syntax(
                    &key.at,
                    "a key is text",
                    "write a name before the colon; put `null` or `~` in quotes if it is a name",
                );
                continue;
            };
            if let Some(line) = seen.get(&name) {
                let hint = format!("it is already set in line {line}; keep one of them");
                let message = format!("the key `{}` is there twice", shorten(&name));
                self.syntax(&key.at, &message, &hint);
                continue;
            }
            seen.insert(name.clone(), key.at.line());
            entries.push(Entry {
                key: name,
                key_at: key.at,
                value,
            });
        }
    }
}
