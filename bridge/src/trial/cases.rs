//! A file of cases, read and checked, and run: each case has a rig of its own.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::Value;

use super::draft::{CaseDraft, FileDraft, RecordDraft, plain, read};
use super::expect::Expected;
use super::plan::{Planned, of_file, one, planned};
use super::records::{Told, batches};
use super::rig::{Fate, Fuel, Rig, Stock};
use super::update::{Change, updated};
use crate::batch::TopicPartition;
use crate::blame::Fault;
use crate::lasting;
use crate::source::OwnedRecord;

/// When a record is said to be from, if its case does not say: 2026-01-01T00:00:00Z.
const TIMESTAMP_MS: i64 = 1_767_225_600_000;
/// Its topic.
const TOPIC: &str = "test";
/// Bytes of a file of cases, at most: a person is to read it.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// What files of cases are about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Subject {
    /// Transforms: records in, rows out.
    Transform,
    /// A pipeline of a configuration: records in, lines out.
    Pipeline,
}

/// A file of cases.
pub struct Cases {
    path: PathBuf,
    text: String,
    subject: Subject,
    cases: Vec<Case>,
}

/// One case, checked.
struct Case {
    name: String,
    plan: Arc<Planned>,
    fuel_max: Option<u64>,
    records: Vec<Told>,
    expected: Vec<Expected>,
    /// The records' values, for people.
    shown: Vec<String>,
}

/// How a case went.
#[derive(Debug)]
pub struct CaseReport {
    /// Its name.
    pub name: String,
    /// How many records it has.
    pub records: usize,
    /// Fuel that a record took, rounded up.
    pub fuel: u64,
    /// What is not as it should be, in lines; none if all is well.
    pub complaints: Vec<String>,
    /// Records that something else became of than was expected.
    pub different: usize,
    /// Whether records cost more than they may.
    pub too_dear: bool,
}

impl Cases {
    /// Reads a file; `subject` is what it must be about.
    pub fn read(path: &Path, subject: Subject) -> Result<Cases, Fault> {
        let doing = |error| {
            let message = format!("reading cases from {}: {error}", path.display());
            Fault::operator(message).hint("the arguments are files of cases, or their folders")
        };
        let bytes = fs::metadata(path).map_err(doing)?.len();
        if bytes > FILE_BYTES_MAX {
            let message = format!("reading cases from {}: {bytes} bytes", path.display());
            return Err(Fault::operator(message).hint("a file of cases has 16 MiB at most"));
        }
        let text = fs::read_to_string(path).map_err(doing)?;
        let draft = read(path, &text)?;
        let about = match (&draft.bridge, subject) {
            (Some(_), Subject::Transform) => Some("bridge test"),
            (None, Subject::Pipeline) => Some("bridge transform test"),
            _ => None,
        };
        if let Some(command) = about {
            let message = format!("{} has no cases of this kind", path.display());
            return Err(Fault::operator(message).hint(format!("{command} {}", path.display())));
        }
        let cases = checked(path, draft, subject)?;
        Ok(Cases { path: path.to_owned(), text, subject, cases })
    }

    /// What a file is about, by its text alone: it has a line `bridge = ...`, or it has not.
    pub fn subject_of(path: &Path) -> Option<Subject> {
        let draft = read(path, &fs::read_to_string(path).ok()?).ok()?;
        Some(if draft.bridge.is_some() { Subject::Pipeline } else { Subject::Transform })
    }

    /// Runs all cases, one after the other. With `update` what came out is written into the file,
    /// where it was not what was expected; what is reported is how it was before.
    pub fn run(self, update: bool) -> Result<Vec<CaseReport>, Fault> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .map_err(|error| Fault::us(format!("starting the runtime: {error}")))?;
        let Cases { path, text, subject, cases } = self;
        let (mut reports, mut changes) = (Vec::new(), Vec::new());
        let mut stocks: Vec<(Arc<Planned>, Stock)> = Vec::new();
        for (number, case) in cases.into_iter().enumerate() {
            let at = match stocks.iter().position(|(plan, _)| Arc::ptr_eq(plan, &case.plan)) {
                Some(at) => at,
                None => {
                    let stock = Stock::load(&case.plan, Fuel::Counted).map_err(built)?;
                    stocks.push((Arc::clone(&case.plan), stock));
                    stocks.len() - 1
                }
            };
            let (plan, stock) = (&case.plan.pipeline, &stocks[at].1);
            let rig = match subject {
                Subject::Transform => Rig::of_rows(plan, stock)?,
                Subject::Pipeline => Rig::of_lines(plan, stock, runtime.handle())?,
            };
            let (report, changed) = case.run(rig)?;
            changes.extend(changed.into_iter().map(|(record, fate)| (number, record, fate)));
            reports.push(report);
        }
        if update && !changes.is_empty() {
            write(&path, &text, &changes)?;
        }
        Ok(reports)
    }
}

/// A module that is not there yet: how it is made is no secret.
fn built(fault: Fault) -> Fault {
    if fault.message.contains("No such file") {
        return fault.hint(
            "`module` is relative to the file of cases; `bridge transform build FOLDER` makes it",
        );
    }
    fault
}

/// Nobody is left with half of it.
fn write(path: &Path, text: &str, changes: &[Change]) -> Result<(), Fault> {
    let new = updated(path, text, changes)?;
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let written = lasting::replace(path, Path::new(&beside), new.as_bytes());
    written.map_err(|error| Fault::operator(format!("updating {}: {error}", path.display())))
}

impl Case {
    fn run(self, mut rig: Rig) -> Result<(CaseReport, Vec<(usize, Expected)>), Fault> {
        let Case { name, fuel_max, records, expected, shown, .. } = self;
        let count = records.len();
        let (mut fates, mut fuel) = (Vec::<Fate>::new(), 0);
        for batch in batches(records) {
            let tried = rig.try_on(batch).map_err(|fault| Fault {
                message: format!("case `{name}`: {}", fault.message),
                ..fault
            })?;
            fates.extend(tried.fates);
            fuel += tried.fuel;
        }
        let (mut complaints, mut changes) = (Vec::new(), Vec::new());
        for (at, (expected, fate)) in expected.iter().zip(&fates).enumerate() {
            if !expected.is(fate) {
                complaints.push(format!("record {at}: {}", shown[at]));
                complaints.extend(expected.difference(fate));
                changes.push((at, Expected::from(fate)));
            }
        }
        let fuel = fuel.div_ceil(count.max(1) as u64);
        let dear = fuel_max.filter(|max| fuel > *max);
        complaints.extend(dear.map(|max| format!("{fuel} fuel a record, and fuel_max is {max}")));
        let (different, too_dear) = (changes.len(), dear.is_some());
        let report = CaseReport { name, records: count, fuel, complaints, different, too_dear };
        Ok((report, changes))
    }
}

fn checked(path: &Path, draft: FileDraft, subject: Subject) -> Result<Vec<Case>, Fault> {
    let wrong = |message: String| Fault::operator(format!("{}: {message}", path.display()));
    if draft.case.is_empty() {
        let fault = wrong("there is no case in it".to_owned());
        return Err(fault.hint("begin one with [[case]] and [[case.record]]"));
    }
    let own = Arc::new(match subject {
        Subject::Transform => plan_of_transforms(path, &draft, draft.config.as_ref())?,
        Subject::Pipeline => plan_of_a_pipeline(path, &draft)?,
    });
    let mut cases = Vec::new();
    for (number, case) in draft.case.iter().enumerate() {
        let name = case.name.clone().unwrap_or_else(|| format!("case {number}"));
        let plan = match &case.config {
            None => Arc::clone(&own),
            Some(config) if draft.module.is_some() => {
                Arc::new(plan_of_transforms(path, &draft, Some(config))?)
            }
            Some(_) => {
                let fault = wrong(format!("case `{name}`: `config` needs a `module` of the file"));
                return Err(fault.hint("put it into the [[transform]] that it is for"));
            }
        };
        let read = records(case, subject).map_err(|message| wrong(format!("`{name}`, {message}")));
        let (records, expected, shown) = read?;
        let fuel_max = case.fuel_max.or(draft.fuel_max);
        cases.push(Case { name, plan, fuel_max, records, expected, shown });
    }
    Ok(cases)
}

type CheckedRecords = (Vec<Told>, Vec<Expected>, Vec<String>);

fn records(case: &CaseDraft, subject: Subject) -> Result<CheckedRecords, String> {
    let (mut told, mut all, mut shown) = (Vec::new(), Vec::new(), Vec::new());
    let mut places = HashSet::new();
    if case.record.is_empty() {
        return Err("there is no record in it: begin one with [[case.record]]".to_owned());
    }
    for (number, draft) in case.record.iter().enumerate() {
        let at = |message: String| format!("record {number}: {message}");
        let one = record(draft, number as i64).map_err(at)?;
        if !places.insert((one.source.clone(), one.offset)) {
            return Err(at(format!("there is one at {}@{} already", one.source, one.offset)));
        }
        all.push(Expected::of(draft, subject == Subject::Pipeline).map_err(at)?);
        let value = one.record.value.as_deref().map(String::from_utf8_lossy);
        shown.push(value.map_or("no value".to_owned(), shorten));
        told.push(one);
    }
    Ok((told, all, shown))
}

/// A value on one line of a report.
fn shorten(text: std::borrow::Cow<'_, str>) -> String {
    const SHOWN_MAX: usize = 160;
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    match line.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

fn record(draft: &RecordDraft, place: i64) -> Result<Told, String> {
    let topic = draft.topic.as_deref().unwrap_or(TOPIC);
    let source = TopicPartition { topic: topic.into(), partition: draft.partition.unwrap_or(0) };
    let record = OwnedRecord {
        timestamp_ms: draft.timestamp.as_ref().map_or(Ok(TIMESTAMP_MS), timestamp_ms)?,
        key: bytes("key", draft.key.as_ref(), draft.key_base64.as_deref())?,
        value: bytes("value", draft.value.as_ref(), draft.value_base64.as_deref())?,
        headers: draft.headers.as_ref().map_or(Ok(Vec::new()), headers)?,
    };
    Ok(Told { source, offset: draft.offset.unwrap_or(place), record })
}

/// Text as it is, anything else as JSON.
fn bytes(
    name: &str,
    value: Option<&Value>,
    base64: Option<&str>,
) -> Result<Option<Vec<u8>>, String> {
    match (value, base64) {
        (Some(_), Some(_)) => Err(format!("either `{name}` or `{name}_base64`, not both")),
        (None, Some(text)) => {
            let decoded = STANDARD.decode(text);
            decoded.map(Some).map_err(|error| format!("`{name}_base64` is no base64: {error}"))
        }
        (None | Some(Value::Null), None) => Ok(None),
        (Some(Value::String(text)), None) => Ok(Some(text.clone().into_bytes())),
        (Some(value), None) => Ok(Some(plain(value.clone()).to_string().into_bytes())),
    }
}

type Headers = Vec<(Vec<u8>, Option<Vec<u8>>)>;

fn headers(value: &Value) -> Result<Headers, String> {
    let header = |name: &str, value: &Value| match value {
        Value::String(text) => Ok((name.as_bytes().to_vec(), Some(text.clone().into_bytes()))),
        Value::Null => Ok((name.as_bytes().to_vec(), None)),
        _ => Err(format!("the header `{name}` must be text")),
    };
    match value {
        Value::Object(table) => table.iter().map(|(name, value)| header(name, value)).collect(),
        Value::Array(pairs) => {
            let pair = |pair: &Value| match pair.as_array().map(Vec::as_slice) {
                Some([Value::String(name), value]) => header(name, value),
                Some([Value::String(name)]) => header(name, &Value::Null),
                _ => Err("a header is a pair such as [\"tenant\", \"a\"]".to_owned()),
            };
            pairs.iter().map(pair).collect()
        }
        _ => Err("headers are a table such as { tenant = \"a\" }".to_owned()),
    }
}

fn timestamp_ms(value: &Value) -> Result<i64, String> {
    let read = match plain(value.clone()) {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.parse::<Timestamp>().ok().map(Timestamp::as_millisecond),
        _ => None,
    };
    read.ok_or_else(|| {
        format!("`timestamp` is {value}: expected milliseconds, or \"2026-01-01T00:00:00Z\"")
    })
}

/// The folder that paths of a file start from.
fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// A pipeline of nothing but the transforms.
fn plan_of_transforms(
    path: &Path,
    draft: &FileDraft,
    config: Option<&toml::Table>,
) -> Result<Planned, Fault> {
    let wrong = |message: &str| Fault::operator(format!("{}: {message}", path.display()));
    let mut transforms = draft.transform.clone();
    match (&draft.module, transforms.is_empty()) {
        (Some(_), false) => return Err(wrong("either `module` or [[transform]], not both")),
        (None, true) => {
            let hint = "such as module = \"drop_cold.wasm\", or bridge = \"bridge.toml\"";
            return Err(wrong("there is no `module` to try").hint(hint));
        }
        (None, false) if config.is_some() => {
            return Err(wrong("`config` needs a `module`").hint("put it into its [[transform]]"));
        }
        (None, false) => {}
        (Some(module), true) => {
            let mut own = toml::Table::new();
            own.insert("module".into(), module.as_str().into());
            own.extend(config.map(|config| ("config".into(), config.clone().into())));
            transforms.push(own);
        }
    }
    for transform in &mut transforms {
        transform.entry("deterministic").or_insert(true.into());
    }
    let mut pipeline = one("transform", transforms);
    let given = [("value", &draft.value), ("key", &draft.key)];
    let given = given.into_iter().filter_map(|(key, table)| Some((key, table.clone()?)));
    pipeline.extend(given.map(|(key, table)| (key.to_owned(), table.into())));
    pipeline.extend(draft.null_value.clone().map(|value| ("null_value".to_owned(), value.into())));
    planned(&path.display().to_string(), folder(path), pipeline, None)
}

fn plan_of_a_pipeline(path: &Path, draft: &FileDraft) -> Result<Planned, Fault> {
    let strange = draft.module.is_some() || !draft.transform.is_empty() || draft.config.is_some();
    if strange || draft.value.is_some() || draft.key.is_some() || draft.null_value.is_some() {
        let message = "with `bridge` transforms, value and key are those of the configuration";
        return Err(Fault::operator(format!("{}: {message}", path.display()))
            .hint("take them out, or `bridge`"));
    }
    let file = folder(path).join(draft.bridge.as_deref().unwrap_or(Path::new("")));
    of_file(&file, draft.pipeline.as_deref())
}
