//! What has no column of its own: arrays of numbers as arrays of doubles, everything else as JSON.

use bridge_abi::{Cell, Kind, build};

use super::input::Bad;
use super::plan::DIMS_MAX;
use super::resolve::{Binary, Leaf, Node, Step, Whole};
use super::walk::{At, DEPTH_MAX, Items, Walk};
use super::words;
use crate::format::print::{push_base64, push_number, push_string, push_whole, separate};

/// A side that no array had yet.
const UNKNOWN: u32 = u32::MAX;

impl Walk<'_, '_> {
    /// An array of numbers; one whose sides differ is JSON.
    pub(super) fn numbers_or_text(
        &mut self,
        column: u16,
        node: usize,
        dims: usize,
    ) -> Result<Cell, At> {
        let (input, end) = (self.input, self.rows.arena.len());
        let at = build::align8(end);
        let head = build::align8(4 + 4 * dims);
        self.rows.arena.resize(at + head, 0);
        let mut shape = [UNKNOWN; DIMS_MAX];
        if !self.side(node, &mut shape[..dims])? {
            self.input = input;
            self.rows.arena.truncate(end);
            return self.text(column, node);
        }
        let arena = &mut self.rows.arena;
        arena[at..at + 4].copy_from_slice(&(dims as u32).to_le_bytes());
        for (index, side) in shape[..dims].iter().enumerate() {
            // Below an array without items no side is known.
            let side = if *side == UNKNOWN { 0 } else { *side };
            arena[at + 4 + 4 * index..][..4].copy_from_slice(&side.to_le_bytes());
        }
        let len = (arena.len() - at) as u32;
        Ok(Cell { column, kind: Kind::Array as u8, flags: 0, len, value: at as u64 })
    }

    /// Appends the numbers of one side; false where it is not as long as others.
    fn side(&mut self, node: usize, shape: &mut [u32]) -> Result<bool, Bad> {
        let Node::Array(item) = self.plan.resolved.nodes[node] else { return Ok(false) };
        let Some((own, inner)) = shape.split_first_mut() else { return Ok(false) };
        let (mut items, mut regular) = (0_u32, true);
        loop {
            let count = self.input.block()?;
            if count == 0 {
                break;
            }
            for _ in 0..count {
                if inner.is_empty() {
                    let number = self.number(item)?;
                    self.rows.arena.extend_from_slice(&number.to_le_bytes());
                } else {
                    regular &= self.side(item, inner)?;
                }
                // Each takes a byte of the value at least.
                items += 1;
            }
        }
        if *own == UNKNOWN {
            *own = items;
        }
        Ok(regular && *own == items)
    }

    /// A number of an array; a null is none.
    #[inline]
    fn number(&mut self, node: usize) -> Result<f64, Bad> {
        Ok(match &self.plan.resolved.nodes[node] {
            Node::Leaf(Leaf::Double) => self.input.double()?,
            Node::Leaf(Leaf::Float) => f64::from(self.input.float()?),
            Node::Leaf(Leaf::Int(whole)) => promoted(self.input.int()?, *whole),
            Node::Leaf(Leaf::Long(whole)) => promoted(self.input.long()?, *whole),
            Node::Union(arms) => {
                let branch = self.input.index(Bad::Branch)?;
                let arm = *arms.get(branch).ok_or(Bad::Branch(branch as i64))?;
                self.number(arm)?
            }
            _ => f64::NAN,
        })
    }

    /// The JSON of a value, as text.
    pub(super) fn text(&mut self, column: u16, node: usize) -> Result<Cell, At> {
        let at = self.rows.arena.len();
        self.json(node, 0)?;
        let len = (self.rows.arena.len() - at) as u32;
        Ok(Cell { column, kind: Kind::Text as u8, flags: 0, len, value: at as u64 })
    }

    fn json(&mut self, node: usize, depth: usize) -> Result<(), At> {
        if depth > DEPTH_MAX {
            return Err(Bad::TooDeep(DEPTH_MAX).into());
        }
        if self.rows.arena.len() > self.arena_max {
            return Err(Bad::TooMuchText.into());
        }
        let plan = self.plan;
        match &plan.resolved.nodes[node] {
            Node::Leaf(leaf) => self.json_leaf(*leaf)?,
            Node::Record(steps) => {
                let mut first = true;
                self.rows.arena.push(b'{');
                for step in steps {
                    if let Step::Read { name, .. } | Step::Default { name, .. } = step {
                        separate(&mut self.rows.arena, &mut first);
                        push_string(&mut self.rows.arena, name);
                        self.rows.arena.push(b':');
                    }
                    match step {
                        Step::Read { node, .. } => self.json(*node, depth + 1)?,
                        Step::Skip(node) => self.skip(*node, depth + 1)?,
                        Step::Default { node, bytes, .. } => {
                            self.with_default(bytes, |this| this.json(*node, depth + 1))?;
                        }
                    }
                }
                self.rows.arena.push(b'}');
            }
            Node::Array(item) => self.json_items(*item, Items::Plain, depth)?,
            Node::Map(value) => self.json_items(*value, Items::Keyed, depth)?,
            Node::Union(arms) => {
                let branch = self.input.index(Bad::Branch)?;
                let arm = *arms.get(branch).ok_or(Bad::Branch(branch as i64))?;
                self.json(arm, depth + 1)?;
            }
            Node::Unlike(why) => return Err(Bad::Unlike(why.clone()).into()),
        }
        Ok(())
    }

    /// The items of an array, or the entries of a map, which have keys.
    fn json_items(&mut self, item: usize, items: Items, depth: usize) -> Result<(), At> {
        let brackets = if items == Items::Keyed { b"{}" } else { b"[]" };
        let mut first = true;
        self.rows.arena.push(brackets[0]);
        loop {
            let count = self.input.block()?;
            if count == 0 {
                break;
            }
            for _ in 0..count {
                let left = self.input.left();
                separate(&mut self.rows.arena, &mut first);
                if items == Items::Keyed {
                    let key = self.input.text()?;
                    push_string(&mut self.rows.arena, key);
                    self.rows.arena.push(b':');
                }
                self.json(item, depth + 1)?;
                self.input.after_item(left)?;
            }
        }
        self.rows.arena.push(brackets[1]);
        Ok(())
    }

    fn json_leaf(&mut self, leaf: Leaf) -> Result<(), Bad> {
        let (bytes, binary) = match leaf {
            Leaf::Bytes(binary) => (self.input.bytes()?, binary),
            Leaf::Fixed(size, binary) => (self.input.take(size)?, binary),
            Leaf::Enum(symbols) => {
                let symbol = self.symbol(symbols)?;
                push_string(&mut self.rows.arena, symbol);
                return Ok(());
            }
            Leaf::Null => {
                self.rows.arena.extend_from_slice(b"null");
                return Ok(());
            }
            Leaf::Boolean => {
                let value = self.input.boolean()?;
                self.rows.arena.extend_from_slice(if value { b"true" } else { b"false" });
                return Ok(());
            }
            Leaf::Int(whole) => return self.json_whole(whole, true),
            Leaf::Long(whole) => return self.json_whole(whole, false),
            Leaf::Float => {
                let value = self.input.float()?;
                push_number(&mut self.rows.arena, value, value.is_finite());
                return Ok(());
            }
            Leaf::Double => {
                let value = self.input.double()?;
                push_number(&mut self.rows.arena, value, value.is_finite());
                return Ok(());
            }
        };
        let arena = &mut self.rows.arena;
        match binary {
            Binary::Text => {
                push_string(arena, simdutf8::basic::from_utf8(bytes).map_err(|_| Bad::Utf8)?);
            }
            Binary::Bytes => push_base64(arena, bytes),
            Binary::Decimal(_) if words::unscaled(bytes).len() > bridge_abi::DECIMAL_BYTES_MAX => {
                return Err(Bad::TooWide);
            }
            Binary::Decimal(scale) => words::push_decimal(arena, bytes, scale),
            Binary::Uuid | Binary::Duration => {
                arena.push(b'"');
                match binary {
                    Binary::Uuid => words::push_uuid(arena, bytes),
                    _ => words::push_duration(arena, bytes),
                }
                arena.push(b'"');
            }
        }
        Ok(())
    }

    fn json_whole(&mut self, whole: Whole, is_int: bool) -> Result<(), Bad> {
        let number = if is_int { self.input.int()? } else { self.input.long()? };
        let arena = &mut self.rows.arena;
        match whole {
            Whole::Float => push_number(arena, number as f32, true),
            Whole::Double => push_number(arena, number as f64, true),
            // Days, or the unit's: as they are written.
            Whole::Long | Whole::Date | Whole::Timestamp(_) => {
                push_whole(arena, number);
            }
        }
        Ok(())
    }
}

fn promoted(number: i64, whole: Whole) -> f64 {
    match whole {
        Whole::Float => f64::from(number as f32),
        _ => number as f64,
    }
}
