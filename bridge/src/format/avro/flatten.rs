//! Maps become columns as records do, but under names that only the data knows.

use std::collections::HashMap;
use std::sync::Arc;

use super::input::Bad;
use super::plan::dims_of;
use super::resolve::{Leaf, Node, Step};
use super::walk::{At, DEPTH_MAX, Place, Walk};
use crate::names::Names;

/// Bytes of a column's name: more than any target has.
const PATH_BYTES_MAX: usize = 1_024;

/// The names of columns that maps gave, and their numbers.
pub struct Paths {
    pub(super) names: Arc<Names>,
    separator: String,
    ids: HashMap<Box<str>, u16, foldhash::fast::FixedState>,
    path: String,
}

impl Paths {
    /// None yet.
    pub fn new(names: Arc<Names>, separator: &str) -> Paths {
        let separator = separator.to_owned();
        Paths { names, separator, ids: HashMap::default(), path: String::new() }
    }

    /// The number of the column at the path.
    fn column(&mut self) -> Result<u16, Bad> {
        if let Some(id) = self.ids.get(self.path.as_str()) {
            return Ok(*id);
        }
        let id = self.names.columns.intern(&self.path).ok_or(Bad::TooManyNames)?;
        self.ids.insert(self.path.as_str().into(), id);
        Ok(id)
    }

    fn enter(&mut self, name: &str, separated: bool) -> Result<(), Bad> {
        if separated {
            self.path.push_str(&self.separator);
        }
        self.path.push_str(name);
        if self.path.len() > PATH_BYTES_MAX {
            return Err(Bad::LongName(PATH_BYTES_MAX));
        }
        Ok(())
    }
}

impl Walk<'_, '_> {
    /// The entries of a map, whose path ends where their keys begin.
    pub(super) fn map(&mut self, path: &str, value: usize) -> Result<(), At> {
        self.paths.path.clear();
        self.paths.path.push_str(path);
        let done = self.entries(value, 0);
        done.map_err(|at| match at.place {
            Place::Value => {
                // Where it was when it went wrong.
                let path = self.paths.path.chars().take(100).collect::<String>();
                At { place: Place::Path(path.into()), ..at }
            }
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
                self.paths.enter(key, false)?;
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
                let column = self.paths.column()?;
                let cell = self.leaf(column, *leaf)?;
                self.push(cell)
            }
            Node::Array(_) => {
                let column = self.paths.column()?;
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
                            self.paths.enter(name, true)?;
                            self.value(*node, depth + 1)?;
                        }
                        Step::Default { name, node, bytes } => {
                            self.paths.enter(name, true)?;
                            self.with_default(bytes, |this| this.value(*node, depth + 1))?;
                        }
                    }
                    self.paths.path.truncate(outer);
                }
                Ok(())
            }
            Node::Map(value) => {
                let outer = self.paths.path.len();
                self.paths.enter("", true)?;
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
