//! Events in JSON, with a schema in each or without.

use std::sync::Arc;

use simd_json::{Node, StaticNode};

use super::connect;
use super::envelope::{Known, Opened};
use super::event::{Columns, Done, Events, Part, Parts, SourceColumn, Strange, strange};
use super::meaning::Meanings;
use crate::batch::RowBatch;
use crate::format::Refused;
use crate::format::json::{Flattener, Parser, after, cell};
use crate::reject::Reason;

/// What one lane needs to read them.
pub struct Json {
    columns: Arc<Columns>,
    parser: Parser,
    row: Flattener,
    before: Option<Flattener>,
    known: Known<Meanings>,
    /// Of events without a schema.
    declared: Result<Meanings, Refused>,
}

impl Json {
    /// Nothing is known of schemas yet.
    pub fn new(events: &Events) -> Json {
        let columns = Arc::clone(&events.columns);
        let Columns { options, names, .. } = &*columns;
        let flattener =
            |prefix: &str| Flattener::new(&options.separator, prefix, Arc::clone(names));
        Json {
            parser: Parser::default(),
            row: flattener(""),
            before: options.before.as_deref().map(flattener),
            known: Known::default(),
            declared: columns.meanings(|_| Ok(())),
            columns,
        }
    }

    /// Appends the cells of an event.
    pub fn read(
        &mut self,
        value: &[u8],
        events: &mut Events,
        rows: &mut RowBatch,
    ) -> Result<Done, Refused> {
        let Json { columns, parser, row, before, known, declared } = self;
        let (unwrapped, depth_max) = (columns.options.unwrapped, columns.options.depth_max);
        let make =
            |schema: &[u8]| columns.meanings(|reading| connect::read(schema, unwrapped, reading));
        let (meanings, payload) = match known.open(value, make) {
            Some(opened) => {
                let Opened { made, payload } = opened?;
                (made, payload)
            }
            None => (declared.as_ref().map_err(Refused::clone)?, value),
        };
        let mut done = Done::Skipped;
        parser.parse(payload, depth_max, |tape| {
            let Some(Node::Object { .. }) = tape.first() else {
                let detail = "the event is not a JSON object".to_owned();
                return Err((Reason::Malformed, detail));
            };
            // Of what was unwrapped all is the row, whatever its columns are called.
            let places = if unwrapped { Places::default() } else { Places::of(tape) };
            let (before, source) = (before.as_mut(), columns.source.as_slice());
            let mut parts = TapeParts { tape, places, row, before, source, meanings };
            done = events.write(&mut parts, rows)?;
            Ok(())
        })?;
        Ok(done)
    }
}

/// Where the parts of an event are on its tape.
#[derive(Clone, Copy, Default)]
struct Places {
    op: Option<usize>,
    after: Option<usize>,
    before: Option<usize>,
    source: Option<usize>,
}

impl Places {
    fn of(tape: &[Node<'_>]) -> Places {
        let mut places = Places::default();
        each(tape, 0, |name, node| match name {
            "op" => places.op = Some(node),
            "after" => places.after = Some(node),
            "before" => places.before = Some(node),
            "source" => places.source = Some(node),
            _ => {}
        });
        places
    }
}

/// Visits the fields of the object at `node`: names, and where their values are.
fn each<'t>(tape: &'t [Node<'_>], node: usize, mut visit: impl FnMut(&'t str, usize)) {
    let Node::Object { len, .. } = tape[node] else { return };
    let mut at = node + 1;
    for _ in 0..len {
        if let Node::String(name) = &tape[at] {
            visit(name, at + 1);
        }
        at = after(tape, at + 1);
    }
}

struct TapeParts<'a, 'i> {
    tape: &'a [Node<'i>],
    places: Places,
    row: &'a mut Flattener,
    before: Option<&'a mut Flattener>,
    source: &'a [SourceColumn],
    meanings: &'a Meanings,
}

impl TapeParts<'_, '_> {
    /// Where a part is, if it is there and not null; what it is instead of an object is told.
    fn object(&self, part: Part) -> Result<Option<usize>, Refused> {
        let (name, place) = match part {
            Part::After => ("after", self.places.after),
            Part::Before => ("before", self.places.before),
        };
        let Some(node) = place else { return Ok(None) };
        match &self.tape[node] {
            Node::Object { .. } => Ok(Some(node)),
            Node::Static(StaticNode::Null) => Ok(None),
            Node::String(_) => {
                let detail = format!(
                    "`{name}` is text, as the connector of MongoDB writes it, and must be an \
                     object: unwrap it by ExtractNewDocumentState, and say unwrapped = true"
                );
                Err((Reason::Malformed, detail))
            }
            _ => Err((Reason::Malformed, format!("`{name}` is no object"))),
        }
    }
}

impl Parts for TapeParts<'_, '_> {
    fn op(&self) -> Result<&str, Strange> {
        match self.places.op.map(|node| &self.tape[node]) {
            Some(Node::String(op)) => Ok(op),
            _ => {
                let mut names = Vec::new();
                each(self.tape, 0, |name, _| names.push(name));
                Err(strange(names.into_iter()))
            }
        }
    }

    fn has(&self, part: Part) -> Result<bool, Refused> {
        self.object(part).map(|node| node.is_some())
    }

    fn row(&mut self, part: Part, rows: &mut RowBatch) -> Result<(), Refused> {
        let node = self.object(part)?.unwrap_or(0);
        self.row.object(self.tape, node, rows)
    }

    fn before(&mut self, rows: &mut RowBatch) -> Result<(), Refused> {
        match (self.object(Part::Before)?, &mut self.before) {
            (Some(node), Some(flattener)) => flattener.object(self.tape, node, rows),
            _ => Ok(()),
        }
    }

    fn source(&mut self, rows: &mut RowBatch) -> Result<(), Refused> {
        let Some(source) = self.places.source else { return Ok(()) };
        each(self.tape, source, |name, node| {
            if let Some(wanted) = self.source.iter().find(|wanted| *wanted.field == *name) {
                let mut cell = cell(self.tape, node, wanted.column, rows);
                wanted.mean(&mut cell);
                rows.cells.push(cell);
            }
        });
        Ok(())
    }

    fn source_text(&self, field: &str) -> Option<&str> {
        let mut found = None;
        each(self.tape, self.places.source?, |name, node| {
            if name == field
                && let Node::String(text) = &self.tape[node]
            {
                found = Some(*text);
            }
        });
        found
    }

    fn meanings(&self) -> &Meanings {
        self.meanings
    }
}
