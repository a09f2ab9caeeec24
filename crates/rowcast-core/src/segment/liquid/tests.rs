//! What a stranger's template can and can't do.

use super::*;
use crate::json::from_json;

/// 2024-02-29T13:37:00Z.
const NOW: i64 = 1_709_213_820_000_000;

fn rendered(template: &str) -> Result<String, String> {
    let payload = r#"{"name": "Ada Lovelace", "n": 7, "price": 2.5, "id": 9007199254740993, "none": null, "no": false,
        "tags": ["a", "b", null, "c"], "empty": [], "at": "2024-02-29T13:37:00Z",
        "items": [{"sku": "x", "n": 1}, {"sku": "y", "n": 2.5}], "o": {"deep": {"er": "yes"}}, "html": "<b>it's</b>"}"#;
    render(template, &from_json(payload).unwrap(), NOW)
}

#[test]
fn templates_give_what_liquid_gives() {
    for (template, expected) in [
        (
            "{{ o.deep['er'] }} {{ o[\"deep\"].er }} {{ missing.deeper }}",
            "yes yes ",
        ),
        (
            "{{ tags }} {{ tags.size }} {{ tags.first }} {{ tags[-1] }}",
            "abc 4 a c",
        ),
        (
            "{{ n | plus: 1 }} {{ n | divided_by: 2 }} {{ n | divided_by: 2, true }} {{ price | times: 2 }}",
            "8 3.5 3 5",
        ),
        (
            "{{ price | round }} {{ 1.234 | round: 2 }} {{ '-3' | abs }} {{ n | modulo: 4 }}",
            "3 1.23 3 3",
        ),
        (
            "{{ name | downcase | replace: ' ', '_' | append: '!' }}",
            "ada_lovelace!",
        ),
        ("{{ name | split: ' ' | last | slice: 0, 4 }}", "Love"),
        (
            "{{ name | truncate: 6 }} {{ name | truncatewords: 1 }}",
            "Ada... Ada...",
        ),
        (
            "{{ none | default: 'x' }}{{ no | default: 'y' }}{{ no | default: 'z', allow_false: true }}",
            "xyfalse",
        ),
        (
            "{{ html | escape }} {{ html | strip_html }}",
            "&lt;b&gt;it&#39;s&lt;/b&gt; it's",
        ),
        (
            "{{ 'a b&c' | url_encode }} {{ 'a+b%26c' | url_decode }}",
            "a+b%26c a b&c",
        ),
        (
            "{{ items | where: 'sku', 'y' | json }} {{ items | sum: 'n' }}",
            "[{\"sku\":\"y\",\"n\":2.5}] 3.5",
        ),
        (
            "{{ tags | compact | join: '-' }} {{ 'Été À la plage' | slugify }}",
            "a-b-c été-à-la-plage",
        ),
        (
            "{{ at | date: '%d/%m/%Y %H:%M' }} {{ 0 | date: '%Y' }} {{ 'now' | date_to_xmlschema }}",
            "29/02/2024 13:37 1970 2024-02-29T13:37:00+00:00",
        ),
        (
            "{% if n > 5 and name contains 'Ada' %}yes{% else %}no{% endif %}",
            "yes",
        ),
        (
            "{% if empty == empty %}e{% endif %}{% unless none %}u{% endunless %}{% if 0 %}zero{% endif %}",
            "euzero",
        ),
        (
            "{% assign x = n | plus: 1 %}{% capture y %}<{{ x }}>{% endcapture %}{{ y }}",
            "<8>",
        ),
        (
            "{% increment c %}{% increment c %}{% decrement d %}",
            "01-1",
        ),
        (
            "{% cycle 'a', 'b' %}{% cycle 'a', 'b' %}{% cycle 'a', 'b' %}",
            "aba",
        ),
        (
            "a {%- comment %} {{ nonsense | %} {% endcomment -%} b",
            "ab",
        ),
        ("{% raw %}{{ n }}{% endraw %}{% echo n %}", "{{ n }}7"),
        ("{% liquid assign z = 3\n echo z %}", "3"),
        (
            "{{ id }} {{ name | unheard_of: 1 }}",
            "9007199254740993 Ada Lovelace",
        ),
    ] {
        assert_eq!(rendered(template).as_deref(), Ok(expected), "{template}");
    }
}

#[test]
fn what_segment_turned_off_is_an_error() {
    for template in [
        "{% for x in tags %}{% endfor %}",
        "{% include 'x' %}",
        "{% render 'x' %}",
        "{% case n %}{% endcase %}",
        "{{ tags | map: 'x' }}",
        "{{ tags | sort }}",
        "{{ tags | reverse }}",
        "{% nonsense %}",
        "{{ n",
        "{% if n %}",
        "{% endif %}",
        "{{ n | append }}",
    ] {
        assert!(rendered(template).is_err(), "{template}");
    }
}

#[test]
fn doubling_a_text_ends_before_it_fills_the_memory() {
    let mut template = String::from("{% assign a = 'aaaaaaaaaa' %}");
    for _ in 0..20 {
        template.push_str("{%assign a=a|append:a|append:a|append:a%}");
    }
    assert!(template.len() <= 1_000);
    assert!(rendered(&template).unwrap_err().contains("more than 10 MB"));
    let replaced =
        "{% assign a = 'aaaaaaaaaa' %}".to_owned() + &"{%assign a=a|replace:'a',a%}".repeat(30);
    assert!(rendered(&replaced).unwrap_err().contains("more than 10 MB"));
}

#[test]
fn tags_inside_tags_are_bounded() {
    let template = "{%if n%}".repeat(100) + &"{%endif%}".repeat(100);
    assert!(
        rendered(&template)
            .unwrap_err()
            .contains("inside each other")
    );
    let conditions = format!("{{% if {}n %}}x{{% endif %}}", "not ".repeat(200));
    assert!(rendered(&conditions).is_err());
}
