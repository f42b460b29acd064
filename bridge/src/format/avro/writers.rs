//! From what a value says of its writer's schema to the plan for it. Each lane compiles its own
//! plans, once for each schema; the schemas themselves are asked for once for all lanes.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use super::fingerprint::fingerprint;
use super::options::{AvroOptions, Reader, Written};
use super::schema::Schema;
use crate::blame::Fault;
use crate::format::Refused;
use crate::format::framing::{Plans, framed};
use crate::format::walk::Stopped;
use crate::names::Names;
use crate::reject::Reason;
use crate::schemas::{Doors, Missing, Registered, Registry, Text, Version};

/// What stands before a schema's fingerprint (Avro specification 1.12, "Single-object encoding").
const MARK: [u8; 2] = [0xc3, 0x01];

/// The schemas of one pipeline.
#[derive(Debug)]
pub struct Schemas {
    options: Arc<AvroOptions>,
    registry: Option<Registry>,
    given: OnceLock<Result<Given, Fault>>,
}

/// Schemas that were given.
#[derive(Debug)]
struct Given {
    /// By their fingerprints.
    writers: HashMap<u64, Arc<Schema>>,
    reader: Option<Arc<Schema>>,
}

impl Schemas {
    /// Nothing is read or asked yet.
    pub fn new(options: Arc<AvroOptions>) -> Schemas {
        let registry = match &options.written {
            Written::Registered(plan) => Some(Registry::new((**plan).clone())),
            Written::Bare(_) | Written::SingleObject(_) => None,
        };
        Schemas { options, registry, given: OnceLock::new() }
    }

    /// Reads all files, so that what is wrong with them stops the start.
    pub fn open(&self, doors: Doors) -> Result<(), Fault> {
        if let Some(registry) = &self.registry {
            registry.open(doors)?;
        }
        self.given().map(|_| ())
    }

    fn given(&self) -> Result<&Given, Fault> {
        let given = self.given.get_or_init(|| self.read());
        given.as_ref().map_err(Fault::clone)
    }

    fn read(&self) -> Result<Given, Fault> {
        let read = |text: &Text| -> Result<Arc<Schema>, Fault> {
            let schema = Schema::parse(&text.read()?, []);
            schema.map(Arc::new).map_err(|wrong| text.wrong(&wrong))
        };
        let mut writers = HashMap::new();
        match &self.options.written {
            Written::Registered(_) => {}
            Written::Bare(text) => drop(writers.insert(0, read(text)?)),
            Written::SingleObject(texts) => {
                for text in texts {
                    let schema = read(text)?;
                    writers.insert(fingerprint(&schema), schema);
                }
            }
        }
        let reader = match &self.options.reader {
            Reader::Given(text) => Some(read(text)?),
            Reader::Writer | Reader::Registered { .. } => None,
        };
        Ok(Given { writers, reader })
    }
}

/// Makes of a schema what its values are read with.
pub trait Compile {
    type Made;

    /// `shown` is what messages call the writer's schema.
    fn compile(
        &self,
        writer: &Schema,
        reader: Option<&Schema>,
        names: &Names,
        shown: &str,
    ) -> Result<Self::Made, Refused>;
}

/// A plan, and what it is for.
pub struct Found<'p, 'v, M> {
    pub made: &'p M,
    /// The value without what names its schema.
    pub body: &'v [u8],
}

/// The plans of one lane.
pub struct Writers<C: Compile> {
    plans: Plans<C::Made>,
    meeting: Meeting<C>,
}

/// What makes them.
struct Meeting<C> {
    schemas: Arc<Schemas>,
    names: Arc<Names>,
    compiler: C,
    /// Topics that were met, where values are read as their topic's schema.
    topics: Vec<Arc<str>>,
    topic: usize,
}

impl<C: Compile> Writers<C> {
    /// None yet.
    pub fn new(schemas: Arc<Schemas>, names: Arc<Names>, compiler: C) -> Writers<C> {
        let meeting = Meeting { schemas, names, compiler, topics: Vec::new(), topic: 0 };
        Writers { plans: Plans::default(), meeting }
    }

    /// What comes next is of this topic.
    pub fn turn_to(&mut self, topic: &Arc<str>) {
        let Meeting { schemas, topics, topic: turned, .. } = &mut self.meeting;
        if !matches!(schemas.options.reader, Reader::Registered { .. }) {
            return;
        }
        let known = topics.iter().position(|known| known == topic);
        *turned = known.unwrap_or_else(|| {
            topics.push(Arc::clone(topic));
            topics.len() - 1
        });
    }

    /// The plan of a value.
    #[inline]
    pub fn find<'v>(&mut self, value: &'v [u8]) -> Result<Found<'_, 'v, C::Made>, Stopped> {
        let Writers { plans, meeting } = self;
        let called = meeting.schemas.options.called();
        let (name, body) = match &meeting.schemas.options.written {
            Written::Registered(_) => {
                let (id, body) = framed(value, called)?;
                (u64::from(id), body)
            }
            Written::Bare(_) => (0, value),
            Written::SingleObject(_) => match value.split_first_chunk::<10>() {
                Some(([m, n, print @ ..], body)) if [*m, *n] == MARK => {
                    (u64::from_le_bytes(*print), body)
                }
                _ => return Err(Stopped::Record(unmarked(value, called))),
            },
        };
        // Among all topics: ids have 32 bits, and fingerprints are for one reader.
        let key = name ^ ((meeting.topic as u64) << 32);
        let made = plans.get(key, || meeting.learn(name))?;
        Ok(Found { made, body })
    }
}

impl<C: Compile> Meeting<C> {
    /// The plan of a schema that this lane has not met. Here it may wait, for a registry.
    fn learn(&self, name: u64) -> Result<Result<C::Made, Refused>, Stopped> {
        let given = self.schemas.given().map_err(Stopped::Pipeline)?;
        let (shown, writer) = match &self.schemas.registry {
            None => match given.writers.get(&name) {
                Some(writer) => ("the schema".to_owned(), Ok(Arc::clone(writer))),
                None => {
                    let message = format!("none of schema_file has the fingerprint {name:016x}");
                    return Err(Stopped::Record((Reason::UnknownSchema, message)));
                }
            },
            Some(registry) => {
                let id = name as u32;
                let registered = registry.by_id(id)?;
                let shown = format!("schema {id} of the registry");
                (shown, parse(&registered).map(Arc::new))
            }
        };
        let reader = match &self.schemas.options.reader {
            Reader::Writer => None,
            Reader::Given(_) => given.reader.clone(),
            Reader::Registered { subject, version } => {
                Some(self.version(subject.as_deref(), *version, name as u32)?)
            }
        };
        let writer = match writer {
            Ok(writer) => writer,
            Err(wrong) => return Ok(Err((Reason::Malformed, format!("{shown}: {wrong}")))),
        };
        Ok(self.compiler.compile(&writer, reader.as_deref(), &self.names, &shown))
    }

    /// A version of a subject, to read the schema `id` as.
    fn version(
        &self,
        subject: Option<&str>,
        version: Version,
        id: u32,
    ) -> Result<Arc<Schema>, Stopped> {
        let registry = self.schemas.registry.as_ref().expect("versions are a registry's");
        // Keys say their subject, and are not told their topic.
        let topic = self.topics.get(self.topic).map_or("keys", |topic| topic);
        let subject = subject.map_or_else(|| format!("{topic}-value"), str::to_owned);
        let wrong = |why: String| {
            let message = format!("reading {topic} as version {version} of {subject}: {why}");
            let hint = "set `subject` and `schema_version` to what the registry has";
            Stopped::Pipeline(Fault::operator(message).hint(hint))
        };
        let registered = registry.version(&subject, version, id).map_err(|why| match why {
            Missing::Unknown(why) => wrong(why),
            Missing::Fault(fault) => Stopped::Pipeline(fault),
        })?;
        parse(&registered).map(Arc::new).map_err(wrong)
    }
}

fn parse(registered: &Registered) -> Result<Schema, String> {
    if registered.kind != "AVRO" {
        return Err(format!("it is {}, and not Avro", registered.kind));
    }
    let before = registered.references.iter().map(|referred| &*referred.text);
    Schema::parse(&registered.text, before)
}

#[cold]
fn unmarked(value: &[u8], called: &str) -> Refused {
    if value.is_empty() {
        return (Reason::Empty, format!("{called} has no bytes"));
    }
    let message = format!("{called} does not begin with c3 01 and its schema's fingerprint");
    (Reason::Malformed, message)
}
