//! From what a value says of its message to the plan for it. Each lane compiles its own plans,
//! once for each schema and message; the schemas themselves are asked for once for all lanes.

use std::sync::{Arc, OnceLock};

use super::model::Model;
use super::options::{ProtobufOptions, Written};
use super::plan::Plan;
use crate::blame::Fault;
use crate::format::Refused;
use crate::format::flat::Naming;
use crate::format::framing::{Plans, framed};
use crate::format::varint::{self, unzigzag};
use crate::format::walk::Stopped;
use crate::names::Names;
use crate::reject::Reason;
use crate::schemas::proto::Types;
use crate::schemas::{Doors, Registry};

/// Messages around a message, itself among them.
const INDEXES_MAX: usize = 64;
/// Places of messages that one lane remembers.
const PLACES_MAX: usize = 1_000;

/// The schemas of one pipeline.
#[derive(Debug)]
pub struct Schemas {
    options: Arc<ProtobufOptions>,
    registry: Option<Registry>,
    given: OnceLock<Result<(Types, usize), Fault>>,
}

impl Schemas {
    /// Nothing is read or asked yet.
    pub fn new(options: Arc<ProtobufOptions>) -> Schemas {
        let registry = match &options.written {
            Written::Registered(plan) => Some(Registry::new((**plan).clone())),
            Written::Bare { .. } => None,
        };
        Schemas { options, registry, given: OnceLock::new() }
    }

    /// Reads all files, so that what is wrong with them stops the start.
    pub fn open(&self, doors: Doors) -> Result<(), Fault> {
        match &self.registry {
            Some(registry) => registry.open(doors),
            None => self.given().map(|_| ()),
        }
    }

    /// The types that were given, and which of them values are.
    fn given(&self) -> Result<&(Types, usize), Fault> {
        let given = self.given.get_or_init(|| match &self.options.written {
            Written::Registered(_) => Err(Fault::us("no types were given")),
            Written::Bare { given, message } => {
                let types = given.types()?;
                let at = types.message(message).ok_or_else(|| {
                    let wrong = format!("there is no message `{message}` in what was given");
                    let hint = format!("set `message`; there are: {}", types.some_names());
                    Fault::operator(wrong).hint(hint)
                })?;
                Ok((types, at))
            }
        });
        given.as_ref().map_err(Fault::clone)
    }
}

/// A plan, and what it is for.
pub struct Found<'p> {
    pub plan: &'p Plan,
    /// Where the message begins in the value.
    pub body: usize,
}

/// The plans of one lane.
pub struct Writers {
    plans: Plans<Plan>,
    schemas: Arc<Schemas>,
    names: Arc<Names>,
    /// Places of messages in their files that were met: the first is the first message.
    places: Vec<Box<[u32]>>,
}

impl Writers {
    /// None yet.
    pub fn new(schemas: Arc<Schemas>, names: Arc<Names>) -> Writers {
        Writers { plans: Plans::default(), schemas, names, places: vec![[0].into()] }
    }

    /// The plan of a value.
    #[inline]
    pub fn find(&mut self, value: &[u8]) -> Result<Found<'_>, Stopped> {
        if self.schemas.registry.is_none() {
            let Writers { plans, schemas, names, .. } = self;
            let plan = plans.get(0, || {
                let (types, root) = schemas.given().map_err(Stopped::Pipeline)?;
                Ok(compile(schemas, names, types, *root))
            })?;
            return Ok(Found { plan, body: 0 });
        }
        let (id, rest) = framed(value, self.schemas.options.called())?;
        let (place, count) = match rest {
            // Most are the first message, and that is written as nothing.
            [0, ..] => (0, 1),
            _ => self.place(rest)?,
        };
        let Writers { plans, schemas, names, places } = self;
        let key = u64::from(id) | (place as u64) << 32;
        let plan = plans.get(key, || learn(schemas, names, id, &places[place]))?;
        Ok(Found { plan, body: value.len() - rest.len() + count })
    }

    /// The place of a message, by its number among those that were met, and how many bytes say it:
    /// how many indexes there are, and these, all by zigzag.
    #[cold]
    fn place(&mut self, rest: &[u8]) -> Result<(usize, usize), Refused> {
        let wrong = |why: &str| (Reason::Malformed, format!("the place of its message: {why}"));
        let mut at = 0;
        let mut next = || -> Result<i64, Refused> {
            let read = varint::read(rest.get(at..).unwrap_or_default());
            let (value, count) = read.map_err(|why| match why {
                varint::Wrong::Short => wrong("the value ends within it"),
                varint::Wrong::Long => wrong("a number of more than 64 bits"),
            })?;
            at += count;
            Ok(unzigzag(value))
        };
        let count = usize::try_from(next()?).ok().filter(|count| *count <= INDEXES_MAX);
        let count = count.ok_or_else(|| wrong("a list that is no list"))?;
        let mut indexes = [0; INDEXES_MAX];
        for index in &mut indexes[..count] {
            *index = u32::try_from(next()?).map_err(|_| wrong("an index that is none"))?;
        }
        // A list without indexes is the first message as well, however it is written.
        let indexes = if count == 0 { &[0][..] } else { &indexes[..count] };
        let known = self.places.iter().position(|known| **known == *indexes);
        let place = known.unwrap_or_else(|| {
            if self.places.len() >= PLACES_MAX {
                self.places.truncate(1);
                self.plans = Plans::default();
            }
            self.places.push(indexes.into());
            self.places.len() - 1
        });
        Ok((place, at))
    }
}

/// The plan of a message that this lane has not met. Here it may wait, for a registry.
fn learn(
    schemas: &Schemas,
    names: &Names,
    id: u32,
    indexes: &[u32],
) -> Result<Result<Plan, Refused>, Stopped> {
    let registry = schemas.registry.as_ref().expect("ids are a registry's");
    let registered = registry.by_id(id)?;
    let refused = |why: String| (Reason::Malformed, format!("schema {id} of the registry: {why}"));
    let types = Types::of_registered(&registered).map_err(refused);
    Ok(types.and_then(|types| {
        let root = types.message_at(indexes);
        let root = root.ok_or_else(|| refused(format!("it has no message {indexes:?}")))?;
        compile(schemas, names, &types, root)
    }))
}

fn compile(schemas: &Schemas, names: &Names, types: &Types, root: usize) -> Result<Plan, Refused> {
    let ProtobufOptions { say, separator, prefix, column, .. } = &*schemas.options;
    let naming = Naming { names, separator, prefix, single: column };
    Plan::compile(Model::new(types, *say), root, naming)
}
