//! The decoder with what it has learned, against decoders that have learned nothing: the same rows
//! and the same rejects, whatever comes in whatever order.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::batch::RecordBatch;
use crate::batch::testing::{Pair, batch};
use crate::format::json::budget::{LEARNING_COST, PATIENCE, TRIED};
use crate::format::json::{Decoder, Options, TopLevelArray};
use crate::format::{Admission, DecoderContext, Format, KeyPlan, NullValue};
use crate::names::Names;
use crate::reject::Rejects;

pub const SENSOR: &str = r#"{"ts":1700000000123456,"sensor":"s-00123","site":"berlin","temperature":21.53,"humidity":40.1,"pressure":1013.2,"seq":123456,"ok":true}"#;

fn context(key: KeyPlan) -> DecoderContext {
    let admission = Admission { null_value: NullValue::Reject, record_bytes_max: 100_000 };
    DecoderContext { names: Arc::new(Names::default()), key, admission }
}

fn options() -> Options {
    Options { top_level_array: TopLevelArray::Rows, depth_max: 3, ..Options::default() }
}

pub fn decoder() -> Decoder {
    Decoder::new(&options(), &context(KeyPlan::Ignore))
}

/// Decodes a batch for what is learned from it.
pub fn read(decoder: &mut Decoder, records: &RecordBatch) {
    let decoded = decoder.decode(records, &mut RowBatch::default(), &mut Rejects::default());
    decoded.expect("only records are at fault");
}

/// One decoder for all records, and a new one for each.
struct Pipelines {
    learning: (Decoder, RowBatch, Rejects),
    /// Whether what was learned is used to predict; else what is left is to scan.
    predicts: bool,
    naive: (DecoderContext, RowBatch, Rejects),
}

impl Pipelines {
    fn new(predicts: bool) -> Pipelines {
        let key = || KeyPlan::Json { prefix: "key_".into(), column: "key".into() };
        let decoder = Decoder::new(&options(), &context(key()));
        Pipelines {
            learning: (decoder, RowBatch::default(), Rejects::default()),
            predicts,
            naive: (context(key()), RowBatch::default(), Rejects::default()),
        }
    }

    /// Decodes a record in both ways; whether the outcome is the same.
    fn agree_on(&mut self, pair: Pair) -> Result<(), TestCaseError> {
        let shown = pair.1.as_deref().map(String::from_utf8_lossy).map(String::from);
        let records = batch(vec![pair]);
        let (decoder, rows, rejects) = &mut self.learning;
        if !self.predicts {
            decoder.predictor = Predictor::default();
        }
        decoder.decode(&records, rows, rejects).expect("only records are at fault");
        let (context, expected, refused) = &mut self.naive;
        let naive = Decoder::new(&options(), context).decode(&records, expected, refused);
        naive.expect("only records are at fault");
        prop_assert_eq!(&rows.cells, &expected.cells, "{:?}", shown);
        prop_assert_eq!(&rows.arena, &expected.arena, "{:?}", shown);
        prop_assert_eq!(format!("{:?}", rows.rows), format!("{:?}", expected.rows));
        prop_assert_eq!(format!("{:?}", rejects.found), format!("{:?}", refused.found));
        rejects.found.clear();
        refused.found.clear();
        if rows.rows.len() > 100 {
            rows.clear();
            expected.clear();
        }
        Ok(())
    }

    fn check(&mut self, value: &[u8]) {
        self.agree_on((None, Some(value.to_vec()))).expect("the same");
    }
}

/// A name as it stands in the document, quotes included; some are the same to those who unescape.
fn name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        r#""a""#,
        r#""b""#,
        r#""c""#,
        r#""\u0061""#,
        r#""a_b""#,
        r#""""#,
        r#""é\"\\""#,
        r#""a name that is longer than sixteen bytes""#,
        r#""a name that is longer than sixteen too""#,
    ])
}

fn number_text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<i64>().prop_map(|number| number.to_string()),
        (-1000_i64..1000).prop_map(|number| number.to_string()),
        any::<f64>().prop_map(|number| number.to_string()),
        any::<f32>().prop_map(|number| format!("{number:e}")),
        "-?[0-9]{1,24}",
        "-?[0-9]{0,10}\\.[0-9]{0,12}",
        "-?(0|[1-9][0-9]{0,5})(\\.[0-9]{1,4})?([eE][+-]?[0-9]{0,3})?",
    ]
}

fn value_text() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => number_text(),
        4 => "[ -!#-\\[\\]-~]{0,40}".prop_map(|text| format!("\"{text}\"")),
        2 => "\\PC{0,12}".prop_map(|text| format!("\"{text}\"")),
        1 => "(\\\\(n|\"|\\\\|u00e9|ud83d|ude00|x)|[a-z]){0,9}".prop_map(|text| format!("\"{text}\"")),
        1 => ".{0,6}".prop_map(|text| format!("\"{text}\"")),
        3 => prop::sample::select(vec!["true", "false", "null"]).prop_map(String::from),
        1 => prop::sample::select(vec![
            "{}", "[]", "[1,2.5]", "[[1],[2]]", "[\"x\",{\"y\":1}]", "{\"a\":1}", "{\"b\":{\"a\":\"}\"}}",
            "tru", "True", "nulll", "", " ", "NaN", "\"", "{", "}", "1 2", "[[[[1]]]]",
        ]).prop_map(String::from),
    ]
}

/// The structure of a document: names in any order, a nested object after each so-manieth, and
/// white space.
#[derive(Clone, Debug)]
struct Form {
    names: Vec<(&'static str, bool)>,
    white: [&'static str; 3],
}

impl Form {
    /// The names begin with one of them and go on in a circle.
    fn filled(&self, values: &[String], first: usize) -> Vec<u8> {
        let [inside, comma, colon] = self.white;
        let mut text = format!("{{{inside}");
        let (behind, before) = self.names.split_at(first % self.names.len().max(1));
        for (index, (name, opens)) in before.iter().chain(behind).enumerate() {
            let separator = if text.ends_with('{') || index == 0 { "" } else { "," };
            let open = if *opens { "{" } else { "" };
            let value = &values[index % values.len()];
            let inner = if *opens { format!("\"in\":{colon}{value}") } else { value.clone() };
            let close = if *opens { "}" } else { "" };
            text += &format!("{separator}{comma}{name}:{colon}{open}{inner}{close}");
        }
        (text + inside + "}" + inside).into_bytes()
    }
}

fn form() -> impl Strategy<Value = Form> {
    let white = prop::sample::select(vec![["", "", ""], ["", " ", " "], ["\n", "\n  ", " \t"]]);
    let names = prop::collection::vec((name(), prop::bool::weighted(0.2)), 0..6);
    (names, white).prop_map(|(names, white)| Form { names, white })
}

/// What is done to a document: mostly nothing.
fn damage() -> impl Strategy<Value = Option<(prop::sample::Index, Option<u8>)>> {
    let byte = prop_oneof![any::<u8>(), prop::sample::select(b"\"\\{}[],: 0.-e\x1f\x80".to_vec())];
    prop::option::weighted(0.2, (any::<prop::sample::Index>(), prop::option::of(byte)))
}

fn damaged(mut bytes: Vec<u8>, damage: Option<(prop::sample::Index, Option<u8>)>) -> Vec<u8> {
    match damage {
        Some((at, Some(byte))) if !bytes.is_empty() => {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        Some((at, None)) => bytes.truncate(at.index(bytes.len() + 1)),
        _ => {}
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn what_was_learned_changes_nothing(
        forms in prop::collection::vec(form(), 1..4),
        documents in prop::collection::vec(
            (
                0_usize..4,
                prop_oneof![2 => Just(0), 1 => 0_usize..6],
                prop::collection::vec(value_text(), 1..6),
                damage(),
            ),
            1..40,
        ),
        keys in prop::collection::vec(prop::option::of("(\\{\"a\":1\\}|[a-z]|7)"), 1..3),
    ) {
        let mut pipelines = [true, false].map(Pipelines::new);
        for (index, (form, first, values, damage)) in documents.into_iter().enumerate() {
            let value = damaged(forms[form % forms.len()].filled(&values, first), damage);
            let key = keys[index % keys.len()].clone().map(String::into_bytes);
            for pipelines in &mut pipelines {
                pipelines.agree_on((key.clone(), Some(value.clone())))?;
            }
        }
    }
}

#[test]
fn every_byte_may_be_another_and_every_one_the_last() {
    let nested = r#"{ "a": {"b": "xé", "c": -1.5}, "d": {}, "e": null}"#;
    let unusual = r#"{"a":{"b":"\u00e9"},"c":-1e5,"d":[1,{"x":2}],"e":null}"#;
    let plain = r#"{"a":{"b":"é"},"c":-0.5,"d":false,"e":12345678.5}"#;
    for (document, predicts) in
        [SENSOR, nested, unusual, plain].iter().flat_map(|text| [(*text, true), (*text, false)])
    {
        let mut pipelines = Pipelines::new(predicts);
        for at in 0..document.len() {
            pipelines.check(&document.as_bytes()[..at]);
            let mut other = document.as_bytes().to_vec();
            for byte in 0..=255 {
                // So that it is not given up.
                if byte % 16 == 0 {
                    pipelines.check(document.as_bytes());
                }
                other[at] = byte;
                pipelines.check(&other);
            }
        }
    }
}

#[test]
fn escapes_are_what_the_other_parser_makes_of_them() {
    let texts = [
        r"\n\r\t\b\f\/\\\u0041",
        r#"\""#,
        r"\u00e9é\u20ac\uD83D\uDE00",
        r"\u0000",
        r"\ud83d",
        r"\ude00",
        r"\ud83d\ude00 \ud83d\u0041",
        r"\ud83dx",
        r"\ud83d\n",
        r"\u12",
        r"\u12g4",
        r"\u+123",
        r"\x",
        r"\",
        "\\n\u{1}",
        r"a text that is longer than sixteen bytes, \u00fc and more than those behind it",
    ];
    for predicts in [true, false] {
        let mut pipelines = Pipelines::new(predicts);
        for text in texts {
            pipelines.check(br#"{"a":"plain"}"#);
            pipelines.check(format!(r#"{{"a":"{text}"}}"#).as_bytes());
            pipelines.check(format!(r#"{{"a":"before {text} behind"}}"#).as_bytes());
            let broken: &[&[u8]] = &[b"{\"a\":\"\xc3", text.as_bytes(), b"\xa9\"}"];
            pipelines.check(&broken.concat());
        }
    }
}

/// Whether a document is predicted once others have been decoded.
fn is_predicted(before: &[&str], document: &str) -> bool {
    let mut decoder = decoder();
    let pairs = before.iter().map(|text| (None, Some(text.as_bytes().to_vec()))).collect();
    read(&mut decoder, &batch(pairs));
    decoder.predictor.read(document.as_bytes(), &mut RowBatch::default())
}

#[test]
fn records_like_earlier_ones_are_predicted() {
    let other = SENSOR.replace("1.53", ".5").replace("true", "null").replace("berlin", "zürich");
    assert!(!is_predicted(&[], SENSOR), "nothing is known at first");
    assert!(is_predicted(&[SENSOR], SENSOR));
    assert!(is_predicted(&[SENSOR], &other));
    // As Python writes it, as a person reads it, with objects within, with fields that come and
    // go; and each beside the others.
    let spaced = SENSOR.replace(",\"", ", \"").replace("\":", "\": ");
    let broken = SENSOR.replace(",\"", ",\n    \"") + "\n";
    let nested =
        SENSOR.replace("\"sensor\":", "\"from\":{\"sensor\":").replace("\",\"temp", "\"},\"temp");
    let shorter = SENSOR.replace("\"humidity\":40.1,", "");
    let first = SENSOR.replace(",\"ok\":true", "");
    let all = [SENSOR, &spaced, &broken, &nested, &shorter, &first];
    for document in all {
        assert!(is_predicted(&all, document), "{document}");
        assert_eq!(is_predicted(&[SENSOR], document), document == SENSOR, "{document}");
    }
}

#[test]
fn escapes_are_predicted() {
    let escaped = SENSOR.replace("berlin", r#"\"z\u00fcrich\"\n"#);
    assert!(is_predicted(&[SENSOR], &escaped));
    assert!(is_predicted(&[&escaped], SENSOR));
}

#[test]
fn what_is_unusual_is_not_predicted() {
    for (before, document) in [
        (r#"{"a":1,"a":2}"#, r#"{"a":1,"a":2}"#),
        (r#"{"a_b":1,"a":{"b":2}}"#, r#"{"a_b":1,"a":{"b":2}}"#),
        (r#"{"a":[1]}"#, r#"{"a":[1]}"#),
        (r#"{"a":[{"b":1}]}"#, r#"{"a":[{"b":1}]}"#),
        (r#"{"a":[1,2]}"#, r#"{"a":5,2]}"#),
        (r#"[{"a":1}]"#, r#"[{"a":1}]"#),
        (r#"{"a":1}"#, r#"{"a":"\ud83d"}"#),
        (r#"{"a":1}"#, r#"{"a":"x\y"}"#),
        (r#"{"a":1}"#, r#"{"a":1e3}"#),
        (r#"{"a":1}"#, r#"{"a":9223372036854775808}"#),
        (r#"{"a":1}"#, r#"{"a":1}}"#),
        (r#"{"a":1}"#, r#"{"a":1"#),
    ] {
        assert!(!is_predicted(&[before], document), "{before} then {document}");
    }
    assert!(is_predicted(&[r#"{"a":{}}"#, r#"{"a":1e3}"#], r#"{"a":{}}"#), "nothing but names");
}

#[test]
fn forms_that_never_come_again_are_not_learned_for_ever() {
    let mut decoder = decoder();
    let mut is_learned = |text: String| {
        let records = batch(vec![(None, Some(text.clone().into_bytes()))]);
        read(&mut decoder, &records);
        let document = Document::new(text.as_bytes());
        decoder.predictor.follow(document, &mut RowBatch::default()).is_some()
    };
    let learned = (0..2_000).filter(|index| is_learned(format!("{{\"a{index}\":1}}"))).count();
    assert!(learned < 150, "learned {learned} times");
    // A stream that becomes regular is learned all the same.
    let found =
        (0..LEARNING_COST).any(|seq| is_learned(SENSOR.replace("456,", &format!("{seq},"))));
    assert!(found, "learned late, but learned");
}

#[test]
fn a_stream_of_unusual_records_is_seldom_tried_and_comes_back() {
    let mut decoder = decoder();
    let mut decode = |text: &str, times: usize| {
        let pairs = (0..times).map(|_| (None, Some(text.as_bytes().to_vec()))).collect();
        read(&mut decoder, &batch(pairs));
        decoder.predictor.budget.misses()
    };
    assert_eq!(decode(SENSOR, 10), 0, "all but the first are as predicted");
    let unusual = SENSOR.replace("40.1", "4e1");
    assert_eq!(decode(&unusual, 1_000), 1_000);
    let tried = (1_000..1_000 + TRIED).find(|misses| misses.is_multiple_of(TRIED));
    assert_eq!(tried.map(|tried| decode(SENSOR, (tried - 1_000) as usize + 1)), Some(0));
    assert_eq!(decode(&unusual, PATIENCE as usize + 1), PATIENCE + 1);
    assert_eq!(decode(SENSOR, 1), PATIENCE + 2, "not tried");
    assert_eq!(decode(SENSOR, TRIED as usize), 0);
}

#[test]
fn nothing_grows_in_steady_state() {
    let mut decoder = decoder();
    let (mut rows, mut rejects) = (RowBatch::default(), Rejects::default());
    let records = batch((0..1_000).map(|_| (None, Some(SENSOR.into()))).collect());
    let mut rooms = || {
        rows.clear();
        decoder.decode(&records, &mut rows, &mut rejects).expect("only records are at fault");
        assert_eq!((rows.rows.len(), rejects.is_empty()), (1_000, true));
        let buffers = (rows.rows.capacity(), rows.cells.capacity(), rows.arena.capacity());
        (buffers, decoder.predictor.literals.capacity(), decoder.predictor.trie.sizes())
    };
    let first = rooms();
    assert_eq!(rooms(), first);
}
