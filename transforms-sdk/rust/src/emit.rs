//! A record for a Kafka topic while it is made, and those that are made. Like a draft it only
//! counts when it is `done()`: one that is dropped before rejects the record it was made from.

use std::fmt::{Display, Write};
use std::mem::ManuallyDrop;

use bridge_abi::{
    HEADER_BYTES, HeaderFields, NULL_LEN, RECORD_BYTES, RECORD_KEY_NULL, RECORD_VALUE_NULL,
    RecordFields, build, record_at,
};

use crate::init::Topic;
use crate::output::{Input, Output, Places, Tail};
use crate::record::Record;

/// A record for a Kafka topic that is being made; from [`Output::emit`].
///
/// Key and value are null until they are set, and there are no headers. The bytes of the input
/// are pointed to, others are copied.
///
/// ```
/// # use bridge_transform::{Output, Record, Topic};
/// fn alarm(record: &Record, out: &mut Output, alarms: Topic, sensor: &str, celsius: f64) {
///     out.emit(alarms)
///         .key(sensor)
///         .value_format(format_args!(r#"{{"celsius":{celsius}}}"#))
///         .header("rule", Some(b"too hot"))
///         .timestamp_ms(record.timestamp_ms())
///         .done();
/// }
/// ```
#[must_use = "finish it with `done()`, else its record is rejected"]
#[derive(Debug)]
pub struct Emit<'o> {
    out: &'o mut Output,
    topic: Topic,
    /// Pointers are as [`Output::place`] says.
    fields: RecordFields,
    /// Its first header.
    first: usize,
}

impl<'o> Emit<'o> {
    pub(crate) fn new(out: &'o mut Output, topic: Topic) -> Emit<'o> {
        let first = out.emits.headers.len();
        let fields = RecordFields {
            timestamp_ms: -1,
            partition: -1,
            flags: RECORD_KEY_NULL | RECORD_VALUE_NULL,
            ..RecordFields::default()
        };
        Emit { out, topic, fields, first }
    }

    /// Says it.
    pub fn done(self) {
        let mut emit = ManuallyDrop::new(self);
        let (topic, first, mut fields) = (emit.topic, emit.first, emit.fields);
        fields.headers = first as u32;
        fields.header_count = (emit.out.emits.headers.len() - first) as u32;
        emit.out.act_emit(topic, &fields);
    }

    /// Takes it back, as if it had not been begun.
    pub fn cancel(self) {
        let mut emit = ManuallyDrop::new(self);
        let first = emit.first;
        emit.out.emits.headers.truncate(first);
    }

    /// Takes key, value, headers and timestamp over from a record. No bytes are copied. What is
    /// set afterwards replaces them; headers are added.
    ///
    /// Ask for all three in `init` (`want_key`, `want_value`, `want_headers`). Without the key or
    /// the value the record is refused, for a null in their place would be a tombstone; headers
    /// that were not asked for are none. The partition is not taken over, for the other topic may
    /// have fewer: it is chosen by the key, or with `.partition(record.partition())`.
    pub fn copy(mut self, record: &Record) -> Self {
        let from = record.fields();
        self.fields.flags = from.flags & (RECORD_KEY_NULL | RECORD_VALUE_NULL);
        (self.fields.key, self.fields.key_len) = (from.key, from.key_len);
        (self.fields.value, self.fields.value_len) = (from.value, from.value_len);
        self.fields.timestamp_ms = from.timestamp_ms;
        for header in record.raw_headers() {
            self.out.emits.add_header(&header);
        }
        self
    }

    /// Sets the key.
    pub fn key(mut self, key: impl AsRef<[u8]>) -> Self {
        (self.fields.key, self.fields.key_len) = self.out.place(key.as_ref());
        self.fields.flags &= !RECORD_KEY_NULL;
        self
    }

    /// Sets the value. Without one it is null: a tombstone.
    pub fn value(self, value: impl AsRef<[u8]>) -> Self {
        let value = self.out.place(value.as_ref());
        self.value_at(value)
    }

    /// Sets the value to formatted text, without an allocation of its own:
    /// `value_format(format_args!("{a}-{b}"))`.
    pub fn value_format(self, text: impl Display) -> Self {
        let value = self.out.place_to(|bytes| {
            // As in `reject`: a `Display` that fails leaves the text cut short.
            let _ = write!(Tail(bytes), "{text}");
        });
        self.value_at(value)
    }

    /// Adds a header; a value of `None` is null.
    pub fn header(self, name: &str, value: Option<&[u8]>) -> Self {
        let (name, name_len) = self.out.place(name.as_bytes());
        let (value, value_len) = value.map_or((0, NULL_LEN), |value| self.out.place(value));
        self.out.emits.add_header(&HeaderFields { name, name_len, value, value_len });
        self
    }

    /// Sets the partition. Without one it is chosen by the key.
    pub fn partition(mut self, partition: i32) -> Self {
        self.fields.partition = partition;
        self
    }

    /// Sets the timestamp, milliseconds since 1970. Without one it is the time of writing.
    pub fn timestamp_ms(mut self, since_1970: i64) -> Self {
        self.fields.timestamp_ms = since_1970;
        self
    }

    fn value_at(mut self, (value, len): (u32, u32)) -> Self {
        (self.fields.value, self.fields.value_len) = (value, len);
        self.fields.flags &= !RECORD_VALUE_NULL;
        self
    }
}

impl Drop for Emit<'_> {
    #[cold]
    fn drop(&mut self) {
        self.out.emits.headers.truncate(self.first);
        self.out.reject("the transform began to emit a record and did not finish it");
    }
}

/// A struct as the host reads it: its bytes, where the host wants them.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(8))]
pub(crate) struct Slot<const N: usize>(pub(crate) [u8; N]);

/// The records that were made, in flat buffers; until [`Emits::settle`] their pointers are as
/// [`Output::place`] says, and `headers` is a position.
#[derive(Debug, Default)]
pub(crate) struct Emits {
    pub(crate) records: Vec<Slot<RECORD_BYTES>>,
    pub(crate) headers: Vec<Slot<HEADER_BYTES>>,
    /// Bytes that they point to, those in the input as well: the host copies all of them.
    pub(crate) pointed: usize,
}

impl Emits {
    #[cfg(target_arch = "wasm32")]
    pub(crate) const fn new() -> Emits {
        Emits { records: Vec::new(), headers: Vec::new(), pointed: 0 }
    }

    pub(crate) fn clear(&mut self) {
        self.records.clear();
        self.headers.clear();
        self.pointed = 0;
    }

    pub(crate) fn add(&mut self, fields: &RecordFields) {
        let mut slot = Slot([0; RECORD_BYTES]);
        build::write_record(&mut slot.0, 0, fields).expect("a slot has a record's size");
        self.records.push(slot);
        self.pointed += fields.key_len as usize + fields.value_len as usize;
    }

    fn add_header(&mut self, fields: &HeaderFields) {
        let mut slot = Slot([0; HEADER_BYTES]);
        build::write_header(&mut slot.0, 0, fields).expect("a slot has a header's size");
        self.headers.push(slot);
        let value_len = if fields.value_len == NULL_LEN { 0 } else { fields.value_len };
        self.pointed += fields.name_len as usize + value_len as usize;
    }

    /// Turns positions into addresses.
    pub(crate) fn settle(&mut self, at: &Places, input: Input) {
        let address = |place| input.address(place, at.bytes);
        for Slot(record) in &mut self.records {
            change(record, record_at::KEY, address);
            change(record, record_at::VALUE, address);
            change(record, record_at::HEADERS, |first| at.headers + first * HEADER_BYTES as u32);
        }
        for Slot(header) in &mut self.headers {
            change(header, HEADER_NAME, address);
            change(header, HEADER_VALUE, address);
        }
    }
}

/// Byte offsets of the two pointers of a header.
const HEADER_NAME: usize = 0;
const HEADER_VALUE: usize = 8;

/// Changes the number at `at`.
fn change(slot: &mut [u8], at: usize, to: impl Fn(u32) -> u32) {
    let number = slot[at..].first_chunk_mut().expect("it lies within the struct");
    *number = to(u32::from_le_bytes(*number)).to_le_bytes();
}
