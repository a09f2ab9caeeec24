//! A Segment mapping as the mapping of a sync: evaluated on Segment's row event.

use std::collections::BTreeMap;

use super::event::{Occasion, row_event};
use super::reads::Reads;
use super::{Mapping, Problem};
use crate::change::Kind;
use crate::code::Code;
use crate::fault::Reason;
use crate::json::{push_string, push_value};
use crate::mapping::{CompileInput, FieldMapping, Mapper, MappingProblem};
use crate::record::RunContext;
use crate::row::{Row, Schema};
use crate::value::{Name, Object, Value};

/// What a mapping of a sync is made from.
#[derive(Debug, Clone, Copy)]
pub struct SegmentInput<'a> {
    /// Without reserved keys: see [`super::controls::split`].
    pub mapping: &'a Value,
    /// Destination field -> column; without it the primary key is the identity.
    pub match_on: Option<&'a Value>,
    /// Names of the primary key columns.
    pub key_columns: &'a [Name],
    /// The model's columns, when they are known: a mapping that reads the whole row needs them.
    pub schema: Option<&'a Schema>,
    /// Columns whose values never appear in an error.
    pub sensitive: &'a [Name],
}

/// A Segment mapping behind the seam of [`Mapper`].
#[derive(Debug)]
pub struct SegmentMapping {
    mapping: Mapping,
    identity: FieldMapping,
    /// Columns of the row event; `None`: all, and the model's are not known.
    properties: Option<Vec<Name>>,
    columns: Vec<Name>,
    digests: BTreeMap<String, String>,
    /// Values of such columns could stand in the words of a failure.
    hides: bool,
}

impl SegmentMapping {
    /// Compiles a mapping and the identity beside it.
    ///
    /// # Errors
    /// Every problem of both.
    pub fn compile(input: SegmentInput<'_>) -> Result<Self, Vec<MappingProblem>> {
        let nothing = Value::Object(Object::new());
        let identity = FieldMapping::compile(CompileInput {
            fields: &nothing,
            match_on: input.match_on,
            key_columns: input.key_columns,
            schema: input.schema,
            sensitive: input.sensitive,
        });
        let mapping = Mapping::new(input.mapping.clone());
        let (mapping, identity) = match (mapping, identity) {
            (Ok(mapping), Ok(identity)) => (mapping, identity),
            (mapping, identity) => {
                let mut problems = identity.err().unwrap_or_default();
                problems.extend(mapping.err().unwrap_or_default().iter().map(problem));
                return Err(problems);
            }
        };
        let reads = mapping.reads();
        let properties = properties(&reads, input.schema)?;
        let mut digests = digests(input.mapping);
        digests.extend(identity.digests());
        if reads.all {
            // A column that comes to such a row changes its record.
            for name in properties.iter().flatten() {
                digests.insert(format!("mapping column:{name}"), String::new());
            }
        }
        let mut columns = properties.clone().unwrap_or_default();
        for name in identity.columns() {
            if !columns.contains(&name) {
                columns.push(name);
            }
        }
        Ok(Self {
            hides: columns.iter().any(|name| input.sensitive.contains(name)),
            mapping,
            identity,
            properties,
            columns,
            digests,
        })
    }
}

impl Mapper for SegmentMapping {
    fn columns(&self) -> Vec<Name> {
        self.columns.clone()
    }

    fn digests(&self) -> BTreeMap<String, String> {
        self.digests.clone()
    }

    fn fields(&self, row: &Row, context: &RunContext) -> Result<Object, Reason> {
        let occasion = Occasion {
            kind: Kind::Added,
            key: None,
            row: Some(row),
        };
        self.fields_at(&occasion, context)
    }

    fn match_on(&self, row: &Row, context: &RunContext) -> Result<Object, Reason> {
        self.identity.match_on(row, context)
    }

    fn looks_at_changes(&self) -> bool {
        true
    }

    fn fields_at(&self, occasion: &Occasion<'_>, context: &RunContext) -> Result<Object, Reason> {
        let event = row_event(occasion, self.properties.as_deref(), context.started_at);
        let failed = |detail: String| {
            Reason::new(Code::ExpressionFailed, "mapping: it failed for the row").detail(detail)
        };
        match self.mapping.transform(&event, context.started_at) {
            Ok(Some(Value::Object(fields))) => Ok(fields),
            Ok(other) => Err(failed(format!(
                "it gave {} instead of an object of fields",
                other.as_ref().map_or("nothing".to_owned(), super::article)
            ))),
            Err(_) if self.hides => Err(failed(
                "its words are left out, because it reads a sensitive column".to_owned(),
            )),
            Err(message) => Err(failed(message)),
        }
    }
}

/// A problem of a Segment mapping at its place below `mapping`.
fn problem(problem: &Problem) -> MappingProblem {
    MappingProblem {
        path: format!("mapping{}", problem.path.replace('/', ".")),
        reason: Reason::new(Code::SegmentMappingInvalid, "the mapping is not valid")
            .detail(problem.to_string()),
    }
}

fn properties(
    reads: &Reads,
    schema: Option<&Schema>,
) -> Result<Option<Vec<Name>>, Vec<MappingProblem>> {
    let Some(schema) = schema else {
        let columns = reads.columns.iter().map(|name| name.as_str().into());
        return Ok((!reads.all).then(|| columns.collect()));
    };
    if reads.all {
        let columns = schema.columns.iter();
        return Ok(Some(columns.map(|column| column.name.clone()).collect()));
    }
    let mut columns = Vec::new();
    let mut problems = Vec::new();
    for name in &reads.columns {
        match schema.position(name) {
            Some(at) => columns.push(schema.columns[at].name.clone()),
            None => problems.push(MappingProblem {
                path: "mapping".into(),
                reason: crate::mapping::unknown_column(schema, name, "mapping")
                    .hint("add the column to the model, or take it out of the mapping"),
            }),
        }
    }
    if problems.is_empty() {
        Ok(Some(columns))
    } else {
        Err(problems)
    }
}

/// One digest a field, blind to the order of keys; one for the whole where it is a directive.
fn digests(mapping: &Value) -> BTreeMap<String, String> {
    let digest = |value: &Value| {
        let mut text = String::from("segment ");
        push_canonical(&mut text, value);
        blake3::hash(text.as_bytes()).to_hex().to_string()
    };
    match mapping {
        Value::Object(members)
            if !members.iter().any(|(name, _)| {
                name.starts_with('@') || name.starts_with("__segment_internal")
            }) =>
        {
            members
                .iter()
                .map(|(name, value)| (format!("mapping:{name}"), digest(value)))
                .collect()
        }
        whole => BTreeMap::from([("mapping".to_owned(), digest(whole))]),
    }
}

fn push_canonical(out: &mut String, value: &Value) {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members
                .iter()
                .filter(|(name, _)| &**name != "_metadata")
                .collect();
            members.sort_by(|(a, _), (b, _)| a.cmp(b));
            out.push('{');
            for (name, value) in members {
                push_string(out, name);
                out.push(':');
                push_canonical(out, value);
                out.push(',');
            }
            out.push('}');
        }
        Value::List(items) => {
            out.push('[');
            for item in items {
                push_canonical(out, item);
                out.push(',');
            }
            out.push(']');
        }
        scalar => push_value(out, scalar),
    }
}

#[cfg(test)]
mod tests;
