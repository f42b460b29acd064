//! What a table's section asks of rows, done by the bridge itself around the transforms: arrays
//! are taken apart before they see the rows, and behind them values become what their columns are
//! declared as. A pipeline that asks for none of it has none of these stages.
//!
//! ```text
//! format ─▶ [arrays taken apart] ─▶ transforms ─▶ [times, decimals, empty text] ─▶ encoders
//! ```

use std::sync::Arc;

use bridge_abi::{Cell, Kind, Unit};

use super::Transform;
use crate::batch::{AS_TEXT, RecordBatch, RowBatch};
use crate::blame::Fault;
use crate::decimal;
use crate::format::TakeApart;
use crate::names::Names;
use crate::reject::{Reason, Rejects, Stage};
use crate::shape::{ColumnType, Decimals, EmptyText, OnBad, Reading, Shape, Timestamp, Values};
use crate::sink::questdb::{how, read_time, shown};

/// How many stages stand before the transforms.
pub fn before(shape: &Shape) -> usize {
    usize::from(!shape.apart.is_nothing())
}

/// How many stages there are besides the transforms.
pub fn count(shape: &Shape) -> usize {
    before(shape) + usize::from(Cast::is_needed(shape))
}

/// A lane's transforms with what stands around them.
pub fn around(
    shape: &Shape,
    names: &Arc<Names>,
    transforms: Vec<Box<dyn Transform>>,
) -> Vec<Box<dyn Transform>> {
    let first = TakeApart::new(&shape.apart, names);
    let first = first.map(|apart| Box::new(Apart(apart)) as Box<dyn Transform>);
    let last = Cast::is_needed(shape).then(|| Box::new(Cast::new(shape, names)) as _);
    first.into_iter().chain(transforms).chain(last).collect()
}

/// Arrays, taken apart.
struct Apart(TakeApart);

impl Transform for Apart {
    fn apply(
        &mut self,
        _: &RecordBatch,
        rows: &mut RowBatch,
        rejects: &mut Rejects,
    ) -> Result<(), Fault> {
        self.0.apply(rows, rejects);
        Ok(())
    }
}

/// Values, made what their columns are declared as.
struct Cast {
    shape: Shape,
    names: Arc<Names>,
    /// By the column's number.
    slots: Vec<Option<Slot>>,
}

/// What is said of a column.
struct Slot {
    column: String,
    reading: Option<Reading>,
    on_bad: OnBad,
    /// Decimals become something else.
    decimals: Decimals,
    empty_text: EmptyText,
}

/// Why a cell does not become what it should.
struct Bad;

impl Cast {
    fn is_needed(shape: &Shape) -> bool {
        let Values { decimals, empty_text, readings, .. } = &shape.values;
        !readings.is_empty() || *decimals != Decimals::Exact || *empty_text != EmptyText::Keep
    }

    fn new(shape: &Shape, names: &Arc<Names>) -> Cast {
        Cast { shape: shape.clone(), names: Arc::clone(names), slots: Vec::new() }
    }

    /// What is said of a column that nobody has asked for yet.
    fn learn(&mut self, column: u16) {
        let index = usize::from(column);
        if self.slots.len() <= index {
            self.slots.resize_with(index + 1, || None);
        }
        let field = self.names.columns.name(column).unwrap_or_default();
        let designated = match &self.shape.timestamp {
            Timestamp::Field { field: own, .. } => **own == *field,
            Timestamp::Composed { fields, .. } => fields.iter().any(|own| **own == *field),
            Timestamp::Kafka | Timestamp::Server => false,
        };
        // What becomes the designated timestamp is read by its own rule.
        let name = self.shape.column_of(&field).filter(|_| !designated);
        let values = &self.shape.values;
        let name = name.unwrap_or_default();
        let is_it = |reading: &&Reading| reading.column == name;
        let decimals = match (self.shape.kind_of(&name), values.decimals) {
            (Some(ColumnType::Decimal(..)), _) | (Some(_), Decimals::Text) => Decimals::Exact,
            (_, decimals) => decimals,
        };
        self.slots[index] = Some(Slot {
            reading: values.readings.iter().find(is_it).cloned(),
            on_bad: values.on_bad(&name),
            decimals,
            empty_text: if designated { EmptyText::Keep } else { values.empty_text },
            column: name,
        });
    }

    fn row(&mut self, at: usize, rows: &mut RowBatch) -> Result<u64, (Reason, String)> {
        let row = rows.rows[at];
        let mut nulled = 0;
        for index in row.cells as usize..row.cells as usize + usize::from(row.cell_count) {
            let cell = rows.cells[index];
            let known = self.slots.get(usize::from(cell.column)).is_some_and(Option::is_some);
            if !known {
                self.learn(cell.column);
            }
            let Some(Some(slot)) = self.slots.get(usize::from(cell.column)) else { continue };
            match slot.cast(&cell, rows) {
                Ok(None) => {}
                Ok(Some(cast)) => rows.cells[index] = cast,
                Err(Bad) => match slot.on_bad {
                    OnBad::Null => {
                        nulled += 1;
                        rows.cells[index] = null(&cell);
                    }
                    OnBad::Text => rows.cells[index].flags = AS_TEXT,
                    OnBad::Reject => return Err(slot.refusal(&cell, rows)),
                },
            }
        }
        Ok(nulled)
    }
}

fn null(cell: &Cell) -> Cell {
    Cell { column: cell.column, kind: Kind::Null as u8, flags: 0, len: 0, value: 0 }
}

impl Slot {
    /// What a cell becomes; `None` if it stays.
    fn cast(&self, cell: &Cell, rows: &mut RowBatch) -> Result<Option<Cell>, Bad> {
        let kind = Kind::from_u8(cell.kind).unwrap_or(Kind::Null);
        if kind == Kind::Null {
            return Ok(None);
        }
        let is_text = matches!(kind, Kind::Text | Kind::Symbol);
        if self.empty_text == EmptyText::Null && is_text && cell.len == 0 {
            return Ok(Some(null(cell)));
        }
        if let Some(Reading { written, zone, .. }) = &self.reading
            && kind != Kind::Timestamp
        {
            let nanos = read_time(cell, rows.pointed(cell), written, zone.as_ref());
            return nanos.and_then(|nanos| instant(cell, nanos)).map(Some).ok_or(Bad);
        }
        if kind != Kind::Decimal || self.decimals == Decimals::Exact {
            return Ok(None);
        }
        let digits = decimal::text(rows.bytes_of(cell), cell.flags).ok_or(Bad)?;
        if self.decimals == Decimals::Text {
            return Ok(Some(rows.cell_bytes(cell.column, Kind::Text, 0, digits.as_bytes())));
        }
        let value: f64 = digits.parse().map_err(|_| Bad)?;
        Ok(Some(Cell { kind: Kind::F64 as u8, value: value.to_bits(), ..null(cell) }))
    }

    #[cold]
    fn refusal(&self, cell: &Cell, rows: &RowBatch) -> (Reason, String) {
        let (column, shown) = (&self.column, shown(cell, rows.pointed(cell)));
        let how = self.reading.as_ref().map(|reading| how(&reading.written)).unwrap_or_default();
        let detail = format!("`{column}` is {shown}, which is no timestamp{how}");
        (Reason::WrongType, detail)
    }
}

/// A point in time as a cell: in nanoseconds, or in microseconds where these do not hold it.
fn instant(cell: &Cell, nanos: i128) -> Option<Cell> {
    let of = |ticks: i128, unit: Unit| {
        let value = i64::try_from(ticks).ok()? as u64;
        Some(Cell { kind: Kind::Timestamp as u8, flags: unit as u8, value, ..null(cell) })
    };
    of(nanos, Unit::Nanos).or_else(|| of(nanos.div_euclid(1_000), Unit::Micros))
}

impl Transform for Cast {
    fn apply(
        &mut self,
        _: &RecordBatch,
        rows: &mut RowBatch,
        rejects: &mut Rejects,
    ) -> Result<(), Fault> {
        let mut refused = None;
        for at in 0..rows.rows.len() {
            let source = rows.rows[at].source;
            if refused == Some(source) {
                continue;
            }
            match self.row(at, rows) {
                Ok(nulled) => rejects.nulled += nulled,
                Err((reason, detail)) => {
                    rejects.push(source, Stage::Transform, reason, detail);
                    refused = Some(source);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::testing::batch;
    use crate::config::{Overrides, Plan, Surroundings};
    use crate::format::DecoderContext;
    use crate::transform::Portions;

    /// The rows of one record behind all stages, as text; or why it is refused. And how many
    /// values became null.
    fn told(table: &str, value: &str) -> (String, u64) {
        let text = format!(
            "[pipeline.p]\ntopics = [\"t\"]\nsink = {{ kind = \"memory\" }}\n[pipeline.p.table]\n{table}\n"
        );
        let base = std::path::Path::new("/nowhere");
        let with = Surroundings { env: &|_| None, host: "host".to_owned(), base };
        let plan = Plan::parse("bridge.toml", &text, &with, &Overrides::default());
        let plan = plan.unwrap_or_else(|mistakes| panic!("{mistakes}"));
        let pipeline = &plan.pipelines[0];
        let names = Arc::new(Names::default());
        let (key, admission) = (pipeline.key.clone(), pipeline.admission);
        let context = DecoderContext { names: Arc::clone(&names), key, admission };
        let records = batch(vec![(None, Some(value.as_bytes().to_vec()))]);
        let (mut rows, mut rejects) = (RowBatch::default(), Rejects::default());
        let mut decoder = pipeline.value.decoder(&context);
        decoder.decode(&records, &mut rows, &mut rejects).expect("only records are at fault");
        let mut stages = around(&pipeline.shape, &names, Vec::new());
        assert_eq!(stages.len(), count(&pipeline.shape));
        let more = Portions::default().next(&mut stages, &records, &mut rows, &mut rejects);
        assert!(!more.expect("only records are at fault"));
        let cell = |cell: &Cell| {
            let name = names.columns.name(cell.column).expect("interned");
            let value = match Kind::from_u8(cell.kind) {
                Some(Kind::Timestamp) => {
                    let unit = Unit::from_u8(cell.flags).expect("a unit");
                    let nanos = i128::from(cell.value as i64) * crate::times::nanos_of(unit);
                    format!("{}", jiff::Timestamp::from_nanosecond(nanos).expect("in range"))
                }
                Some(Kind::Text) if cell.flags == AS_TEXT => {
                    format!("as text {}", shown(cell, rows.pointed(cell)))
                }
                _ => shown(cell, rows.pointed(cell)),
            };
            format!("{name}={value}")
        };
        let row = |row| rows.cells_of(row).iter().map(cell).collect::<Vec<_>>().join(" ");
        let mut told: Vec<String> = rows.rows.iter().map(row).collect();
        told.extend(rejects.found.iter().map(|(_, stage, reason, detail)| {
            format!("{} {}: {detail}", stage.name(), reason.name())
        }));
        (told.join(" / "), rejects.nulled)
    }

    #[track_caller]
    fn check(table: &str, value: &str, expected: &str) {
        assert_eq!(told(table, value).0, expected, "{table}");
    }

    #[test]
    fn times_are_read_as_their_column_says() {
        let berlin = "columns = { at = { type = \"timestamp\", zone = \"Europe/Berlin\" } }";
        check(berlin, r#"{"at":"2024-07-15T12:00:00","b":"x"}"#, "at=2024-07-15T10:00:00Z b=\"x\"");
        check(berlin, r#"{"at":"2024-07-15T12:00:00+09:00"}"#, "at=2024-07-15T03:00:00Z");
        check(berlin, r#"{"at":1721044800}"#, "at=2024-07-15T12:00:00Z");
        check(berlin, r#"{"at":null}"#, "at=null");
        let all = "zone = \"Europe/Berlin\"\ncolumns = { at = \"timestamp\" }";
        check(all, r#"{"at":"2024-01-15 12:00"}"#, "at=2024-01-15T11:00:00Z");
        let pattern = "columns = { at = { type = \"date\", pattern = \"%d.%m.%Y %H:%M %z\" } }";
        check(pattern, r#"{"at":"15.07.2024 12:00 +0200"}"#, "at=2024-07-15T10:00:00Z");
        check(
            pattern,
            r#"{"at":"2024-07-15T12:00:00Z"}"#,
            "transform wrong-type: `at` is \"2024-07-15T12:00:00Z\", which is no timestamp of the \
             pattern \"%d.%m.%Y %H:%M %z\"",
        );
        let unit = "columns = { at = { type = \"timestamp_ns\", unit = \"ms\" } }";
        check(unit, r#"{"at":1.5}"#, "at=1970-01-01T00:00:00.0015Z");
        check(unit, r#"{"at":"-1500"}"#, "at=1969-12-31T23:59:58.5Z");
        let mapped = "mapping = { \"o.t\" = \"at\" }\n";
        let mapped = format!("{mapped}{berlin}");
        check(&mapped, r#"{"o":{"t":"2024-07-15T12:00:00"}}"#, "o_t=2024-07-15T10:00:00Z");
    }

    #[test]
    fn what_cannot_be_read_is_what_was_chosen() {
        let table = |on_bad: &str| {
            format!(
                "columns = {{ at = {{ type = \"timestamp\", unit = \"s\", on_bad = \"{on_bad}\" }} }}"
            )
        };
        let record = r#"{"a":1,"at":"soon"}"#;
        assert_eq!(told(&table("null"), record), ("a=1 at=null".to_owned(), 1));
        assert_eq!(told(&table("text"), record), ("a=1 at=as text \"soon\"".to_owned(), 0));
        let all = "on_bad = \"null\"\nzone = \"UTC\"\ncolumns = { at = \"timestamp\" }";
        assert_eq!(told(all, record), ("a=1 at=null".to_owned(), 1));
        assert!(told(&table("reject"), record).0.starts_with("transform wrong-type: `at`"));
    }

    #[test]
    fn the_designated_timestamp_has_its_own_rule() {
        let table = "zone = \"Europe/Berlin\"\ntimestamp = { field = \"ts\", unit = \"us\" }\n\
                     columns = { ts = \"timestamp\" }";
        check(table, r#"{"ts":5,"a":1}"#, "ts=5 a=1");
    }

    #[test]
    fn empty_text_is_null_where_that_is_wanted() {
        let table = "empty_text = \"null\"";
        check(table, r#"{"a":"","b":" ","c":"x"}"#, "a=null b=\" \" c=\"x\"");
    }

    #[test]
    fn decimals_are_what_was_chosen() {
        let record = r#"{"p":1.10,"q":0.30000000000000000001}"#;
        let declared = "columns = { p = \"decimal(9,2)\" }";
        check(declared, record, "p=1.10 q=0.3");
        check(&format!("decimals = \"double\"\n{declared}"), record, "p=1.10 q=0.3");
    }

    #[test]
    fn arrays_are_taken_apart_first() {
        let table = "explode = \"items\"\ncolumns = { items_at = \"timestamp\" }\nzone = \"UTC\"";
        check(
            table,
            r#"{"a":1,"items":[{"at":"2024-07-15 12:00:00"},{"at":0}]}"#,
            "a=1 items_at=2024-07-15T12:00:00Z / a=1 items_at=1970-01-01T00:00:00Z",
        );
    }
}
