//! The terminal's last lines, which status rewrites and logs must not break: both write through
//! here, to standard error.

use std::io::{self, IsTerminal, Write};
use std::sync::Mutex;

/// Status lines on the screen, just above the cursor's line (the last has no line end).
static LIVE: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Whether a person is looking.
pub fn is_live() -> bool {
    io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Columns of the terminal behind standard output, if it is one.
pub fn width() -> Option<usize> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCGWINSZ writes one `winsize`, which `size` is, and keeps no pointer to it.
    let asked = unsafe { libc::ioctl(libc::STDOUT_FILENO, libc::TIOCGWINSZ, &raw mut size) };
    (asked == 0 && size.ws_col > 0).then_some(usize::from(size.ws_col))
}

/// Writes text above the status lines.
pub fn write_above(text: &[u8]) -> io::Result<()> {
    let live = LIVE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let mut out = Vec::with_capacity(text.len() + 64);
    erase(&mut out, live.len());
    out.extend_from_slice(text);
    draw(&mut out, &live);
    io::stderr().write_all(&out)
}

/// Replaces the status lines.
pub fn rewrite(lines: Vec<String>) -> io::Result<()> {
    let mut live = LIVE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let mut out = Vec::new();
    erase(&mut out, live.len());
    draw(&mut out, &lines);
    *live = lines;
    io::stderr().write_all(&out)
}

/// Leaves the status lines as they are and goes on below them.
pub fn finish() -> io::Result<()> {
    let mut live = LIVE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if std::mem::take(&mut *live).is_empty() {
        return Ok(());
    }
    io::stderr().write_all(b"\n")
}

fn erase(out: &mut Vec<u8>, lines: usize) {
    if lines == 0 {
        return;
    }
    if lines > 1 {
        out.extend_from_slice(format!("\x1b[{}A", lines - 1).as_bytes());
    }
    // Back to the first column, then everything below is gone.
    out.extend_from_slice(b"\r\x1b[J");
}

fn draw(out: &mut Vec<u8>, lines: &[String]) {
    out.extend_from_slice(lines.join("\n").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_drawn_is_erased() {
        let mut out = Vec::new();
        erase(&mut out, 0);
        assert!(out.is_empty());
        draw(&mut out, &["a".to_owned(), "b".to_owned()]);
        erase(&mut out, 2);
        assert_eq!(out, b"a\nb\x1b[1A\r\x1b[J");
    }
}
