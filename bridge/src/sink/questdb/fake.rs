//! A server that does as a test's script says, and a bench with one courier on it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::Shared;
use super::catalogue::Catalogue;
use super::fake_sql::query;
use super::keeper::{Keeper, LagMax};
use super::options::QuestDbPlan;
use super::server::SqlClient;
use crate::batch::{
    Buffers, Line, PartitionIndex, Payload, Receipt, Route, TopicPartition, Verdict,
};
use crate::blame::Fault;
use crate::config::Section;
use crate::names::Names;
use crate::observe::PipelineMeter;
use crate::outbox::Pool;
use crate::reject::Rejected;
use crate::shape::{Metadata, Shape};
use crate::sink::{Commit, Courier, CourierDoors, Delivery, Home, Letters, SinkContext};
use crate::ticket::{Lost, Ticket};

/// Everything in a test happens within this.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// What the server does with one write; without a script it stores, and refuses the first line
/// that contains `BAD`.
#[derive(Clone, Debug)]
pub enum Act {
    /// Answers so, and stores nothing.
    Answer(u16, &'static str),
    /// Stores, then hangs up without an answer.
    StoreAndHangUp,
    /// Hangs up without an answer.
    HangUp,
    /// Never answers.
    Stall,
    /// Says 204 and stores nothing, for the table was made again: its id changes.
    Lie,
}

#[derive(Default)]
pub struct State {
    pub script: VecDeque<Act>,
    /// Table -> (id, suspended).
    pub tables: HashMap<String, (i64, bool)>,
    /// Lines stored, in order.
    pub stored: Vec<String>,
    /// Whether queries are refused.
    pub denies: bool,
    /// Whether queries wait for their answer.
    pub frozen: bool,
    /// Writes seen, whatever became of them: heads, lower case.
    pub writes: Vec<String>,
    /// Columns of `table_columns()`: name, whether it is an upsert key.
    pub columns: Vec<(&'static str, bool)>,
    /// What becomes of the next connections of line protocol over TCP.
    pub fates: VecDeque<Fate>,
    /// And of all that follow.
    pub fate: Fate,
    /// Connections of line protocol over TCP so far.
    pub connections: usize,
    /// SQL seen, but for polls.
    pub queries: Vec<String>,
    /// Connections over HTTP so far.
    pub opened: usize,
    /// So many of them are from before the columns' types changed: they refuse all rows.
    pub outdated: usize,
    /// Whether tables cannot be read until their log is resumed.
    pub unreadable: bool,
    /// Whether tables are there, and not listed until their columns are read anew.
    pub unlisted: bool,
    /// The type of all columns.
    pub kind: &'static str,
}

#[derive(Clone)]
pub struct Fake {
    pub state: Arc<Mutex<State>>,
    pub address: String,
    stop: Arc<watch::Sender<bool>>,
}

impl Fake {
    pub async fn start() -> Fake {
        Fake::start_at("127.0.0.1:0").await
    }

    pub async fn start_at(address: &str) -> Fake {
        let state = Arc::new(Mutex::new(State::default()));
        Fake::start_with(address, state).await
    }

    /// A server with what another one stored: it came back.
    pub async fn start_with(address: &str, state: Arc<Mutex<State>>) -> Fake {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)
            .expect("a socket");
        socket.set_reuse_address(true).expect("an option");
        socket.set_nonblocking(true).expect("an option");
        let address: std::net::SocketAddr = address.parse().expect("an address");
        socket.bind(&address.into()).expect("a port");
        socket.listen(64).expect("a listener");
        let listener = TcpListener::from_std(socket.into()).expect("a listener");
        let address = listener.local_addr().expect("an address").to_string();
        let (stop, stopped) = watch::channel(false);
        let serving = Arc::clone(&state);
        tokio::spawn(async move {
            let mut stopping = stopped.clone();
            loop {
                let accepted = tokio::select! {
                    accepted = listener.accept() => accepted.expect("a connection"),
                    _ = stopping.wait_for(|stop| *stop) => return,
                };
                let (state, mut stopped) = (Arc::clone(&serving), stopped.clone());
                tokio::spawn(async move {
                    tokio::select! {
                        () = serve(accepted.0, state) => {}
                        _ = stopped.wait_for(|stop| *stop) => {}
                    }
                });
            }
        });
        Fake { state, address, stop: Arc::new(stop) }
    }

    /// A client of its SQL.
    pub fn sql(&self) -> SqlClient {
        let (host, port) = self.address.split_once(':').expect("an address");
        SqlClient::at(host, port.parse().expect("a port"))
    }

    /// Closes the listener and every connection.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    pub fn script(&self, acts: impl IntoIterator<Item = Act>) {
        self.state.lock().expect("whole").script.extend(acts);
    }

    pub fn table(&self, name: &str, id: i64, suspended: bool) {
        self.state.lock().expect("whole").tables.insert(name.into(), (id, suspended));
    }

    /// Columns are dropped and made again with another type.
    pub fn alter(&self, kind: &'static str) {
        let mut state = self.state.lock().expect("whole");
        (state.kind, state.outdated) = (kind, state.opened);
    }

    pub fn stored(&self) -> Vec<String> {
        self.state.lock().expect("whole").stored.clone()
    }

    pub fn writes(&self) -> Vec<String> {
        self.state.lock().expect("whole").writes.clone()
    }
}

async fn serve(stream: TcpStream, state: Arc<Mutex<State>>) {
    let mut stream = BufReader::new(stream);
    let number = {
        let mut state = state.lock().expect("whole");
        state.opened += 1;
        state.opened
    };
    while let Some((head, body)) = request(&mut stream).await {
        let answer = if head.starts_with("post /write") {
            write(&state, number, &head, body)
        } else {
            while state.lock().expect("whole").frozen {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            let denies = state.lock().expect("whole").denies;
            Some((if denies { 401 } else { 200 }, query(&state, &head)))
        };
        let Some((status, text)) = answer else { return };
        if status == 0 {
            std::future::pending::<()>().await;
        }
        let reply = match status {
            204 => "HTTP/1.1 204 OK\r\n\r\n".to_owned(),
            _ => format!("HTTP/1.1 {status} x\r\nContent-Length: {}\r\n\r\n{text}", text.len()),
        };
        if stream.get_mut().write_all(reply.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn request(stream: &mut BufReader<TcpStream>) -> Option<(String, Vec<u8>)> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).await.ok()? == 0 {
            return None;
        }
    }
    let head = head.to_lowercase();
    if head.contains("transfer-encoding: chunked") {
        return Some((head, chunks(stream).await?));
    }
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |n| n.trim().parse().expect("a number"))];
    stream.read_exact(&mut body).await.ok()?;
    Some((head, body))
}

async fn chunks(stream: &mut BufReader<TcpStream>) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut size = String::new();
        stream.read_line(&mut size).await.ok()?;
        let size = usize::from_str_radix(size.trim(), 16).ok()?;
        let mut chunk = vec![0; size + 2];
        stream.read_exact(&mut chunk).await.ok()?;
        body.extend_from_slice(&chunk[..size]);
        if size == 0 {
            return Some(body);
        }
    }
}

/// The answer to a write over the connection of this number; `None` hangs up, status 0 stalls.
fn write(state: &Mutex<State>, number: usize, head: &str, body: Vec<u8>) -> Option<(u16, String)> {
    let mut state = state.lock().expect("whole");
    state.writes.push(head.to_owned());
    if number <= state.outdated {
        return Some((400, r#"{"message":"error in line 1: a type of old","line":1}"#.into()));
    }
    let body = match head.contains("content-encoding: gzip") {
        true => {
            let mut plain = Vec::new();
            let mut decoder = flate2::read::GzDecoder::new(body.as_slice());
            std::io::Read::read_to_end(&mut decoder, &mut plain).expect("gzip");
            plain
        }
        false => body,
    };
    let text = String::from_utf8(body).expect("text");
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    match state.script.pop_front() {
        Some(Act::Answer(status, text)) => Some((status, text.to_owned())),
        Some(Act::HangUp) => None,
        Some(Act::Stall) => Some((0, String::new())),
        Some(Act::StoreAndHangUp) => {
            state.stored.extend(lines);
            None
        }
        Some(Act::Lie) => {
            state.tables.values_mut().for_each(|(id, _)| *id += 1);
            Some((204, String::new()))
        }
        None => match lines.iter().position(|line| line.contains("BAD")) {
            Some(bad) => {
                let message = format!("error in line {}: cast error", bad + 1);
                Some((400, format!("{{\"message\":\"{message}\",\"line\":{}}}", bad + 1)))
            }
            None => {
                state.stored.extend(lines);
                Some((204, String::new()))
            }
        },
    }
}

/// What becomes of one connection of line protocol over TCP.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Fate {
    /// Stores all lines, but only some time after the end of stream.
    StoreLate,
    /// Drops one line in the middle and says nothing.
    Hole,
    /// Hangs up at a line with `BAD`, as QuestDB does.
    #[default]
    Strict,
    /// Asks for a key, takes any signature, and goes on as `Strict`.
    Guarded,
    /// Asks for a key and takes no signature.
    Refused,
    /// Lets in and hangs up.
    HangUp,
}

/// A server of line protocol over TCP beside the one of HTTP; its address.
pub async fn line_server(state: Arc<Mutex<State>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let address = listener.local_addr().expect("an address").to_string();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            let fate = {
                let mut state = state.lock().expect("whole");
                state.connections += 1;
                state.fates.pop_front().unwrap_or(state.fate)
            };
            tokio::spawn(lines(stream, fate, Arc::clone(&state)));
        }
    });
    address
}

async fn lines(stream: TcpStream, fate: Fate, state: Arc<Mutex<State>>) {
    if fate == Fate::HangUp {
        return;
    }
    let mut stream = BufReader::new(stream);
    let mut kept: Vec<String> = Vec::new();
    let mut number = 0;
    if matches!(fate, Fate::Guarded | Fate::Refused) {
        let mut said = String::new();
        let _id = stream.read_line(&mut said).await;
        let _ = stream.get_mut().write_all(&[[b'c'; 512].as_slice(), b"\n"].concat()).await;
        let _signature = stream.read_line(&mut said).await;
        if fate == Fate::Refused {
            return;
        }
    }
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
            break;
        }
        let line = line.trim_end().to_owned();
        number += 1;
        if matches!(fate, Fate::Strict | Fate::Guarded) && line.contains("BAD") {
            break;
        }
        if fate != Fate::Hole || number != 2 {
            kept.push(line);
        }
    }
    // The end of stream comes first, the commit after it: as the real one has it.
    drop(stream);
    if fate == Fate::StoreLate {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    state.lock().expect("whole").stored.extend(kept);
}

/// What a courier reports to.
pub struct Bench {
    pub shared: Arc<Shared>,
    pub catalogue: Arc<Catalogue>,
    pub inbox: Option<mpsc::Sender<Payload>>,
    pub receipts: mpsc::Receiver<Receipt>,
    pub rejected: mpsc::Receiver<Rejected>,
    pub reset: watch::Sender<u64>,
    pub pool: Arc<Pool>,
    pub lost: Arc<Lost>,
    pub courier: JoinHandle<Result<(), Fault>>,
    tickets: u64,
    stop: watch::Sender<bool>,
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        self.courier.abort();
    }
}

impl Bench {
    /// One courier and a keeper, by a sink's section.
    pub fn start(
        section: &str,
        courier: impl FnOnce(Arc<Shared>, Arc<Catalogue>) -> Result<Box<dyn Courier>, Fault>,
    ) -> Bench {
        let section = Section::new("sink", section.parse().expect("TOML"));
        let plan = QuestDbPlan::parse(&section).expect("a plan");
        let meter = Arc::new(PipelineMeter::default());
        let word = |word: &str| Some(word.to_owned());
        let metadata = Metadata {
            topic: word("kt"),
            partition: word("kp"),
            offset: word("ko"),
            row: word("kr"),
            ..Metadata::default()
        };
        let context = SinkContext {
            pipeline: "p".into(),
            names: Arc::new(Names::default()),
            shape: Arc::new(Shape::plain("t")),
            delivery: Delivery::AtLeastOnce,
            meter: Arc::clone(&meter),
            runtime: tokio::runtime::Handle::current(),
        };
        let shared = Shared::new("p".into(), plan, metadata, meter).expect("a sink");
        let (trouble, doubts) = (Arc::clone(&shared.trouble), Arc::clone(&shared.doubts));
        let catalogue = Arc::new(Catalogue::new(&context, shared.sql(), trouble, doubts));
        let sens = TopicPartition { topic: "sens".into(), partition: 0 };
        shared.partitions.meet(PartitionIndex(0), &sens);
        let shared = Arc::new(shared);
        let (inbox, payloads) = mpsc::channel(4);
        let (home, receipts) = mpsc::channel(64);
        let (dead_letters, rejected) = mpsc::channel(64);
        let (reset, resets) = watch::channel(0);
        let (stop, stopped) = watch::channel(false);
        let pool = Arc::new(Pool::default());
        let doors = CourierDoors {
            inbox: payloads,
            home: Home::new(home, Arc::new(|| {})),
            dead_letters: Letters::new(dead_letters, None),
            pool: Arc::clone(&pool),
            commit: Commit { bytes_max: 1 << 20, rows_max: 1_000 },
            reset: resets,
        };
        let keeper = Keeper::new(
            shared.sql(),
            Arc::clone(&shared.watched),
            Arc::clone(&shared.trouble),
            LagMax { rows: 1_000_000, transactions: 1_000 },
        );
        tokio::spawn(keeper.run(stopped));
        let courier = courier(Arc::clone(&shared), Arc::clone(&catalogue)).expect("a courier");
        let courier = tokio::spawn(courier.run(doors));
        Bench {
            shared,
            catalogue,
            inbox: Some(inbox),
            receipts,
            rejected,
            reset,
            pool,
            lost: Arc::default(),
            courier,
            tickets: 0,
            stop,
        }
    }

    /// Sends a payload, one line for each offset; negative offsets are bad ones.
    pub async fn send(&mut self, table: &str, offsets: impl IntoIterator<Item = i64>) {
        let payload = self.payload(table, offsets, Route::Primary);
        self.send_payload(payload).await;
    }

    pub async fn send_payload(&mut self, payload: Payload) {
        let inbox = self.inbox.as_ref().expect("still open");
        let sending = tokio::time::timeout(DEADLINE, inbox.send(payload));
        assert!(sending.await.expect("in time").is_ok(), "the courier is gone");
    }

    pub fn payload(
        &mut self,
        table: &str,
        offsets: impl IntoIterator<Item = i64>,
        route: Route,
    ) -> Payload {
        let mut buffers = Buffers::default();
        for offset in offsets {
            let bad = if offset < 0 { "BAD" } else { "" };
            let line = format!("{table} v={}i{bad}\n", offset.abs());
            buffers.bytes.extend_from_slice(line.as_bytes());
            let end = buffers.bytes.len() as u32;
            let partition = PartitionIndex(0);
            buffers.lines.push(Line { offset: offset.abs(), partition, row: 0, layout: 0, end });
        }
        self.tickets += 1;
        let ticket = Ticket::issue(self.tickets, Arc::clone(&self.lost));
        Payload {
            table: table.into(),
            buffers,
            shares: vec![ticket.into_share()],
            route,
            opened: Instant::now(),
            due: Instant::now(),
            timestamps: (0, 1_000),
            layout: 0,
        }
    }

    /// The next receipt: its tickets that are complete with it, whether stored, its rows.
    pub async fn receipt(&mut self) -> (Vec<u64>, Verdict, u64) {
        let receipt = tokio::time::timeout(DEADLINE, self.receipts.recv());
        let receipt = receipt.await.expect("in time").expect("a receipt");
        let complete = |share: crate::ticket::Share| {
            let id = share.id();
            share.redeem().then_some(id)
        };
        let ids = receipt.shares.into_iter().filter_map(complete).collect();
        (ids, receipt.verdict, receipt.rows)
    }

    /// Expects the next receipt to say stored, with so many rows.
    pub async fn stored(&mut self, rows: u64) {
        let (_, verdict, got) = self.receipt().await;
        assert!(matches!(verdict, Verdict::Stored), "{verdict:?}");
        assert_eq!(got, rows);
    }

    /// Expects the next receipt to say: read again, by this way.
    pub async fn rewound(&mut self, wanted: Route) {
        match self.receipt().await {
            (_, Verdict::Rewind { route }, _) => assert_eq!(route, wanted),
            other => panic!("{other:?}"),
        }
    }

    /// The next refused record; its shares come home.
    pub async fn refused(&mut self) -> (i64, String) {
        let rejected = tokio::time::timeout(DEADLINE, self.rejected.recv());
        let mut rejected = rejected.await.expect("in time").expect("a refusal");
        rejected.shares.into_iter().for_each(|share| _ = share.redeem());
        let refusal = rejected.refusals.pop().expect("one");
        (refusal.offset, refusal.detail)
    }

    /// Waits until something is so.
    pub async fn until(&self, what: &str, is: impl Fn() -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !is() {
            assert!(Instant::now() < deadline, "waiting until {what}");
            tokio::task::yield_now().await;
        }
    }

    pub fn trouble(&self) -> String {
        self.shared.meter.trouble.lock().expect("whole").clone()
    }

    /// Closes the inbox; the courier's end.
    pub async fn finish(mut self) -> Result<(), Fault> {
        self.inbox = None;
        let ended = tokio::time::timeout(DEADLINE, &mut self.courier).await.expect("in time");
        assert_eq!(self.lost.count(), 0, "no share was lost");
        ended.expect("no panic")
    }
}
