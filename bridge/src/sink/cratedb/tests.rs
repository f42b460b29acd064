//! The courier against a server that enforces what CrateDB's documentation says: golden requests,
//! refusals of all kinds, faults, and replays.

use serde_json::{Value, json};

use super::fake::{Act, Bench, Fake, shared};
use super::layout::Wanted;
use super::sink::CrateDb;
use super::value::Type;
use crate::blame::Blame;
use crate::config::Section;
use crate::shape::Shape;
use crate::sink::cratedb::options::CrateDbPlan;
use crate::sink::{FindingState, Sink, SinkPlan};

const UPSERT: &str = "mode = \"upsert\"\nkey = [\"id\"]";
const BY_ID: &str = "key = [\"id\"]";

fn wanted() -> [Wanted; 2] {
    let want = |name: &str| Wanted { name: name.into(), kind: Type::Long };
    [want("id"), want("v")]
}

async fn start(options: &str) -> (Fake, Bench) {
    let fake = Fake::start().await;
    let bench = Bench::start(shared(&fake, options, Shape::plain("t")).0);
    (fake, bench)
}

/// Rows `[id, v]` at offsets from 0 on.
fn rows(pairs: &[(i64, Value)]) -> Vec<(i64, Value)> {
    let row = |(offset, (id, v)): (usize, &(i64, Value))| (offset as i64, json!([id, v]));
    pairs.iter().enumerate().map(row).collect()
}

fn plain(ids: std::ops::Range<i64>) -> Vec<(i64, Value)> {
    ids.map(|id| (id, json!([id, id]))).collect()
}

/// `CHECK (v >= 0)`
fn check_v(fake: &Fake) {
    fake.with(|state| {
        state.db.tables.get_mut("doc.t").expect("it is made").check = Some("v".into());
    });
}

fn stored(fake: &Fake) -> Vec<Value> {
    let mut values = fake.column("doc.t", "v");
    values.sort_by_key(|value| value.as_i64());
    values
}

#[tokio::test]
async fn the_requests_are_these() {
    let (fake, mut bench) = start("").await;
    let v = Wanted { name: "v\"".into(), kind: Type::Long };
    let layout = bench.layout("t", &[v]).await;
    let row = |offset: i64| (offset, json!(["sensors", 3, offset, 0, offset]));
    bench.send(&layout, &[row(0), row(1)]).await;
    bench.stored(2).await;
    bench.send(&layout, &[row(2)]).await;
    bench.stored(1).await;
    let statements = fake.with(|state| state.db.statements.clone());
    let insert = "INSERT INTO \"doc\".\"t\" (\"kafka_topic\", \"kafka_partition\", \
        \"kafka_offset\", \"kafka_row\", \"v\"\"\") VALUES (?, ?, ?, ?, ?) ON CONFLICT \
        (\"kafka_topic\", \"kafka_partition\", \"kafka_offset\", \"kafka_row\") DO NOTHING";
    assert_eq!(
        statements[1],
        "CREATE TABLE IF NOT EXISTS \"doc\".\"t\" (\"kafka_topic\" TEXT, \"kafka_partition\" \
         INTEGER, \"kafka_offset\" BIGINT, \"kafka_row\" INTEGER, \"v\"\"\" BIGINT, PRIMARY KEY \
         (\"kafka_topic\", \"kafka_partition\", \"kafka_offset\", \"kafka_row\"))"
    );
    assert_eq!(statements[statements.len() - 2..], [insert, insert]);
    let bodies = fake.with(|state| state.bodies.clone());
    let stmt = json!(insert);
    assert_eq!(
        bodies[bodies.len() - 2..],
        [
            format!(
                "{{\"stmt\":{stmt},\"bulk_args\":[[\"sensors\",3,0,0,0],[\"sensors\",3,1,0,1]]}}"
            ),
            format!("{{\"stmt\":{stmt},\"bulk_args\":[[\"sensors\",3,2,0,2]]}}"),
        ]
    );
    let never = ["BEGIN", "COMMIT", "COPY", "ROLLBACK"];
    assert!(statements.iter().all(|said| never.iter().all(|word| !said.starts_with(word))));
    bench.finish().await.expect("a clean end");
}

#[tokio::test]
async fn rows_that_a_bulk_names_are_dead_letters_and_the_others_are_there() {
    let (fake, mut bench) = start(BY_ID).await;
    let layout = bench.layout("t", &wanted()).await;
    check_v(&fake);
    let all = rows(&[(0, json!(0)), (1, json!(-1)), (2, json!(2)), (3, json!(-3)), (4, json!(4))]);
    bench.send(&layout, &all).await;
    let (offset, words) = bench.refused().await;
    assert_eq!((offset, words.as_str()), (1, "Failed CONSTRAINT v CHECK: -1 [4003]"));
    assert_eq!(bench.refused().await.0, 3);
    bench.stored(3).await;
    assert_eq!(stored(&fake), [0, 2, 4]);
    // The bulk with all of them, and the one without.
    assert_eq!(fake.inserts(), 2);
    bench.finish().await.expect("a clean end");
}

#[tokio::test]
async fn more_bad_rows_than_the_server_gives_reasons_for_are_all_named() {
    let (fake, mut bench) = start(BY_ID).await;
    let layout = bench.layout("t", &wanted()).await;
    check_v(&fake);
    let all: Vec<_> =
        (0..120).map(|id| (id, json!([id, if id % 10 == 0 { id } else { -id }]))).collect();
    bench.send(&layout, &all).await;
    let mut refused = Vec::new();
    for _ in 0..108 {
        let (offset, words) = bench.refused().await;
        assert!(words.contains(&format!("CHECK: -{offset} ")), "{offset}: {words}");
        refused.push(offset);
    }
    refused.sort_unstable();
    let bad: Vec<i64> = (0..120).filter(|id| id % 10 != 0).collect();
    assert_eq!(refused, bad);
    bench.stored(12).await;
    assert_eq!(stored(&fake).len(), 12);
    bench.finish().await.expect("a clean end");
}

#[tokio::test]
async fn what_fails_a_whole_bulk_is_narrowed_down_to_its_record() {
    let (fake, mut bench) = start(BY_ID).await;
    let layout = bench.layout("t", &wanted()).await;
    let mut all = plain(0..8);
    all[5].1 = json!([5, "no number"]);
    bench.send(&layout, &all).await;
    let (offset, words) = bench.refused().await;
    assert_eq!(offset, 5);
    assert!(words.contains("Cannot cast value"), "{words}");
    bench.stored(7).await;
    assert_eq!(stored(&fake), [0, 1, 2, 3, 4, 6, 7]);
    bench.finish().await.expect("a clean end");
}

#[tokio::test]
async fn a_server_that_gives_no_reasons_is_asked_row_by_row() {
    for options in [BY_ID, UPSERT] {
        let (fake, mut bench) = start(options).await;
        let layout = bench.layout("t", &wanted()).await;
        check_v(&fake);
        fake.script(vec![Act::Silent; 20]);
        let all = rows(&[(0, json!(0)), (1, json!(1)), (2, json!(-2)), (3, json!(3))]);
        bench.send(&layout, &all).await;
        let (offset, words) = bench.refused().await;
        assert_eq!((offset, words.as_str()), (2, "Failed CONSTRAINT v CHECK: -2 [4003]"));
        bench.stored(3).await;
        assert_eq!(stored(&fake), [0, 1, 3]);
        bench.finish().await.expect("a clean end");
    }
}

#[tokio::test]
async fn what_the_world_does_wrong_is_tried_again_and_leaves_no_double() {
    let (fake, mut bench) = start(BY_ID).await;
    let layout = bench.layout("t", &wanted()).await;
    const BLOCKED: &str = r#"{"error":{"code":4037,"message":"blocked by: [FORBIDDEN/12]"}}"#;
    const ROWS: &str = r#"{"results":[{"rowcount":1},{"rowcount":-2,"error":{"code":5002,"message":"gone"}},{"rowcount":1}]}"#;
    fake.script([
        Act::Answer(503, "later"),
        Act::Answer(429, r#"{"error":{"code":4290,"message":"too many"}}"#),
        Act::Answer(403, BLOCKED),
        Act::Answer(200, ROWS),
        Act::Answer(200, r#"{"results":[]}"#),
        Act::HangUp,
        Act::StoreAndHangUp,
        Act::HalfAnswer,
        Act::StoreSome(2),
    ]);
    bench.send(&layout, &plain(0..3)).await;
    bench.stored(3).await;
    assert_eq!(stored(&fake), [0, 1, 2]);
    assert_eq!(bench.shared.meter.retries.get(), 9);
    assert_eq!(bench.shared.meter.trouble.lock().expect("whole").as_str(), "");
    bench.finish().await.expect("a clean end");
}

#[tokio::test]
async fn too_much_is_halved() {
    const BREAKER: &str =
        r#"{"error":{"code":5000,"message":"CircuitBreakingException[too large]"}}"#;
    let (fake, mut bench) = start(BY_ID).await;
    let layout = bench.layout("t", &wanted()).await;
    fake.script([Act::Answer(413, ""), Act::Answer(500, BREAKER)]);
    bench.send(&layout, &plain(0..8)).await;
    bench.stored(8).await;
    assert_eq!((stored(&fake).len(), fake.inserts()), (8, 5));
    fake.script([Act::Answer(413, "")]);
    bench.send(&layout, &plain(9..10)).await;
    assert_eq!(bench.refused().await.0, 9);
    bench.stored(0).await;
    bench.finish().await.expect("a clean end");
}

#[tokio::test]
async fn a_replay_leaves_no_double_and_changes_nothing() {
    let (fake, mut bench) = start(BY_ID).await;
    let layout = bench.layout("t", &wanted()).await;
    // Another process, that was given the same rows, cut otherwise.
    let mut other = Bench::start(shared(&fake, BY_ID, Shape::plain("t")).0);
    let same = other.layout("t", &wanted()).await;
    for cut in [0..7, 7..20] {
        bench.send(&layout, &plain(cut)).await;
    }
    for cut in [0..12, 12..20, 0..20] {
        other.send(&same, &plain(cut)).await;
    }
    bench.stored(7).await;
    bench.stored(13).await;
    for rows in [12, 8, 20] {
        other.stored(rows).await;
    }
    let wanted: Vec<i64> = (0..20).collect();
    assert_eq!(stored(&fake), wanted);
    // The first of a key stays.
    bench.send(&layout, &[(20, json!([3, 33]))]).await;
    bench.stored(1).await;
    assert_eq!(stored(&fake), wanted);
    bench.finish().await.expect("a clean end");
    other.finish().await.expect("a clean end");
}

#[tokio::test]
async fn the_last_of_a_key_wins_and_one_that_is_refused_does_not_count() {
    let (fake, mut bench) = start(UPSERT).await;
    let layout = bench.layout("t", &wanted()).await;
    check_v(&fake);
    bench.send(&layout, &rows(&[(1, json!(1)), (2, json!(2)), (1, json!(10))])).await;
    bench.stored(3).await;
    assert_eq!(stored(&fake), [2, 10]);
    let bulk = fake.with(|state| state.bodies.last().cloned()).expect("a request");
    assert!(bulk.ends_with("\"bulk_args\":[[2,2],[1,10]]}"), "{bulk}");
    bench.send(&layout, &rows(&[(1, json!(11)), (2, json!(22)), (1, json!(-5))])).await;
    assert_eq!(bench.refused().await.0, 2);
    bench.stored(2).await;
    assert_eq!(stored(&fake), [11, 22]);
    bench.finish().await.expect("a clean end");
}

#[tokio::test]
async fn a_table_that_was_made_anew_is_looked_at_again() {
    let (fake, mut bench) = start(BY_ID).await;
    let layout = bench.layout("t", &wanted()).await;
    fake.with(|state| state.db.tables.clear());
    bench.send(&layout, &plain(0..2)).await;
    bench.rewound().await;
    let again = bench.layout("t", &wanted()).await;
    assert_ne!(again.id, layout.id);
    bench.send(&again, &plain(0..2)).await;
    bench.stored(2).await;
    // With another primary key no row is refused for it, and none stored.
    fake.with(|state| {
        state.db.tables.get_mut("doc.t").expect("it is there").primary = vec!["v".into()];
    });
    bench.send(&again, &plain(2..4)).await;
    bench.rewound().await;
    assert!(bench.rejected.try_recv().is_err());
    bench.finish().await.expect("a clean end");
}

#[tokio::test]
async fn who_is_not_let_in_stops_and_says_what_to_change() {
    let options = "username = \"bridge\"\npassword = \"hunter2\"";
    let (fake, mut bench) = start(options).await;
    let layout = bench.layout("t", &wanted()).await;
    // The header of bridge:hunter2.
    let right = "Basic YnJpZGdlOmh1bnRlcjI=";
    fake.with(|state| state.authorization = Some(right));
    let row = |offset: i64| (offset, json!(["s", 0, offset, 0, 1, 1]));
    bench.send(&layout, &[row(0)]).await;
    bench.stored(1).await;
    fake.with(|state| state.authorization = Some("Basic other"));
    bench.send(&layout, &[row(1)]).await;
    let fault = bench.finish().await.expect_err("it is not let in");
    assert_eq!(fault.blame, Blame::Operator);
    let said = fault.to_string();
    assert!(said.contains("password_file") && said.contains("401"), "{said}");
    assert!(!said.contains("hunter2") && !said.contains("YnJp"), "{said}");
}

#[tokio::test]
async fn tables_are_made_and_grow_or_are_refused() {
    use crate::sink::questdb::Denied;
    let (fake, bench) = start(BY_ID).await;
    bench.layout("plant.t", &wanted()).await;
    let more = [Wanted { name: "more".into(), kind: Type::doubles(2) }];
    let layout = bench.layout("plant.t", &more).await;
    assert_eq!(layout.columns.len(), 3);
    let names = ["a", "b", "a"].map(|name| Wanted { name: name.into(), kind: Type::Text });
    bench.layout("plant.t", &names[..2]).await;
    let statements = fake.with(|state| state.db.statements.clone());
    let adds = "ALTER TABLE \"plant\".\"t\" ADD COLUMN \"more\" ARRAY(ARRAY(DOUBLE PRECISION))";
    assert!(statements.iter().any(|said| said == adds), "{statements:?}");

    let mut shape = Shape::plain("t");
    shape.create.tables = false;
    let denied = shared(&fake, BY_ID, shape).0.catalogue.ask("other", &wanted()).await;
    let Err(Denied::Pipeline(fault)) = denied else { panic!("{denied:?}") };
    assert!(fault.to_string().contains("CREATE TABLE"), "{fault}");
    let mut shape = Shape::plain("t");
    shape.create.columns = false;
    let more = [Wanted { name: "new".into(), kind: Type::Text }];
    let denied = shared(&fake, BY_ID, shape).0.catalogue.ask("plant.t", &more).await;
    assert!(matches!(denied, Err(Denied::Record(..))), "{denied:?}");
    // By their position rows cannot be told apart in a table that has another key.
    let denied = shared(&fake, "", Shape::plain("t")).0.catalogue.ask("plant.t", &[]).await;
    let Err(Denied::Pipeline(fault)) = denied else { panic!("{denied:?}") };
    assert!(fault.to_string().contains("kafka_topic"), "{fault}");
}

#[tokio::test]
async fn a_generated_column_of_the_key_is_the_servers() {
    let fake = Fake::start().await;
    fake.run("CREATE TABLE IF NOT EXISTS \"doc\".\"t\" (\"id\" BIGINT, \"v\" BIGINT, \"day\" TEXT, PRIMARY KEY (\"id\", \"day\"))");
    fake.with(|state| {
        state.db.tables.get_mut("doc.t").expect("it is made").columns[2].2 = "generated";
    });
    let mut bench = Bench::start(shared(&fake, BY_ID, Shape::plain("t")).0);
    let layout = bench.layout("t", &wanted()).await;
    bench.send(&layout, &plain(0..2)).await;
    bench.stored(2).await;
    bench.send(&layout, &plain(0..3)).await;
    bench.stored(3).await;
    assert_eq!(stored(&fake), [0, 1, 2]);
    bench.finish().await.expect("a clean end");
    let upsert = shared(&fake, UPSERT, Shape::plain("t")).0;
    assert!(upsert.catalogue.ask("t", &wanted()).await.is_err());
}

#[tokio::test]
async fn a_look_at_the_doors_says_what_is_right_and_what_is_not() {
    let fake = Fake::start().await;
    let look = |options: &'static str| {
        let (shared, context) = shared(&fake, options, Shape::plain("t"));
        async move { CrateDb::new(shared, context).check(false).await }
    };
    let found = look("").await;
    assert_eq!(found[0].note, "CrateDB 6.0.0 (a fake)");
    assert_eq!(found[1].note, "does not exist yet: the bridge makes it");
    fake.run("CREATE TABLE IF NOT EXISTS \"doc\".\"t\" (\"id\" BIGINT, \"v\" NUMERIC(5, 2), PRIMARY KEY (\"id\"))");
    let found = look("").await;
    assert_eq!((found[1].state, found[1].blame), (FindingState::Fail, Blame::Operator));
    let found = look(BY_ID).await;
    assert_eq!(found[1].note, "exists; written: id, v; told apart by id");
    fake.with(|state| state.authorization = Some("Basic other"));
    let found = look("").await;
    assert!(found.len() == 1 && found[0].note.contains("refuses the bridge"), "{found:?}");
}

#[test]
fn exactly_once_is_for_rows_that_are_not_replaced() {
    let plan = |options: &str| {
        CrateDbPlan::parse(&Section::new("sink", options.parse().expect("TOML"))).expect("a plan")
    };
    let mut shape = Shape::plain("t");
    assert!(plan("").exactly_once(&mut shape).is_ok());
    assert!(plan(BY_ID).exactly_once(&mut shape).is_ok());
    let unable = plan(UPSERT).exactly_once(&mut shape).expect_err("it cannot");
    assert_eq!(unable.key, "sink.mode");
}

/// The server that is played here is the one of the documentation.
#[test]
fn the_fake_has_no_transactions_and_no_copy() {
    let mut db = super::fake_sql::Db::default();
    let make = "CREATE TABLE IF NOT EXISTS \"doc\".\"t\" (\"id\" BIGINT, PRIMARY KEY (\"id\"))";
    let put = "INSERT INTO \"doc\".\"t\" (\"id\") VALUES (?) ON CONFLICT (\"id\") DO NOTHING";
    db.run(make, &[], None).expect("made");
    db.run("BEGIN", &[], None).expect("ignored");
    db.run(put, &[json!(1)], None).expect("stored");
    let copy = db.run("COPY \"doc\".\"t\" FROM STDIN", &[], None).expect_err("refused");
    assert_eq!(copy.0, 4000);
    assert!(db.run("ROLLBACK", &[], None).is_err());
    assert_eq!(db.tables["doc.t"].rows.len(), 1);
    // A column's type, a null in the key, another conflict target: the whole bulk.
    for bad in [json!("x"), Value::Null] {
        let bulk = [vec![json!(2)], vec![bad]];
        assert!(db.run(put, &[], Some(&bulk)).is_err());
    }
    let other = put.replace("CONFLICT (\"id\")", "CONFLICT (\"v\")");
    assert!(db.run(&other, &[json!(3)], None).is_err());
    assert_eq!(db.tables["doc.t"].rows.len(), 1);
}
