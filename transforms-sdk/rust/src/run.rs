//! One call of the bridge: every record of the batch through the transform. The same code runs in
//! the sandbox and in native tests: it sees the arena as bytes, and addresses as numbers.

use bridge_abi::{ABI, BATCH_BYTES, CELL_BYTES, RECORD_BYTES, batch_at, read};

use crate::Transform;
use crate::output::Output;
use crate::record::{Memory, Record};

/// Why a batch cannot be read; the host is at fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct BadBatch(pub(crate) &'static str);

/// Runs the batch whose header has the address `ptr`, in an arena at the address `base`. Writes
/// `progress` for every record, and `consumed` if it stops early; `output` holds the actions, with
/// positions that are yet to be settled.
pub(crate) fn run<T: Transform>(
    transform: &mut T,
    output: &mut Output,
    arena: &mut [u8],
    base: u32,
    ptr: u32,
) -> Result<(), BadBatch> {
    let at = ptr.checked_sub(base).ok_or(BadBatch("the batch header is outside the arena"))?;
    let header = read::batch_header(arena, at as usize)
        .ok_or(BadBatch("the batch header is outside the arena"))?;
    let strides = (usize::from(header.record_stride), usize::from(header.cell_stride));
    if header.abi != ABI || strides.0 < RECORD_BYTES || strides.1 < CELL_BYTES {
        return Err(BadBatch("the batch is of another version of the contract"));
    }
    // The header is written to while records are borrowed; it lies before all of them.
    let (head, input) = arena.split_at_mut(at as usize + BATCH_BYTES);
    let memory = Memory { bytes: input, base: ptr + BATCH_BYTES as u32 };
    let mut progress = Progress::new(&mut head[at as usize + batch_at::PROGRESS..])?;
    let first = memory.at(header.records).ok_or(BadBatch("the records are outside the arena"))?;
    output.begin_batch(memory.bytes, memory.base, header.count);

    for index in 0..header.count {
        let record = read::chunk(memory.bytes, first + index as usize * strides.0)
            .ok_or(BadBatch("the records are outside the arena"))?;
        progress.set(index);
        output.begin_record(index);
        transform.record(&Record::new(memory, record, strides.1), output);
        if output.is_full() {
            let consumed = &mut head[at as usize + batch_at::CONSUMED..][..4];
            consumed.copy_from_slice(&(index + 1).to_le_bytes());
            break;
        }
    }
    Ok(())
}

/// Where the guest says which record it is at, for the host to read after a trap.
struct Progress {
    slot: *mut u32,
}

impl Progress {
    fn new(slot: &mut [u8]) -> Result<Progress, BadBatch> {
        let slot = slot.as_mut_ptr().cast::<u32>();
        if !slot.is_aligned() {
            return Err(BadBatch("the batch header is not aligned"));
        }
        Ok(Progress { slot })
    }

    /// Volatile, for the compiler sees nobody read it, and may not put it off past a trap.
    #[inline(always)]
    fn set(&mut self, index: u32) {
        // SAFETY: `slot` was made from a `&mut [u8]` of at least four bytes (`PROGRESS` is four
        // below the end of the header that was split off), is aligned (checked in `new`), and no
        // reference to these bytes is alive: `run` reads no more than `consumed` beside it.
        unsafe { self.slot.write_volatile(index.to_le()) };
    }
}
