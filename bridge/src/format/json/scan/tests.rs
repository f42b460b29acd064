//! What is scanned, what is passed on, and that neither names nor forms make it dear.

use super::*;
use crate::batch::testing::batch;
use crate::format::json::Decoder;
use crate::format::json::predict::tests::{SENSOR, decoder, read};

fn decode(decoder: &mut Decoder, text: &str) {
    read(decoder, &batch(vec![(None, Some(text.as_bytes().to_vec()))]));
}

/// Whether a document is scanned once others have been decoded.
fn is_scanned(before: &[&str], document: &str) -> bool {
    let mut decoder = decoder();
    before.iter().for_each(|text| decode(&mut decoder, text));
    decoder.scanner.read(document.as_bytes(), &mut RowBatch::default())
}

#[test]
fn known_names_may_come_in_any_order_and_however_spaced() {
    let before = r#"{"a":1,"b":{"c":2,"d":{"e":3}},"a name of more than sixteen bytes":4}"#;
    for document in [
        before,
        r#"{"b":{"d":{"e":"x"},"c":null},"a":-1.5}"#,
        " {\t\"a name of more than sixteen bytes\" :\n4 , \"a\"\r: 1 } \n",
        r#"{"b":{"d":{},"c":"\u00e9"}}"#,
        r#"{"b":{}}"#,
        "{}",
    ] {
        assert!(is_scanned(&[before], document), "{document}");
        assert!(!is_scanned(&[], document), "nothing is known at first: {document}");
    }
    // What is a column here and an object there; and what comes beside an array.
    let both = [r#"{"a":1}"#, r#"{"a":{"b":1},"c":[1]}"#];
    assert!(is_scanned(&both, r#"{"a":{"b":2},"a":3,"c":4}"#));
}

#[test]
fn what_is_not_plain_is_passed_on() {
    let before = r#"{"a":1,"b":{"c":2},"b_c":3}"#;
    for document in [
        r#"{"a":1,"a":2}"#,
        r#"{"b":{"c":2},"b_c":3}"#,
        r#"{"c":1}"#,
        r#"{"b":1}"#,
        r#"{"a":{"c":1}}"#,
        r#"{"b":{"a":1}}"#,
        r#"{"\u0061":1}"#,
        r#"{"a":[1]}"#,
        r#"{"a":1e3}"#,
        r#"{"a":9223372036854775808}"#,
        r#"{"a":1}}"#,
        r#"{"a":1}x"#,
        r#"{"a":1"#,
        r#"{"a":1,}"#,
        r#"{,"a":1}"#,
        r#"{"a":1,,"b":{}}"#,
        r#"{"b":{,}}"#,
        r#"{"a" 1}"#,
        r#"{"a"}"#,
        r#"{"a":}"#,
        r#"{"a":1 "b":{}}"#,
        r#"["a"]"#,
        r#""a":1}"#,
        "",
        " ",
        "{",
        "{\"",
        "\u{a0}{}",
    ] {
        assert!(!is_scanned(&[before], document), "{document}");
    }
}

#[test]
fn a_record_that_has_too_many_fields_is_passed_on() {
    let fields = |from: usize, to: usize| {
        let fields: Vec<String> = (from..to).map(|number| format!("\"f{number}\":1")).collect();
        format!("{{{}}}", fields.join(","))
    };
    let halves = [fields(0, CELLS_MAX), fields(CELLS_MAX, CELLS_MAX + 1)];
    let halves = [halves[0].as_str(), halves[1].as_str()];
    assert!(is_scanned(&halves, &fields(1, CELLS_MAX + 1)));
    assert!(!is_scanned(&halves, &fields(0, CELLS_MAX + 1)));
}

#[test]
fn names_that_never_come_again_are_not_learned_for_ever_and_take_no_more_room() {
    let mut decoder = decoder();
    let names = 20_000;
    let mut learned = 0;
    for number in 0..names {
        // As deep as may be, for objects do not become columns.
        let text = format!("{{\"{number}\":{{\"{number}\":{{}}}}}}");
        decode(&mut decoder, &text);
        let known =
            decoder.scanner.object(Document::new(text.as_bytes()), &mut RowBatch::default());
        learned += usize::from(known.is_ok());
    }
    assert!((32..500).contains(&learned), "learned {learned} times");
    let sizes = decoder.scanner.fields.sizes();
    let (places, bytes, levels) = sizes;
    assert!(places <= 16_384 && bytes <= 256 * 1_024 && levels <= 8_192, "{sizes:?}");
    decoder.scanner.budget = Budget::default();
    decode(&mut decoder, SENSOR);
    assert!(decoder.scanner.read(SENSOR.as_bytes(), &mut RowBatch::default()), "learned late");
}

#[test]
fn many_names_find_room_and_too_many_make_room() {
    let (mut decoder, mut rows) = (decoder(), RowBatch::default());
    let document = |number: usize| format!("{{\"name {number}\":1}}");
    for number in 0..6_000 {
        decoder.scanner.budget = Budget::default();
        decode(&mut decoder, &document(number));
        assert!(decoder.scanner.read(document(number).as_bytes(), &mut rows), "{number}");
        if number == 1_000 {
            let known = (0..=number)
                .filter(|number| decoder.scanner.read(document(*number).as_bytes(), &mut rows));
            assert!(known.count() == 1_001, "all have found a place");
        }
    }
    let Scanner { fields, .. } = &decoder.scanner;
    assert!(fields.sizes().0 <= 16_384, "{:?}", fields.sizes());
}

#[test]
fn a_name_is_seen_anew_in_each_record_also_when_their_number_begins_again() {
    let mut decoder = decoder();
    decode(&mut decoder, r#"{"a":1}"#);
    let mut scan = |text: &str| decoder.scanner.read(text.as_bytes(), &mut RowBatch::default());
    assert!(scan(r#"{"a":1}"#));
    assert!(!scan(r#"{"a":1,"a":2}"#));
    decoder.scanner.record = u32::MAX - 1;
    let mut scan = |text: &str| decoder.scanner.read(text.as_bytes(), &mut RowBatch::default());
    for _ in 0..4 {
        assert!(scan(r#"{"a":1}"#));
    }
}

#[test]
fn nothing_grows_in_steady_state() {
    let (mut decoder, mut rows) = (decoder(), RowBatch::default());
    decode(&mut decoder, SENSOR);
    let reversed: Vec<&str> = SENSOR.trim_matches(['{', '}']).split(',').rev().collect();
    let reversed = format!("{{{}}}", reversed.join(","));
    let mut rooms = || {
        rows.clear();
        for _ in 0..1_000 {
            assert!(decoder.scanner.read(reversed.as_bytes(), &mut rows));
        }
        let scanner = &decoder.scanner;
        let buffers = (rows.cells.capacity(), rows.arena.capacity());
        (buffers, scanner.fields.sizes(), scanner.seen.capacity())
    };
    let first = rooms();
    assert_eq!(rooms(), first);
}
