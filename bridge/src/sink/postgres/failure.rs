//! What went wrong, and what it means for the rows that were under way: by SQLSTATE, for words
//! change with the server's language.

use std::error::Error as _;

/// What went wrong between us and a server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Failure {
    /// The server said no.
    Said {
        /// SQLSTATE.
        code: String,
        /// Its words.
        message: String,
        /// Where it was just then, such as `COPY t, line 3`.
        context: Option<String>,
    },
    /// No answer, or none that could be read.
    Lost(String),
}

/// Who is at fault when a server says no.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// A record: it goes to the dead letters.
    Record,
    /// The table is not what it was when the rows were written.
    Changed,
    /// It took too long.
    TooLong,
    /// The server, or another transaction: the same once more.
    Again,
    /// This server takes no writes.
    Elsewhere,
    /// A person has to act.
    Operator,
}

impl Failure {
    /// What the client library says.
    pub fn of(error: &tokio_postgres::Error) -> Failure {
        match error.as_db_error() {
            Some(said) => Failure::Said {
                code: said.code().code().to_owned(),
                message: match said.detail() {
                    Some(detail) => format!("{} ({detail})", said.message()),
                    None => said.message().to_owned(),
                },
                context: said.where_().map(str::to_owned),
            },
            None => {
                let mut words = error.to_string();
                let mut source = error.source();
                while let Some(inner) = source {
                    let more = inner.to_string();
                    if !words.contains(&more) {
                        words = format!("{words}: {more}");
                    }
                    source = inner.source();
                }
                Failure::Lost(words)
            }
        }
    }

    /// What it means.
    pub fn fate(&self) -> Fate {
        let Failure::Said { code, .. } = self else { return Fate::Again };
        match (code.as_str(), code.get(..2).unwrap_or_default()) {
            // No binary form, and a message that ends too early: of this record, if of any.
            ("22P03" | "08P01", _) => Fate::Record,
            ("57014", _) => Fate::TooLong,
            ("25006", _) => Fate::Elsewhere,
            // No such schema, table or column; a type that is another one now.
            ("3F000" | "42P01" | "42703" | "42804", _) => Fate::Changed,
            // Data, integrity, cardinality, a view's check, limits of the program; what functions
            // of the user say.
            (_, "21" | "22" | "23" | "38" | "39" | "44" | "54" | "P0") => Fate::Record,
            // Connection, transaction state, rollback, resources, prerequisites, intervention,
            // the system, defects.
            (_, "08" | "25" | "26" | "40" | "53" | "55" | "57" | "58" | "XX") => Fate::Again,
            _ => Fate::Operator,
        }
    }

    /// The row that the server named: `COPY t, line 3, column x` is the third.
    pub fn line(&self, relation: &str) -> Option<usize> {
        let Failure::Said { context: Some(context), .. } = self else { return None };
        context.lines().find_map(|line| {
            let rest = line.strip_prefix("COPY ")?.strip_prefix(relation)?;
            let number = rest.strip_prefix(", line ")?;
            number.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
        })
    }

    /// For people.
    pub fn words(&self) -> String {
        match self {
            Failure::Said { code, message, context } => match context {
                Some(context) => {
                    let context = context.lines().next_back().unwrap_or_default();
                    format!("{message} [{code}], {context}")
                }
                None => format!("{message} [{code}]"),
            },
            Failure::Lost(words) => words.clone(),
        }
    }

    /// What to change, where a person has to act.
    pub fn hint(&self) -> &'static str {
        match self {
            Failure::Said { code, .. } => match code.as_str() {
                "42501" => {
                    "GRANT INSERT ON the table to the sink's user (for `upsert` also UPDATE and \
                     SELECT, for `null_value = \"delete\"` DELETE; for auto_create CREATE on its \
                     schema)"
                }
                "3D000" => "set `database` of the sink, or CREATE DATABASE",
                code if code.starts_with("28") => {
                    "set `username` and `password` of the sink; pg_hba.conf says who may come in"
                }
                _ => "the server's words say what is wrong; nothing after the last commit is lost",
            },
            Failure::Lost(_) => "set `address` and `tls` of the sink",
        }
    }

    /// Whether nobody else than the operator can put a connection right.
    pub fn is_refusal(&self) -> bool {
        match self {
            Failure::Said { code, .. } => code.starts_with("28") || code == "3D000",
            Failure::Lost(words) => {
                ["password missing", "invalid peer certificate", "does not support TLS"]
                    .iter()
                    .any(|part| words.contains(part))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(code: &str, context: &str) -> Failure {
        let context = (!context.is_empty()).then(|| context.to_owned());
        Failure::Said { code: code.into(), message: "no".into(), context }
    }

    #[test]
    fn the_code_says_who_is_at_fault() {
        let check = |code: &str, fate| assert_eq!(said(code, "").fate(), fate, "{code}");
        check("23505", Fate::Record);
        check("22001", Fate::Record);
        check("P0001", Fate::Record);
        check("40001", Fate::Again);
        check("40P01", Fate::Again);
        check("57P01", Fate::Again);
        check("53100", Fate::Again);
        check("25006", Fate::Elsewhere);
        check("57014", Fate::TooLong);
        check("42P01", Fate::Changed);
        check("42501", Fate::Operator);
        check("28P01", Fate::Operator);
        check("", Fate::Operator);
        assert_eq!(Failure::Lost("gone".into()).fate(), Fate::Again);
        assert!(said("28P01", "").is_refusal() && !said("53300", "").is_refusal());
    }

    #[test]
    fn the_context_names_a_row_of_our_own_copy() {
        let line = |context: &str| said("22001", context).line("my, line 9");
        assert_eq!(line("COPY my, line 9, line 12"), Some(12));
        assert_eq!(line("COPY my, line 9, line 3, column x: \", line 4\""), Some(3));
        assert_eq!(line("PL/pgSQL function f() line 3\nCOPY my, line 9, line 5"), Some(5));
        assert_eq!(line("COPY other, line 12"), None);
        assert_eq!(line(""), None);
    }
}
