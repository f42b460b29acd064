//! InfluxDB's line protocol, as Telegraf writes it: each line of a record is a row.
//!
//! ```text
//! measurement[,tag=value…] field=value[,field=value…] [timestamp]\n
//! ```
//!
//! | in the line | becomes |
//! |---|---|
//! | measurement | the row's table, or a symbol in a column (`measurement`) |
//! | tag | a symbol |
//! | `1.5`, `1`, `1e3` | a double |
//! | `1i`; `1u` within 63 bits; `1u` beyond | a long; a long; the nearest double |
//! | `t` `T` `true` `True` `TRUE`, and the same of false | a boolean |
//! | `"text"` | text |
//! | timestamp | a timestamp in a column (`timestamp_column`), in the unit of `precision` |
//! | an empty line, one that begins with `#` | nothing |
//!
//! The rules are those of InfluxData's "line protocol reference" (InfluxDB v2): a backslash escapes
//! a comma and a space in names and tags' values, `=` in all of these but the measurement, and a
//! quote and itself in text; before anything else it is itself. What is not exactly right is a
//! rejected record, also where servers look away: an empty tag, two spaces, a name twice.
//!
//! Lines of a measurement resemble one another: a name is compared with the one that stood at its
//! place in the line before, and looked up only if it is another (`known`). As long as all are the
//! same, no column can come twice that did not come twice before.

mod known;
mod value;

use std::sync::Arc;

use bridge_abi::{Cell, Kind as CellKind, Unit};
use schemars::JsonSchema;
use serde::Deserialize;

use self::known::Known;
use self::value::unescaped;
use super::document::{Document, Needles};
use super::walk::{CELLS_MAX, Out, ReadValue, Stopped, Walker};
use super::{DecoderContext, Format, FormatPlan, Refused};
use crate::batch::RowBatch;
use crate::config::{Mistake, Section};
use crate::kind::{Kind, options};
use crate::names::Names;
use crate::reject::Reason;

/// The format's entry in its room's table.
pub const KIND: Kind<dyn FormatPlan> = Kind {
    name: "ilp",
    summary: "InfluxDB's line protocol, as Telegraf writes it, a row for each line",
    example: include_str!("ilp.toml"),
    schema: || schemars::schema_for!(Options),
    parse: |section| checked(section, options(section)?),
};

/// Options of the format `ilp`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Options {
    /// What a line's measurement becomes: `"table"` (default): the table of its row, before what
    /// `table.name` says; `"column"`: a symbol; `"ignore"`: nothing.
    measurement: Measurement,
    /// The column of the measurement. Default `"measurement"`.
    measurement_column: String,
    /// The column of a line's timestamp. Default `"time"`.
    timestamp_column: String,
    /// The unit of timestamps: `"ns"` (default), `"us"`, `"ms"` or `"s"`.
    precision: Precision,
}

/// What a line's measurement becomes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Measurement {
    /// The table of its row.
    Table,
    /// A symbol.
    Column,
    /// Nothing.
    Ignore,
}

/// The unit of timestamps.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Precision {
    /// Nanoseconds.
    Ns,
    /// Microseconds.
    Us,
    /// Milliseconds.
    Ms,
    /// Seconds.
    S,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            measurement: Measurement::Table,
            measurement_column: "measurement".to_owned(),
            timestamp_column: "time".to_owned(),
            precision: Precision::Ns,
        }
    }
}

fn checked(section: &Section, options: Options) -> Result<Box<dyn FormatPlan>, Mistake> {
    let Options { measurement_column, timestamp_column, .. } = &options;
    for (key, column) in
        [("measurement_column", measurement_column), ("timestamp_column", timestamp_column)]
    {
        if column.is_empty() {
            return Err(section.mistake(key, "a column needs a name"));
        }
    }
    if options.measurement == Measurement::Column && measurement_column == timestamp_column {
        let message = "it is the column of the timestamp as well";
        return Err(section.mistake("measurement_column", message));
    }
    Ok(Box::new(options))
}

impl FormatPlan for Options {
    fn decoder(&self, context: &DecoderContext) -> Box<dyn Format> {
        // The first names of a pipeline always find room.
        let id = |column: &String| context.names.columns.intern(column).unwrap_or(0);
        let unit = match self.precision {
            Precision::Ns => Unit::Nanos,
            Precision::Us => Unit::Micros,
            Precision::Ms => Unit::Millis,
            Precision::S => Unit::Seconds,
        };
        let reader = Reader {
            measurement: self.measurement,
            measurement_column: match self.measurement {
                Measurement::Column => id(&self.measurement_column),
                _ => 0,
            },
            timestamp_column: id(&self.timestamp_column),
            unit,
            names: Arc::clone(&context.names),
            known: Known::default(),
            checks: false,
            seen: Vec::new(),
            lines: 0,
        };
        Box::new(Walker::new(context, reader))
    }
}

/// Reads lines for one lane.
struct Reader {
    measurement: Measurement,
    /// Interned; 0 where there is none.
    measurement_column: u16,
    timestamp_column: u16,
    unit: Unit,
    names: Arc<Names>,
    known: Known,
    /// Whether the line at hand is looked at for columns that come twice, from some name on.
    checks: bool,
    /// For each column the last line that had it, of those that were checked.
    seen: Vec<u64>,
    /// Lines so far, this one counted.
    lines: u64,
}

/// A name is not longer: databases take far shorter ones.
const NAME_BYTES_MAX: usize = 1_024;

/// What a tag's value ends at, or must not have.
const TAG_ENDS: Needles<5> = Needles::new(*b", =\n\\");
/// What text in quotes ends at, or needs a second look for.
const TEXT_ENDS: Needles<2> = Needles::new(*b"\"\\");
/// What any other value ends at.
const WORD_ENDS: Needles<4> = Needles::new(*b", \n\r");

/// A refusal; the line's number is put in front of it.
fn wrong(words: impl Into<String>) -> Refused {
    (Reason::Malformed, words.into())
}

impl ReadValue for Reader {
    fn read(&mut self, value: &[u8], out: &mut Out<'_>) -> Result<(), Stopped> {
        let document = Document::new(value);
        if !document.is_text() {
            return Err(super::not_utf8(value).into());
        }
        let (mut at, mut number, mut rows) = (0, 0_u64, 0_u64);
        while at < value.len() {
            number += 1;
            match document.byte(at) {
                b'\n' => at += 1,
                b'\r' if document.byte(at + 1) == b'\n' => at += 2,
                b'#' => {
                    at = memchr::memchr(b'\n', &value[at..]).map_or(value.len(), |n| at + n + 1)
                }
                _ => {
                    let read = self.line(document, at, out.rows);
                    let (end, table) = read
                        .map_err(|(reason, wrong)| (reason, format!("line {number}: {wrong}")))?;
                    out.end_row(table)?;
                    at = end;
                    rows += 1;
                }
            }
        }
        if rows == 0 && value.iter().all(u8::is_ascii_whitespace) {
            return Err(Stopped::Record((Reason::Empty, "the value has no line".to_owned())));
        }
        Ok(())
    }
}

impl Reader {
    /// The cells of the line that begins there; where the next one begins, and the line's table.
    #[inline]
    fn line(
        &mut self,
        document: Document<'_>,
        at: usize,
        rows: &mut RowBatch,
    ) -> Result<(usize, u16), Refused> {
        self.lines += 1;
        self.checks = false;
        let (mut at, table) = self.measured(document, at, rows)?;
        let mut place = 0;
        while document.byte(at) == b',' {
            let (column, from) = match self.known.sound_name(document, at + 1, place) {
                Some(found) => found,
                None => self.checked_name(document, at + 1, place, "tag")?,
            };
            at = self.tag(document, from, column, rows)?;
            place += 1;
        }
        if document.byte(at) != b' ' {
            let found = shown(document, at);
            return Err(wrong(format!("expected a space and fields, found {found}")));
        }
        loop {
            let (column, from) = match self.known.sound_name(document, at + 1, place) {
                Some(found) => found,
                None => self.checked_name(document, at + 1, place, "field")?,
            };
            at = self.field(document, from, column, rows)?;
            place += 1;
            if document.byte(at) != b',' {
                break;
            }
        }
        if document.byte(at) == b' ' {
            at = self.timestamp(document, at + 1, rows)?;
        }
        if self.checks {
            self.known.trust(place, self.timestamp_column);
        }
        match line_end(document, at) {
            Some(behind) => Ok((behind, table)),
            None => Err(wrong(format!("expected a line end, found {}", shown(document, at)))),
        }
    }

    /// The measurement that stands there: where it ends, and its table.
    #[inline]
    fn measured(
        &mut self,
        document: Document<'_>,
        at: usize,
        rows: &mut RowBatch,
    ) -> Result<(usize, u16), Refused> {
        let end = match self.known.same_measurement(document, at) {
            Some(end) => end,
            None => self.learn(document, at)?,
        };
        if self.measurement == Measurement::Column {
            let text = self.known.measurement().as_bytes();
            let cell = rows.cell_bytes(self.measurement_column, CellKind::Symbol, 0, text);
            rows.cells.push(cell);
        }
        Ok((end, self.known.table()))
    }

    /// Turns to the measurement that stands there.
    fn learn(&mut self, document: Document<'_>, at: usize) -> Result<usize, Refused> {
        let end = known::end_of_measurement(document.bytes(), at);
        if end == at || end - at > NAME_BYTES_MAX {
            let found = shown(document, at);
            return Err(wrong(format!("expected the name of a measurement, found {found}")));
        }
        let raw = &document.bytes()[at..end];
        let is_table = self.measurement == Measurement::Table;
        let names = &self.names;
        let found = self.known.turn_to(raw, |name| match is_table {
            true => names.tables.intern(name),
            false => Some(0),
        });
        match found {
            true => Ok(end),
            false => {
                let detail = "the measurement is one table too many for the pipeline".to_owned();
                Err((Reason::TooManyColumns, detail))
            }
        }
    }

    /// The column of the name that stands there, and where its value begins, in a line that is
    /// unlike the one before from this place on, or from an earlier one.
    #[inline(never)]
    fn checked_name(
        &mut self,
        document: Document<'_>,
        at: usize,
        place: usize,
        what: &'static str,
    ) -> Result<(u16, usize), Refused> {
        if !self.checks {
            self.check_from(place);
        }
        let (column, end) = match self.known.same_name(document, at, place) {
            Some(found) => found,
            None => self.learn_name(document, at, place, what)?,
        };
        self.once(column)?;
        Ok((column, end))
    }

    /// Looks from this place on whether a column comes twice: notes those that the line has.
    fn check_from(&mut self, place: usize) {
        self.checks = true;
        let Reader { known, seen, lines, .. } = self;
        let measurement =
            (self.measurement == Measurement::Column).then_some(self.measurement_column);
        for column in known.columns(place).chain(measurement) {
            *last(seen, column) = *lines;
        }
    }

    fn learn_name(
        &mut self,
        document: Document<'_>,
        at: usize,
        place: usize,
        what: &str,
    ) -> Result<(u16, usize), Refused> {
        let end = known::end_of_name(document.bytes(), at);
        if end == at || document.byte(end) != b'=' || end - at > NAME_BYTES_MAX {
            let found = shown(document, at);
            return Err(wrong(format!("expected a {what}'s name and `=`, found {found}")));
        }
        if place == CELLS_MAX {
            let detail = format!("more than {CELLS_MAX} tags and fields");
            return Err((Reason::TooManyColumns, detail));
        }
        let raw = &document.bytes()[at..=end];
        let names = &self.names.columns;
        let column = self.known.learn_name(raw, place, |name| names.intern(name));
        let column = column.ok_or_else(|| {
            let detail = format!("`{}` is one name too many for the pipeline", text_of(raw));
            (Reason::TooManyColumns, detail)
        })?;
        Ok((column, end + 1))
    }

    /// Notes that the line has a column.
    #[inline]
    fn once(&mut self, column: u16) -> Result<(), Refused> {
        let lines = self.lines;
        if std::mem::replace(last(&mut self.seen, column), lines) == lines {
            let name = self.names.columns.name(column).unwrap_or_default();
            return Err(wrong(format!("`{name}` comes twice")));
        }
        Ok(())
    }

    #[inline]
    fn tag(
        &self,
        document: Document<'_>,
        from: usize,
        column: u16,
        rows: &mut RowBatch,
    ) -> Result<usize, Refused> {
        let at = rows.arena.len();
        let mut end = document.find(from, &TAG_ENDS);
        document.copy(from, end, &mut rows.arena);
        if document.byte(end) == b'\\' {
            end = unescaped(document.bytes(), end, b", =", &mut rows.arena);
        }
        if end == from || !matches!(document.byte(end), b',' | b' ') {
            return Err(self.no_value(
                "tag",
                column,
                document,
                from,
                "a value behind which `,` or a space stands",
            ));
        }
        let len = (rows.arena.len() - at) as u32;
        let kind = CellKind::Symbol as u8;
        rows.cells.push(Cell { column, kind, flags: 0, len, value: at as u64 });
        Ok(end)
    }

    #[inline]
    fn field(
        &self,
        document: Document<'_>,
        from: usize,
        column: u16,
        rows: &mut RowBatch,
    ) -> Result<usize, Refused> {
        let word = document.eight(from);
        let read = match word as u8 {
            b'"' => return self.text(document, from + 1, column, rows),
            b'-' | b'0'..=b'9' => value::plain_number(document, from, word),
            _ => value::plain_bool(document, from, word),
        };
        let read = read.or_else(|| value::word(document, from));
        match read {
            Some((kind, value, end)) => {
                rows.cells.push(Cell { column, kind: kind as u8, flags: 0, len: 0, value });
                Ok(end)
            }
            None => {
                let expected = "1.5, 1i, 1u, true, false or text in quotes";
                Err(self.no_value("field", column, document, from, expected))
            }
        }
    }

    #[inline]
    fn text(
        &self,
        document: Document<'_>,
        from: usize,
        column: u16,
        rows: &mut RowBatch,
    ) -> Result<usize, Refused> {
        let at = rows.arena.len();
        let mut end = document.find(from, &TEXT_ENDS);
        document.copy(from, end, &mut rows.arena);
        if document.byte(end) == b'\\' {
            end = value::unquoted(document.bytes(), end, &mut rows.arena);
        }
        if document.byte(end) != b'"' {
            let expected = "text that ends with a quote";
            return Err(self.no_value("field", column, document, from - 1, expected));
        }
        let len = (rows.arena.len() - at) as u32;
        let kind = CellKind::Text as u8;
        rows.cells.push(Cell { column, kind, flags: 0, len, value: at as u64 });
        Ok(end + 1)
    }

    #[inline]
    fn timestamp(
        &mut self,
        document: Document<'_>,
        from: usize,
        rows: &mut RowBatch,
    ) -> Result<usize, Refused> {
        let column = self.timestamp_column;
        let Some((value, end)) = value::integer(document, from) else {
            let found = shown(document, from);
            return Err(wrong(format!("expected a timestamp within 64 bits, found {found}")));
        };
        if self.checks {
            self.once(column)?;
        }
        let (kind, flags) = (CellKind::Timestamp as u8, self.unit as u8);
        rows.cells.push(Cell { column, kind, flags, len: 0, value: value as u64 });
        Ok(end)
    }

    #[cold]
    fn no_value(
        &self,
        what: &str,
        column: u16,
        document: Document<'_>,
        from: usize,
        expected: &str,
    ) -> Refused {
        let name = self.names.columns.name(column).unwrap_or_default();
        wrong(format!("{what} `{name}`: expected {expected}, found {}", shown(document, from)))
    }
}

/// The last line that had a column.
#[inline]
fn last(seen: &mut Vec<u64>, column: u16) -> &mut u64 {
    let at = usize::from(column);
    if seen.len() <= at {
        seen.resize(at + 1, 0);
    }
    &mut seen[at]
}

/// The position behind the line end that stands there; the document's end is one.
#[inline(always)]
fn line_end(document: Document<'_>, at: usize) -> Option<usize> {
    match document.byte(at) {
        b'\n' => Some(at + 1),
        b'\r' if document.byte(at + 1) == b'\n' => Some(at + 2),
        _ if at >= document.bytes().len() => Some(at),
        _ => None,
    }
}

/// The beginning of what stands there, for a message.
#[cold]
fn shown(document: Document<'_>, at: usize) -> String {
    let rest = document.bytes().get(at..).unwrap_or_default();
    let line = rest.split(|byte| *byte == b'\n').next().unwrap_or_default();
    if line.is_empty() { "the end of the line".to_owned() } else { super::quoted(line) }
}

/// A name as it is written, without its `=`.
#[cold]
fn text_of(raw: &[u8]) -> String {
    String::from_utf8_lossy(raw.strip_suffix(b"=").unwrap_or(raw)).into_owned()
}

#[cfg(test)]
mod tests;
