//! Names behind small numbers: columns, tables and topics of a pipeline, interned once and the
//! same in every lane and every sandbox instance.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};

/// One kind of name: append-only, ids from 1, bounded.
#[derive(Debug)]
pub struct Interner {
    max: u16,
    state: RwLock<State>,
}

#[derive(Debug, Default)]
struct State {
    ids: HashMap<Arc<str>, u16>,
    names: Vec<Arc<str>>,
}

impl Interner {
    /// At most `max` names; what comes after is refused.
    pub fn new(max: u16) -> Interner {
        Interner { max, state: RwLock::default() }
    }

    /// The id of a name, interning it if it is new. `None` when the bound is reached.
    ///
    /// Takes a lock: lanes ask once for each name, and keep what they were told.
    pub fn intern(&self, name: &str) -> Option<u16> {
        if let Some(id) = self.find(name) {
            return Some(id);
        }
        let mut state = self.state.write().expect("no interning panics");
        if let Some(id) = state.ids.get(name) {
            return Some(*id);
        }
        if state.names.len() >= usize::from(self.max) {
            return None;
        }
        let name: Arc<str> = name.into();
        state.names.push(Arc::clone(&name));
        let id = state.names.len() as u16;
        state.ids.insert(name, id);
        Some(id)
    }

    /// The id of a name that is known.
    pub fn find(&self, name: &str) -> Option<u16> {
        self.state.read().expect("no interning panics").ids.get(name).copied()
    }

    /// The name behind an id; `None` for 0 and for ids that were never given.
    pub fn name(&self, id: u16) -> Option<Arc<str>> {
        let index = usize::from(id).checked_sub(1)?;
        self.state.read().expect("no interning panics").names.get(index).cloned()
    }

    /// The highest id so far.
    pub fn count(&self) -> u16 {
        self.state.read().expect("no interning panics").names.len() as u16
    }
}

/// The names of one pipeline.
#[derive(Debug)]
pub struct Names {
    /// Columns, as flattened by the format.
    pub columns: Interner,
    /// Tables that transforms name.
    pub tables: Interner,
    /// Topics: those read, and those that transforms emit to.
    pub topics: Interner,
}

/// Bounds of one pipeline's names; hostile keys end in rejects, not in memory.
pub const COLUMN_NAMES_MAX: u16 = 16_384;
/// The same for tables that transforms name.
pub const TABLE_NAMES_MAX: u16 = 4_096;
/// The same for topics.
pub const TOPIC_NAMES_MAX: u16 = 4_096;

impl Default for Names {
    fn default() -> Names {
        Names {
            columns: Interner::new(COLUMN_NAMES_MAX),
            tables: Interner::new(TABLE_NAMES_MAX),
            topics: Interner::new(TOPIC_NAMES_MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_stable_and_bounded() {
        let names = Interner::new(2);
        assert_eq!(names.intern("a"), Some(1));
        assert_eq!(names.intern("b"), Some(2));
        assert_eq!(names.intern("a"), Some(1));
        assert_eq!(names.intern("c"), None);
        assert_eq!(names.name(2).as_deref(), Some("b"));
        assert_eq!(names.name(0), None);
        assert_eq!(names.name(3), None);
    }
}
