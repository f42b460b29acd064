//! The least HTTP/1.1 that the servers' own interfaces need: one request per connection, chunked
//! answers.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// Longer than any query of a test; a paused server must not hang its test for ever.
const ANSWER: Duration = Duration::from_secs(60);
/// An answer's body above this is a mistake in the query.
const BODY_BYTES_MAX: usize = 1 << 30;

/// Sends one GET; gives the status and the body.
pub(crate) fn get(address: &str, path_and_query: &str) -> Result<(u16, Vec<u8>)> {
    let mut stream =
        TcpStream::connect(address).with_context(|| format!("connecting to {address}"))?;
    stream.set_read_timeout(Some(ANSWER))?;
    stream.set_write_timeout(Some(ANSWER))?;
    write!(stream, "GET {path_and_query} HTTP/1.1\r\nHost: {address}\r\n\r\n")?;
    read_answer(&mut BufReader::new(stream))
        .with_context(|| format!("reading an answer of {address}"))
}

/// The same of a POST of JSON.
pub(crate) fn post(address: &str, path: &str, body: &str) -> Result<(u16, Vec<u8>)> {
    let mut stream =
        TcpStream::connect(address).with_context(|| format!("connecting to {address}"))?;
    stream.set_read_timeout(Some(ANSWER))?;
    stream.set_write_timeout(Some(ANSWER))?;
    let length = body.len();
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    )?;
    read_answer(&mut BufReader::new(stream))
        .with_context(|| format!("reading an answer of {address}"))
}

/// Percent-encodes everything but the unreserved characters of RFC 3986.
pub(crate) fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len() * 3);
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

fn read_answer(stream: &mut impl BufRead) -> Result<(u16, Vec<u8>)> {
    let status_line = line(stream)?;
    let status = status_line.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status = status.with_context(|| format!("no status in {status_line:?}"))?;
    let mut length = None;
    let mut chunked = false;
    loop {
        let header = line(stream)?.to_ascii_lowercase();
        match header.split_once(':') {
            Some(("content-length", value)) => length = Some(value.trim().parse()?),
            Some(("transfer-encoding", value)) => chunked = value.trim() == "chunked",
            Some(_) => {}
            None if header.is_empty() => break,
            None => bail!("not a header: {header:?}"),
        }
    }
    let body = match length {
        _ if chunked => chunks(stream)?,
        Some(length) => exactly(stream, length)?,
        None => bail!("an answer without a length"),
    };
    Ok((status, body))
}

fn chunks(stream: &mut impl BufRead) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let size = line(stream)?;
        let size = usize::from_str_radix(size.trim(), 16)
            .with_context(|| format!("not a chunk size: {size:?}"))?;
        body.extend(exactly(stream, size)?);
        line(stream)?;
        if size == 0 {
            return Ok(body);
        }
        if body.len() > BODY_BYTES_MAX {
            bail!("an answer above {BODY_BYTES_MAX} bytes");
        }
    }
}

fn exactly(stream: &mut impl BufRead, size: usize) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    stream.by_ref().take(size.min(BODY_BYTES_MAX) as u64).read_to_end(&mut bytes)?;
    if bytes.len() != size {
        bail!("the answer ends after {} of {size} bytes", bytes.len());
    }
    Ok(bytes)
}

fn line(stream: &mut impl BufRead) -> Result<String> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        bail!("the connection was closed");
    }
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodes_what_a_query_may_hold() {
        assert_eq!(percent_encode("select 'a&b'"), "select%20%27a%26b%27");
        assert_eq!(percent_encode("é%+\n~"), "%C3%A9%25%2B%0A~");
    }

    #[test]
    fn reads_chunks_and_lengths() {
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n\
                       0a\r\n0123456789\r\n0\r\n\r\n";
        let (status, body) = read_answer(&mut chunked.as_bytes()).expect("it is whole");
        assert_eq!((status, body.as_slice()), (200, b"abc0123456789".as_slice()));
        let plain = "HTTP/1.1 400 Bad request\r\ncontent-length: 2\r\n\r\nno";
        let (status, body) = read_answer(&mut plain.as_bytes()).expect("it is whole");
        assert_eq!((status, body.as_slice()), (400, b"no".as_slice()));
    }

    #[test]
    fn refuses_a_cut_answer() {
        for cut in ["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab"] {
            assert!(read_answer(&mut cut.as_bytes()).is_err(), "{cut:?} is not whole");
        }
    }
}
