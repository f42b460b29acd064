//! Makes a module of a project: one call of the language's compiler, with the flags that the
//! contract needs.

use std::fs;
use std::path::{Path, PathBuf};

use super::languages::Language;
use super::tools::{Tools, run};
use crate::blame::Fault;

/// The stack of a C or Zig module; the bridge lets a module have much more, but a small memory is
/// quick to make anew.
const STACK: &str = "65536";

/// Compiles the project in `folder`; the path of its module, `NAME.wasm` in the same folder.
pub fn build(folder: &Path, tools: &Tools) -> Result<PathBuf, Fault> {
    let language = Language::of(folder)?;
    let folder = folder
        .canonicalize()
        .map_err(|error| Fault::operator(format!("finding {}: {error}", folder.display())))?;
    let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let module = folder.join(format!("{name}.wasm"));
    match language.name {
        "rust" => rust(&folder, &module, tools)?,
        "c" => c(&folder, &module, tools)?,
        "go" => go(&folder, &module, tools)?,
        "assemblyscript" => assemblyscript(&folder, &module, tools)?,
        "zig" => zig(&folder, &module, tools)?,
        other => return Err(Fault::us(format!("nobody builds {other}"))),
    }
    Ok(module)
}

fn rust(folder: &Path, module: &Path, tools: &Tools) -> Result<(), Fault> {
    const TARGET: &str = "wasm32-unknown-unknown";
    let hint = format!("install Rust with rustup, then `rustup target add {TARGET}`");
    let cargo = tools.need("cargo", &hint)?;
    // A folder of its own, whatever the author's settings say: the module is found in it.
    let target = folder.join("target");
    run(cargo
        .command()
        .current_dir(folder)
        .args(["build", "--release", "--quiet", "--target", TARGET, "--target-dir"])
        .arg(&target)
        .env_remove("CARGO_ENCODED_RUSTFLAGS"))?;
    let release = target.join(TARGET).join("release");
    let file = module.file_name().unwrap_or_default();
    fs::copy(release.join(file), module).map_err(|error| {
        let message = format!("copying {}: {error}", release.join(file).display());
        Fault::operator(message).hint("the package has the name of its folder")
    })?;
    Ok(())
}

fn c(folder: &Path, module: &Path, tools: &Tools) -> Result<(), Fault> {
    let (compiler, is_zig) = tools.c()?;
    let mut command = compiler.command();
    match is_zig {
        true => command.args(["cc", "-target", "wasm32-freestanding"]),
        false => command.args(["--target=wasm32", "-Wl,--stack-first"]),
    };
    run(command
        .current_dir(folder)
        .args(["-std=c11", "-O2", "-g1", "-mbulk-memory", "-ffreestanding", "-nostdlib"])
        .args(["-Wall", "-Wl,--no-entry", "-z", &format!("stack-size={STACK}"), "-o"])
        .arg(module)
        .arg("transform.c"))?;
    Ok(())
}

fn go(folder: &Path, module: &Path, tools: &Tools) -> Result<(), Fault> {
    let go = tools.need("go", "install Go 1.24 or later")?;
    run(go
        .command()
        .current_dir(folder)
        .env("GOOS", "wasip1")
        .env("GOARCH", "wasm")
        .args(["build", "-buildmode=c-shared", "-trimpath", "-ldflags=-s -w", "-o"])
        .arg(module)
        .arg("."))?;
    Ok(())
}

fn assemblyscript(folder: &Path, module: &Path, tools: &Tools) -> Result<(), Fault> {
    let asc = tools.of_node("asc", folder)?;
    // The runtimes `minimal` and `stub` never give memory back.
    run(asc
        .command()
        .current_dir(folder)
        .args(["assembly/index.ts", "--runtime", "incremental", "--exportStart", "_initialize"])
        .args(["-O3", "--debug", "-o"])
        .arg(module))?;
    Ok(())
}

fn zig(folder: &Path, module: &Path, tools: &Tools) -> Result<(), Fault> {
    let zig = tools.zig()?;
    // Safe: what would be undefined is a panic, which the bridge hears of.
    run(zig
        .command()
        .current_dir(folder)
        .args(["build-exe", "-target", "wasm32-freestanding", "-OReleaseSafe", "-fno-entry"])
        .args(["-rdynamic", "--stack", STACK])
        .arg(format!("-femit-bin={}", module.display()))
        .arg("transform.zig"))?;
    Ok(())
}
