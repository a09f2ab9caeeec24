//! How well a column fits a field, from 0 to 100: by name first, then by type.
//!
//! Pure. The steps are few and named, so that a person can see why a column was proposed; `corpus` holds
//! pairs with their verdicts, and what the scoring makes of them is asserted exactly.

use super::words::{joined, meaning, without_whose, words};

/// Below this a column is not proposed.
pub(crate) const PROPOSED_FROM: u8 = 60;

/// Why a column was proposed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// The same name.
    Exact,
    /// The same but for capitals and separators.
    Spelling,
    /// The same words in another order.
    Words,
    /// Another word for the same.
    Synonym,
    /// The same but for words such as `customer` in front.
    Prefix,
    /// A few letters differ.
    Near,
    /// One name is a part of the other.
    Part,
}

impl Why {
    /// As people read it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Exact => "same name",
            Self::Spelling => "same name, spelled otherwise",
            Self::Words => "same words",
            Self::Synonym => "means the same",
            Self::Prefix => "same but for a prefix",
            Self::Near => "nearly the same name",
            Self::Part => "part of the name",
        }
    }
}

/// How well two things fit, by name and type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Score {
    pub(crate) points: u8,
    pub(crate) why: Why,
}

/// Compares a column with a field. A field's label is a second name of it.
pub(crate) fn score(
    column: (&str, &str),
    field: (&str, &str),
    label: Option<&str>,
) -> Option<Score> {
    let by_name = by_name(column.0, field.0);
    // A label is written for people: a little less certain than the name.
    let by_label = label
        .and_then(|label| by_name_of_label(column.0, label))
        .map(|(points, why)| (points.saturating_sub(3), why));
    let (points, why) = by_name
        .into_iter()
        .chain(by_label)
        .max_by_key(|(points, _)| *points)?;
    let points = points.saturating_sub(misfit(Family::of(column.1), Family::of(field.1)));
    Some(Score { points, why })
}

/// Labels are short names; help in whole sentences is none.
fn by_name_of_label(column: &str, label: &str) -> Option<(u8, Why)> {
    let is_name = label.len() <= 40 && !label.contains(['.', ',', ';', ':', '(']);
    if is_name {
        by_name(column, label)
    } else {
        None
    }
}

fn by_name(column: &str, field: &str) -> Option<(u8, Why)> {
    if column == field {
        return Some((100, Why::Exact));
    }
    let (a, b) = (words(column), words(field));
    if a.is_empty() || b.is_empty() {
        return None;
    }
    same(&a, &b)
        .or_else(|| {
            // `customer_email` is an email, and so is `contactEmail`.
            let (bare_a, bare_b) = (without_whose(&a), without_whose(&b));
            if bare_a.is_none() && bare_b.is_none() {
                return None;
            }
            let (bare_a, bare_b) = (bare_a.unwrap_or(&a), bare_b.unwrap_or(&b));
            // An identifier is somebody's: `customer_id` is not the `id` of something else.
            if bare_a == ["id"] || bare_b == ["id"] {
                return None;
            }
            let (points, _) = same(bare_a, bare_b)?;
            Some((points.saturating_sub(12), Why::Prefix))
        })
        .or_else(|| near(&a, &b))
        .or_else(|| part(&a, &b))
}

fn same(a: &[String], b: &[String]) -> Option<(u8, Why)> {
    if joined(a) == joined(b) {
        return Some((97, Why::Spelling));
    }
    let sorted = |words: &[String]| {
        let mut words = words.to_vec();
        words.sort_unstable();
        words
    };
    if a.len() > 1 && sorted(a) == sorted(b) {
        return Some((90, Why::Words));
    }
    match (meaning(a), meaning(b)) {
        (Some(a), Some(b)) if a == b => Some((86, Why::Synonym)),
        _ => None,
    }
}

/// A typing mistake, a plural, a shortened word.
fn near(a: &[String], b: &[String]) -> Option<(u8, Why)> {
    let (a, b) = (joined(a), joined(b));
    let longer = a.chars().count().max(b.chars().count());
    if a.chars().count().min(b.chars().count()) < 4 {
        return None;
    }
    let distance = strsim::damerau_levenshtein(&a, &b);
    // One letter in five, and digits never: `address1` is not `address2`.
    let digits = |text: &str| {
        text.chars()
            .filter(char::is_ascii_digit)
            .collect::<String>()
    };
    if distance * 5 > longer || digits(&a) != digits(&b) {
        return None;
    }
    let points = 90.0 * strsim::jaro_winkler(&a, &b) - 5.0 * distance as f64;
    Some((points as u8, Why::Near))
}

/// All words of one stand in the other.
fn part(a: &[String], b: &[String]) -> Option<(u8, Why)> {
    let (few, many) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    let within = few.iter().all(|word| many.contains(word));
    // The last word says what a thing is: a `billing_city` is a city, a `city_tax` is none.
    let same_kind = few.last() == many.last();
    let says_little = few.iter().all(|word| {
        matches!(
            word.as_str(),
            "id" | "name" | "date" | "at" | "type" | "code" | "number" | "is" | "value"
        )
    });
    if !within || !same_kind || says_little {
        return None;
    }
    let share = 100 * few.len() / many.len();
    Some((if share >= 50 { 64 } else { 52 }, Why::Part))
}

/// What a type holds, whoever named it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Text,
    Integer,
    Number,
    Boolean,
    Date,
    Moment,
    Json,
    List,
    Unknown,
}

impl Family {
    fn of(type_name: &str) -> Self {
        let name = type_name.to_lowercase();
        let has = |parts: &[&str]| parts.iter().any(|part| name.contains(part));
        if name.ends_with("[]") || name.starts_with("list") || name.starts_with("array") {
            Self::List
        } else if has(&["json", "object", "map"]) {
            Self::Json
        } else if has(&["bool", "checkbox"]) {
            Self::Boolean
        } else if has(&["timestamp", "datetime", "date_time", "instant"]) {
            Self::Moment
        } else if has(&["interval", "point"]) {
            Self::Unknown
        } else if has(&["date"]) {
            Self::Date
        } else if has(&["int", "serial", "oid"]) {
            Self::Integer
        } else if has(&[
            "numeric", "decimal", "number", "double", "real", "float", "money", "currency",
        ]) && !has(&["phone"])
        {
            Self::Number
        } else if has(&[
            "text", "char", "string", "citext", "uuid", "email", "phone", "url", "enum", "inet",
        ]) {
            Self::Text
        } else {
            Self::Unknown
        }
    }
}

/// Points that a column loses because its values must be turned into another kind of value.
fn misfit(column: Family, field: Family) -> u8 {
    use Family::{Boolean, Date, Integer, Json, List, Moment, Number, Text, Unknown};
    match (column, field) {
        (a, b) if a == b => 0,
        (Unknown, _) | (_, Unknown) => 0,
        // Everything has a text.
        (_, Text | Json) | (Integer, Number) | (Moment, Date) => 2,
        (Date, Moment) | (_, List) => 5,
        (Number, Integer) => 8,
        // Read from text, where it says so.
        (Text, _) => 12,
        (Integer, Boolean) | (Boolean, Integer | Number) => 20,
        (Integer | Number, Date | Moment) | (Date | Moment, Integer | Number) => 25,
        _ => 45,
    }
}

#[cfg(test)]
mod corpus;
