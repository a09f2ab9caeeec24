//! A tree whose leaves may be templates: bodies are built from these.
//!
//! A value takes exactly the place of its template; it must never change the shape around it.

use super::{Context, Template, add_name, invalid, is_template};
use crate::fault::Reason;
use crate::value::{Name, Value};

/// A tree whose text leaves may be templates: a request body, a `request:` block.
#[derive(Debug)]
pub struct TemplateTree {
    root: Node,
    columns: Vec<Name>,
}

#[derive(Debug)]
enum Node {
    Constant(Value),
    Template(Template),
    List(Vec<Node>),
    Object(Vec<(Name, Node)>),
}

impl TemplateTree {
    /// Compiles a tree. Keys are taken as they are.
    ///
    /// # Errors
    /// E0502 with the path of the leaf.
    pub fn compile(tree: &Value) -> Result<Self, Reason> {
        let mut columns = Vec::new();
        let root = Node::compile(tree, "", &mut columns)?;
        Ok(Self { root, columns })
    }

    /// The top-level names it reads.
    pub fn columns(&self) -> &[Name] {
        &self.columns
    }

    /// The tree with every template replaced by its value. The shape is the source's: a value
    /// takes exactly the place of its template.
    ///
    /// # Errors
    /// E0504 as for `Template::evaluate`.
    pub fn evaluate(&self, context: &dyn Context) -> Result<Value, Reason> {
        self.root.evaluate(context)
    }
}

impl Node {
    fn compile(tree: &Value, path: &str, columns: &mut Vec<Name>) -> Result<Self, Reason> {
        Ok(match tree {
            Value::Text(text)
                if is_template(text) || text.contains("{%") || text.contains("{#") =>
            {
                let template = Template::compile(text).map_err(|mut reason| {
                    if !path.is_empty() {
                        reason.message = format!("{path}: {}", reason.message);
                    }
                    reason
                })?;
                for column in template.columns() {
                    add_name(columns, column);
                }
                Self::Template(template)
            }
            Value::List(items) => Self::List(
                items
                    .iter()
                    .enumerate()
                    .map(|(i, item)| Self::compile(item, &format!("{path}[{i}]"), columns))
                    .collect::<Result<_, _>>()?,
            ),
            Value::Object(members) => {
                let mut nodes = Vec::with_capacity(members.len());
                for (name, member) in members {
                    let path = if path.is_empty() {
                        name.to_string()
                    } else {
                        format!("{path}.{name}")
                    };
                    if is_template(name) {
                        return Err(invalid(name, format!("{path}: a key can't be a template")));
                    }
                    nodes.push((name.clone(), Self::compile(member, &path, columns)?));
                }
                Self::Object(nodes)
            }
            constant => Self::Constant(constant.clone()),
        })
    }

    fn evaluate(&self, context: &dyn Context) -> Result<Value, Reason> {
        Ok(match self {
            Self::Constant(value) => value.clone(),
            Self::Template(template) => template.evaluate(context)?,
            Self::List(nodes) => Value::List(
                nodes
                    .iter()
                    .map(|node| node.evaluate(context))
                    .collect::<Result<_, _>>()?,
            ),
            Self::Object(nodes) => Value::Object(
                nodes
                    .iter()
                    .map(|(name, node)| Ok((name.clone(), node.evaluate(context)?)))
                    .collect::<Result<_, Reason>>()?,
            ),
        })
    }
}
