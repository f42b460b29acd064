//! Serves the pipelines' modules while they run, on a thread of its own, for compiling takes time:
//! looks at files, carries out orders, keeps what lanes had no time to write.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::reload::Reloader;
use crate::observe::admin::{Heard, Order, Outcome, Wish};

/// How often files are looked at. A change is taken when two looks see the same.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Until it is told to stop.
pub fn attend(mut reloaders: Vec<Reloader>, orders: &Receiver<Heard>) {
    let mut look = Instant::now() + LOOK_EVERY;
    loop {
        match orders.recv_timeout(look.saturating_duration_since(Instant::now())) {
            Ok(Heard::Order(order)) => carry_out(order, &mut reloaders),
            Ok(Heard::Stop) | Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                reloaders.iter_mut().for_each(Reloader::look);
                reloaders.iter().for_each(Reloader::tend);
                look = Instant::now() + LOOK_EVERY;
            }
        }
    }
    // All lanes have ended: nothing is added any more.
    reloaders.iter().for_each(Reloader::tend);
}

fn carry_out(order: Order, reloaders: &mut [Reloader]) {
    let Order { wish, pipeline, outcome } = order;
    let meant = |reloader: &&mut Reloader| pipeline.as_deref().is_none_or(|p| p == &*reloader.name);
    let mut told = Outcome { well: true, words: String::new() };
    for reloader in reloaders.iter_mut().filter(meant) {
        let done = match wish {
            Wish::Reload => reloader.reload(),
            Wish::Rollback => reloader.roll_back(),
            Wish::Promote => reloader.promote(),
        };
        told.well &= done.is_ok();
        let words = done.unwrap_or_else(|fault| fault.to_string());
        told.words.push_str(&format!("{}: {words}\n", reloader.name));
    }
    if told.words.is_empty() {
        let words = match &pipeline {
            Some(name) => format!("no pipeline `{name}` with transforms runs here\n"),
            None => "no pipeline here has transforms\n".to_owned(),
        };
        told = Outcome { well: false, words };
    }
    // Whoever asked may have gone; the log has it as well.
    let _ = outcome.send(told);
}
