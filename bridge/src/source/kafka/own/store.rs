//! The memory that records lie in: blocks that are filled once, lent in slices, and used again when
//! the last slice came home.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// Where blocks come from and go back to.
pub struct Store {
    /// The size that most are of: what one fetch of a partition brings.
    block_bytes: usize,
    spare: Mutex<Vec<Vec<u8>>>,
}

/// Bytes of blocks that are in use, of one partition and kind.
pub type Count = Arc<AtomicUsize>;

/// Bytes that do not change any more. Counted until dropped.
pub struct Block {
    bytes: Vec<u8>,
    len: usize,
    count: Count,
    store: Arc<Store>,
}

impl Store {
    /// An empty one.
    pub fn new(block_bytes: usize) -> Store {
        Store { block_bytes, spare: Mutex::new(Vec::new()) }
    }

    /// The size that most blocks are of.
    pub fn block_bytes(&self) -> usize {
        self.block_bytes
    }

    /// Memory for at least `len` bytes. What is in it is of no meaning.
    pub fn memory(&self, len: usize) -> Vec<u8> {
        let spare = self.spare.lock().expect("no one panics with it").pop();
        let is_usual = len <= self.block_bytes && len > self.block_bytes / 2;
        match spare {
            Some(spare) if is_usual => spare,
            None if is_usual => vec![0; self.block_bytes],
            Some(spare) if len < self.block_bytes => {
                self.give_back(spare);
                vec![0; len]
            }
            // More than usual takes the place of one that is spare, or there would be both.
            Some(_) | None => vec![0; len],
        }
    }

    /// Memory that is not needed any more. Only the usual size is worth keeping; there are never
    /// more than were in use at once, for a spare one is taken first.
    pub fn give_back(&self, memory: Vec<u8>) {
        if memory.len() == self.block_bytes {
            self.spare.lock().expect("no one panics with it").push(memory);
        }
    }

    /// A block of the first `len` bytes of `memory`.
    pub fn block(self: &Arc<Store>, memory: Vec<u8>, len: usize, count: &Count) -> Arc<Block> {
        let bytes = if len < memory.len() / 4 {
            // Little in much: it may be lent for long, and would count as much.
            let few = memory[..len].to_vec();
            self.give_back(memory);
            few
        } else {
            memory
        };
        count.fetch_add(bytes.len(), Ordering::AcqRel);
        Arc::new(Block { bytes, len, count: Arc::clone(count), store: Arc::clone(self) })
    }
}

impl Block {
    /// What was filled.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        self.count.fetch_sub(self.bytes.len(), Ordering::AcqRel);
        self.store.give_back(std::mem::take(&mut self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_counted_while_it_is_in_use_and_used_again() {
        let store = Arc::new(Store::new(1_000));
        let count = Count::default();
        let memory = store.memory(900);
        assert_eq!(memory.len(), 1_000);
        let block = store.block(memory, 900, &count);
        let at = block.bytes().as_ptr();
        assert_eq!((block.bytes().len(), count.load(Ordering::Relaxed)), (900, 1_000));
        drop(block);
        assert_eq!(count.load(Ordering::Relaxed), 0);
        let again = store.memory(600);
        assert_eq!(again.as_ptr(), at, "the same again");
        let few = store.block(store.memory(1_000), 10, &count);
        assert_eq!(count.load(Ordering::Relaxed), 10);
        drop(few);
        assert_eq!(store.memory(5_000).len(), 5_000);
    }
}
