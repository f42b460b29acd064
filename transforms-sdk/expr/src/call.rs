//! Functions and casts over one record.

use std::cmp::Ordering;

use bridge_abi::Unit;

use crate::TEXT_BYTES_MAX;
use crate::ast::Type;
use crate::compile::Node;
use crate::error::{Failure, Why};
use crate::functions::Function;
use crate::number;
use crate::time;
use crate::types::Types;
use crate::value::{Row, Scratch, Text, Value};

type Result<T> = std::result::Result<T, Failure>;
type Answer<'r> = std::result::Result<Value<'r>, Why>;

/// More arguments than any function has whose arguments are all looked at before it is called.
const STRICT_MAX: usize = 3;

impl Node {
    /// A function's value. All arguments are evaluated and a null one makes it null, but for those
    /// that are about null or choose.
    pub(crate) fn call<'r, R: Row<'r>>(
        &'r self,
        function: Function,
        arguments: &'r [Node],
        row: &R,
        scratch: &mut Scratch,
    ) -> Result<Value<'r>> {
        match function {
            Function::If => {
                let [condition, then, otherwise] = arguments else { return Ok(Value::Null) };
                match condition.truth("`if`", row, scratch)? {
                    Some(true) => then.value(row, scratch),
                    _ => otherwise.value(row, scratch),
                }
            }
            Function::Coalesce => {
                for argument in arguments {
                    let value = argument.value(row, scratch)?;
                    if value != Value::Null {
                        return Ok(value);
                    }
                }
                Ok(Value::Null)
            }
            Function::Concat => self.join(arguments, false, row, scratch),
            Function::Least => self.extreme(arguments, Ordering::Less, row, scratch),
            Function::Greatest => self.extreme(arguments, Ordering::Greater, row, scratch),
            Function::Nullif => {
                let [a, b] = arguments else { return Ok(Value::Null) };
                let (a, b) = (a.value(row, scratch)?, b.value(row, scratch)?);
                let equal = self.compare(&a, &b, scratch)? == Some(Ordering::Equal);
                Ok(if equal { Value::Null } else { a })
            }
            Function::TypeOf => {
                let [of] = arguments else { return Ok(Value::Null) };
                let value = of.value(row, scratch)?;
                Ok(Value::found(type_name(&value)))
            }
            _ => self.strict(function, arguments, row, scratch),
        }
    }

    /// Texts one behind the other. A null makes all of `||` null, and is left out by `concat`.
    pub(crate) fn join<'r, R: Row<'r>>(
        &'r self,
        parts: &'r [Node],
        strict: bool,
        row: &R,
        scratch: &mut Scratch,
    ) -> Result<Value<'r>> {
        // Parts may make texts of their own meanwhile: each is joined to those before it.
        let mut whole = Value::Text(Text::Found(""));
        let mut null = false;
        for part in parts {
            let value = part.value(row, scratch)?;
            if !value.types().may_be(Types::PLAIN) {
                let what = if strict { "`||`" } else { "`concat`" };
                return part.refuse(what, Types::PLAIN, &value);
            }
            null |= value == Value::Null;
            if null && strict {
                continue;
            }
            let joined = scratch.make(|scratch, text| {
                scratch.write(&whole, text)?;
                scratch.write(&value, text)
            });
            whole = joined.or_else(|why| self.fail(why))?;
        }
        Ok(if null && strict { Value::Null } else { whole })
    }

    /// The smallest or largest argument that is not null.
    fn extreme<'r, R: Row<'r>>(
        &'r self,
        arguments: &'r [Node],
        wanted: Ordering,
        row: &R,
        scratch: &mut Scratch,
    ) -> Result<Value<'r>> {
        let mut best = Value::Null;
        for argument in arguments {
            let value = argument.value(row, scratch)?;
            match self.compare(&value, &best, scratch)? {
                Some(order) if order != wanted => {}
                None if value == Value::Null => {}
                _ => best = value,
            }
        }
        Ok(best)
    }

    fn strict<'r, R: Row<'r>>(
        &'r self,
        function: Function,
        arguments: &'r [Node],
        row: &R,
        scratch: &mut Scratch,
    ) -> Result<Value<'r>> {
        let info = function.info();
        let mut values = [Value::Null; STRICT_MAX];
        let mut null = false;
        for (index, argument) in arguments.iter().enumerate().take(STRICT_MAX) {
            let value = argument.value(row, scratch)?;
            if !value.types().may_be(info.takes(index)) {
                return argument.refuse(info.name, info.takes(index), &value);
            }
            null |= value == Value::Null;
            values[index] = value;
        }
        if null {
            return Ok(Value::Null);
        }
        let [a, b, c] = values;
        let answer = match (a, b) {
            (Value::Int(_) | Value::Float(_), _) => of_numbers(function, a, b, scratch),
            (Value::Time(since_1970, unit), Value::Text(to)) => {
                epoch(since_1970, unit, scratch.text(&to))
            }
            (Value::Text(to), Value::Time(since_1970, unit)) => {
                match time::cut(since_1970, unit, scratch.text(&to)) {
                    Some(start) => Ok(Value::Time(start, unit)),
                    None => Err(Why::Domain),
                }
            }
            (Value::Bytes(bytes), _) => hex(bytes, scratch),
            (Value::Text(text), _) => of_text(function, text, (b, c), scratch),
            _ => Ok(Value::Null),
        };
        answer.or_else(|why| self.fail(why))
    }
}

/// What `type_of` answers.
fn type_name(value: &Value<'_>) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Int(_) => "int",
        Value::Float(_) => "double",
        Value::Text(_) => "text",
        Value::Time(..) => "timestamp",
        Value::Bytes(_) => "bytes",
        Value::Decimal(..) => "decimal",
        Value::Array(_) => "array",
    }
}

fn of_numbers<'r>(function: Function, a: Value<'r>, b: Value<'r>, scratch: &Scratch) -> Answer<'r> {
    let value = a.float().unwrap_or_default();
    let whole = matches!(a, Value::Int(_));
    match function {
        Function::Abs => match a {
            Value::Int(value) => value.checked_abs().map(Value::Int).ok_or(Why::Overflow),
            _ => Ok(Value::Float(value.abs())),
        },
        Function::Sign => match a {
            Value::Int(value) => Ok(Value::Int(value.signum())),
            _ => Ok(Value::Float(if value == 0.0 { 0.0 } else { value.signum() })),
        },
        Function::Ceil | Function::Floor | Function::Trunc if whole => Ok(a),
        Function::Ceil => number::finite(value.ceil()),
        Function::Floor => number::finite(value.floor()),
        Function::Trunc => number::finite(value.trunc()),
        Function::Round => match b {
            Value::Null if whole => Ok(a),
            Value::Null => number::round(value, 0),
            Value::Int(digits) if whole && digits >= 0 => Ok(a),
            Value::Int(digits) => number::round(value, digits),
            _ => Err(Why::Domain),
        },
        Function::Div => number::div(a, b),
        Function::Exp => number::finite(value.exp()),
        Function::Ln if value > 0.0 => number::finite(value.ln()),
        Function::Log10 if value > 0.0 => number::finite(value.log10()),
        Function::Sqrt => number::finite(value.sqrt()),
        Function::Power => number::finite(value.powf(b.float().unwrap_or_default())),
        Function::ToTimestamp => match (a, b) {
            (Value::Int(since_1970), Value::Text(unit)) => {
                Ok(Value::Time(since_1970, unit_named(scratch.text(&unit))?))
            }
            _ => Err(Why::Domain),
        },
        _ => Err(Why::Domain),
    }
}

fn unit_named(name: &str) -> std::result::Result<Unit, Why> {
    match name {
        "s" => Ok(Unit::Seconds),
        "ms" => Ok(Unit::Millis),
        "us" => Ok(Unit::Micros),
        "ns" => Ok(Unit::Nanos),
        _ => Err(Why::Domain),
    }
}

fn epoch<'r>(since_1970: i64, unit: Unit, to: &str) -> Answer<'r> {
    let to = unit_named(to)?;
    time::in_unit(since_1970, unit, to).map(Value::Int).ok_or(Why::Time(to))
}

fn hex<'r>(bytes: &[u8], scratch: &mut Scratch) -> Answer<'r> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    scratch.make(|_, text| {
        for byte in bytes.iter().take(TEXT_BYTES_MAX) {
            text.push(char::from(DIGITS[usize::from(byte >> 4)]));
            text.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
        Ok(())
    })
}

fn of_text<'r>(
    function: Function,
    text: Text<'r>,
    (b, c): (Value<'r>, Value<'r>),
    scratch: &mut Scratch,
) -> Answer<'r> {
    let other = match &b {
        Value::Text(other) => *other,
        _ => Text::Found(""),
    };
    let (whole, part) = (scratch.text(&text), scratch.text(&other));
    match function {
        Function::Length => Ok(Value::Int(whole.chars().count() as i64)),
        Function::StartsWith => Ok(Value::Bool(whole.starts_with(part))),
        Function::EndsWith => Ok(Value::Bool(whole.ends_with(part))),
        Function::Contains => Ok(Value::Bool(whole.contains(part))),
        Function::Trim => {
            let from = whole.len() - whole.trim_start().len();
            let to = from + whole.trim().len();
            Ok(scratch.piece(text, from, to))
        }
        Function::Substr => substr(text, b, c, scratch),
        Function::SplitPart => match c {
            Value::Int(number) if number >= 1 && !part.is_empty() => {
                let index = usize::try_from(number - 1).unwrap_or(usize::MAX);
                let found = whole.split(part).nth(index);
                let from = found.map_or(0, |found| found.as_ptr().addr() - whole.as_ptr().addr());
                Ok(scratch.piece(text, from, from + found.map_or(0, str::len)))
            }
            _ => Err(Why::Domain),
        },
        Function::Lower => scratch.make(|scratch, made| {
            made.extend(scratch.text(&text).chars().flat_map(char::to_lowercase));
            Ok(())
        }),
        Function::Upper => scratch.make(|scratch, made| {
            made.extend(scratch.text(&text).chars().flat_map(char::to_uppercase));
            Ok(())
        }),
        Function::Replace => replace(text, other, c, scratch),
        Function::Hex => scratch.make(|scratch, made| {
            for byte in scratch.text(&text).bytes().take(TEXT_BYTES_MAX) {
                made.push(char::from_digit(u32::from(byte >> 4), 16).unwrap_or_default());
                made.push(char::from_digit(u32::from(byte & 15), 16).unwrap_or_default());
            }
            Ok(())
        }),
        _ => Err(Why::Domain),
    }
}

/// From a character, counted from 1, so many characters or to the end.
fn substr<'r>(text: Text<'r>, from: Value<'r>, count: Value<'r>, scratch: &Scratch) -> Answer<'r> {
    let Value::Int(from) = from else { return Err(Why::Domain) };
    let last = match count {
        Value::Null => i64::MAX,
        Value::Int(count) if count >= 0 => from.saturating_add(count),
        _ => return Err(Why::Domain),
    };
    let whole = scratch.text(&text);
    let place = |character: i64| {
        let index = usize::try_from(character - 1).unwrap_or(0);
        whole.char_indices().nth(index).map_or(whole.len(), |(at, _)| at)
    };
    let (start, end) = (place(from.max(1)), place(last.max(1)));
    Ok(scratch.piece(text, start, end.max(start)))
}

/// Everywhere; an empty part is nowhere.
fn replace<'r>(text: Text<'r>, part: Text<'r>, by: Value<'r>, scratch: &mut Scratch) -> Answer<'r> {
    let Value::Text(by) = by else { return Err(Why::Domain) };
    if scratch.text(&part).is_empty() {
        return Ok(Value::Text(text));
    }
    scratch.make(|scratch, made| {
        let mut pieces = scratch.text(&text).split(scratch.text(&part));
        made.push_str(pieces.next().unwrap_or_default());
        for piece in pieces {
            made.push_str(scratch.text(&by));
            made.push_str(piece);
            if made.len() > TEXT_BYTES_MAX {
                return Err(Why::TooLong);
            }
        }
        Ok(())
    })
}

/// `cast`: only what says the same in the other type, or the nearest double.
pub(crate) fn cast<'r>(value: Value<'r>, to: Type, scratch: &mut Scratch) -> Answer<'r> {
    let no = Why::Cast(value.types(), to.name());
    match (to, value) {
        (_, Value::Null) => Ok(Value::Null),
        (Type::Int, Value::Int(_)) | (Type::Double, Value::Float(_)) => Ok(value),
        (Type::Bool, Value::Bool(_)) | (Type::Timestamp, Value::Time(..)) => Ok(value),
        (Type::Text, Value::Text(_)) => Ok(value),
        (Type::Text, Value::Bytes(bytes)) => {
            std::str::from_utf8(bytes).map(Value::found).map_err(|_| Why::NotText)
        }
        (Type::Text, Value::Decimal(scale, unscaled)) => {
            let digits = unscaled_number(unscaled).ok_or(Why::Overflow)?;
            scratch.make(|_, text| {
                write_decimal(text, digits, scale);
                Ok(())
            })
        }
        (Type::Text, Value::Array(_)) => Err(no),
        (Type::Text, value) => scratch.make(|scratch, text| scratch.write(&value, text)),
        (Type::Int, Value::Float(float)) => number::exact(float).map(Value::Int).ok_or(no),
        (Type::Int, Value::Bool(value)) => Ok(Value::Int(i64::from(value))),
        (Type::Double, Value::Int(value)) => Ok(Value::Float(value as f64)),
        (Type::Double, Value::Decimal(scale, unscaled)) => {
            let digits = unscaled_number(unscaled).ok_or(Why::Overflow)?;
            let made = scratch.make(|_, text| {
                write_decimal(text, digits, scale);
                Ok(())
            })?;
            of_words(made, Type::Double, scratch).ok_or(no)
        }
        (Type::Bool, Value::Int(value @ (0 | 1))) => Ok(Value::Bool(value == 1)),
        (_, Value::Text(_)) => of_words(value, to, scratch).ok_or(no),
        _ => Err(no),
    }
}

/// A text that says a value of this type, and nothing else.
fn of_words<'r>(text: Value<'r>, to: Type, scratch: &Scratch) -> Option<Value<'r>> {
    let Value::Text(text) = text else { return None };
    let text = scratch.text(&text);
    // Rust reads `inf`, `NaN` and `+1` as well; a number is digits here, maybe with a `-`.
    let is_number = text.trim_start_matches('-').starts_with(|c: char| c.is_ascii_digit());
    match to {
        Type::Int if is_number => text.parse().ok().map(Value::Int),
        Type::Double if is_number => {
            text.parse().ok().filter(|value: &f64| value.is_finite()).map(Value::Float)
        }
        Type::Bool if text.eq_ignore_ascii_case("true") => Some(Value::Bool(true)),
        Type::Bool if text.eq_ignore_ascii_case("false") => Some(Value::Bool(false)),
        Type::Timestamp => {
            time::parse(text).map(|(since_1970, unit)| Value::Time(since_1970, unit))
        }
        _ => None,
    }
}

/// The number before its point is set; `None` beyond 128 bits.
fn unscaled_number(bytes: &[u8]) -> Option<i128> {
    let negative = bytes.first().is_some_and(|first| *first >= 128);
    let start: i128 = if negative { -1 } else { 0 };
    let fits = bytes.len() <= 16;
    fits.then(|| bytes.iter().fold(start, |number, byte| number << 8 | i128::from(*byte)))
}

/// Into an empty text.
fn write_decimal(text: &mut String, unscaled: i128, scale: u8) {
    use std::fmt::Write;
    let scale = usize::from(scale);
    // A `String` takes all that is written.
    let _ = write!(text, "{}", unscaled.unsigned_abs());
    while text.len() <= scale {
        text.insert(0, '0');
    }
    if scale > 0 {
        text.insert(text.len() - scale, '.');
    }
    if unscaled < 0 {
        text.insert(0, '-');
    }
}
