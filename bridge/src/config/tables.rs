//! `[tables.NAME]`: a table as it must be. What is said here comes before what a pipeline's own
//! `table` section says; what is not said is taken from there.

use schemars::JsonSchema;

use super::draft::{Named, PartitionByDraft};
use super::mistake::Mistake;
use super::plan::PipelinePlan;
use super::section::Section;
use super::table;
use crate::format::KeyPlan;
use crate::kind::Unable;
use crate::shape::{ColumnType, Declared, Shape, Ttl};
use crate::sink::Foreign;

/// A table as it must be. What is not said is as the pipeline's `table` section has it.
#[derive(serde::Deserialize, JsonSchema, Default, Debug)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Declared")]
pub struct DeclaredDraft {
    /// Types of columns, such as `temperature = "double"`.
    columns: Named<String>,
    /// Columns that are symbols.
    symbols: Vec<String>,
    /// The column of the designated timestamp.
    timestamp: Option<String>,
    /// How the table is partitioned.
    partition_by: Option<PartitionByDraft>,
    /// How long the table keeps its rows, such as `"30 DAYS"`.
    ttl: Option<String>,
    /// Columns of `DEDUP UPSERT KEYS`, the timestamp among them.
    upsert_keys: Option<Vec<String>>,
    /// Make the table if it is missing, when the first row comes.
    auto_create: Option<bool>,
    /// Add columns that are missing, as rows come.
    add_columns: Option<bool>,
    /// How rows are stored, where the sink has several ways.
    consistency: Option<Consistency>,
    /// Start only if the table is as declared, make nothing, and reject records with other columns.
    strict: Option<bool>,
}

/// How a table's rows are stored, where the sink has several ways.
#[derive(serde::Deserialize, JsonSchema, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "kebab-case")]
enum Consistency {
    /// In transactions, over the PostgreSQL protocol.
    Transactional,
}

/// A section, read and checked by itself.
pub struct Read {
    name: String,
    section: Section,
    columns: Vec<(String, ColumnType)>,
    symbols: Vec<String>,
    timestamp: Option<String>,
    partition_by: Option<&'static str>,
    ttl: Option<Ttl>,
    upsert_keys: Option<Vec<String>>,
    auto_create: Option<bool>,
    add_columns: Option<bool>,
    strict: Option<bool>,
    consistency: Option<Consistency>,
}

/// Reads all of them.
pub fn read(sections: &Section, mistakes: &mut Vec<Mistake>) -> Vec<Read> {
    let mut all: Vec<Read> = Vec::new();
    for (name, section) in sections.tables() {
        if all.iter().any(|known| known.name.eq_ignore_ascii_case(&name)) {
            let message = format!("`{name}` is declared already: names differ in more than case");
            mistakes.push(section.mistake("", message));
        }
        match one(name, section) {
            Ok(read) => all.push(read),
            Err(found) => mistakes.extend(found),
        }
    }
    all
}

fn one(name: String, section: Section) -> Result<Read, Vec<Mistake>> {
    let draft: DeclaredDraft = section.read().map_err(|mistake| vec![mistake])?;
    let mut mistakes = Vec::new();
    let mut keep = |mistake| mistakes.push(mistake);
    let columns = table::types(&section, &draft.columns.0, &mut keep);
    let ttl = table::ttl(&section, draft.ttl.as_deref(), &mut keep);
    table::strict(&section, draft.strict, &mut keep);
    if draft.timestamp.as_deref() == Some("") {
        keep(section.mistake("timestamp", "a column needs a name"));
    }
    if !mistakes.is_empty() {
        return Err(mistakes);
    }
    Ok(Read {
        name,
        columns,
        symbols: draft.symbols,
        timestamp: draft.timestamp,
        partition_by: draft.partition_by.map(PartitionByDraft::word),
        ttl,
        upsert_keys: draft.upsert_keys,
        auto_create: draft.auto_create,
        add_columns: draft.add_columns,
        strict: draft.strict,
        consistency: draft.consistency,
        section,
    })
}

/// Puts what is declared in the place of what a pipeline says. `able` gives the result what the
/// pipeline's delivery needs.
pub fn declare(
    all: &[Read],
    shape: &mut Shape,
    key: &KeyPlan,
    able: impl Fn(&mut Shape, &Section) -> Result<(), Mistake>,
) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    for read in all {
        let mut own = read.over(shape);
        mistakes.extend(able(&mut own, &read.section).err());
        table::symbols(&read.section, &own, &mut mistakes);
        table::upsert_keys(&read.section, &own, key, &mut mistakes);
        table::ttl_fits(&read.section, &own.create, &mut mistakes);
        shape.declared.push(Declared {
            name: read.name.clone(),
            shape: own,
            ours: shape.table.may_be(&read.name),
            timestamp: read.timestamp.is_some(),
        });
    }
    mistakes
}

impl Read {
    fn over(&self, base: &Shape) -> Shape {
        let mut shape = Shape { declared: Vec::new(), ..base.clone() };
        let is_here = |name: &String| {
            self.symbols.contains(name) || self.columns.iter().any(|(column, _)| column == name)
        };
        shape.columns.retain(|(name, _)| !is_here(name));
        shape.symbols.retain(|name| !is_here(name));
        shape.columns.extend(self.columns.iter().cloned());
        shape.symbols.extend(self.symbols.iter().cloned());
        shape.transactional = self.consistency == Some(Consistency::Transactional);
        let create = &mut shape.create;
        if let Some(timestamp) = &self.timestamp {
            for key in create.upsert_keys.iter_mut().filter(|key| **key == shape.timestamp_column) {
                key.clone_from(timestamp);
            }
            shape.timestamp_column.clone_from(timestamp);
        }
        create.partition_by = self.partition_by.or(create.partition_by);
        create.ttl = self.ttl.or(create.ttl);
        if let Some(keys) = &self.upsert_keys {
            create.upsert_keys.clone_from(keys);
        }
        let strict = self.strict.unwrap_or(create.strict);
        let made = |own: Option<bool>, base: bool| own.unwrap_or(base && !strict);
        create.tables = made(self.auto_create, create.tables);
        create.columns = made(self.add_columns, create.columns);
        create.strict = strict;
        shape
    }
}

/// A table that no pipeline's name may give is a transform's choice. Where no pipeline has a
/// transform, nobody writes to it.
pub fn assign(all: &[Read], pipelines: &mut [PipelinePlan]) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    for read in all {
        let is_ours = |d: &Declared| d.name == read.name && d.ours;
        let mut owners =
            pipelines.iter().filter(|pipeline| pipeline.shape.declared.iter().any(is_ours));
        if let Some(owner) = owners.next() {
            mistakes.extend(unheeded(read, owner));
            mistakes.extend(owners.flat_map(|owner| unheeded(read, owner)));
            continue;
        }
        let mut is_anyones = false;
        for pipeline in pipelines.iter_mut().filter(|pipeline| !pipeline.transforms.is_empty()) {
            mistakes.extend(unheeded(read, pipeline));
            let declared = pipeline.shape.declared.iter_mut();
            for declared in declared.filter(|declared| declared.name == read.name) {
                (declared.ours, is_anyones) = (true, true);
            }
        }
        if !is_anyones {
            let message = format!("no pipeline writes to `{}`", read.name);
            let help = "`name` in a pipeline's `table`, or a transform, gives rows their table";
            mistakes.push(read.section.mistake("", message).help(help));
        }
    }
    mistakes
}

/// The sinks of pipelines that may write to a transactional table see to it. Those of `also` that
/// cannot store its rows as all others.
pub fn transact(all: &[Read], pipelines: &mut [PipelinePlan]) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    for read in all.iter().filter(|read| read.consistency.is_some()) {
        let is_here = |d: &Declared| d.name == read.name && d.ours;
        for plan in pipelines.iter_mut() {
            if !plan.shape.declared.iter().any(is_here) {
                continue;
            }
            let PipelinePlan { sink, sink_kind, fallback, also, .. } = plan;
            let second = fallback.iter_mut().map(|second| (second.sink_kind, &mut second.sink));
            for (kind, sink) in [(*sink_kind, sink)].into_iter().chain(second) {
                let able = sink.transact().map_err(|unable| {
                    let message = format!("sink `{kind}`: {}", unable.message);
                    Unable { message, ..unable }.mistake(&read.section)
                });
                mistakes.extend(able.err());
            }
            also.iter_mut().for_each(|also| drop(also.sink.transact()));
        }
    }
    mistakes
}

/// What a pipeline's sink would pass over in silence: the declaration, or some of its keys.
fn unheeded(read: &Read, pipeline: &PipelinePlan) -> Vec<Mistake> {
    let (name, kind) = (&pipeline.name, pipeline.sink_kind);
    let here = format!("pipeline `{name}` may write here, and its sink `{kind}`");
    if !pipeline.sink.heeds_declarations() {
        let help = format!("say it under `pipeline.{name}.table`");
        return vec![read.section.mistake("", format!("{here} heeds no table")).help(help)];
    }
    let said = pipeline.sink.foreign_keys().iter().filter(|foreign| read.section.has(foreign.key));
    let mistake = |Foreign { key, why, help }: &Foreign| {
        read.section.mistake(key, format!("{here} {why}")).help(*help)
    };
    said.map(mistake).collect()
}

#[cfg(test)]
mod tests {
    use crate::config::tests::{check, parse, readings};
    use crate::shape::{ColumnType, Shape, Ttl};

    fn shape(text: &str) -> Shape {
        let plan = parse(text).unwrap_or_else(|error| panic!("{error}"));
        plan.pipelines.into_iter().next().expect("one pipeline").shape
    }

    #[test]
    fn what_is_declared_comes_first() {
        let shape = shape(&readings(
            "[pipeline.readings.table]\nname = \"readings\"\ntimestamp = { field = \"ts\" }\n\
             symbols = [\"site\", \"sensor\"]\ncolumns = { seq = \"long\", v = \"double\" }\n\
             ttl = \"1 DAY\"\nupsert_keys = [\"ts\", \"sensor\"]\n\
             [tables.Readings]\ncolumns = { site = \"varchar\", v = \"float\" }\n\
             timestamp = \"time\"\npartition_by = \"HOUR\"\nstrict = true\n\
             upsert_keys = [\"time\"]",
        ));
        let own = shape.of("READINGS");
        assert!(shape.declared[0].ours && shape.declared[0].timestamp);
        assert_eq!(own.symbols, ["sensor"]);
        let columns: Vec<(&str, ColumnType)> =
            own.columns.iter().map(|(name, kind)| (name.as_str(), *kind)).collect();
        let expected =
            [("seq", ColumnType::Long), ("site", ColumnType::Varchar), ("v", ColumnType::Float)];
        assert_eq!(columns, expected);
        assert_eq!((own.timestamp_column.as_str(), own.create.ttl), ("time", Some(Ttl::Hours(24))));
        assert_eq!(own.create.partition_by, Some("HOUR"));
        assert_eq!(own.create.upsert_keys, ["time"]);
        assert!(own.create.strict && !own.create.tables && !own.create.columns);
        // Another table is as the pipeline has it.
        let other = shape.of("other");
        assert_eq!(other.symbols, ["site", "sensor"]);
        assert!(!other.create.strict && other.create.tables && other.create.columns);
    }

    #[test]
    fn exactly_once_reaches_what_is_declared() {
        let pipeline = "delivery = \"exactly-once\"\n[pipeline.readings.table]\n\
                        timestamp = { field = \"ts\" }\n[tables.a]\ntimestamp = \"at\"\n\
                        [tables.b]\nsymbols = [\"source\"]\nupsert_keys = [\"source\", \"ts\"]";
        let shape = shape(&readings(pipeline));
        let keys = |table: &str| shape.of(table).create.upsert_keys.join(" ");
        assert_eq!(keys("a"), "at kafka_topic kafka_partition kafka_offset kafka_row");
        assert_eq!(keys("b"), "source ts");
    }

    #[test]
    fn mistakes_are_shown_where_they_stand() {
        check(
            &readings(
                "[pipeline.readings.table]\nname = \"readings\"\n[tables.readings]\n\
                 columns = { a = \"bigint\" }\nttl = \"soon\"\nstrict = true\n\
                 auto_create = true\n[tables.nobodys]\nsymbols = [\"s\"]",
            ),
            r#"
error: tables.readings.columns.a: `bigint` is not a column type
 --> bridge.toml:6:17
  |
6 | columns = { a = "bigint" }
  |                 ^^^^^^^^ QuestDB calls it `long`

error: tables.readings.ttl: `soon` is not a time to live
 --> bridge.toml:7:7
  |
7 | ttl = "soon"
  |       ^^^^^^ such as "30 DAYS" or "12 HOURS"

error: tables.readings.auto_create: `strict` makes nothing, and `auto_create` does
 --> bridge.toml:9:15
  |
9 | auto_create = true
  |               ^^^^ only one of them: `bridge tables apply` makes what is declared
"#,
        );
        check(
            &readings(
                "[pipeline.readings.table]\nname = \"readings\"\n[tables.reading]\n\
                 upsert_keys = [\"timestamp\"]\n[tables.readings]\nttl = \"36 HOURS\"\n\
                 upsert_keys = [\"id\"]",
            ),
            r#"
error: tables.readings.ttl: 36 HOURS is no multiple of a partition by DAY
 --> bridge.toml:8:7
  |
8 | ttl = "36 HOURS"
  |       ^^^^^^^^^^ QuestDB drops whole partitions: choose a multiple, or another `partition_by`

error: tables.readings.upsert_keys: `timestamp`, the timestamp, must be among the keys
 --> bridge.toml:9:15
  |
9 | upsert_keys = ["id"]
  |               ^^^^^^ add "timestamp"

error: tables.readings.upsert_keys.0: the upsert key `id` is no column that is declared
 --> bridge.toml:9:16
  |
9 | upsert_keys = ["id"]
  |                ^^^^ name it in `symbols`, `columns` or `metadata`
"#,
        );
        check(
            &readings(
                "[pipeline.readings.table]\nname = \"readings\"\n[tables.reading]\n\
                 symbols = [\"s\"]",
            ),
            r#"
error: tables.reading: no pipeline writes to `reading`
 --> bridge.toml:5:1
  |
5 | [tables.reading]
  | ^^^^^^^^^^^^^^^^ `name` in a pipeline's `table`, or a transform, gives rows their table
"#,
        );
    }

    #[test]
    fn what_is_another_database_s_is_refused_by_its_line() {
        let sink = "[pipeline.p]\ntopics = [\"t\"]\n[pipeline.p.sink]\nkind = \"postgres\"\n";
        assert!(parse(&format!("{sink}[tables.t]\nsymbols = [\"s\"]\nstrict = true")).is_ok());
        check(
            &format!("{sink}[tables.t]\nttl = \"1 DAY\"\npartition_by = \"DAY\""),
            r#"
error: tables.t.ttl: pipeline `p` may write here, and its sink `postgres` drops no rows
 --> bridge.toml:6:7
  |
6 | ttl = "1 DAY"
  |       ^^^^^^^ take it out: rows are dropped by hand

error: tables.t.partition_by: pipeline `p` may write here, and its sink `postgres` makes none
 --> bridge.toml:7:16
  |
7 | partition_by = "DAY"
  |                ^^^^^ take it out: partitions are made by hand
"#,
        );
    }

    #[test]
    fn what_a_sink_would_pass_over_is_refused() {
        check(
            "[pipeline.p]\ntopics = [\"t\"]\nsink = { kind = \"file\", path = \"{table}\" }\n\
             [tables.t]\nsymbols = [\"s\"]",
            r#"
error: tables.t: pipeline `p` may write here, and its sink `file` heeds no table
 --> bridge.toml:4:1
  |
4 | [tables.t]
  | ^^^^^^^^^^ say it under `pipeline.p.table`
"#,
        );
    }

    #[test]
    fn what_means_nothing_to_a_topic_is_refused_by_its_line() {
        let sink = "[pipeline.p]\ntopics = [\"t\"]\n[pipeline.p.sink]\nkind = \"kafka\"\n\
                    topic = \"x\"\nencode = \"avro\"\nregistry.url = \"http://r\"\n[tables.t]\n";
        let declared = "columns = { n = \"int\" }\nsymbols = [\"s\"]\ntimestamp = \"at\"";
        let shape = shape(&format!("{sink}{declared}"));
        assert_eq!(shape.of("t").columns, [("n".to_owned(), ColumnType::Int)]);
        assert_eq!(shape.of("t").timestamp_column, "at");
        check(
            &format!("{sink}ttl = \"1 DAY\"\nstrict = true"),
            r#"
error: tables.t.ttl: pipeline `p` may write here, and its sink `kafka` drops no rows
 --> bridge.toml:9:7
  |
9 | ttl = "1 DAY"
  |       ^^^^^^^ take it out: the topic's own `retention.ms` does it

error: tables.t.strict: pipeline `p` may write here, and its sink `kafka` makes no tables
  --> bridge.toml:10:10
   |
10 | strict = true
   |          ^^^^ take it out: with `register = false` of the sink its schema stays as it is
"#,
        );
        for key in ["partition_by = \"DAY\"", "auto_create = true", "add_columns = false"] {
            assert!(parse(&format!("{sink}{key}")).is_err(), "{key}");
        }
        // Text has no schema that types could be of.
        let text = sink.replace("encode = \"avro\"\nregistry.url = \"http://r\"\n", "");
        let told = parse(&format!("{text}{declared}")).expect_err("it would be passed over");
        assert!(told.to_string().contains("its sink `kafka` heeds no table"), "{told}");
    }

    #[test]
    fn a_transactional_table_has_a_door_of_its_own() {
        let declared = "[tables.orders]\nconsistency = \"transactional\"\n";
        let doors = |sink: &str| {
            let text = format!(
                "[pipeline.p]\ntopics = [\"t\"]\ntable = {{ name = \"{{field.kind}}\" }}\n{sink}\n\
                 {declared}"
            );
            let plan = parse(&text).unwrap_or_else(|error| panic!("{error}"));
            let sink = &plan.pipelines[0].sink;
            assert!(plan.pipelines[0].shape.of("Orders").transactional);
            (sink.doors().concat().join(" "), sink.couriers_per_lane())
        };
        assert_eq!(doors(""), ("localhost:9000 localhost:8812".into(), 2));
        let tcp = "sink = { transport = \"tcp\", address = \"a\", pg_address = \"b:1\" }";
        assert_eq!(doors(tcp), ("a:9000 a:9009 b:1".into(), 2));
        let pg = "sink = { transport = \"pg\" }";
        assert_eq!(doors(pg), ("localhost:8812".into(), 1));
        check(
            &format!(
                "[pipeline.p]\ntopics = [\"t\"]\ntable = {{ name = \"orders\" }}\n\
                 fallback = {{ kind = \"file\", path = \"{{table}}\" }}\n{declared}"
            ),
            r#"
error: tables.orders.consistency: sink `file`: this sink stores nothing in transactions
 --> bridge.toml:6:15
  |
6 | consistency = "transactional"
  |               ^^^^^^^^^^^^^^^ kind = "questdb" or "postgres"
"#,
        );
    }
}
