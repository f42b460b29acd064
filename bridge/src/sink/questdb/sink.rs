//! The sink put together: its encoders, its couriers, its keeper, and what `bridge check` sees.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;

use super::Shared;
use super::beside;
use super::catalogue::Catalogue;
use super::confirm::Keys;
use super::ddl;
use super::diff::diff;
use super::http::HttpCourier;
use super::keeper::{Keeper, LagMax, denied};
use super::once::{self, Lack};
use super::options::{Ack, QuestDbPlan, Transport};
use super::pg::PgCourier;
use super::server::{Broken, ExecError, SqlClient};
use super::suspension;
use super::table::Table;
use super::tcp::{KEY_HINT, TcpCourier};
use super::wish::{self, State, Wish};
use crate::batch::{PartitionIndex, RecordBatch, RowBatch};
use crate::blame::{Blame, Fault};
use crate::outbox::Outbox;
use crate::reject::Rejects;
use crate::shape::{Metadata, Shape};
use crate::sink::{
    BoxFuture, Courier, CourierDoors, Delivery, Encoder, Finding, FindingState, Migration, Notes,
    Sink, SinkContext,
};

/// Makes an encoder for one lane.
pub type MakeEncoder = Box<dyn Fn() -> Box<dyn Encoder> + Send + Sync>;

/// A server that refuses a key hangs up within this time, beside what its challenge took.
const REFUSAL_MAX: Duration = Duration::from_millis(300);

/// Names of the columns that are counted back, where the user gave none.
pub const TOPIC: &str = "kafka_topic";
/// The same for the partition's number.
pub const PARTITION: &str = "kafka_partition";
/// The same for the offset.
pub const OFFSET: &str = "kafka_offset";
/// The same for the row's number.
pub const ROW: &str = "kafka_row";

/// Gives the shape the columns that are counted back.
pub fn complete(plan: &QuestDbPlan, shape: &mut Shape) {
    if plan.verifies() {
        ask_for_position(&mut shape.metadata);
    }
}

/// Asks for the columns that say where a row comes from; their names, the user's where given.
pub fn ask_for_position(metadata: &mut Metadata) -> [String; 4] {
    let Metadata { topic, partition, offset, row, .. } = metadata;
    [(topic, TOPIC), (partition, PARTITION), (offset, OFFSET), (row, ROW)]
        .map(|(column, name)| column.get_or_insert_with(|| name.to_owned()).clone())
}

/// Lines of `bridge explain`.
pub fn explain(plan: &QuestDbPlan) -> Vec<String> {
    let list = |endpoints: &[super::endpoint::Endpoint]| {
        let shown: Vec<String> = endpoints.iter().map(ToString::to_string).collect();
        shown.join(", ")
    };
    let over = match plan.transport {
        Transport::Http | Transport::Tcp => "sql and line protocol over http",
        Transport::Pg => "sql and rows over the PostgreSQL protocol, not encrypted",
    };
    let mut lines = vec![format!("{over}: {}", list(&plan.addresses))];
    if plan.transport == Transport::Tcp {
        lines.push(format!("line protocol over tcp: {}", list(&plan.tcp_addresses)));
    }
    if plan.connections_beside() > 0 {
        let at = list(&plan.beside.addresses);
        lines.push(format!(
            "rows of transactional tables over the PostgreSQL protocol, not encrypted: {at}; stored \
             means: their transaction is committed, and each of them was counted"
        ));
    }
    lines.push(match (plan.transport, plan.ack) {
        (Transport::Http, _) => "stored means: status 204, and the next look at tables() still \
             shows the table that the connection first wrote to"
            .to_owned(),
        (Transport::Tcp, Ack::Verify) => format!(
            "stored means: the distinct (topic, partition, offset, row) were counted back from \
             the table, for each {} rows or {} ms of a connection; what is missing goes over http",
            plan.generation_rows,
            plan.generation_age.as_millis()
        ),
        (Transport::Pg, _) => "stored means: the transaction that inserted the rows is committed, \
             and each of them was counted"
            .to_owned(),
        (Transport::Tcp, Ack::None) => "stored means: the socket took the bytes; rows can be \
             lost without a trace (ack = \"none\")"
            .to_owned(),
    });
    lines
}

/// A QuestDB sink.
pub struct QuestDb {
    shared: Arc<Shared>,
    shape: Arc<Shape>,
    delivery: Delivery,
    make: MakeEncoder,
    catalogue: Arc<Catalogue>,
}

impl QuestDb {
    /// Puts it together; connects to nothing.
    pub fn new(
        shared: Arc<Shared>,
        context: &SinkContext,
        make: MakeEncoder,
        catalogue: Arc<Catalogue>,
    ) -> QuestDb {
        let plan = &shared.plan;
        if plan.transport == Transport::Tcp && plan.ack == Ack::None {
            let pipeline = &shared.pipeline;
            tracing::warn!(
                "{pipeline}: ack = \"none\": rows that the server refuses or loses are gone \
                 without a trace; ack = \"verify\" counts them back"
            );
        }
        let (shape, delivery) = (Arc::clone(&context.shape), context.delivery);
        QuestDb { shape, delivery, shared, make, catalogue }
    }
}

impl Sink for QuestDb {
    fn check(&self, _prepare: bool) -> BoxFuture<'_, Vec<Finding>> {
        Box::pin(Inspection::of(self).look())
    }

    fn migrations(&self) -> BoxFuture<'_, Result<Vec<Migration>, Fault>> {
        Box::pin(Inspection::of(self).migrations())
    }

    fn migrate<'a>(&'a self, statement: &'a str) -> BoxFuture<'a, Result<(), Fault>> {
        let sql = self.shared.sql();
        Box::pin(async move { sql.exec(statement).await.map(drop).map_err(|e| told(&e)) })
    }

    fn note(&self, notes: Arc<Notes>) {
        self.catalogue.note(notes);
    }

    fn encoder(&self) -> Box<dyn Encoder> {
        let shared = Arc::clone(&self.shared);
        Box::new(Noting { encoder: (self.make)(), known: HashSet::new(), shared })
    }

    fn courier(&self, index: usize) -> Box<dyn Courier> {
        let (shared, catalogue) = (Arc::clone(&self.shared), Arc::clone(&self.catalogue));
        // The last couriers of a lane are those beside.
        let (own, all) = (shared.plan.connections_per_lane, shared.plan.connections());
        let over = if index % all < own { shared.plan.transport } else { Transport::Pg };
        match over {
            Transport::Http => Box::new(HttpCourier::new(shared, catalogue, index)),
            Transport::Pg => match &shared.pg {
                Some(pg) => Box::new(PgCourier::new(Arc::clone(&shared), Arc::clone(pg), index)),
                None => Box::new(Refusing(Fault::us("a transport without its door"))),
            },
            Transport::Tcp => match TcpCourier::new(shared, catalogue, index) {
                Ok(courier) => Box::new(courier),
                Err(fault) => Box::new(Refusing(fault)),
            },
        }
    }

    fn keeper(&self, stop: watch::Receiver<bool>) -> BoxFuture<'static, Result<(), Fault>> {
        let (shared, plan) = (&self.shared, &self.shared.plan);
        let keeper = Keeper::new(
            shared.sql(),
            Arc::clone(&shared.watched),
            Arc::clone(&shared.trouble),
            LagMax { rows: plan.apply_lag_rows_max, transactions: plan.apply_lag_transactions_max },
        );
        let catalogue = Arc::clone(&self.catalogue);
        Box::pin(async move {
            tokio::select! {
                ended = keeper.run(stop) => ended,
                never = catalogue.keep() => match never {},
            }
        })
    }

    fn abandon(&self) {
        self.catalogue.abandon();
    }

    fn trouble(&self) -> Option<String> {
        self.shared.trouble.words()
    }

    fn rest(&self, rests: bool) {
        self.shared.trouble.rest(rests);
    }

    fn interrupt(&self) {
        self.catalogue.waiting.interrupt();
    }

    /// The random number that a server gives itself when it first starts, where it keeps one.
    fn identity(&self) -> BoxFuture<'_, Option<String>> {
        Box::pin(async {
            let sql = SqlClient::new(Arc::clone(&self.shared.server));
            let rows = sql.exec("SELECT id FROM telemetry_config LIMIT -1").await.ok()?;
            Some(rows.rows.first()?.first()?.as_str()?.to_owned())
        })
    }
}

/// A courier that never was: its fault ends the pipeline when it is run.
struct Refusing(Fault);

impl Courier for Refusing {
    fn run(self: Box<Self>, _: CourierDoors) -> BoxFuture<'static, Result<(), Fault>> {
        Box::pin(async move { Err(self.0) })
    }
}

/// Makes partitions' names known to whoever counts rows back, once for each lane and partition.
struct Noting {
    encoder: Box<dyn Encoder>,
    known: HashSet<PartitionIndex>,
    shared: Arc<Shared>,
}

impl Encoder for Noting {
    fn encode(
        &mut self,
        records: &RecordBatch,
        rows: &RowBatch,
        rejects: &mut Rejects,
        outbox: &mut Outbox,
    ) -> Result<(), Fault> {
        if self.known.insert(records.partition) {
            self.shared.partitions.meet(records.partition, &records.source);
        }
        self.encoder.encode(records, rows, rejects, outbox)
    }
}

/// One knock on every door.
struct Inspection {
    shared: Arc<Shared>,
    shape: Arc<Shape>,
    delivery: Delivery,
    sql: SqlClient,
}

impl Inspection {
    fn of(sink: &QuestDb) -> Inspection {
        Inspection {
            shared: Arc::clone(&sink.shared),
            shape: Arc::clone(&sink.shape),
            delivery: sink.delivery,
            sql: sink.shared.sql(),
        }
    }

    async fn look(self) -> Vec<Finding> {
        let server = self.server().await;
        let answers = server.state == FindingState::Ok;
        let mut findings = vec![server];
        if self.shared.plan.transport == Transport::Tcp {
            findings.push(self.tcp(answers).await);
        }
        if let Some(pg) = self.shared.pg.as_ref().filter(|_| self.shared.plan.transacts) {
            findings.push(beside::knock(pg).await);
        }
        for table in self.shape.tables().into_iter().filter(|_| answers) {
            match self.table(table).await {
                Ok(finding) => findings.push(finding),
                Err(error) => findings.push(finding("table", table, error.to_string()).away()),
            }
        }
        findings
    }

    async fn migrations(self) -> Result<Vec<Migration>, Fault> {
        let mut migrations = Vec::new();
        for name in self.shape.tables() {
            let found = wish::find(&self.sql, name).await.map_err(|error| {
                let Fault { blame, message, hint } = told(&error);
                Fault { blame, message: format!("looking for table {name}: {message}"), hint }
            })?;
            let (wish, found) = (Wish::of(name, &self.shape), found.map(|(_, state)| state));
            migrations.push(diff(&wish, found.as_ref()).migration(&wish, found.as_ref()));
        }
        Ok(migrations)
    }

    async fn server(&self) -> Finding {
        let name = format!("questdb {}", self.shared.server.endpoint());
        let settings = match self.sql.settings().await {
            Ok(settings) => settings,
            Err(Broken(why)) => {
                let note = format!("does not answer: {why}");
                return finding("sink", &name, note)
                    .fix("is QuestDB there? `address` of the sink")
                    .away();
            }
        };
        match self.sql.exec("SELECT 1").await {
            Ok(_) => {}
            Err(ExecError::Denied(why)) => {
                return finding("sink", &name, format!("refuses the bridge ({why})"))
                    .fix("set `username` and `password`, or `token`, of the sink");
            }
            Err(error) => return finding("sink", &name, format!("sql: {error}")).away(),
        }
        let own = match self.shared.plan.transport {
            Transport::Pg => "pg.security.readonly",
            Transport::Http | Transport::Tcp => "http.security.readonly",
        };
        let read_only = format!(
            "SELECT value FROM (SHOW PARAMETERS) WHERE property_path IN ('readonly', '{own}') AND \
             value = 'true'"
        );
        // A server that does not tell its parameters is believed to take rows.
        if self.sql.exec(&read_only).await.is_ok_and(|rows| !rows.rows.is_empty()) {
            return finding("sink", &name, "is read-only".into())
                .fix(format!("`readonly` and `{own}` of its server.conf"))
                .away();
        }
        let note = match self.shared.plan.transport {
            Transport::Pg => format!("{}, PostgreSQL protocol", settings.version),
            Transport::Http | Transport::Tcp => {
                let protocol = self.shared.plan.protocol.unwrap_or(settings.protocol);
                format!("{}, line protocol v{protocol}", settings.version)
            }
        };
        Finding { state: FindingState::Ok, ..finding("sink", &name, note) }
    }

    /// `answers`: whether it does so over HTTP. If not, nobody refuses us who hangs up.
    async fn tcp(&self, answers: bool) -> Finding {
        let index = self.shared.server.current();
        let name = format!("questdb tcp {}", self.shared.gate.endpoint(index));
        let refused = |why: &str| {
            let note = format!("does not let the bridge in{why}");
            let finding = finding("sink", &name, note).fix(KEY_HINT);
            if answers { finding } else { finding.away() }
        };
        let mut stream = match self.shared.gate.connect(index, Some(REFUSAL_MAX)).await {
            Ok(stream) => stream,
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                return refused(&format!(": {error}"));
            }
            Err(error) => {
                let note = super::dial::in_words(&error);
                return finding("sink", &name, note).fix("`tcp_address` of the sink").away();
            }
        };
        // There is no positive answer. A server that minds a key hangs up; one that wants a key
        // takes this empty line for its id and sends a challenge; any other skips it.
        let mut told = [0; 1];
        let _ = stream.write_all(b"\n").await;
        let _ = stream.flush().await;
        if tokio::time::timeout(REFUSAL_MAX, stream.read(&mut told)).await.is_ok() {
            return finding("sink", &name, "does not let the bridge in".into()).fix(KEY_HINT);
        }
        match self.shared.plan.ack {
            Ack::Verify => Finding {
                state: FindingState::Ok,
                ..finding("sink", &name, "rows are counted back".into())
            },
            Ack::None => Finding {
                state: FindingState::Warn,
                ..finding("sink", &name, "ack = \"none\": rows can be lost without a trace".into())
            }
            .fix("ack = \"verify\""),
        }
    }

    async fn table(&self, name: &str) -> Result<Finding, ExecError> {
        let Some((table, state)) = wish::find(&self.sql, name).await? else {
            if self.shape.of(name).create.tables {
                let note = "does not exist yet: the bridge makes it";
                return Ok(Finding::ok("table", name, note));
            }
            let note = "does not exist, and the bridge may not make it";
            return Ok(finding("table", name, note.into()).fix(ddl::create(
                &self.shape,
                name,
                &[],
            )));
        };
        if !table.wal {
            let fix = format!("ALTER TABLE '{name}' SET TYPE WAL, then restart QuestDB");
            return Ok(finding("table", name, "is not a WAL table".into()).fix(fix));
        }
        if let Some(finding) = self.suspended(name).await? {
            return Ok(finding);
        }
        let judged = judge(&self.shared.plan, &self.shape, self.delivery, &table);
        Ok(match judged.state {
            FindingState::Fail => judged,
            _ => compare(judged, &self.shape, name, &state),
        })
    }

    async fn suspended(&self, table: &str) -> Result<Option<Finding>, ExecError> {
        let Some(why) = suspension::reason(&self.sql, table).await? else { return Ok(None) };
        let fix = format!("cure the cause, then ALTER TABLE '{table}' RESUME WAL");
        Ok(Some(finding("table", table, format!("is suspended: {why}")).fix(fix).away()))
    }
}

/// Compares what is declared with what is there. What comes by itself, as rows do, is told; what
/// does not is warned of, and fails where the table is strict.
fn compare(judged: Finding, shape: &Shape, name: &str, state: &State) -> Finding {
    let wish = Wish::of(name, shape);
    let difference = diff(&wish, Some(state));
    let create = &shape.of(name).create;
    let migration = difference.migration(&wish, Some(state));
    if migration.is_empty() {
        return judged;
    }
    if difference.is_made_by(create.tables, create.columns) {
        let note = format!("{}; columns that are missing are added as rows come", judged.note);
        return Finding { note, ..judged };
    }
    let mut fix: Vec<String> = migration.statements.iter().map(|s| format!("{s};")).collect();
    fix.extend(migration.obstacles.iter().map(|o| format!("{}: {}", o.what, o.way)));
    fix.extend(judged.fix.clone());
    let state = if create.strict { FindingState::Fail } else { FindingState::Warn };
    let note = format!("{}; not as declared: {}", judged.note, migration.summary());
    Finding { state, blame: Blame::Operator, note, ..judged }.fix(fix.join("\n"))
}

/// What an existing table's columns mean for replays and for counting.
fn judge(plan: &QuestDbPlan, shape: &Shape, delivery: Delivery, table: &Table) -> Finding {
    let name = &*table.name;
    let shape = shape.of(name);
    let same = |a: &str, b: &str| a.eq_ignore_ascii_case(b);
    let keys: Vec<&str> = table.upsert_keys.iter().map(String::as_str).collect();
    let counted = Keys::of(&shape.metadata).filter(|_| plan.verifies());
    if let Some(counted) = counted {
        let has = |name: &&str| table.columns.contains_key(&name.to_lowercase());
        let lacking: Vec<&str> = counted.names().into_iter().filter(|name| !has(name)).collect();
        if !lacking.is_empty() && !shape.create.columns {
            let note = format!("has no {}, and the bridge may not add them", lacking.join(", "));
            return finding("table", name, note)
                .fix("add them, or use transport = \"http\", which needs none of them");
        }
        let is_key = |name: &&str| keys.iter().any(|key| same(key, name));
        let merged: Vec<&str> = counted.names().into_iter().filter(|n| !is_key(n)).collect();
        if delivery == Delivery::AtLeastOnce && !keys.is_empty() && !merged.is_empty() {
            let note = format!(
                "upsert keys ({}) lack {}: rows that replace each other cannot be counted back",
                keys.join(", "),
                merged.join(", ")
            );
            return finding("table", name, note)
                .fix("use transport = \"http\", whose answers are proof");
        }
    }
    if delivery == Delivery::ExactlyOnce
        && let Some(Lack { note, fix }) = once::lack(shape, table)
    {
        return finding("table", name, note).fix(fix);
    }
    if !keys.is_empty() {
        return Finding::ok("table", name, format!("exists, upsert keys ({})", keys.join(", ")));
    }
    let timestamp = table.timestamp.as_ref().map_or("", |(name, _)| name);
    let m = &shape.metadata;
    let or = |name: &Option<String>, default: &str| name.clone().unwrap_or(default.to_owned());
    let fix = format!(
        "ALTER TABLE '{name}' DEDUP ENABLE UPSERT KEYS({timestamp}, {}, {}, {}, {}) (with these \
         columns asked for), or a stable key of your own that never repeats within one {timestamp}",
        or(&m.topic, TOPIC),
        or(&m.partition, PARTITION),
        or(&m.offset, OFFSET),
        or(&m.row, ROW),
    );
    let note = "exists, no upsert keys: a replay after a crash may store rows twice";
    Finding { state: FindingState::Warn, ..finding("table", name, note.into()) }.fix(fix)
}

/// Why a statement was not run, and who must act.
fn told(error: &ExecError) -> Fault {
    match error {
        ExecError::Denied(why) => denied(why),
        ExecError::Refused(_) => Fault::operator(error.to_string()),
        ExecError::Away(_) => Fault::world(error.to_string()).hint("`address` of the sink"),
    }
}

/// A finding that will not run, until it is said otherwise.
pub(super) fn finding(subject: &'static str, name: &str, note: String) -> Finding {
    let (name, state, blame) = (name.to_owned(), FindingState::Fail, Blame::Operator);
    Finding { subject, name, state, blame, note, fix: None }
}

impl Finding {
    /// What to do.
    pub(super) fn fix(mut self, fix: impl Into<String>) -> Finding {
        self.fix = Some(fix.into());
        self
    }

    /// It may come back by itself: no reason not to start.
    pub(super) fn away(mut self) -> Finding {
        self.blame = Blame::World;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Section;
    use crate::shape::ColumnType;

    fn plan(options: &str) -> QuestDbPlan {
        QuestDbPlan::parse(&Section::new("sink", options.parse().expect("TOML"))).expect("a plan")
    }

    fn shape(create: bool) -> Shape {
        let mut shape =
            Shape { timestamp_column: "ts".into(), columns_max: 10, ..Shape::plain("t") };
        (shape.create.tables, shape.create.columns) = (create, create);
        shape
    }

    fn check(options: &str, create: bool, columns: &[(&str, bool)], state: FindingState) -> String {
        let plan = plan(options);
        let mut shape = shape(create);
        complete(&plan, &mut shape);
        let is_key = |column: &&(&str, bool)| column.1;
        let name = |column: &(&str, bool)| column.0.to_owned();
        let table = Table {
            name: "t".into(),
            id: 1,
            timestamp: Some(("ts".to_owned(), ColumnType::Timestamp)),
            columns: columns.iter().map(|c| (name(c), ColumnType::Long)).collect(),
            upsert_keys: columns.iter().filter(is_key).map(name).collect(),
            wal: true,
        };
        let finding = judge(&plan, &shape, Delivery::AtLeastOnce, &table);
        assert_eq!(finding.state, state, "{}", finding.note);
        format!("{} | {}", finding.note, finding.fix.unwrap_or_default())
    }

    const TCP: &str = "transport = \"tcp\"";
    const ALL: [(&str, bool); 5] =
        [("ts", true), (TOPIC, true), (PARTITION, true), (OFFSET, true), (ROW, true)];

    #[test]
    fn tables_are_judged_by_what_replays_and_counts_need() {
        use FindingState::{Fail, Ok, Warn};
        let said = check("", true, &[("ts", false)], Warn);
        assert!(
            said.contains("UPSERT KEYS(ts, kafka_topic, kafka_partition, kafka_offset, kafka_row)")
        );
        check("", true, &[("ts", true), ("id", true)], Ok);
        check(TCP, true, &ALL, Ok);
        let said = check(TCP, true, &[("ts", true), ("id", true)], Fail);
        assert!(said.contains("transport = \"http\""), "{said}");
        let said = check(TCP, false, &[("ts", false)], Fail);
        assert!(said.contains("kafka_offset"), "{said}");
        check(TCP, true, &[("ts", false)], Warn);
        let none = "transport = \"tcp\"\nack = \"none\"";
        check(none, true, &[("ts", true), ("id", true)], Ok);
    }

    #[test]
    fn counting_back_asks_for_its_columns_under_the_users_names() {
        let mut completed = shape(true);
        completed.metadata.offset = Some("o".into());
        complete(&plan(TCP), &mut completed);
        assert_eq!(completed.metadata.offset.as_deref(), Some("o"));
        assert_eq!(completed.metadata.row.as_deref(), Some(ROW));
        let mut left = shape(true);
        complete(&plan(""), &mut left);
        assert_eq!(left.metadata.topic, None);
    }
}
