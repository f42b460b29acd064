//! Whether values keep to their schema: JSON Schemas by the crate `jsonschema`, compiled once for
//! each id, whichever lane meets it first. What a schema refers to comes from the registry alone:
//! nothing is fetched and no file is read because a schema names it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};

use jsonschema::{Draft, PatternOptions, Retrieve, Uri, Validator};
use serde_json::Value;

use super::options::{Against, JsonSchemaOptions};
use crate::blame::Fault;
use crate::format::document::Document;
use crate::format::walk::Stopped;
use crate::format::{Refused, not_utf8};
use crate::reject::Reason;
use crate::schemas::{Doors, Referred, Registered, Registry};

/// Schemas that are kept compiled. More than that come from one who invents them.
const COMPILED_MAX: usize = 4_096;
/// Steps back that one match of a `pattern` may take: far more than a pattern in use takes.
const BACKTRACKS_MAX: usize = 100_000;
/// Characters of what the library says of a value, which may be all of it.
const SAID_MAX: usize = 300;

/// A compiled schema, or why it is none.
type Compiled = Arc<Result<Validator, Refused>>;

/// The schemas of one pipeline.
#[derive(Debug)]
pub struct Schemas {
    options: Arc<JsonSchemaOptions>,
    registry: Option<Registry>,
    given: OnceLock<Result<Compiled, Fault>>,
    compiled: Mutex<HashMap<u32, Arc<OnceLock<Compiled>>>>,
}

impl Schemas {
    /// Nothing is read or asked yet.
    pub fn new(options: Arc<JsonSchemaOptions>) -> Schemas {
        let registry = match &options.against {
            Some(Against::Registered(plan)) => Some(Registry::new((**plan).clone())),
            Some(Against::Given(_)) | None => None,
        };
        Schemas { options, registry, given: OnceLock::new(), compiled: Mutex::default() }
    }

    /// Reads the file, so that what is wrong with it stops the start.
    pub fn open(&self, doors: Doors) -> Result<(), Fault> {
        if let Some(registry) = &self.registry {
            registry.open(doors)?;
        }
        self.given().map(drop)
    }

    /// The schema that all values are checked by, if that is so.
    fn given(&self) -> Result<Option<&Compiled>, Fault> {
        let Some(Against::Given(text)) = &self.options.against else { return Ok(None) };
        let read = || {
            let compiled = compile(&text.read()?, &[]).map_err(|why| text.wrong(&why))?;
            Ok(Arc::new(Ok(compiled)))
        };
        self.given.get_or_init(read).as_ref().map(Some).map_err(Fault::clone)
    }

    /// The schema of an id. Here a lane may wait, for a registry.
    fn learn(&self, id: u32) -> Result<Compiled, Stopped> {
        let registry = self.registry.as_ref().expect("ids are a registry's");
        let registered = registry.by_id(id)?;
        let mut compiled = self.compiled.lock().expect("no one panics with it");
        if compiled.len() >= COMPILED_MAX {
            compiled.clear();
        }
        let slot = Arc::clone(compiled.entry(id).or_default());
        drop(compiled);
        Ok(Arc::clone(slot.get_or_init(|| Arc::new(of_registry(id, &registered)))))
    }
}

/// Checks the values of one lane.
pub struct Checker {
    schemas: Arc<Schemas>,
    places: HashMap<u32, Compiled>,
    /// What was last met, for most are the same.
    last: Option<(Option<u32>, Compiled)>,
}

impl Checker {
    /// Nothing is known yet.
    pub fn new(schemas: Arc<Schemas>) -> Checker {
        Checker { schemas, places: HashMap::new(), last: None }
    }

    /// Refuses a value that is not as its schema says.
    pub fn check(&mut self, id: Option<u32>, body: &[u8]) -> Result<(), Stopped> {
        let compiled = match &self.last {
            Some((last, compiled)) if *last == id => compiled,
            _ => self.find(id)?,
        };
        match &**compiled {
            Ok(validator) => Ok(valid(validator, id, body)?),
            Err(refused) => Err(Stopped::Record(refused.clone())),
        }
    }

    #[cold]
    fn find(&mut self, id: Option<u32>) -> Result<&Compiled, Stopped> {
        let given = self.schemas.given().map_err(Stopped::Pipeline)?;
        let compiled = match (given, id) {
            (Some(given), _) => Arc::clone(given),
            (None, None) => unreachable!("without an id there is a schema for all"),
            (None, Some(id)) => match self.places.get(&id) {
                Some(compiled) => Arc::clone(compiled),
                None => {
                    let compiled = self.schemas.learn(id)?;
                    if self.places.len() >= COMPILED_MAX {
                        self.places.clear();
                    }
                    self.places.insert(id, Arc::clone(&compiled));
                    compiled
                }
            },
        };
        Ok(&self.last.insert((id, compiled)).1)
    }
}

/// Whether a value is as its schema says; if not, where, and what of the schema it breaks.
fn valid(validator: &Validator, id: Option<u32>, body: &[u8]) -> Result<(), Refused> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Err((Reason::Empty, "the value has no bytes".to_owned()));
    }
    if !Document::new(body).is_text() {
        return Err(not_utf8(body));
    }
    let value: Value = serde_json::from_slice(body)
        .map_err(|wrong| (Reason::Malformed, format!("not JSON: {wrong}")))?;
    validator.validate(&value).map_err(|wrong| {
        let (at, keyword) = (wrong.instance_path().to_string(), wrong.schema_path().to_string());
        let at = if at.is_empty() { "the value" } else { &at };
        let schema = id.map_or_else(|| "the schema".to_owned(), |id| format!("schema {id}"));
        let said: String = wrong.to_string().chars().take(SAID_MAX).collect();
        let keyword = keyword.rsplit('/').next().unwrap_or_default();
        (Reason::Malformed, format!("{at}: {said} (`{keyword}` of {schema})"))
    })
}

fn of_registry(id: u32, registered: &Registered) -> Result<Validator, Refused> {
    let wrong = |why: String| (Reason::Malformed, format!("schema {id} of the registry: {why}"));
    if registered.kind != "JSON" {
        return Err(wrong(format!("it is {}, and not JSON Schema", registered.kind)));
    }
    compile(&registered.text, &registered.references).map_err(wrong)
}

/// Compiles a schema; what it refers to is among these.
pub fn compile(text: &str, references: &[Referred]) -> Result<Validator, String> {
    let schema: Value = serde_json::from_str(text).map_err(|wrong| format!("no JSON: {wrong}"))?;
    let mut options = jsonschema::options()
        .with_retriever(Among::these(references)?)
        .with_pattern_options(PatternOptions::fancy_regex().backtrack_limit(BACKTRACKS_MAX));
    if schema.get("$schema").is_none() {
        // What Confluent's serializers take a schema to be that does not say it.
        options = options.with_draft(Draft::Draft7);
    }
    options.build(&schema).map_err(|wrong| {
        let said: String = wrong.to_string().chars().take(SAID_MAX).collect();
        format!("no JSON Schema that can be checked by: {said}")
    })
}

/// The only schemas that another one may refer to.
struct Among(Vec<(Vec<String>, Value)>);

impl Among {
    fn these(references: &[Referred]) -> Result<Among, String> {
        let read = |referred: &Referred| {
            let Referred { names, text } = referred;
            let value = serde_json::from_str(text);
            value.map(|value| (names.clone(), value)).map_err(|wrong| {
                format!("what it refers to as `{}` is no JSON: {wrong}", names.join("`, `"))
            })
        };
        references.iter().map(read).collect::<Result<_, _>>().map(Among)
    }
}

impl Retrieve for Among {
    fn retrieve(
        &self,
        uri: &Uri<String>,
    ) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
        // A name that is no address of its own was completed by that of who refers to it.
        let is = |name: &String| {
            let uri = uri.as_str();
            uri == name.as_str()
                || uri.strip_suffix(name.as_str()).is_some_and(|rest| rest.ends_with('/'))
        };
        let found = self.0.iter().find(|(names, _)| names.iter().any(is));
        let missing = || format!("the registry has nothing for what it refers to as `{uri}`");
        Ok(found.map(|(_, value)| value.clone()).ok_or_else(missing)?)
    }
}
