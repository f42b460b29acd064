//! Whole files in, whole files out; what comes out is a configuration that loads.

use std::path::Path;

use super::import;
use crate::config::{Overrides, Plan, Surroundings};

fn golden(name: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/import/golden");
    let text = std::fs::read_to_string(folder.join(name)).expect("it is there");
    let toml = import(&text).unwrap_or_else(|wrong| panic!("{name}: {wrong}")).toml;
    let path = folder.join(name).with_extension("toml");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &toml).expect("it can be written");
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(toml, expected, "{name}: UPDATE=1 takes what is new");
    let env = |_: &str| Some("secret".to_owned());
    let with = Surroundings { env: &env, host: "host".to_owned(), base: &folder };
    let plan = Plan::parse("bridge.toml", &toml, &with, &Overrides::default());
    plan.unwrap_or_else(|mistakes| panic!("{name}: {mistakes}\n{toml}"));
}

#[test]
fn connectors_become_pipelines() {
    let names = ["questdb.properties", "questdb-tcp.json", "jdbc.properties", "debezium.json"];
    names.into_iter().for_each(golden);
}

#[test]
fn no_secret_comes_through() {
    let text = "connector.class=io.questdb.kafka.QuestDBSinkConnector\ntopics=t\n\
                client.conf.string=http::addr=h:9000;username=u;password=hunter2;what=hunter2;\n\
                consumer.override.sasl.jaas.config=a.B required username=\"me\" \
                password=\"hunter2\";\nmy.password=hunter2\nsome.token=hunter2\n";
    let imported = import(text).expect("it is a connector's");
    assert!(!imported.toml.contains("hunter2"), "{}", imported.toml);
    assert!(imported.toml.contains("\"sasl.username\" = \"me\""), "{}", imported.toml);
}

#[test]
fn what_is_not_ours_is_refused_with_words() {
    let check = |text: &str, said: &str| {
        let wrong = import(text).expect_err("it is not ours");
        assert!(wrong.contains(said), "{wrong}");
    };
    check("bootstrap.servers=a", "no `connector.class`");
    check("connector.class=a.b.S3SinkConnector", "S3SinkConnector");
    check("{\"config\": 5", "as JSON");
    let jdbc = "connector.class=io.aiven.connect.jdbc.JdbcSinkConnector\n";
    check(jdbc, "no `connection.url`");
    check(&format!("{jdbc}connection.url=jdbc:mysql://a/b"), "of mysql");
}

#[test]
fn all_that_is_left_is_counted() {
    let text = "connector.class=io.questdb.kafka.QuestDBSinkConnector\nname=n\ntopics=t\n\
                what.is.this=1\nvalue.converter=io.confluent.connect.protobuf.ProtobufConverter\n";
    let imported = import(text).expect("it is a connector's");
    assert_eq!((imported.translated, imported.left), (3, 2), "{}", imported.toml);
}
