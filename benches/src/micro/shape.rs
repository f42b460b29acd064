//! What a section `table` may ask for besides types, all at once: a table for each site by a
//! template, new names, a column left out, topic, partition, offset and row. It is done by the
//! encoder, so the figure stands beside `encode v2`, which asks for none of it.

use anyhow::Result;

use super::encode::Encode;

const ALL: &str = "name = \"{topic}_{field.site}\"
timestamp = { field = \"ts\", unit = \"us\" }
symbols = [\"device\", \"site\"]
mapping = { sensor = \"device\", temperature = \"celsius\" }
drop = [\"humidity\"]
columns = { celsius = \"double\", pressure = \"double\", seq = \"long\" }
metadata = true
";

/// The stage.
pub(super) fn shape() -> Result<Encode> {
    Encode::into_table("shape", 2, ALL)
}
