//! The schemas of one sink, by subject, for all of its lanes: learnt, made or grown one at a time,
//! and registered before anybody writes with them. Here a lane waits for a registry that is away.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};

use tokio::sync::{Mutex as Turn, watch};

use super::options::{From, Part, SchemaPlan, SubjectName};
use super::{Column, Compiled, Document, legal};
use crate::blame::Fault;
use crate::observe::PipelineMeter;
use crate::schemas::{Doors, Newest, Proposed, Registry, Version as Number};
use crate::sink::notes::Notes;
use crate::sink::questdb::Denied;
use crate::sink::waiting::Waiting;
use crate::sink::{Finding, SinkContext};

/// Subjects of one sink, at most: names may come from records.
const SUBJECTS_MAX: usize = 4_096;
/// Stands before a schema's id.
const MAGIC: u8 = 0;
/// How often a subject is made to grow that grows under our hands.
const TRIES_MAX: usize = 5;

/// Under which name a schema is known, and what its record is called if it is made.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Subject {
    /// In the registry.
    pub name: String,
    /// The record's.
    pub record: String,
}

/// What rows are written with.
#[derive(Debug)]
pub struct Version {
    /// Stands before each value.
    pub head: Box<[u8]>,
    pub(super) compiled: Compiled,
}

/// What is known of a subject.
#[derive(Debug)]
struct Known {
    version: Arc<Version>,
    /// What it grows from, where it may.
    document: Option<Document>,
}

/// A version that a subject grows to.
struct Grows {
    document: Document,
    compiled: Compiled,
    /// Its id, if it is registered.
    id: Option<u32>,
}

/// The turn at a subject.
type Entry = Arc<Turn<Option<Known>>>;

/// All subjects of a sink.
pub struct Subjects {
    plan: SchemaPlan,
    registry: Option<Registry>,
    known: Mutex<HashMap<String, Entry>>,
    waiting: Waiting,
    abandoned: watch::Sender<bool>,
    pipeline: Arc<str>,
    meter: Arc<PipelineMeter>,
    notes: OnceLock<Arc<Notes>>,
}

impl Subjects {
    /// Nothing is read or asked yet.
    pub fn new(plan: SchemaPlan, context: &SinkContext) -> Subjects {
        Subjects {
            registry: plan.registry.as_ref().map(|registry| Registry::new((**registry).clone())),
            plan,
            known: Mutex::default(),
            waiting: Waiting::new(context.runtime.clone()),
            abandoned: watch::Sender::new(false),
            pipeline: Arc::clone(&context.pipeline),
            meter: Arc::clone(&context.meter),
            notes: OnceLock::new(),
        }
    }

    /// What is written, and how.
    pub fn plan(&self) -> &SchemaPlan {
        &self.plan
    }

    /// What would be registered is noted from now on.
    pub fn note(&self, notes: Arc<Notes>) {
        // Said twice, the first stays.
        let _ = self.notes.set(notes);
    }

    /// Everyone who waits gives up, for good.
    pub fn abandon(&self) {
        self.abandoned.send_replace(true);
    }

    /// Everyone who waits just now gives up.
    pub fn interrupt(&self) {
        self.waiting.interrupt();
    }

    /// What keeps a lane waiting here, if anything does.
    pub fn trouble(&self) -> Option<String> {
        self.registry.as_ref().and_then(Registry::trouble)
    }

    /// Rows go elsewhere from now on, or here again.
    pub fn rest(&self, rests: bool) {
        if let Some(registry) = &self.registry {
            registry.rest(rests);
        }
    }

    /// The subject of a topic's values, or keys, and of a table's.
    pub fn subject(&self, topic: &str, table: &str) -> Subject {
        let SchemaPlan { record, subject, subject_name, part, .. } = &self.plan;
        // What one topic has is one record, whatever tables its rows are of; unless these have
        // subjects of their own.
        let own = if *subject_name == SubjectName::Topic { topic } else { table };
        let made = || match part {
            Part::Value => legal(own),
            Part::Key(_) => legal(&format!("{own}-key")),
        };
        let record = record.clone().or_else(|| self.given_name()).unwrap_or_else(made);
        let name = match (subject, subject_name) {
            (Some(subject), _) => subject.clone(),
            (None, SubjectName::Topic) => format!("{topic}-{}", part.word()),
            (None, SubjectName::Record) => record.clone(),
            (None, SubjectName::TopicRecord) => format!("{topic}-{record}"),
        };
        Subject { name, record }
    }

    /// The name of a record whose schema is given.
    fn given_name(&self) -> Option<String> {
        let From::Text(text) = &self.plan.from else { return None };
        let compiled = self.plan.compile(&text.read().ok()?).ok()?;
        compiled.plan.name().map(str::to_owned)
    }

    /// What rows of a subject are written with that have these columns, as far as they may be
    /// added. Blocks the calling thread until that is known.
    pub fn learn(&self, subject: &Subject, columns: &[Column]) -> Result<Arc<Version>, Denied> {
        let entry = self.entry(subject)?;
        self.waiting.wait(async {
            let mut known = entry.lock().await;
            let learnt = match &self.plan.from {
                From::Columns => self.grown(subject, columns, known.as_ref()).await,
                _ if known.is_some() => Ok(None),
                From::Text(_) => self.given(subject).await.map(Some),
                From::Version(number) => self.looked_up(subject, *number).await.map(Some),
            };
            match learnt {
                Ok(Some(learnt)) => *known = Some(learnt),
                Ok(None) => {}
                Err(fault) => return Err(Denied::Pipeline(fault)),
            }
            known
                .as_ref()
                .map(|known| Arc::clone(&known.version))
                .ok_or_else(|| Denied::Pipeline(Fault::us("a schema was learnt and is not there")))
        })
    }

    fn entry(&self, subject: &Subject) -> Result<Entry, Denied> {
        let mut known = self.known.lock().expect("no one panics with it");
        if let Some(entry) = known.get(&subject.name) {
            return Ok(Arc::clone(entry));
        }
        if known.len() >= SUBJECTS_MAX {
            let detail =
                format!("{} would be subject {}, of {SUBJECTS_MAX}", subject.name, known.len() + 1);
            return Err(Denied::Record(crate::reject::Reason::BadName, detail));
        }
        let entry = Entry::default();
        known.insert(subject.name.clone(), Arc::clone(&entry));
        Ok(entry)
    }

    /// A version that is known by its id.
    fn version(&self, id: Option<u32>, compiled: Compiled) -> Arc<Version> {
        let mut head = Vec::new();
        if let Some(id) = id {
            head.push(MAGIC);
            head.extend_from_slice(&id.to_be_bytes());
            head.extend_from_slice(compiled.plan.indexes());
        }
        Arc::new(Version { head: head.into(), compiled })
    }

    /// The schema that is given.
    async fn given(&self, subject: &Subject) -> Result<Known, Fault> {
        let From::Text(text) = &self.plan.from else {
            return Err(Fault::us("a schema that is not given was read"));
        };
        let schema = text.read()?;
        let compiled = self.plan.compile(&schema).map_err(|wrong| text.wrong(&wrong))?;
        let id = match &self.registry {
            None => None,
            Some(registry) => Some(self.id_of(registry, subject, &schema).await?),
        };
        Ok(Known { version: self.version(id, compiled), document: None })
    }

    /// The id of a schema, registered or looked up.
    async fn id_of(
        &self,
        registry: &Registry,
        subject: &Subject,
        text: &str,
    ) -> Result<u32, Fault> {
        let schema = Proposed { kind: self.plan.format.kind(), text };
        if !self.plan.register {
            let Subject { name, .. } = subject;
            return registry.id_of(name, schema).await?.ok_or_else(|| {
                let message = format!("the registry does not have the schema under {name}");
                Fault::operator(message).hint("register it, or set register = true of the sink")
            });
        }
        if let Some(notes) = self.notes.get() {
            if let Some(id) = registry.id_of(&subject.name, schema).await? {
                return Ok(id);
            }
            notes.add(&format!("register under {}: {text}", subject.name));
            return Ok(0);
        }
        let id = registry.register(&subject.name, schema).await?;
        tracing::info!("{}: schema {id} is registered under {}", self.pipeline, subject.name);
        Ok(id)
    }

    fn registry(&self) -> Result<&Registry, Fault> {
        self.registry.as_ref().ok_or_else(|| Fault::us("a schema of no registry"))
    }

    /// A version in the registry.
    async fn looked_up(&self, subject: &Subject, number: Number) -> Result<Known, Fault> {
        let Subject { name, .. } = subject;
        let found = self.registry()?.newest(name, number).await?.ok_or_else(|| {
            let message = format!("the registry has no version {number} of {name}");
            Fault::operator(message).hint("register one, or set `subject` and `schema_version`")
        })?;
        let newest = self.of_format(found, name)?;
        let compiled = self.plan.compile(&newest.text).map_err(|why| wrong(name, &newest, &why))?;
        Ok(Known { version: self.version(Some(newest.id), compiled), document: None })
    }

    fn of_format(&self, newest: Newest, name: &str) -> Result<Newest, Fault> {
        match (newest.kind == self.plan.format.kind(), newest.refers) {
            (true, false) => Ok(newest),
            (false, _) => {
                let why = format!("it is {}", newest.kind);
                Err(wrong(name, &newest, &why))
            }
            (true, true) => Err(wrong(name, &newest, "it refers to other schemas")),
        }
    }

    /// The schema that has all these columns; `None` if the one that is known has them. It grows
    /// out of what the registry has just now, for other processes may have made it grow.
    async fn grown(
        &self,
        subject: &Subject,
        columns: &[Column],
        known: Option<&Known>,
    ) -> Result<Option<Known>, Fault> {
        let format = self.plan.format;
        if known.is_some_and(|known| {
            columns.iter().all(|column| known.version.compiled.has(format, &column.name))
        }) {
            return Ok(None);
        }
        let registry = self.registry()?;
        let mut grown = None;
        for _ in 0..TRIES_MAX {
            let newest = registry.newest(&subject.name, Number::Latest).await?;
            let before = newest.as_ref().map_or(0, |newest| newest.version);
            let grows = self.grow(subject, columns, newest, known)?;
            let (id, is_registered) = match grows.id {
                Some(id) => (id, false),
                None => (self.id_of(registry, subject, &grows.document.text()).await?, true),
            };
            let version = self.version(Some(id), grows.compiled);
            grown = Some(Known { version, document: Some(grows.document) });
            if !is_registered || self.notes.get().is_some() {
                break;
            }
            // Somebody else may have registered a version between the two questions, without the
            // columns of this one: then the next is made of both.
            let now = registry.newest(&subject.name, Number::Latest).await?;
            if now.is_some_and(|now| now.id == id && now.version == before + 1) {
                break;
            }
        }
        Ok(grown)
    }

    /// A version with all these columns: the newest, if it has them, or one that is to be
    /// registered.
    fn grow(
        &self,
        subject: &Subject,
        columns: &[Column],
        newest: Option<Newest>,
        known: Option<&Known>,
    ) -> Result<Grows, Fault> {
        let SchemaPlan { format, timestamps, .. } = self.plan;
        let noted = known.filter(|_| self.notes.get().is_some());
        let (mut document, mut has) = match (noted.and_then(|known| known.document.clone()), newest)
        {
            (Some(document), _) => (document, None),
            (None, None) if self.plan.makes_lone() => (Document::lone(format), None),
            (None, None) => (Document::new(format, &subject.record), None),
            (None, Some(newest)) => {
                let newest = self.of_format(newest, &subject.name)?;
                let unfit = |why: String| wrong(&subject.name, &newest, &why);
                let compiled = self.plan.compile(&newest.text).map_err(unfit)?;
                let is_whole = columns.iter().all(|column| compiled.has(format, &column.name));
                if let (Part::Key(_), false) = (&self.plan.part, is_whole) {
                    // What has another schema is another key, on another partition.
                    let lacks = |column: &&Column| !compiled.has(format, &column.name);
                    let lacks = columns.iter().find(lacks).map_or("", |column| &column.name);
                    return Err(unfit(format!("it has no `{lacks}`, and keys do not grow")));
                }
                match (Document::read(format, &newest.text), is_whole) {
                    (Ok(document), _) => (document, Some((newest.id, compiled))),
                    // It need not grow.
                    (Err(_), true) => {
                        let document = Document::new(format, &subject.record);
                        return Ok(Grows { document, compiled, id: Some(newest.id) });
                    }
                    (Err(why), false) => return Err(unfit(why)),
                }
            }
        };
        let is_new = has.is_none() && noted.is_none();
        let mut names = Vec::new();
        for column in columns {
            let field = format.field_of(&column.name);
            let is_there = match (&has, noted) {
                (Some((_, compiled)), _) => compiled.has(format, &column.name),
                (None, Some(known)) => known.version.compiled.has(format, &column.name),
                (None, None) => false,
            };
            if is_there || names.contains(&field) {
                continue;
            }
            names.push(field);
            // A field that comes later is not in what was written before.
            let is_always_there = column.is_always_there && is_new;
            document.add(&Column { is_always_there, ..column.clone() }, timestamps);
        }
        if let Some((id, compiled)) = has.take().filter(|_| names.is_empty()) {
            return Ok(Grows { document, compiled, id: Some(id) });
        }
        let compiled = self.plan.compile(&document.text()).map_err(|why| {
            let message = format!("making a schema for {}: {why}", subject.name);
            let hint = "give it by `schema_file`, or rename the column in the table's `rename`";
            Fault::operator(message).hint(hint)
        })?;
        Ok(Grows { document, compiled, id: None })
    }

    /// Knocks on the registry's door, for the subject of a topic's values; with `prepare` whoever
    /// asks from then on waits.
    pub async fn check(&self, subject: &Subject, prepare: bool) -> Vec<Finding> {
        let mut findings = Vec::new();
        if let From::Text(text) = &self.plan.from {
            let compiled =
                text.read().and_then(|t| self.plan.compile(&t).map_err(|wrong| text.wrong(&wrong)));
            if let Err(fault) = compiled {
                findings.push(Finding::failed("schema", &*subject.name, &fault));
            }
        }
        let Some(registry) = &self.registry else { return findings };
        let number = match self.plan.from {
            From::Version(number) => number,
            From::Columns | From::Text(_) => Number::Latest,
        };
        let note = match registry.newest(&subject.name, number).await {
            Ok(Some(Newest { id, version, .. })) => Ok(format!("version {version}, id {id}")),
            Ok(None) if self.plan.register => Ok("is not there yet: the bridge makes it".into()),
            Ok(None) => {
                let fault = Fault::operator(format!("the registry has no version {number} of it"));
                Err(fault.hint("register one, or set `subject`, `schema_version` or `register`"))
            }
            Err(fault) => Err(fault),
        };
        findings.push(match note {
            Ok(note) => Finding::ok("schema", &*subject.name, note),
            Err(fault) => Finding::failed("schema", &*subject.name, &fault),
        });
        if prepare {
            let doors = Doors {
                pipeline: Arc::clone(&self.pipeline),
                meter: Arc::clone(&self.meter),
                abandoned: self.abandoned.subscribe(),
            };
            if let Err(fault) = registry.open(doors) {
                findings.push(Finding::failed("schema", &*subject.name, &fault));
            }
        }
        findings
    }
}

/// A version that cannot be written with.
fn wrong(subject: &str, newest: &Newest, why: &str) -> Fault {
    let message = format!("writing with version {} of {subject}: {why}", newest.version);
    let hint = "set `subject` to another one, or give the schema: `schema_file`, `schema_version`";
    Fault::operator(message).hint(hint)
}
