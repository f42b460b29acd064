//! What is measured: programs, and what each does with a row.

use serde::Serialize;

/// Who moves records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Program {
    Bridge,
    Debezium,
}

/// What becomes of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Work {
    /// It is added.
    Append,
    /// It is looked up by its key, and added.
    Upsert,
    /// It is looked up by its key, and replaces the one that is there.
    Replace,
}

/// A row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Case {
    pub program: Program,
    pub work: Work,
}

/// In this order: a table is filled before its rows are replaced.
pub const CASES: [Case; 6] = [
    Case { program: Program::Bridge, work: Work::Append },
    Case { program: Program::Debezium, work: Work::Append },
    Case { program: Program::Bridge, work: Work::Upsert },
    Case { program: Program::Bridge, work: Work::Replace },
    Case { program: Program::Debezium, work: Work::Upsert },
    Case { program: Program::Debezium, work: Work::Replace },
];

impl Program {
    /// As the table has it.
    pub fn title(self) -> &'static str {
        match self {
            Program::Bridge => "the bridge",
            Program::Debezium => "Kafka Connect, Debezium's JDBC sink",
        }
    }

    /// For names of groups and files.
    pub fn name(self) -> &'static str {
        match self {
            Program::Bridge => "bridge",
            Program::Debezium => "debezium",
        }
    }
}

impl Work {
    /// As the table has it.
    pub fn title(self) -> &'static str {
        match self {
            Work::Append => "append",
            Work::Upsert => "upsert, new keys",
            Work::Replace => "upsert, known keys",
        }
    }

    /// For names of groups and files.
    pub fn name(self) -> &'static str {
        match self {
            Work::Append => "append",
            Work::Upsert => "upsert",
            Work::Replace => "replace",
        }
    }

    /// Whether rows have a key.
    pub fn has_key(self) -> bool {
        self != Work::Append
    }
}
