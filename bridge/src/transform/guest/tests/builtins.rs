//! The modules that come along, through the real sandbox.

use super::*;
use crate::modules;

fn bench(name: &str, options: &str) -> Bench {
    Bench::new(modules::builtin(name).expect("it comes along").wasm, options)
}

/// Two readings, one of them cold.
fn readings() -> [Vec<(&'static str, Said)>; 2] {
    [("a", 21.5), ("b", 4.0)].map(|(sensor, celsius)| {
        vec![("sensor", Said::Text(sensor)), ("temperature", Said::F64(celsius))]
    })
}

#[track_caller]
fn check(name: &str, config: &str, rows: &[Vec<(&str, Said)>], lines: &[&str]) -> Bench {
    let mut bench = bench(name, &format!("config = {{ {config} }}"));
    assert_eq!(bench.run(rows).expect("runs"), lines, "{name}");
    bench
}

#[test]
fn filter_keeps_by_columns_and_by_what_kafka_says() {
    let kept = ["0.0 - sensor=\"a\" temperature=21.5"];
    check("filter", "where = \"temperature > 15\"", &readings(), &kept);
    let by_kafka = "where = \"partition = 3 and offset < 1 and topic = 'sensors' and key = '0' and \
                    header('index') = '0' and timestamp < timestamp '1970-01-01 00:00:02'\"";
    check("filter", by_kafka, &readings(), &kept);
    let mut bench = check("filter", "where = \"lower(temperature) = 'x'\"", &readings(), &[]);
    let refused = bench.refused();
    assert_eq!(refused[0].1, Reason::RefusedByTransform);
    assert_eq!(refused[0].2, "`temperature`: lower takes text, and this is a number");
}

#[test]
fn a_wrong_expression_stops_the_start_and_points_at_the_place() {
    let filter = modules::builtin("filter").expect("it comes along").wasm;
    let options = "config = { where = \"temperature > and\" }";
    let refused = load(&Arc::new(Names::default()), filter, options).err().expect("refused");
    let said = "reading `where`: expected a value, here is `and` at character 15: \
                `temperature >  ➜ and`";
    assert!(refused.message.contains(said), "{}", refused.message);
}

#[test]
fn route_sends_to_tables() {
    let rules = "rules = [{ where = \"temperature > 20\", table = \"warm\" }]";
    let lines = ["0.0 warm sensor=\"a\" temperature=21.5", "1.0 - sensor=\"b\" temperature=4"];
    check("route", rules, &readings(), &lines);
}

#[test]
fn convert_computes() {
    let config = "set = { fahrenheit = \"convert(temperature, 'celsius', 'fahrenheit')\", \
                  label = \"upper(sensor) || '!'\" }, drop = [\"sensor\"]";
    let lines = [
        "0.0 - temperature=21.5 fahrenheit=70.7 label=\"A!\"",
        "1.0 - temperature=4 fahrenheit=39.2 label=\"B!\"",
    ];
    check("convert", config, &readings(), &lines);
}

#[test]
fn redact_takes_away() {
    let config = "mask = [{ column = \"sensor\" }], drop = [\"temperature\"]";
    check("redact", config, &readings(), &["0.0 - sensor=\"*\"", "1.0 - sensor=\"*\""]);
    let mut bench = bench("redact", "config = { hash = [\"sensor\"], key = \"0123456789abcdef\" }");
    let lines = bench.run(&readings()).expect("runs");
    let digits = lines[0].split('"').nth(1).expect("a text");
    assert!(digits.len() == 32 && digits.bytes().all(|b| b.is_ascii_hexdigit()), "{lines:?}");
    assert_ne!(lines[0].split('"').nth(1), lines[1].split('"').nth(1));
}

#[test]
fn dedup_remembers_from_batch_to_batch() {
    let config = "by = [\"sensor\"], window = \"10s\"";
    let kept = ["0.0 - sensor=\"a\" temperature=21.5", "1.0 - sensor=\"b\" temperature=4"];
    let mut bench = check("dedup", config, &readings(), &kept);
    // The same records again are those that went on; others with their keys are not.
    assert_eq!(bench.run(&readings()).expect("runs"), kept);
    let swapped = [readings()[1].clone(), readings()[0].clone()];
    assert_eq!(bench.run(&swapped).expect("runs"), [""; 0]);
}

#[test]
fn dedup_at_its_largest_fits_into_the_memory_that_is_said() {
    let options = "memory_max = '16MiB'\nconfig = { by = ['sensor'], window = '1s' }";
    bench("dedup", options);
    let options = "memory_max = '128MiB'
                   config = { by = ['sensor'], window = '1s', keys_max = 1000000 }";
    bench("dedup", options);
    let dedup = modules::builtin("dedup").expect("it comes along").wasm;
    let options = "config = { by = ['sensor'], window = '1s', keys_max = 1000000 }";
    let refused = load(&Arc::new(Names::default()), dedup, options).err().expect("refused");
    assert!(refused.message.contains("raise `memory_max`"), "{}", refused.message);
}

#[test]
fn sample_keeps_the_same_share_every_time() {
    let mut bench = bench("sample", "config = { rate = 0.25 }");
    let first = bench.offsets(4_000).expect("runs");
    assert!((850..1_150).contains(&first.len()), "{}", first.len());
    assert_eq!(bench.offsets(4_000).expect("runs"), first);
}

#[test]
fn explode_makes_a_row_for_each_reading() {
    let rows = [vec![("site", Said::Text("n")), ("m_a", Said::F64(1.0)), ("m_b", Said::F64(2.0))]];
    let lines = [
        "0.0 - site=\"n\" name=Symbol(\"a\") value=1",
        "0.1 - site=\"n\" name=Symbol(\"b\") value=2",
    ];
    check("explode", "prefix = \"m_\"", &rows, &lines);
}

#[test]
fn an_expression_as_deep_as_may_be_runs_in_the_sandbox() {
    let deep =
        |levels: usize| format!("{}temperature{}", "abs(".repeat(levels), ")".repeat(levels));
    let sums = " + 1".repeat(256);
    let condition = format!("where = \"{} {sums} > 100\"", deep(97));
    check(
        "filter",
        &condition,
        &readings(),
        &["0.0 - sensor=\"a\" temperature=21.5", "1.0 - sensor=\"b\" temperature=4"],
    );
}

#[test]
fn builtins_are_small_and_tell_no_place() {
    let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace");
    let here = here.to_string_lossy();
    for builtin in &modules::BUILTINS {
        let kilobytes = builtin.wasm.len() >> 10;
        assert!(kilobytes < 500, "{} has {kilobytes} KB", builtin.name);
        assert!(!builtin.wasm.windows(here.len()).any(|part| part == here.as_bytes()), "{here}");
        assert!(!builtin.wasm.windows(11).any(|part| part == b".debug_line"), "{}", builtin.name);
    }
}
