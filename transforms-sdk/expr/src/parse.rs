//! Words into a tree, by how tightly operators bind: one function for all levels, one for what
//! stands between operators.

use bridge_abi::Unit;

use crate::ast::{Arithmetic, Comparison, Expr, ExprKind, KEYWORDS, Own, Type, Which, binding};
use crate::error::{Error, Span, closest};
use crate::functions::{self, FUNCTIONS, Function};
use crate::lex::{self, Token};
use crate::{DEPTH_MAX, SOURCE_BYTES_MAX, time};

/// Operators on numbers in one expression: each may make the tree one level deeper.
const ARITHMETIC_MAX: usize = 256;

/// Reads an expression.
pub fn parse(source: &str) -> Result<Expr, Error> {
    if source.len() > SOURCE_BYTES_MAX {
        let message = format!("an expression has at most {SOURCE_BYTES_MAX} bytes, this one more");
        return Err(Error::new("", Span::default(), message));
    }
    let words = lex::words(source)?;
    let mut parser = Parser { source, words, next: 0, depth: 0, arithmetic: 0 };
    let whole = parser.level(0)?;
    match parser.peek() {
        Token::End => Ok(whole),
        _ => Err(parser.expected("an operator or the end")),
    }
}

struct Parser<'s> {
    source: &'s str,
    words: Vec<(Token, Span)>,
    next: usize,
    depth: usize,
    arithmetic: usize,
}

impl Parser<'_> {
    fn peek(&self) -> &Token {
        &self.words[self.next].0
    }

    fn here(&self) -> Span {
        self.words[self.next].1
    }

    /// Where what was read so far ends.
    fn since(&self, start: Span) -> Span {
        start.to(self.words[self.next.saturating_sub(1)].1)
    }

    /// Goes one word on; the end stays.
    fn step(&mut self) -> Token {
        let word = self.words[self.next].0.clone();
        self.next = (self.next + 1).min(self.words.len() - 1);
        word
    }

    fn error(&self, at: Span, message: impl Into<String>) -> Error {
        Error::new(self.source, at, message)
    }

    /// This was expected, and something else is here.
    fn expected(&self, what: &str) -> Error {
        let found = match self.peek() {
            Token::End => "here the expression ends".to_owned(),
            _ => format!("here is `{}`", self.here().of(self.source).escape_debug()),
        };
        let error = self.error(self.here(), format!("expected {what}, {found}"));
        match self.peek() {
            Token::Sign("==") => error.help("write `=`"),
            Token::Sign("||") => error.help("`||` joins texts; write `or`"),
            Token::Word(word) if !is_keyword(word) => match closest(word, KEYWORDS) {
                Some(meant) => error.help(format!("did you mean `{meant}`?")),
                None => error,
            },
            _ => error,
        }
    }

    fn is_sign(&self, sign: &str) -> bool {
        matches!(self.peek(), Token::Sign(here) if *here == sign)
    }

    fn take_sign(&mut self, sign: &str) -> bool {
        let is_here = self.is_sign(sign);
        self.next += usize::from(is_here);
        is_here
    }

    fn need_sign(&mut self, sign: &str) -> Result<(), Error> {
        match self.take_sign(sign) {
            true => Ok(()),
            false => Err(self.expected(&format!("`{sign}`"))),
        }
    }

    fn is_word(&self, word: &str) -> bool {
        matches!(self.peek(), Token::Word(here) if here.eq_ignore_ascii_case(word))
    }

    fn take_word(&mut self, word: &str) -> bool {
        let is_here = self.is_word(word);
        self.next += usize::from(is_here);
        is_here
    }

    fn need_word(&mut self, word: &str) -> Result<(), Error> {
        match self.take_word(word) {
            true => Ok(()),
            false => Err(self.expected(&format!("`{word}`"))),
        }
    }

    /// An expression whose operators bind at least this tightly.
    fn level(&mut self, bound: u8) -> Result<Expr, Error> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            let message = format!("the expression is nested deeper than {DEPTH_MAX} levels");
            return Err(self.error(self.here(), message));
        }
        let start = self.here();
        let mut left = self.prefix(bound)?;
        loop {
            let next = self.operator(left, start, bound)?;
            match next {
                Next::More(expr) => left = expr,
                Next::Done(expr) => {
                    self.depth -= 1;
                    return Ok(expr);
                }
            }
        }
    }

    /// `not` and `-` before what they are of, or an atom.
    fn prefix(&mut self, bound: u8) -> Result<Expr, Error> {
        let start = self.here();
        if self.is_word("not") {
            if bound > binding::NOT {
                let error = self.expected("a value");
                return Err(error.help("put the `not …` in parentheses"));
            }
            self.step();
            let of = self.level(binding::NOT)?;
            return Ok(Expr { at: self.since(start), kind: ExprKind::Not(Box::new(of)) });
        }
        if self.take_sign("-") {
            if *self.peek() == Token::Int(1 << 63) {
                self.step();
                return Ok(Expr { at: self.since(start), kind: ExprKind::Int(i64::MIN) });
            }
            let of = self.level(binding::SIGN)?;
            let kind = match of.kind {
                ExprKind::Int(value) if value != i64::MIN => ExprKind::Int(-value),
                ExprKind::Float(value) => ExprKind::Float(-value),
                _ => ExprKind::Negate(Box::new(of)),
            };
            return Ok(Expr { at: self.since(start), kind });
        }
        self.atom()
    }

    /// What follows an expression, if it binds tightly enough.
    fn operator(&mut self, left: Expr, start: Span, bound: u8) -> Result<Next, Error> {
        if bound <= binding::OR && self.is_word("or") {
            let parts = self.chain(left, binding::AND, |parser| parser.take_word("or"))?;
            return Ok(Next::More(Expr { at: self.since(start), kind: ExprKind::Or(parts) }));
        }
        if bound <= binding::AND && self.is_word("and") {
            let parts = self.chain(left, binding::NOT, |parser| parser.take_word("and"))?;
            return Ok(Next::More(Expr { at: self.since(start), kind: ExprKind::And(parts) }));
        }
        if bound <= binding::JOIN && self.is_sign("||") {
            let parts = self.chain(left, binding::SUM, |parser| parser.take_sign("||"))?;
            return Ok(Next::More(Expr { at: self.since(start), kind: ExprKind::Join(parts) }));
        }
        let sign = match self.peek() {
            Token::Sign(sign) => *sign,
            _ => "",
        };
        let found = Arithmetic::ALL.iter().find(|(_, written)| *written == sign);
        if let Some((how, _)) = found.filter(|(how, _)| bound <= how.binding()) {
            self.arithmetic += 1;
            if self.arithmetic > ARITHMETIC_MAX {
                let message = format!("an expression has at most {ARITHMETIC_MAX} of + - * / %");
                return Err(self.error(self.here(), message));
            }
            self.step();
            let right = self.level(how.binding() + 1)?;
            let kind = ExprKind::Arithmetic(*how, Box::new(left), Box::new(right));
            return Ok(Next::More(Expr { at: self.since(start), kind }));
        }
        if bound <= binding::COMPARE {
            return self.comparison(left, start, sign);
        }
        Ok(Next::Done(left))
    }

    /// The parts of `a or b or c`, of which the first was read.
    fn chain(
        &mut self,
        first: Expr,
        bound: u8,
        mut more: impl FnMut(&mut Self) -> bool,
    ) -> Result<Vec<Expr>, Error> {
        let mut parts = vec![first];
        while more(self) {
            parts.push(self.level(bound)?);
        }
        Ok(parts)
    }

    /// A comparison, `is`, `in`, `between` or `like`, if one is here; they do not chain.
    fn comparison(&mut self, left: Expr, start: Span, sign: &str) -> Result<Next, Error> {
        let is_one = |kind: &ExprKind| {
            use ExprKind::{Between, Compare, In, Is, Like};
            matches!(kind, Compare(..) | Is(..) | In(..) | Between(..) | Like(..))
        };
        let found = Comparison::ALL.iter().find(|(_, written)| *written == sign);
        let word = ["is", "in", "between", "like", "not"].iter().any(|word| self.is_word(word));
        if found.is_none() && !word {
            return Ok(Next::Done(left));
        }
        // What stands in parentheses ends before its closing one.
        if is_one(&left.kind) && self.since(start) == left.at {
            let error = self.error(self.here(), "comparisons do not follow one another");
            return Err(error.help("write `a < b and b < c`, or put one in parentheses"));
        }
        let left = Box::new(left);
        let kind = if let Some((how, _)) = found {
            self.step();
            ExprKind::Compare(*how, left, Box::new(self.level(binding::JOIN)?))
        } else if self.take_word("is") {
            let negated = self.take_word("not");
            let which = Which::ALL.iter().find(|(_, word)| self.is_word(word));
            let Some((which, _)) = which else {
                let error = self.expected("`null`, `missing`, `true` or `false`");
                return Err(error.help("values are compared with `=`"));
            };
            self.step();
            ExprKind::Is(left, *which, negated)
        } else {
            let negated = self.take_word("not");
            self.range(left, negated)?
        };
        Ok(Next::More(Expr { at: self.since(start), kind }))
    }

    /// `in (…)`, `between … and …` and `like '…'`, maybe behind a `not`.
    fn range(&mut self, left: Box<Expr>, negated: bool) -> Result<ExprKind, Error> {
        if self.take_word("in") {
            self.need_sign("(")?;
            return Ok(ExprKind::In(left, self.list()?, negated));
        }
        if self.take_word("between") {
            let low = self.level(binding::JOIN)?;
            self.need_word("and")?;
            let high = self.level(binding::JOIN)?;
            return Ok(ExprKind::Between(left, Box::new(low), Box::new(high), negated));
        }
        if !self.take_word("like") {
            return Err(self.expected("`in`, `between` or `like`"));
        }
        match self.peek() {
            Token::Text(_) => {}
            _ => {
                let error = self.expected("a pattern in single quotes");
                return Err(error.help("for a part that is no constant use `contains(a, b)`"));
            }
        }
        match self.step() {
            Token::Text(pattern) => Ok(ExprKind::Like(left, pattern, negated)),
            _ => Err(self.expected("a pattern in single quotes")),
        }
    }

    /// `a, b, c)`, at least one.
    fn list(&mut self) -> Result<Vec<Expr>, Error> {
        let mut parts = vec![self.level(0)?];
        loop {
            if self.take_sign(")") {
                return Ok(parts);
            }
            if !self.take_sign(",") {
                return Err(self.expected("`,` or `)`"));
            }
            parts.push(self.level(0)?);
        }
    }

    fn atom(&mut self) -> Result<Expr, Error> {
        let start = self.here();
        let kind = match self.peek().clone() {
            Token::Int(value) => {
                let Ok(value) = i64::try_from(value) else {
                    let error = self.error(start, "the integer is beyond 64 bits");
                    return Err(error.help(format!("write `{value}.0` for the nearest double")));
                };
                self.step();
                ExprKind::Int(value)
            }
            Token::Float(value) => {
                self.step();
                ExprKind::Float(value)
            }
            Token::Text(text) => {
                self.step();
                ExprKind::Text(text)
            }
            Token::Quoted(name) => {
                self.step();
                if self.is_sign("(") {
                    let error = self.error(start, "a function's name stands without quotes");
                    return Err(error.help("double quotes are for columns, single ones for text"));
                }
                ExprKind::Column(name)
            }
            Token::Sign("(") => {
                self.step();
                let inner = self.level(0)?;
                self.need_sign(")")?;
                // Its place is without the parentheses: so it is told from what has none.
                return Ok(inner);
            }
            Token::Word(word) => self.word(&word)?,
            Token::Sign(_) | Token::End => return Err(self.expected("a value")),
        };
        Ok(Expr { at: self.since(start), kind })
    }

    /// What begins with a word: a constant, `case`, `cast`, a function, the record's own, a column.
    fn word(&mut self, word: &str) -> Result<ExprKind, Error> {
        let start = self.here();
        let lower = word.to_lowercase();
        match lower.as_str() {
            "null" => return self.constant(ExprKind::Null),
            "true" => return self.constant(ExprKind::Bool(true)),
            "false" => return self.constant(ExprKind::Bool(false)),
            "case" => return self.case(),
            "cast" => return self.cast(false),
            "try_cast" => return self.cast(true),
            _ => {}
        }
        if is_keyword(word) {
            let error = self.expected("a value");
            return Err(error.help(format!("a column of this name is written \"{word}\"")));
        }
        self.step();
        if lower == "timestamp"
            && let Token::Text(text) = self.peek().clone()
        {
            return self.time(&text);
        }
        if self.is_sign("(") {
            return self.call(start, word, &lower);
        }
        let own = Own::ALL.into_iter().find(|own| own.name() == lower);
        Ok(own.map_or_else(|| ExprKind::Column(word.to_owned()), ExprKind::Own))
    }

    fn constant(&mut self, kind: ExprKind) -> Result<ExprKind, Error> {
        self.step();
        Ok(kind)
    }

    fn time(&mut self, text: &str) -> Result<ExprKind, Error> {
        match time::parse(text) {
            Some((since_1970, unit)) => {
                let unit = if unit == Unit::Nanos { unit } else { Unit::Micros };
                self.constant(ExprKind::Time(since_1970, unit))
            }
            None => Err(self.error(self.here(), "this is no time").help(
                "such as '2026-01-31', '2026-01-31T12:00:00Z', '2026-01-31 12:00:00.5+02:00'",
            )),
        }
    }

    fn case(&mut self) -> Result<ExprKind, Error> {
        self.step();
        let of = match self.is_word("when") {
            true => None,
            false => Some(Box::new(self.level(0)?)),
        };
        let mut whens = Vec::new();
        while self.take_word("when") {
            let when = self.level(0)?;
            self.need_word("then")?;
            whens.push((when, self.level(0)?));
        }
        if whens.is_empty() {
            return Err(self.expected("`when`"));
        }
        let otherwise = match self.take_word("else") {
            true => Some(Box::new(self.level(0)?)),
            false => None,
        };
        match self.take_word("end") {
            true => Ok(ExprKind::Case(of, whens, otherwise)),
            false if otherwise.is_some() => Err(self.expected("`end`")),
            false => Err(self.expected("`when`, `else` or `end`")),
        }
    }

    fn cast(&mut self, tries: bool) -> Result<ExprKind, Error> {
        self.step();
        self.need_sign("(")?;
        let of = Box::new(self.level(0)?);
        self.need_word("as")?;
        let found = match self.peek() {
            Token::Word(word) => {
                let found = Type::NAMES.iter().find(|(_, name)| word.eq_ignore_ascii_case(name));
                found.map(|(to, _)| *to)
            }
            _ => None,
        };
        let Some(to) = found else {
            let mut error = self.expected("a type: int, double, text, bool or timestamp");
            error.help = None;
            return Err(error);
        };
        self.step();
        self.need_sign(")")?;
        Ok(ExprKind::Cast(of, to, tries))
    }

    fn call(&mut self, name_at: Span, name: &str, lower: &str) -> Result<ExprKind, Error> {
        self.step();
        if lower == "header" {
            return self.header();
        }
        let Some(function) = functions::named(lower) else {
            let error = self.error(name_at, format!("there is no function `{name}`"));
            let names = FUNCTIONS.iter().map(|info| info.name).chain(["cast", "header"]);
            return Err(match closest(lower, names) {
                Some(meant) => error.help(format!("did you mean `{meant}`?")),
                None => error.help("docs/expressions.md lists all functions"),
            });
        };
        let arguments = match self.take_sign(")") {
            true => Vec::new(),
            false => self.list()?,
        };
        let info = function.info();
        if arguments.len() < info.fewest || arguments.len() > info.most {
            let at = self.since(name_at);
            let message = format!("`{}` takes other arguments", info.name);
            return Err(self.error(at, message).help(format!("as in `{}`", info.example)));
        }
        if function == Function::Convert {
            functions::check_units(self.source, &arguments)?;
        }
        Ok(ExprKind::Call(function, arguments))
    }

    fn header(&mut self) -> Result<ExprKind, Error> {
        let Token::Text(name) = self.peek().clone() else {
            return Err(self.expected("the header's name in single quotes"));
        };
        self.step();
        self.need_sign(")")?;
        Ok(ExprKind::Header(name))
    }
}

fn is_keyword(word: &str) -> bool {
    KEYWORDS.iter().any(|keyword| word.eq_ignore_ascii_case(keyword))
}

/// What became of an expression when its next word was looked at.
enum Next {
    /// It grew, and may grow on.
    More(Expr),
    /// What follows is not for this level.
    Done(Expr),
}
