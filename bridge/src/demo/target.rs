//! Where the rows go: into a QuestDB that answers on this machine, else into the endpoint.

use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use serde_json::Value;
use tokio::runtime::{Builder, Runtime};

use super::endpoint::Endpoint;
use crate::blame::Fault;
use crate::sink::questdb::{Rows, SqlClient};

/// A QuestDB on this machine answers in a millisecond or two.
const KNOCK_MAX: Duration = Duration::from_secs(1);
/// Ports of a QuestDB that was installed as it comes.
const HTTP_PORT: u16 = 9000;
const TCP_PORT: u16 = 9009;

/// Where rows go.
pub enum Target {
    /// A database on this machine, its version, and a way to ask it.
    QuestDb { version: String, sql: Box<SqlClient>, runtime: Runtime },
    /// What stands in for one.
    Endpoint(Endpoint),
}

/// What a table holds at the end.
pub struct Held {
    /// Rows of this demo.
    pub count: u64,
    /// The last few.
    pub last: Rows,
}

impl Target {
    /// Knocks on this machine's doors.
    pub fn find() -> Result<Target, Fault> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Fault::us(format!("starting a runtime: {error}")))?;
        let sql = SqlClient::at("localhost", HTTP_PORT);
        let knock = async { tokio::time::timeout(KNOCK_MAX, sql.settings()).await };
        let line_protocol = (Ipv4Addr::LOCALHOST, TCP_PORT).into();
        match runtime.block_on(knock) {
            Ok(Ok(settings)) if TcpStream::connect_timeout(&line_protocol, KNOCK_MAX).is_ok() => {
                Ok(Target::QuestDb { version: settings.version, sql: Box::new(sql), runtime })
            }
            _ => Endpoint::start().map(Target::Endpoint),
        }
    }

    /// For people.
    pub fn in_words(&self) -> String {
        match self {
            Target::QuestDb { version, .. } => {
                format!("QuestDB {version} on localhost, over TCP, counted back")
            }
            Target::Endpoint(_) => "an endpoint inside this process (no QuestDB answers on \
                                    localhost:9000), over TCP, every line parsed strictly"
                .to_owned(),
        }
    }

    /// Where SQL is answered.
    pub fn http_address(&self) -> String {
        match self {
            Target::QuestDb { .. } => format!("localhost:{HTTP_PORT}"),
            Target::Endpoint(endpoint) => endpoint.http.to_string(),
        }
    }

    /// Where line protocol is taken.
    pub fn tcp_address(&self) -> String {
        match self {
            Target::QuestDb { .. } => format!("localhost:{TCP_PORT}"),
            Target::Endpoint(endpoint) => endpoint.tcp.to_string(),
        }
    }

    /// What a table holds, of rows not older than `since_us`; `None` if there is no such table.
    pub fn held(&self, table: &str, since_us: i64) -> Result<Option<Held>, Fault> {
        let (sql, runtime) = match self {
            Target::QuestDb { sql, runtime, .. } => (sql, runtime),
            Target::Endpoint(endpoint) => return endpoint.held(table),
        };
        let ask = |statement: String| runtime.block_on(sql.exec(&statement));
        let Ok(count) = ask(format!("SELECT count() FROM \"{table}\" WHERE ts >= {since_us}"))
        else {
            return Ok(None);
        };
        let count = count.rows.first().and_then(|row| row.first()).and_then(Value::as_u64);
        let last = ask(format!("SELECT * FROM \"{table}\" LIMIT -3"));
        let last = last
            .map_err(|error| Fault::world(format!("reading the last rows of {table}: {error}")))?;
        Ok(Some(Held { count: count.unwrap_or(0), last }))
    }
}
