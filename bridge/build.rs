//! Builds the transforms of `transforms/` for wasm, so that no binary is committed: the modules
//! that come along, the demo and the tests find them as `bridge::modules`. Cargo calls itself here,
//! with a target folder of its own, for the outer call holds the lock of the usual one.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::{env, fs};

const TARGET: &str = "wasm32-unknown-unknown";
const MODULES: &[&str] =
    &["drop_cold", "enrich_route", "split_readings", "alarms", "dew_point", "faulty"];
/// Those that come along in every bridge, as `builtin:NAME`.
const BUILTINS: &[&str] = &["filter", "route", "convert", "redact", "dedup", "sample", "explode"];

fn main() -> ExitCode {
    match build() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            println!("cargo::error={message}");
            ExitCode::FAILURE
        }
    }
}

fn build() -> Result<(), String> {
    let root = PathBuf::from(variable("CARGO_MANIFEST_DIR")?).join("..");
    let out = PathBuf::from(variable("OUT_DIR")?);
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={}", root.join("Cargo.toml").display());
    watch(&root.join("transforms"));
    watch(&root.join("transforms-sdk/abi"));
    watch(&root.join("transforms-sdk/derive"));
    watch(&root.join("transforms-sdk/expr"));
    watch(&root.join("transforms-sdk/rust"));

    add_target()?;
    let target = out.join("transforms");
    compile(&root.join("transforms"), &target)?;
    for module in MODULES.iter().chain(BUILTINS) {
        let file = format!("{module}.wasm");
        let made = target.join(TARGET).join("release").join(&file);
        let copying = |error| format!("copying the module {}: {error}", made.display());
        let bytes = fs::read(&made).map_err(copying)?;
        let bytes = match BUILTINS.contains(module) {
            true => without_lines(&bytes).ok_or(format!("{} is cut short", made.display()))?,
            false => bytes,
        };
        fs::write(out.join(&file), bytes).map_err(copying)?;
    }
    Ok(())
}

/// A module without its tables of lines, which are four fifths of it; the names of functions stay.
/// Whoever debugs one of these has the workspace to build it in.
fn without_lines(module: &[u8]) -> Option<Vec<u8>> {
    let (head, mut rest) = module.split_at_checked(8)?;
    let mut kept = head.to_vec();
    while let [id, tail @ ..] = rest {
        let (size, bytes) = leb128(tail)?;
        let whole = 1 + bytes + size;
        let custom = if *id == 0 { tail.get(bytes..)? } else { &[] };
        let name = leb128(custom).and_then(|(len, at)| custom.get(at..at + len));
        if !name.is_some_and(|name| name.starts_with(b".debug_")) {
            kept.extend_from_slice(rest.get(..whole)?);
        }
        rest = rest.get(whole..)?;
    }
    Some(kept)
}

/// A number of seven bits a byte, and how many bytes it has.
fn leb128(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0;
    for (index, byte) in bytes.iter().take(5).enumerate() {
        value |= usize::from(byte & 127) << (7 * index);
        if byte & 128 == 0 {
            return Some((value, index + 1));
        }
    }
    None
}

/// Sources as folders, manifests one by one: cargo looks into all of a folder, and what an author
/// builds in `transforms/target` is no reason to build anew.
fn watch(folder: &Path) {
    if folder.ends_with("src") {
        println!("cargo::rerun-if-changed={}", folder.display());
        return;
    }
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    for path in entries.map(|entry| entry.path()) {
        if path.is_dir() {
            if path.file_name() != Some(OsStr::new("target")) {
                watch(&path);
            }
        } else if path.extension().is_some_and(|end| end == "toml" || end == "lock") {
            println!("cargo::rerun-if-changed={}", path.display());
        }
    }
}

/// Sees to it that the toolchain can compile for wasm; by rustup where it can.
fn add_target() -> Result<(), String> {
    let libraries = Command::new(variable("RUSTC")?)
        .args(["--print", "target-libdir", "--target", TARGET])
        .output()
        .map_err(|error| format!("asking rustc for its targets: {error}"))?;
    let libraries = PathBuf::from(String::from_utf8_lossy(&libraries.stdout).trim());
    if libraries.is_dir() {
        return Ok(());
    }
    let added = Command::new("rustup").args(["target", "add", TARGET]).output();
    match added {
        Ok(added) if added.status.success() => Ok(()),
        _ => Err(format!(
            "the transforms need the target {TARGET}: run `rustup target add {TARGET}`"
        )),
    }
}

fn compile(workspace: &Path, target: &Path) -> Result<(), String> {
    let mut cargo = Command::new(variable("CARGO")?);
    cargo
        .args(["build", "--release", "--quiet", "--target", TARGET, "--manifest-path"])
        .arg(workspace.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(target)
        .stdin(Stdio::null());
    if workspace.join("Cargo.lock").exists() {
        cargo.arg("--locked");
    }
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(is_of_the_outer_build) {
            cargo.env_remove(&name);
        }
    }
    cargo.env("CARGO_ENCODED_RUSTFLAGS", remapped(workspace)?);
    let built = cargo.output().map_err(|error| format!("calling cargo: {error}"))?;
    if built.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&built.stderr);
    for line in said.lines() {
        println!("cargo::warning={line}");
    }
    Err(format!("building the transforms for {TARGET} failed ({})", built.status))
}

/// Modules name files and lines; where they lay on this machine is nobody's business.
fn remapped(workspace: &Path) -> Result<OsString, String> {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let root = real(workspace);
    let above = root.parent().unwrap_or(&root).to_owned();
    let sysroot = Command::new(variable("RUSTC")?)
        .args(["--print", "sysroot"])
        .output()
        .map_err(|error| format!("asking rustc for its folder: {error}"))?;
    let sysroot = PathBuf::from(String::from_utf8_lossy(&sysroot.stdout).trim());
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")));
    // The last that fits wins: from the general to the special.
    let mut all = vec![(home.unwrap_or_else(|| PathBuf::from("/cargo")), "cargo")];
    all.push((sysroot, "rust"));
    all.push((above, "."));
    all.push((root, "."));
    let mut flags = OsString::new();
    for (from, to) in all {
        if !flags.is_empty() {
            flags.push("\x1f");
        }
        flags.push("--remap-path-prefix=");
        flags.push(from);
        flags.push(format!("={to}"));
    }
    Ok(flags)
}

/// What the outer build says to its compilers must not reach the inner one: flags for another
/// machine, wrappers such as clippy's, and the folder whose lock it holds. How to reach
/// registries is left.
fn is_of_the_outer_build(name: &str) -> bool {
    const KEPT: &[&str] = &[
        "CARGO_HOME",
        "CARGO_NET_",
        "CARGO_HTTP_",
        "CARGO_REGISTRIES_",
        "CARGO_REGISTRY_",
        "CARGO_SOURCE_",
    ];
    const GONE: &[&str] =
        &["RUSTFLAGS", "RUSTDOCFLAGS", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER"];
    let kept = KEPT.iter().any(|start| name.starts_with(start));
    (name.starts_with("CARGO") && !kept) || GONE.contains(&name)
}

fn variable(name: &str) -> Result<std::ffi::OsString, String> {
    env::var_os(name).ok_or_else(|| format!("cargo did not say {name}"))
}
