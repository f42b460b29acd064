//! A certificate authority of a test's own, by the program `openssl`: certificates of servers and
//! clients, good ones and such as have expired.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::artifacts::{installed, run};

/// What `openssl ca` wants to know.
const CONFIG: &str = "\
[ca]
default_ca = own
[own]
new_certs_dir = .
database = index.txt
rand_serial = yes
default_md = sha256
default_days = 30
policy = names
unique_subject = no
[names]
commonName = supplied
[server]
subjectAltName = IP:127.0.0.1,DNS:localhost
[client]
extendedKeyUsage = clientAuth
";

/// Whose a certificate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A server's at 127.0.0.1, or `localhost`.
    Server,
    /// A client's.
    Client,
}

/// An authority in a folder.
#[derive(Debug)]
pub struct Authority {
    folder: PathBuf,
}

impl Authority {
    /// Makes one in a folder, which is made.
    pub fn create(folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("creating {}", folder.display()))?;
        std::fs::write(folder.join("ca.conf"), CONFIG)?;
        std::fs::write(folder.join("index.txt"), "")?;
        let own = Self { folder: folder.to_owned() };
        let name = folder.file_name().context("a folder has a name")?.to_string_lossy();
        own.openssl(&[
            &["req", "-x509", "-days", "30", "-nodes", "-keyout", "ca.key", "-out", "ca.pem"],
            NEW_KEY,
            &["-subj", &format!("/CN={name}")],
        ])?;
        Ok(own)
    }

    /// The authority's own certificate, in PEM.
    pub fn certificate(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// Signs a certificate for a new key: `NAME.pem` and `NAME.key`.
    pub fn sign(&self, name: &str, role: Role) -> Result<(PathBuf, PathBuf)> {
        self.sign_for(name, role, &[])
    }

    /// The same, and it ended years ago.
    pub fn sign_expired(&self, name: &str, role: Role) -> Result<(PathBuf, PathBuf)> {
        let past = ["-startdate", "20200101000000Z", "-enddate", "20210101000000Z"];
        self.sign_for(name, role, &past)
    }

    fn sign_for(&self, name: &str, role: Role, dates: &[&str]) -> Result<(PathBuf, PathBuf)> {
        let [key, request, certificate] =
            ["key", "csr", "pem"].map(|ending| format!("{name}.{ending}"));
        self.openssl(&[
            &["req", "-nodes", "-keyout", &key, "-out", &request],
            NEW_KEY,
            &["-subj", &format!("/CN={name}")],
        ])?;
        let extensions = match role {
            Role::Server => "server",
            Role::Client => "client",
        };
        self.openssl(&[
            &["ca", "-config", "ca.conf", "-batch", "-notext", "-extensions", extensions],
            &["-cert", "ca.pem", "-keyfile", "ca.key", "-in", &request, "-out", &certificate],
            dates,
        ])?;
        Ok((self.folder.join(certificate), self.folder.join(key)))
    }

    /// The key of a certificate under a password: `NAME-locked.key`.
    pub fn lock(&self, name: &str, password: &str) -> Result<PathBuf> {
        let locked = format!("{name}-locked.key");
        let (key, password) = (format!("{name}.key"), format!("pass:{password}"));
        self.openssl(&[&["pkcs8", "-topk8", "-in", &key, "-out", &locked, "-passout", &password]])?;
        Ok(self.folder.join(locked))
    }

    /// Key and certificate in one PKCS#12 file: `NAME.p12`.
    pub fn keystore(&self, name: &str, password: &str) -> Result<PathBuf> {
        let [key, certificate, store] =
            ["key", "pem", "p12"].map(|ending| format!("{name}.{ending}"));
        let password = format!("pass:{password}");
        self.openssl(&[
            &["pkcs12", "-export", "-inkey", &key, "-in", &certificate, "-out", &store],
            &["-passout", &password],
        ])?;
        Ok(self.folder.join(store))
    }

    /// Key and certificate in one PEM file, as Kafka reads it: `NAME-whole.pem`.
    pub(crate) fn whole(&self, name: &str) -> Result<PathBuf> {
        let read = |ending: &str| {
            let path = self.folder.join(format!("{name}.{ending}"));
            std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
        };
        let path = self.folder.join(format!("{name}-whole.pem"));
        std::fs::write(&path, format!("{}{}", read("key")?, read("pem")?))?;
        Ok(path)
    }

    fn openssl(&self, arguments: &[&[&str]]) -> Result<()> {
        let mut command: Command = installed("openssl", "openssl")?;
        command.args(arguments.concat()).current_dir(&self.folder);
        run(command, "making certificates with openssl")
    }
}

/// Small keys: they are made at each start.
const NEW_KEY: &[&str] = &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"];
