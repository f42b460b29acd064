//! The house on one page. Data walks a ring once, in one direction:
//!
//! ```text
//!  intake ──RecordBatch──▶ lane: format ▶ transform ▶ encode ──Payload──▶ courier ──▶ database
//!    ▲                                                                       │
//!    └───────────────────────────────Receipt─────────────────────────────────┘
//! ```
//!
//! *Intake cuts the log into batches; a lane turns a batch into bytes; a courier gets the bytes
//! stored; the receipt comes home and the ledger moves the commit point.* `ARCHITECTURE.md` has
//! the rooms, what each may touch, and the invariants.

// Tests start threads, servers and clients as they need them.
#![cfg_attr(test, allow(clippy::disallowed_methods))]

pub mod author;
pub mod batch;
pub mod blame;
pub mod cli;
pub mod config;
pub mod decimal;
pub mod demo;
pub mod door;
#[cfg(test)]
mod folder;
pub mod format;
pub mod import;
pub mod kafka;
pub mod kind;
pub mod lasting;
pub mod limits;
pub mod modules;
pub mod names;
pub mod observe;
pub mod outbox;
pub mod pipeline;
pub mod produce;
pub mod range;
pub mod reject;
pub mod rejects;
pub mod replay;
pub mod schemas;
pub mod shape;
pub mod sink;
pub mod source;
pub mod ticket;
pub mod times;
pub mod transform;
pub mod trial;
pub mod unpack;
