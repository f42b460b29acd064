//! What an answer of `/_sql` means: rows, a count for each row of a bulk, or an error and who is at
//! fault for it. By CrateDB's own numbers of errors first, by HTTP's status second. Pure; what the
//! server says is hostile until checked.

use serde::Deserialize;
use serde_json::Value;

use crate::sink::questdb::server::{Response, said};

/// Who is at fault when the server says no.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// A record, unless the statement: it goes to the dead letters once it is alone.
    Record,
    /// The table is not what it was when the rows were written, or so it seems.
    Changed,
    /// It was too much at once.
    TooMuch,
    /// The cluster, or somebody who blocks its tables for now: the same once more.
    Again,
    /// A person has to act.
    Operator,
}

/// The server said no.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct No {
    /// CrateDB's number of the error, if it gave one.
    pub code: Option<i64>,
    /// HTTP's status; 0 for a row of a bulk.
    pub status: u16,
    /// Its words.
    pub words: String,
}

/// What became of one row of a bulk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Each {
    /// It is there.
    Stored,
    /// It is not, and why.
    Refused(No),
    /// It is not; the server gives reasons for ten rows of a shard only.
    Silent,
}

#[derive(Deserialize, Default)]
struct Told {
    error: Option<ToldError>,
    results: Option<Vec<ToldResult>>,
    rows: Option<Vec<Vec<Value>>>,
    rowcount: Option<i64>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ToldError {
    code: i64,
    message: String,
}

#[derive(Deserialize)]
struct ToldResult {
    rowcount: i64,
    error: Option<ToldError>,
}

impl ToldError {
    fn into_no(self, status: u16) -> No {
        No { code: Some(self.code), status, words: said(self.message.as_bytes()) }
    }
}

impl No {
    /// No answer that could be read as one.
    pub fn unreadable(status: u16, words: &str) -> No {
        No { code: None, status, words: format!("status {status}: {words}") }
    }

    /// What it means.
    pub fn fate(&self) -> Fate {
        // A circuit breaker of the server's memory has no number of its own.
        if self.words.contains("CircuitBreakingException") {
            return Fate::TooMuch;
        }
        match (self.code, self.status) {
            (Some(4010 | 4011), _) => Fate::Operator,
            // Read-only nodes and tables, blocks that are set by hand or by a full disk.
            (Some(4031..=4037), _) => Fate::Again,
            (Some(4041 | 4043 | 4045 | 4046), _) => Fate::Changed,
            (Some(4092 | 4290), _) => Fate::Again,
            (Some(4000 | 4002 | 4003 | 4008 | 4090 | 4091 | 40000), _) => Fate::Record,
            (Some(5000..=5099), _) => Fate::Again,
            (_, 413) => Fate::TooMuch,
            (_, 408 | 421 | 425 | 429 | 500..=599) => Fate::Again,
            _ => Fate::Operator,
        }
    }

    /// Whether more time, or less at once, cannot help: it is too large as it is.
    pub fn is_too_large(&self) -> bool {
        self.status == 413
    }

    /// In few words.
    pub fn shown(&self) -> String {
        let words = &self.words;
        match self.code {
            Some(4031..=4037) => format!(
                "{words} [{}]: its `blocks` settings, or a disk above its watermark, say so",
                self.code.unwrap_or_default()
            ),
            Some(code) => format!("{words} [{code}]"),
            None => words.clone(),
        }
    }

    /// What to change, where a person has to act.
    pub fn hint(&self) -> &'static str {
        match (self.code, self.status) {
            (Some(4011), _) => {
                "GRANT DML, DQL ON TABLE … TO the sink's user (and DDL on its schema for \
                 auto_create and add_columns)"
            }
            (Some(4010), _) | (None, 401 | 403) => {
                "set `username` and `password` (or `password_file`), or `token` (or \
                 `token_file`), of the sink; auth.host_based of the server says who may come in"
            }
            (None, _) => "`address` of the sink must be CrateDB's HTTP port (4200)",
            _ => "the server's words say what is wrong; nothing after the last commit is lost",
        }
    }
}

/// The rows of an answer to one statement; none for one that has none.
pub fn rows(response: &Response) -> Result<Vec<Vec<Value>>, No> {
    Ok(told(response)?.rows.unwrap_or_default())
}

/// What became of the only row of a request that was no bulk: its error would be told in full. Of
/// one that `replaces` the row of its key there is always one; another is left out if its key is
/// there.
pub fn alone(response: &Response, replaces: bool) -> Result<Each, No> {
    let count = told(response)?.rowcount;
    let is_there = count.is_some_and(|count| count >= i64::from(replaces));
    Ok(if is_there { Each::Stored } else { Each::Silent })
}

/// What became of each row of a bulk of so many.
pub fn each(response: &Response, count: usize) -> Result<Vec<Each>, No> {
    let results = told(response)?.results.unwrap_or_default();
    if results.len() != count {
        let words = format!("an answer about {} rows to a bulk of {count}", results.len());
        // As from a server that is not well: what is stored is not known.
        return Err(No { code: None, status: 502, words });
    }
    let judge = |result: ToldResult| match (result.rowcount, result.error) {
        (0.., None) => Each::Stored,
        (_, Some(error)) => Each::Refused(error.into_no(0)),
        (_, None) => Each::Silent,
    };
    Ok(results.into_iter().map(judge).collect())
}

fn told(response: &Response) -> Result<Told, No> {
    let status = response.status;
    let told: Option<Told> = serde_json::from_slice(&response.body).ok();
    match (told, status) {
        (Some(Told { error: Some(error), .. }), _) => Err(error.into_no(status)),
        (Some(told), 200) => Ok(told),
        // Half an answer, cut or garbled on its way.
        (None, 200) => Err(No::unreadable(502, "an answer that is not CrateDB's")),
        _ => Err(No::unreadable(status, &said(&response.body))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(status: u16, body: &str) -> Response {
        Response { status, body: body.as_bytes().to_vec() }
    }

    #[test]
    fn each_row_of_a_bulk_has_its_fate() {
        let body = r#"{"cols":[],"duration":1.5,"results":[{"rowcount":1},{"rowcount":0},
            {"rowcount":-2,"error":{"code":4003,"message":"n\u001bo"}},{"rowcount":-2},
            {"rowcount":-1}]}"#;
        let no = No { code: Some(4003), status: 0, words: "n o".into() };
        let wanted =
            [Each::Stored, Each::Stored, Each::Refused(no), Each::Silent, Each::Silent].to_vec();
        assert_eq!(each(&response(200, body), 5), Ok(wanted));
        let fate = |body: &str, count| each(&response(200, body), count).map_err(|no| no.fate());
        assert_eq!(fate(body, 4), Err(Fate::Again));
        assert_eq!(fate("{\"results\":[{\"rowcount\":1}", 1), Err(Fate::Again));
        assert_eq!(fate("{}", 1), Err(Fate::Again));
        assert_eq!(fate("<html>", 1), Err(Fate::Again));
    }

    #[test]
    fn the_number_says_who_is_at_fault_and_the_status_where_there_is_none() {
        let check = |status: u16, body: &str, fate: Fate| {
            let no = rows(&response(status, body)).expect_err(body);
            assert_eq!(no.fate(), fate, "{status} {body}");
        };
        let coded = |code: i64| format!(r#"{{"error":{{"code":{code},"message":"x"}}}}"#);
        for code in [4000, 4002, 4003, 4091, 40000] {
            check(400, &coded(code), Fate::Record);
        }
        for code in [4041, 4043, 4045] {
            check(404, &coded(code), Fate::Changed);
        }
        for code in [4031, 4033, 4035, 4037, 4092, 4290, 5000, 5002, 5030, 5035] {
            check(403, &coded(code), Fate::Again);
        }
        for code in [4010, 4011, 4001, 4007] {
            check(401, &coded(code), Fate::Operator);
        }
        let breaker = r#"{"error":{"code":5000,"message":"CircuitBreakingException[too large]"}}"#;
        check(500, breaker, Fate::TooMuch);
        for status in [408, 429, 500, 502, 503, 504] {
            check(status, "later", Fate::Again);
        }
        check(413, "", Fate::TooMuch);
        for status in [301, 400, 401, 403, 404] {
            check(status, "<html>", Fate::Operator);
        }
    }

    #[test]
    fn rows_are_rows() {
        let got = rows(&response(200, r#"{"cols":["a"],"rows":[[1],[null]],"rowcount":2}"#));
        assert_eq!(got, Ok(vec![vec![1.into()], vec![Value::Null]]));
        assert_eq!(rows(&response(200, r#"{"cols":[],"rowcount":1}"#)), Ok(vec![]));
    }
}
