//! What stands in for QuestDB where there is none: takes line protocol over TCP, reads every line
//! strictly, and answers the SQL that the bridge asks. Keeps counts and the last rows, not data.

mod sql;
mod store;

use std::convert::Infallible;
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use self::store::{Store, Table};
use super::target::Held;
use crate::blame::Fault;
use crate::sink::questdb::Rows;
use crate::sink::questdb::reader::{self, Field, Line};

/// Bytes read at once.
const READ_BYTES: usize = 256 << 10;

/// The endpoint, alive as long as this value.
pub struct Endpoint {
    /// Where SQL is answered.
    pub http: SocketAddr,
    /// Where line protocol is taken.
    pub tcp: SocketAddr,
    store: Arc<Mutex<Store>>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Endpoint {
    /// Listens on ports of its own.
    pub fn start() -> Result<Endpoint, Fault> {
        let failed = |error| Fault::us(format!("starting the demo's endpoint: {error}"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(failed)?;
        let listen = || runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
        let (web, lines) = (listen().map_err(failed)?, listen().map_err(failed)?);
        let (http, tcp) = (web.local_addr().map_err(failed)?, lines.local_addr().map_err(failed)?);
        let store = Arc::new(Mutex::new(Store::default()));
        let (stop, mut stopped) = watch::channel(false);
        let shared = Arc::clone(&store);
        let serve = move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = stopped.wait_for(|stop| *stop) => {}
                    () = accept(web, &shared, answer) => {}
                    () = accept(lines, &shared, take) => {}
                }
            });
        };
        let thread = std::thread::Builder::new().name("endpoint".to_owned()).spawn(serve);
        Ok(Endpoint { http, tcp, store, stop, thread: Some(thread.map_err(failed)?) })
    }

    /// What a table holds.
    pub fn held(&self, table: &str) -> Result<Option<Held>, Fault> {
        let store = lock(&self.store);
        if let Some(complaint) = &store.complaint {
            return Err(Fault::us(format!(
                "the endpoint refused what the bridge sent: {complaint}"
            )));
        }
        Ok(store.tables.get(table).map(|table| Held {
            count: table.distinct_total(),
            last: Rows {
                columns: table.columns.iter().map(|(name, _)| name.clone()).collect(),
                rows: table.last.iter().cloned().collect(),
            },
        }))
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so.
            let _ = thread.join();
        }
    }
}

fn lock(store: &Mutex<Store>) -> MutexGuard<'_, Store> {
    store.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Serves every connection of a listener until this is dropped.
async fn accept<F: Future<Output = ()> + Send + 'static>(
    listener: TcpListener,
    store: &Arc<Mutex<Store>>,
    serve: impl Fn(TcpStream, Arc<Mutex<Store>>) -> F,
) {
    let mut connections = JoinSet::new();
    // A listener that fails on loopback has no more to give; the load says that nothing arrives.
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(serve(stream, Arc::clone(store)));
        while connections.try_join_next().is_some() {}
    }
}

/// One HTTP connection.
async fn answer(stream: TcpStream, store: Arc<Mutex<Store>>) {
    let service = service_fn(|request: Request<Incoming>| {
        let (status, body) = respond(request.uri(), &store);
        async move {
            let response = Response::builder()
                .status(status)
                .header("content-type", "application/json")
                .body(Full::new(Bytes::from(body.to_string())));
            Ok::<_, Infallible>(response.expect("a status and a header that are right"))
        }
    });
    // A connection that breaks is the other side's to mind.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

fn respond(uri: &hyper::Uri, store: &Mutex<Store>) -> (u16, Value) {
    let settings = json!({
        "config": { "release.version": "demo", "line.proto.support.versions": [1, 2] }
    });
    match uri.path() {
        "/settings" => (200, settings),
        "/exec" => {
            let query = uri.query().unwrap_or_default();
            let query = query.split('&').find_map(|pair| pair.strip_prefix("query="));
            match sql::answer(&mut lock(store), &percent_decode(query.unwrap_or_default())) {
                Ok(body) => (200, body),
                Err(why) => (400, json!({ "error": why })),
            }
        }
        path => (404, json!({ "error": format!("nothing lives at {path}") })),
    }
}

fn percent_decode(text: &str) -> String {
    let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let decoded = match byte {
            b'+' => Some(b' '),
            b'%' => digit(rest.next())
                .zip(digit(rest.next()))
                .map(|(high, low)| (high * 16 + low) as u8),
            byte => Some(byte),
        };
        bytes.extend(decoded);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// One connection of line protocol.
async fn take(mut stream: TcpStream, store: Arc<Mutex<Store>>) {
    let mut bytes = Vec::with_capacity(2 * READ_BYTES);
    loop {
        bytes.reserve(READ_BYTES);
        match stream.read_buf(&mut bytes).await {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
        match take_lines(&bytes, &mut lock(&store)) {
            Ok(taken) => {
                bytes.drain(..taken);
            }
            Err(complaint) => {
                // As QuestDB does: a bad line closes the connection.
                lock(&store).complaint.get_or_insert(complaint);
                return;
            }
        }
    }
    if !bytes.is_empty() {
        lock(&store).complaint.get_or_insert("a line that does not end".to_owned());
    }
}

/// Takes all whole lines; how many bytes they are.
fn take_lines(bytes: &[u8], store: &mut Store) -> Result<usize, String> {
    let mut taken = 0;
    let mut last = None;
    loop {
        let rest = &bytes[taken..];
        // An empty line is a knock at the door.
        if rest.first() == Some(&b'\n') {
            taken += 1;
            continue;
        }
        match reader::read(rest).map_err(|misread| misread.to_string())? {
            Some((line, length)) => {
                note(&line, store)?;
                last = Some(line);
                taken += length;
            }
            None => break,
        }
    }
    if let Some(line) = last {
        let table = store.tables.get_mut(line.table.as_ref());
        table.into_iter().for_each(|table| table.show(cells(&line, table)));
    }
    Ok(taken)
}

/// Counts a line, if its table is there and has all its columns.
fn note(line: &Line<'_>, store: &mut Store) -> Result<(), String> {
    let name = line.table.as_ref();
    let table = store.tables.get_mut(name).ok_or_else(|| format!("there is no table {name}"))?;
    let names = line.symbols.iter().map(|(name, _)| name);
    let names = names.chain(line.fields.iter().map(|(name, _)| name));
    for column in names {
        if table.column(column).is_none() {
            return Err(format!("table {name} has no column {column}"));
        }
    }
    if line.timestamp.is_none() {
        return Err(format!("a row of {name} without its timestamp"));
    }
    let topic = line.symbols.iter().find(|(name, _)| name == "kafka_topic");
    let number = |wanted: &str| {
        line.fields.iter().find_map(|(name, field)| match field {
            Field::Long(number) if name == wanted => Some(*number),
            _ => None,
        })
    };
    match (topic, number("kafka_partition"), number("kafka_offset")) {
        (Some((_, topic)), Some(partition), Some(offset)) if offset >= 0 => {
            table.note(topic, partition, offset as u64);
            Ok(())
        }
        _ => Err(format!("a row of {name} that does not say where it comes from")),
    }
}

/// The cells of a line in the order of its table's columns.
fn cells(line: &Line<'_>, table: &Table) -> Vec<Value> {
    let mut cells = vec![Value::Null; table.columns.len()];
    let mut put = |name: &str, value: Value| {
        if let Some(cell) = table.column(name).and_then(|index| cells.get_mut(index)) {
            *cell = value;
        }
    };
    for (name, value) in &line.symbols {
        put(name, json!(value));
    }
    for (name, field) in &line.fields {
        let value = match field {
            Field::Long(number) | Field::Timestamp(number, _) => json!(number),
            Field::Double(number) => json!(number),
            Field::Bool(value) => json!(value),
            Field::Text(text) => json!(text),
            Field::Decimal(digits) => json!(digits),
            Field::Array(_, values) => json!(values),
        };
        put(name, value);
    }
    if let Some((ticks, unit)) = line.timestamp {
        let nanos = i128::from(ticks) * i128::from(unit.nanos());
        let instant = jiff::Timestamp::from_nanosecond(nanos);
        put(&table.timestamp, instant.map_or(Value::Null, |at| json!(format!("{at:.6}"))));
    }
    cells
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_or_complained_of() {
        let mut store = Store::default();
        let made = "CREATE TABLE IF NOT EXISTS \"t\" (\"ts\" TIMESTAMP, \"kafka_topic\" SYMBOL, \
                    \"kafka_partition\" INT, \"kafka_offset\" LONG, \"x\" DOUBLE) TIMESTAMP(\"ts\")";
        sql::answer(&mut store, made).expect("a table");
        let line = b"\nt,kafka_topic=a kafka_partition=1i,kafka_offset=7i,x=1.5 17t\nt,kaf";
        assert_eq!(take_lines(line, &mut store), Ok(line.len() - 5));
        let table = &store.tables["t"];
        assert_eq!((table.rows, table.distinct_total()), (1, 1));
        assert_eq!(table.last[0][4], json!(1.5));
        for wrong in [
            "u,kafka_topic=a kafka_partition=1i,kafka_offset=7i 17t\n",
            "t,kafka_topic=a kafka_partition=1i,kafka_offset=7i,y=1i 17t\n",
            "t,kafka_topic=a kafka_partition=1i,kafka_offset=7i\n",
            "t kafka_partition=1i,kafka_offset=7i 17t\n",
            "t kafka_partition\n",
        ] {
            assert!(take_lines(wrong.as_bytes(), &mut store).is_err(), "{wrong}");
        }
    }

    #[test]
    fn queries_are_decoded() {
        assert_eq!(percent_decode("a+b%27%C3%BC%"), "a b'ü");
    }
}
