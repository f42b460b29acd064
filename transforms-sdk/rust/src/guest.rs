//! The module's side of the exports: one transform, its arena and its output, in a static. Only
//! compiled for wasm; what can be tested natively is in `run`.

use std::cell::UnsafeCell;

use crate::Transform;
use crate::host;
use crate::init::{self, Started};
use crate::output::{Output, Places};
use crate::run;

/// What `bridge_abi` answers.
pub const ABI: i32 = bridge_abi::ABI as i32;

#[cfg(target_feature = "atomics")]
compile_error!("a transform has one thread: `Guest` is not made for shared memory");

/// The whole state of a module; `transform!` puts it into a static.
pub struct Guest<T>(UnsafeCell<State<T>>);

struct State<T> {
    /// Written by the host between calls. Of `u64`, for a `Vec<u8>` need not be 8-aligned.
    arena: Vec<u64>,
    transform: Option<T>,
    output: Output,
}

// SAFETY: wasm32 without atomics has one thread, so nothing is ever shared between two.
unsafe impl<T> Sync for Guest<T> {}

impl<T: Transform> Guest<T> {
    /// A module before its start.
    #[expect(clippy::new_without_default, reason = "statics need a const fn")]
    pub const fn new() -> Guest<T> {
        let state = State { arena: Vec::new(), transform: None, output: Output::new() };
        Guest(UnsafeCell::new(state))
    }

    /// An arena of `len` bytes in place of the one before; 0 when the memory has no room.
    pub fn alloc(&self, len: u32) -> u32 {
        self.with(|state| {
            let words = (len as usize).div_ceil(8).max(1);
            if words > state.arena.len() {
                // The one before is released first: its bytes are not wanted any more.
                state.arena = Vec::new();
                if state.arena.try_reserve_exact(words).is_err() {
                    return 0;
                }
                state.arena.resize(words, 0);
            }
            state.arena.as_ptr() as u32
        })
    }

    /// Starts the transform with the configuration that lies in the arena.
    pub fn init(&self, ptr: u32, len: u32) -> i32 {
        std::panic::set_hook(Box::new(|panic| host::fail(&panic.to_string())));
        self.with(|state| {
            let (arena, base) = bytes_of(&mut state.arena);
            let at = ptr.wrapping_sub(base) as usize;
            let config = bridge_abi::read::bytes(arena, at, len as usize).unwrap_or(&[]);
            match init::start::<T>(config) {
                Ok(Started { transform, wants, .. }) => {
                    state.transform = Some(transform);
                    wants
                }
                Err(message) => {
                    host::fail(&message);
                    -1
                }
            }
        })
    }

    /// Runs a batch: the address of the actions in the high half, their number in the low one.
    pub fn batch(&self, ptr: u32) -> i64 {
        self.with(|state| {
            let Some(transform) = &mut state.transform else { stop("bridge_batch before init") };
            let output = &mut state.output;
            let (arena, base) = bytes_of(&mut state.arena);
            if let Err(run::BadBatch(message)) = run::run(transform, output, arena, base, ptr) {
                stop(message);
            }
            output.settle(&Places {
                cells: output.cells.as_ptr() as u32,
                bytes: output.bytes.as_ptr() as u32,
                records: output.emits.records.as_ptr() as u32,
                headers: output.emits.headers.as_ptr() as u32,
            });
            let (actions, count) = (output.actions.as_ptr() as u32, output.actions.len());
            (u64::from(actions) << 32 | count as u64) as i64
        })
    }

    fn with<R>(&self, work: impl FnOnce(&mut State<T>) -> R) -> R {
        // SAFETY: there is one thread, every export takes the state for its own length only, and
        // the host calls no export from within an import (rule 2 of the contract), so this is the
        // only reference. After a panic, which aborts, no export is called again.
        work(unsafe { &mut *self.0.get() })
    }
}

/// The arena as bytes, and its address.
fn bytes_of(arena: &mut [u64]) -> (&mut [u8], u32) {
    let base = arena.as_ptr() as u32;
    // SAFETY: the bytes are the vector's own, all initialised, any bits are a `u8` and a `u64`,
    // and the borrow of `arena` goes over into the result.
    let bytes = unsafe {
        std::slice::from_raw_parts_mut(arena.as_mut_ptr().cast::<u8>(), size_of_val(arena))
    };
    (bytes, base)
}

/// Ends the instance with a message: a panic without the cost of formatting.
fn stop(message: &str) -> ! {
    host::fail(message);
    core::arch::wasm32::unreachable()
}
