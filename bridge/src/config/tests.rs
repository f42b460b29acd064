//! Whole files: what they mean, and every kind of mistake exactly as it is shown.

use std::path::Path;
use std::time::Duration;

use super::*;
use crate::format::{KeyPlan, Single};
use crate::limits::MIB;
use crate::shape::{ColumnType, Timestamp, Written};
use crate::sink::Delivery;

pub(super) fn parse(text: &str) -> Result<Plan, Box<Mistakes>> {
    parse_with(text, &Overrides::default())
}

fn parse_with(text: &str, overrides: &Overrides) -> Result<Plan, Box<Mistakes>> {
    let env = |name: &str| match name {
        "PASSWORD" => Some("hunter2".to_owned()),
        "LANES" => Some("3".to_owned()),
        _ => None,
    };
    let with = Surroundings { env: &env, host: "box".to_owned(), base: Path::new("/etc/bridge") };
    Plan::parse("bridge.toml", text, &with, overrides)
}

/// One pipeline that is right, with the given lines put into it.
pub(super) fn readings(lines: &str) -> String {
    format!("[pipeline.readings]\ntopics = [\"sensors\"]\n{lines}\n")
}

/// The Kafka source of a pipeline that has one.
fn kafka(pipeline: &PipelinePlan) -> &KafkaPlan {
    pipeline.source.kafka().expect("it reads from Kafka")
}

/// What is shown for a file with mistakes.
#[track_caller]
pub(super) fn check(text: &str, expected: &str) {
    let shown = parse(text).expect_err("the file has mistakes").to_string();
    assert_eq!(shown.trim_end(), expected.trim_matches('\n'), "\n{shown}");
}

#[test]
fn the_example_is_read_as_it_is_meant() {
    let plan = parse(include_str!("example.toml")).unwrap_or_else(|error| panic!("{error}"));
    let [pipeline] = plan.pipelines.as_slice() else { panic!("one pipeline") };
    assert_eq!(&*pipeline.name, "readings");
    assert_eq!(
        kafka(pipeline).properties,
        [("bootstrap.servers".to_owned(), "localhost:9092".to_owned())]
    );
    assert_eq!(kafka(pipeline).topics, Topics::List(vec!["sensors".to_owned()]));
    assert_eq!(kafka(pipeline).group.name(), Some("bridge-readings"));
    assert_eq!(kafka(pipeline).start, Start::Earliest);
    assert_eq!(kafka(pipeline).instance.as_deref(), Some("box-readings-0"));
    let column = "sensor_key".to_owned();
    assert_eq!(pipeline.key, KeyPlan::Single { single: Single::String, column });
    assert_eq!(pipeline.transforms.len(), 1);
    assert_eq!(pipeline.shape.table.fixed(), Some("readings"));
    let written = Written::Number(bridge_abi::Unit::Micros);
    assert_eq!(pipeline.shape.timestamp, Timestamp::Field { field: "ts".to_owned(), written });
    assert_eq!(pipeline.shape.timestamp_column, "ts");
    assert_eq!(pipeline.shape.symbols[..2], ["sensor".to_owned(), "site".to_owned()]);
    assert_eq!(
        pipeline.shape.columns,
        [("temperature".to_owned(), ColumnType::Double), ("seq".to_owned(), ColumnType::Long)]
    );
    let topic = "sensors.dead-letters".to_owned();
    assert_eq!(pipeline.rejects, RejectsPlan::Topic { topic });
}

#[test]
fn little_is_enough() {
    let plan = parse(&readings("")).unwrap_or_else(|error| panic!("{error}"));
    let pipeline = &plan.pipelines[0];
    assert_eq!(kafka(pipeline).properties[0].1, "localhost:9092");
    assert_eq!(pipeline.key, KeyPlan::Ignore);
    assert_eq!(pipeline.shape.timestamp, Timestamp::Kafka);
    assert_eq!(pipeline.admission.record_bytes_max, 4 * MIB);
    let topic = "{topic}.dead-letters".to_owned();
    assert_eq!(pipeline.rejects, RejectsPlan::Topic { topic });
    assert_eq!(plan.http, None);
}

#[test]
fn a_pipelines_own_settings_come_first() {
    let text = "[limits]\nlatency = \"1s\"\nlanes = 5\n[http]\nlisten = \"localhost:9187\"\n\
        [kafka]\nbrokers = \"a:1\"\n[kafka.properties]\n\"fetch.min.bytes\" = 7\n\
        \"sasl.password\" = \"${PASSWORD}\"\n\
        [pipeline.one]\ntopics = [\"x\"]\ninstance = false\n\
        kafka = { brokers = \"b:2\", properties = { \"fetch.min.bytes\" = 8 } }\n\
        limits = { lanes = \"${LANES}\", payload_bytes_max = \"1MiB\" }\n\
        [pipeline.two]\ntopics_regex = \"y.*\"\ntopics_except = [\"y.z\"]\ngroup = \"g\"\nstart = \"latest\"\n";
    let instance = Some("7".to_owned());
    let overrides = Overrides { from: Some(Start::Latest), until: None, instance };
    let plan = parse_with(text, &overrides).unwrap_or_else(|error| panic!("{error}"));
    let (one, two) = (&plan.pipelines[0], &plan.pipelines[1]);
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    assert_eq!(
        kafka(one).properties,
        [
            pair("bootstrap.servers", "b:2"),
            pair("sasl.password", "hunter2"),
            pair("fetch.min.bytes", "8")
        ]
    );
    assert!(kafka(one).shown().contains(&pair("sasl.password", "********")));
    assert_eq!((one.limits.lanes, two.limits.lanes), (3, 5));
    assert_eq!(one.limits.payload_bytes_max, MIB);
    assert_eq!(two.limits.linger, Duration::from_millis(250));
    assert_eq!(kafka(one).instance, None);
    assert_eq!(kafka(two).instance.as_deref(), Some("box-two-7"));
    assert_eq!(kafka(two).from, Some(Start::Latest));
    assert_eq!(
        kafka(two).topics,
        Topics::Regex { like: "y.*".to_owned(), except: vec!["y.z".to_owned()] }
    );
    assert_eq!(plan.http, "127.0.0.1:9187".parse().ok());
}

#[test]
fn unknown_keys_are_shown_with_the_nearest() {
    check(
        "[pipeline.readings]\ntopics = [\"sensors\"]\n[pipeline.readings.table]\n\
         timestmap = { field = \"ts\", unit = \"us\" }\nname = \"x\"\nsymbol = []\n[kafca]\n",
        r#"
error: unknown key `timestmap` in pipeline.readings.table
 --> bridge.toml:4:1
  |
4 | timestmap = { field = "ts", unit = "us" }
  | ^^^^^^^^^ did you mean `timestamp`?

error: unknown key `symbol` in pipeline.readings.table
 --> bridge.toml:6:1
  |
6 | symbol = []
  | ^^^^^^ did you mean `symbols`?

error: unknown key `kafca`
 --> bridge.toml:7:2
  |
7 | [kafca]
  |  ^^^^^ did you mean `kafka`?
"#,
    );
}

#[test]
fn places_that_are_none_are_shown_where_they_stand() {
    check(
        &readings("start = \"earlyest\"\nuntil = \"soon\"\nout_of_range = \"earliest\""),
        r#"
error: pipeline.readings.start: `earlyest` is no place to start; did you mean `earliest`?
 --> bridge.toml:3:9
  |
3 | start = "earlyest"
  |         ^^^^^^^^^^
"#,
    );
    check(
        &readings("range = \"x > 3\""),
        r#"
error: pipeline.readings.range: takes topic, partition, offset and timestamp: `x > 3` at character 1
 --> bridge.toml:3:9
  |
3 | range = "x > 3"
  |         ^^^^^^^
"#,
    );
    check(
        &readings("topics_except = [\"a.*\"]"),
        r#"
error: pipeline.readings.topics_except: topics that are listed are not left out again
 --> bridge.toml:3:17
  |
3 | topics_except = ["a.*"]
  |                 ^^^^^^^ it goes with `topics_regex`
"#,
    );
}

#[test]
fn wrong_words_and_types_are_shown_where_they_stand() {
    check(
        &readings("null_value = \"skipp\"\n[pipeline.readings.limits]\nlanes = \"two\""),
        r#"
error: unknown word `skipp` in pipeline.readings.null_value
 --> bridge.toml:3:14
  |
3 | null_value = "skipp"
  |              ^^^^^^^ did you mean `skip`?

error: pipeline.readings.limits.lanes must be a whole number, not negative, not the text "two"
 --> bridge.toml:5:9
  |
5 | lanes = "two"
  |         ^^^^^
"#,
    );
    check(
        &readings("record_bytes_max = \"4 ells\"\n[pipeline.readings.limits]\nlinger = 5"),
        r#"
error: pipeline.readings.record_bytes_max: `4 ells` is not a size, such as "8MiB" or a number
 --> bridge.toml:3:20
  |
3 | record_bytes_max = "4 ells"
  |                    ^^^^^^^^

error: pipeline.readings.limits.linger must be a duration, such as "500ms" or "1s", not 5
 --> bridge.toml:5:10
  |
5 | linger = 5
  |          ^
"#,
    );
}

#[test]
fn references_that_lead_nowhere_are_underlined_alone() {
    check(
        "[kafka]\nbrokers = \"${BROKER}:9092\"\n",
        r#"
error: the environment variable BROKER is not set
 --> bridge.toml:2:12
  |
2 | brokers = "${BROKER}:9092"
  |            ^^^^^^^^^ set it, or write ${BROKER:-default}
"#,
    );
}

#[test]
fn secrets_are_not_shown() {
    let shown = parse(&readings("limits = { lanes = \"${PASSWORD}\", linger = \"${PASSWORD}\" }"))
        .expect_err("a password is no number")
        .to_string();
    assert!(!shown.contains("hunter2"), "{shown}");
    let shown = parse(&readings("limits = { linger = \"${PASSWORD}\" }"))
        .expect_err("a password is no duration")
        .to_string();
    assert!(!shown.contains("hunter2"), "{shown}");
    for place in ["start", "rejects.topic", "value.format", "table.name", "table.columns.x"] {
        let written =
            format!("[pipeline.readings]\ntopics = [\"x\"]\n{place} = \"{{${{PASSWORD}}\"");
        let shown = parse(&written).expect_err("a password is none of these").to_string();
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

#[test]
fn syntax_is_shown_where_it_breaks() {
    check(
        "[pipeline.readings\ntopics = []\n",
        r#"
error: unclosed table, expected `]`
 --> bridge.toml:1:19
  |
1 | [pipeline.readings
  |                   ^
"#,
    );
}

#[test]
fn what_is_missing_is_said() {
    check(
        "[pipeline.readings]\n",
        r#"
error: pipeline.readings needs `topics`
 --> bridge.toml:1:1
  |
1 | [pipeline.readings]
  | ^^^^^^^^^^^^^^^^^^^ such as topics = ["sensors"]
"#,
    );
    check(
        "",
        r#"
error: the file has no pipeline
 --> bridge.toml
  = help: begin one with [pipeline.NAME] and topics = ["..."]
"#,
    );
}

#[test]
fn columns_must_agree_with_each_other() {
    check(
        &readings(
            "[pipeline.readings.table]\ntimestamp = \"server\"\nsymbols = [\"a\", \"b\"]\n\
             columns = { b = \"double\", c = \"bigint\" }\nupsert_keys = [\"a\"]",
        ),
        r#"
error: pipeline.readings.table.columns.c: `bigint` is not a column type
 --> bridge.toml:6:31
  |
6 | columns = { b = "double", c = "bigint" }
  |                               ^^^^^^^^ QuestDB calls it `long`
"#,
    );
    check(
        &readings(
            "[pipeline.readings.table]\ntimestamp = \"server\"\nsymbols = [\"a\", \"b\"]\n\
             columns = { b = \"double\" }\nupsert_keys = [\"a\"]",
        ),
        r#"
error: pipeline.readings.table.symbols.1: `b` is a symbol here and DOUBLE in `columns`
 --> bridge.toml:5:17
  |
5 | symbols = ["a", "b"]
  |                 ^^^

error: pipeline.readings.table.upsert_keys: with the server's clock, no replay has the same keys
 --> bridge.toml:7:15
  |
7 | upsert_keys = ["a"]
  |               ^^^^^ timestamp = "kafka", or { field = "..." }
"#,
    );
    check(
        &readings(
            "[pipeline.readings.table]\ntimestamp = { field = \"ts\" }\nsymbols = [\"sensor\"]\n\
             upsert_keys = [\"senser\", \"kafka_offset\"]\nmetadata = true",
        ),
        r#"
error: pipeline.readings.table.upsert_keys: `ts`, the timestamp, must be among the keys
 --> bridge.toml:6:15
  |
6 | upsert_keys = ["senser", "kafka_offset"]
  |               ^^^^^^^^^^^^^^^^^^^^^^^^^^ add "ts"

error: pipeline.readings.table.upsert_keys.0: the upsert key `senser` is no column that is declared
 --> bridge.toml:6:16
  |
6 | upsert_keys = ["senser", "kafka_offset"]
  |                ^^^^^^^^ did you mean `sensor`?
"#,
    );
}

#[test]
fn a_timestamp_comes_from_one_place() {
    check(
        &readings("[pipeline.readings.table]\ntimestamp = \"ts\""),
        r#"
error: pipeline.readings.table.timestamp: `ts` is neither "kafka" nor "server"
 --> bridge.toml:4:13
  |
4 | timestamp = "ts"
  |             ^^^^ for a field of the record: { field = "ts" }
"#,
    );
    for wrong in [
        "{ field = \"a\", kafka = true }",
        "{}",
        "{ fields = [\"a\", \"b\"] }",
        "{ field = \"a\", unit = \"us\", pattern = \"%Y\" }",
        "{ field = \"a\", unit = \"ps\" }",
        "{ field = \"a\", pattern = \"%!\" }",
        "5",
    ] {
        let text = readings(&format!("[pipeline.readings.table]\ntimestamp = {wrong}"));
        let mistakes = parse(&text).expect_err(wrong);
        assert_eq!(mistakes.list.len(), 1, "{mistakes}");
        assert!(mistakes.list[0].span.is_some(), "{mistakes}");
    }
}

#[test]
fn sandboxes_take_their_bounds_from_the_limits() {
    let transform = "[[pipeline.readings.transform]]\nmodule = \"x.wasm\"\n";
    let parse = |lines: &str| parse(&readings(lines)).unwrap_or_else(|error| panic!("{error}"));
    let memory = |plan: &Plan| plan.pipelines[0].transforms[0].memory_bytes_max();
    let bounded = parse(&format!("limits = {{ guest_memory_bytes_max = \"8MiB\" }}\n{transform}"));
    assert_eq!(memory(&bounded), 8 * MIB);
    let own = parse(&format!("{transform}memory_max = \"16MiB\""));
    assert_eq!(memory(&own), 16 * MIB);
    let more = own.ceiling_bytes() - bounded.ceiling_bytes();
    assert_eq!(more, own.pipelines[0].limits.lanes * 8 * MIB);
}

#[test]
fn files_of_a_sink_lie_beside_the_configuration() {
    let lines = "transport = \"tcp\"\nusername = \"u\"\npassword_file = \"secret\"\n\
        tls = true\ntls_ca = \"ca.pem\"\nauth_key_id = \"k\"\n\
        auth_private_key_file = \"/run/key\"\nauth_public_key_x = \"x\"\nauth_public_key_y = \"y\"";
    let plan = parse(&readings(&format!("[pipeline.readings.sink]\n{lines}")));
    let plan = plan.unwrap_or_else(|error| panic!("{error}"));
    let shown = format!("{:?}", plan.pipelines[0].sink);
    for path in ["\"/etc/bridge/secret\"", "\"/etc/bridge/ca.pem\"", "\"/run/key\""] {
        assert!(shown.contains(path), "{path}: {shown}");
    }
}

#[test]
fn kinds_are_found_by_name_and_read_their_own_options() {
    check(
        &readings("sink = { kind = \"questbd\" }\n[[pipeline.readings.transform]]\nmodul = \"x\""),
        r#"
error: pipeline.readings.sink.kind: there is no kind `questbd`
 --> bridge.toml:3:17
  |
3 | sink = { kind = "questbd" }
  |                 ^^^^^^^^^ did you mean `questdb`?

error: pipeline.readings.transform.0: a transform needs a `module`, or a `kind`
 --> bridge.toml:4:1
  |
4 | [[pipeline.readings.transform]]
  | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ such as module = "transforms/x.wasm"
"#,
    );
}

#[test]
fn what_the_bridge_decides_is_not_a_property() {
    check(
        "[kafka.properties]\n\"group.id\" = \"x\"\n[pipeline.a]\ntopics = [\"x\"]\n\
         group = \"g\"\n[pipeline.b]\ntopics = [\"y\"]\ngroup = \"g\"",
        r#"
error: kafka.properties.group.id: the property `group.id` is set by the bridge
 --> bridge.toml:2:14
  |
2 | "group.id" = "x"
  |              ^^^ write `group` in the pipeline

error: pipeline.b.group: pipelines a and b share the group `g`
 --> bridge.toml:8:9
  |
8 | group = "g"
  |         ^^^ give each a group of its own
"#,
    );
}

#[test]
fn bounds_must_make_sense() {
    for wrong in [
        "lanes = 0",
        "lanes = 1000",
        "latency = \"1s\", linger = \"1s\"",
        "payload_bytes_max = \"64MiB\"",
        "reject_share_max = 1.5",
        "tickets_max = 0",
        "lent_bytes_max = -1",
    ] {
        let mistakes = parse(&readings(&format!("limits = {{ {wrong} }}"))).expect_err(wrong);
        assert_eq!(mistakes.list.len(), 1, "{mistakes}");
    }
    for wrong in [
        "rejects = { topic = \"a b\" }",
        "rejects = { topic = \"{topic}\" }",
        "rejects = { topic = \"x\", file = \"y\" }",
        "key = { format = \"string\", prefix = \"p_\" }",
        "topics_regex = \"x\"",
        "table = { name = \"{nope}\" }",
        "table = { ttl = \"1; DROP TABLE x\" }",
        "table = { metadata = { topic = \"t\", offset = \"t\" } }",
        "table = { metadata = { timestamp = \"timestamp\" } }",
        "table = { mapping = { a = \"c\", b = \"c\" } }",
        "table = { mapping = { a = \"c\" }, symbols = [\"a\"] }",
        "table = { columns_max = 0 }",
        "table = { partition_by = \"EON\" }",
    ] {
        let mistakes = parse(&readings(wrong)).expect_err(wrong);
        assert_eq!(mistakes.list.len(), 1, "{mistakes}");
    }
}

/// Whatever a slip of the finger makes of a file, it is a plan or a list of mistakes to be shown.
#[test]
fn no_text_is_too_wrong_to_be_shown() {
    use proptest::prelude::*;

    let example: Vec<char> = include_str!("example.toml").chars().collect();
    let slips =
        proptest::collection::vec((any::<prop::sample::Index>(), any::<Option<char>>()), 1..4);
    let settings = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    proptest!(settings, |(slips in slips)| {
        let mut text = example.clone();
        for (at, slip) in &slips {
            let at = at.index(text.len());
            match slip {
                Some(letter) => text[at] = *letter,
                None => drop(text.remove(at)),
            }
        }
        let text: String = text.into_iter().collect();
        if let Err(mistakes) = parse(&text) {
            prop_assert_eq!(mistakes.to_string().matches("error: ").count(), mistakes.list.len());
        }
    });
}

#[test]
fn a_source_of_its_own_needs_no_kafka() {
    let plan = parse("[pipeline.p]\nsource = { kind = \"memory\", file = \"sample.jsonl\" }\n");
    let plan = plan.unwrap_or_else(|error| panic!("{error}"));
    let [pipeline] = plan.pipelines.as_slice() else { panic!("one pipeline") };
    assert_eq!(pipeline.source_kind, "memory");
    assert!(pipeline.source.kafka().is_none());
    assert!(format!("{:?}", pipeline.source).contains("/etc/bridge/sample.jsonl"));
    let path = "/etc/bridge/p.dead-letters.jsonl".into();
    assert_eq!(pipeline.rejects, RejectsPlan::File { path });
}

#[test]
fn what_is_kafkas_does_not_go_with_another_source() {
    check(
        "[pipeline.p]\ntopics = [\"t\"]\nsource = { kind = \"memory\" }\nrejects = { topic = \"d\" }\n",
        r#"
error: pipeline.p.topics: `topics` is Kafka's, and the source is `memory`
 --> bridge.toml:2:10
  |
2 | topics = ["t"]
  |          ^^^^^ take it out, or the source

error: pipeline.p.rejects.topic: a topic needs Kafka, and the source is not it
 --> bridge.toml:4:21
  |
4 | rejects = { topic = "d" }
  |                     ^^^ such as file = "dead-letters.jsonl"
"#,
    );
    for (source, said) in [
        ("kind = \"memry\"", "did you mean `memory`"),
        ("records = [\"x\"]", "`records`"),
        ("kind = \"memory\", records = [\"x\"], file = \"y\"", "not both"),
        ("kind = \"memory\", partitions = 0", "1 to 4096 partitions"),
    ] {
        let text = format!("[pipeline.p]\ntopics = [\"t\"]\nsource = {{ {source} }}\n");
        let shown = parse(&text).expect_err("the file has a mistake").to_string();
        assert!(shown.contains(said), "{said} is not in\n{shown}");
    }
}

#[test]
fn exactly_once_asks_for_keys_and_for_transforms_that_repeat() {
    let plan = parse(&readings(
        "delivery = \"exactly-once\"\n[pipeline.readings.table]\ntimestamp = { field = \"ts\" }",
    ));
    let plan = plan.unwrap_or_else(|error| panic!("{error}"));
    let [pipeline] = plan.pipelines.as_slice() else { panic!("one pipeline") };
    assert_eq!(pipeline.delivery, Delivery::ExactlyOnce);
    let keys = pipeline.shape.create.upsert_keys.join(" ");
    assert_eq!(keys, "ts kafka_topic kafka_partition kafka_offset kafka_row");
    check(
        &readings(
            "delivery = \"exactly-once\"\n[[pipeline.readings.transform]]\n\
             module = \"a.wasm\"\ndeterministic = false\n[pipeline.readings.table]\n\
             timestamp = \"server\"",
        ),
        r#"
error: pipeline.readings.transform.0.deterministic: a clock and chance give a replay other rows
 --> bridge.toml:6:17
  |
6 | deterministic = false
  |                 ^^^^^ take it out: with delivery = "exactly-once" the clock stands still

error: pipeline.readings.table.timestamp: by the server's clock a replay is another row, and "exactly-once" has none
 --> bridge.toml:8:13
  |
8 | timestamp = "server"
  |             ^^^^^^^^ timestamp = { field = "..." }, or "kafka"
"#,
    );
    check(
        &readings(
            "delivery = \"exactly-once\"\n[[pipeline.readings.transform]]\n\
             module = \"a.wasm\"\non_failure = \"bypass\"\n[pipeline.readings.sink]\n\
             kind = \"memory\"",
        ),
        r#"
error: pipeline.readings.delivery: this sink cannot store exactly once
 --> bridge.toml:3:12
  |
3 | delivery = "exactly-once"
  |            ^^^^^^^^^^^^^^ delivery = "at-least-once", or kind = "questdb"

error: pipeline.readings.transform.0.on_failure: a deadline may pass at one try and not at the next
 --> bridge.toml:6:14
  |
6 | on_failure = "bypass"
  |              ^^^^^^^^ on_failure = "dead-letter", or "stop"
"#,
    );
}
