//! Transactions of a producer. What goes wrong is either over with an abort, or with the producer.

use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::KafkaError;
use rdkafka::producer::Producer;

use super::producer::Connection;
use crate::blame::{Blame, Fault};
use crate::kafka::errors;

/// How long a call may take before it is asked whether to go on with it.
const CALL: Duration = Duration::from_secs(1);

/// Why a transaction came to nothing, or may have.
#[derive(Debug)]
pub enum Undone {
    /// It was aborted, or never begun.
    Aborted(Fault),
    /// Nobody knows; the next producer of the same id ends it.
    Unknown(Fault),
}

/// Asked whether to go on, and told of what is slow.
pub type GoOn<'a> = &'a mut dyn FnMut(Option<&str>) -> bool;

impl Connection {
    /// Ends what another producer of the same id had under way, and keeps it from going on.
    pub fn open_transactions(&self, go_on: GoOn<'_>) -> Result<(), Fault> {
        self.patiently("opening transactions", go_on, |c| c.producer().init_transactions(CALL))
            .map_err(|(fault, _)| fault)
    }

    /// Begins.
    pub fn begin(&self) -> Result<(), Undone> {
        let begun = self.producer().begin_transaction();
        begun.map_err(|error| Undone::Unknown(self.fault("beginning a transaction", &error)))
    }

    /// Adds the group's offsets, and commits.
    pub fn commit(
        &self,
        offsets: &TopicPartitionList,
        member: &ConsumerGroupMetadata,
        go_on: GoOn<'_>,
    ) -> Result<(), Undone> {
        let send = |c: &Connection| c.producer().send_offsets_to_transaction(offsets, member, CALL);
        let sent = self.patiently("adding offsets to a transaction", go_on, send);
        let ended = sent.and_then(|()| {
            self.patiently("committing a transaction", go_on, |c| {
                c.producer().commit_transaction(CALL)
            })
        });
        match ended {
            Ok(()) => Ok(()),
            Err((fault, true)) => Err(self.abort(fault, go_on)),
            Err((fault, false)) => Err(Undone::Unknown(fault)),
        }
    }

    /// Aborts, for this reason.
    pub fn abort(&self, reason: Fault, go_on: GoOn<'_>) -> Undone {
        let aborted = self
            .patiently("aborting a transaction", go_on, |c| c.producer().abort_transaction(CALL));
        match aborted {
            Ok(()) => Undone::Aborted(reason),
            Err((fault, _)) if fault.blame != Blame::World => Undone::Unknown(fault),
            Err(_) => Undone::Unknown(reason),
        }
    }

    /// Repeats a call until it is answered; else why not, and whether an abort mends it.
    fn patiently(
        &self,
        doing: &str,
        go_on: GoOn<'_>,
        call: impl Fn(&Connection) -> Result<(), KafkaError>,
    ) -> Result<(), (Fault, bool)> {
        loop {
            let error = match call(self) {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            let (again, abort) = match &error {
                KafkaError::Transaction(said) => (said.is_retriable(), said.txn_requires_abort()),
                _ => (false, false),
            };
            if !again {
                return Err((self.fault(doing, &error), abort));
            }
            let words = self.last_words();
            if !go_on(words.as_deref()) {
                return Err((Fault::world("everything is wanted back"), false));
            }
        }
    }

    fn fault(&self, doing: &str, error: &KafkaError) -> Fault {
        let fault = errors::fault(doing, error, self.last_words());
        let denied = rdkafka::types::RDKafkaErrorCode::TransactionalIdAuthorizationFailed;
        match error.rdkafka_error_code() == Some(denied) {
            true => {
                let id = self.id().unwrap_or_default();
                fault.hint(format!("allow Write and Describe on the transactional id {id}"))
            }
            false => fault,
        }
    }
}
