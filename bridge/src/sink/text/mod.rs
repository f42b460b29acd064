//! Rows as text: JSON objects, CSV records, or line protocol, each row a line. Sinks that keep rows
//! as they are (files, topics) share it; what becomes of which type is stated in docs/files.md.
//!
//! ```text
//! cell ──fit──▶ Plain ──json──▶ "name":value
//!                     └─csv───▶ value at its column's place
//! ```

mod csv;
mod encode;
mod fit;
mod instant;
mod json;
mod layout;
mod line;
mod target;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use bridge_abi::Unit;
use schemars::JsonSchema;
use serde::Deserialize;

pub use csv::push_bare;
pub use encode::TextEncoder;
pub use fit::{Plain, Words, digits_of, fit, into_type};
pub use instant::push as push_instant;
pub use json::{base64, push_array, push_string, push_value, push_words};
pub use layout::{Layout, Layouts};
pub use target::{Own, Source, own};

use super::memory::Imagined;
use super::questdb::{IlpEncoder, Wire};
use super::{Encoder, Rehearsal, SinkContext};
use crate::config::{Mistake, Section};

/// How timestamps are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Timestamps {
    /// ISO 8601 in UTC, with as many digits as the value's unit has.
    #[default]
    Iso,
    /// Whole seconds since 1970.
    S,
    /// Whole milliseconds since 1970.
    Ms,
    /// Whole microseconds since 1970.
    Us,
    /// Nanoseconds since 1970.
    Ns,
}

impl Timestamps {
    /// The unit of integers; `None` for text.
    pub fn unit(self) -> Option<Unit> {
        match self {
            Timestamps::Iso => None,
            Timestamps::S => Some(Unit::Seconds),
            Timestamps::Ms => Some(Unit::Millis),
            Timestamps::Us => Some(Unit::Micros),
            Timestamps::Ns => Some(Unit::Nanos),
        }
    }
}

/// What a row becomes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Written {
    /// A JSON object.
    #[default]
    Json,
    /// A CSV record, as RFC 4180 quotes it.
    Csv {
        /// Stands for a value that is null or missing; never in quotes.
        null: String,
        /// These columns in this order; if not given, as they come.
        columns: Option<Vec<String>>,
    },
    /// Line protocol version 1.
    LineProtocol,
}

/// How rows are written.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TextPlan {
    /// As what.
    pub written: Written,
    /// How timestamps are written; line protocol has its own way.
    pub timestamps: Timestamps,
}

/// What is wrong with the options of CSV, which are `null` and `columns`.
pub fn csv_mistake(section: &Section, written: &Written) -> Result<(), Mistake> {
    let Written::Csv { null, columns } = written else {
        return match ["null", "columns"].into_iter().find(|key| section.has(key)) {
            Some(key) => {
                let message = format!("`{key}` is for CSV only");
                Err(section.mistake(key, message).help("take it out, or encode = \"csv\""))
            }
            None => Ok(()),
        };
    };
    let value = null.parse::<f64>().is_ok() || null == "true" || null == "false";
    if value || null.contains([',', '"', '\n', '\r']) {
        let mistake =
            section.mistake("null", format!("{null:?} could be a value, or ends a field"));
        return Err(mistake.help("such as null = \"NULL\""));
    }
    let Some(columns) = columns else { return Ok(()) };
    let twice = columns.iter().enumerate().find(|(at, name)| columns[..*at].contains(name));
    if columns.is_empty() || twice.is_some() {
        let message = match twice {
            Some((_, name)) => format!("`{name}` is there twice"),
            None => "no column would be written".to_owned(),
        };
        return Err(section.mistake("columns", message).help("name each column once"));
    }
    Ok(())
}

/// Lines by a plan, for whoever tries a pipeline.
pub fn rehearse(plan: TextPlan, context: &SinkContext, rule: NameRule) -> Rehearsal {
    let names_tables = plan.written == Written::LineProtocol;
    Rehearsal { encoder: Encoders::new(plan, context, rule).lane(1), names_tables }
}

/// The same as line protocol.
pub fn rehearse_line_protocol(context: &SinkContext) -> Rehearsal {
    let plan = TextPlan { written: Written::LineProtocol, ..TextPlan::default() };
    rehearse(plan, context, |_| None)
}

/// Why a name cannot be that of a destination, if it cannot.
pub type NameRule = fn(&str) -> Option<String>;

/// What makes the encoders of one sink's lanes.
pub struct Encoders {
    plan: Arc<TextPlan>,
    context: SinkContext,
    layouts: Arc<Layouts>,
    imagined: Arc<Imagined>,
    rule: NameRule,
}

impl Encoders {
    /// Encoders by a plan, for tables whose names pass the rule.
    pub fn new(plan: TextPlan, context: &SinkContext, rule: NameRule) -> Encoders {
        let columns_max = context.shape.columns_max;
        let imagined = Imagined::new(Arc::clone(&context.shape)).ruled(rule);
        Encoders {
            layouts: Arc::new(Layouts::new(columns_max)),
            imagined: Arc::new(imagined),
            context: context.clone(),
            plan: Arc::new(plan),
            rule,
        }
    }

    /// What makes the line that stands above the rows of a table and layout; only CSV has one.
    pub fn header(&self) -> impl Fn(&str, u32) -> Vec<u8> + Send + Sync + 'static {
        let (layouts, plan) = (Arc::clone(&self.layouts), Arc::clone(&self.plan));
        move |table, layout| {
            let mut line = Vec::new();
            if let Written::Csv { .. } = plan.written {
                let columns = layouts.columns(table, Layout(layout));
                csv::push_header(&mut line, columns.iter().map(|name| &**name));
            }
            line
        }
    }

    /// An encoder for one lane, whose couriers are numbered from 0.
    pub fn lane(&self, couriers: u32) -> Box<dyn Encoder> {
        let SinkContext { shape, names, .. } = &self.context;
        let (shape, names) = (Arc::clone(shape), Arc::clone(names));
        if self.plan.written == Written::LineProtocol {
            let tables = Arc::clone(&self.imagined) as Arc<_>;
            return Box::new(IlpEncoder::by(Wire::Text, shape, names, tables, couriers));
        }
        let (plan, layouts) = (Arc::clone(&self.plan), Arc::clone(&self.layouts));
        Box::new(TextEncoder::new(plan, shape, names, layouts, self.rule, couriers))
    }
}
