//! Schemas from a registry that speaks Confluent's REST API, and from files. The one door at which
//! a format may wait, once for each schema that nobody has met: all lanes share what was learnt,
//! and a schema is asked for once, whoever asks.
//!
//! A registry that is away, or has trouble, makes its askers wait: nothing is wrong with their
//! records. An id that it does not have is the record's fault; that it lets nobody in is the
//! operator's.

mod client;
mod look;
mod options;
pub mod proto;
mod text;
mod writing;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use self::client::{Client, Failed};
pub use self::look::{Inquiry, Part, look};
pub use self::options::{RegistryOptions, RegistryPlan};
pub use self::text::{Files, Text};
pub use self::writing::{Newest, Proposed};
use crate::blame::Fault;
use crate::observe::PipelineMeter;
use crate::sink::retry::{Backoff, Trouble};

/// What is remembered of a registry: more schemas than one pipeline meets.
const KNOWN_MAX: usize = 10_000;
/// How long an id that the registry does not have is not asked for again.
const UNKNOWN_FOR: Duration = Duration::from_secs(10);

/// What waiting for a registry needs.
#[derive(Clone)]
pub struct Doors {
    /// The pipeline's name, for messages.
    pub pipeline: Arc<str>,
    /// Where trouble is told.
    pub meter: Arc<PipelineMeter>,
    /// Turned true when nobody wants to know any more.
    pub abandoned: watch::Receiver<bool>,
}

/// A version of a subject.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Version {
    /// By its number.
    Number(u32),
    /// The last one.
    Latest,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Version::Number(number) => write!(f, "{number}"),
            Version::Latest => f.write_str("latest"),
        }
    }
}

/// A schema as the registry has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Registered {
    /// `AVRO`, `PROTOBUF` or `JSON`.
    pub kind: String,
    /// The schema.
    pub text: String,
    /// The schemas that it refers to, those that others of them need first.
    pub references: Vec<Referred>,
}

/// A schema that another one refers to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Referred {
    /// What it is called where it is referred to: in Protobuf what is imported.
    pub names: Vec<String>,
    /// The schema.
    pub text: String,
}

/// Why there is no schema.
#[derive(Debug)]
pub enum Missing {
    /// The registry does not have it, in its words.
    Unknown(String),
    /// Nobody can know just now.
    Fault(Fault),
}

/// What is asked for.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Wanted {
    Id(u32),
    /// The last version may be another one for each writer's schema that is met.
    Version {
        subject: String,
        version: Version,
        writer: u32,
    },
}

/// What is known of it.
#[derive(Debug)]
enum Known {
    /// Somebody asks.
    Asked,
    There(Arc<Registered>),
    Unknown {
        why: String,
        until: Instant,
    },
}

/// A registry, and what was learnt from it.
pub struct Registry {
    plan: RegistryPlan,
    client: OnceLock<Result<Client, Fault>>,
    doors: OnceLock<(Doors, Trouble)>,
    known: Mutex<HashMap<Wanted, Known>>,
    changed: Condvar,
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Registry({})", self.plan.shown())
    }
}

impl Registry {
    /// A registry that nobody has asked. Connects to nothing.
    pub fn new(plan: RegistryPlan) -> Registry {
        let (client, doors) = (OnceLock::new(), OnceLock::new());
        Registry { plan, client, doors, known: Mutex::default(), changed: Condvar::new() }
    }

    /// Reads secrets and authorities. From now on askers wait for a registry that is away; before,
    /// and where nobody opens it (`bridge test`), they are told at once.
    pub fn open(&self, doors: Doors) -> Result<(), Fault> {
        self.client()?;
        let (pipeline, meter) = (Arc::clone(&doors.pipeline), Arc::clone(&doors.meter));
        let trouble = Trouble::new(pipeline, format!("registry {}", self.plan.shown()), meter);
        // Opened twice, the first doors stay.
        let _ = self.doors.set((doors, trouble));
        Ok(())
    }

    /// The schema of an id. Blocks the calling thread until that is known.
    pub fn by_id(&self, id: u32) -> Result<Arc<Registered>, Missing> {
        self.get(&Wanted::Id(id))
    }

    /// A version of a subject, for reading what the schema `writer` wrote.
    pub fn version(
        &self,
        subject: &str,
        version: Version,
        writer: u32,
    ) -> Result<Arc<Registered>, Missing> {
        self.get(&Wanted::Version { subject: subject.to_owned(), version, writer })
    }

    fn client(&self) -> Result<&Client, Fault> {
        self.client.get_or_init(|| Client::new(&self.plan)).as_ref().map_err(Fault::clone)
    }

    fn get(&self, wanted: &Wanted) -> Result<Arc<Registered>, Missing> {
        let mut known = self.known.lock().expect("no one panics with it");
        loop {
            match known.get(wanted) {
                Some(Known::There(schema)) => return Ok(Arc::clone(schema)),
                Some(Known::Unknown { why, until }) if Instant::now() < *until => {
                    return Err(Missing::Unknown(why.clone()));
                }
                Some(Known::Asked) => {
                    known = self.changed.wait(known).expect("no one panics with it");
                }
                Some(Known::Unknown { .. }) | None => break,
            }
        }
        if known.len() >= KNOWN_MAX {
            known.retain(|_, known| matches!(known, Known::Asked));
        }
        known.insert(wanted.clone(), Known::Asked);
        drop(known);
        let mut asking = Asking { registry: self, wanted, learnt: None };
        let answer = self.ask(wanted);
        asking.learnt = match &answer {
            Ok(schema) => Some(Known::There(Arc::clone(schema))),
            Err(Missing::Unknown(why)) => {
                let until = Instant::now() + UNKNOWN_FOR;
                Some(Known::Unknown { why: why.clone(), until })
            }
            Err(Missing::Fault(_)) => None,
        };
        answer
    }

    /// Asks for as long as the registry is away.
    fn ask(&self, wanted: &Wanted) -> Result<Arc<Registered>, Missing> {
        let client = self.client().map_err(Missing::Fault)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime
            .map_err(|error| Missing::Fault(Fault::us(format!("starting a runtime: {error}"))))?;
        let answer = runtime.block_on(self.patiently(async || client.schema(wanted).await));
        let answer = answer.map(Arc::new);
        // A name that is still being resolved is not waited for.
        runtime.shutdown_background();
        answer
    }

    async fn patiently<T>(&self, ask: impl AsyncFn() -> Result<T, Failed>) -> Result<T, Missing> {
        let mut backoff = Backoff::default();
        loop {
            let why = match ask().await {
                Err(Failed::Away(why)) => why,
                other => {
                    if let Some((_, trouble)) = self.doors.get() {
                        trouble.back(0);
                    }
                    return other.map_err(|failed| match failed {
                        Failed::Unknown(why) => Missing::Unknown(why),
                        Failed::Stop(fault) => Missing::Fault(fault),
                        Failed::Away(_) => unreachable!("it was told apart above"),
                    });
                }
            };
            let Some((doors, trouble)) = self.doors.get() else {
                let message = format!("asking the registry {}: {why}", self.plan.shown());
                return Err(Missing::Fault(Fault::world(message)));
            };
            trouble.away(0, &why);
            let mut abandoned = doors.abandoned.clone();
            let stopped = abandoned.wait_for(|stop| *stop);
            match tokio::time::timeout(backoff.next_wait(), stopped).await {
                // Whoever could say so is gone as well.
                Ok(_) => {
                    let fault = Fault::world("stopped while a schema was waited for");
                    return Err(Missing::Fault(fault));
                }
                Err(_elapsed) => {}
            }
        }
    }
}

/// Somebody asks; the others are told when that ends, however it does.
struct Asking<'a> {
    registry: &'a Registry,
    wanted: &'a Wanted,
    learnt: Option<Known>,
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        let mut known = self.registry.known.lock().expect("no one panics with it");
        match self.learnt.take() {
            Some(learnt) => drop(known.insert(self.wanted.clone(), learnt)),
            None => drop(known.remove(self.wanted)),
        }
        drop(known);
        self.registry.changed.notify_all();
    }
}

#[cfg(test)]
pub mod fake;
#[cfg(test)]
mod faults_tests;
#[cfg(test)]
mod tests;
