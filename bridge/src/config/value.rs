//! What becomes of values: the format, and how each of them is compressed, whatever the format.

use super::load::parse_kind;
use super::mistake::Mistake;
use super::section::Section;
use crate::format::{Compression, FormatPlan, KINDS};

/// How values are read.
#[derive(Debug)]
pub struct ValuePlan {
    /// The format's name.
    pub kind: &'static str,
    /// The format.
    pub plan: Box<dyn FormatPlan>,
    /// How each is compressed.
    pub compression: Compression,
}

/// The key that all formats have.
pub const COMPRESSION: &str = "compression";

/// What is said of it.
pub const COMPRESSION_SAID: &str = "How each value is compressed, before anything else of it: \
     `\"none\"` (default), `\"gzip\"`, `\"zstd\"`, `\"snappy\"` or `\"lz4\"`. What Kafka's \
     producers compress as a batch needs none of this.";

/// Reads the section.
pub fn read(section: &Section) -> Result<ValuePlan, Mistake> {
    /// What is read whatever the format.
    #[derive(serde::Deserialize, Default)]
    #[serde(default)]
    struct Own {
        compression: Compression,
    }
    let own: Own = section.clone().only(&[COMPRESSION]).read()?;
    let of_format = section.clone().without(&[COMPRESSION]);
    let (kind, plan) = parse_kind(&of_format, KINDS, "format", "json")?;
    Ok(ValuePlan { kind, plan, compression: own.compression })
}
