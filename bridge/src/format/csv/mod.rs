//! CSV by RFC 4180: each line of a record is a row, its cells stand in the order of the columns.
//!
//! | in the record | becomes |
//! |---|---|
//! | a cell | text, or what its column's type says (`types`) |
//! | a cell without quotes that is one of the null texts | an explicit null |
//! | a cell of a column without a name | nothing |
//! | an empty line | nothing |
//! | a line with too few cells or too many, a cell that is not of its type, quotes that stand where they cannot | a rejected record |
//!
//! Numbers and booleans are read by words where they stand, text is copied by words (`document`); a
//! cell with quotes, blanks to trim or null texts to compare takes the longer way (`cells`).

mod cells;
mod header;
mod types;

use std::collections::HashMap;
use std::sync::Arc;

use bridge_abi::{Cell, Kind as CellKind};
use schemars::JsonSchema;
use serde::Deserialize;

use self::cells::{Dialect, Found};
use self::header::Header;
use self::types::Type;
use super::document::{self, Document};
use super::number::{self, Number};
use super::walk::{CELLS_MAX, Out, ReadValue, Stopped, Walker};
use super::{DecoderContext, Format, FormatPlan, Refused, not_utf8, quoted};
use crate::batch::RowBatch;
use crate::config::{Mistake, Section};
use crate::kind::{Kind, options};
use crate::reject::Reason;

/// The format's entry in its room's table.
pub const KIND: Kind<dyn FormatPlan> = Kind {
    name: "csv",
    summary: "CSV by RFC 4180, a row for each line",
    example: include_str!("csv.toml"),
    schema: || schemars::schema_for!(Options),
    parse: |section| plan(section, options(section)?),
};

/// Options of the format `csv`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Options {
    /// The columns, in the order of the cells; a cell whose column is `""` is left out.
    columns: Vec<String>,
    /// What the first line of each record is: `"names"` of its columns (default where `columns`
    /// are not given), `"skip"`: not a row, or `"none"`: a row as all others.
    header: Option<HeaderKind>,
    /// Types of columns, such as `{ temperature = "double" }`: `"text"`, `"long"`, `"double"`,
    /// `"boolean"` or `"auto"`.
    types: HashMap<String, Type>,
    /// The type of all other columns. Default `"text"`.
    default_type: Type,
    /// What becomes of a cell that is not of its column's type: `"reject"` (default; its record),
    /// `"null"` or `"text"`.
    bad_cell: BadCell,
    /// Stands between cells; `"\t"` is a tab. Default `","`.
    delimiter: String,
    /// Stands around cells that hold delimiters, quotes or line ends, and twice for itself;
    /// `""` for none. Default `"\""`.
    quote: String,
    /// Stands before a character between quotes that means nothing but itself, such as `"\\"`.
    /// Default `""`: none.
    escape: String,
    /// Cells without quotes that are null. Default `[""]`.
    null: Vec<String>,
    /// Take blanks and tabs off the ends of cells without quotes. Default false.
    trim: bool,
}

/// What the first line of a record is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum HeaderKind {
    /// A row as all others.
    None,
    /// The names of the columns.
    Names,
    /// Left out.
    Skip,
}

/// What becomes of a cell that is not of its column's type.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum BadCell {
    /// Its record is rejected.
    Reject,
    /// It becomes null.
    Null,
    /// It stays text.
    Text,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            columns: Vec::new(),
            header: None,
            types: HashMap::new(),
            default_type: Type::Text,
            bad_cell: BadCell::Reject,
            delimiter: ",".to_owned(),
            quote: "\"".to_owned(),
            escape: String::new(),
            null: vec![String::new()],
            trim: false,
        }
    }
}

/// The format, checked.
#[derive(Debug)]
struct Plan {
    options: Options,
    header: HeaderKind,
    dialect: Dialect,
}

fn plan(section: &Section, options: Options) -> Result<Box<dyn FormatPlan>, Mistake> {
    let given = !options.columns.is_empty();
    let header = options.header.unwrap_or(match given {
        true => HeaderKind::None,
        false => HeaderKind::Names,
    });
    if given && header == HeaderKind::Names {
        let message = "`columns` are given, and the first line names them as well";
        return Err(section.mistake("header", message).help("header = \"skip\", or no `columns`"));
    }
    if !given && header != HeaderKind::Names {
        let message = "nothing names the columns";
        let help = "columns = [\"...\"], or header = \"names\"";
        return Err(section.mistake("header", message).help(help));
    }
    if options.columns.len() > CELLS_MAX {
        let message = format!("more than {CELLS_MAX} columns");
        return Err(section.mistake("columns", message));
    }
    for (index, name) in options.columns.iter().enumerate() {
        if !name.is_empty() && options.columns[..index].contains(name) {
            let message = format!("`{name}` is there twice");
            return Err(section.mistake(&format!("columns.{index}"), message));
        }
    }
    let mut typed: Vec<&String> = options.types.keys().collect();
    typed.sort();
    if let Some(name) = typed.into_iter().find(|name| given && !options.columns.contains(*name)) {
        let message = format!("`{name}` is none of the columns");
        return Err(section.mistake(&format!("types.{name}"), message));
    }
    let dialect = Dialect::new(section, &options)?;
    Ok(Box::new(Plan { options, header, dialect }))
}

impl FormatPlan for Plan {
    fn decoder(&self, context: &DecoderContext) -> Box<dyn Format> {
        let Options { types, default_type, bad_cell, null, .. } = &self.options;
        let mut reader = Reader {
            dialect: self.dialect,
            header: self.header,
            bad_cell: *bad_cell,
            nulls: null.iter().filter(|text| !text.is_empty()).cloned().collect(),
            empty_is_null: null.iter().any(String::is_empty),
            columns: Vec::new(),
            names: Vec::new(),
            head: Header::new(types.clone(), *default_type, Arc::clone(&context.names)),
        };
        for name in &self.options.columns {
            // The first names of a pipeline always find room.
            let column = reader.head.column(name).unwrap_or(Column { id: 0, kind: Type::Text });
            reader.columns.push(column);
            reader.names.push(name.as_str().into());
        }
        Box::new(Walker::new(context, reader))
    }
}

/// A column.
#[derive(Clone, Copy, Debug)]
struct Column {
    /// Interned; 0 is left out.
    id: u16,
    kind: Type,
}

/// Reads CSV for one lane.
struct Reader {
    dialect: Dialect,
    header: HeaderKind,
    bad_cell: BadCell,
    /// Null texts that are not empty.
    nulls: Vec<String>,
    empty_is_null: bool,
    columns: Vec<Column>,
    /// The names of these, for messages.
    names: Vec<Box<str>>,
    /// What makes columns of the first line.
    head: Header,
}

impl ReadValue for Reader {
    fn read(&mut self, value: &[u8], out: &mut Out<'_>) -> Result<(), Stopped> {
        let document = Document::new(value);
        if !document.is_text() {
            return Err(not_utf8(value).into());
        }
        let mut place = Place { at: 0, line: 1 };
        self.dialect.skip_empty(document, &mut place);
        if place.at == value.len() {
            let message = "the value has no line with a cell";
            return Err(Stopped::Record((Reason::Empty, message.to_owned())));
        }
        match self.header {
            HeaderKind::None => {}
            HeaderKind::Skip => self.dialect.skip_line(document, &mut place)?,
            HeaderKind::Names => self.names_from(document, &mut place)?,
        }
        loop {
            self.dialect.skip_empty(document, &mut place);
            if place.at == value.len() {
                return Ok(());
            }
            self.row(document, &mut place, out.rows)?;
            out.end_row(0)?;
        }
    }
}

/// A place in a record.
#[derive(Clone, Copy, Debug)]
struct Place {
    at: usize,
    /// Its line, from 1; line ends between quotes do not count.
    line: usize,
}

impl Reader {
    /// The columns by the line at `place`; the same as the record before has nothing to be read.
    fn names_from(&mut self, document: Document<'_>, place: &mut Place) -> Result<(), Refused> {
        let rest = &document.bytes()[place.at..];
        if self.head.is_known(rest) {
            place.at += self.head.len();
            place.line += 1;
            return Ok(());
        }
        self.columns.clear();
        self.names.clear();
        self.head.forget();
        let start = place.at;
        loop {
            let found = self.dialect.find(document, place.at).map_err(|wrong| {
                (Reason::Malformed, format!("line {}, a column's name: {wrong}", place.line))
            })?;
            let mut text = Vec::new();
            self.dialect.append(document, &found, &mut text);
            // Between ASCII bytes of what is UTF-8.
            let name = String::from_utf8(text).unwrap_or_default();
            if !name.is_empty() && self.names.iter().any(|known| **known == *name) {
                let detail = format!("the first line names the column `{name}` twice");
                return Err((Reason::Malformed, detail));
            }
            if self.columns.len() == CELLS_MAX {
                let detail = format!("the first line names more than {CELLS_MAX} columns");
                return Err((Reason::TooManyColumns, detail));
            }
            self.columns.push(self.head.column(&name).ok_or_else(|| {
                let detail = format!("`{name}` is one name too many for the pipeline");
                (Reason::TooManyColumns, detail)
            })?);
            self.names.push(name.into());
            if self.dialect.is_delimiter(document, found.end) {
                place.at = found.end + 1;
                continue;
            }
            place.at = self.dialect.behind_line_end(document, found.end);
            place.line += 1;
            self.head.remember(&document.bytes()[start..place.at]);
            return Ok(());
        }
    }

    /// The cells of the line at `place`.
    #[inline]
    fn row(
        &self,
        document: Document<'_>,
        place: &mut Place,
        rows: &mut RowBatch,
    ) -> Result<(), Refused> {
        let last = self.columns.len() - 1;
        let mut at = place.at;
        for (index, column) in self.columns.iter().enumerate() {
            let end = match self.plain_cell(document, at, *column, rows) {
                Some(end) => end,
                None => self.any_cell(document, Place { at, ..*place }, index, rows)?,
            };
            let is_delimiter = self.dialect.is_delimiter(document, end);
            if is_delimiter == (index == last) {
                return Err(self.ragged(index + 1, is_delimiter, place.line));
            }
            at = end + 1;
        }
        place.at = self.dialect.behind_line_end(document, at - 1);
        place.line += 1;
        Ok(())
    }

    #[cold]
    fn ragged(&self, cells: usize, more: bool, line: usize) -> Refused {
        let columns = self.columns.len();
        let detail = match more {
            true => {
                format!(
                    "line {line} has more than {columns} cells, the last column is `{}`",
                    self.names[columns - 1]
                )
            }
            false => {
                format!(
                    "line {line} has {cells} of {columns} cells, `{}` is missing",
                    self.names[cells]
                )
            }
        };
        (Reason::Malformed, detail)
    }

    /// Appends the cell that stands there, as programs mostly write it; the position behind it,
    /// where a delimiter stands or the line ends. `None` leaves it to [`Reader::any_cell`].
    #[inline(always)]
    fn plain_cell(
        &self,
        document: Document<'_>,
        at: usize,
        Column { id, kind }: Column,
        rows: &mut RowBatch,
    ) -> Option<usize> {
        if id == 0 || !self.nulls.is_empty() {
            return None;
        }
        let (cell, end) = match kind {
            Type::Text => {
                let end = self.dialect.end_of_plain(document, at)?;
                if end == at && self.empty_is_null {
                    (plain(id, CellKind::Null, 0), end)
                } else {
                    let (kind, value) = (CellKind::Text as u8, rows.arena.len() as u64);
                    document.copy(at, end, &mut rows.arena);
                    let len = (end - at) as u32;
                    (Cell { column: id, kind, flags: 0, len, value }, end)
                }
            }
            Type::Boolean => {
                let (value, len) = document::boolean(document.eight(at))?;
                (plain(id, CellKind::Bool, u64::from(value)), at + len)
            }
            Type::Long | Type::Double | Type::Auto => {
                let word = document.eight(at);
                let (number, end) = number::read(document, at, word)?;
                let (kind, value) = fitting(kind, number, word as u8)?;
                (plain(id, kind, value), end)
            }
        };
        if kind != Type::Text && !self.dialect.is_end(document, end) {
            return None;
        }
        rows.cells.push(cell);
        Some(end)
    }

    /// The same of any cell.
    #[inline(never)]
    fn any_cell(
        &self,
        document: Document<'_>,
        place: Place,
        index: usize,
        rows: &mut RowBatch,
    ) -> Result<usize, Refused> {
        let Column { id, kind } = self.columns[index];
        let found = self.dialect.find(document, place.at);
        let found = found.map_err(|wrong| self.misquoted(place, index, wrong))?;
        if id != 0 {
            let cell = self.found_cell(document, &found, (id, kind), rows);
            rows.cells.push(cell.ok_or_else(|| self.misfit(document, &found, place, index))?);
        }
        Ok(found.end)
    }

    /// The cell of what was found; `None` if it is not of its column's type.
    #[inline]
    fn found_cell(
        &self,
        document: Document<'_>,
        found: &Found,
        (id, kind): (u16, Type),
        rows: &mut RowBatch,
    ) -> Option<Cell> {
        let bytes = &document.bytes()[found.from..found.to];
        if !found.quoted {
            let is_null = match bytes {
                b"" => self.empty_is_null,
                _ => self.nulls.iter().any(|null| null.as_bytes() == bytes),
            };
            if is_null {
                return Some(plain(id, CellKind::Null, 0));
            }
        }
        let at = rows.arena.len();
        self.dialect.append(document, found, &mut rows.arena);
        let text = &rows.arena[at..];
        let (len, value) = (text.len() as u32, at as u64);
        let as_text = Cell { column: id, kind: CellKind::Text as u8, flags: 0, len, value };
        if kind == Type::Text {
            return Some(as_text);
        }
        let cell = match (kind.read(text), self.bad_cell) {
            (Some((CellKind::Text, _)), _) | (None, BadCell::Text) => return Some(as_text),
            (Some((kind, value)), _) => Some(plain(id, kind, value)),
            (None, BadCell::Null) => Some(plain(id, CellKind::Null, 0)),
            (None, BadCell::Reject) => None,
        };
        rows.arena.truncate(at);
        cell
    }

    #[cold]
    fn misquoted(&self, place: Place, index: usize, wrong: &str) -> Refused {
        let (line, name) = (place.line, &self.names[index]);
        (Reason::Malformed, format!("line {line}, column `{name}`: {wrong}"))
    }

    #[cold]
    fn misfit(&self, document: Document<'_>, found: &Found, place: Place, index: usize) -> Refused {
        let mut text = Vec::new();
        self.dialect.append(document, found, &mut text);
        let (line, name) = (place.line, &self.names[index]);
        let (shown, kind) = (quoted(&text), self.columns[index].kind.in_words());
        (Reason::WrongType, format!("line {line}, column `{name}`: {shown} is not {kind}"))
    }
}

/// What a number that stands where it is becomes in a column of this type.
#[inline(always)]
fn fitting(kind: Type, number: Number, first: u8) -> Option<(CellKind, u64)> {
    match (number, kind) {
        (Number::Long(value), Type::Long | Type::Auto) => Some((CellKind::I64, value as u64)),
        // A double knows a zero below zero.
        (Number::Long(0), Type::Double) if first == b'-' => None,
        (Number::Long(value), Type::Double) => Some((CellKind::F64, (value as f64).to_bits())),
        (Number::Double(value), Type::Double | Type::Auto) => {
            Some((CellKind::F64, value.to_bits()))
        }
        _ => None,
    }
}

fn plain(column: u16, kind: CellKind, value: u64) -> Cell {
    Cell { column, kind: kind as u8, flags: 0, len: 0, value }
}

#[cfg(test)]
mod tests;
