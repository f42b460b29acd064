//! The name of a row's table, by the shape's template.

use super::metadata::last_header;
use super::row::is_text;
use super::value;
use crate::batch::{RecordBatch, Row, RowBatch};
use crate::names::Names;
use crate::shape::{Part, Template};

/// Appends the name that a template gives a row.
pub fn fill_template(
    name: &mut String,
    template: &Template,
    names: &Names,
    records: &RecordBatch,
    rows: &RowBatch,
    row: &Row,
) {
    let record = records.get(row.source as usize);
    for part in &template.0 {
        match part {
            Part::Text(text) => name.push_str(text),
            Part::Topic => name.push_str(&records.source.topic),
            Part::Key => match record.key {
                Some(key) => name.push_str(&String::from_utf8_lossy(key)),
                None => name.push_str("null"),
            },
            Part::Partition => {
                name.push_str(itoa::Buffer::new().format(records.source.partition));
            }
            Part::Header(header) => {
                let value = last_header(records, row.source, header);
                name.push_str(value.as_deref().unwrap_or("null"));
            }
            Part::Field(field) => {
                let id = names.columns.find(field).unwrap_or(0);
                let cell = rows.cells_of(row).iter().find(|cell| cell.column == id && id != 0);
                match cell.map(|cell| (cell, rows.pointed(cell))) {
                    Some((cell, bytes)) if is_text(cell) => {
                        name.push_str(&String::from_utf8_lossy(bytes));
                    }
                    Some((cell, bytes)) => name.push_str(&value::shown(cell, bytes)),
                    None => name.push_str("null"),
                }
            }
        }
    }
}
