//! One value, walked by its plan: from the bytes into cells, once, from the front. Nothing is
//! allocated but room for what becomes text, and of that no more than a multiple of the value.

use std::sync::Arc;

use bridge_abi::{Cell, DECIMAL_BYTES_MAX, Kind, Unit};

use super::input::{Bad, Input};
use super::plan::{Op, Plan};
use super::resolve::{Binary, Leaf, Node, Step, Whole};
use super::words;
use crate::batch::RowBatch;
use crate::format::Refused;
use crate::format::flat::{Paths, Place, keep_last};
use crate::format::walk::CELLS_MAX;
use crate::names::Names;
use crate::reject::Reason;

/// Types within one another in one value; a list that is a record in a record is as deep as long.
pub(super) const DEPTH_MAX: usize = 100;
/// What a value becomes is at most so many times its size, and some for what is small.
const ARENA_FACTOR_MAX: usize = 64;
/// For what is small.
const ARENA_BYTES_MIN: usize = 64 << 10;
/// And never more than this for one value, but for the value itself.
const ARENA_BYTES_MAX: usize = 16 << 20;

/// What is wrong, and where.
#[derive(Debug)]
pub(super) struct At {
    pub bad: Bad,
    pub place: Place,
}

/// What stands in blocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Items {
    /// Of an array.
    Plain,
    /// Of a map.
    Keyed,
}

impl From<Bad> for At {
    fn from(bad: Bad) -> At {
        At { bad, place: Place::Value }
    }
}

impl At {
    /// At a column, unless a place further in is known.
    #[cold]
    fn column(self, column: u16) -> At {
        At { place: self.place.or_column(column), ..self }
    }

    pub(super) fn refused(self, names: &Names) -> Refused {
        let reason = match self.bad {
            Bad::Utf8 => Reason::InvalidUtf8,
            Bad::TooDeep(_) => Reason::TooDeep,
            Bad::TooManyFields(_) | Bad::Unnamed(_) => Reason::TooManyColumns,
            Bad::TooMuchText => Reason::TooLarge,
            _ => Reason::Malformed,
        };
        (reason, self.place.told(names, &self.bad))
    }
}

impl Plan {
    /// Appends the cells of a value; nothing may be left of it.
    #[inline]
    pub fn read(
        &self,
        value: &[u8],
        paths: &mut Paths,
        rows: &mut RowBatch,
    ) -> Result<(), Refused> {
        let start = rows.cells.len();
        let most = (value.len() * ARENA_FACTOR_MAX).clamp(ARENA_BYTES_MIN, ARENA_BYTES_MAX);
        let arena_max = rows.arena.len() + most.max(value.len());
        let input = Input::new(value);
        let mut walk = Walk { plan: self, input, start, arena_max, paths, rows };
        let walked = walk.run(&self.ops).and_then(|()| match walk.input.left() {
            0 => Ok(()),
            left => Err(Bad::Left(left).into()),
        });
        if let Err(at) = walked {
            let names: &Arc<Names> = &paths.names;
            return Err(at.refused(names));
        }
        if !self.distinct {
            keep_last(&mut rows.cells, start);
        }
        Ok(())
    }
}

/// A value half-way.
pub(super) struct Walk<'a, 'b> {
    pub plan: &'a Plan,
    pub input: Input<'a>,
    /// The row's first cell.
    pub start: usize,
    /// Where the arena may end.
    pub arena_max: usize,
    pub paths: &'b mut Paths,
    pub rows: &'b mut RowBatch,
}

impl<'a> Walk<'a, '_> {
    fn run(&mut self, ops: &'a [Op]) -> Result<(), At> {
        for op in ops {
            match op {
                Op::Leaf { column, leaf } => {
                    let cell = self.leaf(*column, *leaf);
                    let cell = cell.map_err(|bad| At::from(bad).column(*column))?;
                    self.rows.cells.push(cell);
                }
                Op::Union(arms) => {
                    let branch = self.input.index(Bad::Branch)?;
                    let arm = arms.get(branch).ok_or(Bad::Branch(branch as i64))?;
                    self.run(arm)?;
                }
                Op::Nulls(columns) => {
                    let null = |column: &u16| Cell { column: *column, ..Cell::default() };
                    self.rows.cells.extend(columns.iter().map(null));
                }
                Op::Numbers { column, node, dims } => {
                    let cell = self.numbers_or_text(*column, *node, *dims);
                    let cell = cell.map_err(|at| at.column(*column))?;
                    self.rows.cells.push(cell);
                }
                Op::Text { column, node } => {
                    let cell = self.text(*column, *node).map_err(|at| at.column(*column))?;
                    self.rows.cells.push(cell);
                }
                Op::Map { path, node } => self.map(path, *node)?,
                Op::Skip(node) => self.skip(*node, 0)?,
                Op::Default { bytes, ops } => {
                    self.with_default(bytes, |this| this.run(ops))?;
                }
                Op::Unlike { path, why } => {
                    let place = Place::Path(path.clone());
                    return Err(At { bad: Bad::Unlike(why.clone()), place });
                }
            }
        }
        Ok(())
    }

    /// The same, reading a default in place of the value.
    pub(super) fn with_default(
        &mut self,
        bytes: &'a [u8],
        then: impl FnOnce(&mut Self) -> Result<(), At>,
    ) -> Result<(), At> {
        let value = std::mem::replace(&mut self.input, Input::new(bytes));
        let done = then(self);
        self.input = value;
        done
    }

    /// Adds a cell of a map: how many there will be, nobody knows before.
    pub(super) fn push(&mut self, cell: Cell) -> Result<(), At> {
        if self.rows.cells.len() - self.start >= CELLS_MAX {
            return Err(Bad::TooManyFields(CELLS_MAX).into());
        }
        self.rows.cells.push(cell);
        Ok(())
    }

    #[inline]
    pub(super) fn leaf(&mut self, column: u16, leaf: Leaf) -> Result<Cell, Bad> {
        let plain = |kind: Kind, value: u64| Cell { column, kind: kind as u8, value, ..NONE };
        Ok(match leaf {
            Leaf::Null => plain(Kind::Null, 0),
            Leaf::Boolean => plain(Kind::Bool, u64::from(self.input.boolean()?)),
            Leaf::Int(whole) => Cell { column, ..whole_cell(self.input.int()?, whole) },
            Leaf::Long(whole) => Cell { column, ..whole_cell(self.input.long()?, whole) },
            Leaf::Float => plain(Kind::F64, f64::from(self.input.float()?).to_bits()),
            Leaf::Double => plain(Kind::F64, self.input.double()?.to_bits()),
            Leaf::Bytes(binary) => {
                let bytes = self.input.bytes()?;
                self.binary(column, binary, bytes)?
            }
            Leaf::Fixed(size, binary) => {
                let bytes = self.input.take(size)?;
                self.binary(column, binary, bytes)?
            }
            Leaf::Enum(symbols) => {
                let symbol = self.symbol(symbols)?;
                self.rows.cell_bytes(column, Kind::Symbol, 0, symbol.as_bytes())
            }
        })
    }

    #[inline]
    fn binary(&mut self, column: u16, binary: Binary, bytes: &[u8]) -> Result<Cell, Bad> {
        Ok(match binary {
            Binary::Text => {
                simdutf8::basic::from_utf8(bytes).map_err(|_| Bad::Utf8)?;
                self.rows.cell_bytes(column, Kind::Text, 0, bytes)
            }
            Binary::Bytes => self.rows.cell_bytes(column, Kind::Bytes, 0, bytes),
            Binary::Decimal(scale) => {
                let digits = words::unscaled(bytes);
                if digits.len() > DECIMAL_BYTES_MAX {
                    return Err(Bad::TooWide);
                }
                self.rows.cell_bytes(column, Kind::Decimal, scale, digits)
            }
            Binary::Uuid | Binary::Duration => {
                let at = self.rows.arena.len();
                match binary {
                    Binary::Uuid => words::push_uuid(&mut self.rows.arena, bytes),
                    _ => words::push_duration(&mut self.rows.arena, bytes),
                }
                let (len, value) = ((self.rows.arena.len() - at) as u32, at as u64);
                Cell { column, kind: Kind::Text as u8, flags: 0, len, value }
            }
        })
    }

    /// The reader's symbol for what was written.
    pub(super) fn symbol(&mut self, symbols: usize) -> Result<&'a str, Bad> {
        let index = self.input.index(Bad::Symbol)?;
        let symbol = self.plan.resolved.enums[symbols].get(index);
        symbol.ok_or(Bad::Symbol(index as i64))?.as_deref().ok_or(Bad::Unknown)
    }

    /// Steps over what the reader does not have.
    pub(super) fn skip(&mut self, node: usize, depth: usize) -> Result<(), Bad> {
        if depth > DEPTH_MAX {
            return Err(Bad::TooDeep(DEPTH_MAX));
        }
        let plan = self.plan;
        match &plan.resolved.nodes[node] {
            Node::Leaf(leaf) => self.skip_leaf(*leaf)?,
            Node::Record(steps) => {
                for step in steps {
                    if let Step::Read { node, .. } | Step::Skip(node) = step {
                        self.skip(*node, depth + 1)?;
                    }
                }
            }
            Node::Array(item) => self.skip_items(*item, Items::Plain, depth)?,
            Node::Map(value) => self.skip_items(*value, Items::Keyed, depth)?,
            Node::Union(arms) => {
                let branch = self.input.index(Bad::Branch)?;
                let arm = arms.get(branch).ok_or(Bad::Branch(branch as i64))?;
                self.skip(*arm, depth + 1)?;
            }
            Node::Unlike(why) => return Err(Bad::Unlike(why.clone())),
        }
        Ok(())
    }

    fn skip_leaf(&mut self, leaf: Leaf) -> Result<(), Bad> {
        match leaf {
            Leaf::Null => Ok(()),
            Leaf::Boolean => self.input.boolean().map(drop),
            Leaf::Int(_) => self.input.int().map(drop),
            Leaf::Long(_) => self.input.long().map(drop),
            Leaf::Float => self.input.float().map(drop),
            Leaf::Double => self.input.double().map(drop),
            Leaf::Bytes(_) => self.input.bytes().map(drop),
            Leaf::Fixed(size, _) => self.input.take(size).map(drop),
            Leaf::Enum(_) => self.input.index(Bad::Symbol).map(drop),
        }
    }

    fn skip_items(&mut self, item: usize, items: Items, depth: usize) -> Result<(), Bad> {
        loop {
            let count = self.input.block()?;
            if count == 0 {
                return Ok(());
            }
            for _ in 0..count {
                let left = self.input.left();
                if items == Items::Keyed {
                    self.input.bytes()?;
                }
                self.skip(item, depth + 1)?;
                self.input.after_item(left)?;
            }
        }
    }
}

const NONE: Cell = Cell { column: 0, kind: 0, flags: 0, len: 0, value: 0 };

/// The cell of a whole number, without its column.
#[inline]
fn whole_cell(number: i64, whole: Whole) -> Cell {
    let cell = |kind: Kind, value: u64| Cell { kind: kind as u8, value, ..NONE };
    let timestamp = |unit: Unit, value: i64| {
        let flags = unit as u8;
        Cell { flags, ..cell(Kind::Timestamp, value as u64) }
    };
    match whole {
        Whole::Long => cell(Kind::I64, number as u64),
        Whole::Float => cell(Kind::F64, f64::from(number as f32).to_bits()),
        Whole::Double => cell(Kind::F64, (number as f64).to_bits()),
        // A date is an `int`: its seconds fit.
        Whole::Date => timestamp(Unit::Seconds, number * 86_400),
        Whole::Timestamp(unit) => timestamp(unit, number),
    }
}
