//! Lines of an input, with their numbers. Where quotes hold line ends, a line goes on until its
//! quotes are closed.

use std::io::{BufRead, Read};

use crate::blame::Fault;
use crate::limits::MIB;

/// A longer line is none: what is read is not what it was taken for.
const LINE_BYTES_MAX: usize = 64 * MIB;

/// What stands around text that may hold line ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Quoting(pub u8);

/// A line without its end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Line {
    /// From 1; of several lines the first one's.
    pub number: u64,
    pub bytes: Vec<u8>,
}

/// Reads lines.
pub struct Lines<'a> {
    input: &'a mut dyn BufRead,
    quoting: Option<Quoting>,
    /// Lines read so far.
    number: u64,
}

impl Lines<'_> {
    /// From here to the end of the input.
    pub fn new(input: &mut dyn BufRead, quoting: Option<Quoting>) -> Lines<'_> {
        Lines { input, quoting, number: 0 }
    }

    /// The next one; `None` at the end.
    pub fn next(&mut self) -> Result<Option<Line>, Fault> {
        let mut bytes = Vec::new();
        let number = self.number + 1;
        let (mut quotes, mut counted) = (0, 0);
        while self.append(&mut bytes)? {
            if let Some(Quoting(quote)) = self.quoting {
                quotes += memchr::memchr_iter(quote, &bytes[counted..]).count();
                counted = bytes.len();
            }
            if quotes % 2 == 0 {
                break;
            }
        }
        if self.number < number {
            return Ok(None);
        }
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
            if bytes.last() == Some(&b'\r') {
                bytes.pop();
            }
        }
        Ok(Some(Line { number, bytes }))
    }

    /// Appends a line with its end; false at the end of the input.
    fn append(&mut self, bytes: &mut Vec<u8>) -> Result<bool, Fault> {
        let room = (LINE_BYTES_MAX - bytes.len().min(LINE_BYTES_MAX)) as u64 + 1;
        let read = (&mut *self.input).take(room).read_until(b'\n', bytes);
        let number = self.number + 1;
        let read = read.map_err(|error| Fault::world(format!("reading line {number}: {error}")))?;
        if read == 0 {
            return Ok(false);
        }
        if bytes.len() > LINE_BYTES_MAX {
            let message = format!("line {number} is longer than {} MiB", LINE_BYTES_MAX / MIB);
            return Err(Fault::operator(message).hint("a record's value in each line"));
        }
        self.number = number;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(input: &str, quoting: Option<Quoting>, expected: &[(u64, &str)]) {
        let mut input = input.as_bytes();
        let mut lines = Lines::new(&mut input, quoting);
        let mut found = Vec::new();
        while let Some(Line { number, bytes }) = lines.next().expect("it is readable") {
            found.push((number, String::from_utf8(bytes).expect("text")));
        }
        let found: Vec<(u64, &str)> = found.iter().map(|(n, text)| (*n, text.as_str())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn lines_have_numbers_and_no_ends() {
        check("", None, &[]);
        check("a\r\n\nb", None, &[(1, "a"), (2, ""), (3, "b")]);
        check("a,\"x\ny\"\nb\n", Some(Quoting(b'"')), &[(1, "a,\"x\ny\""), (3, "b")]);
        check("\"\"\"\n", Some(Quoting(b'"')), &[(1, "\"\"\"")]);
        check("a,\"x\ny\"\n", None, &[(1, "a,\"x"), (2, "y\"")]);
    }
}
