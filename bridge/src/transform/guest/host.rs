//! What a guest may call: the imports of module `bridge`, and `env.abort`. Everything that a
//! guest passes goes through checked slices of its memory; what a call said (log lines, metrics)
//! counts only when the call has returned.

use std::sync::Arc;
use std::time::Instant;

use bridge_abi::{metrics, names, read};
use wasmtime::{Caller, Error, Extern, Linker};

use super::limits::{
    LOG_LINES_MAX, LOG_LINES_PER_SECOND, Limiter, MESSAGE_BYTES_MAX, METRICS_MAX, NAME_BYTES_MAX,
};
use crate::names::{Interner, Names};
use crate::observe::TransformMeter;

/// What `bridge.*` offers.
pub(super) const IMPORTS: &[&str] = &["column", "table", "topic", "name", "fail", "log", "metric"];

/// What the host keeps for one instance.
pub(super) struct Host {
    pub(super) limiter: Limiter,
    pub(super) names: Arc<Names>,
    pub(super) deterministic: bool,
    /// The message behind a refusal, a panic or an exit.
    pub(super) failed: Option<String>,
    /// Columns interned so far, while they are collected: during init.
    pub(super) collected: Option<Vec<u16>>,
    /// Lines of this call, with their level.
    pub(super) lines: Vec<(i32, String)>,
    /// Lines that did not fit.
    lines_lost: u64,
    /// What was written to standard output and error since the last line break.
    pub(super) output: [Vec<u8>; 2],
    metrics: Vec<Metric>,
}

struct Metric {
    name: String,
    gauge: bool,
    value: f64,
    said: bool,
}

impl Host {
    pub(super) fn new(names: Arc<Names>, memory_max: usize, deterministic: bool) -> Host {
        Host {
            limiter: Limiter::new(memory_max),
            names,
            deterministic,
            failed: None,
            collected: None,
            lines: Vec::new(),
            lines_lost: 0,
            output: [Vec::new(), Vec::new()],
            metrics: Vec::new(),
        }
    }

    /// Takes a log line; beyond the bound of one call lines are only counted.
    pub(super) fn line(&mut self, level: i32, text: &[u8]) {
        if self.lines.len() >= LOG_LINES_MAX {
            self.lines_lost += 1;
            return;
        }
        let text = &text[..text.len().min(MESSAGE_BYTES_MAX)];
        let text: String = String::from_utf8_lossy(text)
            .trim_end()
            .chars()
            .map(|c| if c.is_control() && c != '\t' { ' ' } else { c })
            .collect();
        self.lines.push((level, text));
    }

    fn metric(&mut self, kind: i32, name: &[u8], value: f64) {
        let gauge = match kind {
            metrics::COUNTER if value >= 0.0 && value.is_finite() => false,
            metrics::GAUGE => true,
            _ => return,
        };
        if let Some(metric) = self.metrics.iter_mut().find(|metric| metric.name.as_bytes() == name)
        {
            if metric.gauge == gauge {
                metric.value = if gauge || !metric.said { value } else { metric.value + value };
                metric.said = true;
            }
            return;
        }
        // A Prometheus name, for that is where it ends; anything else is not one.
        let good = name.iter().all(|c| c.is_ascii_alphanumeric() || *c == b'_')
            && name.first().is_some_and(|c| !c.is_ascii_digit());
        if let (true, true, Ok(name)) =
            (good, self.metrics.len() < METRICS_MAX, std::str::from_utf8(name))
        {
            self.metrics.push(Metric { name: name.to_owned(), gauge, value, said: true });
        }
    }

    /// A call has returned: what it said counts.
    pub(super) fn commit(&mut self, log: &mut Log, meter: &TransformMeter, now: Instant) {
        for metric in self.metrics.iter_mut().filter(|metric| metric.said) {
            meter.say(&metric.name, metric.gauge, metric.value);
            metric.said = false;
        }
        self.publish_lines(log, now);
    }

    /// Its lines go to the log.
    pub(super) fn publish_lines(&mut self, log: &mut Log, now: Instant) {
        if !self.lines.is_empty() {
            log.write(&mut self.lines, self.lines_lost, now);
            self.lines_lost = 0;
        }
    }

    /// What the guest said of its end, the last lines of its standard error included.
    pub(super) fn last_words(&mut self) -> Option<String> {
        let mut words = self.failed.take().unwrap_or_default();
        if words.is_empty() {
            let [_, errors] = &self.output;
            let errors = errors.clone();
            if !errors.is_empty() {
                self.line(0, &errors);
            }
            let lines: Vec<&str> = self.lines.iter().map(|(_, line)| line.as_str()).collect();
            words = lines[lines.len().saturating_sub(3)..].join("; ");
        }
        (!words.is_empty()).then_some(words)
    }
}

/// Writes guests' lines to the log, so many a second and no more. Outlives its instances.
pub(super) struct Log {
    label: Arc<str>,
    tokens: f64,
    filled: Option<Instant>,
    lost: u64,
}

impl Log {
    pub(super) fn new(label: Arc<str>) -> Log {
        Log { label, tokens: 2.0 * LOG_LINES_PER_SECOND, filled: None, lost: 0 }
    }

    fn write(&mut self, lines: &mut Vec<(i32, String)>, lost: u64, now: Instant) {
        let since = self.filled.map_or(0.0, |filled| (now - filled).as_secs_f64());
        self.filled = Some(now);
        self.tokens = (self.tokens + since * LOG_LINES_PER_SECOND).min(2.0 * LOG_LINES_PER_SECOND);
        self.lost += lost;
        let transform = &*self.label;
        for (level, line) in lines.drain(..) {
            if self.tokens < 1.0 {
                self.lost += 1;
                continue;
            }
            self.tokens -= 1.0;
            match level {
                bridge_abi::levels::ERROR => tracing::error!(transform, "{line}"),
                bridge_abi::levels::WARN => tracing::warn!(transform, "{line}"),
                bridge_abi::levels::INFO => tracing::info!(transform, "{line}"),
                _ => tracing::debug!(transform, "{line}"),
            }
        }
        if self.lost > 0 && self.tokens >= 1.0 {
            tracing::warn!(transform, "{} more lines were not written", self.lost);
            self.lost = 0;
        }
    }
}

/// The guest's memory and the host's data. During a start function the instance is not handed out
/// yet, so the memory is asked for anew each time; imports are not for each row.
pub(super) fn memory<'c>(
    caller: &'c mut Caller<'_, Host>,
) -> wasmtime::Result<(&'c mut [u8], &'c mut Host)> {
    match caller.get_export("memory") {
        Some(Extern::Memory(memory)) => Ok(memory.data_and_store_mut(caller)),
        _ => Err(Error::msg("the module exports no memory")),
    }
}

/// What a guest points to; outside its memory is a trap.
pub(super) fn slice(memory: &[u8], ptr: i32, len: i32) -> wasmtime::Result<&[u8]> {
    read::bytes(memory, ptr as u32 as usize, len as u32 as usize).ok_or_else(outside)
}

/// The same, to be written to.
pub(super) fn slice_mut(memory: &mut [u8], ptr: i32, len: i32) -> wasmtime::Result<&mut [u8]> {
    memory
        .get_mut(ptr as u32 as usize..)
        .and_then(|rest| rest.get_mut(..len as u32 as usize))
        .ok_or_else(outside)
}

fn outside() -> Error {
    Error::msg("a pointer given to an import is outside the memory")
}

/// Defines the imports of module `bridge`, and `env.abort`.
pub(super) fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    linker.func_wrap("bridge", "column", |mut caller: Caller<'_, Host>, ptr: i32, len: i32| {
        let (memory, host) = memory(&mut caller)?;
        let id = intern(&host.names.columns, memory, ptr, len)?;
        if let (Some(collected), true) = (&mut host.collected, id != 0) {
            collected.push(id as u16);
        }
        Ok(id)
    })?;
    linker.func_wrap("bridge", "table", |mut caller: Caller<'_, Host>, ptr: i32, len: i32| {
        let (memory, host) = memory(&mut caller)?;
        intern(&host.names.tables, memory, ptr, len)
    })?;
    linker.func_wrap("bridge", "topic", |mut caller: Caller<'_, Host>, ptr: i32, len: i32| {
        let (memory, host) = memory(&mut caller)?;
        intern(&host.names.topics, memory, ptr, len)
    })?;
    linker.func_wrap("bridge", "name", name)?;
    linker.func_wrap("bridge", "fail", |mut caller: Caller<'_, Host>, ptr: i32, len: i32| {
        let (memory, host) = memory(&mut caller)?;
        let text = slice(memory, ptr, len)?;
        let text = &text[..text.len().min(MESSAGE_BYTES_MAX)];
        host.failed = Some(String::from_utf8_lossy(text).into_owned());
        Ok(())
    })?;
    linker.func_wrap(
        "bridge",
        "log",
        |mut caller: Caller<'_, Host>, level: i32, ptr: i32, len: i32| {
            let (memory, host) = memory(&mut caller)?;
            host.line(level, slice(memory, ptr, len)?);
            Ok(())
        },
    )?;
    linker.func_wrap(
        "bridge",
        "metric",
        |mut caller: Caller<'_, Host>, kind: i32, ptr: i32, len: i32, value: f64| {
            let (memory, host) = memory(&mut caller)?;
            let name = slice(memory, ptr, len)?;
            if name.len() <= 128 {
                host.metric(kind, name, value);
            }
            Ok(())
        },
    )?;
    linker.func_wrap("env", "abort", abort)?;
    Ok(())
}

/// The id of a name; 0 where it is refused.
fn intern(names: &Interner, memory: &[u8], ptr: i32, len: i32) -> wasmtime::Result<i32> {
    let name = slice(memory, ptr, len)?;
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return Ok(0);
    }
    let Ok(name) = std::str::from_utf8(name) else { return Ok(0) };
    Ok(names.intern(name).map_or(0, i32::from))
}

/// Writes the name behind an id, as much as fits; answers its whole length, or -1.
fn name(
    mut caller: Caller<'_, Host>,
    kind: i32,
    id: i32,
    ptr: i32,
    cap: i32,
) -> wasmtime::Result<i32> {
    let (memory, host) = memory(&mut caller)?;
    let names = match kind {
        names::COLUMN => &host.names.columns,
        names::TABLE => &host.names.tables,
        names::TOPIC => &host.names.topics,
        _ => return Ok(-1),
    };
    let Some(name) = u16::try_from(id).ok().and_then(|id| names.name(id)) else { return Ok(-1) };
    let room = slice_mut(memory, ptr, cap)?;
    let fits = room.len().min(name.len());
    room[..fits].copy_from_slice(&name.as_bytes()[..fits]);
    Ok(name.len() as i32)
}

/// AssemblyScript's end: strings are UTF-16 with their length in bytes in front.
fn abort(
    mut caller: Caller<'_, Host>,
    message: i32,
    file: i32,
    line: i32,
    column: i32,
) -> wasmtime::Result<()> {
    let (memory, host) = memory(&mut caller)?;
    let text = |ptr: i32| -> Option<String> {
        let ptr = ptr as u32 as usize;
        let len = u32::from_le_bytes(*read::chunk::<4>(memory, ptr.checked_sub(4)?)?) as usize;
        let bytes = read::bytes(memory, ptr, len.min(MESSAGE_BYTES_MAX))?;
        let units: Vec<u16> =
            bytes.as_chunks::<2>().0.iter().map(|unit| u16::from_le_bytes(*unit)).collect();
        Some(String::from_utf16_lossy(&units))
    };
    let message = text(message).unwrap_or_else(|| "aborted".to_owned());
    let file = text(file).unwrap_or_default();
    host.failed = Some(format!("{message} at {file}:{line}:{column}"));
    Err(Error::msg("abort"))
}
