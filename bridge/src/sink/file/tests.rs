//! The sink on a real folder: what is stored stands in files whole, whatever went wrong meanwhile.

use std::fs;
use std::time::Instant;

use tokio::sync::{mpsc, watch};

use super::*;
use crate::batch::{Buffers, Line, PartitionIndex, Payload, Receipt, Route, Verdict};
use crate::folder::Folder;
use crate::names::Names;
use crate::observe::PipelineMeter;
use crate::sink::file::store::Now;
use crate::sink::{Commit, CourierDoors, Delivery, Home, Letters};
use crate::ticket::{Lost, Ticket};

const DEADLINE: Duration = Duration::from_secs(20);

/// Names below a folder and what is in them, in order.
fn files_in(folder: &Folder) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.0.clone()];
    while let Some(below) = folders.pop() {
        for entry in fs::read_dir(below).expect("it is there") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(&folder.0).expect("below").display().to_string();
            found.push((name, fs::read_to_string(&path).expect("text")));
        }
    }
    found.sort();
    found
}

fn plan_in(folder: &Folder, options: &str) -> FilePlan {
    let mut plan = plan(options).expect("a plan");
    plan.rebase(&folder.0);
    plan
}

fn plan(options: &str) -> Result<FilePlan, Mistake> {
    FilePlan::parse(&Section::new("sink", options.parse().expect("TOML")))
}

fn payload(table: &str, layout: u32, text: &str) -> Payload {
    let mut buffers = Buffers::default();
    for (offset, line) in text.split_inclusive('\n').enumerate() {
        buffers.bytes.extend_from_slice(line.as_bytes());
        let (offset, end) = (offset as i64, buffers.bytes.len() as u32);
        buffers.lines.push(Line { offset, partition: PartitionIndex(0), row: 0, layout: 0, end });
    }
    let now = Instant::now();
    let ticket = Ticket::issue(1, Arc::new(Lost::default()));
    Payload {
        table: table.into(),
        buffers,
        shares: vec![ticket.into_share()],
        route: Route::Primary,
        opened: now,
        due: now,
        timestamps: (0, 0),
        layout,
    }
}

fn store(plan: &FilePlan, header: &'static str) -> Store {
    let header = Box::new(move |_: &str, _: u32| header.as_bytes().to_vec());
    Store::new(plan.pattern.clone(), plan.rotation, header)
}

fn at(unix_ms: u64) -> Now {
    Now { instant: Instant::now(), unix_ms }
}

fn store_all(store: &mut Store, payloads: &[Payload], unix_ms: u64) {
    let (stored, fault) = store.store(payloads, at(unix_ms));
    assert!(fault.is_none() && stored.iter().all(|stored| *stored), "{fault:?}");
}

fn named(files: &[(String, String)]) -> Vec<(&str, &str)> {
    files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect()
}

#[test]
fn options_are_taken_or_refused_with_what_would_be_right() {
    for (wrong, said) in [
        ("", "needs a `path`"),
        ("path = \"rows\"", "`{table}`"),
        ("path = \"{table}\"\nnull = \"-\"", "for CSV only"),
        ("path = \"{table}\"\nencode = \"csv\"\nnull = \"0\"", "could be a value"),
        ("path = \"{table}\"\nencode = \"csv\"\nnull = \"a,b\"", "ends a field"),
        ("path = \"{table}\"\nencode = \"csv\"\ncolumns = []", "no column"),
        ("path = \"{table}\"\nencode = \"csv\"\ncolumns = [\"a\", \"a\"]", "twice"),
        ("path = \"{table}\"\nencode = \"line-protocol\"\ntimestamps = \"us\"", "of its own"),
        ("path = \"{table}\"\nrotate_bytes = 0", "room"),
        ("path = \"{table}\"\nrotate_after = \"0s\"", "room"),
    ] {
        let mistake = plan(wrong).expect_err(wrong);
        assert!(mistake.message.contains(said), "{wrong}: {}", mistake.message);
    }
    let all = "path = \"{table}\"\nencode = \"csv\"\nnull = \"\\\\N\"\ntimestamps = \"ns\"\n\
               rotate_bytes = \"1MiB\"\nrotate_after = \"5m\"\ncolumns = [\"a\"]";
    let explained = plan(all).expect("all of it is right").explain().join("\n");
    assert!(explained.contains("{table}.NUMBER.csv") && explained.contains("5 min"), "{explained}");
}

#[test]
fn files_are_ended_by_size_and_never_written_over() {
    let folder = Folder::new("files");
    let plan = plan_in(&folder, "path = \"{table}/r\"\nrotate_bytes = 6");
    let mut first = store(&plan, "");
    let payloads = ["a1\n", "a2\n", "a3\n", "a4\n"].map(|text| payload("a", 0, text));
    store_all(&mut first, &payloads, 7);
    store_all(&mut first, &[payload("../b", 0, "longer than a file\n")], 7);
    first.end_all().expect("an own folder");
    let expected = [
        ("%2E.%2Fb/r.7.ndjson", "longer than a file\n"),
        ("a/r.7.ndjson", "a1\na2\n"),
        ("a/r.8.ndjson", "a3\na4\n"),
    ];
    assert_eq!(named(&files_in(&folder)), expected);
    // Another process, whose clock is behind.
    let mut second = store(&plan, "");
    store_all(&mut second, &[payload("a", 0, "a5\n")], 3);
    drop(second);
    assert!(files_in(&folder).contains(&("a/r.9.ndjson.part".into(), "a5\n".into())));
}

#[test]
fn every_file_of_a_layout_begins_with_its_header() {
    let folder = Folder::new("files");
    let plan = plan_in(&folder, "path = \"{table}\"\nencode = \"csv\"\nrotate_bytes = 9");
    let mut files = store(&plan, "x,y\n");
    let payloads = [payload("a", 2, "1,1\n"), payload("a", 2, "2,2\n"), payload("a", 3, "3,3\n")];
    store_all(&mut files, &payloads, 1);
    files.end_all().expect("an own folder");
    let expected = ["x,y\n1,1\n", "x,y\n2,2\n", "x,y\n3,3\n"];
    let found = files_in(&folder);
    let mut texts: Vec<&str> = found.iter().map(|(_, text)| text.as_str()).collect();
    texts.sort_unstable();
    assert_eq!(texts, expected);
}

#[test]
fn a_file_that_was_taken_away_is_not_called_stored() {
    let folder = Folder::new("files");
    let plan = plan_in(&folder, "path = \"{table}\"");
    let mut files = store(&plan, "");
    store_all(&mut files, &[payload("a", 0, "1\n")], 1);
    fs::remove_file(folder.0.join("a.1.ndjson.part")).expect("it was there");
    let (stored, fault) = files.store(&[payload("a", 0, "2\n")], at(2));
    assert_eq!(stored, [false]);
    assert!(fault.expect("it is gone").0.contains("removed"));
    store_all(&mut files, &[payload("a", 0, "2\n")], 2);
    assert_eq!(named(&files_in(&folder)), [("a.2.ndjson.part", "2\n")]);
}

#[test]
fn what_was_left_behind_is_cut_and_ended_unless_someone_writes_it() {
    let folder = Folder::new("files");
    let plan = plan_in(&folder, "path = \"{table}/{table}\"");
    let mut living = store(&plan, "");
    store_all(&mut living, &[payload("a", 0, "1\n")], 5);
    let left = |name: &str, text: &str| folder.write(name, text);
    left("a/a.3.ndjson.part", "1\n2\n3");
    left("a/a.4.ndjson.part", "torn");
    left("a/notes.part", "ours is not this");
    fs::create_dir(folder.0.join("b")).expect("a folder");
    left("b/a.3.ndjson.part", "nor this");
    let mended = left::mend(&plan.pattern, plan.lines()).expect("an own folder");
    assert_eq!((mended.files, mended.bytes_cut), (2, 5));
    let expected = [
        ("a/a.3.ndjson", "1\n2\n"),
        ("a/a.5.ndjson.part", "1\n"),
        ("a/notes.part", "ours is not this"),
        ("b/a.3.ndjson.part", "nor this"),
    ];
    assert_eq!(named(&files_in(&folder)), expected);
    store_all(&mut living, &[payload("a", 0, "2\n")], 5);
    living.end_all().expect("an own folder");
    assert!(files_in(&folder).contains(&("a/a.5.ndjson".into(), "1\n2\n".into())));
}

#[test]
fn files_are_ended_when_they_are_of_age_and_when_there_are_too_many() {
    let folder = Folder::new("files");
    let plan = plan_in(&folder, "path = \"{table}\"\nrotate_after = \"1h\"");
    let mut files = store(&plan, "");
    for table in 0..300 {
        store_all(&mut files, &[payload(&format!("t{table}"), 0, "1\n")], 1);
    }
    let parts = |folder: &Folder| {
        files_in(folder).iter().filter(|(name, _)| name.ends_with(".part")).count()
    };
    assert_eq!(parts(&folder), 256);
    files.end_due(Instant::now()).expect("none is of age");
    assert_eq!(parts(&folder), 256);
    files.end_due(Instant::now() + Duration::from_secs(3_600)).expect("an own folder");
    assert_eq!((parts(&folder), files_in(&folder).len()), (0, 300));
}

/// A courier at work, and the doors' other sides.
struct Bench {
    payloads: mpsc::Sender<Payload>,
    receipts: mpsc::Receiver<Receipt>,
    reset: watch::Sender<u64>,
    keeper_stop: watch::Sender<bool>,
    courier: tokio::task::JoinHandle<Result<(), Fault>>,
    keeper: tokio::task::JoinHandle<Result<(), Fault>>,
    meter: Arc<PipelineMeter>,
    _letters: mpsc::Receiver<crate::reject::Rejected>,
}

#[expect(clippy::disallowed_methods, reason = "a test owns its tasks and joins them")]
fn bench(plan: &FilePlan) -> Bench {
    let meter = Arc::new(PipelineMeter::default());
    let sink = plan
        .build(SinkContext {
            pipeline: "p".into(),
            names: Arc::new(Names::default()),
            shape: Arc::new(Shape::plain("t")),
            delivery: Delivery::AtLeastOnce,
            meter: Arc::clone(&meter),
            runtime: tokio::runtime::Handle::current(),
        })
        .expect("it opens nothing");
    let (payloads, inbox) = mpsc::channel(4);
    let (home, receipts) = mpsc::channel(64);
    let (dead_letters, letters) = mpsc::channel(1);
    let (reset, reset_seen) = watch::channel(0);
    let (keeper_stop, stopped) = watch::channel(false);
    let doors = CourierDoors {
        inbox,
        home: Home::new(home, Arc::new(|| {})),
        dead_letters: Letters::new(dead_letters, None),
        pool: Arc::default(),
        commit: Commit { bytes_max: 1 << 20, rows_max: 1_000 },
        reset: reset_seen,
    };
    let courier = tokio::spawn(sink.courier(0).run(doors));
    let keeper = tokio::spawn(sink.keeper(stopped));
    let _letters = letters;
    Bench { payloads, receipts, reset, keeper_stop, courier, keeper, meter, _letters }
}

impl Bench {
    async fn send(&self, payload: Payload) {
        self.payloads.send(payload).await.expect("the courier runs");
    }

    /// The next receipt's verdict and rows.
    async fn receipt(&mut self) -> (Verdict, u64) {
        let receipt = tokio::time::timeout(DEADLINE, self.receipts.recv()).await;
        let receipt = receipt.expect("in time").expect("the courier runs");
        for share in receipt.shares {
            share.redeem();
        }
        (receipt.verdict, receipt.rows)
    }

    /// Waits until the trouble is as wanted.
    async fn trouble(&self, is: impl Fn(&str) -> bool) -> String {
        let end = Instant::now() + DEADLINE;
        loop {
            let words = self.meter.trouble.lock().expect("it is whole").clone();
            if is(&words) {
                return words;
            }
            assert!(Instant::now() < end, "trouble: {words:?}");
            tokio::task::yield_now().await;
        }
    }

    async fn end(self) {
        drop(self.payloads);
        self.courier.await.expect("no panic").expect("no fault");
        self.keeper_stop.send_replace(true);
        self.keeper.await.expect("no panic").expect("no fault");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_folder_that_cannot_be_written_is_waited_for() {
    let folder = Folder::new("files");
    folder.write("rows", "in the way");
    let mut bench = bench(&plan_in(&folder, "path = \"rows/{table}\""));
    bench.send(payload("a", 0, "1\n2\n")).await;
    let words = bench.trouble(|words| !words.is_empty()).await;
    assert!(words.contains("cannot be written") && words.contains("rows"), "{words}");
    assert!(bench.receipts.try_recv().is_err(), "nothing is stored yet");
    fs::remove_file(folder.0.join("rows")).expect("it was there");
    assert!(matches!(bench.receipt().await, (Verdict::Stored, 2)));
    bench.trouble(str::is_empty).await;
    bench.end().await;
    let files = files_in(&folder);
    assert!(files.len() == 1 && files[0].0.ends_with(".ndjson"), "{files:?}");
    assert_eq!(files[0].1, "1\n2\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_is_wanted_back_is_given_back() {
    let folder = Folder::new("files");
    folder.write("rows", "in the way");
    let mut bench = bench(&plan_in(&folder, "path = \"rows/{table}\""));
    bench.send(payload("a", 0, "1\n")).await;
    bench.trouble(|words| !words.is_empty()).await;
    bench.reset.send_replace(1);
    assert!(matches!(bench.receipt().await, (Verdict::Rewind { .. }, 0)));
    fs::remove_file(folder.0.join("rows")).expect("it was there");
    // Who is still giving back gives back what comes meanwhile, too.
    loop {
        bench.send(payload("a", 0, "1\n")).await;
        match bench.receipt().await {
            (Verdict::Rewind { .. }, 0) => {}
            (Verdict::Stored, 1) => break,
            (verdict, rows) => panic!("{verdict:?}, {rows} rows"),
        }
    }
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn files_of_age_are_ended_without_a_row() {
    let folder = Folder::new("files");
    let mut bench = bench(&plan_in(&folder, "path = \"{table}\"\nrotate_after = \"50ms\""));
    bench.send(payload("a", 0, "1\n")).await;
    assert!(matches!(bench.receipt().await, (Verdict::Stored, 1)));
    let end = Instant::now() + DEADLINE;
    // Names only: a file may be renamed while it is looked at.
    let names = || fs::read_dir(&folder.0).expect("a folder").flatten().map(|entry| entry.path());
    while names().any(|path| path.extension().is_some_and(|ending| ending == "part")) {
        assert!(Instant::now() < end, "it is still a part");
        tokio::task::yield_now().await;
    }
    bench.end().await;
}

#[test]
fn a_check_says_what_is_in_the_way() {
    let runtime = tokio::runtime::Builder::new_multi_thread().build().expect("a runtime");
    let folder = Folder::new("files");
    let look = |plan: &FilePlan, prepare: bool| {
        let context = SinkContext {
            pipeline: "p".into(),
            names: Arc::new(Names::default()),
            shape: Arc::new(Shape::plain("t")),
            delivery: Delivery::AtLeastOnce,
            meter: Arc::default(),
            runtime: runtime.handle().clone(),
        };
        let sink = plan.build(context).expect("it opens nothing");
        runtime.block_on(sink.check(prepare)).remove(0)
    };
    let plan = plan_in(&folder, "path = \"one/two/{table}/x\"");
    let part = folder.0.join("one/two/a/x.3.ndjson.part");
    fs::create_dir_all(part.parent().expect("a folder")).expect("folders");
    fs::write(&part, "1\n2").expect("a folder");
    assert_eq!(look(&plan, false).state, FindingState::Ok);
    assert!(part.exists(), "a check changes nothing");
    assert_eq!(look(&plan, true).state, FindingState::Ok);
    assert_eq!(named(&files_in(&folder)), [("one/two/a/x.3.ndjson", "1\n")]);
    folder.write("file", "");
    let finding = look(&plan_in(&folder, "path = \"file/{table}\""), true);
    assert_eq!((finding.state, finding.blame), (FindingState::Fail, Blame::Operator));
    assert!(finding.note.contains("no folder") && finding.fix.is_some(), "{}", finding.note);
}
