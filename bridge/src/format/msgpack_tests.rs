//! What each form of MessagePack becomes, by the bytes of its specification; against JSON, written
//! by another library.

use proptest::prelude::*;

use crate::format::testing::Bench;

fn bench(options: &str) -> Bench {
    Bench::new(&format!("format = \"msgpack\"\n{options}"), "")
}

/// A map with this value as `a`.
fn of(value: &[u8]) -> Vec<u8> {
    [&[0x81, 0xa1, b'a'], value].concat()
}

#[track_caller]
fn check(value: &[u8], expected: &str) {
    assert_eq!(bench("").told(of(value)), expected, "{value:x?}");
}

#[test]
fn every_form_becomes_what_is_stated() {
    check(&[0x7f], "a=127i");
    check(&[0xe0], "a=-32i");
    check(&[0xcc, 0xff], "a=255i");
    check(&[0xcd, 1, 0], "a=256i");
    check(&[0xce, 0xff, 0xff, 0xff, 0xff], "a=4294967295i");
    check(&[0xcf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], "a=18446744073709552000");
    check(&[0xd0, 0x80], "a=-128i");
    check(&[0xd1, 0x80, 0], "a=-32768i");
    check(&[0xd2, 0x80, 0, 0, 0], "a=-2147483648i");
    check(&[0xd3, 0x80, 0, 0, 0, 0, 0, 0, 0], "a=-9223372036854775808i");
    check(&[0xca, 0x3f, 0xc0, 0, 0], "a=1.5");
    check(&[0xcb, 0x40, 0, 0, 0, 0, 0, 0, 0], "a=2");
    check(&[0xca, 0x7f, 0x80, 0, 0], "a=null");
    check(&[0xc0], "a=null");
    check(&[0xc2], "a=false");
    check(&[0xc3], "a=true");
    check(&[0xa3, b'x', b'"', b'\n'], "a=\"x\\\"\\n\"");
    check(&[0xd9, 1, b'x'], "a=\"x\"");
    check(&[0xda, 0, 1, b'x'], "a=\"x\"");
    check(&[0xdb, 0, 0, 0, 1, b'x'], "a=\"x\"");
    check(&[0xc4, 2, 0, 0xff], "a=\"AP8=\"");
    check(&[0xd4, 5, 0xff], "a=\"/w==\"");
    check(&[0xc7, 2, 5, 0, 0xff], "a=\"AP8=\"");
    check(&[0x81, 0xa1, b'b', 1], "a_b=1i");
    check(&[0xde, 0, 1, 0x05, 1], "a_5=1i");
    check(&[0x92, 1, 0xc0], "a=\"[1,null]\"");
    check(&[0x92, 1, 2], "a=[1.0, 2.0]");
}

#[test]
fn timestamps_are_text() {
    check(&[0xd6, 0xff, 0, 0, 0, 1], "a=\"1970-01-01T00:00:01Z\"");
    let half = (500_000_000_u64 << 34 | 1_700_000_000).to_be_bytes();
    check(&[&[0xd7, 0xff][..], &half].concat(), "a=\"2023-11-14T22:13:20.5Z\"");
    let early = [&500_000_000_u32.to_be_bytes()[..], &(-1_i64).to_be_bytes()].concat();
    check(&[&[0xc7, 12, 0xff][..], &early].concat(), "a=\"1969-12-31T23:59:59.5Z\"");
    let never =
        "format malformed: the timestamp at byte 6 is none between the years -9999 and 9999";
    check(&[&[0xc7, 12, 0xff][..], &[0xff; 12]].concat(), never);
}

#[test]
fn what_is_refused_and_why() {
    let refused = |value: &[u8], expected: &str| assert_eq!(bench("").told(value), expected);
    refused(b"", "format empty: the value has no bytes");
    refused(b"\x01", "format malformed: the value is not a MessagePack map");
    refused(b"{}", "format malformed: the value is not a MessagePack map");
    refused(b"\x80\x80", "format malformed: 1 bytes more behind the value");
    refused(b"\x81\xa1a\xc1", "format malformed: the byte 0xc1, which means nothing, at byte 3");
    let cut = "format malformed: cut short: 5 bytes should stand at byte 4, and 1 are left";
    refused(b"\x81\xa1a\xa5x", cut);
    let cut = "format malformed: cut short: 1 bytes should stand at byte 5, and 0 are left";
    refused(b"\xdf\xff\xff\xff\xff", cut);
    refused(
        b"\x81\xa1a\xa1\xff",
        "format invalid-utf8: the text at byte 4 is not UTF-8: \"\u{fffd}\"",
    );
    let name = "format malformed: a map's name at byte 1 is neither text nor a whole number";
    refused(b"\x81\xc0\x01", name);
    let mut deep = vec![0x81, 0xa1, b'a'];
    deep.extend_from_slice(&[0x91; 40]);
    refused(&deep, "format too-deep: nested deeper than 32");
    refused(b"\x91\x80", "format malformed: the value is not a JSON object");
    let rows = bench("top_level_array = \"rows\"").told(b"\x92\x81\xa1a\x01\x81\xa1a\x02");
    assert_eq!(rows, "a=1i / a=2i");
}

/// Any JSON, not deep.
fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(serde_json::Value::from),
        any::<i64>().prop_map(serde_json::Value::from),
        any::<u64>().prop_map(serde_json::Value::from),
        any::<f64>()
            .prop_filter("finite", |value| value.is_finite())
            .prop_map(serde_json::Value::from),
        "(?s).{0,8}".prop_map(serde_json::Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
            prop::collection::vec(("[a-c]{1,2}", inner), 0..4)
                .prop_map(|pairs| { serde_json::Value::Object(pairs.into_iter().collect()) }),
        ]
    })
}

proptest! {
    /// What another library writes is read as the JSON that it was written from.
    #[test]
    fn maps_are_read_as_their_json(value in prop::collection::vec(("[a-d]{1,2}", json()), 0..5)) {
        let value = serde_json::Value::Object(value.into_iter().collect());
        let packed = rmp_serde::to_vec(&value).expect("it can be written");
        let read = Bench::new("format = \"json\"", "").told(value.to_string());
        prop_assert_eq!(bench("").told(packed), read);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        bench("").told(&bytes);
        bench("").told(of(&bytes));
    }
}
