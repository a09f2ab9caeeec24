//! From pieces to a tree of what to print and when.

use super::expression::{Expression, Filtered, Tokens};
use super::lex::{Piece, pieces, tag};
use super::{DEPTH_MAX, DISABLED_TAGS};

/// One thing to do.
#[derive(Debug, Clone)]
pub(super) enum Node {
    Text(String),
    Print(Filtered),
    Assign(String, Filtered),
    Capture(String, Vec<Node>),
    /// Each condition with what it guards; the last may be always true.
    If(Vec<(Expression, Vec<Node>)>),
    Increment(String),
    Decrement(String),
    Cycle(String, Vec<Expression>),
}

/// Reads a template.
///
/// # Errors
/// It can't be read, or uses a tag that is unknown or turned off.
pub(super) fn template(text: &str) -> Result<Vec<Node>, String> {
    let pieces = pieces(text)?;
    let mut parser = Parser {
        pieces: &pieces,
        at: 0,
        depth: 0,
    };
    let (nodes, end) = parser.block(&[])?;
    match end {
        None => Ok(nodes),
        Some((name, _)) => Err(format!("{{% {name} %}} closes nothing")),
    }
}

struct Parser<'a> {
    pieces: &'a [Piece],
    at: usize,
    depth: usize,
}

/// The tag that ended a block, and its text.
type End = Option<(String, String)>;

impl Parser<'_> {
    /// Everything up to one of the tags in `ends`, or to the end.
    fn block(&mut self, ends: &[&str]) -> Result<(Vec<Node>, End), String> {
        let mut nodes = Vec::new();
        while let Some(piece) = self.pieces.get(self.at) {
            self.at += 1;
            match piece {
                Piece::Text(text) => nodes.push(Node::Text(text.clone())),
                Piece::Output(text) => nodes.push(Node::Print(filtered(text)?)),
                Piece::Tag { name, rest } => {
                    if ends.contains(&name.as_str()) {
                        return Ok((nodes, Some((name.clone(), rest.clone()))));
                    }
                    self.tag(name, rest, &mut nodes)?;
                }
            }
        }
        match ends.last() {
            None => Ok((nodes, None)),
            Some(end) => Err(format!("{{% {end} %}} is missing")),
        }
    }

    fn tag(&mut self, name: &str, rest: &str, nodes: &mut Vec<Node>) -> Result<(), String> {
        if DISABLED_TAGS.contains(&name) {
            return Err(format!("the tag {name:?} is not allowed here"));
        }
        match name {
            "#" => {}
            "echo" => nodes.push(Node::Print(filtered(rest)?)),
            "assign" => {
                let (variable, value) = rest
                    .split_once('=')
                    .ok_or_else(|| format!("{{% assign {rest} %}} has no \"=\""))?;
                nodes.push(Node::Assign(variable_name(variable)?, filtered(value)?));
            }
            "increment" => nodes.push(Node::Increment(variable_name(rest)?)),
            "decrement" => nodes.push(Node::Decrement(variable_name(rest)?)),
            "cycle" => nodes.push(cycle(rest)?),
            "capture" => {
                let variable = variable_name(rest.trim_matches(['"', '\'']))?;
                let (body, _) = self.deeper(&["endcapture"])?;
                nodes.push(Node::Capture(variable, body));
            }
            "if" => {
                let first = condition(rest)?;
                nodes.push(self.branches(first, "endif")?);
            }
            "unless" => {
                let first = Expression::Not(Box::new(condition(rest)?));
                nodes.push(self.branches(first, "endunless")?);
            }
            "liquid" => {
                let lines: Vec<Piece> = rest
                    .lines()
                    .filter(|line| !line.trim().is_empty())
                    .map(tag)
                    .collect::<Result<_, _>>()?;
                let mut inner = Parser {
                    pieces: &lines,
                    at: 0,
                    depth: self.depth + 1,
                };
                inner.check_depth()?;
                let (body, end) = inner.block(&[])?;
                if let Some((name, _)) = end {
                    return Err(format!("{name} closes nothing"));
                }
                nodes.extend(body);
            }
            other => return Err(format!("the tag {other:?} is not known")),
        }
        Ok(())
    }

    fn check_depth(&self) -> Result<(), String> {
        if self.depth > DEPTH_MAX {
            return Err(format!("more than {DEPTH_MAX} tags inside each other"));
        }
        Ok(())
    }

    fn deeper(&mut self, ends: &[&str]) -> Result<(Vec<Node>, End), String> {
        self.depth += 1;
        self.check_depth()?;
        let block = self.block(ends);
        self.depth -= 1;
        block
    }

    fn branches(&mut self, first: Expression, end: &'static str) -> Result<Node, String> {
        let mut branches = Vec::new();
        let mut guard = first;
        loop {
            let (body, ended) = self.deeper(&["elsif", "else", end])?;
            branches.push((guard, body));
            match ended {
                Some((name, rest)) if name == "elsif" => guard = condition(&rest)?,
                Some((name, _)) if name == "else" => {
                    let (body, _) = self.deeper(&[end])?;
                    branches.push((Expression::always(), body));
                    return Ok(Node::If(branches));
                }
                _ => return Ok(Node::If(branches)),
            }
        }
    }
}

fn filtered(text: &str) -> Result<Filtered, String> {
    let mut tokens = Tokens::new(text)?;
    let filtered = tokens.filtered()?;
    tokens.end()?;
    Ok(filtered)
}

fn condition(text: &str) -> Result<Expression, String> {
    let mut tokens = Tokens::new(text)?;
    let expression = tokens.expression()?;
    tokens.end()?;
    Ok(expression)
}

fn cycle(text: &str) -> Result<Node, String> {
    let mut tokens = Tokens::new(text)?;
    let mut values = vec![tokens.operand()?];
    let mut group = text.to_owned();
    if tokens.takes(":") {
        group = format!("{:?}", values.remove(0));
        values.push(tokens.operand()?);
    }
    while tokens.takes(",") {
        values.push(tokens.operand()?);
    }
    tokens.end()?;
    Ok(Node::Cycle(group, values))
}

fn variable_name(text: &str) -> Result<String, String> {
    let name = text.trim();
    if !name.is_empty()
        && name
            .chars()
            .all(|c| c.is_alphanumeric() || matches!(c, '_' | '-'))
    {
        Ok(name.into())
    } else {
        Err(format!("{name:?} is not the name of a variable"))
    }
}
