//! Tests of the group member against the in-process cluster.
