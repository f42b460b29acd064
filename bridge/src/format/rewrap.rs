//! Formats around others: what unwraps values (takes a head off, unpacks) leaves the reading of
//! what it found to another format, a batch at a time.

use super::{Decoded, Format};
use crate::batch::{Rewrapped, RowBatch};
use crate::blame::Fault;
use crate::reject::Rejects;

/// Decodes by `inner`; rows and refusals are of the records that were unwrapped.
pub(super) fn decode_rewrapped(
    inner: &mut dyn Format,
    unwrapped: &Rewrapped<'_>,
    rows: &mut RowBatch,
    rejects: &mut Rejects,
) -> Result<Decoded, Fault> {
    let (first_row, first_reject) = (rows.rows.len(), rejects.found.len());
    let deleting = std::mem::take(&mut rows.deleting);
    let decoded = inner.decode(unwrapped, rows, rejects)?;
    let found = std::mem::replace(&mut rows.deleting, deleting);
    for index in (0..unwrapped.len() as u32).filter(|index| found.has(*index)) {
        rows.deleting.insert(unwrapped.source(index));
    }
    for row in &mut rows.rows[first_row..] {
        row.source = unwrapped.source(row.source);
    }
    for (source, ..) in &mut rejects.found[first_reject..] {
        *source = unwrapped.source(*source);
    }
    Ok(decoded)
}
