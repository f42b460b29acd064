//! Maps become columns as records do, but under names that only the data knows.

use super::input::Bad;
use super::plan::dims_of;
use super::resolve::{Leaf, Node, Step};
use super::walk::{At, DEPTH_MAX, Walk};
use crate::format::flat::Place;

impl Walk<'_, '_> {
    /// The entries of a map, whose path ends where their keys begin.
    pub(super) fn map(&mut self, path: &str, value: usize) -> Result<(), At> {
        self.paths.begin(path);
        let done = self.entries(value, 0);
        done.map_err(|at| match at.place {
            // Where it was when it went wrong.
            Place::Value => At { place: self.paths.place(), ..at },
            _ => at,
        })
    }

    fn entries(&mut self, value: usize, depth: usize) -> Result<(), At> {
        loop {
            let count = self.input.block()?;
            if count == 0 {
                return Ok(());
            }
            for _ in 0..count {
                let outer = self.paths.path.len();
                let key = self.input.text()?;
                self.paths.append(key).map_err(Bad::from)?;
                self.value(value, depth)?;
                self.paths.path.truncate(outer);
            }
        }
    }

    /// A value at the path.
    fn value(&mut self, node: usize, depth: usize) -> Result<(), At> {
        if depth > DEPTH_MAX {
            return Err(Bad::TooDeep(DEPTH_MAX).into());
        }
        let plan = self.plan;
        let nodes = &plan.resolved.nodes;
        match &nodes[node] {
            Node::Leaf(leaf) => {
                let column = self.paths.column().map_err(Bad::from)?;
                let cell = self.leaf(column, *leaf)?;
                self.push(cell)
            }
            Node::Array(_) => {
                let column = self.paths.column().map_err(Bad::from)?;
                let cell = match dims_of(nodes, node) {
                    Some(dims) => self.numbers_or_text(column, node, dims)?,
                    None => self.text(column, node)?,
                };
                self.push(cell)
            }
            Node::Record(steps) => {
                for step in steps {
                    let outer = self.paths.path.len();
                    match step {
                        Step::Skip(node) => self.skip(*node, depth + 1)?,
                        Step::Read { name, node } => {
                            self.paths.enter(name).map_err(Bad::from)?;
                            self.value(*node, depth + 1)?;
                        }
                        Step::Default { name, node, bytes } => {
                            self.paths.enter(name).map_err(Bad::from)?;
                            self.with_default(bytes, |this| this.value(*node, depth + 1))?;
                        }
                    }
                    self.paths.path.truncate(outer);
                }
                Ok(())
            }
            Node::Map(value) => {
                let outer = self.paths.path.len();
                self.paths.enter("").map_err(Bad::from)?;
                self.entries(*value, depth + 1)?;
                self.paths.path.truncate(outer);
                Ok(())
            }
            Node::Union(arms) => {
                let branch = self.input.index(Bad::Branch)?;
                let arm = *arms.get(branch).ok_or(Bad::Branch(branch as i64))?;
                let has_parts = |arm: &usize| matches!(nodes[*arm], Node::Record(_) | Node::Map(_));
                // The columns of what is not there are not known, and this one there is not.
                if matches!(nodes[arm], Node::Leaf(Leaf::Null)) && arms.iter().any(has_parts) {
                    return Ok(());
                }
                self.value(arm, depth + 1)
            }
            Node::Unlike(why) => Err(Bad::Unlike(why.clone()).into()),
        }
    }
}
