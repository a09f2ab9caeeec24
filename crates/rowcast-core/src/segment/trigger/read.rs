//! Reads the text of a trigger.

use super::{Condition, Join, Level, Literal, Term, Test, TriggerError};

/// What an event has at its top.
const ROOTS: [&str; 7] = [
    "type",
    "event",
    "name",
    "userId",
    "properties",
    "traits",
    "context",
];

/// Parentheses inside parentheses, at most.
const DEPTH_MAX: usize = 32;

/// Reads a whole trigger.
pub(super) fn trigger(text: &str) -> Result<Level, TriggerError> {
    let mut reader = Reader {
        letters: text.chars().collect(),
        at: 0,
        depth: 0,
    };
    reader.space();
    if reader.peek().is_none() {
        return Err(reader.error("the trigger is empty"));
    }
    let level = reader.level()?;
    match reader.peek() {
        None => Ok(level),
        Some(letter) => Err(reader.error(format!(
            "expected \"and\", \"or\" or the end, found {letter:?}"
        ))),
    }
}

struct Reader {
    letters: Vec<char>,
    at: usize,
    depth: usize,
}

impl Reader {
    fn error(&self, message: impl Into<String>) -> TriggerError {
        TriggerError {
            at: self.at,
            message: message.into(),
        }
    }

    fn peek(&self) -> Option<char> {
        self.letters.get(self.at).copied()
    }

    fn space(&mut self) {
        while self.peek().is_some_and(char::is_whitespace) {
            self.at += 1;
        }
    }

    fn takes(&mut self, letter: char) -> bool {
        let found = self.peek() == Some(letter);
        if found {
            self.at += 1;
            self.space();
        }
        found
    }

    fn expect(&mut self, letter: char) -> Result<(), TriggerError> {
        if self.takes(letter) {
            return Ok(());
        }
        Err(match self.peek() {
            Some(found) => self.error(format!("expected {letter:?}, found {found:?}")),
            None => self.error(format!("expected {letter:?}, found the end")),
        })
    }

    /// A word of its own: letters, digits and `_`.
    fn word(&mut self, wanted: &str) -> bool {
        let end = self.at + wanted.len();
        let here = self.letters.get(self.at..end);
        let found = here.is_some_and(|here| here.iter().copied().eq(wanted.chars()))
            && !self
                .letters
                .get(end)
                .is_some_and(|c| c.is_alphanumeric() || *c == '_' || *c == '.');
        if found {
            self.at = end;
            self.space();
        }
        found
    }

    fn level(&mut self) -> Result<Level, TriggerError> {
        let mut level = Level {
            join: Join::And,
            terms: vec![self.term()?],
        };
        loop {
            if self.word("and") {
                level.join = Join::And;
            } else if self.word("or") {
                level.join = Join::Or;
            } else {
                return Ok(level);
            }
            level.terms.push(self.term()?);
        }
    }

    fn term(&mut self) -> Result<Term, TriggerError> {
        if !self.takes('(') {
            return self.condition().map(Term::Condition);
        }
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.error(format!("more than {DEPTH_MAX} parentheses are open")));
        }
        let level = self.level()?;
        self.expect(')')?;
        self.depth -= 1;
        Ok(Term::Group(level))
    }

    fn condition(&mut self) -> Result<Condition, TriggerError> {
        let negated = self.takes('!');
        for name in ["contains", "match"] {
            let start = self.at;
            if self.word(name) {
                if self.peek() == Some('(') {
                    return self.function(name, negated);
                }
                self.at = start;
            }
        }
        if negated {
            return Err(self.error("expected contains(…) or match(…) after \"!\""));
        }
        let field = self.field()?;
        let test = self.comparison()?;
        Ok(Condition { field, test })
    }

    fn function(&mut self, name: &str, negated: bool) -> Result<Condition, TriggerError> {
        self.expect('(')?;
        let field = self.field()?;
        self.expect(',')?;
        let at = self.at;
        let Literal::Text(text) = self.literal()? else {
            self.at = at;
            return Err(self.error(format!("{name}() takes a text in double quotes")));
        };
        self.expect(')')?;
        let test = if name == "contains" {
            if negated {
                Test::ContainsNot(text)
            } else {
                Test::Contains(text)
            }
        } else if let Some(part) = text.strip_suffix('*') {
            if negated {
                Test::StartsNot(part.into())
            } else {
                Test::Starts(part.into())
            }
        } else if let Some(part) = text.strip_prefix('*') {
            if negated {
                Test::EndsNot(part.into())
            } else {
                Test::Ends(part.into())
            }
        } else {
            self.at = at;
            return Err(self.error("match() takes a text that ends or begins with \"*\""));
        };
        Ok(Condition { field, test })
    }

    fn comparison(&mut self) -> Result<Test, TriggerError> {
        let operator = match (self.peek(), self.letters.get(self.at + 1)) {
            (Some('!'), Some('=')) => "!=",
            (Some('<'), Some('=')) => "<=",
            (Some('>'), Some('=')) => ">=",
            (Some('='), _) => "=",
            (Some('<'), _) => "<",
            (Some('>'), _) => ">",
            (Some(letter), _) => {
                return Err(self.error(format!("expected a comparison, found {letter:?}")));
            }
            (None, _) => return Err(self.error("expected a comparison, found the end")),
        };
        self.at += operator.len();
        self.space();
        let at = self.at;
        let literal = self.literal()?;
        let number = match literal {
            Literal::Number(number) => Some(number),
            _ => None,
        };
        match (operator, number) {
            ("=", _) => Ok(Test::Is(literal)),
            ("!=", _) => Ok(Test::IsNot(literal)),
            ("<", Some(number)) => Ok(Test::Less(number)),
            ("<=", Some(number)) => Ok(Test::AtMost(number)),
            (">", Some(number)) => Ok(Test::Greater(number)),
            (_, Some(number)) => Ok(Test::AtLeast(number)),
            (_, None) => {
                self.at = at;
                Err(self.error(format!("{operator} compares numbers only")))
            }
        }
    }

    /// Names joined by dots; a backslash takes the next character as it is.
    fn field(&mut self) -> Result<Vec<String>, TriggerError> {
        let start = self.at;
        let mut names = vec![String::new()];
        while let Some(letter) = self.peek() {
            let taken = match letter {
                '.' => {
                    names.push(String::new());
                    self.at += 1;
                    continue;
                }
                '\\' => {
                    self.at += 1;
                    self.peek()
                        .ok_or_else(|| self.error("nothing follows the backslash"))?
                }
                '=' | '!' | '<' | '>' | '(' | ')' | ',' | '"' | '*' => break,
                letter if letter.is_whitespace() => break,
                letter => letter,
            };
            if let Some(name) = names.last_mut() {
                name.push(taken);
            }
            self.at += 1;
        }
        let known = ROOTS.contains(&names[0].as_str()) && names.iter().all(|name| !name.is_empty());
        if !known {
            self.at = start;
            return Err(if names[0].is_empty() {
                self.error("expected a field")
            } else {
                self.error(format!(
                    "{:?} is not a field of an event; fields begin with {}",
                    names.join("."),
                    ROOTS.join(", ")
                ))
            });
        }
        self.space();
        Ok(names)
    }

    fn literal(&mut self) -> Result<Literal, TriggerError> {
        if self.peek() == Some('"') {
            return self.text();
        }
        for (word, literal) in [
            ("true", Literal::Bool(true)),
            ("false", Literal::Bool(false)),
            ("null", Literal::Null),
        ] {
            if self.word(word) {
                return Ok(literal);
            }
        }
        let digits: String = self.letters[self.at..]
            .iter()
            .take_while(|c| c.is_ascii_digit() || matches!(c, '.' | '-' | '+' | 'e' | 'E'))
            .collect();
        match digits.parse::<f64>() {
            Ok(number) if number.is_finite() => {
                self.at += digits.chars().count();
                self.space();
                Ok(Literal::Number(number))
            }
            _ => Err(self.error("expected a text in double quotes, a number, true, false or null")),
        }
    }

    fn text(&mut self) -> Result<Literal, TriggerError> {
        let start = self.at;
        let mut text = String::new();
        self.at += 1;
        loop {
            match self.peek() {
                None => {
                    self.at = start;
                    return Err(self.error("the text has no closing quote"));
                }
                Some('"') => break,
                Some('\\') if self.letters.get(self.at + 1).is_some() => {
                    text.push(self.letters[self.at + 1]);
                    self.at += 2;
                }
                Some(letter) => {
                    text.push(letter);
                    self.at += 1;
                }
            }
        }
        self.at += 1;
        self.space();
        Ok(Literal::Text(text))
    }
}
