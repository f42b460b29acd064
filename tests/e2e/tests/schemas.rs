//! Promise: rows are written with schemas that are made of them and registered, while columns come,
//! the registry is away and the bridge is killed; who reads them has every row once, and right.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use e2e::{Band, PARTITIONS, Reading, Registry, Schemas, Setup, promise, rows_are_exact};
use world::{Port, Record};

const BUSY: Duration = Duration::from_secs(60);
const DRAIN: Duration = Duration::from_secs(120);
const ENDS: Duration = Duration::from_secs(30);

/// A reading; from `more` on with a column that the others do not have.
fn record(seq: u64, more: u64) -> Record {
    let reading = Reading(seq);
    let plain = reading.record(PARTITIONS);
    if seq < more {
        return plain;
    }
    let json = reading.json();
    let json = format!("{},\"unit\":\"°C\"}}", json.trim_end_matches('}'));
    Record { value: Some(json.into_bytes()), ..plain }
}

#[test]
fn rows_in_avro_are_there_once_while_their_schema_grows() {
    promise("Kafka to Kafka in Avro, its schema made of the rows", |bench| {
        let (port, schemas) = (Port::free()?, Schemas::default());
        let url = format!("registry.url = \"http://{}\"", port.address());
        let mut setup = Setup::readings(bench, "written", PARTITIONS)?;
        let target = format!("{}-avro", setup.topic);
        setup.pipeline.push("delivery = \"exactly-once\"".to_owned());
        setup.elsewhere =
            Some(format!("kind = \"kafka\"\ntopic = \"{target}\"\nencode = \"avro\"\n{url}"));
        let installed = setup.install()?;
        let topic = installed.setup.topic.clone();
        let send = |numbers: std::ops::Range<u64>| -> Result<()> {
            let records = numbers.map(|seq| record(seq, 20_000));
            bench.kafka.produce(&topic, records).map(drop)
        };

        // Nobody is there to register with: rows wait, and it is told.
        send(0..5_000)?;
        let mut bridge = installed.start()?;
        bridge.process().wait_for_line("is not answering (connection refused)", ENDS)?;
        let address = port.address().parse()?;
        let registry = Registry::start(address, schemas.clone())?;
        let group = installed.group(bench)?;
        let mut committed = group.wait_progress(&bridge, 0, BUSY)?;

        // Killed while rows are under way; a new column comes behind that.
        send(5_000..20_000)?;
        committed = group.wait_progress(&bridge, committed, BUSY)?;
        bridge.kill()?;
        send(20_000..30_000)?;
        bridge = installed.start()?;
        group.wait_progress(&bridge, committed, BUSY)?;
        bridge.kill()?;
        bridge = installed.start()?;
        group.wait_drained(&bridge, DRAIN)?;
        bridge.stop_well(ENDS)?;
        let versions = schemas.versions(&format!("{target}-value"));
        ensure!(versions.len() == 2, "there are {} versions: {versions:?}", versions.len());
        ensure!(versions[1].contains("unit") && !versions[0].contains("unit"), "{versions:?}");

        // Read by the bridge itself, the registry away again once both schemas are known.
        let mut second = Setup::readings(bench, "read", PARTITIONS)?;
        second.topic.clone_from(&target);
        second.pipeline.push(format!("value = {{ format = \"avro\", {url} }}"));
        let second = second.install()?;
        let bridge = second.start_ready()?;
        rows_are_exact(&bench.questdb, &second.setup.table, 30_000, Band::ALL, DRAIN)?;
        let table = &second.setup.table;
        let units = format!("select count() from {table} where unit = '°C'");
        let units = bench.questdb.scalar_i64(&units)?;
        ensure!(units == 10_000, "{units} units of 10000");
        drop(registry);
        bridge.stop_well(ENDS)
    });
}

#[test]
fn keys_in_avro_are_read_back_as_columns() {
    promise("Kafka to Kafka under keys in Avro, and back as columns", |bench| {
        const COUNT: u64 = 6_000;
        let (port, schemas) = (Port::free()?, Schemas::default());
        let url = format!("registry.url = \"http://{}\"", port.address());
        let _registry = Registry::start(port.address().parse()?, schemas.clone())?;
        let mut setup = Setup::readings(bench, "keyed", PARTITIONS)?;
        let (of_one, of_two) = (format!("{}-one", setup.topic), format!("{}-two", setup.topic));
        let sink = |topic: &str, columns: &str| {
            format!(
                "kind = \"kafka\"\ntopic = \"{topic}\"\nencode = \"avro\"\n{url}\n\
                 key = {{ columns = [{columns}], encode = \"avro\" }}"
            )
        };
        setup.elsewhere = Some(sink(&of_two, "\"sensor\", \"seq\""));
        setup.also.push(sink(&of_one, "\"sensor\""));
        let installed = setup.install()?;
        bench.kafka.produce(&installed.setup.topic, (0..COUNT).map(|seq| record(seq, COUNT)))?;
        let bridge = installed.start()?;
        installed.group(bench)?.wait_drained(&bridge, DRAIN)?;
        bridge.stop_well(ENDS)?;
        ensure!(schemas.versions(&format!("{of_one}-key")) == ["\"string\""]);
        let made = schemas.versions(&format!("{of_two}-key"));
        ensure!(made.len() == 1 && made[0].contains(r#""long""#), "{made:?}");

        // What was one key is one key still: it is on one partition.
        let mut homes = HashMap::new();
        for record in bench.kafka.read_all(&of_one)? {
            let key = record.key.context("a record has no key")?;
            let home = *homes.entry(key).or_insert(record.partition);
            ensure!(home == record.partition, "a key is on {home} and {}", record.partition);
        }
        let same = |column: &str| format!("cast({column} as string) = cast(sensor as string)");
        for (topic, name, key, right) in [
            (&of_one, "one", "column = \"its_key\"", same("its_key")),
            (&of_two, "two", "prefix = \"its_\"", same("its_sensor") + " and its_seq = seq"),
        ] {
            let mut second = Setup::readings(bench, name, PARTITIONS)?;
            second.topic.clone_from(topic);
            second.pipeline.push(format!("value = {{ format = \"avro\", {url} }}"));
            second.pipeline.push(format!("key = {{ format = \"avro\", {key} }}"));
            let second = second.install()?;
            let bridge = second.start_ready()?;
            let table = &second.setup.table;
            rows_are_exact(&bench.questdb, table, COUNT, Band::ALL, DRAIN)?;
            let right = format!("select count() from {table} where {right}");
            let right = bench.questdb.scalar_i64(&right)?;
            ensure!(right == COUNT as i64, "{right} keys of {COUNT}");
            bridge.stop_well(ENDS)?;
        }
        Ok(())
    });
}

/// The fields of a message: numbers, or bytes.
#[derive(Clone, PartialEq, Debug)]
enum Field {
    Number(u64),
    Bytes(Vec<u8>),
}

/// Reads a message of the wire format, field by field.
fn fields(mut rest: &[u8]) -> Result<BTreeMap<u64, Field>> {
    fn varint(rest: &mut &[u8]) -> Result<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let (byte, after) = rest.split_first().context("a number is cut short")?;
            *rest = after;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        bail!("a number of more than 64 bits")
    }
    let mut fields = BTreeMap::new();
    while !rest.is_empty() {
        let tag = varint(&mut rest)?;
        let field = match tag & 7 {
            0 => Field::Number(varint(&mut rest)?),
            1 => {
                let (bytes, after) = rest.split_first_chunk::<8>().context("cut short")?;
                rest = after;
                Field::Number(u64::from_le_bytes(*bytes))
            }
            2 => {
                let count = varint(&mut rest)? as usize;
                let (bytes, after) = rest.split_at_checked(count).context("cut short")?;
                rest = after;
                Field::Bytes(bytes.to_vec())
            }
            wire => bail!("a field of the wire type {wire}"),
        };
        ensure!(fields.insert(tag >> 3, field).is_none(), "field {} comes twice", tag >> 3);
    }
    Ok(fields)
}

/// The number of a field by its name, out of the text of a message.
fn number_of(schema: &str, name: &str) -> Result<u64> {
    let line = schema.lines().find(|line| line.contains(&format!(" {name} = ")));
    let line = line.with_context(|| format!("no field {name} in {schema}"))?;
    let number = line.rsplit(' ').next().unwrap_or_default().trim_end_matches(';');
    number.parse().context("a field without a number")
}

fn is_reading(json: &serde_json::Value) -> Result<u64> {
    let seq = json["seq"].as_u64().context("a row has no number")?;
    let reading = Reading(seq);
    ensure!(json["sensor"] == reading.sensor(), "{json}");
    ensure!(json["temperature"] == reading.centi() as f64 / 100.0, "{json}");
    ensure!(json["ok"] == (seq % 3 == 0), "{json}");
    Ok(seq)
}

#[test]
fn rows_as_messages_and_as_json_have_schemas_that_say_what_they_are() {
    promise("Kafka to Kafka in Protocol Buffers and under a JSON Schema", |bench| {
        const COUNT: u64 = 6_000;
        let (port, schemas) = (Port::free()?, Schemas::default());
        let url = format!("registry.url = \"http://{}\"", port.address());
        let _registry = Registry::start(port.address().parse()?, schemas.clone())?;
        let mut setup = Setup::readings(bench, "messages", PARTITIONS)?;
        let sink = |encode: &str, topic: &str| {
            format!("kind = \"kafka\"\ntopic = \"{topic}\"\nencode = \"{encode}\"\n{url}")
        };
        let messages = format!("{}-proto", setup.topic);
        let objects = format!("{}-json", setup.topic);
        setup.elsewhere = Some(sink("protobuf", &messages));
        setup.also.push(sink("json-schema", &objects));
        let installed = setup.install()?;
        let numbers = (0..COUNT).map(|seq| record(seq, 4_000));
        bench.kafka.produce(&installed.setup.topic, numbers)?;
        let bridge = installed.start()?;
        installed.group(bench)?.wait_drained(&bridge, DRAIN)?;
        let rejected = bridge.metrics()?.sum("bridge_records_rejected_total")?;
        ensure!(rejected.abs() < 0.5, "{rejected} records are rejected");
        bridge.stop_well(ENDS)?;

        let schema = schemas.versions(&format!("{messages}-value")).pop().context("none")?;
        let number = |name: &str| number_of(&schema, name);
        let (seq, sensor, celsius) = (number("seq")?, number("sensor")?, number("temperature")?);
        let (ts, unit) = (number("ts")?, number("unit")?);
        let mut seen = HashMap::new();
        for message in bench.kafka.read_all(&messages)? {
            let value = message.value.context("a record has no value")?;
            // A zero, the schema's id, and the first message of its file.
            let [0, _, _, _, _, 0, body @ ..] = value.as_slice() else { bail!("{value:?}") };
            let found = fields(body)?;
            let Some(Field::Number(seq)) = found.get(&seq) else { bail!("{found:?}") };
            let reading = Reading(*seq);
            let name = Field::Bytes(reading.sensor().into_bytes());
            ensure!(found.get(&sensor) == Some(&name), "{found:?}");
            let degrees = (reading.centi() as f64 / 100.0).to_bits();
            ensure!(found.get(&celsius) == Some(&Field::Number(degrees)), "{found:?}");
            ensure!(found.contains_key(&unit) == (*seq >= 4_000), "{found:?}");
            let Some(Field::Bytes(at)) = found.get(&ts) else { bail!("{found:?}") };
            let at = fields(at)?;
            let part = |number: u64| match at.get(&number) {
                Some(Field::Number(part)) => *part,
                _ => 0,
            };
            let micros = part(1) * 1_000_000 + part(2) / 1_000;
            ensure!(micros == reading.ts_us(), "{seq} is of {micros}");
            *seen.entry(*seq).or_insert(0) += 1;
        }
        ensure!(seen.len() as u64 == COUNT, "{} messages of {COUNT}", seen.len());
        let mut seen = HashMap::new();
        for message in bench.kafka.read_all(&objects)? {
            let value = message.value.context("a record has no value")?;
            let [0, _, _, _, _, body @ ..] = value.as_slice() else { bail!("{value:?}") };
            *seen.entry(is_reading(&serde_json::from_slice(body)?)?).or_insert(0) += 1;
        }
        ensure!(seen.len() as u64 == COUNT, "{} objects of {COUNT}", seen.len());
        Ok(())
    });
}
