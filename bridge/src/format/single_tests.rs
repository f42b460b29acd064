//! One value in one column: every type in both forms, as value and as key, and what is refused.

use proptest::prelude::*;

use crate::format::testing::{Bench, parsed};

fn check(options: &str, value: impl AsRef<[u8]>, expected: &str) {
    let mut bench = Bench::new(options, "");
    assert_eq!(bench.told(value), expected, "{options}");
}

#[test]
fn bytes_as_kafkas_serializers_write_them() {
    check("format = \"i16\"", (-2_i16).to_be_bytes(), "value=-2i");
    check("format = \"i32\"\ncolumn = \"n\"", [0, 0, 1, 0], "n=256i");
    check("format = \"i64\"", i64::MIN.to_be_bytes(), "value=-9223372036854775808i");
    check("format = \"f32\"", [0x3f, 0xc0, 0, 0], "value=1.5");
    check("format = \"f64\"", [0xc0, 0x04, 0, 0, 0, 0, 0, 0], "value=-2.5");
    check("format = \"bool\"", [1], "value=true");
    check("format = \"bool\"", [0], "value=false");
    let uuid = "6ba7b810-9dad-11d1-80b4-00c04fd430c8";
    check("format = \"uuid\"", uuid.to_uppercase(), &format!("value=\"{uuid}\""));
    let bytes = [0x6b, 0xa7, 0xb8, 0x10, 0x9d, 0xad, 0x11, 0xd1];
    let bytes = [bytes, [0x80, 0xb4, 0x00, 0xc0, 0x4f, 0xd4, 0x30, 0xc8]].concat();
    check("format = \"uuid\"\nwritten = \"binary\"", bytes, &format!("value=\"{uuid}\""));
}

#[test]
fn the_same_as_text() {
    for (format, text, expected) in [
        ("i16", "-32768", "value=-32768i"),
        ("i32", "+7", "value=7i"),
        ("i64", "007", "value=7i"),
        ("f32", "0.5", "value=0.5"),
        ("f64", "2.5e3", "value=2500"),
        ("f64", "NaN", "value=NaN"),
        ("bool", "true", "value=true"),
        ("bool", "false", "value=false"),
    ] {
        check(&format!("format = \"{format}\"\nwritten = \"text\""), text, expected);
    }
    check("format = \"string\"\ncolumn = \"line\"", "a \u{e4}\n", "line=\"a ä\\n\"");
    check("format = \"string\"", "", "value=\"\"");
    check("format = \"raw\"", "a", "value=\"a\"");
    check("format = \"raw\"", b"\xff\xfe\xfd\x00", "value=\"//79AA==\"");
}

#[test]
fn what_is_refused_and_why() {
    let refused = |format: &str, written: &str, value: &[u8], expected: &str| {
        let options = format!("format = \"{format}\"\nwritten = \"{written}\"");
        let told = Bench::new(&options, "").told(value);
        assert_eq!(told, format!("format malformed: the value {expected}"));
    };
    let hint = "; for a number in digits there is written = \"text\"";
    let expected = "has 3 bytes, and as i64 it must be 8 bytes";
    refused("i64", "binary", b"123", &format!("{expected}{hint}"));
    let expected = "is the byte 2, and as bool it must be one byte, 1 or 0";
    refused("bool", "binary", &[2], &format!("{expected}{hint}"));
    refused(
        "i16",
        "text",
        b"40000",
        "is \"40000\", and as i16 it must be a whole number within 16 bits",
    );
    refused("i32", "text", b" 1", "is \" 1\", and as i32 it must be a whole number within 32 bits");
    refused("f64", "text", b"", "is \"\", and as f64 it must be a number");
    refused("bool", "text", b"TRUE", "is \"TRUE\", and as bool it must be true or false");
    refused(
        "uuid",
        "text",
        b"6ba7b810",
        "is \"6ba7b810\", and as uuid it must be a UUID of 36 letters",
    );
    refused("uuid", "binary", b"6ba7b810", "has 8 bytes, and as uuid it must be 16 bytes");
    let told = Bench::new("format = \"string\"", "").told(b"ab\xff");
    assert_eq!(told, "format invalid-utf8: the value is not UTF-8 at byte 2");
}

#[test]
fn keys_are_read_in_the_same_way() {
    let mut bench = Bench::new("format = \"json\"", "format = \"i32\"\nwritten = \"text\"");
    assert_eq!(bench.told_of("42", "{\"a\":1}"), "a=1i key=42i");
    let told = bench.told_of("x", "{\"a\":1}");
    assert!(told.starts_with("format bad-key: the key is \"x\", and as i32"), "{told}");
    let mut bench = Bench::new("format = \"string\"", "format = \"raw\"\ncolumn = \"k\"");
    assert_eq!(bench.told_of("a", "v"), "value=\"v\" k=\"a\"");
}

#[test]
fn mistakes_in_options() {
    let wrong = parsed("format = \"i32\"\ncolumn = \"\"", "").expect_err("no name");
    assert!(wrong.contains("a column needs a name"), "{wrong}");
    let wrong = parsed("format = \"string\"\nwritten = \"text\"", "").expect_err("not its own");
    assert!(wrong.contains("unknown key `written`"), "{wrong}");
    let wrong = parsed("", "format = \"json\"\nwritten = \"text\"").expect_err("not its own");
    assert!(wrong.contains("pipeline.p.key.written"), "{wrong}");
}

proptest! {
    /// Whatever was written is read again; no bytes make it panic.
    #[test]
    fn values_come_back(long in any::<i64>(), double in any::<f64>(), bytes in any::<Vec<u8>>()) {
        let told = |options: &str, value: &[u8]| Bench::new(options, "").told(value);
        let text = "written = \"text\"";
        prop_assert_eq!(told("format = \"i64\"", &long.to_be_bytes()), format!("value={long}i"));
        let long_text = long.to_string();
        let options = format!("format = \"i64\"\n{text}");
        prop_assert_eq!(told(&options, long_text.as_bytes()), format!("value={long}i"));
        prop_assert_eq!(told("format = \"f64\"", &double.to_be_bytes()), format!("value={double}"));
        for format in ["i16", "i32", "i64", "f32", "f64", "bool", "uuid"] {
            told(&format!("format = \"{format}\""), &bytes);
            told(&format!("format = \"{format}\"\n{text}"), &bytes);
        }
        told("format = \"raw\"", &bytes);
        told("format = \"string\"", &bytes);
    }
}
