//! The start of a transform: its configuration, the names it interns, and what it wants to read.
//! Names become small numbers here, once, so that a record costs no string comparison.

use bridge_abi::wants;

use crate::host::{self, NameKind};

/// Defines an interned name. A macro, for the three differ in nothing but their kind, and a
/// common generic type would make worse signatures for authors.
macro_rules! interned {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
        pub struct $name(pub(crate) u16);

        impl $name {
            /// Interns a name while records are processed: a call to the host, so once a name
            /// and not once a record. `None` when the bridge gives out no more.
            pub fn intern(name: &str) -> Option<$name> {
                host::intern(NameKind::$name, name).map($name)
            }

            /// The number, from 1 on without gaps: an index for a transform's own tables.
            pub fn id(self) -> u16 {
                self.0
            }

            /// The name behind the number: a call to the host, and an allocation.
            pub fn name(self) -> Option<String> {
                host::name(NameKind::$name, self.0)
            }
        }
    };
}

interned! {
    /// A column.
    Column
}
interned! {
    /// A table that rows can be sent to.
    Table
}
interned! {
    /// A Kafka topic.
    Topic
}

/// What a transform is given at its start.
#[derive(Debug)]
pub struct Init<'a> {
    config: &'a [u8],
    wants: i32,
    /// The first name that was refused: the start fails, whatever the author makes of it.
    refused: Option<String>,
    columns: Vec<Column>,
}

impl<'a> Init<'a> {
    pub(crate) fn new(config: &'a [u8]) -> Init<'a> {
        Init { config, wants: 0, refused: None, columns: Vec::new() }
    }

    /// The options under `config` in `bridge.toml`. Without any, an empty table is read.
    pub fn config<T: serde::Deserialize<'a>>(&self) -> Result<T, String> {
        let config = if self.config.is_empty() { b"{}" } else { self.config };
        serde_json::from_slice(config).map_err(|error| format!("reading config: {error}"))
    }

    /// A column to read or to write. Unless [`Init::want_all_columns`] is asked for, records
    /// carry exactly the columns that were named here.
    ///
    /// A name that the bridge refuses stops the start when `init` returns.
    pub fn column(&mut self, name: &str) -> Column {
        self.wants |= wants::INTERNED;
        let column = Column(self.intern(NameKind::Column, name));
        self.columns.push(column);
        column
    }

    /// A table to send rows to.
    pub fn table(&mut self, name: &str) -> Table {
        Table(self.intern(NameKind::Table, name))
    }

    /// A topic, to compare with [`crate::Record::topic`] or to emit to.
    pub fn topic(&mut self, name: &str) -> Topic {
        Topic(self.intern(NameKind::Topic, name))
    }

    /// Records carry all their columns, also those that have no name here: for transforms that
    /// copy or walk whole records. Kept and patched records never lose columns either way.
    pub fn want_all_columns(&mut self) {
        self.wants |= wants::COLUMNS;
    }

    /// Records carry their key's bytes.
    pub fn want_key(&mut self) {
        self.wants |= wants::KEY;
    }

    /// Records carry their headers.
    pub fn want_headers(&mut self) {
        self.wants |= wants::HEADERS;
    }

    /// Records carry their value's raw bytes.
    pub fn want_value(&mut self) {
        self.wants |= wants::VALUE;
    }

    fn intern(&mut self, kind: NameKind, name: &str) -> u16 {
        host::intern(kind, name).unwrap_or_else(|| {
            self.refused.get_or_insert_with(|| format!("the bridge refuses the name `{name}`"));
            0
        })
    }
}

/// A transform that has started, and what it wants to read.
#[derive(Debug)]
pub(crate) struct Started<T> {
    pub(crate) transform: T,
    pub(crate) wants: i32,
    /// The columns that it named; only the test harness asks.
    #[cfg_attr(target_arch = "wasm32", expect(dead_code, reason = "the bridge remembers them"))]
    pub(crate) columns: Vec<Column>,
}

/// Starts a transform with its configuration.
pub(crate) fn start<T: crate::Transform>(config: &[u8]) -> Result<Started<T>, String> {
    let mut init = Init::new(config);
    let transform = T::init(&mut init)?;
    match init.refused {
        Some(refused) => Err(refused),
        None => Ok(Started { transform, wants: init.wants, columns: init.columns }),
    }
}
