//! Counts the rows of a closed generation back from the tables. End of stream is no proof: the
//! server sends it before it commits, and sends it after an error too; the highest offset is none
//! either, for rows can be missing in the middle.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};

use super::Shared;
use super::dial::Stream;
use super::generation::{Generation, Manifest, Span, TableSpans};
use super::server::{ExecError, Rows, SqlClient, quote};
use crate::batch::{PartitionIndex, TopicPartition};
use crate::shape::Metadata;
use crate::sink::retry::Backoff;

/// The server may take this long to read what was sent before the end of stream.
const DRAIN_MAX: Duration = Duration::from_secs(10);
/// Commits come after the end of stream, a moment later on a server that is well; what is still
/// missing then, and not in the write-ahead log either, is sent again over HTTP.
const COMMIT_MAX: Duration = Duration::from_secs(1);
/// Before a count.
const PAUSE: Duration = Duration::from_millis(30);
/// Partitions that one query asks about; the request's head must stay within the server's bound.
const PARTITIONS_MAX: usize = 32;

/// The names of partitions, as lanes meet them.
#[derive(Debug, Default)]
pub struct Partitions(RwLock<HashMap<PartitionIndex, TopicPartition>>);

impl Partitions {
    /// Makes a partition known.
    pub fn meet(&self, index: PartitionIndex, name: &TopicPartition) {
        self.0.write().expect("no one panics with it").insert(index, name.clone());
    }

    fn name(&self, index: PartitionIndex) -> Option<TopicPartition> {
        self.0.read().expect("no one panics with it").get(&index).cloned()
    }
}

/// Columns by which rows are told apart.
#[derive(Clone, Debug)]
pub struct Keys {
    topic: String,
    partition: String,
    offset: String,
    row: String,
}

impl Keys {
    /// The user's names; `None` if the shape lacks one, which completing it prevents.
    pub fn of(metadata: &Metadata) -> Option<Keys> {
        Some(Keys {
            topic: metadata.topic.clone()?,
            partition: metadata.partition.clone()?,
            offset: metadata.offset.clone()?,
            row: metadata.row.clone()?,
        })
    }

    /// Their names.
    pub fn names(&self) -> [&str; 4] {
        [&self.topic, &self.partition, &self.offset, &self.row]
    }
}

/// Counts for one courier.
pub struct Confirmer {
    shared: Arc<Shared>,
    keys: Keys,
    sql: SqlClient,
    /// The designated timestamp's name by table.
    timestamps: Mutex<HashMap<Arc<str>, String>>,
}

impl Confirmer {
    /// Connects when it first counts.
    pub fn new(shared: Arc<Shared>, keys: Keys) -> Confirmer {
        let sql = SqlClient::new(Arc::clone(&shared.server));
        Confirmer { shared, keys, sql, timestamps: Mutex::default() }
    }

    /// Closes a generation's connection and counts. An error says what is missing.
    pub async fn confirm(&self, mut generation: Generation) -> Result<(), String> {
        drain(&mut generation.stream).await?;
        self.count(&generation.manifest).await
    }

    async fn count(&self, manifest: &Manifest) -> Result<(), String> {
        let mut left: Vec<&TableSpans> = manifest.tables.iter().collect();
        let mut patience = Instant::now() + COMMIT_MAX;
        let mut backoff = Backoff::default();
        let mut last = false;
        loop {
            // A count sees only what is applied, and costs the server more than asking for that.
            sleep(PAUSE).await;
            self.applied(&left).await;
            let missing = match self.missing(&mut left).await {
                Ok(None) => return Ok(()),
                Ok(Some(missing)) => missing,
                Err(away) => {
                    // Nothing is known of rows while the server is away; it starts anew.
                    self.shared.meter.retries.add(1);
                    tracing::debug!("counting rows back: {away}");
                    sleep(backoff.next_wait()).await;
                    patience = Instant::now() + COMMIT_MAX;
                    last = false;
                    continue;
                }
            };
            backoff.reset();
            if last {
                return Err(missing);
            }
            // One more count: this one began before the server had to have committed.
            last = Instant::now() >= patience;
        }
    }

    /// Takes the tables that are complete out of `left`; what is missing in the others, in words.
    async fn missing(&self, left: &mut Vec<&TableSpans>) -> Result<Option<String>, ExecError> {
        let mut words = None;
        let mut index = 0;
        while index < left.len() {
            match self.missing_in(left[index]).await {
                Ok(None) => {
                    left.swap_remove(index);
                }
                Ok(Some(missing)) => {
                    words = Some(missing);
                    index += 1;
                }
                // The table is gone, or lost a column: the way that answers will say it.
                Err(ExecError::Refused(why)) => {
                    self.timestamps.lock().await.remove(&left[index].table);
                    words = Some(format!("table {}: {why}", left[index].table));
                    index += 1;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(words)
    }

    async fn missing_in(&self, spans: &TableSpans) -> Result<Option<String>, ExecError> {
        let timestamp = self.timestamp(&spans.table).await?;
        for part in spans.partitions.chunks(PARTITIONS_MAX) {
            let mut named = Vec::with_capacity(part.len());
            for (index, span) in part {
                match self.shared.partitions.name(*index) {
                    Some(name) => named.push((name, *span)),
                    None => return Ok(Some(format!("partition {} has no name", index.0))),
                }
            }
            let statement = statement(spans, &timestamp, &self.keys, &named);
            let counts = counts(&self.sql.exec(&statement).await?);
            for (name, span) in &named {
                let count = counts.get(name).copied().unwrap_or(0);
                if count != span.rows {
                    return Ok(Some(format!(
                        "table {}: {count} of {} rows of {name} from offset {} to {}",
                        spans.table, span.rows, span.first.0, span.last.0
                    )));
                }
            }
        }
        Ok(None)
    }

    async fn timestamp(&self, table: &Arc<str>) -> Result<String, ExecError> {
        if let Some(name) = self.timestamps.lock().await.get(table) {
            return Ok(name.clone());
        }
        let statement =
            format!("SELECT \"column\" FROM table_columns({}) WHERE designated", quote(table));
        let rows = self.sql.exec(&statement).await?;
        let name = rows.rows.first().and_then(|row| row.first()?.as_str()).unwrap_or_default();
        self.timestamps.lock().await.insert(Arc::clone(table), name.to_owned());
        Ok(name.to_owned())
    }

    /// Waits until what the tables' logs hold now is applied: a count sees nothing else.
    async fn applied(&self, left: &[&TableSpans]) {
        let now = self.shared.watched.fresh().await;
        for spans in left {
            let Some(target) = now.get(&spans.table).map(|state| state.written) else { continue };
            let mut states = self.shared.watched.subscribe();
            loop {
                let tables = Arc::clone(&states.borrow_and_update());
                if tables.get(&spans.table).is_none_or(|state| state.applied >= target) {
                    break;
                }
                self.shared.watched.mark();
                if states.changed().await.is_err() {
                    break;
                }
            }
        }
    }
}

/// Says that no more comes, and waits until the server has read everything.
async fn drain(stream: &mut Stream) -> Result<(), String> {
    let reading = async {
        stream.shutdown().await?;
        let mut told = [0; 256];
        while stream.read(&mut told).await? > 0 {}
        Ok::<(), std::io::Error>(())
    };
    match timeout(DRAIN_MAX, reading).await {
        // Silence is judged by the count.
        Ok(Ok(())) | Err(_) => Ok(()),
        // TLS without a goodbye is an end of stream like any other.
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(()),
        // A reset means that bytes were left unread.
        Ok(Err(error)) => Err(format!("the connection ended: {}", super::dial::in_words(&error))),
    }
}

/// A query that counts distinct rows by topic and partition.
fn statement(
    spans: &TableSpans,
    timestamp: &str,
    keys: &Keys,
    named: &[(TopicPartition, Span)],
) -> String {
    let [topic, partition, offset, row] = keys.names().map(name);
    let single = named.iter().all(|(_, span)| span.single);
    let mut wheres = String::new();
    if !timestamp.is_empty() && spans.timestamps.0 <= spans.timestamps.1 {
        let (from, to) = spans.timestamps;
        let _ = write!(wheres, "{} BETWEEN {from} AND {to} AND ", name(timestamp));
    }
    let one = |(of, span): &(TopicPartition, Span)| {
        let ((lo, lo_row), (hi, hi_row)) = (span.first, span.last);
        let range = match single {
            true => format!("{row} = 0 AND {offset} BETWEEN {lo} AND {hi}"),
            false => format!(
                "({offset} > {lo} OR ({offset} = {lo} AND {row} >= {lo_row})) AND \
                 ({offset} < {hi} OR ({offset} = {hi} AND {row} <= {hi_row}))"
            ),
        };
        format!("({topic} = {} AND {partition} = {} AND {range})", quote(&of.topic), of.partition)
    };
    let ranges: Vec<String> = named.iter().map(one).collect();
    let _ = write!(wheres, "({})", ranges.join(" OR "));
    let table = quote(&spans.table);
    match single {
        true => format!(
            "SELECT {topic}, {partition}, count_distinct({offset}) FROM {table} WHERE {wheres}"
        ),
        // A distinct expression of both would be one pass, but took the server a hundred times
        // longer: its hash does not scatter multiples.
        false => format!(
            "SELECT {topic}, {partition}, count() FROM (SELECT DISTINCT {topic}, {partition}, \
             {offset}, {row} FROM {table} WHERE {wheres})"
        ),
    }
}

/// A column's name as SQL wants it.
fn name(name: &str) -> String {
    format!("\"{}\"", name.replace('"', ""))
}

fn counts(rows: &Rows) -> HashMap<TopicPartition, u64> {
    let one = |row: &Vec<Value>| {
        let topic = row.first()?.as_str()?.into();
        let partition = i32::try_from(row.get(1)?.as_i64()?).ok()?;
        Some((TopicPartition { topic, partition }, row.get(2)?.as_u64()?))
    };
    rows.rows.iter().filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> Keys {
        let word = |word: &str| word.to_owned();
        Keys { topic: word("kt"), partition: word("kp"), offset: word("ko"), row: word("kr") }
    }

    fn check(rows: [u32; 2], timestamps: (i64, i64), wanted: &str) {
        let span =
            Span { first: (5, rows[0]), last: (9, rows[1]), rows: 3, single: rows == [0, 0] };
        let spans = TableSpans { table: "o'k".into(), timestamps, partitions: vec![] };
        let named = [(TopicPartition { topic: "a".into(), partition: 3 }, span)];
        assert_eq!(statement(&spans, "ts", &keys(), &named), wanted);
    }

    #[test]
    fn single_rows_are_counted_by_offset() {
        check(
            [0, 0],
            (1, 2),
            "SELECT \"kt\", \"kp\", count_distinct(\"ko\") FROM 'o''k' WHERE \"ts\" BETWEEN 1 \
             AND 2 AND ((\"kt\" = 'a' AND \"kp\" = 3 AND \"kr\" = 0 AND \"ko\" BETWEEN 5 AND 9))",
        );
    }

    #[test]
    fn several_rows_are_counted_by_offset_and_row() {
        check(
            [1, 2],
            (i64::MAX, i64::MIN),
            "SELECT \"kt\", \"kp\", count() FROM (SELECT DISTINCT \"kt\", \"kp\", \"ko\", \"kr\" \
             FROM 'o''k' WHERE ((\"kt\" = 'a' AND \"kp\" = 3 AND (\"ko\" > 5 OR (\"ko\" = 5 AND \
             \"kr\" >= 1)) AND (\"ko\" < 9 OR (\"ko\" = 9 AND \"kr\" <= 2)))))",
        );
    }
}
