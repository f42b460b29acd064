//! An allocator that counts: "nothing is allocated in steady state" is a number here.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    // Neither made lazily nor dropped, so that an allocator may use it at any time.
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, counted.
pub struct Counting;

/// Allocations, reallocations among them, of this thread so far.
pub fn count() -> u64 {
    COUNT.get()
}

fn add() {
    COUNT.set(COUNT.get() + 1);
}

// SAFETY: every call goes to the system's allocator with what it was given, which keeps the
// contract; the count allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add();
        // SAFETY: the caller's obligations are those of the system's allocator.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        add();
        // SAFETY: the caller's obligations are those of the system's allocator.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        add();
        // SAFETY: the caller's obligations are those of the system's allocator.
        unsafe { System.realloc(at, layout, bytes) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's obligations are those of the system's allocator.
        unsafe { System.dealloc(at, layout) }
    }
}

#[cfg(test)]
#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allocations_of_this_thread_are_counted_and_no_others() {
        let before = count();
        let mut bytes = vec![0_u8; 10];
        assert_eq!(count() - before, 1);
        bytes.reserve_exact(1 << 20);
        assert_eq!(count() - before, 2);
        let other = std::thread::spawn(|| {
            let before = count();
            std::hint::black_box(vec![0_u8; 10]);
            count() - before
        });
        assert!(other.join().expect("it ends") >= 1);
        let before = count();
        drop(bytes);
        assert_eq!(count(), before, "what is given back is no allocation");
    }
}
