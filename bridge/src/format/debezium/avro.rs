//! Events in Avro: where the parts of an envelope are, and a plan for each, made once for each
//! schema. An event says behind its images what was done, so its fields are found first, and then
//! those are read that become the row.

use std::ops::Range;
use std::sync::Arc;

use super::event::{Columns, Done, Events, Part, Parts as EventParts, Strange, strange};
use super::meaning::{Meaning, Meanings, Named, Reading};
use super::options::Table;
use crate::batch::RowBatch;
use crate::format::Refused;
use crate::format::avro::{Compile, Form, Found, Parts, Plan, Schema, Schemas, Writers};
use crate::format::flat::{Naming, Paths};
use crate::format::walk::Stopped;
use crate::names::Names;
use crate::reject::Reason;

/// Types that are looked at for their meaning, in one schema; its plan has no more.
const VISITS_MAX: usize = 20_000;
/// Types within one another.
const DEPTH_MAX: usize = 64;

/// What one lane needs to read them.
pub struct Avro {
    writers: Writers<Compiler>,
    paths: Paths,
    spans: Vec<Range<usize>>,
    source_spans: Vec<Range<usize>>,
}

impl Avro {
    /// Nothing is known of schemas yet.
    pub fn new(events: &Events, schemas: Arc<Schemas>) -> Avro {
        let columns = Arc::clone(&events.columns);
        let names = Arc::clone(&columns.names);
        Avro {
            paths: Paths::new(Arc::clone(&names), &columns.options.separator),
            writers: Writers::new(schemas, names, Compiler(columns)),
            spans: Vec::new(),
            source_spans: Vec::new(),
        }
    }

    /// Appends the cells of an event.
    pub fn read(
        &mut self,
        value: &[u8],
        events: &mut Events,
        rows: &mut RowBatch,
    ) -> Result<Done, Stopped> {
        let Avro { writers, paths, spans, source_spans } = self;
        let Found { made, body } = writers.find(value)?;
        let done = match made {
            Made::Row { plan, meanings } => {
                let mut parts = RowParts { plan, meanings, body, paths };
                events.write(&mut parts, rows)?
            }
            Made::Event(event) => {
                event.parts.split(body, spans, paths, rows)?;
                let source = event.source.as_ref();
                if let Some(source) = source {
                    let bytes = &body[spans[source.field].clone()];
                    source.parts.split(bytes, source_spans, paths, rows)?;
                }
                let mut parts = SplitParts { event, body, spans, source_spans, paths };
                events.write(&mut parts, rows)?
            }
        };
        Ok(done)
    }
}

/// What was made of a schema.
enum Made {
    Event(Box<Event>),
    /// Of a row that was unwrapped.
    Row {
        plan: Plan,
        meanings: Meanings,
    },
}

/// An envelope.
struct Event {
    parts: Parts,
    /// The field that says what was done; or what this is.
    op: Result<usize, Strange>,
    after: Option<Image>,
    before: Option<Image>,
    /// What the row was, as columns of its own.
    was: Option<Plan>,
    source: Option<Source>,
    meanings: Meanings,
}

/// A field that may be the row.
struct Image {
    field: usize,
    plan: Plan,
}

/// The field `source`, where something of it is wanted.
struct Source {
    field: usize,
    parts: Parts,
    /// Its field, the place among the wanted columns, and a plan for it.
    wanted: Vec<(usize, usize, Plan)>,
    columns: Arc<Columns>,
}

struct Compiler(Arc<Columns>);

impl Compile for Compiler {
    type Made = Made;

    fn compile(
        &self,
        writer: &Schema,
        _: Option<&Schema>,
        names: &Names,
        shown: &str,
    ) -> Result<Made, Refused> {
        let options = &self.0.options;
        let naming = Naming { names, separator: &options.separator, prefix: "", single: "value" };
        if options.unwrapped {
            let plan = Parts::whole(writer, naming)?;
            let meanings = self.0.meanings(|into| Visit::new(writer, into).below(writer.root))?;
            return Ok(Made::Row { plan, meanings });
        }
        let malformed = |why: String| (Reason::Malformed, format!("{shown}: {why}"));
        let parts = Parts::of(writer).map_err(malformed)?;
        let parts = parts.ok_or_else(|| malformed("an event is a record".to_owned()))?;
        let image = |name: &str| -> Result<Option<Image>, Refused> {
            let Some(field) = parts.find(name) else { return Ok(None) };
            Ok(Some(Image { field, plan: parts.plan(writer, field, naming)? }))
        };
        let (after, before) = (image("after")?, image("before")?);
        let was = match (&options.before, &before) {
            (Some(prefix), Some(before)) => {
                let naming = Naming { prefix, ..naming };
                Some(parts.plan(writer, before.field, naming)?)
            }
            _ => None,
        };
        let source = self.source(writer, &parts, naming, malformed)?;
        let meanings = self.0.meanings(|into| {
            let fields = match &writer.types[writer.root].form {
                Form::Record { fields, .. } => fields.as_slice(),
                _ => &[],
            };
            let mut visit = Visit::new(writer, into);
            let is_image = |name: &str| matches!(name, "before" | "after");
            fields.iter().filter(|f| is_image(&f.name)).try_for_each(|f| visit.below(f.of))
        })?;
        let op = parts.find("op").ok_or_else(|| strange(parts.names()));
        Ok(Made::Event(Box::new(Event { parts, op, after, before, was, source, meanings })))
    }
}

impl Compiler {
    /// The field `source`, if something of it is wanted.
    fn source(
        &self,
        writer: &Schema,
        parts: &Parts,
        naming: Naming<'_>,
        malformed: impl Fn(String) -> Refused,
    ) -> Result<Option<Source>, Refused> {
        let columns = &self.0;
        if columns.source.is_empty() && columns.options.table == Table::Pipeline {
            return Ok(None);
        }
        let Some(field) = parts.find("source") else { return Ok(None) };
        let Some(below) = parts.below(writer, field).map_err(malformed)? else { return Ok(None) };
        let mut wanted = Vec::new();
        for (place, (name, column)) in columns.options.source.iter().enumerate() {
            let Some(field) = below.find(name) else { continue };
            let naming = Naming { single: column, ..naming };
            wanted.push((field, place, below.plan(writer, field, naming)?));
        }
        Ok(Some(Source { field, parts: below, wanted, columns: Arc::clone(columns) }))
    }
}

/// The parts of an event, by where their bytes are.
struct SplitParts<'a> {
    event: &'a Event,
    body: &'a [u8],
    spans: &'a [Range<usize>],
    source_spans: &'a [Range<usize>],
    paths: &'a mut Paths,
}

impl<'a> SplitParts<'a> {
    fn bytes(&self, field: usize) -> &'a [u8] {
        &self.body[self.spans[field].clone()]
    }

    fn image(&self, part: Part) -> Option<&'a Image> {
        match part {
            Part::After => self.event.after.as_ref(),
            Part::Before => self.event.before.as_ref(),
        }
    }
}

impl EventParts for SplitParts<'_> {
    fn op(&self) -> Result<&str, Strange> {
        let field = self.event.op?;
        self.event.parts.text(field, self.bytes(field)).ok_or(None)
    }

    fn has(&self, part: Part) -> Result<bool, Refused> {
        let there = |image: &Image| !self.event.parts.is_null(image.field, self.bytes(image.field));
        Ok(self.image(part).is_some_and(there))
    }

    fn row(&mut self, part: Part, rows: &mut RowBatch) -> Result<(), Refused> {
        let Some(image) = self.image(part) else { return Ok(()) };
        image.plan.read(self.bytes(image.field), self.paths, rows)
    }

    fn before(&mut self, rows: &mut RowBatch) -> Result<(), Refused> {
        match (&self.event.was, &self.event.before) {
            (Some(plan), Some(image)) => plan.read(self.bytes(image.field), self.paths, rows),
            _ => Ok(()),
        }
    }

    fn source(&mut self, rows: &mut RowBatch) -> Result<(), Refused> {
        let Some(source) = &self.event.source else { return Ok(()) };
        let bytes = self.bytes(source.field);
        for (field, place, plan) in &source.wanted {
            let start = rows.cells.len();
            plan.read(&bytes[self.source_spans[*field].clone()], self.paths, rows)?;
            let column = &source.columns.source[*place];
            rows.cells[start..].iter_mut().for_each(|cell| column.mean(cell));
        }
        Ok(())
    }

    fn source_text(&self, field: &str) -> Option<&str> {
        let source = self.event.source.as_ref()?;
        let place = source.parts.find(field)?;
        let bytes = &self.bytes(source.field)[self.source_spans[place].clone()];
        source.parts.text(place, bytes)
    }

    fn meanings(&self) -> &Meanings {
        &self.event.meanings
    }
}

/// A row that was unwrapped.
struct RowParts<'a> {
    plan: &'a Plan,
    meanings: &'a Meanings,
    body: &'a [u8],
    paths: &'a mut Paths,
}

impl EventParts for RowParts<'_> {
    fn op(&self) -> Result<&str, Strange> {
        Err(None)
    }

    fn has(&self, part: Part) -> Result<bool, Refused> {
        Ok(part == Part::After)
    }

    fn row(&mut self, _: Part, rows: &mut RowBatch) -> Result<(), Refused> {
        self.plan.read(self.body, self.paths, rows)
    }

    fn before(&mut self, _: &mut RowBatch) -> Result<(), Refused> {
        Ok(())
    }

    fn source(&mut self, _: &mut RowBatch) -> Result<(), Refused> {
        Ok(())
    }

    fn source_text(&self, _: &str) -> Option<&str> {
        None
    }

    fn meanings(&self) -> &Meanings {
        self.meanings
    }
}

/// A walk over a schema for what the columns of a row mean.
struct Visit<'a, 'b, 'c> {
    schema: &'a Schema,
    into: &'b mut Reading<'c>,
    path: String,
    left: usize,
}

impl<'a, 'b, 'c> Visit<'a, 'b, 'c> {
    fn new(schema: &'a Schema, into: &'b mut Reading<'c>) -> Visit<'a, 'b, 'c> {
        Visit { schema, into, path: String::new(), left: VISITS_MAX }
    }

    /// The columns of the row that is of this type.
    fn below(&mut self, row: usize) -> Result<(), Refused> {
        self.path.clear();
        self.visit(row, 0, false)
    }

    fn visit(&mut self, id: usize, depth: usize, is_geometry: bool) -> Result<(), Refused> {
        if depth > DEPTH_MAX || self.left == 0 {
            return Ok(());
        }
        self.left -= 1;
        let schema = self.schema;
        let of = &schema.types[id];
        let connect = of.connect.as_deref();
        let name = connect.map_or("", |connect| connect.name.as_str());
        let parameter = |key: &str| -> Option<u32> {
            let value = connect?.parameters.get(key)?;
            value.as_str().and_then(|text| text.parse().ok())
        };
        let scale = parameter("scale").map(|scale| u8::try_from(scale).unwrap_or(u8::MAX));
        let named = Named { name, scale, length: parameter("length").unwrap_or(0) };
        match &of.form {
            Form::Union(arms) => {
                for arm in arms {
                    self.visit(*arm, depth + 1, is_geometry)?;
                }
            }
            Form::Record { .. } if Meaning::is_variable(name) => {
                self.into.variable(&self.path)?;
            }
            Form::Record { fields, .. } => {
                let is_geometry = Meaning::is_geometry(name);
                for field in fields {
                    let outer = self.path.len();
                    if outer > 0 {
                        self.path.push_str(self.into.separator());
                    }
                    self.path.push_str(&field.name);
                    self.visit(field.of, depth + 1, is_geometry)?;
                    self.path.truncate(outer);
                }
            }
            Form::Array(items) => {
                if self.is_variable(*items) {
                    self.into.column(&self.path, Meaning::Decimals(0))?;
                }
            }
            Form::Bytes if is_geometry => self.into.column(&self.path, Meaning::Hex)?,
            Form::Map(_) => {}
            _ => {
                if let Some(meaning) = Meaning::named(named) {
                    self.into.column(&self.path, meaning)?;
                }
            }
        }
        Ok(())
    }

    /// Whether the items of an array are decimals of two parts, null or not.
    fn is_variable(&self, items: usize) -> bool {
        let is = |id: usize| {
            let connect = self.schema.types[id].connect.as_deref();
            connect.is_some_and(|connect| Meaning::is_variable(&connect.name))
        };
        match &self.schema.types[items].form {
            Form::Union(arms) => arms.iter().any(|arm| is(*arm)),
            _ => is(items),
        }
    }
}
