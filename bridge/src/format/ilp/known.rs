//! What lines before had: the names of each measurement at their places, so that a line like them
//! costs a comparison for each name, and no name is unescaped or looked up twice. That no column
//! comes twice is known as well, for as many names as the line before had and was looked at.

use std::collections::HashMap;

use super::value::unescaped;
use crate::format::document::Document;

/// Measurements that are remembered; one more, and all are forgotten.
const MEASUREMENTS_MAX: usize = 1_024;

type Map<K> = HashMap<K, u32, foldhash::fast::FixedState>;

/// What is known.
#[derive(Default)]
pub(super) struct Known {
    /// Names as they are written, with their `=`.
    names: Vec<Name>,
    by_name: Map<Box<[u8]>>,
    measurements: Vec<Measured>,
    by_measurement: Map<Box<[u8]>>,
    /// The measurement of the line at hand.
    current: usize,
    /// The names that its last line had.
    path: Path,
}

/// What something that is written begins with.
#[derive(Clone, Copy)]
struct Written {
    /// Its first sixteen bytes, and which of them count.
    first: u128,
    mask: u128,
    /// All of its bytes.
    len: usize,
}

/// A tag's or field's name.
struct Name {
    written: Written,
    raw: Box<[u8]>,
    column: u16,
}

/// A measurement.
struct Measured {
    written: Written,
    raw: Box<[u8]>,
    name: Box<str>,
    /// Interned, or 0.
    table: u16,
    /// Empty while this is the measurement at hand.
    path: Path,
}

/// The names that a measurement's last line had, by place.
#[derive(Default)]
struct Path {
    places: Vec<Place>,
    /// Invariant: so many of the places, from the first on, have no column twice, and none that
    /// a line has beside its tags and fields. A line that leaves its path at one of them makes the
    /// path sound up to there only.
    sound: usize,
}

/// A name at its place.
#[derive(Clone, Copy)]
struct Place {
    written: Written,
    column: u16,
    /// Its index among the names.
    name: u32,
}

impl Written {
    fn new(raw: &[u8]) -> Written {
        let (first, len) = (Document::new(raw).sixteen(0), raw.len());
        let mask = if len < 16 { (1 << (8 * len)) - 1 } else { u128::MAX };
        Written { first, mask, len }
    }

    /// Whether the document goes on with its first sixteen bytes.
    #[inline(always)]
    fn begins(&self, document: Document<'_>, at: usize) -> bool {
        (document.sixteen(at) ^ self.first) & self.mask == 0
    }
}

impl Known {
    /// The end of the measurement that stands there, if it is that of the line before.
    #[inline(always)]
    pub(super) fn same_measurement(&self, document: Document<'_>, at: usize) -> Option<usize> {
        let known = self.measurements.get(self.current)?;
        let end = at + known.written.len;
        let is_same = known.written.begins(document, at)
            && (known.written.len <= 16 || document.bytes()[at..].starts_with(&known.raw))
            && matches!(document.byte(end), b',' | b' ');
        is_same.then_some(end)
    }

    /// Makes this measurement the one of the line at hand; false if there is no table for it.
    pub(super) fn turn_to(&mut self, raw: &[u8], table: impl FnOnce(&str) -> Option<u16>) -> bool {
        if let Some(index) = self.by_measurement.get(raw) {
            self.turn(*index as usize);
            return true;
        }
        let name = name_of(raw, b", ");
        let Some(table) = table(&name) else { return false };
        if self.measurements.len() >= MEASUREMENTS_MAX {
            self.measurements.clear();
            self.by_measurement.clear();
            self.path = Path::default();
        }
        let index = self.measurements.len();
        self.by_measurement.insert(raw.into(), index as u32);
        let (written, path) = (Written::new(raw), Path::default());
        self.measurements.push(Measured { written, raw: raw.into(), name, table, path });
        self.turn(index);
        true
    }

    /// Puts the path at hand back, and takes that of another measurement.
    fn turn(&mut self, index: usize) {
        let path = std::mem::take(&mut self.path);
        if let Some(before) = self.measurements.get_mut(self.current) {
            before.path = path;
        }
        self.current = index;
        self.path = std::mem::take(&mut self.measurements[index].path);
    }

    /// The name of the measurement at hand.
    pub(super) fn measurement(&self) -> &str {
        &self.measurements[self.current].name
    }

    /// Its table.
    #[inline]
    pub(super) fn table(&self) -> u16 {
        self.measurements[self.current].table
    }

    /// The column of the name that stands there, and the position behind its `=`, if it is the
    /// one that the measurement's last line had at this place, and if no column comes twice up to
    /// here.
    #[inline(always)]
    pub(super) fn sound_name(
        &self,
        document: Document<'_>,
        at: usize,
        place: usize,
    ) -> Option<(u16, usize)> {
        match place < self.path.sound {
            true => self.same_name(document, at, place),
            false => None,
        }
    }

    /// The same, whatever the columns are.
    #[inline(always)]
    pub(super) fn same_name(
        &self,
        document: Document<'_>,
        at: usize,
        place: usize,
    ) -> Option<(u16, usize)> {
        let Place { written, column, name } = self.path.places.get(place)?;
        let is_same = written.begins(document, at)
            && (written.len <= 16 || self.is_long(*name, document, at));
        is_same.then_some((*column, at + written.len))
    }

    /// Compares all of a name.
    fn is_long(&self, name: u32, document: Document<'_>, at: usize) -> bool {
        document.bytes()[at..].starts_with(&self.names[name as usize].raw)
    }

    /// The columns of so many names of the line at hand, from the first on.
    pub(super) fn columns(&self, places: usize) -> impl Iterator<Item = u16> {
        self.path.places[..places].iter().map(|place| place.column)
    }

    /// Notes that no column came twice in the line at hand, which has so many names. A line may
    /// have the column `other` behind them: names are sound up to the one that has it as well.
    pub(super) fn trust(&mut self, places: usize, other: u16) {
        let sound = self.columns(places).position(|column| column == other);
        self.path.sound = sound.unwrap_or(places);
    }

    /// The column of a name, which is now the one at this place; `None` if the pipeline has no
    /// room for it.
    pub(super) fn learn_name(
        &mut self,
        raw: &[u8],
        place: usize,
        column: impl FnOnce(&str) -> Option<u16>,
    ) -> Option<u16> {
        let index = match self.by_name.get(raw) {
            Some(index) => *index,
            None => {
                let column = column(&name_of(&raw[..raw.len() - 1], b", ="))?;
                let index = self.names.len() as u32;
                self.names.push(Name { written: Written::new(raw), raw: raw.into(), column });
                self.by_name.insert(raw.into(), index);
                index
            }
        };
        let Name { written, column, .. } = self.names[index as usize];
        let Path { places, sound } = &mut self.path;
        // Invariant: places come one after the other, so that none is left out.
        assert!(place <= places.len(), "place {place} of {}", places.len());
        let found = Place { written, column, name: index };
        match place < places.len() {
            true => places[place] = found,
            false => places.push(found),
        }
        *sound = place.min(*sound);
        Some(column)
    }
}

/// A name without its backslashes.
fn name_of(raw: &[u8], special: &[u8]) -> Box<str> {
    let mut name = Vec::with_capacity(raw.len());
    unescaped(raw, 0, special, &mut name);
    // The record is UTF-8, and is cut between ASCII bytes only.
    String::from_utf8(name).unwrap_or_default().into()
}

/// The position of what ends the measurement that begins there.
pub(super) fn end_of_measurement(bytes: &[u8], at: usize) -> usize {
    end_of(bytes, at, b", ")
}

/// The position of what ends the name that begins there.
pub(super) fn end_of_name(bytes: &[u8], at: usize) -> usize {
    end_of(bytes, at, b", =")
}

fn end_of(bytes: &[u8], at: usize, special: &[u8]) -> usize {
    let mut at = at;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' if bytes.get(at + 1).is_some_and(|next| special.contains(next)) => at += 2,
            b'\n' => return at,
            byte if special.contains(byte) => return at,
            _ => at += 1,
        }
    }
    at
}
