//! Kafka Connect in standalone mode, with one connector, as a child process.

use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::artifacts::{SHORT_LIVED, connect_jars, java, own_temporary};
use crate::directory::Directory;
use crate::http;
use crate::port::Port;
use crate::server::{Server, start_on_fresh_ports};

/// A running Connect, killed and removed on drop. It remembers how far its connector is while it
/// is killed and started again.
pub struct Connect {
    server: Server,
    _rest: Port,
    _home: Directory,
}

impl Connect {
    /// Starts a worker and waits until the connector and its task run. `plugin` is a folder of
    /// jars; `worker` and `connector` are lines of properties, of which `name` is written here.
    pub fn start(brokers: &str, plugin: &Path, worker: &str, connector: &str) -> Result<Self> {
        start_on_fresh_ports(|| Self::start_once(brokers, plugin, worker, connector))
    }

    fn start_once(brokers: &str, plugin: &Path, worker: &str, connector: &str) -> Result<Self> {
        let (home, rest, jars) = (Directory::create("connect")?, Port::free()?, connect_jars()?);
        let path = |name: &str| home.path().join(name);
        // A plugin is a folder of jars inside of a folder on this path.
        std::fs::create_dir(path("plugins")).context("making a folder for plugins")?;
        let plugin = plugin.canonicalize().context("looking for the connector's folder")?;
        std::os::unix::fs::symlink(plugin, path("plugins").join("connector"))?;
        let text = format!(
            "bootstrap.servers={brokers}\noffset.storage.file.filename={}\noffset.flush.interval.ms=500\n\
             plugin.path={}\nlisteners=http://{}\n{worker}\n",
            path("offsets").display(),
            path("plugins").display(),
            rest.address(),
        );
        let files = [path("worker.properties"), path("connector.properties")];
        std::fs::write(&files[0], text).context("writing the worker's properties")?;
        let text = format!("name=connector\n{connector}\n");
        std::fs::write(&files[1], text).context("writing the connector's properties")?;
        let (log, folder, address) = (path("connect.log"), home.path().to_owned(), rest.address());
        let server = Server::new(
            "Kafka Connect",
            log,
            move || {
                let mut command = java()?;
                command.arg("-Xmx512m").args(SHORT_LIVED);
                command.arg(own_temporary(&folder)?);
                command.arg("-cp").arg(jars.join("*"));
                command.arg("org.apache.kafka.connect.cli.ConnectStandalone").args(&files);
                Ok(command)
            },
            move || runs(&address),
        );
        server.start()?;
        Ok(Self { server, _rest: rest, _home: home })
    }

    /// SIGKILL.
    pub fn kill(&self) -> Result<()> {
        self.server.kill()
    }

    /// Kills it if it runs, and starts it again where it was.
    pub fn restart(&self) -> Result<()> {
        self.server.restart()
    }

    /// The end of its log.
    pub fn log_tail(&self) -> String {
        self.server.log_tail()
    }
}

/// Whether the connector and its task run.
fn runs(address: &str) -> Result<()> {
    let (status, body) = http::get(address, "/connectors/connector/status")?;
    let body = String::from_utf8_lossy(&body);
    ensure!(status == 200, "Connect answers {status}: {body}");
    let running = body.matches("\"state\":\"RUNNING\"").count();
    ensure!(running == 2, "not yet: {body}");
    Ok(())
}
