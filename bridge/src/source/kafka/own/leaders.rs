//! Who leads which partition: one thread that asks any broker, when somebody wants to know and now
//! and then beside.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::shared::Shared;
use super::tap::Trouble;
use crate::kafka::wire::Broken;
use crate::kafka::wire::connection::Connection;
use crate::kafka::wire::metadata::Metadata;

/// Time between two questions, at least: an election takes longer.
const ASK_EVERY: Duration = Duration::from_millis(100);

/// With nothing to read, the thread looks up this often.
const IDLE: Duration = Duration::from_secs(5);

/// Starts the thread.
pub fn begin(shared: &Arc<Shared>) {
    let own = Arc::clone(shared);
    if !shared.spawn("fetch-leaders", move || run(&own)) {
        shared.died.store(true, Ordering::Release);
    }
}

fn run(shared: &Arc<Shared>) {
    let mut connection = None;
    let mut due = Instant::now();
    let mut pause = ASK_EVERY;
    let mut turn = 0;
    while !shared.is_over() {
        let now = Instant::now();
        let (topics, is_wanted) = wanted(shared);
        if topics.is_empty() || (!is_wanted && now < due) {
            shared.leaders_bell.wait(if topics.is_empty() { now + IDLE } else { due });
            continue;
        }
        match ask(shared, &mut connection, &topics, turn) {
            Ok(metadata) => {
                due = Instant::now() + shared.terms.refresh;
                apply(shared, metadata);
                let has_all = !wanted(shared).1;
                pause = if has_all { ASK_EVERY } else { grown(shared, pause) };
            }
            Err(error) => {
                tracing::debug!("asking who leads partitions: {error}");
                if let Broken::Foreign(_) = error {
                    let trouble = || Trouble::Foreign(error.to_string());
                    shared.feeds().iter().for_each(|feed| feed.refuse(trouble()));
                }
                connection = None;
                turn += 1;
                // Every address once before there is a longer pause.
                pause = grown(shared, pause);
                due = Instant::now();
            }
        }
        rest(shared, pause);
    }
}

fn grown(shared: &Shared, pause: Duration) -> Duration {
    (pause * 2).clamp(ASK_EVERY, shared.terms.reconnect_max.max(ASK_EVERY))
}

/// Waits, whatever rings, but for the end.
fn rest(shared: &Shared, pause: Duration) {
    let until = Instant::now() + pause;
    while Instant::now() < until && !shared.is_over() {
        shared.leaders_bell.wait(until);
    }
}

/// The topics that are read, and whether a partition of theirs has no leader.
fn wanted(shared: &Shared) -> (Vec<Arc<str>>, bool) {
    let mut topics: Vec<Arc<str>> = Vec::new();
    let mut is_wanted = false;
    for feed in shared.feeds().iter() {
        let (reads, is_led) = feed.wants_leader();
        if !reads {
            continue;
        }
        is_wanted |= !is_led;
        // Feeds are in the order of their names.
        if topics.last() != Some(&feed.name.topic) {
            topics.push(Arc::clone(&feed.name.topic));
        }
    }
    (topics, is_wanted)
}

fn ask(
    shared: &Shared,
    connection: &mut Option<Connection>,
    topics: &[Arc<str>],
    turn: usize,
) -> Result<Metadata, Broken> {
    let connection = match connection {
        Some(connection) => connection,
        None => {
            let addresses = shared.addresses();
            let (host, port) = &addresses[turn % addresses.len()];
            let made = Connection::open(host, *port, &shared.terms.manner, &shared.stop)?;
            connection.insert(made)
        }
    };
    connection.metadata(topics.iter().map(|topic| &**topic))
}

fn apply(shared: &Arc<Shared>, metadata: Metadata) {
    let known: HashSet<i32> = metadata.brokers.iter().map(|broker| broker.id).collect();
    shared.meet(metadata.brokers);
    let mut leaders = HashMap::new();
    let mut ids = HashMap::new();
    for topic in &metadata.topics {
        ids.extend(topic.id.map(|id| (&*topic.name, id)));
        for leader in topic.leaders.iter().filter(|leader| known.contains(&leader.broker)) {
            leaders.insert((&*topic.name, leader.partition), (leader.broker, leader.epoch));
        }
    }
    let mut busy = HashSet::new();
    for feed in shared.feeds().iter() {
        let (reads, _) = feed.wants_leader();
        let leader = leaders.get(&(&*feed.name.topic, feed.name.partition)).copied();
        feed.learn(ids.get(&*feed.name.topic).copied(), leader);
        if let Some((broker, _)) = leader.filter(|_| reads) {
            busy.insert(broker);
        }
    }
    busy.into_iter().for_each(|broker| shared.reader(broker));
}
