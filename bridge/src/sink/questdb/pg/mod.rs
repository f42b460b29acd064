//! Rows over QuestDB's PostgreSQL protocol, for those who can open no other port. A row is a Bind
//! and an Execute of its table's INSERT, made in a lane; a courier sends thousands of them in one
//! transaction, and a COMMIT that holds is the receipt.
//!
//! ```text
//! lane ──bind──▶ Payload (messages, each with its layout) ──▶ courier ──BEGIN … COMMIT──▶ Receipt
//! ```
//!
//! What 9.3.4 was seen to do, and PostgreSQL does not:
//! - every error has SQLSTATE 00000: its words are all there is;
//! - after an error within a transaction the rows before it are gone, ReadyForQuery says `T` as if
//!   nothing had been, and a COMMIT stores what came after it and says `COMMIT`;
//! - after a COMMIT that failed every INSERT says `INSERT 0 1` and stores nothing;
//! - a prepared INSERT whose table was altered fails for as long as the connection lasts.
//!
//! So any error ends the connection, which rolls back, and rows are stored if each was counted and
//! nothing at all went wrong up to the `I` behind COMMIT.

pub mod bind;
mod courier;
mod fate;
pub mod layout;
mod link;
mod sql;
mod value;

#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use courier::PgCourier;
pub use layout::Layouts;
pub use link::Door;
pub use sql::Sql;
#[cfg(test)]
pub use value::push as push_parameter;

/// What couriers of this protocol share beside all others.
pub struct Pg {
    pub door: Arc<Door>,
    pub layouts: Arc<Layouts>,
}
