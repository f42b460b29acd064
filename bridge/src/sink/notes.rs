//! Statements that are noted in place of being run, for who asks what would be made: a dry run.

use std::sync::Mutex;

/// Statements that are kept word for word; hostile records can ask for tables without end.
const STATEMENTS_MAX: usize = 200;

/// What a sink would have made; see [`super::Sink::note`].
#[derive(Debug, Default)]
pub struct Notes(Mutex<Noted>);

/// The statements.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Noted {
    /// In the order in which they would be run.
    pub statements: Vec<String>,
    /// So many more were only counted.
    pub more: u64,
}

impl Notes {
    /// Adds a statement.
    pub fn add(&self, statement: &str) {
        let mut noted = self.0.lock().expect("no one panics with it");
        if noted.statements.len() < STATEMENTS_MAX {
            noted.statements.push(statement.to_owned());
        } else {
            noted.more += 1;
        }
    }

    /// All so far.
    pub fn noted(&self) -> Noted {
        self.0.lock().expect("no one panics with it").clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_bound_and_the_rest_is_counted() {
        let notes = Notes::default();
        (0..STATEMENTS_MAX + 3).for_each(|number| notes.add(&number.to_string()));
        let Noted { statements, more } = notes.noted();
        assert_eq!((statements.len(), more), (STATEMENTS_MAX, 3));
        assert_eq!(statements[1], "1");
    }
}
