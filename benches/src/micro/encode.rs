//! Rows to line protocol, versions 1 and 2, into the open payload of their table.

use anyhow::Result;
use bridge::batch::RecordBatch;
use bridge::format::Format;
use bridge::outbox::Outbox;
use bridge::sink::Encoder;

use super::Stage;
use super::bed::{Bed, Rows, said};

pub(super) struct Encode {
    name: String,
    bed: Bed,
    format: Box<dyn Format>,
    encoder: Box<dyn Encoder>,
    outbox: Outbox,
    rows: Rows,
}

/// The table of the harness's scenario.
const SENSORS: &str = "name = \"sensors\"
timestamp = { field = \"ts\", unit = \"us\" }
symbols = [\"sensor\", \"site\"]
columns = { temperature = \"double\", humidity = \"double\", pressure = \"double\", seq = \"long\" }
";

impl Encode {
    /// The sensors' table in this version of the protocol; with `metadata`, rows carry topic,
    /// partition, offset and row.
    pub(super) fn new(version: u8, metadata: bool) -> Result<Encode> {
        let table = format!("{SENSORS}metadata = {metadata}\n");
        Encode::into_table(&format!("encode v{version}"), version, &table)
    }

    /// A table by the lines of its section.
    pub(super) fn into_table(name: &str, version: u8, table: &str) -> Result<Encode> {
        let bed = Bed::new(&format!(
            "[pipeline.bench.sink]\nkind = \"memory\"\nprotocol = {version}\n\
             [pipeline.bench.table]\n{table}"
        ))?;
        Ok(Encode {
            name: name.to_owned(),
            format: bed.decoder(),
            encoder: bed.encoder()?,
            outbox: bed.outbox(),
            rows: Rows::default(),
            bed,
        })
    }
}

impl Stage for Encode {
    fn name(&self) -> &str {
        &self.name
    }

    fn prepare(&mut self, batch: &RecordBatch) -> Result<()> {
        self.rows.decode(&mut *self.format, batch);
        Ok(())
    }

    fn work(&mut self, batch: &RecordBatch) -> Result<()> {
        let Rows { rows, rejects } = &mut self.rows;
        self.encoder.encode(batch, rows, rejects, &mut self.outbox).map_err(said)
    }

    fn settle(&mut self, batch: &RecordBatch) -> Result<()> {
        self.bed.give_back(&mut self.outbox);
        self.rows.ensure(batch.len())
    }
}
