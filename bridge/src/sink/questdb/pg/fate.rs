//! What a refusal means. QuestDB gives every error the same SQLSTATE over this protocol, so that
//! its words are all there is (9.3.4). What is not known here is tried again: good records must not
//! become dead letters because a server is unwell.

use crate::sink::questdb::words::said;

/// Who is at fault when the server says no.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// The row: its record goes to the dead letters.
    Record,
    /// The table is gone, or a column of it: it may be made again.
    Gone,
    /// A column has another type than the rows were written for.
    Changed,
    /// The server: the same once more.
    Again,
}

/// A value that its column does not take.
const OF_THE_RECORD: &[&str] = &[
    "inconvertible value",
    "designated timestamp",
    "invalid UTF8",
    "invalid IPv4",
    "invalid geohash",
    "invalid UUID",
    "array type mismatch",
    "array dimensions",
];

/// A table or column that is gone.
const GONE: &[&str] = &["table does not exist", "Invalid column", "table is dropped"];

/// Whether what it says of a statement is that it cannot just now.
pub fn is_trouble(words: &str) -> bool {
    const OF_THE_SERVER: &[&str] =
        &["Cannot invoke", "could not", "timeout", "out of memory", "table busy", "cancelled"];
    // Behind their beginning words may be names, and `timeout` is one that columns have.
    OF_THE_SERVER.iter().any(|part| said(words).starts_with(part))
}

/// What the server's words mean.
pub fn fate(words: &str) -> Fate {
    let words = said(words);
    // A table's name may hold any of these words; what is said of tables stands first.
    if GONE.iter().any(|part| words.starts_with(part)) {
        Fate::Gone
    } else if words.starts_with("inconvertible types") {
        Fate::Changed
    } else if OF_THE_RECORD.iter().any(|part| words.contains(part)) {
        Fate::Record
    } else {
        Fate::Again
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_were_heard() {
        let check = |words: &str, expected| assert_eq!(fate(words), expected, "{words}");
        check("inconvertible value: 300 [SHORT -> BYTE]", Fate::Record);
        check("designated timestamp beyond 9999-12-31 is not allowed", Fate::Record);
        check("invalid IPv4 format: 1.2.3.400", Fate::Record);
        check("array type mismatch [expected=DOUBLE[], actual=DOUBLE[][]]", Fate::Record);
        check("inconvertible types: SHORT -> VARCHAR [from=$2, to=b]", Fate::Changed);
        check("table does not exist [table=inconvertible value]", Fate::Gone);
        check("Invalid column: b", Fate::Gone);
        check("table is dropped [dirName=y1~68, tableName=y1]", Fate::Gone);
        check("Cannot invoke \"TypesAndInsert.getInsert()\" because this.tai is null", Fate::Again);
        check("could not open, no space left on device", Fate::Again);
        check("", Fate::Again);
        assert!(is_trouble("[2] could not open") && is_trouble("could not lock"));
        assert!(!is_trouble("Invalid column: timeout"));
    }
}
