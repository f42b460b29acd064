//! A record's fields, each by itself: where its bytes are, and a plan for it alone. For formats
//! that look into a record before they know which of its fields become a row.

use std::ops::Range;

use super::input::{Bad, Input};
use super::plan::Plan;
use super::resolve::{Binary, Leaf, Node, Resolved, Step, resolve};
use super::schema::{Schema, Wrong};
use super::walk::{At, Walk};
use crate::batch::RowBatch;
use crate::format::Refused;
use crate::format::flat::{Naming, Paths, Place};
use crate::reject::Reason;

/// The fields of a record, as its writer has them.
#[derive(Debug)]
pub struct Parts {
    /// A plan without steps: it only knows what there is to be stepped over.
    whole: Plan,
    fields: Vec<Part>,
    /// The branch of the union that the record is in, if it is in one.
    branch: Option<usize>,
}

/// One field.
#[derive(Debug)]
struct Part {
    name: Box<str>,
    node: usize,
}

impl Parts {
    /// The fields of the record that values of a schema are; `None` if they are none.
    pub fn of(schema: &Schema) -> Result<Option<Parts>, Wrong> {
        let resolved = resolve(schema, None)?;
        let root = resolved.root;
        Ok(Parts::at(resolved, root))
    }

    /// The fields of the record that is a field, or is there where it is not null.
    pub fn below(&self, schema: &Schema, field: usize) -> Result<Option<Parts>, Wrong> {
        Ok(Parts::at(resolve(schema, None)?, self.fields[field].node))
    }

    /// A plan for whole values.
    pub fn whole(schema: &Schema, naming: Naming<'_>) -> Result<Plan, Refused> {
        let resolved = resolve(schema, None);
        Plan::compile(resolved.map_err(|why| (Reason::Malformed, why))?, naming)
    }

    /// The names of all.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(|part| &*part.name)
    }

    fn at(resolved: Resolved, node: usize) -> Option<Parts> {
        let (node, branch) = match &resolved.nodes[node] {
            Node::Union(arms) => {
                let is_record = |arm: &usize| matches!(resolved.nodes[*arm], Node::Record(_));
                let branch = arms.iter().position(is_record)?;
                (arms[branch], Some(branch))
            }
            _ => (node, None),
        };
        let Node::Record(steps) = &resolved.nodes[node] else { return None };
        let fields = steps.iter().filter_map(|step| match step {
            Step::Read { name, node } => Some(Part { name: name.clone(), node: *node }),
            // There are none where a schema is read as itself.
            Step::Skip(_) | Step::Default { .. } => None,
        });
        let fields = fields.collect();
        let whole = Plan { ops: Box::default(), resolved, distinct: true };
        Some(Parts { whole, fields, branch })
    }

    /// The place of a field among them.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.fields.iter().position(|part| *part.name == *name)
    }

    /// A plan for the values of one field, read as if there were nothing around them.
    pub fn plan(&self, schema: &Schema, field: usize, naming: Naming<'_>) -> Result<Plan, Refused> {
        let resolved = resolve(schema, None);
        let mut resolved = resolved.map_err(|why| (Reason::Malformed, why))?;
        resolved.root = self.fields[field].node;
        Plan::compile(resolved, naming)
    }

    /// Where the bytes of each field of a value are.
    pub fn split(
        &self,
        value: &[u8],
        spans: &mut Vec<Range<usize>>,
        paths: &mut Paths,
        rows: &mut RowBatch,
    ) -> Result<(), Refused> {
        spans.clear();
        let (start, arena_max) = (rows.cells.len(), rows.arena.len());
        let input = Input::new(value);
        let mut walk = Walk { plan: &self.whole, input, start, arena_max, paths, rows };
        let split = self.walk(&mut walk, value.len(), spans);
        split.map_err(|at| at.refused(&paths.names))
    }

    fn walk(
        &self,
        walk: &mut Walk<'_, '_>,
        len: usize,
        spans: &mut Vec<Range<usize>>,
    ) -> Result<(), At> {
        if let Some(branch) = self.branch {
            let found = walk.input.index(Bad::Branch)?;
            if found != branch {
                return Err(Bad::Branch(found as i64).into());
            }
        }
        for part in &self.fields {
            let from = len - walk.input.left();
            let skipped = walk.skip(part.node, 0);
            skipped.map_err(|bad| At { bad, place: Place::Path(part.name.clone()) })?;
            spans.push(from..len - walk.input.left());
        }
        match walk.input.left() {
            0 => Ok(()),
            left => Err(Bad::Left(left).into()),
        }
    }

    /// Whether the bytes of a field are those of a null.
    pub fn is_null(&self, field: usize, bytes: &[u8]) -> bool {
        let nodes = &self.whole.resolved.nodes;
        match &nodes[self.fields[field].node] {
            Node::Leaf(Leaf::Null) => true,
            Node::Union(arms) => {
                let branch = Input::new(bytes).index(Bad::Branch).ok();
                let arm = branch.and_then(|branch| arms.get(branch));
                arm.is_some_and(|arm| matches!(nodes[*arm], Node::Leaf(Leaf::Null)))
            }
            _ => false,
        }
    }

    /// The text that a field's bytes are, if they are one.
    pub fn text<'v>(&self, field: usize, bytes: &'v [u8]) -> Option<&'v str> {
        let nodes = &self.whole.resolved.nodes;
        let mut input = Input::new(bytes);
        let mut node = self.fields[field].node;
        if let Node::Union(arms) = &nodes[node] {
            node = *arms.get(input.index(Bad::Branch).ok()?)?;
        }
        match &nodes[node] {
            Node::Leaf(Leaf::Bytes(Binary::Text)) => input.text().ok(),
            _ => None,
        }
    }
}
