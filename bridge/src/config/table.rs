//! `[pipeline.NAME.table]`: from the draft to a shape, and what must hold between its columns.

use jiff::tz::TimeZone;

use super::columns::{self, Columns, Paths};
use super::draft::{MetadataDraft, PartitionByDraft, TableDraft, TimestampDraft};
use super::mistake::Mistake;
use super::node::Value;
use super::section::Section;
use super::suggest::{instead_of, nearest};
use crate::format::KeyPlan;
use crate::shape::{ColumnType, Create, Metadata, Shape, Template, Timestamp, Ttl, Written};

/// Columns that a table may have unless the user says otherwise: far more than people design, far
/// fewer than a hostile producer's keys.
const COLUMNS_MAX: usize = 500;

/// The shape that a section asks for, before the sink has added what it needs. `separator` is
/// what the format has between the names of nested objects, if it has such.
pub fn shape(section: &Section, separator: Option<&str>) -> Result<Shape, Vec<Mistake>> {
    let mut mistakes = Vec::new();
    let known = columns::without_old_words(section, &mut |mistake| mistakes.push(mistake));
    let draft: TableDraft = match known.read() {
        Ok(draft) => draft,
        Err(mistake) => {
            mistakes.push(mistake);
            return Err(mistakes);
        }
    };
    let mut keep = |mistake| mistakes.push(mistake);
    let mut paths = Paths::new(section, separator);
    let name = draft.name.as_deref().unwrap_or("{topic}");
    let table = Template::parse(name).unwrap_or_else(|message| {
        keep(section.mistake("name", message));
        Template(Vec::new())
    });
    let table = paths.template(table);
    if name.is_empty() {
        keep(section.mistake("name", "a table needs a name"));
    }
    let Columns { types, values } = columns::columns(section, &draft, &mut keep);
    let designated = timestamp(section, &draft, &mut paths).unwrap_or_else(|mistake| {
        keep(mistake);
        Designated::KAFKA
    });
    let metadata = metadata(section).unwrap_or_else(|mistake| {
        keep(mistake);
        Metadata::default()
    });
    let ttl = ttl(section, draft.ttl.as_deref(), &mut keep);
    let strict = strict(section, draft.strict, &mut keep);
    let ((mapping, mapping_only), drop) = (paths.mapping(&draft), paths.drop(&draft));
    let (apart, found) = paths.apart(&draft);
    found.into_iter().for_each(&mut keep);
    let shape = Shape {
        table,
        timestamp: designated.timestamp,
        timestamp_column: designated.column.unwrap_or_else(|| "timestamp".to_owned()),
        timestamp_zone: designated.zone,
        symbols: draft.symbols,
        columns: types,
        mapping,
        mapping_only,
        drop,
        apart,
        values,
        metadata,
        columns_max: draft.columns_max.unwrap_or(COLUMNS_MAX),
        deletes: false,
        transactional: false,
        create: Create {
            tables: draft.auto_create.unwrap_or(!strict),
            columns: draft.add_columns.unwrap_or(!strict),
            strict,
            partition_by: draft.partition_by.map(PartitionByDraft::word),
            ttl,
            upsert_keys: draft.upsert_keys,
        },
        declared: Vec::new(),
    };
    if mistakes.is_empty() { Ok(shape) } else { Err(mistakes) }
}

/// Columns by name and type.
pub fn types(
    section: &Section,
    written: &[(String, String)],
    keep: &mut impl FnMut(Mistake),
) -> Vec<(String, ColumnType)> {
    let mut columns = Vec::new();
    for (name, written) in written {
        match ColumnType::parse(written) {
            Some(kind) => columns.push((name.clone(), kind)),
            None => keep(unknown_type(section, name, written)),
        }
    }
    columns
}

/// A time to live as written.
pub fn ttl(
    section: &Section,
    written: Option<&str>,
    keep: &mut impl FnMut(Mistake),
) -> Option<Ttl> {
    let written = written?;
    let ttl = Ttl::parse(written);
    if ttl.is_none() {
        let mistake = section.mistake("ttl", format!("`{written}` is not a time to live"));
        keep(mistake.help("such as \"30 DAYS\" or \"12 HOURS\""));
    }
    ttl
}

/// The database keeps whole partitions only. Where nothing is made and nothing is said of them,
/// they are what the table has.
pub fn ttl_fits(section: &Section, create: &Create, mistakes: &mut Vec<Mistake>) {
    let said = create.partition_by.or(create.tables.then_some("DAY"));
    if let (Some(ttl), Some(unit)) = (create.ttl, said)
        && !ttl.fits(unit)
    {
        let message = format!("{ttl} is no multiple of a partition by {unit}");
        let help = "QuestDB drops whole partitions: choose a multiple, or another `partition_by`";
        mistakes.push(section.mistake("ttl", message).help(help));
    }
}

/// Whether only tables as declared will do. Who wants that wants nothing made as rows come.
pub fn strict(section: &Section, written: Option<bool>, keep: &mut impl FnMut(Mistake)) -> bool {
    let strict = written.unwrap_or(false);
    for key in ["auto_create", "add_columns"] {
        if strict && matches!(section.value(key), Some(Value::Boolean(true))) {
            let mistake = section.mistake(key, format!("`strict` makes nothing, and `{key}` does"));
            keep(mistake.help("only one of them: `bridge tables apply` makes what is declared"));
        }
    }
    strict
}

/// A type that is none, and what was meant.
pub fn unknown_type(section: &Section, name: &str, written: &str) -> Mistake {
    const TYPES: &[&str] = &[
        "boolean",
        "byte",
        "short",
        "int",
        "long",
        "float",
        "double",
        "symbol",
        "varchar",
        "string",
        "char",
        "timestamp",
        "timestamp_ns",
        "date",
        "uuid",
        "ipv4",
        "long256",
        "geohash",
        "decimal(18,3)",
        "double[]",
    ];
    // What other databases call it.
    let known = match written.to_ascii_lowercase().as_str() {
        "integer" | "int4" | "int32" => Some("int"),
        "bigint" | "int8" | "int64" => Some("long"),
        "text" => Some("varchar"),
        "real" | "float4" => Some("float"),
        "float8" | "number" => Some("double"),
        _ => None,
    };
    let mut mistake =
        section.mistake(&format!("columns.{name}"), format!("`{written}` is not a column type"));
    mistake.help = match known {
        Some(known) => Some(format!("QuestDB calls it `{known}`")),
        None => instead_of(written, TYPES),
    };
    mistake
}

/// The designated timestamp.
struct Designated {
    timestamp: Timestamp,
    column: Option<String>,
    zone: Option<TimeZone>,
}

impl Designated {
    const KAFKA: Designated = Designated { timestamp: Timestamp::Kafka, column: None, zone: None };
}

fn timestamp(
    section: &Section,
    table: &TableDraft,
    paths: &mut Paths<'_>,
) -> Result<Designated, Mistake> {
    let draft: TimestampDraft = match section.value("timestamp") {
        None => return Ok(Designated::KAFKA),
        Some(Value::String(word)) => match word.as_str() {
            "kafka" => return Ok(Designated::KAFKA),
            "server" => {
                return Ok(Designated { timestamp: Timestamp::Server, ..Designated::KAFKA });
            }
            word => {
                let message = format!("`{word}` is neither \"kafka\" nor \"server\"");
                let help = format!("for a field of the record: {{ field = \"{word}\" }}");
                return Err(section.mistake("timestamp", message).help(help));
            }
        },
        Some(_) => section.below("timestamp").read()?,
    };
    let sources = [draft.field.is_some(), draft.fields.is_some(), draft.kafka, draft.server];
    if sources.iter().filter(|given| **given).count() != 1 {
        let message = "a timestamp comes from exactly one place";
        let help = "one of `field`, `fields`, `kafka = true`, `server = true`";
        return Err(section.mistake("timestamp", message).help(help));
    }
    let written = columns::written(section, "timestamp", draft.unit, draft.pattern)?;
    let mut found = None;
    let (key, name) = match &draft.zone {
        Some(name) => ("timestamp.zone", Some(name)),
        None => ("zone", table.zone.as_ref()),
    };
    // What is wrong with the table's own is told where columns are read.
    let zone = columns::zone(section, key, name.map(String::as_str), &mut |mistake| {
        found = draft.zone.is_some().then_some(mistake);
    });
    if let Some(mistake) = found {
        return Err(mistake);
    }
    let field = draft.field.map(|field| paths.field("timestamp.field", &field));
    let column = draft.column.or_else(|| field.clone());
    let timestamp = match (field, draft.fields, written) {
        (Some(field), _, written) => Timestamp::Field { field, written },
        (None, Some(fields), Written::Pattern(pattern)) => {
            let each = fields.iter().enumerate();
            let fields =
                each.map(|(at, field)| paths.field(&format!("timestamp.fields.{at}"), field));
            Timestamp::Composed { fields: fields.collect(), pattern }
        }
        (None, Some(_), _) => {
            return Err(section
                .mistake("timestamp.fields", "several fields are read by a `pattern`")
                .help("such as pattern = \"%Y-%m-%d %H:%M:%S\""));
        }
        (None, None, _) if draft.kafka => Timestamp::Kafka,
        (None, None, _) => Timestamp::Server,
    };
    Ok(Designated { timestamp, column, zone })
}

fn metadata(section: &Section) -> Result<Metadata, Mistake> {
    let draft: MetadataDraft = match section.value("metadata") {
        None | Some(Value::Boolean(false)) => return Ok(Metadata::default()),
        Some(Value::Boolean(true)) => {
            return Ok(Metadata {
                topic: Some("kafka_topic".to_owned()),
                partition: Some("kafka_partition".to_owned()),
                offset: Some("kafka_offset".to_owned()),
                row: Some("kafka_row".to_owned()),
                ..Metadata::default()
            });
        }
        Some(_) => section.below("metadata").read()?,
    };
    Ok(Metadata {
        topic: draft.topic,
        partition: draft.partition,
        offset: draft.offset,
        row: draft.row,
        timestamp: draft.timestamp,
        headers: draft.headers.0,
    })
}

impl PartitionByDraft {
    /// As SQL has it.
    pub fn word(self) -> &'static str {
        match self {
            PartitionByDraft::Hour => "HOUR",
            PartitionByDraft::Day => "DAY",
            PartitionByDraft::Week => "WEEK",
            PartitionByDraft::Month => "MONTH",
            PartitionByDraft::Year => "YEAR",
        }
    }
}

/// What must hold between the columns of a shape that is whole.
pub fn cross_check(section: &Section, shape: &Shape, key: &KeyPlan) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    symbols(section, shape, &mut mistakes);
    columns::mapped(section, shape, &mut mistakes);
    columns::told_apart(section, shape, &mut mistakes);
    metadata_names(section, shape, &mut mistakes);
    upsert_keys(section, shape, key, &mut mistakes);
    ttl_fits(section, &shape.create, &mut mistakes);
    if shape.columns_max == 0 {
        mistakes.push(section.mistake("columns_max", "must be 1 or more"));
    }
    mistakes
}

/// Whether no column is declared as two things.
pub fn symbols(section: &Section, shape: &Shape, mistakes: &mut Vec<Mistake>) {
    for (index, symbol) in shape.symbols.iter().enumerate() {
        let declared = shape.columns.iter().find(|(name, _)| name == symbol);
        if let Some((_, kind)) = declared.filter(|(_, kind)| *kind != ColumnType::Symbol) {
            let message = format!("`{symbol}` is a symbol here and {kind} in `columns`");
            mistakes.push(section.mistake(&format!("symbols.{index}"), message));
        }
    }
}

/// (key below `metadata`, column), in the order of the struct.
fn metadata_columns(shape: &Shape) -> Vec<(String, &str)> {
    let metadata = &shape.metadata;
    let fixed = [
        ("topic", &metadata.topic),
        ("partition", &metadata.partition),
        ("offset", &metadata.offset),
        ("row", &metadata.row),
        ("timestamp", &metadata.timestamp),
    ];
    let fixed = fixed
        .into_iter()
        .filter_map(|(key, name)| name.as_deref().map(|name| (format!("metadata.{key}"), name)));
    let headers = metadata.headers.iter();
    fixed
        .chain(headers.map(|(header, name)| (format!("metadata.headers.{header}"), name.as_str())))
        .collect()
}

fn metadata_names(section: &Section, shape: &Shape, mistakes: &mut Vec<Mistake>) {
    let columns = metadata_columns(shape);
    for (index, (key, name)) in columns.iter().enumerate() {
        if name.is_empty() {
            mistakes.push(section.mistake(key, "a column needs a name"));
        } else if columns[..index].iter().any(|(_, other)| other == name) {
            mistakes.push(section.mistake(key, format!("the column `{name}` is taken already")));
        } else if *name == shape.timestamp_column {
            let message = format!("`{name}` is the designated timestamp already");
            let mistake = section.mistake(key, message);
            mistakes.push(mistake.help("give one of them another name"));
        }
    }
}

/// Whether the keys are columns that are there, the timestamp among them.
pub fn upsert_keys(section: &Section, shape: &Shape, key: &KeyPlan, mistakes: &mut Vec<Mistake>) {
    let keys = &shape.create.upsert_keys;
    if keys.is_empty() {
        return;
    }
    if shape.timestamp == Timestamp::Server {
        let message = "with the server's clock, no replay has the same keys";
        let help = "timestamp = \"kafka\", or { field = \"...\" }";
        mistakes.push(section.mistake("upsert_keys", message).help(help));
        return;
    }
    let mut known: Vec<&str> = vec![&shape.timestamp_column];
    known.extend(shape.symbols.iter().map(String::as_str));
    known.extend(shape.columns.iter().map(|(name, _)| name.as_str()));
    known.extend(metadata_columns(shape).into_iter().map(|(_, name)| name));
    known.extend(key.column());
    for (index, name) in keys.iter().enumerate() {
        if !known.contains(&name.as_str()) {
            let message = format!("the upsert key `{name}` is no column that is declared");
            let mistake = section.mistake(&format!("upsert_keys.{index}"), message);
            mistakes.push(match nearest(name, known.iter().copied()) {
                Some(nearest) => mistake.help(format!("did you mean `{nearest}`?")),
                None => mistake.help("name it in `symbols`, `columns` or `metadata`"),
            });
        }
    }
    if !keys.contains(&shape.timestamp_column) {
        let column = &shape.timestamp_column;
        let message = format!("`{column}`, the timestamp, must be among the keys");
        mistakes.push(section.mistake("upsert_keys", message).help(format!("add \"{column}\"")));
    }
}
