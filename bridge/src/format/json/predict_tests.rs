//! Records read by prediction against the same records read by the parser that knows all of JSON:
//! the same rows and the same refusals, whatever stands in them and whatever stood before.

use proptest::prelude::*;

use super::tests::{context, told};
use super::*;
use crate::format::KeyPlan;

/// A value as it is written: usual, unusual and wrong.
fn value() -> impl Strategy<Value = String> {
    let word = |word: &str| Just(word.to_owned());
    prop_oneof![
        8 => any::<i64>().prop_map(|n| n.to_string()),
        8 => (any::<i32>(), 0..1_000_000_u32).prop_map(|(whole, part)| format!("{whole}.{part}")),
        4 => any::<f64>().prop_filter("finite", |f| f.is_finite()).prop_map(|f| f.to_string()),
        4 => any::<f64>().prop_filter("finite", |f| f.is_finite()).prop_map(|f| format!("{f:e}")),
        8 => "[a-z0-9 ]{0,20}".prop_map(|text| format!("\"{text}\"")),
        4 => any::<String>().prop_map(|text| serde_json::json!(text).to_string()),
        2 => any::<String>().prop_map(|text| format!("\"{text}\"")),
        1 => word("true"),
        1 => word("false"),
        1 => word("null"),
        1 => word("-0"),
        1 => word("-0.0"),
        1 => word("0.10"),
        1 => word("01"),
        1 => word("1."),
        1 => word("1.e5"),
        1 => word("9007199254740993.5"),
        1 => word("123456789012345678901234567890"),
        1 => word("{\"a\":1}"),
        1 => word("[1,2]"),
        1 => word("[]"),
        1 => word("nul"),
        1 => word("\"\\u00e9\""),
        1 => word("\"\\x\""),
    ]
}

/// Some of a few names, mostly in the same order.
fn record() -> impl Strategy<Value = String> {
    const NAMES: [&str; 5] = ["ts", "a", "größe", "a b", "ts"];
    let fields = proptest::collection::vec((any::<bool>(), value()), NAMES.len());
    let spaces = prop_oneof![4 => Just(("", "")), 2 => Just((" ", " ")), 1 => Just(("  ", "\t"))];
    (fields, spaces, 0..10_u8, any::<prop::sample::Index>(), any::<u8>()).prop_map(
        |(fields, (colon, comma), damage, place, byte)| {
            let named = NAMES.iter().zip(fields).enumerate();
            // The last name is there twice, now and then.
            let there = named.filter(|(at, (_, (there, _)))| *there || *at < 2);
            let there = there.filter(|(at, _)| *at < 4 || damage == 2);
            let fields: Vec<String> =
                there.map(|(_, (name, (_, value)))| format!("\"{name}\":{colon}{value}")).collect();
            let text = format!("{{{}}}", fields.join(&format!(",{comma}")));
            match damage {
                0 => text.chars().take(place.index(text.chars().count())).collect(),
                1 => {
                    let mut bytes = text.into_bytes();
                    let at = place.index(bytes.len());
                    bytes[at] = byte & 0x7F;
                    String::from_utf8_lossy(&bytes).into_owned()
                }
                _ => text,
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn what_is_predicted_is_what_is_parsed(
        records in proptest::collection::vec(record(), 1..12),
        invalid in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let mut records: Vec<Vec<u8>> = records.into_iter().map(String::into_bytes).collect();
        if let Some(at) = invalid {
            let count = records.len();
            let record = &mut records[at.index(count)];
            let middle = record.len() / 2;
            if let Some(byte) = record.get_mut(middle) {
                *byte = 0xFF;
            }
        }
        let context = context(KeyPlan::Ignore);
        let mut decoder = Options::default().decoder(&context);
        for record in records.iter().chain(&records) {
            let alone = told(&mut *Options::default().decoder(&context), &context, record);
            let predicted = told(&mut *decoder, &context, record);
            prop_assert_eq!(predicted, alone, "{}", record.escape_ascii());
        }
    }
}
