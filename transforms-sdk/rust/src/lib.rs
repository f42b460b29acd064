//! bridge-transform
