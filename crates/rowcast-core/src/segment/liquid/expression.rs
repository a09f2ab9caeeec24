//! Values, paths, comparisons, and the filters behind them.

use crate::value::Value;

/// Something with a value.
#[derive(Debug, Clone)]
pub(super) enum Expression {
    Literal(Value),
    /// `empty` and `blank`: equal to anything that is so.
    Empty,
    Blank,
    Path(String, Vec<Step>),
    Compare(Box<Expression>, Comparison, Box<Expression>),
    And(Box<Expression>, Box<Expression>),
    Or(Box<Expression>, Box<Expression>),
    Not(Box<Expression>),
}

#[derive(Debug, Clone)]
pub(super) enum Step {
    Member(String),
    Index(Box<Expression>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    AtMost,
    Greater,
    AtLeast,
    Contains,
}

/// A value with its filters.
#[derive(Debug, Clone)]
pub(super) struct Filtered {
    pub value: Expression,
    pub filters: Vec<FilterCall>,
}

#[derive(Debug, Clone)]
pub(super) struct FilterCall {
    pub name: String,
    pub arguments: Vec<Expression>,
    pub named: Vec<(String, Expression)>,
}

impl Expression {
    pub(super) fn always() -> Self {
        Self::Literal(Value::Bool(true))
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Word(String),
    Text(String),
    Number(String),
    Mark(&'static str),
}

const MARKS: [&str; 15] = [
    "==", "!=", "<>", "<=", ">=", "<", ">", "..", ".", "[", "]", "|", ":", ",", "=",
];

/// Reads expressions from the text of a tag or an output.
#[derive(Debug)]
pub(super) struct Tokens {
    all: Vec<Token>,
    at: usize,
    depth: usize,
}

impl Tokens {
    /// Cuts a text into tokens.
    ///
    /// # Errors
    /// A character that means nothing, or a text without its closing quote.
    pub(super) fn new(text: &str) -> Result<Self, String> {
        let mut tokens = Vec::new();
        let mut rest = text.trim_start();
        while let Some(first) = rest.chars().next() {
            let taken = if matches!(first, '"' | '\'') {
                let end = rest[1..]
                    .find(first)
                    .ok_or_else(|| format!("a text in {text:?} has no closing quote"))?;
                tokens.push(Token::Text(rest[1..=end].into()));
                end + 2
            } else if first.is_ascii_digit()
                || first == '-' && rest[1..].starts_with(|c: char| c.is_ascii_digit())
            {
                let mut end = 1 + rest[1..].bytes().take_while(u8::is_ascii_digit).count();
                let tail = &rest[end..];
                if tail.starts_with('.') && tail[1..].starts_with(|c: char| c.is_ascii_digit()) {
                    end += 1 + tail[1..].bytes().take_while(u8::is_ascii_digit).count();
                }
                tokens.push(Token::Number(rest[..end].into()));
                end
            } else if first.is_alphabetic() || first == '_' {
                let end = rest
                    .find(|c: char| !c.is_alphanumeric() && !matches!(c, '_' | '-' | '?'))
                    .unwrap_or(rest.len());
                tokens.push(Token::Word(rest[..end].into()));
                end
            } else if let Some(mark) = MARKS.iter().find(|mark| rest.starts_with(**mark)) {
                tokens.push(Token::Mark(mark));
                mark.len()
            } else {
                return Err(format!("{first:?} in {text:?} means nothing"));
            };
            rest = rest[taken..].trim_start();
        }
        Ok(Self {
            all: tokens,
            at: 0,
            depth: 0,
        })
    }

    pub(super) fn takes(&mut self, mark: &str) -> bool {
        let found = matches!(self.all.get(self.at), Some(Token::Mark(m)) if *m == mark);
        self.at += usize::from(found);
        found
    }

    fn word(&mut self, word: &str) -> bool {
        let found = matches!(self.all.get(self.at), Some(Token::Word(w)) if w == word);
        self.at += usize::from(found);
        found
    }

    /// Nothing may be left.
    ///
    /// # Errors
    /// Something is.
    pub(super) fn end(&self) -> Result<(), String> {
        match self.all.get(self.at) {
            None => Ok(()),
            Some(token) => Err(format!("{token:?} is one thing too many")),
        }
    }

    /// A value and its filters.
    ///
    /// # Errors
    /// It can't be read.
    pub(super) fn filtered(&mut self) -> Result<Filtered, String> {
        let value = if self.all.is_empty() {
            Expression::Literal(Value::Null)
        } else {
            self.expression()?
        };
        let mut filters = Vec::new();
        while self.takes("|") {
            let Some(Token::Word(name)) = self.all.get(self.at).cloned() else {
                return Err("a filter has no name".into());
            };
            self.at += 1;
            let mut call = FilterCall {
                name,
                arguments: Vec::new(),
                named: Vec::new(),
            };
            if self.takes(":") {
                loop {
                    self.argument(&mut call)?;
                    if !self.takes(",") {
                        break;
                    }
                }
            }
            filters.push(call);
        }
        Ok(Filtered { value, filters })
    }

    fn argument(&mut self, call: &mut FilterCall) -> Result<(), String> {
        if let (Some(Token::Word(name)), Some(Token::Mark(":"))) =
            (self.all.get(self.at), self.all.get(self.at + 1))
        {
            let name = name.clone();
            self.at += 2;
            let value = self.operand()?;
            call.named.push((name, value));
        } else if !matches!(self.all.get(self.at), None | Some(Token::Mark("|" | ","))) {
            let value = self.operand()?;
            call.arguments.push(value);
        }
        Ok(())
    }

    /// `and` and `or` bind alike and from the right.
    ///
    /// # Errors
    /// It can't be read.
    pub(super) fn expression(&mut self) -> Result<Expression, String> {
        self.depth += 1;
        if self.depth > super::DEPTH_MAX {
            return Err("a condition has too many parts".into());
        }
        let left = self.comparison()?;
        let whole = if self.word("and") {
            Expression::And(Box::new(left), Box::new(self.expression()?))
        } else if self.word("or") {
            Expression::Or(Box::new(left), Box::new(self.expression()?))
        } else {
            left
        };
        self.depth -= 1;
        Ok(whole)
    }

    fn comparison(&mut self) -> Result<Expression, String> {
        if self.word("not") {
            self.depth += 1;
            if self.depth > super::DEPTH_MAX {
                return Err("a condition has too many parts".into());
            }
            let inner = self.comparison()?;
            self.depth -= 1;
            return Ok(Expression::Not(Box::new(inner)));
        }
        let left = self.operand()?;
        let comparison = match self.all.get(self.at) {
            Some(Token::Mark("==")) => Comparison::Equal,
            Some(Token::Mark("!=" | "<>")) => Comparison::NotEqual,
            Some(Token::Mark("<")) => Comparison::Less,
            Some(Token::Mark("<=")) => Comparison::AtMost,
            Some(Token::Mark(">")) => Comparison::Greater,
            Some(Token::Mark(">=")) => Comparison::AtLeast,
            Some(Token::Word(word)) if word == "contains" => Comparison::Contains,
            _ => return Ok(left),
        };
        self.at += 1;
        let right = self.operand()?;
        Ok(Expression::Compare(
            Box::new(left),
            comparison,
            Box::new(right),
        ))
    }

    /// A literal or a path.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn operand(&mut self) -> Result<Expression, String> {
        let token = self.all.get(self.at).cloned();
        self.at += 1;
        match token {
            Some(Token::Text(text)) => Ok(Expression::Literal(Value::text(text))),
            Some(Token::Number(digits)) => Ok(Expression::Literal(match digits.parse::<i64>() {
                Ok(value) => Value::Int(value),
                Err(_) => Value::Decimal(digits.into()),
            })),
            Some(Token::Word(word)) => self.named(word),
            Some(Token::Mark("[")) => {
                self.at -= 1;
                self.steps(String::new())
            }
            Some(token) => Err(format!("expected a value, found {token:?}")),
            None => Err("expected a value, found the end".into()),
        }
    }

    fn named(&mut self, word: String) -> Result<Expression, String> {
        let literal = match word.as_str() {
            "true" => Some(Expression::Literal(Value::Bool(true))),
            "false" => Some(Expression::Literal(Value::Bool(false))),
            "nil" | "null" => Some(Expression::Literal(Value::Null)),
            "empty" => Some(Expression::Empty),
            "blank" => Some(Expression::Blank),
            _ => None,
        };
        let goes_on = matches!(self.all.get(self.at), Some(Token::Mark("." | "[")));
        match literal {
            Some(literal) if !goes_on => Ok(literal),
            _ => self.steps(word),
        }
    }

    fn steps(&mut self, root: String) -> Result<Expression, String> {
        let mut steps = Vec::new();
        loop {
            if self.takes(".") {
                match self.all.get(self.at).cloned() {
                    Some(Token::Word(name) | Token::Number(name)) => {
                        self.at += 1;
                        steps.push(Step::Member(name));
                    }
                    _ => return Err(format!("nothing follows the dot after {root:?}")),
                }
            } else if self.takes("[") {
                self.depth += 1;
                if self.depth > super::DEPTH_MAX {
                    return Err("a path has too many brackets".into());
                }
                let index = self.operand()?;
                self.depth -= 1;
                if !self.takes("]") {
                    return Err(format!("a bracket after {root:?} is not closed"));
                }
                steps.push(Step::Index(Box::new(index)));
            } else {
                return Ok(Expression::Path(root, steps));
            }
        }
    }
}
