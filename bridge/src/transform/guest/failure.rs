//! How a call ended badly, in words for a person: the guest's own message, wasm's trap, and the
//! functions that were running, with file and line where the module says.

use std::fmt::Write as _;

use wasmtime::{Error, Trap, WasmBacktrace};

use super::host::Host;
use super::limits::FRAMES_MAX;
use crate::reject::Reason;

/// Bytes of a function's name, and of a file's, that are told.
const NAME_SHOWN_BYTES: usize = 120;

/// Why a call came to nothing.
#[derive(Debug)]
pub(super) struct Failure {
    /// `Trap`, `Deadline` or `BadAnswer`.
    pub(super) reason: Reason,
    /// The same in words.
    pub(super) detail: String,
    /// Of these the place and the functions that were running.
    pub(super) site: Option<String>,
    /// The record that the guest said it was at, counted from the call's first. Not to be
    /// believed.
    pub(super) progress: u32,
}

impl Failure {
    /// An answer that breaks the contract.
    pub(super) fn bad_answer(detail: impl Into<String>, progress: u32) -> Failure {
        let detail = format!("bad answer: {}", detail.into());
        Failure { reason: Reason::BadAnswer, detail, site: None, progress }
    }

    /// A call that did not return.
    pub(super) fn of_call(error: &Error, host: &mut Host, progress: u32) -> Failure {
        let late = error.downcast_ref::<Trap>() == Some(&Trap::Interrupt);
        let reason = if late { Reason::Deadline } else { Reason::Trap };
        let label = if late { "deadline" } else { "trap" };
        let (words, site) = describe_with_site(error, host);
        Failure { reason, detail: format!("{label}: {words}"), site, progress }
    }
}

/// What happened, without the label in front.
pub(super) fn describe(error: &Error, host: &mut Host) -> String {
    describe_with_site(error, host).0
}

/// The same, and the end of it that says where.
fn describe_with_site(error: &Error, host: &mut Host) -> (String, Option<String>) {
    let trap = error.downcast_ref::<Trap>();
    // Rust's panics have their place and their message on two lines.
    let words = host.last_words().map(|words| words.replace('\n', " "));
    let mut text = match words {
        // A Rust panic says all of it itself; that it ends in `unreachable` is no news.
        Some(words) if trap.is_none_or(|trap| *trap == Trap::UnreachableCodeReached) => words,
        Some(words) => format!("{} ({words})", cause(error, trap)),
        None => cause(error, trap),
    };
    if let Some(size) = host.limiter.refused {
        let _ = write!(text, ", after memory of {} MiB was refused", size.div_ceil(1 << 20));
    }
    let words = text.len();
    if let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() {
        frames(backtrace, &mut text);
    }
    let site = (words < text.len()).then(|| text[words..].to_owned());
    (text, site)
}

fn cause(error: &Error, trap: Option<&Trap>) -> String {
    match trap {
        Some(Trap::Interrupt) => "the call was not done in time".to_owned(),
        Some(Trap::StackOverflow) => "stack overflow".to_owned(),
        // Its text is "wasm trap: integer divide by zero" and the like.
        Some(trap) => trap.to_string().trim_start_matches("wasm trap: ").to_owned(),
        None => error.root_cause().to_string(),
    }
}

/// ` at drop_cold/src/lib.rs:41 in drop_cold::divide < bridge_batch`: the place, then who called.
fn frames(backtrace: &WasmBacktrace, text: &mut String) {
    let mut names = Vec::new();
    let (mut place, mut of_the_sdk) = (None, None);
    for frame in backtrace.frames() {
        for symbol in frame.symbols() {
            if let (None, Some(file), Some(line)) = (&place, symbol.file(), symbol.line())
                && !is_of_the_language(file)
            {
                // Where an SDK panics says little: the author's line is in who called it.
                let found = if is_of_an_sdk(file) { &mut of_the_sdk } else { &mut place };
                found.get_or_insert_with(|| format!("{}:{line}", end_of(file)));
            }
        }
        let inlined = frame.symbols().iter().filter_map(|symbol| symbol.name()).next();
        names.push(match inlined.or_else(|| frame.func_name()) {
            Some(name) => name[..name.floor_char_boundary(NAME_SHOWN_BYTES)].to_owned(),
            None => format!("function {}", frame.func_index()),
        });
    }
    if let Some(place) = place.or(of_the_sdk) {
        let _ = write!(text, " at {place}");
    }
    names.truncate(FRAMES_MAX);
    if !names.is_empty() {
        let _ = write!(text, " in {}", names.join(" < "));
    }
}

/// Where Rust's own library panics says nothing: who called it does.
fn is_of_the_language(file: &str) -> bool {
    file.starts_with("/rustc/") || file.contains("/library/std/") || file.contains("/library/core/")
}

/// The one file of an SDK, beside the author's.
fn is_of_an_sdk(file: &str) -> bool {
    ["/bridge.h", "/bridge.zig"].iter().any(|name| file.ends_with(name))
}

/// The last three parts of a path: `drop_cold/src/lib.rs` tells modules apart. As short as a name
/// is, for the module may say anything.
fn end_of(file: &str) -> &str {
    let third = file.rmatch_indices('/').map(|(at, _)| at + 1).nth(2);
    let long = file.ceil_char_boundary(file.len().saturating_sub(NAME_SHOWN_BYTES));
    &file[third.unwrap_or(0).max(long)..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_sdk_is_not_its_author() {
        assert!(is_of_an_sdk("/home/a/warm_only/bridge.zig") && is_of_an_sdk("./bridge.h"));
        assert!(!is_of_an_sdk("/home/bridge.zig/transform.zig") && !is_of_an_sdk("my_bridge.h"));
    }

    #[test]
    fn places_are_told_by_the_end_of_their_path() {
        assert_eq!(end_of("/a/b/faulty/src/lib.rs"), "faulty/src/lib.rs");
        assert_eq!(end_of("./faulty/src/lib.rs"), "faulty/src/lib.rs");
        assert_eq!(end_of("lib.rs"), "lib.rs");
        let long = "ä".repeat(1_000);
        assert_eq!(end_of(&format!("/a/{long}b")).len(), NAME_SHOWN_BYTES - 1);
    }
}
