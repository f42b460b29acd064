//! Where a module is from: one that comes along, a file, a folder of versions, or an address with
//! its hash. Which bytes those are is asked anew at each load.

use std::borrow::Cow;
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use ring::digest;

use super::fetch::{self, Pinned};
use super::limits::MODULE_BYTES_MAX;
use super::versions::{self, Version};
use crate::blame::Fault;
use crate::config::suggest::instead_of;
use crate::config::{Mistake, Section};
use crate::modules;
use crate::transform::LoadContext;

/// Where a module is from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Origin {
    /// The one of this name that comes along.
    Builtin(&'static str),
    /// A file or a folder of versions, relative to the configuration file.
    Path {
        /// Where it is.
        path: PathBuf,
        /// Which one of a folder.
        version: Option<Version>,
    },
    /// An address, and the hash of what must be there.
    Https(Pinned),
}

/// The keys of a transform's section that say it.
pub(super) struct Keys {
    pub(super) module: PathBuf,
    pub(super) version: Option<String>,
    pub(super) sha256: Option<String>,
    pub(super) tls_ca: Option<PathBuf>,
}

/// A module's bytes as they are now.
pub(super) struct Found {
    /// What people call it.
    pub(super) name: String,
    /// Its file, if it has one.
    pub(super) path: Option<PathBuf>,
    pub(super) bytes: Cow<'static, [u8]>,
}

impl Found {
    /// The hash of the bytes, in hexadecimal digits.
    pub(super) fn sha256(&self) -> String {
        sha256(&self.bytes)
    }
}

/// A hash in hexadecimal digits.
pub(super) fn sha256(bytes: &[u8]) -> String {
    let hash = digest::digest(&digest::SHA256, bytes);
    hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Origin {
    /// Reads the module as it is now.
    pub(super) fn read(&self, context: &LoadContext) -> Result<Found, Fault> {
        match self {
            Origin::Builtin(name) => {
                let builtin = modules::builtin(name).expect("the options were checked for it");
                let (name, bytes) = ((*name).to_owned(), Cow::Borrowed(builtin.wasm));
                Ok(Found { name, path: None, bytes })
            }
            Origin::Path { path, version } => {
                let path = file(&context.base.join(path), version.as_ref())?;
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                let reading = |error| {
                    Fault::operator(format!("reading transform {}: {error}", path.display()))
                        .hint("`module` is relative to the configuration file")
                };
                let file = fs::File::open(&path).map_err(reading)?;
                let mut bytes = Vec::new();
                file.take(MODULE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(reading)?;
                if bytes.len() > MODULE_BYTES_MAX {
                    let message = format!(
                        "transform {} has more than the {} MiB that a module may have",
                        path.display(),
                        MODULE_BYTES_MAX >> 20
                    );
                    return Err(Fault::operator(message));
                }
                Ok(Found { name, path: Some(path), bytes: bytes.into() })
            }
            Origin::Https(pinned) => {
                let bytes = fetch::module(pinned, context)?.into();
                Ok(Found { name: pinned.file_name().to_owned(), path: None, bytes })
            }
        }
    }

    /// The hash of the module as it is now; what cannot change is not read for it.
    pub(super) fn sha256(&self, context: &LoadContext) -> Result<String, Fault> {
        match self {
            Origin::Https(pinned) => Ok(pinned.sha256.clone()),
            Origin::Builtin(_) | Origin::Path { .. } => Ok(self.read(context)?.sha256()),
        }
    }

    /// What its file looks like from outside; `None` where there is none, or none of it changes.
    pub(super) fn looks(&self, base: &Path) -> Option<String> {
        let Origin::Path { path, version } = self else { return None };
        let path = file(&base.join(path), version.as_ref()).ok()?;
        let seen = fs::metadata(&path).ok()?;
        let (second, nano) = (seen.mtime(), seen.mtime_nsec());
        // A file put in another's place may be as old and as long.
        Some(format!("{} {second}.{nano} {} {}", path.display(), seen.len(), seen.ino()))
    }
}

/// The file itself, or the one of a folder.
fn file(path: &Path, version: Option<&Version>) -> Result<PathBuf, Fault> {
    match (path.is_dir(), version) {
        (true, version) => versions::choose(path, version),
        (false, None) => Ok(path.to_owned()),
        (false, Some(_)) => {
            let message = format!("reading transform {}: it is no folder", path.display());
            Err(Fault::operator(message).hint("`version` is for a folder of versions"))
        }
    }
}

/// Where the module is from, and what it is called if it has no name.
pub(super) fn parse(section: &Section, keys: Keys) -> Result<(Origin, String), Mistake> {
    let Keys { module, version, sha256, tls_ca } = keys;
    let text = module.to_str().unwrap_or_default();
    let refuse = |key: &str, is_said: bool, only: &str| match is_said {
        true => Err(section.mistake(key, format!("`{key}` is only for {only}"))),
        false => Ok(()),
    };
    if let Some(address) = text.strip_prefix("https://") {
        refuse("version", version.is_some(), "a folder of versions")?;
        return fetch::parse(section, address, sha256, tls_ca);
    }
    if text.starts_with("http://") {
        let message = "a module comes over https, or from a file";
        return Err(section.mistake("module", message).help("such as https://host/x.wasm"));
    }
    refuse("sha256", sha256.is_some(), "a module from https://")?;
    refuse("tls_ca", tls_ca.is_some(), "a module from https://")?;
    if let Some(name) = text.strip_prefix(modules::BUILTIN) {
        refuse("version", version.is_some(), "a folder of versions")?;
        return builtin(section, name);
    }
    let version = version.map(|version| {
        Version::parse(&version).ok_or_else(|| {
            let message = format!("`{version}` is no version");
            section.mistake("version", message).help("such as \"1.4.2\", or \"1.4\" for any 1.4")
        })
    });
    let version = version.transpose()?;
    let stem = module.file_stem().and_then(|stem| stem.to_str());
    match stem.filter(|stem| !stem.is_empty()).map(str::to_owned) {
        Some(stem) => Ok((Origin::Path { path: module, version }, stem)),
        None => Err(section.mistake("module", "the path of a module ends in a file name")),
    }
}

fn builtin(section: &Section, name: &str) -> Result<(Origin, String), Mistake> {
    if let Some(builtin) = modules::builtin(name) {
        return Ok((Origin::Builtin(builtin.name), builtin.name.to_owned()));
    }
    let mistake = section.mistake("module", format!("no module `{name}` comes along"));
    let names: Vec<&str> = modules::BUILTINS.iter().map(|builtin| builtin.name).collect();
    Err(match instead_of(name, &names) {
        Some(help) => mistake.help(help),
        None => mistake,
    })
}
