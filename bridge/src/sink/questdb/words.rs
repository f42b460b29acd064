//! What a server's words about a table mean, where no code of it says so.

/// What is said of a table that is not there.
const NOT_THERE: &str = "table does not exist";

/// Whether no table has the name that was asked for.
pub fn is_not_there(words: &str) -> bool {
    said(words).starts_with(NOT_THERE)
}

/// Whether these are the words of a server whose files of a table contradict each other: it reads
/// them again for a second, then gives up.
pub fn is_unreadable(words: &str) -> bool {
    ["Metadata", "Transaction"].iter().any(|what| {
        said(words).strip_prefix(what).is_some_and(|rest| rest.starts_with(" read timeout [src="))
    })
}

/// Whether a refusal to read is one that passes: a table's files are being repaired. Any other may
/// be of the name, and names come out of records.
pub fn is_of_files(words: &str) -> bool {
    let of_files = ["File is too small", "could not", "metadata version does not match"];
    of_files.iter().any(|part| said(words).starts_with(part))
}

/// Without the number that some errors have before their words: `[2]: ` over HTTP, `[2] ` over the
/// PostgreSQL protocol.
pub fn said(words: &str) -> &str {
    match words.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((number, said)) if number.parse::<i32>().is_ok() => {
            said.strip_prefix(':').unwrap_or(said).trim_start()
        }
        _ => words,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_were_heard() {
        assert!(is_unreadable("Metadata read timeout [src=reader, timeout=1000ms]"));
        let from = "[2]: Metadata read timeout [src=writer, timeout=1000ms, err=Metadata read";
        assert!(is_unreadable(from));
        assert!(is_unreadable("[0] Metadata read timeout [src=reader, timeout=1000ms]"));
        assert!(!is_unreadable("table does not exist [table=Metadata read timeout [src=]"));
        assert!(is_of_files("[0]: File is too small, size=0, required=128"));
        assert!(is_of_files("[2]: could not open, file does not exist: /db/t~6/_meta]"));
        assert!(!is_of_files("table does not exist [table=could not]"));
        assert!(is_not_there("table does not exist [table=t]") && !is_not_there("table t"));
        assert!(!is_unreadable("[x]: Metadata read timeout [src=reader]"));
    }
}
