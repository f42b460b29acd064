//! `world`: real servers as child processes, for tests of promises, for benches, for play.
//!
//! ```text
//!   Kafka  QuestDb  PostgreSql  Registry  Connect  Kerberos
//!        \    |    /   /       /     /       a server each: ports, readiness, faults
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
mod authority;
mod connect;
mod directory;
mod http;
mod kafka;
mod kerberos;
mod port;
mod postgresql;
mod process;
mod proxy;
mod questdb;
mod registry;
mod server;
mod spawn;
mod waiting;

pub use artifacts::{
    GoProgram, connect_jars, debezium_jdbc_jars, debezium_postgres_jars, go_program, java,
};
pub use authority::{Authority, Role};
pub use connect::Connect;
pub use directory::Directory;
pub use kafka::{
    Access, ClusterOptions, Kafka, KafkaCluster, KafkaOptions, Listener, Message, NODES, Record,
    Stand, USER as KAFKA_USER,
};
pub use kerberos::{Kerberos, Tickets};
pub use port::Port;
pub use postgresql::PostgreSql;
pub use process::{Process, cpu_seconds, rss_bytes};
pub use proxy::{Proxy, ProxyCounts};
pub use questdb::{Moment, QuestDb, QuestDbOptions, Rows, quote_sql};
pub use registry::{Registry, Schema};
pub use spawn::Signal;
pub use waiting::{await_ok, await_until};
