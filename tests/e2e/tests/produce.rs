//! Promise: `bridge produce` puts each line of a file into a topic once, as it is or with a schema,
//! and names those that are none.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use e2e::{Answer, Bench, Reading, Registry, Schemas, promise};
use world::{Directory, Message, Port};

/// Runs it on a file of these lines.
fn produce(bench: &Bench, topic: &str, lines: &str, more: &[&str]) -> Result<Answer> {
    let folder = Directory::create("produce")?;
    let file = folder.path().join("lines");
    std::fs::write(&file, lines)?;
    let file = file.to_str().context("temporary folders have plain names")?;
    let brokers = bench.kafka.brokers();
    Answer::of(&[&["produce", topic, file, "--brokers", &brokers], more].concat())
}

fn value(message: &Message) -> Result<&[u8]> {
    message.value.as_deref().context("a record has no value")
}

fn key(message: &Message) -> Result<&[u8]> {
    message.key.as_deref().context("a record has no key")
}

#[test]
fn lines_are_records_once_and_under_their_keys() {
    promise("lines of a file are in a topic", |bench| {
        const COUNT: u64 = 20_000;
        let topic = bench.unique("lines");
        let lines: String = (0..COUNT).map(|seq| Reading(seq).json() + "\n").collect();
        let missing = produce(bench, &topic, &lines, &[])?;
        missing.ensure_code(1)?;
        ensure!(missing.all.contains("is not there"), "{}", missing.all);
        bench.kafka.create_topic(&topic, 4)?;
        let told = produce(bench, &topic, &lines, &["--key", "sensor", "--header", "a=b"])?;
        told.ensure_code(0)?;
        ensure!(told.stdout.contains("20,000 records delivered"), "{}", told.stdout);
        let messages = bench.kafka.read_all(&topic)?;
        ensure!(messages.len() as u64 == COUNT, "{} records", messages.len());
        let mut seen = BTreeSet::new();
        for message in &messages {
            let json: serde_json::Value = serde_json::from_slice(value(message)?)?;
            let seq = json["seq"].as_u64().context("a number")?;
            let reading = Reading(seq);
            ensure!(value(message)? == reading.json().as_bytes(), "{seq} is another");
            ensure!(message.key.as_deref() == Some(reading.sensor().as_bytes()), "{seq}: its key");
            ensure!(message.header("a").as_deref() == Some("b"), "{seq}: its header");
            seen.insert(seq);
        }
        ensure!(seen.len() as u64 == COUNT, "{} of them are double", COUNT - seen.len() as u64);

        let bad = format!("{}\n{{\"sensor\": \n{}\n", Reading(1).json(), Reading(2).json());
        let told = produce(bench, &topic, &bad, &["--from", "json"])?;
        told.ensure_code(1)?;
        ensure!(told.all.contains(":2: malformed"), "{}", told.all);
        ensure!(told.all.contains("stopped at line 2"), "{}", told.all);
        let told = produce(bench, &topic, &bad, &["--from", "json", "--skip-bad", "1"])?;
        told.ensure_code(0)?;
        ensure!(told.stdout.starts_with("2 records delivered"), "{}", told.stdout);
        Ok(())
    });
}

#[test]
fn lines_become_values_with_a_schema() {
    promise("CSV becomes Avro under a registered schema", |bench| {
        let (port, schemas) = (Port::free()?, Schemas::default());
        let _registry = Registry::start(port.address().parse()?, schemas.clone())?;
        let url = format!("http://{}", port.address());
        let topic = bench.unique("avro");
        bench.kafka.create_topic(&topic, 1)?;
        let more = ["--from", "csv", "--format", "avro", "--registry", &url, "--key", "name"];
        let told = produce(bench, &topic, "name,n\na,1\n\"b,c\",\n", &more)?;
        told.ensure_code(0)?;
        let messages = bench.kafka.read_all(&topic)?;
        ensure!(messages.len() == 2, "{messages:?}");
        ensure!(value(&messages[0])? == [0, 0, 0, 0, 1, 2, 2, b'a', 2, 2], "{messages:?}");
        let second = [0, 0, 0, 0, 1, 2, 6, b'b', b',', b'c', 0];
        ensure!(value(&messages[1])? == second, "{messages:?}");
        ensure!(messages[1].key.as_deref() == Some(b"b,c"), "{messages:?}");
        let versions = schemas.versions(&format!("{topic}-value"));
        ensure!(versions.len() == 1 && versions[0].contains("\"long\""), "{versions:?}");
        // Nobody is there to register with.
        drop(_registry);
        let told = produce(bench, &topic, "name,n\na,1\n", &more)?;
        told.ensure_code(1)?;
        ensure!(told.all.contains("registry"), "{}", told.all);
        Ok(())
    });
}

#[test]
fn keys_have_schemas_beside_lines_as_they_are() {
    promise("keys in Avro are registered, beside lines as they are and values in Avro", |bench| {
        const LINES: [&str; 2] = [r#"{"name": "a", "n": 1}"#, r#"{"name":"bc","n":-1}"#];
        let (port, schemas) = (Port::free()?, Schemas::default());
        let _registry = Registry::start(port.address().parse()?, schemas.clone())?;
        let url = format!("http://{}", port.address());
        let lines = LINES.join("\n");
        let topic = bench.unique("keyed");
        bench.kafka.create_topic(&topic, 1)?;
        let told = produce(bench, &topic, &lines, &["--key", "name", "--key-format", "avro"])?;
        told.ensure_code(1)?;
        ensure!(told.all.contains("--registry http://"), "{}", told.all);

        let more = ["--key", "name", "--key-format", "avro", "--registry", &url];
        produce(bench, &topic, &lines, &more)?.ensure_code(0)?;
        ensure!(schemas.versions(&format!("{topic}-key")) == ["\"string\""]);
        ensure!(schemas.versions(&format!("{topic}-value")).is_empty(), "lines have no schema");
        let messages = bench.kafka.read_all(&topic)?;
        ensure!(messages.len() == 2, "{messages:?}");
        for (message, line) in messages.iter().zip(LINES) {
            ensure!(value(message)? == line.as_bytes(), "{message:?}");
        }
        // A zero, the id of the schema, and a text behind twice its length.
        ensure!(key(&messages[0])? == [0, 0, 0, 0, 1, 2, b'a'], "{messages:?}");
        ensure!(key(&messages[1])? == [0, 0, 0, 0, 1, 4, b'b', b'c'], "{messages:?}");

        // Of several columns it is a record, whose schema comes behind that of the values.
        let topic = bench.unique("keyed_avro");
        bench.kafka.create_topic(&topic, 1)?;
        let more = ["--key", "name,n", "--key-format", "avro", "--registry", &url];
        let more = [&more[..], &["--format", "avro"]].concat();
        produce(bench, &topic, &lines, &more)?.ensure_code(0)?;
        let made = schemas.versions(&format!("{topic}-key"));
        ensure!(made.len() == 1 && made[0].contains("\"long\""), "{made:?}");
        ensure!(schemas.versions(&format!("{topic}-value")).len() == 1, "values have their own");
        let messages = bench.kafka.read_all(&topic)?;
        ensure!(messages.len() == 2, "{messages:?}");
        ensure!(value(&messages[0])?.starts_with(&[0, 0, 0, 0, 2]), "{messages:?}");
        ensure!(key(&messages[0])? == [0, 0, 0, 0, 3, 2, b'a', 2], "{messages:?}");
        ensure!(key(&messages[1])? == [0, 0, 0, 0, 3, 4, b'b', b'c', 1], "{messages:?}");
        Ok(())
    });
}
