//! QuestDB's sink connector.

use toml::{Table, Value};

use super::common::plain;
use super::conversion;
use super::page::Page;
use super::properties::Properties;

/// Properties that have nothing to say here, and why.
const NEEDLESS: [(&str, &str); 5] = [
    ("max.retries", "what may pass is tried again for as long as it takes"),
    ("retry.backoff.ms", "waits grow by themselves, up to a bound"),
    ("allowed.lag", "rows are sent by `limits.latency`"),
    ("dlq.send.batch.on.error", "only the refused row becomes a dead letter"),
    ("skip.unsupported.types", "what is no column of its own is text, and no record is dropped"),
];

/// Translates them.
pub fn translate(properties: &mut Properties, page: &mut Page) -> Result<(), String> {
    page.set("sink", "kind", "questdb");
    match properties.take("client.conf.string") {
        Some(text) => client(&text, page)?,
        None => legacy(properties, page),
    }
    let table = properties.take("table").unwrap_or_else(|| "${topic}".to_owned());
    page.set("table", "name", table.replace("${", "{"));
    timestamp(properties, page);
    let symbols = properties.take_list("symbols");
    if !symbols.is_empty() {
        page.set("table", "symbols", symbols);
    }
    let doubles = properties.take_list("doubles");
    if !doubles.is_empty() {
        let types: Table = doubles.into_iter().map(|name| (name, "double".into())).collect();
        page.set("table", "columns", types);
    }
    let prefix = properties.take("key.prefix").unwrap_or_else(|| "key".to_owned());
    if properties.take_bool("include.key", true) {
        conversion::key(properties, page, &prefix, &format!("{prefix}_"));
    } else {
        properties.take_below("key.converter");
    }
    if let Some(prefix) = properties.take("value.prefix") {
        page.leave("value.prefix", &prefix, "name the columns one by one in `table.mapping`");
    }
    for (name, why) in NEEDLESS {
        if let Some(value) = properties.take(name) {
            page.needless(name, &value, why);
        }
    }
    Ok(())
}

/// `http::addr=localhost:9000;username=…;`, as QuestDB's clients have it.
fn client(text: &str, page: &mut Page) -> Result<(), String> {
    let wrong = || "`client.conf.string` is not `http::addr=HOST:PORT;…`".to_owned();
    let (schema, options) = text.trim().split_once("::").ok_or_else(wrong)?;
    let tcp = match schema {
        "http" | "https" => false,
        "tcp" | "tcps" => true,
        other => {
            return Err(format!("`client.conf.string` begins with {other}::, which is not known"));
        }
    };
    page.set("sink", "transport", if tcp { "tcp" } else { "http" });
    if schema.ends_with('s') {
        page.set("sink", "tls", true);
    }
    let mut addresses: Vec<String> = Vec::new();
    for option in options.split(';').map(str::trim).filter(|option| !option.is_empty()) {
        let (name, value) = option.split_once('=').ok_or_else(wrong)?;
        match name {
            "addr" => addresses.extend(value.split(',').map(|one| one.trim().to_owned())),
            "username" | "user" if tcp => key(value, page),
            "username" | "user" => page.set("sink", "username", plain(value)),
            "token" if tcp => {}
            "token" => page.secret("sink", "token", "QUESTDB_TOKEN"),
            "password" | "pass" => page.secret("sink", "password", "QUESTDB_PASSWORD"),
            "tls_verify" => page.set("sink", "tls_verify", value != "unsafe_off"),
            "tls_roots" => page.leave(
                "client.conf.string, tls_roots",
                value,
                "certificate authorities are a PEM file here: `tls_ca`",
            ),
            "protocol_version" => page.set("sink", "protocol", protocol(value)),
            _ if name.starts_with("auto_flush") || name.starts_with("init_buf") => {}
            "retry_timeout" | "request_timeout" | "request_min_throughput" | "max_buf_size" => {}
            other => {
                page.leave(&format!("client.conf.string, {other}"), "…", "nothing here is like it")
            }
        }
    }
    address(&addresses, tcp, page);
    Ok(())
}

/// The key of line protocol over TCP: a client needs its private part alone, the bridge all of it.
fn key(id: &str, page: &mut Page) {
    page.set("sink", "auth_key_id", plain(id));
    page.secret("sink", "auth_private_key", "QUESTDB_PRIVATE_KEY");
    page.secret("sink", "auth_public_key_x", "QUESTDB_PUBLIC_KEY_X");
    page.secret("sink", "auth_public_key_y", "QUESTDB_PUBLIC_KEY_Y");
}

fn protocol(version: &str) -> Value {
    version.parse::<i64>().map_or_else(|_| "auto".into(), Value::from)
}

/// Line protocol over TCP has an address of its own; SQL goes over HTTP all the same.
fn address(given: &[String], tcp: bool, page: &mut Page) {
    let list = |of: &[String]| match of {
        [one] => Value::from(one.as_str()),
        more => Value::from(more.to_vec()),
    };
    if given.is_empty() {
        return;
    }
    if !tcp {
        page.set("sink", "address", list(given));
        return;
    }
    let host = |address: &String| address.split(':').next().unwrap_or_default().to_owned();
    let http: Vec<String> = given.iter().map(|one| format!("{}:9000", host(one))).collect();
    let said = "rows are counted back over HTTP";
    page.set_with("sink", "address", list(&http), said);
    page.set("sink", "tcp_address", list(given));
}

/// Before `client.conf.string` there was only TCP.
fn legacy(properties: &mut Properties, page: &mut Page) {
    page.set("sink", "transport", "tcp");
    let hosts: Vec<String> = properties.take("host").into_iter().collect();
    address(&hosts, true, page);
    let username = properties.take("username");
    if properties.take("token").is_some() {
        let key_id = username.unwrap_or_else(|| "admin".to_owned());
        key(&key_id, page);
    }
    if properties.take_bool("tls", false) {
        page.set("sink", "tls", true);
    }
    if properties.take("tls.validation.mode").is_some_and(|mode| mode == "insecure") {
        page.set("sink", "tls_verify", false);
    }
}

fn timestamp(properties: &mut Properties, page: &mut Page) {
    let fields = properties.take_list("timestamp.field.name");
    let units = properties.take("timestamp.units");
    let format = properties.take("timestamp.string.format");
    let texts = properties.take_list("timestamp.string.fields");
    if properties.take_bool("timestamp.kafka.native", false) {
        page.set("table", "timestamp", "kafka");
    } else if fields.is_empty() {
        let said = "as the connector does: when a row comes; a replay makes it anew";
        page.set_with("table", "timestamp", "server", said);
    } else {
        let mut timestamp = Table::new();
        match &fields[..] {
            [field] => timestamp.insert("field".to_owned(), field.as_str().into()),
            more => timestamp.insert("fields".to_owned(), more.to_vec().into()),
        };
        let text = fields.len() > 1 || texts.contains(&fields[0]);
        let pattern = format.as_deref().filter(|_| text).map(pattern);
        match (pattern, units.as_deref()) {
            (Some(Some(pattern)), _) => {
                timestamp.insert("pattern".to_owned(), pattern.into());
            }
            (Some(None), _) => page.leave(
                "timestamp.string.format",
                format.as_deref().unwrap_or_default(),
                "write it in strftime's letters as `pattern` of `table.timestamp`",
            ),
            (None, Some(units)) if units != "auto" => {
                let unit = match units {
                    "seconds" => "s",
                    "millis" => "ms",
                    "micros" => "us",
                    _ => "ns",
                };
                timestamp.insert("unit".to_owned(), unit.into());
            }
            (None, _) => {}
        }
        page.set("table", "timestamp", timestamp);
    }
    for field in texts.iter().filter(|field| !fields.contains(field)) {
        page.set("table", "columns", Table::from_iter([(field.clone(), "timestamp".into())]));
    }
}

/// QuestDB's letters for times as strftime's; `None` where one has no counterpart.
fn pattern(letters: &str) -> Option<String> {
    // Longer ones first: each stands for a run of the same letter.
    const KNOWN: [(&str, &str); 13] = [
        ("yyyy", "%Y"),
        ("MMM", "%b"),
        ("MM", "%m"),
        ("dd", "%d"),
        ("HH", "%H"),
        ("hh", "%I"),
        ("mm", "%M"),
        ("ss", "%S"),
        ("SSSUUUNNN", "%9f"),
        ("SSSUUU", "%6f"),
        ("SSS", "%3f"),
        ("a", "%p"),
        ("Z", "%z"),
    ];
    let mut rest = letters.replace('\'', "");
    let mut written = String::new();
    while let Some(letter) = rest.chars().next() {
        match KNOWN.iter().find(|(known, _)| rest.starts_with(known)) {
            Some((known, ours)) => {
                written.push_str(ours);
                rest.drain(..known.len());
            }
            None if letter.is_ascii_alphabetic() && letter != 'T' => return None,
            None => {
                written.push_str(if letter == '%' { "%%" } else { "" });
                written.push(letter);
                rest.drain(..letter.len_utf8());
            }
        }
    }
    Some(written)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_told_in_other_letters() {
        let check = |theirs: &str, ours: Option<&str>| assert_eq!(pattern(theirs).as_deref(), ours);
        check("yyyy-MM-ddTHH:mm:ss.SSSUUUZ", Some("%Y-%m-%dT%H:%M:%S.%6f%z"));
        check("dd/MMM/yyyy hh:mm a", Some("%d/%b/%Y %I:%M %p"));
        check("yyyy'T'ww", None);
    }
}
