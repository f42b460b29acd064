//! What `bridge check` says of a fallback: how it is itself, and which failures it shares with the
//! sink that it stands in for. A door that both need is one; so is a server that both lead to by
//! different addresses.

use crate::blame::Blame;
use crate::config::FallbackPlan;
use crate::config::units::show_duration;
use crate::sink::{Door, Finding, FindingState, Sink, SinkPlan};

/// What a server fails in as a whole, whichever of its doors one came by.
const OF_A_SERVER: &str =
    "a server that is down, full or read-only, or a suspended table, stops both";

/// Knocks on the fallback's doors, and compares them with the sink's.
pub async fn look(
    (kind, plan): (&str, &dyn SinkPlan),
    sinks: [&dyn Sink; 2],
    fallback: &FallbackPlan,
) -> Vec<Finding> {
    let mut findings: Vec<Finding> =
        sinks[1].check(false).await.into_iter().map(of_fallback).collect();
    let identities = [sinks[0].identity().await, sinks[1].identity().await];
    let doors = [plan.doors(), fallback.sink.doors()];
    let mut finding = judge(doors, identities, kind == fallback.sink_kind);
    finding.name.clone_from(&findings.first().map_or_else(String::new, |first| first.name.clone()));
    finding.note.push_str(&format!(
        "; after {} of trouble, the sink is tried each {}",
        show_duration(fallback.after),
        show_duration(fallback.retry_every)
    ));
    findings.push(finding);
    findings
}

/// The same finding, seen to be the fallback's.
fn of_fallback(finding: Finding) -> Finding {
    match finding.subject {
        "sink" => Finding { subject: "fallback", ..finding },
        _ => Finding { name: format!("{} (fallback)", finding.name), ..finding },
    }
}

/// What the fallback shares with the sink, by their doors and by what their servers say they are.
fn judge(
    [first, second]: [Vec<Door>; 2],
    identities: [Option<String>; 2],
    is_same_kind: bool,
) -> Finding {
    let seconds: Vec<&String> = second.iter().flatten().collect();
    let (shared, own): (Vec<&String>, Vec<&String>) =
        first.iter().flatten().partition(|address| seconds.contains(address));
    let list = |addresses: &[&String]| {
        let shown: Vec<&str> = addresses.iter().map(|address| address.as_str()).collect();
        shown.join(", ")
    };
    let (state, note) = match (shared.is_empty(), &identities) {
        (false, _) => {
            let (shared, own) = (list(&shared), list(&own));
            let takes = format!("takes over when {own} fails, not when {shared} does");
            (FindingState::Warn, format!("{takes}, which both need: {OF_A_SERVER}"))
        }
        (true, _) if !is_same_kind => {
            (FindingState::Ok, "of another kind than the sink, and shares no server with it".into())
        }
        (true, [Some(one), Some(other)]) if one == other => {
            let takes = format!("takes over when {} fails", list(&own));
            let note = format!("{takes}; but it is the same server as the sink: {OF_A_SERVER}");
            (FindingState::Warn, note)
        }
        (true, [Some(_), Some(_)]) => (FindingState::Ok, "another server than the sink".to_owned()),
        (true, _) => {
            let unknown = "another address than the sink; whether it is another server could not be \
                           asked";
            (FindingState::Ok, unknown.to_owned())
        }
    };
    let (name, blame, fix) = (String::new(), Blame::World, None);
    Finding { subject: "fallback", name, state, blame, note, fix }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn doors(doors: &[&str]) -> Vec<Door> {
        doors.iter().map(|door| door.split(' ').map(str::to_owned).collect()).collect()
    }

    #[track_caller]
    fn check(
        first: &[&str],
        second: &[&str],
        ids: [Option<&str>; 2],
        state: FindingState,
        said: &str,
    ) {
        let ids = ids.map(|id| id.map(str::to_owned));
        let finding = judge([doors(first), doors(second)], ids, true);
        assert_eq!(finding.state, state, "{}", finding.note);
        assert!(finding.note.contains(said), "{}", finding.note);
    }

    #[test]
    fn what_is_shared_is_named() {
        use FindingState::{Ok, Warn};
        let same = [Some("7"), Some("7")];
        let said = "takes over when a:9009 fails, not when a:9000 does";
        check(&["a:9000", "a:9009"], &["a:9000"], same, Warn, said);
        check(&["a:9000", "a:9009"], &["a:9000"], [None, None], Warn, said);
        check(&["a:1"], &["b:1"], same, Warn, "the same server as the sink");
        check(&["a:1"], &["b:1"], [Some("7"), Some("8")], Ok, "another server");
        check(&["a:1"], &["b:1"], [None, Some("8")], Ok, "could not be asked");
        check(&["a:1 b:1"], &["b:1"], [None, None], Warn, "not when b:1 does");
        let finding = judge([doors(&["a:1"]), vec![]], [None, None], false);
        assert_eq!((finding.state, finding.note.contains("another kind")), (Ok, true));
    }
}
