//! Columns that come from the record itself: topic, partition, offset, row, timestamp, headers.
//! What is the same for all records of a partition is rendered when rows of another one come.

use std::sync::Arc;

use super::fragment::Fragment;
use super::line;
use super::put::{Cursor, Put};
use super::table::Table;
use crate::batch::{Record, RecordBatch, Row, TopicPartition};
use crate::shape::{ColumnType, Shape};

/// The columns that a table has of them.
#[derive(Debug, Default)]
pub struct Metadata {
    topic: Option<Named>,
    partition: Option<Named>,
    offset: Option<Fragment>,
    row: Option<Fragment>,
    timestamp: Option<(Fragment, ColumnType)>,
    headers: Vec<(String, Named)>,
    /// The partition that the two below were rendered for.
    of: Option<TopicPartition>,
    symbols: Fragment,
    fields: Fragment,
}

/// A column by its fragment, and whether it is a symbol.
#[derive(Debug)]
struct Named {
    fragment: Vec<u8>,
    symbol: bool,
}

impl Metadata {
    /// What the shape wants of them, by the types that the table has.
    pub fn of(shape: &Shape, table: &Table) -> Metadata {
        let kind = |name: &String| table.columns.get(&name.to_lowercase()).copied();
        let named = |name: &String| Named {
            fragment: fragment(name),
            symbol: kind(name) == Some(ColumnType::Symbol),
        };
        let rendered = |name: &String| Fragment::new(fragment(name));
        let of = &shape.metadata;
        Metadata {
            topic: of.topic.as_ref().map(named),
            partition: of.partition.as_ref().map(named),
            offset: of.offset.as_ref().map(rendered),
            row: of.row.as_ref().map(rendered),
            timestamp: of
                .timestamp
                .as_ref()
                .map(|name| (rendered(name), kind(name).unwrap_or(ColumnType::Timestamp))),
            headers: of
                .headers
                .iter()
                .map(|(header, name)| (header.clone(), named(name)))
                .collect(),
            ..Metadata::default()
        }
    }

    /// The rows that follow come from this partition.
    #[inline]
    pub fn turn_to(&mut self, source: &TopicPartition) {
        let same = self.of.as_ref().is_some_and(|of| {
            of.partition == source.partition && Arc::ptr_eq(&of.topic, &source.topic)
        });
        if !same {
            self.render(source);
        }
    }

    fn render(&mut self, source: &TopicPartition) {
        let (mut symbols, mut fields) = (Vec::new(), Vec::new());
        if let Some(Named { fragment, symbol }) = &self.topic {
            let topic = source.topic.as_bytes();
            if *symbol {
                symbols.extend_from_slice(fragment);
                line::push_escaped(&mut symbols, topic);
            } else {
                fields.extend_from_slice(fragment);
                line::push_string(&mut fields, topic);
            }
        }
        if let Some(Named { fragment, .. }) = &self.partition {
            fields.extend_from_slice(fragment);
            line::push_digits(&mut fields, i64::from(source.partition));
            fields.push(b'i');
        }
        (self.symbols, self.fields) = (Fragment::new(symbols), Fragment::new(fields));
        self.of = Some(source.clone());
    }

    /// Writes those that are symbols.
    #[inline(always)]
    pub fn push_symbols(&self, records: &RecordBatch, row: &Row, out: &mut Cursor<'_>) {
        self.symbols.push(out);
        if !self.headers.is_empty() {
            out.lend(|out| self.push_headers(records, row, out, true));
        }
    }

    /// Writes those that are fields.
    #[inline(always)]
    pub fn push_fields(
        &self,
        records: &RecordBatch,
        record: &Record<'_>,
        row: &Row,
        out: &mut Cursor<'_>,
    ) {
        self.fields.push(out);
        let mut integer = |fragment: &Option<Fragment>, value: i64| {
            if let Some(fragment) = fragment {
                fragment.push(out);
                line::push_digits(out, value);
                out.byte(b'i');
            }
        };
        integer(&self.offset, record.offset);
        integer(&self.row, i64::from(row.number));
        if let Some((fragment, kind)) = &self.timestamp {
            fragment.push(out);
            line::push_digits(out, record.timestamp_ms.max(0));
            out.byte(if *kind == ColumnType::Long { b'i' } else { b'm' });
        }
        if !self.headers.is_empty() {
            out.lend(|out| self.push_headers(records, row, out, false));
        }
    }

    fn push_headers(&self, records: &RecordBatch, row: &Row, out: &mut impl Put, symbols: bool) {
        for (header, Named { fragment, symbol }) in &self.headers {
            if *symbol != symbols {
                continue;
            }
            let Some(value) = last_header(records, row.source, header) else { continue };
            out.all(fragment);
            if symbols {
                line::push_escaped(out, value.as_bytes());
            } else {
                line::push_string(out, value.as_bytes());
            }
        }
    }
}

/// Whether a column, in small letters, is one of those that the shape wants of them.
pub fn is_one(shape: &Shape, lower: &str) -> bool {
    let of = &shape.metadata;
    [&of.topic, &of.partition, &of.offset, &of.row, &of.timestamp]
        .into_iter()
        .flatten()
        .chain(of.headers.iter().map(|(_, name)| name))
        .any(|name| name.eq_ignore_ascii_case(lower))
}

/// `,name=`
pub fn fragment(name: &str) -> Vec<u8> {
    let mut fragment = Vec::with_capacity(name.len() + 2);
    fragment.push(b',');
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
