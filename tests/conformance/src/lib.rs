//! One behaviour in every language: `cases` go through a module in the bridge's own sandbox
//! (`sandbox`), and what comes out is compared with one golden text for all languages (`golden`).
//! Modules are made of the SDKs' examples by the languages' compilers (`modules`).

pub mod cases;
pub mod golden;
pub mod modules;
pub mod sandbox;
