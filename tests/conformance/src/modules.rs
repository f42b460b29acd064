//! Modules out of the SDKs' examples: a project as `bridge transform new` makes it, with the
//! example in place of the author's file, built as `bridge transform build` does. What was built
//! of the same bytes before is taken from the target folder.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use bridge::author::{self, Language, Tools};
use bridge::blame::Fault;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Where `scripts/toolchains` puts compilers, and what is built with them.
pub(crate) fn folder() -> PathBuf {
    root().join("target/toolchains")
}

/// Where an example of a language lies.
fn source(language: &Language, transform: &str) -> PathBuf {
    let (_, ending) = language.main.rsplit_once('.').unwrap_or_default();
    let examples = format!("transforms-sdk/{}/examples", language.name);
    root().join(match (transform, language.name) {
        ("probe", _) => format!("tests/conformance/probe/probe.{ending}"),
        // A program of Go is a folder.
        (_, "go") => format!("{examples}/{transform}/main.go"),
        _ => format!("{examples}/{transform}.{ending}"),
    })
}

/// Programs of `scripts/toolchains`, then those on the path.
pub fn tools() -> Tools {
    Tools::of_the_path(&[folder().join("python/ziglang"), folder().join("node_modules/.bin")])
}

/// The module of a transform, `template` for what `new` gives.
pub fn module(language: &Language, transform: &str) -> Result<Vec<u8>> {
    // The build of the bridge has made those already.
    if let ("rust", Some(built)) = (language.name, built(transform)) {
        return Ok(built.to_vec());
    }
    let main = match transform {
        "template" => None,
        _ => Some(fs::read(source(language, transform)).context("reading an example")?),
    };
    let stage = folder().join("stage").join(language.name).join(transform);
    let parent = stage.join(format!("{:016x}", key(language, main.as_deref())?));
    let project = parent.join(transform);
    let module = project.join(format!("{transform}.wasm"));
    if !module.exists() {
        let said = |fault: Fault| anyhow!("{fault}");
        // What an earlier state of the sources made.
        let _ = fs::remove_dir_all(&stage);
        fs::create_dir_all(&parent)?;
        author::new(language, transform, &parent).map_err(said)?;
        if let Some(main) = main {
            fs::write(project.join(language.main), main)?;
        }
        if language.name == "rust" {
            fs::copy(root().join("transforms/Cargo.lock"), project.join("Cargo.lock"))?;
        }
        author::build(&project, &tools()).map_err(said)?;
    }
    let bytes = fs::read(&module).with_context(|| format!("reading {}", module.display()))?;
    // Where the benches are told to take them from.
    let shelf = folder().join("modules").join(language.name);
    fs::create_dir_all(&shelf)?;
    fs::write(shelf.join(format!("{transform}.wasm")), &bytes)?;
    Ok(bytes)
}

fn built(transform: &str) -> Option<&'static [u8]> {
    Some(match transform {
        "drop_cold" => bridge::modules::DROP_COLD,
        "enrich_route" => bridge::modules::ENRICH_ROUTE,
        "split_readings" => bridge::modules::SPLIT_READINGS,
        _ => return None,
    })
}

/// A hash of all that a module is made of.
fn key(language: &Language, main: Option<&[u8]>) -> Result<u64> {
    let mut key = fnv(main.unwrap_or_default(), 0xcbf2_9ce4_8422_2325);
    for (_, text) in language.template.iter().chain(language.sdk) {
        key = fnv(text.as_bytes(), key);
    }
    // Compilers and how they are called.
    for path in ["scripts/toolchains", "bridge/src/author/build.rs"] {
        key = fnv(&fs::read(root().join(path))?, key);
    }
    Ok(key)
}

fn fnv(bytes: &[u8], hash: u64) -> u64 {
    bytes.iter().fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
