//! The sensor's record written in other ways: in other formats, as their producers would, and in
//! JSON whose order no record foretells. The content is the same, so that what decoding costs can
//! be compared.

use std::io::Write as _;

use super::bed;

/// A format: what a pipeline says to read it, and its writer.
pub(super) struct Format {
    pub(super) stage: &'static str,
    pub(super) sections: &'static str,
    pub(super) write: bed::Write,
}

/// All that have a stage.
pub(super) const FORMATS: [Format; 6] = [
    Format { stage: "decode json any", sections: "", write: any },
    Format {
        stage: "decode csv",
        sections: "value = { format = \"csv\", columns = [\"ts\", \"sensor\", \"site\", \
                   \"temperature\", \"humidity\", \"pressure\", \"seq\", \"ok\"], \
                   types = { ts = \"long\", temperature = \"double\", humidity = \"double\", \
                   pressure = \"double\", seq = \"long\", ok = \"boolean\" } }\n",
        write: csv,
    },
    Format {
        stage: "decode avro",
        sections: "[pipeline.bench.value]\nformat = \"avro\"\nframing = \"bare\"\nschema = '''\
            {\"type\":\"record\",\"name\":\"Reading\",\"fields\":[\
            {\"name\":\"ts\",\"type\":{\"type\":\"long\",\"logicalType\":\"timestamp-micros\"}},\
            {\"name\":\"sensor\",\"type\":\"string\"},{\"name\":\"site\",\"type\":\"string\"},\
            {\"name\":\"temperature\",\"type\":\"double\"},{\"name\":\"humidity\",\"type\":\"double\"},\
            {\"name\":\"pressure\",\"type\":\"double\"},{\"name\":\"seq\",\"type\":\"long\"},\
            {\"name\":\"ok\",\"type\":\"boolean\"}]}'''\n",
        write: avro,
    },
    Format {
        stage: "decode protobuf",
        sections: "[pipeline.bench.value]\nformat = \"protobuf\"\nmessage = \"Reading\"\nschema = '''\
            syntax = \"proto3\"; message Reading { int64 ts = 1; string sensor = 2; string site = 3; \
            double temperature = 4; double humidity = 5; double pressure = 6; int64 seq = 7; \
            bool ok = 8; }'''\n",
        write: protobuf,
    },
    Format { stage: "decode ilp", sections: "value = { format = \"ilp\" }\n", write: ilp },
    Format {
        stage: "decode msgpack",
        sections: "value = { format = \"msgpack\" }\n",
        write: msgpack,
    },
];

/// The content of a record.
struct Reading {
    ts: i64,
    sensor: String,
    site: String,
    /// Temperature, humidity, pressure.
    doubles: [f64; 3],
    seq: i64,
    ok: bool,
}

/// Reads it out of the JSON that all stages have; the key stays.
fn reading(seq: u64, key: &mut Vec<u8>, value: &mut Vec<u8>) -> Reading {
    bed::sensors(seq, key, value);
    let json: serde_json::Value = serde_json::from_slice(value).expect("it is JSON");
    value.clear();
    let text = |name: &str| json[name].as_str().expect("text").to_owned();
    let double = |name: &str| json[name].as_f64().expect("a number");
    Reading {
        ts: json["ts"].as_i64().expect("a whole number"),
        sensor: text("sensor"),
        site: text("site"),
        doubles: ["temperature", "humidity", "pressure"].map(double),
        seq: json["seq"].as_i64().expect("a whole number"),
        ok: json["ok"].as_bool().expect("true or false"),
    }
}

/// JSON whose fields come in another order each time.
fn any(seq: u64, key: &mut Vec<u8>, value: &mut Vec<u8>) {
    bed::sensors(seq, key, value);
    let json: serde_json::Value = serde_json::from_slice(value).expect("it is JSON");
    let fields = json.as_object().expect("an object").iter();
    let mut fields: Vec<String> =
        fields.map(|(name, field)| format!("\"{name}\":{field}")).collect();
    let mut random = seq.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for last in (1..fields.len()).rev() {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        fields.swap(last, (random >> 33) as usize % (last + 1));
    }
    value.clear();
    write!(value, "{{{}}}", fields.join(",")).expect("a vector takes all");
}

fn csv(seq: u64, key: &mut Vec<u8>, value: &mut Vec<u8>) {
    let Reading { ts, sensor, site, doubles: [a, b, c], seq, ok } = reading(seq, key, value);
    write!(value, "{ts},{sensor},{site},{a},{b},{c},{seq},{ok}").expect("a vector takes all");
}

fn ilp(seq: u64, key: &mut Vec<u8>, value: &mut Vec<u8>) {
    let Reading { ts, sensor, site, doubles: [a, b, c], seq, ok } = reading(seq, key, value);
    let site = site.replace(' ', "\\ ");
    let fields = format!("temperature={a},humidity={b},pressure={c},seq={seq}i,ok={ok}");
    let line = format!("sensors,sensor={sensor},site={site} {fields} {ts}000\n");
    value.extend_from_slice(line.as_bytes());
}

/// Seven bits a byte, the lowest first.
fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn avro(seq: u64, key: &mut Vec<u8>, value: &mut Vec<u8>) {
    let Reading { ts, sensor, site, doubles, seq, ok } = reading(seq, key, value);
    let zigzag = |number: i64| ((number << 1) ^ (number >> 63)) as u64;
    varint(value, zigzag(ts));
    for text in [sensor, site] {
        varint(value, zigzag(text.len() as i64));
        value.extend_from_slice(text.as_bytes());
    }
    doubles.iter().for_each(|double| value.extend_from_slice(&double.to_le_bytes()));
    varint(value, zigzag(seq));
    value.push(u8::from(ok));
}

fn protobuf(seq: u64, key: &mut Vec<u8>, value: &mut Vec<u8>) {
    let Reading { ts, sensor, site, doubles, seq, ok } = reading(seq, key, value);
    value.push(1 << 3);
    varint(value, ts as u64);
    for (number, text) in [(2, sensor), (3, site)] {
        value.push(number << 3 | 2);
        varint(value, text.len() as u64);
        value.extend_from_slice(text.as_bytes());
    }
    for (number, double) in (4..).zip(doubles) {
        value.push(number << 3 | 1);
        value.extend_from_slice(&double.to_le_bytes());
    }
    value.push(7 << 3);
    varint(value, seq as u64);
    // What is false is not written.
    if ok {
        value.extend_from_slice(&[8 << 3, 1]);
    }
}

fn msgpack(seq: u64, key: &mut Vec<u8>, value: &mut Vec<u8>) {
    let Reading { ts, sensor, site, doubles: [a, b, c], seq, ok } = reading(seq, key, value);
    let text = |out: &mut Vec<u8>, text: &str| {
        // All are shorter than 32 bytes.
        out.push(0xa0 | text.len() as u8);
        out.extend_from_slice(text.as_bytes());
    };
    value.push(0x88);
    for (name, number) in [("ts", ts), ("seq", seq)] {
        text(value, name);
        value.push(0xd3);
        value.extend_from_slice(&number.to_be_bytes());
    }
    for (name, word) in [("sensor", sensor), ("site", site)] {
        text(value, name);
        text(value, &word);
    }
    for (name, double) in [("temperature", a), ("humidity", b), ("pressure", c)] {
        text(value, name);
        value.push(0xcb);
        value.extend_from_slice(&double.to_be_bytes());
    }
    text(value, "ok");
    value.push(0xc2 | u8::from(ok));
}

#[cfg(test)]
mod tests {
    use bridge::batch::RowBatch;
    use bridge_abi::Kind;

    use super::super::bed::{Bed, Rows};
    use super::*;

    /// Every column by its name with its value, symbols as text and moments as numbers.
    fn columns(bed: &Bed, rows: &RowBatch) -> Vec<(String, String)> {
        let names = bed.names();
        let cell = |cell: &bridge_abi::Cell| {
            let name = names.columns.name(cell.column).expect("it was interned").to_string();
            let value = match Kind::from_u8(cell.kind).expect("a kind") {
                Kind::Text | Kind::Symbol => {
                    String::from_utf8_lossy(rows.bytes_of(cell)).into_owned()
                }
                Kind::F64 => f64::from_bits(cell.value).to_string(),
                _ => cell.value.to_string(),
            };
            (if name == "time" { "ts".to_owned() } else { name }, value)
        };
        let mut columns: Vec<_> = rows.cells_of(&rows.rows[0]).iter().map(cell).collect();
        columns.sort();
        columns
    }

    #[test]
    fn all_formats_say_the_same() {
        let read = |sections: &str, write: bed::Write| {
            let bed = Bed::new(sections).expect("a pipeline");
            let (mut format, mut rows) = (bed.decoder(), Rows::default());
            rows.decode(&mut *format, &bed::batches(3, 3, write)[0]);
            rows.ensure(3).expect("none is refused");
            columns(&bed, &rows.rows)
        };
        let json = read("", bed::sensors);
        assert_eq!(json.len(), 8);
        for format in &FORMATS {
            let mut told = read(format.sections, format.write);
            // Line protocol has nanoseconds.
            for (name, value) in &mut told {
                if format.stage == "decode ilp" && name == "ts" {
                    value.truncate(value.len() - 3);
                }
            }
            assert_eq!(told, json, "{}", format.stage);
        }
    }
}
