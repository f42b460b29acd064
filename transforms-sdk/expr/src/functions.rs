//! All functions: names, arguments, results. `docs/expressions.md` shows the same table, and a test
//! compares the two.

use crate::ast::{Expr, ExprKind};
use crate::error::Error;
use crate::types::Types;
use crate::units;

/// A function.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "the table below says what each does")]
pub enum Function {
    Abs,
    Ceil,
    Coalesce,
    Concat,
    Contains,
    Convert,
    DateTrunc,
    Div,
    EndsWith,
    Epoch,
    Exp,
    Floor,
    Greatest,
    Hex,
    If,
    Least,
    Length,
    Ln,
    Log10,
    Lower,
    Nullif,
    Power,
    Replace,
    Round,
    Sign,
    SplitPart,
    Sqrt,
    StartsWith,
    Substr,
    ToTimestamp,
    Trim,
    Trunc,
    TypeOf,
    Upper,
}

/// What is known of a function.
#[derive(Clone, Copy, Debug)]
pub struct Info {
    /// Which one.
    pub function: Function,
    /// Its name.
    pub name: &'static str,
    /// Other names that are read.
    pub also: &'static [&'static str],
    /// The fewest and the most arguments.
    pub fewest: usize,
    /// The most arguments.
    pub most: usize,
    /// What each argument takes; the last one is for all that follow.
    pub takes: &'static [Types],
    /// What it gives; [`Types::ANY`] for what its arguments are.
    pub gives: Types,
    /// How it is called.
    pub example: &'static str,
}

const ALL: Types = Types::ANY;
const NUMBER: Types = Types::NUMBER;
const TEXT: Types = Types::TEXT;
const TIME: Types = Types::TIME;
const BOOL: Types = Types::BOOL;
const MANY: usize = 1_000;

const fn info(
    function: Function,
    name: &'static str,
    (fewest, most): (usize, usize),
    takes: &'static [Types],
    gives: Types,
    example: &'static str,
) -> Info {
    Info { function, name, also: &[], fewest, most, takes, gives, example }
}

/// All functions, by name.
#[rustfmt::skip]
pub const FUNCTIONS: [Info; 34] = [
    info(Function::Abs, "abs", (1, 1), &[NUMBER], NUMBER, "abs(x)"),
    Info { also: &["ceiling"], ..info(Function::Ceil, "ceil", (1, 1), &[NUMBER], NUMBER, "ceil(x)") },
    info(Function::Coalesce, "coalesce", (1, MANY), &[ALL], ALL, "coalesce(a, b, 0)"),
    info(Function::Concat, "concat", (1, MANY), &[Types::PLAIN], TEXT, "concat(a, '-', b)"),
    info(Function::Contains, "contains", (2, 2), &[TEXT], BOOL, "contains(text, 'part')"),
    info(Function::Convert, "convert", (3, 3), &[NUMBER, TEXT], NUMBER, "convert(x, 'celsius', 'kelvin')"),
    info(Function::DateTrunc, "date_trunc", (2, 2), &[TEXT, TIME], TIME, "date_trunc('hour', ts)"),
    info(Function::Div, "div", (2, 2), &[NUMBER], NUMBER, "div(a, b)"),
    info(Function::EndsWith, "ends_with", (2, 2), &[TEXT], BOOL, "ends_with(text, 'part')"),
    info(Function::Epoch, "epoch", (2, 2), &[TIME, TEXT], NUMBER, "epoch(ts, 'ms')"),
    info(Function::Exp, "exp", (1, 1), &[NUMBER], NUMBER, "exp(x)"),
    info(Function::Floor, "floor", (1, 1), &[NUMBER], NUMBER, "floor(x)"),
    Info { also: &["max"], ..info(Function::Greatest, "greatest", (1, MANY), &[ALL], ALL, "greatest(a, b)") },
    info(Function::Hex, "hex", (1, 1), &[Types::BYTES.or(TEXT)], TEXT, "hex(key)"),
    info(Function::If, "if", (3, 3), &[BOOL, ALL], ALL, "if(x > 0, 'up', 'down')"),
    Info { also: &["min"], ..info(Function::Least, "least", (1, MANY), &[ALL], ALL, "least(a, b)") },
    info(Function::Length, "length", (1, 1), &[TEXT], NUMBER, "length(text)"),
    info(Function::Ln, "ln", (1, 1), &[NUMBER], NUMBER, "ln(x)"),
    info(Function::Log10, "log10", (1, 1), &[NUMBER], NUMBER, "log10(x)"),
    info(Function::Lower, "lower", (1, 1), &[TEXT], TEXT, "lower(text)"),
    info(Function::Nullif, "nullif", (2, 2), &[ALL], ALL, "nullif(x, -999)"),
    Info { also: &["pow"], ..info(Function::Power, "power", (2, 2), &[NUMBER], NUMBER, "power(x, 2)") },
    info(Function::Replace, "replace", (3, 3), &[TEXT], TEXT, "replace(text, 'a', 'b')"),
    info(Function::Round, "round", (1, 2), &[NUMBER], NUMBER, "round(x, 2)"),
    info(Function::Sign, "sign", (1, 1), &[NUMBER], NUMBER, "sign(x)"),
    info(Function::SplitPart, "split_part", (3, 3), &[TEXT, TEXT, NUMBER], TEXT, "split_part(text, '/', 2)"),
    info(Function::Sqrt, "sqrt", (1, 1), &[NUMBER], NUMBER, "sqrt(x)"),
    info(Function::StartsWith, "starts_with", (2, 2), &[TEXT], BOOL, "starts_with(text, 'part')"),
    Info { also: &["substring"], ..info(Function::Substr, "substr", (2, 3), &[TEXT, NUMBER], TEXT, "substr(text, 1, 3)") },
    info(Function::ToTimestamp, "to_timestamp", (2, 2), &[NUMBER, TEXT], TIME, "to_timestamp(n, 'ms')"),
    info(Function::Trim, "trim", (1, 1), &[TEXT], TEXT, "trim(text)"),
    info(Function::Trunc, "trunc", (1, 1), &[NUMBER], NUMBER, "trunc(x)"),
    info(Function::TypeOf, "type_of", (1, 1), &[ALL], TEXT, "type_of(x)"),
    info(Function::Upper, "upper", (1, 1), &[TEXT], TEXT, "upper(text)"),
];

impl Function {
    /// What is known of it.
    pub fn info(self) -> &'static Info {
        &FUNCTIONS[self as usize]
    }
}

impl Info {
    /// What the argument with this index takes.
    pub(crate) fn takes(&self, index: usize) -> Types {
        self.takes[index.min(self.takes.len() - 1)]
    }
}

/// A function by its name in lower case.
pub(crate) fn named(name: &str) -> Option<Function> {
    let is = |info: &&Info| info.name == name || info.also.contains(&name);
    FUNCTIONS.iter().find(is).map(|info| info.function)
}

/// The units of `convert`, which must be constants: what they are is known at the start.
pub(crate) fn units_of(source: &str, arguments: &[Expr]) -> Result<units::Linear, Error> {
    let unit = |argument: &Expr| match &argument.kind {
        ExprKind::Text(name) => units::named(name).map_err(|help| {
            Error::new(source, argument.at, format!("there is no unit '{name}'")).help(help)
        }),
        _ => Err(Error::new(source, argument.at, "expected a unit in single quotes")),
    };
    let (from, to) = (unit(&arguments[1])?, unit(&arguments[2])?);
    if from.dimension != to.dimension {
        let message = format!("{} is no {}", from.dimension, to.dimension);
        return Err(Error::new(source, arguments[2].at, message));
    }
    Ok(units::between(from, to))
}

/// The same, to see that they are right.
pub(crate) fn check_units(source: &str, arguments: &[Expr]) -> Result<(), Error> {
    units_of(source, arguments).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order_and_reads() {
        for (index, info) in FUNCTIONS.iter().enumerate() {
            assert_eq!(info.function as usize, index, "{}", info.name);
            assert_eq!(named(info.name), Some(info.function));
            let expr = crate::parse(info.example).expect("an example is right");
            assert!(matches!(expr.kind, ExprKind::Call(function, _) if function == info.function));
        }
        assert!(FUNCTIONS.is_sorted_by_key(|info| info.name));
    }
}
