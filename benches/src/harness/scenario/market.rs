//! `market`: what an exchange sends: nested quotes and a trade, and the book's levels as arrays of
//! price and size, about 800 bytes. Levels become `DOUBLE[][]`, volumes `DOUBLE[]`.

use std::io::Write;

use super::{Scenario, filter, noise, ts_us};

const SYMBOLS: [(&str, u64); 12] = [
    ("BTC-USD", 67_000),
    ("ETH-USD", 3_400),
    ("SOL-USD", 150),
    ("EUR-USD", 109),
    ("XAU-USD", 2_400),
    ("BRENT", 82),
    ("DAX", 18_500),
    ("NDX", 19_800),
    ("BUND", 131),
    ("NVDA", 125),
    ("ASML", 900),
    ("SAP", 190),
];
const VENUES: [&str; 4] = ["alpha", "beta", "gamma", "delta"];
/// Levels on each side of the book.
const LEVELS: u64 = 12;
/// Traded in each of the last minutes.
const VOLUMES: u64 = 8;

pub(crate) struct Market;

impl Scenario for Market {
    fn name(&self) -> &'static str {
        "market"
    }

    fn write(&self, seq: u64, key: &mut Vec<u8>, value: &mut Vec<u8>) {
        key.clear();
        value.clear();
        write_all(seq, key, value).expect("a vector takes any bytes");
    }

    fn columns(&self) -> String {
        "ts TIMESTAMP, symbol SYMBOL, venue SYMBOL, seq LONG, bid_price DOUBLE, bid_size DOUBLE, \
         ask_price DOUBLE, ask_size DOUBLE, trade_price DOUBLE, trade_size DOUBLE, \
         trade_side SYMBOL, trade_maker_fee DOUBLE, trade_maker_known BOOLEAN, bids DOUBLE[][], \
         asks DOUBLE[][], volumes DOUBLE[]"
            .to_owned()
    }

    fn transforms(&self) -> String {
        filter("bid_price")
    }

    fn table(&self) -> String {
        "timestamp = { field = \"ts\", unit = \"us\" }
symbols = [\"symbol\", \"venue\", \"trade_side\"]
"
        .to_owned()
    }
}

fn write_all(seq: u64, key: &mut Vec<u8>, value: &mut Vec<u8>) -> std::io::Result<()> {
    let chance = noise(seq);
    let (symbol, around) = SYMBOLS[(chance % SYMBOLS.len() as u64) as usize];
    let venue = VENUES[(chance / 16 % VENUES.len() as u64) as usize];
    // In hundredths, so that no rounding shows.
    let bid = around * 100 + chance / 64 % 500;
    let ask = bid + 1 + chance / 128 % 20;
    let size = |salt: u64| noise(seq.wrapping_mul(64) + salt) % 100_000;
    write!(key, "{symbol}")?;
    write!(
        value,
        "{{\"ts\":{},\"symbol\":\"{symbol}\",\"venue\":\"{venue}\",\"seq\":{seq},\"bid\":",
        ts_us(seq)
    )?;
    let quote = |value: &mut Vec<u8>, price: u64, size: u64| {
        write!(value, "{{\"price\":{},\"size\":{}}}", Cents(price), Thousandths(size))
    };
    quote(value, bid, size(0))?;
    value.extend_from_slice(b",\"ask\":");
    quote(value, ask, size(1))?;
    write!(
        value,
        ",\"trade\":{{\"price\":{},\"size\":{},\"side\":\"{}\",\"maker\":{{\"fee\":-0.{:04},\
         \"known\":{}}}}}",
        Cents(if chance.is_multiple_of(2) { bid } else { ask }),
        Thousandths(size(2)),
        if chance.is_multiple_of(2) { "sell" } else { "buy" },
        1 + chance / 256 % 25,
        !chance.is_multiple_of(5)
    )?;
    levels(value, "bids", |level| (bid - level, size(3 + level)))?;
    levels(value, "asks", |level| (ask + level, size(20 + level)))?;
    value.extend_from_slice(b",\"volumes\":[");
    for minute in 0..VOLUMES {
        let comma = if minute == 0 { "" } else { "," };
        write!(value, "{comma}{}", Thousandths(size(40 + minute)))?;
    }
    value.extend_from_slice(b"]}");
    Ok(())
}

/// One side of the book: pairs of price and size.
fn levels(
    value: &mut Vec<u8>,
    name: &str,
    level: impl Fn(u64) -> (u64, u64),
) -> std::io::Result<()> {
    write!(value, ",\"{name}\":[")?;
    for index in 0..LEVELS {
        let ((price, size), comma) = (level(index), if index == 0 { "" } else { "," });
        write!(value, "{comma}[{},{}]", Cents(price), Thousandths(size))?;
    }
    value.push(b']');
    Ok(())
}

/// Written with two digits behind the point.
struct Cents(u64);

impl std::fmt::Display for Cents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:02}", self.0 / 100, self.0 % 100)
    }
}

/// Written with three.
struct Thousandths(u64);

impl std::fmt::Display for Thousandths {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:03}", self.0 / 1_000, self.0 % 1_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_book_is_in_order() {
        let (mut key, mut value) = (Vec::new(), Vec::new());
        let mut bytes = 0;
        for seq in 2_000_000..2_001_000 {
            Market.write(seq, &mut key, &mut value);
            bytes += value.len();
            let read: serde_json::Value = serde_json::from_slice(&value).expect("it is JSON");
            let price = |side: &str, level: usize| read[side][level][0].as_f64().expect("a price");
            for level in 1..LEVELS as usize {
                assert!(price("bids", level) < price("bids", level - 1), "{read}");
                assert!(price("asks", level) > price("asks", level - 1), "{read}");
            }
            assert!(price("bids", 0) < price("asks", 0), "{read}");
            assert_eq!(read["volumes"].as_array().expect("an array").len(), VOLUMES as usize);
        }
        assert!((700..900).contains(&(bytes / 1_000)), "{} bytes", bytes / 1_000);
    }
}
