//! Hostile templates: no input or output, no end of time or memory, and values are never read as
//! templates.

#![allow(clippy::unwrap_used, reason = "helpers of tests panic as tests do")]

use std::time::Instant;

use rowcast_core::mapping::template::{MAX_OUTPUT, Template};
use rowcast_core::{Name, Value};

/// Templates that must be refused, fail, or come to a small end at once.
const HOSTILE: [&str; 20] = [
    "{{ range(1000000000) }}",
    "{{ range(100000) | map('upper') | join('') }}",
    "{{ 'a' * 1000000000 }}",
    "{{ ('a' * 1000000) * 1000000 }}",
    "{{ 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!' is matching('(a+)+$') }}",
    "{{ v | replace('', v) | replace('', v) | replace('', v) }}",
    "{{ include('/etc/passwd') }}",
    "{{ open('/etc/passwd') }}",
    "{{ v.__class__.__mro__ }}",
    "{{ self }}",
    "{{ env('HOME') }}",
    "{{ now() }}",
    "{{ debug() }}",
    "{{ cycler }}",
    "{% for i in range(1000000) %}{{ i }}{% endfor %}",
    "{% include '/etc/passwd' %}{{ v }}",
    "{% set x = 1 %}{{ x }}",
    "{{ 2 ** 2 ** 2 ** 2 ** 2 ** 2 }}",
    "{{ [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[v]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]] }}",
    "{{ '%s' | format(v) }}",
];

#[test]
fn injection_templates_do_no_io_and_end_soon() {
    let context: Vec<(Name, Value)> = vec![("v".into(), Value::from("x".repeat(1_000).as_str()))];
    for source in HOSTILE {
        let began = Instant::now();
        if let Ok(template) = Template::compile(source)
            && let Ok(value) = template.evaluate(&context)
        {
            let text = rowcast_core::json::to_json(&value);
            assert!(text.len() <= 2 * MAX_OUTPUT, "{source}: {}", text.len());
            assert!(!text.contains("root:"), "{source} read a file: {text}");
            let home = std::env::var_os("HOME").unwrap_or_default();
            assert!(text != format!("{home:?}"), "{source} read a variable");
        }
        // A loaded machine has slow seconds; what does not end takes minutes.
        assert!(began.elapsed().as_secs() < 30, "{source}");
    }
    let deep = format!("{{{{ {}v{} }}}}", "(".repeat(5_000), ")".repeat(5_000));
    assert!(Template::compile(&deep).is_err(), "5,000 brackets");
    let long = "{{ v }}".repeat(20_000);
    assert!(Template::compile(&long).is_err(), "a template of 140 kB");
}

#[test]
fn injection_values_are_never_read_as_templates() {
    for value in [
        "{{ v }}",
        "{{ 1 + 1 }}",
        "{% raw %}",
        "{# comment #}",
        "${env:HOME}",
        "${file:/etc/passwd}",
    ] {
        let context: Vec<(Name, Value)> = vec![("v".into(), value.into())];
        let lone = Template::compile("{{ v }}").unwrap();
        assert_eq!(lone.evaluate(&context).unwrap().as_text(), Some(value));
        let within = Template::compile("<{{ v | upper }}>").unwrap();
        let wanted = format!("<{}>", value.to_uppercase());
        let found = within.evaluate(&context).unwrap();
        assert_eq!(found.as_text(), Some(wanted.as_str()));
    }
}
