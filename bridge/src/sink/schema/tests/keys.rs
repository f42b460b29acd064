//! Keys with a schema: of one column its value, of several a record; what they are made of, what is
//! refused, and that other libraries and the bridge itself read them.

use proptest::prelude::*;

use super::oracle::{is_avro, is_cell, is_message, put, read_records};
use super::*;
use crate::sink::questdb::Denied;

/// What makes keys, and its registry.
struct KeyBench {
    bench: Bench,
    keys: Keys,
}

impl KeyBench {
    fn new(format: Format, columns: &[&str], more: &str) -> KeyBench {
        KeyBench::with(Fake::start(), (format, columns), more, Shape::plain("t"))
    }

    fn with(
        fake: Fake,
        (format, columns): (Format, &[&str]),
        more: &str,
        shape: Shape,
    ) -> KeyBench {
        let said = format!("{REGISTRY}{more}");
        let plan = plan_of(key_of(columns), format, &said, &fake.url());
        let plan = plan.unwrap_or_else(|wrong| panic!("{wrong}"));
        let bench = Bench::of(fake, shape, |context| {
            let encoders = Encoders::of_keys(plan, context, |_| "x".to_owned());
            encoders.unwrap_or_else(|fault| panic!("{fault}"))
        });
        let keys = bench.encoders.keys();
        KeyBench { bench, keys }
    }

    fn append(&mut self, row: Puts<'_>) -> Result<Option<Vec<u8>>, Denied> {
        let rows = self.bench.rows(&[row]);
        let (records, mut out) = (batch(vec![(None, None)]), Vec::new());
        let has = self.keys.append(&records, &rows, &rows.rows[0], &mut out)?;
        Ok(has.then_some(out))
    }

    fn key(&mut self, row: Puts<'_>) -> Vec<u8> {
        self.append(row).unwrap_or_else(|denied| panic!("{denied:?}")).expect("it has one")
    }

    fn has_none(&mut self, row: Puts<'_>) -> bool {
        self.append(row).unwrap_or_else(|denied| panic!("{denied:?}")).is_none()
    }

    /// Why a row's record is refused.
    fn refused(&mut self, row: Puts<'_>) -> String {
        match self.append(row) {
            Err(Denied::Record(_, detail)) => detail,
            other => panic!("{other:?}"),
        }
    }

    /// Why nothing can be written.
    fn fault(&mut self, row: Puts<'_>) -> String {
        match self.append(row) {
            Err(Denied::Pipeline(fault)) => fault.to_string(),
            other => panic!("{other:?}"),
        }
    }

    fn schemas(&self) -> Vec<String> {
        let versions = self.bench.fake.versions("x-key");
        versions.into_iter().map(|kept| kept.schema).collect()
    }
}

fn key_of(columns: &[&str]) -> Part {
    Part::Key(columns.iter().map(|column| (*column).to_owned()).collect())
}

#[test]
fn a_key_of_one_column_is_its_value() {
    for (put, schema, read) in [
        (text("s-1"), "\"string\"", Theirs::String("s-1".into())),
        (Put::Long(-7), "\"long\"", Theirs::Long(-7)),
        (Put::Bool(true), "\"boolean\"", Theirs::Boolean(true)),
        (
            Put::Time(5, Unit::Millis),
            r#"{"type":"long","logicalType":"timestamp-millis"}"#,
            Theirs::TimestampMillis(5),
        ),
    ] {
        let mut bench = KeyBench::new(Format::Avro, &["id"], "");
        let key = bench.key(vec![("other", Put::Long(1)), ("id", put)]);
        assert_eq!(bench.schemas(), [schema]);
        let (id, body) = framed(&key);
        assert_eq!(id, bench.bench.fake.versions("x-key")[0].id);
        assert_eq!(datum(schema, body), read);
    }
    let mut bench = KeyBench::new(Format::Json, &["id"], "");
    let key = bench.key(vec![("id", text("s-\"1"))]);
    assert_eq!(framed(&key).1, br#""s-\"1""#);
    let schema: serde_json::Value = serde_json::from_str(&bench.schemas()[0]).expect("it is JSON");
    assert_eq!(schema["type"], "string");
    assert!(schema.get("properties").is_none(), "{schema}");
    // A message is what Protocol Buffers have.
    let mut bench = KeyBench::new(Format::Protobuf, &["id"], "");
    let key = bench.key(vec![("id", Put::Long(7))]);
    let schema = bench.schemas().remove(0);
    assert!(schema.contains("message x_key {\n  int64 id = 1;\n}"), "{schema}");
    assert_eq!(framed(&key).1, [0, 8, 7]);
}

#[test]
fn a_key_of_several_columns_is_a_record_in_their_order() {
    let mut bench = KeyBench::new(Format::Avro, &["site", "sensor"], "");
    let row = vec![("sensor", Put::Long(7)), ("celsius", Put::Double(1.0)), ("site", text("b"))];
    let key = bench.key(row.clone());
    let fields = r#"[{"name":"site","type":"string"},{"name":"sensor","type":"long"}]"#;
    let schema = format!(r#"{{"type":"record","name":"x_key","fields":{fields}}}"#);
    assert_eq!(bench.schemas(), [schema.as_str()]);
    let shown: Vec<String> = avro(&schema, framed(&key).1)
        .iter()
        .map(|(name, value)| format!("{name} {value:?}"))
        .collect();
    assert_eq!(shown, ["site String(\"b\")", "sensor Long(7)"]);
    // Not one without the other; and without both there is no key.
    for half in [vec![("site", text("b"))], vec![("site", text("b")), ("sensor", Put::Null)]] {
        let told = bench.refused(half);
        assert!(told.contains("key column `sensor` is null or missing"), "{told}");
    }
    assert!(bench.has_none(vec![("site", Put::Null)]));
    let told = bench.refused(vec![("site", text("b")), ("sensor", text("x"))]);
    assert_eq!(told, "key column `sensor` is long in the schema, the record has \"x\"");
    // The same columns are the same bytes, whatever else comes.
    let mut more = row;
    more.insert(0, ("unit", text("K")));
    assert_eq!((bench.key(more), bench.schemas().len()), (key, 1));

    let mut bench = KeyBench::new(Format::Json, &["site", "sensor"], "");
    let key = bench.key(vec![("sensor", Put::Long(7)), ("site", text("b"))]);
    assert_eq!(framed(&key).1, br#"{"site":"b","sensor":7}"#);
    // And of one column where that is wanted.
    let mut bench = KeyBench::new(Format::Avro, &["id"], "record = \"com.example.Id\"");
    let key = bench.key(vec![("id", Put::Long(7))]);
    assert!(bench.schemas()[0].contains(r#""namespace":"com.example""#));
    let fields = avro(&bench.schemas()[0], framed(&key).1);
    assert_eq!(fields, [("id".to_owned(), Theirs::Long(7))]);
}

#[test]
fn without_its_column_a_row_has_no_key_and_nobody_is_asked() {
    let mut bench = KeyBench::new(Format::Avro, &["id"], "");
    for row in [vec![], vec![("id", Put::Null)], vec![("other", text("id"))]] {
        assert!(bench.has_none(row));
    }
    assert!(bench.bench.fake.asked().is_empty());
}

#[test]
fn what_the_registry_has_is_what_keys_are_and_they_do_not_grow() {
    let record = r#"{"type":"record","name":"K","fields":[{"name":"a","type":"long"}]}"#;
    let with = |kept: &str, columns: &[&str], more: &str| {
        let fake = Fake::start();
        let id = fake.keep("x-key", "AVRO", kept);
        (id, KeyBench::with(fake, (Format::Avro, columns), more, Shape::plain("t")))
    };
    let (id, mut bench) = with("[\"null\",\"string\"]", &["id"], "");
    let key = bench.key(vec![("id", text("a"))]);
    assert_eq!(framed(&key), (id, &[2, 2, b'a'][..]));
    assert_eq!(bench.schemas().len(), 1);
    let (id, mut bench) = with(record, &["a"], "");
    assert_eq!(framed(&bench.key(vec![("a", Put::Long(1))])), (id, &[2][..]));

    let both = || vec![("a", Put::Long(1)), ("b", Put::Long(2))];
    let (_, mut bench) = with(record, &["a", "b"], "");
    let told = bench.fault(both());
    assert!(told.contains("it has no `b`, and keys do not grow"), "{told}");
    assert_eq!(bench.schemas().len(), 1);
    // What is looked up, or given, leaves out nothing of a key either.
    for more in ["register = false".to_owned(), format!("schema = '''{record}'''")] {
        let (_, mut bench) = with(record, &["a", "b"], &more);
        let told = bench.fault(both());
        assert!(told.contains("the schema of x-key has no field for `b` of the key"), "{told}");
    }
    let mut bench = KeyBench::new(Format::Avro, &["a"], "schema = '\"int\"'\nsubject = \"k\"");
    assert_eq!(framed(&bench.key(vec![("a", Put::Long(-1))])).1, [1]);
    assert_eq!(bench.bench.fake.versions("k").len(), 1);
}

#[test]
fn columns_are_named_as_the_table_names_them() {
    let mut shape = Shape::plain("t");
    shape.mapping = vec![("order_id".into(), "id".into())];
    shape.drop = vec!["secret".into()];
    shape.columns = vec![("id".into(), ColumnType::Int), ("celsius".into(), ColumnType::Float)];
    let of = |columns: &[&str]| {
        KeyBench::with(Fake::start(), (Format::Avro, columns), "", shape.clone())
    };
    // A column of that very name is another one.
    let mut bench = of(&["id"]);
    let key = bench.key(vec![("id", text("no")), ("order_id", Put::Long(3))]);
    assert_eq!(framed(&key).1, [6]);
    assert_eq!(bench.schemas(), ["\"int\""]);
    let mut bench = of(&["secret"]);
    assert_eq!(framed(&bench.key(vec![("secret", text("a"))])).1, [2, b'a']);

    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let context = SinkContext {
        pipeline: "p".into(),
        names: Arc::default(),
        shape: Arc::new(shape.clone()),
        delivery: Delivery::AtLeastOnce,
        meter: Arc::default(),
        runtime: runtime.handle().clone(),
    };
    let plan = plan_of(key_of(&["order_id"]), Format::Avro, REGISTRY, "http://r");
    let made = Encoders::of_keys(plan.expect("it is right"), &context, |_| "x".to_owned());
    let told = made.err().expect("the table has no such column").to_string();
    assert!(told.contains("`order_id` of the key is called `id` in the table"), "{told}");
}

#[test]
fn what_is_said_of_keys_is_taken_or_refused() {
    let registry = "registry.url = \"http://r\"\n";
    let told = |columns: &[&str], format: Format, said: &str| {
        plan_of(key_of(columns), format, said, "").expect_err(said)
    };
    for (said, right) in [("", "keys that name their schema"), ("framing = \"bare\"", "columns")] {
        let wrong = told(&["a"], Format::Avro, said);
        assert!(wrong.contains(right), "{wrong}");
    }
    for (columns, format, said, right) in [
        (vec!["a"], Format::Avro, "subject_name = \"record\"", "has no record to be named after"),
        (vec!["a-b", "a_b"], Format::Avro, "", "would be the field `a_b`"),
        (vec!["a", "a"], Format::Json, "", "would be the field `a`"),
        (vec!["a", "b"], Format::Avro, "schema = '\"int\"'", "rows are records"),
    ] {
        let wrong = told(&columns, format, &format!("{registry}{said}"));
        assert!(wrong.contains(right), "{wrong}");
    }
    let plan = |said: &str| {
        plan_of(key_of(&["a"]), Format::Avro, &format!("{registry}{said}"), "").expect("a plan")
    };
    assert!(plan("").explain().starts_with("schema of keys: made of the columns; registered"));
    assert!(plan("").makes_lone() && !plan("record = \"K\"").makes_lone());
}

/// A value of any kind that columns have.
fn any_put() -> impl Strategy<Value = Put> {
    (0_usize..9).prop_flat_map(put)
}

/// What the bridge's own key format makes of a key.
fn read_key(bench: &KeyBench, more: &str, key: Vec<u8>) -> (Arc<Names>, RowBatch) {
    let url = bench.bench.fake.url();
    let sections = format!(
        "value.format = \"json\"\n[pipeline.p.key]\nformat = \"avro\"\n{more}\n\
         registry.url = \"{url}\"\n"
    );
    read_records(&sections, vec![(Some(key), Some(b"{}".to_vec()))])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn keys_are_read_by_the_library_and_by_ourselves(a in any_put(), b in any_put()) {
        let row = || vec![("b", b.clone()), ("a", a.clone())];
        let cell = |names: &Names, rows: &RowBatch, name: &str| {
            let id = names.columns.find(name);
            rows.cells_of(&rows.rows[0]).iter().find(|cell| Some(cell.column) == id).copied()
        };
        // A value by itself.
        let mut lone = KeyBench::new(Format::Avro, &["a"], "");
        let key = lone.key(row());
        let read = datum(&lone.schemas()[0], framed(&key).1);
        prop_assert!(is_avro(Some(&a), &read), "{a:?} {read:?}");
        let (names, read) = read_key(&lone, "column = \"a\"", key);
        let found = cell(&names, &read, "a");
        prop_assert!(is_cell(Some(&a), &read, found.as_ref()), "{a:?} {found:?}");

        // A record of both.
        let mut both = KeyBench::new(Format::Avro, &["a", "b"], "");
        let key = both.key(row());
        let fields = avro(&both.schemas()[0], framed(&key).1);
        prop_assert!(is_avro(Some(&a), &fields[0].1), "{a:?} {fields:?}");
        prop_assert!(is_avro(Some(&b), &fields[1].1), "{b:?} {fields:?}");
        let (names, read) = read_key(&both, "prefix = \"\"", key);
        for (name, put) in [("a", &a), ("b", &b)] {
            let found = cell(&names, &read, name);
            prop_assert!(is_cell(Some(put), &read, found.as_ref()), "{put:?} {found:?}");
        }
    }

    #[test]
    fn keys_as_messages_and_objects_are_read_by_the_libraries(a in any_put(), b in any_put()) {
        let row = || vec![("b", b.clone()), ("a", a.clone())];
        let mut bench = KeyBench::new(Format::Protobuf, &["a", "b"], "");
        let key = bench.key(row());
        let read = super::messages::dynamic(&bench.schemas()[0], None, &framed(&key).1[1..]);
        for (name, put) in [("a", &a), ("b", &b)] {
            let found = read.get_field_by_name(name).map(|field| field.into_owned());
            prop_assert!(is_message(Some(put), found.as_ref()), "{put:?} {found:?}");
        }
        let parse = |key: &[u8]| -> serde_json::Value {
            serde_json::from_slice(framed(key).1).expect("it is JSON")
        };
        let lone = KeyBench::new(Format::Json, &["a"], "").key(row());
        let both = KeyBench::new(Format::Json, &["a", "b"], "").key(row());
        prop_assert_eq!(&parse(&both)["a"], &parse(&lone));
        match &a {
            Put::Text(text) => prop_assert_eq!(parse(&lone), text.as_str()),
            Put::Long(number) => prop_assert_eq!(parse(&lone), *number),
            _ => {}
        }
    }
}
