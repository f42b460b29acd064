//! Security of `[kafka]`: what it means, and every kind of mistake.

use std::path::PathBuf;

use super::security::{IamPlan, Identity, Mechanism, SaslPlan, SecurityPlan};
use super::tests::{check, parse, readings};
use crate::sink::questdb::options::{Held, Secret};

/// The first pipeline's, of a file with these lines under `[kafka]`.
fn plan(lines: &str) -> SecurityPlan {
    let text = format!("[kafka]\nbrokers = \"b:1\"\n{lines}\n{}", readings(""));
    let plan = parse(&text).unwrap_or_else(|error| panic!("{error}"));
    plan.pipelines[0].source.kafka().expect("it reads from Kafka").security.clone()
}

/// What is said of such a file that is wrong.
#[track_caller]
fn wrong(lines: &str, words: &[&str]) {
    let text = format!("[kafka]\nbrokers = \"b:1\"\n{lines}\n{}", readings(""));
    let said = parse(&text).expect_err("it is wrong").to_string();
    words.iter().for_each(|word| assert!(said.contains(word), "{word} in\n{said}"));
    assert!(!said.contains("hush"), "{said}");
}

fn file(path: &str) -> Held {
    Held::File(PathBuf::from(path))
}

#[test]
fn nothing_is_plain() {
    let plan = plan("");
    assert_eq!((plan.protocol(), plan.in_words()), ("PLAINTEXT", None));
}

#[test]
fn tls_goes_without_saying_where_its_keys_are_there() {
    let check = |lines: &str, words: &str| {
        let plan = plan(lines);
        assert_eq!((plan.protocol(), plan.in_words().as_deref()), ("SSL", Some(words)), "{lines}");
    };
    check("tls = true", "TLS, trusted by the system's authorities");
    check("tls_ca = \"ca.pem\"", "TLS, trusted by /etc/bridge/ca.pem");
    check("tls_verify = false", "TLS, certificates not checked");
    let own = "TLS, trusted by the system's authorities, by the certificate /etc/bridge/c.pem";
    check("tls_cert = \"c.pem\"\ntls_key = \"/k.pem\"", own);
    let store = plan("tls_keystore = \"c.p12\"\ntls_keystore_password_file = \"p\"").tls;
    let path = PathBuf::from("/etc/bridge/c.p12");
    let password = Some(file("/etc/bridge/p"));
    assert_eq!(store.and_then(|tls| tls.identity), Some(Identity::Keystore { path, password }));
}

#[test]
fn passwords_are_held_and_not_shown() {
    let plan = plan(
        "tls = true\nsasl = { mechanism = \"SCRAM-SHA-512\", username = \"me\", password = \
         \"hush\" }",
    );
    assert_eq!(plan.protocol(), "SASL_SSL");
    let password = Held::Here(Secret("hush".to_owned()));
    let (mechanism, username) = (Mechanism::ScramSha512, "me".to_owned());
    assert_eq!(plan.sasl, Some(SaslPlan::Password { mechanism, username, password }));
    let words = plan.in_words().expect("it is secured");
    assert_eq!(words, "TLS, trusted by the system's authorities; SCRAM-SHA-512 as me");
    assert!(!format!("{plan:?}").contains("hush"));
}

#[test]
fn tokens_and_signatures() {
    let oauth = plan(
        "sasl = { mechanism = \"OAUTHBEARER\", token_url = \"https://id.example/t\", client_id = \
         \"c\", client_secret_file = \"s\", scope = \"k\", audience = \"a\", tls_ca = \"t.pem\" }",
    );
    assert_eq!(oauth.protocol(), "SASL_PLAINTEXT");
    let Some(SaslPlan::Oauth { tokens, terms }) = oauth.sasl else { panic!("tokens") };
    assert_eq!(tokens.client_secret, file("/etc/bridge/s"));
    assert_eq!((tokens.scope.as_deref(), tokens.audience.as_deref()), (Some("k"), Some("a")));
    assert_eq!(terms.tls.ca, Some(PathBuf::from("/etc/bridge/t.pem")));
    let iam = plan("sasl = { mechanism = \"AWS_MSK_IAM\", region = \"eu-west-1\" }");
    assert_eq!(iam.protocol(), "SASL_SSL");
    let expected = IamPlan { region: "eu-west-1".to_owned(), key: None };
    assert_eq!(iam.sasl, Some(SaslPlan::Iam(expected)));
}

#[test]
fn presets_say_what_their_services_want() {
    let of = |brokers: &str, lines: &str| {
        let text = format!("[kafka]\nbrokers = \"{brokers}\"\n{lines}\n{}", readings(""));
        let plan = parse(&text).unwrap_or_else(|error| panic!("{error}"));
        plan.pipelines[0].source.kafka().expect("it reads from Kafka").security.clone()
    };
    let check = |brokers: &str, lines: &str, words: &str| {
        let plan = of(brokers, lines);
        let shown = plan.in_words().unwrap_or_default();
        assert!(shown.contains(words) && shown.starts_with("TLS, "), "{lines}: {shown}");
    };
    let user = "sasl = { username = \"me\", password = \"hush\" }";
    let with = |preset: &str, lines: &str| format!("preset = \"{preset}\"\n{lines}");
    check("b:1", &with("confluent-cloud", user), "PLAIN as me (confluent-cloud)");
    check("b:1", &with("redpanda", user), "SCRAM-SHA-256 as me (redpanda)");
    check("b:1", &with("warpstream", user), "PLAIN as me (warpstream)");
    check("b:1", &with("aiven", user), "SCRAM-SHA-256 as me (aiven)");
    let cert = "tls_cert = \"c\"\ntls_key = \"k\"\ntls_ca = \"ca\"";
    check("b:1", &with("aiven", cert), "by the certificate /etc/bridge/c (aiven)");
    let events = with("azure-event-hubs", "sasl = { password_file = \"s\" }");
    check("b:1", &events, "PLAIN as $ConnectionString (azure-event-hubs)");
    let msk = "b-1.x.y.c2.kafka.eu-north-1.amazonaws.com:9098,b-2.x:9098";
    check(msk, &with("aws-msk", ""), "AWS_MSK_IAM in eu-north-1 with the access key that is");
    let serverless = "boot-x.c1.kafka-serverless.us-east-1.amazonaws.com:9098";
    check(serverless, &with("aws-msk", ""), "AWS_MSK_IAM in us-east-1");
    check(msk, &with("aws-msk", user), "SCRAM-SHA-512 as me (aws-msk)");
    check(msk, &with("aws-msk", cert), "by the certificate /etc/bridge/c (aws-msk)");
}

#[test]
fn a_pipelines_own_come_first() {
    let text = "[kafka]\nbrokers = \"b:1\"\ntls_ca = \"ca\"\ntls_cert = \"c\"\ntls_key = \"k\"\n\
                [pipeline.one]\ntopics = [\"x\"]\nkafka = { tls_keystore = \"own.p12\" }\n\
                [pipeline.two]\ntopics = [\"x\"]\nkafka = { fetch = \"library\" }\n";
    let plan = parse(text).unwrap_or_else(|error| panic!("{error}"));
    let words = |at: usize| {
        let kafka = plan.pipelines[at].source.kafka().expect("it reads from Kafka");
        kafka.security.in_words().unwrap_or_default()
    };
    let trusted = "TLS, trusted by /etc/bridge/ca, by the certificate /etc/bridge/";
    assert_eq!([words(0), words(1)], [format!("{trusted}own.p12"), format!("{trusted}c")]);
}

#[test]
fn mistakes_name_their_keys() {
    wrong("sasl = { username = \"u\", password = \"hush\" }", &["needs `mechanism`"]);
    wrong("sasl = { mechanism = \"PLAIN\", username = \"u\" }", &["kafka.sasl", "`password`"]);
    wrong("sasl = { mechanism = \"PLAIN\", password = \"hush\" }", &["`username`"]);
    wrong("sasl = { mechanism = \"SCRAM\" }", &["unknown word `SCRAM`"]);
    let both = "sasl = { mechanism = \"PLAIN\", username = \"u\", password = \"hush\", \
                password_file = \"x\" }";
    wrong(both, &["not both"]);
    let strange = "sasl = { mechanism = \"PLAIN\", username = \"u\", password = \"hush\", region \
                   = \"r\" }";
    wrong(strange, &["`region` means nothing to PLAIN", "username, password"]);
    wrong("sasl = { mechanism = \"OAUTHBEARER\", client_id = \"c\" }", &["`token_url`"]);
    wrong("sasl = { mechanism = \"AWS_MSK_IAM\" }", &["`region`", "eu-central-1"]);
    let half = "sasl = { mechanism = \"AWS_MSK_IAM\", region = \"r\", access_key_id = \"a\" }";
    wrong(half, &["go together"]);
    wrong("tls_cert = \"c\"", &["kafka.tls_cert", "`tls_key`"]);
    wrong("tls_key = \"c\"", &["kafka.tls_key", "`tls_cert`"]);
    wrong("tls_key_password = \"hush\"", &["`tls_key`"]);
    wrong("tls_cert = \"c\"\ntls_key = \"k\"\ntls_keystore = \"s\"", &["one of these"]);
    wrong("tls = false\ntls_ca = \"c\"", &["`tls = false` leaves it out"]);
    wrong("preset = \"redpanda\"", &["wants to know who you are", "username"]);
    wrong("preset = \"azure-event-hubs\"", &["connection string"]);
    wrong("preset = \"amazon\"", &["unknown word `amazon`"]);
    if !cfg!(feature = "gssapi") {
        wrong("sasl = { mechanism = \"GSSAPI\" }", &["without Kerberos", "--features gssapi"]);
    }
}

#[test]
fn a_preset_has_no_brokers_of_its_own() {
    check(
        "[kafka]\npreset = \"warpstream\"\n[pipeline.a]\ntopics = [\"x\"]\n\
         [pipeline.b]\ntopics = [\"y\"]\n",
        r#"
error: kafka.preset: `warpstream` is not on this machine: where are the brokers?
 --> bridge.toml:2:10
  |
2 | preset = "warpstream"
  |          ^^^^^^^^^^^^ write `brokers`
"#,
    );
}
