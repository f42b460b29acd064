//! A server that speaks CrateDB's HTTP as its documentation has it, misbehaves as a test's script
//! says, and a bench with one courier on it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::Shared;
use super::courier::CrateCourier;
use super::fake_sql::{Db, Error, Reply};
use super::layout::{Layout, Wanted};
use super::options::CrateDbPlan;
use crate::batch::{Buffers, Line, PartitionIndex, Payload, Receipt, Route, Verdict};
use crate::blame::Fault;
use crate::config::Section;
use crate::names::Names;
use crate::observe::PipelineMeter;
use crate::outbox::Pool;
use crate::reject::Rejected;
use crate::shape::Shape;
use crate::sink::{Commit, Courier, CourierDoors, Delivery, Home, Letters, SinkContext, SinkPlan};
use crate::ticket::{Lost, Ticket};

/// Everything in a test happens within this.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// What the server does with one INSERT; without a script it does as it is told.
#[derive(Clone, Debug)]
pub enum Act {
    /// Answers so, and stores nothing.
    Answer(u16, &'static str),
    /// Stores, then hangs up without an answer.
    StoreAndHangUp,
    /// Stores, and hangs up in the middle of the answer.
    HalfAnswer,
    /// Stores the first of these rows only, as a server does that dies.
    StoreSome(usize),
    /// Hangs up without an answer.
    HangUp,
    /// Stores, and answers without the words of its errors.
    Silent,
}

#[derive(Default)]
pub struct State {
    pub db: Db,
    pub script: VecDeque<Act>,
    /// Bodies of requests, as they came.
    pub bodies: Vec<String>,
    /// The header that everyone must bear.
    pub authorization: Option<&'static str>,
}

#[derive(Clone)]
pub struct Fake {
    pub state: Arc<Mutex<State>>,
    pub address: String,
}

impl Fake {
    pub async fn start() -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
        let address = listener.local_addr().expect("an address").to_string();
        let state = Arc::new(Mutex::new(State::default()));
        let serving = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&serving)));
            }
        });
        Fake { state, address }
    }

    pub fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.state.lock().expect("whole"))
    }

    /// Runs a statement past HTTP.
    pub fn run(&self, statement: &str) {
        let reply = self.with(|state| state.db.run(statement, &[], None));
        assert!(reply.is_ok(), "{statement}: {reply:?}");
    }

    pub fn script(&self, acts: impl IntoIterator<Item = Act>) {
        self.with(|state| state.script.extend(acts));
    }

    /// The values of one column, in the order of the keys.
    pub fn column(&self, table: &str, column: &str) -> Vec<Value> {
        self.with(|state| {
            let rows = state.db.tables[table].rows.values();
            rows.map(|row| row.get(column).cloned().unwrap_or_default()).collect()
        })
    }

    /// INSERTs that came, whatever became of them.
    pub fn inserts(&self) -> usize {
        self.with(|state| state.bodies.iter().filter(|body| body.contains("INSERT")).count())
    }
}

async fn serve(stream: TcpStream, state: Arc<Mutex<State>>) {
    let mut stream = BufReader::new(stream);
    while let Some((head, body)) = request(&mut stream).await {
        let (status, text, cut) = answer(&state, &head, &body);
        let length = text.len();
        let kept = if cut { length / 2 } else { length };
        let reply =
            format!("HTTP/1.1 {status} x\r\nContent-Length: {length}\r\n\r\n{}", &text[..kept]);
        let closing = cut || status == 0;
        if status != 0 && stream.get_mut().write_all(reply.as_bytes()).await.is_err() || closing {
            return;
        }
    }
}

async fn request(stream: &mut BufReader<TcpStream>) -> Option<(String, String)> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).await.ok()? == 0 {
            return None;
        }
    }
    let lower = head.to_lowercase();
    let length = lower.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |n| n.trim().parse().expect("a number"))];
    stream.read_exact(&mut body).await.ok()?;
    Some((head, String::from_utf8(body).expect("JSON is text")))
}

/// Status (0 hangs up), body, and whether only half of it is sent.
fn answer(state: &Mutex<State>, head: &str, body: &str) -> (u16, String, bool) {
    let mut state = state.lock().expect("whole");
    let lower = head.to_lowercase();
    let is_ours = lower.starts_with("post /_sql http/1.1")
        && lower.contains("content-type: application/json\r\n");
    if !is_ours {
        return (404, "not found".into(), false);
    }
    if state.authorization.is_some_and(|wanted| !head.contains(wanted)) {
        return (401, "password authentication failed for user \"bridge\"\n".into(), false);
    }
    state.bodies.push(body.to_owned());
    let Ok(Value::Object(asked)) = serde_json::from_str(body) else {
        return (400, failed(&(4000, "Can't parse".into())), false);
    };
    let known = |key: &&String| ["stmt", "args", "bulk_args"].contains(&key.as_str());
    assert!(asked.keys().all(|key| known(&key)), "members that nobody knows: {body}");
    let statement = asked["stmt"].as_str().expect("a statement").to_owned();
    let list = |value: &Value| value.as_array().expect("a list").clone();
    let args = asked.get("args").map(list).unwrap_or_default();
    let bulk = asked.get("bulk_args").map(|bulk| list(bulk).iter().map(list).collect::<Vec<_>>());
    let act = statement.starts_with("INSERT").then(|| state.script.pop_front()).flatten();
    let some = |count: usize| bulk.as_ref().map(|rows| &rows[..count.min(rows.len())]);
    let stored = match act {
        Some(Act::Answer(status, text)) => return (status, text.into(), false),
        Some(Act::HangUp) => return (0, String::new(), false),
        Some(Act::StoreSome(count)) => state.db.run(&statement, &args, some(count)),
        _ => state.db.run(&statement, &args, bulk.as_deref()),
    };
    match act {
        Some(Act::StoreAndHangUp | Act::StoreSome(_)) => (0, String::new(), false),
        Some(Act::Silent) => reply(stored, false, false),
        Some(Act::HalfAnswer) => reply(stored, true, true),
        _ => reply(stored, true, false),
    }
}

fn failed((code, words): &Error) -> String {
    json!({"error": {"code": code, "message": words}}).to_string()
}

fn reply(reply: Result<Reply, Error>, words: bool, cut: bool) -> (u16, String, bool) {
    let text = match reply {
        Err(error) => {
            let digits: String = error.0.to_string().chars().take(3).collect();
            return (digits.parse().expect("three digits"), failed(&error), cut);
        }
        Ok(Reply::Rows(rows)) => json!({"cols": [], "rows": rows, "rowcount": rows.len()}),
        Ok(Reply::Count(count)) => json!({"cols": [], "rowcount": count}),
        Ok(Reply::Each(each)) => {
            let result = |row: &Result<i64, Option<Error>>| match row {
                Ok(count) => json!({"rowcount": count}),
                Err(Some((code, message))) if words => {
                    json!({"rowcount": -2, "error": {"code": code, "message": message}})
                }
                Err(_) => json!({"rowcount": -2}),
            };
            let results: Vec<Value> = each.iter().map(result).collect();
            json!({"cols": [], "duration": 1.5, "results": results})
        }
    };
    (200, text.to_string(), cut)
}

/// A sink's shared parts for these options, on this server.
pub fn shared(fake: &Fake, options: &str, shape: Shape) -> (Arc<Shared>, SinkContext) {
    let section = format!("address = \"{}\"\n{options}", fake.address);
    let section = Section::new("sink", section.parse().expect("TOML"));
    let plan = CrateDbPlan::parse(&section).expect("a plan");
    let mut shape = shape;
    plan.complete(&mut shape);
    let context = SinkContext {
        pipeline: "p".into(),
        names: Arc::new(Names::default()),
        shape: Arc::new(shape),
        delivery: Delivery::AtLeastOnce,
        meter: Arc::new(PipelineMeter::default()),
        runtime: tokio::runtime::Handle::current(),
    };
    (Arc::new(Shared::new(plan, &context).expect("a sink")), context)
}

/// One courier.
pub struct Bench {
    pub shared: Arc<Shared>,
    pub inbox: Option<mpsc::Sender<Payload>>,
    pub receipts: mpsc::Receiver<Receipt>,
    pub rejected: mpsc::Receiver<Rejected>,
    pub lost: Arc<Lost>,
    pub courier: JoinHandle<Result<(), Fault>>,
    tickets: u64,
    _reset: watch::Sender<u64>,
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.courier.abort();
    }
}

impl Bench {
    pub fn start(shared: Arc<Shared>) -> Bench {
        let (inbox, payloads) = mpsc::channel(4);
        let (home, receipts) = mpsc::channel(64);
        let (dead_letters, rejected) = mpsc::channel(64);
        let (reset, resets) = watch::channel(0);
        let doors = CourierDoors {
            inbox: payloads,
            home: Home::new(home, Arc::new(|| {})),
            dead_letters: Letters::new(dead_letters, None),
            pool: Arc::new(Pool::default()),
            commit: Commit { bytes_max: 1 << 20, rows_max: 1_000 },
            reset: resets,
        };
        let courier = Box::new(CrateCourier::new(Arc::clone(&shared), 0));
        let courier = tokio::spawn(courier.run(doors));
        let (lost, inbox) = (Arc::default(), Some(inbox));
        Bench { shared, inbox, receipts, rejected, lost, courier, tickets: 0, _reset: reset }
    }

    /// The table, with these columns.
    pub async fn layout(&self, table: &str, wanted: &[Wanted]) -> Arc<Layout> {
        self.shared.catalogue.ask(table, wanted).await.expect("a table")
    }

    /// Sends rows of one layout: (offset, the parameters as JSON).
    pub async fn send(&mut self, layout: &Layout, rows: &[(i64, Value)]) {
        let mut buffers = Buffers::default();
        for (offset, row) in rows {
            buffers.bytes.extend_from_slice(format!("{row},").as_bytes());
            let (end, partition) = (buffers.bytes.len() as u32, PartitionIndex(0));
            let (offset, layout) = (*offset, layout.id);
            buffers.lines.push(Line { offset, partition, row: 0, layout, end });
        }
        let table = Arc::clone(&layout.table);
        self.send_buffers(table, buffers).await;
    }

    pub async fn send_buffers(&mut self, table: Arc<str>, buffers: Buffers) {
        self.tickets += 1;
        let ticket = Ticket::issue(self.tickets, Arc::clone(&self.lost));
        let opened = std::time::Instant::now();
        let payload = Payload {
            table,
            layout: 0,
            buffers,
            shares: vec![ticket.into_share()],
            route: Route::Primary,
            opened,
            due: opened,
            timestamps: (0, 0),
        };
        let inbox = self.inbox.as_ref().expect("still open");
        let sending = tokio::time::timeout(DEADLINE, inbox.send(payload));
        assert!(sending.await.expect("in time").is_ok(), "the courier is gone");
    }

    async fn receipt(&mut self) -> Receipt {
        let receipt = tokio::time::timeout(DEADLINE, self.receipts.recv());
        receipt.await.expect("in time").expect("a receipt")
    }

    /// Waits for a receipt of so many rows.
    pub async fn stored(&mut self, rows: u64) {
        let receipt = self.receipt().await;
        assert!(matches!(receipt.verdict, Verdict::Stored), "{:?}", receipt.verdict);
        assert_eq!(receipt.rows, rows);
        receipt.shares.into_iter().for_each(|share| {
            share.redeem();
        });
    }

    /// Waits for a payload to be given back.
    pub async fn rewound(&mut self) {
        let receipt = self.receipt().await;
        assert!(matches!(receipt.verdict, Verdict::Rewind { .. }), "{:?}", receipt.verdict);
        receipt.shares.into_iter().for_each(|share| {
            share.redeem();
        });
    }

    /// Waits for a refused record: its offset and the server's words.
    pub async fn refused(&mut self) -> (i64, String) {
        let rejected = tokio::time::timeout(DEADLINE, self.rejected.recv());
        let mut rejected = rejected.await.expect("in time").expect("a dead letter");
        rejected.shares.drain(..).for_each(|share| {
            share.redeem();
        });
        let refusal = rejected.refusals.pop().expect("one record");
        (refusal.offset, refusal.detail)
    }

    /// Closes the inbox and waits for the courier's end.
    pub async fn finish(&mut self) -> Result<(), Fault> {
        self.inbox = None;
        let ended = tokio::time::timeout(DEADLINE, &mut self.courier);
        ended.await.expect("in time").expect("no panic")
    }
}
