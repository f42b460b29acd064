//! A pipeline's configuration, written into a folder of its own and run from there.

use std::fmt::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use world::{Directory, Port, QuestDb};

use crate::bench::Bench;
use crate::bridge_process::{Answer, Bridge};
use crate::group::Group;

/// A bridge on a loaded machine, compiling its modules for the first time.
const READY: Duration = Duration::from_secs(30);

/// The example modules, as the build made them.
const MODULES: [(&str, &[u8]); 5] = [
    ("drop_cold", bridge::modules::DROP_COLD),
    ("enrich_route", bridge::modules::ENRICH_ROUTE),
    ("split_readings", bridge::modules::SPLIT_READINGS),
    ("alarms", bridge::modules::ALARMS),
    ("faulty", bridge::modules::FAULTY),
];

/// How rows travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Http,
    /// With read-back, the default acknowledgement.
    Tcp,
    /// The PostgreSQL protocol, no other port.
    Pg,
}

/// A pipeline named `readings`, to be changed by a test before it is installed.
#[derive(Clone, Debug)]
pub struct Setup {
    pub brokers: String,
    pub topic: String,
    pub partitions: i32,
    pub group: String,
    pub table: String,
    pub http_address: String,
    pub tcp_address: String,
    pub pg_address: String,
    pub transport: Transport,
    /// (module, its configuration in TOML), in order.
    pub transforms: Vec<(&'static str, String)>,
    /// Lines of `[pipeline.readings]`.
    pub pipeline: Vec<String>,
    /// Lines of `[pipeline.readings.table]`, after the name.
    pub shape: Vec<String>,
    /// Lines of `[pipeline.readings.sink]`, after the addresses.
    pub sink: Vec<String>,
    /// The whole of that section, where rows do not go to QuestDB.
    pub elsewhere: Option<String>,
    /// Lines of `[pipeline.readings.fallback]`, which is there if there are any.
    pub fallback: Vec<String>,
    /// Each the lines of one `[[pipeline.readings.also]]`.
    pub also: Vec<String>,
    /// Lines of `[pipeline.readings.rejects]`.
    pub rejects: Vec<String>,
    /// Lines of `[pipeline.readings.limits]`.
    pub limits: Vec<String>,
    /// Lines of `[kafka]`, after the brokers.
    pub kafka: Vec<String>,
    /// Lines of `[kafka.properties]`.
    pub properties: Vec<String>,
    /// What the bridge finds in its environment beside ours.
    pub environment: Vec<(&'static str, String)>,
}

impl Setup {
    /// Sensors' readings into a table that the bridge makes; creates the topic. Topic, group and
    /// table are new.
    pub fn readings(bench: &Bench, name: &str, partitions: i32) -> Result<Self> {
        let setup = Self::shaped(bench, name, partitions);
        bench.kafka.create_topic(&setup.topic, partitions)?;
        Ok(setup)
    }

    /// The same without its topic.
    pub fn shaped(bench: &Bench, name: &str, partitions: i32) -> Self {
        Self::bare(bench, name, partitions).of_readings()
    }

    /// The same without a shape and without its topic.
    pub fn bare(bench: &Bench, name: &str, partitions: i32) -> Self {
        Self::at(&bench.kafka.brokers(), &bench.questdb, &bench.unique(name), partitions)
    }

    /// The same at other servers; the name is to be new there.
    pub fn at(brokers: &str, questdb: &QuestDb, name: &str, partitions: i32) -> Self {
        Self {
            brokers: brokers.to_owned(),
            topic: name.to_owned(),
            partitions,
            group: format!("g-{name}"),
            table: name.to_owned(),
            http_address: questdb.http_address(),
            tcp_address: questdb.tcp_address(),
            pg_address: questdb.pg_address(),
            transport: Transport::Http,
            transforms: Vec::new(),
            pipeline: Vec::new(),
            shape: Vec::new(),
            sink: Vec::new(),
            elsewhere: None,
            fallback: Vec::new(),
            also: Vec::new(),
            rejects: Vec::new(),
            limits: Vec::new(),
            kafka: Vec::new(),
            properties: Vec::new(),
            environment: Vec::new(),
        }
    }

    /// With the shape of readings.
    pub fn of_readings(mut self) -> Self {
        self.shape = vec![
            "timestamp = { field = \"ts\", unit = \"us\" }".to_owned(),
            "symbols = [\"sensor\", \"site\"]".to_owned(),
            "columns = { temperature = \"double\", humidity = \"double\", pressure = \
             \"double\", seq = \"long\" }"
                .to_owned(),
        ];
        self
    }

    /// Over this transport.
    pub fn over(mut self, transport: Transport) -> Self {
        self.transport = transport;
        self
    }

    /// Into this PostgreSQL.
    pub fn into_postgres(mut self, address: &str) -> Self {
        self.elsewhere = Some(format!("kind = \"postgres\"\naddress = \"{address}\""));
        self
    }

    /// With a transform more, its configuration in TOML.
    pub fn transform(mut self, module: &'static str, config: &str) -> Self {
        self.transforms.push((module, config.to_owned()));
        self
    }

    /// With topic, partition, offset and row as columns, and as upsert keys.
    pub fn upserting(mut self) -> Self {
        self.shape.push("metadata = true".to_owned());
        let keys = "upsert_keys = [\"ts\", \"kafka_topic\", \"kafka_partition\", \
                    \"kafka_offset\", \"kafka_row\"]";
        self.shape.push(keys.to_owned());
        self
    }

    /// The configuration file.
    pub fn text(&self, listen: &str) -> String {
        let mut text = String::new();
        let mut line = |line: &str| {
            writeln!(text, "{line}").expect("a string takes any text");
        };
        line("cache = \"cache\"");
        line(&format!("[kafka]\nbrokers = \"{}\"", self.brokers));
        self.kafka.iter().for_each(|of_kafka| line(of_kafka));
        // A test's own come in the other form.
        if !self.kafka.iter().any(|line| line.starts_with("properties")) {
            line("[kafka.properties]");
            // A broker that comes back is found at once, not after ten seconds.
            line("\"reconnect.backoff.max.ms\" = 1000");
        }
        self.properties.iter().for_each(|property| line(property));
        line(&format!("[http]\nlisten = \"{listen}\""));
        line("[pipeline.readings]");
        line(&format!("topics = [\"{}\"]\ngroup = \"{}\"", self.topic, self.group));
        self.pipeline.iter().for_each(|of_pipeline| line(of_pipeline));
        for (module, config) in &self.transforms {
            line("[[pipeline.readings.transform]]");
            let end = if module.starts_with("builtin:") { "" } else { ".wasm" };
            line(&format!("module = \"{module}{end}\"\nconfig = {config}"));
        }
        line(&format!("[pipeline.readings.table]\nname = \"{}\"", self.table));
        self.shape.iter().for_each(|of_table| line(of_table));
        line(&self.destination());
        self.sink.iter().for_each(|of_sink| line(of_sink));
        if !self.fallback.is_empty() {
            line("[pipeline.readings.fallback]");
        }
        self.fallback.iter().for_each(|of_fallback| line(of_fallback));
        self.also.iter().for_each(|also| line(&format!("[[pipeline.readings.also]]\n{also}")));
        line("[pipeline.readings.rejects]");
        self.rejects.iter().for_each(|of_rejects| line(of_rejects));
        line("[pipeline.readings.limits]");
        self.limits.iter().for_each(|limit| line(limit));
        text
    }

    fn destination(&self) -> String {
        if let Some(elsewhere) = &self.elsewhere {
            return format!("[pipeline.readings.sink]\n{elsewhere}");
        }
        let (transport, address, tcp) = match self.transport {
            Transport::Http => ("http", &self.http_address, String::new()),
            Transport::Tcp => {
                let tcp = format!("\ntcp_address = \"{}\"", self.tcp_address);
                ("tcp", &self.http_address, tcp)
            }
            Transport::Pg => ("pg", &self.pg_address, String::new()),
        };
        format!(
            "[pipeline.readings.sink]\nkind = \"questdb\"\ntransport = \"{transport}\"\n\
             address = \"{address}\"{tcp}"
        )
    }

    /// Writes file and modules into a folder.
    pub fn install(self) -> Result<Installed> {
        let directory = Directory::create("e2e")?;
        for (name, module) in MODULES {
            std::fs::write(directory.path().join(format!("{name}.wasm")), module)
                .with_context(|| format!("writing {name}.wasm"))?;
        }
        let port = Port::free()?;
        let file = directory.path().join("bridge.toml");
        std::fs::write(&file, self.text(&port.address())).context("writing bridge.toml")?;
        Ok(Installed { setup: self, file, port, directory })
    }

    /// The same without its group; `lines` stand in its place.
    pub fn install_alone(self, lines: &str) -> Result<Installed> {
        let installed = self.install()?;
        let text = std::fs::read_to_string(&installed.file)?;
        let group = format!("group = \"{}\"", installed.setup.group);
        ensure!(text.contains(&group), "{text}");
        std::fs::write(&installed.file, text.replace(&group, &format!("group = false\n{lines}")))?;
        Ok(installed)
    }
}

/// A configuration in its folder.
pub struct Installed {
    pub setup: Setup,
    /// `bridge.toml`.
    pub file: PathBuf,
    port: Port,
    directory: Directory,
}

impl Installed {
    /// Starts `bridge run`; it may be killed and started again.
    pub fn start(&self) -> Result<Bridge> {
        self.start_with(&[])
    }

    /// The same with more arguments.
    pub fn start_with(&self, more: &[&str]) -> Result<Bridge> {
        let arguments = [&["run", self.path()], more].concat();
        Bridge::start_in(&arguments, &self.environment(), &self.port.address())
    }

    /// The memory ceiling that `bridge explain` prints, in bytes.
    pub fn memory_ceiling(&self) -> Result<u64> {
        let explained = self.command("explain", &[])?;
        explained.ensure_code(0)?;
        let total = explained.stdout.lines().find_map(|line| {
            let (number, unit) =
                line.trim().strip_prefix("all together")?.trim().split_once(' ')?;
            Some((number.parse::<f64>().ok()?, unit))
        });
        let (number, unit) = total.context("explain prints no line `all together NUMBER MiB`")?;
        let scale = match unit {
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            other => anyhow::bail!("explain prints the ceiling in {other:?}"),
        };
        Ok((number * f64::from(scale)) as u64)
    }

    /// `bridge run`, and waits until it says that it is ready.
    pub fn start_ready(&self) -> Result<Bridge> {
        let bridge = self.start()?;
        bridge.wait_ready(READY)?;
        Ok(bridge)
    }

    /// Runs another command on the file: `check`, `explain`.
    pub fn command(&self, command: &str, more: &[&str]) -> Result<Answer> {
        Answer::of_in(&[&[command, self.path()], more].concat(), &self.environment())
    }

    fn environment(&self) -> Vec<(&str, &str)> {
        self.setup.environment.iter().map(|(name, value)| (*name, value.as_str())).collect()
    }

    /// Runs `bridge tables` with a verb: `plan`, `apply`.
    pub fn tables(&self, verb: &str, more: &[&str]) -> Result<Answer> {
        Answer::of(&[&["tables", verb, self.path()], more].concat())
    }

    /// The only table of `plan --json`, which ends with this status.
    pub fn planned(&self, code: i32) -> Result<serde_json::Value> {
        let answer = self.tables("plan", &["--json"])?;
        answer.ensure_code(code)?;
        let answer: serde_json::Value =
            serde_json::from_str(&answer.stdout).context("plan --json")?;
        ensure!(answer["as_declared"] == (code == 0), "{answer}");
        Ok(answer["tables"][0].clone())
    }

    /// The group, from the outside.
    pub fn group(&self, bench: &Bench) -> Result<Group> {
        Group::new(bench, &self.setup.group, &self.setup.topic, self.setup.partitions)
    }

    /// The same, of brokers that no bench has.
    pub fn its_group(&self) -> Result<Group> {
        let Setup { brokers, group, topic, partitions, .. } = &self.setup;
        Group::at(brokers, group, topic, *partitions)
    }

    /// The folder that relative paths of the file start from.
    pub fn folder(&self) -> &std::path::Path {
        self.directory.path()
    }

    /// Where metrics are served.
    pub fn http(&self) -> String {
        self.port.address()
    }

    fn path(&self) -> &str {
        self.file.to_str().expect("temporary folders have plain names")
    }
}
