//! What is right and wrong in what a receiver saw.

use std::collections::BTreeMap;

/// A record's fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fields {
    pub(crate) name: String,
    pub(crate) version: i64,
}

/// Records by key.
pub(crate) type Records = BTreeMap<i64, Fields>;

/// One thing that took effect at a receiver. `None`: the record was deleted.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Effect {
    pub(crate) key: i64,
    pub(crate) fields: Option<Fields>,
    /// Where the receiver is told.
    pub(crate) idempotency_key: Option<String>,
}

/// The name a row has at a version: a value that was cut or changed on its way does not fit.
pub(crate) fn name_of(id: i64, version: i64) -> String {
    format!("name {version} of {id}")
}

/// Problems of everything that ever took effect, and how many records came more than once.
pub(crate) fn judge(effects: &[Effect]) -> (Vec<String>, usize) {
    let mut problems = Vec::new();
    let mut repeated = 0;
    let mut last: BTreeMap<i64, &Effect> = BTreeMap::new();
    let mut newest: BTreeMap<i64, i64> = BTreeMap::new();
    for effect in effects {
        if let Some(fields) = &effect.fields {
            if fields.name != name_of(effect.key, fields.version) {
                problems.push(format!("{effect:?} is no row of the source"));
            }
            let newest = newest.entry(effect.key).or_insert(fields.version);
            if fields.version < *newest {
                problems.push(format!("{effect:?} came after version {newest}"));
            }
            *newest = fields.version.max(*newest);
        }
        if let Some(before) = last.insert(effect.key, effect)
            && before.fields == effect.fields
        {
            repeated += 1;
            if before.idempotency_key != effect.idempotency_key {
                problems.push(format!(
                    "the same record came with two idempotency keys: {before:?}, {effect:?}"
                ));
            }
        }
    }
    (problems, repeated)
}

#[test]
fn the_judge_finds_old_values_changed_values_and_new_keys_of_old_records() {
    let effect = |version: i64, key: &str| Effect {
        key: 7,
        fields: Some(Fields {
            name: name_of(7, version),
            version,
        }),
        idempotency_key: Some(key.to_owned()),
    };
    let gone = Effect {
        fields: None,
        ..effect(0, "d")
    };
    let right = [effect(1, "a"), gone, effect(2, "b"), effect(2, "b")];
    assert_eq!(judge(&right), (Vec::new(), 1));
    assert_eq!(judge(&[effect(2, "a"), effect(1, "b")]).0.len(), 1);
    assert_eq!(judge(&[effect(2, "a"), effect(2, "b")]).0.len(), 1);
    let mut wrong = effect(2, "a");
    wrong.fields.as_mut().expect("fields").name.push('?');
    assert_eq!(judge(&[wrong]).0.len(), 1);
}
