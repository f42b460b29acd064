//! Types out of texts and descriptor sets: names in their scopes, imports, and what is refused.

use proptest::prelude::*;

use super::*;

fn types(text: &str) -> Result<Types, Wrong> {
    Types::of_texts(&[("a.proto", text)], |_| Ok(None))
}

fn wrong(text: &str) -> Wrong {
    types(text).map(|_| ()).expect_err("it is none")
}

/// Fields of a message: `a=1 Scalar(Int32) Implicit`.
fn fields(types: &Types, name: &str) -> Vec<String> {
    let message = &types.messages[types.message(name).expect("it is there")];
    let shown = message.fields.iter().map(|field| {
        let of = match field.of {
            Of::Scalar(scalar) => format!("{scalar:?}"),
            Of::Enum(at) => format!("enum {}", types.enums[at].name),
            Of::Message(at) => format!("message {}", types.messages[at].name),
            Of::Group(at) => format!("group {}", types.messages[at].name),
        };
        let packed = if field.packed { " packed" } else { "" };
        let oneof = field.oneof.map_or(String::new(), |oneof| format!(" of {oneof}"));
        format!("{}={} {of} {:?}{packed}{oneof}", field.name, field.number, field.label)
    });
    shown.collect()
}

#[test]
fn fields_have_the_presence_of_their_syntax() {
    let three = types(
        r#"syntax = "proto3"; package p;
        message M {
            int32 a = 1; optional int32 b = 2; repeated int32 c = 3 [packed = false];
            repeated sint64 d = 4; M e = 5; oneof x { string f = 6; bytes g = 7; }
            map<string, E> h = 8; repeated string i = 9;
        }
        enum E { Z = 0; }"#,
    );
    assert_eq!(
        fields(&three.expect("types"), "p.M"),
        [
            "a=1 Int32 Implicit",
            "b=2 Int32 Optional",
            "c=3 Int32 Repeated",
            "d=4 Sint64 Repeated packed",
            "e=5 message p.M Optional",
            "f=6 String Optional of 0",
            "g=7 Bytes Optional of 0",
            "h=8 message p.M.HEntry Repeated",
            "i=9 String Repeated",
        ]
    );
    let two = types(
        r#"message M {
            required int32 a = 1; optional int32 b = 2 [default = -7];
            repeated int32 c = 3; repeated int32 d = 4 [packed = true, deprecated = true];
            optional group G = 5 { optional bool x = 1; } extensions 100 to 200;
        }
        extend M { optional int32 more = 100; }"#,
    );
    let two = two.expect("types");
    assert_eq!(
        fields(&two, "M"),
        [
            "a=1 Int32 Required",
            "b=2 Int32 Optional",
            "c=3 Int32 Repeated",
            "d=4 Int32 Repeated packed",
            "g=5 group M.G Optional",
        ]
    );
    assert_eq!(two.messages[0].fields[1].default.as_deref(), Some("-7"));
}

#[test]
fn names_are_found_from_within_outwards() {
    let types = types(
        r#"syntax = "proto3"; package a.b;
        message T {} message Outer {
            message T {} message Inner { T t = 1; .a.b.T u = 2; b.T v = 3; Outer.T w = 4; }
        }"#,
    );
    assert_eq!(
        fields(&types.expect("types"), "a.b.Outer.Inner"),
        [
            "t=1 message a.b.Outer.T Optional",
            "u=2 message a.b.T Optional",
            "v=3 message a.b.T Optional",
            "w=4 message a.b.Outer.T Optional",
        ]
    );
}

#[test]
fn imports_are_found_or_do_not_matter() {
    let text = r#"syntax = "proto3"; import "b.proto"; import "no/such.proto";
        import "google/protobuf/timestamp.proto"; option (no.such) = { x: 1 };
        message A { B b = 1; google.protobuf.Timestamp t = 2; c.C c = 3 [(no.such).field = "x"]; }"#;
    let find = |name: &str| {
        Ok(match name {
            "b.proto" => Some(r#"syntax = "proto3"; import public "c.proto"; message B {}"#.into()),
            "c.proto" => Some(r#"import "a.proto"; package c; message C {}"#.into()),
            _ => None,
        })
    };
    let types = Types::of_texts(&[("a.proto", text)], find).expect("types");
    let expected = ["b=1 message B Optional", "t=2 message google.protobuf.Timestamp Optional"];
    assert_eq!(fields(&types, "A")[..2], expected);
    let text = r#"syntax = "proto3"; import "no/such.proto"; message A { no.Such x = 1; }"#;
    assert_eq!(
        wrong(text),
        "a.proto: `x` of `A`: there is no type `no.Such` (nobody gave no/such.proto)"
    );
}

#[test]
fn messages_are_known_by_their_places_as_the_text_has_them() {
    let text = r#"message A { optional int32 x = 1; }
        message B {
            map<string, A> m = 1; optional group G = 2 { optional int32 x = 1; }
            message C { message D {} } message E {}
        }"#;
    let types = types(text).expect("types");
    let at = |indexes: &[u32]| types.message_at(indexes).map(|at| &*types.messages[at].name);
    assert_eq!(at(&[0]), Some("A"));
    assert_eq!(at(&[1, 0]), Some("B.C"));
    assert_eq!(at(&[1, 0, 0]), Some("B.C.D"));
    assert_eq!(at(&[1, 1]), Some("B.E"));
    assert_eq!((at(&[1, 2]), at(&[2]), at(&[])), (None, None, None));
}

#[test]
fn enums_keep_the_first_name_of_a_number() {
    let text = "enum E { option allow_alias = true; B = 1; A = -1; C = 1; }";
    let types = types(text).expect("types");
    let Enum { values, default, .. } = &types.enums[0];
    assert_eq!(values[..], [(-1, "A".into()), (1, "B".into())]);
    assert_eq!(*default, 1);
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    assert!(wrong("message A {\n  int32 = 1; }").starts_with("a.proto:2:9: expected"), "{}", {
        wrong("message A {\n  int32 = 1; }")
    });
    assert!(wrong("syntax = 'proto4';").contains("proto4"));
    let twice = "message A { optional int32 a = 1; optional int32 b = 1; }";
    assert_eq!(wrong(twice), "a.proto: `b` of `A`: its number 1 is none, or another field's");
    assert_eq!(wrong("message A {} message A {}"), "a.proto: `A` is defined twice");
    let many = format!("enum E {{ {} }}", "A = 0;".repeat(20_001));
    assert!(wrong(&many).contains("more than 20000"));
    let long = format!("message {} {{}}", "a".repeat(2_000));
    assert!(wrong(&long).contains("more than 1024 bytes"));
    let large = "// comment\n".repeat(100_000);
    assert!(wrong(&large).contains("more than 1048576 bytes"));
}

#[test]
fn a_descriptor_set_says_the_same_as_its_texts() {
    let text = r#"syntax = "proto3"; import "google/protobuf/timestamp.proto"; package p;
        message M { google.protobuf.Timestamp t = 1; repeated int32 n = 2; map<int32, M> m = 3; }"#;
    let set = FileDescriptorSet { file: vec![parsed("a.proto", text).expect("it is one")] };
    let of_set = Types::of_descriptor_set(&set.encode_to_vec()).expect("types");
    assert_eq!(fields(&of_set, "p.M"), fields(&types(text).expect("types"), "p.M"));
    assert!(Types::of_descriptor_set(b"\xff").is_err());
    assert!(Types::of_descriptor_set(b"").is_err());
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in ".{0,200}") {
        let _ = types(&text);
    }

    #[test]
    fn no_words_make_it_panic(
        words in prop::collection::vec(prop::sample::select(vec![
            "syntax", "=", "\"proto3\"", ";", "message", "enum", "A", "B", "{", "}", "int32", "1",
            "2", "repeated", "optional", "oneof", "map", "<", ">", ",", "group", "G", "[", "]",
            "default", "-", "0x", "1e", "'", "\"", "/*", "*/", "//", "\n", "extend", "extensions",
            "reserved", "to", "max", "option", "(", ")", ".", "import", "service", "rpc", "\\x",
        ]), 0..60)
    ) {
        let _ = types(&words.join(" "));
    }

    #[test]
    fn no_descriptor_set_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Types::of_descriptor_set(&bytes);
    }
}
