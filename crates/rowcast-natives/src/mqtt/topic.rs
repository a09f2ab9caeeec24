//! Topics with a message's key in them.

/// `{{ object }}/{{ key }}`, read once.
#[derive(Debug)]
pub(super) struct Topic(Vec<Part>);

#[derive(Debug)]
enum Part {
    Text(String),
    Key,
}

/// Most bytes of a topic in the protocol.
const BYTES_MAX: usize = 65_535;

impl Topic {
    /// Reads a template; the object and the sync are already known, the key is not.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn parse(template: &str, object: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = template;
        while let Some((before, after)) = rest.split_once("{{") {
            let (name, after) = after.split_once("}}").ok_or("a {{ has no }}")?;
            parts.push(Part::Text(before.to_owned()));
            parts.push(match name.trim() {
                "object" => Part::Text(object.to_owned()),
                "key" => Part::Key,
                other => {
                    return Err(format!(
                        "{{{{ {other} }}}} is not known here: a topic knows object and key"
                    ));
                }
            });
            rest = after;
        }
        parts.push(Part::Text(rest.to_owned()));
        let topic = Self(parts);
        let fixed = topic.of("");
        if fixed.contains(['+', '#', '\0']) {
            return Err("a topic to publish to holds no + and no #".into());
        }
        if topic.of("key").is_empty() {
            return Err("a topic is needed".into());
        }
        Ok(topic)
    }

    /// The topic of a key.
    pub(super) fn of(&self, key: &str) -> String {
        let mut out = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Key => {
                    for c in key.chars() {
                        match c {
                            '/' | '+' | '#' | '%' | '\0' => {
                                out.push_str(&format!("%{:02X}", c as u32));
                            }
                            other => out.push(other),
                        }
                    }
                }
            }
        }
        out
    }

    /// Whether a topic fits the protocol.
    pub(super) fn fits(topic: &str) -> bool {
        topic.len() <= BYTES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_can_not_leave_its_level_of_the_topic() {
        let topic = Topic::parse("{{ object }}/{{ key }}/changes", "shop/contacts").unwrap();
        assert_eq!(topic.of("7"), "shop/contacts/7/changes");
        assert_eq!(
            topic.of("a/b+c#d%e"),
            "shop/contacts/a%2Fb%2Bc%23d%25e/changes"
        );
        for template in ["", "a/#", "+/{{ key }}", "{{ email }}", "{{ key"] {
            assert!(Topic::parse(template, "").is_err(), "{template}");
        }
    }
}
