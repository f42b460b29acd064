//! Bytes that we did not write, through the bodies of the fuzz targets (`tests/fuzz`): seeds and
//! what mutation makes of them, for a second or so each, the same every time.
//! `FUZZ_SECONDS=60` goes on for longer, `FUZZ_SEED=7` goes elsewhere.

#[path = "../../../tests/fuzz/src/bodies.rs"]
mod bodies;
mod mutate;

use std::panic::catch_unwind;
use std::time::{Duration, Instant};

use bodies::TARGETS;
use mutate::Mutator;

/// Inputs that are always tried, however slow the machine.
const TRIES_MIN: usize = 2_000;

fn number(name: &str, default: u64) -> u64 {
    let told = std::env::var(name).ok();
    told.map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

fn drive(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target");
    let until = Instant::now() + Duration::from_secs(number("FUZZ_SECONDS", 0));
    let mut mutator = Mutator::new(number("FUZZ_SEED", 1));
    let seeds = (target.seeds)();
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
fn answers_that_no_guest_should_give() {
    drive("guest_rows");
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
