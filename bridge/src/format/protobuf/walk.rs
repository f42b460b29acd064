//! One value, walked by its plan: once from the front, fields straight into their slots; what may
//! come in pieces is noted, and read at the end (`late`). Nothing is allocated but room for what
//! becomes text, and of that no more than a multiple of the value.

use bridge_abi::{Cell, Kind};

use super::gather::{Entry, Piece};
use super::plan::{ABSENT, Act, CONSTANT, Late, Node, Op, Plan, UNKNOWN};
use super::wire::{self, Bad, GROUP_END, LENGTH, SWITCHES_MAX, array, varint};
use crate::batch::RowBatch;
use crate::format::Refused;
use crate::format::flat::{Paths, Place, keep_last};
use crate::format::json::{Flattener, Parser};
use crate::format::varint::unzigzag;
pub(super) use crate::format::walk::CELLS_MAX;
use crate::reject::Reason;

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
    /// Where it stands in the value, if that is known.
    pub byte: Option<usize>,
}

impl From<Bad> for At {
    fn from(bad: Bad) -> At {
        At { bad, place: Place::Value, byte: None }
    }
}

impl At {
    /// At a column, unless a place further in is known.
    #[cold]
    pub(super) fn column(self, column: u16) -> At {
        At { place: self.place.or_column(column), ..self }
    }

    #[cold]
    fn refused(self, paths: &Paths) -> Refused {
        let reason = match self.bad {
            Bad::Utf8 => Reason::InvalidUtf8,
            Bad::TooDeep => Reason::TooDeep,
            Bad::TooManyFields(_) | Bad::Unnamed(_) => Reason::TooManyColumns,
            Bad::TooMuchText => Reason::TooLarge,
            _ => Reason::Malformed,
        };
        let told = self.place.told(&paths.names, &self.bad);
        let byte = self.byte.map_or_else(String::new, |byte| format!(", at byte {byte}"));
        (reason, format!("{told}{byte}"))
    }
}

/// What walks keep from record to record, for its room.
pub(super) struct Scratch {
    pub paths: Paths,
    /// What was noted, and then what is gathered of it.
    pub pieces: Vec<Piece>,
    pub entries: Vec<Entry>,
    /// Which messages are there.
    entered: Vec<bool>,
    /// Which member of each `oneof` is there: its op, counted from 1; 0 is none.
    chosen: Vec<u16>,
    /// Pieces of a slot that begin before this are of a member that another one replaced; empty
    /// until that happens.
    since: Vec<u32>,
    /// JSON that is to be read as such.
    pub text: Vec<u8>,
    pub parser: Parser,
    pub flattener: Flattener,
}

impl Scratch {
    /// Room for nothing yet.
    pub(super) fn new(paths: Paths, flattener: Flattener) -> Scratch {
        Scratch {
            paths,
            pieces: Vec::new(),
            entries: Vec::new(),
            entered: Vec::new(),
            chosen: Vec::new(),
            since: Vec::new(),
            text: Vec::new(),
            parser: Parser::default(),
            flattener,
        }
    }
}

impl Plan {
    /// Appends the cells of the message that stands in a value from `body` on.
    #[inline]
    pub fn read(
        &self,
        value: &[u8],
        body: usize,
        scratch: &mut Scratch,
        rows: &mut RowBatch,
    ) -> Result<(), Refused> {
        let start = rows.cells.len();
        let most = (value.len() * ARENA_FACTOR_MAX).clamp(ARENA_BYTES_MIN, ARENA_BYTES_MAX);
        let arena_max = rows.arena.len() + most.max(value.len());
        scratch.pieces.clear();
        let mut walk = Walk { plan: self, value, start, arena_max, switches: 0, scratch, rows };
        let walked = walk.record(body);
        walked.map_err(|at| at.refused(&scratch.paths))?;
        if !self.distinct {
            keep_last(&mut rows.cells, start);
            if rows.cells.len() - start > CELLS_MAX {
                let at = At::from(Bad::TooManyFields(CELLS_MAX));
                return Err(at.refused(&scratch.paths));
            }
        }
        Ok(())
    }
}

/// A value half-way.
pub(super) struct Walk<'a, 'b> {
    pub plan: &'a Plan,
    pub value: &'a [u8],
    /// The row's first cell: that of slot 0.
    pub start: usize,
    /// Where the arena may end.
    pub arena_max: usize,
    switches: u32,
    pub scratch: &'b mut Scratch,
    pub rows: &'b mut RowBatch,
}

impl<'a> Walk<'a, '_> {
    #[inline]
    fn record(&mut self, body: usize) -> Result<(), At> {
        let plan = self.plan;
        let mut rest = self.value.get(body..).unwrap_or_default();
        match plan.nodes.first() {
            Some(root) => {
                self.rows.cells.extend_from_slice(&root.template);
                self.scratch.entered.clear();
                self.scratch.entered.resize(plan.nodes.len(), false);
                self.scratch.chosen.clear();
                self.scratch.chosen.resize(plan.oneofs, 0);
                self.scratch.since.clear();
                self.message(root, &mut rest, 0)?;
            }
            None => {
                self.rows.cells.push(Cell { kind: ABSENT, ..Cell::default() });
                let (start, end) = (self.offset(rest), self.value.len() as u32);
                self.scratch.pieces.push(Piece { order: 0, field: 0, start, end });
            }
        }
        if !self.scratch.pieces.is_empty() {
            self.finish()?;
        }
        if self.rows.cells[self.start..].iter().any(|cell| cell.kind >= CONSTANT) {
            self.settle();
        }
        Ok(())
    }

    /// Where a part of the value stands in it.
    #[inline]
    pub(super) fn offset(&self, part: &[u8]) -> u32 {
        // Invariant: values are shorter than 4 GiB, for records of Kafka are.
        (part.as_ptr() as usize - self.value.as_ptr() as usize) as u32
    }

    /// What is wrong in a message from this byte on.
    #[cold]
    fn at_message(&self, node: &Node, bad: Bad, part: &[u8]) -> At {
        let byte = Some(self.offset(part) as usize);
        At { bad, place: Place::Path(node.path.clone()), byte }
    }

    /// What is wrong with a field.
    #[cold]
    fn at_field(&self, op: &Op, bad: Bad, part: &[u8]) -> At {
        let place = match (op.act, &self.plan.late[usize::from(op.slot)]) {
            (Act::Message | Act::Group, _) => {
                Place::Path(self.plan.nodes[usize::from(op.to)].path.clone())
            }
            (Act::Late, Late::Map { path, .. }) => Place::Path(path.clone()),
            _ => Place::Column(op.column),
        };
        At { bad, place, byte: Some(self.offset(part) as usize) }
    }

    /// Reads the fields of a message, up to the end of `group` if it is one.
    fn message(&mut self, node: &'a Node, rest: &mut &'a [u8], group: u32) -> Result<(), At> {
        let mut next = 0;
        while let [tag, after @ ..] = *rest {
            let before = *rest;
            let known = if *tag < 0x80 { node.first[usize::from(*tag)] } else { UNKNOWN };
            let (at, form) = if known != UNKNOWN {
                *rest = after;
                (usize::from(known), tag & 7)
            } else {
                match self.uncommon(node, rest, &mut next, group)? {
                    Uncommon::Field(at, form) => (at, form),
                    Uncommon::Skipped => continue,
                    Uncommon::End => return Ok(()),
                }
            };
            let op = &node.ops[at];
            if op.oneof != 0 {
                self.choose(node, at).map_err(|bad| self.at_field(op, bad, before))?;
            }
            self.field(op, form, rest, before)?;
        }
        if group != 0 {
            return Err(self.at_message(node, Bad::Open(group), rest));
        }
        Ok(())
    }

    /// The field of a tag that is longer than a byte, or that the schema does not have.
    fn uncommon(
        &mut self,
        node: &'a Node,
        rest: &mut &'a [u8],
        next: &mut usize,
        group: u32,
    ) -> Result<Uncommon, At> {
        let before = *rest;
        let (number, form) = wire::tag(rest).map_err(|bad| self.at_message(node, bad, before))?;
        if form == GROUP_END {
            return match number == group {
                true => Ok(Uncommon::End),
                false => Err(self.at_message(node, Bad::End(number), before)),
            };
        }
        let expected = node.ops.get(*next).is_some_and(|op| op.number == number);
        let found = match expected {
            true => Some(*next),
            false => node.ops.binary_search_by_key(&number, |op| op.number).ok(),
        };
        let Some(at) = found else {
            let skipped = wire::content(rest, number, form).map(drop);
            skipped.map_err(|bad| self.at_message(node, bad, before))?;
            return Ok(Uncommon::Skipped);
        };
        *next = at + 1;
        let op = &node.ops[at];
        if form != op.form && !(form == LENGTH && op.packable) {
            return Err(self.at_field(op, Bad::Form(form), before));
        }
        Ok(Uncommon::Field(at, form))
    }

    /// Reads what stands behind a tag.
    #[inline(always)]
    fn field(
        &mut self,
        op: &Op,
        form: u8,
        rest: &mut &'a [u8],
        before: &'a [u8],
    ) -> Result<(), At> {
        match self.cell(op, form, rest) {
            Ok(Some(cell)) => {
                self.rows.cells[self.start + usize::from(op.slot)] = cell;
                Ok(())
            }
            Ok(None) => match op.act {
                Act::Message => {
                    let body = wire::bytes(rest);
                    let mut body = body.map_err(|bad| self.at_field(op, bad, before))?;
                    let node = self.enter(usize::from(op.to));
                    self.message(node, &mut body, 0)
                }
                Act::Group => {
                    let node = self.enter(usize::from(op.to));
                    self.message(node, rest, op.number)
                }
                _ => Ok(()),
            },
            Err(bad) => Err(self.at_field(op, bad, before)),
        }
    }

    /// The cell of a field; none of a message, and of what is noted for later.
    #[inline(always)]
    fn cell(&mut self, op: &Op, form: u8, rest: &mut &'a [u8]) -> Result<Option<Cell>, Bad> {
        let plain = |kind: Kind, value: u64| Cell {
            column: op.column,
            kind: kind as u8,
            flags: 0,
            len: 0,
            value,
        };
        let whole = |value: i64| plain(Kind::I64, value as u64);
        Ok(Some(match op.act {
            Act::Double => plain(Kind::F64, u64::from_le_bytes(array(rest)?)),
            Act::Float => {
                let value = f32::from_le_bytes(array(rest)?);
                plain(Kind::F64, f64::from(value).to_bits())
            }
            Act::Int32 => whole(i64::from(varint(rest)? as i32)),
            Act::Int64 => whole(varint(rest)? as i64),
            Act::Uint32 => whole(i64::from(varint(rest)? as u32)),
            Act::Uint64 => unsigned(op.column, varint(rest)?),
            Act::Sint32 => whole(unzigzag(u64::from(varint(rest)? as u32))),
            Act::Sint64 => whole(unzigzag(varint(rest)?)),
            Act::Fixed32 => whole(i64::from(u32::from_le_bytes(array(rest)?))),
            Act::Fixed64 => unsigned(op.column, u64::from_le_bytes(array(rest)?)),
            Act::Sfixed32 => whole(i64::from(i32::from_le_bytes(array(rest)?))),
            Act::Sfixed64 => whole(i64::from_le_bytes(array(rest)?)),
            Act::Bool => plain(Kind::Bool, u64::from(varint(rest)? != 0)),
            Act::Text => {
                let bytes = wire::bytes(rest)?;
                simdutf8::basic::from_utf8(bytes).map_err(|_| Bad::Utf8)?;
                self.rows.cell_bytes(op.column, Kind::Text, 0, bytes)
            }
            Act::Bytes => {
                let bytes = wire::bytes(rest)?;
                self.rows.cell_bytes(op.column, Kind::Bytes, 0, bytes)
            }
            Act::Enum => {
                let number = varint(rest)? as i32;
                self.enumerated(op.column, usize::from(op.to), number)
            }
            Act::Message | Act::Group => return Ok(None),
            Act::Late => {
                let content = wire::content(rest, op.number, form)?;
                let start = self.offset(content);
                let end = start + content.len() as u32;
                self.scratch.pieces.push(Piece { order: op.slot, field: 0, start, end });
                return Ok(None);
            }
        }))
    }

    /// The cell of an enum's value; a name is copied when the row is settled.
    #[inline]
    fn enumerated(&mut self, column: u16, to: usize, number: i32) -> Cell {
        let model = &self.plan.model;
        match model.enums[to].name(number) {
            Some(name) if !model.say.enum_numbers => Cell {
                column,
                kind: CONSTANT,
                flags: Kind::Symbol as u8,
                len: name.end - name.start,
                value: u64::from(name.start),
            },
            _ => self.number_of_enum(column, number),
        }
    }

    /// The cell of an enum's number: text where names are wanted and it has none.
    pub(super) fn number_of_enum(&mut self, column: u16, number: i32) -> Cell {
        if self.plan.model.say.enum_numbers {
            let value = i64::from(number) as u64;
            return Cell { column, kind: Kind::I64 as u8, flags: 0, len: 0, value };
        }
        let mut digits = itoa::Buffer::new();
        self.rows.cell_bytes(column, Kind::Symbol, 0, digits.format(number).as_bytes())
    }

    /// A message within another one is there.
    #[inline]
    fn enter(&mut self, at: usize) -> &'a Node {
        let node = &self.plan.nodes[at];
        let Scratch { entered, chosen, .. } = &mut *self.scratch;
        if !std::mem::replace(&mut entered[at], true) {
            let slots = self.start + node.slots.start..self.start + node.slots.end;
            self.rows.cells[slots].copy_from_slice(&node.template);
            entered[node.below.clone()].fill(false);
            chosen[node.oneofs.clone()].fill(0);
        }
        node
    }

    /// A member of a `oneof` is there: no other one is any more.
    #[inline]
    fn choose(&mut self, node: &'a Node, at: usize) -> Result<(), Bad> {
        let own = at as u16 + 1;
        let chosen = &mut self.scratch.chosen[usize::from(node.ops[at].oneof) - 1];
        match std::mem::replace(chosen, own) {
            0 => Ok(()),
            other if other == own => Ok(()),
            other => self.give_up(&node.ops[usize::from(other) - 1], &node.ops[at]),
        }
    }

    /// Another member comes in place of one.
    #[cold]
    fn give_up(&mut self, op: &Op, by: &Op) -> Result<(), Bad> {
        self.switches += 1;
        if self.switches > SWITCHES_MAX {
            return Err(Bad::Switches);
        }
        let slots = match op.act {
            Act::Message | Act::Group => {
                self.scratch.entered[usize::from(op.to)] = false;
                self.plan.nodes[usize::from(op.to)].slots.clone()
            }
            _ => usize::from(op.slot)..usize::from(op.slot) + 1,
        };
        debug_assert_ne!(op.number, by.number);
        let absent = Cell { kind: ABSENT, ..Cell::default() };
        self.rows.cells[self.start + slots.start..self.start + slots.end].fill(absent);
        // What was noted of it so far does not count.
        let noted = self.scratch.pieces.last().map_or(0, |piece| piece.start + 1);
        self.scratch.since.resize(self.plan.late.len(), 0);
        self.scratch.since[slots].fill(noted);
        Ok(())
    }

    /// Whether what was noted for a slot still counts.
    pub(super) fn counts(&self, piece: &Piece) -> bool {
        let since = self.scratch.since.get(usize::from(piece.order));
        since.is_none_or(|since| piece.start >= *since)
    }

    /// Whether any member was given up.
    pub(super) fn gave_up(&self) -> bool {
        !self.scratch.since.is_empty()
    }

    /// Takes out what is absent, and copies what stands among the constants.
    fn settle(&mut self) {
        let RowBatch { cells, arena, .. } = &mut *self.rows;
        let mut kept = self.start;
        for at in self.start..cells.len() {
            let mut cell = cells[at];
            match cell.kind {
                ABSENT => continue,
                CONSTANT => {
                    let from = cell.value as usize;
                    let bytes = &self.plan.constants[from..from + cell.len as usize];
                    if cell.flags == Kind::Array as u8 {
                        arena.resize(bridge_abi::build::align8(arena.len()), 0);
                    }
                    cell.value = arena.len() as u64;
                    arena.extend_from_slice(bytes);
                    (cell.kind, cell.flags) = (cell.flags, 0);
                }
                _ => {}
            }
            cells[kept] = cell;
            kept += 1;
        }
        cells.truncate(kept);
    }
}

/// What a tag that is not among the short ones is.
enum Uncommon {
    Field(usize, u8),
    Skipped,
    End,
}

/// The cell of a number without a sign: beyond 63 bits the nearest double.
#[inline]
pub(super) fn unsigned(column: u16, value: u64) -> Cell {
    let (kind, value) = match i64::try_from(value) {
        Ok(value) => (Kind::I64, value as u64),
        Err(_) => (Kind::F64, (value as f64).to_bits()),
    };
    Cell { column, kind: kind as u8, flags: 0, len: 0, value }
}
