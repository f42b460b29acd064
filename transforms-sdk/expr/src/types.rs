//! Sets of types: what a part of an expression may be, and what operators and functions take.

use std::fmt;

/// A set of types, a bit for each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Types(pub(crate) u8);

impl Types {
    /// Only null.
    pub const NULL: Types = Types(1);
    /// True or false.
    pub const BOOL: Types = Types(2);
    /// Integers and doubles.
    pub const NUMBER: Types = Types(4);
    /// Text and symbols.
    pub const TEXT: Types = Types(8);
    /// Timestamps of any unit.
    pub const TIME: Types = Types(16);
    /// Bytes.
    pub const BYTES: Types = Types(32);
    /// Decimals.
    pub const DECIMAL: Types = Types(64);
    /// Arrays.
    pub const ARRAY: Types = Types(128);
    /// Whatever a column may hold.
    pub const ANY: Types = Types(255);
    /// What can be written as text.
    pub const PLAIN: Types = Types(2 + 4 + 8 + 16);

    /// Both sets.
    pub const fn or(self, other: Types) -> Types {
        Types(self.0 | other.0)
    }

    /// What both sets have; null is in every set.
    pub(crate) const fn and(self, other: Types) -> Types {
        Types(self.0 & other.0)
    }

    pub(crate) const fn without_null(self) -> Types {
        Types(self.0 & !1)
    }

    /// Whether a value of this set can be one of the other; null fits everywhere.
    pub(crate) const fn may_be(self, accepted: Types) -> bool {
        self.0 & (accepted.0 | 1) != 0
    }

    /// One word for a single type.
    pub(crate) fn word(self) -> &'static str {
        let name = NAMES.iter().find(|(bit, _, _)| *bit == self);
        name.map_or("value", |(_, _, word)| *word)
    }
}

const NAMES: [(Types, &str, &str); 8] = [
    (Types::NULL, "null", "null"),
    (Types::BOOL, "true or false", "truth value"),
    (Types::NUMBER, "a number", "number"),
    (Types::TEXT, "text", "text"),
    (Types::TIME, "a timestamp", "timestamp"),
    (Types::BYTES, "bytes", "value of bytes"),
    (Types::DECIMAL, "a decimal", "decimal"),
    (Types::ARRAY, "an array", "array"),
];

impl fmt::Display for Types {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mine = || {
            NAMES
                .iter()
                .filter(|(bit, _, _)| self.and(*bit) == *bit && (*self == *bit || bit.0 != 1))
        };
        let last = mine().count().saturating_sub(1);
        for (index, (_, name, _)) in mine().enumerate() {
            let between = match index {
                0 => "",
                index if index == last => " or ",
                _ => ", ",
            };
            write!(f, "{between}{name}")?;
        }
        Ok(())
    }
}
