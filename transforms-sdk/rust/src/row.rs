//! A struct whose fields are columns. `#[derive(Row)]` on `Reading` makes `ReadingColumns`: its
//! `new` names the columns, `read` takes a `Reading` out of a record, `write` sets its columns.
//!
//! ```
//! use bridge_transform::{Init, Output, Record, Row, Transform};
//!
//! #[derive(Row)]
//! struct Reading<'r> {
//!     #[bridge(symbol)]
//!     sensor: &'r str,
//!     #[bridge(rename = "temperature")]
//!     celsius: f64,
//!     note: Option<&'r str>,
//! }
//!
//! struct Corrected(ReadingColumns);
//!
//! impl Transform for Corrected {
//!     fn init(init: &mut Init) -> Result<Self, String> {
//!         Ok(Corrected(ReadingColumns::new(init)))
//!     }
//!
//!     fn record(&mut self, record: &Record, out: &mut Output) {
//!         match self.0.read(record) {
//!             Ok(reading) => {
//!                 let reading = Reading { celsius: reading.celsius - 0.5, ..reading };
//!                 self.0.write(&reading, out.patch()).done();
//!             }
//!             Err(wrong) => out.reject(wrong),
//!         }
//!     }
//! }
//! ```
//!
//! | a field | takes |
//! |---|---|
//! | `bool`, `i64` | true or false, an integer |
//! | `f64` | a number; integers become doubles |
//! | `&str` | text and symbols, borrowed of the record |
//! | `String` | the same, copied |
//! | `(i64, Unit)` | a timestamp since 1970 |
//! | `&[u8]`, [`Array`] | bytes, an array |
//! | [`Value`] | whatever there is; null for nothing |
//! | `Option<…>` | any of these; `None` where the column is missing or null |
//!
//! A field without `Option` whose column is missing, null or of another kind makes `read` fail,
//! with the column's name. `write` sets every column, `None` as null: what is to be left alone
//! belongs into no struct that is written. Nothing is allocated but what a `String` holds.

use std::fmt::{self, Display, Formatter};

use bridge_abi::{Array, Unit, Value};

use crate::draft::Draft;
use crate::init::Column;
use crate::record::Record;

/// A type that a column is read as.
#[diagnostic::on_unimplemented(
    message = "no column is read as `{Self}`",
    label = "a field of a row cannot be this",
    note = "it may be bool, i64, f64, &str, String, (i64, Unit), &[u8], Array or Value, or an \
            Option of one of them"
)]
pub trait FromColumn<'r>: Sized {
    /// What it takes, in words.
    const TAKES: &'static str;

    /// Of a value that is not null; `None` for one of another kind.
    fn from_value(value: Value<'r>) -> Option<Self>;

    /// Where the column is missing or null; `None` if there must be a value.
    #[inline]
    fn from_nothing() -> Option<Self> {
        None
    }
}

/// A type that a column is set from.
#[diagnostic::on_unimplemented(
    message = "no column is set from `{Self}`",
    label = "a field of a row cannot be this",
    note = "it may be bool, i64, f64, &str, String, (i64, Unit), &[u8], Array or Value, or an \
            Option of one of them"
)]
pub trait ToColumn {
    /// Sets a column.
    fn set<'o>(&self, draft: Draft<'o>, column: Column) -> Draft<'o>;
}

/// Text that can be set as a symbol.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no text, and only text is a symbol",
    label = "`#[bridge(symbol)]` is for &str, String, or an Option of one of them"
)]
pub trait ToSymbol {
    /// Sets a column.
    fn set_symbol<'o>(&self, draft: Draft<'o>, column: Column) -> Draft<'o>;
}

/// Why a record is not the row that it should be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WrongColumn {
    /// The column.
    pub column: &'static str,
    /// What it is, in words; `missing` and `null` among them.
    pub is: &'static str,
    /// What it must be.
    pub must_be: &'static str,
}

impl Display for WrongColumn {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let WrongColumn { column, is, must_be } = self;
        write!(f, "column `{column}` is {is}, and must be {must_be}")
    }
}

impl std::error::Error for WrongColumn {}

/// One field of a row.
#[doc(hidden)]
#[inline]
pub fn read<'r, T: FromColumn<'r>>(
    record: &Record<'r>,
    column: Column,
    name: &'static str,
) -> Result<T, WrongColumn> {
    let value = record.get(column);
    let read = match value {
        None | Some(Value::Null) => T::from_nothing(),
        Some(value) => T::from_value(value),
    };
    read.ok_or_else(|| wrong(name, value, T::TAKES))
}

#[cold]
fn wrong(column: &'static str, value: Option<Value<'_>>, must_be: &'static str) -> WrongColumn {
    let is = match value {
        None => "missing",
        Some(Value::Null | Value::Drop) => "null",
        Some(Value::Bool(_)) => "true or false",
        Some(Value::I64(_)) => "an integer",
        Some(Value::F64(_)) => "a double",
        Some(Value::Text(_) | Value::Symbol(_)) => "text",
        Some(Value::Timestamp(..)) => "a timestamp",
        Some(Value::Bytes(_)) => "bytes",
        Some(Value::Decimal { .. }) => "a decimal",
        Some(Value::Array(_)) => "an array",
    };
    WrongColumn { column, is, must_be }
}

/// What each type is made of. A macro, for the types differ in nothing else.
macro_rules! read_as {
    ($($type:ty, $takes:literal: $($value:pat => $made:expr),+;)+) => {
        $(impl<'r> FromColumn<'r> for $type {
            const TAKES: &'static str = $takes;

            #[inline]
            fn from_value(value: Value<'r>) -> Option<Self> {
                match value {
                    $($value => Some($made),)+
                    _ => None,
                }
            }
        })+
    };
}
read_as! {
    bool, "true or false": Value::Bool(value) => value;
    i64, "an integer": Value::I64(value) => value;
    f64, "a number": Value::F64(value) => value, Value::I64(value) => value as f64;
    &'r str, "text": Value::Text(text) | Value::Symbol(text) => text;
    String, "text": Value::Text(text) | Value::Symbol(text) => text.to_owned();
    (i64, Unit), "a timestamp": Value::Timestamp(since_1970, unit) => (since_1970, unit);
    &'r [u8], "bytes": Value::Bytes(bytes) => bytes;
    Array<'r>, "an array": Value::Array(array) => array;
}

impl<'r> FromColumn<'r> for Value<'r> {
    const TAKES: &'static str = "anything";

    #[inline]
    fn from_value(value: Value<'r>) -> Option<Self> {
        Some(value)
    }

    #[inline]
    fn from_nothing() -> Option<Self> {
        Some(Value::Null)
    }
}

impl<'r, T: FromColumn<'r>> FromColumn<'r> for Option<T> {
    const TAKES: &'static str = T::TAKES;

    #[inline]
    fn from_value(value: Value<'r>) -> Option<Self> {
        T::from_value(value).map(Some)
    }

    #[inline]
    fn from_nothing() -> Option<Self> {
        Some(None)
    }
}

/// How each type is set. A macro, for the same reason.
macro_rules! set_from {
    ($($type:ty: |$value:ident, $draft:ident, $column:ident| $set:expr;)+) => {
        $(impl ToColumn for $type {
            #[inline]
            fn set<'o>(&self, $draft: Draft<'o>, $column: Column) -> Draft<'o> {
                let $value = self;
                $set
            }
        })+
    };
}
set_from! {
    bool: |value, draft, column| draft.set_bool(column, *value);
    i64: |value, draft, column| draft.set_i64(column, *value);
    f64: |value, draft, column| draft.set_f64(column, *value);
    &str: |text, draft, column| draft.set_text(column, text);
    String: |text, draft, column| draft.set_text(column, text);
    (i64, Unit): |time, draft, column| draft.set_timestamp(column, time.0, time.1);
    &[u8]: |bytes, draft, column| draft.set_bytes(column, bytes);
    Array<'_>: |array, draft, column| draft.set(column, Value::Array(*array));
    Value<'_>: |value, draft, column| draft.set(column, *value);
}

impl<T: ToColumn> ToColumn for Option<T> {
    #[inline]
    fn set<'o>(&self, draft: Draft<'o>, column: Column) -> Draft<'o> {
        match self {
            Some(value) => value.set(draft, column),
            None => draft.set_null(column),
        }
    }
}

impl ToSymbol for &str {
    #[inline]
    fn set_symbol<'o>(&self, draft: Draft<'o>, column: Column) -> Draft<'o> {
        draft.set_symbol(column, self)
    }
}

impl ToSymbol for String {
    #[inline]
    fn set_symbol<'o>(&self, draft: Draft<'o>, column: Column) -> Draft<'o> {
        draft.set_symbol(column, self)
    }
}

impl<T: ToSymbol> ToSymbol for Option<T> {
    #[inline]
    fn set_symbol<'o>(&self, draft: Draft<'o>, column: Column) -> Draft<'o> {
        match self {
            Some(text) => text.set_symbol(draft, column),
            None => draft.set_null(column),
        }
    }
}
