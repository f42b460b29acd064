//! An expression as a tree, and how it is written: what is printed is read as the same tree.

use std::fmt::{self, Display, Formatter, Write};

use bridge_abi::Unit;

use crate::error::Span;
use crate::functions::Function;
use crate::time;

/// A part of an expression. Equal to another where both say the same, wherever they stand.
#[derive(Clone, Debug)]
pub struct Expr {
    /// Where it stands.
    pub at: Span,
    /// What it says.
    pub kind: ExprKind,
}

impl PartialEq for Expr {
    fn eq(&self, other: &Expr) -> bool {
        self.kind == other.kind
    }
}

/// What a part says.
#[derive(Clone, PartialEq, Debug)]
pub enum ExprKind {
    /// `null`
    Null,
    /// `true`, `false`
    Bool(bool),
    /// `42`
    Int(i64),
    /// `1.5`, finite
    Float(f64),
    /// `'text'`
    Text(String),
    /// `timestamp '2026-01-31T12:00:00Z'`, in micro- or nanoseconds
    Time(i64, Unit),
    /// `temperature`, `"a name"`
    Column(String),
    /// `partition` and the like
    Own(Own),
    /// `header('name')`
    Header(String),
    /// `not a`
    Not(Box<Expr>),
    /// `-a`
    Negate(Box<Expr>),
    /// `a and b and c`
    And(Vec<Expr>),
    /// `a or b or c`
    Or(Vec<Expr>),
    /// `a < b`
    Compare(Comparison, Box<Expr>, Box<Expr>),
    /// `a + b`
    Arithmetic(Arithmetic, Box<Expr>, Box<Expr>),
    /// `a || b || c`
    Join(Vec<Expr>),
    /// `a is not null`; true for `not`
    Is(Box<Expr>, Which, bool),
    /// `a not in (b, c)`; true for `not`
    In(Box<Expr>, Vec<Expr>, bool),
    /// `a not between b and c`; true for `not`
    Between(Box<Expr>, Box<Expr>, Box<Expr>, bool),
    /// `a not like 'b%'`; true for `not`
    Like(Box<Expr>, String, bool),
    /// `case a when b then c else d end`
    Case(Option<Box<Expr>>, Vec<(Expr, Expr)>, Option<Box<Expr>>),
    /// `cast(a as int)`; true for `try_cast`
    Cast(Box<Expr>, Type, bool),
    /// `lower(a)`
    Call(Function, Vec<Expr>),
}

/// What Kafka says of a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Own {
    /// The topic's name.
    Topic,
    /// The partition's number.
    Partition,
    /// The offset.
    Offset,
    /// Kafka's timestamp.
    Timestamp,
    /// The key.
    Key,
}

impl Own {
    /// All of them.
    pub const ALL: [Own; 5] = [Own::Topic, Own::Partition, Own::Offset, Own::Timestamp, Own::Key];

    /// How it is written.
    pub fn name(self) -> &'static str {
        match self {
            Own::Topic => "topic",
            Own::Partition => "partition",
            Own::Offset => "offset",
            Own::Timestamp => "timestamp",
            Own::Key => "key",
        }
    }
}

/// A comparison.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "the signs say it")]
pub enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
}

impl Comparison {
    /// All of them, with their signs.
    pub const ALL: [(Comparison, &str); 6] = [
        (Comparison::Equal, "="),
        (Comparison::NotEqual, "<>"),
        (Comparison::Less, "<"),
        (Comparison::LessEqual, "<="),
        (Comparison::Greater, ">"),
        (Comparison::GreaterEqual, ">="),
    ];

    /// Its sign.
    pub fn sign(self) -> &'static str {
        Comparison::ALL[self as usize].1
    }
}

/// An operation on two numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "the signs say it")]
pub enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

impl Arithmetic {
    /// All of them, with their signs.
    pub const ALL: [(Arithmetic, &str); 5] = [
        (Arithmetic::Add, "+"),
        (Arithmetic::Subtract, "-"),
        (Arithmetic::Multiply, "*"),
        (Arithmetic::Divide, "/"),
        (Arithmetic::Remainder, "%"),
    ];

    /// Its sign.
    pub fn sign(self) -> &'static str {
        Arithmetic::ALL[self as usize].1
    }
}

/// What `is` asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Which {
    /// Null, or missing.
    Null,
    /// The record has no such column.
    Missing,
    /// True, and not null.
    True,
    /// False, and not null.
    False,
}

impl Which {
    /// All of them, as they are written.
    pub const ALL: [(Which, &str); 4] = [
        (Which::Null, "null"),
        (Which::Missing, "missing"),
        (Which::True, "true"),
        (Which::False, "false"),
    ];
}

/// What `cast` makes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Type {
    Int,
    Double,
    Text,
    Bool,
    Timestamp,
}

impl Type {
    /// All names; a type's first one is the one that is printed.
    pub const NAMES: [(Type, &str); 12] = [
        (Type::Int, "int"),
        (Type::Int, "long"),
        (Type::Int, "bigint"),
        (Type::Int, "integer"),
        (Type::Double, "double"),
        (Type::Double, "float"),
        (Type::Text, "text"),
        (Type::Text, "string"),
        (Type::Text, "varchar"),
        (Type::Bool, "bool"),
        (Type::Bool, "boolean"),
        (Type::Timestamp, "timestamp"),
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        let name = Type::NAMES.iter().find(|(of, _)| *of == self);
        name.map_or("", |(_, name)| name)
    }
}

/// Words that a column's bare name may not be; in quotes they may.
pub(crate) const KEYWORDS: [&str; 19] = [
    "and", "or", "not", "in", "between", "like", "is", "null", "missing", "true", "false", "case",
    "when", "then", "else", "end", "as", "cast", "try_cast",
];

/// How tightly each level binds; what binds less within what binds more stands in parentheses.
pub(crate) mod binding {
    pub(crate) const OR: u8 = 1;
    pub(crate) const AND: u8 = 2;
    pub(crate) const NOT: u8 = 3;
    pub(crate) const COMPARE: u8 = 4;
    pub(crate) const JOIN: u8 = 5;
    pub(crate) const SUM: u8 = 6;
    pub(crate) const PRODUCT: u8 = 7;
    pub(crate) const SIGN: u8 = 8;
    pub(crate) const ATOM: u8 = 9;
}

impl Arithmetic {
    pub(crate) fn binding(self) -> u8 {
        match self {
            Arithmetic::Add | Arithmetic::Subtract => binding::SUM,
            _ => binding::PRODUCT,
        }
    }
}

impl ExprKind {
    fn binding(&self) -> u8 {
        match self {
            ExprKind::Or(_) => binding::OR,
            ExprKind::And(_) => binding::AND,
            ExprKind::Not(_) => binding::NOT,
            ExprKind::Compare(..)
            | ExprKind::Is(..)
            | ExprKind::In(..)
            | ExprKind::Between(..)
            | ExprKind::Like(..) => binding::COMPARE,
            ExprKind::Join(_) => binding::JOIN,
            ExprKind::Arithmetic(operation, ..) => operation.binding(),
            ExprKind::Negate(_) => binding::SIGN,
            _ => binding::ATOM,
        }
    }
}

/// A part that must bind at least as tightly, else it stands in parentheses.
struct Bound<'e>(&'e Expr, u8);

impl Display for Bound<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0.kind.binding() >= self.1 {
            true => write!(f, "{}", self.0),
            false => write!(f, "({})", self.0),
        }
    }
}

fn list(f: &mut Formatter<'_>, between: &str, parts: &[Expr], bound: u8) -> fmt::Result {
    for (index, part) in parts.iter().enumerate() {
        write!(f, "{}{}", if index == 0 { "" } else { between }, Bound(part, bound))?;
    }
    Ok(())
}

fn quoted(f: &mut Formatter<'_>, quote: char, text: &str) -> fmt::Result {
    f.write_char(quote)?;
    for letter in text.chars() {
        f.write_char(letter)?;
        if letter == quote {
            f.write_char(quote)?;
        }
    }
    f.write_char(quote)
}

/// Whether a column can be written without quotes.
fn is_bare(name: &str) -> bool {
    let lower = name.to_lowercase();
    let reserved =
        KEYWORDS.contains(&lower.as_str()) || Own::ALL.iter().any(|own| own.name() == lower);
    let mut letters = name.chars();
    let first = letters.next().is_some_and(|c| c.is_alphabetic() || c == '_');
    let rest = letters.all(|c| c.is_alphanumeric() || c == '_' || c == '.');
    first && rest && !name.ends_with('.') && !reserved
}

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        use binding::{AND, COMPARE, JOIN, NOT, SIGN};
        let not = |negated: &bool| if *negated { "not " } else { "" };
        match &self.kind {
            ExprKind::Null => f.write_str("null"),
            ExprKind::Bool(value) => write!(f, "{value}"),
            ExprKind::Int(value) => write!(f, "{value}"),
            ExprKind::Float(value) => write!(f, "{value:?}"),
            ExprKind::Text(text) => quoted(f, '\'', text),
            ExprKind::Time(since_1970, unit) => {
                write!(f, "timestamp '{}'", time::Written(*since_1970, *unit))
            }
            ExprKind::Column(name) if is_bare(name) => f.write_str(name),
            ExprKind::Column(name) => quoted(f, '"', name),
            ExprKind::Own(own) => f.write_str(own.name()),
            ExprKind::Header(name) => {
                f.write_str("header(")?;
                quoted(f, '\'', name)?;
                f.write_str(")")
            }
            ExprKind::Not(of) => write!(f, "not {}", Bound(of, NOT)),
            // A number with a sign is a number: what is negated once more stands apart from it.
            ExprKind::Negate(of) => match of.kind {
                ExprKind::Int(_) | ExprKind::Float(_) | ExprKind::Negate(_) => write!(f, "-({of})"),
                _ => write!(f, "-{}", Bound(of, SIGN)),
            },
            ExprKind::And(parts) => list(f, " and ", parts, NOT),
            ExprKind::Or(parts) => list(f, " or ", parts, AND),
            ExprKind::Compare(how, a, b) => {
                write!(f, "{} {} {}", Bound(a, JOIN), how.sign(), Bound(b, JOIN))
            }
            ExprKind::Arithmetic(how, a, b) => {
                let bound = how.binding();
                write!(f, "{} {} {}", Bound(a, bound), how.sign(), Bound(b, bound + 1))
            }
            ExprKind::Join(parts) => list(f, " || ", parts, JOIN + 1),
            ExprKind::Is(of, which, negated) => {
                let which = Which::ALL[*which as usize].1;
                write!(f, "{} is {}{which}", Bound(of, JOIN), not(negated))
            }
            ExprKind::In(of, list_of, negated) => {
                write!(f, "{} {}in (", Bound(of, JOIN), not(negated))?;
                list(f, ", ", list_of, 0)?;
                f.write_str(")")
            }
            ExprKind::Between(of, low, high, negated) => {
                let (low, high) = (Bound(low, JOIN), Bound(high, JOIN));
                write!(f, "{} {}between {low} and {high}", Bound(of, JOIN), not(negated))
            }
            ExprKind::Like(of, pattern, negated) => {
                write!(f, "{} {}like ", Bound(of, COMPARE + 1), not(negated))?;
                quoted(f, '\'', pattern)
            }
            ExprKind::Case(of, whens, otherwise) => {
                case(f, of.as_deref(), whens, otherwise.as_deref())
            }
            ExprKind::Cast(of, to, tries) => {
                write!(f, "{}cast({of} as {})", if *tries { "try_" } else { "" }, to.name())
            }
            ExprKind::Call(function, arguments) => {
                write!(f, "{}(", function.info().name)?;
                list(f, ", ", arguments, 0)?;
                f.write_str(")")
            }
        }
    }
}

fn case(
    f: &mut Formatter<'_>,
    of: Option<&Expr>,
    whens: &[(Expr, Expr)],
    otherwise: Option<&Expr>,
) -> fmt::Result {
    f.write_str("case")?;
    if let Some(of) = of {
        write!(f, " {of}")?;
    }
    for (when, then) in whens {
        write!(f, " when {when} then {then}")?;
    }
    if let Some(otherwise) = otherwise {
        write!(f, " else {otherwise}")?;
    }
    f.write_str(" end")
}
