//! A mistake in the configuration, and how it is shown.

/// What is wrong, where, and what would be right.
#[derive(Clone, Debug)]
pub struct Mistake {
    /// Dotted path of the key, such as `pipeline.readings.table.timestamp`.
    pub path: String,
    /// Bytes of the file that it is about, where known.
    pub span: Option<std::ops::Range<usize>>,
    /// Lower case, no full stop.
    pub message: String,
    /// What would be right.
    pub help: Option<String>,
}
