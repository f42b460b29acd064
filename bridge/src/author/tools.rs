//! Where compilers are: on the path, and where package managers put them beside a project.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::blame::Fault;

/// The folders that programs are looked for in.
#[derive(Clone, Debug)]
pub struct Tools {
    folders: Vec<PathBuf>,
}

/// How a compiler is called: the program, and the words before its own arguments.
pub(super) struct Tool {
    program: PathBuf,
    words: &'static [&'static str],
}

impl Tools {
    /// Programs on the path of this process, after those of `first`.
    pub fn of_the_path(first: &[PathBuf]) -> Tools {
        let path = std::env::var_os("PATH").unwrap_or_default();
        Tools { folders: first.iter().cloned().chain(std::env::split_paths(&path)).collect() }
    }

    #[cfg(test)]
    pub(super) fn nowhere() -> Tools {
        Tools { folders: Vec::new() }
    }

    /// The program of this name.
    fn find(&self, program: &str) -> Option<PathBuf> {
        self.folders.iter().map(|folder| folder.join(program)).find(|path| path.is_file())
    }

    /// The program, or a fault that says how to get it.
    pub(super) fn need(&self, program: &str, hint: &str) -> Result<Tool, Fault> {
        let found = self.find(program).ok_or_else(|| missing(program, hint))?;
        Ok(Tool { program: found, words: &[] })
    }

    /// Zig: the program, or the package of Python that brings it.
    pub(super) fn zig(&self) -> Result<Tool, Fault> {
        if let Some(program) = self.find("zig") {
            return Ok(Tool { program, words: &[] });
        }
        if let Some(program) = self.find("python3") {
            let tool = Tool { program, words: &["-m", "ziglang"] };
            let asked = tool.command().arg("version").output();
            if asked.is_ok_and(|output| output.status.success()) {
                return Ok(tool);
            }
        }
        Err(missing("zig", "`pip install ziglang==0.17.0`, or Zig 0.17's own package"))
    }

    /// A compiler of C that makes wasm.
    pub(super) fn c(&self) -> Result<(Tool, bool), Fault> {
        if let Ok(zig) = self.zig() {
            return Ok((zig, true));
        }
        let clang = self.find("clang").filter(|_| self.find("wasm-ld").is_some());
        let clang = clang.map(|program| (Tool { program, words: &[] }, false));
        let hint = "`pip install ziglang==0.17.0`, or on Debian `apt-get install clang lld`";
        clang.ok_or_else(|| missing("zig` or `clang` with `wasm-ld", hint))
    }

    /// A program that npm put into `node_modules`, in the folder of the project or above it.
    pub(super) fn of_node(&self, program: &str, folder: &Path) -> Result<Tool, Fault> {
        let here = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
        let installed = here
            .ancestors()
            .map(|above| above.join("node_modules/.bin").join(program))
            .find(|path| path.is_file());
        let hint = format!("run `npm install` in {} (Node.js brings npm)", folder.display());
        let found = installed.or_else(|| self.find(program));
        let program = found.ok_or_else(|| missing(program, &hint))?;
        Ok(Tool { program, words: &[] })
    }
}

impl Tool {
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(self.words).stdin(Stdio::null());
        command
    }
}

fn missing(program: &str, hint: &str) -> Fault {
    Fault::operator(format!("`{program}` is missing: no folder of the path has it")).hint(hint)
}

/// Runs a compiler; what it said is the message where it fails.
pub(super) fn run(command: &mut Command) -> Result<Output, Fault> {
    let called = || {
        let words = [command.get_program()].into_iter().chain(command.get_args());
        let words: Vec<OsString> = words.map(OsString::from).collect();
        words.join(" ".as_ref()).to_string_lossy().into_owned()
    };
    let line = called();
    let output = command
        .output()
        .map_err(|error| Fault::operator(format!("calling the compiler: {line}: {error}")))?;
    if output.status.success() {
        return Ok(output);
    }
    let (said, also) =
        (String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
    let message = format!("compiling failed: {line}\n{}{}", also.trim(), said.trim());
    Err(Fault::operator(message).hint("repair what the compiler names"))
}
