//! Who must act on what a Kafka client says, and how it is said to a person.

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::refusal::{self, Refusal};
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
    let blame = judge(code, last_words.as_deref());
    if let Some(words) = last_words {
        message.push_str(&format!(" ({words})"));
    }
    Fault { blame, message, hint: code.and_then(hint) }
}

/// What is to be done about an error code, where that does not depend on what was being done.
pub fn hint(code: RDKafkaErrorCode) -> Option<String> {
    use RDKafkaErrorCode as Code;
    let allow = match code {
        Code::TopicAuthorizationFailed => {
            "Read and Describe of the topics that are read; Write, Describe and Create of those \
             that are written, dead letters among them"
        }
        Code::GroupAuthorizationFailed => "Read of the pipeline's `group`",
        Code::TransactionalIdAuthorizationFailed => "Write of the transactional id",
        Code::ClusterAuthorizationFailed => "IdempotentWrite of the cluster",
        _ => return None,
    };
    Some(format!("allow the bridge's principal on the brokers: {allow}"))
}

/// Who must act on an error with this code, after the client said this of its connections.
pub fn judge(code: Option<RDKafkaErrorCode>, last_words: Option<&str>) -> Blame {
    let by_code = code.map_or(Blame::World, blame);
    match last_words.and_then(refusal::read).map(Refusal::blame) {
        // A wrong password shows as a broken connection; only the last words tell.
        Some(Blame::Operator) => Blame::Operator,
        // To the library, a token that did not come is one that was refused, and so is a
        // connection that broke on the way.
        Some(other) if is_of_security(code) => other,
        _ => by_code,
    }
}

fn is_of_security(code: Option<RDKafkaErrorCode>) -> bool {
    matches!(code, Some(RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SSL))
}

/// Two live processes with one id: the coordinator serves the younger.
pub fn fenced(instance: &str) -> Fault {
    Fault::operator(format!("another process with the id `{instance}` took over"))
        .hint("give each process of the group an `instance` of its own, or stop the other process")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_words_say_who_must_act() {
        let check = |code, words: Option<&str>, blame| {
            assert_eq!(judge(Some(code), words), blame, "{words:?}");
        };
        use RDKafkaErrorCode as Code;
        let refused = Some("b:1/1: SASL authentication error: Authentication failed: Invalid user");
        check(Code::BrokerTransportFailure, refused, Blame::Operator);
        check(Code::Authentication, None, Blame::Operator);
        let broken =
            "b:1/1: SASL PLAIN mechanism handshake failed: Local: Broker transport failure";
        check(Code::Authentication, Some(broken), Blame::World);
        check(Code::SSL, Some("ssl://b:1/1: SSL transport error: Broken pipe"), Blame::World);
        check(Code::SSL, Some("ssl://b:1/1: certificate verify failed"), Blame::Operator);
        check(Code::TopicAuthorizationFailed, Some(broken), Blame::Operator);
    }
}
