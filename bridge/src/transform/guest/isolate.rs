//! When a call fails: the instance is thrown away, and the guilty record is found while all
//! others go through. The record that the guest said it was at is tried alone first; only if that
//! was not it, the rows are halved until the guilty one is alone. No record is given up unless it
//! fails alone in an instance that has done nothing else.
//!
//! ```text
//! rows before the suspect │ suspect, alone │ rows behind it
//!         again           │   fails: out   │ go on; halved if the suspect was innocent
//! ```

use std::ops::Range;

use super::failure::Failure;
use super::instance::Instance;
use super::lane::{Batch, Failed, Guest, Step};
use super::limits::{BYPASSED_BATCHES_MAX, FAILED_IN_A_ROW_MAX};
use super::options::OnFailure;
use crate::blame::Fault;
use crate::reject::{Reason, Stage};

/// Starts of a new instance that may fail before that is the module's fault: on a machine that
/// is short of time a deadline may be missed once.
const STARTS_MAX: u32 = 3;

impl Guest {
    /// Deals with rows that failed together; up to which row it did.
    pub(super) fn isolate(
        &mut self,
        batch: &mut Batch<'_>,
        range: Range<usize>,
        failed: Failed,
    ) -> Result<usize, Fault> {
        self.renew(batch)?;
        if range.len() == 1 {
            self.again_alone(batch, range.start, failed)?;
            return Ok(range.end);
        }
        let suspect = range.start + failed.failure.progress as usize;
        let reached = self.halve(batch, range.start..suspect)?;
        if reached < suspect {
            return Ok(reached);
        }
        if self.alone(batch, suspect)? {
            // The guest says what is not so; the rest is found without its help.
            return self.halve(batch, suspect + 1..range.end);
        }
        Ok(suspect + 1)
    }

    /// Rows of which some may be guilty: halved where a call fails. Up to which row it came, for
    /// it stops where enough is made.
    fn halve(&mut self, batch: &mut Batch<'_>, range: Range<usize>) -> Result<usize, Fault> {
        let (time, end) = (self.retry_deadline(), range.end);
        let mut left = vec![range];
        while let Some(range) = left.pop() {
            let mut at = range.start;
            while at < range.end {
                if batch.stops(at) {
                    return Ok(at);
                }
                match self.step(batch, at..range.end, time)? {
                    Step::Took(count) => at += count,
                    Step::Failed(failed) if failed.count == 1 => {
                        self.renew(batch)?;
                        self.again_alone(batch, at, failed)?;
                        at += 1;
                    }
                    Step::Failed(failed) => {
                        self.renew(batch)?;
                        let middle = at + failed.count / 2;
                        left.push(middle..range.end);
                        left.push(at..middle);
                        break;
                    }
                }
            }
        }
        Ok(end)
    }

    /// A row that failed alone. Unless that was in a new instance, it has another chance.
    fn again_alone(
        &mut self,
        batch: &mut Batch<'_>,
        index: usize,
        failed: Failed,
    ) -> Result<(), Fault> {
        if failed.fresh {
            return self.guilty(batch, index, failed.failure);
        }
        self.alone(batch, index).map(drop)
    }

    /// One row alone; whether it went through. If it did not it is guilty, unless the instance
    /// had worked before.
    fn alone(&mut self, batch: &mut Batch<'_>, index: usize) -> Result<bool, Fault> {
        let time = self.retry_deadline();
        for _ in 0..2 {
            match self.step(batch, index..index + 1, time)? {
                Step::Took(_) => return Ok(true),
                Step::Failed(failed) => {
                    self.renew(batch)?;
                    if failed.fresh {
                        self.guilty(batch, index, failed.failure)?;
                        return Ok(false);
                    }
                }
            }
        }
        Err(Fault::us("a new instance of a transform had worked before"))
    }

    /// A new instance in place of the one before.
    pub(super) fn renew(&mut self, batch: &mut Batch<'_>) -> Result<(), Fault> {
        // The one before is given back first, for the pool is finite.
        self.instance = None;
        let mut refusal = String::new();
        for _ in 0..STARTS_MAX {
            batch.replaced += 1;
            match Instance::start(&self.template, &mut self.log) {
                Ok(instance) => {
                    self.instance = Some(instance);
                    return Ok(());
                }
                Err(message) => refusal = message,
            }
        }
        let message =
            format!("transform {} cannot be started again: {refusal}", self.template.label);
        Err(Fault::operator(message))
    }

    /// What becomes of a record that fails alone.
    fn guilty(
        &mut self,
        batch: &mut Batch<'_>,
        index: usize,
        failure: Failure,
    ) -> Result<(), Fault> {
        match failure.reason {
            Reason::Deadline => batch.deadlines += 1,
            _ => batch.traps += 1,
        }
        self.failed_in_a_row += 1;
        let everything = self.failed_in_a_row >= FAILED_IN_A_ROW_MAX;
        let label = &self.template.label;
        let row = batch.rows.rows.rows[index];
        if let Some(cases) = &self.template.cases {
            cases.note(&failure, batch.records, row.source as usize);
        }
        match self.on_failure {
            OnFailure::Stop => {
                let offset = batch.records.get(row.source as usize).offset;
                let record = format!("{}@{offset}", batch.records.source);
                let message = format!("transform {label} failed on {record}: {}", failure.detail);
                return Err(Fault::operator(message).hint(
                    "repair the module; or on_failure = \"dead-letter\" puts such records aside",
                ));
            }
            OnFailure::DeadLetter if everything => {
                let message = format!(
                    "transform {label} failed on {} records one after the other; the last: {}",
                    self.failed_in_a_row, failure.detail
                );
                return Err(Fault::operator(message).hint(
                    "the module is at fault, not the records: repair it; nothing was committed",
                ));
            }
            OnFailure::DeadLetter => {
                let detail = format!("{label}: {}", failure.detail);
                batch.rows.rejects.push(row.source, Stage::Transform, failure.reason, detail);
            }
            OnFailure::Bypass => {
                batch.rows.push(row);
                if everything {
                    let batches = self.bypass.next.clamp(1, BYPASSED_BATCHES_MAX);
                    self.bypass.left = batches;
                    self.bypass.next = batches * 2;
                    tracing::warn!(
                        transform = &**label,
                        "fails on everything, passed by for {batches} batches; the last: {}",
                        failure.detail
                    );
                }
            }
        }
        Ok(())
    }
}
