//! Rules as users write them, compiled and applied: every operator, every modifier, every mistake.

use super::*;
use crate::json::{from_json, push_object};
use crate::row::Column;
use proptest::prelude::*;

fn context() -> RunContext {
    RunContext {
        sync: "s".into(),
        sync_id: "id".into(),
        run: 1,
        epoch: 1,
        generation: 1,
        object: "o".into(),
        key_columns: vec!["id".into()],
        started_at: 0,
    }
}

fn schema() -> Schema {
    let column = |name: &str, type_name: &str| Column {
        name: name.into(),
        type_name: type_name.into(),
    };
    Schema {
        columns: vec![
            column("id", "bigint"),
            column("Email", "text"),
            column("first_name", "character varying(80)"),
            column("last_name", "text"),
            column("plan", "text"),
            column("total", "numeric(10,2)"),
            column("last_seen", "timestamp with time zone"),
            column("photo", "bytea"),
            column("mobile", "text"),
            column("home", "text"),
        ],
    }
}

fn row() -> Row {
    Row {
        schema: Arc::new(schema()),
        values: vec![
            Value::Int(7),
            Value::from("Ada@X.org"),
            Value::from("Ada"),
            Value::Null,
            Value::Null,
            Value::Decimal("12345678901234567890.10".into()),
            Value::TimestampTz(1_709_209_800_500_000),
            Value::Bytes(Box::from(*b"\x00\x01")),
            Value::from("1"),
            Value::Null,
        ],
    }
}

fn compile(fields: &str, match_on: Option<&str>) -> Result<FieldMapping, Vec<MappingProblem>> {
    let match_on = match_on.map(|text| from_json(text).unwrap());
    FieldMapping::compile(CompileInput {
        fields: &from_json(fields).unwrap(),
        match_on: match_on.as_ref(),
        key_columns: &["id".into()],
        schema: Some(&schema()),
        sensitive: &["Email".into()],
    })
}

fn fields(fields: &str) -> String {
    let mapping = compile(fields, None).unwrap();
    let mut out = String::new();
    push_object(&mut out, &mapping.fields(&row(), &context()).unwrap());
    let mut written = String::new();
    mapping
        .push_fields(&row(), &context(), &mut written)
        .unwrap();
    assert_eq!(
        written, out,
        "text without values in between is the same text"
    );
    out
}

fn problems(fields: &str) -> Vec<String> {
    compile(fields, None)
        .unwrap_err()
        .into_iter()
        .map(|problem| {
            assert!(problem.reason.message.starts_with(&problem.path));
            format!(
                "{} {} | {}",
                problem.reason.code,
                problem.reason.message,
                problem.reason.hint.unwrap_or_default()
            )
        })
        .collect()
}

#[test]
fn the_example_of_the_contract_maps() {
    assert_eq!(
        fields(
            r#"{"firstname":"first_name","name":"{{ first_name }} {{ last_name }}",
                "plan":{"column":"plan","default":"free"},"source":{"literal":"rowcast"},
                "email_sha256":{"sha256":{"lower":"Email"}},
                "address":{"object":{"city":"mobile","country":{"upper":"first_name"}}},
                "phones":{"list":["mobile","home"]},
                "seen_at":{"column":"last_seen","as":"unix","nulls":"omit"},
                "total":"{{ total }}","n":5,"t":true,"nothing":null,"a.b":"id"}"#
        ),
        r#"{"firstname":"Ada","name":"Ada ","plan":"free","source":"rowcast","email_sha256":"HASH","address":{"city":"1","country":"ADA"},"phones":["1",null],"seen_at":1709209800,"total":12345678901234567890.10,"n":5,"t":true,"nothing":null,"a.b":7}"#
            .replace("HASH", &sha256_of("ada@x.org"))
    );
}

fn sha256_of(text: &str) -> String {
    use sha2::Digest as _;
    let mut out = String::new();
    for byte in sha2::Sha256::digest(text.as_bytes()) {
        out.push_str(&format!("{byte:02x}"));
    }
    out
}

#[test]
fn null_policies_send_omit_or_clear() {
    assert_eq!(
        fields(
            r#"{"a":{"column":"plan"},"b":{"column":"plan","nulls":"send"},"c":{"column":"plan","nulls":"omit"},
                "d":{"column":"plan","nulls":"clear"},"e":{"column":"first_name","nulls":"clear"},
                "o":{"object":{"x":{"column":"plan","nulls":"omit"}}},"l":{"list":["mobile",{"column":"home","nulls":"omit"}]}}"#
        ),
        r#"{"a":null,"b":null,"d":"","e":"Ada","o":{},"l":["1"]}"#
    );
}

#[test]
fn conditions_and_coalesce_choose() {
    assert_eq!(
        fields(
            r#"{"a":{"if":{"when":{"equals":["first_name",{"literal":"Ada"}]},"then":"total","else":0}},
                "b":{"if":{"when":"{{ total > 10 }}","then":{"literal":"big"}}},
                "c":{"if":{"when":{"is_null":"mobile"},"then":1}},
                "d":{"coalesce":["plan","home",{"literal":"none"}]},
                "e":{"coalesce":["plan","home"],"default":"x","as":"list"}}"#
        ),
        r#"{"a":12345678901234567890.10,"b":"big","c":null,"d":"none","e":["x"]}"#
    );
}

#[test]
fn every_problem_is_reported_at_once_with_its_path() {
    let problems = problems(
        r#"{"a":"email","b":{"lowr":"plan"},"phones":{"list":["mobile",{"sha256":["home","x"]}]},
            "c":{"column":"plan","literal":1},"d":{"default":1},"e":["plan"],"f":"{{ plan | uper }}",
            "g":{"column":"plan","as":"int64"},"h":{"lower":{"column":"plan","nulls":"omit"}},
            "i":{"if":{"when":"plan","than":1}},"j":{"city":"plan"},"k":{"object":["plan"]},
            "l":"{{ first_nam }}!","m":"{% if a %}","n":{"column":"plan","nulls":"drop"}}"#,
    );
    let expected = [
        "E0501 fields.a: the model has no column `email` | columns are case-sensitive; the model has `Email`",
        "E0502 fields.b.lowr: `lowr` is not an operator, function or modifier | did you mean `lower`?",
        "E0502 fields.phones[1].sha256: `sha256` takes 1 argument, got 2",
        "E0502 fields.c: `column` and `literal` exclude each other",
        "E0502 fields.d: a rule needs an operator",
        "E0502 fields.e: a list is not a rule",
        "E0502 fields.f: expression `plan | uper` can't be read | did you mean `upper`?",
        "E0502 fields.g.as: this is not a type to cast to",
        "E0502 fields.h.lower.nulls: `nulls` belongs to a field",
        "E0502 fields.i.if.than: `if` has no `than`",
        "E0502 fields.i.if: `then` is missing",
        "E0502 fields.j.city: `city` is not an operator",
        "E0502 fields.k.object: `object` needs a mapping",
        "E0501 fields.l: the model has no column `first_nam` | did you mean `first_name`?",
        "E0502 fields.m: expression `{% if a %}` can't be read",
        "E0502 fields.n.nulls: this is not a way to treat nulls",
    ];
    for (found, expected) in problems.iter().zip(expected) {
        assert!(
            found.starts_with(expected),
            "{found}\nshould start with\n{expected}"
        );
    }
    assert_eq!(problems.len(), expected.len(), "{problems:#?}");
}

#[test]
fn types_are_checked_against_the_model() {
    for (rule, part) in [
        (r#"{"lower":"photo"}"#, "column `photo` is bytea"),
        (r#"{"column":"plan","as":"unix"}"#, "can't be cast to unix"),
        (r#"{"unix":"plan"}"#, "column `plan` is text"),
        (
            r#"{"add":["total","plan"]}"#,
            "fields.f.add[1]: column `plan` is text",
        ),
        (r#"{"date_trunc":["total","day"]}"#, "can't work on"),
        (r#"{"date_trunc":["last_seen","dy"]}"#, "`dy` is not a unit"),
        (r#"{"date_format":["last_seen","%!"]}"#, "pattern"),
        (
            r#"{"column":"last_seen","as":"integer"}"#,
            "can't be cast to integer",
        ),
    ] {
        let problems = problems(&format!(r#"{{"f":{rule}}}"#));
        assert_eq!(problems.len(), 1, "{rule}: {problems:?}");
        assert!(problems[0].contains(part), "{rule}: {problems:?}");
    }
    for rule in [
        r#"{"upper":"total"}"#,
        r#"{"unix":{"parse_date":"plan"}}"#,
        r#"{"sha256":"photo"}"#,
    ] {
        compile(&format!(r#"{{"f":{rule}}}"#), None).unwrap();
    }
}

#[test]
fn a_sensitive_value_is_in_no_error() {
    let mut row = row();
    row.values[1] = Value::from("secret@x.org");
    row.values[2] = Value::from("visible");
    for rule in [
        r#"{"column":"Email","as":"integer"}"#,
        r#"{"parse_json":"Email"}"#,
        r#"{"add":[{"column":"Email"},1]}"#,
        r#""{{ Email + 1 }}""#,
        r#""{{ Email | int }}""#,
        r#""{{ Email | parse_date('%Y') }}""#,
        r#"{"if":{"when":"Email","then":1}}"#,
        r#"{"concat":["first_name","Email"],"as":"date"}"#,
    ] {
        let fields = from_json(&format!(r#"{{"f":{rule}}}"#)).unwrap();
        let mapping = FieldMapping::compile(CompileInput {
            fields: &fields,
            match_on: None,
            key_columns: &[],
            schema: None,
            sensitive: &["Email".into()],
        })
        .unwrap();
        let reason = mapping.fields(&row, &context()).unwrap_err();
        assert!(
            !format!("{reason:?}").contains("secret"),
            "{rule}: {reason:?}"
        );
        assert!(reason.message.starts_with("fields.f"), "{rule}: {reason:?}");
    }
    let mapping = compile(r#"{"f":{"column":"first_name","as":"integer"}}"#, None).unwrap();
    let reason = mapping.fields(&row, &context()).unwrap_err();
    assert_eq!(reason.code, Code::CastFailed);
    assert!(reason.to_string().contains("visible"));
}

#[test]
fn rule_11_the_identity_is_match_on_else_the_primary_key() {
    let identity = |mapping: &FieldMapping, row: &Row| {
        let mut out = String::new();
        mapping.match_on(row, &context()).map(|object| {
            push_object(&mut out, &object);
            out
        })
    };
    let by_key = compile("{}", None).unwrap();
    assert_eq!(identity(&by_key, &row()).unwrap(), r#"{"id":7}"#);
    assert_eq!(by_key.columns(), ["id".into()]);
    let mut large = row();
    large.values[0] = Value::Int(9_007_199_254_740_993);
    assert_eq!(
        identity(&by_key, &large).unwrap(),
        r#"{"id":"9007199254740993"}"#
    );
    large.values[0] = Value::Null;
    assert_eq!(identity(&by_key, &large).unwrap_err().code, Code::NullKey);

    let by_email = compile("{}", Some(r#"{"email":{"lower":"Email"}}"#)).unwrap();
    assert_eq!(
        identity(&by_email, &row()).unwrap(),
        r#"{"email":"ada@x.org"}"#
    );
    let mut without = row();
    without.values[1] = Value::Null;
    let reason = identity(&by_email, &without).unwrap_err();
    assert_eq!(reason.code, Code::MatchMissing);
    assert!(reason.message.starts_with("match_on.email"));
    assert!(compile("{}", Some("{}")).is_err());
    let cleared = r#"{"email":{"column":"Email","nulls":"clear"}}"#;
    assert!(compile("{}", Some(cleared)).is_err());
}

#[test]
fn rule_6_a_digest_changes_with_the_meaning_of_a_field_and_not_with_its_writing() {
    let digests = |fields: &str, match_on| compile(fields, match_on).unwrap().digests();
    let one = digests(
        r#"{"a":"plan","b":{"lower":"Email"},"c":"{{ plan }}"}"#,
        None,
    );
    let other = digests(
        r#"{"b":{"lower":[{"column":"Email"}]},"c":{"column":"plan"},"a":{"column":"plan","nulls":"send"}}"#,
        None,
    );
    assert_eq!(one, other);
    assert_eq!(one["a"].len(), 64);
    for changed in [
        r#"{"a":{"column":"plan","default":1}}"#,
        r#"{"a":{"column":"plan","default":"1"}}"#,
        r#"{"a":{"column":"plan","as":"string"}}"#,
        r#"{"a":{"column":"plan","nulls":"omit"}}"#,
        r#"{"a":{"literal":"plan"}}"#,
        r#"{"a":"{{ plan }}!"}"#,
        r#"{"a":"mobile"}"#,
    ] {
        assert_ne!(digests(changed, None)["a"], one["a"], "{changed}");
    }
    let matched = digests(r#"{"match_on:email":"plan"}"#, Some(r#"{"email":"Email"}"#));
    let names: Vec<&str> = matched.keys().map(String::as_str).collect();
    assert_eq!(names, ["fields:match_on:email", "match_on:email"]);
}

#[test]
fn rows_of_several_schemas_find_their_columns() {
    let mapping = compile(r#"{"a":"plan","b":"first_name"}"#, None).unwrap();
    let other = Row {
        schema: Arc::new(Schema {
            columns: ["first_name", "plan", "id"]
                .map(|name| Column {
                    name: name.into(),
                    type_name: "text".into(),
                })
                .into(),
        }),
        values: vec![Value::from("x"), Value::from("y"), Value::Int(1)],
    };
    for _ in 0..2 {
        assert_eq!(
            mapping.fields(&row(), &context()).unwrap()[1].1,
            Value::from("Ada")
        );
        assert_eq!(
            mapping.fields(&other, &context()).unwrap()[1].1,
            Value::from("x")
        );
    }
    let missing = Row {
        schema: Arc::new(Schema::default()),
        values: Vec::new(),
    };
    assert_eq!(
        mapping.fields(&missing, &context()).unwrap_err().code,
        Code::UnknownColumn
    );
}

#[test]
fn a_mapping_describes_itself_on_one_line_a_field() {
    let mapping = compile(
        r#"{"a":"plan","b":{"sha256":{"lower":"Email"}},"c":"{{ plan }}!"}"#,
        None,
    )
    .unwrap();
    let described: Vec<String> = mapping
        .describe()
        .into_iter()
        .map(|(name, text)| format!("{name}: {text}"))
        .collect();
    assert_eq!(
        described,
        [
            "a: plan",
            "b: { sha256: { lower: Email } }",
            "c: {{ plan }}!"
        ]
    );
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        (any::<f64>(), any::<bool>()).prop_map(|(value, single)| Value::Float { value, single }),
        "-?[0-9]{1,25}(\\.[0-9]{1,25})?".prop_map(|text| Value::Decimal(text.into())),
        Just(Value::Decimal("NaN".into())),
        "\\PC{0,12}".prop_map(Value::from),
        proptest::collection::vec(any::<u8>(), 0..6).prop_map(|bytes| Value::Bytes(bytes.into())),
        any::<i32>().prop_map(Value::Date),
        (0..86_400_000_000_i64).prop_map(Value::Time),
        any::<i64>().prop_map(Value::Timestamp),
        any::<i64>().prop_map(Value::TimestampTz),
        any::<[u8; 16]>().prop_map(Value::Uuid),
        Just(Value::Json("{\"a\":[1.50,null]}".into())),
    ];
    leaf.prop_recursive(2, 12, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::List),
            proptest::collection::vec(("[a-z]{1,3}", inner), 0..4).prop_map(|members| {
                Value::Object(
                    members
                        .into_iter()
                        .map(|(name, value)| (name.into(), value))
                        .collect(),
                )
            }),
        ]
    })
}

fn any_rule() -> impl Strategy<Value = Value> {
    let names: Vec<&'static str> = crate::mapping::function::all()
        .map(|function| function.name)
        .chain([
            "object", "list", "coalesce", "if", "literal", "column", "template",
        ])
        .collect();
    let leaf = prop_oneof![
        4 => Just(Value::from("a")),
        2 => Just(Value::from("b")),
        1 => prop_oneof![
            proptest::sample::select(vec![
                "{{ a }}", "{{ a ~ b }}", "{{ a | lower }}", "{{ a + b }}", "{{ a | default(b) }}",
                "{{ [a, b] | sort }}", "{{ a == b }}", "{{ a in b }}", "{{ a[1:] }}", "x {{ b | string }}",
            ]).prop_map(str::to_owned),
            "\\{\\{ [ab.|~+ ]{1,8} \\}\\}",
        ].prop_map(Value::from),
        1 => any_value(),
    ];
    leaf.prop_recursive(4, 24, 3, move |inner| {
        let operator = proptest::sample::select(names.clone());
        let cast = proptest::sample::select(
            crate::mapping::cast::CASTS
                .iter()
                .map(|cast| cast.name)
                .collect::<Vec<_>>(),
        );
        let argument = prop_oneof![
            inner.clone(),
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::List),
            proptest::collection::vec(inner, 2..4).prop_map(|rules| Value::Object(
                ["when", "then", "else"]
                    .into_iter()
                    .map(Name::from)
                    .zip(rules)
                    .collect()
            )),
        ];
        (operator, argument, proptest::option::of(cast)).prop_map(|(operator, argument, cast)| {
            let mut members = vec![(Name::from(operator), argument)];
            members.extend(cast.map(|cast| (Name::from("as"), Value::from(cast))));
            Value::Object(members)
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn mapping_never_panics_and_the_same_row_gives_the_same_bytes(rule in any_rule(), a in any_value(), b in any_value()) {
        let fields = Value::Object(vec![("f".into(), rule)]);
        let input = CompileInput { fields: &fields, match_on: Some(&fields), key_columns: &[], schema: None, sensitive: &[] };
        let schema = Arc::new(Schema {
            columns: ["a", "b"].map(|name| Column { name: name.into(), type_name: "text".into() }).into(),
        });
        let row = Row { schema, values: vec![a, b] };
        if let Ok(mapping) = FieldMapping::compile(input) {
            let again = FieldMapping::compile(input).unwrap();
            prop_assert_eq!(mapping.digests(), again.digests());
            let text = |mapping: &FieldMapping| format!("{:?}", mapping.fields(&row, &context()));
            prop_assert_eq!(text(&mapping), text(&again));
            if let Ok(object) = mapping.fields(&row, &context()) {
                let mut json = String::new();
                push_object(&mut json, &object);
                prop_assert!(from_json(&json).is_ok(), "{}", json);
                let mut written = String::new();
                prop_assert!(mapping.push_fields(&row, &context(), &mut written).is_ok());
                prop_assert_eq!(written, json);
            } else {
                prop_assert!(mapping.push_fields(&row, &context(), &mut String::new()).is_err());
            }
            let _ = mapping.match_on(&row, &context());
        }
    }

    #[test]
    fn a_plain_column_is_never_changed(value in any_value()) {
        let fields = from_json(r#"{"f":"a","g":"{{ a }}"}"#).unwrap();
        let input = CompileInput { fields: &fields, match_on: None, key_columns: &[], schema: None, sensitive: &[] };
        let mapping = FieldMapping::compile(input).unwrap();
        let schema = Arc::new(Schema { columns: vec![Column { name: "a".into(), type_name: "text".into() }] });
        let row = Row { schema, values: vec![value] };
        let expected = format!("{:?}", row.values[0]);
        for (_, value) in mapping.fields(&row, &context()).unwrap() {
            prop_assert_eq!(format!("{value:?}"), expected.clone());
        }
    }
}
