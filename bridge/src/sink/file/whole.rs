//! Where the last whole line of a file ends. A process that is killed while it writes leaves a
//! piece of a line; what a line's end is depends on what is written: in line protocol a line feed
//! behind a backslash belongs to a text, in CSV one between quotes does.

use std::io::{self, Read, Seek, SeekFrom};

use memchr::{memchr2_iter, memrchr};

/// Read at once.
const CHUNK: usize = 1 << 20;

/// What ends a line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lines {
    /// Every line feed: JSON escapes those in texts.
    Plain,
    /// A line feed with no backslash before it, or an even number of them.
    Escaped,
    /// A line feed outside of quotes.
    Quoted,
}

/// How many bytes of a file are whole lines.
pub fn whole_bytes(file: &mut (impl Read + Seek), lines: Lines) -> io::Result<u64> {
    match lines {
        Lines::Quoted => forwards(file),
        Lines::Plain | Lines::Escaped => backwards(file, lines),
    }
}

/// From the beginning, for a quote means its opposite to everything behind it.
fn forwards(file: &mut (impl Read + Seek)) -> io::Result<u64> {
    file.seek(SeekFrom::Start(0))?;
    let mut chunk = vec![0; CHUNK];
    let (mut at, mut whole, mut quoted) = (0, 0, false);
    loop {
        let count = match file.read(&mut chunk) {
            Ok(0) => return Ok(whole),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        for found in memchr2_iter(b'"', b'\n', &chunk[..count]) {
            if chunk[found] == b'"' {
                quoted = !quoted;
            } else if !quoted {
                whole = at + found as u64 + 1;
            }
        }
        at += count as u64;
    }
}

/// From the end: a piece of a line is short.
fn backwards(file: &mut (impl Read + Seek), lines: Lines) -> io::Result<u64> {
    let mut end = file.seek(SeekFrom::End(0))?;
    let mut chunk = vec![0; CHUNK];
    'read: while end > 0 {
        let start = end.saturating_sub(CHUNK as u64);
        let held = &mut chunk[..(end - start) as usize];
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(held)?;
        let mut until = held.len();
        while let Some(at) = memrchr(b'\n', &held[..until]) {
            let slashes = held[..at].iter().rev().take_while(|byte| **byte == b'\\').count();
            let further = slashes == at && start > 0 && at + 1 < held.len();
            if lines == Lines::Escaped && further {
                // More of them may stand before what was read.
                end = start + at as u64 + 1;
                continue 'read;
            }
            if lines == Lines::Plain || slashes.is_multiple_of(2) {
                return Ok(start + at as u64 + 1);
            }
            until = at;
        }
        end = start;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;

    fn whole(text: &[u8], lines: Lines) -> u64 {
        whole_bytes(&mut Cursor::new(text), lines).expect("memory can be read")
    }

    /// By the rules, byte by byte.
    fn walked(text: &[u8], lines: Lines) -> u64 {
        let (mut whole, mut quoted, mut escaped) = (0, false, false);
        for (at, byte) in text.iter().enumerate() {
            let ends = match lines {
                Lines::Plain => true,
                Lines::Escaped => !escaped,
                Lines::Quoted => !quoted,
            };
            if *byte == b'\n' && ends {
                whole = at as u64 + 1;
            }
            escaped = *byte == b'\\' && !escaped;
            quoted ^= *byte == b'"';
        }
        whole
    }

    #[test]
    fn a_piece_of_a_line_is_longer_than_what_is_read_at_once() {
        let mut text = b"a\nb\n".to_vec();
        text.resize(3 * CHUNK, b'x');
        for lines in [Lines::Plain, Lines::Escaped, Lines::Quoted] {
            assert_eq!(whole(&text, lines), 4);
        }
        text.push(b'\n');
        for lines in [Lines::Plain, Lines::Escaped, Lines::Quoted] {
            assert_eq!(whole(&text, lines), text.len() as u64);
        }
    }

    #[test]
    fn backslashes_lie_across_what_is_read_at_once() {
        for (slashes, whole_line) in [(2, false), (3, true), (4, false), (5, true)] {
            let mut text = b"a\n".to_vec();
            text.resize(text.len() + slashes, b'\\');
            text.extend_from_slice(b"\n");
            text.resize(2 + slashes + CHUNK - 1, b'x');
            let expected = if whole_line { 2 } else { 3 + slashes as u64 };
            assert_eq!(whole(&text, Lines::Escaped), expected, "{slashes}");
        }
    }

    proptest! {
        #[test]
        fn as_a_walk_from_the_beginning(text in "[a\\\\\"\n]{0,40}") {
            for lines in [Lines::Plain, Lines::Escaped, Lines::Quoted] {
                prop_assert_eq!(whole(text.as_bytes(), lines), walked(text.as_bytes(), lines));
            }
        }
    }
}
