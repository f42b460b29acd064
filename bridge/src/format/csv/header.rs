//! Columns out of names: given in the configuration, or in the first line of a record, which is
//! most often that of the record before.

use std::collections::HashMap;
use std::sync::Arc;

use super::Column;
use super::types::Type;
use crate::names::Names;

/// First lines longer than this are read anew each time.
const KNOWN_BYTES_MAX: usize = 64 * 1_024;

/// Makes columns.
pub(super) struct Header {
    types: HashMap<String, Type>,
    default_type: Type,
    names: Arc<Names>,
    /// The first line that the columns at hand come from, with its end; empty if there is none.
    known: Vec<u8>,
}

impl Header {
    /// With the types that columns are declared with.
    pub(super) fn new(
        types: HashMap<String, Type>,
        default_type: Type,
        names: Arc<Names>,
    ) -> Header {
        Header { types, default_type, names, known: Vec::new() }
    }

    /// The column of a name; one without a name is left out. `None` if the pipeline has too many.
    pub(super) fn column(&self, name: &str) -> Option<Column> {
        if name.is_empty() {
            return Some(Column { id: 0, kind: Type::Text });
        }
        let id = self.names.columns.intern(name)?;
        Some(Column { id, kind: self.types.get(name).copied().unwrap_or(self.default_type) })
    }

    /// Whether a record begins with the line that the columns at hand come from. That line ends
    /// with its line end, so that none that is longer begins with it.
    #[inline]
    pub(super) fn is_known(&self, record: &[u8]) -> bool {
        !self.known.is_empty() && record.starts_with(&self.known)
    }

    /// Bytes of that line.
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// The columns at hand are no longer those of the line.
    pub(super) fn forget(&mut self) {
        self.known.clear();
    }

    /// The columns at hand are those of this line.
    pub(super) fn remember(&mut self, line: &[u8]) {
        if line.len() <= KNOWN_BYTES_MAX && line.ends_with(b"\n") {
            self.known.extend_from_slice(line);
        }
    }
}
