//! The traps of `hash_record_extended`, each by name (semantics 5).

use super::{Pair, prove, table, world};

/// Requires each pair of values of one type to be told apart, in both directions.
async fn told_apart(name: &str, column: &str, pairs: &[(&str, &str)]) {
    let mut world = world(name).await;
    let types = [column.to_owned()];
    table(&mut world, &types).await;
    let mut changes = Vec::new();
    for (a, b) in pairs {
        for (from, to) in [(a, b), (b, a)] {
            changes.push(Pair {
                column: 0,
                from: (*from).to_owned(),
                to: (*to).to_owned(),
                accepted: false,
            });
        }
    }
    prove(&world, &types, &changes).await;
}

#[tokio::test]
async fn rule_5_instants_71_minutes_apart_differ() {
    // 2^32 microseconds are 71 minutes 34.967296 seconds; PostgreSQL's hash folds 64 bits to 32.
    let zones = [
        ("'2024-02-29 12:00'", "'2024-02-29 13:11:34.967296'"),
        ("'1999-12-31 23:59:59.999999'", "'2000-01-01 00:00'"),
    ];
    told_apart("rule5ts", "timestamp", &zones).await;
    told_apart("rule5tstz", "timestamptz", &zones).await;
    told_apart("rule5time", "time", &[("'00:00'", "'01:11:34.967296'")]).await;
    told_apart(
        "rule5timetz",
        "timetz",
        &[
            ("'00:00+00'", "'01:11:34.967296+00'"),
            ("'10:00+00'", "'12:00+02'"),
        ],
    )
    .await;
}

#[tokio::test]
async fn rule_5_integers_that_fold_to_the_same_32_bits_differ() {
    // For positive values the hash is that of low XOR high, for negative ones of low XOR NOT high.
    told_apart(
        "rule5int8",
        "bigint",
        &[
            ("0", "4294967297"),
            ("1", "4294967296"),
            ("-1", "4294967295"),
            ("5", "(5::bigint << 32)"),
        ],
    )
    .await;
}

#[tokio::test]
async fn rule_5_jsonb_of_another_shape_differs() {
    told_apart(
        "rule5jsonb",
        "jsonb",
        &[
            (r#"'{"a":{"b":1}}'"#, r#"'{"a":{},"b":1}'"#),
            ("'[[1],2]'", "'[[1,2]]'"),
            ("'null'", "NULL"),
            ("'\"null\"'", "'null'"),
            ("'{}'", "'[]'"),
        ],
    )
    .await;
}

#[tokio::test]
async fn rule_5_arrays_of_another_shape_differ() {
    told_apart(
        "rule5array",
        "int[]",
        &[
            ("'{1,2}'", "'{{1,2}}'"),
            ("'{{1},{2}}'", "'{{1,2}}'"),
            ("'{}'", "NULL"),
            ("'{NULL}'", "'{}'"),
            ("'{NULL,1}'", "'{1,NULL}'"),
            ("'[0:1]={1,2}'", "'{1,2}'"),
        ],
    )
    .await;
    told_apart(
        "rule5texts",
        "text[]",
        &[("'{NULL}'", "'{\"NULL\"}'"), ("'{\"a,b\"}'", "'{a,b}'")],
    )
    .await;
    told_apart("rule5bigints", "bigint[]", &[("'{0}'", "'{4294967297}'")]).await;
}

#[tokio::test]
async fn rule_5_text_that_its_type_calls_equal_differs() {
    told_apart(
        "rule5citext",
        "citext",
        &[("'ann'", "'Ann'"), ("'é'", "'É'")],
    )
    .await;
    told_apart("rule5label", "label", &[("'ann'", "'Ann'")]).await;
    told_apart("rule5citexts", "citext[]", &[("'{ann}'", "'{Ann}'")]).await;
    told_apart("rule5enum", "mood", &[("'sad'", "'ok'"), ("'ok'", "NULL")]).await;
    told_apart(
        "rule5null",
        "text",
        &[("'null'", "NULL"), ("''", "NULL"), ("'a'", "'a '")],
    )
    .await;
}

#[tokio::test]
async fn rule_5_char_n_differs_by_its_content() {
    // Padding is not content: `'a'` and `'a  '` are the same value of char(5).
    told_apart(
        "rule5char",
        "char(5)",
        &[("'a'", "'A'"), ("''", "NULL"), ("'a'", "' a'")],
    )
    .await;
}

#[tokio::test]
async fn rule_5_intervals_of_equal_length_differ() {
    told_apart(
        "rule5interval",
        "interval",
        &[
            ("'1 month'", "'30 days'"),
            ("'1 day'", "'24 hours'"),
            ("'1 year'", "'360 days'"),
        ],
    )
    .await;
}

#[tokio::test]
async fn rule_5_text_under_a_non_deterministic_collation_differs() {
    let world = world("icu").await;
    let icu: bool = world
        .client
        .query_one(
            "SELECT EXISTS (SELECT FROM pg_collation WHERE collprovider = 'i')",
            &[],
        )
        .await
        .unwrap()
        .get(0);
    assert!(icu, "the tests need a PostgreSQL with ICU");
    drop(world);
    let mut world = super::world("rule5icu").await;
    world
        .sql("CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level1', deterministic = false); CREATE DOMAIN loose_text AS text COLLATE loose")
        .await;
    for (i, column) in ["text COLLATE loose", "varchar COLLATE loose", "loose_text"]
        .into_iter()
        .enumerate()
    {
        let types = [column.to_owned()];
        world.config.sync.name = format!("loose{i}");
        world.sql("DROP TABLE IF EXISTS t").await;
        table(&mut world, &types).await;
        let equal: bool = world
            .client
            .query_one("SELECT v0 = 'ÉCOLE' FROM (SELECT (NULL::t).v0 UNION ALL SELECT 'ecole') x WHERE v0 IS NOT NULL", &[])
            .await
            .unwrap()
            .get(0);
        assert!(
            equal,
            "the collation must call them equal, or this proves nothing"
        );
        let pair = |from: &str, to: &str| Pair {
            column: 0,
            from: from.into(),
            to: to.into(),
            accepted: false,
        };
        prove(
            &world,
            &types,
            &[pair("'ecole'", "'ÉCOLE'"), pair("'école'", "'ecole'")],
        )
        .await;
    }
}

#[tokio::test]
async fn rule_5_the_ends_of_the_calendar_and_of_numbers_differ() {
    told_apart(
        "rule5ends",
        "timestamptz",
        &[
            ("'infinity'", "'294276-12-31 23:59:59.999999+00'"),
            ("'-infinity'", "'4713-01-01 00:00+00 BC'"),
            ("'0001-01-01 00:00+00 BC'", "'0001-01-01 00:00+00'"),
        ],
    )
    .await;
    told_apart(
        "rule5dates",
        "date",
        &[
            ("'infinity'", "'5874897-12-31'"),
            ("'0044-03-15 BC'", "'0044-03-15'"),
        ],
    )
    .await;
    told_apart(
        "rule5nan",
        "float8",
        &[("'NaN'", "'Infinity'"), ("'NaN'", "NULL")],
    )
    .await;
    let digits = "9".repeat(999);
    let (a, b) = (format!("{digits}1"), format!("{digits}2"));
    told_apart(
        "rule5numeric",
        "numeric",
        &[(&a, &b), ("'NaN'", "'Infinity'"), ("0", "NULL")],
    )
    .await;
}

#[tokio::test]
async fn rule_5_numerics_of_either_sign_differ() {
    // PostgreSQL's hash of numeric leaves the sign out, and makes NaN and the infinities one.
    told_apart(
        "rule5sign",
        "numeric",
        &[
            ("1", "-1"),
            ("12.50", "-12.50"),
            ("'Infinity'", "'-Infinity'"),
            ("'NaN'", "'Infinity'"),
        ],
    )
    .await;
    told_apart("rule5prices", "numeric(10,2)", &[("5", "-5")]).await;
}
