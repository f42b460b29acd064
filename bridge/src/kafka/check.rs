//! What `bridge check` asks of Kafka.
