//! Write a transform for `bridge` in Rust: implement [`Transform`], hand the type to
//! [`transform!`], compile for `wasm32-unknown-unknown`. Tests run natively (see `testing`),
//! through the very same layout that the bridge uses.
//!
//! ```
//! use bridge_transform::{Column, Init, Output, Record, Transform, transform};
//!
//! #[derive(serde::Deserialize)]
//! struct Options {
//!     min_celsius: f64,
//! }
//!
//! struct DropCold {
//!     temperature: Column,
//!     min: f64,
//! }
//!
//! impl Transform for DropCold {
//!     fn init(init: &mut Init) -> Result<Self, String> {
//!         let Options { min_celsius } = init.config()?;
//!         Ok(DropCold { temperature: init.column("temperature"), min: min_celsius })
//!     }
//!
//!     fn record(&mut self, record: &Record, out: &mut Output) {
//!         if record.f64(self.temperature).is_some_and(|celsius| celsius >= self.min) {
//!             out.keep();
//!         }
//!     }
//! }
//!
//! transform!(DropCold);
//! ```
//!
//! A record about which nothing is said is filtered, and counted as such. A panic, like any trap,
//! rejects the record that caused it and costs the instance: the bridge makes a new one.

mod draft;
mod emit;
#[cfg(feature = "expr")]
pub mod expr;
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod guest;
mod host;
mod init;
mod output;
mod record;
pub mod row;
mod run;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;

pub use bridge_abi::{Array, Unit, Value};
pub use bridge_derive::Row;
pub use draft::Draft;
pub use emit::Emit;
pub use host::{Level, count, gauge, log};
pub use init::{Column, Init, Table, Topic};
pub use output::Output;
pub use record::{Header, Record};

/// What becomes of each record.
pub trait Transform: Sized + 'static {
    /// Reads the configuration and interns the names of columns and tables. An error stops the
    /// start of the bridge, and says why.
    fn init(init: &mut Init) -> Result<Self, String>;

    /// Called for every record, in order. Says what becomes of it through `out`; says nothing,
    /// and the record is filtered.
    fn record(&mut self, record: &Record, out: &mut Output);
}

/// Makes a module of a [`Transform`]: defines the exports that the bridge calls. Once a crate.
///
/// A macro, for the exports must be functions without generics that know the author's type.
#[macro_export]
macro_rules! transform {
    ($transform:ty) => {
        // Natively nothing is exported; the type is used all the same, so nothing in it is dead.
        #[cfg(not(target_arch = "wasm32"))]
        const _: fn(&mut $crate::Init) -> Result<$transform, String> =
            <$transform as $crate::Transform>::init;

        #[cfg(target_arch = "wasm32")]
        const _: () = {
            static GUEST: $crate::guest::Guest<$transform> = $crate::guest::Guest::new();

            #[unsafe(no_mangle)]
            extern "C" fn bridge_abi() -> i32 {
                $crate::guest::ABI
            }
            #[unsafe(no_mangle)]
            extern "C" fn bridge_alloc(len: i32) -> i32 {
                GUEST.alloc(len as u32) as i32
            }
            #[unsafe(no_mangle)]
            extern "C" fn bridge_init(ptr: i32, len: i32) -> i32 {
                GUEST.init(ptr as u32, len as u32)
            }
            #[unsafe(no_mangle)]
            extern "C" fn bridge_batch(ptr: i32) -> i64 {
                GUEST.batch(ptr as u32)
            }
        };
    };
}
