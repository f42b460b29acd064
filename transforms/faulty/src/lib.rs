//! For tests of the fence only: a module that does what no module should, when the text column
//! says so. `trap` ends at wasm's `unreachable` without a word, `panic` divides by zero (Rust's
//! check makes a panic of it, with a message), `loop` never returns, `reject` refuses the record,
//! `wild` answers with a pointer outside its memory, `grow` takes memory until there is none.
//! Every other record is kept, so that a test sees what one bad record costs the good ones.

use std::hint::black_box;

use bridge_transform::{Column, Init, Output, Record, Transform};

/// `config = { column = "fault" }`
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    #[serde(default = "fault")]
    column: String,
}

fn fault() -> String {
    "fault".to_owned()
}

struct Faulty {
    fault: Column,
    hoard: Vec<Vec<u8>>,
}

impl Transform for Faulty {
    fn init(init: &mut Init) -> Result<Self, String> {
        let Options { column } = init.config()?;
        Ok(Faulty { fault: init.column(&column), hoard: Vec::new() })
    }

    fn record(&mut self, record: &Record, out: &mut Output) {
        match record.text(self.fault) {
            Some("trap") => trap(),
            Some("panic") => drop(black_box(7 / black_box(0))),
            Some("loop") => endless(),
            Some("reject") => out.reject("told to reject"),
            // Marks the record; `exports` makes the pointer wild, for the SDK would not.
            Some("wild") => out.patch().done(),
            Some("grow") => self.grow(),
            _ => out.keep(),
        }
    }
}

impl Faulty {
    /// 16 MiB a turn, touched, until the host says no; then the allocator's failure traps.
    fn grow(&mut self) {
        loop {
            self.hoard.push(black_box(vec![1; 16 << 20]));
        }
    }
}

fn trap() -> ! {
    #[cfg(target_arch = "wasm32")]
    core::arch::wasm32::unreachable();
    #[cfg(not(target_arch = "wasm32"))]
    panic!("told to trap");
}

fn endless() -> ! {
    loop {
        black_box(());
    }
}

#[cfg(not(target_arch = "wasm32"))]
bridge_transform::transform!(Faulty);

/// What `transform!` makes, with a lie in `bridge_batch`.
#[cfg(target_arch = "wasm32")]
mod exports {
    use bridge_transform::guest;

    static GUEST: guest::Guest<super::Faulty> = guest::Guest::new();

    #[unsafe(no_mangle)]
    extern "C" fn bridge_abi() -> i32 {
        guest::ABI
    }
    #[unsafe(no_mangle)]
    extern "C" fn bridge_alloc(len: i32) -> i32 {
        GUEST.alloc(len as u32) as i32
    }
    #[unsafe(no_mangle)]
    extern "C" fn bridge_init(ptr: i32, len: i32) -> i32 {
        GUEST.init(ptr as u32, len as u32)
    }

    /// Every patch without cells gets three of them, past the end of any memory.
    #[unsafe(no_mangle)]
    extern "C" fn bridge_batch(ptr: i32) -> i64 {
        const PATCH: u32 = 2;
        let answer = GUEST.batch(ptr as u32);
        let (actions, count) = ((answer as u64 >> 32) as u32, answer as u32);
        for index in 0..count {
            let action = (actions + index * 16) as *mut [u32; 4];
            // SAFETY: `batch` answered with `count` actions of 16 bytes each, 4-aligned and alive
            // until the next call, and nothing refers to them.
            let action = unsafe { &mut *action };
            if action[0] & 0xff == PATCH && action[3] == 0 {
                action[2] = 0xffff_fff0;
                action[3] = 3;
            }
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bridge_transform::testing::{Harness, Outcome, record};

    #[test]
    fn what_is_not_told_to_fail_is_kept() {
        let mut harness = Harness::<Faulty>::new("{}").expect("starts");
        let outcomes = harness.run(&[record! {}, record! { "fault" => "reject" }]);
        assert_eq!(outcomes, [Outcome::kept(), Outcome::Rejected("told to reject".to_owned())]);
    }

    #[test]
    #[should_panic = "attempt to divide by zero"]
    fn panics_when_told_to() {
        let mut harness = Harness::<Faulty>::new("{}").expect("starts");
        harness.run(&[record! { "fault" => "panic" }]);
    }
}
