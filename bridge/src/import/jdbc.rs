//! JDBC sink connectors, Confluent's, Aiven's and Debezium's, into PostgreSQL.

use super::common::plain;
use super::conversion;
use super::page::Page;
use super::properties::Properties;

/// Properties that have nothing to say here, and why.
const NEEDLESS: [(&str, &str); 12] = [
    ("batch.size", "rows go in large batches by COPY"),
    ("max.retries", "what may pass is tried again for as long as it takes"),
    ("retry.backoff.ms", "waits grow by themselves, up to a bound"),
    ("connection.attempts", "what may pass is tried again for as long as it takes"),
    ("connection.backoff.ms", "waits grow by themselves, up to a bound"),
    ("connection.pool.min_size", "a connection for each lane (`connections_per_lane`)"),
    ("connection.pool.max_size", "a connection for each lane (`connections_per_lane`)"),
    ("dialect.name", "the sink is PostgreSQL's"),
    ("quote.sql.identifiers", "names are always quoted"),
    ("quote.identifiers", "names are always quoted"),
    ("use.reduction.buffer", "of several rows of one key the last one is stored"),
    ("truncate.enabled", "a truncation is no row"),
];

/// The names of one connector's properties; they all do the same.
struct Names {
    user: &'static str,
    keys: &'static str,
    fields: &'static str,
    debezium: bool,
}

/// Translates them.
pub fn translate(properties: &mut Properties, page: &mut Page, class: &str) -> Result<(), String> {
    let names = match class.starts_with("io.debezium") {
        true => Names {
            user: "connection.username",
            keys: "primary.key.mode",
            fields: "primary.key.fields",
            debezium: true,
        },
        false => {
            Names { user: "connection.user", keys: "pk.mode", fields: "pk.fields", debezium: false }
        }
    };
    let questdb = connection(properties, page, &names)?;
    let template = properties.take("collection.name.format");
    let template = template.or_else(|| properties.take("table.name.format"));
    let template = template.unwrap_or_else(|| "${topic}".to_owned());
    page.set("table", "name", template.replace("${", "{"));
    growth(properties, page, &names);
    keys(properties, page, &names, questdb);
    let only = properties.take_list("fields.whitelist");
    if !only.is_empty() {
        page.set("table", "mapping_only", only);
    }
    if let Some(zone) = properties.take("db.timezone").filter(|zone| zone != "UTC") {
        page.leave("db.timezone", &zone, "times are UTC");
    }
    for (name, why) in NEEDLESS {
        if let Some(value) = properties.take(name) {
            page.needless(name, &value, why);
        }
    }
    Ok(())
}

/// `jdbc:postgresql://one:5432,two/name?user=…&sslmode=…`; whether the database is QuestDB.
fn connection(properties: &mut Properties, page: &mut Page, names: &Names) -> Result<bool, String> {
    let url = properties.take("connection.url").ok_or("there is no `connection.url`")?;
    let rest = url.strip_prefix("jdbc:postgresql:").ok_or_else(|| {
        let kind = url.strip_prefix("jdbc:").and_then(|rest| rest.split(':').next());
        format!(
            "`connection.url` is of {}: what can be written to is PostgreSQL and QuestDB",
            kind.unwrap_or("no database")
        )
    })?;
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (hosts, database) = match path.strip_prefix("//") {
        Some(path) => path.split_once('/').unwrap_or((path, "")),
        None => ("localhost:5432", path),
    };
    let hosts: Vec<String> = hosts
        .split(',')
        .map(|host| if host.contains(':') { host.to_owned() } else { format!("{host}:5432") })
        .collect();
    let questdb = hosts.iter().all(|host| host.ends_with(":8812"));
    page.set("sink", "kind", if questdb { "questdb" } else { "postgres" });
    if questdb {
        page.set_with("sink", "transport", "pg", "port 8812 is QuestDB's; `http` is faster");
    } else if !database.is_empty() {
        page.set("sink", "database", plain(database));
    }
    match &hosts[..] {
        [one] => page.set("sink", "address", one.as_str()),
        _ => page.set("sink", "address", hosts),
    }
    let mut user = properties.take(names.user);
    let mut password = properties.take("connection.password").is_some();
    for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
        match name {
            "user" => user = Some(value.to_owned()),
            "password" => password = true,
            "sslmode" if !questdb => page.set("sink", "tls", value),
            "ssl" if !questdb => page.set("sink", "tls", "verify-full"),
            _ => page.leave(&format!("connection.url, {name}"), value, "nothing here is like it"),
        }
    }
    if let Some(user) = user {
        page.set("sink", "username", plain(&user));
    }
    if password {
        page.secret("sink", "password", "DATABASE_PASSWORD");
    }
    Ok(questdb)
}

/// Whether tables and columns are made.
fn growth(properties: &mut Properties, page: &mut Page, names: &Names) {
    let (create, evolve) = match names.debezium {
        true => {
            let basic = properties.take("schema.evolution").is_some_and(|word| word == "basic");
            (basic, basic)
        }
        false => {
            let create = properties.take_bool("auto.create", false);
            (create, properties.take_bool("auto.evolve", false))
        }
    };
    page.set("table", "auto_create", create);
    page.set("table", "add_columns", evolve);
}

/// Keys become no columns.
fn without_key(properties: &mut Properties) {
    properties.take_below("key.converter");
}

fn keys(properties: &mut Properties, page: &mut Page, names: &Names, questdb: bool) {
    let fields = properties.take_list(names.fields);
    let mode = properties.take(names.keys).unwrap_or_else(|| "none".to_owned());
    let insert = properties.take("insert.mode").unwrap_or_else(|| "insert".to_owned());
    let mut key = fields.clone();
    match mode.as_str() {
        "none" | "record_value" => without_key(properties),
        "record_key" => match &fields[..] {
            [column] => conversion::key(properties, page, column, ""),
            _ => conversion::key(properties, page, "key", ""),
        },
        "kafka" => {
            without_key(properties);
            if key.is_empty() {
                let parts = ["topic", "partition", "offset"];
                key = parts.map(|part| format!("__connect_{part}")).to_vec();
            }
            let parts = ["topic", "partition", "offset"].map(str::to_owned);
            let columns = parts.into_iter().zip(key.iter().map(|name| name.as_str().into()));
            page.set("table", "metadata", columns.collect::<toml::Table>());
        }
        other => page.leave(names.keys, other, "keys come from columns: name them in `sink.key`"),
    }
    match insert.as_str() {
        "upsert" if questdb => {
            key.push("timestamp".to_owned());
            let said = "tables that the bridge makes; the designated timestamp is one of them";
            page.set_with("table", "upsert_keys", key, said);
        }
        "upsert" => {
            page.set("sink", "mode", "upsert");
            if key.is_empty() {
                page.remind("`sink.key`: the columns of the primary key");
            }
            page.set("sink", "key", key);
        }
        "insert" if questdb => {}
        "insert" => page.set("sink", "mode", "append"),
        other => page.leave("insert.mode", other, "`append` adds rows, `upsert` replaces them"),
    }
    if properties.take_bool("delete.enabled", false) {
        let said = "a record without a value deletes the row of its key";
        page.set_with("", "null_value", "delete", said);
    }
}
