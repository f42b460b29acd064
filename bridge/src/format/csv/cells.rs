//! Where a cell begins and ends, by RFC 4180 and the few ways in which files depart from it.
//!
//! | rule | of |
//! |---|---|
//! | lines end with CRLF, or with LF alone; the last one may have no end | section 2, 1 and 2; LF is everybody's |
//! | a cell with quotes holds delimiters, line ends, and quotes twice | 2, 5 to 7 |
//! | a cell that does not begin with a quote has none, and no bare CR | the grammar's `TEXTDATA` |
//! | blanks belong to the cell | 2, 4; `trim` takes them off |

use memchr::{memchr, memchr2};

use super::{Options, Place};
use crate::config::{Mistake, Section};
use crate::format::Refused;
use crate::format::document::{Document, Needles};
use crate::reject::Reason;

/// Which bytes mean what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dialect {
    delimiter: u8,
    /// Zero for none.
    quote: u8,
    escape: Option<u8>,
    trim: bool,
    /// What a cell without quotes ends at, or must not have.
    needles: Needles<4>,
}

/// A cell, found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    /// Its text, without its quotes.
    pub(super) from: usize,
    pub(super) to: usize,
    /// Where the delimiter or the line end behind it stands.
    pub(super) end: usize,
    /// Whether it has quotes.
    pub(super) quoted: bool,
    /// Whether some of its text stands for other text.
    escaped: bool,
}

impl Dialect {
    /// By the options of a section.
    pub(super) fn new(section: &Section, options: &Options) -> Result<Dialect, Mistake> {
        // Letters and what numbers are made of would end numbers too early.
        let sound = |byte: &u8| {
            byte.is_ascii() && !byte.is_ascii_alphanumeric() && !b"\0\n\r+-.".contains(byte)
        };
        let one = |key: &str, text: &str| match text.as_bytes() {
            [] if key != "delimiter" => Ok(None),
            [byte] if sound(byte) => Ok(Some(*byte)),
            _ => {
                let message = format!("`{}` cannot be the {key}", text.escape_default());
                let help =
                    "one ASCII character that is no letter, digit, `+`, `-`, `.` or line end";
                Err(section.mistake(key, message).help(help))
            }
        };
        let delimiter = one("delimiter", &options.delimiter)?.unwrap_or(b',');
        let quote = one("quote", &options.quote)?;
        let escape = one("escape", &options.escape)?;
        if quote == Some(delimiter) {
            return Err(section.mistake("quote", "it is the delimiter as well"));
        }
        if escape.is_some() && (quote.is_none() || escape == quote || escape == Some(delimiter)) {
            let message = "it stands between quotes, and is neither the quote nor the delimiter";
            return Err(section.mistake("escape", message));
        }
        let needles = [delimiter, b'\n', b'\r', quote.unwrap_or(delimiter)];
        let (needles, quote) = (Needles::new(needles), quote.unwrap_or(0));
        Ok(Dialect { delimiter, quote, escape, trim: options.trim, needles })
    }

    /// Whether a delimiter stands there.
    #[inline(always)]
    pub(super) fn is_delimiter(&self, document: Document<'_>, at: usize) -> bool {
        document.byte(at) == self.delimiter
    }

    /// Whether a cell ends there.
    #[inline(always)]
    pub(super) fn is_end(&self, document: Document<'_>, at: usize) -> bool {
        let byte = document.byte(at);
        byte == self.delimiter || byte == b'\n' || ends_line(document, at)
    }

    /// The position behind the line end that stands there; the document's end is one.
    #[inline(always)]
    pub(super) fn behind_line_end(&self, document: Document<'_>, at: usize) -> usize {
        let crlf = usize::from(document.byte(at) == b'\r');
        (at + crlf + 1).min(document.bytes().len())
    }

    /// Steps over lines without a byte.
    #[inline(always)]
    pub(super) fn skip_empty(&self, document: Document<'_>, place: &mut Place) {
        while matches!(document.byte(place.at), b'\n' | b'\r')
            && (document.byte(place.at) == b'\n' || ends_line(document, place.at))
        {
            place.at = self.behind_line_end(document, place.at);
            place.line += 1;
        }
    }

    /// Steps over the line at a place, whatever its cells are.
    pub(super) fn skip_line(
        &self,
        document: Document<'_>,
        place: &mut Place,
    ) -> Result<(), Refused> {
        let mut at = place.at;
        loop {
            let found = self.find(document, at).map_err(|wrong| {
                (Reason::Malformed, format!("line {}, which is left out: {wrong}", place.line))
            })?;
            if !self.is_delimiter(document, found.end) {
                place.at = self.behind_line_end(document, found.end);
                place.line += 1;
                return Ok(());
            }
            at = found.end + 1;
        }
    }

    /// The end of the cell that begins there, if it is all of its text: without quotes, and
    /// without blanks to take off.
    #[inline(always)]
    pub(super) fn end_of_plain(&self, document: Document<'_>, at: usize) -> Option<usize> {
        if self.trim {
            return None;
        }
        // A quote, the first byte or a later one, is no end.
        let end = document.find(at, &self.needles);
        self.is_end(document, end).then_some(end)
    }

    /// The cell that begins there; or what is wrong with it.
    #[inline(always)]
    pub(super) fn find(&self, document: Document<'_>, at: usize) -> Result<Found, &'static str> {
        let from = if self.trim { self.behind_blanks(document, at) } else { at };
        if self.quote != 0 && document.byte(from) == self.quote {
            return self.find_quoted(document, from + 1);
        }
        let end = document.find(from, &self.needles);
        if !self.is_end(document, end) {
            return Err(if document.byte(end) == b'\r' {
                "a carriage return without a line feed"
            } else {
                "a quote in a cell that does not begin with one"
            });
        }
        let mut to = end;
        while self.trim && to > from && matches!(document.byte(to - 1), b' ' | b'\t') {
            to -= 1;
        }
        Ok(Found { from, to, end, quoted: false, escaped: false })
    }

    fn find_quoted(&self, document: Document<'_>, from: usize) -> Result<Found, &'static str> {
        let mut escaped = false;
        let mut to = from;
        loop {
            let rest = document.bytes().get(to..).unwrap_or_default();
            let found = match self.escape {
                Some(escape) => memchr2(self.quote, escape, rest),
                None => memchr(self.quote, rest),
            };
            to += found.ok_or("a quote that is not closed")?;
            let doubled = document.byte(to + 1) == self.quote;
            if document.byte(to) == self.quote && !doubled {
                break;
            }
            escaped = true;
            to += 2;
        }
        let mut end = to + 1;
        if self.trim {
            end = self.behind_blanks(document, end);
        }
        if !self.is_end(document, end) {
            return Err("more text behind the closing quote");
        }
        Ok(Found { from, to, end, quoted: true, escaped })
    }

    fn behind_blanks(&self, document: Document<'_>, at: usize) -> usize {
        let mut at = at;
        while matches!(document.byte(at), b' ' | b'\t') && document.byte(at) != self.delimiter {
            at += 1;
        }
        at
    }

    /// Appends a cell's text.
    #[inline(always)]
    pub(super) fn append(&self, document: Document<'_>, found: &Found, out: &mut Vec<u8>) {
        if found.escaped {
            self.append_escaped(&document.bytes()[found.from..found.to], out);
        } else {
            document.copy(found.from, found.to, out);
        }
    }

    /// Every second one of two quotes, and what stands behind an escape, means itself.
    fn append_escaped(&self, text: &[u8], out: &mut Vec<u8>) {
        let mut bytes = text.iter().copied();
        while let Some(byte) = bytes.next() {
            let escapes = byte == self.quote || Some(byte) == self.escape;
            out.push(if escapes { bytes.next().unwrap_or(byte) } else { byte });
        }
    }
}

/// Whether a line ends there that does not end with LF alone.
#[inline(always)]
fn ends_line(document: Document<'_>, at: usize) -> bool {
    let len = document.bytes().len();
    at >= len || (document.byte(at) == b'\r' && (at + 1 == len || document.byte(at + 1) == b'\n'))
}
