//! Record bytes to rows.

use anyhow::Result;
use bridge::batch::RecordBatch;
use bridge::format::Format;

use super::Stage;
use super::bed::{Bed, Rows};

pub(super) struct Decode {
    format: Box<dyn Format>,
    rows: Rows,
}

impl Decode {
    pub(super) fn new() -> Result<Decode> {
        let bed = Bed::new("")?;
        Ok(Decode { format: bed.decoder(), rows: Rows::default() })
    }
}

impl Stage for Decode {
    fn name(&self) -> &str {
        "decode"
    }

    fn work(&mut self, batch: &RecordBatch) -> Result<()> {
        self.rows.decode(&mut *self.format, batch);
        Ok(())
    }

    fn settle(&mut self, batch: &RecordBatch) -> Result<()> {
        self.rows.ensure(batch.len())
    }
}
