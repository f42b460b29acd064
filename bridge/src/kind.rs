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

/// Reads a kind's options from its section.
pub fn options<T: DeserializeOwned>(section: &Section) -> Result<T, Mistake> {
    section.options()
}
