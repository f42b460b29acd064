//! What lines before had: the names of each measurement at their places, so that a line like them
//! costs a comparison for each name, and no name is unescaped or looked up twice.

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
}

/// A tag's or field's name.
struct Name {
    /// Its first sixteen bytes, and which of them count.
    first: u128,
    mask: u128,
    raw: Box<[u8]>,
    column: u16,
}

/// A measurement.
struct Measured {
    raw: Box<[u8]>,
    name: Box<str>,
    /// Interned, or 0.
    table: u16,
    /// The names that its last line had, by place.
    places: Vec<u32>,
}

impl Known {
    /// The end of the measurement that stands there, if it is that of the line before.
    #[inline]
    pub(super) fn same_measurement(&self, document: Document<'_>, at: usize) -> Option<usize> {
        let known = self.measurements.get(self.current)?;
        let end = at + known.raw.len();
        let is_same = document.bytes()[at..].starts_with(&known.raw)
            && matches!(document.byte(end), b',' | b' ');
        is_same.then_some(end)
    }

    /// Makes this measurement the one of the line at hand; false if there is no table for it.
    pub(super) fn turn_to(&mut self, raw: &[u8], table: impl FnOnce(&str) -> Option<u16>) -> bool {
        if let Some(index) = self.by_measurement.get(raw) {
            self.current = *index as usize;
            return true;
        }
        let name = name_of(raw, b", ");
        let Some(table) = table(&name) else { return false };
        if self.measurements.len() >= MEASUREMENTS_MAX {
            self.measurements.clear();
            self.by_measurement.clear();
        }
        self.current = self.measurements.len();
        self.by_measurement.insert(raw.into(), self.current as u32);
        self.measurements.push(Measured { raw: raw.into(), name, table, places: Vec::new() });
        true
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
    /// one that the measurement's last line had at this place.
    #[inline]
    pub(super) fn same_name(
        &self,
        document: Document<'_>,
        at: usize,
        place: usize,
    ) -> Option<(u16, usize)> {
        let index = *self.measurements[self.current].places.get(place)?;
        let name = &self.names[index as usize];
        let is_same = (document.sixteen(at) ^ name.first) & name.mask == 0
            && (name.raw.len() <= 16 || document.bytes()[at..].starts_with(&name.raw));
        is_same.then_some((name.column, at + name.raw.len()))
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
                let (first, len) = (Document::new(raw).sixteen(0), raw.len());
                let mask = if len < 16 { (1 << (8 * len)) - 1 } else { u128::MAX };
                self.names.push(Name { first, mask, raw: raw.into(), column });
                self.by_name.insert(raw.into(), index);
                index
            }
        };
        let places = &mut self.measurements[self.current].places;
        // Invariant: places come one after the other, so that none is left out.
        assert!(place <= places.len(), "place {place} of {}", places.len());
        match place < places.len() {
            true => places[place] = index,
            false => places.push(index),
        }
        Some(self.names[index as usize].column)
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
