//! One table as an encoder sees it: for each column of the records a slot that says what to do.

use std::collections::HashMap;
use std::sync::Arc;

use bridge_abi::{Cell, Kind};

use super::fragment::Fragment;
use super::line;
use super::metadata::{self, Metadata};
use super::pg::Layouts;
use super::pg::bind::Binding;
use super::table::{Denied, Table, Tables, Wanted};
use crate::blame::Fault;
use crate::reject::Reason;
use crate::shape::{ColumnType, OnBad, Shape};
use crate::sink::coerce::two_fields;

/// What becomes of a column's cells.
#[derive(Debug)]
pub enum Slot {
    /// Nobody has asked yet.
    Unknown,
    /// Nothing: dropped by the shape, or the designated timestamp.
    Skip,
    /// A symbol.
    Symbol(Column),
    /// A field.
    Field(Column),
    /// A field of doubles in eight bytes; its fragment ends with what stands before them.
    Double(Column),
    /// Records with it are refused.
    Denied(Reason, String),
}

/// A column that is written.
#[derive(Debug)]
pub struct Column {
    /// `,name=`
    pub fragment: Fragment,
    /// Its type in the table.
    pub kind: ColumnType,
    /// Whether cells of other numbers go into it too.
    pub shared: bool,
}

/// One table as an encoder sees it.
#[derive(Debug)]
pub struct Target {
    /// Its name.
    pub name: Arc<str>,
    /// Its name, escaped: how every line begins.
    pub prefix: Fragment,
    /// Type of the designated timestamp.
    pub stamp_kind: ColumnType,
    /// Whether the table was asked for.
    pub met: bool,
    /// Whether its rows are stored in transactions, where others are not.
    pub transacts: bool,
    /// Why no row can go there, if none can.
    pub refused: Option<(Reason, String)>,
    slots: Vec<Slot>,
    /// Columns whose values become null where they do not fit.
    nulls: Vec<u16>,
    /// Column's name and type for messages, by the column's number.
    columns: HashMap<u16, (String, ColumnType), foldhash::fast::FixedState>,
    /// The columns that come from the record itself.
    pub metadata: Metadata,
    /// What the columns are in an INSERT, where rows go as such.
    pub binding: Option<Binding>,
    /// What is to be done about arrays, where they cannot be written.
    without_arrays: Option<&'static str>,
}

/// What rows become.
#[derive(Debug)]
pub enum Wire {
    /// Line protocol of this version.
    Lines(u8),
    /// Line protocol as text, for people and files: version 1, for version 2 has doubles in eight
    /// bytes, which may look like a line's end.
    Text,
    /// Messages of the PostgreSQL protocol.
    Binds(Arc<Layouts>),
}

impl Wire {
    /// The version of line protocol by which columns are looked at.
    pub fn version(&self) -> u8 {
        match self {
            Wire::Lines(version) => *version,
            Wire::Text | Wire::Binds(_) => 1,
        }
    }

    /// What is to be done about arrays, where they cannot be written.
    fn without_arrays(&self) -> Option<&'static str> {
        match self {
            Wire::Lines(1) => Some(
                "line protocol version 1 has no arrays: set `protocol` of the sink to 2, or to \
                 \"auto\" with a server that speaks version 2",
            ),
            Wire::Text => Some(
                "line protocol as text is version 1, which has no arrays: QuestDB itself is sent \
                 version 2; for files and topics set `encode` to JSON",
            ),
            Wire::Lines(_) | Wire::Binds(_) => None,
        }
    }
}

/// What can be done about a value that does not fit its column.
const WAYS_OUT: &str = "declare a type that takes both under `columns`, say what becomes of it by \
                        `on_bad`, or convert it in a transform";

impl Target {
    /// A table that was not asked for yet.
    pub fn of(name: &str, shape: &Shape) -> Target {
        let mut prefix = Vec::new();
        line::push_escaped(&mut prefix, name.as_bytes());
        Target {
            name: name.into(),
            prefix: Fragment::new(prefix),
            stamp_kind: ColumnType::Timestamp,
            met: false,
            transacts: shape.of(name).transactional,
            refused: line::name_fault(name, false).map(|fault| (Reason::BadName, fault)),
            slots: Vec::new(),
            nulls: Vec::new(),
            columns: HashMap::default(),
            metadata: Metadata::default(),
            binding: None,
            without_arrays: None,
        }
    }

    /// What becomes of a column.
    #[inline]
    pub fn slot(&self, column: u16) -> &Slot {
        self.slots.get(usize::from(column)).unwrap_or(&Slot::Unknown)
    }

    /// Whether nobody has asked for the column yet.
    #[inline]
    pub fn is_unknown(&self, column: u16) -> bool {
        matches!(self.slot(column), Slot::Unknown)
    }

    /// Whether a value of this column becomes null where it does not fit.
    pub fn nulls(&self, column: u16) -> bool {
        self.nulls.contains(&column)
    }

    /// Whether another cell of the row, not null, goes into the same column and stands before.
    pub fn stands_before(&self, cells: &[Cell], column: u16) -> bool {
        let name = |column: u16| self.columns.get(&column).map(|(name, _)| name.as_str());
        cells.iter().any(|cell| cell.kind != Kind::Null as u8 && name(cell.column) == name(column))
    }

    /// Why a row with two values for one column is refused.
    #[cold]
    pub fn two_fields(&self, column: u16) -> (Reason, String) {
        let name = self.columns.get(&column).map_or("?", |(name, _)| name.as_str());
        two_fields(name, &self.name)
    }

    /// Why a value does not fit, for the dead letters. `bytes` is what a pointing cell points to.
    pub fn misfit(&self, cell: &Cell, bytes: &[u8], shown: &str) -> (Reason, String) {
        let known = self.columns.get(&cell.column);
        let (name, kind) = match known {
            Some((name, kind)) => (name.as_str(), kind.to_string()),
            None => ("?", "?".to_owned()),
        };
        let fits = cell.kind == Kind::Array as u8
            && known.is_some_and(|(_, kind)| match kind {
                ColumnType::Array(dims) => u32::from(*dims) == line::array_dims(bytes),
                _ => false,
            });
        let way_out = self.without_arrays.filter(|_| fits).unwrap_or(WAYS_OUT);
        let table = &self.name;
        let detail =
            format!("column `{name}` of {table} is {kind}, the record has {shown}; {way_out}");
        (Reason::WrongType, detail)
    }

    /// Asks for columns and fills their slots. Columns that are denied are told apart, so that
    /// one hostile name does not refuse the others.
    pub fn learn(
        &mut self,
        shape: &Shape,
        tables: &dyn Tables,
        wanted: Vec<(u16, Option<Wanted>)>,
        wire: &Wire,
    ) -> Result<(), Fault> {
        self.met = true;
        let mut asked = Vec::new();
        for (column, wanted) in wanted {
            match wanted {
                None => self.set(column, Slot::Skip),
                Some(wanted) => match line::name_fault(&wanted.name, true) {
                    Some(fault) => self.set(column, Slot::Denied(Reason::BadName, fault)),
                    None => asked.push((column, wanted)),
                },
            }
        }
        let all: Vec<Wanted> = asked.iter().map(|(_, wanted)| wanted.clone()).collect();
        match tables.resolve(&self.name, &all) {
            Ok(table) => self.take(shape, &table, asked, wire),
            Err(Denied::Pipeline(fault)) => return self.give_up(shape, fault),
            Err(Denied::Record(reason, detail)) => match tables.resolve(&self.name, &[]) {
                Err(Denied::Pipeline(fault)) => return self.give_up(shape, fault),
                Err(Denied::Record(..)) => self.refused = Some((reason, detail)),
                Ok(table) => {
                    self.take(shape, &table, Vec::new(), wire);
                    for (column, wanted) in asked {
                        match tables.resolve(&self.name, std::slice::from_ref(&wanted)) {
                            Ok(table) => self.take(shape, &table, vec![(column, wanted)], wire),
                            Err(Denied::Pipeline(fault)) => return self.give_up(shape, fault),
                            Err(Denied::Record(reason, detail)) => {
                                self.set(column, Slot::Denied(reason, detail));
                            }
                        }
                    }
                }
            },
        }
        Ok(())
    }

    /// The next row asks anew: whoever gave up may be told to go on.
    fn give_up(&mut self, shape: &Shape, fault: Fault) -> Result<(), Fault> {
        *self = Target::of(&self.name, shape);
        Err(fault)
    }

    fn take(&mut self, shape: &Shape, table: &Table, asked: Vec<(u16, Wanted)>, wire: &Wire) {
        let version = wire.version();
        self.without_arrays = wire.without_arrays();
        if let Some((_, kind)) = &table.timestamp {
            self.stamp_kind = *kind;
        }
        self.metadata = Metadata::of(shape, table);
        for (column, wanted) in asked {
            let lower = wanted.name.to_lowercase();
            let kind = table.columns.get(&lower).copied().unwrap_or(wanted.kind);
            let designated =
                table.timestamp.as_ref().is_some_and(|(name, _)| name.eq_ignore_ascii_case(&lower));
            if designated || metadata::is_one(shape, &lower) {
                // The designated timestamp and the record's own columns are written by us.
                self.set(column, Slot::Skip);
                continue;
            }
            let shared = self.columns.values().any(|(name, _)| *name == lower);
            let slot = slot(&wanted.name, kind, shared, version);
            if shared {
                self.share(&lower);
            }
            if shape.values.on_bad(&lower) == OnBad::Null {
                self.nulls.push(column);
            }
            self.columns.insert(column, (lower, kind));
            self.set(column, slot);
        }
        if let Wire::Binds(layouts) = wire {
            self.bind(shape, table, layouts);
        }
    }

    /// The INSERT of all columns that are known by now.
    fn bind(&mut self, shape: &Shape, table: &Table, layouts: &Layouts) {
        if table.timestamp.is_none() {
            let detail = format!("table {} has no designated timestamp", table.name);
            self.refused = Some((Reason::BadTimestamp, detail));
        }
        let writes = |column: u16| {
            matches!(self.slot(column), Slot::Symbol(_) | Slot::Field(_) | Slot::Double(_))
        };
        let columns = self.columns.iter().filter(|(column, _)| writes(**column));
        let columns = columns.map(|(column, (name, kind))| (*column, name.clone(), *kind));
        self.binding = Some(Binding::new(layouts, shape, table, columns));
    }

    /// Marks every slot of a name as one of several.
    fn share(&mut self, name: &str) {
        let same: Vec<u16> = self
            .columns
            .iter()
            .filter(|(_, (known, _))| known == name)
            .map(|(column, _)| *column)
            .collect();
        for column in same {
            if let Some(Slot::Symbol(column) | Slot::Field(column) | Slot::Double(column)) =
                self.slots.get_mut(usize::from(column))
            {
                column.shared = true;
            }
        }
    }

    fn set(&mut self, column: u16, slot: Slot) {
        let index = usize::from(column);
        if self.slots.len() <= index {
            self.slots.resize_with(index + 1, || Slot::Unknown);
        }
        self.slots[index] = slot;
    }
}

fn slot(name: &str, kind: ColumnType, shared: bool, version: u8) -> Slot {
    let mut bytes = metadata::fragment(name);
    let in_eight_bytes = version >= 2 && matches!(kind, ColumnType::Double | ColumnType::Float);
    if in_eight_bytes {
        bytes.extend_from_slice(&line::BINARY_DOUBLE);
    }
    let column = Column { fragment: Fragment::new(bytes), kind, shared };
    match kind {
        ColumnType::Symbol => Slot::Symbol(column),
        ColumnType::Binary => Slot::Denied(
            Reason::WrongType,
            format!(
                "column `{name}` is BINARY, which the bridge does not write; leave it out with `drop`"
            ),
        ),
        _ if in_eight_bytes => Slot::Double(column),
        _ => Slot::Field(column),
    }
}
