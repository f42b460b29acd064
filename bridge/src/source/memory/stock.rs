//! Values in memory, lent to every batch and never copied: one run of bytes, and where each value
//! ends.

use std::fmt::Write;
use std::path::Path;

use crate::blame::Fault;

/// Values that are served again and again. There is at least one.
pub struct Stock {
    bytes: Vec<u8>,
    /// Position after the last byte of each value.
    ends: Vec<usize>,
}

/// Made-up readings: enough of them for numbers and names to vary, few enough to stay in a cache.
const READINGS: u64 = 1_000;
const SITES: [&str; 5] = ["berlin", "lyon", "oslo", "porto", "turku"];
/// The first made-up reading, microseconds since 1970; each is a millisecond later.
const FIRST_US: u64 = 1_700_000_000_000_000;

impl Stock {
    /// These values.
    pub fn of<'a>(values: impl Iterator<Item = &'a [u8]>) -> Stock {
        let mut stock = Stock { bytes: Vec::new(), ends: Vec::new() };
        for value in values {
            stock.bytes.extend_from_slice(value);
            stock.ends.push(stock.bytes.len());
        }
        stock
    }

    /// The lines of a file that hold anything.
    pub fn read(path: &Path) -> Result<Stock, Fault> {
        let doing = format!("reading records from {}", path.display());
        let hint = "`file` of the source";
        let text = std::fs::read(path)
            .map_err(|error| Fault::operator(format!("{doing}: {error}")).hint(hint))?;
        let lines = text.split(|byte| *byte == b'\n');
        let lines = lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let stock = Stock::of(lines.filter(|line| !line.is_empty()));
        if stock.ends.is_empty() {
            return Err(Fault::operator(format!("{doing}: there is no line in it")).hint(hint));
        }
        Ok(stock)
    }

    /// Made-up readings of sensors.
    pub fn sensors() -> Stock {
        let mut text = String::new();
        let mut ends = Vec::new();
        for number in 0..READINGS {
            // Multiplied by an odd constant and cut: neighbours differ, and every run is the same.
            let noise = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
            let (ts, site) = (FIRST_US + number * 1_000, SITES[(noise % 5) as usize]);
            let written = write!(
                text,
                "{{\"ts\":{ts},\"sensor\":\"s-{:05}\",\"site\":\"{site}\",\"temperature\":{}.{:02},\
                 \"humidity\":{}.{},\"pressure\":{}.{},\"seq\":{number},\"ok\":{}}}",
                noise % 500,
                5 + noise % 30,
                noise % 100,
                20 + noise % 70,
                noise % 10,
                980 + noise % 50,
                noise % 7,
                number % 3 != 0,
            );
            written.expect("a string takes any text");
            ends.push(text.len());
        }
        Stock { bytes: text.into_bytes(), ends }
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// The value at `index`.
    #[inline]
    pub fn get(&self, index: usize) -> &[u8] {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.bytes[start..self.ends[index]]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_up_readings_are_json() {
        let stock = Stock::sensors();
        assert_eq!(stock.len() as u64, READINGS);
        for index in 0..stock.len() {
            let value: serde_json::Value =
                serde_json::from_slice(stock.get(index)).expect("it is JSON");
            assert_eq!(value["seq"], index, "{value}");
            assert_eq!(value.as_object().map(serde_json::Map::len), Some(8));
        }
    }

    #[test]
    fn lines_of_a_file_are_values_and_empty_ones_are_not() {
        let path = std::env::temp_dir().join(format!("bridge-stock-{}", std::process::id()));
        std::fs::write(&path, "a\n\nbc\r\n").expect("the folder takes files");
        let stock = Stock::read(&path).map(|s| (s.len(), s.get(0).to_vec(), s.get(1).to_vec()));
        std::fs::write(&path, "\n").expect("the folder takes files");
        let nothing = Stock::read(&path).map(|stock| stock.len());
        std::fs::remove_file(&path).expect("it was just written");
        let missing = Stock::read(&path).map(|stock| stock.len());
        assert_eq!(stock.expect("it was written"), (2, b"a".to_vec(), b"bc".to_vec()));
        assert!(nothing.is_err_and(|fault| fault.message.contains("no line")));
        assert!(missing.is_err_and(|fault| fault.hint.is_some()));
    }
}
