//! What rows must become: their table, the columns' types and roles, the columns that come from
//! the record itself. Plain data, checked when the plan is made; encoders compile it for each
//! table that they meet.

mod path;
mod values;

use std::fmt;

use bridge_abi::Unit;
use jiff::tz::TimeZone;

pub use self::path::{Path, Step};
pub use self::values::{
    Apart, Arrays, Decimals, EmptyArray, EmptyText, Explode, OnBad, Pick, Reading, Values,
};

/// The shape of a pipeline's rows.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Which table a row goes to, unless a transform chose one.
    pub table: Template,
    /// Where the designated timestamp comes from.
    pub timestamp: Timestamp,
    /// The designated timestamp's own column name in tables that the bridge makes.
    pub timestamp_column: String,
    /// Where its local times are read; UTC if not said.
    pub timestamp_zone: Option<TimeZone>,
    /// Columns that are symbols in tables that the bridge makes (names after mapping).
    pub symbols: Vec<String>,
    /// Columns with a declared type (names after mapping).
    pub columns: Vec<(String, ColumnType)>,
    /// (flattened name in the record, name in the table).
    pub mapping: Vec<(String, String)>,
    /// Whether fields that the mapping does not name become no columns.
    pub mapping_only: bool,
    /// Not these columns (flattened names in the record).
    pub drop: Vec<String>,
    /// Which arrays are taken apart.
    pub apart: Apart,
    /// What is said of values.
    pub values: Values,
    /// Columns that come from the record itself.
    pub metadata: Metadata,
    /// A row that would give its table more columns than this is rejected.
    pub columns_max: usize,
    /// Rows of records without a value delete the row of their key.
    pub deletes: bool,
    /// Rows are stored in transactions, also where those of other tables are not.
    pub transactional: bool,
    /// What the bridge may make.
    pub create: Create,
    /// Tables that are declared by name, each with a shape of its own.
    pub declared: Vec<Declared>,
}

/// A table that is declared by name.
#[derive(Clone, Debug)]
pub struct Declared {
    /// Its name.
    pub name: String,
    /// What its rows must become: the pipeline's shape, and before it what is declared.
    pub shape: Shape,
    /// Whether it is among those that the pipeline answers for: it may give rows this name.
    pub ours: bool,
    /// Whether the designated timestamp's column is declared, and not only what a table gets that
    /// the bridge makes.
    pub timestamp: bool,
}

impl Shape {
    /// The shape of a table's rows.
    pub fn of(&self, table: &str) -> &Shape {
        let declared = self.declared.iter().find(|d| d.name.eq_ignore_ascii_case(table));
        declared.map_or(self, |declared| &declared.shape)
    }

    /// Names of the tables that the pipeline answers for: the one its rows go to, if it is always
    /// the same, and those that are declared.
    pub fn tables(&self) -> Vec<&str> {
        let fixed = self.table.fixed();
        let declared = self.declared.iter().filter(|declared| declared.ours);
        let declared = declared.map(|declared| declared.name.as_str());
        let is_other = |name: &&str| fixed.is_none_or(|fixed| !fixed.eq_ignore_ascii_case(name));
        fixed.into_iter().chain(declared.filter(is_other)).collect()
    }

    /// The column that a field of the record becomes; `None` if it does not become one.
    pub fn column_of(&self, field: &str) -> Option<String> {
        if self.drop.iter().any(|name| name == field) {
            return None;
        }
        match self.mapping.iter().find(|(from, _)| from == field) {
            Some((_, to)) => Some(to.clone()),
            None if self.mapping_only => None,
            None => Some(field.to_owned()),
        }
    }

    /// The type that a column was declared with, if any.
    pub fn kind_of(&self, column: &str) -> Option<ColumnType> {
        let declared = self.columns.iter().find(|(name, _)| name == column);
        let is_symbol = || self.symbols.iter().any(|name| name == column);
        declared.map(|(_, kind)| *kind).or_else(|| is_symbol().then_some(ColumnType::Symbol))
    }

    /// The type that the designated timestamp was declared with, if any.
    pub fn timestamp_kind(&self) -> Option<ColumnType> {
        let is_it = |(name, _): &&(String, _)| name.eq_ignore_ascii_case(&self.timestamp_column);
        self.columns.iter().find(is_it).map(|(_, kind)| *kind)
    }
}

/// What the bridge makes by SQL, and how.
#[derive(Clone, Debug)]
pub struct Create {
    /// Make missing tables.
    pub tables: bool,
    /// Add missing columns.
    pub columns: bool,
    /// Start only with tables that are as they are declared.
    pub strict: bool,
    /// `HOUR`, `DAY`, `WEEK`, `MONTH` or `YEAR`; `DAY` for a table that is made unless said.
    pub partition_by: Option<&'static str>,
    /// How long the table keeps its rows, if that is said.
    pub ttl: Option<Ttl>,
    /// Columns of `DEDUP UPSERT KEYS` in tables that the bridge makes; empty for none.
    pub upsert_keys: Vec<String>,
}

/// Columns taken from the record: the user's name for each, where wanted.
#[derive(Clone, Debug, Default)]
pub struct Metadata {
    /// The topic, a symbol.
    pub topic: Option<String>,
    /// The partition's number, an int.
    pub partition: Option<String>,
    /// The offset, a long.
    pub offset: Option<String>,
    /// The row's number within its record, an int.
    pub row: Option<String>,
    /// Kafka's timestamp, a timestamp.
    pub timestamp: Option<String>,
    /// (header, column): the header's last value as text.
    pub headers: Vec<(String, String)>,
}

/// How long a table keeps its rows, as the database counts: in hours, or in months.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ttl {
    /// Hours; 0 for ever.
    Hours(u32),
    /// Months.
    Months(u32),
}

impl Ttl {
    /// The largest number of any unit: what the database's own counter holds, and more than any
    /// table lives.
    const COUNT_MAX: u32 = 999_999;

    /// Reads QuestDB's clause, such as `30 DAYS` or `12h`: one number, one unit and nothing more,
    /// for it goes into a statement.
    pub fn parse(text: &str) -> Option<Ttl> {
        let digits = text.chars().take_while(char::is_ascii_digit).count();
        let count = text[..digits].parse().ok().filter(|count| *count <= Ttl::COUNT_MAX)?;
        Ttl::of(count, text[digits..].trim())
    }

    /// Whether it is so many whole partitions, as the database wants it.
    pub fn fits(self, partition_by: &str) -> bool {
        match (self, partition_by) {
            (Ttl::Hours(0), _) | (Ttl::Hours(_), "HOUR") => true,
            (Ttl::Hours(hours), "DAY") => hours % 24 == 0,
            (Ttl::Hours(hours), "WEEK") => hours % (24 * 7) == 0,
            (Ttl::Hours(_), _) => false,
            (Ttl::Months(months), "YEAR") => months % 12 == 0,
            (Ttl::Months(_), _) => true,
        }
    }

    /// So many of a unit, by its name or its letter.
    pub fn of(count: u32, unit: &str) -> Option<Ttl> {
        let unit = unit.to_ascii_lowercase();
        let unit = if unit.len() > 1 { unit.trim_end_matches('s') } else { &unit };
        Some(match unit {
            "hour" | "h" => Ttl::Hours(count),
            "day" | "d" => Ttl::Hours(count.checked_mul(24)?),
            "week" | "w" => Ttl::Hours(count.checked_mul(24 * 7)?),
            "month" | "m" => Ttl::Months(count),
            "year" | "y" => Ttl::Months(count.checked_mul(12)?),
            _ => return None,
        })
    }
}

impl fmt::Display for Ttl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ttl::Hours(hours) if hours % 24 == 0 => write!(f, "{} DAYS", hours / 24),
            Ttl::Hours(hours) => write!(f, "{hours} HOURS"),
            Ttl::Months(months) if months % 12 == 0 => write!(f, "{} YEARS", months / 12),
            Ttl::Months(months) => write!(f, "{months} MONTHS"),
        }
    }
}

/// Where the designated timestamp comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Timestamp {
    /// One field of the record.
    Field {
        /// Its flattened name.
        field: String,
        /// How it is written.
        written: Written,
    },
    /// Several text fields, joined in order and read by a pattern.
    Composed {
        /// Their flattened names.
        fields: Vec<String>,
        /// The pattern, in strftime's letters.
        pattern: String,
    },
    /// Kafka's timestamp of the record.
    Kafka,
    /// The server's clock. A replay gives other rows: never with upsert keys.
    Server,
}

/// How a timestamp is written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Written {
    /// Text is ISO 8601; a number is read by its magnitude (below 1e10 seconds, 1e13
    /// milliseconds, 1e16 microseconds, else nanoseconds).
    Auto,
    /// A number in this unit.
    Number(Unit),
    /// Text by a pattern in strftime's letters.
    Pattern(String),
}

/// A column's type in the target, as QuestDB names them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ColumnType {
    /// `BOOLEAN`
    Boolean,
    /// `BYTE`
    Byte,
    /// `SHORT`
    Short,
    /// `INT`
    Int,
    /// `LONG`
    Long,
    /// `FLOAT`
    Float,
    /// `DOUBLE`
    Double,
    /// `SYMBOL`
    Symbol,
    /// `VARCHAR`
    Varchar,
    /// `STRING`
    String,
    /// `CHAR`
    Char,
    /// `TIMESTAMP`, microseconds
    Timestamp,
    /// `TIMESTAMP_NS`, nanoseconds
    TimestampNs,
    /// `DATE`, milliseconds
    Date,
    /// `UUID`
    Uuid,
    /// `IPv4`
    Ipv4,
    /// `LONG256`
    Long256,
    /// `GEOHASH(…)`
    Geohash,
    /// `DECIMAL(precision, scale)`
    Decimal(u8, u8),
    /// `DOUBLE[]` with this many dimensions
    Array(u8),
    /// `BINARY`, which line protocol cannot write
    Binary,
}

impl ColumnType {
    /// The type by the name that configuration and `table_columns()` give it, in any case.
    pub fn parse(name: &str) -> Option<ColumnType> {
        let name = name.trim().to_ascii_lowercase();
        if let Some(element) = name.strip_suffix("[]") {
            let inner = element.trim_end_matches("[]");
            let dims = 1 + (element.len() - inner.len()) / 2;
            return (inner == "double" && dims <= 32).then_some(ColumnType::Array(dims as u8));
        }
        if let Some(arguments) = name.strip_prefix("decimal") {
            let arguments = arguments.trim().trim_start_matches('(').trim_end_matches(')');
            if arguments.is_empty() {
                return Some(ColumnType::Decimal(18, 3));
            }
            let mut numbers = arguments.split(',').map(|n| n.trim().parse::<u8>().ok());
            let precision = numbers.next().flatten()?;
            let scale = numbers.next().unwrap_or(Some(0))?;
            return ((1..=76).contains(&precision) && scale <= precision)
                .then_some(ColumnType::Decimal(precision, scale));
        }
        if name.starts_with("geohash") {
            return Some(ColumnType::Geohash);
        }
        Some(match name.as_str() {
            "boolean" | "bool" => ColumnType::Boolean,
            "byte" => ColumnType::Byte,
            "short" => ColumnType::Short,
            "int" => ColumnType::Int,
            "long" => ColumnType::Long,
            "float" => ColumnType::Float,
            "double" => ColumnType::Double,
            "symbol" => ColumnType::Symbol,
            "varchar" => ColumnType::Varchar,
            "string" => ColumnType::String,
            "char" => ColumnType::Char,
            "timestamp" => ColumnType::Timestamp,
            "timestamp_ns" => ColumnType::TimestampNs,
            "date" => ColumnType::Date,
            "uuid" => ColumnType::Uuid,
            "ipv4" => ColumnType::Ipv4,
            "long256" => ColumnType::Long256,
            "binary" => ColumnType::Binary,
            _ => return None,
        })
    }
}

impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ColumnType::Boolean => f.write_str("BOOLEAN"),
            ColumnType::Byte => f.write_str("BYTE"),
            ColumnType::Short => f.write_str("SHORT"),
            ColumnType::Int => f.write_str("INT"),
            ColumnType::Long => f.write_str("LONG"),
            ColumnType::Float => f.write_str("FLOAT"),
            ColumnType::Double => f.write_str("DOUBLE"),
            ColumnType::Symbol => f.write_str("SYMBOL"),
            ColumnType::Varchar => f.write_str("VARCHAR"),
            ColumnType::String => f.write_str("STRING"),
            ColumnType::Char => f.write_str("CHAR"),
            ColumnType::Timestamp => f.write_str("TIMESTAMP"),
            ColumnType::TimestampNs => f.write_str("TIMESTAMP_NS"),
            ColumnType::Date => f.write_str("DATE"),
            ColumnType::Uuid => f.write_str("UUID"),
            ColumnType::Ipv4 => f.write_str("IPv4"),
            ColumnType::Long256 => f.write_str("LONG256"),
            ColumnType::Geohash => f.write_str("GEOHASH"),
            ColumnType::Decimal(precision, scale) => write!(f, "DECIMAL({precision},{scale})"),
            ColumnType::Array(dims) => {
                f.write_str("DOUBLE")?;
                (0..*dims).try_for_each(|_| f.write_str("[]"))
            }
            ColumnType::Binary => f.write_str("BINARY"),
        }
    }
}

/// A name with places to be filled from the record: `{header.tenant}_readings`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Template(pub Vec<Part>);

/// One part of a template.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Part {
    /// As written.
    Text(String),
    /// `{topic}`
    Topic,
    /// `{key}`; a null key gives `null`.
    Key,
    /// `{partition}`
    Partition,
    /// `{header.NAME}`, the last header of that name; a missing one gives `null`.
    Header(String),
    /// `{field.NAME}`, the column of that (flattened) name; a missing one gives `null`.
    Field(String),
}

impl Template {
    /// Reads a template; the error says which part is not one.
    pub fn parse(text: &str) -> Result<Template, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(open) = rest.find('{') {
            if open > 0 {
                parts.push(Part::Text(rest[..open].to_owned()));
            }
            let close = rest[open..]
                .find('}')
                .ok_or_else(|| format!("`{text}` has a `{{` without its `}}`"))?;
            let inner = &rest[open + 1..open + close];
            parts.push(match inner.split_once('.') {
                None if inner == "topic" => Part::Topic,
                None if inner == "key" => Part::Key,
                None if inner == "partition" => Part::Partition,
                Some(("header", name)) if !name.is_empty() => Part::Header(name.to_owned()),
                Some(("field", name)) if !name.is_empty() => Part::Field(name.to_owned()),
                _ => {
                    return Err(format!(
                        "`{{{inner}}}` is none of {{topic}}, {{key}}, {{partition}}, {{header.NAME}}, {{field.NAME}}"
                    ));
                }
            });
            rest = &rest[open + close + 1..];
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Template(parts))
    }

    /// Whether it may give this name, in any case, for some record.
    pub fn may_be(&self, name: &str) -> bool {
        fn from(parts: &[Part], rest: &str) -> bool {
            match parts {
                [] => rest.is_empty(),
                [Part::Text(text), after @ ..] => {
                    rest.strip_prefix(text.to_lowercase().as_str()).is_some_and(|r| from(after, r))
                }
                [_, after @ ..] => {
                    let ends = rest.char_indices().map(|(at, _)| at).chain([rest.len()]);
                    ends.into_iter().any(|at| from(after, &rest[at..]))
                }
            }
        }
        from(&self.0, &name.to_lowercase())
    }

    /// The name, if nothing in it comes from the record.
    pub fn fixed(&self) -> Option<&str> {
        match self.0.as_slice() {
            [Part::Text(name)] => Some(name),
            _ => None,
        }
    }
}

#[cfg(test)]
impl Shape {
    /// What tests begin with: Kafka's timestamps, and tables and columns made as they come.
    pub fn plain(table: &str) -> Shape {
        Shape {
            table: Template::parse(table).expect("a name"),
            timestamp: Timestamp::Kafka,
            timestamp_column: "timestamp".into(),
            timestamp_zone: None,
            symbols: vec![],
            columns: vec![],
            mapping: vec![],
            mapping_only: false,
            drop: vec![],
            apart: Apart::default(),
            values: Values::default(),
            metadata: Metadata::default(),
            columns_max: 500,
            deletes: false,
            transactional: false,
            create: Create {
                tables: true,
                columns: true,
                strict: false,
                partition_by: None,
                ttl: None,
                upsert_keys: vec![],
            },
            declared: vec![],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_read_or_refused() {
        let template = Template::parse("{header.tenant}_x_{topic}").expect("it is one");
        assert_eq!(
            template.0,
            [Part::Header("tenant".into()), Part::Text("_x_".into()), Part::Topic]
        );
        assert_eq!(Template::parse("readings").expect("it is one").fixed(), Some("readings"));
        assert!(Template::parse("{nope}").is_err());
        assert!(Template::parse("{topic").is_err());
    }

    #[test]
    fn templates_know_the_names_they_may_give() {
        let check = |template: &str, name: &str, may: bool| {
            let template = Template::parse(template).expect("it is one");
            assert_eq!(template.may_be(name), may, "{template:?} {name}");
        };
        check("readings", "Readings", true);
        check("readings", "reading", false);
        check("{topic}", "anything", true);
        check("{header.tenant}_readings", "a_readings", true);
        check("{header.tenant}_readings", "a_readings_b", false);
        check("a{topic}b{key}b", "axbb", true);
        check("a{topic}b{key}b", "ab", false);
    }

    #[test]
    fn times_to_live_are_only_that() {
        let days = Some(Ttl::Hours(24));
        for (ttl, read) in [
            ("1 DAYS", days),
            ("1 day", days),
            ("24h", days),
            ("2 WEEKS", Some(Ttl::Hours(336))),
            ("1y", Some(Ttl::Months(12))),
            ("5 m", Some(Ttl::Months(5))),
        ] {
            assert_eq!(Ttl::parse(ttl), read, "{ttl}");
            let shown = read.expect("all of these are").to_string();
            assert_eq!(Ttl::parse(&shown), read, "{shown}");
        }
        let fits = |ttl: &str, unit: &str| Ttl::parse(ttl).expect("it is one").fits(unit);
        assert!(fits("36 h", "HOUR") && !fits("36 h", "DAY") && fits("5 m", "WEEK"));
        assert!(!fits("10 d", "WEEK") && !fits("52 w", "MONTH") && fits("24 m", "YEAR"));
        for ttl in ["", "DAYS", "30", "30 DAYS; DROP TABLE x", "1 s", "9999999 d"] {
            assert_eq!(Ttl::parse(ttl), None, "{ttl}");
        }
    }

    #[test]
    fn types_are_read_as_they_are_shown() {
        for name in ["BOOLEAN", "LONG", "DOUBLE[][]", "DECIMAL(10,2)", "TIMESTAMP_NS", "IPv4"] {
            let kind = ColumnType::parse(name).expect("a type");
            assert_eq!(kind.to_string(), name);
        }
        assert_eq!(ColumnType::parse("decimal(3,4)"), None);
        assert_eq!(ColumnType::parse("text"), None);
    }
}
