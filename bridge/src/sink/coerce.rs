//! What a value becomes for a column of another kind, where the value says what is meant: asked
//! when a column does not take a cell as it is, so that nothing is spent on those that fit.
//!
//! | cell | for a boolean | for a number | for a decimal | for text |
//! |---|---|---|---|---|
//! | integer | 0, 1 | as it is | its digits | its digits |
//! | float | – | as it is | its shortest digits | its shortest digits |
//! | text | `true`, `false` in any case | digits as JSON has them | the same | as it is |
//! | decimal | – | a whole one within 64 bits; a double that says all of it | as it is | its digits |
//! | timestamp | – | – | – | ISO 8601 in UTC |
//! | bytes | – | – | – | base64 |
//! | array | – | – | – | its JSON |
//!
//! A dash, and whatever else is in the text, is a value that does not fit.

use bridge_abi::{Cell, Kind, Unit};

use super::text;
use crate::decimal;
use crate::reject::Reason;
use crate::shape::ColumnType;
use crate::times::nanos_of;

/// What a column is made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wants {
    /// `true`, `false`
    Boolean,
    /// Integers or doubles.
    Number,
    /// Exact digits.
    Decimal,
    /// Text.
    Text,
}

impl Wants {
    /// By a column's type; `None` for those with forms of their own.
    pub fn of(kind: ColumnType) -> Option<Wants> {
        Some(match kind {
            ColumnType::Boolean => Wants::Boolean,
            ColumnType::Byte
            | ColumnType::Short
            | ColumnType::Int
            | ColumnType::Long
            | ColumnType::Float
            | ColumnType::Double => Wants::Number,
            ColumnType::Decimal(..) => Wants::Decimal,
            ColumnType::Symbol | ColumnType::Varchar | ColumnType::String => Wants::Text,
            _ => return None,
        })
    }
}

/// What a cell becomes, and what it points to.
pub type Coerced = (Cell, Vec<u8>);

/// What a cell becomes; `None` where it stays what it is, or is nothing of the kind.
#[cold]
pub fn coerced(cell: &Cell, bytes: &[u8], wants: Wants) -> Option<Coerced> {
    let kind = Kind::from_u8(cell.kind)?;
    let number = cell.value as i64;
    match (wants, kind) {
        (Wants::Boolean, Kind::I64) if matches!(number, 0 | 1) => {
            Some(plain(Kind::Bool, cell.value))
        }
        (Wants::Boolean, Kind::Text | Kind::Symbol) => {
            let is = |word: &[u8]| bytes.eq_ignore_ascii_case(word);
            let value = [(&b"true"[..], 1), (b"false", 0)].into_iter().find(|(word, _)| is(word));
            value.map(|(_, value)| plain(Kind::Bool, value))
        }
        (Wants::Number, Kind::Text | Kind::Symbol) => number_of(bytes),
        (Wants::Number, Kind::Decimal) => {
            let digits = decimal::text(bytes, cell.flags)?;
            let digits = decimal::fitting(&digits, u8::MAX, 0).unwrap_or(&digits);
            match digits.parse::<i64>() {
                Ok(whole) => Some(plain(Kind::I64, whole as u64)),
                Err(_) => {
                    let double: f64 = digits.parse().ok()?;
                    let all = decimal::is_exact(digits, double);
                    all.then(|| plain(Kind::F64, double.to_bits()))
                }
            }
        }
        (Wants::Decimal, Kind::Text | Kind::Symbol) => decimal_of(bytes),
        (Wants::Decimal, Kind::I64) => decimal_of(itoa::Buffer::new().format(number).as_bytes()),
        (Wants::Decimal, Kind::F64) => {
            decimal_of(f64::from_bits(cell.value).to_string().as_bytes())
        }
        (Wants::Text, Kind::Timestamp) => {
            let unit = Unit::from_u8(cell.flags)?;
            let mut out = Vec::with_capacity(32);
            let nanos = i128::from(number) * nanos_of(unit);
            text::push_instant(&mut out, nanos, text::digits_of(unit));
            Some((plain(Kind::Text, 0).0, out))
        }
        (Wants::Text, Kind::Bytes) => {
            Some((plain(Kind::Text, 0).0, text::base64(bytes).into_bytes()))
        }
        (Wants::Text, Kind::Array) => {
            let mut out = Vec::new();
            text::push_array(&mut out, bytes);
            Some((plain(Kind::Text, 0).0, out))
        }
        _ => None,
    }
}

/// Why a row with two values for one column is refused.
#[cold]
pub fn two_fields(column: &str, table: &str) -> (Reason, String) {
    let detail = format!(
        "two fields of the record are column `{column}` of {table}, and both have a value; give one \
         of them another name by `mapping`, or leave it out by `drop`"
    );
    (Reason::TwoFields, detail)
}

fn plain(kind: Kind, value: u64) -> Coerced {
    (Cell { column: 0, kind: kind as u8, flags: 0, len: 0, value }, Vec::new())
}

fn number_of(text: &[u8]) -> Option<Coerced> {
    let text = std::str::from_utf8(text).ok()?;
    if let Ok(whole) = text.parse::<i64>() {
        return Some(plain(Kind::I64, whole as u64));
    }
    // Its grammar, so that `inf` and the like are no numbers.
    decimal::read(text.as_bytes(), &mut Vec::new())?;
    let double: f64 = text.parse().ok().filter(|double: &f64| double.is_finite())?;
    Some(plain(Kind::F64, double.to_bits()))
}

fn decimal_of(digits: &[u8]) -> Option<Coerced> {
    let mut out = Vec::new();
    let flags = decimal::read(digits, &mut out)?;
    let (cell, _) = plain(Kind::Decimal, 0);
    Some((Cell { flags, len: out.len() as u32, ..cell }, out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(kind: Kind, value: u64, bytes: &[u8], wants: Wants, expected: &str) {
        let (flags, len) = (if kind == Kind::Timestamp { 1 } else { 0 }, bytes.len() as u32);
        let cell = Cell { column: 1, kind: kind as u8, flags, len, value };
        let shown = coerced(&cell, bytes, wants).map(|(cell, bytes)| {
            match Kind::from_u8(cell.kind).expect("a kind") {
                Kind::Bool => (cell.value != 0).to_string(),
                Kind::I64 => format!("{}i", cell.value as i64),
                Kind::F64 => format!("{}f", f64::from_bits(cell.value)),
                Kind::Decimal => decimal::text(&bytes, cell.flags).expect("a number") + "d",
                _ => format!("{:?}", String::from_utf8(bytes).expect("text")),
            }
        });
        assert_eq!(shown.as_deref().unwrap_or("-"), expected, "{kind:?} {bytes:?} {wants:?}");
    }

    #[test]
    fn what_says_what_is_meant_is_taken() {
        let text = |text: &str, wants, expected: &str| {
            check(Kind::Text, 0, text.as_bytes(), wants, expected);
        };
        text("true", Wants::Boolean, "true");
        text("FALSE", Wants::Boolean, "false");
        text("yes", Wants::Boolean, "-");
        text("1", Wants::Boolean, "-");
        text("-12", Wants::Number, "-12i");
        text("12.50", Wants::Number, "12.5f");
        text("1e3", Wants::Number, "1000f");
        for word in ["", "inf", "NaN", "0x10", "1 ", "1,5", "hot"] {
            text(word, Wants::Number, "-");
            text(word, Wants::Decimal, "-");
        }
        text("12.50", Wants::Decimal, "12.50d");
        check(Kind::I64, 1, b"", Wants::Boolean, "true");
        check(Kind::I64, 0, b"", Wants::Boolean, "false");
        check(Kind::I64, 2, b"", Wants::Boolean, "-");
        check(Kind::I64, -7_i64 as u64, b"", Wants::Decimal, "-7d");
        check(Kind::F64, 0.1_f64.to_bits(), b"", Wants::Decimal, "0.1d");
        check(Kind::F64, f64::NAN.to_bits(), b"", Wants::Decimal, "-");
        check(Kind::Decimal, 0, &[7], Wants::Number, "7i");
        check(Kind::Decimal, 0, &[0x40; 20], Wants::Number, "-");
        check(Kind::Timestamp, 1_500, b"", Wants::Text, "\"1970-01-01T00:00:01.500Z\"");
        check(Kind::Bytes, 0, &[0, 255], Wants::Text, "\"AP8=\"");
        check(Kind::Bool, 1, b"", Wants::Number, "-");
        check(Kind::Text, 0, b"a", Wants::Text, "-");
    }

    /// Cells of each row of the table in the documentation: what they are, and what they point to.
    fn samples(row: &str) -> Vec<(Cell, Vec<u8>)> {
        let plain = |kind: Kind, value: u64| plain(kind, value);
        let pointing = |kind: Kind, flags: u8, bytes: &[u8]| {
            let len = bytes.len() as u32;
            (Cell { column: 1, kind: kind as u8, flags, len, value: 0 }, bytes.to_vec())
        };
        let texts = ["true", "12", "12.5", "2024-01-31T12:00:00Z", "x"];
        match row {
            "`true`" => vec![plain(Kind::Bool, 1)],
            "an integer" => vec![plain(Kind::I64, 1), plain(Kind::I64, 7)],
            "a fraction" => [1.5_f64, 2.0].map(|v| plain(Kind::F64, v.to_bits())).into(),
            "text" => texts.map(|text| pointing(Kind::Text, 0, text.as_bytes())).into(),
            "a timestamp" => {
                let (cell, bytes) = plain(Kind::Timestamp, 5);
                vec![(Cell { flags: Unit::Millis as u8, ..cell }, bytes)]
            }
            "a decimal" => {
                vec![pointing(Kind::Decimal, 1, &[70]), pointing(Kind::Decimal, 1, &[15])]
            }
            "bytes" => vec![pointing(Kind::Bytes, 0, &[0, 255])],
            "an array" => {
                let mut cell = vec![1, 0, 0, 0, 1, 0, 0, 0];
                cell.extend_from_slice(&1.5_f64.to_le_bytes());
                vec![pointing(Kind::Array, 0, &cell)]
            }
            other => panic!("`{other}` has no sample"),
        }
    }

    /// Whether each way of writing a cell into a column of this type takes it.
    fn takes(cell: &Cell, bytes: &[u8], kind: ColumnType) -> [(&'static str, bool); 5] {
        use super::super::{cratedb, postgres, questdb};
        let out = &mut Vec::new();
        let wire = match kind {
            ColumnType::Boolean => postgres::Wire::Bool,
            ColumnType::Long => postgres::Wire::Int8,
            ColumnType::Double => postgres::Wire::Float8,
            ColumnType::Decimal(..) => postgres::Wire::Numeric(Some((15, 3))),
            ColumnType::Varchar => postgres::Wire::Text,
            _ => postgres::Wire::Timestamp,
        };
        [
            ("line protocol", questdb::push_field(out, cell, bytes, kind, 2).is_ok()),
            ("questdb pg", questdb::push_parameter(out, cell, bytes, kind).is_ok()),
            ("postgres", postgres::push(out, cell, bytes, wire).is_ok()),
            ("cratedb", cratedb::push(out, cell, bytes, &cratedb::Type::declared(kind)).is_ok()),
            ("text", text::fit(cell, bytes, Some(kind)).is_ok()),
        ]
    }

    /// The table of docs/columns.md is what every sink does: a cell that says `bad` takes none of
    /// the samples, every other one takes some.
    #[test]
    fn the_documentation_is_what_sinks_do() {
        let page = include_str!("../../../docs/columns.md");
        let from = page.find("| value | boolean |").expect("the table is there");
        let mut lines = page[from..].lines().take_while(|line| line.starts_with('|'));
        assert!(lines.next().is_some() && lines.next().is_some(), "its head");
        let kinds = ["boolean", "long", "double", "decimal(18,3)", "varchar", "timestamp"];
        let mut rows = 0;
        for line in lines {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            assert_eq!(cells.len(), kinds.len() + 1, "{line}");
            for (name, said) in kinds.iter().zip(&cells[1..]) {
                let kind = ColumnType::parse(name).expect("a type");
                let all = samples(cells[0]);
                for way in 0..5 {
                    let taken = |(cell, bytes): &(Cell, Vec<u8>)| takes(cell, bytes, kind)[way];
                    let any = all.iter().any(|sample| taken(sample).1);
                    let of = taken(&all[0]).0;
                    assert_eq!(any, *said != "bad", "{of}: {} into {name}: {said}", cells[0]);
                }
            }
            rows += 1;
        }
        assert_eq!(rows, 8);
    }
}
