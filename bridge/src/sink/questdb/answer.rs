//! What the server's answer to a write means. Pure; what it says is hostile until checked.

use serde::Deserialize;

use super::keeper::denied;
use super::server::{Response, is_read_only, said};
use crate::blame::Fault;

/// What an answer to a write means.
#[derive(Debug)]
pub enum Answered {
    /// In the write-ahead log.
    Stored,
    /// Bad rows: the line (from 1) of the first of them if it was named.
    Refused {
        /// Counted from 1.
        line: Option<usize>,
        /// In the server's words.
        detail: String,
    },
    /// More bytes than it takes at once.
    TooLarge(String),
    /// Not now, or not here: send it again over a new connection.
    Again(String),
    /// A person must act.
    Stop(Fault),
}

/// The body of a 400.
#[derive(Deserialize)]
struct Told {
    #[serde(default)]
    message: String,
    #[serde(default)]
    line: i64,
}

/// What stands before every message about a line.
const PREAMBLE: &str = "failed to parse line protocol:errors encountered on line(s):";

/// Judges an answer by its status first, its words second.
pub fn judge(response: &Response) -> Answered {
    let status = response.status;
    let words = || format!("status {status}: {}", said(&response.body));
    match status {
        204 => Answered::Stored,
        400 => refused(response),
        403 if is_read_only(&response.body) => Answered::Again("the server is read-only".into()),
        401 | 403 => Answered::Stop(denied(&words())),
        413 => Answered::TooLarge(words()),
        408 | 421 | 425 | 429 | 500..=599 => Answered::Again(words()),
        _ => Answered::Stop(
            Fault::operator(format!("questdb answered a write with {}", words()))
                .hint("`address` of the sink must be QuestDB's HTTP port (9000)"),
        ),
    }
}

fn refused(response: &Response) -> Answered {
    let told: Option<Told> = serde_json::from_slice(&response.body).ok();
    let Some(told) = told else {
        return Answered::Refused { line: None, detail: said(&response.body) };
    };
    let message = told.message.strip_prefix(PREAMBLE).unwrap_or(&told.message);
    let detail = said(message.trim().as_bytes());
    if detail.contains("non-WAL table") {
        return Answered::Stop(Fault::operator(format!("questdb refuses to write: {detail}")).hint(
            "line protocol over HTTP writes to WAL tables only: ALTER TABLE … SET TYPE WAL, then \
             restart QuestDB",
        ));
    }
    let line = usize::try_from(told.line).ok().filter(|line| *line > 0);
    Answered::Refused { line, detail }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: u16, body: &str) -> Answered {
        judge(&Response { status, body: body.as_bytes().to_vec() })
    }

    #[test]
    fn a_400_names_its_line_or_none() {
        let body = r#"{"code":"invalid","message":"failed to parse line protocol:errors encountered on line(s):\nerror in line 2: table: t, column: v; cast error","line":2,"errorId":"x-1"}"#;
        match judged(400, body) {
            Answered::Refused { line: Some(2), detail } => {
                assert_eq!(detail, "error in line 2: table: t, column: v; cast error");
            }
            other => panic!("{other:?}"),
        }
        for body in ["", "{", r#"{"line":0}"#, r#"{"line":-1}"#, "<html>\u{1b}[31m"] {
            match judged(400, body) {
                Answered::Refused { line: None, detail } => {
                    assert!(!detail.contains('\u{1b}'), "{body}");
                }
                other => panic!("{body}: {other:?}"),
            }
        }
    }

    #[test]
    fn statuses_say_who_must_act() {
        assert!(matches!(judged(204, ""), Answered::Stored));
        for status in [408, 421, 429, 500, 503, 504, 507, 509] {
            assert!(matches!(judged(status, "x"), Answered::Again(_)), "{status}");
        }
        for status in [200, 301, 401, 403, 404, 405, 415] {
            assert!(matches!(judged(status, "x"), Answered::Stop(_)), "{status}");
        }
        assert!(matches!(judged(413, "x"), Answered::TooLarge(_)));
        let read_only = r#"{"code":"unauthorised","message":"Write permission denied"}"#;
        assert!(matches!(judged(403, read_only), Answered::Again(_)), "it may not last");
        let body =
            r#"{"message":"error in line 1: table: nw; cannot insert in non-WAL table","line":1}"#;
        assert!(matches!(judged(400, body), Answered::Stop(_)));
    }
}
