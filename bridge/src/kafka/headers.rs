//! Headers of records that are to be written. Kafka takes any bytes for a name; the library's Rust
//! interface only text.

use rdkafka::bindings as c;
use rdkafka::message::{BorrowedHeaders, OwnedHeaders};
use rdkafka::types::RDKafkaRespErr;

/// The headers with one more.
pub fn push(headers: OwnedHeaders, name: &[u8], value: Option<&[u8]>) -> OwnedHeaders {
    let native: *const BorrowedHeaders = headers.as_borrowed();
    let (at, len) = match value {
        None => (std::ptr::null(), 0),
        Some(value) => (value.as_ptr().cast(), value.len() as isize),
    };
    // SAFETY: the interface's handle of headers is the library's own pointer to them; `headers`
    // owns them, and nobody else has it. Name and value are so many bytes each, and are copied.
    let code = unsafe {
        let native = native.cast_mut().cast();
        c::rd_kafka_header_add(native, name.as_ptr().cast(), name.len() as isize, at, len)
    };
    // Only headers of a message that was read are refused.
    assert_eq!(code, RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR, "headers of ours");
    headers
}

#[cfg(test)]
mod tests {
    use rdkafka::message::{Header, Headers};

    use super::*;

    #[test]
    fn names_and_values_are_bytes() {
        let pushed = push(OwnedHeaders::new(), b"a", Some(b"\xff"));
        let pushed = push(push(pushed, b"a", None), b"\xff\0b", Some(b""));
        assert_eq!(pushed.count(), 3);
        assert_eq!(pushed.try_get(0), Some(Header { key: "a", value: Some(&b"\xff"[..]) }));
        assert_eq!(pushed.try_get(1), Some(Header { key: "a", value: None }));
    }
}
