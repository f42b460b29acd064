//! The designated timestamp of a row, by the shape's plan; and any other value that is a time.

use bridge_abi::{Cell, Kind, Unit};
use jiff::tz::TimeZone;

use super::value;
use crate::batch::{Record, RowBatch};
use crate::names::Names;
use crate::reject::Reason;
use crate::shape::{ColumnType, Shape, Timestamp, Written};
use crate::times::{from_number, from_pattern, from_text, nanos_of, unit_by_magnitude};

/// A row's designated timestamp.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stamp {
    /// Ticks since 1970 in the unit of the table's designated timestamp.
    At(i64),
    /// The server's clock.
    Server,
}

/// Finds the designated timestamp of rows.
#[derive(Debug)]
pub struct Stamper {
    plan: Plan,
    zone: Option<TimeZone>,
    scratch: String,
}

#[derive(Debug)]
enum Plan {
    Field { column: u16, name: String, written: Written },
    Composed { columns: Vec<(u16, String)>, pattern: String },
    Kafka,
    Server,
}

impl Stamper {
    /// Interns the names that the shape takes the timestamp from.
    pub fn new(shape: &Shape, names: &Names) -> Stamper {
        let id = |name: &String| names.columns.intern(name).unwrap_or(0);
        let plan = match &shape.timestamp {
            Timestamp::Field { field, written } => {
                Plan::Field { column: id(field), name: field.clone(), written: written.clone() }
            }
            Timestamp::Composed { fields, pattern } => Plan::Composed {
                columns: fields.iter().map(|field| (id(field), field.clone())).collect(),
                pattern: pattern.clone(),
            },
            Timestamp::Kafka => Plan::Kafka,
            Timestamp::Server => Plan::Server,
        };
        Stamper { plan, zone: shape.timestamp_zone.clone(), scratch: String::new() }
    }

    /// Whether a column becomes the timestamp, and so no column of its own.
    pub fn consumes(&self, id: u16) -> bool {
        match &self.plan {
            Plan::Field { column, .. } => *column == id,
            Plan::Composed { columns, .. } => columns.iter().any(|(column, _)| *column == id),
            Plan::Kafka | Plan::Server => false,
        }
    }

    /// The timestamp of one row. What most records have is found in the caller's own loop.
    #[inline(always)]
    pub fn stamp(
        &mut self,
        record: &Record<'_>,
        rows: &RowBatch,
        cells: &[Cell],
        kind: ColumnType,
    ) -> Result<Stamp, (Reason, String)> {
        if let Plan::Field { column, written: Written::Number(unit), .. } = &self.plan
            && let Some(cell) = cells.iter().find(|cell| cell.column == *column)
            && cell.kind == Kind::I64 as u8
            && let Some(ticks) = ticks(cell.value as i64, *unit, kind)
        {
            return Ok(Stamp::At(ticks));
        }
        self.any_stamp(record, rows, cells, kind)
    }

    fn any_stamp(
        &mut self,
        record: &Record<'_>,
        rows: &RowBatch,
        cells: &[Cell],
        kind: ColumnType,
    ) -> Result<Stamp, (Reason, String)> {
        let Some(nanos) = self.nanos(record, rows, cells)? else { return Ok(Stamp::Server) };
        if nanos < 0 {
            let shown = format!(
                "the timestamp is {nanos} ns before 1970, which line protocol does not take"
            );
            return Err((Reason::TimestampBefore1970, shown.replace("-", "")));
        }
        let tick = if kind == ColumnType::TimestampNs { 1 } else { 1_000 };
        let ticks = i64::try_from(nanos / tick).map_err(|_| {
            (
                Reason::BadTimestamp,
                format!("the timestamp {nanos} ns is beyond what a table can hold"),
            )
        })?;
        Ok(Stamp::At(ticks))
    }

    /// The same in nanoseconds since 1970, also before; `None` is the server's clock.
    pub fn nanos(
        &mut self,
        record: &Record<'_>,
        rows: &RowBatch,
        cells: &[Cell],
    ) -> Result<Option<i128>, (Reason, String)> {
        Ok(Some(match &self.plan {
            Plan::Server => return Ok(None),
            Plan::Kafka => i128::from(record.timestamp_ms) * nanos_of(Unit::Millis),
            Plan::Field { column, name, written } => {
                let cell = cells
                    .iter()
                    .find(|cell| cell.column == *column && cell.kind != Kind::Null as u8)
                    .ok_or_else(|| missing(name))?;
                let zone = self.zone.as_ref();
                read_time(cell, rows.pointed(cell), written, zone).ok_or_else(|| {
                    let shown = value::shown(cell, rows.pointed(cell));
                    (
                        Reason::BadTimestamp,
                        format!("`{name}` is {shown}, which is no timestamp{}", how(written)),
                    )
                })?
            }
            Plan::Composed { columns, pattern } => {
                self.scratch.clear();
                for (column, name) in columns {
                    let cell = cells.iter().find(|cell| cell.column == *column);
                    let cell = cell.filter(|cell| cell.kind != Kind::Null as u8);
                    let cell = cell.ok_or_else(|| missing(name))?;
                    let bytes = rows.pointed(cell);
                    if matches!(Kind::from_u8(cell.kind), Some(Kind::Text | Kind::Symbol)) {
                        self.scratch.push_str(&String::from_utf8_lossy(bytes));
                    } else {
                        self.scratch.push_str(&value::shown(cell, bytes));
                    }
                }
                from_pattern(pattern, &self.scratch, self.zone.as_ref()).ok_or_else(|| {
                    let text = &self.scratch;
                    (
                        Reason::BadTimestamp,
                        format!("{text:?} does not match the pattern {pattern:?}"),
                    )
                })?
            }
        }))
    }
}

/// What most records have, without wide numbers: `None` where it is too large, or before 1970.
#[inline]
fn ticks(number: i64, unit: Unit, kind: ColumnType) -> Option<i64> {
    if number < 0 {
        return None;
    }
    let factor = match (unit, kind == ColumnType::TimestampNs) {
        (Unit::Nanos, true) | (Unit::Micros, false) => return Some(number),
        (Unit::Nanos, false) => return Some(number / 1_000),
        (Unit::Micros, true) | (Unit::Millis, false) => 1_000,
        (Unit::Millis, true) | (Unit::Seconds, false) => 1_000_000,
        (Unit::Seconds, true) => 1_000_000_000,
    };
    number.checked_mul(factor)
}

/// A cell as nanoseconds since 1970, as it is said to be written; local times are in `zone`.
pub fn read_time(
    cell: &Cell,
    bytes: &[u8],
    written: &Written,
    zone: Option<&TimeZone>,
) -> Option<i128> {
    let number = cell.value as i64;
    let text = || std::str::from_utf8(bytes).ok();
    match (Kind::from_u8(cell.kind)?, written) {
        (Kind::Timestamp, _) => Some(i128::from(number) * nanos_of(Unit::from_u8(cell.flags)?)),
        (Kind::I64, Written::Auto) => {
            Some(i128::from(number) * nanos_of(unit_by_magnitude(number)))
        }
        (Kind::I64, Written::Number(unit)) => Some(i128::from(number) * nanos_of(*unit)),
        // By its shortest digits, so that no fraction becomes another.
        (Kind::F64, Written::Auto | Written::Number(_)) => {
            from_number(&f64::from_bits(cell.value).to_string(), unit_of(written))
        }
        (Kind::Decimal, Written::Auto | Written::Number(_)) => {
            from_number(&value::decimal_text(bytes, cell.flags)?, unit_of(written))
        }
        (Kind::Text | Kind::Symbol, Written::Auto) => from_text(text()?, zone),
        (Kind::Text | Kind::Symbol, Written::Number(_)) => from_number(text()?, unit_of(written)),
        (Kind::Text | Kind::Symbol, Written::Pattern(pattern)) => {
            from_pattern(pattern, text()?, zone)
        }
        _ => None,
    }
}

fn unit_of(written: &Written) -> Option<Unit> {
    match written {
        Written::Number(unit) => Some(*unit),
        Written::Auto | Written::Pattern(_) => None,
    }
}

fn missing(name: &str) -> (Reason, String) {
    (Reason::BadTimestamp, format!("the record has no `{name}`, its designated timestamp"))
}

/// How a time should have been written, for a message.
pub fn how(written: &Written) -> String {
    match written {
        Written::Auto => " (a number since 1970, or ISO 8601)".to_owned(),
        Written::Number(unit) => format!(" (a number of {unit:?} since 1970)").to_lowercase(),
        Written::Pattern(pattern) => format!(" of the pattern {pattern:?}"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_short_way_is_the_long_one(number: i64, shift in 0_u32..64, unit in 0_usize..4) {
            let number = number >> shift;
            let unit = [Unit::Seconds, Unit::Millis, Unit::Micros, Unit::Nanos][unit];
            for (kind, tick) in [(ColumnType::TimestampNs, 1), (ColumnType::Timestamp, 1_000)] {
                let nanos = i128::from(number) * nanos_of(unit);
                let long = i64::try_from(nanos / tick).ok().filter(|_| number >= 0);
                prop_assert_eq!(ticks(number, unit, kind), long);
            }
        }
    }
}
