//! The cases: what breaks, for whom, over which transport.

use clap::ValueEnum;
use serde::Serialize;

use crate::harness::Transport::{self, Http, Tcp};
use crate::peers::at_hand::Program::{self, Bridge, Connect, Redpanda, Telegraf};
use crate::peers::launch::Variant::{self, DeadLetters, Defaults, PatientRetries, UpsertKeys};

/// What breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// The database is SIGKILLed, and comes back.
    Database,
    /// The pipeline is SIGKILLed, and started again.
    Pipeline,
    /// One record in the middle holds text where a number belongs.
    Poison,
}

impl Fault {
    /// As the table has it.
    pub fn title(self) -> &'static str {
        match self {
            Fault::Database => "database killed",
            Fault::Pipeline => "pipeline killed",
            Fault::Poison => "one poison record",
        }
    }

    /// What the seconds are counted from.
    pub fn seconds(self) -> &'static str {
        match self {
            Fault::Database => "from the database's return to the first commit",
            Fault::Pipeline => "from its start to the first commit",
            Fault::Poison => "the longest pause between two commits",
        }
    }
}

/// One line of the table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Case {
    pub fault: Fault,
    pub program: Program,
    pub transport: Transport,
    pub variant: Variant,
}

impl Case {
    /// `the bridge, http, with upsert keys`.
    pub fn title(&self) -> String {
        let variant = match self.variant {
            Defaults => "",
            PatientRetries => ", retry_timeout=60000",
            DeadLetters => ", with a dead-letter topic",
            UpsertKeys => ", with upsert keys",
        };
        format!("{}, {}{variant}", self.program.title(), self.transport.name())
    }
}

const fn case(fault: Fault, program: Program, transport: Transport, variant: Variant) -> Case {
    Case { fault, program, transport, variant }
}

/// All of them, in the order of the table. The bridge has a dead-letter topic by default.
pub const CASES: [Case; 24] = [
    case(Fault::Database, Bridge, Http, Defaults),
    case(Fault::Database, Bridge, Http, UpsertKeys),
    case(Fault::Database, Bridge, Tcp, Defaults),
    case(Fault::Database, Connect, Http, Defaults),
    case(Fault::Database, Connect, Http, PatientRetries),
    case(Fault::Database, Connect, Tcp, Defaults),
    case(Fault::Database, Redpanda, Http, Defaults),
    case(Fault::Database, Telegraf, Http, Defaults),
    case(Fault::Pipeline, Bridge, Http, Defaults),
    case(Fault::Pipeline, Bridge, Http, UpsertKeys),
    case(Fault::Pipeline, Bridge, Tcp, Defaults),
    case(Fault::Pipeline, Bridge, Tcp, UpsertKeys),
    case(Fault::Pipeline, Connect, Http, Defaults),
    case(Fault::Pipeline, Connect, Tcp, Defaults),
    case(Fault::Pipeline, Redpanda, Http, Defaults),
    case(Fault::Pipeline, Telegraf, Http, Defaults),
    case(Fault::Poison, Bridge, Http, Defaults),
    case(Fault::Poison, Bridge, Tcp, Defaults),
    case(Fault::Poison, Connect, Http, Defaults),
    case(Fault::Poison, Connect, Http, DeadLetters),
    case(Fault::Poison, Connect, Tcp, Defaults),
    case(Fault::Poison, Connect, Tcp, DeadLetters),
    case(Fault::Poison, Redpanda, Http, Defaults),
    case(Fault::Poison, Telegraf, Http, Defaults),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_case_is_there_twice_and_every_fault_is_ours_first() {
        for (index, case) in CASES.iter().enumerate() {
            assert!(!CASES[..index].contains(case), "{}", case.title());
            let first = index == 0 || CASES[index - 1].fault != case.fault;
            assert!(!first || case.program == Bridge, "{}", case.title());
        }
        let keyed = case(Fault::Poison, Connect, Tcp, DeadLetters);
        let title = "Kafka Connect, QuestDB connector, tcp, with a dead-letter topic";
        assert_eq!(keyed.title(), title);
    }
}
