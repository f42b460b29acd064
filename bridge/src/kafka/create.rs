//! Making the topics that the bridge itself writes to.

use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::error::RDKafkaErrorCode;

use super::context::Observer;
use super::errors;
use super::settings::Settings;
use super::topics::{REQUEST, Scout, refused};
use crate::blame::{Blame, Fault};

/// Makes sure that a topic is there; it is made with as many partitions as `like` has. Blocks.
pub fn ensure_topic(settings: &Settings, name: &str, like: &str) -> Result<(), Fault> {
    let scout = Scout::new(settings)?;
    if scout.find(name)?.is_some() {
        return Ok(());
    }
    let partitions = scout.find(like)?.map_or(1, |topic| topic.partitions.len().max(1));
    create(settings, name, partitions)?;
    tracing::info!("made topic {name} with {partitions} partitions");
    Ok(())
}

fn create(settings: &Settings, name: &str, partitions: usize) -> Result<(), Fault> {
    let doing = format!("making topic {name}");
    let hint = format!(
        "make it yourself: kafka-topics --bootstrap-server {} --create --topic {name} \
         --partitions {partitions}",
        settings.brokers()
    );
    let observer = Observer::default();
    let admin: AdminClient<Observer> =
        settings.admin().create_with_context(observer.clone()).map_err(|error| refused(&error))?;
    // The broker's own default of replicas.
    let topic = NewTopic::new(name, partitions as i32, TopicReplication::Fixed(-1));
    let options = AdminOptions::new().request_timeout(Some(REQUEST));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .map_err(|error| Fault::world(format!("{doing}: {error}")))?;
    let answer = runtime.block_on(async {
        let answer = admin.create_topics([&topic], &options);
        tokio::time::timeout(REQUEST + Duration::from_secs(5), answer).await
    });
    let words = observer.diagnostics.last_words();
    let results = match answer {
        Ok(Ok(results)) => results,
        Ok(Err(error)) => return Err(errors::fault(&doing, &error, words)),
        Err(_) => return Err(Fault::world(format!("{doing}: no answer"))),
    };
    match results.into_iter().next() {
        Some(Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => Ok(()),
        Some(Err((_, code))) => {
            let blame = match code {
                RDKafkaErrorCode::InvalidReplicationFactor => Blame::Operator,
                code => errors::blame(code),
            };
            Err(Fault { blame, message: format!("{doing}: {code}"), hint: Some(hint) })
        }
        None => Err(Fault::world(format!("{doing}: an empty answer")).hint(hint)),
    }
}
