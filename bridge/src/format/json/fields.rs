//! What names mean that valid documents had: each stands in an object at one level, and is a
//! column, an object within, or now the one and now the other.
//!
//! ```text
//! {"ts":1,"from":{"site":"berlin"}}      level 0: ts → column ts, from → level 1
//!                                        level 1: site → column from_site
//! ```
//!
//! Found by a hash, within [`STEPS`] places of a table that grows until all names are. Names that
//! do not fit into the largest are too many, so that no choice of names makes looking slow.

use simd_json::Node;

use super::flatten::{Flattener, after};
use crate::format::document::{Document, all};

/// Names, at most: twice the fields that a record may have.
const NAMES_MAX: usize = 4_096;
/// Bytes of all names, and of the paths to all levels, at most.
const BYTES_MAX: usize = 128 * 1_024;
/// Places of the table in which a name may stand.
const STEPS: usize = 8;
/// Places, at first and at most; powers of two.
const PLACES_MIN: usize = 64;
const PLACES_MAX: usize = 4 * NAMES_MAX;
/// What is around the first level; the level of a place where no name is.
pub(super) const OUTSIDE: u16 = u16::MAX;

/// A name in an object.
#[derive(Clone, Copy)]
pub(super) struct Field {
    /// Its first sixteen bytes, zeros behind its end.
    first: u128,
    len: u32,
    /// Where it begins in `names`.
    name: u32,
    level: u16,
    /// Of its values; 0 if it had none but objects.
    pub(super) column: u16,
    /// The level of its objects; 0 if it had none.
    pub(super) below: u16,
}

const NO_FIELD: Field = Field { first: 0, len: 0, name: 0, level: OUTSIDE, column: 0, below: 0 };

/// Objects at one place of the documents.
struct Level {
    /// What the names of its columns begin with.
    path: String,
    /// The level around it.
    outer: u16,
}

/// All of them.
#[derive(Default)]
pub(super) struct Fields {
    /// A power of two of places, or none.
    places: Vec<Field>,
    names: Vec<u8>,
    levels: Vec<Level>,
    count: usize,
    path_bytes: usize,
    column_max: u16,
}

/// By a name's length: which of sixteen bytes count.
const MASKS: [u128; 17] = {
    let mut masks = [u128::MAX; 17];
    let mut len = 0;
    while len < 16 {
        masks[len] = (1 << (8 * len)) - 1;
        len += 1;
    }
    masks
};

impl Fields {
    /// What the name that begins at `from` means at a level, and where its quote is.
    #[inline(always)]
    pub(super) fn find(
        &self,
        level: u16,
        document: Document<'_>,
        from: usize,
    ) -> Option<(&Field, usize)> {
        let first = document.sixteen(from);
        let len = match quote(first) {
            Some(len) => len,
            None => 16 + memchr::memchr(b'"', document.bytes().get(from + 16..)?)?,
        };
        let first = first & MASKS[len.min(16)];
        let to = from + len;
        for place in near(level, first, len, self.places.len()) {
            let field = self.places.get(place)?;
            if field.first == first
                && field.len as usize == len
                && field.level == level
                && (len <= 16 || self.name(field) == &document.bytes()[from..to])
            {
                return Some((field, to));
            }
        }
        None
    }

    /// The level around another.
    #[inline(always)]
    pub(super) fn outer(&self, level: u16) -> Option<u16> {
        self.levels.get(usize::from(level)).map(|level| level.outer)
    }

    /// The greatest column that a name has.
    pub(super) fn column_max(&self) -> u16 {
        self.column_max
    }

    /// Learns the names of a valid document from its tape, whose first node is an object that the
    /// flattener has been through. Those that have become too many are forgotten first.
    pub(super) fn learn(&mut self, tape: &[Node<'_>], flattener: &Flattener) {
        if self.object(tape, 0, None, flattener).is_none() {
            *self = Fields::default();
            // Of one that is too large alone a part is known, which is right as far as it goes.
            let _too_large = self.object(tape, 0, None, flattener);
        }
    }

    /// Bounded: the parser's caller has checked the depth.
    fn object(
        &mut self,
        tape: &[Node<'_>],
        node: usize,
        level: Option<u16>,
        flattener: &Flattener,
    ) -> Option<()> {
        let level = match level {
            Some(level) => level,
            None if self.levels.is_empty() => self.level(flattener.prefix().to_owned(), OUTSIDE)?,
            None => 0,
        };
        let Node::Object { len, .. } = tape[node] else { return Some(()) };
        let mut at = node + 1;
        for _ in 0..len {
            let Node::String(name) = tape[at] else { return None };
            if !is_plain(name.as_bytes()) {
                at = after(tape, at + 1);
                continue;
            }
            let path = || format!("{}{name}", self.levels[usize::from(level)].path);
            if let Node::Object { .. } = tape[at + 1] {
                let path = path() + flattener.separator();
                let place = self.place(level, name.as_bytes())?;
                if self.places[place].below == 0 {
                    self.places[place].below = self.level(path, level)?;
                }
                self.object(tape, at + 1, Some(self.places[place].below), flattener)?;
            } else {
                let column = flattener.known(&path())?;
                let place = self.place(level, name.as_bytes())?;
                self.places[place].column = column;
                self.column_max = self.column_max.max(column);
            }
            at = after(tape, at + 1);
        }
        Some(())
    }

    /// A new level.
    fn level(&mut self, path: String, outer: u16) -> Option<u16> {
        self.path_bytes += path.len();
        if self.path_bytes > BYTES_MAX || self.levels.len() >= NAMES_MAX {
            return None;
        }
        self.levels.push(Level { path, outer });
        Some((self.levels.len() - 1) as u16)
    }

    /// The place of a name, which it is given if it has none.
    fn place(&mut self, level: u16, name: &[u8]) -> Option<usize> {
        let first = Document::new(name).sixteen(0);
        let known = near(level, first, name.len(), self.places.len()).find(|place| {
            let field = self.places.get(*place);
            field.is_some_and(|field| field.level == level && self.name(field) == name)
        });
        if known.is_some() {
            return known;
        }
        if self.count >= NAMES_MAX || self.names.len() + name.len() > BYTES_MAX {
            return None;
        }
        let (len, at) = (name.len() as u32, self.names.len() as u32);
        self.names.extend_from_slice(name);
        self.count += 1;
        let field = Field { first, len, name: at, level, ..NO_FIELD };
        match enter(&mut self.places, field) {
            Some(place) => Some(place),
            None => self.grow(field),
        }
    }

    /// Makes room for one more, whose place is told.
    fn grow(&mut self, field: Field) -> Option<usize> {
        let mut len = self.places.len().max(PLACES_MIN / 2);
        loop {
            len *= 2;
            if len > PLACES_MAX {
                return None;
            }
            let mut places = vec![NO_FIELD; len];
            let mut known = self.places.iter().filter(|field| field.level != OUTSIDE);
            if !known.all(|field| enter(&mut places, *field).is_some()) {
                continue;
            }
            if let Some(place) = enter(&mut places, field) {
                self.places = places;
                return Some(place);
            }
        }
    }

    fn name(&self, field: &Field) -> &[u8] {
        &self.names[field.name as usize..(field.name + field.len) as usize]
    }

    /// Room for names of all kinds.
    #[cfg(test)]
    pub(super) fn sizes(&self) -> (usize, usize, usize) {
        (self.places.len(), self.names.capacity(), self.levels.capacity())
    }
}

/// The position of the first quote in sixteen bytes.
#[inline(always)]
fn quote(bytes: u128) -> Option<usize> {
    let quotes = |word: u64| {
        let word = word ^ all(b'"');
        // Exact up to the lowest byte that it finds; only above may it see too much.
        u128::from(word.wrapping_sub(all(1)) & !word & all(0x80))
    };
    let found = quotes(bytes as u64) | quotes((bytes >> 64) as u64) << 64;
    (found != 0).then(|| found.trailing_zeros() as usize / 8)
}

/// Whether a name stands in documents as it is; one that is written with escapes would be mistaken
/// for what is no name.
fn is_plain(name: &[u8]) -> bool {
    !name.iter().any(|byte| matches!(byte, b'"' | b'\\' | 0..0x20))
}

/// Puts a field into a free place, if there is one within its steps.
fn enter(places: &mut [Field], field: Field) -> Option<usize> {
    let mut near = near(field.level, field.first, field.len as usize, places.len());
    let free = near.find(|place| places.get(*place).is_some_and(|field| field.level == OUTSIDE))?;
    places[free] = field;
    Some(free)
}

/// Where a name may stand in a table of so many places; anywhere, if it has none.
#[inline(always)]
fn near(level: u16, first: u128, len: usize, places: usize) -> impl Iterator<Item = usize> {
    const ODD: [u64; 2] = [0x9e37_79b9_7f4a_7c15, 0xd6e8_feb8_6659_fd93];
    let low = first as u64 ^ ODD[0];
    let high = (first >> 64) as u64 ^ ODD[1] ^ u64::from(level) << 32 ^ len as u64;
    let product = u128::from(low) * u128::from(high);
    let hash = (product as u64 ^ (product >> 64) as u64) as usize;
    let mask = places.wrapping_sub(1);
    (0..STEPS).map(move |step| hash.wrapping_add(step) & mask)
}
