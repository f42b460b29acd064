//! How the storing of a job ends, whatever the sink: its shares go home in a receipt; a record that
//! the sink refuses is put aside first.

use super::job::{Job, Position};
use super::{Home, Letters};
use crate::batch::{Receipt, Refusal, Verdict};
use crate::blame::Fault;
use crate::observe::PipelineMeter;
use crate::reject::Reason;

/// How a job came to its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    /// All of it is stored, or put aside.
    Stored,
    /// It was written for what is not so any more (a table, a claim): to be read again.
    Outdated,
}

/// Why a job could not be ended.
pub enum Stopped {
    /// A person, or we ourselves, must act.
    Fault(Fault),
    /// The dead letters are gone: the pipeline is being stopped hard.
    Abandoned,
}

/// Sends a job home by how its storing ended; `None`: everything is wanted back. Whether the
/// courier may go on with what it has; after an error it may not.
pub async fn conclude(
    home: &Home,
    meter: &PipelineMeter,
    job: Job,
    ended: Option<Result<Ended, Stopped>>,
) -> Result<bool, Fault> {
    if let Some(Ok(Ended::Stored)) = ended {
        stored(home, meter, job).await;
        return Ok(true);
    }
    rewind(home, job).await;
    match ended {
        Some(Ok(_)) => Ok(true),
        Some(Err(Stopped::Fault(fault))) => Err(fault),
        Some(Err(Stopped::Abandoned)) | None => Ok(false),
    }
}

/// Sends a job home as stored, and counts it.
pub async fn stored(home: &Home, meter: &PipelineMeter, job: Job) {
    meter.bytes_stored.add(job.bytes);
    meter.stored.record(job.opened.elapsed(), job.rows);
    let verdict = Verdict::Stored;
    home.send(Receipt { shares: job.shares, verdict, rows: job.rows }).await;
}

/// Gives a job back, to be read again.
pub async fn rewind(home: &Home, job: Job) {
    let verdict = Verdict::Rewind { route: job.route };
    home.send(Receipt { shares: job.shares, verdict, rows: 0 }).await;
}

/// Puts a record aside: to the dead letters first, then out of the job. Either both or neither.
pub async fn refuse(
    job: &mut Job,
    position: Position,
    detail: String,
    dead_letters: &Letters,
) -> Result<(), Stopped> {
    let Some(permit) = dead_letters.reserve().await else { return Err(Stopped::Abandoned) };
    let (partition, offset) = position;
    let refusal = Refusal { partition, offset, reason: Reason::RefusedBySink, detail };
    // A share of every ticket, for a line does not know its own: all commits of the payload wait
    // until this one record is put aside.
    let shares = job.shares.iter().map(|share| share.split()).collect();
    permit.refuse(refusal, shares);
    job.remove(position);
    Ok(())
}
