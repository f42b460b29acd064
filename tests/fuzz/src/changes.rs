//! Changes of databases to rows: events of Debezium in JSON, with schemas and without, and in Avro.

use bridge::batch::RowBatch;
use bridge::format::KeyPlan;
use bridge::reject::Rejects;

use super::{batch, decoder, tell_rows};

/// The schema of an event, whose rows have every kind of meaning.
const SCHEMA: &str = r#"{"type":"record","name":"Envelope","fields":[
    {"name":"before","type":["null",{"type":"record","name":"Value","fields":[
        {"name":"id","type":"int"},
        {"name":"at","type":{"type":"long","connect.name":"io.debezium.time.MicroTimestamp"}},
        {"name":"text","type":["null",{"type":"string","connect.name":"io.debezium.time.ZonedTimestamp"}]},
        {"name":"bits","type":{"type":"bytes","connect.name":"io.debezium.data.Bits","connect.parameters":{"length":"9"}}},
        {"name":"sum","type":{"type":"record","name":"V","connect.name":"io.debezium.data.VariableScaleDecimal",
            "fields":[{"name":"scale","type":"int"},{"name":"value","type":"bytes"}]}},
        {"name":"list","type":{"type":"array","items":["null","V"]}}]}]},
    {"name":"after","type":["null","Value"]},
    {"name":"source","type":{"type":"record","name":"S","fields":[
        {"name":"ts_ms","type":"long"},{"name":"table","type":["null","string"]}]}},
    {"name":"op","type":"string"}]}"#;

/// What all columns may mean.
const TYPES: &str = "types = { a = 'decimal(10,2)', b = 'decimal', c = 'decimal-text', d = 'date', \
    e = 'zoned-timestamp', f = 'bits', g = 'double', h = 'bytes', i = 'iso-date', j = 'enum' }";

fn options(pick: u8) -> String {
    let unavailable = ["reject", "null", "text"][usize::from(pick) % 3];
    let mut options = format!("deleted = 'deleted'\nunavailable = '{unavailable}'\n{TYPES}\n");
    if pick & 1 != 0 {
        options += "op = 'op'\nother = 'skip'\ntruncate = 'skip'\n";
    }
    match pick >> 1 & 3 {
        0 => options += "source = ['ts_ms', 'lsn']\nbefore = 'was_'\ntable = 'qualified'\n",
        1 => options += "unwrapped = true\n",
        2 => options += &format!("encoding = 'avro'\nframing = 'bare'\nschema = '''{SCHEMA}'''\n"),
        _ => {
            options += "source = ['ts_ms']\nbefore = 'b_'\ntable = 'source'\n";
            options += &format!("encoding = 'avro'\nframing = 'bare'\nschema = '''{SCHEMA}'''\n");
        }
    }
    options
}

/// Bytes to rows: the first byte picks options; records end with a zero byte, of Avro with 0xff.
pub fn decode_debezium(bytes: &[u8]) {
    let Some((first, rest)) = bytes.split_first() else { return };
    let options = options(*first);
    let end = if first & 4 == 0 { 0 } else { 0xff };
    let values: Vec<Vec<u8>> = rest.split(|byte| *byte == end).map(<[u8]>::to_vec).collect();
    let (mut format, names) = decoder("debezium", &options, KeyPlan::Ignore);
    let mut tell = |values: Vec<Vec<u8>>| {
        let mut told = vec![String::new(); values.len()];
        let batch = batch(values);
        let (mut rows, mut rejects) = (RowBatch::default(), Rejects::default());
        format.decode(&batch, &mut rows, &mut rejects).expect("only records are at fault");
        for (source, _, reason, detail) in &rejects.found {
            assert!(!detail.is_empty(), "a reject without a word");
            assert!(!rows.deleting.has(*source), "a refused record deletes nothing");
            told[*source as usize].push_str(reason.name());
        }
        for row in rows.rows.iter().filter(|row| rows.deleting.has(row.source)) {
            told[row.source as usize].push_str("deletes ");
        }
        tell_rows(&rows, &names, &mut told);
        told
    };
    // One after the other as together: schemas that were met change nothing.
    let together = tell(values.clone());
    assert_eq!(tell(values.clone()), together);
    for (value, together) in values.into_iter().zip(together) {
        assert_eq!(tell(vec![value]), [together]);
    }
}

/// Input that gets far.
pub fn seeds() -> Vec<Vec<u8>> {
    let after = r#"{"id":1,"a":"MDk=","b":{"scale":1,"value":"MDk="},"c":"-1.50","d":7,
        "e":"2026-11-22T05:00:00.123456Z","f":"AQI=","g":"NaN","h":"AA==","i":"2026-11-22Z",
        "j":"fine","k":[1,2],"l":["x"],"m":"__debezium_unavailable_value","n":null}"#;
    let source = r#"{"ts_ms":1700000000123,"schema":"public","table":"orders","lsn":7}"#;
    let event = |op: &str| {
        format!(r#"{{"before":{after},"after":{after},"source":{source},"op":"{op}","ts_ms":1}}"#)
    };
    let schema = r#"{"type":"struct","fields":[{"type":"struct","field":"after","fields":[
        {"type":"int64","name":"io.debezium.time.MicroTimestamp","field":"id"},
        {"type":"bytes","name":"org.apache.kafka.connect.data.Decimal","field":"a",
         "parameters":{"scale":"2"}}]}]}"#;
    let enveloped = format!(r#"{{"schema":{schema},"payload":{}}}"#, event("c"));
    let mut seeds = vec![
        [b"\0".as_slice(), event("c").as_bytes(), b"\0", event("d").as_bytes()].concat(),
        [b"\x01".as_slice(), event("u").as_bytes(), b"\0", enveloped.as_bytes()].concat(),
        [b"\x01".as_slice(), event("t").as_bytes(), b"\0{\"ts_ms\":1}"].concat(),
        [b"\x02".as_slice(), after.as_bytes(), b"\0{\"id\":1,\"__deleted\":\"true\"}"].concat(),
    ];
    // A row; then nothing before, the row, its source, and what was done.
    let mut row = vec![2, 14, 2, 40];
    row.extend_from_slice(b"2023-11-14T22:13:20Z");
    row.extend_from_slice(&[4, 1, 2, 2, 4, 0x30, 0x39, 2, 2, 4, 2, 7, 0]);
    let source = [14, 2, 2, b't'];
    for pick in [4, 6] {
        let created = [&[pick, 0, 2], row.as_slice(), &source, &[2, b'c']].concat();
        let deleted = [&[2], row.as_slice(), &[0], &source, &[2, b'd']].concat();
        seeds.push([created.as_slice(), &[0xff], deleted.as_slice()].concat());
    }
    seeds
}
