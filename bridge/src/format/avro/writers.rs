//! From what a value says of its writer's schema to the plan for it. Each lane compiles its own
//! plans, once for each schema; the schemas themselves are asked for once for all lanes.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use super::Stopped;
use super::fingerprint::fingerprint;
use super::options::{AvroOptions, Reader, Written};
use super::plan::{Naming, Plan};
use super::resolve::resolve;
use super::schema::Schema;
use crate::blame::Fault;
use crate::format::Refused;
use crate::names::Names;
use crate::reject::Reason;
use crate::schemas::{Doors, Missing, Registered, Registry, Text, Version};

/// Plans of one lane. More schemas than that come from one who invents them.
const PLANS_MAX: usize = 4_096;
/// What stands before a schema's id.
const MAGIC: u8 = 0;
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

/// A plan, and what it is for.
pub struct Found<'p, 'v> {
    pub plan: &'p Plan,
    /// The value without what names its schema.
    pub body: &'v [u8],
}

/// The plans of one lane.
pub struct Writers {
    schemas: Arc<Schemas>,
    names: Arc<Names>,
    plans: Vec<Result<Plan, Refused>>,
    /// Where the plan of a schema is.
    places: HashMap<u64, usize, foldhash::fast::FixedState>,
    /// The schema that was last met, for most are the same.
    last: Option<(u64, usize)>,
    /// Topics that were met, where values are read as their topic's schema.
    topics: Vec<Arc<str>>,
    topic: usize,
}

impl Writers {
    /// None yet.
    pub fn new(schemas: Arc<Schemas>, names: Arc<Names>) -> Writers {
        let (plans, places, topics) = (Vec::new(), HashMap::default(), Vec::new());
        Writers { schemas, names, plans, places, last: None, topics, topic: 0 }
    }

    /// What comes next is of this topic.
    pub fn turn_to(&mut self, topic: &Arc<str>) {
        if !matches!(self.schemas.options.reader, Reader::Registered { .. }) {
            return;
        }
        let known = self.topics.iter().position(|known| known == topic);
        self.topic = known.unwrap_or_else(|| {
            self.topics.push(Arc::clone(topic));
            self.topics.len() - 1
        });
    }

    /// The plan of a value.
    #[inline]
    pub fn find<'v>(&mut self, value: &'v [u8]) -> Result<Found<'_, 'v>, Stopped> {
        let (name, body) = match &self.schemas.options.written {
            Written::Registered(_) => match value {
                [MAGIC, a, b, c, d, body @ ..] => {
                    (u64::from(u32::from_be_bytes([*a, *b, *c, *d])), body)
                }
                _ => return Err(Stopped::Record(unframed(value))),
            },
            Written::Bare(_) => (0, value),
            Written::SingleObject(_) => match value.split_first_chunk::<10>() {
                Some(([m, n, print @ ..], body)) if [*m, *n] == MARK => {
                    (u64::from_le_bytes(*print), body)
                }
                _ => return Err(Stopped::Record(unmarked(value))),
            },
        };
        let at = match self.last {
            Some((last, at)) if last == self.key(name) => at,
            _ => self.place(name)?,
        };
        match &self.plans[at] {
            Ok(plan) => Ok(Found { plan, body }),
            Err(refused) => Err(Stopped::Record(refused.clone())),
        }
    }

    /// A schema's name among all topics: ids have 32 bits, and fingerprints are for one reader.
    #[inline]
    fn key(&self, name: u64) -> u64 {
        name ^ ((self.topic as u64) << 32)
    }

    #[cold]
    fn place(&mut self, name: u64) -> Result<usize, Stopped> {
        let key = self.key(name);
        let at = match self.places.get(&key) {
            Some(at) => *at,
            None => {
                let plan = self.learn(name)?;
                if self.plans.len() >= PLANS_MAX {
                    self.plans.clear();
                    self.places.clear();
                }
                self.plans.push(plan);
                self.places.insert(key, self.plans.len() - 1);
                self.plans.len() - 1
            }
        };
        self.last = Some((key, at));
        Ok(at)
    }

    /// The plan of a schema that this lane has not met. Here it may wait, for a registry.
    fn learn(&self, name: u64) -> Result<Result<Plan, Refused>, Stopped> {
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
                let registered = registry.by_id(id).map_err(missing)?;
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
        let refused = |why: String| (Reason::Malformed, format!("{shown}: {why}"));
        let writer = match writer {
            Ok(writer) => writer,
            Err(wrong) => return Ok(Err(refused(wrong))),
        };
        let options = &self.schemas.options;
        let naming = Naming {
            names: &self.names,
            separator: &options.separator,
            prefix: "",
            single: &options.column,
        };
        let resolved = resolve(&writer, reader.as_deref()).map_err(refused);
        Ok(resolved.and_then(|resolved| Plan::compile(resolved, naming)))
    }

    /// A version of a subject, to read the schema `id` as.
    fn version(
        &self,
        subject: Option<&str>,
        version: Version,
        id: u32,
    ) -> Result<Arc<Schema>, Stopped> {
        let registry = self.schemas.registry.as_ref().expect("versions are a registry's");
        let topic = &self.topics[self.topic];
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
    Schema::parse(&registered.text, registered.references.iter().map(String::as_str))
}

fn missing(missing: Missing) -> Stopped {
    match missing {
        Missing::Unknown(why) => Stopped::Record((Reason::UnknownSchema, why)),
        Missing::Fault(fault) => Stopped::Pipeline(fault),
    }
}

#[cold]
fn unframed(value: &[u8]) -> Refused {
    let message = match value {
        [] => return (Reason::Empty, "the value has no bytes".to_owned()),
        [MAGIC, ..] => format!("{} bytes are too few for a schema's id", value.len()),
        [b'{' | b'[', ..] => {
            "the value begins with no schema id, but with a bracket: is it JSON?".to_owned()
        }
        [first, ..] => format!(
            "the value begins with {first:#04x} and not with 0 and a schema's id: does its \
             producer use a registry? (framing = \"bare\")"
        ),
    };
    (Reason::Malformed, message)
}

#[cold]
fn unmarked(value: &[u8]) -> Refused {
    if value.is_empty() {
        return (Reason::Empty, "the value has no bytes".to_owned());
    }
    let message = "the value does not begin with c3 01 and its schema's fingerprint";
    (Reason::Malformed, message.to_owned())
}
