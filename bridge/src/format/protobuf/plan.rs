//! A message type, compiled for the columns of one pipeline. Every column that the schema names has
//! a slot; a row begins as a copy of what all slots are where nothing is written, and fields are
//! put into their slots as they come. So it does not matter in which order they come or how often,
//! columns always stand in the order of the schema, and an absent field costs nothing.
//!
//! Messages within messages are nodes of the plan, each with a run of slots of its own, in the
//! order in which a walk meets them: what belongs to one, with all that is below it, is a range.

use std::ops::Range;

use bridge_abi::{Cell, Kind};

use super::model::{Absent, Field, Form, Model, Rule};
use super::wire::{self, DEPTH_MAX};
use crate::format::Refused;
use crate::format::flat::{Namer, Naming};
use crate::reject::Reason;
use crate::schemas::proto::{Of, Scalar};

/// Steps of one plan: a schema whose types name each other could need any number.
const OPS_MAX: usize = 20_000;
/// Messages within one another as columns, their types followed.
const OPEN_MAX: usize = 64;
/// Bytes of all defaults of a row.
const DEFAULTS_BYTES_MAX: usize = 256 << 10;

/// In a cell's `kind`: there is none.
pub const ABSENT: u8 = 0xff;
/// In a cell's `kind`: its bytes are among the constants, and `flags` has its kind.
pub const CONSTANT: u8 = 0xfe;
/// There is no field with this tag.
pub const UNKNOWN: u8 = 0xff;

/// How values of one message type become cells.
#[derive(Debug)]
pub struct Plan {
    pub(super) model: Model,
    /// The root first; empty where a value is no record.
    pub(super) nodes: Box<[Node]>,
    /// What is made of a slot at the end, if anything.
    pub(super) late: Box<[Late]>,
    /// How many `oneof`s all nodes have.
    pub(super) oneofs: usize,
    /// No column can come twice in a row.
    pub(super) distinct: bool,
    /// Arrays, texts and names that cells may be, one behind the other.
    pub(super) constants: Box<[u8]>,
}

/// A message whose fields are columns.
#[derive(Debug)]
pub(super) struct Node {
    /// Where it is, for messages.
    pub path: Box<str>,
    /// By their fields' numbers.
    pub ops: Box<[Op]>,
    /// Places of ops by tags of one byte.
    pub first: Box<[u8; 128]>,
    /// Its slots where it is there and nothing in it is.
    pub template: Box<[Cell]>,
    /// These, and those of the messages in it.
    pub slots: Range<usize>,
    /// The messages in it.
    pub below: Range<usize>,
    /// Its `oneof`s, and theirs.
    pub oneofs: Range<usize>,
}

/// What is done with a field.
#[derive(Clone, Copy, Debug)]
pub(super) struct Op {
    pub number: u32,
    pub act: Act,
    /// How it is written.
    pub form: u8,
    /// It may as well be written side by side, behind a length.
    pub packable: bool,
    pub column: u16,
    pub slot: u16,
    /// An enum of the model, or a node.
    pub to: u16,
    /// A `oneof` of the plan, counted from 1; 0 is none.
    pub oneof: u16,
}

/// The same, at a glance.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Act {
    Double,
    Float,
    Int32,
    Int64,
    Uint32,
    Uint64,
    Sint32,
    Sint64,
    Fixed32,
    Fixed64,
    Sfixed32,
    Sfixed64,
    Bool,
    Text,
    Bytes,
    Enum,
    /// A node.
    Message,
    /// The same, up to its end.
    Group,
    /// Noted, and read at the end: it may come in pieces.
    Late,
}

/// What is made of pieces.
#[derive(Debug)]
pub(super) enum Late {
    /// The slot is filled when its field comes.
    Never,
    /// One cell.
    Cell { column: u16, message: usize, field: usize },
    /// One cell of a message that has a meaning.
    Known { column: u16, message: usize },
    /// Columns below this path, and one where it is no object.
    Json { column: u16, path: Box<str>, message: usize },
    /// Columns below this path.
    Map { path: Box<str>, entry: usize },
}

impl Plan {
    /// Compiles a message type.
    pub fn compile(model: Model, root: usize, naming: Naming<'_>) -> Result<Plan, Refused> {
        let mut compiler = Compiler {
            model: &model,
            namer: Namer::new(naming),
            nodes: Vec::new(),
            cells: Vec::new(),
            late: Vec::new(),
            constants: Vec::new(),
            columns: Vec::new(),
            open: Vec::new(),
            oneofs: 0,
            default_bytes: 0,
            ops_left: OPS_MAX,
            collides: false,
        };
        match model.messages[root].form {
            Form::Plain | Form::Empty => drop(compiler.node(root)?),
            _ => compiler.single(root)?,
        }
        let Compiler { mut columns, collides, nodes, late, constants, oneofs, .. } = compiler;
        let default_bytes = compiler.default_bytes;
        let count = columns.len();
        columns.sort_unstable();
        columns.dedup();
        if default_bytes > DEFAULTS_BYTES_MAX {
            let message = format!("defaults of more than {DEFAULTS_BYTES_MAX} bytes");
            return Err((Reason::TooLarge, message));
        }
        let constants = [&model.constants[..], &constants].concat().into();
        Ok(Plan {
            nodes: nodes.into_iter().flatten().collect(),
            late: late.into(),
            oneofs,
            distinct: columns.len() == count && !collides,
            constants,
            model,
        })
    }
}

struct Compiler<'a> {
    model: &'a Model,
    namer: Namer<'a>,
    /// A node has its place before it is there.
    nodes: Vec<Option<Node>>,
    /// What each slot is where its message is there.
    cells: Vec<Cell>,
    late: Vec<Late>,
    /// Behind those of the model.
    constants: Vec<u8>,
    columns: Vec<u16>,
    /// Messages around the one at hand: one that holds itself is compiled no further.
    open: Vec<usize>,
    oneofs: usize,
    default_bytes: usize,
    ops_left: usize,
    /// A column may come twice.
    collides: bool,
}

impl Compiler<'_> {
    /// A value that is no record: one slot, whatever its pieces are.
    fn single(&mut self, message: usize) -> Result<(), Refused> {
        let late = self.known(message)?;
        self.slot(late, None);
        Ok(())
    }

    /// Compiles a message whose fields are columns; the place of its node.
    fn node(&mut self, message: usize) -> Result<usize, Refused> {
        let model = self.model;
        if self.open.len() >= OPEN_MAX {
            return Err((Reason::TooDeep, format!("messages nested deeper than {OPEN_MAX}")));
        }
        self.open.push(message);
        let at = self.nodes.len();
        self.nodes.push(None);
        let (first_slot, first_oneof) = (self.cells.len(), self.oneofs);
        let fields = &model.messages[message].fields;
        self.oneofs += fields.iter().map(|field| usize::from(field.oneof)).max().unwrap_or(0);
        // Each column is spent on a slot: these all fit their number.
        let (mut ops, mut own) = (Vec::with_capacity(fields.len()), Vec::new());
        for (index, field) in fields.iter().enumerate() {
            self.ops_left = self.ops_left.checked_sub(1).ok_or_else(|| {
                let message = "the schema, its types followed, is too large".to_owned();
                (Reason::TooManyColumns, message)
            })?;
            let before = self.cells.len();
            let outer = self.namer.enter(&field.name)?;
            let mut op = self.op(message, index, field)?;
            self.namer.leave(outer);
            op.oneof = if field.oneof > 0 { first_oneof as u16 + field.oneof } else { 0 };
            ops.push(op);
            if !matches!(op.act, Act::Message | Act::Group) {
                own.extend(before..self.cells.len());
            }
        }
        let absent = Cell { kind: ABSENT, ..Cell::default() };
        let mut template = vec![absent; self.cells.len() - first_slot];
        own.into_iter().for_each(|slot: usize| template[slot - first_slot] = self.cells[slot]);
        ops.sort_unstable_by_key(|op| op.number);
        self.nodes[at] = Some(Node {
            path: self.namer.path().into(),
            first: first(&ops),
            ops: ops.into(),
            template: template.into(),
            slots: first_slot..self.cells.len(),
            below: at + 1..self.nodes.len(),
            oneofs: first_oneof..self.oneofs,
        });
        self.open.pop();
        Ok(at)
    }

    /// What is done with a field, but for its `oneof`.
    fn op(&mut self, message: usize, index: usize, field: &Field) -> Result<Op, Refused> {
        let slot = self.cells.len() as u16;
        let (form, packable) = match field.of {
            Of::Scalar(scalar) => {
                let form = wire::form_of(scalar);
                (form, field.rule == Rule::Repeated && form != wire::LENGTH)
            }
            Of::Enum(_) => (wire::VARINT, field.rule == Rule::Repeated),
            Of::Message(_) => (wire::LENGTH, false),
            Of::Group(_) => (wire::GROUP, false),
        };
        let op = |act: Act, column: u16, to: usize| Op {
            number: field.number,
            act,
            form,
            packable,
            column,
            slot,
            to: to as u16,
            oneof: 0,
        };
        Ok(match (field.rule, field.of) {
            (Rule::Map, Of::Message(entry)) => {
                // Its keys may be anything.
                self.collides = true;
                let path = self.namer.path_to_names();
                self.slot(Late::Map { path, entry }, None);
                op(Act::Late, 0, 0)
            }
            (Rule::Single, Of::Scalar(scalar)) => {
                let column = self.column()?;
                self.slot(Late::Never, Some((column, field)));
                op(act_of(scalar), column, 0)
            }
            (Rule::Single, Of::Enum(at)) => {
                let column = self.column()?;
                self.slot(Late::Never, Some((column, field)));
                op(Act::Enum, column, at)
            }
            (Rule::Single, Of::Message(at) | Of::Group(at)) => {
                let plain = self.model.messages[at].form == Form::Plain;
                if plain && !self.open.contains(&at) {
                    let node = self.node(at)?;
                    let is_group = matches!(field.of, Of::Group(_));
                    return Ok(op(if is_group { Act::Group } else { Act::Message }, 0, node));
                }
                let late = match plain {
                    true => Late::Cell { column: self.column()?, message, field: index },
                    false => self.known(at)?,
                };
                let column = match &late {
                    Late::Cell { column, .. } => *column,
                    Late::Known { column, .. } | Late::Json { column, .. } => *column,
                    Late::Never | Late::Map { .. } => 0,
                };
                self.slot(late, None);
                op(Act::Late, column, 0)
            }
            (Rule::Repeated | Rule::Map, _) => {
                let column = self.column()?;
                let late = Late::Cell { column, message, field: index };
                self.slot(late, Some((column, field)));
                op(Act::Late, column, 0)
            }
        })
    }

    /// How a message that has a meaning is read.
    fn known(&mut self, message: usize) -> Result<Late, Refused> {
        let column = self.column()?;
        Ok(match self.model.messages[message].form {
            Form::Struct | Form::Value | Form::List => {
                self.collides = true;
                let path = self.namer.path_to_names();
                Late::Json { column, path, message }
            }
            _ => Late::Known { column, message },
        })
    }

    fn column(&mut self) -> Result<u16, Refused> {
        let column = self.namer.column()?;
        self.columns.push(column);
        Ok(column)
    }

    /// Adds a slot; `absent` is the column and the field of what it is where nothing is written.
    fn slot(&mut self, late: Late, absent: Option<(u16, &Field)>) {
        let cell = absent.and_then(|(column, field)| self.absent(column, field));
        self.default_bytes += cell.map_or(0, |cell| cell.len as usize);
        self.cells.push(cell.unwrap_or(Cell { kind: ABSENT, ..Cell::default() }));
        self.late.push(late);
    }

    fn absent(&mut self, column: u16, field: &Field) -> Option<Cell> {
        let plain =
            |kind: Kind, value: u64| Cell { column, kind: kind as u8, flags: 0, len: 0, value };
        let constant = |kind: Kind, range: &Range<u32>| Cell {
            column,
            kind: CONSTANT,
            flags: kind as u8,
            len: range.end - range.start,
            value: u64::from(range.start),
        };
        Some(match field.default.as_ref()? {
            Absent::Bool(value) => plain(Kind::Bool, u64::from(*value)),
            Absent::I64(value) => plain(Kind::I64, *value as u64),
            Absent::U64(value) => match i64::try_from(*value) {
                Ok(value) => plain(Kind::I64, value as u64),
                Err(_) => plain(Kind::F64, (*value as f64).to_bits()),
            },
            Absent::F32(value) => plain(Kind::F64, f64::from(*value).to_bits()),
            Absent::F64(value) => plain(Kind::F64, value.to_bits()),
            Absent::Text(range) => constant(Kind::Text, range),
            Absent::Bytes(range) => constant(Kind::Bytes, range),
            Absent::Enum(number) => {
                let Of::Enum(at) = field.of else { return None };
                match self.model.enums[at].name(*number) {
                    Some(name) if !self.model.say.enum_numbers => constant(Kind::Symbol, &name),
                    _ => plain(Kind::I64, *number as u64),
                }
            }
            Absent::None if is_number(field.of) => {
                let bytes = [1_u32.to_le_bytes(), 0_u32.to_le_bytes()].concat();
                constant(Kind::Array, &self.own(&bytes))
            }
            Absent::None => constant(Kind::Text, &self.own(b"[]")),
        })
    }

    /// Bytes of the plan's own, behind the constants of the model.
    fn own(&mut self, bytes: &[u8]) -> Range<u32> {
        let at = (self.model.constants.len() + self.constants.len()) as u32;
        self.constants.extend_from_slice(bytes);
        at..at + bytes.len() as u32
    }
}

/// Whether many of these are an array of doubles.
pub(super) fn is_number(of: Of) -> bool {
    matches!(
        of,
        Of::Scalar(scalar) if !matches!(scalar, Scalar::Bool | Scalar::String | Scalar::Bytes)
    )
}

/// Places of ops by tags of one byte: a tag is there only in a form that its field has.
fn first(ops: &[Op]) -> Box<[u8; 128]> {
    let mut first = Box::new([UNKNOWN; 128]);
    for (at, op) in ops.iter().enumerate().take_while(|(_, op)| op.number < 16) {
        let at = u8::try_from(at).unwrap_or(UNKNOWN);
        first[(op.number << 3 | u32::from(op.form)) as usize] = at;
        if op.packable {
            first[(op.number << 3 | u32::from(wire::LENGTH)) as usize] = at;
        }
    }
    first
}

fn act_of(scalar: Scalar) -> Act {
    match scalar {
        Scalar::Double => Act::Double,
        Scalar::Float => Act::Float,
        Scalar::Int32 => Act::Int32,
        Scalar::Int64 => Act::Int64,
        Scalar::Uint32 => Act::Uint32,
        Scalar::Uint64 => Act::Uint64,
        Scalar::Sint32 => Act::Sint32,
        Scalar::Sint64 => Act::Sint64,
        Scalar::Fixed32 => Act::Fixed32,
        Scalar::Fixed64 => Act::Fixed64,
        Scalar::Sfixed32 => Act::Sfixed32,
        Scalar::Sfixed64 => Act::Sfixed64,
        Scalar::Bool => Act::Bool,
        Scalar::String => Act::Text,
        Scalar::Bytes => Act::Bytes,
    }
}

// A message in a message is walked by a call in a call.
const _: () = assert!(OPEN_MAX <= DEPTH_MAX);
