//! What each event becomes, in each encoding; what is refused, and what is left out.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::written::{Change, bare, encoded, enveloped, schema};
use crate::batch::RowBatch;
use crate::format::testing::{Bench, batch_of, parsed};
use crate::reject::Rejects;

/// JSON, with these options more.
fn bench(more: &str) -> Bench {
    Bench::new(&format!("format = \"debezium\"\ndeleted = \"deleted\"\n{more}"), "")
}

/// Avro without a registry.
fn in_avro(schema: &str, more: &str) -> Bench {
    let framing = "encoding = \"avro\"\nframing = \"bare\"";
    bench(&format!("{framing}\nschema = '''{schema}'''\n{more}"))
}

fn change(op: &'static str, before: Option<Value>, after: Option<Value>) -> Change {
    Change { op, before, after }
}

fn told(more: &str, change: &Change) -> String {
    bench(more).told(bare(change).to_string())
}

#[test]
fn each_op_is_its_row() {
    let row = |n: i64| Some(json!({ "id": 1, "n": n }));
    let all = "op = \"op\"\nsource = [\"ts_ms\", \"lsn\", \"none\"]\nbefore = \"was_\"";
    let check = |change: Change, expected: &str| assert_eq!(told(all, &change), expected);
    let source = "source_ts_ms=1700000000123ms source_lsn=23837048i";
    check(change("c", None, row(2)), &format!("id=1i n=2i {source} op=#c deleted=false"));
    check(change("r", None, row(2)), &format!("id=1i n=2i {source} op=#r deleted=false"));
    check(
        change("u", row(1), row(2)),
        &format!("id=1i n=2i was_id=1i was_n=1i {source} op=#u deleted=false"),
    );
    check(
        change("d", row(2), None),
        &format!("DELETE id=1i n=2i was_id=1i was_n=2i {source} op=#d deleted=true"),
    );
    let plain = |more: &str, change: Change| told(more, &change);
    assert_eq!(plain("deletes = \"row\"", change("d", row(2), None)), "id=1i n=2i deleted=true");
    assert_eq!(plain("deletes = \"skip\"", change("d", row(2), None)), "");
    let routed = plain("table = \"source\"", change("c", None, row(2)));
    assert_eq!(routed, "@orders id=1i n=2i deleted=false");
    let routed = plain("table = \"qualified\"", change("d", row(2), None));
    assert_eq!(routed, "DELETE @public.orders id=1i n=2i deleted=true");
}

#[test]
fn a_deletion_without_its_row_has_the_key_s_columns() {
    let value = "format = \"debezium\"\ndeleted = \"deleted\"";
    let mut bench = Bench::new(value, "format = \"json\"\nprefix = \"\"");
    let event = bare(&change("d", None, None)).to_string();
    assert_eq!(bench.told_of("{\"id\":7}", &event), "DELETE deleted=true id=7i");
    let refused = told("", &change("d", None, None));
    assert!(refused.contains("without `before`, and the key is not read"), "{refused}");
    let refused = told("", &change("c", None, None));
    assert_eq!(refused, "format malformed: `op` is c, and there is no `after`");
}

#[test]
fn what_is_skipped_is_counted_and_what_deletes_is_marked() {
    let mut bench = bench("truncate = \"skip\"\nother = \"skip\"");
    let row = Some(json!({ "id": 1 }));
    let events = [
        bare(&change("d", row.clone(), None)).to_string(),
        json!({ "source": {}, "op": "t", "ts_ms": 1 }).to_string(),
        json!({ "ts_ms": 1 }).to_string(),
        json!({ "status": "BEGIN", "id": "7:8", "event_count": null }).to_string(),
        json!({ "source": {}, "databaseName": "shop", "ddl": "DROP TABLE x" }).to_string(),
        json!({ "op": "m", "source": {}, "message": { "prefix": "p", "content": "" } }).to_string(),
        bare(&change("c", None, row)).to_string(),
    ];
    let mut pairs: Vec<(&str, Option<&str>)> =
        events.iter().map(|event| ("k", Some(event.as_str()))).collect();
    pairs.insert(1, ("k", None));
    let records = batch_of(&pairs);
    let (mut rows, mut rejects) = (RowBatch::default(), Rejects::default());
    let decoded = bench.decoder.decode(&records, &mut rows, &mut rejects).expect("it goes on");
    assert_eq!((decoded.skipped, rejects.found.len()), (6, 0), "{:?}", rejects.found);
    let shown = bench.shown(&rows);
    assert_eq!(shown, ["0.0: DELETE id=1i deleted=true", "7.0: id=1i deleted=false"]);
    assert!(rows.deleting.has(0) && !rows.deleting.has(7));
    rows.clear();
    assert!(!rows.deleting.has(0));
}

#[test]
fn what_is_no_change_of_a_row_is_told_apart() {
    let check = |event: Value, words: &str| {
        let told = bench("").told(event.to_string());
        assert!(told.starts_with("format malformed: ") && told.contains(words), "{told}");
    };
    check(json!({ "ts_ms": 1 }), "but a heartbeat (other = \"skip\")");
    check(json!({ "status": "END", "id": "7", "event_count": 2 }), "the end of a transaction");
    check(json!({ "ddl": "…", "databaseName": "shop" }), "a change of a schema");
    check(json!({ "op": "m" }), "logical decoding");
    check(json!({ "op": "t" }), "the table was truncated");
    check(json!({ "op": "x" }), "`op`: \"x\" is none of c, u, d, r, t, m");
    check(json!({ "id": 1, "name": "x" }), "say unwrapped = true");
    check(json!({ "op": "c", "after": "{\"_id\":1}" }), "MongoDB");
    check(json!({ "op": "c", "after": 7 }), "`after` is no object");
    check(json!([1]), "not a JSON object");
    // What nobody knows is never left out.
    let told = bench("other = \"skip\"").told(json!({ "id": 1 }).to_string());
    assert!(told.contains("it has no `op`"), "{told}");
    let routed = bench("table = \"source\"").told(json!({ "op": "c", "after": {} }).to_string());
    assert!(routed.contains("`source.table` is missing"), "{routed}");
}

#[test]
fn a_truncated_table_stops_the_pipeline_where_it_shall() {
    let mut bench = bench("truncate = \"stop\"");
    let records = batch_of(&[("k", Some("{\"op\":\"t\"}"))]);
    let (mut rows, mut rejects) = (RowBatch::default(), Rejects::default());
    let fault = bench.decoder.decode(&records, &mut rows, &mut rejects);
    let said = fault.expect_err("it stops").to_string();
    assert!(said.contains("the table was truncated"), "{said}");
}

#[test]
fn rows_that_were_unwrapped_say_what_was_done() {
    let mut bench = bench("unwrapped = true\nop = \"op\"");
    let mut check = |row: Value, expected: &str| assert_eq!(bench.told(row.to_string()), expected);
    check(json!({ "id": 1, "after": "x" }), "id=1i after=\"x\" op=#u deleted=false");
    check(json!({ "id": 1, "__deleted": "false", "__op": "r" }), "id=1i op=#r deleted=false");
    check(json!({ "id": 1, "__deleted": "true" }), "DELETE id=1i op=#d deleted=true");
    check(json!({ "id": 1, "__op": "d" }), "DELETE id=1i op=#d deleted=true");
    check(
        json!({ "id": 1, "__deleted": true, "__source_ts_ms": 7 }),
        "DELETE id=1i __source_ts_ms=7i op=#d deleted=true",
    );
    let told = bench.told(json!({ "id": 1, "__op": 7 }).to_string());
    assert!(told.contains("`__op`"), "{told}");
    let columns = json!({ "type": "struct", "fields": [
        { "type": "int64", "name": "io.debezium.time.MicroTimestamp", "field": "at" }] });
    let value = format!("{{\"schema\":{columns},\"payload\":{{\"at\":7,\"__op\":\"c\"}}}}");
    assert_eq!(bench.told(value), "at=7us op=#c deleted=false");
    let schema = r#"{"type":"record","name":"Value","fields":[{"name":"id","type":"int"},
        {"name":"at","type":{"type":"long","connect.name":"io.debezium.time.MicroTimestamp"}},
        {"name":"__deleted","type":["null","string"],"default":null}]}"#;
    let mut bench = in_avro(schema, "unwrapped = true");
    assert_eq!(
        bench.told([2, 14, 2, 8, b't', b'r', b'u', b'e']),
        "DELETE id=1i at=7us deleted=true"
    );
    assert_eq!(bench.told([2, 14, 0]), "id=1i at=7us deleted=false");
}

#[test]
fn what_was_not_sent_is_not_guessed() {
    let placeholder = "__debezium_unavailable_value";
    let row = |value: Value| change("u", None, Some(json!({ "id": 1, "large": value })));
    let refused = told("", &row(json!(placeholder)));
    assert!(refused.contains("`large` was not sent"), "{refused}");
    assert!(refused.contains("REPLICA IDENTITY FULL"), "{refused}");
    let base64 = "X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==";
    let numbers: Vec<u8> = placeholder.bytes().collect();
    for value in [json!(placeholder), json!(base64), json!([placeholder]), json!(numbers)] {
        let nulled = told("unavailable = \"null\"", &row(value.clone()));
        assert_eq!(nulled, "id=1i large=null deleted=false", "{value}");
    }
    let kept = told("unavailable = \"text\"", &row(json!(placeholder)));
    assert_eq!(kept, format!("id=1i large=\"{placeholder}\" deleted=false"));
    let own = "placeholder = \"?\"\nunavailable = \"null\"";
    assert_eq!(told(own, &row(json!("?"))), "id=1i large=null deleted=false");
    assert!(told(own, &row(json!(placeholder))).contains(placeholder));
}

#[test]
fn a_column_and_an_option_of_one_name_are_refused() {
    let row = change("c", None, Some(json!({ "id": 1, "deleted": null })));
    let refused = told("", &row);
    assert!(
        refused.starts_with("format bad-name: `deleted` is a column of the table"),
        "{refused}"
    );
}

#[test]
fn types_say_what_no_schema_does() {
    let types = "[pipeline.p.value.types]\nat = \"micro-timestamp\"\nprice = \"decimal(10,2)\"\n\
        total = \"decimal\"\nlist = \"decimal-text\"\nborn = \"date\"\nzoned = \"zoned-timestamp\"\n\
        day = \"iso-date\"\nmood = \"enum\"\nphoto = \"bytes\"\nflags = \"bits\"\n\
        ratio = \"double\"\nmade = \"io.debezium.time.Timestamp\"\n";
    let row = json!({
        "at": 7, "price": "MDk=", "total": { "scale": 1, "value": "MDk=" }, "list": "-12.50",
        "born": 1, "zoned": "1970-01-01T01:00:00.000001+01:00", "day": "1970-01-02Z",
        "mood": "fine", "photo": "AQI=", "flags": "BQ==", "ratio": 2, "made": 8,
    });
    let told = told(types, &change("c", None, Some(row)));
    assert_eq!(
        told,
        "at=7us price=123.45d total=1234.5d list=-12.50d born=86400s zoned=1us day=86400s \
         mood=#fine photo=[1, 2] flags=\"00000101\" ratio=2 made=8ms deleted=false"
    );
    let numeric = bench("types = { price = \"decimal(10,2)\" }");
    let mut check = {
        let mut numeric = numeric;
        move |price: Value, expected: &str| {
            let event = bare(&change("c", None, Some(json!({ "price": price }))));
            let told = numeric.told(event.to_string());
            assert!(told.contains(expected), "{told}");
        }
    };
    check(json!(12.5), "price=12.50d");
    check(json!(3), "price=3.00d");
    check(json!(1.234), "has more digits than the scale");
    check(json!("12,50"), "wrong-type: `price`: \"12,50\" is not base64");
    check(json!(true), "is not a decimal's bytes");
    check(Value::Null, "price=null");
}

#[test]
fn what_does_not_fit_its_meaning_is_refused_with_its_value() {
    let refused = |kind: &str, value: Value, words: &str| {
        let types = format!("types = {{ a = \"{kind}\" }}");
        let told = told(&types, &change("c", None, Some(json!({ "a": value }))));
        assert!(told.starts_with("format wrong-type: `a`: "), "{told}");
        assert!(told.contains(words), "{told}");
    };
    refused("date", json!("x"), "\"x\" is not a number of days");
    refused("date", json!(i64::MAX), "beyond what a timestamp holds");
    refused("timestamp", json!(1.5), "1.5 is not a number since 1970");
    refused("zoned-timestamp", json!("soon"), "\"soon\" is no moment");
    refused("iso-date", json!("2026-13-01"), "is no day");
    refused("decimal-text", json!("NaN"), "no decimal in digits");
    refused("double", json!("many"), "is not a number");
    refused("bytes", json!("%"), "not base64");
    refused("bits", json!(7), "is not bytes");
    refused("enum", json!(7), "is not text");
    let wide = "A".repeat(48);
    let told =
        told("types = { a = \"decimal(9,0)\" }", &change("c", None, Some(json!({ "a": wide }))));
    assert_eq!(told, "a=0d deleted=false", "zeros in front are no digits");
    refused("decimal(9,0)", json!(format!("f{}", "A".repeat(47))), "more than 32 bytes");
    let types = "types = { a = \"decimal\" }";
    let check = |value: Value, words: &str| {
        let told = super::tests::told(types, &change("c", None, Some(json!({ "a": value }))));
        assert!(told.contains(words), "{told}");
    };
    check(json!({ "scale": -1, "value": "MDk=" }), "a scale below 0");
    check(json!({ "value": "MDk=" }), "without the number `scale`");
    check(json!({ "value": "MDk=", "scale": 3 }), "a=12.345d");
}

#[test]
fn a_schema_is_read_once_and_each_value_by_its_own() {
    let mut bench = bench("");
    let row = |value: i64| change("c", None, Some(json!({ "at": value })));
    let of = |name: &str| vec![("at", json!({ "type": "int64", "name": name }))];
    let (micros, millis) =
        (of("io.debezium.time.MicroTimestamp"), of("io.debezium.time.Timestamp"));
    for _ in 0..2 {
        assert_eq!(bench.told(enveloped(&row(1), &micros)), "at=1us deleted=false");
        assert_eq!(bench.told(enveloped(&row(2), &micros)), "at=2us deleted=false");
        assert_eq!(bench.told(enveloped(&row(3), &millis)), "at=3ms deleted=false");
        assert_eq!(bench.told(bare(&row(4)).to_string()), "at=4i deleted=false");
    }
    // What is declared holds.
    let mut bench = super::tests::bench("types = { at = \"nano-timestamp\" }");
    assert_eq!(bench.told(enveloped(&row(5), &micros)), "at=5ns deleted=false");
    let refused = bench.told("{\"schema\":{\"a\":tru},\"payload\":{\"op\":\"c\"}}");
    assert!(refused.contains("its schema is not JSON"), "{refused}");
}

#[test]
fn avro_is_read_by_its_parts() {
    use apache_avro::types::Value::{Int, Long};
    let columns = [
        ("id", json!("int")),
        ("at", json!({ "type": "long", "connect.name": "io.debezium.time.MicroTimestamp" })),
    ];
    let schema = schema(&columns);
    let all =
        "op = \"op\"\nsource = [\"lsn\", \"ts_ms\"]\nbefore = \"was_\"\ntable = \"qualified\"";
    let mut bench = in_avro(&schema, all);
    let row = |id, at| Some(vec![("id", Some(Int(id))), ("at", at)]);
    let source = "source_lsn=23837048i source_ts_ms=1700000000123ms";
    let event = encoded(&schema, "c", None, row(1, Some(Long(7))));
    let created = format!("@public.orders id=1i at=7us {source} op=#c deleted=false");
    assert_eq!(bench.told(&event), created);
    let event = encoded(&schema, "u", row(1, None), row(1, Some(Long(7))));
    let was =
        format!("@public.orders id=1i at=7us was_id=1i was_at=null {source} op=#u deleted=false");
    assert_eq!(bench.told(&event), was);
    let event = encoded(&schema, "d", row(1, Some(Long(8))), None);
    let gone = format!(
        "DELETE @public.orders id=1i at=8us was_id=1i was_at=8us {source} op=#d deleted=true"
    );
    assert_eq!(bench.told(&event), gone);
    let refused = bench.told(encoded(&schema, "d", None, None));
    assert!(refused.contains("without `before`"), "{refused}");
    let refused = bench.told(encoded(&schema, "t", None, None));
    assert!(refused.contains("truncated"), "{refused}");
    for end in 0..event.len() {
        let refused = bench.told(&event[..end]);
        assert!(refused.starts_with("format "), "{end}: {refused}");
    }
    let heartbeat =
        r#"{"type":"record","name":"Heartbeat","fields":[{"name":"ts_ms","type":"long"}]}"#;
    let refused = in_avro(heartbeat, "").told([2]);
    assert!(refused.contains("a heartbeat"), "{refused}");
    let refused = in_avro("\"string\"", "").told([0]);
    assert!(refused.contains("an event is a record"), "{refused}");
}

#[test]
fn mistakes_in_the_options_are_told() {
    let refused = |more: &str, words: &str| {
        let value = format!("format = \"debezium\"\n{more}");
        let said = parsed(&value, "").expect_err("it is a mistake");
        assert!(said.contains(words), "{said}");
    };
    refused("", "rows of deletions would look like all others");
    refused("deletes = \"row\"", "rows of deletions would look like all others");
    refused("deletes = \"delete\"", "this sink deletes nothing");
    refused("deleted = \"\"", "it needs a name");
    refused("deleted = \"x\"\nop = \"x\"", "two columns have the name `x`");
    refused("deleted = \"x\"\ntypes = { a = \"money\" }", "there is no type `money`");
    refused("deleted = \"x\"\nunwrapped = true\nbefore = \"b_\"", "only its row");
    refused("deleted = \"x\"\nregistry.url = \"http://a\"", "encoding = \"avro\"");
    refused("deleted = \"x\"\nencoding = \"avro\"", "need a `registry`");
    refused("deleted = \"x\"\nsource = [\"\"]", "a field has a name");
    for fine in ["deletes = \"skip\"", "op = \"op\"", "deleted = \"d\"\ndeletes = \"row\""] {
        parsed(&format!("format = \"debezium\"\n{fine}"), "").expect("it is none");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        bench("").told(&bytes);
        let schema = schema(&[("a", json!("bytes"))]);
        in_avro(&schema, "source = [\"lsn\"]\nbefore = \"b_\"").told(&bytes);
    }
}
