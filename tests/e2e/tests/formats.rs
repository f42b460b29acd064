//! Promise: readings that come as CSV or as line protocol are the same rows as those in JSON; what
//! is broken among them is in the dead letters, with its line and its column.

use std::io::Write as _;
use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::{Band, Bench, PARTITIONS, Reading, Setup, promise, rows_are_exact};
use world::Record;

const COUNT: u64 = 20_000;
const DRAIN: Duration = Duration::from_secs(90);
const VISIBLE: Duration = Duration::from_secs(30);
const ENDS: Duration = Duration::from_secs(30);

/// Fields of a reading as they stand in JSON, in its order.
fn fields(reading: Reading) -> Result<Vec<(String, serde_json::Value)>> {
    let fields: serde_json::Map<_, _> = serde_json::from_str(&reading.json())?;
    Ok(fields.into_iter().collect())
}

fn csv_line(reading: Reading) -> Result<String> {
    let cells = fields(reading)?.into_iter().map(|(_, value)| match value.as_str() {
        Some(text) if text.contains([',', ' ']) => format!("\"{text}\""),
        Some(text) => text.to_owned(),
        None => value.to_string(),
    });
    Ok(cells.collect::<Vec<_>>().join(","))
}

fn ilp_line(reading: Reading) -> Result<String> {
    let (mut tags, mut values, mut at) = (String::new(), Vec::new(), String::new());
    for (name, value) in fields(reading)? {
        match (name.as_str(), value.as_str()) {
            ("ts", _) => at = value.to_string(),
            ("seq", _) => values.push(format!("{name}={value}i")),
            (_, Some(text)) => {
                let text = text.replace(',', "\\,").replace(' ', "\\ ").replace('=', "\\=");
                tags.push_str(&format!(",{name}={text}"));
            }
            (_, None) => values.push(format!("{name}={value}")),
        }
    }
    Ok(format!("reading{tags} {} {at}", values.join(",")))
}

/// Records of one to four lines, each of one partition.
fn records(line: fn(Reading) -> Result<String>) -> Result<Vec<Record>> {
    let (mut records, mut seq) = (Vec::new(), 0);
    while seq < COUNT {
        let end = COUNT.min(seq + 1 + records.len() as u64 % 4);
        let lines = (seq..end).map(|seq| line(Reading(seq))).collect::<Result<Vec<_>>>()?;
        let partition = records.len() as i32 % PARTITIONS;
        records.push(Record::new(lines.join("\n")).partition(partition));
        seq = end;
    }
    Ok(records)
}

/// Good records and one that is broken: the rows are all there, and the letter says `words`.
fn same_rows(
    bench: &Bench,
    name: &str,
    value: &str,
    line: fn(Reading) -> Result<String>,
    (broken, words): (&str, &str),
) -> Result<()> {
    let mut setup = Setup::readings(bench, name, PARTITIONS)?;
    setup.pipeline.push(value.to_owned());
    let installed = setup.install()?;
    let mut records = records(line)?;
    records.insert(records.len() / 2, Record::new(broken).partition(0));
    bench.kafka.produce(&installed.setup.topic, records)?;
    let bridge = installed.start_ready()?;
    installed.group(bench)?.wait_drained(&bridge, DRAIN)?;
    rows_are_exact(&bench.questdb, &installed.setup.table, COUNT, Band::ALL, VISIBLE)?;
    bridge.stop_well(ENDS)?;
    let letters = bench.kafka.read_all(&format!("{}.dead-letters", installed.setup.topic))?;
    let [letter] = letters.as_slice() else {
        anyhow::bail!("{} dead letters, not one", letters.len());
    };
    ensure!(letter.value.as_deref() == Some(broken.as_bytes()), "{letter:?}");
    let detail = letter.headers.iter().filter_map(|(_, value)| value.as_deref());
    let said = detail.map(String::from_utf8_lossy).any(|text| text.contains(words));
    ensure!(said, "no header says {words:?}: {letter:?}");
    Ok(())
}

#[test]
fn csv_becomes_the_same_rows() {
    promise("csv becomes the same rows", |bench| {
        let value = "value = { format = \"csv\", columns = [\"ts\", \"sensor\", \"site\", \
                     \"temperature\", \"humidity\", \"pressure\", \"seq\", \"ok\"], types = { \
                     ts = \"long\", temperature = \"double\", humidity = \"double\", \
                     pressure = \"double\", seq = \"long\", ok = \"boolean\" } }";
        let broken = "1700000000000000,s,x,hot,1,1,1,true";
        let words = "line 1, column `temperature`: \"hot\" is not a number";
        same_rows(bench, "csv", value, csv_line, (broken, words))
    });
}

#[test]
fn line_protocol_becomes_the_same_rows() {
    promise("line protocol becomes the same rows", |bench| {
        let value = "value = { format = \"ilp\", measurement = \"ignore\", precision = \"us\", \
                     timestamp_column = \"ts\" }";
        let broken = "reading,sensor=s temperature=hot 1700000000000000";
        let words = "line 1: field `temperature`: expected 1.5, 1i";
        same_rows(bench, "ilp", value, ilp_line, (broken, words))
    });
}

fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?)
}

#[test]
fn compressed_values_become_the_same_rows() {
    promise("values that are compressed one by one become the same rows", |bench| {
        let mut setup = Setup::readings(bench, "packed", PARTITIONS)?;
        setup.pipeline.push("value = { format = \"json\", compression = \"gzip\" }".to_owned());
        setup.pipeline.push("record_bytes_max = \"1MiB\"".to_owned());
        let installed = setup.install()?;
        let mut records = (0..COUNT)
            .map(|seq| {
                let record = Reading(seq).record(PARTITIONS);
                let value = gzip(record.value.as_deref().unwrap_or_default())?;
                Ok(Record { value: Some(value), ..record })
            })
            .collect::<Result<Vec<_>>>()?;
        // Kilobytes that would become far more than a value may have; and half a stream.
        let bomb = gzip(&vec![b' '; 64 << 20])?;
        let half = gzip(b"{\"seq\":1}")?;
        records.push(Record::new(bomb.clone()).partition(0));
        records.push(Record::new(half[..half.len() / 2].to_vec()).partition(0));
        // A batch that unpacks to a thousand times its bytes.
        let wide = (COUNT..COUNT + 2_000).map(|seq| {
            let reading = Reading(seq);
            let spaced = reading.json().replacen('{', &format!("{{{}", " ".repeat(200_000)), 1);
            Ok(Record { value: Some(gzip(spaced.as_bytes())?), ..reading.record(1) })
        });
        records.extend(wide.collect::<Result<Vec<_>>>()?);
        let ceiling = installed.memory_ceiling()?;
        bench.kafka.produce(&installed.setup.topic, records)?;
        let bridge = installed.start_ready()?;
        installed.group(bench)?.wait_drained(&bridge, DRAIN)?;
        let table = &installed.setup.table;
        rows_are_exact(&bench.questdb, table, COUNT + 2_000, Band::ALL, VISIBLE)?;
        let peak = bridge.metrics()?.sum("process_resident_memory_bytes")?;
        ensure!(peak <= ceiling as f64, "{peak} bytes resident, the ceiling is {ceiling}");
        bridge.stop_well(ENDS)?;
        let letters = bench.kafka.read_all(&format!("{}.dead-letters", installed.setup.topic))?;
        ensure!(letters.len() == 2, "{} dead letters, not two", letters.len());
        for (value, words) in [
            (&bomb[..], "unpack to more than record_bytes_max = 1048576"),
            (&half[..half.len() / 2], "the value is not gzip: "),
        ] {
            let letter = letters.iter().find(|letter| letter.value.as_deref() == Some(value));
            let letter = letter.ok_or_else(|| anyhow::anyhow!("no letter is as it was sent"))?;
            let detail = letter.headers.iter().filter_map(|(_, value)| value.as_deref());
            let said = detail.map(String::from_utf8_lossy).any(|text| text.contains(words));
            ensure!(said, "no header says {words:?}: {:?}", letter.headers);
        }
        Ok(())
    });
}

#[test]
fn keys_of_simple_types_are_columns() {
    promise("keys of simple types are columns", |bench| {
        let mut setup = Setup::readings(bench, "keyed", PARTITIONS)?;
        setup.pipeline.push("key = { format = \"i64\", column = \"id\" }".to_owned());
        setup.pipeline.push("value = { format = \"f64\", column = \"temperature\" }".to_owned());
        setup.shape.clear();
        let installed = setup.install()?;
        let record = |id: i64| {
            let value = id as f64 / 4.0;
            Record::new(value.to_be_bytes().to_vec()).key(id.to_be_bytes().to_vec()).partition(0)
        };
        bench.kafka.produce(&installed.setup.topic, (1..=1_000).map(record))?;
        let bridge = installed.start_ready()?;
        installed.group(bench)?.wait_drained(&bridge, DRAIN)?;
        let table = &installed.setup.table;
        let right = format!("select count() from {table} where temperature * 4 = id");
        bench.questdb.wait_for(&right, |count| count == 1_000, VISIBLE)?;
        let sum = bench.questdb.scalar_i64(&format!("select sum(id) from {table}"))?;
        ensure!(sum == 500_500, "the keys add up to {sum}");
        bridge.stop_well(ENDS)
    });
}
