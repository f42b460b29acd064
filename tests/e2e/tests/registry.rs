//! Promise: with a real registry (Apicurio, through its Confluent-compatible API), records of every
//! format that has schemas are stored exactly while their schema changes; each schema is asked for
//! once; a registry that is away makes them wait, and what it does not have is in the dead letters.

use std::ops::Range;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::{
    Band, Bench, Bridge, Installed, PARTITIONS, Reading, Setup, promise, rows_are_exact, written,
};
use world::{Message, Proxy, Record, Registry, Schema};

const DRAIN: Duration = Duration::from_secs(90);
const VISIBLE: Duration = Duration::from_secs(30);
const ENDS: Duration = Duration::from_secs(30);
const TOLD: Duration = Duration::from_secs(30);

/// A format whose schemas a registry has.
struct Format {
    /// Its name in a configuration, and the rest of its section.
    name: &'static str,
    more: &'static str,
    /// As the registry calls it.
    kind: &'static str,
    /// The schema of a reading; the same with two fields more, one of which is `place`.
    schemas: fn() -> [String; 2],
    /// What the second one refers to: its name, and its schema.
    place: (&'static str, &'static str),
    /// A reading, by the second one or the first.
    body: fn(Reading, bool) -> Result<Vec<u8>>,
    /// A value by the first schema that is not as that says, and words that are said of it.
    broken: (&'static [u8], &'static str),
}

/// All of them.
const FORMATS: &[Format] = &[
    Format {
        name: "avro",
        more: "",
        kind: "AVRO",
        schemas: avro_schemas,
        place: (
            "Place",
            r#"{"type":"record","name":"Place","fields":[{"name":"floor","type":"int"}]}"#,
        ),
        body: written::avro,
        broken: (&[0x80], "`ts`: the value ends within it"),
    },
    Format {
        name: "json-schema",
        more: ", validate = true",
        kind: "JSON",
        schemas: json_schemas,
        place: (
            "place.json",
            r#"{"$schema":"http://json-schema.org/draft-07/schema#","type":"object",
                "properties":{"floor":{"type":"integer"}},"required":["floor"]}"#,
        ),
        body: written::json,
        broken: (br#"{"ts":1,"seq":"x"}"#, "/seq: \"x\" is not of type \"integer\""),
    },
    Format {
        name: "protobuf",
        more: "",
        kind: "PROTOBUF",
        schemas: protobuf_schemas,
        place: ("plant/place.proto", written::PROTOBUF_PLACE),
        // Of the first message, for which a zero stands.
        body: |reading, second| Ok([vec![0], written::protobuf(reading, second)?].concat()),
        broken: (&[0, 1 << 3, 0x80], "`ts`: the value ends within it"),
    },
];

fn avro_schemas() -> [String; 2] {
    let more = r#",{"name":"unit","type":["null","string"]},{"name":"place","type":"Place"}"#;
    ["", more].map(|more| {
        let fields = written::AVRO_FIELDS;
        format!(r#"{{"type":"record","name":"Reading","fields":[{fields}{more}]}}"#)
    })
}

fn json_schemas() -> [String; 2] {
    let more = r#","unit":{"type":["string","null"]},"place":{"$ref":"place.json"}"#;
    ["", more].map(|more| {
        format!(
            r#"{{"$schema":"http://json-schema.org/draft-07/schema#","type":"object",
            "properties":{{"ts":{{"type":"integer"}},"sensor":{{"type":"string"}},
            "seq":{{"type":"integer"}},"ok":{{"type":"boolean"}}{more}}},
            "required":["ts","seq"]}}"#
        )
    })
}

fn protobuf_schemas() -> [String; 2] {
    let [fields, more] = written::PROTOBUF_FIELDS;
    [("", ""), ("import \"plant/place.proto\";", more)].map(|(import, more)| {
        format!(
            "syntax = \"proto3\"; package plant; {import} message Reading {{ {fields} {more} }}"
        )
    })
}

/// One pipeline by the registry.
struct Road<'a> {
    bench: &'static Bench,
    registry: &'a Registry,
    format: &'a Format,
    installed: Installed,
    /// Between the bridge and the registry: a connection for each question.
    proxy: Proxy,
}

impl<'a> Road<'a> {
    fn new(bench: &'static Bench, registry: &'a Registry, format: &'a Format) -> Result<Self> {
        let proxy = Proxy::start(&registry.address())?;
        let mut setup = Setup::readings(bench, &format.name.replace('-', "_"), PARTITIONS)?;
        setup.pipeline.push(format!(
            "value = {{ format = \"{}\", registry.url = \"http://{}{}\"{} }}",
            format.name,
            proxy.address(),
            registry.path(),
            format.more,
        ));
        let installed = setup.install()?;
        Ok(Road { bench, registry, format, installed, proxy })
    }

    fn subject(&self) -> String {
        format!("{}-value", self.installed.setup.topic)
    }

    fn register(&self, second: bool) -> Result<u32> {
        let Format { kind, schemas, place, .. } = self.format;
        let text = &schemas()[usize::from(second)];
        let place_subject = format!("{}-place", self.installed.setup.topic);
        let references = [(place.0, place_subject.as_str())];
        let references = if second { &references[..] } else { &[] };
        if second {
            let schema = Schema { kind, text: place.1, references: &[] };
            self.registry.register(&place_subject, &schema)?;
        }
        self.registry.register(&self.subject(), &Schema { kind, text, references })
    }

    fn send(&self, numbers: Range<u64>, id: u32, second: bool) -> Result<()> {
        let record = |seq| {
            let reading = Reading(seq);
            Ok(written::framed(reading, id, &(self.format.body)(reading, second)?))
        };
        let records = numbers.map(record).collect::<Result<Vec<_>>>()?;
        self.bench.kafka.produce(&self.installed.setup.topic, records).map(drop)
    }

    fn rows_are(&self, count: u64) -> Result<()> {
        let table = &self.installed.setup.table;
        rows_are_exact(&self.bench.questdb, table, count, Band::ALL, DRAIN)
    }

    fn asked(&self) -> u64 {
        self.proxy.counts().connections
    }

    fn count(&self, what: &str) -> Result<i64> {
        let table = &self.installed.setup.table;
        self.bench.questdb.scalar_i64(&format!("select count() from {table} where {what}"))
    }

    fn rejected(&self, bridge: &Bridge) -> Result<f64> {
        bridge.metrics()?.sum("bridge_records_rejected_total")
    }

    fn letters(&self) -> Result<Vec<Message>> {
        self.bench.kafka.read_all(&format!("{}.dead-letters", self.installed.setup.topic))
    }
}

fn says(letter: &Message, words: &str) -> bool {
    let headers = letter.headers.iter().filter_map(|(_, value)| value.as_deref());
    headers.map(String::from_utf8_lossy).any(|text| text.contains(words))
}

/// A schema that changes while records move, a registry that is away, and what nobody should send.
fn change(road: &Road<'_>) -> Result<()> {
    let first = road.register(false)?;
    road.send(0..5_000, first, false)?;
    let bridge = road.installed.start_ready()?;
    road.rows_are(5_000)?;
    ensure!(road.asked() == 1, "{} questions for one schema", road.asked());

    // The new schema and the one that it refers to, and records of the old one behind it.
    let second = road.register(true)?;
    road.send(5_000..10_000, second, true)?;
    road.send(10_000..12_000, first, false)?;
    road.rows_are(12_000)?;
    ensure!(road.asked() == 3, "{} questions for three schemas", road.asked());
    for (condition, rows) in written::conditions(5_000) {
        let count = road.count(condition)?;
        ensure!(count == rows, "{count} rows with {condition}, not {rows}");
    }
    ensure!(road.count("place_floor is null")? == 7_000, "there are floors that nobody sent");
    ensure!(road.rejected(&bridge)? < 0.5, "records are rejected");

    checked(road)?;

    // Nobody has met the third one, and nobody answers: its records wait, and it is told.
    let other = road.registry.register(
        &format!("{}-other", road.subject()),
        &Schema { kind: road.format.kind, text: &other(road.format)?, references: &[] },
    )?;
    road.proxy.refuse(true);
    road.send(12_000..12_500, other, false)?;
    bridge.process().wait_for_line("registry", TOLD)?;
    bridge.process().wait_for_line("is not answering", TOLD)?;
    road.proxy.refuse(false);
    road.rows_are(12_500)?;
    ensure!(road.rejected(&bridge)? < 0.5, "records are rejected because nobody answered");
    letters_are(road, &bridge, first)?;
    bridge.stop_well(ENDS)
}

/// What `bridge check` tells of the registry, there and away.
fn checked(road: &Road<'_>) -> Result<()> {
    let before = road.asked();
    let answer = road.installed.command("check", &[])?;
    answer.ensure_code(0)?;
    let line = |subject: &str| {
        let line = answer.stdout.lines().find(|line| line.starts_with(subject));
        line.with_context(|| format!("no {subject} in:\n{}", answer.stdout))
    };
    ensure!(line("registry ")?.contains(road.format.kind), "{}", answer.stdout);
    let subject = line("subject ")?;
    let words = format!("version 2, {}, refers to 1", road.format.kind);
    ensure!(subject.contains(&road.subject()) && subject.contains(&words), "{subject}");
    ensure!(road.asked() > before, "it asks");
    road.proxy.refuse(true);
    let answer = road.installed.command("check", &[])?;
    road.proxy.refuse(false);
    ensure!(answer.stdout.contains("is not answering"), "{}", answer.stdout);
    answer.ensure_code(1).with_context(|| answer.stdout.clone())
}

/// The first schema under another id: with something that changes nothing.
fn other(format: &Format) -> Result<String> {
    let [first, _] = (format.schemas)();
    if format.kind == "PROTOBUF" {
        return Ok(format!("{first} message Another {{}}"));
    }
    let mut schema: serde_json::Value = serde_json::from_str(&first)?;
    let word = if format.kind == "AVRO" { "doc" } else { "description" };
    schema[word] = "another one".into();
    Ok(schema.to_string())
}

/// Records by a schema that there is not, without one, and that are not as theirs says.
fn letters_are(road: &Road<'_>, bridge: &Bridge, first: u32) -> Result<()> {
    const NOBODYS: u32 = 999_999;
    let (broken, words) = road.format.broken;
    let framed = |id: u32, body: &[u8]| {
        let value = [&[0], &id.to_be_bytes()[..], body].concat();
        Record::new(value).partition(0)
    };
    let nobodys = (road.format.body)(Reading(0), false)?;
    let bad = [
        framed(NOBODYS, &nobodys),
        framed(first, broken),
        Record::new("plain").partition(0),
        framed(NOBODYS, &nobodys),
    ];
    let before = road.asked();
    road.bench.kafka.produce(&road.installed.setup.topic, bad)?;
    road.send(12_500..13_000, first, false)?;
    road.installed.group(road.bench)?.wait_drained(bridge, DRAIN)?;
    let table = &road.installed.setup.table;
    rows_are_exact(&road.bench.questdb, table, 13_000, Band::ALL, VISIBLE)?;
    ensure!(road.asked() == before + 1, "an id that nobody has is asked for once");
    let letters = road.letters()?;
    ensure!(letters.len() == 4, "{} dead letters, not four", letters.len());
    for words in ["unknown-schema", words, "and not with 0 and a schema's id"] {
        let said = letters.iter().filter(|letter| says(letter, words)).count();
        let expected = if words == "unknown-schema" { 2 } else { 1 };
        ensure!(said == expected, "{said} letters say {words:?}");
    }
    let whole = letters.iter().any(|letter| {
        letter.value.as_deref().is_some_and(|value| value.ends_with(broken) && value[0] == 0)
    });
    ensure!(whole, "a letter has the value as it was");
    Ok(())
}

#[test]
fn schemas_of_a_real_registry_change_while_records_move() {
    promise("schemas of a real registry change while records move", |bench| {
        let registry = Registry::start()?;
        for format in FORMATS {
            let road = Road::new(bench, &registry, format)?;
            let outcome = change(&road).with_context(|| format!("format {}", format.name));
            outcome
                .with_context(|| format!("the registry's log ends:\n{}", registry.log_tail()))?;
        }
        Ok(())
    });
}
