//! A resolution, compiled for the columns of one pipeline: records within records are one list of
//! steps, each of which knows its column. Walked for each value (`walk`), made once for each
//! schema.

use super::resolve::{Leaf, Node, Resolved, Step};
use crate::format::Refused;
use crate::format::flat::{Namer, Naming};
use crate::reject::Reason;

/// Steps of one plan: a schema whose types name each other could need any number.
const OPS_MAX: usize = 20_000;
/// Records within one another, named ones followed.
const DEPTH_MAX: usize = 64;
/// Dimensions of arrays of numbers.
pub const DIMS_MAX: usize = 3;

/// How values of one schema become cells.
#[derive(Debug)]
pub struct Plan {
    pub(super) ops: Box<[Op]>,
    pub(super) resolved: Resolved,
    /// No column can come twice in a row.
    pub(super) distinct: bool,
}

/// A step of a plan.
#[derive(Debug)]
pub(super) enum Op {
    Leaf {
        column: u16,
        leaf: Leaf,
    },
    /// By the writer's branch.
    Union(Box<[Box<[Op]>]>),
    /// Nothing is read, and these are null.
    Nulls(Box<[u16]>),
    /// An array of numbers.
    Numbers {
        column: u16,
        node: usize,
        dims: usize,
    },
    /// What becomes JSON.
    Text {
        column: u16,
        node: usize,
    },
    /// A map, whose keys are names of columns below this path.
    Map {
        path: Box<str>,
        node: usize,
    },
    Skip(usize),
    Default {
        bytes: Box<[u8]>,
        ops: Box<[Op]>,
    },
    Unlike {
        path: Box<str>,
        why: Box<str>,
    },
}

impl Plan {
    /// Compiles a resolution.
    pub fn compile(resolved: Resolved, naming: Naming<'_>) -> Result<Plan, Refused> {
        let mut compiler = Compiler {
            resolved: &resolved,
            namer: Namer::new(naming),
            open: Vec::new(),
            ops_left: OPS_MAX,
            collides: false,
        };
        let (mut ops, mut columns) = (Vec::new(), Vec::new());
        compiler.node(resolved.root, &mut ops, &mut columns)?;
        let collides = compiler.collides;
        let count = columns.len();
        columns.sort_unstable();
        columns.dedup();
        let distinct = columns.len() == count && !collides;
        Ok(Plan { ops: ops.into(), resolved, distinct })
    }
}

struct Compiler<'a> {
    resolved: &'a Resolved,
    namer: Namer<'a>,
    /// Records around the one at hand: one that holds itself is compiled no further.
    open: Vec<usize>,
    ops_left: usize,
    /// A column may come twice, as far as is known here.
    collides: bool,
}

impl Compiler<'_> {
    /// Appends the steps of a node, and the columns that they give, one entry for each time.
    fn node(
        &mut self,
        id: usize,
        ops: &mut Vec<Op>,
        columns: &mut Vec<u16>,
    ) -> Result<(), Refused> {
        let resolved = self.resolved;
        self.ops_left = self.ops_left.checked_sub(1).ok_or_else(|| {
            let message = "the schema, its types followed, is too large".to_owned();
            (Reason::TooManyColumns, message)
        })?;
        match &resolved.nodes[id] {
            Node::Leaf(leaf) => {
                let column = self.column(columns)?;
                ops.push(Op::Leaf { column, leaf: *leaf });
            }
            Node::Record(steps) if !self.open.contains(&id) => {
                if self.open.len() >= DEPTH_MAX {
                    let message = format!("records nested deeper than {DEPTH_MAX}");
                    return Err((Reason::TooDeep, message));
                }
                self.open.push(id);
                for step in steps {
                    self.step(step, ops, columns)?;
                }
                self.open.pop();
            }
            Node::Record(_) => {
                let column = self.column(columns)?;
                ops.push(Op::Text { column, node: id });
            }
            Node::Array(_) => {
                let column = self.column(columns)?;
                ops.push(match dims_of(&resolved.nodes, id) {
                    Some(dims) => Op::Numbers { column, node: id, dims },
                    None => Op::Text { column, node: id },
                });
            }
            Node::Map(value) => {
                // Its keys may be anything.
                self.collides = true;
                ops.push(Op::Map { path: self.namer.path_to_names(), node: *value });
            }
            Node::Union(arms) => self.union(arms, ops, columns)?,
            Node::Unlike(why) => {
                ops.push(Op::Unlike { path: self.namer.path().into(), why: why.clone() });
            }
        }
        Ok(())
    }

    fn step(
        &mut self,
        step: &Step,
        ops: &mut Vec<Op>,
        columns: &mut Vec<u16>,
    ) -> Result<(), Refused> {
        match step {
            Step::Skip(node) => ops.push(Op::Skip(*node)),
            Step::Read { name, node } => {
                self.within(name, |this| this.node(*node, ops, columns))?;
            }
            Step::Default { name, node, bytes } => {
                let mut own = Vec::new();
                self.within(name, |this| this.node(*node, &mut own, columns))?;
                ops.push(Op::Default { bytes: bytes.clone(), ops: own.into() });
            }
        }
        Ok(())
    }

    /// Of a union one branch is there. Where that is null, all columns of the others are.
    fn union(
        &mut self,
        arms: &[usize],
        ops: &mut Vec<Op>,
        columns: &mut Vec<u16>,
    ) -> Result<(), Refused> {
        let resolved = self.resolved;
        let is_null = |arm: usize| matches!(resolved.nodes[arm], Node::Leaf(Leaf::Null));
        let (mut lists, mut all) = (Vec::with_capacity(arms.len()), Vec::new());
        for arm in arms {
            let (mut own, mut theirs) = (Vec::new(), Vec::new());
            if !is_null(*arm) {
                self.node(*arm, &mut own, &mut theirs)?;
            }
            // Twice in one branch is twice in a row.
            theirs.sort_unstable();
            let count = theirs.len();
            theirs.dedup();
            self.collides |= theirs.len() < count;
            all.extend(theirs);
            lists.push(own);
        }
        all.sort_unstable();
        all.dedup();
        if arms.iter().all(|arm| is_null(*arm)) {
            self.column(&mut all)?;
        }
        for (_, list) in arms.iter().zip(&mut lists).filter(|(arm, _)| is_null(**arm)) {
            list.push(Op::Nulls(all.as_slice().into()));
        }
        columns.extend(all);
        ops.push(Op::Union(lists.into_iter().map(Vec::into_boxed_slice).collect()));
        Ok(())
    }

    /// The same, below a name.
    fn within(
        &mut self,
        name: &str,
        then: impl FnOnce(&mut Self) -> Result<(), Refused>,
    ) -> Result<(), Refused> {
        let outer = self.namer.enter(name)?;
        then(self)?;
        self.namer.leave(outer);
        Ok(())
    }

    /// The number of the column at the path.
    fn column(&mut self, columns: &mut Vec<u16>) -> Result<u16, Refused> {
        let column = self.namer.column()?;
        columns.push(column);
        Ok(column)
    }
}

/// How many dimensions an array of numbers has, if it is one.
pub(super) fn dims_of(nodes: &[Node], array: usize) -> Option<usize> {
    let (mut dims, mut at) = (0, array);
    while let Node::Array(item) = nodes[at] {
        dims += 1;
        at = item;
        if dims > DIMS_MAX {
            return None;
        }
    }
    let is_number = match &nodes[at] {
        Node::Leaf(leaf) => leaf.is_number(),
        // A number that may be null.
        Node::Union(arms) => {
            let leaf = |arm: &usize| match nodes[*arm] {
                Node::Leaf(leaf) => Some(leaf),
                _ => None,
            };
            let fits = |arm: &usize| leaf(arm).is_some_and(|l| l.is_number() || l == Leaf::Null);
            arms.iter().all(fits) && arms.iter().filter_map(leaf).any(Leaf::is_number)
        }
        _ => false,
    };
    is_number.then_some(dims)
}
