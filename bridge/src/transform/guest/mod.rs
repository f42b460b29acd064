//! A WebAssembly module that works on rows, fenced in. One call for each batch; memory, time and
//! everything it answers are checked; a record that it cannot take costs that record alone.
//!
//! ```text
//! options ▶ engine (compile, cache) ▶ Template ▶ instance ──┐
//!   lane: memory (copy in) ▶ instance (call) ▶ answer (check, take) ─▶ rows
//!                                  └── isolate, when a call fails
//! ```

mod answer;
mod cases;
mod engine;
mod failure;
mod fetch;
mod host;
mod inspect;
mod instance;
mod isolate;
mod lane;
mod limits;
mod memory;
mod options;
mod origin;
mod tally;
#[cfg(test)]
mod tests;
mod versions;
mod wasi;

use std::sync::Arc;
use std::time::Duration;

use bridge_abi::ABI;
use wasmtime::{ExternType, ImportType, Linker, Module, ValType};

use self::cases::{Cases, Of};
use self::host::{Host, Log};
pub use self::inspect::{Import, Inspection, Reads, inspect};
use self::instance::{Instance, Template};
use self::lane::Guest;
use self::options::{Meant, OnFailure, Shadow};
use self::origin::{Found, Origin};
use crate::blame::Fault;
use crate::config::{Mistake, Section};
use crate::kind::{Kind, Unable};
use crate::modules;
use crate::observe::TransformMeter;
use crate::transform::{LoadContext, Loaded, ShadowLoaded, Transform, TransformPlan};

/// The entry in the room's table.
pub const KIND: Kind<dyn TransformPlan> = Kind {
    name: "guest",
    summary: "a WebAssembly module, of your own or one that comes along, in a sandbox",
    example: "module = \"transforms/drop_cold.wasm\"\nconfig = { min_celsius = 15.0 }\n",
    schema: || schemars::schema_for!(options::Options),
    parse,
};

fn parse(section: &Section) -> Result<Box<dyn TransformPlan>, Mistake> {
    Ok(Box::new(Plan(options::parse(section)?)))
}

#[derive(Debug)]
struct Plan(Meant);

impl TransformPlan for Plan {
    fn name(&self) -> &str {
        &self.0.name
    }

    fn load(&self, context: &LoadContext) -> Result<Box<dyn Loaded>, Fault> {
        let found = self.0.module.read(context)?;
        let runs = load(&self.0, &found, context, false)?;
        let Shadow::Module(other) = &self.0.shadow else { return Ok(Box::new(runs)) };
        let candidate = load(&self.0, &other.read(context)?, context, false)?;
        let names = Arc::clone(&context.names);
        Ok(Box::new(ShadowLoaded::new(Arc::new(runs), Arc::new(candidate), names)))
    }

    fn load_metered(&self, context: &LoadContext) -> Result<Box<dyn Loaded>, Fault> {
        Ok(Box::new(load(&self.0, &self.0.module.read(context)?, context, true)?))
    }

    fn load_changed(
        &self,
        context: &LoadContext,
        now: &Arc<dyn Loaded>,
    ) -> Result<Option<Arc<dyn Loaded>>, Fault> {
        let found = self.0.module.sha256(context)?;
        let (runs, candidate) = match now.candidate() {
            Some((runs, candidate)) => (runs, Some(candidate)),
            None => (Arc::clone(now), None),
        };
        match &self.0.shadow {
            Shadow::Off if found == now.sha256() => Ok(None),
            Shadow::Off => Ok(Some(self.load(context)?.into())),
            Shadow::Module(other) => {
                let other = other.sha256(context)?;
                let is_same = candidate.is_some_and(|candidate| candidate.sha256() == other);
                match is_same && found == now.sha256() {
                    true => Ok(None),
                    false => Ok(Some(self.load(context)?.into())),
                }
            }
            Shadow::Changed => match candidate {
                Some(candidate) if candidate.sha256() == found => Ok(None),
                // It was put back: what runs has nothing in its shadow any more.
                Some(_) if runs.sha256() == found => Ok(Some(runs)),
                None if runs.sha256() == found => Ok(None),
                _ => {
                    let (candidate, names) = (self.load(context)?, Arc::clone(&context.names));
                    Ok(Some(Arc::new(ShadowLoaded::new(runs, candidate.into(), names))))
                }
            },
        }
    }

    fn looks(&self, context: &LoadContext) -> Option<String> {
        let own = self.0.module.looks(&context.base);
        let Shadow::Module(other) = &self.0.shadow else { return own };
        match (own, other.looks(&context.base)) {
            (Some(own), Some(other)) => Some(format!("{own}, {other}")),
            (own, other) => own.or(other),
        }
    }

    fn is_watched(&self) -> bool {
        self.0.watch
    }

    fn repeats(&self) -> Result<(), Unable> {
        if !self.0.deterministic {
            return Err(Unable::new(
                "deterministic",
                "a clock and chance give a replay other rows",
                "take it out: with delivery = \"exactly-once\" the clock stands still",
            ));
        }
        if self.0.on_failure == OnFailure::Bypass {
            return Err(Unable::new(
                "on_failure",
                "a deadline may pass at one try and not at the next",
                "on_failure = \"dead-letter\", or \"stop\"",
            ));
        }
        Ok(())
    }

    fn memory_bytes_max(&self) -> usize {
        match self.0.shadow {
            Shadow::Off => self.0.memory_max,
            Shadow::Changed | Shadow::Module(_) => 2 * self.0.memory_max,
        }
    }
}

/// A module, compiled and linked, that has shown once that it starts.
struct LoadedGuest {
    template: Arc<Template>,
    on_failure: OnFailure,
    from: String,
    sha256: String,
    bytes: usize,
    took: Duration,
    cached: bool,
}

impl Loaded for LoadedGuest {
    fn instance(&self, meter: Arc<TransformMeter>) -> Result<Box<dyn Transform>, Fault> {
        let guest = Guest::new(Arc::clone(&self.template), self.on_failure, meter);
        match guest {
            Ok(guest) => Ok(Box::new(guest)),
            Err(message) => Err(Fault::operator(format!(
                "transform {} does not start: {message}",
                self.template.label
            ))),
        }
    }

    fn summary(&self) -> String {
        let size = self.bytes.div_ceil(1024);
        let how = if self.cached { "loaded from the cache" } else { "compiled" };
        let took = self.took.as_secs_f64() * 1e3;
        let took = if took < 1.0 { format!("{took:.1}") } else { format!("{took:.0}") };
        format!("abi {ABI}, {size} KB, {how} in {took} ms")
    }

    fn tend(&self, meter: &TransformMeter) {
        if let Some(cases) = &self.template.cases {
            cases.write(&meter.cases);
        }
    }

    fn from(&self) -> &str {
        &self.from
    }

    fn sha256(&self) -> &str {
        &self.sha256
    }
}

/// Loads a module that was found. Fuel is counted if `metered`.
fn load(
    meant: &Meant,
    found: &Found,
    context: &LoadContext,
    metered: bool,
) -> Result<LoadedGuest, Fault> {
    let (file, bytes) = (found.name.as_str(), &*found.bytes);
    let engine = if metered { engine::metered() } else { engine::shared() };
    let engine = engine.map_err(Fault::us)?;
    let sha256 = found.sha256();
    let cache = context.cache.as_deref().map(|folder| (folder, sha256.as_str()));
    let compiled = engine::compile(engine, bytes, cache).map_err(|error| {
        Fault::operator(format!("transform {file} is no module that can run here: {error}"))
            .hint("build it for wasm32-unknown-unknown or wasm32-wasip1, as a core module")
    })?;
    check_exports(&compiled.module, file, meant.memory_max)?;
    let mut linker = Linker::new(engine);
    link(&mut linker, &compiled.module, file)?;
    let pre = linker.instantiate_pre(&compiled.module).map_err(|error| {
        Fault::operator(format!("transform {file} imports something with another type: {error:#}"))
    })?;
    let template = Template {
        engine,
        pre,
        label: meant.name.as_str().into(),
        names: Arc::clone(&context.names),
        emits: context.emits,
        config: meant.config.clone(),
        memory_max: meant.memory_max,
        deadline: meant.deadline,
        deterministic: meant.deterministic,
        metered,
        cases: cases(meant, found, context),
    };
    // A scratch instance: what refuses its configuration is refused now, not in a lane.
    let mut log = Log::new(Arc::clone(&template.label));
    if let Err(message) = Instance::start(&template, &mut log) {
        return Err(Fault::operator(format!("transform {file} does not start: {message}"))
            .hint("see `config` of this transform"));
    }
    Ok(LoadedGuest {
        template: Arc::new(template),
        on_failure: meant.on_failure,
        from: found.name.clone(),
        sha256,
        bytes: bytes.len(),
        took: compiled.took,
        cached: compiled.cached,
    })
}

/// Where records are kept on which the module fails, if they are.
fn cases(meant: &Meant, found: &Found, context: &LoadContext) -> Option<Cases> {
    let folder = context.base.join(meant.traps.as_ref()?);
    let module = match (&meant.module, &found.path) {
        (Origin::Builtin(name), _) => format!("{}{name}", modules::BUILTIN),
        (Origin::Https(pinned), _) => pinned.address(),
        (_, Some(path)) => cases::relative(&folder, path),
        (_, None) => found.name.clone(),
    };
    let (label, config, sha256) = (meant.name.clone(), meant.config_toml.clone(), found.sha256());
    Some(Cases::new(Of { folder, label, module, sha256, config }))
}

/// Offers what may be imported, and refuses the rest by name.
fn link(linker: &mut Linker<Host>, module: &Module, file: &str) -> Result<(), Fault> {
    let ours = |error| Fault::us(format!("offering imports: {error:#}"));
    host::link(linker).map_err(ours)?;
    wasi::link(linker).map_err(ours)?;
    for import in module.imports() {
        if !is_offered(linker, &import).map_err(ours)? {
            let (from, name) = (import.module(), import.name());
            let message =
                format!("transform {file} needs an import that is not offered: {from}.{name}");
            return Err(Fault::operator(message).hint(
                "a transform may import: bridge.{column,table,topic,name,fail,log,metric}, \
                 env.abort, and the clock, random and output of wasi_snapshot_preview1; \
                 see docs/transforms.md#imports",
            ));
        }
    }
    Ok(())
}

/// Whether an import may be had; one of WASI that only refuses is linked here.
fn is_offered(linker: &mut Linker<Host>, import: &ImportType<'_>) -> wasmtime::Result<bool> {
    let name = import.name();
    Ok(match import.module() {
        "bridge" => host::IMPORTS.contains(&name),
        "env" => name == "abort",
        wasi::MODULE => {
            wasi::ANSWERED.contains(&name) || wasi::link_refused(linker, name, &import.ty())?
        }
        _ => false,
    })
}

/// What a module must export: name, parameters, results (`i` is i32, `I` is i64).
const EXPORTS: &[(&str, &str, &str)] = &[
    ("bridge_abi", "", "i"),
    ("bridge_alloc", "i", "i"),
    ("bridge_init", "ii", "i"),
    ("bridge_batch", "i", "I"),
];
/// Exports of transforms with state.
const RESERVED: &[&str] = &["bridge_tick", "bridge_save", "bridge_load"];

fn check_exports(module: &Module, file: &str, memory_max: usize) -> Result<(), Fault> {
    match export_faults(module, memory_max).into_iter().next() {
        Some(message) => Err(Fault::operator(format!("transform {file} {message}"))
            .hint("see docs/transforms.md#exports")),
        None => Ok(()),
    }
}

/// Everything that is wrong with a module's exports.
fn export_faults(module: &Module, memory_max: usize) -> Vec<String> {
    let mut faults = Vec::new();
    match module.get_export("memory") {
        Some(ExternType::Memory(memory)) => {
            let bytes = memory.minimum().saturating_mul(memory.page_size());
            if bytes > memory_max as u64 {
                faults.push(format!(
                    "starts with {} MiB of memory, and memory_max is {} MiB",
                    bytes.div_ceil(1 << 20),
                    memory_max >> 20
                ));
            }
        }
        Some(_) => faults.push("exports `memory`, which is no memory".to_owned()),
        None => faults.push("exports no `memory`".to_owned()),
    }
    for (name, params, results) in EXPORTS {
        match module.get_export(name) {
            None => faults.push(format!("does not export `{name}`")),
            Some(export) if !is_function(&export, params, results) => {
                faults.push(format!("exports `{name}` with another type than it must have"));
            }
            Some(_) => {}
        }
    }
    if let Some(export) = module.get_export("_initialize")
        && !is_function(&export, "", "")
    {
        faults.push("exports `_initialize` with another type than it must have".to_owned());
    }
    let reserved = RESERVED.iter().filter(|name| module.get_export(name).is_some());
    faults.extend(
        reserved.map(|name| format!("exports `{name}`: transforms with state are not run yet")),
    );
    faults
}

fn is_function(export: &ExternType, params: &str, results: &str) -> bool {
    let ExternType::Func(function) = export else { return false };
    let letter = |kind: ValType| match kind {
        ValType::I32 => 'i',
        ValType::I64 => 'I',
        _ => '?',
    };
    function.params().map(letter).eq(params.chars())
        && function.results().map(letter).eq(results.chars())
}

/// Loads a module that is not in a file, for the demo and for tests; `options` as in the
/// configuration, where `module` is only a name then.
pub fn load_bytes(
    section: &Section,
    bytes: &[u8],
    context: &LoadContext,
) -> Result<Box<dyn Loaded>, Fault> {
    load_section(section, bytes, context, false)
}

/// The same; what it burns is counted in its meter. For benches: fuel costs more than a clock.
pub fn load_metered(
    section: &Section,
    bytes: &[u8],
    context: &LoadContext,
) -> Result<Box<dyn Loaded>, Fault> {
    load_section(section, bytes, context, true)
}

fn load_section(
    section: &Section,
    bytes: &[u8],
    context: &LoadContext,
    metered: bool,
) -> Result<Box<dyn Loaded>, Fault> {
    let meant = options::parse(section)
        .map_err(|mistake| Fault::operator(format!("{}: {}", mistake.path, mistake.message)))?;
    let name = match &meant.module {
        Origin::Path { path, .. } => path.file_name().unwrap_or_default().to_string_lossy(),
        Origin::Builtin(name) => (*name).into(),
        Origin::Https(pinned) => pinned.file_name().into(),
    };
    let found = Found { name: name.into_owned(), path: None, bytes: bytes.to_vec().into() };
    Ok(Box::new(load(&meant, &found, context, metered)?))
}
