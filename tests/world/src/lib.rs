//! `world`: real servers as child processes, for tests of promises, for benches, for play.
//!
//! ```text
//!   Kafka  QuestDb  PostgreSql      a server each: ports, a data folder, readiness, faults
//!        \    |    /
//!          server ── spawn          start, SIGKILL, SIGSTOP; children die with this process
//!            |
//!   artifacts · directory · port    jars from Maven, temporary folders, ports nobody else takes
//!
//!   Proxy    breaks sockets between a client and any of them
//!   Process  runs the bridge itself and reads what it says
//! ```
//!
//! Every server takes `&self` for its faults, so that one thread may break what another one uses.
//! Everything is killed and removed on drop, and nothing sleeps blindly: see [`await_until`].

mod artifacts;
mod directory;
mod http;
mod kafka;
mod port;
mod postgresql;
mod process;
mod proxy;
mod questdb;
mod server;
mod spawn;
mod waiting;

pub use artifacts::{GoProgram, connect_jars, debezium_jdbc_jars, go_program, java};
pub use directory::Directory;
pub use kafka::{Kafka, KafkaOptions, Message, Record};
pub use port::Port;
pub use postgresql::PostgreSql;
pub use process::{Process, cpu_seconds, rss_bytes};
pub use proxy::{Proxy, ProxyCounts};
pub use questdb::{QuestDb, QuestDbOptions, Rows, quote_sql};
pub use spawn::Signal;
pub use waiting::{await_ok, await_until};
