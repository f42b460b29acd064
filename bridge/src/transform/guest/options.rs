//! `[[pipeline.X.transform]]` with a `module`: as written, and as meant.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::limits::CONFIG_BYTES_MAX;
use super::origin::{self, Keys, Origin};
use crate::config::units::{Bytes, Span};
use crate::config::{Mistake, Section};
use crate::limits::{Limits, MIB};

/// A WebAssembly module that works on rows.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Options {
    /// Path of the module (`.wasm`) or of a folder of its versions, relative to the configuration
    /// file; `builtin:NAME` for one that comes along; or `https://…`: see
    /// docs/transforms.md#where-a-module-is-from.
    module: PathBuf,
    /// Which one of a folder of versions: "1.4.2", or "1.4" for the highest 1.4. Default: the
    /// highest, or what `current` in the folder says.
    version: Option<String>,
    /// The hash of a module from `https://…`, required there.
    sha256: Option<String>,
    /// Certificate authorities in PEM for a module from `https://…`, in place of the web's.
    tls_ca: Option<PathBuf>,
    /// Takes a changed module without an order, when its file has rested for a second. Default
    /// false.
    #[serde(default)]
    watch: bool,
    /// Handed to the module at its start, as JSON.
    #[serde(default)]
    #[schemars(with = "std::collections::BTreeMap<String, serde_json::Value>")]
    config: toml::Table,
    /// Name in logs and metrics; the file's name without its ending, if not given.
    name: Option<String>,
    /// Memory of one instance: bytes, or text such as "16MiB".
    memory_max: Option<Bytes>,
    /// Time of one call, such as "1s" or "250ms".
    deadline: Option<Span>,
    /// What happens to a record on which the module traps, or passes its deadline.
    #[serde(default)]
    on_failure: OnFailure,
    /// Another module that gets the same batches, its rows compared and dropped: a module as above
    /// but for `https://…`; or `true`, so that a changed module begins in the shadow of the one
    /// that runs: see docs/transforms.md#in-the-shadow.
    #[serde(default)]
    shadow: ShadowDraft,
    /// A folder for records on which the module fails, each distinct failure a file that
    /// `bridge transform test` reads; relative to the configuration file. Default: none are kept.
    traps: Option<PathBuf>,
    /// A constant clock and constant random bytes, so that a replay gives the same rows. Default
    /// false; true where `delivery` is `"exactly-once"`.
    #[serde(default)]
    deterministic: bool,
}

/// As written.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
enum ShadowDraft {
    Changed(bool),
    Module(PathBuf),
}

impl Default for ShadowDraft {
    fn default() -> ShadowDraft {
        ShadowDraft::Changed(false)
    }
}

/// Which module is in the shadow of the one that runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Shadow {
    /// None.
    Off,
    /// The module itself, when it has changed.
    Changed,
    /// This one.
    Module(Origin),
}

/// What happens to a record on which the module fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum OnFailure {
    /// It goes to the dead letters; a module that fails on everything stops the pipeline.
    #[default]
    DeadLetter,
    /// The pipeline stops at the first one.
    Stop,
    /// It goes on as it was before this transform.
    Bypass,
}

/// The same, checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Meant {
    pub(super) module: Origin,
    pub(super) watch: bool,
    pub(super) shadow: Shadow,
    /// JSON.
    pub(super) config: String,
    /// The same as a table of TOML on one line.
    pub(super) config_toml: String,
    pub(super) name: String,
    pub(super) memory_max: usize,
    pub(super) deadline: Duration,
    pub(super) on_failure: OnFailure,
    pub(super) traps: Option<PathBuf>,
    pub(super) deterministic: bool,
}

/// Instances smaller than this hold nothing; larger than this wasm cannot address.
const MEMORY_RANGE: std::ops::RangeInclusive<usize> = 128 << 10..=4096 * MIB;
/// Below two turns of the clock a deadline means nothing; above a minute Kafka loses patience.
const DEADLINE_RANGE: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(20)..=Duration::from_secs(60);

pub(super) fn parse(section: &Section) -> Result<Meant, Mistake> {
    let options: Options = crate::kind::options(section)?;
    let defaults = Limits::default();
    let shadow = shadow(section, options.shadow)?;
    let Options { module, version, sha256, tls_ca, .. } = options;
    let (module, own_name) = origin::parse(section, Keys { module, version, sha256, tls_ca })?;
    if options.watch && !matches!(module, Origin::Path { .. }) {
        let message = "only a file can change, and this module comes from none";
        return Err(section.mistake("watch", message));
    }
    let name = options.name.unwrap_or(own_name);
    if name.is_empty() || name.len() > 64 || name.chars().any(char::is_control) {
        return Err(section.mistake("name", "a name has 1 to 64 bytes, none of them control"));
    }
    let table = toml::Value::Table(options.config);
    let config_toml = table.to_string();
    let config = json(&table).map_err(|message| section.mistake("config", message))?.to_string();
    if config.len() > CONFIG_BYTES_MAX {
        return Err(section.mistake("config", "more than 1 MiB of configuration"));
    }
    let memory_max = options.memory_max.map_or(defaults.guest_memory_bytes_max, |max| max.0);
    if !MEMORY_RANGE.contains(&memory_max) {
        return Err(section.mistake("memory_max", "expected 128KiB to 4GiB, such as \"16MiB\""));
    }
    let deadline = options.deadline.map_or(defaults.guest_deadline, |deadline| deadline.0);
    if !DEADLINE_RANGE.contains(&deadline) {
        return Err(section.mistake("deadline", "expected \"20ms\" to \"60s\", such as \"1s\""));
    }
    Ok(Meant {
        module,
        watch: options.watch,
        shadow,
        config,
        config_toml,
        name,
        memory_max,
        deadline,
        on_failure: options.on_failure,
        traps: options.traps,
        deterministic: options.deterministic,
    })
}

fn shadow(section: &Section, draft: ShadowDraft) -> Result<Shadow, Mistake> {
    let module = match draft {
        ShadowDraft::Changed(false) => return Ok(Shadow::Off),
        ShadowDraft::Changed(true) => return Ok(Shadow::Changed),
        ShadowDraft::Module(module) => module,
    };
    if module.to_str().is_some_and(|module| module.contains("://")) {
        return Err(section.mistake("shadow", "a module in the shadow is a file, or comes along"));
    }
    let keys = Keys { module, version: None, sha256: None, tls_ca: None };
    origin::parse(section, keys).map(|(origin, _)| Shadow::Module(origin))
}

/// Dates and times become text; JSON has no number that is not finite.
fn json(value: &toml::Value) -> Result<serde_json::Value, String> {
    Ok(match value {
        toml::Value::String(text) => text.as_str().into(),
        toml::Value::Integer(number) => (*number).into(),
        toml::Value::Float(number) if number.is_finite() => (*number).into(),
        toml::Value::Float(number) => return Err(format!("JSON has no number {number}")),
        toml::Value::Boolean(value) => (*value).into(),
        toml::Value::Datetime(time) => time.to_string().into(),
        toml::Value::Array(values) => {
            values.iter().map(json).collect::<Result<Vec<_>, _>>()?.into()
        }
        toml::Value::Table(table) => {
            let entry = |(key, value): (&String, _)| Ok((key.clone(), json(value)?));
            let entries = table.iter().map(entry).collect::<Result<serde_json::Map<_, _>, _>>();
            serde_json::Value::Object(entries.map_err(|error: String| error)?)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Meant, String> {
        let table = text.parse::<toml::Table>().expect("the test's own TOML");
        parse(&Section::new("pipeline.p.transform", table))
            .map_err(|mistake| format!("{}: {}", mistake.path, mistake.message))
    }

    #[test]
    fn defaults_and_units() {
        let meant = parsed("module = 'a/drop_cold.wasm'").expect("enough");
        assert_eq!((meant.name.as_str(), meant.config.as_str()), ("drop_cold", "{}"));
        assert_eq!((meant.memory_max, meant.deadline), (16 * MIB, Duration::from_secs(1)));
        assert_eq!(meant.on_failure, OnFailure::DeadLetter);
        let meant = parsed(
            "module = 'a.wasm'\nname = 'b'\nmemory_max = '8MiB'\ndeadline = '250ms'
             on_failure = 'bypass'\ndeterministic = true
             config = { a = 1.5, b = [1, true], c = 1979-05-27, d = { e = 'x' } }",
        )
        .expect("all of it");
        assert_eq!((meant.memory_max, meant.deadline), (8 * MIB, Duration::from_millis(250)));
        assert_eq!(meant.on_failure, OnFailure::Bypass);
        assert!(meant.deterministic);
        assert_eq!(meant.config, r#"{"a":1.5,"b":[1,true],"c":"1979-05-27","d":{"e":"x"}}"#);
    }

    #[test]
    fn modules_come_along_by_their_names() {
        let meant = parsed("module = 'builtin:filter'").expect("it comes along");
        assert_eq!((meant.module, meant.name), (Origin::Builtin("filter"), "filter".to_owned()));
        let meant = parsed("module = 'builtin:route'\nname = 'alarms'").expect("it comes along");
        assert_eq!(meant.name, "alarms");
        let error = parsed("module = 'builtin:fitler'").expect_err("there is none");
        assert_eq!(error, "pipeline.p.transform.module: no module `fitler` comes along");
    }

    #[test]
    fn mistakes_name_their_key() {
        let fails = |text: &str, with: &str| {
            let message = parsed(text).expect_err("is refused");
            assert!(message.contains(with), "{message:?} does not say {with:?}");
        };
        fails("config = {}", "module");
        fails("module = 'a.wasm'\nmodul = 1", "modul");
        fails("module = 'a.wasm'\nmemory_max = '8 loads'", "loads");
        fails("module = 'a.wasm'\nmemory_max = 17", "transform.memory_max");
        fails("module = 'a.wasm'\ndeadline = '5ms'", "transform.deadline");
        fails("module = 'a.wasm'\ndeadline = '5 moons'", "moons");
        fails("module = 'a.wasm'\non_failure = 'ignore'", "ignore");
        fails("module = 'a.wasm'\nconfig = { a = nan }", "transform.config");
        fails("module = '..'", "transform.module");
        fails("module = 'a.wasm'\nshadow = 7", "transform.shadow");
        fails("module = 'a.wasm'\nshadow = 'https://h/a.wasm'", "transform.shadow");
        fails("module = 'a.wasm'\nversion = '1.x'", "transform.version: `1.x` is no version");
        fails("module = 'builtin:filter'\nversion = '1'", "transform.version");
        fails("module = 'builtin:filter'\nwatch = true", "transform.watch");
        fails("module = 'a.wasm'\nsha256 = '00'", "transform.sha256");
        fails("module = 'http://h/a.wasm'", "over https");
        fails("module = 'https://h/a.wasm'", "needs its `sha256`");
        fails("module = 'https://h/a.wasm'\nsha256 = '00'", "64 hexadecimal digits");
        let sha256 = format!("sha256 = '{}'", "0a".repeat(32));
        for address in ["https://", "https://h", "https:///a.wasm", "https://u:p@h/a.wasm"] {
            fails(&format!("module = '{address}'\n{sha256}"), "transform.module");
        }
        fails(&format!("module = 'https://h/a.wasm'\nversion = '1'\n{sha256}"), ".version");
    }
}
