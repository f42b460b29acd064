//! The binary: hands over to the command line.

use std::process::ExitCode;

/// Heaps that the C library keeps for its threads. It would keep eight for each core, and what one
/// thread frees stays in its heap: with records that come from one thread and go in another, that
/// was 20 MB of the process. With fewer than four, threads wait for one another.
#[cfg(target_env = "gnu")]
const HEAPS_MAX: libc::c_int = 4;

fn main() -> ExitCode {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt(3) takes two numbers, and no other thread runs yet. An allocator that takes
    // no advice is as good as before.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, HEAPS_MAX);
    }
    bridge::cli::main()
}
