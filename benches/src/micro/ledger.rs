//! The books: a ticket issued for every batch, its shares redeemed, the commit point asked for.
//! Costs the same whatever a batch holds, so its figure is for a batch.

use anyhow::{Result, ensure};
use bridge::batch::{PartitionIndex, Receipt, RecordBatch, Verdict};
use bridge::pipeline::Ledger;

use super::Stage;

/// Batches that are out at once, as in a pipeline that is busy.
const OUT: usize = 64;
/// Partitions that they come from in turns.
const PARTITIONS: u32 = 16;
/// How often the whole is done for each batch of records, so that the clock sees it.
const TURNS: usize = 4;

#[derive(Default)]
pub(super) struct Books {
    ledger: Ledger,
    next: [i64; PARTITIONS as usize],
    points: usize,
}

impl Books {
    /// Issues tickets for batches of so many records, gives their shares back in another order,
    /// and asks for the commit points.
    fn turn(&mut self, records: i64) {
        let mut receipts = Vec::with_capacity(2 * OUT);
        for index in 0..OUT as u32 {
            let partition = PartitionIndex(index % PARTITIONS);
            let next = &mut self.next[partition.0 as usize];
            let ticket = self.ledger.issue(partition, *next, *next + records);
            *next += records;
            // One for a payload, and the lane's own.
            for share in [ticket.share(), ticket.into_share()] {
                receipts.push(Receipt { shares: vec![share], verdict: Verdict::Stored, rows: 0 });
            }
        }
        while let Some(receipt) = receipts.pop() {
            self.ledger.redeem(receipt);
        }
        self.points += self.ledger.uncommitted().len();
    }
}

impl Stage for Books {
    fn name(&self) -> &str {
        "ledger"
    }

    fn per(&self, batches: &[RecordBatch]) -> (&'static str, f64) {
        ("batch", (batches.len() * TURNS * OUT) as f64)
    }

    fn work(&mut self, batch: &RecordBatch) -> Result<()> {
        self.points = 0;
        for _ in 0..TURNS {
            self.turn(batch.len() as i64);
        }
        Ok(())
    }

    fn settle(&mut self, _: &RecordBatch) -> Result<()> {
        let (points, out) = (self.points, self.ledger.out_total());
        let all = TURNS * PARTITIONS as usize;
        ensure!(points == all && out == 0, "{points} commit points for {all}, {out} tickets out");
        Ok(())
    }
}
