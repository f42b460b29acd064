//! The ledger against a naive model: whatever order receipts come home in, the commit point is
//! the end of the unbroken run of stored batches.

use proptest::prelude::*;

use super::*;

const P: PartitionIndex = PartitionIndex(0);

fn stored(shares: Vec<Share>) -> Receipt {
    Receipt { shares, verdict: Verdict::Stored, rows: 0 }
}

fn rewound(shares: Vec<Share>, route: Route) -> Receipt {
    Receipt { shares, verdict: Verdict::Rewind { route }, rows: 0 }
}

fn point(next: i64) -> Vec<CommitPoint> {
    vec![CommitPoint { partition: P, next }]
}

#[test]
fn the_commit_point_waits_for_the_oldest() {
    let mut ledger = Ledger::default();
    let a = ledger.issue(P, 10, 20);
    let b = ledger.issue(P, 20, 30);
    ledger.redeem(stored(vec![b.into_share()]));
    assert_eq!(ledger.uncommitted(), []);
    ledger.redeem(stored(vec![a.into_share()]));
    assert_eq!(ledger.uncommitted(), point(30));
    assert_eq!(ledger.uncommitted(), [], "asked for once");
    ledger.not_committed(&point(30));
    assert_eq!(ledger.uncommitted(), point(30), "due again");
}

#[test]
fn what_the_source_left_out_is_done_behind_what_is_stored() {
    let mut ledger = Ledger::default();
    let a = ledger.issue(P, 10, 20);
    ledger.leave_out(P, 20, 30);
    assert_eq!((ledger.uncommitted(), ledger.out(P)), (vec![], 1));
    ledger.redeem(stored(vec![a.into_share()]));
    assert_eq!((ledger.uncommitted(), ledger.out(P)), (point(30), 0));
    ledger.leave_out(P, 30, 40);
    assert_eq!((ledger.uncommitted(), ledger.lost()), (point(40), 0));
}

#[test]
fn what_is_no_record_is_passed_when_all_is_home() {
    let mut ledger = Ledger::default();
    ledger.pass(P, 10);
    assert_eq!(ledger.uncommitted(), [], "where it began is no news");
    let a = ledger.issue(P, 10, 20);
    ledger.pass(P, 21);
    assert_eq!(ledger.uncommitted(), [], "a batch is out");
    ledger.redeem(stored(vec![a.into_share()]));
    assert_eq!(ledger.uncommitted(), point(20));
    ledger.pass(P, 21);
    assert_eq!(ledger.uncommitted(), point(21));
    let b = ledger.issue(P, 21, 30);
    ledger.redeem(rewound(vec![b.into_share()], Route::Primary));
    ledger.pass(P, 30);
    assert_eq!(ledger.due_rewinds(), [Rewind { partition: P, next: 21 }]);
    assert_eq!(ledger.uncommitted(), [], "what is to be read again is not passed");
    assert_eq!(ledger.commit_points(), point(21), "the same once more");
}

#[test]
fn what_is_out_of_another_log_moves_nothing() {
    let mut ledger = Ledger::default();
    let a = ledger.issue(P, 100, 200);
    let b = ledger.issue(P, 200, 300);
    ledger.redeem(stored(vec![a.into_share()]));
    ledger.go_back(P, 0);
    assert_eq!(ledger.uncommitted(), point(0));
    let c = ledger.issue(P, 0, 50);
    ledger.redeem(stored(vec![b.into_share()]));
    assert_eq!(ledger.uncommitted(), [], "it is not of this log");
    ledger.redeem(stored(vec![c.into_share()]));
    assert_eq!(ledger.uncommitted(), point(50));
    let d = ledger.issue(P, 50, 60);
    ledger.go_back(P, 0);
    ledger.redeem(rewound(vec![d.into_share()], Route::Primary));
    assert_eq!(ledger.due_rewinds(), [Rewind { partition: P, next: 0 }]);
}

#[test]
fn a_rewind_waits_until_the_partition_is_quiet() {
    let mut ledger = Ledger::default();
    let a = ledger.issue(P, 10, 20);
    let b = ledger.issue(P, 20, 30);
    let c = ledger.issue(P, 30, 40);
    ledger.redeem(stored(vec![a.into_share()]));
    ledger.redeem(rewound(vec![b.into_share()], Route::Proof));
    assert!(!ledger.may_issue(P));
    assert_eq!(ledger.due_rewinds(), [], "one is still out");
    ledger.redeem(stored(vec![c.into_share()]));
    assert_eq!(ledger.due_rewinds(), [Rewind { partition: P, next: 20 }]);
    assert!(ledger.may_issue(P));
    assert_eq!(ledger.uncommitted(), point(20), "what came after the failed one does not count");
    assert_eq!(ledger.route(P, 20), Route::Proof);
    assert_eq!(ledger.route(P, 39), Route::Proof);
    assert_eq!(ledger.route(P, 40), Route::Primary);
    let again = ledger.issue(P, 20, 45);
    ledger.redeem(stored(vec![again.into_share()]));
    assert_eq!(ledger.uncommitted(), point(45));
}

#[test]
fn a_rewind_without_any_stored_batch_starts_at_the_first() {
    let mut ledger = Ledger::default();
    let a = ledger.issue(P, 7, 20);
    ledger.redeem(rewound(vec![a.into_share()], Route::Primary));
    assert_eq!(ledger.due_rewinds(), [Rewind { partition: P, next: 7 }]);
    assert_eq!(ledger.route(P, 7), Route::Primary);
}

#[test]
fn one_failed_share_fails_the_ticket() {
    let mut ledger = Ledger::default();
    let a = ledger.issue(P, 0, 10);
    let share = a.share();
    ledger.redeem(rewound(vec![share], Route::Primary));
    ledger.redeem(stored(vec![a.into_share()]));
    assert_eq!(ledger.uncommitted(), []);
    assert_eq!(ledger.due_rewinds(), [Rewind { partition: P, next: 0 }]);
}

const Q: PartitionIndex = PartitionIndex(1);

#[test]
fn what_is_wanted_back_comes_before_anything_new() {
    let mut ledger = Ledger::default();
    let home = ledger.issue(Q, 0, 5);
    ledger.redeem(stored(vec![home.into_share()]));
    let a = ledger.issue(P, 10, 20);
    let b = ledger.issue(P, 20, 30);
    assert_eq!((ledger.want_back(), ledger.last()), (3, 3));
    assert!(!ledger.may_issue(P), "it would be stored ahead of what comes back");
    assert!(ledger.may_issue(Q), "nothing of it is out");
    // What was stored before anyone heard of it is.
    ledger.redeem(stored(vec![a.into_share()]));
    assert_eq!(ledger.due_rewinds(), []);
    ledger.redeem(rewound(vec![b.into_share()], Route::Primary));
    assert_eq!(ledger.due_rewinds(), [Rewind { partition: P, next: 20 }]);
    assert!(ledger.may_issue(P));
}

#[test]
fn after_a_turn_nothing_is_issued_until_all_is_home() {
    let mut ledger = Ledger::default();
    let a = ledger.issue(P, 0, 10);
    let b = ledger.issue(Q, 5, 8);
    ledger.turn(Way::Second);
    assert_eq!((ledger.way(), ledger.left()), (Way::Second, Some(Way::First)));
    ledger.redeem(rewound(vec![a.into_share()], Route::Proof));
    assert_eq!(ledger.due_rewinds(), [Rewind { partition: P, next: 0 }]);
    assert!(!ledger.may_issue(P), "the other partition is not home");
    ledger.redeem(stored(vec![b.into_share()]));
    assert_eq!(ledger.left(), None);
    assert!(ledger.may_issue(P) && ledger.may_issue(Q));
    assert_eq!(ledger.route(P, 0), Route::Primary, "the proof was the first sink's matter");
    let again = ledger.issue(P, 0, 10);
    ledger.redeem(rewound(vec![again.into_share()], Route::Proof));
    ledger.due_rewinds();
    assert_eq!(ledger.route(P, 0), Route::Proof, "and this is the second's");
    ledger.turn(Way::First);
    assert_eq!(ledger.route(P, 0), Route::Primary);
}

#[test]
fn a_turn_that_is_taken_back_holds_nobody() {
    let mut ledger = Ledger::default();
    let a = ledger.issue(P, 0, 10);
    ledger.turn(Way::Second);
    ledger.turn(Way::First);
    assert!(ledger.may_issue(P) && ledger.left().is_none());
    let b = ledger.issue(P, 10, 20);
    ledger.redeem(stored(vec![a.into_share(), b.into_share()]));
    assert_eq!(ledger.uncommitted(), point(20));
}

#[test]
fn a_dropped_ticket_is_lost() {
    let mut ledger = Ledger::default();
    drop(ledger.issue(P, 0, 10));
    assert_eq!(ledger.lost(), 1);
    assert_eq!(ledger.uncommitted(), []);
}

proptest! {
    /// Batches are issued, split into shares, and their shares come home in any order, some as
    /// failures; after each step the commit point equals the model's.
    #[test]
    fn the_commit_point_is_the_end_of_the_unbroken_stored_run(
        batches in prop::collection::vec((1_i64..5, 0_usize..4), 1..20),
        order in prop::collection::vec(any::<prop::sample::Index>(), 0..120),
        failures in prop::collection::vec(prop::bool::weighted(0.05), 120),
    ) {
        let mut ledger = Ledger::default();
        let mut at = 0;
        let mut flying: Vec<(usize, Share)> = Vec::new();
        // For each batch: end, shares out, failed.
        let mut model: Vec<(i64, usize, bool)> = Vec::new();
        for (index, (length, extra)) in batches.iter().enumerate() {
            let ticket = ledger.issue(P, at, at + length);
            at += length;
            flying.extend((0..*extra).map(|_| (index, ticket.share())));
            flying.push((index, ticket.into_share()));
            model.push((at, extra + 1, false));
        }
        for (pick, fail) in order.iter().zip(failures) {
            if flying.is_empty() {
                break;
            }
            let (batch, share) = flying.swap_remove(pick.index(flying.len()));
            model[batch].1 -= 1;
            model[batch].2 |= fail;
            let receipt = if fail {
                rewound(vec![share], Route::Primary)
            } else {
                stored(vec![share])
            };
            ledger.redeem(receipt);
            let run = model.iter().take_while(|(_, out, failed)| *out == 0 && !failed);
            let expected = run.last().map(|(end, ..)| *end);
            prop_assert_eq!(ledger.partitions[&P].stored, expected);
            let any_failed = model.iter().any(|(.., failed)| *failed);
            prop_assert_eq!(ledger.may_issue(P), !any_failed);
            if flying.is_empty() {
                prop_assert_eq!(ledger.due_rewinds().len(), usize::from(any_failed));
            }
        }
        for (_, share) in flying {
            share.redeem();
        }
    }
}

proptest! {
    /// Two partitions, issued to and turned at will: whatever is under way at one time goes to one
    /// sink, and a partition is read again when it is quiet.
    #[test]
    fn what_is_under_way_goes_to_one_sink(
        steps in prop::collection::vec((0_u8..4, 0_u32..2, any::<prop::sample::Index>()), 1..150),
    ) {
        let mut ledger = Ledger::default();
        let mut next = [0_i64; 2];
        // Partition, way.
        let mut flying: Vec<(usize, Way, Share)> = Vec::new();
        for (kind, partition, pick) in steps {
            let at = partition as usize;
            let index = PartitionIndex(partition);
            match kind {
                0 if ledger.may_issue(index) => {
                    let first = next[at];
                    next[at] += 1;
                    let share = ledger.issue(index, first, next[at]).into_share();
                    flying.push((at, ledger.way(), share));
                }
                1 => ledger.turn(ledger.way().other()),
                2 | 3 if !flying.is_empty() => {
                    let (.., share) = flying.remove(pick.index(flying.len()));
                    let receipt = match kind {
                        2 => stored(vec![share]),
                        _ => rewound(vec![share], Route::Primary),
                    };
                    ledger.redeem(receipt);
                    for rewind in ledger.due_rewinds() {
                        let of = rewind.partition.0 as usize;
                        prop_assert!(flying.iter().all(|(at, ..)| *at != of), "it is quiet");
                        prop_assert!(rewind.next <= next[of]);
                        next[of] = rewind.next;
                    }
                }
                _ => {}
            }
            let ways: Vec<Way> = flying.iter().map(|(_, way, _)| *way).collect();
            prop_assert!(ways.windows(2).all(|pair| pair[0] == pair[1]), "{:?}", ways);
            let left = ways.first().copied().filter(|way| *way != ledger.way());
            prop_assert_eq!(ledger.left(), left);
        }
        for (.., share) in flying {
            share.redeem();
        }
    }
}
