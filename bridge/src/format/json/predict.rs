//! Records of a topic resemble each other: the next one most often has the names of the last one,
//! in the same order. So each name is compared with what stood there before, and only values are
//! parsed, straight into cells. Whatever is unusual (an escape, an exponent, nesting, another
//! order, anything that is wrong) is left to the parser that knows all of JSON, which then shows
//! what the next records may look like.
//!
//! A record that is read here has the rows that the other parser would have made of it; tests hold
//! the two against each other.

use bridge_abi::{Cell, Kind};

use super::number;
use crate::batch::RowBatch;

/// Shapes that are remembered: fields may be missing here and there.
const SHAPES_MAX: usize = 4;
/// Fields of a shape; wider records gain little from it.
const FIELDS_MAX: usize = 512;
/// After so many misses in a row, shapes are learned from every so-many-th record only.
const PATIENCE: u32 = 32;

/// The names of a record, in order.
struct Shape {
    /// `"name":` as it is written, and its column.
    fields: Vec<(Box<[u8]>, u16)>,
}

/// Remembers what records looked like.
#[derive(Default)]
pub struct Predictor {
    /// The one that fitted last stands first.
    shapes: Vec<Shape>,
    misses: u32,
}

impl Predictor {
    /// Appends the cells of a record that looks like one before; leaves everything as it was if
    /// it does not.
    #[inline]
    pub fn read(&mut self, value: &[u8], rows: &mut RowBatch) -> bool {
        let (cells, arena) = (rows.cells.len(), rows.arena.len());
        for index in 0..self.shapes.len() {
            if self.shapes[index].read(value, rows).is_some() {
                if index > 0 {
                    self.shapes.swap(0, index);
                }
                self.misses = 0;
                return true;
            }
            rows.cells.truncate(cells);
            rows.arena.truncate(arena);
        }
        self.misses = self.misses.saturating_add(1);
        false
    }

    /// Remembers the shape of a record that the other parser took, if it is a flat one.
    /// `column` tells the column of a name.
    pub fn learn(&mut self, value: &[u8], column: impl FnMut(&str) -> Option<u16>) {
        if self.misses > PATIENCE && !self.misses.is_multiple_of(PATIENCE) {
            return;
        }
        let Some(shape) = Shape::of(value, column) else { return };
        self.shapes.truncate(SHAPES_MAX - 1);
        self.shapes.insert(0, shape);
    }
}

impl Shape {
    /// The shape of a flat object without escapes in its names, each of them once.
    fn of(value: &[u8], mut column: impl FnMut(&str) -> Option<u16>) -> Option<Shape> {
        let mut fields: Vec<(Box<[u8]>, u16)> = Vec::new();
        let mut at = after(value, 0, b'{')?;
        loop {
            let start = at;
            let end = text_end(value, after(value, at, b'"')?)?.0;
            let name = std::str::from_utf8(&value[start + 1..end]).ok()?;
            at = after(value, end + 1, b':')?;
            let id = column(name)?;
            if fields.len() >= FIELDS_MAX || fields.iter().any(|(_, known)| *known == id) {
                return None;
            }
            fields.push((value[start..at].into(), id));
            at = space(value, at);
            at = match *value.get(at)? {
                b'"' => text_end(value, at + 1)?.0 + 1,
                b'{' | b'[' => return None,
                _ => at + value[at..].iter().position(|byte| matches!(byte, b',' | b'}'))?,
            };
            match value.get(at)? {
                b',' => at = space(value, at + 1),
                b'}' if at + 1 == value.len() => return Some(Shape { fields }),
                _ => return None,
            }
        }
    }

    /// Reads a record of this shape; `None` if it is not one, with some cells appended.
    #[inline]
    fn read(&self, value: &[u8], rows: &mut RowBatch) -> Option<()> {
        let mut at = after(value, 0, b'{')?;
        for (index, (name, column)) in self.fields.iter().enumerate() {
            if index > 0 {
                at = space(value, after(value, at, b',')?);
            }
            if !value.get(at..)?.starts_with(name) {
                return None;
            }
            at = space(value, at + name.len());
            let plain = |kind: Kind, value: u64| Cell {
                column: *column,
                kind: kind as u8,
                flags: 0,
                len: 0,
                value,
            };
            let cell = match *value.get(at)? {
                b'"' => {
                    let start = at + 1;
                    let (end, ascii) = text_end(value, start)?;
                    let text = &value[start..end];
                    if !ascii && simdutf8::basic::from_utf8(text).is_err() {
                        return None;
                    }
                    at = end + 1;
                    rows.cell_bytes(*column, Kind::Text, 0, text)
                }
                b't' => {
                    at = word(value, at, b"true")?;
                    plain(Kind::Bool, 1)
                }
                b'f' => {
                    at = word(value, at, b"false")?;
                    plain(Kind::Bool, 0)
                }
                b'n' => {
                    at = word(value, at, b"null")?;
                    plain(Kind::Null, 0)
                }
                _ => {
                    let (number, end) = number::read(value, at)?;
                    at = end;
                    match number {
                        number::Number::Integer(integer) => plain(Kind::I64, integer as u64),
                        number::Number::Double(double) => plain(Kind::F64, double.to_bits()),
                    }
                }
            };
            rows.cells.push(cell);
        }
        at = after(value, at, b'}')?;
        (at == value.len()).then_some(())
    }
}

/// The position after a byte that must stand there.
#[inline]
fn after(value: &[u8], at: usize, byte: u8) -> Option<usize> {
    (*value.get(at)? == byte).then_some(at + 1)
}

/// The position after a space, if there is one: some writers put one behind `:` and `,`.
#[inline]
fn space(value: &[u8], at: usize) -> usize {
    at + usize::from(value.get(at) == Some(&b' '))
}

#[inline]
fn word(value: &[u8], at: usize, word: &[u8]) -> Option<usize> {
    value.get(at..)?.starts_with(word).then_some(at + word.len())
}

const ONES: u64 = u64::from_ne_bytes([0x01; 8]);
const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);

/// The position of the quote that ends a text, and whether it is ASCII all through. `None` at an
/// escape, at a control character and at the end of the record.
///
/// Eight bytes at once: `(x - n·ones) & !x & high` marks bytes below `n`. A borrow may mark a byte
/// behind a marked one wrongly, never the first, and only the first is looked at.
#[inline]
fn text_end(value: &[u8], from: usize) -> Option<(usize, bool)> {
    let mut at = from;
    while let Some(eight) = value.get(at..at + 8) {
        let x = u64::from_le_bytes(eight.try_into().expect("eight bytes"));
        let equals = |byte: u8| {
            let zero = x ^ (ONES * u64::from(byte));
            zero.wrapping_sub(ONES) & !zero
        };
        let control = x.wrapping_sub(ONES * 0x20) & !x;
        let marked = (equals(b'"') | equals(b'\\') | control | x) & HIGH;
        if marked != 0 {
            at += (marked.trailing_zeros() / 8) as usize;
            return match value[at] {
                b'"' => Some((at, true)),
                0x80.. => slow_text_end(value, at).map(|end| (end, false)),
                _ => None,
            };
        }
        at += 8;
    }
    let end = slow_text_end(value, at)?;
    Some((end, value[at..end].is_ascii()))
}

/// The same byte by byte, for what is not ASCII and for a record's last bytes.
fn slow_text_end(value: &[u8], from: usize) -> Option<usize> {
    let rest = value.get(from..)?;
    let length = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20))?;
    (rest[length] == b'"').then_some(from + length)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SENSOR: &[u8] = concat!(
        r#"{"ts":1700000000123456,"sensor":"s-00123","site":"berlin","temperature":21.53,"#,
        r#""humidity":40.1,"pressure":1013.2,"seq":123456,"ok":true}"#
    )
    .as_bytes();

    fn learned(value: &[u8]) -> Predictor {
        let mut predictor = Predictor::default();
        let mut next = 0;
        predictor.learn(value, |_| {
            next += 1;
            Some(next)
        });
        predictor
    }

    #[test]
    fn records_like_the_last_one_are_read() {
        let mut predictor = learned(SENSOR);
        let mut rows = RowBatch::default();
        assert!(predictor.read(SENSOR, &mut rows));
        assert_eq!(rows.cells.len(), 8);
        assert_eq!(rows.arena, b"s-00123berlin");
        assert_eq!(rows.cells[0].value, 1_700_000_000_123_456);
        assert_eq!(f64::from_bits(rows.cells[3].value), 21.53);
        let head = r#"{"ts": 1, "sensor": "", "site": ""#;
        let tail =
            r#"", "temperature": null, "humidity": 1, "pressure": 1, "seq": 1, "ok": false}"#;
        let escaped = [head, "k\\u00f6ln", tail].concat();
        assert!(!predictor.read(escaped.as_bytes(), &mut rows), "an escape");
        let spaced = [head, "köln", tail].concat();
        assert!(predictor.read(spaced.as_bytes(), &mut rows));
        assert_eq!(rows.cells.len(), 16);
    }

    #[test]
    fn what_is_cut_or_changed_leaves_nothing_behind() {
        let mut predictor = learned(SENSOR);
        let mut rows = RowBatch::default();
        for cut in 0..SENSOR.len() {
            assert!(!predictor.read(&SENSOR[..cut], &mut rows), "{cut}");
        }
        let longer = [SENSOR, b" "].concat();
        assert!(!predictor.read(&longer, &mut rows));
        assert!(rows.cells.is_empty() && rows.arena.is_empty());
    }

    #[test]
    fn shapes_take_turns() {
        let mut predictor = Predictor::default();
        let records: [&[u8]; 3] = [br#"{"a":1,"b":2}"#, br#"{"a":1}"#, br#"{"b":2}"#];
        for record in records {
            predictor.learn(record, |name| Some(u16::from(name.as_bytes()[0])));
        }
        let mut rows = RowBatch::default();
        for record in records.iter().cycle().take(12) {
            assert!(predictor.read(record, &mut rows));
        }
        for nested in [&br#"{"a":{"b":1}}"#[..], br#"{"a":[1]}"#, br#"{"a":1,"a":2}"#, br#"{}"#] {
            assert!(learned_nothing(nested), "{}", nested.escape_ascii());
        }
    }

    fn learned_nothing(value: &[u8]) -> bool {
        let mut predictor = Predictor::default();
        predictor.learn(value, |name| Some(u16::from(name.as_bytes()[0])));
        predictor.shapes.is_empty()
    }

    #[test]
    fn the_end_of_a_text_is_found_wherever_it_stands() {
        for length in 0..40 {
            for (last, wanted) in [(&b"\""[..], true), (b"\\", false), (b"\x1f", false)] {
                let text = [vec![b'x'; length], last.to_vec(), vec![b'"'; 9]].concat();
                let found = text_end(&text, 0);
                assert_eq!(found, wanted.then_some((length, true)), "{length} {last:?}");
            }
            let text = [vec![b'x'; length], "ü\"".into(), vec![b'\\'; 9]].concat();
            assert_eq!(text_end(&text, 0), Some((length + 2, false)));
        }
        assert_eq!(text_end(b"abc", 0), None);
    }
}
