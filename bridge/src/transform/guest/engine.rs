//! The engine that all sandboxes of the process share, its clock, and machine code that is kept
//! from one start to the next. The only place with `unsafe` in this room: loading machine code,
//! and only what lies in our own folder with its checksum right.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use ring::digest;
use wasmtime::{
    Config, Engine, InstanceAllocationStrategy, Module, PoolingAllocationConfig,
    WasmBacktraceDetails,
};

use super::limits::{INSTANCES_MAX, STACK_MAX, TABLE_ELEMENTS_MAX, TABLES_MAX};
use crate::lasting;

/// One turn of the clock that deadlines are counted in.
pub(super) const TICK: Duration = Duration::from_millis(10);

/// The turns that make up at least a duration: the turn that is under way does not count.
pub(super) fn ticks(duration: Duration) -> u64 {
    duration.as_millis().div_ceil(TICK.as_millis()) as u64 + 1
}

/// The engine of the process, made when it is first asked for.
pub(super) fn shared() -> Result<&'static Engine, String> {
    static ENGINE: OnceLock<Result<Engine, String>> = OnceLock::new();
    ENGINE.get_or_init(|| started(false)).as_ref().map_err(Clone::clone)
}

/// An engine that counts fuel, which costs more than a clock: for benches.
pub(super) fn metered() -> Result<&'static Engine, String> {
    static ENGINE: OnceLock<Result<Engine, String>> = OnceLock::new();
    ENGINE.get_or_init(|| started(true)).as_ref().map_err(Clone::clone)
}

fn started(metered: bool) -> Result<Engine, String> {
    let engine = make(metered).map_err(|error| format!("making the sandbox engine: {error:#}"))?;
    start_clock(&engine).map_err(|error| format!("starting the sandbox clock: {error}"))?;
    Ok(engine)
}

fn make(metered: bool) -> wasmtime::Result<Engine> {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .consume_fuel(metered)
        .max_wasm_stack(STACK_MAX)
        // File and line in the backtraces of modules that carry debug information.
        .wasm_backtrace_details(WasmBacktraceDetails::Enable)
        // Addresses of the contract have 32 bits, and there is one memory.
        .wasm_memory64(false)
        .wasm_multi_memory(false)
        // Its results depend on the machine; a replay elsewhere must give the same rows.
        .wasm_relaxed_simd(false);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_core_instances(INSTANCES_MAX)
        .total_memories(INSTANCES_MAX)
        .total_tables(INSTANCES_MAX * TABLES_MAX)
        .max_tables_per_module(TABLES_MAX)
        .table_elements(TABLE_ELEMENTS_MAX);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    match Engine::new(&config) {
        Ok(engine) => Ok(engine),
        // The pool reserves a terabyte of addresses, which a limit on them may forbid. Without
        // it an instance takes some microseconds longer to make, and is as safe.
        Err(error) => {
            tracing::debug!("sandbox instances come without a pool: {error:#}");
            Engine::new(config.allocation_strategy(InstanceAllocationStrategy::OnDemand))
        }
    }
}

/// The thread is not joined: it owns nothing but a handle on an engine that lives as long as the
/// process, writes nothing but a counter, and a sandbox without its clock would never stop.
#[expect(clippy::disallowed_methods, reason = "see above")]
fn start_clock(engine: &Engine) -> std::io::Result<()> {
    let engine = engine.clone();
    let turn = move || {
        loop {
            thread::sleep(TICK);
            engine.increment_epoch();
        }
    };
    thread::Builder::new().name("sandbox-clock".to_owned()).spawn(turn).map(drop)
}

/// A compiled module, and how it came about.
pub(super) struct Compiled {
    pub(super) module: Module,
    pub(super) took: Duration,
    pub(super) cached: bool,
}

/// Compiles a module, or takes its machine code out of the cache: a folder, and the hash of the
/// module.
pub(super) fn compile(
    engine: &Engine,
    bytes: &[u8],
    cache: Option<(&Path, &str)>,
) -> Result<Compiled, String> {
    let start = Instant::now();
    let file = cache
        .and_then(|(folder, sha256)| Some(own_folder(folder)?.join(file_name(engine, sha256))));
    if let Some(module) = file.as_deref().and_then(|file| read(engine, file)) {
        return Ok(Compiled { module, took: start.elapsed(), cached: true });
    }
    // The bytes that were expected, and those that are there, stand on lines of their own.
    let in_one_line = |error: wasmtime::Error| {
        format!("{error:#}").split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let module = Module::from_binary(engine, bytes).map_err(in_one_line)?;
    let took = start.elapsed();
    if let Some(file) = file
        && let Err(error) = keep_code(&module, &file)
    {
        tracing::debug!("keeping machine code in {}: {error:#}", file.display());
    }
    Ok(Compiled { module, took, cached: false })
}

/// The folder if it is ours alone, made if it is missing. Who can write there can run machine
/// code in this process.
pub(super) fn own_folder(folder: &Path) -> Option<&Path> {
    if let Some(parent) = folder.parent() {
        // If this fails, so does the next step, which says so.
        let _ = fs::create_dir_all(parent);
    }
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            tracing::debug!("making the cache {}: {error}", folder.display());
            return None;
        }
        _ => {}
    }
    let meta = fs::symlink_metadata(folder).ok()?;
    // SAFETY: takes no arguments and cannot fail.
    let us = unsafe { libc::geteuid() };
    let ours = meta.is_dir() && meta.uid() == us && meta.permissions().mode() & 0o077 == 0;
    if !ours {
        tracing::warn!(
            "machine code is not cached: {} is not a folder of ours alone (mode 0700)",
            folder.display()
        );
    }
    ours.then_some(folder)
}

/// By content, and by everything that makes machine code another: version, settings, processor.
fn file_name(engine: &Engine, sha256: &str) -> PathBuf {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    format!("{sha256}-{:016x}.code", hasher.finish()).into()
}

/// Bytes of the checksum in front of the machine code.
const SUM_BYTES: usize = digest::SHA256_OUTPUT_LEN;

fn read(engine: &Engine, file: &Path) -> Option<Module> {
    let bytes = fs::read(file).ok()?;
    let (sum, code) = bytes.split_at_checked(SUM_BYTES)?;
    if digest::digest(&digest::SHA256, code).as_ref() != sum {
        tracing::warn!("machine code in {} is damaged; compiling anew", file.display());
        return None;
    }
    // SAFETY: the bytes are what `Module::serialize` gave: they come from a folder that only we
    // can write to (`own_folder`), and the checksum that was written with them is right. Another
    // version's or processor's code is refused by the call itself.
    unsafe { Module::deserialize(engine, code) }.ok()
}

fn keep_code(module: &Module, file: &Path) -> wasmtime::Result<()> {
    let code = module.serialize()?;
    let mut bytes = digest::digest(&digest::SHA256, &code).as_ref().to_vec();
    bytes.extend_from_slice(&code);
    keep(file, &bytes)?;
    Ok(())
}

/// Puts a file into the cache, so that nobody ever reads half of it. Another process may do the
/// same at the same time: what is written beside has this one's number.
pub(super) fn keep(file: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let beside = file.with_extension(format!("{}.new", std::process::id()));
    lasting::replace(file, &beside, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folder::Folder;
    use crate::transform::guest::origin::sha256;

    const MODULE: &[u8] = b"\0asm\x01\0\0\0";

    fn compiled(cache: &Path, bytes: &[u8]) -> Compiled {
        let sha256 = sha256(bytes);
        let cache = Some((cache, sha256.as_str()));
        compile(shared().expect("an engine"), bytes, cache).expect("compiles")
    }

    #[test]
    fn code_is_kept_and_damage_is_noticed() {
        let folder = Folder::new("code");
        // It is made when it is first needed.
        let cache = folder.0.join("cache");
        let cached = |bytes| compiled(&cache, bytes).cached;
        assert!(!cached(MODULE));
        assert!(cached(MODULE));
        let file = fs::read_dir(&cache).expect("made").next().expect("one").expect("it").path();
        let mut bytes = fs::read(&file).expect("readable");
        *bytes.last_mut().expect("some") ^= 1;
        fs::write(&file, &bytes).expect("writable");
        assert!(!cached(MODULE));
        fs::write(&file, &bytes[..10]).expect("writable");
        assert!(!cached(MODULE));
        assert!(cached(MODULE));
        assert_eq!(fs::read_dir(&cache).expect("there").count(), 1, "nothing is left beside");
    }

    #[test]
    fn a_folder_that_others_can_write_to_is_no_cache() {
        let folder = Folder::new("open");
        fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o777)).expect("ours");
        for _ in 0..2 {
            assert!(!compiled(&folder.0, MODULE).cached);
        }
        assert_eq!(fs::read_dir(&folder.0).expect("there").count(), 0);
    }

    #[test]
    fn deadlines_are_never_shorter_than_said() {
        assert_eq!(ticks(Duration::from_millis(10)), 2);
        assert_eq!(ticks(Duration::from_millis(11)), 3);
        assert_eq!(ticks(Duration::from_secs(1)), 101);
    }
}
