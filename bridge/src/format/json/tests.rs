//! What each form of JSON becomes, shown as text; and that nothing makes the decoder panic.

use proptest::prelude::*;

use super::*;
use crate::batch::testing::batch;
use crate::format::{KeyPlan, NullValue, Single};
use crate::names::Names;

pub fn context(key: KeyPlan) -> DecoderContext {
    let admission = Admission { null_value: NullValue::Skip, record_bytes_max: 1_000 };
    DecoderContext { names: Arc::new(Names::default()), key, admission }
}

fn decoded(options: Options, context: &DecoderContext, key: &str, value: &[u8]) -> String {
    shown(&mut *options.decoder(context), context, key, value)
}

/// What a decoder makes of one record.
pub fn told(decoder: &mut dyn Format, context: &DecoderContext, value: &[u8]) -> String {
    shown(decoder, context, "k", value)
}

fn shown(decoder: &mut dyn Format, context: &DecoderContext, key: &str, value: &[u8]) -> String {
    let records = batch(vec![(Some(key.into()), Some(value.to_vec()))]);
    let (mut rows, mut rejects) = (RowBatch::default(), Rejects::default());
    decoder.decode(&records, &mut rows, &mut rejects).expect("only records are at fault");
    if let Some((_, stage, reason, detail)) = rejects.found.first() {
        assert!(rows.rows.is_empty(), "a rejected record leaves no row");
        return format!("{} {}: {detail}", stage.name(), reason.name());
    }
    let shown: Vec<String> = rows.rows.iter().map(|row| show(context, &rows, row)).collect();
    shown.join(" / ")
}

fn show(context: &DecoderContext, rows: &RowBatch, row: &Row) -> String {
    let cell = |cell: &bridge_abi::Cell| {
        let name = context.names.columns.name(cell.column).expect("interned");
        let value = match bridge_abi::Kind::from_u8(cell.kind).expect("a kind") {
            bridge_abi::Kind::Null => "null".to_owned(),
            bridge_abi::Kind::Bool => (cell.value != 0).to_string(),
            bridge_abi::Kind::I64 => format!("{}i", cell.value as i64),
            bridge_abi::Kind::F64 => match f64::from_bits(cell.value) {
                zero if zero == 0.0 && zero.is_sign_negative() => "-0".to_owned(),
                value => value.to_string(),
            },
            bridge_abi::Kind::Text => {
                format!("{:?}", std::str::from_utf8(rows.bytes_of(cell)).expect("UTF-8"))
            }
            bridge_abi::Kind::Array => {
                assert_eq!(cell.value % 8, 0, "arrays are aligned");
                let array = bridge_abi::value::array(rows.bytes_of(cell)).expect("an array");
                let shape: Vec<u32> = array.shape().collect();
                format!("{shape:?}{:?}", array.values().collect::<Vec<f64>>())
            }
            other => format!("{other:?}"),
        };
        format!("{name}={value}")
    };
    rows.cells_of(row).iter().map(cell).collect::<Vec<_>>().join(" ")
}

fn check(value: &str, expected: &str) {
    let context = context(KeyPlan::Ignore);
    assert_eq!(decoded(Options::default(), &context, "k", value.as_bytes()), expected, "{value}");
}

#[test]
fn every_form_becomes_what_is_stated() {
    check(r#"{"a":1,"b":-2.5,"c":"x","d":true,"e":null}"#, r#"a=1i b=-2.5 c="x" d=true e=null"#);
    check(r#"{"a":{"b":{"c":1},"d":2},"e":3}"#, "a_b_c=1i a_d=2i e=3i");
    check(r#"{"a":9223372036854775807}"#, "a=9223372036854775807i");
    check(r#"{"a":18446744073709551615}"#, "a=18446744073709552000");
    check(r#"{"a":18446744073709551616}"#, "a=18446744073709552000");
    check(r#"{"a":-9223372036854775809}"#, "a=-9223372036854776000");
    check(r#"{"a":1e3,"b":1.0}"#, "a=1000 b=1");
    check(r#"{"a":"q\"\u00e9\n"}"#, r#"a="q\"é\n""#);
    check(r#"{"a":1,"a":"last"}"#, r#"a="last""#);
    check(r#"{"a":[1,2.5]}"#, "a=[2][1.0, 2.5]");
    check(r#"{"a":[[1,2],[3,4]]}"#, "a=[2, 2][1.0, 2.0, 3.0, 4.0]");
    check(r#"{"a":[[1,2],[3]]}"#, r#"a="[[1,2],[3]]""#);
    check(r#"{"a":[{"b":"c\"d"},null]}"#, r#"a="[{\"b\":\"c\\\"d\"},null]""#);
    check(r#"{"a":[]}"#, r#"a="[]""#);
    check("{}", "");
}

#[test]
fn what_is_refused_and_why() {
    let refused = |value: &[u8], expected: &str| {
        let got = decoded(Options::default(), &context(KeyPlan::Ignore), "k", value);
        assert!(got.starts_with(expected), "{got:?} should begin with {expected:?}");
    };
    refused(b"", "format empty: ");
    refused(b"  ", "format empty: ");
    refused(b"{\"a\":", "format malformed: not JSON: ");
    refused(b"{\"a\":1}}", "format malformed: not JSON: ");
    refused(b"[1]", "format malformed: the value is not a JSON object");
    refused(b"7", "format malformed: the value is not a JSON object");
    refused(b"{\"a\":\"\xff\"}", "format invalid-utf8: not UTF-8 at byte 6");
    refused(&[b'['; 40], "format too-deep: ");
    refused(&[b' '; 2_000], "intake too-large: ");
}

#[test]
fn an_array_at_the_top_may_be_rows() {
    let rows = || Options { top_level_array: TopLevelArray::Rows, ..Options::default() };
    let context = context(KeyPlan::Ignore);
    let got = decoded(rows(), &context, "k", br#"[{"a":1},{"a":2,"b":3}]"#);
    assert_eq!(got, "a=1i / a=2i b=3i");
    let got = decoded(rows(), &context, "k", br#"[{"a":1},2]"#);
    assert_eq!(got, "format malformed: element 1 of the array is not an object");
}

#[test]
fn keys_become_columns() {
    let string = context(KeyPlan::Single { single: Single::String, column: "key".into() });
    assert_eq!(decoded(Options::default(), &string, "k1", b"{\"a\":1}"), "a=1i key=\"k1\"");
    let json = context(KeyPlan::Json { prefix: "key_".into(), column: "key".into() });
    let got = decoded(Options::default(), &json, "{\"id\":7}", b"{\"a\":1}");
    assert_eq!(got, "a=1i key_id=7i");
    assert_eq!(decoded(Options::default(), &json, "7", b"{\"a\":1}"), "a=1i key=7i");
    let got = decoded(Options::default(), &json, "{", b"{\"a\":1}");
    assert!(got.starts_with("format bad-key: the key: not JSON"), "{got}");
}

#[test]
fn null_values_are_skipped_or_rejected() {
    let mut context = context(KeyPlan::Ignore);
    let records = batch(vec![(None, None)]);
    let (mut rows, mut rejects) = (RowBatch::default(), Rejects::default());
    let decode = |context: &DecoderContext, rows: &mut RowBatch, rejects: &mut Rejects| {
        let decoded = Options::default().decoder(context).decode(&records, rows, rejects);
        decoded.expect("only records are at fault")
    };
    assert_eq!(decode(&context, &mut rows, &mut rejects).skipped, 1);
    assert!(rejects.is_empty());
    context.admission.null_value = NullValue::Reject;
    assert_eq!(decode(&context, &mut rows, &mut rejects).skipped, 0);
    assert_eq!(rejects.found[0].2, Reason::NullValue);
}

#[test]
fn null_values_may_be_rows_of_their_keys() {
    let mut context = context(KeyPlan::Json { prefix: String::new(), column: "key".into() });
    context.admission.null_value = NullValue::Delete;
    let records = batch(vec![
        (Some(b"{\"id\":7}".to_vec()), Some(b"{\"a\":1}".to_vec())),
        (Some(b"{\"id\":7}".to_vec()), None),
        (Some(b"{".to_vec()), None),
        (None, None),
    ]);
    let (mut rows, mut rejects) = (RowBatch::default(), Rejects::default());
    let decoded = Options::default().decoder(&context).decode(&records, &mut rows, &mut rejects);
    assert_eq!(decoded.expect("only records are at fault").skipped, 0);
    let shown: Vec<String> = rows
        .rows
        .iter()
        .map(|row| format!("{}: {}", row.source, show(&context, &rows, row)))
        .collect();
    assert_eq!(shown, ["0: a=1i id=7i", "1: id=7i", "3: "]);
    assert_eq!((rejects.found.len(), rejects.found[0].2), (1, Reason::BadKey));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        decoded(Options::default(), &context(KeyPlan::Ignore), "k", &bytes);
    }

    /// Flat objects, against an independent parser.
    #[test]
    fn numbers_and_strings_are_those_of_the_reference(
        int in any::<i64>(),
        float in any::<f64>().prop_filter("finite", |f| f.is_finite()),
        text in ".*",
    ) {
        let value = serde_json::json!({ "i": int, "f": float, "t": text }).to_string();
        prop_assume!(value.len() <= 1_000);
        let context = context(KeyPlan::Ignore);
        let records = batch(vec![(None, Some(value.into_bytes()))]);
        let (mut rows, mut rejects) = (RowBatch::default(), Rejects::default());
        let mut decoder = Options::default().decoder(&context);
        decoder.decode(&records, &mut rows, &mut rejects).expect("only records are at fault");
        prop_assert!(rejects.is_empty());
        let cells = rows.cells_of(&rows.rows[0]);
        prop_assert_eq!(cells[0].value as i64, int);
        prop_assert_eq!(f64::from_bits(cells[1].value), float);
        prop_assert_eq!(rows.bytes_of(&cells[2]), text.as_bytes());
    }
}
