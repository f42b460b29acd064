//! Bytes that we did not write, through the bodies of the fuzz targets (`tests/fuzz`): seeds and
//! what mutation makes of them, for a second or so each, the same every time.
//! `FUZZ_SECONDS=60` goes on for longer, `FUZZ_SEED=7` goes elsewhere.

#[path = "../../../tests/fuzz/src/bodies.rs"]
mod bodies;
mod mutate;

use std::collections::BTreeMap;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bodies::TARGETS;
use mutate::Mutator;

/// Inputs that are always tried, however slow the machine.
const TRIES_MIN: usize = 2_000;

fn number(name: &str, default: u64) -> u64 {
    let told = std::env::var(name).ok();
    told.map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/corpus").join(name)
}

/// What is kept for a target, by the names of the files; cargo-fuzz begins with the same.
fn corpus(name: &str) -> BTreeMap<String, Vec<u8>> {
    let files = std::fs::read_dir(folder(name)).into_iter().flatten().flatten();
    let read = |file: std::fs::DirEntry| {
        let name = file.file_name().to_string_lossy().into_owned();
        (name, std::fs::read(file.path()).expect("a file of the corpus"))
    };
    files.map(read).collect()
}

fn drive(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target");
    let until = Instant::now() + Duration::from_secs(number("FUZZ_SECONDS", 0));
    let mut mutator = Mutator::new(number("FUZZ_SEED", 1));
    let mut seeds = (target.seeds)();
    seeds.extend(corpus(name).into_values());
    seeds.iter().for_each(|seed| (target.body)(seed));
    let mut tries = 0;
    while tries < TRIES_MIN || Instant::now() < until {
        let input = mutator.input(&seeds);
        if catch_unwind(|| (target.body)(&input)).is_err() {
            panic!("{name} breaks on {:?}", input.escape_ascii().to_string());
        }
        tries += 1;
    }
}

#[test]
fn json_that_nobody_wrote() {
    drive("decode_json");
}

#[test]
fn records_of_other_formats_that_nobody_wrote() {
    drive("decode_formats");
}

#[test]
fn avro_that_nobody_wrote() {
    drive("decode_avro");
}

#[test]
fn json_behind_an_id_that_nobody_wrote() {
    drive("decode_json_schema");
}

#[test]
fn values_that_nobody_packed() {
    drive("decode_packed");
}

#[test]
fn changes_that_no_connector_wrote() {
    drive("decode_debezium");
}

#[test]
fn protobuf_that_nobody_wrote() {
    drive("decode_protobuf");
}

#[test]
fn schemas_of_protobuf_that_nobody_wrote() {
    drive("proto_text");
}

#[test]
fn answers_that_no_guest_should_give() {
    drive("guest_rows");
}

#[test]
fn answers_that_are_wrong_in_one_thing() {
    drive("guest_answers");
}

/// Tries in search of an answer for each rule.
const SEARCHED: usize = 100_000;

/// The corpus has an answer for each rule that can be broken, called by it. `UPDATE=1` makes it.
#[test]
fn every_rule_of_answers_is_in_the_corpus() {
    let mut kept = corpus("guest_answers");
    if std::env::var_os("UPDATE").is_some() {
        let mut mutator = Mutator::new(1);
        let target = TARGETS.iter().find(|target| target.name == "guest_answers");
        let seeds = (target.expect("a target").seeds)();
        kept.clear();
        for _ in 0..SEARCHED {
            let input = mutator.input(&seeds);
            let shortest = kept.entry(bodies::verdict(&input)).or_insert_with(|| input.clone());
            if input.len() < shortest.len() {
                *shortest = input;
            }
        }
        std::fs::create_dir_all(folder("guest_answers")).expect("it is ours");
        for (name, bytes) in &kept {
            std::fs::write(folder("guest_answers").join(name), bytes).expect("it is ours");
        }
    }
    for (name, bytes) in &kept {
        assert_eq!(*name, bodies::verdict(bytes), "the name says what is broken");
    }
    let rules = [
        "well",
        "consumed",
        "actions",
        "toomanyactions",
        "kind",
        "topic",
        "flags",
        "nosuchrecord",
        "order",
        "twice",
        "table",
        "cells",
        "toomanycells",
        "column",
        "columntwice",
        "dropinrow",
        "value-kind",
        "value-flags",
        "value-bool",
        "value-unit",
        "value-outside-ptr",
        "value-utf",
        "value-decimal-scale",
        "value-array",
        "reason-utf",
        "reason-outside-ptr",
        "record-size",
        "record-outside",
        "record-flags",
        "record-partition",
        "record-timestamp",
        "record-headers",
        "record-toomanyheaders",
        "record-noaddress-key",
        "record-part-value",
    ];
    let lacks: Vec<_> = rules.iter().filter(|rule| !kept.contains_key(**rule)).collect();
    assert!(lacks.is_empty(), "no answer breaks {lacks:?}: {:?}", kept.keys());
}

#[test]
fn expressions_that_nobody_wrote() {
    drive("expression");
}

#[test]
fn configurations_that_are_none() {
    drive("config");
}

#[test]
fn lines_that_no_client_should_send() {
    drive("line_protocol");
}

#[test]
fn mutation_goes_somewhere() {
    let seeds = vec![b"abcdefgh".to_vec()];
    let mut mutator = Mutator::new(1);
    let inputs: std::collections::HashSet<_> = (0..100).map(|_| mutator.input(&seeds)).collect();
    assert!(inputs.len() > 80);
}
