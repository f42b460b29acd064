//! Commits that a group refuses, or that are under way when somebody waits.

use rdkafka::consumer::Consumer;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};

use super::tests::{DEADLINE, Reader, cluster, plan};
use crate::blame::Blame;
use crate::config::KafkaPlan;
use crate::kafka::Settings;
use crate::kafka::topics::Scout;
use crate::source::Source;

/// Kafka's number of the request that commits.
const OFFSET_COMMIT: i16 = 8;

/// What a group has committed of the only partition.
fn committed(plan: &KafkaPlan) -> Offset {
    let settings = Settings::new(plan).expect("a right plan");
    let scout = Scout::of_group(&settings, &plan.group).expect("a right plan");
    let mut list = TopicPartitionList::new();
    list.add_partition("sensors", 0);
    let list = scout.client().committed_offsets(list, DEADLINE).expect("a healthy cluster");
    list.elements()[0].offset()
}

/// As while another process comes, or goes.
#[test]
fn who_waits_waits_for_what_is_under_way_too() {
    let cluster = cluster(1, 100);
    let plan = plan(&cluster, "under-way");
    let mut reader = Reader::new(&plan);
    reader.until("all records", |reader| reader.count() >= 100);
    let points = reader.points();
    let refused = RDKafkaRespErr::RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS;
    cluster.request_errors(OFFSET_COMMIT, &[refused]);
    reader.source.commit(&points, false).expect("it is sent");
    reader.source.commit(&[], true).expect("it is made again");
    assert_eq!(committed(&plan), Offset::Offset(100));
}

#[test]
fn a_commit_that_failed_is_made_again() {
    let cluster = cluster(1, 100);
    let plan = plan(&cluster, "commit");
    let mut reader = Reader::new(&plan);
    reader.until("all records", |reader| reader.count() >= 100);
    let refused = RDKafkaRespErr::RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS;
    cluster.request_errors(OFFSET_COMMIT, &[refused; 2]);
    let points = reader.points();
    let fault = reader.source.commit(&points, true).expect_err("the cluster refuses");
    assert_eq!(fault.blame, Blame::World);
    assert!(!reader.source.has_lost(), "they are still ours");
    let made = |_: &Reader| committed(&plan) == Offset::Offset(100);
    reader.until("the commit to be made again", made);
}

#[test]
fn a_member_whose_generation_is_over_has_lost_its_partitions() {
    let cluster = cluster(1, 100);
    let mut reader = Reader::new(&plan(&cluster, "lost"));
    reader.until("all records", |reader| reader.count() >= 100);
    assert!(!reader.source.has_lost());
    let refused = RDKafkaRespErr::RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION;
    cluster.request_errors(OFFSET_COMMIT, &[refused]);
    let points = reader.points();
    let fault = reader.source.commit(&points, true).expect_err("the cluster refuses");
    assert_eq!(fault.blame, Blame::World);
    assert!(reader.source.has_lost());
}
