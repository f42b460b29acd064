//! The TCP courier against scripted servers: what is proved, what is not, and what is lost.

use super::fake::{Bench, Fake, Fate, line_server};
use super::tcp::TcpCourier;
use crate::batch::{Route, Verdict};
use crate::blame::Blame;

async fn start(options: &str, fates: &[Fate]) -> (Fake, Bench) {
    let fake = Fake::start().await;
    fake.table("t", 7, false);
    {
        let mut state = fake.state.lock().expect("whole");
        state.columns = vec![("ts", true)];
        state.fates.extend(fates);
    }
    let tcp = line_server(fake.state.clone()).await;
    let section = format!(
        "transport = \"tcp\"\naddress = \"{}\"\ntcp_address = \"{tcp}\"\n{options}",
        fake.address
    );
    let bench =
        Bench::start(&section, |shared, tables| Ok(Box::new(TcpCourier::new(shared, tables, 0)?)));
    (fake, bench)
}

fn lines(offsets: impl IntoIterator<Item = i64>) -> Vec<String> {
    offsets.into_iter().map(|offset| format!("t v={offset}i")).collect()
}

fn connections(fake: &Fake) -> usize {
    fake.state.lock().expect("whole").connections
}

#[tokio::test]
async fn a_generation_is_counted_before_it_is_stored() {
    let (fake, mut bench) = start("generation_rows = 20", &[Fate::StoreLate]).await;
    bench.send("t", 0..10).await;
    bench.send("t", 10..20).await;
    bench.stored(20).await;
    assert_eq!(fake.stored(), lines(0..20), "the end of stream was not taken for proof");
    assert!(fake.writes().is_empty(), "nothing went over http");
    let query = fake.state.lock().expect("whole").queries.pop().expect("a count");
    assert!(query.contains("\"ts\" between 0 and 1000"), "{query}");
    bench.finish().await.expect("a clean end");
}

#[tokio::test]
async fn a_generation_comes_of_age() {
    let (fake, mut bench) = start("generation_age = \"30ms\"", &[]).await;
    bench.send("t", 0..2).await;
    bench.stored(2).await;
    bench.send("t", 2..4).await;
    bench.stored(2).await;
    assert_eq!((fake.stored(), connections(&fake)), (lines(0..4), 2));
    bench.finish().await.expect("a clean end");
}

#[tokio::test]
async fn a_closed_inbox_closes_the_generation() {
    let (fake, mut bench) = start("generation_age = \"1h\"", &[]).await;
    bench.send("t", 0..2).await;
    bench.inbox = None;
    bench.stored(2).await;
    assert_eq!(fake.stored(), lines(0..2));
    bench.finish().await.expect("a clean end");
}

#[tokio::test]
async fn a_hole_is_read_again_and_proved_over_http() {
    let (fake, mut bench) = start("generation_rows = 3", &[Fate::Hole]).await;
    bench.send("t", 0..3).await;
    bench.rewound(Route::Proof).await;
    let again = bench.payload("t", 0..3, Route::Proof);
    bench.send_payload(again).await;
    bench.stored(3).await;
    assert_eq!((fake.writes().len(), fake.stored().len()), (1, 5));
    bench.finish().await.expect("a clean end");
}

#[tokio::test]
async fn a_line_that_breaks_the_connection_is_found_over_http() {
    let (_fake, mut bench) = start("generation_age = \"1h\"", &[Fate::Strict]).await;
    bench.send("t", [1, -2, 3]).await;
    bench.rewound(Route::Proof).await;
    let again = bench.payload("t", [1, -2, 3], Route::Proof);
    bench.send_payload(again).await;
    assert_eq!(bench.refused().await.0, 2);
    bench.stored(2).await;
    bench.finish().await.expect("a clean end");
}

#[tokio::test]
async fn rows_that_come_again_travel_apart() {
    let (fake, mut bench) = start("generation_age = \"100ms\"", &[]).await;
    bench.send("t", 0..4).await;
    bench.send("t", 2..6).await;
    bench.stored(4).await;
    bench.stored(4).await;
    assert_eq!(connections(&fake), 2, "one generation counts no row twice");
    bench.finish().await.expect("a clean end");
}

#[tokio::test]
async fn tangled_rows_go_over_http() {
    let (fake, mut bench) = start("", &[]).await;
    bench.send("t", [3, 2, 3]).await;
    bench.stored(3).await;
    assert_eq!(fake.writes().len(), 1);
    bench.finish().await.expect("a clean end");
}

#[tokio::test]
async fn without_proof_the_socket_is_trusted() {
    let (fake, mut bench) = start("ack = \"none\"", &[]).await;
    for first in 0..4 {
        bench.send("t", first * 2..first * 2 + 2).await;
        bench.stored(2).await;
    }
    let stored = |fake: &Fake| fake.stored() == lines(0..8);
    bench.inbox = None;
    bench.until("all arrived", || stored(&fake)).await;
    assert_eq!(connections(&fake), 1);
    bench.finish().await.expect("a clean end");
}

#[tokio::test]
async fn a_server_that_is_away_is_waited_for_before_anything_is_read_again() {
    let (fake, mut bench) = start("generation_age = \"1h\"", &[]).await;
    // Nobody listens: the port was free a moment ago.
    let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = gone.local_addr().expect("an address").to_string();
    drop(gone);
    let section =
        format!("transport = \"tcp\"\naddress = \"{}\"\ntcp_address = \"{address}\"", fake.address);
    drop(bench);
    bench =
        Bench::start(&section, |shared, tables| Ok(Box::new(TcpCourier::new(shared, tables, 0)?)));
    bench.send("t", 0..2).await;
    bench.until("it is said", || bench.trouble().contains("connection refused")).await;
    bench.until("it is tried again", || bench.shared.meter.retries.get() > 2).await;
    assert!(bench.receipts.try_recv().is_err(), "the payload waits");
    bench.reset.send_replace(1);
    bench.rewound(Route::Primary).await;
    bench.finish().await.expect("a clean end");
}

#[tokio::test]
async fn who_lets_us_in_and_hangs_up_is_in_trouble_until_a_connection_lasts() {
    let (fake, mut bench) = start("generation_age = \"1h\"", &[Fate::HangUp; 5]).await;
    for first in [0, 2] {
        bench.send("t", first..first + 2).await;
        bench.rewound(Route::Proof).await;
        assert!(bench.trouble().contains("tcp: "), "{}", bench.trouble());
    }
    fake.state.lock().expect("whole").fates.clear();
    bench.send("t", 4..6).await;
    bench.until("one has lasted", || bench.trouble().is_empty()).await;
    bench.inbox = None;
    let (_, verdict, _) = bench.receipt().await;
    // Written to one that had hung up already, or to the one that lasts.
    assert!(matches!(verdict, Verdict::Stored | Verdict::Rewind { route: Route::Proof }));
    bench.finish().await.expect("a clean end");
}

#[tokio::test]
async fn a_reset_gives_everything_back() {
    let (_fake, mut bench) = start("generation_age = \"1h\"", &[]).await;
    bench.send("t", 0..2).await;
    bench.until("it is under way", || bench.shared.meter.connections.get() > 0).await;
    bench.reset.send_replace(1);
    bench.rewound(Route::Primary).await;
    bench.send("t", 2..4).await;
    bench.inbox = None;
    bench.stored(2).await;
    bench.finish().await.expect("a clean end");
}

/// The example key of QuestDB's documentation.
const KEYED: &str = "auth_key_id = \"testUser1\"\n\
     auth_private_key = \"5UjEMuA0Pj5pjK8a-fa24dyIf-Es5mYny3oE_Wmus48\"\n\
     auth_public_key_x = \"fLKYEaoEb9lrn3nkwLDA-M_xnuFOdSt9y0Z7_vWSHLU\"\n\
     auth_public_key_y = \"Dt5tbS1dEDMSYfym3fgMv0B99szno-dFc1rYF9t0aac\"\n";

async fn start_keyed(options: &str, fates: &[Fate], then: Fate) -> (Fake, Bench) {
    let (fake, bench) = start(&format!("{KEYED}{options}"), fates).await;
    fake.state.lock().expect("whole").fate = then;
    (fake, bench)
}

#[tokio::test]
async fn a_key_that_is_refused_stops_before_any_row_is_sent() {
    for ack in ["ack = \"verify\"", "ack = \"none\""] {
        let (fake, mut bench) = start_keyed(ack, &[], Fate::Refused).await;
        bench.send("t", 0..2).await;
        bench.rewound(Route::Primary).await;
        let fault = bench.finish().await.expect_err("it may not write");
        assert_eq!(fault.blame, Blame::Operator);
        assert!(fault.hint.expect("a hint").contains("auth_private_key"));
        assert!(fake.writes().is_empty(), "nothing went over http");
        assert!(fake.stored().is_empty(), "{:?}", fake.stored());
        assert!(connections(&fake) > 2, "once is no refusal");
    }
}

#[tokio::test]
async fn a_refusal_now_and_then_is_none() {
    let fates = [Fate::Refused, Fate::Refused, Fate::Guarded, Fate::Refused];
    let (fake, mut bench) = start_keyed("generation_rows = 2", &fates, Fate::Guarded).await;
    bench.send("t", 0..2).await;
    bench.stored(2).await;
    // The key was good a moment ago, so this connection is not watched; its rows come again.
    bench.send("t", 2..4).await;
    bench.rewound(Route::Proof).await;
    bench.send("t", 2..4).await;
    bench.stored(2).await;
    assert_eq!((fake.stored(), fake.writes().len()), (lines(0..4), 0));
    bench.finish().await.expect("a clean end");
}
