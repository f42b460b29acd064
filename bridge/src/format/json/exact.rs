//! Numbers of columns that are declared as decimals, taken from the record's own digits. The
//! decoder has read them as doubles (or as integers, which say all); a second walk over the record
//! finds the digits and puts a decimal in the place of the double. Only pipelines that declare
//! decimals have it.

use std::collections::HashMap;
use std::ops::Range;

use bridge_abi::{Cell, Kind};

use super::predict::{end_of_value, white};
use super::{Decoder, Options, end_of_string};
use crate::batch::{RecordBatch, RowBatch};
use crate::blame::Fault;
use crate::decimal;
use crate::format::{Decoded, DecoderContext, Format, Refused, quoted};
use crate::reject::{Reason, Rejects, Stage};

/// The decoder of one lane, and which columns are decimals.
pub(super) struct Exact {
    inner: Decoder,
    separator: String,
    columns: HashMap<String, u16, foldhash::fast::FixedState>,
    path: String,
}

impl Exact {
    pub(super) fn new(inner: Decoder, options: &Options, context: &DecoderContext) -> Exact {
        // The first names of a pipeline always find room.
        let id = |name: &String| (name.clone(), context.names.columns.intern(name).unwrap_or(0));
        Exact {
            inner,
            separator: options.separator.clone(),
            columns: options.exact.iter().map(id).collect(),
            path: String::new(),
        }
    }
}

impl Format for Exact {
    fn decode(
        &mut self,
        records: &RecordBatch,
        rows: &mut RowBatch,
        rejects: &mut Rejects,
    ) -> Result<Decoded, Fault> {
        let first = rows.rows.len();
        let decoded = self.inner.decode(records, rows, rejects)?;
        let mut at = first;
        while let Some(row) = rows.rows.get(at) {
            let source = row.source;
            let of_record = rows.rows[at..].iter().take_while(|row| row.source == source).count();
            if let Some(value) = records.get(source as usize).value {
                let mut walk = Walk { exact: self, document: value, rows, row: at };
                if let Err((reason, detail)) = walk.document() {
                    rejects.push(source, Stage::Format, reason, detail);
                }
            }
            at += of_record;
        }
        rejects.prune(rows);
        Ok(decoded)
    }
}

/// A walk over one valid document.
struct Walk<'a> {
    exact: &'a mut Exact,
    document: &'a [u8],
    rows: &'a mut RowBatch,
    /// The row of the object at hand.
    row: usize,
}

impl Walk<'_> {
    /// One object, or an array of objects, each of which is a row.
    fn document(&mut self) -> Result<(), Refused> {
        // Left behind by a record that was refused.
        self.exact.path.clear();
        let at = white(self.document);
        if self.byte(at) != b'[' {
            return self.object(at).map(drop);
        }
        let mut at = self.behind_white(at + 1);
        while self.byte(at) == b'{' {
            at = self.object(at)?;
            self.row += 1;
            at = self.behind_white(at);
            if self.byte(at) == b',' {
                at = self.behind_white(at + 1);
            }
        }
        Ok(())
    }

    fn byte(&self, at: usize) -> u8 {
        self.document.get(at).copied().unwrap_or(0)
    }

    fn behind_white(&self, at: usize) -> usize {
        at + white(self.document.get(at..).unwrap_or_default())
    }

    /// Walks through the object that opens at `at`; the position behind it. Bounded: the decoder
    /// has checked the depth.
    fn object(&mut self, at: usize) -> Result<usize, Refused> {
        let outer = self.exact.path.len();
        let mut at = self.behind_white(at + 1);
        while self.byte(at) == b'"' {
            let end = end_of_string(self.document, at);
            self.name(at..end + 1);
            let value = self.behind_white(self.behind_white(end + 1) + 1);
            at = self.value(value)?;
            self.exact.path.truncate(outer);
            at = self.behind_white(at);
            if self.byte(at) == b',' {
                at = self.behind_white(at + 1);
            }
        }
        Ok(at + 1)
    }

    /// Adds a name to the path, unescaped.
    fn name(&mut self, quoted: Range<usize>) {
        let bytes = self.document.get(quoted).unwrap_or_default();
        let inner = bytes.get(1..bytes.len().saturating_sub(1)).unwrap_or_default();
        let path = &mut self.exact.path;
        match std::str::from_utf8(inner) {
            Ok(name) if !name.contains('\\') => path.push_str(name),
            _ => path.push_str(&serde_json::from_slice::<String>(bytes).unwrap_or_default()),
        }
    }

    fn value(&mut self, at: usize) -> Result<usize, Refused> {
        match self.byte(at) {
            b'{' => {
                let Exact { path, separator, .. } = &mut *self.exact;
                path.push_str(separator);
                self.object(at)
            }
            b'[' => Ok(behind_array(self.document, at)),
            first => {
                let end = end_of_value(self.document, at);
                if matches!(first, b'-' | b'0'..=b'9') {
                    self.number(at..end)?;
                }
                Ok(end)
            }
        }
    }

    fn number(&mut self, digits: Range<usize>) -> Result<(), Refused> {
        let Exact { path, columns, .. } = &*self.exact;
        let Some(column) = columns.get(path.as_str()).copied() else { return Ok(()) };
        let digits = self.document.get(digits).unwrap_or_default();
        let Some(row) = self.rows.rows.get(self.row) else { return Ok(()) };
        let cells = row.cells as usize..row.cells as usize + usize::from(row.cell_count);
        let is_it = |cell: &&mut Cell| cell.column == column;
        let Some(cell) = self.rows.cells[cells].iter_mut().find(is_it) else { return Ok(()) };
        // Of a name that comes twice the last value counts; integers say all.
        if !matches!(Kind::from_u8(cell.kind), Some(Kind::F64 | Kind::Decimal)) {
            return Ok(());
        }
        let at = self.rows.arena.len();
        let Some(scale) = decimal::read(digits, &mut self.rows.arena) else {
            let (path, digits) = (path.clone(), quoted(digits));
            let detail = format!("`{path}` is {digits}: more digits than a decimal has");
            return Err((Reason::WrongType, detail));
        };
        let len = (self.rows.arena.len() - at) as u32;
        let (kind, flags) = (Kind::Decimal as u8, scale);
        *cell = Cell { column, kind, flags, len, value: at as u64 };
        Ok(())
    }
}

/// The position behind the array that opens at `at`.
fn behind_array(document: &[u8], at: usize) -> usize {
    let (mut depth, mut at) = (0_usize, at);
    while let Some(byte) = document.get(at) {
        match byte {
            b'"' => at = end_of_string(document, at),
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth -= 1,
            _ => {}
        }
        at += 1;
        if depth == 0 {
            break;
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::batch::testing::batch;
    use crate::format::json::tests::context;
    use crate::format::{FormatPlan, KeyPlan};

    /// The cells of the declared fields, row by row, or the refusal.
    fn told(fields: &[&str], value: &str) -> Vec<String> {
        let top_level_array = super::super::TopLevelArray::Rows;
        let mut options = Options { top_level_array, ..Options::default() };
        options.keep_exact(&fields.iter().map(|field| (*field).to_owned()).collect::<Vec<_>>());
        let context = context(KeyPlan::Ignore);
        let mut decoder = options.decoder(&context);
        // Twice: the second one is read by prediction, where that is possible.
        let value = || (None, Some(value.as_bytes().to_vec()));
        let records = batch(vec![value(), value()]);
        let (mut rows, mut rejects) = (RowBatch::default(), Rejects::default());
        decoder.decode(&records, &mut rows, &mut rejects).expect("only records are at fault");
        let names = Arc::clone(&context.names);
        let cell = |rows: &RowBatch, cell: &Cell| {
            let name = names.columns.name(cell.column).expect("interned");
            let value = match Kind::from_u8(cell.kind) {
                Some(Kind::Decimal) => decimal::text(rows.bytes_of(cell), cell.flags),
                Some(Kind::I64) => Some(format!("{}i", cell.value as i64)),
                Some(Kind::F64) => Some(format!("{}f", f64::from_bits(cell.value))),
                other => Some(format!("{other:?}")),
            };
            format!("{name}={}", value.unwrap_or_default())
        };
        let shown: Vec<(u32, String)> = rows
            .rows
            .iter()
            .map(|row| {
                let cells = rows.cells_of(row).iter().map(|one| cell(&rows, one));
                (row.source, cells.collect::<Vec<_>>().join(" "))
            })
            .collect();
        let of = |source: u32| -> Vec<String> {
            let rows = shown.iter().filter(|(row, _)| *row == source).map(|(_, row)| row.clone());
            let refused = rejects.found.iter().filter(|(row, ..)| *row == source);
            rows.chain(refused.map(|(.., detail)| format!("refused: {detail}"))).collect()
        };
        assert_eq!(of(0), of(1), "{value:?}", value = value());
        of(0)
    }

    #[test]
    fn numbers_are_their_own_digits() {
        let check = |fields: &[&str], value: &str, rows: &[&str]| {
            assert_eq!(told(fields, value), rows, "{value}");
        };
        check(
            &["price"],
            r#"{"a":0.1,"price":12345678901234567.8901234567890,"b":2}"#,
            &["a=0.1f price=12345678901234567.8901234567890 b=2i"],
        );
        check(&["o_p_q"], r#"{"o": {"p" :{ "q": 1e-3 } } }"#, &["o_p_q=0.001"]);
        check(&["p"], r#"{"p":7}"#, &["p=7i"]);
        check(
            &["p"],
            r#"{"p":123456789012345678901234567890}"#,
            &["p=123456789012345678901234567890"],
        );
        check(&["p"], r#"{"x":[1.5,{"p":2.5},"]"],"p":0.30}"#, &["x=Some(Text) p=0.30"]);
        check(&["a\"b"], r#"{"a\u0022b":1.10}"#, &["a\"b=1.10"]);
        check(&["p"], r#"{"p":1.5,"p":2.50}"#, &["p=2.50"]);
        check(&["p"], r#"{"p":1.5,"p":2}"#, &["p=2i"]);
        check(&["p"], r#"{"p":1.5,"p":"x"}"#, &["p=Some(Text)"]);
        check(&["p"], r#"[{"p":1.10}, {"q":1},{"p":2.20}]"#, &["p=1.10", "q=1i", "p=2.20"]);
        let long = "1".repeat(90);
        let refused = told(&["p"], &format!(r#"{{"p":0.{long}}}"#));
        assert!(refused[0].starts_with("refused: `p` is \"0.111"), "{refused:?}");
    }

    proptest! {
        /// Whatever the digits, they are the column's: the reference is the text itself.
        #[test]
        fn digits_are_never_another_number(
            negative: bool, whole in "0|[1-9][0-9]{0,30}", fraction in "[0-9]{1,30}",
        ) {
            let is_zero = whole == "0" && fraction.bytes().all(|byte| byte == b'0');
            let sign = if negative && !is_zero { "-" } else { "" };
            let digits = format!("{sign}{whole}.{fraction}");
            let rows = told(&["p"], &format!(r#"{{"s":"t","p":{digits},"n":null}}"#));
            prop_assert_eq!(rows, vec![format!("s=Some(Text) p={digits} n=Some(Null)")]);
        }
    }
}
