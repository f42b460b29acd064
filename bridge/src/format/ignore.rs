//! A value that is not read: a row is the record's key, and what the record itself says (topic,
//! offset, timestamp, headers).

use schemars::JsonSchema;
use serde::Deserialize;

use super::walk::{Out, ReadValue, Stopped, Walker};
use super::{DecoderContext, Format, FormatPlan};
use crate::kind::{Kind, options};

/// The format's entry in its room's table.
pub const KIND: Kind<dyn FormatPlan> = Kind {
    name: "ignore",
    summary: "values are not read: a row is the record's key",
    example: "value = { format = \"ignore\" }\nkey = { format = \"json\", prefix = \"\" }\n",
    schema: || schemars::schema_for!(Options),
    parse: |section| Ok(Box::new(options::<Options>(section)?)),
};

/// It has none.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Options {}

impl FormatPlan for Options {
    fn decoder(&self, context: &DecoderContext) -> Box<dyn Format> {
        Box::new(Walker::new(context, Nothing))
    }
}

/// Reads nothing.
struct Nothing;

impl ReadValue for Nothing {
    fn read(&mut self, _: &[u8], out: &mut Out<'_>) -> Result<(), Stopped> {
        out.end_row(0)
    }
}

#[cfg(test)]
mod tests {
    use crate::format::testing::Bench;

    #[test]
    fn a_row_is_the_key() {
        let mut bench = Bench::new("format = \"ignore\"", "format = \"json\"\nprefix = \"\"");
        assert_eq!(bench.told_of(r#"{"id":7,"at":"x"}"#, "\u{0}any"), "id=7i at=\"x\"");
        let told = bench.told_of("{", "");
        assert!(told.starts_with("format bad-key: the key: not JSON"), "{told}");
    }
}
