//! Three KRaft nodes, each broker and controller in one: what is acknowledged is on two of them at
//! least, so that one may be away.

use std::ops::Deref;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};

use super::{Access, FIXED_PROPERTIES, client, command, copy_files, push_properties};
use crate::artifacts;
use crate::directory::Directory;
use crate::port::Port;
use crate::server::{Server, start_on_fresh_ports};
use crate::waiting::await_ok;

/// The numbers of the nodes.
pub const NODES: [usize; 3] = [1, 2, 3];
/// Nodes that answer may not know of one another yet.
const TOGETHER: Duration = Duration::from_secs(60);

/// What may differ from the usual cluster.
#[derive(Clone, Debug)]
pub struct ClusterOptions {
    /// Lines of every node's `server.properties`; they come last, so they win over ours.
    pub properties: Vec<(String, String)>,
    /// The Java heap of each node, as `-Xmx` wants it.
    pub heap: String,
}

impl Default for ClusterOptions {
    fn default() -> Self {
        Self { properties: Vec::new(), heap: "384m".into() }
    }
}

/// A running cluster, killed and removed on drop. Topics have three replicas.
pub struct KafkaCluster {
    nodes: Vec<Server>,
    access: Access,
    _ports: Vec<Ports>,
    _home: Directory,
}

struct Ports {
    plain: Port,
    controller: Port,
}

impl Deref for KafkaCluster {
    type Target = Access;

    fn deref(&self) -> &Access {
        &self.access
    }
}

impl KafkaCluster {
    /// Starts an empty cluster and waits until all nodes know one another.
    pub fn start() -> Result<Self> {
        Self::start_with(&ClusterOptions::default())
    }

    /// The same, with options.
    pub fn start_with(options: &ClusterOptions) -> Result<Self> {
        start_on_fresh_ports(|| Self::start_once(options))
    }

    fn start_once(options: &ClusterOptions) -> Result<Self> {
        let home = Directory::create("cluster")?;
        let pair = |_| Ok(Ports { plain: Port::free()?, controller: Port::free()? });
        let ports = NODES.into_iter().map(pair).collect::<Result<Vec<Ports>>>()?;
        let nodes = NODES.into_iter().map(|number| node(number, &ports, home.path(), options));
        let nodes = nodes.collect::<Result<Vec<Server>>>()?;
        // None of them answers before two are there.
        std::thread::scope(|scope| {
            let starts: Vec<_> =
                nodes.iter().map(|node| scope.spawn(move || node.start())).collect();
            let ends = starts.into_iter().map(|start| start.join());
            let ends: Vec<_> =
                ends.map(|end| end.map_err(|_| anyhow!("a start panicked"))).collect();
            ends.into_iter().try_for_each(|end| end?)
        })?;
        let brokers: Vec<String> = ports.iter().map(|ports| ports.plain.address()).collect();
        let access = Access::new(brokers.join(","), 3);
        await_ok(TOGETHER, "all nodes", || {
            let known = access.brokers_count()?;
            ensure!(known == NODES.len(), "{known} are known");
            Ok(())
        })?;
        Ok(Self { nodes, access, _ports: ports, _home: home })
    }

    /// SIGKILL to a node: sockets break, another one leads in its place.
    pub fn kill(&self, node: usize) -> Result<()> {
        self.node(node)?.kill()
    }

    /// SIGTERM to a node, and waits for the end: it hands its partitions over before.
    pub fn stop(&self, node: usize) -> Result<()> {
        self.node(node)?.stop()
    }

    /// Kills a node if it runs, and starts it on the same ports and data.
    pub fn restart(&self, node: usize) -> Result<()> {
        self.node(node)?.restart()
    }

    /// Whether a node was started and not stopped since.
    pub fn runs(&self, node: usize) -> bool {
        self.node(node).is_ok_and(|node| node.process_id().is_ok())
    }

    /// The end of a node's log.
    pub fn log_tail(&self, node: usize) -> Result<String> {
        Ok(self.node(node)?.log_tail())
    }

    fn node(&self, number: usize) -> Result<&Server> {
        let node = number.checked_sub(1).and_then(|index| self.nodes.get(index));
        node.with_context(|| format!("there is no node {number}"))
    }
}

/// A node that does not run yet.
fn node(number: usize, ports: &[Ports], home: &Path, options: &ClusterOptions) -> Result<Server> {
    let jars = artifacts::kafka_jars()?;
    let own = home.join(format!("node-{number}"));
    std::fs::create_dir(&own)?;
    let log_folder = own.join("data");
    copy_files(&artifacts::kafka_formatted()?, &log_folder)?;
    let meta = log_folder.join("meta.properties");
    let text = std::fs::read_to_string(&meta).context("reading what was formatted")?;
    std::fs::write(&meta, meta_text(&text, number))?;
    let properties = own.join("server.properties");
    std::fs::write(&properties, properties_text(number, ports, &log_folder, options))?;
    let (heap, address) = (options.heap.clone(), ports[number - 1].plain.address());
    Ok(Server::new(
        "a node of Kafka",
        own.join("server.log"),
        move || command(&jars, &properties, &heap, false),
        move || client::answers(&address),
    ))
}

/// What was formatted for the first node, as of another one: each folder has an id of its own.
fn meta_text(text: &str, number: usize) -> String {
    let line = |line: &str| match line.split_once('=') {
        Some(("node.id", _)) => format!("node.id={number}\n"),
        Some(("directory.id", id)) => {
            let first = ["A", "B", "C"][number - 1];
            format!("directory.id={first}{}\n", id.get(1..).unwrap_or_default())
        }
        _ => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

fn properties_text(
    number: usize,
    ports: &[Ports],
    log_folder: &Path,
    options: &ClusterOptions,
) -> String {
    let voter =
        |(number, ports): (usize, &Ports)| format!("{number}@{}", ports.controller.address());
    let voters: Vec<String> = NODES.into_iter().zip(ports).map(voter).collect();
    let own = &ports[number - 1];
    let (plain, controller) = (own.plain.address(), own.controller.address());
    let mut text = format!(
        "process.roles=broker,controller\n\
         node.id={number}\n\
         controller.quorum.voters={}\n\
         controller.listener.names=CONTROLLER\n\
         listeners=PLAINTEXT://{plain},CONTROLLER://{controller}\n\
         advertised.listeners=PLAINTEXT://{plain}\n\
         listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT\n\
         inter.broker.listener.name=PLAINTEXT\n\
         log.dirs={}\n",
        voters.join(","),
        log_folder.display(),
    );
    text.push_str(SHARED_PROPERTIES);
    text.push_str(FIXED_PROPERTIES);
    push_properties(&mut text, &options.properties);
    text
}

/// Any one of three may be away. A leader that comes back leads again within seconds, not minutes,
/// so that leaders move with all nodes alive, too.
const SHARED_PROPERTIES: &str = "\
default.replication.factor=3
min.insync.replicas=2
offsets.topic.replication.factor=3
transaction.state.log.replication.factor=3
transaction.state.log.min.isr=2
share.coordinator.state.topic.replication.factor=3
share.coordinator.state.topic.min.isr=2
unclean.leader.election.enable=false
leader.imbalance.check.interval.seconds=5
leader.imbalance.per.broker.percentage=0
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_folder_is_of_its_node() {
        let text = meta_text("#\nnode.id=1\ndirectory.id=MwBx\nversion=1\n", 2);
        assert_eq!(text, "#\nnode.id=2\ndirectory.id=BwBx\nversion=1\n");
    }
}
