//! Partitions whose progress the sink keeps are claimed before they are read. That asks a
//! database, and the intake must not wait: a task asks, and its answer is collected later.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::batch::{PartitionIndex, TopicPartition};
use crate::blame::Fault;
use crate::sink::{Claimed, Claims};
use crate::source::Waker;

/// Answers that wait for the intake, which looks at every turn.
const ANSWERS_MAX: usize = 64;

/// What came of a claim.
pub struct Answer {
    /// The claim's number: what an earlier one answers is not asked any more.
    pub number: u64,
    /// Where each partition goes on.
    pub claimed: Result<Claimed, Fault>,
}

/// Claims partitions for the intake. What it has under way ends with it.
pub struct Claimer {
    claims: Arc<dyn Claims>,
    runtime: Handle,
    waker: Waker,
    tasks: JoinSet<()>,
    sender: mpsc::Sender<Answer>,
    answers: mpsc::Receiver<Answer>,
    last: u64,
}

impl Claimer {
    /// Nothing is claimed yet.
    pub fn new(claims: Arc<dyn Claims>, runtime: Handle, waker: Waker) -> Claimer {
        let (sender, answers) = mpsc::channel(ANSWERS_MAX);
        Claimer { claims, runtime, waker, tasks: JoinSet::new(), sender, answers, last: 0 }
    }

    /// How long a partition that is to be read again is left alone first.
    pub fn patience(&self, partition: PartitionIndex) -> std::time::Duration {
        self.claims.patience(partition)
    }

    /// Begins to claim partitions; the claim's number.
    pub fn claim(&mut self, partitions: Vec<(PartitionIndex, TopicPartition)>) -> u64 {
        while self.tasks.try_join_next().is_some() {}
        self.last += 1;
        let (number, sender, waker) = (self.last, self.sender.clone(), Arc::clone(&self.waker));
        let claim = Arc::clone(&self.claims).claim(partitions);
        let ask = async move {
            let claimed = claim.await;
            // An intake that is gone needs no answer.
            let _ = sender.send(Answer { number, claimed }).await;
            waker();
        };
        self.tasks.spawn_on(ask, &self.runtime);
        number
    }

    /// The next answer, if there is one.
    pub fn answer(&mut self) -> Option<Answer> {
        self.answers.try_recv().ok()
    }
}
