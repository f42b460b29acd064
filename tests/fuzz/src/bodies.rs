//! What each fuzz target does with hostile bytes, and what must hold whatever they are. The same
//! bodies run under libFuzzer (`tests/fuzz`) and over mutated seeds in the ordinary tests of the
//! bridge (`bridge/tests/hostile`).

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use bridge::batch::{
    EachHeader, Owner, PartitionIndex, Record, RecordBatch, Records, Route, RowBatch,
    TopicPartition,
};
use bridge::config::{Overrides, Plan, Section, Surroundings};
use bridge::format::{Admission, DecoderContext, Format, KINDS, KeyPlan, NullValue, Single};
use bridge::limits::MIB;
use bridge::names::Names;
use bridge::reject::{Reason, Rejects};
use bridge::sink::questdb::reader::{self, Field, Line, Unit};
use bridge::ticket::{Lost, Ticket};
use bridge_abi::Kind;

#[path = "answers.rs"]
mod answers;
#[path = "changes.rs"]
mod changes;
#[path = "columns.rs"]
mod columns;
#[path = "expressions.rs"]
mod expressions;
#[path = "wrapped.rs"]
mod wrapped;

pub use answers::{guest_answers, guest_rows, verdict};
pub use changes::decode_debezium;
pub use columns::take_apart;
pub use expressions::expression;
pub use wrapped::{decode_json_schema, decode_packed};

/// A target: its name, what it does, and bytes to begin with.
pub struct Target {
    /// As cargo-fuzz calls it.
    pub name: &'static str,
    /// Panics where a promise is broken.
    pub body: fn(&[u8]),
    /// Input that gets far.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "decode_json", body: decode_json, seeds: json_seeds },
    Target { name: "decode_formats", body: decode_formats, seeds: format_seeds },
    Target { name: "decode_avro", body: decode_avro, seeds: avro_seeds },
    Target {
        name: "decode_json_schema",
        body: decode_json_schema,
        seeds: wrapped::json_schema_seeds,
    },
    Target { name: "decode_packed", body: decode_packed, seeds: wrapped::packed_seeds },
    Target { name: "take_apart", body: take_apart, seeds: columns::seeds },
    Target { name: "decode_debezium", body: decode_debezium, seeds: changes::seeds },
    Target { name: "decode_protobuf", body: decode_protobuf, seeds: protobuf_seeds },
    Target { name: "proto_text", body: proto_text, seeds: proto_seeds },
    Target { name: "guest_rows", body: guest_rows, seeds: answers::row_seeds },
    Target { name: "guest_answers", body: guest_answers, seeds: answers::answer_seeds },
    Target { name: "expression", body: expression, seeds: expressions::seeds },
    Target { name: "config", body: config, seeds: config_seeds },
    Target { name: "line_protocol", body: line_protocol, seeds: line_seeds },
];

struct Held {
    _values: Vec<Vec<u8>>,
}

impl Owner for Held {
    fn headers(&self, _: usize, _: EachHeader<'_>) {}
}

fn batch(values: Vec<Vec<u8>>) -> RecordBatch {
    let mut records = Records::with_capacity(values.len());
    for (index, value) in values.iter().enumerate() {
        let value = Some(value.as_slice());
        let offset = index as i64;
        // SAFETY: the bytes belong to `values`, which becomes the batch's owner and is not changed.
        unsafe { records.push(Record { offset, timestamp_ms: 1, key: value, value }) };
    }
    let source = TopicPartition { topic: "t".into(), partition: 0 };
    let ticket = Ticket::issue(1, Arc::new(Lost::default()));
    let taken = records.owned_by(Box::new(Held { _values: values }));
    taken.into_batch(PartitionIndex(0), source, ticket, Route::Primary)
}

/// Bytes to rows: the first byte picks options, a zero byte ends a record.
pub fn decode_json(bytes: &[u8]) {
    let Some((first, rest)) = bytes.split_first() else { return };
    let arrays = if first & 1 == 0 { "reject" } else { "rows" };
    let depth = if first & 2 == 0 { 64 } else { 3 };
    let options = format!("top_level_array = \"{arrays}\"\ndepth_max = {depth}\n");
    let key = match first & 4 {
        0 => KeyPlan::Ignore,
        _ => KeyPlan::Json { prefix: "key_".to_owned(), column: "key".to_owned() },
    };
    let (mut format, names) = decoder("json", &options, key);
    let values: Vec<Vec<u8>> = rest.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect();
    // Twice: what the decoder learnt from the first batch must not change the second.
    let told = decoded(&mut *format, values.clone(), &names);
    assert_eq!(decoded(&mut *format, values, &names), told);
}

/// A format with these options, and the names of its columns.
fn decoder(kind: &str, options: &str, key: KeyPlan) -> (Box<dyn Format>, Arc<Names>) {
    let section = Section::new("value", options.parse().expect("our own TOML"));
    let kind = KINDS.iter().find(|known| known.name == kind).expect("it is a kind");
    let plan = (kind.parse)(&section).unwrap_or_else(|mistake| panic!("{}", mistake.message));
    let names = Arc::new(Names::default());
    let admission = Admission { null_value: NullValue::Skip, record_bytes_max: MIB };
    let context = DecoderContext { names: Arc::clone(&names), key, admission };
    (plan.decoder(&context), names)
}

/// Formats other than JSON, and options of theirs.
const FORMATS: [(&str, &str); 13] = [
    ("csv", "columns = ['a', 'b', 'c']"),
    ("csv", "default_type = 'auto'\nescape = '\\'\ntrim = true"),
    (
        "csv",
        "columns = ['a', '', 'c']\ndelimiter = ';'\nquote = \"'\"\nnull = ['x', '0']\n\
             types = { a = 'long', c = 'double' }\nbad_cell = 'text'",
    ),
    ("csv", "header = 'skip'\ncolumns = ['a', 'b']\ndefault_type = 'boolean'\nbad_cell = 'null'"),
    ("ilp", ""),
    ("ilp", "measurement = 'column'\nprecision = 's'"),
    ("msgpack", "depth_max = 8"),
    ("raw", ""),
    ("i64", ""),
    ("f64", "written = 'text'"),
    ("bool", "written = 'text'"),
    ("uuid", ""),
    ("ignore", ""),
];

/// Bytes to rows by formats other than JSON: the first byte picks one, a zero byte ends a record.
pub fn decode_formats(bytes: &[u8]) {
    let Some((first, rest)) = bytes.split_first() else { return };
    let (kind, options) = FORMATS[usize::from(*first) % FORMATS.len()];
    let key = KeyPlan::Single { single: Single::Raw, column: "key".to_owned() };
    let (mut format, names) = decoder(kind, options, key.clone());
    let values: Vec<Vec<u8>> = rest.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect();
    let size = values.iter().map(Vec::len).sum::<usize>();
    let mut tell = |values: Vec<Vec<u8>>| {
        let mut told = vec![String::new(); values.len()];
        let batch = batch(values);
        let (mut rows, mut rejects) = (RowBatch::default(), Rejects::default());
        format.decode(&batch, &mut rows, &mut rejects).expect("only records are at fault");
        for (source, _, reason, detail) in &rejects.found {
            assert!(!detail.is_empty(), "a reject without a word");
            told[*source as usize].push_str(reason.name());
        }
        // Values and keys as they are or as base64; small numbers may be doubles of an array.
        assert!(rows.arena.len() <= 12 * size + 64 * told.len(), "{} bytes", rows.arena.len());
        tell_rows(&rows, &names, &mut told);
        told
    };
    // One after the other as together: what was learnt from others changes nothing.
    let together = tell(values.clone());
    assert_eq!(tell(values.clone()), together);
    let (mut fresh, names) = decoder(kind, options, key);
    for (value, together) in values.into_iter().zip(together) {
        let batch = batch(vec![value]);
        let (mut rows, mut rejects) = (RowBatch::default(), Rejects::default());
        fresh.decode(&batch, &mut rows, &mut rejects).expect("only records are at fault");
        let mut told = vec![String::new()];
        rejects.found.iter().for_each(|(_, _, reason, _)| told[0].push_str(reason.name()));
        tell_rows(&rows, &names, &mut told);
        assert_eq!(told[0], together);
    }
}

/// What became of each record, in words; checks what must hold of all rows.
fn decoded(format: &mut dyn Format, values: Vec<Vec<u8>>, names: &Names) -> Vec<String> {
    let count = values.len();
    let judged: Vec<Judged> = values.iter().map(|value| judge(value)).collect();
    let batch = batch(values);
    let (mut rows, mut rejects) = (RowBatch::default(), Rejects::default());
    format.decode(&batch, &mut rows, &mut rejects).expect("only records are at fault");
    let mut told = vec![String::new(); count];
    for (source, _, reason, detail) in &rejects.found {
        assert!(!detail.is_empty(), "a reject without a word");
        // The naive reference: what is called malformed is no JSON to another parser either.
        let wrong = *reason == Reason::Malformed && judged[*source as usize] == Judged::Object;
        assert!(!wrong, "record {source} is JSON, and refused: {detail}");
        told[*source as usize].push_str(reason.name());
    }
    rejects.prune(&mut rows);
    for row in &rows.rows {
        let source = row.source as usize;
        assert!(judged[source] != Judged::None, "record {source} goes on, and is no JSON");
    }
    tell_rows(&rows, names, &mut told);
    told
}

/// Adds each record's rows to what is told of it; checks what must hold of all rows.
fn tell_rows(rows: &RowBatch, names: &Names, told: &mut [String]) {
    let mut last = 0;
    for row in &rows.rows {
        assert!(row.source >= last, "rows come in the order of their records");
        last = row.source;
        let mut columns = BTreeSet::new();
        let told = &mut told[last as usize];
        let table = names.tables.name(row.table).unwrap_or_default();
        told.push_str(&format!("{table}:"));
        for cell in rows.cells_of(row) {
            let name = names.columns.name(cell.column).expect("a column that was interned");
            let is_new = columns.insert(cell.column) || &*name == "key";
            assert!(is_new, "column {name} twice in a row");
            let kind = Kind::from_u8(cell.kind).expect("a kind of cell");
            let text = match kind {
                Kind::Text | Kind::Symbol => {
                    std::str::from_utf8(rows.bytes_of(cell)).expect("text is UTF-8").to_owned()
                }
                kind if kind.points() => format!("{:?}", rows.bytes_of(cell)),
                _ => cell.value.to_string(),
            };
            told.push_str(&format!("{name}={kind:?} {text};"));
        }
    }
}

/// What the reference, another parser, takes it for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Judged {
    Object,
    Other,
    None,
}

fn judge(value: &[u8]) -> Judged {
    match serde_json::from_slice(value) {
        Ok(serde_json::Value::Object(_)) => Judged::Object,
        Ok(_) => Judged::Other,
        Err(_) => Judged::None,
    }
}

/// A configuration: refused in words, or a plan whose sums do not overflow.
pub fn config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    // No file is read: `${file:…}` is the one way out, and reads what it names.
    if text.contains("${file:") {
        return;
    }
    let env = |name: &str| name.len().is_multiple_of(2).then(|| "value".to_owned());
    let around = Surroundings { env: &env, host: "host".to_owned(), base: Path::new("/nowhere") };
    match Plan::parse("fuzz.toml", text, &around, &Overrides::default()) {
        Ok(plan) => assert!(plan.ceiling_bytes() > 0),
        Err(mistakes) => {
            assert!(!mistakes.list.is_empty(), "refused without a word");
            assert!(mistakes.to_string().contains("fuzz.toml"), "{mistakes}");
        }
    }
}

/// How a reading ended; the line itself is told in words, for a double may be no number.
#[derive(PartialEq, Debug)]
enum Reading {
    More,
    Line(usize, String),
    Wrong(usize),
}

fn reading(bytes: &[u8]) -> Reading {
    match reader::read(bytes) {
        Ok(None) => Reading::More,
        Ok(Some((line, len))) => Reading::Line(len, format!("{line:?}")),
        Err(misread) => Reading::Wrong(misread.at),
    }
}

/// Line protocol as a server reads it: however the bytes come, the same is read; and a line that
/// is written again, by a naive writer, reads as before.
pub fn line_protocol(bytes: &[u8]) {
    let mut rest = bytes;
    loop {
        let whole = reading(rest);
        let mut ended = None;
        for cut in 0..rest.len() {
            let part = reading(&rest[..cut]);
            if part != Reading::More {
                assert_eq!(part, whole, "the first {cut} bytes, and all of them");
                ended = Some(cut);
                break;
            }
        }
        let Reading::Line(len, told) = whole else { return };
        assert!(len > 0 && len <= rest.len() && rest[len - 1] == b'\n');
        assert!(ended.is_none_or(|cut| cut == len), "a line ends with its last byte");
        if let Ok(Some((line, _))) = reader::read(rest) {
            let again = written(&line);
            assert_eq!(reading(&again), Reading::Line(again.len(), told));
        }
        rest = &rest[len..];
    }
}

fn written(line: &Line<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    let bare = |out: &mut Vec<u8>, text: &str| escaped(out, text, b" ,=\n\r\\");
    bare(&mut out, &line.table);
    for (name, value) in &line.symbols {
        out.push(b',');
        bare(&mut out, name);
        out.push(b'=');
        bare(&mut out, value);
    }
    for (index, (name, field)) in line.fields.iter().enumerate() {
        out.push(if index == 0 { b' ' } else { b',' });
        bare(&mut out, name);
        out.push(b'=');
        write_field(&mut out, field);
    }
    if let Some((at, unit)) = line.timestamp {
        out.extend_from_slice(format!(" {at}{}", suffix(unit)).as_bytes());
    }
    out.push(b'\n');
    out
}

fn write_field(out: &mut Vec<u8>, field: &Field<'_>) {
    match field {
        Field::Long(value) => out.extend_from_slice(format!("{value}i").as_bytes()),
        Field::Bool(value) => out.push(if *value { b't' } else { b'f' }),
        Field::Decimal(digits) => out.extend_from_slice(format!("{digits}d").as_bytes()),
        Field::Timestamp(at, unit) => {
            out.extend_from_slice(format!("{at}{}", suffix(*unit)).as_bytes());
        }
        Field::Double(value) => {
            out.extend_from_slice(b"=\x10");
            out.extend_from_slice(&value.to_le_bytes());
        }
        Field::Text(text) => {
            out.push(b'"');
            escaped(out, text, b"\"\n\r\\");
            out.push(b'"');
        }
        Field::Array(shape, values) => {
            out.extend_from_slice(&[b'=', 14, 10, shape.len() as u8]);
            shape.iter().for_each(|dim| out.extend_from_slice(&dim.to_le_bytes()));
            values.iter().for_each(|value| out.extend_from_slice(&value.to_le_bytes()));
        }
    }
}

fn suffix(unit: Unit) -> char {
    match unit {
        Unit::Millis => 'm',
        Unit::Micros => 't',
        Unit::Nanos => 'n',
    }
}

fn escaped(out: &mut Vec<u8>, text: &str, special: &[u8]) {
    for byte in text.bytes() {
        if special.contains(&byte) {
            out.push(b'\\');
        }
        out.push(byte);
    }
}

fn line_seeds() -> Vec<Vec<u8>> {
    let mut everything = b"my\\ table,sensor=a\\,b\\=c,none= site=t,n=-5i,x=1.5,e=2.5e-7,".to_vec();
    everything.extend_from_slice(b"w=\"say \\\"hi\\\",\\\\\",at=7t,day=8m,d=1.50d,b==\x10");
    everything.extend_from_slice(&2.5_f64.to_le_bytes());
    everything.extend_from_slice(b",a==\x0e\x0a\x01\x02\x00\x00\x00");
    everything.extend_from_slice(&[10; 16]);
    everything.extend_from_slice(b" 1700000000000000t\n");
    let lines: [&[u8]; 4] = [
        b"t,s=a\nt,s=a 17t\nt,s=a c=1i 0n\nt c=1i 5m\n",
        b"t c==\x0e\x0a\x02\xff\xff\xff\xff\x00\x00\x00\x00\n",
        b"t x=NaN,y=-Infinity,z=1e308,q=f 1\n",
        "t\u{e4},\u{1f600}=\u{e4} \u{e4}=\"\u{1f600}\" 1n\n".as_bytes(),
    ];
    lines.iter().map(|line| line.to_vec()).chain([everything]).collect()
}

fn json_seeds() -> Vec<Vec<u8>> {
    let records: [&[u8]; 6] = [
        br#"{"ts":1700000000123456,"sensor":"s-1","site":"berlin","temperature":21.53,"ok":true}"#,
        br#"{"a":{"b":[1,2.5,[3]],"c":null},"d":"\u00e4\ud83d\ude00\n","e":-0.0,"f":1e308}"#,
        br#"[{"a":1},{"a":18446744073709551616},{"b":-9223372036854775808}]"#,
        br#"{"a":[[1.0,2.0],[3.0,4.0]],"a":2,"A":3," ":4}"#,
        br#"{"":"","x":"y","z":[],"w":{}}"#,
        "{\"\u{e4}\":\"\u{1f600}\",\"q\":0.1}".as_bytes(),
    ];
    let mut seeds = Vec::new();
    for options in 0..8u8 {
        let mut seed = vec![options];
        seed.extend_from_slice(&records.join(&0));
        seeds.push(seed);
    }
    seeds
}

fn format_seeds() -> Vec<Vec<u8>> {
    let texts: [&[u8]; 5] = [
        b"a,b,c\r\n1,\"x \"\"y\"\"\",2.5\n-7,,1e3\0a;'b;c';d\n0;x;true\n\0\"a\\\"b\", c ,007\n",
        b"cpu,host=a,dc=x\\ y usage=98.5,n=3i,u=7u,ok=t,s=\"say \\\"hi\\\"\" 1700000000000000000\n\
         # comment\ncpu,host=b usage=1e-3\nmem,host=b free=1i -5\0m f=1\nm f=2",
        b"12345678\0-2.5e7\0true\x006ba7b810-9dad-11d1-80b4-00c04fd430c8\0",
        b"time,key\n1,2\n3,4\0time,key\n5,6\0time,other\n7,8",
        b"\x84\xa1a\x01\xa1b\x92\xcb@\x09!\xfbTD-\x18\x02\xa1c\x81\xa1d\xc3\xa4time\xd6\xffe\x53\xf1\x00",
    ];
    let mut seeds = Vec::new();
    for format in 0..FORMATS.len() as u8 {
        for text in texts {
            seeds.push([&[format][..], text].concat());
        }
    }
    seeds
}

fn config_seeds() -> Vec<Vec<u8>> {
    let files: [&str; 3] = [
        include_str!("../../../bridge/src/config/example.toml"),
        include_str!("../../../deploy/bridge.toml"),
        "[pipeline.p]\ntopics = ['t']\nsink = { kind = 'questdb', transport = 'tcp' }\n\
         limits = { lanes = 2, drain = '5s', batch_bytes_max = '1MiB', reject_share_max = 0.5 }\n",
    ];
    files.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// Schemas whose values are hard: they hold themselves, maps name columns, items have no size.
const AVRO_SCHEMAS: [&str; 3] = [
    r#"{"type":"record","name":"L","fields":[{"name":"v","type":"int"},{"name":"next","type":["null","L"]},
        {"name":"m","type":{"type":"map","values":["null","double","L",{"type":"array","items":"L"}]}}]}"#,
    r#"{"type":"array","items":["null",{"type":"array","items":["null","long"]},
        {"type":"record","name":"E","fields":[]},{"type":"map","values":"bytes"}]}"#,
    r#"{"type":"record","name":"R","fields":[
        {"name":"a","type":{"type":"array","items":{"type":"array","items":["null","float"]}}},
        {"name":"d","type":{"type":"bytes","logicalType":"decimal","precision":40,"scale":9}},
        {"name":"e","type":{"type":"enum","name":"E","symbols":["A","B"]}},
        {"name":"f","type":{"type":"fixed","name":"D","size":12,"logicalType":"duration"}},
        {"name":"s","type":["string",{"type":"record","name":"S","fields":[{"name":"x","type":"string"}]}]}]}"#,
];

/// Bytes to rows: the first byte picks a schema, and whether it is read as itself or as another.
pub fn decode_avro(bytes: &[u8]) {
    let Some((first, value)) = bytes.split_first() else { return };
    let schema = AVRO_SCHEMAS[usize::from(*first) % AVRO_SCHEMAS.len()];
    let mut options = format!("framing = \"bare\"\nschema = '''{schema}'''\n");
    if first & 0x80 != 0 {
        let reader = r#"{"type":"record","name":"R","fields":[{"name":"s","type":["null","string"]},
            {"name":"next","type":"int","default":3}]}"#;
        options.push_str(&format!("reader_schema = '''{reader}'''\n"));
    }
    decode_with_schema("avro", &options, value);
}

/// One value by a format that walks it with a schema, twice; what must hold of its row.
fn decode_with_schema(kind: &str, options: &str, value: &[u8]) {
    let (mut format, _) = decoder(kind, options, KeyPlan::Ignore);
    let batch = batch(vec![value.to_vec()]);
    let mut told = BTreeSet::new();
    for _ in 0..2 {
        let (mut rows, mut rejects) = (RowBatch::default(), Rejects::default());
        format.decode(&batch, &mut rows, &mut rejects).expect("only records are at fault");
        assert_eq!(rows.rows.len() + rejects.found.len(), 1, "a row or a reject");
        assert!(rows.arena.len() <= value.len() * 64 + 128 * 1024, "too much is made of it");
        let mut columns = BTreeSet::new();
        for cell in rows.rows.iter().flat_map(|row| rows.cells_of(row)) {
            assert!(columns.insert(cell.column), "a column twice in a row");
            bridge_abi::value::decode(&rows.arena, 0, cell).expect("a cell as it must be");
        }
        told.insert(format!("{:?} {:?}", rows.cells, rejects.found));
    }
    assert_eq!(told.len(), 1, "the same twice");
}

/// Messages whose values are hard: they hold themselves, maps name columns, members replace each
/// other, and what all know is written wrongly.
const PROTO_SCHEMA: &str = r#"syntax = "proto3"; import "google/protobuf/struct.proto";
    import "google/protobuf/timestamp.proto"; import "google/protobuf/any.proto";
    import "google/protobuf/duration.proto"; import "google/protobuf/wrappers.proto";
    import "google/protobuf/field_mask.proto"; import "confluent/type/decimal.proto";
    enum E { ZERO = 0; FAR = 1000; }
    message I { int32 x = 1; repeated double n = 2; map<sint64, E> m = 3;
        oneof o { M b = 4; I c = 5; } }
    message M { map<string, M> m = 1; repeated M r = 2; M s = 3; oneof o { I p = 4; int32 i = 5; }
        google.protobuf.Struct t = 6; google.protobuf.Any a = 7; repeated sint64 n = 8;
        google.protobuf.Timestamp w = 9; map<bool, google.protobuf.Value> v = 10; E e = 11;
        google.protobuf.Duration d = 12; google.protobuf.StringValue u = 13;
        google.protobuf.FieldMask k = 14; confluent.type.Decimal c = 15; I q = 16; string z = 17; }"#;
/// The same with groups.
const PROTO2_SCHEMA: &str = r#"message M { optional group G = 1 { optional int32 x = 1; optional M m = 2;
        repeated group H = 3 { optional string y = 1; } } repeated fixed32 f = 4;
        required bytes b = 5;
        optional string d = 6 [default = "d"]; }"#;

/// Bytes to rows: the first byte picks a schema, and what is said of it.
pub fn decode_protobuf(bytes: &[u8]) {
    let Some((first, value)) = bytes.split_first() else { return };
    let schema = if first & 1 == 0 { PROTO_SCHEMA } else { PROTO2_SCHEMA };
    let defaults = first & 2 == 0;
    let (enums, durations) = match first & 4 {
        0 => ("names", "nanos"),
        _ => ("numbers", "text"),
    };
    let options = format!(
        "message = \"M\"\nschema = '''{schema}'''\ndefaults = {defaults}\n\
         enums = \"{enums}\"\ndurations = \"{durations}\"\n"
    );
    decode_with_schema("protobuf", &options, value);
}

fn protobuf_seeds() -> Vec<Vec<u8>> {
    let value = b"\x0a\x08\x0a\x01k\x12\x03\x1a\x01x\x12\x02\x28\x05\x22\x04\x08\x05\x28\x01\x32\x0b\x0a\x09\x0a\x01a\
        \x12\x04\x1a\x02xy\x3a\x06\x0a\x01M\x12\x01\x28\x42\x02\x01\x02\x40\x07\x4a\x04\x08\x01\
        \x10\x02\x58\x07\x62\x02\x08\x01\
        \x6a\x03\x0a\x01x\x72\x03\x0a\x01y\x7a\x05\x0a\x01\x05\x18\x01\x82\x01\x02\x08\x01\x8a\x01\x01z";
    let groups = b"\x0b\x08\x05\x12\x00\x1b\x0a\x01y\x1c\x0c\x22\x04\x01\x00\x00\x00\x25\x02\x00\x00\x00\x2a\x01\xff";
    let mut seeds = Vec::new();
    for options in [0_u8, 2, 4] {
        seeds.push([&[options][..], value].concat());
        seeds.push([&[options | 1][..], groups].concat());
    }
    seeds
}

/// The text of a schema: refused in words, or read without harm.
pub fn proto_text(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if text.contains("'''") || text.contains('\r') {
        return;
    }
    let options = format!("message = \"M\"\nschema = '''\n{text}'''\n");
    // Some letters cannot stand in TOML.
    let Ok(section) = options.parse() else { return };
    let kind = KINDS.iter().find(|kind| kind.name == "protobuf").expect("it is a kind");
    match (kind.parse)(&Section::new("value", section)) {
        Ok(_) => decode_with_schema("protobuf", &options, b"\x08\x01\x12\x02\x08\x01"),
        Err(mistake) => assert!(!mistake.message.is_empty(), "refused without a word"),
    }
}

fn proto_seeds() -> Vec<Vec<u8>> {
    [PROTO_SCHEMA, PROTO2_SCHEMA].map(|text| text.as_bytes().to_vec()).to_vec()
}

fn avro_seeds() -> Vec<Vec<u8>> {
    let list = b"\x00\x02\x02\x04\x00\x00\x02\x02k\x02\x00\x00\x00\x00\x00\x00\xf8\x3f\x00";
    let items = b"\x01\x08\x00\x02\x04\x00\x02\x06\x00\x04\x06\x02\x02k\x02\xff\x00\x00";
    let record =
        [b"\x02\x02\x02\x00\x00\x00\x04\x30\x39\x02".as_slice(), &[1; 12], b"\x00\x04ab"].concat();
    vec![list.to_vec(), items.to_vec(), record]
}
