//! The layout that crosses the sandbox wall, for both sides of it.
#![no_std]
#![forbid(unsafe_code)]

mod layout;

pub use layout::*;
