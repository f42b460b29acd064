//! Conditions and computed values over a record: `temperature > 20 and site <> 'lab'`. The same
//! language in the modules of `transforms/` and in the bridge; `docs/expressions.md` describes it.
//!
//! ```text
//! text ─ lex ▶ parse ▶ Expr (a tree that prints itself) ─ compile ▶ Program ─ eval + Row ▶ Value
//! ```
//!
//! A program is made once. Running it takes no memory once its [`Scratch`] has grown, and asks for
//! neither clock nor chance: the same record gives the same value.
#![forbid(unsafe_code)]

mod ast;
mod call;
mod compile;
mod error;
mod eval;
mod functions;
mod lex;
mod like;
mod number;
mod parse;
pub mod time;
mod types;
mod units;
mod value;

pub use ast::{Arithmetic, Comparison, Expr, ExprKind, Own, Type, Which};
pub use compile::{Program, compile};
pub use error::{Error, Failed, Failure, Span, Why, closest};
pub use functions::{FUNCTIONS, Function, Info};
pub use parse::parse;
pub use types::Types;
pub use units::{UNITS, Unit as Measure};
pub use value::{Row, Scratch, Text, Value};

/// How deep an expression may be nested: parser and evaluator go down by a call for each level.
pub const DEPTH_MAX: usize = 100;
/// The longest expression, in bytes.
pub const SOURCE_BYTES_MAX: usize = 16 << 10;
/// What all texts that one evaluation makes may take, in bytes.
pub const TEXT_BYTES_MAX: usize = 1 << 20;
