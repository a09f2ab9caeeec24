//! Several values of every type.

/// Types and collations that only a test needs.
pub(crate) const SETUP: &str = "\
CREATE EXTENSION citext; CREATE EXTENSION hstore; CREATE EXTENSION ltree;
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy; \"very\"');
CREATE TYPE place AS (street text, number int, seen timestamptz);
CREATE TYPE floatrange AS RANGE (subtype = float8);
CREATE DOMAIN code AS int CHECK (VALUE > 0);
CREATE DOMAIN label AS citext;
CREATE DOMAIN codes AS int[];";

/// Types that no column of a table can hold a value of, and why.
pub(crate) const INTERNAL: &[(&str, &str)] = &[
    ("pg_node_tree", "no input: a parsed expression"),
    ("pg_ndistinct", "no input: statistics"),
    ("pg_dependencies", "no input: statistics"),
    ("pg_mcv_list", "no input: statistics"),
    ("pg_brin_bloom_summary", "no input: part of an index"),
    ("pg_brin_minmax_multi_summary", "no input: part of an index"),
    ("gtsvector", "no input: part of an index"),
    ("ghstore", "no input: part of an index"),
    ("ltree_gist", "no input: part of an index"),
];

/// Changes between values that PostgreSQL itself calls equal: they need not be found.
pub(crate) const ACCEPTED: &[(&str, &str, &str)] = &[("float4", "0", "-0"), ("float8", "0", "-0")];

/// One type and values of it.
pub(crate) struct Sample {
    /// `typname`.
    pub name: &'static str,
    /// The type as a column is declared.
    pub column: &'static str,
    pub values: Vec<String>,
    /// Whether a column can be an array of it.
    pub array: bool,
}

impl Sample {
    /// The values as SQL of the column's type.
    pub(crate) fn literals(&self) -> Vec<String> {
        let quoted = |value: &String| format!("'{}'::{}", value.replace('\'', "''"), self.column);
        self.values.iter().map(quoted).collect()
    }

    /// The base type whose written rule applies.
    pub(crate) fn base(&self) -> &'static str {
        self.name
    }
}

/// All samples.
pub(crate) fn all() -> Vec<Sample> {
    let mut samples: Vec<Sample> = SAMPLES
        .iter()
        .map(|(name, column, values)| Sample {
            name,
            column,
            values: values.iter().map(|&value| value.to_owned()).collect(),
            // Vectors are arrays already; the domain over an array makes arrays of arrays.
            array: !matches!(*name, "oidvector" | "int2vector" | "codes"),
        })
        .collect();
    let numeric = samples.iter_mut().find(|sample| sample.name == "numeric");
    let digits = "1234567890".repeat(50);
    let values = &mut numeric.expect("numeric is sampled").values;
    values.push(format!("{digits}.{digits}"));
    values.push(format!("-{digits}.{}1", &digits[1..]));
    samples
}

const SAMPLES: &[(&str, &str, &[&str])] = &[
    ("bool", "bool", &["t", "f"]),
    ("int2", "int2", &["0", "1", "-32768", "32767"]),
    (
        "int4",
        "int4",
        &["0", "1", "-1", "2147483647", "-2147483648"],
    ),
    // 2^32 apart, and pairs whose halves fold to the same 32 bits.
    (
        "int8",
        "int8",
        &[
            "0",
            "-1",
            "1",
            "4294967296",
            "4294967297",
            "9223372036854775807",
            "-9223372036854775808",
            "-4294967297",
        ],
    ),
    ("oid", "oid", &["0", "1", "4294967295"]),
    (
        "float4",
        "float4",
        &[
            "0",
            "-0",
            "1",
            "0.1",
            "16777216",
            "1e20",
            "3.4028235e38",
            "1e-45",
            "NaN",
            "Infinity",
            "-Infinity",
        ],
    ),
    (
        "float8",
        "float8",
        &[
            "0",
            "-0",
            "1",
            "0.1",
            "0.30000000000000004",
            "1e20",
            "1.7976931348623157e308",
            "5e-324",
            "NaN",
            "Infinity",
            "-Infinity",
        ],
    ),
    (
        "numeric",
        "numeric",
        &[
            "0",
            "1.0",
            "1.00",
            "1.000001",
            "-1",
            "0.0001",
            "100000000000000000000",
            "1e-20",
            "12345.6789",
            "10000",
            "NaN",
            "Infinity",
            "-Infinity",
        ],
    ),
    (
        "money",
        "money",
        &["0", "1", "-1.05", "92233720368547758.07"],
    ),
    (
        "text",
        "text",
        &[
            "",
            "a",
            "A",
            "a ",
            "null",
            "NULL",
            "é",
            "e\u{301}",
            "🦀",
            "\"\\\n\r\t\u{1}",
            "{1,2}",
        ],
    ),
    ("varchar", "varchar(20)", &["", "a", "A", "a ", "é"]),
    ("bpchar", "char(5)", &["", "a", "A", "ab", "é"]),
    ("char", "\"char\"", &["a", "A", ""]),
    ("name", "name", &["a", "A", ""]),
    ("citext", "citext", &["a", "A", "é", "É", ""]),
    ("label", "label", &["a", "A"]),
    (
        "bytea",
        "bytea",
        &["", "\\x00", "\\x0000", "\\xff", "\\x6162636465", "\\x5c"],
    ),
    ("bit", "bit(3)", &["000", "001", "100"]),
    ("varbit", "varbit", &["", "0", "00", "1"]),
    (
        "date",
        "date",
        &[
            "1970-01-01",
            "2000-01-01",
            "2024-02-29",
            "0044-03-15 BC",
            "0001-12-31 BC",
            "4713-01-01 BC",
            "5874897-12-31",
            "infinity",
            "-infinity",
        ],
    ),
    (
        "time",
        "time",
        &[
            "00:00",
            "13:37:00.5",
            "13:37:00.500001",
            "14:48:34.967296",
            "24:00",
        ],
    ),
    (
        "timetz",
        "timetz",
        &[
            "00:00+00",
            "00:00+01",
            "13:37:00.5-03:30",
            "24:00+00",
            "12:00+02",
            "10:00+00",
        ],
    ),
    (
        "timestamp",
        "timestamp",
        // The third is 2^32 µs, or 71 minutes, after the second.
        &[
            "1970-01-01 00:00",
            "2024-02-29 12:00",
            "2024-02-29 13:11:34.967296",
            "0044-03-15 13:37:00.5 BC",
            "4713-01-01 00:00 BC",
            "294276-12-31 23:59:59.999999",
            "infinity",
            "-infinity",
        ],
    ),
    (
        "timestamptz",
        "timestamptz",
        &[
            "1970-01-01 00:00+00",
            "2024-02-29 12:00+00",
            "2024-02-29 13:11:34.967296+00",
            "2024-10-27 01:30+01",
            "0044-03-15 13:37:00.5+00 BC",
            "294276-12-31 23:59:59.999999+00",
            "infinity",
            "-infinity",
        ],
    ),
    (
        "interval",
        "interval",
        &[
            "1 month",
            "30 days",
            "720 hours",
            "1 day",
            "24 hours",
            "-1 day",
            "1 year 2 months 3 days 04:05:06.789",
            "-1 month 1 day -1 second",
            "0",
        ],
    ),
    (
        "uuid",
        "uuid",
        &[
            "00000000-0000-0000-0000-000000000000",
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a12",
        ],
    ),
    (
        "json",
        "json",
        &[
            "null",
            "{}",
            "[]",
            "{\"a\":{\"b\":1}}",
            "{\"a\":{},\"b\":1}",
            "{\"a\": 1, \"a\": 2}",
            "1e400",
            "\"x\"",
        ],
    ),
    (
        "jsonb",
        "jsonb",
        &[
            "null",
            "{}",
            "[]",
            "{\"a\":{\"b\":1}}",
            "{\"a\":{},\"b\":1}",
            "[[1],2]",
            "[[1,2]]",
            "1.0",
            "1.00",
            "\"1\"",
            "1",
            "12345678901234567890.123456789",
        ],
    ),
    ("jsonpath", "jsonpath", &["$.a", "$.b", "$[*] ? (@.x > 1)"]),
    ("xml", "xml", &["<a/>", "<a></a>", "<a>é</a>", "x"]),
    (
        "inet",
        "inet",
        &[
            "10.0.0.1",
            "10.0.0.1/24",
            "10.0.0.2",
            "::1",
            "::ffff:10.0.0.1",
        ],
    ),
    ("cidr", "cidr", &["10.0.0.0/8", "10.0.0.0/16", "::/0"]),
    (
        "macaddr",
        "macaddr",
        &["08:00:2b:01:02:03", "08:00:2b:01:02:04"],
    ),
    (
        "macaddr8",
        "macaddr8",
        &["08:00:2b:01:02:03:04:05", "08:00:2b:01:02:03:04:06"],
    ),
    ("point", "point", &["(0,0)", "(0,1)", "(1e300,-1)"]),
    ("line", "line", &["{1,2,3}", "{1,2,4}"]),
    ("lseg", "lseg", &["[(0,0),(1,1)]", "[(1,1),(0,0)]"]),
    ("box", "box", &["(1,1),(0,0)", "(2,1),(0,0)"]),
    ("path", "path", &["[(0,0),(1,1)]", "((0,0),(1,1))"]),
    (
        "polygon",
        "polygon",
        &["((0,0),(1,1),(2,0))", "((0,0),(2,0),(1,1))"],
    ),
    ("circle", "circle", &["<(0,0),1>", "<(0,0),2>"]),
    ("tsvector", "tsvector", &["a b", "a:1 b:2", "a:1A b:2"]),
    ("tsquery", "tsquery", &["a & b", "a | b", "a <-> b", "a:*"]),
    ("pg_lsn", "pg_lsn", &["0/1", "1/0"]),
    ("pg_snapshot", "pg_snapshot", &["10:20:", "10:20:15"]),
    ("txid_snapshot", "txid_snapshot", &["10:20:", "10:20:15"]),
    ("xid", "xid", &["1", "4294967295"]),
    ("xid8", "xid8", &["1", "4294967297"]),
    ("cid", "cid", &["1", "2"]),
    ("tid", "tid", &["(0,1)", "(1,0)"]),
    ("oidvector", "oidvector", &["", "1 2", "2 1"]),
    ("int2vector", "int2vector", &["", "1 2", "2 1"]),
    ("refcursor", "refcursor", &["a", "A"]),
    (
        "aclitem",
        "aclitem",
        &["postgres=r/postgres", "postgres=w/postgres"],
    ),
    ("regproc", "regproc", &["now", "version"]),
    (
        "regprocedure",
        "regprocedure",
        &["sin(float8)", "cos(float8)"],
    ),
    ("regoper", "regoper", &["|/", "||/"]),
    (
        "regoperator",
        "regoperator",
        &["+(int4,int4)", "-(int4,int4)"],
    ),
    ("regclass", "regclass", &["pg_class", "pg_type"]),
    ("regtype", "regtype", &["int4", "text"]),
    ("regconfig", "regconfig", &["english", "simple"]),
    (
        "regdictionary",
        "regdictionary",
        &["simple", "english_stem"],
    ),
    ("regrole", "regrole", &["postgres", "pg_monitor"]),
    ("regnamespace", "regnamespace", &["public", "pg_catalog"]),
    ("regcollation", "regcollation", &["\"C\"", "\"POSIX\""]),
    (
        "int4range",
        "int4range",
        &["empty", "[1,2)", "[1,3)", "(,)", "[1,)"],
    ),
    (
        "int8range",
        "int8range",
        &["empty", "[1,2)", "[1,4294967298)"],
    ),
    (
        "numrange",
        "numrange",
        &["empty", "[1,2)", "[1,2]", "(1,2)"],
    ),
    (
        "tsrange",
        "tsrange",
        &[
            "empty",
            "[2024-02-29 12:00,2024-03-01)",
            "[2024-02-29 13:11:34.967296,2024-03-01)",
        ],
    ),
    (
        "tstzrange",
        "tstzrange",
        &[
            "empty",
            "[2024-02-29 12:00+00,2024-03-01 00:00+00)",
            "[2024-02-29 13:11:34.967296+00,2024-03-01 00:00+00)",
        ],
    ),
    (
        "daterange",
        "daterange",
        &["empty", "[2024-02-29,2024-03-01)", "(,infinity)", "(,)"],
    ),
    (
        "floatrange",
        "floatrange",
        &["empty", "[0.1,0.2)", "[0.1,0.2]"],
    ),
    (
        "int4multirange",
        "int4multirange",
        &["{}", "{[1,2)}", "{[1,2),[3,4)}"],
    ),
    ("int8multirange", "int8multirange", &["{}", "{[1,2)}"]),
    ("nummultirange", "nummultirange", &["{}", "{[1,2)}"]),
    (
        "tsmultirange",
        "tsmultirange",
        &["{}", "{[2024-02-29 12:00,2024-03-01)}"],
    ),
    (
        "tstzmultirange",
        "tstzmultirange",
        &["{}", "{[2024-02-29 12:00+00,2024-03-01 00:00+00)}"],
    ),
    (
        "datemultirange",
        "datemultirange",
        &["{}", "{[2024-02-29,2024-03-01)}"],
    ),
    ("floatmultirange", "floatmultirange", &["{}", "{[0.1,0.2)}"]),
    ("mood", "mood", &["sad", "ok", "happy; \"very\""]),
    (
        "place",
        "place",
        &[
            "(,,)",
            "(\"\",,)",
            "(a,1,\"2024-02-29 12:00+00\")",
            "(a,1,\"2024-02-29 13:11:34.967296+00\")",
        ],
    ),
    ("code", "code", &["1", "2"]),
    ("codes", "codes", &["{}", "{1,2}", "{{1,2}}", "{NULL}"]),
    (
        "hstore",
        "hstore",
        &["", "a=>1", "a=>2", "a=>NULL", "a=>\"NULL\""],
    ),
    ("ltree", "ltree", &["", "a.b", "a.B"]),
    ("lquery", "lquery", &["a.*", "a.b"]),
    ("ltxtquery", "ltxtquery", &["a & b", "a | b"]),
];
