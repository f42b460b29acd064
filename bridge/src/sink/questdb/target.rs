//! One table as an encoder sees it: for each column of the records a slot that says what to do.

use std::collections::HashMap;
use std::sync::Arc;

use bridge_abi::Cell;

use super::line;
use super::table::{Denied, Table, Tables, Wanted};
use crate::batch::{RecordBatch, Row};
use crate::blame::Fault;
use crate::reject::Reason;
use crate::shape::{ColumnType, Shape};

/// What becomes of a column's cells.
#[derive(Debug)]
pub enum Slot {
    /// Nobody has asked yet.
    Unknown,
    /// Nothing: dropped by the shape, or the designated timestamp.
    Skip,
    /// A symbol; the fragment is `,name=`.
    Symbol { fragment: Vec<u8>, shared: bool },
    /// A field of this type; the fragment is `name=`.
    Field { fragment: Vec<u8>, kind: ColumnType, shared: bool },
    /// Records with it are refused.
    Denied(Reason, String),
}

/// One table as an encoder sees it.
#[derive(Debug)]
pub struct Target {
    /// Its name.
    pub name: Arc<str>,
    /// Its name, escaped: how every line begins.
    pub prefix: Vec<u8>,
    /// Type of the designated timestamp.
    pub stamp_kind: ColumnType,
    /// Whether the table was asked for.
    pub met: bool,
    /// Why no row can go there, if none can.
    pub refused: Option<(Reason, String)>,
    slots: Vec<Slot>,
    /// Column's name and type for messages, by the column's number.
    columns: HashMap<u16, (String, ColumnType), foldhash::fast::FixedState>,
    metadata: MetadataColumns,
}

#[derive(Debug, Default)]
struct MetadataColumns {
    topic: Option<(Vec<u8>, bool)>,
    partition: Option<Vec<u8>>,
    offset: Option<Vec<u8>>,
    row: Option<Vec<u8>>,
    timestamp: Option<(Vec<u8>, ColumnType)>,
    headers: Vec<(String, Vec<u8>, bool)>,
}

impl Target {
    /// A table that was not asked for yet.
    pub fn new(name: &str) -> Target {
        let mut prefix = Vec::new();
        line::push_escaped(&mut prefix, name.as_bytes());
        Target {
            name: name.into(),
            prefix,
            stamp_kind: ColumnType::Timestamp,
            met: false,
            refused: line::name_fault(name, false).map(|fault| (Reason::BadName, fault)),
            slots: Vec::new(),
            columns: HashMap::default(),
            metadata: MetadataColumns::default(),
        }
    }

    /// What becomes of a column.
    #[inline]
    pub fn slot(&self, column: u16) -> &Slot {
        self.slots.get(usize::from(column)).unwrap_or(&Slot::Unknown)
    }

    /// Whether nobody has asked for the column yet.
    #[inline]
    pub fn is_unknown(&self, column: u16) -> bool {
        matches!(self.slot(column), Slot::Unknown)
    }

    /// Whether another cell of the row goes into the same column and stands before: the first one
    /// is written, as the database would have it.
    pub fn stands_before(&self, cells: &[Cell], column: u16) -> bool {
        let name = |column: u16| self.columns.get(&column).map(|(name, _)| name.as_str());
        cells.iter().any(|cell| name(cell.column) == name(column))
    }

    /// Why a value does not fit, for the dead letters.
    pub fn misfit(&self, column: u16, shown: &str) -> (Reason, String) {
        let (name, kind) = match self.columns.get(&column) {
            Some((name, kind)) => (name.as_str(), kind.to_string()),
            None => ("?", "?".to_owned()),
        };
        let table = &self.name;
        (
            Reason::WrongType,
            format!(
                "column `{name}` of {table} is {kind}, the record has {shown}; declare a type that takes both under `columns`, or convert it in a transform"
            ),
        )
    }

    /// Asks for columns and fills their slots. Columns that are denied are told apart, so that
    /// one hostile name does not refuse the others.
    pub fn learn(
        &mut self,
        shape: &Shape,
        tables: &dyn Tables,
        wanted: Vec<(u16, Option<Wanted>)>,
    ) -> Result<(), Fault> {
        self.met = true;
        let mut asked = Vec::new();
        for (column, wanted) in wanted {
            match wanted {
                None => self.set(column, Slot::Skip),
                Some(wanted) => match line::name_fault(&wanted.name, true) {
                    Some(fault) => self.set(column, Slot::Denied(Reason::BadName, fault)),
                    None => asked.push((column, wanted)),
                },
            }
        }
        let all: Vec<Wanted> = asked.iter().map(|(_, wanted)| wanted.clone()).collect();
        match tables.resolve(&self.name, &all) {
            Ok(table) => self.take(shape, &table, asked),
            Err(Denied::Pipeline(fault)) => return Err(fault),
            Err(Denied::Record(reason, detail)) => match tables.resolve(&self.name, &[]) {
                Err(Denied::Pipeline(fault)) => return Err(fault),
                Err(Denied::Record(..)) => self.refused = Some((reason, detail)),
                Ok(table) => {
                    self.take(shape, &table, Vec::new());
                    for (column, wanted) in asked {
                        match tables.resolve(&self.name, std::slice::from_ref(&wanted)) {
                            Ok(table) => self.take(shape, &table, vec![(column, wanted)]),
                            Err(Denied::Pipeline(fault)) => return Err(fault),
                            Err(Denied::Record(reason, detail)) => {
                                self.set(column, Slot::Denied(reason, detail));
                            }
                        }
                    }
                }
            },
        }
        Ok(())
    }

    fn take(&mut self, shape: &Shape, table: &Table, asked: Vec<(u16, Wanted)>) {
        if let Some((_, kind)) = &table.timestamp {
            self.stamp_kind = *kind;
        }
        self.metadata = MetadataColumns::of(shape, table);
        for (column, wanted) in asked {
            let lower = wanted.name.to_lowercase();
            let kind = table.columns.get(&lower).copied().unwrap_or(wanted.kind);
            let designated =
                table.timestamp.as_ref().is_some_and(|(name, _)| name.eq_ignore_ascii_case(&lower));
            if designated || self.metadata.has(shape, &lower) {
                // The designated timestamp and the record's own columns are written by us.
                self.set(column, Slot::Skip);
                continue;
            }
            let shared = self.columns.values().any(|(name, _)| *name == lower);
            let slot = slot(&wanted.name, kind, shared);
            if shared {
                self.share(&lower);
            }
            self.columns.insert(column, (lower, kind));
            self.set(column, slot);
        }
    }

    /// Marks every slot of a name as one of several.
    fn share(&mut self, name: &str) {
        let same: Vec<u16> = self
            .columns
            .iter()
            .filter(|(_, (known, _))| known == name)
            .map(|(column, _)| *column)
            .collect();
        for column in same {
            if let Some(Slot::Symbol { shared, .. } | Slot::Field { shared, .. }) =
                self.slots.get_mut(usize::from(column))
            {
                *shared = true;
            }
        }
    }

    fn set(&mut self, column: u16, slot: Slot) {
        let index = usize::from(column);
        if self.slots.len() <= index {
            self.slots.resize_with(index + 1, || Slot::Unknown);
        }
        self.slots[index] = slot;
    }

    /// Symbols that come from the record itself.
    #[inline]
    pub fn push_metadata_symbols(
        &self,
        shape: &Shape,
        records: &RecordBatch,
        row: &Row,
        out: &mut Vec<u8>,
    ) {
        if let Some((fragment, true)) = &self.metadata.topic {
            out.extend_from_slice(fragment);
            line::push_escaped(out, records.source.topic.as_bytes());
        }
        if !shape.metadata.headers.is_empty() {
            self.push_headers(records, row, out, true, &mut 0);
        }
    }

    /// Fields that come from the record itself.
    #[inline]
    pub fn push_metadata_fields(
        &self,
        shape: &Shape,
        records: &RecordBatch,
        row: &Row,
        out: &mut Vec<u8>,
        separator: &mut u8,
    ) {
        let mut integer = |out: &mut Vec<u8>, fragment: &Option<Vec<u8>>, value: i64| {
            if let Some(fragment) = fragment {
                out.push(std::mem::replace(separator, b','));
                out.extend_from_slice(fragment);
                line::push_digits(out, value);
                out.push(b'i');
            }
        };
        let record = records.get(row.source as usize);
        integer(out, &self.metadata.partition, i64::from(records.source.partition));
        integer(out, &self.metadata.offset, record.offset);
        integer(out, &self.metadata.row, i64::from(row.number));
        if let Some((fragment, kind)) = &self.metadata.timestamp {
            out.push(std::mem::replace(separator, b','));
            out.extend_from_slice(fragment);
            line::push_digits(out, record.timestamp_ms.max(0));
            out.push(if *kind == ColumnType::Long { b'i' } else { b'm' });
        }
        if let Some((fragment, false)) = &self.metadata.topic {
            out.push(std::mem::replace(separator, b','));
            out.extend_from_slice(fragment);
            line::push_string(out, records.source.topic.as_bytes());
        }
        if !shape.metadata.headers.is_empty() {
            self.push_headers(records, row, out, false, separator);
        }
    }

    fn push_headers(
        &self,
        records: &RecordBatch,
        row: &Row,
        out: &mut Vec<u8>,
        symbols: bool,
        separator: &mut u8,
    ) {
        for (header, fragment, symbol) in &self.metadata.headers {
            if *symbol != symbols {
                continue;
            }
            let Some(value) = last_header(records, row.source, header) else { continue };
            if symbols {
                out.extend_from_slice(fragment);
                line::push_escaped(out, value.as_bytes());
            } else {
                out.push(std::mem::replace(separator, b','));
                out.extend_from_slice(fragment);
                line::push_string(out, value.as_bytes());
            }
        }
    }
}

fn slot(name: &str, kind: ColumnType, shared: bool) -> Slot {
    let fragment = fragment(name, kind == ColumnType::Symbol);
    match kind {
        ColumnType::Symbol => Slot::Symbol { fragment, shared },
        ColumnType::Binary => Slot::Denied(
            Reason::WrongType,
            format!(
                "column `{name}` is BINARY, which line protocol cannot write; leave it out with `drop`"
            ),
        ),
        _ => Slot::Field { fragment, kind, shared },
    }
}

fn fragment(name: &str, symbol: bool) -> Vec<u8> {
    let mut fragment = Vec::with_capacity(name.len() + 2);
    if symbol {
        fragment.push(b',');
    }
    line::push_escaped(&mut fragment, name.as_bytes());
    fragment.push(b'=');
    fragment
}

/// The value of the last header of a name, as text.
pub fn last_header(records: &RecordBatch, source: u32, name: &str) -> Option<String> {
    let mut found = None;
    records.headers(source as usize, &mut |header, value| {
        if header == name.as_bytes() {
            found = value.map(|value| String::from_utf8_lossy(value).into_owned());
        }
    });
    found
}

impl MetadataColumns {
    fn of(shape: &Shape, table: &Table) -> MetadataColumns {
        let kind = |name: &String| table.columns.get(&name.to_lowercase()).copied();
        let is_symbol = |name: &String| kind(name) == Some(ColumnType::Symbol);
        let of = &shape.metadata;
        MetadataColumns {
            topic: of.topic.as_ref().map(|name| (fragment(name, is_symbol(name)), is_symbol(name))),
            partition: of.partition.as_ref().map(|name| fragment(name, false)),
            offset: of.offset.as_ref().map(|name| fragment(name, false)),
            row: of.row.as_ref().map(|name| fragment(name, false)),
            timestamp: of
                .timestamp
                .as_ref()
                .map(|name| (fragment(name, false), kind(name).unwrap_or(ColumnType::Timestamp))),
            headers: of
                .headers
                .iter()
                .map(|(header, name)| {
                    (header.clone(), fragment(name, is_symbol(name)), is_symbol(name))
                })
                .collect(),
        }
    }

    /// Whether a column is one of ours.
    fn has(&self, shape: &Shape, lower: &str) -> bool {
        let of = &shape.metadata;
        [&of.topic, &of.partition, &of.offset, &of.row, &of.timestamp]
            .into_iter()
            .flatten()
            .chain(of.headers.iter().map(|(_, name)| name))
            .any(|name| name.eq_ignore_ascii_case(lower))
    }
}
