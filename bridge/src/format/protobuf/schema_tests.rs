//! How values come to their schemas: from files, from descriptor sets, and from a registry, as
//! Confluent's serializers name them.

use super::tests::{int, len, one, plan};
use super::{KIND, oracle};
use crate::config::Section;
use crate::format::testing::{context, tell, told};
use crate::schemas::fake::{Fake, Reply};

#[test]
fn files_and_descriptor_sets_are_read() {
    let folder = std::env::temp_dir().join(format!("bridge-protobuf-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("p/q")).expect("a folder");
    let write = |name: &str, text: &[u8]| std::fs::write(folder.join(name), text).expect("a file");
    write(
        "p/a.proto",
        b"syntax = \"proto3\"; package p; import \"q/b.proto\"; message A { q.B b = 1; }",
    );
    write("p/q/b.proto", b"syntax = \"proto3\"; package q; message B { int32 x = 1; }");
    let read = |toml: &str| {
        let mut plan = plan(toml);
        plan.rebase(&folder);
        one(&*plan, &len(1, &int(1, 5)))
    };
    assert_eq!(read("files = \"p/a.proto\"\nmessage = \"p.A\""), "b_x=5i");
    let both = "files = [\"p/a.proto\", \"p/q/b.proto\"]\ninclude = \"p\"\nmessage = \".p.A\"";
    assert_eq!(read(both), "b_x=5i");
    let here = "schema = 'syntax = \"proto3\"; import \"q/b.proto\"; message A { q.B b = 1; }'";
    assert_eq!(read(&format!("{here}\ninclude = [\"p\"]\nmessage = \"A\"")), "b_x=5i");
    let said = read("files = \"p/a.proto\"\nmessage = \"A\"");
    assert!(said.contains("there is no message `A`") && said.contains("p.A, q.B"), "{said}");
    let said = read("files = \"p/a.proto\"\ninclude = \".\"\nmessage = \"p.A\"");
    assert!(said.contains("nobody gave q/b.proto"), "{said}");
    let said = read("files = \"no.proto\"\nmessage = \"p.A\"");
    assert!(
        said.starts_with("Operator: reading the schema") && said.contains("no.proto"),
        "{said}"
    );
    write("set.pb", &oracle::descriptor_set());
    let set = "descriptor_set = \"set.pb\"\nmessage = \"Reading\"";
    assert_eq!(
        read(set),
        "format malformed: `ts`: bytes behind their length is not what its type is written as, at byte 0"
    );
    write("set.pb", b"\xff");
    assert!(read(set).starts_with("Operator: reading the descriptor set"));
    std::fs::remove_dir_all(&folder).expect("it was there");
}

#[test]
fn mistakes_stand_at_their_keys() {
    let check = |toml: &str, key: &str, words: &str| {
        let section = Section::new("value", toml.parse().expect("it is TOML"));
        let mistake = (KIND.parse)(&section).map(|_| ()).expect_err("it is one");
        assert_eq!(mistake.path, format!("value.{key}"), "{}", mistake.message);
        assert!(mistake.message.contains(words), "{}", mistake.message);
    };
    check("", "files", "must be given");
    check("framing = \"confluent\"", "registry", "need a `registry`");
    check("registry = {}", "registry", "needs its address");
    check("registry.url = \"http://x\"\nmessage = \"M\"", "message", "from the registry");
    check("registry.url = \"http://x\"\nfiles = \"a\"", "files", "from the registry");
    check("registry.url = \"http://x\"\nframing = \"bare\"", "registry", "is for framing");
    check("files = \"a.proto\"", "message", "must be said");
    check("files = \"a.proto\"\nschema = ''", "files", "one of these");
    check("schema = ''\ndescriptor_set = 'x'", "schema", "one of these");
    check("descriptor_set = 'x'\ninclude = 'y'\nmessage = 'M'", "include", "holds its imports");
    check("schema = 'message {'\nmessage = 'M'", "schema", "1:9: expected");
    check("schema = 'message A {}'\nmessage = 'M'", "message", "there is no `M`");
    check("schema = 'message M {}'\nmessage = 'M'\ncolumn = ''", "column", "needs a name");
}

/// A value framed as Confluent's serializers do.
fn framed(id: u32, indexes: &[u8], body: &[u8]) -> Vec<u8> {
    [&[0], &id.to_be_bytes()[..], indexes, body].concat()
}

fn reply(schema: &str, references: &[(&str, &str)]) -> Reply {
    let references: Vec<_> = references
        .iter()
        .map(
            |(name, subject)| serde_json::json!({ "name": name, "subject": subject, "version": 1 }),
        )
        .collect();
    let answer =
        serde_json::json!({ "schemaType": "PROTOBUF", "schema": schema, "references": references });
    Reply::Json(200, answer.to_string())
}

#[test]
fn a_schema_that_changes_adds_columns_and_is_asked_for_once() {
    let registry = Fake::start();
    let v1 = "syntax = \"proto3\"; package p; import \"q/b.proto\"; message A { q.B b = 1; }
        message C { int32 c = 1; message D { int32 d = 1; } }";
    let v2 = v1.replace("q.B b = 1;", "q.B b = 1; string more = 2;");
    registry.put("/schemas/ids/1", reply(v1, &[("q/b.proto", "b")]));
    registry.put("/schemas/ids/70000", reply(&v2, &[("q/b.proto", "b")]));
    let b = "syntax = \"proto3\"; package q; import public \"q/e.proto\"; message B { E x = 1; }";
    registry.put("/subjects/b/versions/1", reply(b, &[("q/e.proto", "e")]));
    let e = "syntax = \"proto3\"; package q; enum E { ZERO = 0; ONE = 1; }";
    registry.put("/subjects/e/versions/1", reply(e, &[]));
    let plan = plan(&format!("registry.url = \"{}\"", registry.url()));
    let first = len(1, &int(1, 1));
    let pairs = [
        framed(1, &[0], &first),
        framed(70_000, &[0], &[first.clone(), len(2, b"x")].concat()),
        framed(1, &[0], &[]),
        framed(1, &[2, 2], &int(1, 7)),
        framed(1, &[4, 2, 0], &int(1, 8)),
        framed(1, &[2, 0], &first),
    ];
    let pairs = pairs.into_iter().map(|value| (None, Some(value))).collect::<Vec<_>>();
    let context = context();
    let (mut lane, mut other) = (plan.decoder(&context), plan.decoder(&context));
    for decoder in [&mut lane, &mut other] {
        let told = tell(&mut **decoder, &context, pairs.clone());
        let expected = ["b_x='ONE'", "b_x='ONE' more=\"x\"", "", "c=7i", "d=8i", "b_x='ONE'"];
        assert_eq!(told, expected);
    }
    let asked = registry.asked();
    let once = ["/schemas/ids/1", "/subjects/b/versions/1", "/subjects/e/versions/1"];
    assert_eq!(asked[..3], once);
    assert_eq!((asked.len(), &*asked[3]), (6, "/schemas/ids/70000"));
}

#[test]
fn what_the_registry_does_not_have_is_the_records_fault() {
    let registry = Fake::start();
    registry.put("/schemas/ids/2", reply("message {", &[]));
    registry.put("/schemas/ids/3", Reply::schema("\"int\""));
    registry.put("/schemas/ids/4", reply("message M { optional no.T x = 1; }", &[]));
    registry.put("/schemas/ids/5", reply("message M {}", &[]));
    let plan = plan(&format!("registry.url = \"{}\"", registry.url()));
    let values = [
        framed(9, &[0], &[]),
        framed(2, &[0], &[]),
        framed(3, &[0], &[]),
        framed(4, &[0], &[]),
        framed(5, &[2, 2], &[]),
        framed(5, &[], &[]),
        framed(5, &[4, 2], &[]),
        framed(5, &[1], &[]),
        framed(5, &[2, 1], &[]),
        b"{}".to_vec(),
        vec![0, 1],
        vec![],
    ];
    let told = told(&*plan, values.into_iter().map(|value| (None, Some(value))).collect());
    assert_eq!(
        told,
        [
            "format unknown-schema: the registry says: Schema 9 not found",
            "format malformed: schema 2 of the registry: 1:9: expected an identifier, but found '{'",
            "format malformed: schema 3 of the registry: it is AVRO, and not Protobuf",
            "format malformed: schema 4 of the registry: `x` of `M`: there is no type `no.T`",
            "format malformed: schema 5 of the registry: it has no message [1]",
            "format malformed: the place of its message: the value ends within it",
            "format malformed: the place of its message: the value ends within it",
            "format malformed: the place of its message: a list that is no list",
            "format malformed: the place of its message: an index that is none",
            "format malformed: the value begins with no schema id, but with a bracket: is it JSON?",
            "format malformed: 2 bytes are too few for a schema's id",
            "format empty: the value has no bytes",
        ]
    );
}

#[test]
fn a_registry_that_is_away_is_no_records_fault() {
    let gone = Fake::start();
    let (address, plan) = (gone.address(), plan(&format!("registry.url = \"{}\"", gone.url())));
    drop(gone);
    let value = framed(1, &[0], &int(1, 7));
    let said = one(&*plan, &value);
    assert!(said.starts_with("World: asking the registry"), "{said}");
    let back = Fake::start_at(address);
    back.put("/schemas/ids/1", reply("message M { optional int32 a = 1; }", &[]));
    assert_eq!(one(&*plan, &value), "a=7i");
}
