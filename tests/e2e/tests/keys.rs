//! Promise: a key that line protocol over TCP does not take stops the bridge, with the line to
//! change and nothing committed; the right one outlives the server's restarts.

use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::{Band, Bench, Installed, PARTITIONS, Reading, Setup, Transport, promise, rows_are_there};
use world::{QuestDb, QuestDbOptions};

const ENDS: Duration = Duration::from_secs(30);
const DRAIN: Duration = Duration::from_secs(90);
const VISIBLE: Duration = Duration::from_secs(30);

/// `d`, `x` and `y`: the example key of QuestDB's documentation.
const RIGHT: [&str; 3] = [
    "5UjEMuA0Pj5pjK8a-fa24dyIf-Es5mYny3oE_Wmus48",
    "fLKYEaoEb9lrn3nkwLDA-M_xnuFOdSt9y0Z7_vWSHLU",
    "Dt5tbS1dEDMSYfym3fgMv0B99szno-dFc1rYF9t0aac",
];
/// Another key, made for this test.
const WRONG: [&str; 3] = [
    "SMfn8Em7vB01pFjzKH7j789HuWtwBIt837kfn4Gt4kA",
    "k4GvWwWduIrgdMuX8V0wFAkr-KHw-cGcPGUVjrg5kAg",
    "hiVzcJQb4IshfAJodaqfxW3H2V2vFVyPtVogqB2aajg",
];

/// A server that lets in `writer` with the right key.
fn guarded() -> Result<QuestDb> {
    let [_, x, y] = RIGHT;
    QuestDb::start_with(QuestDbOptions {
        properties: vec![("line.tcp.auth.db.path".to_owned(), "conf/auth.txt".to_owned())],
        files: vec![("auth.txt".to_owned(), format!("writer ec-p-256-sha256 {x} {y}\n"))],
        ..QuestDbOptions::default()
    })
}

fn install(
    bench: &Bench,
    questdb: &QuestDb,
    name: &str,
    ack: &str,
    key: Option<(&str, [&str; 3])>,
) -> Result<Installed> {
    let mut setup = Setup::readings(bench, name, PARTITIONS)?.over(Transport::Tcp);
    setup.http_address = questdb.http_address();
    setup.tcp_address = questdb.tcp_address();
    setup.sink = vec![format!("ack = \"{ack}\"")];
    if let Some((id, [d, x, y])) = key {
        setup.sink.push(format!("auth_key_id = \"{id}\"\nauth_private_key = \"{d}\""));
        setup.sink.push(format!("auth_public_key_x = \"{x}\"\nauth_public_key_y = \"{y}\""));
    }
    setup.install()
}

fn produce(bench: &Bench, installed: &Installed, seqs: std::ops::Range<u64>) -> Result<()> {
    let records = seqs.map(|seq| Reading(seq).record(PARTITIONS));
    bench.kafka.produce(&installed.setup.topic, records).map(drop)
}

#[test]
fn a_wrong_key_stops_the_bridge() {
    promise("a wrong key stops the bridge", |bench| {
        let questdb = guarded()?;
        let cases = [
            ("wrong", "verify", ("writer", WRONG)),
            ("wrong", "none", ("writer", WRONG)),
            ("unknown", "verify", ("nobody", RIGHT)),
        ];
        for (name, ack, key) in cases {
            let installed = install(bench, &questdb, &format!("{name}_{ack}"), ack, Some(key))?;
            produce(bench, &installed, 0..1_000)?;
            let checked = installed.command("check", &[])?;
            checked.ensure_code(1)?;
            ensure!(checked.stdout.contains("auth_key_id"), "the key is not named");

            // A server that is away while the bridge starts: nobody could ask it before.
            questdb.stop()?;
            let bridge = installed.start()?;
            bridge.process().wait_for_line("connection refused", ENDS)?;
            questdb.restart()?;
            let status = bridge.process().wait_exit(ENDS)?;
            let words = bridge.process().tail();
            ensure!(status.code() == Some(1), "{name} key, ack {ack}: it ended with {status}");
            ensure!(words.contains("auth_key_id"), "the key is not named");
            let committed = installed.group(bench)?.committed()?;
            ensure!(committed == 0, "{name} key, ack {ack}: {committed} records are committed");
        }
        Ok(())
    });
}

#[test]
fn a_right_key_outlives_a_restart() {
    promise("a right key outlives a restart", |bench| {
        let questdb = guarded()?;
        for ack in ["verify", "none"] {
            let key = Some(("writer", RIGHT));
            let installed = install(bench, &questdb, &format!("right_{ack}"), ack, key)?;
            let group = installed.group(bench)?;
            let bridge = installed.start_ready()?;
            for round in 0..2 {
                produce(bench, &installed, round * 1_000..(round + 1) * 1_000)?;
                group.wait_drained(&bridge, DRAIN)?;
                let count = (round + 1) * 1_000;
                rows_are_there(&questdb, &installed.setup.table, count, Band::ALL, VISIBLE)?;
                questdb.restart()?;
            }
            bridge.stop_well(ENDS)?;
        }
        Ok(())
    });
}
