//! What an expression means, said once more and as plainly as possible: straight over the tree,
//! with values that own what they hold, and no care for speed.

use std::cmp::Ordering;

use bridge_expr::{Arithmetic, Comparison, Expr, ExprKind, Function, Own, Type, Which, time};

/// A value; times are nanoseconds, whatever their unit.
#[derive(Clone, PartialEq, Debug)]
pub enum Plain {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Time(i128),
}

/// What the test's record holds: columns by name, those that are missing are not there.
pub type Columns = Vec<(&'static str, Plain)>;

pub const OFFSET: i64 = 300;

/// The value, or `None` where a record would be rejected.
pub fn value(expr: &Expr, columns: &Columns) -> Option<Plain> {
    let of = |part: &Expr| value(part, columns);
    Some(match &expr.kind {
        ExprKind::Null => Plain::Null,
        ExprKind::Bool(value) => Plain::Bool(*value),
        ExprKind::Int(value) => Plain::Int(*value),
        ExprKind::Float(value) => Plain::Float(*value),
        ExprKind::Text(text) => Plain::Text(text.clone()),
        ExprKind::Time(at, unit) => Plain::Time(time::nanos(*at, *unit)),
        ExprKind::Column(name) => find(columns, name).cloned().unwrap_or(Plain::Null),
        ExprKind::Own(Own::Offset) => Plain::Int(OFFSET),
        ExprKind::Own(_) | ExprKind::Header(_) => unreachable!("none are made"),
        ExprKind::Not(part) => logic(truth(of(part)?)?.map(|value| !value)),
        ExprKind::Negate(part) => match of(part)? {
            Plain::Null => Plain::Null,
            Plain::Int(value) => Plain::Int(value.checked_neg()?),
            Plain::Float(value) => Plain::Float(-value),
            _ => return None,
        },
        ExprKind::And(parts) => chain(parts, false, columns)?,
        ExprKind::Or(parts) => chain(parts, true, columns)?,
        ExprKind::Compare(how, a, b) => compared(&of(a)?, *how, &of(b)?)?,
        ExprKind::Arithmetic(how, a, b) => arithmetic(*how, of(a)?, of(b)?)?,
        ExprKind::Join(parts) => joined(parts, columns, true)?,
        ExprKind::Is(part, Which::Missing, negated) => {
            let ExprKind::Column(name) = &part.kind else { unreachable!("is refused") };
            Plain::Bool(find(columns, name).is_none() != *negated)
        }
        ExprKind::Is(part, Which::Null, negated) => {
            Plain::Bool((of(part)? == Plain::Null) != *negated)
        }
        ExprKind::Is(part, which, negated) => {
            let wanted = *which == Which::True;
            Plain::Bool((truth(of(part)?)? == Some(wanted)) != *negated)
        }
        ExprKind::In(part, list, negated) => within(part, list, *negated, columns)?,
        ExprKind::Between(part, low, high, negated) => {
            let (part, low, high) = (of(part)?, of(low)?, of(high)?);
            let above = truth(compared(&part, Comparison::GreaterEqual, &low)?)?;
            let below = truth(compared(&part, Comparison::LessEqual, &high)?)?;
            logic(both(above, below).map(|both| both != *negated))
        }
        ExprKind::Like(part, pattern, negated) => match of(part)? {
            Plain::Null => Plain::Null,
            Plain::Text(text) => Plain::Bool(like(&letters(pattern), &letters(&text)) != *negated),
            _ => return None,
        },
        ExprKind::Case(part, whens, otherwise) => {
            let part = part.as_ref().map(|part| of(part).ok_or(())).transpose().ok()?;
            for (when, then) in whens {
                let when = of(when)?;
                let is = match &part {
                    None => truth(when)?,
                    Some(part) => truth(compared(part, Comparison::Equal, &when)?)?,
                };
                if is == Some(true) {
                    return of(then);
                }
            }
            otherwise.as_ref().map_or(Some(Plain::Null), |otherwise| of(otherwise))?
        }
        ExprKind::Cast(part, to, tries) => match (cast(of(part)?, *to), tries) {
            (None, true) => Plain::Null,
            (value, _) => value?,
        },
        ExprKind::Call(function, arguments) => call(*function, arguments, columns)?,
    })
}

fn within(part: &Expr, list: &[Expr], negated: bool, columns: &Columns) -> Option<Plain> {
    let (part, mut found) = (value(part, columns)?, Some(false));
    for other in list {
        match compared(&part, Comparison::Equal, &value(other, columns)?)? {
            Plain::Bool(true) => return Some(Plain::Bool(!negated)),
            Plain::Null => found = None,
            _ => {}
        }
    }
    Some(logic(found.map(|found| found != negated)))
}

fn find<'c>(columns: &'c Columns, name: &str) -> Option<&'c Plain> {
    columns.iter().find(|(column, _)| *column == name).map(|(_, value)| value)
}

fn logic(value: Option<bool>) -> Plain {
    value.map_or(Plain::Null, Plain::Bool)
}

fn truth(value: Plain) -> Option<Option<bool>> {
    match value {
        Plain::Null => Some(None),
        Plain::Bool(value) => Some(Some(value)),
        _ => None,
    }
}

fn both(a: Option<bool>, b: Option<bool>) -> Option<bool> {
    if a == Some(false) || b == Some(false) {
        return Some(false);
    }
    Some(a? && b?)
}

fn chain(parts: &[Expr], ends: bool, columns: &Columns) -> Option<Plain> {
    let mut unknown = false;
    for part in parts {
        match truth(value(part, columns)?)? {
            Some(value) if value == ends => return Some(Plain::Bool(ends)),
            Some(_) => {}
            None => unknown = true,
        }
    }
    Some(if unknown { Plain::Null } else { Plain::Bool(!ends) })
}

/// All digits of a double, and of an integer beside it, as text of one length.
fn digits(value: f64) -> (bool, String) {
    (value < 0.0, format!("{:0>400.1074}", value.abs()))
}

fn order(a: &Plain, b: &Plain) -> Option<Ordering> {
    match (a, b) {
        (Plain::Int(a), Plain::Int(b)) => Some(a.cmp(b)),
        (Plain::Float(a), Plain::Float(b)) => a.partial_cmp(b),
        (Plain::Int(a), Plain::Float(b)) if *a == 0 || *b == 0.0 => (*a as f64).partial_cmp(b),
        (Plain::Int(a), Plain::Float(b)) => {
            let int = (*a < 0, format!("{:0>325}.{:0<1074}", a.unsigned_abs(), ""));
            let (negative, mut float) = digits(*b);
            float = format!("{:0>1400}", float.trim_start_matches('0'));
            let int_digits = format!("{:0>1400}", int.1.trim_start_matches('0'));
            Some(match (int.0, negative) {
                (false, true) => Ordering::Greater,
                (true, false) => Ordering::Less,
                (false, false) => int_digits.cmp(&float),
                (true, true) => float.cmp(&int_digits),
            })
        }
        (Plain::Float(_), Plain::Int(_)) => order(b, a).map(Ordering::reverse),
        (Plain::Text(a), Plain::Text(b)) => Some(a.chars().cmp(b.chars())),
        (Plain::Bool(a), Plain::Bool(b)) => Some(a.cmp(b)),
        (Plain::Time(a), Plain::Time(b)) => Some(a.cmp(b)),
        _ => None,
    }
}

fn compared(a: &Plain, how: Comparison, b: &Plain) -> Option<Plain> {
    if *a == Plain::Null || *b == Plain::Null {
        return Some(Plain::Null);
    }
    let order = order(a, b)?;
    Some(Plain::Bool(match how {
        Comparison::Equal => order == Ordering::Equal,
        Comparison::NotEqual => order != Ordering::Equal,
        Comparison::Less => order == Ordering::Less,
        Comparison::LessEqual => order != Ordering::Greater,
        Comparison::Greater => order == Ordering::Greater,
        Comparison::GreaterEqual => order != Ordering::Less,
    }))
}

fn number(value: &Plain) -> Option<Option<f64>> {
    match value {
        Plain::Null => Some(None),
        Plain::Int(value) => Some(Some(*value as f64)),
        Plain::Float(value) => Some(Some(*value)),
        _ => None,
    }
}

fn finite(value: f64) -> Option<Plain> {
    value.is_finite().then_some(Plain::Float(value))
}

fn arithmetic(how: Arithmetic, a: Plain, b: Plain) -> Option<Plain> {
    if let (Plain::Int(a), Plain::Int(b)) = (&a, &b) {
        let (a, b) = (i128::from(*a), i128::from(*b));
        let exact = match how {
            Arithmetic::Add => a + b,
            Arithmetic::Subtract => a - b,
            Arithmetic::Multiply => a * b,
            Arithmetic::Divide if b == 0 => return None,
            Arithmetic::Divide => return finite(a as f64 / b as f64),
            Arithmetic::Remainder => a.checked_rem(b)?,
        };
        return i64::try_from(exact).ok().map(Plain::Int);
    }
    let (Some(a), Some(b)) = (number(&a)?, number(&b)?) else { return Some(Plain::Null) };
    match how {
        Arithmetic::Add => finite(a + b),
        Arithmetic::Subtract => finite(a - b),
        Arithmetic::Multiply => finite(a * b),
        Arithmetic::Divide => finite(a / b),
        Arithmetic::Remainder => finite(a % b),
    }
}

/// How a value is written as text.
fn text(value: &Plain) -> Option<String> {
    Some(match value {
        Plain::Null => String::new(),
        Plain::Bool(value) => value.to_string(),
        Plain::Int(value) => value.to_string(),
        Plain::Float(value) => format!("{value:?}"),
        Plain::Text(text) => text.clone(),
        // Its unit is not known here.
        Plain::Time(_) => return None,
    })
}

fn joined(parts: &[Expr], columns: &Columns, strict: bool) -> Option<Plain> {
    let values: Option<Vec<Plain>> = parts.iter().map(|part| value(part, columns)).collect();
    let texts: Option<Vec<String>> = values.as_ref()?.iter().map(text).collect();
    match strict && values?.contains(&Plain::Null) {
        true => texts.map(|_| Plain::Null),
        false => Some(Plain::Text(texts?.concat())),
    }
}

fn letters(text: &str) -> Vec<char> {
    text.chars().collect()
}

fn like(pattern: &[char], text: &[char]) -> bool {
    match (pattern.first(), text.first()) {
        (None, _) => text.is_empty(),
        (Some('%'), _) => (0..=text.len()).any(|taken| like(&pattern[1..], &text[taken..])),
        (Some('_'), Some(_)) => like(&pattern[1..], &text[1..]),
        (Some(one), Some(other)) => one == other && like(&pattern[1..], &text[1..]),
        (Some(_), None) => false,
    }
}

fn cast(value: Plain, to: Type) -> Option<Plain> {
    Some(match (to, value) {
        (_, Plain::Null) => Plain::Null,
        (Type::Int, Plain::Float(value)) => {
            let whole =
                value as i128 as f64 == value && (-2_f64.powi(63)..2_f64.powi(63)).contains(&value);
            if !whole {
                return None;
            }
            Plain::Int(value as i64)
        }
        (Type::Int, Plain::Bool(value)) => Plain::Int(value.into()),
        (Type::Int, Plain::Text(text)) => Plain::Int(text.parse().ok()?),
        (Type::Double, Plain::Int(value)) => Plain::Float(value as f64),
        (Type::Double, Plain::Text(text)) if text.contains(|c: char| c.is_ascii_digit()) => {
            finite(text.parse().ok()?)?
        }
        (Type::Bool, Plain::Int(value @ (0 | 1))) => Plain::Bool(value == 1),
        (Type::Bool, Plain::Text(text)) => Plain::Bool(text.to_lowercase().parse().ok()?),
        (Type::Text, value) => Plain::Text(text(&value)?),
        (Type::Int, value @ Plain::Int(_)) | (Type::Double, value @ Plain::Float(_)) => value,
        (Type::Bool, value @ Plain::Bool(_)) | (Type::Timestamp, value @ Plain::Time(_)) => value,
        _ => return None,
    })
}

fn call(function: Function, arguments: &[Expr], columns: &Columns) -> Option<Plain> {
    let of = |part: &Expr| value(part, columns);
    match function {
        Function::If => {
            return match truth(of(&arguments[0])?)? {
                Some(true) => of(&arguments[1]),
                _ => of(&arguments[2]),
            };
        }
        Function::Coalesce => {
            for argument in arguments {
                let value = of(argument)?;
                if value != Plain::Null {
                    return Some(value);
                }
            }
            return Some(Plain::Null);
        }
        Function::Concat => return joined(arguments, columns, false),
        _ => {}
    }
    let values: Option<Vec<Plain>> = arguments.iter().map(of).collect();
    let values = values?;
    match (function, &values[..]) {
        (Function::Nullif, [a, b]) => {
            let equal = truth(compared(a, Comparison::Equal, b)?)? == Some(true);
            Some(if equal { Plain::Null } else { a.clone() })
        }
        (Function::Least | Function::Greatest, values) => {
            let mut best = Plain::Null;
            for value in values.iter().filter(|value| **value != Plain::Null) {
                let better = match (&best, order(value, &best)) {
                    (Plain::Null, _) => true,
                    (_, Some(Ordering::Less)) => function == Function::Least,
                    (_, Some(Ordering::Greater)) => function == Function::Greatest,
                    (_, Some(Ordering::Equal)) => false,
                    (_, None) => return None,
                };
                if better {
                    best = value.clone();
                }
            }
            Some(best)
        }
        (_, values) => strict(function, values),
    }
}

/// Types are looked at before nulls, so that a wrong one is told of in any case.
fn strict(function: Function, values: &[Plain]) -> Option<Plain> {
    let texts = matches!(
        function,
        Function::Lower
            | Function::Length
            | Function::Trim
            | Function::Contains
            | Function::Replace
    );
    for value in values {
        match value {
            Plain::Null => {}
            Plain::Text(_) if texts => {}
            Plain::Int(_) | Plain::Float(_) if !texts => {}
            _ => return None,
        }
    }
    if values.contains(&Plain::Null) {
        return Some(Plain::Null);
    }
    match (function, values) {
        (Function::Lower, [Plain::Text(text)]) => {
            Some(Plain::Text(text.chars().flat_map(char::to_lowercase).collect()))
        }
        (Function::Trim, [Plain::Text(text)]) => Some(Plain::Text(text.trim().to_owned())),
        (Function::Length, [Plain::Text(text)]) => Some(Plain::Int(text.chars().count() as i64)),
        (Function::Contains, [Plain::Text(text), Plain::Text(part)]) => {
            Some(Plain::Bool(text.contains(part.as_str())))
        }
        (Function::Replace, [Plain::Text(text), Plain::Text(part), Plain::Text(by)]) => {
            let replaced = if part.is_empty() { text.clone() } else { text.replace(part, by) };
            Some(Plain::Text(replaced))
        }
        (Function::Abs, [Plain::Int(value)]) => value.checked_abs().map(Plain::Int),
        (Function::Abs, [Plain::Float(value)]) => Some(Plain::Float(value.abs())),
        (Function::Floor, [Plain::Int(value)]) => Some(Plain::Int(*value)),
        (Function::Floor, [Plain::Float(value)]) => finite(value.floor()),
        (Function::Div, [Plain::Int(a), Plain::Int(b)]) => a.checked_div(*b).map(Plain::Int),
        (Function::Div, [a, b]) => {
            let (a, b) = (number(a)??, number(b)??);
            finite(a / b).map(|_| Plain::Float((a / b).trunc()))
        }
        (function, values) => unreachable!("{function:?} {values:?} is not made"),
    }
}
