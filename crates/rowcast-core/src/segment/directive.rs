//! What each directive does with a payload.

use super::node::{Node, set};
use super::path::{get, without_root};
use super::replace::{Search, replace};
use super::validate::{LIQUID_MAX, REPLACE_MAX, is_directive, length, member, truthy};
use super::{liquid, template, text};
use crate::json::from_json;
use crate::value::{Name, Object, Value};

type Resolved = Result<Node, String>;

/// What a mapping is evaluated on.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    pub payload: &'a Value,
    /// What `now` means, in microseconds since 1970.
    pub now_us: i64,
}

impl Context<'_> {
    fn on<'b>(&self, payload: &'b Value) -> Context<'b> {
        Context {
            payload,
            now_us: self.now_us,
        }
    }
}

/// Evaluates a mapping, or a part of one.
///
/// # Errors
/// A directive fails on this payload.
pub(super) fn resolve(mapping: &Value, context: Context<'_>) -> Resolved {
    match mapping {
        Value::List(items) => items
            .iter()
            .map(|item| resolve(item, context))
            .collect::<Result<_, _>>()
            .map(Node::List),
        Value::Object(members) if is_directive(mapping) => {
            match members.iter().find(|(name, _)| name.starts_with('@')) {
                Some((name, argument)) => run(name, argument, context),
                None => Ok(Node::Absent),
            }
        }
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| Ok((name.clone(), resolve(value, context)?)))
            .collect::<Result<_, String>>()
            .map(Node::Object),
        scalar => Ok(Node::Scalar(scalar.clone())),
    }
}

fn run(name: &str, argument: &Value, context: Context<'_>) -> Resolved {
    match name {
        "@path" => path(argument, context),
        "@template" => {
            let text = string(name, argument, context)?;
            Ok(Node::text(template::render(&text, context.payload)))
        }
        "@literal" => resolve(argument, context),
        "@if" => condition(object(name, argument)?, context),
        "@case" => case(object(name, argument)?, context),
        "@replace" => replacing(object(name, argument)?, context),
        "@arrayPath" => array_path(argument, context),
        "@json" => json(object(name, argument)?, context),
        "@flatten" => flatten(object(name, argument)?, context),
        "@merge" => merge(object(name, argument)?, context),
        "@transform" => transform(object(name, argument)?, context),
        "@excludeWhenNull" => Ok(without_nulls(resolve(argument, context)?)),
        "@liquid" => match argument {
            Value::Text(text) if length(text) <= LIQUID_MAX => {
                liquid::render(text, context.payload, context.now_us)
                    .map(Node::text)
                    .map_err(|message| format!("@liquid: {message}"))
            }
            _ => Err(format!(
                "@liquid takes a text of up to {LIQUID_MAX} characters"
            )),
        },
        other => Err(format!("{other} is not a directive")),
    }
}

fn object<'a>(name: &str, argument: &'a Value) -> Result<&'a Object, String> {
    match argument {
        Value::Object(members) => Ok(members),
        other => Err(format!(
            "{name} takes an object, and it has {}",
            super::article(other)
        )),
    }
}

/// The argument, which must come out as a string.
fn string(name: &str, argument: &Value, context: Context<'_>) -> Result<String, String> {
    match resolve(argument, context)? {
        Node::Scalar(Value::Text(text)) => Ok(text.into()),
        Node::Absent => Err(format!(
            "{name} needs a string, and its argument is missing"
        )),
        other => Err(format!(
            "{name} needs a string, and its argument is {}",
            kind(&other)
        )),
    }
}

fn kind(node: &Node) -> String {
    match node {
        Node::Absent => "missing".into(),
        Node::Scalar(value) => super::article(value),
        Node::List(_) => "a list".into(),
        Node::Object(_) => "an object".into(),
    }
}

fn path(argument: &Value, context: Context<'_>) -> Resolved {
    let path = string("@path", argument, context)?;
    Ok(get(context.payload, &without_root(&path)).map_or(Node::Absent, |value| Node::of(&value)))
}

/// `blank` is, despite its name, true when the value is not blank.
fn condition(argument: &Object, context: Context<'_>) -> Resolved {
    let holds = if let Some(exists) = truthy(argument, "exists") {
        resolve(exists, context)?.exists()
    } else if let Some(blank) = truthy(argument, "blank") {
        resolve(blank, context)?.is_not_blank()
    } else {
        return Err("@if needs \"exists\" or \"blank\"".into());
    };
    let chosen = if holds {
        member(argument, "then")
    } else {
        truthy(argument, "else")
    };
    chosen.map_or(Ok(Node::Absent), |value| resolve(value, context))
}

fn case(argument: &Object, context: Context<'_>) -> Resolved {
    let Some(Value::Text(operator)) = truthy(argument, "operator") else {
        return Err("@case needs an \"operator\"".into());
    };
    let Some(value) = truthy(argument, "value") else {
        return Ok(Node::Absent);
    };
    match resolve(value, context)? {
        Node::Scalar(Value::Text(text)) => match &**operator {
            "lower" => Ok(Node::text(text.to_lowercase())),
            "upper" => Ok(Node::text(text.to_uppercase())),
            other => Err(format!(
                "@case knows \"lower\" and \"upper\", not {other:?}"
            )),
        },
        other => Ok(other),
    }
}

fn replacing(argument: &Object, context: Context<'_>) -> Resolved {
    let Some(value) = truthy(argument, "value") else {
        return Ok(Node::Absent);
    };
    let text_of = |name: &str| match member(argument, name) {
        Some(Value::Text(text)) => Ok(&**text),
        None => Ok(""),
        Some(other) => Err(format!(
            "@replace needs a string in {name:?}, and it is {}",
            super::article(other)
        )),
    };
    let flag = |name: &str, default: bool| match member(argument, name) {
        Some(Value::Bool(value)) => *value,
        _ => default,
    };
    let mut text = match resolve(value, context)? {
        Node::Scalar(value) if super::convert::number(&value).is_some() => text::scalar(&value),
        Node::Scalar(Value::Bool(value)) => value.to_string(),
        Node::Scalar(Value::Text(text)) => text.into(),
        _ => return Ok(Node::text("")),
    };
    let search = Search {
        ignore_case: flag("ignorecase", false),
        global: flag("global", true),
    };
    text = replace(&text, text_of("pattern")?, text_of("replacement")?, search);
    if truthy(argument, "pattern2").is_some() {
        let (pattern, replacement) = (text_of("pattern2")?, text_of("replacement2")?);
        if length(pattern) > REPLACE_MAX || length(replacement) > REPLACE_MAX {
            return Err(format!(
                "@replace takes up to {REPLACE_MAX} characters in \"pattern2\" and \"replacement2\""
            ));
        }
        text = replace(&text, pattern, replacement, search);
    }
    Ok(Node::text(text))
}

fn array_path(argument: &Value, context: Context<'_>) -> Resolved {
    let Value::List(items) = argument else {
        return Err(format!(
            "@arrayPath takes a list, and it has {}",
            super::article(argument)
        ));
    };
    let root = match items.first() {
        Some(Value::Text(path)) => {
            get(context.payload, &without_root(path)).map_or(Node::Absent, |value| Node::of(&value))
        }
        Some(other) => resolve(other, context)?,
        None => return Err("@arrayPath needs a path".into()),
    };
    let shape = match items.get(1) {
        Some(shape @ Value::Object(members)) if !members.is_empty() => shape,
        _ => return Ok(root),
    };
    let rows = match root {
        Node::List(rows) => rows,
        lone @ Node::Object(_) => vec![lone],
        other => return Ok(other),
    };
    rows.into_iter()
        .map(|row| match row.into_value() {
            Some(row) => resolve(shape, context.on(&row)),
            None => resolve(shape, context.on(&Value::Null)),
        })
        .collect::<Result<_, _>>()
        .map(Node::List)
}

fn json(argument: &Object, context: Context<'_>) -> Resolved {
    let Some(value) = truthy(argument, "value") else {
        return Err("@json needs a \"value\"".into());
    };
    let value = resolve(value, context)?;
    Ok(match member(argument, "mode") {
        Some(Value::Text(mode)) if &**mode == "encode" => {
            text::json(&value).map_or(Node::Absent, Node::text)
        }
        Some(Value::Text(mode)) if &**mode == "decode" => match &value {
            Node::Scalar(Value::Text(text)) => match from_json(text) {
                Ok(decoded) => Node::of(&decoded),
                Err(_) => value,
            },
            _ => value,
        },
        _ => Node::Absent,
    })
}

fn flatten(argument: &Object, context: Context<'_>) -> Resolved {
    let Some(value) = member(argument, "value") else {
        return Err("@flatten needs a \"value\"".into());
    };
    let Some(Value::Text(separator)) = truthy(argument, "separator") else {
        return Err("@flatten needs a \"separator\"".into());
    };
    let omit_arrays = truthy(argument, "omitArrays").is_some();
    let mut flat = Vec::new();
    flatten_into(
        &mut flat,
        "",
        resolve(value, context)?,
        separator,
        omit_arrays,
    );
    Ok(Node::Object(flat))
}

fn flatten_into(
    flat: &mut Vec<(Name, Node)>,
    prefix: &str,
    node: Node,
    separator: &str,
    omit_arrays: bool,
) {
    let key = |name: &str| {
        if prefix.is_empty() {
            name.to_owned()
        } else {
            format!("{prefix}{separator}{name}")
        }
    };
    match node {
        Node::Object(members) => {
            for (name, node) in members {
                flatten_into(flat, &key(&name), node, separator, omit_arrays);
            }
        }
        Node::List(items) if !omit_arrays => {
            for (i, node) in items.into_iter().enumerate() {
                flatten_into(flat, &key(&i.to_string()), node, separator, omit_arrays);
            }
        }
        leaf => set(flat, prefix.into(), leaf),
    }
}

fn merge(argument: &Object, context: Context<'_>) -> Resolved {
    let later_wins = match member(argument, "direction") {
        Some(Value::Text(direction)) => &**direction == "right",
        _ => return Err("@merge needs a \"direction\"".into()),
    };
    let Some(Value::List(objects)) = member(argument, "objects") else {
        return Err("@merge needs a list of \"objects\"".into());
    };
    let mut objects: Vec<Node> = objects
        .iter()
        .map(|item| resolve(item, context))
        .collect::<Result<_, _>>()?;
    if !later_wins {
        objects.reverse();
    }
    let mut merged = Vec::new();
    for node in objects {
        match node {
            Node::Object(members) => {
                for (name, node) in members {
                    set(&mut merged, name, node);
                }
            }
            Node::List(items) => {
                for (i, node) in items.into_iter().enumerate() {
                    set(&mut merged, i.to_string().into(), node);
                }
            }
            // A text is a list of letters to JavaScript.
            Node::Scalar(Value::Text(text)) => {
                for (i, letter) in text::letters(&text).enumerate() {
                    set(&mut merged, i.to_string().into(), Node::text(letter));
                }
            }
            _ => {}
        }
    }
    Ok(Node::Object(merged))
}

fn transform(argument: &Object, context: Context<'_>) -> Resolved {
    let (Some(apply), Some(mapping)) = (member(argument, "apply"), member(argument, "mapping"))
    else {
        return Err("@transform needs \"apply\" and \"mapping\"".into());
    };
    let payload = resolve(apply, context)?.into_value().unwrap_or(Value::Null);
    resolve(mapping, context.on(&payload))
}

/// Nulls go from objects in objects; lists keep theirs.
fn without_nulls(node: Node) -> Node {
    match node {
        Node::Scalar(Value::Null) => Node::Absent,
        Node::Object(members) => Node::Object(
            members
                .into_iter()
                .map(|(name, node)| (name, without_nulls(node)))
                .collect(),
        ),
        other => other,
    }
}
