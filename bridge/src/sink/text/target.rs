//! One destination as an encoder sees it: for each column of the records a slot that says what
//! becomes of it, and the columns that come from the record itself.

use std::collections::HashMap;
use std::sync::Arc;

use bridge_abi::{Cell, Kind};

use super::json;
use super::layout::{Layout, Layouts};
use super::{NameRule, Written};
use crate::reject::Reason;
use crate::shape::{ColumnType, OnBad, Shape, Timestamp};
use crate::sink::coerce::two_fields;

/// What becomes of a column's cells.
#[derive(Debug)]
pub enum Slot {
    /// Nobody has asked yet.
    Unknown,
    /// Nothing.
    Skip,
    /// They are written.
    Write(Column),
    /// Records with it are refused.
    Denied(Reason, String),
}

/// A column that is written.
#[derive(Debug)]
pub struct Column {
    /// `"name":`
    pub fragment: Box<[u8]>,
    /// As what it was declared.
    pub kind: Option<ColumnType>,
    /// Its place in a CSV record.
    pub place: usize,
    /// Whether cells of other numbers go into it too.
    pub shared: bool,
    /// What happens to a value that it does not take.
    pub on_bad: OnBad,
}

/// A column that comes from the record itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    /// The designated timestamp.
    Stamp,
    /// The topic.
    Topic,
    /// The partition's number.
    Partition,
    /// The offset.
    Offset,
    /// The row's number in its record.
    Row,
    /// Kafka's timestamp.
    Timestamp,
    /// The last header of this name.
    Header(String),
}

/// Such a column.
#[derive(Clone, Debug)]
pub struct Own {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub source: Source,
    /// `"name":`
    pub fragment: Box<[u8]>,
}

/// `"name":`
fn fragment(name: &str) -> Box<[u8]> {
    let mut bytes = Vec::with_capacity(name.len() + 3);
    json::push_string(&mut bytes, name.as_bytes());
    bytes.push(b':');
    bytes.into_boxed_slice()
}

/// The columns that the shape takes from the record itself, in the order in which they are
/// written. Where the server's clock would give the timestamp there is none.
pub fn own(shape: &Shape) -> Vec<Own> {
    let of = &shape.metadata;
    let stamp = (shape.timestamp != Timestamp::Server).then(|| shape.timestamp_column.clone());
    let mut own: Vec<(Option<String>, Source)> = vec![
        (stamp, Source::Stamp),
        (of.topic.clone(), Source::Topic),
        (of.partition.clone(), Source::Partition),
        (of.offset.clone(), Source::Offset),
        (of.row.clone(), Source::Row),
        (of.timestamp.clone(), Source::Timestamp),
    ];
    let header =
        |(header, name): &(String, String)| (Some(name.clone()), Source::Header(header.clone()));
    own.extend(of.headers.iter().map(header));
    let named = own.into_iter().filter_map(|(name, source)| Some((name?, source)));
    named.map(|(name, source)| Own { fragment: fragment(&name), name, source }).collect()
}

/// What the shape makes of a column.
pub struct Wanted {
    /// Its name.
    pub name: String,
    /// As what it was declared.
    pub kind: Option<ColumnType>,
    /// What happens to a value that it does not take.
    pub on_bad: OnBad,
}

/// One destination.
#[derive(Debug)]
pub struct Target {
    /// Its name.
    pub name: Arc<str>,
    /// The number that payloads go by: another one for each layout.
    pub number: u32,
    /// Why no row can go there, if none can.
    pub refused: Option<(Reason, String)>,
    /// How rows are laid out from now on.
    pub layout: Layout,
    /// For each place of a CSV record the own column that stands there.
    pub own_at: Vec<Option<usize>>,
    slots: Vec<Slot>,
    /// Names by the column's number.
    names: HashMap<u16, String, foldhash::fast::FixedState>,
}

impl Target {
    /// A destination that nothing was written to.
    pub fn new(name: &str, rule: NameRule) -> Target {
        Target {
            name: name.into(),
            number: 0,
            refused: rule(name).map(|fault| (Reason::BadName, fault)),
            layout: Layout::default(),
            own_at: Vec::new(),
            slots: Vec::new(),
            names: HashMap::default(),
        }
    }

    /// What becomes of a column.
    #[inline]
    pub fn slot(&self, column: u16) -> &Slot {
        self.slots.get(usize::from(column)).unwrap_or(&Slot::Unknown)
    }

    /// Why a row with two values for one column is refused.
    #[cold]
    pub fn two_fields(&self, column: u16) -> (Reason, String) {
        two_fields(self.names.get(&column).map_or("?", String::as_str), &self.name)
    }

    /// Whether another cell of the row, not null, goes into the same column and stands before.
    pub fn stands_before(&self, cells: &[Cell], column: u16) -> bool {
        let name = self.names.get(&column);
        let same = |cell: &Cell| cell.kind != Kind::Null as u8;
        cells.iter().filter(|cell| same(cell)).any(|cell| self.names.get(&cell.column) == name)
    }

    /// Why a value does not fit, for the dead letters.
    pub fn misfit(&self, column: u16, kind: Option<ColumnType>, shown: &str) -> (Reason, String) {
        let (table, name) = (&self.name, self.names.get(&column).map_or("?", String::as_str));
        let detail = match kind {
            Some(kind) => format!(
                "column `{name}` of {table} is {kind}, the record has {shown}; declare a type that takes both under `columns`, say what becomes of it by `on_bad`, or convert it in a transform"
            ),
            None => format!("column `{name}` of {table} cannot hold {shown}"),
        };
        (Reason::WrongType, detail)
    }

    /// Lays out what comes from the records themselves.
    pub fn lay_out(&mut self, own: &[Own], written: &Written, layouts: &Layouts) {
        let Written::Csv { columns, .. } = written else { return };
        let names: Vec<&str> = match columns {
            Some(columns) => columns.iter().map(String::as_str).collect(),
            None => own.iter().map(|own| own.name.as_str()).collect(),
        };
        for name in names {
            let Some(place) = layouts.place(&self.name, name) else {
                let detail = format!("{} has more columns than columns_max", self.name);
                self.refused.get_or_insert((Reason::TooManyColumns, detail));
                return;
            };
            if self.own_at.len() <= place {
                self.own_at.resize(place + 1, None);
            }
            self.own_at[place] = own.iter().position(|own| own.name == name);
        }
        self.layout = Layout(self.own_at.len() as u32);
    }

    /// Learns what becomes of a column: under which name, as which type.
    pub fn learn(
        &mut self,
        column: u16,
        wanted: Option<Wanted>,
        written: &Written,
        layouts: &Layouts,
    ) {
        let slot = match wanted {
            None => Slot::Skip,
            Some(Wanted { name, kind, on_bad }) => {
                let place = match written {
                    Written::Csv { columns: Some(columns), .. } => {
                        columns.iter().position(|known| *known == name).ok_or(Slot::Skip)
                    }
                    Written::Csv { columns: None, .. } => {
                        layouts.place(&self.name, &name).ok_or_else(|| self.full(&name))
                    }
                    _ => Ok(0),
                };
                match place {
                    Err(slot) => slot,
                    Ok(place) => {
                        let shared = self.share(&name);
                        let fragment = fragment(&name);
                        self.names.insert(column, name);
                        Slot::Write(Column { fragment, kind, place, shared, on_bad })
                    }
                }
            }
        };
        let index = usize::from(column);
        if self.slots.len() <= index {
            self.slots.resize_with(index + 1, || Slot::Unknown);
        }
        self.slots[index] = slot;
    }

    fn full(&self, name: &str) -> Slot {
        let table = &self.name;
        let detail = format!("`{name}` would be one column too many of {table}: columns_max");
        Slot::Denied(Reason::TooManyColumns, detail)
    }

    /// Marks every slot of a name as one of several; whether there are any.
    fn share(&mut self, name: &str) -> bool {
        let same = self.names.iter().filter(|(_, known)| *known == name);
        let same: Vec<u16> = same.map(|(column, _)| *column).collect();
        for column in &same {
            if let Some(Slot::Write(column)) = self.slots.get_mut(usize::from(*column)) {
                column.shared = true;
            }
        }
        !same.is_empty()
    }
}
