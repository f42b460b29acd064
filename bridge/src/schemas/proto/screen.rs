//! Whether a text may be given to the parser, which recurses where braces do: how deep they stand
//! within one another is counted here. Where comments and strings end must be as the parser sees
//! it, or braces could hide in them; what it could see otherwise is refused.

use super::Wrong;

/// Braces within one another, at most.
const DEPTH_MAX: usize = 64;

/// Checks a text.
pub(super) fn check(text: &str) -> Result<(), Wrong> {
    let bytes = text.as_bytes();
    let (mut at, mut depth) = (0, 0_usize);
    while let Some(byte) = bytes.get(at) {
        let rest = &bytes[at..];
        match byte {
            b'/' if rest.starts_with(b"//") => at += line(rest),
            b'#' => at += line(rest),
            b'/' if rest.starts_with(b"/*") => at += comment(text, at)?,
            b'"' | b'\'' => at += string(text, at)?,
            b'{' | b'[' | b'<' | b'(' => {
                depth += 1;
                if depth > DEPTH_MAX {
                    return Err(format!("{}: nested deeper than {DEPTH_MAX}", place(text, at)));
                }
                at += 1;
            }
            b'}' | b']' | b'>' | b')' => {
                depth = depth.saturating_sub(1);
                at += 1;
            }
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => at += 1,
            b'_' | b'.' | b'-' | b'+' | b',' | b'=' | b':' | b';' | b'/' => at += 1,
            b' ' | b'\t' | b'\r' | b'\n' | 0x0b | 0x0c => at += 1,
            _ => {
                let letter = text[at..].chars().next().unwrap_or_default();
                return Err(format!("{}: {letter:?} stands here", place(text, at)));
            }
        }
    }
    Ok(())
}

/// Bytes up to the line's end.
fn line(rest: &[u8]) -> usize {
    memchr::memchr(b'\n', rest).unwrap_or(rest.len())
}

/// Bytes of a comment.
fn comment(text: &str, at: usize) -> Result<usize, Wrong> {
    let inside = &text.as_bytes()[at + 2..];
    let mut end = 0;
    while let Some(slash) = memchr::memchr2(b'/', b'*', inside.get(end..).unwrap_or_default()) {
        end += slash;
        match inside.get(end..end + 2) {
            Some(b"*/") => return Ok(end + 4),
            Some(b"/*") => return Err(format!("{}: a comment in a comment", place(text, at))),
            _ => end += 1,
        }
    }
    Err(format!("{}: a comment that is not closed", place(text, at)))
}

/// Bytes of a string with its quotes.
fn string(text: &str, at: usize) -> Result<usize, Wrong> {
    let bytes = &text.as_bytes()[at..];
    let quote = bytes[0];
    let mut end = 1;
    loop {
        match bytes.get(end) {
            Some(byte) if *byte == quote => return Ok(end + 1),
            Some(b'\\') => {
                let digits = match bytes.get(end + 1) {
                    Some(b'a' | b'b' | b'f' | b'n' | b'r' | b't' | b'v' | b'?' | b'\\') => Some(0),
                    Some(b'\'' | b'"' | b'0'..=b'7') => Some(0),
                    Some(b'x' | b'X') => Some(1),
                    Some(b'u') => Some(4),
                    Some(b'U') => Some(8),
                    _ => None,
                };
                let digits = digits.and_then(|count| bytes.get(end + 2..end + 2 + count));
                match digits.filter(|digits| digits.iter().all(u8::is_ascii_hexdigit)) {
                    Some(digits) => end += 2 + digits.len(),
                    None => {
                        let place = place(text, at + end);
                        return Err(format!("{place}: an unknown escape"));
                    }
                }
            }
            Some(b'\n' | 0) | None => {
                return Err(format!("{}: a string that is not closed", place(text, at)));
            }
            Some(_) => end += 1,
        }
    }
}

/// Line and column of a byte, as the parser tells them.
fn place(text: &str, at: usize) -> String {
    let before = &text[..at];
    let line = before.bytes().filter(|byte| *byte == b'\n').count();
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count();
    format!("{}:{}", line + 1, column + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_are_counted_where_they_count() {
        let deep = |inside: &str| format!("message A {{ {inside} ").repeat(65);
        assert!(check(&deep("")).is_err_and(|why| why.ends_with("nested deeper than 64")));
        assert!(check(&deep("/* } */")).is_err());
        assert!(check(&deep("// }\n")).is_err());
        assert!(check(&deep("option x = '}\\'}';")).is_err());
        assert!(check(&deep("option x = \"}'\";")).is_err());
        assert_eq!(check(&"message A { /* { */ } // {\n".repeat(100)), Ok(()));
        assert_eq!(check(&"option x = '{'; option y = \"\\\"{\";".repeat(100)), Ok(()));
    }

    #[test]
    fn what_may_be_read_in_two_ways_is_refused() {
        let wrong = |text: &str, why: &str| assert_eq!(check(text), Err(why.to_owned()), "{text}");
        wrong("a\n 'x\n'", "2:2: a string that is not closed");
        wrong("'x", "1:1: a string that is not closed");
        wrong("/* x", "1:1: a comment that is not closed");
        wrong("/*/", "1:1: a comment that is not closed");
        wrong("/* /* */ */", "1:1: a comment in a comment");
        wrong("'\\q'", "1:2: an unknown escape");
        wrong("'\\x'", "1:2: an unknown escape");
        wrong("'\\u12'", "1:2: an unknown escape");
        wrong("a @ b", "1:3: '@' stands here");
        assert_eq!(check("/**/ /***/ //*\n \"\u{e4}/*\" '//'"), Ok(()));
    }
}
