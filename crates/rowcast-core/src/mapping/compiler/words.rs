//! The words of the rule language beside its functions: operators and modifiers, each with the
//! sentence and the example that the reference shows.

/// Operators that are no functions.
pub(in crate::mapping) const OPERATORS: [(&str, &str, &str); 7] = [
    (
        "column",
        "the value of a column; what a plain string means",
        "{ column: plan, default: free }",
    ),
    (
        "literal",
        "a constant: any value, taken as it stands",
        "{ literal: rowcast }",
    ),
    (
        "template",
        "text with `{{ … }}`; what a string with `{{` means",
        "{ template: \"{{ first }} {{ last }}\" }",
    ),
    (
        "object",
        "an object whose members are rules",
        "{ object: { city: city, country: { upper: country } } }",
    ),
    (
        "list",
        "a list whose items are rules",
        "{ list: [mobile, home] }",
    ),
    (
        "coalesce",
        "the first value that is not null",
        "{ coalesce: [mobile, home, { literal: none }] }",
    ),
    (
        "if",
        "`then` when the condition is true, else `else` (null without it)",
        "{ if: { when: { equals: [plan, { literal: pro }] }, then: price, else: 0 } }",
    ),
];

/// Modifiers beside an operator.
pub(in crate::mapping) const MODIFIERS: [(&str, &str); 3] = [
    ("default", "a constant that takes the place of null"),
    ("as", "a cast, after `default`"),
    (
        "nulls",
        "what happens to a null field: `send` it (the default), `omit` the field, or `clear` it by sending an empty text",
    ),
];
