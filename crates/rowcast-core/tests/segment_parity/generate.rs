//! Mappings, payloads and triggers by the thousand, the same for the same seed.
//!
//! Left out on purpose, because we differ on purpose: `$&` in replacements, `.length` and other
//! built-in names, keys with dots, text in triple braces that holds braces, a mapping that is a list
//! or a scalar as a whole, functions inside the parentheses of a trigger (the peer closes the group
//! with them), and Liquid's `json` of a missing value.

/// A small generator of numbers (xorshift64*): cases must be the same everywhere, for ever.
pub(crate) struct Seeded(u64);

impl Seeded {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % limit
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }

    /// Members of an object, or nothing, each with its chance of one half.
    fn some(&mut self, members: &[(&str, String)]) -> String {
        let chosen: Vec<String> = members
            .iter()
            .filter(|_| self.below(2) == 0)
            .map(|(name, value)| format!("{name:?}:{value}"))
            .collect();
        chosen.join(",")
    }

    pub(crate) fn json(&mut self, depth: usize) -> String {
        match self.below(if depth == 0 { 11 } else { 14 }) {
            0 => "null".into(),
            1 => "true".into(),
            2 => "false".into(),
            3 => "0".into(),
            4 => self.one(&["7", "-3", "1e3", "42", "123456789012"]).into(),
            5 => self.one(&["12.5", "0.001", "-1.25", "1e-7", "1e21"]).into(),
            6 => "\"\"".into(),
            7 => self
                .one(&["\"x\"", "\"Hello World\"", "\"  \"", "\"0\"", "\"aXbXc\""])
                .into(),
            8 => self
                .one(&[
                    "\"ÀÉ straße\"",
                    "\"<b>&\\\"q\\\"\"",
                    "\"line\\nbreak\\t\\u0008\"",
                ])
                .into(),
            9 => self
                .one(&[
                    "\"[1,2]\"",
                    "\"{\\\"k\\\":null}\"",
                    "\"12\"",
                    "\"tr\"",
                    "\"true\"",
                ])
                .into(),
            10 => self
                .one(&["\"a_b_c\"", "\"UPPER lower\"", "\"1,2\""])
                .into(),
            11 => {
                let n = self.below(4);
                let items: Vec<String> = (0..n).map(|_| self.json(depth - 1)).collect();
                format!("[{}]", items.join(","))
            }
            _ => self.object(depth - 1),
        }
    }

    pub(crate) fn object(&mut self, depth: usize) -> String {
        let names = ["a", "b", "c", "k", "deep", "a b"];
        let members: Vec<(&str, String)> =
            names.iter().map(|name| (*name, self.json(depth))).collect();
        format!("{{{}}}", self.some(&members))
    }

    fn path(&mut self) -> String {
        let first = self.one(&["$.a", "b", "$.deep", "c", "k", "$.a b", "", ".", "$."]);
        let mut path = first.to_owned();
        if !first.is_empty() && !first.ends_with('.') {
            for _ in 0..self.below(3) {
                path += self.one(&[".a", ".b", ".k", "[0]", ".1", "['c']", ".deep"]);
            }
        }
        path
    }

    /// A whole mapping.
    pub(crate) fn root(&mut self) -> String {
        loop {
            let mapping = self.mapping(3);
            if mapping.starts_with('{') {
                return mapping;
            }
        }
    }

    /// A value of a mapping: raw, or a directive.
    fn mapping(&mut self, depth: usize) -> String {
        if depth == 0 {
            return if self.below(2) == 0 {
                self.json(0)
            } else {
                self.reading()
            };
        }
        let d = depth - 1;
        match self.below(16) {
            0 => self.json(1),
            1 | 2 => self.reading(),
            3 => {
                let members: Vec<(&str, String)> = ["p", "q", "r"]
                    .iter()
                    .map(|n| (*n, self.mapping(d)))
                    .collect();
                format!("{{{}}}", self.some(&members))
            }
            4 => format!("[{},{}]", self.mapping(d), self.mapping(d)),
            5 => format!("{{\"@literal\":{}}}", self.mapping(d)),
            6 => {
                let test = self.one(&["exists", "blank"]);
                let rest = [("then", self.mapping(d)), ("else", self.mapping(d))];
                let rest = self.some(&rest);
                let comma = if rest.is_empty() { "" } else { "," };
                format!("{{\"@if\":{{{test:?}:{}{comma}{rest}}}}}", self.mapping(d))
            }
            7 => format!(
                "{{\"@case\":{{\"operator\":{:?},\"value\":{}}}}}",
                self.one(&["lower", "upper", "snake"]),
                self.reading()
            ),
            8 => {
                let flags = [
                    ("replacement", format!("{:?}", self.one(&["", "-", "zz"]))),
                    ("ignorecase", self.one(&["true", "false"]).into()),
                    ("global", self.one(&["true", "false"]).into()),
                    (
                        "pattern2",
                        format!("{:?}", self.one(&["l", "-", "elevenchars"])),
                    ),
                    ("replacement2", format!("{:?}", self.one(&["", "L"]))),
                ];
                let flags = self.some(&flags);
                let comma = if flags.is_empty() { "" } else { "," };
                format!(
                    "{{\"@replace\":{{\"pattern\":{:?},\"value\":{}{comma}{flags}}}}}",
                    self.one(&["x", "_", "W", "o ", "1", "ß", "e", ""]),
                    self.reading()
                )
            }
            9 => {
                let shape = if self.below(3) == 0 {
                    String::new()
                } else {
                    format!(",{{\"x\":{},\"y\":{}}}", self.reading(), self.mapping(d))
                };
                format!("{{\"@arrayPath\":[{:?}{shape}]}}", self.path())
            }
            10 => format!(
                "{{\"@json\":{{\"mode\":{:?},\"value\":{}}}}}",
                self.one(&["encode", "decode", "decode", "Encode", "both"]),
                self.mapping(d)
            ),
            11 => format!(
                "{{\"@flatten\":{{\"value\":{},\"separator\":{:?}{}}}}}",
                self.mapping(d),
                self.one(&[".", "_", "/", ""]),
                self.one(&["", ",\"omitArrays\":true", ",\"omitArrays\":false"])
            ),
            12 => format!(
                "{{\"@merge\":{{\"direction\":{:?},\"objects\":[{},{},{}]}}}}",
                self.one(&["left", "right"]),
                self.reading(),
                self.object(1),
                self.mapping(d)
            ),
            13 => format!(
                "{{\"@transform\":{{\"apply\":{{\"a\":{},\"b\":{}}},\"mapping\":{{\"p\":{},\"q\":{}}}}}}}",
                self.reading(),
                self.reading(),
                self.mapping(d),
                self.reading()
            ),
            14 => format!("{{\"@excludeWhenNull\":{}}}", self.mapping(d)),
            _ => format!("{{\"@liquid\":{:?}}}", self.liquid()),
        }
    }

    /// A directive that reads the payload.
    fn reading(&mut self) -> String {
        if self.below(4) == 0 {
            format!(
                "{{\"@template\":\"<{{{{ {} }}}}>{{{{{{k}}}}}}\"}}",
                self.one(&["a", "b", "deep.a", "c[0]", "no"])
            )
        } else {
            format!("{{\"@path\":{:?}}}", self.path())
        }
    }

    fn liquid(&mut self) -> String {
        let value = self.one(&["a", "b", "deep.a", "c[0]", "k", "deep['b']"]);
        let filter = self.one(&[
            "",
            "| upcase",
            "| append: '!'",
            "| default: 'none'",
            "| strip | size",
            "| replace: 'l', 'L'",
            "| split: ' ' | first",
            "| truncate: 4",
            "| escape",
            "| url_encode",
            "| unheard_of",
            "| capitalize",
            "| slice: 1, 2",
            "| map: 'x'",
        ]);
        match self.below(3) {
            0 => format!("{{{{ {value} {filter} }}}}"),
            1 => format!(
                "{{% if {value} %}}yes {{{{ {value} {filter} }}}}{{% else %}}no{{% endif %}}"
            ),
            _ => format!("{{% assign v = {value} {filter} %}}[{{{{ v }}}}]"),
        }
    }

    pub(crate) fn event(&mut self) -> String {
        let members = [
            ("type", format!("{:?}", self.one(&["track", "identify"]))),
            (
                "event",
                format!(
                    "{:?}",
                    self.one(&["new", "updated", "deleted", "Order Completed"])
                ),
            ),
            ("userId", self.one(&["null", "\"u1\"", "\"\""]).into()),
            ("name", "\"Home\"".into()),
            (
                "properties",
                format!(
                    "{{\"v\":{},\"product 1\":{{\"n\":{}}}}}",
                    self.json(1),
                    self.json(0)
                ),
            ),
            ("traits", format!("{{\"v\":{}}}", self.json(0))),
            ("context", format!("{{\"app\":{{\"v\":{}}}}}", self.json(0))),
        ];
        format!("{{{}}}", self.some(&members))
    }

    pub(crate) fn trigger(&mut self) -> String {
        // Words of one level are all the same: how we read a mixture is tested elsewhere.
        let word = self.one(&[" and ", " or "]);
        let terms: Vec<String> = (0..=self.below(3))
            .map(|_| {
                if self.below(5) == 0 {
                    let inner = self.one(&[" and ", " or "]);
                    format!(
                        "({}{inner}{})",
                        self.condition(false),
                        self.condition(false)
                    )
                } else {
                    self.condition(true)
                }
            })
            .collect();
        terms.join(word)
    }

    fn condition(&mut self, functions: bool) -> String {
        let field = self.one(&[
            "type",
            "event",
            "userId",
            "name",
            "properties.v",
            "traits.v",
            "context.app.v",
            "properties.product\\\\ 1.n",
            "properties.v.a",
        ]);
        let field = field.replace("\\\\", "\\");
        match self.below(if functions { 4 } else { 3 }) {
            0 => {
                let literal = self.one(&[
                    "\"x\"",
                    "\"track\"",
                    "\"new\"",
                    "\"u1\"",
                    "\"12\"",
                    "\"Hello World\"",
                ]);
                format!("{field} {} {literal}", self.one(&["=", "!="]))
            }
            1 => {
                let number = self.one(&["0", "7", "12.5", "42"]);
                // The peer reads a number after these three names as a text.
                let field = if field.contains('.') {
                    field
                } else {
                    "properties.v".into()
                };
                format!(
                    "{field} {} {number}",
                    self.one(&["=", "!=", "<", "<=", ">", ">="])
                )
            }
            2 => {
                let word = self.one(&["null", "true", "false"]);
                let field = match field.as_str() {
                    // The peer compares these two with the text "null".
                    "type" | "event" => "traits.v".into(),
                    "userId" | "name" if word != "null" => "traits.v".into(),
                    _ => field,
                };
                format!(
                    "{field} {} {word}",
                    if word == "null" {
                        self.one(&["=", "!="])
                    } else {
                        "="
                    }
                )
            }
            _ => {
                let not = self.one(&["", "!"]);
                // The peer forgets a function of this field.
                let field = if field == "type" {
                    "event".into()
                } else {
                    field
                };
                match self.below(3) {
                    0 => format!(
                        "{not}contains({field}, \"{}\")",
                        self.one(&["x", "o", "New"])
                    ),
                    1 => format!("{not}match({field}, \"{}*\")", self.one(&["tr", "H", "x"])),
                    _ => format!("{not}match({field}, \"*{}\")", self.one(&["ck", "d", "x"])),
                }
            }
        }
    }
}
