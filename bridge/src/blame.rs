//! Who must act on an error. Record at fault: reject it and go on. World at fault: retry with a
//! bound. Operator at fault: stop, and say which line to change.

use std::fmt;

/// Who must act.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Blame {
    /// A server or the network; it may come back by itself.
    World,
    /// The configuration, a module, a table: a person has to change something.
    Operator,
    /// This program.
    Us,
}

/// An error that stops a pipeline, or a step of it.
#[derive(Clone, Debug)]
pub struct Fault {
    /// Who must act.
    pub blame: Blame,
    /// What was being done and what went wrong, lower case, without a full stop.
    pub message: String,
    /// What would be right: a statement to run, a key to change.
    pub hint: Option<String>,
}

impl Fault {
    /// The world is at fault.
    pub fn world(message: impl Into<String>) -> Fault {
        Fault { blame: Blame::World, message: message.into(), hint: None }
    }

    /// The operator is at fault.
    pub fn operator(message: impl Into<String>) -> Fault {
        Fault { blame: Blame::Operator, message: message.into(), hint: None }
    }

    /// We are at fault.
    pub fn us(message: impl Into<String>) -> Fault {
        Fault { blame: Blame::Us, message: message.into(), hint: None }
    }

    /// The same with what would be right.
    pub fn hint(mut self, hint: impl Into<String>) -> Fault {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, "\n  help: {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Fault {}
