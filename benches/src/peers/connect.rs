//! Kafka Connect in standalone mode: its command, and its configuration with the QuestDB connector.
//!
//! Settings that are not said are defaults of Connect and of the connector; the Java machine gets
//! what Kafka's own start scripts give it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use world::{Directory, Port};

use super::launch::{Job, Launch, Variant};
use crate::harness::{Transport, metrics};

/// The jars that make a connector run.
#[derive(Clone, Debug)]
pub struct Home {
    /// Of Connect itself.
    pub jars: PathBuf,
    /// Of the connector.
    pub connector: PathBuf,
}

/// As `connect-standalone.sh` and `kafka-run-class.sh` start it.
const JAVA: [&str; 9] = [
    "-Xms256M",
    "-Xmx2G",
    "-server",
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35",
    "-XX:+ExplicitGCInvokesConcurrent",
    "-XX:MaxInlineLevel=15",
    "-Djava.awt.headless=true",
];
const MAIN: &str = "org.apache.kafka.connect.cli.ConnectStandalone";

/// Writes the configuration into a folder of its own.
pub fn launch(home: &Home, job: &Job) -> Result<Launch> {
    launch_as(home, &job.name, &job.brokers, false, &connector(job))
}

/// The same for any connector; `schemas` says whether records bring theirs.
pub fn launch_as(
    home: &Home,
    name: &str,
    brokers: &str,
    schemas: bool,
    connector: &str,
) -> Result<Launch> {
    let (folder, rest) = (Directory::create("connect")?, Port::free()?);
    let path = |name: &str| folder.path().join(name);
    // A plugin is a folder of jars inside of a folder on this path.
    let plugins = path("plugins");
    std::fs::create_dir(&plugins).context("making a folder for plugins")?;
    let whole = home.connector.canonicalize().context("looking for the connector's folder")?;
    std::os::unix::fs::symlink(whole, plugins.join("sink")).context("linking the connector")?;
    let worker = worker(brokers, schemas, &plugins, &path("offsets"), &rest.address());
    std::fs::write(path("worker.properties"), &worker).context("writing worker.properties")?;
    std::fs::write(path("connector.properties"), connector).context("writing the connector's")?;
    let mut arguments: Vec<String> = JAVA.map(String::from).to_vec();
    let text = |path: PathBuf| path.to_string_lossy().into_owned();
    arguments.extend(["-cp".to_owned(), text(home.jars.join("*")), MAIN.to_owned()]);
    arguments.extend([text(path("worker.properties")), text(path("connector.properties"))]);
    Ok(Launch {
        program: PathBuf::from(world::java()?.get_program()),
        arguments,
        group: format!("connect-{name}"),
        config: format!("{worker}{connector}"),
        tasks: Some((rest.address(), name.to_owned())),
        _kept: Box::new((folder, rest)),
    })
}

/// Whether a task has failed, which Connect leaves to people to restart.
pub fn has_failed(address: &str, connector: &str) -> Result<bool> {
    let (status, body) = metrics::get(address, &format!("/connectors/{connector}/status"))?;
    ensure!(status == 200, "Connect's status is {status}");
    Ok(body.contains("\"FAILED\""))
}

fn worker(brokers: &str, schemas: bool, plugins: &Path, offsets: &Path, listen: &str) -> String {
    format!(
        "bootstrap.servers={brokers}
key.converter=org.apache.kafka.connect.storage.StringConverter
value.converter=org.apache.kafka.connect.json.JsonConverter
value.converter.schemas.enable={schemas}
offset.storage.file.filename={}
plugin.path={}
listeners=http://{listen}
",
        offsets.display(),
        plugins.display(),
    )
}

fn connector(job: &Job) -> String {
    let address = match job.transport {
        Transport::Http | Transport::Pg => format!("http::addr={};", job.http),
        Transport::Tcp => format!("tcp::addr={};", job.tcp),
    };
    let retry = match job.variant {
        Variant::PatientRetries => "retry_timeout=60000;",
        _ => "",
    };
    let letters = match job.variant {
        Variant::DeadLetters => format!(
            "errors.tolerance=all
errors.deadletterqueue.topic.name={}
errors.deadletterqueue.topic.replication.factor=1
errors.deadletterqueue.context.headers.enable=true
",
            job.dead_letters()
        ),
        _ => String::new(),
    };
    format!(
        "name={}
connector.class=io.questdb.kafka.QuestDBSinkConnector
tasks.max=1
topics={}
client.conf.string={address}{retry}
table={}
include.key=false
symbols=sensor,site
doubles=temperature,humidity,pressure
timestamp.field.name=ts
timestamp.units=micros
{letters}",
        job.name, job.topic, job.table,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worker_reads_plain_json() {
        let text = worker("broker:1", false, Path::new("/p"), Path::new("/o"), "127.0.0.1:7");
        let wanted = "bootstrap.servers=broker:1
key.converter=org.apache.kafka.connect.storage.StringConverter
value.converter=org.apache.kafka.connect.json.JsonConverter
value.converter.schemas.enable=false
offset.storage.file.filename=/o
plugin.path=/p
listeners=http://127.0.0.1:7
";
        assert_eq!(text, wanted);
    }

    #[test]
    fn the_connector_is_at_its_defaults_where_nothing_is_asked() {
        let wanted = "name=run-1
connector.class=io.questdb.kafka.QuestDBSinkConnector
tasks.max=1
topics=topic
client.conf.string=http::addr=db:2;
table=sensors
include.key=false
symbols=sensor,site
doubles=temperature,humidity,pressure
timestamp.field.name=ts
timestamp.units=micros
";
        assert_eq!(connector(&Job::example()), wanted);
        let of = |transport, variant| connector(&Job { transport, variant, ..Job::example() });
        let tcp = of(Transport::Tcp, Variant::Defaults);
        assert!(tcp.contains("client.conf.string=tcp::addr=db:3;\n"), "{tcp}");
        let patient = of(Transport::Http, Variant::PatientRetries);
        assert!(patient.contains("http::addr=db:2;retry_timeout=60000;\n"), "{patient}");
        let letters = of(Transport::Http, Variant::DeadLetters);
        assert!(letters.starts_with(wanted), "{letters}");
        assert!(letters.contains("errors.deadletterqueue.topic.name=topic.dead-letters\n"));
    }
}
