//! The places of a schema: each is a column's name, however often the schema has it.

use std::collections::HashMap;

/// Names of columns, each with its number.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Places {
    names: Vec<Box<str>>,
    by_name: HashMap<Box<str>, u32>,
}

impl Places {
    /// The number of a name, a new one if it was not there.
    pub fn of(&mut self, name: &str) -> u32 {
        if let Some(place) = self.by_name.get(name) {
            return *place;
        }
        let place = self.names.len() as u32;
        self.names.push(name.into());
        self.by_name.insert(name.into(), place);
        place
    }

    /// The number of a name that is there.
    pub fn find(&self, name: &str) -> Option<u32> {
        self.by_name.get(name).copied()
    }

    /// The name of a number.
    pub fn name(&self, place: u32) -> &str {
        self.names.get(place as usize).map_or("", |name| name)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.names.len()
    }
}
