//! What a transform says about its records: actions, cells, records for topics and bytes in flat
//! buffers that are reused from batch to batch. While a batch runs, the buffers may grow and move,
//! so pointers into them are positions; [`Output::settle`] turns them into addresses when nothing
//! moves any more.

use std::fmt::{Display, Write};

use bridge_abi::{Action, ActionKind, Cell, Kind, RECORD_BYTES, RecordFields};

use crate::draft::Draft;
use crate::emit::{Emit, Emits};
use crate::init::{Table, Topic};

/// When one of these is passed, the call ends and the host calls again for the records that are
/// left: buffers stay small whatever 1:N makes of a batch. Far below the host's own limits.
const ACTIONS_FULL: usize = 1 << 16;
const CELLS_FULL: usize = 1 << 16;
const BYTES_FULL: usize = 1 << 20;

/// Set in the value of a cell that points into `bytes`: the low half is a position there. The
/// guest's addresses have 32 bits, so a pointer into the input never has it.
const OWN: u64 = 1 << 32;

/// Takes what becomes of the records. The last word on a record counts; a reject stands.
#[derive(Debug, Default)]
pub struct Output {
    pub(crate) actions: Vec<Action>,
    pub(crate) cells: Vec<Cell>,
    pub(crate) bytes: Vec<u8>,
    /// Records for topics.
    pub(crate) emits: Emits,
    /// How many actions end the call: fewer once `emits` are many. One number for both, for it
    /// is compared after every record.
    actions_full: usize,
    /// Index of the current record.
    record: u32,
    /// The first action of the current record.
    first: usize,
    /// The keep, patch or reject of the current record.
    said: Option<usize>,
    rejected: bool,
    input: Input,
}

/// Where the input lies: text that is a part of it need not be copied.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Input {
    start: usize,
    len: usize,
    base: u32,
}

impl Input {
    /// The address of a place (see [`Output::place`]), given where `bytes` lie.
    #[inline]
    pub(crate) fn address(self, place: u32, bytes_at: u32) -> u32 {
        let offset = place.wrapping_sub(self.base);
        match offset.checked_sub(self.len as u32) {
            Some(position) if place != 0 => bytes_at + position,
            _ => place,
        }
    }
}

/// The addresses of an output's buffers.
#[derive(Debug)]
pub(crate) struct Places {
    pub(crate) cells: u32,
    pub(crate) bytes: u32,
    pub(crate) records: u32,
    pub(crate) headers: u32,
}

impl Output {
    #[cfg(target_arch = "wasm32")]
    pub(crate) const fn new() -> Output {
        Output {
            actions: Vec::new(),
            cells: Vec::new(),
            bytes: Vec::new(),
            emits: Emits::new(),
            actions_full: 0,
            record: 0,
            first: 0,
            said: None,
            rejected: false,
            input: Input { start: 0, len: 0, base: 0 },
        }
    }

    /// The record goes on unchanged.
    #[inline]
    pub fn keep(&mut self) {
        self.act(ActionKind::Keep, 0, 0, 0);
    }

    /// The record goes on unchanged, to this table.
    #[inline]
    pub fn keep_in(&mut self, table: Table) {
        self.act(ActionKind::Keep, table.0, 0, 0);
    }

    /// The record goes on with some columns set or dropped.
    #[inline]
    pub fn patch(&mut self) -> Draft<'_> {
        Draft::new(self, ActionKind::Patch)
    }

    /// A new row made from the record, with the columns it is given and no others. As often as
    /// wanted; the record itself only goes on if it is kept or patched as well.
    #[inline]
    pub fn row(&mut self) -> Draft<'_> {
        Draft::new(self, ActionKind::Row)
    }

    /// A record for a Kafka topic, as it is to stand there. As often as wanted, and beside all
    /// else that is said; the record itself only goes on if it is kept or patched as well. Needs
    /// the sink `kafka`; without it the record is refused.
    pub fn emit(&mut self, topic: Topic) -> Emit<'_> {
        Emit::new(self, topic)
    }

    /// The record is refused, with its rows and what was emitted: it goes to the dead letters, with
    /// the reason.
    pub fn reject(&mut self, reason: impl Display) {
        let at = self.bytes.len();
        // Writing to a `String` of its own would allocate. A `Display` that fails leaves the
        // reason cut short, which is still a reason.
        let _ = write!(Tail(&mut self.bytes), "{reason}");
        self.actions.truncate(self.first);
        self.said = None;
        self.rejected = false;
        self.act(ActionKind::Reject, 0, at, self.bytes.len() - at);
        self.rejected = true;
    }

    /// Empties the buffers for a batch over `input`, whose first byte has the address `base`.
    pub(crate) fn begin_batch(&mut self, input: &[u8], base: u32, records: u32) {
        self.actions.clear();
        self.cells.clear();
        self.bytes.clear();
        self.emits.clear();
        self.actions_full = ACTIONS_FULL;
        // Bounded, for a count is only a number; beyond it the buffer grows by itself.
        self.actions.reserve((records as usize).min(ACTIONS_FULL));
        self.input = Input { start: input.as_ptr() as usize, len: input.len(), base };
    }

    #[inline]
    pub(crate) fn begin_record(&mut self, record: u32) {
        self.record = record;
        self.first = self.actions.len();
        self.said = None;
        self.rejected = false;
    }

    /// Whether the call had better end.
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.actions.len() >= self.actions_full
            || self.cells.len() >= CELLS_FULL
            || self.bytes.len() >= BYTES_FULL
    }

    /// Turns positions into addresses, given where the buffers lie. Once a batch, at its end.
    pub(crate) fn settle(&mut self, at: &Places) {
        if self.cells.is_empty() && self.bytes.is_empty() && self.emits.records.is_empty() {
            return;
        }
        for action in &mut self.actions {
            match ActionKind::from_u8(action.kind) {
                Some(ActionKind::Patch | ActionKind::Row) => {
                    action.ptr = at.cells + action.ptr * bridge_abi::CELL_BYTES as u32;
                }
                Some(ActionKind::Reject) => action.ptr += at.bytes,
                Some(ActionKind::Emit) => {
                    action.ptr = at.records + action.ptr * RECORD_BYTES as u32;
                }
                _ => {}
            }
        }
        self.emits.settle(at, self.input);
        if self.bytes.is_empty() {
            return;
        }
        for cell in &mut self.cells {
            if cell.value >> 32 == 1 && Kind::from_u8(cell.kind).is_some_and(Kind::points) {
                cell.value = u64::from(at.bytes) + u64::from(cell.value as u32);
            }
        }
    }

    /// Notes an action of the current record; `at` is a position in its buffer.
    #[inline]
    pub(crate) fn act(&mut self, kind: ActionKind, target: u16, at: usize, len: usize) {
        if self.rejected {
            return;
        }
        let action = Action {
            kind: kind as u8,
            flags: 0,
            target,
            record: self.record,
            ptr: at as u32,
            len: len as u32,
        };
        match self.said {
            Some(said) if kind != ActionKind::Row => self.actions[said] = action,
            _ => {
                if kind != ActionKind::Row {
                    self.said = Some(self.actions.len());
                }
                self.actions.push(action);
            }
        }
    }

    /// Notes a record for a topic; its headers are there already.
    pub(crate) fn act_emit(&mut self, topic: Topic, fields: &RecordFields) {
        if self.rejected {
            self.emits.headers.truncate(fields.headers as usize);
            return;
        }
        let at = self.emits.records.len() as u32;
        self.emits.add(fields);
        if self.emits.headers.len() >= CELLS_FULL || self.emits.pointed >= BYTES_FULL {
            self.actions_full = 0;
        }
        self.actions.push(Action {
            kind: ActionKind::Emit as u8,
            flags: 0,
            target: topic.0,
            record: self.record,
            ptr: at,
            len: RECORD_BYTES as u32,
        });
    }

    /// Where bytes lie, and how many: an address where they are a part of the input, else a
    /// position in `bytes`, counted from the input's end on. (Both share the memory's 32 bits, so
    /// that fits.) Never 0, which is a part that was not asked for.
    pub(crate) fn place(&mut self, bytes: &[u8]) -> (u32, u32) {
        let value = self.point(bytes);
        (self.placed(value), bytes.len() as u32)
    }

    /// The same for the bytes which `write` appends.
    pub(crate) fn place_to(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> (u32, u32) {
        let (value, len) = self.point_to(write);
        (self.placed(value), len)
    }

    fn placed(&self, value: u64) -> u32 {
        let Input { len, base, .. } = self.input;
        match (value >> 32, value as u32) {
            // No bytes at all, which may have any address but this.
            (0, 0) => base,
            (0, address) => address,
            (_, position) => base.wrapping_add(len as u32).wrapping_add(position),
        }
    }

    /// The value of a cell that points to `bytes`: into the input where they are a part of it,
    /// else to a copy.
    #[inline]
    pub(crate) fn point(&mut self, bytes: &[u8]) -> u64 {
        let Input { start, len, base } = self.input;
        let at = (bytes.as_ptr() as usize).wrapping_sub(start);
        if at < len && bytes.len() <= len - at {
            return u64::from(base) + at as u64;
        }
        self.point_to(|tail| tail.extend_from_slice(bytes)).0
    }

    /// The value of a cell that points to the bytes which `write` appends, and their number.
    pub(crate) fn point_to(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> (u64, u32) {
        let at = self.bytes.len();
        write(&mut self.bytes);
        match self.bytes.len() - at {
            0 => (0, 0), // No bytes have any address; 0 needs no settling.
            len => (OWN | at as u64, len as u32),
        }
    }
}

/// Appends formatted text to bytes.
pub(crate) struct Tail<'a>(pub(crate) &'a mut Vec<u8>);

impl Write for Tail<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An output over an input of so many bytes at this address.
    fn output(input: &[u8], base: u32) -> Output {
        let mut output = Output::default();
        output.begin_batch(input, base, 1);
        output
    }

    #[test]
    fn a_place_is_an_address_or_a_position_behind_the_input() {
        let input = [7; 100];
        // The last one: an input that ends where memory does (nothing may end beyond the largest
        // address), so that positions wrap around.
        for base in [48, 1 << 20, u32::MAX - 100] {
            let mut out = output(&input, base);
            let address = |place: (u32, u32)| out.input.address(place.0, 5000);
            assert_eq!(address((0, 0)), 0, "what was not asked for");
            let (first, last) = (out.place(&input[..1]), out.place(&input[99..]));
            let (whole, none) = (out.place(&input), out.place(&input[40..40]));
            let (own, more) = (out.place(b"own"), out.place_to(|tail| tail.push(1)));
            let empty = out.place(&[]);
            let address = |place: (u32, u32)| (out.input.address(place.0, 5000), place.1);
            assert_eq!([first, last].map(address), [(base, 1), (base + 99, 1)]);
            assert_eq!([whole, none].map(address), [(base, 100), (base + 40, 0)]);
            assert_eq!([own, more].map(address), [(5000, 3), (5003, 1)]);
            assert_eq!(address(empty), (base, 0), "no bytes are not at 0");
            assert_eq!(out.bytes, b"own\x01");
        }
    }

    #[test]
    fn emitted_bytes_of_the_input_end_a_call_as_well() {
        let input = vec![7; BYTES_FULL / 2];
        let mut out = output(&input, 48);
        out.begin_record(0);
        out.emit(Topic(1)).value(&input).done();
        assert!(!out.is_full());
        out.emit(Topic(1)).value(&input).done();
        assert!(out.is_full() && out.bytes.is_empty());
        out.begin_batch(&input, 48, 1);
        assert!(!out.is_full());
    }
}
