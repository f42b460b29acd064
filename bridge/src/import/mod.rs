//! The properties of a sink connector of Kafka Connect, as a configuration of the bridge: what can
//! be said here is said, everything else is named. Text to text: nothing is asked, no secret is
//! copied.
//!
//! ```text
//! properties or JSON ─▶ Properties ─▶ common ─▶ questdb | jdbc ─▶ Page ─▶ bridge.toml
//!                          └ what nobody took ─▶ remarks ────────┘
//! ```

mod common;
mod conversion;
mod jdbc;
mod page;
mod properties;
mod questdb;
#[cfg(test)]
mod tests;

use page::Page;
use properties::Properties;

/// A configuration out of properties.
#[derive(Debug)]
pub struct Imported {
    /// The file, with what was left as comments at its end.
    pub toml: String,
    /// How many properties found their place.
    pub translated: usize,
    /// Properties that say something which is not in the file.
    pub left: usize,
}

/// Whose properties these are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Connector {
    Questdb,
    Jdbc,
}

impl Connector {
    /// By the name of its class.
    fn of(class: &str) -> Option<Connector> {
        match class.rsplit('.').next()? {
            "QuestDBSinkConnector" => Some(Connector::Questdb),
            "JdbcSinkConnector" => Some(Connector::Jdbc),
            _ => None,
        }
    }
}

/// Translates properties as a worker takes them: a `.properties` file, or the JSON of the REST
/// interface. The error says what is wrong with them, lower case.
pub fn import(text: &str) -> Result<Imported, String> {
    let mut properties = Properties::read(text)?;
    let given = properties.len();
    let class = properties.take("connector.class").ok_or(
        "there is no `connector.class`: these are not the properties of a connector (a worker's \
         are no help here)",
    )?;
    let connector = Connector::of(&class).ok_or_else(|| {
        format!(
            "`connector.class` is {class}: what can be translated are QuestDB's sink \
             (QuestDBSinkConnector) and JDBC sinks (JdbcSinkConnector of Confluent, Aiven or \
             Debezium)"
        )
    })?;
    let mut page = Page::new(&properties.take("name").unwrap_or_else(|| "imported".to_owned()));
    common::translate(&mut properties, &mut page);
    match connector {
        Connector::Questdb => questdb::translate(&mut properties, &mut page)?,
        Connector::Jdbc => jdbc::translate(&mut properties, &mut page, &class)?,
    }
    for (name, value) in properties.rest() {
        page.leave(&name, &value, "nothing here is like it");
    }
    let left = page.left();
    Ok(Imported { toml: page.write(&class), translated: given - left, left })
}
