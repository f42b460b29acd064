//! Promise: records in Avro are stored while their schema changes, and a registry that is away
//! makes them wait: none is rejected, and every row is right.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::{Band, PARTITIONS, Reading, Setup, promise, rows_are_exact, written};
use world::{Port, Record};

const ENDS: Duration = Duration::from_secs(30);
const DRAIN: Duration = Duration::from_secs(90);
const VISIBLE: Duration = Duration::from_secs(30);

const MORE: &str = r#",{"name":"unit","type":["null","string"]},
    {"name":"place","type":{"type":"record","name":"Place","fields":[{"name":"floor","type":"int"}]}}"#;

fn schema(more: &str) -> String {
    let fields = written::AVRO_FIELDS;
    format!(r#"{{"type":"record","name":"Reading","fields":[{fields}{more}]}}"#)
}

/// A registry of schemas by their ids.
struct Registry {
    address: SocketAddr,
    asked: Arc<Mutex<HashMap<String, u32>>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Registry {
    fn start(address: SocketAddr, schemas: HashMap<u32, String>) -> Result<Registry> {
        let listener = TcpListener::bind(address)?;
        let asked = Arc::<Mutex<HashMap<String, u32>>>::default();
        let over = Arc::<AtomicBool>::default();
        let (theirs, ends) = (Arc::clone(&asked), Arc::clone(&over));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if ends.load(Ordering::Acquire) {
                    return;
                }
                // Whoever hangs up half-way is not the test's matter.
                let _ = serve(&stream, &schemas, &theirs);
            }
        });
        Ok(Registry { address, asked, over, thread: Some(thread) })
    }

    fn asked(&self) -> HashMap<String, u32> {
        self.asked.lock().expect("whole").clone()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(
    mut stream: &TcpStream,
    schemas: &HashMap<u32, String>,
    asked: &Mutex<HashMap<String, u32>>,
) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let id = path.strip_prefix("/schemas/ids/").and_then(|id| id.parse().ok());
    *asked.lock().expect("whole").entry(path).or_default() += 1;
    let (status, body) = match id.and_then(|id: u32| schemas.get(&id)) {
        Some(schema) => (200, serde_json::json!({ "schema": schema }).to_string()),
        None => (404, r#"{"error_code":40403,"message":"Schema not found"}"#.to_owned()),
    };
    let length = body.len();
    write!(stream, "HTTP/1.1 {status} x\r\ncontent-length: {length}\r\n\r\n{body}")
}

/// A reading framed with the id of its schema: 1, or 2 with more fields.
fn framed(reading: Reading, id: u32) -> Result<Record> {
    Ok(written::framed(reading, id, &written::avro(reading, id == 2)?))
}

#[test]
fn a_schema_that_changes_adds_columns_and_a_registry_that_is_away_costs_nothing() {
    promise("a schema changes while records move, its registry away for a while", |bench| {
        let port = Port::free()?;
        let mut setup = Setup::readings(bench, "avro", PARTITIONS)?;
        let url = format!("http://{}", port.address());
        setup.pipeline.push(format!("value = {{ format = \"avro\", registry.url = \"{url}\" }}"));
        let installed = setup.install()?;
        let table = installed.setup.table.clone();
        let send = |numbers: std::ops::Range<u64>, id: u32| -> Result<()> {
            let records =
                numbers.map(|seq| framed(Reading(seq), id)).collect::<Result<Vec<_>>>()?;
            bench.kafka.produce(&installed.setup.topic, records).map(drop)
        };

        // Nobody is there to ask: records wait, and it is told.
        send(0..5_000, 1)?;
        let bridge = installed.start()?;
        bridge.process().wait_for_line("is not answering (connection refused)", ENDS)?;
        let address = port.address().parse()?;
        let registry =
            Registry::start(address, HashMap::from([(1, schema("")), (2, schema(MORE))]))?;
        rows_are_exact(&bench.questdb, &table, 5_000, Band::ALL, DRAIN)?;

        // The new schema, and records of the old one behind it.
        send(5_000..10_000, 2)?;
        send(10_000..12_000, 1)?;
        installed.group(bench)?.wait_drained(&bridge, DRAIN)?;
        rows_are_exact(&bench.questdb, &table, 12_000, Band::ALL, VISIBLE)?;
        let count = |what: &str| {
            bench.questdb.scalar_i64(&format!("select count() from {table} where {what}"))
        };
        ensure!(count("unit = '°C'")? == 2_500, "units are not as they were sent");
        ensure!(count("unit is null")? == 9_500, "there are units that nobody sent");
        ensure!(count("place_floor = seq % 7 - 3")? == 5_000, "floors are not as they were sent");
        ensure!(count("place_floor is null")? == 7_000, "there are floors that nobody sent");
        let asked = registry.asked();
        let once = HashMap::from([1, 2].map(|id| (format!("/schemas/ids/{id}"), 1)));
        ensure!(asked == once, "the registry was asked for {asked:?}");

        // It goes again: what is known goes on, and what is not known waits until it is over.
        drop(registry);
        send(12_000..13_000, 2)?;
        rows_are_exact(&bench.questdb, &table, 13_000, Band::ALL, DRAIN)?;
        let rejected = bridge.metrics()?.sum("bridge_records_rejected_total")?;
        ensure!(rejected.abs() < 0.5, "{rejected} records are rejected");
        bridge.stop_well(ENDS)
    });
}
