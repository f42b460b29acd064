//! The binary: hands over to the command line.

use std::process::ExitCode;

/// Heaps that the C library keeps for its threads. It would keep eight for each core, and what one
/// thread frees stays in its heap: with records that come from one thread and go in another, that
/// was 20 MB of the process. With fewer than four, threads wait for one another.
#[cfg(target_env = "gnu")]
const HEAPS_MAX: libc::c_int = 4;

/// What is larger has pages of its own, which go back when it is freed. Left alone, the C library
/// raises this to the largest that was ever freed, and payloads that grow in a heap leave holes
/// there: the process grew from 53 to 102 MB within half a minute, and with this stays at 60.
#[cfg(target_env = "gnu")]
const OWN_PAGES_FROM: libc::c_int = 1 << 20;

fn main() -> ExitCode {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt(3) takes two numbers, and no other thread runs yet. An allocator that takes
    // no advice is as good as before.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, HEAPS_MAX);
        libc::mallopt(libc::M_MMAP_THRESHOLD, OWN_PAGES_FROM);
    }
    bridge::cli::main()
}
