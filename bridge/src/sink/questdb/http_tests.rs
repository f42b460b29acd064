//! The HTTP courier against a scripted server: every answer it can get.

use super::fake::{Act, Bench, DEADLINE, Fake};
use super::http::HttpCourier;
use crate::batch::{Payload, Route};
use crate::blame::Blame;

async fn start(options: &str) -> (Fake, Bench) {
    let fake = Fake::start().await;
    fake.table("t", 7, false);
    let section = format!("address = \"{}\"\n{options}", fake.address);
    (fake, bench(&section))
}

fn bench(section: &str) -> Bench {
    Bench::start(section, |shared, tables| Ok(Box::new(HttpCourier::new(shared, tables, 0))))
}

fn lines(offsets: impl IntoIterator<Item = i64>) -> Vec<String> {
    offsets.into_iter().map(|offset| format!("t v={offset}i")).collect()
}

#[tokio::test]
async fn rows_are_stored_in_order_and_the_end_is_clean() {
    let (fake, mut bench) = start("").await;
    for first in 0..5 {
        bench.send("t", first * 10..first * 10 + 10).await;
    }
    for _ in 0..5 {
        bench.stored(10).await;
    }
    assert_eq!(fake.stored(), lines(0..50));
    assert!(fake.writes()[0].contains("post /write?precision=n http/1.1"));
    assert_eq!(bench.shared.meter.retries.get(), 0);
    bench.finish().await.expect("a clean end");
}

#[tokio::test]
async fn a_closed_inbox_waits_for_the_last_receipt() {
    let (fake, mut bench) = start("").await;
    bench.send("t", 0..3).await;
    bench.inbox = None;
    bench.stored(3).await;
    assert_eq!(fake.stored(), lines(0..3));
    bench.finish().await.expect("a clean end");
}

#[tokio::test]
async fn a_refused_line_goes_to_the_dead_letters_and_the_rest_is_stored() {
    let (fake, mut bench) = start("").await;
    bench.send("t", [1, -2, 3, -4, 5]).await;
    assert_eq!(bench.refused().await, (2, "error in line 2: cast error".into()));
    assert_eq!(bench.refused().await.0, 4);
    bench.stored(3).await;
    assert_eq!(fake.stored(), lines([1, 3, 5]));
    bench.finish().await.expect("a clean end");
}

#[tokio::test]
async fn all_refused_is_still_a_receipt() {
    let (fake, mut bench) = start("").await;
    bench.send("t", [-1, -2]).await;
    bench.refused().await;
    bench.refused().await;
    bench.stored(0).await;
    assert!(fake.stored().is_empty());
    bench.finish().await.expect("a clean end");
}

#[tokio::test]
async fn a_400_without_a_line_is_narrowed_down() {
    let (fake, mut bench) = start("").await;
    // Eight rows refused whole, then the first half, its first quarter, its first row.
    fake.script([Act::Answer(400, "no"), Act::Answer(400, "no"), Act::Answer(400, "no")]);
    fake.script([Act::Answer(400, "it is this one")]);
    bench.send("t", 0..8).await;
    assert_eq!(bench.refused().await, (0, "it is this one".into()));
    bench.stored(7).await;
    assert_eq!(fake.stored(), lines(1..8));
    bench.finish().await.expect("a clean end");
}

#[tokio::test]
async fn a_refusal_by_a_type_that_is_gone_is_not_believed() {
    let (fake, mut bench) = start("").await;
    fake.alter("LONG");
    bench.send("t", 0..2).await;
    bench.stored(2).await;
    // Once where the columns were never asked for, once where they are known.
    for (changes, kind) in [(1, "VARCHAR"), (2, "DOUBLE")] {
        fake.alter(kind);
        bench.send("t", changes * 2..changes * 2 + 2).await;
        bench.stored(2).await;
        assert_eq!(bench.shared.meter.retries.get(), changes as u64);
    }
    assert_eq!((fake.stored(), fake.writes().len()), (lines(0..6), 5));
    assert!(bench.rejected.try_recv().is_err(), "no record is put aside");
    bench.finish().await.expect("a clean end");
}

#[tokio::test]
async fn rows_that_were_written_for_a_table_as_it_was_are_written_anew() {
    let (fake, mut bench) = start("").await;
    fake.alter("LONG");
    bench.catalogue.ask("t", &[]).await.expect("a table");
    fake.alter("VARCHAR");
    bench.send("t", [1, -2]).await;
    bench.rewound(Route::Primary).await;
    assert!(bench.rejected.try_recv().is_err(), "no record is put aside");
    // What had come behind them is read again, too.
    bench.send("t", 3..5).await;
    bench.rewound(Route::Primary).await;
    // Of rows that were written since then a refusal is believed.
    let mut anew = bench.payload("t", [1, -2], Route::Primary);
    anew.buffers.lines.iter_mut().for_each(|line| line.layout = 1);
    bench.send_payload(anew).await;
    assert_eq!(bench.refused().await.0, 2);
    bench.stored(1).await;
    // One that was read again, one over a new connection.
    assert_eq!((fake.stored(), bench.shared.meter.retries.get()), (lines([1]), 2));
    bench.finish().await.expect("a clean end");
}

#[tokio::test]
async fn a_refusal_that_is_right_costs_one_more_try_until_the_columns_change() {
    let (fake, mut bench) = start("").await;
    bench.send("t", 0..2).await;
    bench.stored(2).await;
    // Refused twice, over the old connection and a new one; then the other, then stored.
    bench.send("t", [2, -3, -4, 5]).await;
    assert_eq!((bench.refused().await.0, bench.refused().await.0), (3, 4));
    bench.stored(2).await;
    assert_eq!((fake.writes().len(), bench.shared.meter.retries.get()), (5, 1));
    // The columns are what they were.
    bench.send("t", [-6, 7]).await;
    assert_eq!(bench.refused().await.0, 6);
    bench.stored(1).await;
    assert_eq!((fake.writes().len(), bench.shared.meter.retries.get()), (7, 1));
    assert_eq!(fake.stored(), lines([0, 1, 2, 5, 7]));
    bench.finish().await.expect("a clean end");
}

#[tokio::test]
async fn what_every_connection_refuses_is_tried_over_one_more_only() {
    let (fake, mut bench) = start("").await;
    bench.send("t", 0..1).await;
    bench.stored(1).await;
    fake.script([Act::Answer(400, "no"), Act::Answer(400, "no, too")]);
    bench.send("t", 1..2).await;
    assert_eq!(bench.refused().await, (1, "no, too".into()));
    bench.stored(0).await;
    assert_eq!((fake.writes().len(), bench.shared.meter.retries.get()), (3, 1));
    bench.finish().await.expect("a clean end");
}

#[tokio::test]
async fn too_large_is_halved() {
    let (fake, mut bench) = start("").await;
    fake.script([Act::Answer(413, "")]);
    bench.send("t", 0..8).await;
    bench.stored(8).await;
    assert_eq!((fake.stored(), fake.writes().len()), (lines(0..8), 3));
    bench.finish().await.expect("a clean end");
}

#[tokio::test]
async fn what_the_world_does_wrong_is_tried_again() {
    let (fake, mut bench) = start("").await;
    for status in [500, 503, 504, 507, 509, 421, 429] {
        fake.script([Act::Answer(status, "later")]);
    }
    fake.script([Act::HangUp]);
    bench.send("t", 0..3).await;
    bench.stored(3).await;
    assert_eq!((fake.stored(), bench.shared.meter.retries.get()), (lines(0..3), 8));
    assert_eq!(bench.trouble(), "");
    bench.finish().await.expect("a clean end");
}

#[tokio::test]
async fn an_unknown_outcome_is_sent_again() {
    let (fake, mut bench) = start("").await;
    fake.script([Act::StoreAndHangUp]);
    bench.send("t", 0..2).await;
    bench.stored(2).await;
    assert_eq!(fake.stored(), lines([0, 1, 0, 1]), "at least once");
    bench.finish().await.expect("a clean end");
}

#[tokio::test]
async fn a_server_that_stalls_is_left() {
    let (fake, mut bench) = start("request_timeout = \"2s\"").await;
    fake.script([Act::Stall]);
    bench.send("t", 0..2).await;
    bench.stored(2).await;
    assert_eq!(fake.stored(), lines(0..2));
    bench.finish().await.expect("a clean end");
}

#[tokio::test]
async fn a_server_that_goes_and_returns_is_met_again() {
    let (fake, mut bench) = start("").await;
    bench.send("t", 0..2).await;
    bench.stored(2).await;
    fake.stop();
    bench.send("t", 2..4).await;
    let away = format!("questdb {} is not answering (connection refused)", fake.address);
    bench.until("it is said", || bench.trouble() == away).await;
    let back = Fake::start_with(&fake.address, fake.state.clone()).await;
    bench.stored(2).await;
    assert_eq!(back.stored(), lines(0..4));
    bench.until("it is over", || bench.trouble().is_empty()).await;
    bench.finish().await.expect("a clean end");
}

#[tokio::test]
async fn the_next_address_is_tried() {
    let (fake, spare) = (Fake::start().await, Fake::start().await);
    fake.table("t", 7, false);
    spare.table("t", 9, false);
    fake.script([Act::Answer(421, "a replica")]);
    let section = format!("address = [\"{}\", \"{}\"]", fake.address, spare.address);
    let mut bench = bench(&section);
    bench.send("t", 0..2).await;
    bench.stored(2).await;
    assert_eq!((fake.stored(), spare.stored()), (vec![], lines(0..2)));
    bench.finish().await.expect("a clean end");
}

#[tokio::test]
async fn a_204_after_drop_and_create_is_not_believed() {
    let (fake, mut bench) = start("").await;
    bench.send("t", 0..2).await;
    bench.stored(2).await;
    fake.script([Act::Lie]);
    bench.send("t", 2..4).await;
    bench.rewound(Route::Primary).await;
    bench.send("t", 2..4).await;
    bench.stored(2).await;
    assert_eq!(fake.stored(), lines(0..4));
    bench.finish().await.expect("a clean end");
}

#[tokio::test]
async fn a_table_that_is_gone_proves_nothing() {
    let (fake, mut bench) = start("").await;
    bench.send("other", 0..2).await;
    bench.rewound(Route::Primary).await;
    fake.table("Other", 8, false);
    bench.send("other", 0..2).await;
    bench.stored(2).await;
    bench.finish().await.expect("a clean end");
}

#[tokio::test]
async fn a_suspended_table_waits_and_says_why() {
    let (fake, mut bench) = start("").await;
    bench.send("t", 0..2).await;
    bench.stored(2).await;
    fake.table("t", 7, true);
    let said = "table t is suspended: DISK FULL no space; fix: ALTER TABLE 't' RESUME WAL";
    bench.until("it is said", || bench.trouble() == said).await;
    bench.send("t", 2..4).await;
    let writes = fake.writes().len();
    fake.table("t", 7, false);
    assert_eq!(writes, 1, "nothing was written to a suspended table");
    bench.stored(2).await;
    bench.until("it is over", || bench.trouble().is_empty()).await;
    bench.finish().await.expect("a clean end");
}

#[tokio::test]
async fn a_reset_gives_everything_back() {
    let (fake, mut bench) = start("").await;
    fake.script([Act::Stall]);
    bench.send("t", 0..2).await;
    bench.until("it is under way", || fake.writes().len() == 1).await;
    bench.send("t", 2..4).await;
    bench.reset.send_replace(1);
    bench.rewound(Route::Primary).await;
    bench.rewound(Route::Primary).await;
    bench.send("t", 4..6).await;
    bench.stored(2).await;
    assert_eq!(fake.stored(), lines(4..6));
    bench.finish().await.expect("a clean end");
}

#[tokio::test]
async fn who_is_not_let_in_stops_and_names_the_keys() {
    let (fake, mut bench) = start("token = \"secret\"").await;
    fake.script([Act::Answer(401, "Unauthorized")]);
    bench.send("t", 0..2).await;
    bench.rewound(Route::Primary).await;
    let head = fake.writes().pop().expect("a write");
    assert!(head.contains("authorization: bearer secret"), "{head}");
    let fault = bench.finish().await.expect_err("a fault");
    assert_eq!(fault.blame, Blame::Operator);
    assert!(fault.to_string().contains("`token_file`"), "{fault}");
}

#[tokio::test]
async fn bodies_are_compressed_when_asked() {
    let (fake, mut bench) = start("gzip = true").await;
    bench.send("t", [1, -2, 3]).await;
    assert_eq!(bench.refused().await.0, 2);
    bench.stored(2).await;
    assert_eq!(fake.stored(), lines([1, 3]));
    assert!(fake.writes()[0].contains("content-encoding: gzip"));
    bench.finish().await.expect("a clean end");
}

#[tokio::test]
async fn buffers_come_back() {
    let (_fake, mut bench) = start("").await;
    bench.send("t", 0..2).await;
    bench.stored(2).await;
    assert!(bench.pool.get().bytes.capacity() > 0);
    bench.finish().await.expect("a clean end");
}

#[tokio::test]
async fn who_may_not_ask_stops_too() {
    let (fake, mut bench) = start("username = \"u\"\npassword = \"p\"").await;
    fake.state.lock().expect("whole").denies = true;
    bench.send("t", 0..2).await;
    bench.rewound(Route::Primary).await;
    let fault = bench.finish().await.expect_err("a fault");
    assert_eq!(fault.blame, Blame::Operator);
    assert!(fault.to_string().contains("`username`"), "{fault}");
}

#[tokio::test]
async fn a_server_that_froze_is_told_of_while_it_is_waited_for() {
    let (fake, bench) = start("request_timeout = \"60s\"").await;
    let freeze = |frozen| fake.state.lock().expect("whole").frozen = frozen;
    freeze(true);
    bench.until("it is said", || bench.trouble().contains("no answer for 2 s")).await;
    freeze(false);
    bench.until("it is over", || bench.trouble().is_empty()).await;
    assert_eq!(bench.shared.meter.retries.get(), 0, "the answer came in time");
    bench.finish().await.expect("a clean end");
}

/// Payloads that may wait for each other for so long.
fn lingering(bench: &mut Bench, table: &str, offsets: std::ops::Range<i64>) -> Payload {
    let payload = bench.payload(table, offsets, Route::Primary);
    Payload { due: payload.opened + DEADLINE, ..payload }
}

#[tokio::test]
async fn what_comes_while_a_request_is_sent_goes_along_until_it_is_large() {
    let (fake, mut bench) = start("").await;
    for first in [0, 600, 1_200] {
        let payload = lingering(&mut bench, "t", first..first + 600);
        bench.send_payload(payload).await;
    }
    bench.stored(1_200).await;
    assert_eq!((fake.stored(), fake.writes().len()), (lines(0..1_200), 1));
    assert!(fake.writes()[0].contains("transfer-encoding: chunked"));
    bench.inbox = None;
    bench.stored(600).await;
    assert_eq!(fake.stored(), lines(0..1_800));
    bench.finish().await.expect("a clean end");
}

#[tokio::test]
async fn payloads_of_another_table_wait_for_their_own_request() {
    let (fake, mut bench) = start("").await;
    fake.table("u", 8, false);
    for (table, first) in [("t", 0), ("u", 2), ("t", 4), ("u", 6)] {
        let payload = lingering(&mut bench, table, first..first + 2);
        bench.send_payload(payload).await;
    }
    bench.inbox = None;
    bench.stored(4).await;
    bench.stored(4).await;
    let wanted = ["t v=0i", "t v=1i", "t v=4i", "t v=5i", "u v=2i", "u v=3i", "u v=6i", "u v=7i"];
    assert_eq!((fake.stored(), fake.writes().len()), (wanted.map(str::to_owned).to_vec(), 2));
    bench.finish().await.expect("a clean end");
}

#[tokio::test]
async fn a_line_refused_in_a_payload_that_went_along_is_the_right_one() {
    let (fake, mut bench) = start("").await;
    let first = lingering(&mut bench, "t", 0..3);
    bench.send_payload(first).await;
    let second = bench.payload("t", [3, -4, 5], Route::Primary);
    bench.send_payload(Payload { due: second.opened + DEADLINE, ..second }).await;
    bench.inbox = None;
    assert_eq!(bench.refused().await, (4, "error in line 5: cast error".into()));
    bench.stored(5).await;
    assert_eq!(fake.stored(), lines([0, 1, 2, 3, 5]));
    bench.finish().await.expect("a clean end");
}

#[tokio::test]
async fn a_payload_without_rows_that_went_along_stops_nothing() {
    let (fake, mut bench) = start("").await;
    // Refused without a line: there is but one row that it can be.
    fake.script([Act::Answer(400, "no")]);
    for offsets in [0..1, 1..1] {
        let payload = lingering(&mut bench, "t", offsets);
        bench.send_payload(payload).await;
    }
    bench.inbox = None;
    assert_eq!(bench.refused().await, (0, "no".into()));
    bench.stored(0).await;
    assert_eq!(fake.writes().len(), 1);
    bench.finish().await.expect("a clean end");
}

#[tokio::test]
async fn all_that_went_along_is_sent_again_after_a_hang_up() {
    let (fake, mut bench) = start("").await;
    fake.script([Act::HangUp, Act::Answer(503, "later")]);
    for first in [0, 3] {
        let payload = lingering(&mut bench, "t", first..first + 3);
        bench.send_payload(payload).await;
    }
    bench.inbox = None;
    bench.stored(6).await;
    assert_eq!((fake.stored(), fake.writes().len()), (lines(0..6), 3));
    bench.finish().await.expect("a clean end");
}

#[tokio::test]
async fn a_reset_gives_back_what_went_along_and_what_waited() {
    let (fake, mut bench) = start("").await;
    fake.table("u", 8, false);
    for table in ["t", "u", "t"] {
        let payload = lingering(&mut bench, table, 0..2);
        bench.send_payload(payload).await;
    }
    bench
        .until("the payloads are taken", || {
            bench.inbox.as_ref().is_some_and(|inbox| inbox.capacity() == inbox.max_capacity())
        })
        .await;
    bench.reset.send_modify(|resets| *resets += 1);
    bench.rewound(Route::Primary).await;
    bench.rewound(Route::Primary).await;
    assert!(fake.stored().is_empty());
    bench.finish().await.expect("a clean end");
}
