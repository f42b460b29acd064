//! Record bytes to rows.

use anyhow::Result;
use bridge::batch::RecordBatch;
use bridge::format::Format;

use super::Stage;
use super::bed::{Bed, Rows};
use super::written::FORMATS;

pub(super) struct Decode {
    name: &'static str,
    format: Box<dyn Format>,
    rows: Rows,
}

impl Decode {
    /// JSON.
    pub(super) fn new() -> Result<Decode> {
        let bed = Bed::new("")?;
        Ok(Decode { name: "decode", format: bed.decoder(), rows: Rows::default() })
    }

    /// One of the other formats.
    pub(super) fn of<const AT: usize>() -> Result<Decode> {
        let format = &FORMATS[AT];
        let bed = Bed::new(format.sections)?;
        Ok(Decode { name: format.stage, format: bed.decoder(), rows: Rows::default() })
    }
}

impl Stage for Decode {
    fn name(&self) -> &str {
        self.name
    }

    fn work(&mut self, batch: &RecordBatch) -> Result<()> {
        self.rows.decode(&mut *self.format, batch);
        Ok(())
    }

    fn settle(&mut self, batch: &RecordBatch) -> Result<()> {
        self.rows.ensure(batch.len())
    }
}
