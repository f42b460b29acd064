//! Promise: whatever moves, nothing is lost, and what has one key keeps its order: leaders and
//! brokers of a cluster, and processes that share its partitions.
//!
//! ```text
//! load ─▶ topic ─▶ 1 process that stays, 3 that come and go ─▶ QuestDB, upserting: each row once
//!           32 partitions, on 3 brokers restarted in turn   └▶ a topic: order, and what came twice
//! ```

use std::fmt::Write;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use e2e::{
    Band, Bridge, Group, Installed, Load, Reading, Setup, pick, promise_on, rows_are_exact,
    stream_is_whole,
};
use world::{KafkaCluster, NODES, QuestDb, Stand, await_ok};

const BUSY: Duration = Duration::from_secs(60);
const DRAIN: Duration = Duration::from_secs(180);
const ENDS: Duration = Duration::from_secs(30);
const VISIBLE: Duration = Duration::from_secs(60);
/// Until a node that came back has all that it missed, and leads again.
const WHOLE: Duration = Duration::from_secs(90);
/// Who dies is missed after this time.
const SESSION: &str = "\"session.timeout.ms\" = 6000";

struct Servers {
    kafka: KafkaCluster,
    questdb: QuestDb,
}

impl Servers {
    fn start() -> Result<Self> {
        std::thread::scope(|scope| {
            let kafka = scope.spawn(KafkaCluster::start);
            let questdb = QuestDb::start().context("starting QuestDB")?;
            let kafka = kafka.join().map_err(|_| anyhow!("starting the cluster panicked"))?;
            Ok(Self { kafka: kafka.context("starting the cluster")?, questdb })
        })
    }

    /// Restarts what an earlier test left dead.
    fn repair(&self) -> Result<()> {
        let mut dead = NODES.into_iter().filter(|node| !self.kafka.runs(*node));
        dead.try_for_each(|node| self.kafka.restart(node))
    }

    fn setup(&self, name: &str, topic: &str, partitions: i32) -> Setup {
        let setup = Setup::at(&self.kafka.brokers(), &self.questdb, name, partitions);
        let mut setup = setup.of_readings().upserting();
        setup.topic = topic.to_owned();
        setup.properties = vec![SESSION.to_owned()];
        setup
    }

    /// Waits until no node lacks anything.
    fn wait_whole(&self, topics: &[&str]) -> Result<()> {
        let internal = ["__consumer_offsets"];
        let mut all = topics.iter().chain(&internal);
        all.try_for_each(|topic| self.kafka.wait_in_sync(topic, WHOLE))
    }
}

fn with_cluster(name: &str, body: impl FnOnce(&'static Servers) -> Result<()>) {
    static SERVERS: OnceLock<Servers> = OnceLock::new();
    promise_on(&SERVERS, Servers::start, name, |servers| {
        servers.repair()?;
        body(servers)
    });
}

/// Waits until a record that comes from now on to the first partition is committed; after how many
/// seconds. What was read before it moved would prove nothing.
fn followed(bridge: &Bridge, group: &Group) -> Result<f64> {
    let (start, end) = (Instant::now(), group.end_each()?[0]);
    bridge.wait(BUSY, "a commit of the partition that moved", || {
        let committed = group.committed_each()?[0];
        ensure!(committed > end, "{committed} records of it are committed, and it had {end}");
        Ok(())
    })?;
    Ok(start.elapsed().as_secs_f64())
}

/// How the first partition stands.
fn first_stand(kafka: &KafkaCluster, topic: &str) -> Result<Stand> {
    kafka.stands(topic)?.first().copied().with_context(|| format!("{topic} has no partitions"))
}

/// Waits until the node with the first replica of the first partition leads it.
fn first_leads(kafka: &KafkaCluster, topic: &str) -> Result<usize> {
    await_ok(WHOLE, "the first replica to lead", || {
        let stand = first_stand(kafka, topic)?;
        ensure!(stand.leader == stand.preferred, "{stand:?}");
        usize::try_from(stand.leader).context("nodes have numbers")
    })
}

#[test]
fn a_partition_is_followed_to_its_leader() {
    with_cluster("a partition is followed to its leader, whoever fetches", |servers| {
        const PARTITIONS: i32 = 3;
        let (kafka, topic) = (&servers.kafka, "led");
        kafka.create_topic(topic, PARTITIONS)?;
        let install = |fetch: &str| {
            let mut setup = servers.setup(&format!("led_{fetch}"), topic, PARTITIONS);
            setup.pipeline = vec![format!("kafka = {{ fetch = \"{fetch}\" }}")];
            setup.install()
        };
        let all = ["auto", "library"].into_iter().map(install).collect::<Result<Vec<_>>>()?;
        let bridges = all.iter().map(Installed::start_ready).collect::<Result<Vec<_>>>()?;
        let groups = all.iter().map(Installed::its_group).collect::<Result<Vec<_>>>()?;
        let load = Load::start_at(kafka, topic, 1_000, |seq| Reading(seq).record(PARTITIONS));
        let look = |when: &str| {
            for ((bridge, group), installed) in bridges.iter().zip(&groups).zip(&all) {
                let seconds = followed(bridge, group).with_context(|| when.to_owned())?;
                println!("{}: {when}: at work after {seconds:.2} s", installed.setup.table);
            }
            Ok::<(), anyhow::Error>(())
        };
        look("at first")?;
        let node = first_leads(kafka, topic)?;
        for kills in [false, true] {
            match kills {
                false => kafka.stop(node)?,
                true => kafka.kill(node)?,
            }
            // Who was killed is missed when its session has ended.
            await_ok(BUSY, "another leader", || {
                let stand = first_stand(kafka, topic)?;
                ensure!(stand.leader >= 0 && stand.leader != stand.preferred, "{stand:?}");
                Ok(())
            })?;
            look(if kills { "its leader was killed" } else { "its leader was stopped" })?;
            kafka.restart(node)?;
            servers.wait_whole(&[topic])?;
            first_leads(kafka, topic)?;
            look("its leader leads again")?;
        }
        let count = load.finish(Duration::ZERO)?;
        for ((bridge, group), installed) in bridges.iter().zip(&groups).zip(&all) {
            group.wait_drained(bridge, DRAIN)?;
            bridge.stop_well(ENDS)?;
            let table = &installed.setup.table;
            rows_are_exact(&servers.questdb, table, count, Band::ALL, VISIBLE)?;
        }
        Ok(())
    });
}

/// What is done to the processes and the brokers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Strike {
    Comes,
    Stops,
    Dies,
    BrokerStopped,
    BrokerKilled,
    BrokerBack,
}

/// One after the other, again and again: there is somebody to go when one is to go. Everyday runs
/// come as far as the first broker.
const STRIKES: [Strike; 10] = [
    Strike::Comes,
    Strike::Comes,
    Strike::Comes,
    Strike::Dies,
    Strike::Stops,
    Strike::BrokerKilled,
    Strike::Comes,
    Strike::Dies,
    Strike::BrokerStopped,
    Strike::Stops,
];

/// What was committed, and what had been produced, when.
#[derive(Clone, Copy, Debug)]
struct Mark {
    at: Instant,
    committed: i64,
    produced: i64,
}

/// Processes that share a group, of which the first stays.
struct Storm<'a> {
    servers: &'a Servers,
    topics: [&'a str; 2],
    stays: Bridge,
    guests: Vec<(Installed, Option<Bridge>)>,
    broker: usize,
    struck: Vec<(Instant, Strike)>,
}

impl Storm<'_> {
    /// Does it; what must be waited for until the next one is no more than progress.
    fn strike(&mut self, strike: Strike) -> Result<()> {
        self.struck.push((Instant::now(), strike));
        let is_here = |guest: &&mut (Installed, Option<Bridge>)| guest.1.is_some();
        match strike {
            Strike::Comes => {
                let guest = self.guests.iter_mut().find(|guest| guest.1.is_none());
                let (installed, guest) = guest.context("all are here")?;
                *guest = Some(installed.start()?);
            }
            Strike::Stops | Strike::Dies => {
                let guest = self.guests.iter_mut().find(is_here).context("nobody is here")?;
                let bridge = guest.1.take().context("it is here")?;
                match strike {
                    Strike::Dies => bridge.kill()?,
                    _ => bridge.stop_well(ENDS)?,
                }
                // Who went last comes last.
                self.guests.rotate_left(1);
            }
            Strike::BrokerStopped => self.servers.kafka.stop(NODES[self.broker])?,
            Strike::BrokerKilled => self.servers.kafka.kill(NODES[self.broker])?,
            Strike::BrokerBack => {
                self.servers.kafka.restart(NODES[self.broker])?;
                self.servers.wait_whole(&self.topics)?;
                self.broker = (self.broker + 1) % NODES.len();
            }
        }
        let guests = self.guests.iter().filter_map(|(_, bridge)| bridge.as_ref());
        std::iter::once(&self.stays).chain(guests).try_for_each(Bridge::ensure_running)
    }

    /// Strikes for so long; work goes on after each.
    fn rage(&mut self, group: &Group, per_second: u64, lasting: Duration) -> Result<()> {
        let start = Instant::now();
        for strike in STRIKES.into_iter().cycle() {
            if start.elapsed() > lasting {
                break;
            }
            let is_broker = matches!(strike, Strike::BrokerStopped | Strike::BrokerKilled);
            let then = is_broker.then_some(Strike::BrokerBack);
            for strike in std::iter::once(strike).chain(then) {
                let before = group.committed()?;
                self.strike(strike).with_context(|| format!("{strike:?}"))?;
                let wanted = before + 2 * per_second as i64;
                let progress = group.wait_progress(&self.stays, wanted, BUSY);
                progress.with_context(|| format!("after {strike:?}"))?;
            }
        }
        Ok(())
    }

    /// For each kind of strike: how often, and how long nothing was committed after it. The most
    /// that can have been read twice: after each strike what was not committed.
    fn report(&self, marks: &[Mark]) -> Result<(String, i64)> {
        let (mut text, mut in_flight) = (String::new(), 0);
        let mut gaps: Vec<(Strike, f64)> = Vec::new();
        for (index, (from, strike)) in self.struck.iter().enumerate() {
            let to = self.struck.get(index + 1).map(|(at, _)| *at);
            let after = marks.iter().filter(|mark| to.is_none_or(|to| mark.at < to));
            let after: Vec<&Mark> = after.filter(|mark| mark.at >= *from).collect();
            in_flight += after.iter().map(|mark| mark.produced - mark.committed).max().unwrap_or(0);
            let before = marks.iter().rev().find(|mark| mark.at < *from);
            let before = before.map_or(0, |mark| mark.committed);
            let (mut last, mut longest) = ((*from, before), Duration::ZERO);
            for mark in after {
                if mark.committed > last.1 {
                    longest = longest.max(mark.at - last.0);
                    last = (mark.at, mark.committed);
                }
            }
            gaps.push((*strike, longest.as_secs_f64()));
        }
        gaps.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
        for of_kind in gaps.chunk_by(|a, b| a.0 == b.0) {
            let (middle, longest) = (of_kind[of_kind.len() / 2].1, of_kind[of_kind.len() - 1].1);
            writeln!(
                text,
                "  {:?} × {}: {middle:.1} s without a commit in the middle, {longest:.1} s at most",
                of_kind[0].0,
                of_kind.len(),
            )?;
        }
        Ok((text, in_flight))
    }
}

/// Notes what is committed until it is told to stop.
fn watch(group: &Group, load: &Load, over: &AtomicBool) -> Result<Vec<Mark>> {
    let mut marks = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let committed = group.committed()?;
        marks.push(Mark { at: Instant::now(), committed, produced: load.handed() as i64 });
        std::thread::sleep(Duration::from_millis(100)); // The pace of the notes.
    }
    Ok(marks)
}

#[test]
fn processes_and_brokers_come_and_go() {
    with_cluster("processes come and go, and brokers in turn", |servers| {
        const PARTITIONS: i32 = 32;
        let per_second = pick(1_500, 5_000);
        let (topic, copy) = ("storm", "storm-copy");
        servers.kafka.create_topic(topic, PARTITIONS)?;
        servers.kafka.create_topic(copy, 8)?;
        let mut setup = servers.setup("storm", topic, PARTITIONS);
        // Without a static identity a member that leaves is missed at once.
        setup.pipeline = vec!["instance = false".to_owned()];
        setup.also = vec![format!("kind = \"kafka\"\ntopic = \"{copy}\"")];
        let first = setup.clone().install()?;
        let (group, watched) = (first.its_group()?, first.its_group()?);
        let guest = |_| Ok((setup.clone().install()?, None));
        let guests = (0..3).map(guest).collect::<Result<Vec<_>>>()?;
        let load = Load::start_at(&servers.kafka, topic, per_second, |seq| {
            Reading(seq).record(PARTITIONS)
        });
        let stays = first.start_ready()?;
        group.wait_progress(&stays, 0, BUSY)?;
        let topics = [topic, copy];
        let mut storm = Storm { servers, topics, stays, guests, broker: 0, struck: Vec::new() };
        let over = AtomicBool::new(false);
        let marks = std::thread::scope(|scope| {
            let marks = scope.spawn(|| watch(&watched, &load, &over));
            let lasting = Duration::from_secs(pick(25, 600));
            let raged = storm.rage(&group, per_second, lasting);
            over.store(true, Ordering::Relaxed);
            let marks = marks.join().map_err(|_| anyhow!("watching panicked"))?;
            raged.and(marks)
        })?;
        let count = load.finish(Duration::ZERO)?;
        group.wait_drained(&storm.stays, DRAIN)?;
        for bridge in storm.guests.iter().filter_map(|(_, bridge)| bridge.as_ref()) {
            bridge.stop_well(ENDS)?;
        }
        storm.stays.stop_well(ENDS)?;
        rows_are_exact(&servers.questdb, &first.setup.table, count, Band::ALL, VISIBLE)?;
        let loaded = stream_is_whole(&servers.kafka.read_all(topic)?, count, Band::ALL);
        ensure!(loaded.context("the load")? == 0, "the load is not what it should be");
        let double = stream_is_whole(&servers.kafka.read_all(copy)?, count, Band::ALL)?;
        let (report, in_flight) = storm.report(&marks)?;
        println!(
            "{count} records, {} strikes: none lost, none double where rows have keys; without, \
             {double} came twice, of at most {in_flight} under way\n{report}",
            storm.struck.len(),
        );
        ensure!(double as i64 <= in_flight, "{double} came twice, {in_flight} were under way");
        Ok(())
    });
}
