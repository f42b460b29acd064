//! Messages out of a partition's queue, a batch at a time, uncopied. The only file that touches
//! the library's C interface for data: its Rust interface costs twice as much for each record.
//!
//! ```text
//! broker thread ──▶ partition queue ──consume_batch──▶ Messages (owner) ──▶ RecordBatch
//!                        └── rings the bell when it is no longer empty
//! ```

use std::ffi::{CStr, CString};
use std::os::raw::c_void;
use std::sync::Arc;

use rdkafka::bindings as c;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::types::RDKafkaRespErr;

use super::rebalance::Member;
use crate::batch::{EachHeader, Owner, Record, Records, Taken};
use crate::source::wake::Bell;

/// The client behind everything here; it outlives every queue and message that it made.
pub type Client = Arc<BaseConsumer<Member>>;

/// A partition's own queue: its messages no longer come through the client's.
pub struct Queue {
    queue: *mut c::rd_kafka_queue_t,
    client: Client,
}

// SAFETY: the library's queues may be used from any thread; this handle is the only one to its
// reference.
unsafe impl Send for Queue {}

impl Queue {
    /// Takes a partition's queue out of the client's. Must come before the partition is assigned,
    /// or its first messages go the old way.
    pub fn split(client: &Client, topic: &CStr, partition: i32) -> Option<Queue> {
        let bell: &Arc<Bell> = &client.context().bell;
        // SAFETY: the client is alive, `topic` is a C string. A queue that is not null is ours
        // until it is destroyed on drop. The opaque pointer is the bell of the client's context,
        // which lives as long as the client; the callback is taken back before the reference is.
        unsafe {
            let native = client.client().native_ptr();
            let queue = c::rd_kafka_queue_get_partition(native, topic.as_ptr(), partition);
            if queue.is_null() {
                return None;
            }
            c::rd_kafka_queue_forward(queue, std::ptr::null_mut());
            let opaque = Arc::as_ptr(bell).cast_mut().cast::<c_void>();
            c::rd_kafka_queue_cb_event_enable(queue, Some(ring), opaque);
            Some(Queue { queue, client: Arc::clone(client) })
        }
    }

    /// Takes up to `room` messages that are there. Never waits.
    pub fn take(&self, room: usize, at_errors: &mut dyn FnMut(Misfortune)) -> Option<Taken> {
        let mut pointers: Vec<*mut c::rd_kafka_message_t> = Vec::with_capacity(room);
        // SAFETY: the array has room for `room` pointers; the call fills the first `taken` with
        // messages that are ours from now on. A timeout of 0 never waits.
        let taken =
            unsafe { c::rd_kafka_consume_batch_queue(self.queue, 0, pointers.as_mut_ptr(), room) };
        let taken = usize::try_from(taken).ok().filter(|taken| *taken > 0)?;
        // SAFETY: the call above filled so many.
        unsafe { pointers.set_len(taken) };
        let mut messages = Messages { pointers, _client: Arc::clone(&self.client) };
        messages.part_with_errors(at_errors);
        messages.into_taken()
    }
}

/// Makes a partition known to the client before it is assigned: only then can it be paused by then.
pub fn introduce(client: &Client, topic: &CStr, partition: i32) {
    // SAFETY: the client is alive, `topic` is a C string; the queue, if any, is given back at once.
    unsafe {
        let native = client.client().native_ptr();
        let queue = c::rd_kafka_queue_get_partition(native, topic.as_ptr(), partition);
        if !queue.is_null() {
            c::rd_kafka_queue_destroy(queue);
        }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: the reference is ours and is given back once. The callback is taken back under
        // the queue's lock, which every ring holds, so none can come after.
        unsafe {
            c::rd_kafka_queue_cb_event_enable(self.queue, None, std::ptr::null_mut());
            c::rd_kafka_queue_destroy(self.queue);
        }
    }
}

unsafe extern "C" fn ring(_: *mut c::rd_kafka_t, bell: *mut c_void) {
    // SAFETY: `bell` is what `Queue::split` gave, alive while the callback is set.
    unsafe { &*bell.cast::<Bell>() }.ring();
}

/// A message that is no record: what the library says about a partition.
#[derive(Debug)]
pub struct Misfortune {
    /// What happened.
    pub code: RDKafkaErrorCode,
    /// The same in the library's words.
    pub words: String,
    /// Where the log was read to; -1 where that is not said.
    pub offset: i64,
}

/// Messages of one batch; destroyed together.
struct Messages {
    pointers: Vec<*mut c::rd_kafka_message_t>,
    /// The client must outlive its messages.
    _client: Client,
}

// SAFETY: messages belong to nobody else and may be read and destroyed on any thread.
unsafe impl Send for Messages {}

impl Messages {
    /// Takes out what is no record; it must not be counted, nor move a position.
    fn part_with_errors(&mut self, at_errors: &mut dyn FnMut(Misfortune)) {
        self.pointers.retain(|&pointer| {
            // SAFETY: each pointer is a live message of ours; one that is not retained is
            // destroyed here and only here, after its words were copied.
            unsafe {
                let code = (*pointer).err;
                if code == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
                    return true;
                }
                let words = c::rd_kafka_message_errstr(pointer);
                let words = match words.is_null() {
                    true => String::new(),
                    false => CStr::from_ptr(words).to_string_lossy().into_owned(),
                };
                at_errors(Misfortune { code: code.into(), words, offset: (*pointer).offset });
                c::rd_kafka_message_destroy(pointer);
                false
            }
        });
    }

    fn into_taken(self) -> Option<Taken> {
        if self.pointers.is_empty() {
            return None;
        }
        let mut records = Records::with_capacity(self.pointers.len());
        for &pointer in &self.pointers {
            // SAFETY: a live message of ours without an error: payload and key are null or point
            // to `len` and `key_len` bytes, which stay as they are until it is destroyed; that
            // happens when the owner, `self`, is dropped.
            unsafe {
                let message = &*pointer;
                let timestamp_ms = c::rd_kafka_message_timestamp(pointer, std::ptr::null_mut());
                records.push(Record {
                    offset: message.offset,
                    timestamp_ms,
                    key: bytes(message.key, message.key_len),
                    value: bytes(message.payload, message.len),
                });
            }
        }
        Some(records.owned_by(Box::new(self)))
    }
}

/// # Safety
/// `at` is null, or points to `len` bytes that live and do not change for `'a`.
unsafe fn bytes<'a>(at: *const c_void, len: usize) -> Option<&'a [u8]> {
    if at.is_null() {
        return None;
    }
    // SAFETY: by the caller's promise.
    Some(unsafe { std::slice::from_raw_parts(at.cast::<u8>(), len) })
}

impl Owner for Messages {
    fn headers(&self, index: usize, each: EachHeader<'_>) {
        // SAFETY: a live message of ours; batches are used by one thread at a time, so the
        // library may parse and keep the headers.
        unsafe { headers_of(self.pointers[index], each) }
    }
}

/// Walks a message's headers. Names are bytes: the Rust interface panics on one that is not UTF-8.
///
/// # Safety
/// `message` is alive, and no other thread uses it.
pub unsafe fn headers_of(message: *const c::rd_kafka_message_t, each: EachHeader<'_>) {
    // SAFETY: by the caller's promise; the headers belong to the message and live as long. Names
    // are C strings; values are null or so many bytes.
    unsafe {
        let mut headers = std::ptr::null_mut();
        let code = c::rd_kafka_message_headers(message, &mut headers);
        if code != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
            return;
        }
        for index in 0.. {
            let (mut name, mut value, mut len) = (std::ptr::null(), std::ptr::null(), 0);
            let code = c::rd_kafka_header_get_all(headers, index, &mut name, &mut value, &mut len);
            if code != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
                return;
            }
            each(CStr::from_ptr(name).to_bytes(), bytes(value, len));
        }
    }
}

impl Drop for Messages {
    fn drop(&mut self) {
        for &pointer in &self.pointers {
            // SAFETY: a live message of ours, destroyed once.
            unsafe { c::rd_kafka_message_destroy(pointer) };
        }
    }
}

/// The end of a partition as the last fetch saw it; asks nobody.
pub fn end_of(client: &Client, topic: &CString, partition: i32) -> Option<i64> {
    let (mut low, mut high) = (-1, -1);
    // SAFETY: the client is alive, `topic` is a C string, the results are ours.
    let code = unsafe {
        let native = client.client().native_ptr();
        c::rd_kafka_get_watermark_offsets(native, topic.as_ptr(), partition, &mut low, &mut high)
    };
    (code == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR && high >= 0).then_some(high)
}
