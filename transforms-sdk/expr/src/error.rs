//! What can be wrong with an expression, when it is read ([`Error`]) and with a record, when it is
//! evaluated ([`Failure`]). Both name the part of the expression; neither shows values of records.

use std::fmt;

use bridge_abi::Unit;

use crate::types::Types;

/// A part of the expression: positions of bytes in its text.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Span {
    /// Its first byte.
    pub start: u32,
    /// Behind its last byte.
    pub end: u32,
}

impl Span {
    pub(crate) fn new(start: usize, end: usize) -> Span {
        Span { start: start as u32, end: end as u32 }
    }

    /// From the start of this one to the end of the other.
    pub(crate) fn to(self, last: Span) -> Span {
        Span { start: self.start, end: last.end }
    }

    /// The text of this part.
    pub fn of(self, source: &str) -> &str {
        source.get(self.start as usize..self.end as usize).unwrap_or_default()
    }
}

/// A wrong expression.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Error {
    /// The whole expression.
    pub source: String,
    /// Where it is wrong.
    pub at: Span,
    /// What is wrong, and what was expected.
    pub message: String,
    /// What was probably meant.
    pub help: Option<String>,
}

/// How much of the expression is shown around a mistake, in characters to each side.
const SHOWN: usize = 40;

impl Error {
    pub(crate) fn new(source: &str, at: Span, message: impl Into<String>) -> Error {
        Error { source: source.to_owned(), at, message: message.into(), help: None }
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Error {
        self.help = Some(help.into());
        self
    }

    /// Which character of the expression, counted from 1.
    pub fn character(&self) -> usize {
        self.source.get(..self.at.start as usize).unwrap_or_default().chars().count() + 1
    }

    /// The expression with a mark below the place, on two lines.
    pub fn drawn(&self) -> String {
        let line: String =
            self.source.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let marks = self.at.of(&self.source).chars().count().max(1);
        format!("{line}\n{}{}", " ".repeat(self.character() - 1), "^".repeat(marks))
    }
}

/// On one line, for a message crosses the fence on one: the mark stands within the text.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (before, after) =
            self.source.split_at_checked(self.at.start as usize).unwrap_or_default();
        let skipped = before.chars().count().saturating_sub(SHOWN);
        let before: String = before.chars().skip(skipped).collect();
        let rest: String = after.chars().take(SHOWN).collect();
        let (cut, more) = (["", "…"][usize::from(skipped > 0)], rest.len() < after.len());
        let more = ["", "…"][usize::from(more)];
        let character = self.character();
        write!(f, "{} at character {character}: `{cut}{before} ➜ {rest}{more}`", self.message)?;
        match &self.help {
            Some(help) => write!(f, " ({help})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

/// The known name that this one was probably meant to be.
pub fn closest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_lowercase();
    let near = |known: &'a str| {
        let far = strsim::damerau_levenshtein(&name, &known.to_lowercase());
        (far <= 1 + known.len() / 4).then_some((far, known))
    };
    known.into_iter().filter_map(near).min_by_key(|(far, _)| *far).map(|(_, known)| known)
}

/// Why a record has no value of an expression.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Failure {
    /// The part that failed.
    pub at: Span,
    /// Why.
    pub why: Why,
}

/// What can go wrong with a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Why {
    /// An operator or function met a value of a type that it does not take.
    Takes {
        /// The operator or function.
        what: &'static str,
        /// What it takes.
        accepted: Types,
        /// What it met.
        got: Types,
    },
    /// Two values that cannot be compared.
    Compares(Types, Types),
    /// The number is beyond 64 bits, or no finite double.
    Overflow,
    /// `/`, `%` or `div` by zero.
    DivisionByZero,
    /// A function of numbers has no value here: `sqrt(-1)`.
    Domain,
    /// `cast` of a value that is nothing of that type.
    Cast(Types, &'static str),
    /// The time does not fit into this unit.
    Time(Unit),
    /// The texts that were made are too long.
    TooLong,
    /// Bytes that are no text.
    NotText,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::Takes { what, accepted, got } => {
                write!(f, "{what} takes {accepted}, and this is {got}")
            }
            Why::Compares(left, right) => write!(f, "{left} and {right} cannot be compared"),
            Why::Overflow => f.write_str("the number is too large"),
            Why::DivisionByZero => f.write_str("division by zero"),
            Why::Domain => f.write_str("there is no such number"),
            Why::Cast(from, to) => write!(f, "this {} is no {to}", from.word()),
            Why::Time(unit) => write!(f, "the time does not fit into 64 bits of {unit:?}"),
            Why::TooLong => {
                write!(f, "texts of more than {} bytes are made", crate::TEXT_BYTES_MAX)
            }
            Why::NotText => f.write_str("the bytes are not UTF-8"),
        }
    }
}

/// A failure beside the expression that it is of: what a record is rejected with.
#[derive(Clone, Copy, Debug)]
pub struct Failed<'p> {
    /// The whole expression.
    pub source: &'p str,
    /// What failed.
    pub failure: Failure,
}

impl fmt::Display for Failed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = self.failure.at.of(self.source);
        let end = part.char_indices().nth(2 * SHOWN).map_or(part.len(), |(at, _)| at);
        let more = ["", "…"][usize::from(end < part.len())];
        write!(f, "`{}{more}`: {}", &part[..end], self.failure.why)
    }
}
