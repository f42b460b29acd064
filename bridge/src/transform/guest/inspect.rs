//! A module looked at before anybody runs it: what it exports, imports, takes and reads, and
//! everything that it would be refused for.

use std::path::Path;
use std::sync::Arc;

use wasmtime::{ExternType, Linker, Module, ValType};

use super::engine;
use super::host::{Host, Log};
use super::instance::{Instance, Template};
use super::options::{self, Meant};
use super::origin::Origin;
use super::{export_faults, host, is_offered, wasi};
use crate::blame::Fault;
use crate::config::Section;
use crate::names::{Interner, Names};
use crate::transform::LoadContext;

/// What a module is.
#[derive(Clone, Debug, Default)]
pub struct Inspection {
    /// What it is called.
    pub name: String,
    /// Its size.
    pub bytes: usize,
    /// Name and type of each export.
    pub exports: Vec<(String, String)>,
    /// Its imports.
    pub imports: Vec<Import>,
    /// Bytes of its memory when it begins, and what it may grow to by its own word.
    pub memory: Option<(u64, Option<u64>)>,
    /// The version of the contract that it says it is made for.
    pub abi: Option<i32>,
    /// What it reads, if it started.
    pub reads: Option<Reads>,
    /// Bytes of its memory once it has started.
    pub started_bytes: Option<usize>,
    /// What it would be refused for, in words; nothing if it would run.
    pub refusals: Vec<String>,
}

/// Something that a module asks for.
#[derive(Clone, Debug)]
pub struct Import {
    /// From where, and what: `bridge.column`.
    pub name: String,
    /// Its type.
    pub kind: String,
    /// Whether it may be had.
    pub offered: bool,
}

/// What a module reads of a record.
#[derive(Clone, Debug, Default)]
pub struct Reads {
    /// Columns by name; `None` for all.
    pub columns: Option<Vec<String>>,
    /// `key`, `headers` and `value`, as far as it reads them.
    pub beside: Vec<&'static str>,
    /// Tables that it named when it started.
    pub tables: Vec<String>,
    /// Topics that it named.
    pub topics: Vec<String>,
}

/// Looks at the module of a section, as in the configuration. Paths start from `base`.
pub fn inspect(section: &Section, base: &Path) -> Result<Inspection, Fault> {
    let meant = options::parse(section)
        .map_err(|mistake| Fault::operator(format!("{}: {}", mistake.path, mistake.message)))?;
    let (names, base) = (Arc::new(Names::default()), base.to_owned());
    let read = meant.module.read(&LoadContext { names, emits: true, base, cache: None })?;
    let name = match (&meant.module, &read.path) {
        (Origin::Builtin(name), _) => format!("builtin:{name}"),
        (_, Some(path)) => path.display().to_string(),
        (_, None) => read.name,
    };
    let bytes = read.bytes;
    let mut found = Inspection { name, bytes: bytes.len(), ..Inspection::default() };
    let engine = engine::shared().map_err(Fault::us)?;
    match engine::compile(engine, &bytes, None) {
        Err(error) => {
            let message = format!("is no module that can run here: {error}");
            found.refusals.push(message);
        }
        Ok(compiled) => look(&mut found, &compiled.module, &meant)?,
    }
    Ok(found)
}

fn look(found: &mut Inspection, module: &Module, meant: &Meant) -> Result<(), Fault> {
    let named = |(name, kind): (&str, &ExternType)| (name.to_owned(), in_words(kind));
    found.exports = module.exports().map(|e| named((e.name(), &e.ty()))).collect();
    if let Some(ExternType::Memory(memory)) = module.get_export("memory") {
        let bytes = |pages: u64| pages.saturating_mul(memory.page_size());
        found.memory = Some((bytes(memory.minimum()), memory.maximum().map(bytes)));
    }
    found.refusals = export_faults(module, meant.memory_max);
    let exports_are_well = found.refusals.is_empty();

    let ours = |error: wasmtime::Error| Fault::us(format!("offering imports: {error:#}"));
    let mut linker = Linker::<Host>::new(module.engine());
    host::link(&mut linker).map_err(ours)?;
    wasi::link(&mut linker).map_err(ours)?;
    for import in module.imports() {
        let offered = is_offered(&mut linker, &import).map_err(ours)?;
        let name = format!("{}.{}", import.module(), import.name());
        if !offered {
            found.refusals.push(format!("needs an import that is not offered: {name}"));
        }
        found.imports.push(Import { name, kind: in_words(&import.ty()), offered });
    }
    if found.imports.iter().any(|import| !import.offered) {
        return Ok(());
    }
    let pre = match linker.instantiate_pre(module) {
        Ok(pre) => pre,
        Err(error) => {
            found.refusals.push(format!("imports something with another type: {error:#}"));
            return Ok(());
        }
    };
    let template = Template {
        engine: engine::shared().map_err(Fault::us)?,
        pre,
        label: meant.name.as_str().into(),
        names: Arc::new(Names::default()),
        emits: true,
        config: meant.config.clone(),
        memory_max: meant.memory_max,
        deadline: meant.deadline,
        deterministic: true,
        metered: false,
        cases: None,
    };
    found.abi = Instance::version(&template);
    if exports_are_well {
        start(found, &template);
    }
    Ok(())
}

/// Starts it, to see whether it does, and what it reads.
fn start(found: &mut Inspection, template: &Template) {
    let mut log = Log::new(Arc::clone(&template.label));
    let instance = match Instance::start(template, &mut log) {
        Ok(instance) => instance,
        Err(message) => {
            found.refusals.push(format!("does not start: {message}"));
            return;
        }
    };
    found.started_bytes = Some(instance.memory_bytes());
    let names = &template.names;
    let name = |id: u16| names.columns.name(id).map(|name| name.to_string());
    let columns = instance.wants().columns();
    found.reads = Some(Reads {
        columns: columns.map(|ids| ids.into_iter().filter_map(name).collect()),
        beside: instance.wants().beside(),
        tables: all(&names.tables),
        topics: all(&names.topics),
    });
}

fn all(names: &Interner) -> Vec<String> {
    (1..=names.count()).filter_map(|id| names.name(id)).map(|name| name.to_string()).collect()
}

/// A type as people write it: `(i32, i32) -> i32`.
fn in_words(kind: &ExternType) -> String {
    let list = |kinds: &mut dyn Iterator<Item = ValType>| {
        kinds.map(|kind| kind.to_string()).collect::<Vec<_>>().join(", ")
    };
    match kind {
        ExternType::Func(function) => {
            let results = list(&mut function.results());
            let arrow = if results.is_empty() { "" } else { " -> " };
            format!("({}){arrow}{results}", list(&mut function.params()))
        }
        ExternType::Memory(_) => "memory".to_owned(),
        ExternType::Global(_) => "global".to_owned(),
        ExternType::Table(_) => "table".to_owned(),
        _ => "tag".to_owned(),
    }
}
