//! The servers of a test binary, and the frame that every test runs in.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use world::{Kafka, KafkaOptions, QuestDb};

use crate::bridge_process;

/// How long a server that a failed test left broken may take to come back.
const REPAIR: Duration = Duration::from_secs(5);

/// Kafka and QuestDB, shared by the tests of a binary.
pub struct Bench {
    pub kafka: Kafka,
    pub questdb: QuestDb,
}

impl Bench {
    fn start(options: KafkaOptions) -> Result<Self> {
        std::thread::scope(|scope| {
            let kafka = scope.spawn(|| Kafka::start_with(options));
            let questdb = QuestDb::start().context("starting QuestDB")?;
            let kafka = kafka.join().map_err(|_| anyhow!("starting Kafka panicked"))?;
            Ok(Self { kafka: kafka.context("starting Kafka")?, questdb })
        })
    }

    /// A name that no other test of this binary uses.
    pub fn unique(&self, name: &str) -> String {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        format!("{name}_{}", COUNT.fetch_add(1, Ordering::Relaxed))
    }

    /// Wakes what an earlier test froze and restarts what it left dead.
    fn repair(&self) -> Result<()> {
        let _ = self.kafka.resume();
        let _ = self.questdb.resume();
        if self.questdb.wait_for("select 1", |_| true, REPAIR).is_err() {
            self.questdb.restart().context("restarting QuestDB after another test")?;
        }
        if std::net::TcpStream::connect(self.kafka.brokers()).is_err() {
            self.kafka.restart().context("restarting Kafka after another test")?;
        }
        Ok(())
    }
}

/// Runs one test with the servers to itself; when it fails, says what every bridge said last.
pub fn promise(name: &str, body: impl FnOnce(&'static Bench) -> Result<()>) {
    promise_with(KafkaOptions::default, name, body);
}

/// The same with another broker: it is that of the first test, so all of a binary want the same.
pub fn promise_with(
    options: fn() -> KafkaOptions,
    name: &str,
    body: impl FnOnce(&'static Bench) -> Result<()>,
) {
    static BENCH: OnceLock<Bench> = OnceLock::new();
    let start = || Bench::start(options());
    promise_on(&BENCH, start, name, |bench| {
        bench.repair()?;
        body(bench)
    });
}

/// The same with servers of any kind, which are started by the first test.
pub fn promise_on<S: Sync>(
    servers: &'static OnceLock<S>,
    start: impl FnOnce() -> Result<S>,
    name: &str,
    body: impl FnOnce(&'static S) -> Result<()>,
) {
    static TURN: Mutex<()> = Mutex::new(());
    // A failed test poisons the turn; the next one repairs what it left.
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let servers = servers.get_or_init(|| match start() {
        Ok(servers) => servers,
        Err(error) => panic!("starting the servers: {error:#}"),
    });
    bridge_process::forget_words();
    let start = Instant::now();
    let outcome = catch_unwind(AssertUnwindSafe(|| body(servers)));
    let seconds = start.elapsed().as_secs_f64();
    match outcome {
        Ok(Ok(())) => println!("{name}: held, {seconds:.1} s"),
        Ok(Err(error)) => panic!("{name}: {error:#}\n{}", bridge_process::last_words()),
        Err(panic) => {
            eprintln!("{name}: panicked\n{}", bridge_process::last_words());
            resume_unwind(panic);
        }
    }
}
