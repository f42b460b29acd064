//! What columns mean: Debezium and Kafka Connect write days, moments, decimals and bits as numbers,
//! text or bytes, and name what they are in the schema. A row is first read as it is written, then
//! each of its cells becomes what it means, in place.
//!
//! | Connect's name | written as | becomes |
//! |---|---|---|
//! | `…connect.data.Decimal`, `VariableScaleDecimal` | bytes, in JSON base64; a scale and bytes | a decimal |
//! | `Date`, `IsoDate` | days; text | a timestamp, midnight UTC |
//! | `Timestamp`, `MicroTimestamp`, `NanoTimestamp` | ms, µs, ns since 1970 | a timestamp of that unit |
//! | `ZonedTimestamp`, `IsoTimestamp` | text as ISO 8601 has it | a timestamp |
//! | `Time`, `MicroTime`, `NanoTime`, `MicroDuration`, `NanoDuration`, `Year` | a number | a long |
//! | `Enum` | text | a symbol |
//! | `Bits` | bytes, the lowest first | text of `0` and `1` |
//! | geometries' `wkb` | bytes | text, hexadecimal |
//! | bytes | in JSON base64 | bytes |

use std::collections::HashMap;

use bridge_abi::{Cell, DECIMAL_SCALE_MAX, Kind, Unit};

use super::coerce::{Coercion, Wrong};
use crate::batch::RowBatch;
use crate::format::Refused;
use crate::names::Names;
use crate::reject::Reason;

/// Columns with a meaning, at most: a row has no more.
const MEANINGS_MAX: usize = 4_000;

/// What a column's values mean.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Meaning {
    /// A double, also where it is written without a fraction.
    Double,
    /// The unscaled number of a decimal with this scale, in bytes or base64.
    Decimal(u8),
    /// A decimal in digits.
    Digits,
    /// The scale of a decimal that is two columns. It becomes none.
    Scale,
    /// Its unscaled number: together they become `into`.
    Unscaled { scale: u16, into: u16 },
    /// An array of unscaled numbers with this scale, or of decimals of two parts each.
    Decimals(u8),
    /// Days since 1970.
    Date,
    /// A day in text.
    IsoDate,
    /// Since 1970, in this unit.
    Timestamp(Unit),
    /// A moment in text.
    Zoned,
    /// One of a few texts.
    Symbol,
    /// Bytes, in base64 where they are text.
    Bytes,
    /// So many bits in bytes, the lowest first; 0: all of them.
    Bits(u32),
    /// Bytes to be shown.
    Hex,
}

/// How a column's type is called, and what belongs to it.
#[derive(Clone, Copy, Debug)]
pub struct Named<'a> {
    /// Connect's name of it.
    pub name: &'a str,
    /// The parameter `scale`.
    pub scale: Option<u8>,
    /// The parameter `length`.
    pub length: u32,
}

impl Meaning {
    /// The meaning of Connect's or Debezium's types without parts; `None` for those whose values
    /// are what they mean.
    pub fn named(named: Named<'_>) -> Option<Meaning> {
        let Named { name, scale, length } = named;
        if let Some(name) = name.strip_prefix("org.apache.kafka.connect.data.") {
            return match name {
                "Decimal" => Some(Meaning::Decimal(scale.unwrap_or(0))),
                "Date" => Some(Meaning::Date),
                "Timestamp" => Some(Meaning::Timestamp(Unit::Millis)),
                _ => None,
            };
        }
        Some(match name.strip_prefix("io.debezium.")? {
            "time.Date" => Meaning::Date,
            "time.IsoDate" => Meaning::IsoDate,
            "time.Timestamp" => Meaning::Timestamp(Unit::Millis),
            "time.MicroTimestamp" => Meaning::Timestamp(Unit::Micros),
            "time.NanoTimestamp" => Meaning::Timestamp(Unit::Nanos),
            "time.ZonedTimestamp" | "time.IsoTimestamp" => Meaning::Zoned,
            "data.Enum" => Meaning::Symbol,
            "data.Bits" => Meaning::Bits(length),
            _ => return None,
        })
    }

    /// Whether it is of what is written as two columns.
    pub fn is_variable(name: &str) -> bool {
        name == "io.debezium.data.VariableScaleDecimal"
    }

    /// Whether it is a geometry.
    pub fn is_geometry(name: &str) -> bool {
        name.starts_with("io.debezium.data.geometry.")
    }
}

/// The meanings of one table's columns.
#[derive(Clone, Debug, Default)]
pub struct Meanings {
    /// By the column's number: 0 for none, else one more than the place in the list.
    by_column: Vec<u16>,
    list: Vec<Meaning>,
}

impl Meanings {
    /// Says what a column means.
    pub fn set(&mut self, column: u16, meaning: Meaning) {
        let index = usize::from(column);
        if self.by_column.len() <= index {
            self.by_column.resize(index + 1, 0);
        }
        match self.by_column[index] {
            0 if self.list.len() < MEANINGS_MAX => {
                self.list.push(meaning);
                self.by_column[index] = self.list.len() as u16;
            }
            0 => {}
            place => self.list[usize::from(place) - 1] = meaning,
        }
    }

    #[inline]
    fn get(&self, column: u16) -> Option<Meaning> {
        match self.by_column.get(usize::from(column)) {
            None | Some(0) => None,
            Some(place) => Some(self.list[usize::from(*place) - 1]),
        }
    }

    /// Turns the cells from `start` on into what they mean.
    pub fn apply(
        &self,
        rows: &mut RowBatch,
        start: usize,
        coercion: &mut Coercion,
        names: &Names,
    ) -> Result<(), Refused> {
        let mut has_scales = false;
        for at in start..rows.cells.len() {
            let cell = rows.cells[at];
            let absent = coercion.absent(rows, &cell);
            let turned = match (absent, self.get(cell.column)) {
                (Some(absent), _) => absent,
                (None, None) => continue,
                (None, Some(Meaning::Scale)) => {
                    has_scales = true;
                    continue;
                }
                (None, Some(Meaning::Unscaled { scale, into })) => {
                    let scale = rows.cells[start..].iter().find(|other| other.column == scale);
                    let scale = scale.filter(|scale| scale.kind == Kind::I64 as u8);
                    let scale = scale.map(|scale| scale.value as i64);
                    variable(rows, &cell, scale, coercion)
                        .map(|turned| Cell { column: into, ..turned })
                }
                (None, Some(_)) if cell.kind == Kind::Null as u8 => continue,
                (None, Some(meaning)) => coercion.turn(rows, &cell, meaning),
            };
            rows.cells[at] = turned.map_err(|wrong| refused(rows, &cell, &wrong, names))?;
        }
        if has_scales {
            let mut kept = start;
            for at in start..rows.cells.len() {
                let cell = rows.cells[at];
                if self.get(cell.column) != Some(Meaning::Scale) {
                    rows.cells[kept] = cell;
                    kept += 1;
                }
            }
            rows.cells.truncate(kept);
        }
        Ok(())
    }
}

/// A decimal of two columns, from its unscaled number.
fn variable(
    rows: &mut RowBatch,
    cell: &Cell,
    scale: Option<i64>,
    coercion: &mut Coercion,
) -> Result<Cell, Wrong> {
    if cell.kind == Kind::Null as u8 {
        return Ok(*cell);
    }
    match scale.map(u8::try_from) {
        Some(Ok(scale)) if scale <= DECIMAL_SCALE_MAX => {
            coercion.turn(rows, cell, Meaning::Decimal(scale))
        }
        Some(_) => Err(Wrong::Scale),
        None => Err(Wrong::NoScale),
    }
}

#[cold]
fn refused(rows: &RowBatch, cell: &Cell, wrong: &Wrong, names: &Names) -> Refused {
    let name = names.columns.name(cell.column);
    let name = name.as_deref().unwrap_or("a column");
    match wrong {
        Wrong::Absent => {
            let detail = format!(
                "`{name}` was not sent, for it is large and did not change: alter the table to \
                 REPLICA IDENTITY FULL, or say unavailable = \"null\" or \"text\""
            );
            (Reason::Malformed, detail)
        }
        wrong => {
            let shown = super::coerce::shown(rows, cell);
            (Reason::WrongType, format!("`{name}`: {shown} {wrong}"))
        }
    }
}

/// What the option `types` may say of a column.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Declared {
    /// One column means this.
    Meaning(Meaning),
    /// Columns that end in `scale` and `value` are one decimal.
    Variable,
    /// As it is written, whatever the schema says.
    Plain,
}

/// The words of the option `types`, for messages.
pub const TYPE_WORDS: &str = "decimal(10,2), decimal, decimal-text, date, iso-date, timestamp, \
    micro-timestamp, nano-timestamp, zoned-timestamp, double, enum, bytes, bits, or a name of \
    Connect's such as io.debezium.time.Date";

impl Declared {
    /// Reads a word of the option `types`.
    pub fn parse(word: &str) -> Option<Declared> {
        if let Some(digits) = word.strip_prefix("decimal(").and_then(|w| w.strip_suffix(')')) {
            let (_, scale) = digits.split_once(',').unwrap_or((digits, "0"));
            let precision = digits.split(',').next()?.trim().parse::<u32>().ok()?;
            let scale = scale.trim().parse::<u8>().ok()?;
            let fits = scale <= DECIMAL_SCALE_MAX && u32::from(scale) <= precision;
            return fits.then_some(Declared::Meaning(Meaning::Decimal(scale)));
        }
        Some(Declared::Meaning(match word {
            "decimal" | "io.debezium.data.VariableScaleDecimal" => return Some(Declared::Variable),
            "text" | "long" | "time" | "micro-time" | "nano-time" | "interval" | "json" => {
                return Some(Declared::Plain);
            }
            "decimal-text" => Meaning::Digits,
            "date" => Meaning::Date,
            "iso-date" => Meaning::IsoDate,
            "timestamp" => Meaning::Timestamp(Unit::Millis),
            "micro-timestamp" => Meaning::Timestamp(Unit::Micros),
            "nano-timestamp" => Meaning::Timestamp(Unit::Nanos),
            "zoned-timestamp" => Meaning::Zoned,
            "double" => Meaning::Double,
            "enum" => Meaning::Symbol,
            "bytes" => Meaning::Bytes,
            "bits" => Meaning::Bits(0),
            name if name.contains('.') => {
                return Declared::named(name);
            }
            _ => return None,
        }))
    }

    /// A name of Connect's. One that needs a parameter cannot be said so.
    fn named(name: &str) -> Option<Declared> {
        if name == "org.apache.kafka.connect.data.Decimal" {
            return None;
        }
        let known = ["org.apache.kafka.connect.data.", "io.debezium.time.", "io.debezium.data."];
        if !known.iter().any(|known| name.starts_with(known)) {
            return None;
        }
        let meaning = Meaning::named(Named { name, scale: None, length: 0 });
        Some(meaning.map_or(Declared::Plain, Declared::Meaning))
    }
}

/// Collects what the columns of a table mean, by their paths in a row.
pub struct Reading<'a> {
    names: &'a Names,
    separator: &'a str,
    /// Before-images have the same columns, each behind this.
    before: Option<&'a str>,
    meanings: Meanings,
}

impl<'a> Reading<'a> {
    /// Nothing is known yet.
    pub fn new(names: &'a Names, separator: &'a str, before: Option<&'a str>) -> Reading<'a> {
        Reading { names, separator, before, meanings: Meanings::default() }
    }

    /// Stands between the names of what is within another.
    pub fn separator(&self) -> &'a str {
        self.separator
    }

    /// The column at a path means this.
    pub fn column(&mut self, path: &str, meaning: Meaning) -> Result<(), Refused> {
        for prefix in [Some(""), self.before].into_iter().flatten() {
            let column = self.id(&format!("{prefix}{path}"))?;
            self.meanings.set(column, meaning);
        }
        Ok(())
    }

    /// The columns below a path are a decimal of two parts.
    pub fn variable(&mut self, path: &str) -> Result<(), Refused> {
        for prefix in [Some(""), self.before].into_iter().flatten() {
            let into = self.id(&format!("{prefix}{path}"))?;
            let scale = self.id(&format!("{prefix}{path}{}scale", self.separator))?;
            let value = self.id(&format!("{prefix}{path}{}value", self.separator))?;
            self.meanings.set(scale, Meaning::Scale);
            self.meanings.set(value, Meaning::Unscaled { scale, into });
        }
        Ok(())
    }

    /// What the configuration says comes last, and holds.
    pub fn declare(&mut self, types: &HashMap<String, Declared>) -> Result<(), Refused> {
        for (path, declared) in types {
            match declared {
                Declared::Meaning(meaning) => self.column(path, *meaning)?,
                Declared::Variable => self.variable(path)?,
                Declared::Plain => self.plain(path)?,
            }
        }
        Ok(())
    }

    fn plain(&mut self, path: &str) -> Result<(), Refused> {
        for prefix in [Some(""), self.before].into_iter().flatten() {
            let column = usize::from(self.id(&format!("{prefix}{path}"))?);
            if let Some(place) = self.meanings.by_column.get_mut(column) {
                *place = 0;
            }
        }
        Ok(())
    }

    /// What was read.
    pub fn done(self) -> Meanings {
        self.meanings
    }

    fn id(&self, name: &str) -> Result<u16, Refused> {
        self.names.columns.intern(name).ok_or_else(|| {
            (Reason::TooManyColumns, format!("`{name}` is one name too many for the pipeline"))
        })
    }
}
