//! One instance of a module: started from the template that all share, called batch by batch, and
//! thrown away after the first trap or missed deadline, however well it seems to go on.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bridge_abi::validate::Answer;
use bridge_abi::{ABI, batch_at, read};
use wasmtime::{Engine, InstancePre, Memory, Store, TypedFunc};

use super::cases::Cases;
use super::engine::ticks;
use super::failure::{Failure, describe};
use super::host::{Host, Log};
use super::limits::{ARENA_FIRST, START_MIN, arena_max};
use super::memory::{Input, Wants, fill};
use super::wasi::CONSTANT_NS;
use crate::names::Names;
use crate::observe::TransformMeter;

/// What every instance of a transform is made from.
pub(super) struct Template {
    pub(super) engine: &'static Engine,
    pub(super) pre: InstancePre<Host>,
    pub(super) label: Arc<str>,
    pub(super) names: Arc<Names>,
    /// Whether records for topics have somewhere to go.
    pub(super) emits: bool,
    pub(super) config: String,
    pub(super) memory_max: usize,
    pub(super) deadline: Duration,
    pub(super) deterministic: bool,
    /// Whether its engine counts fuel.
    pub(super) metered: bool,
    /// Where records are noted down on which it fails.
    pub(super) cases: Option<Cases>,
}

/// Fuel that no call burns up: it is counted here, and the clock is what bounds a call.
const FUEL: u64 = u64::MAX;

/// A started instance.
pub(super) struct Instance {
    store: Store<Host>,
    memory: Memory,
    alloc: TypedFunc<i32, i32>,
    batch: TypedFunc<i32, i64>,
    wants: Wants,
    arena: Arena,
    /// Calls of `bridge_batch` so far.
    calls: u64,
}

/// Where the guest takes its input.
#[derive(Clone, Copy, Debug)]
struct Arena {
    at: u32,
    len: usize,
    /// The guest said that more than this is too large.
    max: usize,
}

/// A call that returned: how many rows it was given, and what it says.
pub(super) struct Returned {
    pub(super) answer: Answer,
    /// As the guest left it.
    pub(super) progress: u32,
}

impl Instance {
    /// By the contract: deadline armed, instantiate, `_initialize`, `bridge_abi`, `bridge_alloc`,
    /// configuration, `bridge_init`. The error says in words what the module did instead.
    pub(super) fn start(template: &Template, log: &mut Log) -> Result<Instance, String> {
        let mut store = new_store(template);
        let started = start(template, &mut store);
        if started.is_ok() {
            store.data_mut().publish_lines(log, Instant::now());
        }
        let Started { memory, alloc, batch, wants, arena } = started?;
        // What is counted is what records cost.
        refuel(&mut store, template.metered);
        Ok(Instance { store, memory, alloc, batch, wants, arena, calls: 0 })
    }

    /// What `bridge_abi` of a module answers, if it comes to that.
    pub(super) fn version(template: &Template) -> Option<i32> {
        let mut store = new_store(template);
        let instance = template.pre.instantiate(&mut store).ok()?;
        if let Ok(initialize) = instance.get_typed_func::<(), ()>(&mut store, "_initialize") {
            initialize.call(&mut store, ()).ok()?;
        }
        let abi = instance.get_typed_func::<(), i32>(&mut store, "bridge_abi").ok()?;
        abi.call(&mut store, ()).ok()
    }

    /// Bytes of its memory.
    pub(super) fn memory_bytes(&self) -> usize {
        self.memory.data_size(&self.store)
    }

    /// Whether the call just made was its first, so that nothing before can have broken it.
    pub(super) fn was_fresh(&self) -> bool {
        self.calls <= 1
    }

    /// The input's place in its memory.
    pub(super) fn arena_bytes(&self) -> usize {
        self.arena.len
    }

    /// What it reads.
    pub(super) fn wants(&self) -> &Wants {
        &self.wants
    }

    /// Its memory, to read an answer in place.
    pub(super) fn memory(&self) -> &[u8] {
        self.memory.data(&self.store)
    }

    /// Whether an arena of this size may still be asked for.
    pub(super) fn could_grow(&self, size: usize) -> bool {
        size <= self.arena.max
    }

    /// Asks for a larger arena, of at least `least` bytes and rather `wanted`. False if it has
    /// no room for the least.
    pub(super) fn grow(
        &mut self,
        least: usize,
        wanted: usize,
        time: Duration,
    ) -> Result<bool, Failure> {
        self.store.set_epoch_deadline(ticks(time));
        let before = self.arena.len;
        let least = least.max(before + 8).next_multiple_of(8);
        let mut size = wanted.max(least).min(self.arena.max) & !7;
        let mut refused = false;
        while size >= least {
            if self.ask(size)? {
                return Ok(true);
            }
            refused = true;
            size = (size / 2) & !7;
            self.arena.max = size.max(before);
        }
        // After a refusal the arena before may be gone: it is asked for again.
        if refused && !self.ask(before)? {
            return Err(Failure::bad_answer("bridge_alloc refuses what it gave before", 0));
        }
        Ok(false)
    }

    fn ask(&mut self, size: usize) -> Result<bool, Failure> {
        let asked = self.alloc.call(&mut self.store, size as i32);
        let at = asked.map_err(|error| Failure::of_call(&error, self.store.data_mut(), 0))?;
        match arena_at(at as u32, size, self.memory.data(&self.store)) {
            Ok(true) => {
                self.arena = Arena { at: at as u32, len: size, max: self.arena.max };
                Ok(true)
            }
            Ok(false) => Ok(false),
            Err(message) => Err(Failure::bad_answer(message, 0)),
        }
    }

    /// Copies rows of `range` in, as many as fit; the number of those.
    pub(super) fn fill(&mut self, input: &Input<'_>, range: Range<usize>) -> usize {
        let memory = self.memory.data_mut(&mut self.store);
        let at = self.arena.at as usize;
        // The memory never shrinks, so the arena is still in it.
        let arena = &mut memory[at..at + self.arena.len];
        fill(arena, self.arena.at, input, range, &self.wants)
    }

    /// One call for the `count` records that were copied in.
    pub(super) fn call(&mut self, count: usize, time: Duration) -> Result<Returned, Failure> {
        self.calls += 1;
        self.store.set_epoch_deadline(ticks(time));
        let returned = self.batch.call(&mut self.store, self.arena.at as i32);
        let memory = self.memory.data(&self.store);
        // The header is the guest's to write now, so all of it but these two is forgotten.
        let number = |at: usize| {
            read::chunk::<4>(memory, self.arena.at as usize + at)
                .map_or(0, |bytes| u32::from_le_bytes(*bytes))
        };
        let progress = number(batch_at::PROGRESS).min(count.saturating_sub(1) as u32);
        let consumed = number(batch_at::CONSUMED);
        match returned {
            Ok(answer) => {
                let answer = Answer::new(answer, count as u32, consumed);
                Ok(Returned { answer, progress })
            }
            Err(error) => Err(Failure::of_call(&error, self.store.data_mut(), progress)),
        }
    }

    /// Fuel that was burnt since this was asked before, or since the instance was started.
    pub(super) fn take_fuel(&mut self) -> u64 {
        let left = self.store.get_fuel().unwrap_or(FUEL);
        refuel(&mut self.store, true);
        FUEL - left
    }

    /// What the last call said to the log and to the meters counts.
    pub(super) fn commit(&mut self, log: &mut Log, meter: &TransformMeter, now: Instant) {
        self.store.data_mut().commit(log, meter, now);
    }
}

/// A store for an instance that is to be started, with its bounds set.
fn new_store(template: &Template) -> Store<Host> {
    let host = Host::new(Arc::clone(&template.names), template.memory_max, template.deterministic);
    let mut store = Store::new(template.engine, host);
    store.limiter(|host| &mut host.limiter);
    store.set_epoch_deadline(ticks(template.deadline.max(START_MIN)));
    refuel(&mut store, template.metered);
    store
}

fn refuel(store: &mut Store<Host>, metered: bool) {
    if metered {
        store.set_fuel(FUEL).expect("its engine counts fuel");
    }
}

/// The batch's clock: the host's, or one that stands still.
pub(super) fn now_us(deterministic: bool) -> i64 {
    let ns = if deterministic { CONSTANT_NS } else { super::wasi::now_ns() };
    (ns / 1_000) as i64
}

struct Started {
    memory: Memory,
    alloc: TypedFunc<i32, i32>,
    batch: TypedFunc<i32, i64>,
    wants: Wants,
    arena: Arena,
}

fn start(template: &Template, store: &mut Store<Host>) -> Result<Started, String> {
    let instance = template.pre.instantiate(&mut *store).map_err(|error| {
        format!("cannot be instantiated: {}", describe(&error, store.data_mut()))
    })?;
    let memory = instance.get_memory(&mut *store, "memory").ok_or("exports no memory")?;
    if let Ok(initialize) = instance.get_typed_func::<(), ()>(&mut *store, "_initialize") {
        call("_initialize", &initialize, store, ())?;
    }
    let abi = function::<(), i32>(&instance, store, "bridge_abi")?;
    let version = call("bridge_abi", &abi, store, ())?;
    if version != i32::from(ABI) {
        return Err(format!("is made for version {version} of the contract, not for {ABI}"));
    }
    let alloc = function::<i32, i32>(&instance, store, "bridge_alloc")?;
    let init = function::<(i32, i32), i32>(&instance, store, "bridge_init")?;
    let batch = function::<i32, i64>(&instance, store, "bridge_batch")?;

    let config = template.config.as_bytes();
    let len = config.len().max(ARENA_FIRST).next_multiple_of(8);
    let at = call("bridge_alloc", &alloc, store, len as i32)? as u32;
    if !arena_at(at, len, memory.data(&*store))? {
        return Err(format!("has no room for {len} bytes of input"));
    }
    memory.data_mut(&mut *store)[at as usize..at as usize + config.len()].copy_from_slice(config);
    store.data_mut().collected = Some(Vec::new());
    let bits = call("bridge_init", &init, store, (at as i32, config.len() as i32))?;
    let interned = store.data_mut().collected.take().unwrap_or_default();
    if bits < 0 {
        let words = store.data_mut().last_words();
        return Err(words.unwrap_or_else(|| format!("bridge_init answers {bits}")));
    }
    let wants = Wants::new(bits, &interned)
        .ok_or_else(|| format!("bridge_init answers bits that mean nothing: {bits:#x}"))?;
    let arena = Arena { at, len, max: arena_max(template.memory_max).max(len) };
    Ok(Started { memory, alloc, batch, wants, arena })
}

fn function<P: wasmtime::WasmParams, R: wasmtime::WasmResults>(
    instance: &wasmtime::Instance,
    store: &mut Store<Host>,
    name: &str,
) -> Result<TypedFunc<P, R>, String> {
    // Names and types were checked when the module was loaded.
    instance.get_typed_func(&mut *store, name).map_err(|error| format!("export {name}: {error:#}"))
}

fn call<P: wasmtime::WasmParams, R: wasmtime::WasmResults>(
    name: &str,
    function: &TypedFunc<P, R>,
    store: &mut Store<Host>,
    params: P,
) -> Result<R, String> {
    function
        .call(&mut *store, params)
        .map_err(|error| format!("{name} fails: {}", describe(&error, store.data_mut())))
}

/// Whether there is an arena at the address; 0 is none. An error if it cannot be one.
fn arena_at(at: u32, len: usize, memory: &[u8]) -> Result<bool, String> {
    if at == 0 {
        return Ok(false);
    }
    let inside = at.is_multiple_of(8) && read::bytes(memory, at as usize, len).is_some();
    // The end is an address too.
    let inside = inside && u32::try_from(at as usize + len).is_ok();
    match inside {
        true => Ok(true),
        false => Err(format!("bridge_alloc({len}) answers {at:#x}, which is no place for it")),
    }
}
