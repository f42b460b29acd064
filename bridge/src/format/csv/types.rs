//! What text becomes in a column with a type.
//!
//! | type | takes | as |
//! |---|---|---|
//! | `text` | everything | text |
//! | `long` | a sign if there is one, digits; within 64 bits | a long |
//! | `double` | digits, a point, an exponent; `NaN`, `inf`, `infinity`, in any case and with a sign | the nearest double |
//! | `boolean` | `true` `false` `t` `f` `yes` `no` `y` `n` `1` `0`, in any case | a boolean |
//! | `auto` | a number as JSON writes it; `true`, `false`; all else | as JSON has it; text |

use bridge_abi::Kind;
use schemars::JsonSchema;
use serde::Deserialize;

/// A column's type.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Type {
    /// Text.
    Text,
    /// A whole number of 64 bits.
    Long,
    /// A float of 64 bits.
    Double,
    /// True or false.
    Boolean,
    /// What it looks like.
    Auto,
}

impl Type {
    /// The kind and the value of the cell that text becomes; `None` if it is not of this type.
    pub(super) fn read(self, text: &[u8]) -> Option<(Kind, u64)> {
        match self {
            Type::Text => Some((Kind::Text, 0)),
            Type::Long => long(text).map(|value| (Kind::I64, value as u64)),
            Type::Double => double(text).map(|value| (Kind::F64, value.to_bits())),
            Type::Boolean => boolean(text).map(|value| (Kind::Bool, u64::from(value))),
            Type::Auto => Some(match text {
                b"true" => (Kind::Bool, 1),
                b"false" => (Kind::Bool, 0),
                _ if !is_json_number(text) => (Kind::Text, 0),
                _ => match (long(text), double(text)) {
                    (Some(value), _) => (Kind::I64, value as u64),
                    (None, Some(value)) => (Kind::F64, value.to_bits()),
                    (None, None) => (Kind::Text, 0),
                },
            }),
        }
    }

    /// What it must be, for a message.
    pub(super) fn in_words(self) -> &'static str {
        match self {
            Type::Text | Type::Auto => "text",
            Type::Long => "a whole number within 64 bits (`long`)",
            Type::Double => "a number (`double`)",
            Type::Boolean => "true or false (`boolean`)",
        }
    }
}

fn long(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// What digits cannot say within a double's range is none, `inf` is one.
fn double(text: &[u8]) -> Option<f64> {
    let value: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    let too_large = value.is_infinite() && text.iter().any(u8::is_ascii_digit);
    (!too_large).then_some(value)
}

fn boolean(text: &[u8]) -> Option<bool> {
    let is = |words: [&str; 5]| words.iter().any(|word| text.eq_ignore_ascii_case(word.as_bytes()));
    if is(["true", "t", "yes", "y", "1"]) {
        Some(true)
    } else if is(["false", "f", "no", "n", "0"]) {
        Some(false)
    } else {
        None
    }
}

/// Whether this is a number in JSON (RFC 8259, section 6).
fn is_json_number(text: &[u8]) -> bool {
    let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let rest = text.strip_prefix(b"-").unwrap_or(text);
    let whole = digits(rest);
    if whole == 0 || (whole > 1 && rest[0] == b'0') {
        return false;
    }
    let mut rest = &rest[whole..];
    if let Some(fraction) = rest.strip_prefix(b".") {
        let places = digits(fraction);
        if places == 0 {
            return false;
        }
        rest = &fraction[places..];
    }
    match rest {
        [] => true,
        [b'e' | b'E', b'+' | b'-', exponent @ ..] | [b'e' | b'E', exponent @ ..] => {
            !exponent.is_empty() && digits(exponent) == exponent.len()
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Another parser of JSON agrees on what a number is.
        #[test]
        fn numbers_are_those_of_json(text in "-?[0-9]{0,3}(\\.[0-9]{0,3})?([eE][+-]?[0-9]{0,2})?") {
            let reference: Result<serde_json::Number, _> = serde_json::from_str(&text);
            // Large exponents are numbers as well, which that one has no room for.
            let too_large = text.parse::<f64>().is_ok_and(f64::is_infinite);
            prop_assume!(!too_large);
            prop_assert_eq!(is_json_number(text.as_bytes()), reference.is_ok(), "{}", text);
        }
    }
}
