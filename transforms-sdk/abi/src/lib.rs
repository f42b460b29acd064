//! The layout that crosses the sandbox wall, for both sides of it: the bridge (host) and the
//! Rust SDK (guest). No `std`, no dependencies, no `unsafe`; every reader takes a byte slice and
//! every position in it is checked before use. `ABI.md` beside the SDKs is the contract in words.
//!
//! ```text
//! host: build ──▶ guest's memory ──▶ guest: read, value ──▶ actions ──▶ host: validate
//! ```
#![no_std]
#![forbid(unsafe_code)]

pub mod build;
pub mod emit;
mod layout;
pub mod read;
pub mod validate;
pub mod value;

pub use layout::*;
pub use value::{Array, Value};
