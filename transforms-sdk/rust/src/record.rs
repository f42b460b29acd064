//! One record as a transform sees it: columns by their interned names, and where it came from.
//! Nothing is copied; what the host did not write, or wrote wrongly, reads as missing.

use bridge_abi::{
    CELL_BYTES, Cell, HEADER_BYTES, HeaderFields, Kind, NULL_LEN, RECORD_BYTES, RECORD_DELETES,
    RECORD_KEY_NULL, RECORD_VALUE_NULL, RecordFields, Value, read, value,
};

use crate::init::{Column, Table, Topic};

/// The input of one call: the bytes behind the batch header, and the address of the first.
/// Addresses are the module's own in wasm, and made up by the harness in native tests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) base: u32,
}

impl<'a> Memory<'a> {
    /// The position of an address.
    #[inline]
    pub(crate) fn at(self, address: u32) -> Option<usize> {
        address.checked_sub(self.base).map(|at| at as usize)
    }

    #[inline]
    fn bytes(self, address: u32, len: usize) -> Option<&'a [u8]> {
        read::bytes(self.bytes, self.at(address)?, len)
    }
}

/// One record of the batch.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    memory: Memory<'a>,
    fields: RecordFields,
    cells: &'a [u8],
    cell_stride: usize,
}

/// One header of a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header<'a> {
    /// Its name; Kafka promises no UTF-8.
    pub name: &'a [u8],
    /// Its value, `None` for null.
    pub value: Option<&'a [u8]>,
}

impl<'a> Record<'a> {
    #[inline]
    pub(crate) fn new(
        memory: Memory<'a>,
        record: &[u8; RECORD_BYTES],
        cell_stride: usize,
    ) -> Record<'a> {
        let fields = read::record_fields(record);
        let len = usize::from(fields.cell_count) * cell_stride;
        let cells = memory.bytes(fields.cells, len).unwrap_or(&[]);
        Record { memory, fields, cells, cell_stride }
    }

    /// A number; integers are turned into `f64`. `None` for a column that is missing, null or of
    /// another kind, as with all of these.
    #[inline]
    pub fn f64(&self, column: Column) -> Option<f64> {
        let cell = self.cell(column)?;
        match Kind::from_u8(cell.kind)? {
            Kind::F64 => Some(f64::from_bits(cell.value)),
            Kind::I64 => Some(cell.value as i64 as f64),
            _ => None,
        }
    }

    /// An integer.
    #[inline]
    pub fn i64(&self, column: Column) -> Option<i64> {
        let cell = self.cell(column)?;
        (cell.kind == Kind::I64 as u8).then_some(cell.value as i64)
    }

    /// True or false.
    #[inline]
    pub fn bool(&self, column: Column) -> Option<bool> {
        let cell = self.cell(column)?;
        (cell.kind == Kind::Bool as u8).then_some(cell.value == 1)
    }

    /// Text or symbol.
    #[inline]
    pub fn text(&self, column: Column) -> Option<&'a str> {
        match self.get(column)? {
            Value::Text(text) | Value::Symbol(text) => Some(text),
            _ => None,
        }
    }

    /// A timestamp and its unit.
    #[inline]
    pub fn timestamp(&self, column: Column) -> Option<(i64, bridge_abi::Unit)> {
        match self.get(column)? {
            Value::Timestamp(since_1970, unit) => Some((since_1970, unit)),
            _ => None,
        }
    }

    /// The numbers of an array.
    #[inline]
    pub fn array(&self, column: Column) -> Option<bridge_abi::Array<'a>> {
        match self.get(column)? {
            Value::Array(array) => Some(array),
            _ => None,
        }
    }

    /// Whatever the column holds; `Some(Value::Null)` is an explicit null, `None` a missing one.
    #[inline]
    pub fn get(&self, column: Column) -> Option<Value<'a>> {
        self.decode(&self.cell(column)?)
    }

    /// All columns that came along, in their order.
    pub fn columns(&self) -> impl Iterator<Item = (Column, Value<'a>)> + use<'a> {
        let record = *self;
        self.cells().filter_map(move |cell| Some((Column(cell.column), record.decode(&cell)?)))
    }

    /// The key, if [`crate::Init::want_key`] was asked for and it is not null.
    pub fn key(&self) -> Option<&'a [u8]> {
        self.nullable(RECORD_KEY_NULL, self.fields.key, self.fields.key_len)
    }

    /// The raw value, if [`crate::Init::want_value`] was asked for and it is not null.
    pub fn value(&self) -> Option<&'a [u8]> {
        self.nullable(RECORD_VALUE_NULL, self.fields.value, self.fields.value_len)
    }

    /// Whether all that becomes of it names rows to delete: it says so itself, as an event of a
    /// deletion does, or it has no value and these are to delete (`null_value = "delete"`).
    pub fn deletes(&self) -> bool {
        self.fields.flags & (RECORD_DELETES | RECORD_VALUE_NULL) != 0
    }

    /// The headers, if [`crate::Init::want_headers`] was asked for.
    pub fn headers(&self) -> impl Iterator<Item = Header<'a>> + use<'a> {
        let memory = self.memory;
        self.raw_headers().map_while(move |header| {
            let value = match header.value_len {
                NULL_LEN => None,
                len => Some(memory.bytes(header.value, len as usize)?),
            };
            Some(Header { name: memory.bytes(header.name, header.name_len as usize)?, value })
        })
    }

    /// Kafka's offset.
    pub fn offset(&self) -> i64 {
        self.fields.offset
    }

    /// The partition's number in its topic.
    pub fn partition(&self) -> i32 {
        self.fields.partition
    }

    /// Kafka's timestamp in milliseconds since 1970, -1 where there is none.
    pub fn timestamp_ms(&self) -> i64 {
        self.fields.timestamp_ms
    }

    /// The topic it was read from.
    pub fn topic(&self) -> Topic {
        Topic(self.fields.topic)
    }

    /// The table that a transform before this one chose.
    pub fn table(&self) -> Option<Table> {
        (self.fields.table != 0).then_some(Table(self.fields.table))
    }

    /// The column's cell as it lies there.
    #[inline]
    fn cell(&self, column: Column) -> Option<Cell> {
        self.cells().find(|cell| cell.column == column.0)
    }

    /// All cells as they lie there; their pointers are good in the output, too.
    #[inline]
    pub(crate) fn cells(&self) -> impl Iterator<Item = Cell> + use<'a> {
        let (mut rest, stride) = (self.cells, self.cell_stride);
        core::iter::from_fn(move || {
            let cell = read::cell_fields(rest.first_chunk::<CELL_BYTES>()?);
            rest = rest.get(stride..)?;
            Some(cell)
        })
    }

    /// The record as it lies there; its pointers are good in the output, too.
    pub(crate) fn fields(&self) -> &RecordFields {
        &self.fields
    }

    /// The headers as they lie there; their pointers are good in the output, too.
    pub(crate) fn raw_headers(&self) -> impl Iterator<Item = HeaderFields> + use<'a> {
        let (memory, fields) = (self.memory, self.fields);
        (0..fields.header_count).map_while(move |index| {
            let first = memory.at(fields.headers)?;
            read::header(memory.bytes, first + index as usize * HEADER_BYTES)
        })
    }

    fn decode(&self, cell: &Cell) -> Option<Value<'a>> {
        value::decode(self.memory.bytes, self.memory.base, cell).ok()
    }

    fn nullable(&self, null: u16, address: u32, len: u32) -> Option<&'a [u8]> {
        if self.fields.flags & null != 0 || address == 0 {
            return None;
        }
        self.memory.bytes(address, len as usize)
    }
}
