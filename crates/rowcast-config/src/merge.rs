//! Laying one tree over another: an environment over the objects, the objects over the defaults.

use crate::tree::{Node, Yaml};

/// Keys whose mapping is one choice: half of one and half of another would mean nothing.
const WHOLE: [&str; 6] = ["schedule", "auth", "password", "rate", "match_on", "body"];

/// Lays an environment's keys over an object's: mappings key by key, everything else whole; a key
/// with nothing after it removes what was there.
pub(crate) fn merge(base: &mut Node, over: &Node) {
    merge_below(base, over, "");
}

fn merge_below(base: &mut Node, over: &Node, parent: &str) {
    let (Yaml::Map(entries), Yaml::Map(changes)) = (&mut base.yaml, &over.yaml) else {
        *base = over.clone();
        return;
    };
    for change in changes {
        let position = entries.iter().position(|entry| entry.key == change.key);
        match position {
            Some(i) if change.value.is_null() => {
                entries.remove(i);
            }
            // A field is one expression.
            Some(i) if parent == "fields" || WHOLE.contains(&change.key.as_str()) => {
                entries[i] = change.clone();
            }
            Some(i) => {
                if !matches!(
                    (&entries[i].value.yaml, &change.value.yaml),
                    (Yaml::Map(_), Yaml::Map(_))
                ) {
                    entries[i].key_at = change.key_at.clone();
                }
                merge_below(&mut entries[i].value, &change.value, &change.key);
            }
            None if change.value.is_null() => {}
            None => entries.push(change.clone()),
        }
    }
}

/// Fills in what an object does not set.
pub(crate) fn presets(node: &mut Node, preset: &Node) {
    let Yaml::Map(entries) = &mut node.yaml else {
        return;
    };
    for default in preset.entries() {
        match entries.iter_mut().find(|entry| entry.key == default.key) {
            None => entries.push(default.clone()),
            Some(entry) if WHOLE.contains(&default.key.as_str()) || entry.value.is_null() => {}
            Some(entry) => presets(&mut entry.value, &default.value),
        }
    }
}
