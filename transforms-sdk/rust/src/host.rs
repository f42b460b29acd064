//! What the bridge offers a module: names, messages, counters. In wasm these are the imports of
//! module `bridge`; natively a registry of this thread answers, so that tests need no bridge.

/// How much a log line matters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Level {
    /// Something is wrong.
    Error = bridge_abi::levels::ERROR as isize,
    /// Something may be wrong.
    Warn = bridge_abi::levels::WARN as isize,
    /// Worth knowing.
    Info = bridge_abi::levels::INFO as isize,
    /// For the author.
    Debug = bridge_abi::levels::DEBUG as isize,
}

/// Which kind of name is meant, as the import `name` counts them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NameKind {
    Column = bridge_abi::names::COLUMN as isize,
    Table = bridge_abi::names::TABLE as isize,
    Topic = bridge_abi::names::TOPIC as isize,
}

/// Writes a line to the bridge's log, labelled with the transform's name and limited in rate.
pub fn log(level: Level, message: &str) {
    backend::log(level as i32, message);
}

/// Adds to a counter that `/metrics` shows under the transform's name.
pub fn count(name: &str, by: f64) {
    backend::metric(bridge_abi::metrics::COUNTER, name, by);
}

/// Sets a gauge that `/metrics` shows under the transform's name.
pub fn gauge(name: &str, value: f64) {
    backend::metric(bridge_abi::metrics::GAUGE, name, value);
}

pub(crate) use backend::{intern, name};

#[cfg(target_arch = "wasm32")]
pub(crate) use backend::fail;

#[cfg(target_arch = "wasm32")]
mod backend {
    use super::NameKind;

    #[link(wasm_import_module = "bridge")]
    unsafe extern "C" {
        #[link_name = "column"]
        safe fn import_column(ptr: *const u8, len: usize) -> i32;
        #[link_name = "table"]
        safe fn import_table(ptr: *const u8, len: usize) -> i32;
        #[link_name = "topic"]
        safe fn import_topic(ptr: *const u8, len: usize) -> i32;
        #[link_name = "name"]
        fn import_name(kind: i32, id: i32, ptr: *mut u8, cap: usize) -> i32;
        #[link_name = "fail"]
        safe fn import_fail(ptr: *const u8, len: usize);
        #[link_name = "log"]
        safe fn import_log(level: i32, ptr: *const u8, len: usize);
        #[link_name = "metric"]
        safe fn import_metric(kind: i32, ptr: *const u8, len: usize, value: f64);
    }

    /// The id of a name; `None` where the bridge gives out no more.
    pub(crate) fn intern(kind: NameKind, name: &str) -> Option<u16> {
        let id = match kind {
            NameKind::Column => import_column(name.as_ptr(), name.len()),
            NameKind::Table => import_table(name.as_ptr(), name.len()),
            NameKind::Topic => import_topic(name.as_ptr(), name.len()),
        };
        u16::try_from(id).ok().filter(|id| *id != 0)
    }

    /// The name behind an id.
    pub(crate) fn name(kind: NameKind, id: u16) -> Option<String> {
        let mut name = vec![0; 256];
        for _ in 0..2 {
            // SAFETY: the host writes at most `cap` bytes from `ptr` on, and all are `name`'s.
            let len =
                unsafe { import_name(kind as i32, i32::from(id), name.as_mut_ptr(), name.len()) };
            let len = usize::try_from(len).ok()?;
            if len <= name.len() {
                name.truncate(len);
                return String::from_utf8(name).ok();
            }
            name.resize(len, 0);
        }
        None
    }

    pub(crate) fn fail(message: &str) {
        import_fail(message.as_ptr(), message.len());
    }

    pub(super) fn log(level: i32, message: &str) {
        import_log(level, message.as_ptr(), message.len());
    }

    pub(super) fn metric(kind: i32, name: &str, value: f64) {
        import_metric(kind, name.as_ptr(), name.len(), value);
    }
}

#[cfg(not(target_arch = "wasm32"))]
mod backend {
    use std::cell::RefCell;

    use super::NameKind;

    thread_local! {
        /// Columns, tables, topics; a name's id is its place, counted from 1.
        static NAMES: RefCell<[Vec<String>; 3]> = const { RefCell::new([const { Vec::new() }; 3]) };
    }

    pub(crate) fn intern(kind: NameKind, name: &str) -> Option<u16> {
        NAMES.with_borrow_mut(|names| {
            let names = &mut names[kind as usize];
            let index = names.iter().position(|known| known == name).unwrap_or_else(|| {
                names.push(name.to_owned());
                names.len() - 1
            });
            u16::try_from(index + 1).ok()
        })
    }

    pub(crate) fn name(kind: NameKind, id: u16) -> Option<String> {
        let index = usize::from(id).checked_sub(1)?;
        NAMES.with_borrow(|names| names[kind as usize].get(index).cloned())
    }

    pub(super) fn log(level: i32, message: &str) {
        eprintln!("transform log, level {level}: {message}");
    }

    pub(super) fn metric(_kind: i32, _name: &str, _value: f64) {}
}
