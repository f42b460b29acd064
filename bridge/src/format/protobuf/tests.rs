//! What each type becomes, shown as text; presence, repetition and merging; how values name their
//! schemas; and what hostile bytes are refused with.

use proptest::prelude::*;

use super::*;
use crate::batch::testing::batch;
use crate::config::Section;
use crate::format::testing::{context, told};

/// The format by its section.
pub fn plan(toml: &str) -> Box<dyn FormatPlan> {
    let section = Section::new("value", toml.parse().expect("it is TOML"));
    (KIND.parse)(&section).unwrap_or_else(|mistake| panic!("{}", mistake.message))
}

/// The format for bare values of the message `M` of a text, and keys besides.
pub fn bare(schema: &str, more: &str) -> Box<dyn FormatPlan> {
    plan(&format!("message = \"M\"\nschema = '''{schema}'''\n{more}"))
}

pub fn one(plan: &dyn FormatPlan, value: &[u8]) -> String {
    told(plan, vec![(None, Some(value.to_vec()))]).remove(0)
}

/// `M` with these fields, in proto3.
fn three(fields: &str) -> String {
    format!(
        "syntax = \"proto3\";
        import \"google/protobuf/timestamp.proto\"; import \"google/protobuf/duration.proto\";
        import \"google/protobuf/wrappers.proto\"; import \"google/protobuf/struct.proto\";
        import \"google/protobuf/any.proto\"; import \"google/protobuf/field_mask.proto\";
        import \"google/protobuf/empty.proto\"; import \"google/type/date.proto\";
        import \"google/type/money.proto\"; import \"confluent/type/decimal.proto\";
        enum E {{ ZERO = 0; ONE = 1; TEN = 10; }}
        message P {{ int32 x = 1; optional string y = 2; }}
        message M {{ {fields} }}"
    )
}

/// What becomes of a value of `M` with these fields, in proto3.
fn check(fields: &str, value: &[u8], expected: &str) {
    check_with(fields, "", value, expected);
}

fn check_with(fields: &str, more: &str, value: &[u8], expected: &str) {
    let said = one(&*bare(&three(fields), more), value);
    assert_eq!(said, expected, "{fields} {value:?}");
}

pub fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

/// A field by its number, the form of its content, and the content.
fn field(number: u64, form: u8, content: &[u8]) -> Vec<u8> {
    [&varint(number << 3 | u64::from(form))[..], content].concat()
}

/// A field that is a number.
pub fn int(number: u64, value: i64) -> Vec<u8> {
    field(number, wire::VARINT, &varint(value as u64))
}

/// A field behind its length.
pub fn len(number: u64, content: &[u8]) -> Vec<u8> {
    field(number, wire::LENGTH, &[&varint(content.len() as u64)[..], content].concat())
}

#[test]
fn every_scalar_becomes_what_is_stated() {
    check("double a = 1;", &field(1, 1, &(-0.1_f64).to_le_bytes()), "a=-0.1");
    check("float a = 1;", &field(1, 5, &0.5_f32.to_le_bytes()), "a=0.5");
    check("int32 a = 1;", &int(1, -2), "a=-2i");
    check("int32 a = 1;", &int(1, 1 << 32 | 7), "a=7i");
    check("int64 a = 1;", &int(1, i64::MIN), "a=-9223372036854775808i");
    check("uint32 a = 1;", &int(1, -1), "a=4294967295i");
    check("uint64 a = 1;", &int(1, i64::MAX), "a=9223372036854775807i");
    check("uint64 a = 1;", &int(1, -1), "a=18446744073709552000");
    check("sint32 a = 1;", &int(1, 3), "a=-2i");
    check("sint64 a = 1;", &int(1, -1), "a=-9223372036854775808i");
    check("fixed32 a = 1;", &field(1, 5, &u32::MAX.to_le_bytes()), "a=4294967295i");
    check("fixed64 a = 1;", &field(1, 1, &7_u64.to_le_bytes()), "a=7i");
    check("fixed64 a = 1;", &field(1, 1, &u64::MAX.to_le_bytes()), "a=18446744073709552000");
    check("sfixed32 a = 1;", &field(1, 5, &(-7_i32).to_le_bytes()), "a=-7i");
    check("sfixed64 a = 1;", &field(1, 1, &(-7_i64).to_le_bytes()), "a=-7i");
    check("bool a = 1;", &int(1, 5), "a=true");
    check("string a = 1;", &len(1, "é".as_bytes()), "a=\"é\"");
    check("bytes a = 1;", &len(1, &[0xff]), "a=[255]");
    check("E a = 1;", &int(1, 10), "a='TEN'");
    check("E a = 1;", &int(1, 7), "a='7'");
    check_with("E a = 1;", "enums = \"numbers\"", &int(1, -7), "a=-7i");
}

#[test]
fn high_numbers_of_fields_are_read_as_low_ones() {
    let fields = "int32 a = 15; int32 b = 16; int32 c = 2048; int32 d = 536870911;";
    let value = [int(536_870_911, 4), int(2048, 3), int(16, 2), int(15, 1)].concat();
    check(fields, &value, "a=1i b=2i c=3i d=4i");
}

#[test]
fn what_is_absent_is_its_default_where_nobody_can_tell() {
    let fields = "int32 a = 1; string b = 2; bool c = 3; E d = 4; double e = 5; bytes f = 6;
        optional int32 g = 7; P h = 8; oneof i { int32 j = 9; } repeated int32 k = 10;
        repeated string l = 11; map<string, int32> m = 12;
        google.protobuf.Int32Value n = 13;";
    let absent = "a=0i b=\"\" c=false d='ZERO' e=0 f=[] k=[0][] l=\"[]\"";
    check(fields, &[], absent);
    check_with(fields, "defaults = false", &[], "");
    check_with(fields, "defaults = false", &int(1, 0), "a=0i");
    let there = [int(7, 0), len(8, &[]), int(9, 0), len(13, &[])].concat();
    check(
        fields,
        &there,
        "a=0i b=\"\" c=false d='ZERO' e=0 f=[] g=0i h_x=0i j=0i k=[0][] l=\"[]\" n=0i",
    );
    check_with("E a = 1;", "enums = \"numbers\"", &[], "a=0i");
}

#[test]
fn proto2_says_itself_what_is_absent() {
    let text = "enum E { A = 3; B = 4; } message M { optional int32 a = 1 [default = -7];
        optional string b = 2 [default = \"x\\n\"]; optional bytes c = 3 [default = \"\\001\\xff\"];
        optional E d = 4 [default = B]; optional double e = 5 [default = inf];
        optional bool f = 6 [default = true];
        optional uint64 g = 7 [default = 18446744073709551615];
        optional E h = 8; required int32 i = 9; optional float j = 10 [default = -1.5];
        repeated E k = 11; }";
    assert_eq!(
        one(&*bare(text, ""), &[]),
        "a=-7i b=\"x\\n\" c=[1, 255] d='B' e=inf f=true g=18446744073709552000 j=-1.5 k=\"[]\""
    );
    assert_eq!(one(&*bare(text, "defaults = false"), &[]), "");
    assert_eq!(one(&*bare(text, "defaults = false"), &int(8, 3)), "h='A'");
}

#[test]
fn repeated_numbers_are_arrays_however_they_are_written() {
    let packed = len(1, &[1, 2, 3]);
    check("repeated int32 a = 1;", &packed, "a=[3][1.0, 2.0, 3.0]");
    let single = [int(1, 1), int(1, 2)].concat();
    check("repeated int32 a = 1;", &single, "a=[2][1.0, 2.0]");
    check("repeated int32 a = 1 [packed = false];", &packed, "a=[3][1.0, 2.0, 3.0]");
    // In pieces, with another field between.
    let pieces = [packed, int(2, 9), int(1, 4), len(1, &[5])].concat();
    check("repeated int32 a = 1; int32 b = 2;", &pieces, "a=[5][1.0, 2.0, 3.0, 4.0, 5.0] b=9i");
    check("repeated int32 a = 1;", &len(1, &[]), "a=[0][]");
    let doubles = len(1, &[1.5_f64.to_le_bytes(), f64::NAN.to_le_bytes()].concat());
    check("repeated double a = 1;", &doubles, "a=[2][1.5, NaN]");
    check("repeated uint64 a = 1;", &len(1, &varint(u64::MAX)), "a=[1][1.8446744073709552e19]");
    check("repeated bool a = 1;", &len(1, &[1, 0]), "a=\"[true,false]\"");
    check("repeated E a = 1;", &len(1, &[1, 7]), "a=\"[\\\"ONE\\\",7]\"");
    let texts = [len(1, b"\""), len(1, b"b")].concat();
    check("repeated string a = 1;", &texts, r#"a="[\"\\\"\",\"b\"]""#);
    check("repeated bytes a = 1;", &len(1, &[0xff]), r#"a="[\"/w==\"]""#);
}

#[test]
fn the_last_one_counts_and_messages_are_merged() {
    let twice = [int(1, 1), int(1, 2)].concat();
    check("int32 a = 1;", &twice, "a=2i");
    let merged = [len(1, &int(1, 5)), len(1, &len(2, b"x")), len(1, &[])].concat();
    check("P a = 1;", &merged, "a_x=5i a_y=\"x\"");
    let time = [len(1, &int(1, 5)), len(1, &int(2, 7)), len(1, &[])].concat();
    check("google.protobuf.Timestamp a = 1;", &time, "a=5000000007Nanos");
    let inner = "message I { P p = 1; repeated int32 n = 2; } I a = 1;";
    let pieces = [
        len(1, &[len(1, &int(1, 5)), int(2, 1)].concat()),
        len(1, &[len(1, &len(2, b"x")), int(2, 2)].concat()),
    ];
    check(inner, &pieces.concat(), "a_p_x=5i a_p_y=\"x\" a_n=[2][1.0, 2.0]");
}

#[test]
fn of_a_oneof_the_last_member_is_there() {
    let fields = "oneof o { int32 a = 1; P b = 2; Q c = 3; string d = 4;
        google.protobuf.Timestamp t = 5; } int32 z = 6;
        message Q { repeated int32 n = 1; oneof p { int32 u = 2; int32 v = 3; } map<string, int32> m = 4; }";
    check(fields, &[int(1, 1), len(2, &int(1, 5))].concat(), "b_x=5i z=0i");
    check(fields, &[len(2, &int(1, 5)), int(1, 1)].concat(), "a=1i z=0i");
    let back = [len(2, &len(2, b"x")), int(1, 1), len(2, &int(1, 5))].concat();
    check(fields, &back, "b_x=5i z=0i");
    let entry = len(4, &[len(1, b"k"), int(2, 1)].concat());
    let list = len(3, &[int(1, 1), int(2, 8), entry].concat());
    check(fields, &list, "c_n=[1][1.0] c_u=8i z=0i c_m_k=1i");
    let gone = [list.clone(), len(4, b"x")].concat();
    check(fields, &gone, "d=\"x\" z=0i");
    let again = [list, len(4, b"x"), len(3, &[int(1, 2), int(3, 9)].concat())].concat();
    check(fields, &again, "c_n=[1][2.0] c_v=9i z=0i");
    let time = [len(5, &int(1, 5)), int(1, 1), len(5, &int(2, 7))].concat();
    check(fields, &time, "t=7Nanos z=0i");
    let same = [len(5, &int(1, 5)), len(5, &int(2, 7))].concat();
    check(fields, &same, "t=5000000007Nanos z=0i");
    let often = [int(1, 1), len(4, b"")].concat().repeat(501);
    let said = "format malformed: `d`: members of a oneof more than 1000 times in turn, at byte ";
    assert!(one(&*bare(&three(fields), ""), &often).starts_with(said));
}

#[test]
fn messages_and_maps_are_columns_below_their_names() {
    check("P a = 1;", &len(1, &int(1, 5)), "a_x=5i");
    check("P a = 1;", &[], "");
    check_with("P a = 1;", "separator = \".\"", &len(1, &int(1, 5)), "a.x=5i");
    let entry = |key: &[u8], value: &[u8]| len(1, &[&len(1, key)[..], value].concat());
    let map = "map<string, int32> a = 1;";
    check(map, &[entry(b"k", &int(2, 1)), entry(b"l", &[])].concat(), "a_k=1i a_l=0i");
    check(map, &[entry(b"k", &int(2, 1)), entry(b"k", &int(2, 2))].concat(), "a_k=2i");
    check(map, &len(1, &[]), "a_=0i");
    check(map, &[], "");
    let entries = [int(2, 1), len(1, b"k"), len(1, b"l")].concat();
    check(map, &len(1, &entries), "a_l=1i");
    let numbered = [len(1, &[int(1, -5), int(2, 1)].concat()), len(1, &int(2, 3))].concat();
    check("map<sint32, E> a = 1;", &len(1, &[int(1, 3), int(2, 1)].concat()), "a_-2='ONE'");
    check("map<int64, E> a = 1;", &numbered, "a_-5='ONE' a_0='3'");
    check("map<bool, bool> a = 1;", &len(1, &[int(1, 1), int(2, 1)].concat()), "a_true=true");
    // The last entry of a key is all there is of it.
    let two = [
        entry(b"k", &len(2, &len(2, b"x"))),
        entry(b"l", &len(2, &int(1, 1))),
        entry(b"k", &[len(2, &int(1, 7)), len(2, &int(1, 8))].concat()),
    ];
    check("map<string, P> a = 1;", &two.concat(), "a_l_x=1i a_k_x=8i");
    let inner = "message I { map<string, int32> m = 1; repeated double n = 2; I i = 3; }
        map<string, I> a = 1;";
    let deep = len(3, &[len(1, &[len(1, b"z"), int(2, 6)].concat())].concat());
    let value = len(2, &[len(1, &[len(1, b"y"), int(2, 5)].concat()), deep].concat());
    check(inner, &entry(b"k", &value), "a_k_m_y=5i a_k_n=[0][] a_k_i_m_z=6i a_k_i_n=[0][]");
}

#[test]
fn messages_that_all_know_become_what_they_mean() {
    let moment = |seconds: i64, nanos: i64| len(1, &[int(1, seconds), int(2, nanos)].concat());
    let time = "google.protobuf.Timestamp a = 1;";
    check(time, &moment(1_700_000_000, 123_456_789), "a=1700000000123456789Nanos");
    check(time, &moment(-1, 999_999_999), "a=-1Nanos");
    check(time, &len(1, &[]), "a=0Nanos");
    check(time, &[], "");
    check(time, &moment(253_402_300_799, 1_000), "a=253402300799000001Micros");
    let wrong = "format malformed: `a`: no moment of the years 1 to 9999, at byte 2";
    check(time, &moment(0, -1), wrong);
    check(time, &moment(253_402_300_800, 0), wrong);
    let span = "google.protobuf.Duration a = 1;";
    check(span, &moment(1, 500), "a=1000000500i");
    check(span, &moment(-1, -500_000_000), "a=-1500000000i");
    check_with(span, "durations = \"text\"", &moment(-1, -500_000_000), "a=\"-1.500s\"");
    check_with(span, "durations = \"text\"", &moment(0, 1), "a=\"0.000000001s\"");
    check(
        span,
        &moment(1, -1),
        "format malformed: `a`: seconds and nanoseconds that are no duration, at byte 2",
    );
    let long = "format malformed: `a`: more nanoseconds than 64 bits hold (durations = \"text\" has \
                room), at byte 2";
    check(span, &moment(300_000_000_000, 0), long);
    check("google.protobuf.Int64Value a = 1;", &len(1, &int(1, 5)), "a=5i");
    check("google.protobuf.StringValue a = 1;", &len(1, &len(1, b"x")), "a=\"x\"");
    check("google.protobuf.UInt64Value a = 1;", &len(1, &int(1, -1)), "a=18446744073709552000");
    check("google.protobuf.BoolValue a = 1;", &len(1, &[]), "a=false");
    check("google.protobuf.Empty a = 1;", &len(1, &[]), "a=true");
    check("N a = 1; message N {}", &len(1, &int(9, 9)), "a=true");
    let paths = [len(1, b"x"), len(1, b"y.z")].concat();
    check("google.protobuf.FieldMask a = 1;", &len(1, &paths), "a=\"x,y.z\"");
    let date = |day: i64| len(1, &[int(1, 1969), int(2, 12), int(3, day)].concat());
    check("google.type.Date a = 1;", &date(31), "a=-86400Seconds");
    check(
        "google.type.Date a = 1;",
        &date(0),
        "format malformed: `a`: no whole date of the years 1 to 9999, at byte 2",
    );
    let money = len(1, &[len(1, b"EUR"), int(2, 5)].concat());
    check("google.type.Money a = 1;", &money, "a_currency_code=\"EUR\" a_units=5i a_nanos=0i");
    let decimal = |scale: i64| len(1, &[len(1, &[0x30, 0x39]), int(2, 9), int(3, scale)].concat());
    check("confluent.type.Decimal a = 1;", &decimal(2), "a=123.45d");
    check("confluent.type.Decimal a = 1;", &len(1, &[]), "a=0d");
    check(
        "confluent.type.Decimal a = 1;",
        &decimal(77),
        "format malformed: `a`: a decimal's scale of 77, and not 0 to 76, at byte 2",
    );
}

#[test]
fn a_struct_is_what_the_same_json_is() {
    let entry = |key: &[u8], value: &[u8]| len(1, &[len(1, key), len(2, value)].concat());
    let number = |value: f64| field(2, 1, &value.to_le_bytes());
    let list = len(6, &[len(1, &number(1.0)), len(1, &number(2.0))].concat());
    let inner = len(5, &entry(b"d", &int(4, 1)));
    let object = [
        entry(b"a", &number(3.0)),
        entry(b"b", &len(3, b"x")),
        entry(b"c", &inner),
        entry(b"e", &list),
        entry(b"f", &int(1, 0)),
        entry(b"g", &[]),
    ];
    let fields = "google.protobuf.Struct s = 1;";
    let expected = "s_a=3 s_b=\"x\" s_c_d=true s_e=[2][1.0, 2.0] s_f=null s_g=null";
    check(fields, &len(1, &object.concat()), expected);
    check("google.protobuf.Value s = 1;", &len(1, &number(0.5)), "s=0.5");
    check("google.protobuf.Value s = 1;", &len(1, &inner), "s_d=true");
    let mixed = [len(1, &number(1.0)), len(1, &len(3, b"x"))].concat();
    check("google.protobuf.ListValue s = 1;", &len(1, &mixed), r#"s="[1.0,\"x\"]""#);
    let map = "map<string, google.protobuf.Value> s = 1;";
    check(map, &[entry(b"k", &inner), entry(b"l", &number(1.5))].concat(), "s_k_d=true s_l=1.5");
}

#[test]
fn what_has_no_columns_is_json() {
    let fields = "repeated N a = 1; message N { int32 i = 1; optional int64 o = 2; E e = 3;
        bytes b = 4; uint64 u = 5; google.protobuf.Timestamp t = 6; map<int32, string> m = 7;
        google.protobuf.Duration d = 8; repeated N n = 9; oneof x { int32 p = 10; string q = 11; }
        google.protobuf.DoubleValue w = 12; confluent.type.Decimal c = 13; P r = 14; float f = 15;
        google.protobuf.FieldMask k = 16; google.protobuf.Empty y = 17; google.type.Date z = 18; }";
    let full = [
        int(1, -1),
        int(2, 5),
        int(3, 1),
        len(4, &[0xff]),
        int(5, -1),
        len(6, &int(1, 1)),
        len(7, &[int(1, 2), len(2, b"\"")].concat()),
        len(8, &int(1, 3)),
        len(9, &int(10, 1)),
        int(10, 4),
        len(11, b"q"),
        len(12, &[]),
        len(13, &[len(1, &[5]), int(3, 1)].concat()),
        len(14, &int(1, 1)),
        field(15, 5, &0.1_f32.to_le_bytes()),
        len(16, &len(1, b"x")),
        len(17, &[]),
        len(18, &[int(1, 2024), int(2, 2), int(3, 29)].concat()),
    ];
    let told = one(&*bare(&three(fields), "defaults = false"), &len(1, &full.concat()));
    let expected = r#"[{"i":-1,"o":5,"e":"ONE","b":"/w==","u":18446744073709551615,
        "t":"1970-01-01T00:00:01Z","m":{"2":"\""},"d":"3s","n":[{"p":1}],"q":"q","w":0.0,
        "c":0.5,"r":{"x":1},"f":0.1,"k":"x","y":{},"z":"2024-02-29"}]"#;
    assert_eq!(told, format!("a={:?}", expected.replace("\n        ", "")));
    let defaults = one(&*bare(&three(fields), ""), &len(1, &len(14, &[])));
    let expected = r#"[{"i":0,"e":"ZERO","b":"","u":0,"m":{},"n":[],"r":{"x":0},"f":0.0}]"#;
    assert_eq!(defaults, format!("a={expected:?}"));
}

#[test]
fn an_any_has_its_type() {
    let any = |url: &str, value: &[u8]| len(1, &[len(1, url.as_bytes()), len(2, value)].concat());
    let fields = "google.protobuf.Any a = 1; google.protobuf.Duration d = 2;";
    let known = any("type.googleapis.com/P", &int(1, 7));
    check(fields, &known, r#"a="{\"@type\":\"type.googleapis.com/P\",\"x\":7}""#);
    let special = any("x/google.protobuf.Duration", &int(1, 7));
    let expected = r#"a="{\"@type\":\"x/google.protobuf.Duration\",\"value\":\"7s\"}""#;
    check(fields, &special, expected);
    check(fields, &any("x/No", &[0xff]), r#"a="{\"@type\":\"x/No\",\"value\":\"/w==\"}""#);
    check(fields, &len(1, &[]), r#"a="{\"@type\":\"\",\"value\":\"\"}""#);
}

#[test]
fn groups_are_messages_up_to_their_end() {
    let text = "message M { optional group G = 1 { optional int32 x = 1; optional group H = 2
        { optional int32 y = 1; } } repeated group L = 3 { optional int32 z = 1; } optional int32 e = 4; }";
    let group = |number: u64, inside: &[u8]| {
        [field(number, wire::GROUP, inside), field(number, wire::GROUP_END, &[])].concat()
    };
    let inner = [int(1, 5), group(2, &int(1, 6)), group(9, &group(9, &[]))].concat();
    let list = [group(3, &int(1, 7)), group(3, &[])].concat();
    let value = [group(1, &inner), list, int(4, 8)].concat();
    let plan = bare(text, "");
    let expected = r#"g_x=5i g_h_y=6i l="[{\"z\":7},{}]" e=8i"#;
    assert_eq!(one(&*plan, &value), expected);
    let said = one(&*plan, &field(1, wire::GROUP, &int(1, 5)));
    assert_eq!(said, "format malformed: `g`: group 1 does not end, at byte 3");
    let said = one(&*plan, &field(4, wire::GROUP_END, &[]));
    assert_eq!(said, "format malformed: the value: group 4 ends, which did not begin, at byte 0");
}

#[test]
fn a_message_that_holds_itself_is_json_there() {
    let fields = "int32 v = 1; M next = 2; repeated M more = 3;";
    let deep = [int(1, 1), len(2, &[int(1, 2), len(2, &int(1, 3))].concat())].concat();
    let expected = r#"v=1i next="{\"v\":2,\"next\":{\"v\":3}}""#;
    check_with(fields, "defaults = false", &deep, expected);
    // Merged, as all messages are.
    let pieces = [len(2, &int(1, 2)), len(2, &len(3, &[]))].concat();
    check_with(fields, "defaults = false", &pieces, r#"next="{\"v\":2,\"more\":[{}]}""#);
    let mut deep = Vec::new();
    (0..150).for_each(|_| deep = len(2, &deep));
    let said = one(&*bare(&three(fields), ""), &deep);
    assert!(said.starts_with("format too-deep: `next`: nested deeper than 100"), "{said}");
    let mutual = "A a = 1; message A { B b = 1; } message B { A a = 1; int32 x = 2; }";
    let value = len(1, &len(1, &[len(1, &[]), int(2, 4)].concat()));
    check(mutual, &value, "a_b_a=\"{}\" a_b_x=4i");
}

#[test]
fn values_that_are_no_records_have_a_column() {
    let of = |message: &str, import: &str, more: &str| {
        let schema = format!("import \"google/protobuf/{import}.proto\";");
        plan(&format!("message = \"google.protobuf.{message}\"\nschema = '{schema}'\n{more}"))
    };
    let time = of("Timestamp", "timestamp", "column = \"t\"");
    assert_eq!(one(&*time, &int(1, 5)), "t=5000000000Nanos");
    assert_eq!(one(&*of("StringValue", "wrappers", ""), &len(1, b"x")), "value=\"x\"");
    let object = of("Struct", "struct", "");
    let entry = len(1, &[len(1, b"a"), len(2, &len(3, b"x"))].concat());
    assert_eq!(one(&*object, &entry), "a=\"x\"");
    assert_eq!(
        one(&*object, &[0x08]),
        "format malformed: `value`: the value ends within it, at byte 0"
    );
}

#[test]
fn what_nobody_knows_is_passed_over() {
    let unknown = [
        int(100, 5),
        len(101, &[1, 2, 3]),
        field(102, 5, &[0; 4]),
        field(103, 1, &[0; 8]),
        field(104, wire::GROUP, &field(104, wire::GROUP_END, &[])),
        int(2, 5),
    ];
    let value = [unknown.concat(), int(1, 7), unknown.concat()].concat();
    check("int32 a = 1;", &value, "a=7i");
}

#[test]
fn what_is_not_as_the_schema_says_is_refused_with_its_place() {
    check("double a = 1;", &[9, 0], "format malformed: `a`: the value ends within it, at byte 0");
    check(
        "string a = 1;",
        &len(1, &[0xff]),
        "format invalid-utf8: `a`: text that is not UTF-8, at byte 0",
    );
    check(
        "int32 a = 1;",
        &len(1, b"x"),
        "format malformed: `a`: bytes behind their length is not what its type is written as, at byte 0",
    );
    check(
        "string a = 1;",
        &int(1, 1),
        "format malformed: `a`: a varint is not what its type is written as, at byte 0",
    );
    check(
        "P a = 1;",
        &len(1, &[0x08]),
        "format malformed: `a_x`: the value ends within it, at byte 2",
    );
    check(
        "P a = 1;",
        &len(1, &[0x38, 0x80]),
        "format malformed: `a`: the value ends within it, at byte 2",
    );
    check("P a = 1;", &[0x0a, 9], "format malformed: `a`: the value ends within it, at byte 0");
    check("int32 a = 1;", &[0], "format malformed: the value: 0 is no tag of a field, at byte 0");
    check(
        "int32 a = 1;",
        &[&int(1, 1)[..], &[0x80; 11]].concat(),
        "format malformed: the value: a number of more than 64 bits, at byte 2",
    );
    let map = "map<string, int32> a = 1;";
    let bad = len(1, &[len(1, b"k"), len(2, b"x")].concat());
    check(
        map,
        &bad,
        "format malformed: `a_`: bytes behind their length is not what its type is written as, at byte 5",
    );
    let text = len(1, &[len(1, &[0xff]), int(2, 1)].concat());
    check(map, &text, "format invalid-utf8: `a_`: text that is not UTF-8, at byte 4");
    check(
        "repeated int32 a = 1;",
        &len(1, &[1, 0x80]),
        "format malformed: `a`: the value ends within it, at byte 2",
    );
    let list = [len(1, b"x"), len(1, &[0xff])].concat();
    check(
        "repeated string a = 1;",
        &list,
        "format invalid-utf8: `a`: text that is not UTF-8, at byte 5",
    );
}

#[test]
fn text_is_a_small_multiple_of_the_value() {
    let name = "n".repeat(900);
    let fields = format!("repeated I a = 1; message I {{ bool {name} = 1; }}");
    let value = len(1, &[]).repeat(80_000);
    let said = one(&*bare(&three(&fields), ""), &value);
    assert!(said.starts_with("format too-large: `a`: it becomes far more text"), "{said}");
    // Names of an enum are copied once, however often they are written.
    let text = format!("enum E {{ {} = 0; }} message M {{ optional E e = 1; }}", "N".repeat(1_000));
    let context = context();
    let plan = bare(&text, "");
    let records = batch(vec![(None, Some(int(1, 0).repeat(10_000)))]);
    let (mut rows, mut rejects) = (RowBatch::default(), Rejects::default());
    let decoded = plan.decoder(&context).decode(&records, &mut rows, &mut rejects);
    decoded.expect("only records are at fault");
    assert_eq!((rows.rows.len(), rows.arena.len()), (1, 1_000));
}

#[test]
fn maps_have_bounds() {
    let entry = |key: usize| len(1, &len(1, key.to_string().as_bytes()));
    let value: Vec<u8> = (0..2_001).flat_map(entry).collect();
    let said = one(&*bare(&three("map<string, int32> a = 1;"), ""), &value);
    assert!(said.starts_with("format too-many-columns: `a_2000`: more than 2000 fields"), "{said}");
    let long = len(1, &len(1, &[b'k'; 2_000]));
    let said = one(&*bare(&three("map<string, int32> a = 1;"), ""), &long);
    assert!(said.starts_with("format too-many-columns: `a_kkk"), "{said}");
}

#[test]
fn schemas_that_are_too_large_are_refused() {
    let mut text = "syntax = \"proto3\"; message T0 { int32 x = 1; }".to_owned();
    for level in 1..20 {
        let last = level - 1;
        text.push_str(&format!("message T{level} {{ T{last} a = 1; T{last} b = 2; }}"));
    }
    text.push_str("message M { T19 t = 1; }");
    let said = one(&*bare(&text, ""), &[]);
    assert!(said.starts_with("format too-many-columns: the schema"), "{said}");
    let long = "d".repeat(300 << 10);
    let text = format!("message M {{ optional string a = 1 [default = \"{long}\"]; }}");
    assert_eq!(one(&*bare(&text, ""), &[]), "format too-large: defaults of more than 262144 bytes");
}

#[test]
fn nothing_grows_in_steady_state() {
    let sensor = (plan(oracle::SENSOR), oracle::sensor());
    let rich = "repeated int32 n = 1; map<string, P> m = 2; repeated P p = 3; M s = 4;
        google.protobuf.Struct o = 5; oneof x { int32 a = 6; string b = 7; } E e = 8;
        google.protobuf.Timestamp t = 9;";
    let entry = |key: &[u8]| len(2, &[len(1, key), len(2, &int(1, 5))].concat());
    let value = [
        len(1, &[1, 2]),
        entry(b"k"),
        entry(b"l"),
        len(3, &int(1, 5)),
        len(4, &[len(3, &[]), len(1, &[7])].concat()),
        len(5, &len(1, &[len(1, b"a"), len(2, &len(3, b"x"))].concat())),
        int(6, 1),
        len(7, b"x"),
        int(8, 1),
        len(1, &[3]),
        len(9, &int(1, 1)),
    ];
    for (plan, value) in [sensor, (bare(&three(rich), ""), value.concat())] {
        let context = context();
        let mut decoder = plan.decoder(&context);
        let records = batch((0..1_000).map(|_| (None, Some(value.clone()))).collect());
        let (mut rows, mut rejects) = (RowBatch::default(), Rejects::default());
        let mut rooms = || {
            rows.clear();
            decoder.decode(&records, &mut rows, &mut rejects).expect("only records are at fault");
            assert_eq!((rows.rows.len(), rejects.is_empty()), (1_000, true));
            (rows.rows.capacity(), rows.cells.capacity(), rows.arena.capacity())
        };
        let first = rooms();
        assert_eq!((rooms(), rooms()), (first, first));
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let fields = "map<string, M> m = 1; repeated M r = 2; M s = 3; oneof o { P p = 4; int32 i = 5; }
            google.protobuf.Struct t = 6; google.protobuf.Any a = 7; repeated sint64 n = 8;
            google.protobuf.Timestamp w = 9; map<bool, google.protobuf.Value> v = 10; E e = 11;";
        let said = one(&*bare(&three(fields), ""), &bytes);
        prop_assert!(!said.starts_with("Us"), "{said}");
    }
}
