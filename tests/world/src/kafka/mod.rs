//! Apache Kafka 4.3.1 as a child process: one KRaft node, broker and controller in one; or three of
//! them as a cluster.
//!
//! With [`KafkaOptions::proxied`] a second listener is announced through a [`Proxy`], so that a
//! client which starts at [`Kafka::proxied_brokers`] stays behind the proxy; with
//! [`KafkaOptions::secured`] there is a [`Listener`] of each kind; with [`KafkaOptions::tickets`]
//! there is one for who has a ticket of Kerberos.

mod client;
mod cluster;
mod secured;
mod ticketed;

use std::fmt::Write;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

pub use client::{Access, Message, Record, Stand};
pub use cluster::{ClusterOptions, KafkaCluster, NODES};
use secured::Secured;
pub use secured::{Listener, USER};
use ticketed::Ticketed;

use crate::artifacts;
use crate::authority::Authority;
use crate::directory::Directory;
use crate::kerberos::Tickets;
use crate::port::Port;
use crate::proxy::Proxy;
use crate::server::{Server, start_on_fresh_ports};

/// What may differ from the usual broker.
#[derive(Clone, Debug)]
pub struct KafkaOptions {
    /// Lines of `server.properties`; they come last, so they win over ours.
    pub properties: Vec<(String, String)>,
    /// The Java heap, as `-Xmx` wants it.
    pub heap: String,
    /// Whether there is a listener behind a proxy too.
    pub proxied: bool,
    /// Whether there are listeners of every kind of security too.
    pub secured: bool,
    /// By which a listener takes tickets of Kerberos, if there is to be one.
    pub tickets: Option<Tickets>,
    /// Whether it is compiled as well as Java can, for who measures it, or soon.
    pub lasting: bool,
}

impl Default for KafkaOptions {
    fn default() -> Self {
        Self {
            properties: Vec::new(),
            heap: "512m".into(),
            proxied: false,
            secured: false,
            tickets: None,
            lasting: false,
        }
    }
}

impl KafkaOptions {
    /// Of one that is measured, or played with.
    pub fn lasting() -> Self {
        Self { lasting: true, ..Self::default() }
    }
}

/// A running Kafka, killed and removed on drop.
pub struct Kafka {
    server: Server,
    access: Access,
    _ports: Ports,
    proxy: Option<Proxy>,
    secured: Option<Secured>,
    ticketed: Option<Ticketed>,
    _home: Directory,
}

impl Deref for Kafka {
    type Target = Access;

    fn deref(&self) -> &Access {
        &self.access
    }
}

struct Ports {
    plain: Port,
    controller: Port,
    proxied: Port,
}

impl Kafka {
    /// Starts an empty broker and waits until it answers metadata requests.
    pub fn start() -> Result<Self> {
        Self::start_with(KafkaOptions::default())
    }

    /// The same, with options.
    pub fn start_with(options: KafkaOptions) -> Result<Self> {
        start_on_fresh_ports(|| Self::start_once(&options))
    }

    fn start_once(options: &KafkaOptions) -> Result<Self> {
        let jars = artifacts::kafka_jars()?;
        let formatted = match options.secured {
            true => artifacts::kafka_formatted_with(USER.0)?,
            false => artifacts::kafka_formatted()?,
        };
        let home = Directory::create("kafka")?;
        let log_folder = home.path().join("data");
        copy_files(&formatted, &log_folder)?;
        let ports =
            Ports { plain: Port::free()?, controller: Port::free()?, proxied: Port::free()? };
        let proxy = match options.proxied {
            true => Some(Proxy::start(&ports.proxied.address())?),
            false => None,
        };
        let secured = match options.secured {
            true => Some(Secured::create(home.path())?),
            false => None,
        };
        let ticketed = options.tickets.as_ref().map(Ticketed::create).transpose()?;
        let properties = home.path().join("server.properties");
        let front = Front {
            ports: &ports,
            proxy: proxy.as_ref(),
            secured: secured.as_ref(),
            ticketed: ticketed.as_ref(),
        };
        let text = properties_text(front, &log_folder, options)?;
        std::fs::write(&properties, text)?;
        let (options, brokers) = (options.clone(), ports.plain.address());
        let java = ticketed.as_ref().map(Ticketed::java_option);
        let server = Server::new(
            "Kafka",
            home.path().join("server.log"),
            move || {
                let mut command = command(&jars, &properties, &options.heap, options.lasting)?;
                // Java reads its options out of the environment too.
                if let Some(option) = &java {
                    command.env("JAVA_TOOL_OPTIONS", option);
                }
                Ok(command)
            },
            move || client::answers(&brokers),
        );
        server.start()?;
        let access = Access::new(ports.plain.address(), 1);
        Ok(Self { server, access, _ports: ports, proxy, secured, ticketed, _home: home })
    }

    /// Runs one of the tools that come with the server, such as
    /// `org.apache.kafka.tools.AclCommand`; what it printed.
    pub fn tool(&self, class: &str, arguments: &[&str]) -> Result<String> {
        let mut command = artifacts::java_for(false)?;
        command.arg("-Xmx128m").arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=error");
        command.arg("-cp").arg(artifacts::kafka_jars()?.join("*")).arg(class);
        command.args(["--bootstrap-server", &self.brokers()]).args(arguments);
        artifacts::output(command, &format!("running {class} {arguments:?}"))
    }

    /// For `bootstrap.servers` of a client that shall stay behind the proxy.
    pub fn proxied_brokers(&self) -> Result<String> {
        Ok(self.proxy()?.address())
    }

    /// The proxy, of a broker started with [`KafkaOptions::proxied`].
    pub fn proxy(&self) -> Result<&Proxy> {
        self.proxy.as_ref().context("this Kafka was started without `proxied`")
    }

    /// For `bootstrap.servers` of a client that comes in there, of a broker started with
    /// [`KafkaOptions::secured`].
    pub fn secured_brokers(&self, listener: Listener) -> Result<String> {
        Ok(self.secured()?.address(listener))
    }

    /// The same where tickets are taken, of a broker started with [`KafkaOptions::tickets`].
    pub fn ticketed_brokers(&self) -> Result<String> {
        let ticketed = self.ticketed.as_ref();
        Ok(ticketed.context("this Kafka was started without `tickets`")?.address())
    }

    /// Who signed the certificates of such a broker, and whom it trusts.
    pub fn authority(&self) -> Result<&Authority> {
        Ok(self.secured()?.authority())
    }

    fn secured(&self) -> Result<&Secured> {
        self.secured.as_ref().context("this Kafka was started without `secured`")
    }

    /// SIGKILL: sockets break, what was acknowledged must survive.
    pub fn kill(&self) -> Result<()> {
        self.server.kill()
    }

    /// SIGTERM, and waits for the end.
    pub fn stop(&self) -> Result<()> {
        self.server.stop()
    }

    /// Kills it if it runs, and starts it on the same ports and data.
    pub fn restart(&self) -> Result<()> {
        self.server.restart()
    }

    /// SIGSTOP: sockets stay open, nothing is answered.
    pub fn pause(&self) -> Result<()> {
        self.server.pause()
    }

    /// SIGCONT.
    pub fn resume(&self) -> Result<()> {
        self.server.resume()
    }

    /// The server's process id; it changes at a restart.
    pub fn process_id(&self) -> Result<u32> {
        self.server.process_id()
    }

    /// The end of the server's log.
    pub fn log_tail(&self) -> String {
        self.server.log_tail()
    }
}

/// A node, by its `server.properties`.
fn command(jars: &Path, properties: &Path, heap: &str, lasting: bool) -> Result<Command> {
    let mut command = artifacts::java_for(lasting)?;
    command.arg(format!("-Xmx{heap}")).arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn");
    command.arg(artifacts::own_temporary(properties.parent().context("a file lies in a folder")?)?);
    command.arg("-cp").arg(jars.join("*")).arg("kafka.Kafka").arg(properties);
    Ok(command)
}

/// Where clients come in.
#[derive(Clone, Copy)]
struct Front<'a> {
    ports: &'a Ports,
    proxy: Option<&'a Proxy>,
    secured: Option<&'a Secured>,
    ticketed: Option<&'a Ticketed>,
}

fn properties_text(
    Front { ports, proxy, secured, ticketed }: Front<'_>,
    log_folder: &Path,
    options: &KafkaOptions,
) -> Result<String> {
    let (plain, controller) = (ports.plain.address(), ports.controller.address());
    let mut listeners = format!("PLAINTEXT://{plain}");
    let mut announced = listeners.clone();
    if let Some(proxy) = proxy {
        listeners.push_str(&format!(",PROXIED://{}", ports.proxied.address()));
        announced.push_str(&format!(",PROXIED://{}", proxy.address()));
    }
    let mut protocols = "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT".to_owned();
    if let Some(secured) = secured {
        listeners.push_str(&secured.listeners());
        announced.push_str(&secured.listeners());
        protocols.push_str(&Secured::protocols());
    }
    if let Some(ticketed) = ticketed {
        listeners.push_str(&ticketed.listener());
        announced.push_str(&ticketed.listener());
        protocols.push_str(Ticketed::protocol());
    }
    let mut text = format!(
        "process.roles=broker,controller\n\
         node.id=1\n\
         controller.quorum.voters=1@{controller}\n\
         controller.listener.names=CONTROLLER\n\
         listeners={listeners},CONTROLLER://{controller}\n\
         advertised.listeners={announced}\n\
         listener.security.protocol.map={protocols}\n\
         inter.broker.listener.name=PLAINTEXT\n\
         log.dirs={}\n",
        log_folder.display(),
    );
    text.push_str(LONELY_PROPERTIES);
    text.push_str(FIXED_PROPERTIES);
    text.push_str(&secured.map(Secured::properties).transpose()?.unwrap_or_default());
    text.push_str(&ticketed.map(Ticketed::properties).unwrap_or_default());
    push_properties(&mut text, &options.properties);
    Ok(text)
}

/// Java's properties: the last one of a name wins.
fn push_properties(text: &mut String, properties: &[(String, String)]) {
    for (key, value) in properties {
        let _ = writeln!(text, "{key}={value}");
    }
}

/// One node holds every replica.
const LONELY_PROPERTIES: &str = "\
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
";

/// Few internal partitions start fast; a group's first member need not wait for others; a record
/// may be larger than any default in the bridge. A killed broker may register again when its
/// session has ended, so restarts take as long: 3 s instead of 9 s.
const FIXED_PROPERTIES: &str = "\
offsets.topic.num.partitions=4
transaction.state.log.num.partitions=4
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
auto.create.topics.enable=false
message.max.bytes=67108864
replica.fetch.max.bytes=67108864
socket.request.max.bytes=134217728
";

fn copy_files(from: &Path, to: &PathBuf) -> Result<()> {
    std::fs::create_dir(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        std::fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}
