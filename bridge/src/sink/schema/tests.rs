//! The encoder at work with a registry in the same thread's reach: which schema is made of which
//! columns, how it grows, what is refused, and that other libraries read what was written.

use std::sync::Arc;
use std::time::Instant;

use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value as Theirs;
use bridge_abi::{Cell, Kind, Unit};

use super::*;
use crate::batch::testing::batch;
use crate::batch::{Row as Cells, RowBatch};
use crate::blame::{Blame, Fault};
use crate::config::Section;
use crate::names::Names;
use crate::outbox::{Closing, Outbox};
use crate::reject::Rejects;
use crate::schemas::fake::{Fake, Kept, Reply};
use crate::shape::Shape;
use crate::sink::notes::Notes;
use crate::sink::text::Timestamps;
use crate::sink::{Delivery, Encoder, SinkContext};

/// A value of a cell.
#[derive(Clone, PartialEq, Debug)]
pub enum Put {
    Null,
    Bool(bool),
    Long(i64),
    Double(f64),
    Text(String),
    Bytes(Vec<u8>),
    Decimal(i128, u8),
    Time(i64, Unit),
    Numbers(Vec<f64>),
}

/// A row: names and values.
pub type Puts<'a> = Vec<(&'a str, Put)>;

pub fn text(text: &str) -> Put {
    Put::Text(text.to_owned())
}

/// An encoder, and its registry.
pub struct Bench {
    pub fake: Fake,
    pub encoders: Encoders,
    encoder: Box<dyn Encoder>,
    names: Arc<Names>,
    _runtime: tokio::runtime::Runtime,
}

/// The plan of a sink's keys; `URL` is the registry's.
fn plan(format: Format, keys: &str, url: &str) -> Result<SchemaPlan, String> {
    plan_of(Part::Value, format, keys, url)
}

/// The same for one part of records.
fn plan_of(part: Part, format: Format, keys: &str, url: &str) -> Result<SchemaPlan, String> {
    #[derive(serde::Deserialize, Default)]
    #[serde(default)]
    struct Keys {
        framing: Option<Framing>,
        registry: Option<crate::schemas::RegistryOptions>,
        schema: Option<String>,
        schema_file: Option<std::path::PathBuf>,
        schema_version: Option<VersionWord>,
        message: Option<String>,
        register: Option<bool>,
        subject: Option<String>,
        subject_name: Option<SubjectName>,
        record: Option<String>,
        separator: Option<String>,
        timestamps: Option<Timestamps>,
    }
    let keys = keys.replace("URL", url);
    let section = Section::new("sink", keys.parse().expect("it is TOML"));
    let keys: Keys = section.options().map_err(|mistake| mistake.message)?;
    let timestamps = keys.timestamps.unwrap_or_default();
    let said = Said {
        part,
        framing: keys.framing,
        registry: keys.registry,
        schema: keys.schema,
        schema_file: keys.schema_file,
        schema_version: keys.schema_version,
        message: keys.message,
        register: keys.register,
        subject: keys.subject,
        subject_name: keys.subject_name,
        record: keys.record,
        separator: keys.separator,
    };
    said.plan(&section, format, timestamps).map_err(|mistake| mistake.message)
}

const REGISTRY: &str = "registry.url = \"URL\"\n";

/// Without a designated timestamp, as most tests want it.
fn bare_shape() -> Shape {
    Shape { timestamp: crate::shape::Timestamp::Server, ..Shape::plain("t") }
}

impl Bench {
    pub fn new(format: Format, keys: &str) -> Bench {
        Bench::with(Fake::start(), format, keys, bare_shape())
    }

    pub fn with(fake: Fake, format: Format, keys: &str, shape: Shape) -> Bench {
        let plan = plan(format, keys, &fake.url()).unwrap_or_else(|wrong| panic!("{wrong}"));
        Bench::of(fake, shape, |context| {
            let subjects = Arc::new(Subjects::new(plan, context));
            Encoders::new(subjects, context, |_| None, |_| "x".to_owned())
        })
    }

    fn of(fake: Fake, shape: Shape, encoders: impl FnOnce(&SinkContext) -> Encoders) -> Bench {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        let names = Arc::new(Names::default());
        let context = SinkContext {
            pipeline: "p".into(),
            names: Arc::clone(&names),
            shape: Arc::new(shape),
            delivery: Delivery::AtLeastOnce,
            meter: Arc::default(),
            runtime: runtime.handle().clone(),
        };
        let encoders = encoders(&context);
        let encoder = encoders.lane(1);
        Bench { fake, encoders, encoder, names, _runtime: runtime }
    }

    fn rows(&self, all: &[Puts<'_>]) -> RowBatch {
        let mut rows = RowBatch::default();
        for (source, puts) in all.iter().enumerate() {
            let start = rows.cells.len() as u32;
            for (name, put) in puts {
                let column = self.names.columns.intern(name).expect("few names");
                let cell = cell(&mut rows, column, put);
                rows.cells.push(cell);
            }
            rows.rows.push(Cells {
                source: source as u32,
                number: 0,
                cells: start,
                cell_count: puts.len() as u16,
                table: 0,
            });
        }
        rows
    }

    /// The values of rows, each a record, and what was refused.
    pub fn encode(&mut self, all: &[Puts<'_>]) -> Result<(Vec<Vec<u8>>, Vec<String>), Fault> {
        let rows = self.rows(all);
        let records = batch(all.iter().map(|_| (None, None)).collect());
        let max = usize::MAX;
        let closing =
            Closing { payload_bytes_max: max, payload_rows_max: max, open_bytes_max: max };
        let mut outbox = Outbox::new(closing, Arc::default(), Instant::now());
        let mut rejects = Rejects::default();
        self.encoder.encode(&records, &rows, &mut rejects, &mut outbox)?;
        outbox.close_all();
        let mut values = Vec::new();
        for (_, payload) in outbox.take_closed() {
            let mut start = 0;
            for line in &payload.buffers.lines {
                let value = &payload.buffers.bytes[start..line.end as usize];
                values.push(value.strip_suffix(b"\n").expect("it ends so").to_vec());
                start = line.end as usize;
            }
        }
        let told = rejects
            .found
            .iter()
            .map(|(_, _, reason, detail)| format!("{}: {detail}", reason.name()));
        Ok((values, told.collect()))
    }

    /// The value of one row.
    pub fn one(&mut self, row: Puts<'_>) -> Vec<u8> {
        let (values, refused) = self.encode(&[row]).unwrap_or_else(|fault| panic!("{fault}"));
        assert!(refused.is_empty(), "{refused:?}");
        values.into_iter().next().expect("a value")
    }

    /// Why one row is refused.
    pub fn refused(&mut self, row: Puts<'_>) -> String {
        let (values, refused) = self.encode(&[row]).unwrap_or_else(|fault| panic!("{fault}"));
        assert!(values.is_empty(), "it is written");
        refused.into_iter().next().expect("it is refused")
    }

    fn fault(&mut self, row: Puts<'_>) -> Fault {
        self.encode(&[row]).expect_err("nothing can be written")
    }

    /// The versions of the topic's subject.
    pub fn versions(&self) -> Vec<Kept> {
        self.fake.versions("x-value")
    }
}

fn cell(rows: &mut RowBatch, column: u16, put: &Put) -> Cell {
    let plain =
        |kind: Kind, value: u64| Cell { column, kind: kind as u8, value, ..Cell::default() };
    match put {
        Put::Null => plain(Kind::Null, 0),
        Put::Bool(value) => plain(Kind::Bool, u64::from(*value)),
        Put::Long(value) => plain(Kind::I64, *value as u64),
        Put::Double(value) => plain(Kind::F64, value.to_bits()),
        Put::Text(text) => rows.cell_bytes(column, Kind::Text, 0, text.as_bytes()),
        Put::Bytes(bytes) => rows.cell_bytes(column, Kind::Bytes, 0, bytes),
        Put::Decimal(number, scale) => {
            rows.cell_bytes(column, Kind::Decimal, *scale, &number.to_be_bytes())
        }
        Put::Time(value, unit) => {
            Cell { flags: *unit as u8, ..plain(Kind::Timestamp, *value as u64) }
        }
        Put::Numbers(values) => {
            let mut bytes = 1_u32.to_le_bytes().to_vec();
            bytes.extend((values.len() as u32).to_le_bytes());
            values.iter().for_each(|value| bytes.extend(value.to_le_bytes()));
            rows.cell_bytes(column, Kind::Array, 0, &bytes)
        }
    }
}

/// The schema's id, and the value without it.
fn framed(value: &[u8]) -> (u32, &[u8]) {
    let [0, a, b, c, d, body @ ..] = value else { panic!("{value:?} names no schema") };
    (u32::from_be_bytes([*a, *b, *c, *d]), body)
}

/// What the library reads.
pub fn avro(schema: &str, body: &[u8]) -> Vec<(String, Theirs)> {
    let Theirs::Record(fields) = datum(schema, body) else { panic!("it is no record") };
    fields
}

/// The same, be it a record or not.
pub fn datum(schema: &str, body: &[u8]) -> Theirs {
    let schema = apache_avro::Schema::parse_str(schema).expect("a schema");
    let reader = GenericDatumReader::builder(&schema).build().expect("a reader");
    let mut rest = body;
    let read = reader.read_value(&mut rest).unwrap_or_else(|error| panic!("{error}: {body:?}"));
    assert!(rest.is_empty(), "{} bytes are left", rest.len());
    read
}

/// A value of a union as it is.
pub fn branch(value: &Theirs) -> &Theirs {
    match value {
        Theirs::Union(_, inner) => inner,
        other => other,
    }
}

fn reading() -> Puts<'static> {
    vec![
        ("sensor", text("s-1")),
        ("seq", Put::Long(7)),
        ("celsius", Put::Double(21.5)),
        ("ok", Put::Bool(true)),
    ]
}

#[test]
fn a_schema_is_made_of_the_columns_and_registered_once() {
    let mut bench = Bench::new(Format::Avro, REGISTRY);
    let value = bench.one(reading());
    let versions = bench.versions();
    assert_eq!(versions.len(), 1);
    let (id, body) = framed(&value);
    assert_eq!(id, versions[0].id);
    let fields = avro(&versions[0].schema, body);
    let shown: Vec<String> =
        fields.iter().map(|(name, value)| format!("{name} {:?}", branch(value))).collect();
    assert_eq!(
        shown,
        ["sensor String(\"s-1\")", "seq Long(7)", "celsius Double(21.5)", "ok Boolean(true)"]
    );
    let (asked, null) = (bench.fake.asked().len(), bench.one(vec![("ok", Put::Null)]));
    assert_eq!(
        avro(&versions[0].schema, framed(&null).1)[3].1,
        Theirs::Union(0, Box::new(Theirs::Null))
    );
    assert_eq!(bench.fake.asked().len(), asked, "what is known is asked for no more");
}

#[test]
fn a_new_column_is_a_new_version_that_reads_the_old_one() {
    let mut bench = Bench::new(Format::Avro, REGISTRY);
    let old = bench.one(reading());
    let mut row = reading();
    row.push(("höhe.m", Put::Decimal(1234, 2)));
    row.push(("at", Put::Time(1_700_000_000_123_456_789, Unit::Nanos)));
    let new = bench.one(row);
    let versions = bench.versions();
    assert_eq!(versions.len(), 2, "both columns came at once");
    let fields = avro(&versions[1].schema, framed(&new).1);
    assert_eq!(branch(&fields[0].1), &Theirs::String("s-1".into()), "what was met before is there");
    assert_eq!(branch(&fields[3].1), &Theirs::Boolean(true));
    assert_eq!(fields[4].0, "h_he_m");
    assert!(matches!(branch(&fields[4].1), Theirs::Decimal(_)), "{:?}", fields[4]);
    assert_eq!(branch(&fields[5].1), &Theirs::TimestampNanos(1_700_000_000_123_456_789));
    // The library's resolution: the old value as the new version has it.
    let parse = |kept: &Kept| apache_avro::Schema::parse_str(&kept.schema).expect("a schema");
    let (writer, reader) = (parse(&versions[0]), parse(&versions[1]));
    let resolving = GenericDatumReader::builder(&writer).maybe_reader_schema(Some(&reader));
    let read = resolving.build().expect("a reader").read_value(&mut &framed(&old).1[..]);
    let Theirs::Record(fields) = read.expect("it is readable") else { panic!("no record") };
    assert_eq!(branch(&fields[5].1), &Theirs::Null);
    // And rows without the new columns go on with the new version.
    let again = bench.one(reading());
    assert_eq!(framed(&again).0, versions[1].id);
}

#[test]
fn after_a_restart_the_schema_is_the_registrys() {
    let mut first = Bench::new(Format::Avro, REGISTRY);
    let id = framed(&first.one(reading())).0;
    let Bench { fake, .. } = first;
    let mut second = Bench::with(fake, Format::Avro, REGISTRY, bare_shape());
    // Another order, and one column less.
    let value = second.one(vec![("ok", Put::Bool(false)), ("seq", Put::Long(1))]);
    assert_eq!(framed(&value).0, id);
    assert_eq!(second.versions().len(), 1);
    let fields = avro(&second.versions()[0].schema, framed(&value).1);
    assert_eq!(branch(&fields[0].1), &Theirs::Null);
    assert_eq!(branch(&fields[3].1), &Theirs::Boolean(false));
}

#[test]
fn a_subject_that_another_process_makes_grow_keeps_both_columns() {
    let mut bench = Bench::new(Format::Avro, REGISTRY);
    bench.one(reading());
    let theirs = bench.versions()[0].schema.replace(
        r#"{"name":"ok""#,
        r#"{"name":"theirs","type":["null","long"],"default":null},{"name":"ok""#,
    );
    bench.fake.keep("x-value", "AVRO", &theirs);
    let mut row = reading();
    row.push(("ours", Put::Long(1)));
    let value = bench.one(row);
    let versions = bench.versions();
    assert_eq!(framed(&value).0, versions.last().expect("three").id);
    let names: Vec<String> =
        avro(&versions[2].schema, framed(&value).1).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["sensor", "seq", "celsius", "theirs", "ok", "ours"]);
}

#[test]
fn what_the_registry_refuses_stops_the_pipeline_in_its_words() {
    let mut bench = Bench::new(Format::Avro, REGISTRY);
    let words = "Schema being registered is incompatible with an earlier schema";
    bench.fake.put("/subjects/x-value/versions", Reply::error(409, 409, words));
    let fault = bench.fault(reading());
    assert_eq!(fault.blame, Blame::Operator);
    let told = fault.to_string();
    assert!(told.contains(words) && told.contains("schema_version = \"latest\""), "{told}");
    bench.fake.put("/subjects/x-value/versions", Reply::error(422, 42201, "Invalid schema"));
    let told = bench.fault(reading()).to_string();
    assert!(told.contains("422") && told.contains("Invalid schema"), "{told}");
}

#[test]
fn a_value_that_does_not_fit_its_column_is_refused_by_its_name() {
    let mut bench = Bench::new(Format::Avro, REGISTRY);
    bench.one(reading());
    let told = bench.refused(vec![("seq", Put::Double(1.5))]);
    assert_eq!(told, "wrong-type: column `seq` is long in the schema, the record has 1.5");
    // What loses nothing is taken.
    let value = bench.one(vec![("celsius", Put::Long(21)), ("sensor", Put::Long(5))]);
    let fields = avro(&bench.versions()[0].schema, framed(&value).1);
    assert_eq!(branch(&fields[2].1), &Theirs::Double(21.0));
    assert_eq!(branch(&fields[0].1), &Theirs::String("5".into()));
}

const NESTED: &str = r#"{"type":"record","name":"com.example.Order","fields":[
    {"name":"id","type":"long"},
    {"name":"state","type":{"type":"enum","name":"State","symbols":["OPEN","PAID"]},"default":"OPEN"},
    {"name":"place","type":["null",{"type":"record","name":"Place","fields":[
        {"name":"city","type":"string"},{"name":"floor","type":"int","default":0}]}]},
    {"name":"tags","type":{"type":"array","items":"string"},"default":[]},
    {"name":"day","type":[{"type":"int","logicalType":"date"},"null"],"default":3},
    {"name":"key","type":{"type":"fixed","name":"Key","size":2},"default":"ab"}]}"#;

/// With NESTED as the schema.
fn nested(more: &str) -> String {
    format!("{REGISTRY}{more}\nschema = '''{NESTED}'''")
}

#[test]
fn columns_go_into_the_fields_of_a_schema_that_is_given() {
    let mut bench = Bench::new(Format::Avro, &nested(""));
    let value = bench.one(vec![
        ("id", Put::Long(1)),
        ("place_city", text("Köln")),
        ("tags", text(r#"["a","b"]"#)),
        ("state", text("PAID")),
        ("day", Put::Time(86_400, Unit::Seconds)),
        ("key", Put::Bytes(vec![1, 2])),
        ("nowhere", Put::Long(1)),
    ]);
    assert_eq!(bench.versions()[0].schema, NESTED);
    let fields = avro(NESTED, framed(&value).1);
    assert_eq!(fields[1].1, Theirs::Enum(1, "PAID".into()));
    let place = vec![
        ("city".to_owned(), Theirs::String("Köln".into())),
        ("floor".to_owned(), Theirs::Int(0)),
    ];
    assert_eq!(branch(&fields[2].1), &Theirs::Record(place));
    let tags = ["a", "b"].map(|tag| Theirs::String(tag.into()));
    assert_eq!(fields[3].1, Theirs::Array(tags.into()));
    assert_eq!(branch(&fields[4].1), &Theirs::Date(1));
    assert_eq!(fields[5].1, Theirs::Fixed(2, vec![1, 2]));

    // Defaults for what is missing; a record of which there is nothing is null.
    let fields = avro(NESTED, framed(&bench.one(vec![("id", Put::Long(2))])).1);
    assert_eq!(fields[1].1, Theirs::Enum(0, "OPEN".into()));
    assert_eq!(branch(&fields[2].1), &Theirs::Null);
    assert_eq!(fields[3].1, Theirs::Array(vec![]));
    assert_eq!(branch(&fields[4].1), &Theirs::Date(3));
    // A null is no missing value.
    let null = bench.one(vec![("id", Put::Long(2)), ("day", Put::Null)]);
    assert_eq!(branch(&avro(NESTED, framed(&null).1)[4].1), &Theirs::Null);

    for (row, told) in [
        (vec![], "column `id` is long in the schema, which has neither null nor a default"),
        (vec![("id", Put::Null)], "column `id` is long in the schema, which has no null"),
        (vec![("id", Put::Long(1)), ("state", text("LOST"))], "`state` is enum in the schema"),
        (vec![("id", Put::Long(1)), ("place_floor", Put::Long(1))], "`place_city` is string"),
        (
            vec![
                ("id", Put::Long(1)),
                ("place_city", text("a")),
                ("place_floor", Put::Long(1 << 40)),
            ],
            "`place_floor` is int in the schema, the record has 1099511627776",
        ),
        (vec![("id", Put::Long(1)), ("tags", text("[1]"))], "`tags` is an array or a map"),
        (vec![("id", Put::Long(1)), ("day", Put::Time(5, Unit::Seconds))], "`day` is date"),
        (vec![("id", Put::Long(1)), ("key", Put::Bytes(vec![1]))], "`key` is fixed"),
        (vec![("id", Put::Time(5, Unit::Seconds))], "by `timestamps` of the sink"),
    ] {
        let found = bench.refused(row);
        assert!(found.contains(told), "{found}: {told}");
    }
}

#[test]
fn subjects_are_named_by_topic_or_record() {
    for (more, subject) in [
        ("", "x-value"),
        ("subject_name = \"record\"", "com.example.Order"),
        ("subject_name = \"topic_record\"", "x-com.example.Order"),
        ("subject = \"mine\"", "mine"),
    ] {
        let mut bench = Bench::new(Format::Avro, &nested(more));
        bench.one(vec![("id", Put::Long(1))]);
        assert_eq!(bench.fake.versions(subject).len(), 1, "{more}: {:?}", bench.fake.asked());
    }
    let mut bench = Bench::new(Format::Avro, &format!("{REGISTRY}subject_name = \"record\""));
    bench.one(reading());
    assert_eq!(bench.fake.versions("t").len(), 1, "the table's name, where the record has none");
}

#[test]
fn who_may_not_register_writes_what_is_there() {
    let mut bench = Bench::new(Format::Avro, &nested("register = false"));
    let fault = bench.fault(vec![("id", Put::Long(1))]);
    assert!(fault.to_string().contains("register = true"), "{fault}");
    let id = bench.fake.keep("x-value", "AVRO", NESTED);
    assert_eq!(framed(&bench.one(vec![("id", Put::Long(1))])).0, id);

    let mut bench = Bench::new(Format::Avro, &format!("{REGISTRY}register = false"));
    let fault = bench.fault(vec![("id", Put::Long(1))]);
    assert!(fault.to_string().contains("no version latest of x-value"), "{fault}");
    bench.fake.keep("x-value", "AVRO", "\"int\"");
    let fault = bench.fault(vec![("id", Put::Long(1))]);
    assert!(fault.to_string().contains("the schema is int, and rows are records"), "{fault}");
    let id = bench.fake.keep("x-value", "AVRO", NESTED);
    assert_eq!(framed(&bench.one(vec![("id", Put::Long(1)), ("more", Put::Long(1))])).0, id);
    assert_eq!(bench.versions().len(), 2, "nothing is registered");
    let mut bench = Bench::new(Format::Protobuf, &format!("{REGISTRY}schema_version = 1"));
    bench.fake.keep("x-value", "AVRO", NESTED);
    assert!(bench.fault(reading()).to_string().contains("it is AVRO"));
}

#[test]
fn a_trial_registers_nothing_and_notes_it() {
    let mut bench = Bench::new(Format::Avro, REGISTRY);
    let notes = Arc::<Notes>::default();
    bench.encoders.subjects().note(Arc::clone(&notes));
    bench.one(reading());
    let mut row = reading();
    row.push(("more", Put::Long(1)));
    bench.one(row);
    assert!(bench.versions().is_empty());
    let statements = notes.noted().statements;
    assert_eq!(statements.len(), 2);
    assert!(statements[1].contains("x-value") && statements[1].contains("\"sensor\""));
}

#[test]
fn bare_values_have_nothing_before_them() {
    let keys = format!("framing = \"bare\"\nschema = '''{NESTED}'''");
    let mut bench = Bench::new(Format::Avro, &keys);
    let value = bench.one(vec![("id", Put::Long(1))]);
    assert_eq!(avro(NESTED, &value)[0].1, Theirs::Long(1));
    assert!(bench.fake.asked().is_empty());
}

#[test]
fn options_are_taken_or_refused_with_what_would_be_right() {
    for (format, keys, said) in [
        (Format::Avro, "", "need a `registry`"),
        (Format::Avro, "framing = \"bare\"", "made of columns"),
        (Format::Avro, "registry.url = \"http://r\"\nschema = \"1\"", "`1` is no type"),
        (Format::Avro, "registry.url = \"http://r\"\nschema = '\"int\"'", "rows are records"),
        (Format::Avro, "registry.url = \"http://r\"\nmessage = \"M\"", "one of protobuf"),
        (Format::Protobuf, "registry.url = \"http://r\"\nmessage = \"M\"", "is chosen"),
        (Format::Avro, "registry.url = \"http://r\"\nrecord = \"a b\"", "no record's name"),
        (Format::Avro, "registry.url = \"http://r\"\nschema_version = 0", "from 1 on"),
        (
            Format::Avro,
            "registry.url = \"http://r\"\nschema_version = 1\nregister = true",
            "registered already",
        ),
        (
            Format::Avro,
            "registry.url = \"http://r\"\nsubject = \"a\"\nsubject_name = \"record\"",
            "`subject` names it",
        ),
        (Format::Protobuf, "registry.url = \"http://r\"\nschema = \"message M {\"", "expected"),
    ] {
        let wrong = plan(format, keys, "").expect_err(keys);
        assert!(wrong.contains(said), "{keys}: {wrong}");
    }
}

#[test]
fn names_are_made_legal() {
    for (name, made) in [("a", "a"), ("a-b.c", "a_b_c"), ("1st", "_1st"), ("", "_"), ("é", "_")] {
        assert_eq!(legal(name), made, "{name}");
    }
}

mod declared;
mod golden;
mod json_schema;
mod keys;
mod messages;
mod oracle;
