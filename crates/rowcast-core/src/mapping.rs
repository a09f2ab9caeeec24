//! From a row to a record's fields.
//!
//! Pure: the same row and the same run context give the same bytes. A row that can't be mapped is
//! *invalid*, never a panic and never the end of the run.

mod carried;
pub mod cast;
mod compiler;
pub mod decimal;
pub mod event;
pub mod fields;
mod filters;
pub mod function;
mod moment;
pub mod reference;
mod rule;
mod scan;
pub mod template;

use std::collections::BTreeMap;

use crate::fault::Reason;
use crate::json::push_object;
use crate::record::RunContext;
use crate::row::Row;
use crate::segment::Occasion;
use crate::value::{Name, Object};

pub(crate) use compiler::unknown_column;
pub use event::{EventMapping, EventType};
pub use fields::{CompileInput, FieldMapping, MappingProblem};
pub use moment::instant;
pub use reference::reference_markdown;
pub use template::{Context, Template, TemplateTree, is_template};

/// What a mapping comes to when every field is a column as it is, and the primary key the identity:
/// whoever reads rows can write their records' text without making values of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plain {
    /// The columns of the primary key, each with its name as JSON writes it, with the colon.
    pub identity: Vec<(Box<str>, Name)>,
    /// The same for each field and its column, in the mapping's order.
    pub fields: Vec<(Box<str>, Name)>,
    /// The fields' names as they are.
    pub names: Vec<Name>,
}

/// A compiled mapping. Rowcast's own `fields:` is one; Segment's and RudderStack's languages are
/// others behind the same seam.
pub trait Mapper: Send + Sync {
    /// The model's columns it reads, without repetition.
    fn columns(&self) -> Vec<Name>;

    /// Digests by top-level field, so that an edit which only removes fields can be told from one
    /// that adds or changes anything (semantics 6).
    fn digests(&self) -> BTreeMap<String, String>;

    /// The fields of a record.
    ///
    /// # Errors
    /// Why the row is invalid.
    fn fields(&self, row: &Row, context: &RunContext) -> Result<Object, Reason>;

    /// As `fields`, of a row that nobody needs any more.
    ///
    /// # Errors
    /// As `fields`.
    fn take_fields(&self, row: Row, context: &RunContext) -> Result<Object, Reason> {
        self.fields(&row, context)
    }

    /// Appends the fields of a record as a JSON object, exactly as `json::push_object` writes what
    /// `fields` gives. After an error `out` holds any part of it.
    ///
    /// # Errors
    /// As `fields`.
    fn push_fields(&self, row: &Row, context: &RunContext, out: &mut String) -> Result<(), Reason> {
        push_object(out, &self.fields(row, context)?);
        Ok(())
    }

    /// Whether a record depends on more than the row: on what happened to it and on its key. Then
    /// `fields_at` is asked for every record, deletes included, and `keep: rows` keeps the columns
    /// that the mapping reads instead of the fields that were sent.
    fn looks_at_changes(&self) -> bool {
        false
    }

    /// The fields of a record, for mappings that look at changes.
    ///
    /// # Errors
    /// Why the row is invalid.
    fn fields_at(&self, occasion: &Occasion<'_>, context: &RunContext) -> Result<Object, Reason> {
        match occasion.row {
            Some(row) => self.fields(row, context),
            None => Ok(Object::new()),
        }
    }

    /// The mapping as columns, if that is all it is: then `push_fields` and `match_on` write what
    /// these columns hold, and do nothing else.
    fn plain(&self) -> Option<Plain> {
        None
    }

    /// The identity at the destination: the `match_on` fields with their values.
    ///
    /// # Errors
    /// Why the row is invalid, a null identity included.
    fn match_on(&self, row: &Row, context: &RunContext) -> Result<Object, Reason>;
}
