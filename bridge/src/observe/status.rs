//! How it goes, while it goes: a line for each pipeline on a terminal, rewritten each second; a
//! JSON line each ten seconds otherwise.

use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::{Meters, PipelineMeter, process, terminal};

const LIVE_INTERVAL: Duration = Duration::from_secs(1);
const JSON_INTERVAL: Duration = Duration::from_secs(10);

/// Tells until `stop` turns true; `ceiling_bytes` is the memory that was promised.
pub async fn status(meters: Meters, ceiling_bytes: usize, mut stop: watch::Receiver<bool>) {
    let live = terminal::is_live();
    let interval = if live { LIVE_INTERVAL } else { JSON_INTERVAL };
    let mut before: Vec<Counts> = meters.iter().map(|(_, meter)| Counts::of(meter)).collect();
    let mut at = Instant::now();
    loop {
        let stopped = tokio::time::timeout(interval, stop.wait_for(|stop| *stop)).await.is_ok();
        let elapsed = at.elapsed();
        at = Instant::now();
        let memory = process::resident_bytes();
        let mut lines = Vec::new();
        for ((name, meter), before) in meters.iter().zip(&mut before) {
            let now = Counts::of(meter);
            let p99 = meter.acked.take_recent(0.99);
            let pace = Pace { p99, ..Pace::of(before, &now, elapsed) };
            *before = now;
            match live {
                true => lines.push(line(name, meter, &pace, memory, ceiling_bytes)),
                false => tell(name, meter, &pace, memory, ceiling_bytes),
            }
        }
        if live {
            // A terminal that is gone takes its status with it.
            let _ = terminal::rewrite(lines);
        }
        if stopped {
            let _ = terminal::finish();
            return;
        }
    }
}

/// What is compared between two looks.
struct Counts {
    records_in: u64,
    rows_stored: u64,
    filtered: u64,
}

impl Counts {
    fn of(meter: &PipelineMeter) -> Counts {
        Counts {
            records_in: meter.records_in.get(),
            rows_stored: meter.rows_stored.get(),
            filtered: meter.records_filtered.get(),
        }
    }
}

/// What went by between two looks.
struct Pace {
    rows_per_s: f64,
    records_per_s: f64,
    filtered_percent: f64,
    /// At which the 99th of 100 rows since the last look was acknowledged.
    p99: Option<Duration>,
}

impl Pace {
    fn of(before: &Counts, now: &Counts, elapsed: Duration) -> Pace {
        let seconds = elapsed.as_secs_f64().max(1e-3);
        let records = now.records_in.saturating_sub(before.records_in) as f64;
        let filtered = now.filtered.saturating_sub(before.filtered) as f64;
        Pace {
            rows_per_s: now.rows_stored.saturating_sub(before.rows_stored) as f64 / seconds,
            records_per_s: records / seconds,
            filtered_percent: if records > 0.0 { 100.0 * filtered / records } else { 0.0 },
            p99: None,
        }
    }
}

fn line(
    name: &str,
    meter: &PipelineMeter,
    pace: &Pace,
    memory: Option<usize>,
    ceiling_bytes: usize,
) -> String {
    let mut line = format!(
        "{name}  {} rows/s  in {}/s  filtered {:.1} %  rejected {}",
        thousands(pace.rows_per_s as u64),
        thousands(pace.records_per_s as u64),
        pace.filtered_percent,
        thousands(meter.rejected_total()),
    );
    let lag = meter.lag.get().max(0) as u64;
    line.push_str(&format!("  lag {}", short(lag)));
    if lag > 0 && pace.records_per_s > 0.0 {
        line.push_str(&format!(" (≈ {:.1} s)", lag as f64 / pace.records_per_s));
    }
    if let Some(p99) = pace.p99 {
        line.push_str(&format!("  p99 acked {}", latency(p99)));
    }
    if let Some(bytes) = memory {
        line.push_str(&format!("  mem {}/{} MiB", bytes >> 20, ceiling_bytes >> 20));
    }
    let trouble = meter.trouble.lock().expect("no one panics with it");
    if !trouble.is_empty() {
        line.push_str(&format!("  ({trouble})"));
    }
    let remark = meter.remark.lock().expect("no one panics with it");
    if !remark.is_empty() {
        line.push_str(&format!("  ({remark})"));
    }
    line
}

fn tell(
    name: &str,
    meter: &PipelineMeter,
    pace: &Pace,
    memory: Option<usize>,
    ceiling_bytes: usize,
) {
    let trouble = meter.trouble.lock().expect("no one panics with it").clone();
    let remark = meter.remark.lock().expect("no one panics with it").clone();
    tracing::info!(
        pipeline = name,
        rows_per_s = pace.rows_per_s.round(),
        records_per_s = pace.records_per_s.round(),
        rows_stored = meter.rows_stored.get(),
        records_in = meter.records_in.get(),
        records_filtered = meter.records_filtered.get(),
        records_rejected = meter.rejected_total(),
        lag = meter.lag.get(),
        acked_p99_ms = pace.p99.map(|p99| p99.as_millis() as u64),
        memory_bytes = memory,
        ceiling_bytes,
        trouble,
        fallback_active = meter.fallback_active.get(),
        remark,
        "status"
    );
}

/// 812430 as 812,430.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// 1200000 as 1.2 M.
fn short(number: u64) -> String {
    match number {
        0..10_000 => thousands(number),
        10_000..1_000_000 => format!("{} k", number / 1_000),
        1_000_000..1_000_000_000 => format!("{:.1} M", number as f64 / 1e6),
        _ => format!("{:.1} G", number as f64 / 1e9),
    }
}

fn latency(duration: Duration) -> String {
    match duration.as_millis() {
        0 => format!("{} µs", duration.as_micros()),
        ms @ 1..10_000 => format!("{ms} ms"),
        _ => format!("{:.1} s", duration.as_secs_f64()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reject::Reason;

    #[test]
    fn the_line_is_as_people_read_it() {
        let meter = PipelineMeter::default();
        let before = Counts::of(&meter);
        meter.records_in.add(902_700);
        meter.rows_stored.add(812_430);
        meter.records_filtered.add(90_270);
        meter.reject(Reason::Malformed, 3);
        meter.lag.set(1_200_000);
        meter.acked.record(Duration::from_millis(84), 1);
        let mut pace = Pace::of(&before, &Counts::of(&meter), Duration::from_secs(1));
        pace.p99 = meter.acked.take_recent(0.99);
        assert_eq!(meter.acked.take_recent(0.99), None, "it was taken");
        assert_eq!(
            line("readings", &meter, &pace, Some(71 << 20), 96 << 20),
            "readings  812,430 rows/s  in 902,700/s  filtered 10.0 %  rejected 3  \
             lag 1.2 M (≈ 1.3 s)  p99 acked 84 ms  mem 71/96 MiB"
        );
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(thousands(0), "0");
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(1_000), "1,000");
        assert_eq!(short(1_234_567_890), "1.2 G");
        assert_eq!(latency(Duration::from_micros(250)), "250 µs");
    }
}
