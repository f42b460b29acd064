//! Who must act on what a Kafka client says, and how it is said to a person.

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::blame::{Blame, Fault};

/// Who must act on an error code.
pub fn blame(code: RDKafkaErrorCode) -> Blame {
    use RDKafkaErrorCode as Code;
    match code {
        Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::TransactionalIdAuthorizationFailed
        | Code::SaslAuthenticationFailed
        | Code::UnsupportedSASLMechanism
        | Code::SecurityDisabled
        | Code::Authentication
        | Code::SSL
        | Code::FencedInstanceId
        | Code::InconsistentGroupProtocol
        | Code::InvalidSessionTimeout
        | Code::InvalidGroupId
        | Code::InvalidTopic
        | Code::InvalidRecord
        | Code::PolicyViolation
        | Code::UnsupportedVersion => Blame::Operator,
        Code::InvalidArgument => Blame::Us,
        _ => Blame::World,
    }
}

/// Whether a commit that failed so may be tried again later: the group is on the move.
pub fn commit_may_come_later(code: RDKafkaErrorCode) -> bool {
    blame(code) == Blame::World
}

/// Whether a group's coordinator is being found, moved or started.
pub fn is_coordinator_on_its_way(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        code,
        Code::NotCoordinator | Code::CoordinatorNotAvailable | Code::CoordinatorLoadInProgress
    )
}

/// A fault of doing something, with what the client said last about its connections.
pub fn fault(doing: &str, error: &KafkaError, last_words: Option<String>) -> Fault {
    let code = error.rdkafka_error_code();
    let said = match code {
        Some(code) => code.to_string(),
        None => error.to_string(),
    };
    let mut message = format!("{doing}: {}", said.trim_start_matches("Local: "));
    let blame = match (code, &last_words) {
        // A wrong password shows as a broken connection; only the last words tell.
        (_, Some(words)) if is_refusal(words) => Blame::Operator,
        (Some(code), _) => blame(code),
        (None, _) => Blame::World,
    };
    if let Some(words) = last_words {
        message.push_str(&format!(" ({words})"));
    }
    Fault { blame, message, hint: None }
}

fn is_refusal(words: &str) -> bool {
    let words = words.to_ascii_lowercase();
    ["authentication", "sasl", "certificate verify", "unsupported mechanism"]
        .iter()
        .any(|part| words.contains(part))
}

/// Two live processes with one id: the coordinator serves the younger.
pub fn fenced(instance: &str) -> Fault {
    Fault::operator(format!("another process with the id `{instance}` took over"))
        .hint("give each process of the group an `instance` of its own, or stop the other process")
}
