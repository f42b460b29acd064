//! Records and values as tests write them down.

use bridge_abi::{Unit, Value};

/// A value that owns what it holds.
#[derive(Clone, PartialEq, Debug)]
pub enum TestValue {
    /// An explicit null.
    Null,
    /// In a patch: the column was dropped.
    Dropped,
    /// True or false.
    Bool(bool),
    /// An integer.
    I64(i64),
    /// A floating-point number.
    F64(f64),
    /// Text.
    Text(String),
    /// Text with few distinct values.
    Symbol(String),
    /// Since 1970, in a unit.
    Timestamp(i64, Unit),
    /// Bytes.
    Bytes(Vec<u8>),
    /// Scale, and the unscaled number in big-endian two's complement.
    Decimal(u8, Vec<u8>),
    /// Shape, and the numbers in row-major order.
    Array(Vec<u32>, Vec<f64>),
}

impl TestValue {
    /// Text with few distinct values.
    pub fn symbol(text: &str) -> TestValue {
        TestValue::Symbol(text.to_owned())
    }
}

/// Conversions, so that `record!` takes plain literals.
macro_rules! from {
    ($($type:ty => $variant:ident),+ $(,)?) => {
        $(impl From<$type> for TestValue {
            fn from(value: $type) -> TestValue {
                TestValue::$variant(value.into())
            }
        })+
    };
}
from! {
    bool => Bool, i32 => I64, i64 => I64, f64 => F64, &str => Text, String => Text,
    &[u8] => Bytes, Vec<u8> => Bytes,
}

impl From<Vec<f64>> for TestValue {
    fn from(values: Vec<f64>) -> TestValue {
        TestValue::Array(vec![values.len() as u32], values)
    }
}

impl<T: Into<TestValue>> From<Option<T>> for TestValue {
    fn from(value: Option<T>) -> TestValue {
        value.map_or(TestValue::Null, Into::into)
    }
}

impl From<Value<'_>> for TestValue {
    fn from(value: Value<'_>) -> TestValue {
        match value {
            Value::Null => TestValue::Null,
            Value::Drop => TestValue::Dropped,
            Value::Bool(value) => TestValue::Bool(value),
            Value::I64(value) => TestValue::I64(value),
            Value::F64(value) => TestValue::F64(value),
            Value::Text(text) => TestValue::Text(text.to_owned()),
            Value::Symbol(text) => TestValue::Symbol(text.to_owned()),
            Value::Timestamp(since_1970, unit) => TestValue::Timestamp(since_1970, unit),
            Value::Bytes(bytes) => TestValue::Bytes(bytes.to_owned()),
            Value::Decimal { scale, unscaled } => TestValue::Decimal(scale, unscaled.to_owned()),
            Value::Array(array) => {
                TestValue::Array(array.shape().collect(), array.values().collect())
            }
        }
    }
}

/// A record as a test writes it down; usually made by [`crate::testing::record!`].
#[derive(Clone, PartialEq, Debug)]
pub struct TestRecord {
    /// Its columns, in order.
    pub columns: Vec<(String, TestValue)>,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its raw value.
    pub value: Option<Vec<u8>>,
    /// Its headers.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    /// Its topic.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Kafka's timestamp.
    pub timestamp_ms: i64,
}

impl Default for TestRecord {
    fn default() -> TestRecord {
        TestRecord {
            columns: Vec::new(),
            key: None,
            value: None,
            headers: Vec::new(),
            topic: "test".to_owned(),
            partition: 0,
            offset: 0,
            timestamp_ms: -1,
        }
    }
}

impl TestRecord {
    /// With one more column.
    pub fn with(mut self, column: &str, value: impl Into<TestValue>) -> TestRecord {
        self.columns.push((column.to_owned(), value.into()));
        self
    }

    /// With a key.
    pub fn key(self, key: impl AsRef<[u8]>) -> TestRecord {
        TestRecord { key: Some(key.as_ref().to_owned()), ..self }
    }

    /// With a raw value.
    pub fn value(self, value: impl AsRef<[u8]>) -> TestRecord {
        TestRecord { value: Some(value.as_ref().to_owned()), ..self }
    }

    /// With one more header.
    pub fn header(mut self, name: &str, value: Option<&[u8]>) -> TestRecord {
        self.headers.push((name.to_owned(), value.map(<[u8]>::to_owned)));
        self
    }
}

/// A record with these columns: `record! { "temperature" => 21.5, "site" => "north" }`.
///
/// A macro, for the values are of many types.
#[macro_export]
#[doc(hidden)]
macro_rules! record_literal {
    ($($column:expr => $value:expr),* $(,)?) => {
        $crate::testing::TestRecord::default()$(.with($column, $value))*
    };
}
