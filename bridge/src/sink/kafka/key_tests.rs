//! Keys with a schema on the cluster in this process: what they are, which partition they lead to,
//! and what becomes of records that can have none.

use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use rdkafka::message::Message;
use tokio::task::block_in_place;

use super::tests::{bench, is_stored, plan};
use crate::reject::Reason;
use crate::schemas::fake::Fake;

/// `org.apache.kafka.common.utils.Utils.murmur2`, as Java's default partitioner takes it.
fn partition_of(key: &[u8], partitions: u32) -> i32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = 0x9747_b28c ^ key.len() as u32;
    let words = key.chunks_exact(4);
    let rest = words.remainder();
    for word in words {
        let mut word = u32::from_le_bytes(word.try_into().expect("four")).wrapping_mul(M);
        word = (word ^ (word >> 24)).wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ word;
    }
    if !rest.is_empty() {
        for (at, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * at);
        }
        hash = hash.wrapping_mul(M);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(M);
    hash ^= hash >> 15;
    ((hash & 0x7fff_ffff) % partitions) as i32
}

/// What the library reads of a key.
fn read(fake: &Fake, subject: &str, key: &[u8]) -> Value {
    let kept = fake.versions(subject).remove(0);
    let (head, mut body) = key.split_at(5);
    assert_eq!(head, [&[0][..], &kept.id.to_be_bytes()].concat());
    let schema = apache_avro::Schema::parse_str(&kept.schema).expect("a schema");
    let reader = GenericDatumReader::builder(&schema).build().expect("a reader");
    let read = reader.read_value(&mut body).expect("a value");
    assert!(body.is_empty(), "{body:?} is left");
    read
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_partition_follows_from_the_key_as_it_is_written() {
    const PARTITIONS: u32 = 4;
    let fake = Fake::start();
    let options = format!(
        "topic = \"x\"\n[key]\ncolumns = [\"name\"]\nencode = \"avro\"\nregistry.url = \"{}\"",
        fake.url()
    );
    let mut bench = bench(&options, &[("x", PARTITIONS as i32)]);
    let names: Vec<String> = (0..40).map(|n| "k".repeat(n % 9) + &n.to_string()).collect();
    let rows: Vec<(i64, &str)> = (0..).zip(names.iter().map(String::as_str)).collect();
    let rows = bench.rows(&rows);
    let old = vec![Some("what it came under"); names.len()];
    let (payloads, rejects) = block_in_place(|| bench.encode_all(&old, &rows));
    assert!(rejects.is_empty());
    assert!(is_stored(&bench.send(payloads).await));

    // Registered before anything is written, so that all partitions are known from the names.
    let id = fake.versions("x-key")[0].id.to_be_bytes();
    let mut expected = vec![Vec::new(); PARTITIONS as usize];
    for name in &names {
        let length = [name.len() as u8 * 2];
        let key = [&[0][..], &id, &length, name.as_bytes()].concat();
        expected[partition_of(&key, PARTITIONS) as usize].push(name.as_str());
    }
    assert!(expected.iter().filter(|names| !names.is_empty()).count() > 1, "{expected:?}");
    for (partition, names) in (0..).zip(expected) {
        let found = bench.read_messages("x", partition, names.len());
        let keys = found.iter().map(|message| message.key().expect("it has one"));
        let keys: Vec<Value> = keys.map(|key| read(&fake, "x-key", key)).collect();
        let expected: Vec<Value> =
            names.into_iter().map(|name| Value::String(name.to_owned())).collect();
        assert_eq!(keys, expected, "partition {partition}");
    }
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_record_whose_key_cannot_be_is_refused_as_a_whole() {
    let fake = Fake::start();
    let url = fake.url();
    let options = format!(
        "topic = \"{{table}}.x\"\nencode = \"avro\"\nregistry.url = \"{url}\"\n\
         key = {{ columns = [\"name\", \"n\"], encode = \"avro\" }}"
    );
    let mut bench = bench(&options, &[("t.x", 1)]);
    let mut rows = bench.rows(&[(1, "a"), (2, "b"), (3, "c")]);
    // The second record's row has no number, the third one's nothing of its key.
    rows.cells[2].kind = bridge_abi::Kind::Null as u8;
    for cell in &mut rows.cells[4..] {
        cell.kind = bridge_abi::Kind::Null as u8;
    }
    let (payloads, rejects) = block_in_place(|| bench.encode_all(&[None; 3], &rows));
    let [(1, _, Reason::WrongType, detail)] = &rejects.found[..] else {
        panic!("{:?}", rejects.found)
    };
    assert!(detail.contains("key column `n` is null or missing"), "{detail}");
    assert!(is_stored(&bench.send(payloads).await));
    let found = bench.read_messages("t.x", 0, 2);
    let key = read(&fake, "t.x-key", found[0].key().expect("it has one"));
    let name = ("name".to_owned(), Value::String("a".into()));
    assert_eq!(key, Value::Record(vec![name, ("n".to_owned(), Value::Long(1))]));
    assert_eq!(found[1].key(), None);
    assert_eq!(fake.versions("t.x-value").len(), 1, "values have a subject of their own");
    bench.end().await;
}

#[test]
fn what_is_said_of_keys_is_taken_or_refused_with_what_would_be_right() {
    for (wrong, key, said) in [
        ("[key]\nencode = \"avro\"", "key.columns", "needs columns"),
        ("[key]\ncolumns = [\"a\"]", "key", "has a schema"),
        ("[key]\ncolumns = [\"a\"]\nencode = \"json\"", "key.encode", "has a schema"),
        ("[key]\ncolumns = [\"a\"]\nencode = \"avro\"", "key.registry", "need a `registry`"),
        (
            "key_column = \"a\"\n[key]\ncolumns = [\"a\"]\nencode = \"avro\"",
            "key_column",
            "`key_column` does",
        ),
    ] {
        let mistake = plan(&format!("topic = \"x\"\n{wrong}")).expect_err(wrong);
        assert!(mistake.message.contains(said), "{wrong}: {}", mistake.message);
        assert_eq!(mistake.path, format!("sink.{key}"));
    }
    // The registry of values is that of keys.
    let said = "topic = \"x\"\nencode = \"protobuf\"\nregistry.url = \"http://r\"\n\
                key = { columns = [\"a\"], encode = \"avro\" }";
    let plan = plan(said).expect("it is right");
    let registry = |schema: &Option<crate::sink::schema::SchemaPlan>| {
        schema.as_ref().and_then(|plan| plan.registry.clone())
    };
    assert_eq!(registry(&plan.key), registry(&plan.schema));
    assert!(registry(&plan.key).is_some());
}
