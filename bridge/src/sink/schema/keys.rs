//! Keys with a schema: some columns of a row, for one lane. They are written as values are, by an
//! encoder of their own, for which a table has no columns but these.

use std::sync::Arc;

use bridge_abi::Kind;

use super::encode::{Encoders, SchemaEncoder};
use super::options::Part;
use super::{SchemaPlan, Subjects};
use crate::batch::{RecordBatch, Row, RowBatch};
use crate::blame::Fault;
use crate::reject::Reason;
use crate::shape::{Declared, Metadata, Shape, Timestamp};
use crate::sink::SinkContext;
use crate::sink::questdb::Denied;

/// What makes the keys of one lane's rows.
pub struct Keys {
    encoder: SchemaEncoder,
    /// Columns by their numbers, each with its place in the key.
    columns: Vec<(u16, usize)>,
    /// Whether the row at hand has them, by their places.
    there: Vec<bool>,
}

impl Encoders {
    /// Encoders of keys, or why one of their columns cannot be.
    pub fn of_keys(
        plan: SchemaPlan,
        context: &SinkContext,
        topic_of: impl Fn(&str) -> String + Send + Sync + 'static,
    ) -> Result<Encoders, Fault> {
        let shape = Arc::new(shape_of(&context.shape, columns_of(&plan))?);
        let context = SinkContext { shape, ..context.clone() };
        let subjects = Arc::new(Subjects::new(plan, &context));
        Ok(Encoders::new(subjects, &context, |_| None, topic_of))
    }

    /// What makes the keys of one lane's rows.
    pub fn keys(&self) -> Keys {
        let encoder = self.encoder(1);
        let parts = columns_of(encoder.subjects.plan());
        let mapping = encoder.shape.mapping.iter();
        let columns = mapping.filter_map(|(source, column)| {
            let part = parts.iter().position(|part| part == column)?;
            Some((encoder.names.columns.intern(source)?, part))
        });
        Keys { columns: columns.collect(), there: vec![false; parts.len()], encoder }
    }
}

impl Keys {
    /// Appends the key of a row; whether it has one.
    pub fn append(
        &mut self,
        records: &RecordBatch,
        rows: &RowBatch,
        row: &Row,
        out: &mut Vec<u8>,
    ) -> Result<bool, Denied> {
        self.there.fill(false);
        for cell in rows.cells_of(row) {
            if cell.kind == Kind::Null as u8 {
                continue;
            }
            for (_, part) in self.columns.iter().filter(|(column, _)| *column == cell.column) {
                self.there[*part] = true;
            }
        }
        if !self.there.contains(&true) {
            return Ok(false);
        }
        let plan = self.encoder.subjects.plan();
        let lacking = self.there.iter().position(|there| !there);
        if let Some(lacking) = lacking.filter(|_| plan.grows()) {
            let name = &columns_of(plan)[lacking];
            let detail = format!("key column `{name}` is null or missing, and others are there");
            return Err(Denied::Record(Reason::WrongType, detail));
        }
        self.encoder.bytes.clear();
        self.encoder.append_row(records, rows, row)?;
        out.extend_from_slice(&self.encoder.bytes);
        Ok(true)
    }
}

fn columns_of(plan: &SchemaPlan) -> &[String] {
    match &plan.part {
        Part::Key(columns) => columns,
        Part::Value => &[],
    }
}

/// A shape whose tables have these columns, also those that the table drops, and no others.
fn shape_of(shape: &Shape, columns: &[String]) -> Result<Shape, Fault> {
    let mut mapping = Vec::new();
    for column in columns {
        let sources = shape.mapping.iter().filter(|(_, to)| to == column);
        let before = mapping.len();
        mapping.extend(sources.cloned());
        if mapping.len() > before {
            continue;
        }
        if let Some((_, to)) = shape.mapping.iter().find(|(from, _)| from == column) {
            let message = format!("`{column}` of the key is called `{to}` in the table");
            return Err(Fault::operator(message).hint("name it so in `key.columns` of the sink"));
        }
        mapping.push((column.clone(), column.clone()));
    }
    let only = |shape: &Shape| Shape {
        timestamp: Timestamp::Server,
        metadata: Metadata::default(),
        mapping: mapping.clone(),
        mapping_only: true,
        drop: Vec::new(),
        declared: Vec::new(),
        ..shape.clone()
    };
    let declared = shape.declared.iter();
    let declared = declared.map(|one| Declared { shape: only(&one.shape), ..one.clone() });
    Ok(Shape { declared: declared.collect(), ..only(shape) })
}
