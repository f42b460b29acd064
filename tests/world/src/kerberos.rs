//! A key distribution centre of MIT's Kerberos 5, from the system's packages, as a child process.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::artifacts;
use crate::directory::Directory;
use crate::port::Port;
use crate::server::{Server, start_on_fresh_ports};

/// Where Debian puts the programs.
const PROGRAMS: &str = "/usr/sbin";
const REALM: &str = "BRIDGE.TEST";

/// A running centre with a realm of its own, killed and removed on drop.
pub struct Kerberos {
    server: Server,
    home: Directory,
    _port: Port,
}

/// What a server needs that takes tickets.
#[derive(Clone, Debug)]
pub struct Tickets {
    /// Its principal.
    pub principal: String,
    /// The file of its keys.
    pub keytab: PathBuf,
    /// Where the centre is: `krb5.conf`.
    pub configuration: PathBuf,
}

impl Kerberos {
    /// Makes a realm, starts its centre and waits until it listens.
    pub fn start() -> Result<Self> {
        start_on_fresh_ports(Self::start_once)
    }

    fn start_once() -> Result<Self> {
        let (home, port) = (Directory::create("kerberos")?, Port::free()?);
        let folder = home.path().to_owned();
        std::fs::write(folder.join("krb5.conf"), client_text(&port))?;
        std::fs::write(folder.join("kdc.conf"), centre_text(&port, &folder))?;
        let create = ["create", "-s", "-r", REALM, "-P", "nobody-logs-in-by-it"];
        run(program("kdb5_util", &folder), &create, "making a realm")?;
        let (address, log) = (port.address(), folder.join("server.log"));
        let server = Server::new(
            "Kerberos",
            log,
            move || {
                let mut command = program("krb5kdc", &folder);
                command.args(["-n", "-r", REALM]);
                Ok(command)
            },
            move || TcpStream::connect(&address).map(drop).context("nobody listens"),
        );
        server.start()?;
        Ok(Self { server, home, _port: port })
    }

    /// A new principal, such as `bridge` or `kafka/localhost`, and the file of its keys.
    pub fn principal(&self, name: &str) -> Result<Tickets> {
        let folder = self.home.path();
        let keytab = folder.join(format!("{}.keytab", name.replace('/', ".")));
        let shown = keytab.display();
        for query in [format!("addprinc -randkey {name}"), format!("ktadd -k {shown} {name}")] {
            run(program("kadmin.local", folder), &["-r", REALM, "-q", &query], &query)?;
        }
        let principal = format!("{name}@{REALM}");
        Ok(Tickets { principal, keytab, configuration: self.configuration() })
    }

    /// Where clients find the centre: for `KRB5_CONFIG`.
    pub fn configuration(&self) -> PathBuf {
        self.home.path().join("krb5.conf")
    }

    /// SIGKILL: no ticket is given any more.
    pub fn kill(&self) -> Result<()> {
        self.server.kill()
    }

    /// Starts it again on the same port and realm.
    pub fn restart(&self) -> Result<()> {
        self.server.restart()
    }
}

fn program(name: &str, folder: &Path) -> Command {
    let mut command = Command::new(Path::new(PROGRAMS).join(name));
    command.env("KRB5_CONFIG", folder.join("krb5.conf"));
    command.env("KRB5_KDC_PROFILE", folder.join("kdc.conf"));
    command
}

fn run(mut command: Command, arguments: &[&str], doing: &str) -> Result<()> {
    command.args(arguments);
    artifacts::output(command, doing)
        .context("on Debian: apt-get install -y krb5-kdc krb5-admin-server krb5-user")?;
    Ok(())
}

/// Over TCP alone: the port is free there.
fn client_text(port: &Port) -> String {
    format!(
        "[libdefaults]\n\
         default_realm = {REALM}\n\
         dns_lookup_kdc = false\n\
         dns_lookup_realm = false\n\
         dns_canonicalize_hostname = false\n\
         rdns = false\n\
         udp_preference_limit = 1\n\
         [realms]\n\
         {REALM} = {{\n kdc = {}\n}}\n",
        port.address()
    )
}

fn centre_text(port: &Port, folder: &Path) -> String {
    let (folder, address) = (folder.display(), port.address());
    format!(
        "[kdcdefaults]\n\
         kdc_listen = \"\"\n\
         kdc_tcp_listen = {address}\n\
         [realms]\n\
         {REALM} = {{\n\
         database_name = {folder}/principal\n\
         key_stash_file = {folder}/stash\n\
         acl_file = {folder}/acl\n\
         max_renewable_life = 7d\n\
         }}\n\
         [logging]\n\
         kdc = STDERR\n"
    )
}
