//! The functions of `wasi_snapshot_preview1` that runtimes name: enough for Go's and others' to
//! start, nothing to get out with. No files, no sockets, no arguments, no sleep; standard output
//! and error go to the log by line. Every other function links and answers `ENOTCAPABLE`.

use std::time::{SystemTime, UNIX_EPOCH};

use ring::rand::{SecureRandom as _, SystemRandom};
use wasmtime::{Caller, Error, ExternType, FuncType, Linker, Val, ValType};

use super::host::{Host, memory, slice, slice_mut};
use super::limits::MESSAGE_BYTES_MAX;

/// The module's name.
pub(super) const MODULE: &str = "wasi_snapshot_preview1";

const SUCCESS: i32 = 0;
const EBADF: i32 = 8;
const EINVAL: i32 = 28;
const ENOTCAPABLE: i32 = 76;

/// What a clock shows that must always show the same. Not 0, at which Go's runtime stops.
pub(super) const CONSTANT_NS: u64 = 1_000_000_000_000_000_000;

/// The host's clock, in nanoseconds since 1970.
pub(super) fn now_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}

/// Defines what answers.
pub(super) fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    linker.func_wrap(MODULE, "sched_yield", || SUCCESS)?;
    linker.func_wrap(MODULE, "args_get", |_: i32, _: i32| SUCCESS)?;
    linker.func_wrap(MODULE, "environ_get", |_: i32, _: i32| SUCCESS)?;
    linker.func_wrap(MODULE, "args_sizes_get", no_sizes)?;
    linker.func_wrap(MODULE, "environ_sizes_get", no_sizes)?;
    linker.func_wrap(MODULE, "proc_exit", |mut caller: Caller<'_, Host>, status: i32| {
        let host = caller.data_mut();
        host.failed.get_or_insert_with(|| format!("the module exited with status {status}"));
        Err::<(), _>(Error::msg("exit"))
    })?;
    linker.func_wrap(
        MODULE,
        "clock_time_get",
        |mut caller: Caller<'_, Host>, _clock: i32, _precision: i64, ptr: i32| {
            let (memory, host) = memory(&mut caller)?;
            let now = if host.deterministic { CONSTANT_NS } else { now_ns() };
            slice_mut(memory, ptr, 8)?.copy_from_slice(&now.to_le_bytes());
            Ok(SUCCESS)
        },
    )?;
    linker.func_wrap(MODULE, "random_get", random_get)?;
    linker.func_wrap(MODULE, "fd_write", fd_write)?;
    linker.func_wrap(MODULE, "poll_oneoff", poll_oneoff)?;
    linker.func_wrap(
        MODULE,
        "fd_fdstat_get",
        |mut caller: Caller<'_, Host>, fd: i32, ptr: i32| {
            if !(0..=2).contains(&fd) {
                return Ok(EBADF);
            }
            let (memory, _) = memory(&mut caller)?;
            let stat = slice_mut(memory, ptr, 24)?;
            stat.fill(0);
            // A character device: a terminal, a pipe.
            stat[0] = 2;
            Ok(SUCCESS)
        },
    )?;
    // Go's runtime stops at any other answer.
    linker.func_wrap(MODULE, "fd_prestat_get", |_: i32, _: i32| EBADF)?;
    Ok(())
}

/// Those, by name.
pub(super) const ANSWERED: &[&str] = &[
    "sched_yield",
    "args_get",
    "environ_get",
    "args_sizes_get",
    "environ_sizes_get",
    "proc_exit",
    "clock_time_get",
    "random_get",
    "fd_write",
    "poll_oneoff",
    "fd_fdstat_get",
    "fd_prestat_get",
];

/// Every other function of the snapshot.
const REFUSED: &[&str] = &[
    "clock_res_get",
    "fd_advise",
    "fd_allocate",
    "fd_close",
    "fd_datasync",
    "fd_fdstat_set_flags",
    "fd_fdstat_set_rights",
    "fd_filestat_get",
    "fd_filestat_set_size",
    "fd_filestat_set_times",
    "fd_pread",
    "fd_prestat_dir_name",
    "fd_pwrite",
    "fd_read",
    "fd_readdir",
    "fd_renumber",
    "fd_seek",
    "fd_sync",
    "fd_tell",
    "path_create_directory",
    "path_filestat_get",
    "path_filestat_set_times",
    "path_link",
    "path_open",
    "path_readlink",
    "path_remove_directory",
    "path_rename",
    "path_symlink",
    "path_unlink_file",
    "proc_raise",
    "sock_accept",
    "sock_recv",
    "sock_send",
    "sock_shutdown",
];

/// Links a function that is not offered, if it is one of the snapshot's: with whatever
/// parameters the module gives it, for they are not looked at.
pub(super) fn link_refused(
    linker: &mut Linker<Host>,
    name: &str,
    wanted: &ExternType,
) -> wasmtime::Result<bool> {
    let ExternType::Func(wanted) = wanted else { return Ok(false) };
    if !REFUSED.contains(&name) || !answers_i32(wanted) {
        return Ok(false);
    }
    linker.func_new(MODULE, name, wanted.clone(), |_, _, results| {
        results[0] = Val::I32(ENOTCAPABLE);
        Ok(())
    })?;
    Ok(true)
}

fn answers_i32(function: &FuncType) -> bool {
    let mut results = function.results();
    results.len() == 1 && matches!(results.next(), Some(ValType::I32))
}

fn no_sizes(mut caller: Caller<'_, Host>, count: i32, bytes: i32) -> wasmtime::Result<i32> {
    let (memory, _) = memory(&mut caller)?;
    slice_mut(memory, count, 4)?.fill(0);
    slice_mut(memory, bytes, 4)?.fill(0);
    Ok(SUCCESS)
}

fn random_get(mut caller: Caller<'_, Host>, ptr: i32, len: i32) -> wasmtime::Result<i32> {
    let (memory, host) = memory(&mut caller)?;
    let room = slice_mut(memory, ptr, len)?;
    // Each call begins anew: a replay cuts batches elsewhere, and deals them to other instances,
    // so what was drawn before must not count.
    let mut seed = 0u64;
    if !host.deterministic {
        return match SystemRandom::new().fill(room) {
            Ok(()) => Ok(SUCCESS),
            Err(_) => Err(Error::msg("the machine has no random bytes")),
        };
    }
    for chunk in room.chunks_mut(8) {
        // SplitMix64: any fixed sequence would do.
        seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = seed;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        chunk.copy_from_slice(&(word ^ (word >> 31)).to_le_bytes()[..chunk.len()]);
    }
    Ok(SUCCESS)
}

/// Vectors that one write may have; more are left for the next, as the contract of WASI allows.
const VECTORS_MAX: i32 = 64;

fn fd_write(
    mut caller: Caller<'_, Host>,
    fd: i32,
    vectors: i32,
    count: i32,
    written: i32,
) -> wasmtime::Result<i32> {
    if fd != 1 && fd != 2 {
        return Ok(EBADF);
    }
    let (memory, host) = memory(&mut caller)?;
    let mut total = 0u32;
    for index in 0..count.clamp(0, VECTORS_MAX) {
        let vector = slice(memory, vectors.wrapping_add(index * 8), 8)?;
        let (ptr, len) = vector.split_at(4);
        let number = |bytes: &[u8]| i32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        let bytes = slice(memory, number(ptr), number(len))?;
        total = total.saturating_add(bytes.len() as u32);
        print(host, fd, bytes);
    }
    slice_mut(memory, written, 4)?.copy_from_slice(&total.to_le_bytes());
    Ok(SUCCESS)
}

/// Lines to the log; what follows the last line break waits for the next write.
fn print(host: &mut Host, fd: i32, bytes: &[u8]) {
    let (index, level) = match fd {
        1 => (0, bridge_abi::levels::INFO),
        _ => (1, bridge_abi::levels::WARN),
    };
    let mut rest = bytes;
    while let Some(end) = memchr::memchr(b'\n', rest) {
        let mut line = std::mem::take(&mut host.output[index]);
        extend(&mut line, &rest[..end]);
        if !line.is_empty() {
            host.line(level, &line);
        }
        line.clear();
        host.output[index] = line;
        rest = &rest[end + 1..];
    }
    extend(&mut host.output[index], rest);
}

fn extend(line: &mut Vec<u8>, bytes: &[u8]) {
    let room = MESSAGE_BYTES_MAX.saturating_sub(line.len());
    line.extend_from_slice(&bytes[..bytes.len().min(room)]);
}

/// Answers at once that everything waited for has happened: a guest may not sleep.
fn poll_oneoff(
    mut caller: Caller<'_, Host>,
    subscriptions: i32,
    events: i32,
    count: i32,
    happened: i32,
) -> wasmtime::Result<i32> {
    const SUBSCRIPTION: i32 = 48;
    const EVENT: i32 = 32;
    if count <= 0 || count > VECTORS_MAX {
        return Ok(EINVAL);
    }
    let (memory, _) = memory(&mut caller)?;
    for index in 0..count {
        let asked = slice(memory, subscriptions.wrapping_add(index * SUBSCRIPTION), SUBSCRIPTION)?;
        let mut event = [0; EVENT as usize];
        // Whose it is, no error, and which kind of event it was.
        event[..8].copy_from_slice(&asked[..8]);
        event[10] = asked[8];
        slice_mut(memory, events.wrapping_add(index * EVENT), EVENT)?.copy_from_slice(&event);
    }
    slice_mut(memory, happened, 4)?.copy_from_slice(&count.to_le_bytes());
    Ok(SUCCESS)
}
