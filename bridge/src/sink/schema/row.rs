//! One row as its writer sees it: for each place of a schema the value that stands there, be it a
//! cell of the row's or what comes from the record itself.

use bridge_abi::{Cell, Kind};

use crate::batch::{Record, RecordBatch, Row as Cells, RowBatch};
use crate::shape::ColumnType;
use crate::sink::text::{Plain, Source, Timestamps, fit, into_type, push_value};

/// Nothing stands there.
pub const NOTHING: u32 = 0;
/// What stands there is not a cell's number, from 1, but an own column's, from 0.
pub const OWN: u32 = 1 << 31;

/// A row on its way into a value.
pub struct Row<'a> {
    /// What stands at each place.
    pub places: &'a [u32],
    /// The columns that come from the record itself.
    pub own: &'a [Source],
    /// For each of them the header's text, where it is one.
    pub headers: &'a [Option<String>],
    /// The designated timestamp.
    pub stamp: &'a Plain<'a>,
    pub records: &'a RecordBatch,
    pub record: Record<'a>,
    pub rows: &'a RowBatch,
    pub row: &'a Cells,
    pub cells: &'a [Cell],
}

/// What stands at a place.
pub enum Given<'a> {
    /// Nothing.
    Missing,
    /// A null.
    Null,
    /// A cell, and what it points to.
    Cell(&'a Cell, &'a [u8]),
    /// What comes from the record itself.
    Own(Plain<'a>),
}

/// Why a row cannot be written: at which place, and what is wrong there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unfit {
    pub place: u32,
    pub why: String,
}

impl<'a> Row<'a> {
    /// What stands at a place.
    #[inline]
    pub fn given(&self, place: u32) -> Given<'a> {
        match self.places[place as usize] {
            NOTHING => Given::Missing,
            own if own & OWN != 0 => self.own((own ^ OWN) as usize),
            number => {
                let cell = &self.cells[number as usize - 1];
                match cell.kind == Kind::Null as u8 {
                    true => Given::Null,
                    false => Given::Cell(cell, self.rows.pointed(cell)),
                }
            }
        }
    }

    /// Whether anything but nulls stands at one of these places.
    #[inline]
    pub fn has_any(&self, places: &[u32]) -> bool {
        places.iter().any(|place| match self.places[*place as usize] {
            NOTHING => false,
            own if own & OWN != 0 => true,
            number => self.cells[number as usize - 1].kind != Kind::Null as u8,
        })
    }

    fn own(&self, at: usize) -> Given<'a> {
        let from = &self.records.source;
        Given::Own(match &self.own[at] {
            Source::Stamp => match self.stamp {
                Plain::Null => return Given::Null,
                stamp => stamp.clone(),
            },
            Source::Topic => Plain::Text(from.topic.as_bytes()),
            Source::Partition => Plain::Integer(i64::from(from.partition)),
            Source::Offset => Plain::Integer(self.record.offset),
            Source::Row => Plain::Integer(i64::from(self.row.number)),
            Source::Timestamp => {
                Plain::Instant(i128::from(self.record.timestamp_ms.max(0)) * 1_000_000, 3)
            }
            Source::Header(_) => match &self.headers[at] {
                Some(text) => Plain::Text(text.as_bytes()),
                None => return Given::Null,
            },
        })
    }
}

impl<'a> Given<'a> {
    /// It as a column of a type would have it; `None` if that does not take it.
    #[inline]
    pub fn fit(&self, kind: ColumnType) -> Option<Plain<'a>> {
        match self {
            Given::Missing | Given::Null => None,
            Given::Cell(cell, bytes) => fit(cell, bytes, Some(kind)).ok(),
            Given::Own(plain) => into_type(plain.clone(), &[], kind),
        }
    }

    /// It as it is.
    pub fn natural(&self) -> Option<Plain<'a>> {
        match self {
            Given::Missing | Given::Null => None,
            Given::Cell(cell, bytes) => fit(cell, bytes, None).ok(),
            Given::Own(plain) => Some(plain.clone()),
        }
    }

    /// Whether it is a point in time.
    pub fn is_instant(&self) -> bool {
        match self {
            Given::Missing | Given::Null => false,
            Given::Cell(cell, _) => cell.kind == Kind::Timestamp as u8,
            Given::Own(plain) => matches!(plain, Plain::Instant(..)),
        }
    }

    /// As a person reads it.
    #[cold]
    pub fn shown(&self) -> String {
        match self {
            Given::Missing => "nothing".to_owned(),
            Given::Null => "null".to_owned(),
            Given::Cell(cell, bytes) => crate::sink::questdb::shown(cell, bytes),
            Given::Own(plain) => {
                let mut text = Vec::new();
                push_value(&mut text, plain, Timestamps::Iso);
                String::from_utf8_lossy(&text).into_owned()
            }
        }
    }
}
