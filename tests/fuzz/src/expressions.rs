//! Expressions that nobody wrote, over columns that nobody would have: reading ends in words, what
//! is read prints itself, and running it stays within its bounds and gives the same each time.

use bridge_abi::{Unit, Value as Cell, build, value};
use bridge_expr::{
    Program, Row, SOURCE_BYTES_MAX, Scratch, TEXT_BYTES_MAX, Types, Value, compile, parse,
};

/// Rows that each expression is run over.
const ROWS: usize = 3;
/// Columns of a row; what an expression names beyond that is missing.
const COLUMNS: usize = 8;
/// What is said of a failure shows a part of the expression, not all of it.
const FAILED_BYTES_MAX: usize = 1_024;

/// The expression, a zero byte, and what the columns hold.
pub fn expression(bytes: &[u8]) {
    let at = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let (source, script) = bytes.split_at(at);
    let Ok(source) = std::str::from_utf8(source) else { return };
    match parse(source) {
        Err(error) => {
            assert!(!error.message.is_empty(), "refused without a word");
            assert!(error.at.start <= error.at.end && error.at.end as usize <= source.len());
            assert!(!error.to_string().is_empty() && !error.drawn().is_empty());
            return;
        }
        Ok(tree) => {
            let written = tree.to_string();
            match parse(&written) {
                Ok(again) => {
                    assert_eq!(again, tree, "written as {written:?}");
                    assert_eq!(again.to_string(), written);
                }
                // Parentheses that are not needed, and long forms, count as well.
                Err(error) => {
                    let bound = ["nested deeper", "has at most"];
                    let is_bound = bound.iter().any(|words| error.message.contains(words));
                    assert!(is_bound, "{source:?} is written as {written:?}: {error}");
                    assert!(written.len() > SOURCE_BYTES_MAX || error.message.contains(bound[0]));
                }
            }
        }
    }
    let mut known: Vec<String> = Vec::new();
    let mut column = |name: &str| match name.starts_with("none") {
        true => Err("there is no such column".to_owned()),
        false => {
            let found = known.iter().position(|known| known == name);
            let id = found.unwrap_or_else(|| {
                known.push(name.to_owned());
                known.len() - 1
            });
            Ok(id as u16)
        }
    };
    match compile(source, &mut column) {
        Ok(program) => run(&program, script),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn run(program: &Program, script: &[u8]) {
    let array = array();
    let mut script = Script { bytes: script, array: &array };
    let mut grown = Scratch::default();
    for _ in 0..ROWS {
        let row = script.row();
        let told = told(program, &row, &mut Scratch::default());
        assert_eq!(self::told(program, &row, &mut grown), told, "{}", program.source());
        let holds = program.holds(&row, &mut grown);
        let is_true = program.value(&row, &mut grown) == Ok(Value::Bool(true));
        assert!(holds.is_err() || holds == Ok(is_true), "{}", program.source());
    }
}

/// The value of a row in words; checks what must hold of it.
fn told(program: &Program, row: &Given<'_>, scratch: &mut Scratch) -> String {
    match program.value(row, scratch) {
        Ok(value) => {
            let all = program.types().or(Types::NULL);
            let is_foreseen = all.or(value.types()) == all;
            assert!(is_foreseen, "{}: {value:?}, and not {all}", program.source());
            match &value {
                Value::Text(text) => {
                    let text = scratch.text(text);
                    assert!(text.len() <= TEXT_BYTES_MAX.max(row.longest), "{}", text.len());
                    format!("text {text:?}")
                }
                Value::Float(value) => {
                    assert!(!value.is_nan(), "{}", program.source());
                    format!("{value:?}")
                }
                other => format!("{other:?}"),
            }
        }
        Err(failure) => {
            let said = program.failed(failure).to_string();
            assert!(!said.is_empty() && said.len() <= FAILED_BYTES_MAX, "{said}");
            said
        }
    }
}

fn array() -> Vec<u8> {
    let mut bytes = vec![0; 24];
    build::write_array(&mut bytes, 0, &[2], [1.5, f64::NAN].into_iter()).expect("room");
    bytes
}

/// A row as the script has it.
struct Given<'r> {
    columns: Vec<Option<Cell<'r>>>,
    text: &'r str,
    bytes: &'r [u8],
    number: i64,
    /// Bytes of the longest text in it, or in an expression.
    longest: usize,
}

struct Script<'s> {
    bytes: &'s [u8],
    array: &'s [u8],
}

impl<'s> Script<'s> {
    fn byte(&mut self) -> u8 {
        let Some((byte, rest)) = self.bytes.split_first() else { return 0 };
        self.bytes = rest;
        *byte
    }

    fn some(&mut self) -> &'s [u8] {
        let len = usize::from(self.byte() % 24).min(self.bytes.len());
        let (some, rest) = self.bytes.split_at(len);
        self.bytes = rest;
        some
    }

    fn text(&mut self) -> &'s str {
        let valid = |bytes: &'s [u8]| bytes.utf8_chunks().next().map(|chunk| chunk.valid());
        valid(self.some()).unwrap_or_default()
    }

    /// Small ones more often than others.
    fn number(&mut self) -> i64 {
        match self.byte() {
            0 => i64::MIN,
            1 => i64::MAX,
            2 => 1 << 53,
            byte @ 3..128 => i64::from(byte) - 60,
            _ => {
                let mut bytes = [0; 8];
                bytes.iter_mut().for_each(|byte| *byte = self.byte());
                i64::from_le_bytes(bytes)
            }
        }
    }

    fn cell(&mut self) -> Option<Cell<'s>> {
        Some(match self.byte() % 13 {
            0 => return None,
            1 => Cell::Null,
            2 => Cell::Bool(self.byte() % 2 == 1),
            3 | 4 => Cell::I64(self.number()),
            5 => Cell::F64(self.number() as f64 / 8.0),
            6 => Cell::F64(f64::from_bits(self.number() as u64)),
            7 | 8 => Cell::Text(self.text()),
            9 => {
                let unit = Unit::from_u8(self.byte() % 4).expect("there are four");
                Cell::Timestamp(self.number(), unit)
            }
            10 => Cell::Bytes(self.some()),
            11 => match self.some() {
                [] => Cell::Symbol(self.text()),
                unscaled => Cell::Decimal { scale: self.byte() % 77, unscaled },
            },
            _ => Cell::Array(value::array(self.array).expect("it is one")),
        })
    }

    fn row(&mut self) -> Given<'s> {
        let columns = (0..COLUMNS).map(|_| self.cell()).collect();
        let (text, bytes, number) = (self.text(), self.some(), self.number());
        Given { columns, text, bytes, number, longest: SOURCE_BYTES_MAX }
    }
}

impl<'r> Row<'r> for Given<'r> {
    fn column(&self, id: u16) -> Option<Cell<'r>> {
        self.columns.get(usize::from(id)).copied().flatten()
    }
    fn topic(&self) -> &'r str {
        self.text
    }
    fn partition(&self) -> i32 {
        self.number as i32
    }
    fn offset(&self) -> i64 {
        self.number
    }
    fn timestamp_ms(&self) -> i64 {
        self.number
    }
    fn key(&self) -> Option<&'r [u8]> {
        (!self.bytes.is_empty()).then_some(self.bytes)
    }
    fn header(&self, name: &str) -> Option<&'r [u8]> {
        (name.len() % 2 == 1).then_some(self.bytes)
    }
}

/// Expressions with everything in them, each before some columns.
pub fn seeds() -> Vec<Vec<u8>> {
    let sources = [
        "temperature > 20 and site <> 'lab'",
        "a + b * -2 - c / 4 % 3 >= 1.5e3 or not (a is null)",
        "case when a > 0 then 'hot' when b is missing then upper(site) else null end",
        "cast(a as text) || '-' || try_cast(b as int) || lower(site)",
        "a between 1 and 2 and b not in (1, 2, null) and c like '%a_b%'",
        "coalesce(a, b, 0) + abs(c) = least(a, greatest(b, c), 3)",
        "timestamp '2026-01-31T12:00:00Z' < \"a name\" and offset % 10 = 0 and header('k') = key",
        "replace(concat(a, b, c), 'a', 'aa') = substr(topic, 1, 3) or length(a) is not null",
        "if(contains(a, 'x'), round(b, 2), convert(c, 'celsius', 'fahrenheit'))",
        "((((((((a))))))))",
        "- - -a <= -(-9223372036854775808)",
        "nullif(a, b) is true or partition in (0, 1) or timestamp is null",
    ];
    let columns: &[u8] = &[
        3, 70, 5, 70, 8, 4, b'l', b'a', b'b', b'c', 9, 2, 80, 10, 2, 1, 2, 11, 3, 1, 2, 3, 4, 12,
        2, 1, 1, 0, 5, b't', b'o', b'p', b'i', b'c', 2, b'k', b'1', 63,
    ];
    sources.iter().map(|source| [source.as_bytes(), &[0], columns, columns].concat()).collect()
}
