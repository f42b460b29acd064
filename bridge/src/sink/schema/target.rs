//! One destination of a lane: what its rows are written with, and where in that each column of
//! theirs stands.

use std::sync::Arc;

use bridge_abi::{Cell, Kind};

use super::SchemaPlan;
use super::row::{NOTHING, OWN};
use super::subjects::{Subject, Version};
use crate::reject::Reason;
use crate::shape::{ColumnType, Shape};
use crate::sink::text::own;

/// What becomes of a column's cells.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Slot {
    /// Nobody has asked yet.
    Unknown,
    /// The schema does not have it, and it was only ever null.
    OnlyNull,
    /// Nothing.
    Skip,
    /// They stand at this place.
    Place(u32),
}

/// One destination, and what its rows are written with.
pub struct Target {
    /// The table's name.
    pub name: Arc<str>,
    /// What its schema is known as.
    pub subject: Subject,
    /// Why no row can go there, if none can.
    pub refused: Option<(Reason, String)>,
    /// Names of the columns that come from the record itself.
    pub own_names: Vec<String>,
    /// Type of the designated timestamp.
    pub stamp_kind: ColumnType,
    /// The schema, once it is learnt.
    pub version: Option<Arc<Version>>,
    /// By the column's number.
    pub slots: Vec<Slot>,
    /// What stands at each place before the cells do: own columns.
    places: Vec<u32>,
    /// Columns that the schema does not have, and that were told of.
    pub told: Vec<u16>,
}

impl Target {
    /// Nothing is known of its schema yet.
    pub fn new(
        name: &str,
        subject: Subject,
        refused: Option<(Reason, String)>,
        shape: &Shape,
    ) -> Target {
        Target {
            name: name.into(),
            subject,
            refused,
            own_names: own(shape).into_iter().map(|own| own.name).collect(),
            stamp_kind: shape.timestamp_kind().unwrap_or(ColumnType::Timestamp),
            version: None,
            slots: Vec::new(),
            places: Vec::new(),
            told: Vec::new(),
        }
    }

    #[inline]
    fn slot(&self, column: u16) -> &Slot {
        self.slots.get(usize::from(column)).unwrap_or(&Slot::Unknown)
    }

    /// Says what becomes of a column.
    pub fn put(&mut self, column: u16, slot: Slot) {
        let index = usize::from(column);
        if self.slots.len() <= index {
            self.slots.resize(index + 1, Slot::Unknown);
        }
        self.slots[index] = slot;
    }

    /// Whether a row has what nobody has asked for.
    #[inline]
    pub fn is_to_meet(&self, cells: &[Cell]) -> bool {
        self.version.is_none() || cells.iter().any(|cell| self.is_new(cell))
    }

    /// Whether nobody has asked for a cell's column. A null makes none.
    #[inline]
    pub fn is_new(&self, cell: &Cell) -> bool {
        match self.slot(cell.column) {
            Slot::Unknown => true,
            Slot::OnlyNull => cell.kind != Kind::Null as u8,
            Slot::Skip | Slot::Place(_) => false,
        }
    }

    /// Another schema: all places are others.
    pub fn turn_to(&mut self, version: Arc<Version>, plan: &SchemaPlan) {
        self.slots.clear();
        self.places.clear();
        self.places.resize(version.compiled.places.count(), NOTHING);
        for (at, name) in (0..).zip(&self.own_names) {
            if let Some(place) = version.compiled.place(plan.format, name) {
                self.places[place as usize] = OWN | at;
            }
        }
        self.version = Some(version);
    }

    /// What stands at each place of a row. Of several cells the first that is not null does.
    #[inline]
    pub fn fill(&self, cells: &[Cell], places: &mut Vec<u32>) {
        places.clear();
        places.extend_from_slice(&self.places);
        for (number, cell) in (1..).zip(cells) {
            let Slot::Place(place) = self.slot(cell.column) else { continue };
            let found = &mut places[*place as usize];
            let is_free = match *found {
                NOTHING => true,
                own if own & OWN != 0 => false,
                before => cells[before as usize - 1].kind == Kind::Null as u8,
            };
            if is_free {
                *found = number;
            }
        }
    }
}
