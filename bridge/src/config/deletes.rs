//! What must hold where records without a value delete: such a record has nothing but its key, so
//! that every column of the sink's key must come from there, with the value that the row has.

use super::mistake::Mistake;
use super::section::Section;
use crate::format::{Deletions, KeyPlan};
use crate::shape::{Shape, Timestamp};
use crate::sink::SinkPlan;

/// Holds the sink's key against what a record without a value has. `key` is how the record's is
/// read; `None` where a transform may make any column of it.
pub fn check(
    section: &Section,
    shape: &Shape,
    sink: &dyn SinkPlan,
    key: Option<&KeyPlan>,
) -> Result<(), Mistake> {
    let columns = sink.deletes().map_err(|unable| unable.mistake(section))?;
    if key == Some(&KeyPlan::Ignore) {
        let message = "a record without a value has only its key, which is not read";
        let help = format!(
            "add [{}.key] with column = \"{}\", or format = \"json\"",
            section.path,
            columns.first().map_or("id", String::as_str)
        );
        return Err(section.mistake("null_value", message).help(help));
    }
    for (index, column) in columns.iter().enumerate() {
        let wrong = |why: String, help: String| {
            let message = format!("a record without a value has no `{column}`: {why}");
            Err(section.mistake(&format!("sink.key.{index}"), message).help(help))
        };
        let fields = match fields(shape, column) {
            Ok(fields) => fields,
            Err(why) => {
                let help = "name columns that come from the record's key".to_owned();
                return wrong(why.to_owned(), help);
            }
        };
        let Some(key) = key else { continue };
        if let Some(field) = fields.into_iter().find(|field| !key.gives(field)) {
            let (why, help) = instead(key, field);
            return wrong(why, help);
        }
    }
    Ok(())
}

/// Holds a sink against what a format asks that marks rows as deleting others. Such a row has all
/// columns of its table that are known, so that any of these may be of the sink's key.
pub fn marked(
    section: &Section,
    shape: &Shape,
    sink: &dyn SinkPlan,
    deletions: &Deletions,
) -> Result<(), Mistake> {
    let columns = match sink.deletes() {
        Ok(columns) => columns,
        Err(unable) if deletions.must => {
            let help = "deletes = \"row\" and deleted = \"deleted\", or kind = \"postgres\" with \
                        mode = \"upsert\"";
            return Err(section.mistake("value.deletes", unable.message).help(help));
        }
        Err(_) if !deletions.told => {
            let message = "the sink deletes nothing, and rows of deletions would look like all \
                           others";
            let help = "add deleted = \"deleted\" to the value's section, or deletes = \"skip\"";
            return Err(section.mistake("value", message).help(help));
        }
        Err(_) => return Ok(()),
    };
    for (index, column) in columns.iter().enumerate() {
        let why = match fields(shape, column) {
            Err(why) => why,
            Ok(fields) => match fields.iter().any(|field| deletions.own.iter().any(|o| o == field))
            {
                true => "it differs between a row and what deletes it",
                false => continue,
            },
        };
        let message = format!("a deletion cannot find its row by `{column}`: {why}");
        let mistake = section.mistake(&format!("sink.key.{index}"), message);
        return Err(mistake.help("name columns of the table that changes, such as its primary key"));
    }
    Ok(())
}

/// The fields of the record that a column is made of; or why a record without a value has
/// another value there than the row that it deletes.
fn fields<'a>(shape: &'a Shape, column: &'a String) -> Result<Vec<&'a str>, &'static str> {
    let own = &shape.metadata;
    let is = |name: &Option<String>| name.as_ref() == Some(column);
    if *column == shape.timestamp_column {
        return match &shape.timestamp {
            Timestamp::Field { field, .. } => Ok(vec![field]),
            Timestamp::Composed { fields, .. } => Ok(fields.iter().map(String::as_str).collect()),
            Timestamp::Kafka | Timestamp::Server => Err("it is a time of its own"),
        };
    }
    if is(&own.offset) || is(&own.row) || is(&own.timestamp) {
        return Err("it differs between a row and what deletes it");
    }
    let header = own.headers.iter().any(|(_, name)| name == column);
    if is(&own.topic) || is(&own.partition) || header {
        return Ok(Vec::new());
    }
    let mapped = shape.mapping.iter().find(|(_, new)| new == column);
    let field = mapped.map_or(column, |(old, _)| old);
    match shape.column_of(field).as_ref() == Some(column) {
        true => Ok(vec![field]),
        false => Err("`mapping_only` or `drop` leaves it out"),
    }
}

/// Why a key does not give a field, and what would be right.
fn instead(key: &KeyPlan, field: &str) -> (String, String) {
    match key {
        KeyPlan::Json { prefix, .. } | KeyPlan::Schema { prefix, .. } => {
            let why = format!("columns of its key begin with `{prefix}`");
            (why, format!("key = [\"{prefix}{field}\"], or prefix = \"\" in the section `key`"))
        }
        KeyPlan::Ignore => ("its key is not read".to_owned(), "add the section `key`".to_owned()),
        KeyPlan::Single { column, .. } => {
            let why = format!("its key is the column `{column}`");
            (why, format!("column = \"{field}\" in the section `key`, or format = \"json\""))
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::tests::{check, parse, readings};
    use crate::format::NullValue;

    /// A pipeline that deletes, with more lines of its own, and columns of its sink's key.
    fn deleting(lines: &str, key: &str) -> String {
        let sink = format!("kind = \"postgres\"\nmode = \"upsert\"\nkey = [{key}]");
        readings(&format!("null_value = \"delete\"\n{lines}\n[pipeline.readings.sink]\n{sink}"))
    }

    fn fine(lines: &str, key: &str) {
        let plan = parse(&deleting(lines, key)).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(plan.pipelines[0].admission.null_value, NullValue::Delete);
        assert!(plan.pipelines[0].shape.deletes);
    }

    #[track_caller]
    fn refused(lines: &str, key: &str, words: &[&str]) {
        let said = parse(&deleting(lines, key)).expect_err("it cannot be").to_string();
        let missing = words.iter().find(|word| !said.contains(**word));
        assert!(missing.is_none(), "{missing:?} in {said}");
    }

    #[test]
    fn every_column_comes_from_the_record_s_key() {
        fine("[pipeline.readings.key]\ncolumn = \"id\"", "\"id\"");
        fine("[pipeline.readings.key]\nformat = \"json\"\nprefix = \"\"", "\"a\", \"b\"");
        fine("[pipeline.readings.key]\nformat = \"json\"", "\"key_a\", \"key\"");
        fine(
            "[pipeline.readings.key]\n[pipeline.readings.table]\nmapping = { key = \"id\" }\n\
             metadata = { topic = \"t\", headers = { h = \"tenant\" } }",
            "\"id\", \"t\", \"tenant\"",
        );
        fine("[[pipeline.readings.transform]]\nmodule = \"x.wasm\"", "\"anything\"");
        fine(
            "[pipeline.readings.key]\ncolumn = \"ts\"\n[pipeline.readings.table]\n\
             timestamp = { field = \"ts\", column = \"at\" }",
            "\"at\"",
        );
    }

    /// A key by a schema: the value's registry is its own.
    const AVRO: &str = "[pipeline.readings.value]\nformat = \"avro\"\nregistry.url = \"http://r\"\n\
                        [pipeline.readings.key]\nformat = \"avro\"";

    #[test]
    fn a_key_by_a_schema_gives_its_fields() {
        fine(AVRO, "\"key_id\", \"key\"");
        fine(&format!("{AVRO}\nprefix = \"\""), "\"id\", \"site\"");
        let json = "[pipeline.readings.key]\nformat = \"json-schema\"";
        fine(json, "\"key_id\"");
        refused(AVRO, "\"id\"", &["sink.key.0", "begin with `key_`", "\"key_id\""]);
        refused(json, "\"id\"", &["begin with `key_`", "prefix = \"\""]);
    }

    #[test]
    fn what_cannot_be_is_told_with_what_can() {
        let text = "[pipeline.readings.key]\n";
        refused(text, "\"id\"", &["sink.key.0", "is the column `key`", "column = \"id\""]);
        let json = "[pipeline.readings.key]\nformat = \"json\"\n";
        refused(json, "\"key_a\", \"id\"", &["sink.key.1", "begin with `key_`", "\"key_id\""]);
        let table = "[pipeline.readings.table]\n";
        refused(&format!("{text}{table}metadata = true"), "\"kafka_offset\"", &["differs"]);
        refused(&format!("{text}{table}"), "\"timestamp\"", &["a time of its own"]);
        refused(&format!("{text}{table}drop = [\"key\"]"), "\"key\"", &["leaves it out"]);
        let transform = "[[pipeline.readings.transform]]\nmodule = \"x.wasm\"\n";
        let own = format!("{transform}{table}metadata = true");
        refused(&own, "\"kafka_row\"", &["differs"]);
    }

    #[test]
    fn the_fallback_must_delete_as_well() {
        let text = deleting("[pipeline.readings.key]\ncolumn = \"id\"", "\"id\"");
        let fallback = "[pipeline.readings.fallback]\nkind = \"questdb\"\naddress = \"a:9\"";
        let said = parse(&format!("{text}\n{fallback}")).expect_err("it cannot be");
        let said = said.to_string();
        assert!(said.contains("this sink deletes nothing"), "{said}");
    }

    #[test]
    fn mistakes_are_shown_where_they_stand() {
        check(
            &deleting("", "\"id\""),
            r#"
error: pipeline.readings.null_value: a record without a value has only its key, which is not read
 --> bridge.toml:3:14
  |
3 | null_value = "delete"
  |              ^^^^^^^^ add [pipeline.readings.key] with column = "id", or format = "json"
"#,
        );
        check(
            &readings("null_value = \"delete\"\n[pipeline.readings.key]"),
            r#"
error: pipeline.readings.null_value: this sink deletes nothing
 --> bridge.toml:3:14
  |
3 | null_value = "delete"
  |              ^^^^^^^^ null_value = "skip", or kind = "postgres" with mode = "upsert"
"#,
        );
        check(
            &readings(
                "null_value = \"delete\"\n[pipeline.readings.key]\n[pipeline.readings.sink]\n\
                 kind = \"postgres\"\nmode = \"append\"",
            ),
            r#"
error: pipeline.readings.sink.mode: rows are deleted by their key, and `mode = "append"` has none
 --> bridge.toml:7:8
  |
7 | mode = "append"
  |        ^^^^^^^^ mode = "upsert" and such as key = ["id"]
"#,
        );
    }

    /// A pipeline that reads changes, into this sink.
    fn changes(value: &str, sink: &str) -> String {
        readings(&format!(
            "[pipeline.readings.value]\nformat = \"debezium\"\n{value}\n[pipeline.readings.sink]\n\
             {sink}"
        ))
    }

    const UPSERT: &str = "kind = \"postgres\"\nmode = \"upsert\"\nkey = [\"id\"]";

    #[test]
    fn a_format_that_marks_deletions_has_a_sink_that_does_them() {
        let deletes = |value: &str, sink: &str| {
            let plan = parse(&changes(value, sink)).unwrap_or_else(|error| panic!("{error}"));
            plan.pipelines[0].shape.deletes
        };
        assert!(deletes("", UPSERT));
        assert!(deletes("deletes = \"delete\"", UPSERT));
        assert!(!deletes("deletes = \"skip\"", UPSERT));
        assert!(!deletes("deletes = \"row\"\ndeleted = \"gone\"", UPSERT));
        let append = "kind = \"postgres\"\nmode = \"append\"";
        assert!(!deletes("deleted = \"gone\"", append));
        let both =
            format!("{UPSERT}\n[[pipeline.readings.also]]\nkind = \"questdb\"\naddress = \"a:9\"");
        assert!(deletes("op = \"op\"", &both));
        let said = parse(&changes("", &both)).expect_err("one of both stores deletions as rows");
        assert!(said.to_string().contains("would look like all others"), "{said}");
        let own = UPSERT.replace("\"id\"", "\"id\", \"source_lsn\"");
        let said = parse(&changes("source = [\"lsn\"]", &own)).expect_err("it differs");
        assert!(said.to_string().contains("cannot find its row by `source_lsn`"), "{said}");
        let time = UPSERT.replace("\"id\"", "\"timestamp\"");
        let said = parse(&changes("", &time)).expect_err("it is a time of its own");
        assert!(said.to_string().contains("a time of its own"), "{said}");
    }

    #[test]
    fn a_deletion_that_no_sink_does_is_shown_where_it_stands() {
        check(
            &changes("deletes = \"delete\"", "kind = \"questdb\"\naddress = \"a:9000\""),
            r#"
error: pipeline.readings.value.deletes: this sink deletes nothing
 --> bridge.toml:5:11
  |
5 | deletes = "delete"
  |           ^^^^^^^^
  = help: deletes = "row" and deleted = "deleted", or kind = "postgres" with mode = "upsert"
"#,
        );
    }
}
