//! Making the topics that the bridge itself writes to.

use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::error::RDKafkaErrorCode;

use super::context::Observer;
use super::errors;
use super::settings::Settings;
use super::topics::{REQUEST, Scout};
use crate::blame::{Blame, Fault};

/// Makes sure that a topic is there; it is made with as many partitions as `like` has, or as many
/// as the broker thinks right. Blocks.
pub fn ensure_topic(settings: &Settings, name: &str, like: Option<&str>) -> Result<(), Fault> {
    let scout = Scout::new(settings)?;
    if scout.find(name)?.is_some() {
        return Ok(());
    }
    let partitions = match like {
        Some(like) => scout.find(like)?.map_or(1, |topic| topic.partitions.len().max(1)) as i32,
        None => BROKERS_OWN,
    };
    create(settings, name, partitions)?;
    match like {
        Some(_) => tracing::info!("made topic {name} with {partitions} partitions"),
        None => tracing::info!("made topic {name}"),
    }
    Ok(())
}

/// The broker's own default of partitions, or of replicas.
const BROKERS_OWN: i32 = -1;

fn create(settings: &Settings, name: &str, partitions: i32) -> Result<(), Fault> {
    let doing = format!("making topic {name}");
    let hint = format!(
        "make it yourself: kafka-topics --bootstrap-server {} --create --topic {name} \
         --partitions {}",
        settings.brokers(),
        partitions.max(1)
    );
    let observer = settings.observer();
    let admin: AdminClient<Observer> = settings
        .admin()
        .create_with_context(observer.clone())
        .map_err(|error| settings.refused(&error))?;
    if let Some(bearer) = settings.bearer() {
        // SAFETY: the client is there until the end of this function.
        let given = unsafe { bearer.give(admin.inner().native_ptr()) };
        given.map_err(|why| Fault::world(format!("{doing}: {why}")))?;
    }
    let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(BROKERS_OWN));
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
