//! Numbers: 64-bit integers and doubles, compared exactly, never overflowing in silence.

use std::cmp::Ordering;

use crate::ast::Arithmetic;
use crate::error::Why;
use crate::value::Value;

/// 2^63, the first double above every `i64`.
const BEYOND: f64 = 9_223_372_036_854_775_808.0;

/// An integer beside a double that is a number, as if both had all digits there are.
pub(crate) fn compare(int: i64, float: f64) -> Ordering {
    if float >= BEYOND {
        return Ordering::Less;
    }
    if float < -BEYOND {
        return Ordering::Greater;
    }
    let whole = float.trunc();
    // In range, and without a fraction: the cast is exact.
    int.cmp(&(whole as i64))
        .then_with(|| 0.0_f64.partial_cmp(&(float - whole)).unwrap_or(Ordering::Equal))
}

/// The integer that a double is, if it is one.
pub(crate) fn exact(float: f64) -> Option<i64> {
    let fits = float.trunc() == float && (-BEYOND..BEYOND).contains(&float);
    fits.then_some(float as i64)
}

/// A double that is a number and finite.
pub(crate) fn finite<'r>(value: f64) -> Result<Value<'r>, Why> {
    if value.is_finite() {
        return Ok(Value::Float(value));
    }
    Err(if value.is_nan() { Why::Domain } else { Why::Overflow })
}

/// `a + b` and the like.
#[inline]
pub(crate) fn arithmetic<'r>(how: Arithmetic, a: f64, b: f64) -> Result<Value<'r>, Why> {
    let zero = matches!(how, Arithmetic::Divide | Arithmetic::Remainder) && b == 0.0;
    if zero {
        return Err(Why::DivisionByZero);
    }
    finite(match how {
        Arithmetic::Add => a + b,
        Arithmetic::Subtract => a - b,
        Arithmetic::Multiply => a * b,
        Arithmetic::Divide => a / b,
        Arithmetic::Remainder => a % b,
    })
}

/// The same on integers; a quotient is a double.
#[inline]
pub(crate) fn of_integers<'r>(how: Arithmetic, a: i64, b: i64) -> Result<Value<'r>, Why> {
    let result = match how {
        Arithmetic::Add => a.checked_add(b),
        Arithmetic::Subtract => a.checked_sub(b),
        Arithmetic::Multiply => a.checked_mul(b),
        Arithmetic::Divide => return arithmetic(how, a as f64, b as f64),
        Arithmetic::Remainder if b == 0 => return Err(Why::DivisionByZero),
        Arithmetic::Remainder => Some(a.wrapping_rem(b)),
    };
    result.map(Value::Int).ok_or(Why::Overflow)
}

/// `div(a, b)`: the whole part of the quotient, towards zero.
pub(crate) fn div<'r>(a: Value<'r>, b: Value<'r>) -> Result<Value<'r>, Why> {
    match (a, b) {
        (Value::Int(_), Value::Int(0)) => Err(Why::DivisionByZero),
        (Value::Int(a), Value::Int(b)) => a.checked_div(b).map(Value::Int).ok_or(Why::Overflow),
        (a, b) => {
            let (a, b) = (a.float().unwrap_or_default(), b.float().unwrap_or_default());
            match arithmetic(Arithmetic::Divide, a, b)? {
                Value::Float(quotient) => Ok(Value::Float(quotient.trunc())),
                other => Ok(other),
            }
        }
    }
}

/// Half away from zero, to so many digits behind the point (before it, if negative).
pub(crate) fn round<'r>(value: f64, digits: i64) -> Result<Value<'r>, Why> {
    if digits == 0 {
        return finite(value.round());
    }
    let scale = 10_f64.powi(digits.clamp(-308, 308) as i32);
    let scaled = (value * scale).round();
    // So many digits that the double has no more than that anyway.
    if !scaled.is_finite() { finite(value) } else { finite(scaled / scale) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn integers_and_doubles_near_the_edges() {
        let check = |int, float, order| assert_eq!(compare(int, float), order, "{int} {float}");
        check(i64::MAX, BEYOND, Ordering::Less);
        check(i64::MIN, -BEYOND, Ordering::Equal);
        check(9_007_199_254_740_993, 9_007_199_254_740_992.0, Ordering::Greater);
        check(-1, -1.5, Ordering::Greater);
        check(1, 1.5, Ordering::Less);
        check(0, -0.0, Ordering::Equal);
        check(i64::MAX, f64::INFINITY, Ordering::Less);
        check(i64::MIN, f64::NEG_INFINITY, Ordering::Greater);
    }

    proptest! {
        /// Beside integers of 128 bits, which hold a double's whole part and a half more.
        #[test]
        fn compares_exactly(int in any::<i64>(), near in -3.0..3.0_f64) {
            let float = int as f64 + near;
            let double = (float * 2.0).floor() as i128;
            let halves = (float * 2.0).fract() != 0.0;
            let expected = (i128::from(int) * 2).cmp(&double);
            let expected = match expected {
                Ordering::Equal if halves => Ordering::Less,
                expected => expected,
            };
            prop_assert_eq!(compare(int, float), expected);
        }
    }

    #[test]
    fn rounds_half_away_from_zero() {
        let check = |value, digits, expected| {
            assert_eq!(round(value, digits), Ok(Value::Float(expected)), "{value} {digits}");
        };
        check(2.5, 0, 3.0);
        check(-2.5, 0, -3.0);
        check(21.346, 2, 21.35);
        check(1_234.0, -2, 1_200.0);
        check(1e300, 20, 1e300);
    }
}
