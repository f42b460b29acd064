//! The file that is made: sections in the order in which people read them, and at the end what
//! found no place.

use std::fmt::Write;

use toml::Value;

/// A configuration under way.
pub struct Page {
    /// The connector's name, and that of the pipeline.
    connector: String,
    pipeline: String,
    /// Path below the root, by its place in [`SECTIONS`]; key; value; what is said of it.
    lines: Vec<(usize, String, Value, Option<String>)>,
    /// What is to be done by hand, and for which environment variable a secret is to be given.
    to_do: Vec<String>,
    needless: Vec<(String, String, String)>,
    left: Vec<(String, String, String)>,
}

/// Sections, in their order; `{}` is the pipeline.
const SECTIONS: [&str; 8] = [
    "kafka",
    "kafka.properties",
    "pipeline.{}",
    "pipeline.{}.value",
    "pipeline.{}.key",
    "pipeline.{}.table",
    "pipeline.{}.sink",
    "pipeline.{}.rejects",
];

impl Page {
    /// An empty one.
    pub fn new(connector: &str) -> Page {
        // Names of pipelines are words: they are metric labels and parts of file names.
        let word = |letter: char| match letter {
            letter if letter.is_ascii_alphanumeric() || letter == '_' => letter,
            _ => '-',
        };
        let pipeline = connector.chars().map(word).collect();
        let connector = connector.to_owned();
        Page { connector, pipeline, lines: vec![], to_do: vec![], needless: vec![], left: vec![] }
    }

    /// The name of the connector.
    pub fn connector(&self) -> &str {
        &self.connector
    }

    /// Writes a key of a section: `kafka`, `kafka.properties`, or one of the pipeline: `""`,
    /// `value`, `key`, `table`, `sink`, `rejects`.
    pub fn set(&mut self, section: &str, key: &str, value: impl Into<Value>) {
        self.put(section, key, value.into(), None);
    }

    /// The same, with what is to be known of it.
    pub fn set_with(&mut self, section: &str, key: &str, value: impl Into<Value>, said: &str) {
        self.put(section, key, value.into(), Some(said.to_owned()));
    }

    fn put(&mut self, section: &str, key: &str, value: Value, said: Option<String>) {
        let is = |path: &&str| {
            let own = path.strip_prefix("pipeline.{}").map(|own| own.trim_start_matches('.'));
            own.unwrap_or(path) == section
        };
        let at = SECTIONS.iter().position(is).expect("one of those above");
        match self.lines.iter_mut().find(|(old, name, ..)| *old == at && name == key) {
            // Said twice, as by two transforms of Connect: tables grow, all else is replaced.
            Some((.., old @ Value::Table(_), _)) if value.is_table() => {
                let (Value::Table(old), Value::Table(new)) = (old, value) else { return };
                old.extend(new);
            }
            Some((.., old, _)) => *old = value,
            None => self.lines.push((at, key.to_owned(), value, said)),
        }
    }

    /// Something that a person has to do.
    pub fn remind(&mut self, what: impl Into<String>) {
        self.to_do.push(what.into());
    }

    /// A secret: a variable of the environment in its place, for the file is read by many.
    pub fn secret(&mut self, section: &str, key: &str, variable: &str) {
        self.set(section, key, format!("${{{variable}}}"));
        let keys_of_files = ["password", "token", "auth_private_key"];
        let file = match section == "sink" && keys_of_files.contains(&key) {
            true => format!(", or use `{key}_file`"),
            false => String::new(),
        };
        self.remind(format!("set {variable} in the environment{file}"));
    }

    /// A property that has nothing to say here.
    pub fn needless(&mut self, name: &str, value: &str, why: &str) {
        self.needless.push((name.to_owned(), shown(name, value), why.to_owned()));
    }

    /// A property that says something which is not in the file.
    pub fn leave(&mut self, name: &str, value: &str, why: &str) {
        self.left.push((name.to_owned(), shown(name, value), why.to_owned()));
    }

    /// How many properties say something that is not in the file.
    pub fn left(&self) -> usize {
        self.left.len()
    }

    /// The file.
    pub fn write(mut self, class: &str) -> String {
        let mut text = format!("# Made from the properties of {class}.\n");
        for what in &self.to_do {
            let _ = writeln!(text, "# To do: {what}.");
        }
        self.lines.sort_by_key(|(section, ..)| *section);
        let mut last = None;
        for (section, key, value, said) in &self.lines {
            if last != Some(section) {
                last = Some(section);
                let path = SECTIONS[*section].replace("{}", &self.pipeline);
                let _ = write!(text, "\n[{path}]\n");
            }
            let said = said.as_ref().map_or(String::new(), |said| format!("   # {said}"));
            let _ = writeln!(text, "{} = {value}{said}", toml_key(key));
        }
        let notes = [
            ("Not translated. Look at each before you run this:", &self.left),
            ("Not needed here:", &self.needless),
        ];
        for (heading, of) in notes.into_iter().filter(|(_, of)| !of.is_empty()) {
            let _ = write!(text, "\n# {heading}\n");
            for (name, value, why) in of {
                let _ = writeln!(text, "#   {name} = {value}\n#     {why}");
            }
        }
        text
    }
}

/// A value as it may be shown: one line, and no secret.
fn shown(name: &str, value: &str) -> String {
    const SECRETS: [&str; 6] = ["password", "secret", "token", "jaas", "client.conf", "credential"];
    let name = name.to_ascii_lowercase();
    match SECRETS.iter().any(|word| name.contains(word)) {
        true => "…".to_owned(),
        false => value.split_whitespace().collect::<Vec<_>>().join(" "),
    }
}

fn toml_key(key: &str) -> String {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    match !key.is_empty() && key.bytes().all(bare) {
        true => key.to_owned(),
        false => Value::from(key).to_string(),
    }
}
