//! The four structs of the contract, their byte offsets and their kinds. All integers are
//! little-endian; pointers are absolute `u32` addresses in the guest's memory; every struct and
//! array is 8-aligned.

/// The version that this layout carries: settled, so only what `ABI.md` allows may change.
pub const ABI: u16 = 1;

/// Bytes of the batch header.
pub const BATCH_BYTES: usize = 48;
/// Bytes of a record, the stride from one to the next.
pub const RECORD_BYTES: usize = 64;
/// Bytes of a cell.
pub const CELL_BYTES: usize = 16;
/// Bytes of an action.
pub const ACTION_BYTES: usize = 16;

/// What a cell holds. The numbers are part of the contract.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Kind {
    /// An explicit null. A missing field has no cell at all.
    #[default]
    Null = 0,
    /// `value` is 0 or 1.
    Bool = 1,
    /// `value` is an `i64`.
    I64 = 2,
    /// `value` is the bits of an `f64`.
    F64 = 3,
    /// `value` points to `len` bytes of UTF-8.
    Text = 4,
    /// As `Text`, and meant as a symbol (few distinct values).
    Symbol = 5,
    /// `value` is an `i64` since 1970, in the unit that `flags` names (see [`Unit`]).
    Timestamp = 6,
    /// `value` points to `len` bytes.
    Bytes = 7,
    /// `value` points to `len` bytes: the unscaled number, big-endian two's complement; `flags`
    /// is the scale.
    Decimal = 8,
    /// `value` points to `len` bytes: `u32` number of dimensions, one `u32` each, padding to 8
    /// bytes from the start of the array, then the `f64`s in row-major order.
    Array = 9,
}

impl Kind {
    /// The kind behind a number that a guest wrote.
    pub const fn from_u8(kind: u8) -> Option<Kind> {
        Some(match kind {
            0 => Kind::Null,
            1 => Kind::Bool,
            2 => Kind::I64,
            3 => Kind::F64,
            4 => Kind::Text,
            5 => Kind::Symbol,
            6 => Kind::Timestamp,
            7 => Kind::Bytes,
            8 => Kind::Decimal,
            9 => Kind::Array,
            _ => return None,
        })
    }

    /// Whether `value` is an address and `len` counts the bytes behind it.
    pub const fn points(self) -> bool {
        matches!(self, Kind::Text | Kind::Symbol | Kind::Bytes | Kind::Decimal | Kind::Array)
    }
}

/// The unit of a timestamp cell, in its `flags`.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    /// Seconds.
    Seconds = 0,
    /// Milliseconds.
    Millis = 1,
    /// Microseconds.
    Micros = 2,
    /// Nanoseconds.
    Nanos = 3,
}

impl Unit {
    /// The unit behind a number that a guest wrote.
    pub const fn from_u8(unit: u8) -> Option<Unit> {
        Some(match unit {
            0 => Unit::Seconds,
            1 => Unit::Millis,
            2 => Unit::Micros,
            3 => Unit::Nanos,
            _ => return None,
        })
    }
}

/// One column of one row. In the guest's memory pointers are addresses there; in a row batch of
/// the host they are offsets into the batch's arena.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Cell {
    /// The interned column; 0 is none.
    pub column: u16,
    /// A [`Kind`] as its number, for a guest may have written anything.
    pub kind: u8,
    /// The unit of a timestamp, the scale of a decimal, else 0.
    pub flags: u8,
    /// Bytes behind a pointer, else 0.
    pub len: u32,
    /// The value itself, or a pointer.
    pub value: u64,
}

/// What becomes of a record.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ActionKind {
    /// Unchanged; no bytes move. `target` may name another table.
    Keep = 1,
    /// `ptr` points to `len` cells that replace or (kind null with flag [`CELL_DROP`]) drop
    /// columns of the record.
    Patch = 2,
    /// `ptr` points to `len` cells: a new row made from the record (1:N).
    Row = 3,
    /// `ptr` points to `len` bytes of UTF-8: why the record is refused.
    Reject = 4,
    /// `ptr` points to a record for a Kafka topic; refused unless the sink is `kafka`.
    Emit = 5,
}

impl ActionKind {
    /// The action behind a number that a guest wrote.
    pub const fn from_u8(kind: u8) -> Option<ActionKind> {
        Some(match kind {
            1 => ActionKind::Keep,
            2 => ActionKind::Patch,
            3 => ActionKind::Row,
            4 => ActionKind::Reject,
            5 => ActionKind::Emit,
            _ => return None,
        })
    }
}

/// Flag of a null cell in a patch: the column is dropped, as if it had been missing.
pub const CELL_DROP: u8 = 1;

/// Flag of a record: its key is null.
pub const RECORD_KEY_NULL: u16 = 1;
/// Flag of a record: its value is null.
pub const RECORD_VALUE_NULL: u16 = 2;
/// Flag of a record: its rows delete the rows of their keys.
pub const RECORD_DELETES: u16 = 4;

/// Bits that `bridge_init` answers: what the module reads of a record.
pub mod wants {
    /// The key's bytes.
    pub const KEY: i32 = 1;
    /// The headers.
    pub const HEADERS: i32 = 2;
    /// The value's raw bytes.
    pub const VALUE: i32 = 4;
    /// Every column.
    pub const COLUMNS: i32 = 8;
    /// Only the columns that were interned during init.
    pub const INTERNED: i32 = 16;
}

/// Bytes of one header of a record.
pub const HEADER_BYTES: usize = 16;
/// `value_len` of a header whose value is null.
pub const NULL_LEN: u32 = u32::MAX;
/// A decimal's unscaled number: QuestDB's widest is 256 bits.
pub const DECIMAL_BYTES_MAX: usize = 32;
/// The largest scale of a decimal: the digits of 256 bits.
pub const DECIMAL_SCALE_MAX: u8 = 76;
/// The most dimensions that QuestDB takes.
pub const ARRAY_DIMS_MAX: u32 = 32;

/// Byte offsets in the batch header.
pub mod batch_at {
    /// `u16`, the version.
    pub const ABI: usize = 0;
    /// `u16`, bytes of this header.
    pub const SIZE: usize = 2;
    /// `u16`, bytes from one record to the next.
    pub const RECORD_STRIDE: usize = 4;
    /// `u16`, bytes from one cell to the next.
    pub const CELL_STRIDE: usize = 6;
    /// `u32`, number of records.
    pub const COUNT: usize = 8;
    /// `u32`, address of the first record.
    pub const RECORDS: usize = 12;
    /// `u32`, how many records were dealt with; the host writes `count`, the guest may lower it.
    pub const CONSUMED: usize = 16;
    /// `u32`, 0 in this version.
    pub const FLAGS: usize = 20;
    /// `i64`, microseconds since 1970.
    pub const NOW_US: usize = 24;
    /// `u64`, the number of the call.
    pub const SEQUENCE: usize = 32;
    /// `u32`, bytes of the whole input, from this header on.
    pub const IN_LEN: usize = 40;
    /// `u32`, the guest writes which record it is at.
    pub const PROGRESS: usize = 44;
}

/// Byte offsets in a record.
pub mod record_at {
    /// `i64`, Kafka's offset.
    pub const OFFSET: usize = 0;
    /// `i64`, Kafka's timestamp in milliseconds, -1 for none.
    pub const TIMESTAMP_MS: usize = 8;
    /// `i32`, the partition.
    pub const PARTITION: usize = 16;
    /// `u16`, the interned topic.
    pub const TOPIC: usize = 20;
    /// `u16`, see [`super::RECORD_KEY_NULL`].
    pub const FLAGS: usize = 22;
    /// `u32`, address of the first cell.
    pub const CELLS: usize = 24;
    /// `u16`, number of cells.
    pub const CELL_COUNT: usize = 28;
    /// `u16`, the interned table, 0 while none was chosen.
    pub const TABLE: usize = 30;
    /// `u32`, address of the key.
    pub const KEY: usize = 32;
    /// `u32`, bytes of the key.
    pub const KEY_LEN: usize = 36;
    /// `u32`, address of the value.
    pub const VALUE: usize = 40;
    /// `u32`, bytes of the value.
    pub const VALUE_LEN: usize = 44;
    /// `u32`, address of the first header.
    pub const HEADERS: usize = 48;
    /// `u32`, number of headers.
    pub const HEADER_COUNT: usize = 52;
    /// `u32`, index of the original record in the batch, kept through a chain.
    pub const SOURCE: usize = 56;
    /// `u32`, 0.
    pub const RESERVED: usize = 60;
}

/// The batch header, as values.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BatchHeader {
    /// The version of the layout.
    pub abi: u16,
    /// Bytes of the header.
    pub size: u16,
    /// Bytes from one record to the next.
    pub record_stride: u16,
    /// Bytes from one cell to the next.
    pub cell_stride: u16,
    /// Number of records.
    pub count: u32,
    /// Address of the first record.
    pub records: u32,
    /// How many records were dealt with.
    pub consumed: u32,
    /// 0 in this version.
    pub flags: u32,
    /// The host's clock in microseconds since 1970.
    pub now_us: i64,
    /// The number of the call.
    pub sequence: u64,
    /// Bytes of the whole input.
    pub in_len: u32,
    /// The record the guest is at.
    pub progress: u32,
}

impl BatchHeader {
    /// The header of a call over `count` records at address `records`, with this version's sizes.
    pub const fn new(count: u32, records: u32) -> BatchHeader {
        BatchHeader {
            abi: ABI,
            size: BATCH_BYTES as u16,
            record_stride: RECORD_BYTES as u16,
            cell_stride: CELL_BYTES as u16,
            count,
            records,
            consumed: count,
            flags: 0,
            now_us: 0,
            sequence: 0,
            in_len: 0,
            progress: 0,
        }
    }
}

/// One record, as values; pointers are the guest's addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RecordFields {
    /// Kafka's offset.
    pub offset: i64,
    /// Kafka's timestamp in milliseconds, -1 for none.
    pub timestamp_ms: i64,
    /// The partition's number in its topic.
    pub partition: i32,
    /// The interned topic.
    pub topic: u16,
    /// [`RECORD_KEY_NULL`], [`RECORD_VALUE_NULL`], [`RECORD_DELETES`].
    pub flags: u16,
    /// Address of the first cell.
    pub cells: u32,
    /// Number of cells.
    pub cell_count: u16,
    /// The interned table, 0 while none was chosen.
    pub table: u16,
    /// Address of the key.
    pub key: u32,
    /// Bytes of the key.
    pub key_len: u32,
    /// Address of the value.
    pub value: u32,
    /// Bytes of the value.
    pub value_len: u32,
    /// Address of the first header.
    pub headers: u32,
    /// Number of headers.
    pub header_count: u32,
    /// Index of the original record in the batch.
    pub source: u32,
}

/// One header of a record: `u32` name, `u32` name_len, `u32` value, `u32` value_len.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct HeaderFields {
    /// Address of the name (bytes: Kafka promises no UTF-8).
    pub name: u32,
    /// Bytes of the name.
    pub name_len: u32,
    /// Address of the value.
    pub value: u32,
    /// Bytes of the value, [`NULL_LEN`] for null.
    pub value_len: u32,
}

/// What becomes of a record, as the guest leaves it.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Action {
    /// An [`ActionKind`] as its number, for a guest may have written anything.
    pub kind: u8,
    /// 0 in this version.
    pub flags: u8,
    /// An interned table (0: as before), or a topic.
    pub target: u16,
    /// Index of the record, counted from this call's `records`.
    pub record: u32,
    /// Address of cells or text.
    pub ptr: u32,
    /// Number of cells, or bytes of text.
    pub len: u32,
}

/// First argument of the import `name`: which kind of id is asked about.
pub mod names {
    /// A column.
    pub const COLUMN: i32 = 0;
    /// A table.
    pub const TABLE: i32 = 1;
    /// A topic.
    pub const TOPIC: i32 = 2;
}

/// First argument of the import `log`.
pub mod levels {
    /// Something is wrong.
    pub const ERROR: i32 = 0;
    /// Something may be wrong.
    pub const WARN: i32 = 1;
    /// Worth knowing.
    pub const INFO: i32 = 2;
    /// For the author.
    pub const DEBUG: i32 = 3;
}

/// First argument of the import `metric`.
pub mod metrics {
    /// The value is added.
    pub const COUNTER: i32 = 0;
    /// The value replaces the last one.
    pub const GAUGE: i32 = 1;
}

// A struct that grew by accident would be a broken contract.
const _: () = assert!(core::mem::size_of::<Cell>() == CELL_BYTES);
const _: () = assert!(core::mem::size_of::<Action>() == ACTION_BYTES);
