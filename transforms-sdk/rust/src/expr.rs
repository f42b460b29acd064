//! Expressions over records, for options such as `where = "temperature > 20"`: what
//! `docs/expressions.md` describes, read and checked at the start.
//!
//! ```
//! use bridge_transform::expr::Expression;
//! use bridge_transform::{Init, Output, Record, Transform};
//!
//! struct Keep(Expression);
//!
//! impl Transform for Keep {
//!     fn init(init: &mut Init) -> Result<Self, String> {
//!         Ok(Keep(Expression::condition(init, "where", "temperature > 20 and site <> 'lab'")?))
//!     }
//!
//!     fn record(&mut self, record: &Record, out: &mut Output) {
//!         match self.0.holds(record) {
//!             Ok(true) => out.keep(),
//!             Ok(false) => {}
//!             Err(failed) => out.reject(failed),
//!         }
//!     }
//! }
//! ```

use std::hash::Hasher;

use bridge_abi::{Unit, Value};
pub use bridge_expr::Failed;
use bridge_expr::{Own, Program, Row, Scratch, Types, compile, time};

use crate::init::{Column, Init, Topic};
use crate::record::Record;

/// An expression that is ready for records.
#[derive(Debug)]
pub struct Expression {
    program: Program,
    scratch: Scratch,
    /// The names of topics that were met; asked for once each, and only if the expression does.
    topics: Vec<(Topic, String)>,
}

impl Expression {
    /// Reads an expression; `option` is the key of the configuration that it stands under. Its
    /// columns are interned, and what else it reads of records is asked for.
    pub fn new(init: &mut Init, option: &str, source: &str) -> Result<Expression, String> {
        let program = compile(source, &mut |name| Ok(init.column(name).id()));
        let program = program.map_err(|error| format!("reading `{option}`: {error}"))?;
        if program.reads(Own::Key) {
            init.want_key();
        }
        if program.reads_headers() {
            init.want_headers();
        }
        Ok(Expression { program, scratch: Scratch::default(), topics: Vec::new() })
    }

    /// The same, refused if it can never be true or false.
    pub fn condition(init: &mut Init, option: &str, source: &str) -> Result<Expression, String> {
        let made = Expression::new(init, option, source)?;
        let condition = made.program.must_be_condition();
        condition.map_err(|error| format!("reading `{option}`: {error}"))?;
        Ok(made)
    }

    /// What its value may be.
    pub fn types(&self) -> Types {
        self.program.types()
    }

    /// Whether it is true; neither false nor null is.
    pub fn holds(&mut self, record: &Record) -> Result<bool, Failed<'_>> {
        let Expression { program, scratch, topics } = self;
        let row = RecordRow::new(*record, topics, program);
        program.holds(&row, scratch).map_err(|failure| program.failed(failure))
    }

    /// Its value; of a column's name alone whatever the column holds. Null for one that is missing.
    pub fn value<'r>(&'r mut self, record: &Record<'r>) -> Result<Value<'r>, Failed<'r>> {
        let Expression { program, scratch, topics } = self;
        if let Some(column) = program.only_column() {
            return Ok(record.get(Column(column)).unwrap_or(Value::Null));
        }
        let row = RecordRow::new(*record, topics, program);
        match program.value(&row, scratch) {
            Ok(value) => Ok(crossing(value, scratch)),
            Err(failure) => Err(program.failed(failure)),
        }
    }
}

/// A computed value as one that crosses the fence.
fn crossing<'r>(value: bridge_expr::Value<'r>, scratch: &'r Scratch) -> Value<'r> {
    match value {
        bridge_expr::Value::Null => Value::Null,
        bridge_expr::Value::Bool(value) => Value::Bool(value),
        bridge_expr::Value::Int(value) => Value::I64(value),
        bridge_expr::Value::Float(value) => Value::F64(value),
        bridge_expr::Value::Text(text) => Value::Text(scratch.text(&text)),
        bridge_expr::Value::Time(since_1970, unit) => Value::Timestamp(since_1970, unit),
        bridge_expr::Value::Bytes(bytes) => Value::Bytes(bytes),
        bridge_expr::Value::Decimal(scale, unscaled) => Value::Decimal { scale, unscaled },
        // It was an array when it was read.
        bridge_expr::Value::Array(bytes) => {
            bridge_abi::value::array(bytes).map_or(Value::Null, Value::Array)
        }
    }
}

/// Feeds a value to a hasher so that values that are equal in an expression give the same: 5 and
/// 5.0, text and symbol, one time in two units. Null is a value of its own.
pub fn feed(value: &Value, hasher: &mut impl Hasher) {
    let mut whole = |tag: u8, bytes: &[u8]| {
        hasher.write_u8(tag);
        hasher.write_u64(bytes.len() as u64);
        hasher.write(bytes);
    };
    match value {
        Value::Null | Value::Drop => whole(0, &[]),
        Value::Bool(value) => whole(1, &[u8::from(*value)]),
        Value::I64(value) => whole(2, &value.to_le_bytes()),
        Value::F64(value) => {
            let int = *value as i64;
            // The last comparison leaves out 2^63, which the cast makes one smaller.
            let is_whole = int as f64 == *value && int != i64::MAX;
            match is_whole {
                true => whole(2, &int.to_le_bytes()),
                false => whole(3, &value.to_bits().to_le_bytes()),
            }
        }
        Value::Text(text) | Value::Symbol(text) => whole(4, text.as_bytes()),
        Value::Timestamp(since_1970, unit) => {
            whole(5, &time::nanos(*since_1970, *unit).to_le_bytes());
        }
        Value::Bytes(bytes) => whole(6, bytes),
        Value::Decimal { scale, unscaled } => {
            whole(7, &[*scale]);
            whole(7, unscaled);
        }
        Value::Array(array) => whole(8, array.bytes()),
    }
}

/// Nanoseconds since 1970 of a time, exactly.
pub fn nanos(since_1970: i64, unit: Unit) -> i128 {
    time::nanos(since_1970, unit)
}

/// A record as expressions see it.
struct RecordRow<'r> {
    record: Record<'r>,
    topic: &'r str,
}

impl<'r> RecordRow<'r> {
    #[inline]
    fn new(
        record: Record<'r>,
        topics: &'r mut Vec<(Topic, String)>,
        program: &Program,
    ) -> RecordRow<'r> {
        let topic = if program.reads(Own::Topic) { name_of(topics, record.topic()) } else { "" };
        RecordRow { record, topic }
    }
}

/// A topic's name. Few topics are met, so that a walk is quicker than a table.
fn name_of(topics: &mut Vec<(Topic, String)>, topic: Topic) -> &str {
    let known = topics.iter().position(|(known, _)| *known == topic);
    let at = known.unwrap_or_else(|| {
        topics.push((topic, topic.name().unwrap_or_default()));
        topics.len() - 1
    });
    &topics[at].1
}

impl<'r> Row<'r> for RecordRow<'r> {
    #[inline]
    fn column(&self, id: u16) -> Option<Value<'r>> {
        self.record.get(Column(id))
    }
    fn topic(&self) -> &'r str {
        self.topic
    }
    fn partition(&self) -> i32 {
        self.record.partition()
    }
    fn offset(&self) -> i64 {
        self.record.offset()
    }
    fn timestamp_ms(&self) -> i64 {
        self.record.timestamp_ms()
    }
    fn key(&self) -> Option<&'r [u8]> {
        self.record.key()
    }
    fn header(&self, name: &str) -> Option<&'r [u8]> {
        let same = self.record.headers().filter(|header| header.name == name.as_bytes());
        same.last().and_then(|header| header.value)
    }
}
