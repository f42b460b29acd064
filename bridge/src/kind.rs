//! A kind is one file and its two lines in its room's table. What every table holds for each of
//! its kinds, and the part of the configuration that a kind reads.

use serde::de::DeserializeOwned;

use crate::config::{Mistake, Section};

/// One entry of a room's table: everything that is known of a kind before it is built.
pub struct Kind<Plan: ?Sized> {
    /// File name, `kind` in the configuration, metric label and heading in the reference.
    pub name: &'static str,
    /// One line, for lists.
    pub summary: &'static str,
    /// The smallest useful section, as TOML.
    pub example: &'static str,
    /// JSON Schema of its options.
    pub schema: fn() -> schemars::Schema,
    /// Reads and checks its section.
    pub parse: fn(&Section) -> Result<Box<Plan>, Mistake>,
}

/// What a pipeline asks of a kind that it cannot do: a mistake in the configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unable {
    /// The key to change: its path below the section of whoever asked.
    pub key: &'static str,
    /// What cannot be, lower case, without a full stop.
    pub message: String,
    /// What would be right.
    pub help: String,
}

impl Unable {
    /// What cannot be, at which key, and what would be right.
    pub fn new(key: &'static str, message: impl Into<String>, help: impl Into<String>) -> Unable {
        Unable { key, message: message.into(), help: help.into() }
    }

    /// The mistake that it is, in the section of whoever asked.
    pub fn mistake(self, section: &Section) -> Mistake {
        section.mistake(self.key, self.message).help(self.help)
    }
}

/// Reads a kind's options from its section.
pub fn options<T: DeserializeOwned>(section: &Section) -> Result<T, Mistake> {
    section.options()
}
