//! PostgreSQL from the system's packages, as a child process with a fresh cluster.
//!
//! It refuses to run as root, so for root it runs as the user `postgres`.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::directory::Directory;
use crate::port::Port;
use crate::server::{Server, start_on_fresh_ports};
use crate::waiting::await_ok;

/// Where Debian puts the versions.
const VERSIONS: &str = "/usr/lib/postgresql";
/// A helper that is at work when its server is killed notices a little later.
const HELPERS: Duration = Duration::from_secs(10);

/// A running PostgreSQL, killed and removed on drop. Everyone on 127.0.0.1 is trusted.
pub struct PostgreSql {
    server: Server,
    port: Port,
    psql: PathBuf,
    _home: Directory,
}

impl PostgreSql {
    /// Makes a cluster, starts it and waits until it accepts connections.
    pub fn start() -> Result<Self> {
        PostgreSql::start_with(&[])
    }

    /// The same with settings of the server, such as `wal_level=logical`.
    pub fn start_with(settings: &'static [&'static str]) -> Result<Self> {
        start_on_fresh_ports(|| Self::start_once(settings))
    }

    fn start_once(settings: &'static [&'static str]) -> Result<Self> {
        let programs = programs()?;
        let user = user()?;
        let home = Directory::create("postgresql")?;
        let cluster = home.path().join("cluster");
        std::fs::create_dir(&cluster)?;
        if let Some((uid, gid)) = user {
            std::os::unix::fs::chown(&cluster, Some(uid), Some(gid))?;
        }
        initialise(&programs, &cluster, user)?;
        let port = Port::free()?;
        let (number, address) = (port.number().to_string(), port.number());
        let (postgres, ready) = (programs.join("postgres"), programs.join("pg_isready"));
        let server = Server::new(
            "PostgreSQL",
            home.path().join("server.log"),
            move || {
                let mut command = as_user(&postgres, user);
                command.arg("-D").arg(&cluster).args(["-p", &number, "-h", "127.0.0.1"]);
                command.args(["-c", "unix_socket_directories="]);
                settings.iter().for_each(|setting| {
                    command.args(["-c", setting]);
                });
                Ok(command)
            },
            move || is_ready(&ready, address),
        );
        server.start()?;
        Ok(Self { server, port, psql: programs.join("psql"), _home: home })
    }

    /// Host and port.
    pub fn address(&self) -> String {
        self.port.address()
    }

    /// How clients connect to it.
    pub fn connection_string(&self) -> String {
        format!("postgresql://postgres@{}/postgres", self.port.address())
    }

    /// Runs statements; the rows of the last one, columns between bars.
    pub fn sql(&self, statements: &str) -> Result<Vec<String>> {
        let mut psql = Command::new(&self.psql);
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", statements]);
        let output = psql.arg(self.connection_string()).output().context("starting psql")?;
        if !output.status.success() {
            bail!("{statements}: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        let text = String::from_utf8(output.stdout).context("reading psql's words")?;
        Ok(text.lines().map(str::to_owned).collect())
    }

    /// SIGKILL to the server; its helpers notice and end.
    pub fn kill(&self) -> Result<()> {
        self.server.kill()
    }

    /// SIGTERM, and waits for the end.
    pub fn stop(&self) -> Result<()> {
        self.server.stop()
    }

    /// Kills it if it runs, and starts it on the same port and data: as soon as the helpers of the
    /// killed one have let go of them.
    pub fn restart(&self) -> Result<()> {
        await_ok(HELPERS, "the helpers of a killed server to end", || self.server.restart())
    }

    /// The end of the server's log.
    pub fn log_tail(&self) -> String {
        self.server.log_tail()
    }
}

/// The newest installed version's programs.
fn programs() -> Result<PathBuf> {
    let versions = std::fs::read_dir(VERSIONS).into_iter().flatten().flatten();
    let numbered = versions.filter_map(|entry| {
        let number: u32 = entry.file_name().to_str()?.parse().ok()?;
        let programs = entry.path().join("bin");
        programs.join("postgres").is_file().then_some((number, programs))
    });
    let newest = numbered.max_by_key(|(number, _)| *number);
    let missing = "PostgreSQL is not installed; on Debian: apt-get install -y postgresql";
    Ok(newest.context(missing)?.1)
}

/// User and group to run as: those of `postgres` for root, otherwise our own.
fn user() -> Result<Option<(u32, u32)>> {
    // SAFETY: geteuid(2) takes nothing and cannot fail.
    if unsafe { libc::geteuid() } != 0 {
        return Ok(None);
    }
    let users = std::fs::read_to_string("/etc/passwd").context("reading /etc/passwd")?;
    let postgres = users.lines().find_map(|line| {
        let mut fields = line.strip_prefix("postgres:")?.split(':').skip(1);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    });
    Ok(Some(postgres.context("looking for the user postgres: there is none")?))
}

/// Credentials change before the parent-death signal is asked for, which they would clear.
fn as_user(program: &Path, user: Option<(u32, u32)>) -> Command {
    let mut command = Command::new(program);
    if let Some((uid, gid)) = user {
        command.uid(uid).gid(gid);
    }
    command.current_dir("/");
    command
}

fn initialise(programs: &Path, cluster: &Path, user: Option<(u32, u32)>) -> Result<()> {
    let mut initdb = as_user(&programs.join("initdb"), user);
    initdb.arg("-D").arg(cluster);
    initdb.args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]);
    let output = initdb.output().context("starting initdb")?;
    if !output.status.success() {
        bail!("making a cluster: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

fn is_ready(pg_isready: &Path, port: u16) -> Result<()> {
    let mut command = Command::new(pg_isready);
    command.args(["-q", "-h", "127.0.0.1", "-p", &port.to_string()]);
    let status = command.status().context("starting pg_isready")?;
    if !status.success() {
        bail!("not ready: {status}");
    }
    Ok(())
}
