//! Generations that were closed and are being counted back; what comes of it goes home.

use std::future::poll_fn;
use std::task::Poll;

use super::Shared;
use super::generation::Cargo;
use crate::batch::{Receipt, Route, Verdict};
use crate::sink::{BoxFuture, Home};

/// A generation that is being counted. Given up, it still has its cargo.
pub struct Counting {
    /// What travelled.
    pub cargo: Vec<Cargo>,
    /// Ends when it was counted; the error is what is missing.
    pub count: BoxFuture<'static, Result<(), String>>,
}

/// Waits for the next generation that was counted.
pub async fn next_counted(counting: &mut Vec<Counting>) -> (Vec<Cargo>, Result<(), String>) {
    poll_fn(|context| {
        for index in 0..counting.len() {
            if let Poll::Ready(counted) = counting[index].count.as_mut().poll(context) {
                return Poll::Ready((counting.swap_remove(index).cargo, counted));
            }
        }
        Poll::Pending
    })
    .await
}

/// Sends home a generation that was counted; whether all of it was there.
pub async fn settle(
    shared: &Shared,
    counted: (Vec<Cargo>, Result<(), String>),
    home: &Home,
) -> bool {
    let whole = counted.1.is_ok();
    match counted {
        (cargo, Ok(())) => stored(shared, cargo, home).await,
        (cargo, Err(missing)) => {
            let pipeline = &shared.pipeline;
            tracing::warn!(
                "{pipeline}: not all rows arrived over tcp ({missing}); once more over http"
            );
            send(home, cargo, Verdict::Rewind { route: Route::Proof }).await;
        }
    }
    whole
}

/// Sends home what is stored.
pub async fn stored(shared: &Shared, cargo: Vec<Cargo>, home: &Home) {
    for one in &cargo {
        shared.meter.bytes_stored.add(one.bytes);
        shared.meter.stored.record(one.opened.elapsed(), one.rows);
    }
    send(home, cargo, Verdict::Stored).await;
}

/// One receipt for several payloads.
pub async fn send(home: &Home, cargo: Vec<Cargo>, verdict: Verdict) {
    if cargo.is_empty() {
        return;
    }
    let rows = match verdict {
        Verdict::Stored => cargo.iter().map(|one| one.rows).sum(),
        Verdict::Rewind { .. } => 0,
    };
    let shares = cargo.into_iter().flat_map(|one| one.shares).collect();
    home.send(Receipt { shares, verdict, rows }).await;
}
