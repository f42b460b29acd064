//! Promise: records come through listeners of every kind of security; who is not let in, or trusts
//! the wrong one, is told which key to change; and no secret shows anywhere.

use std::sync::OnceLock;
use std::thread::ScopedJoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use e2e::tokens::{CLIENT, CLIENT_SECRET, Tokens};
use e2e::{Answer, Band, Bench, Installed, PARTITIONS, Reading, Setup, promise, rows_are_exact};
use world::{Authority, Directory, KAFKA_USER, Kafka, KafkaOptions, Listener, Role, await_ok};

const DRAIN: Duration = Duration::from_secs(60);
const DEADLINE: Duration = Duration::from_secs(60);
const RECORDS: u64 = 500;
/// Wrong configurations that are tried at once.
const AT_ONCE: usize = 6;
/// Of keys and stores of keys.
const KEY_PASSWORD: &str = "under-the-mat-5";
/// Nobody's.
const WRONG: &str = "let-me-in-9000";
/// Tokens of usual tests.
const LIFE: Duration = Duration::from_secs(300);

/// A broker with a listener of each kind, and certificates for its clients.
struct Gate {
    kafka: Kafka,
    /// Signed by nobody that the broker trusts, and trusted by nobody.
    stranger: Authority,
    _folder: Directory,
}

fn gate() -> Result<&'static Gate> {
    static GATE: OnceLock<Gate> = OnceLock::new();
    if let Some(gate) = GATE.get() {
        return Ok(gate);
    }
    let kafka = Kafka::start_with(KafkaOptions { secured: true, ..KafkaOptions::default() })?;
    let own = kafka.authority()?;
    own.sign("client", Role::Client)?;
    own.sign_expired("former", Role::Client)?;
    own.lock("client", KEY_PASSWORD)?;
    own.keystore("client", KEY_PASSWORD)?;
    own.keystore("former", KEY_PASSWORD)?;
    let folder = Directory::create("stranger")?;
    let stranger = Authority::create(&folder.path().join("stranger"))?;
    stranger.sign("client", Role::Client)?;
    Ok(GATE.get_or_init(|| Gate { kafka, stranger, _folder: folder }))
}

impl Gate {
    /// Keys of `[kafka]`: `{own}` and `{stranger}` are the folders of both authorities.
    fn lines(&self, text: &str) -> Result<Vec<String>> {
        let own = self.kafka.authority()?.certificate();
        let stranger = self.stranger.certificate();
        let folder = |path: &std::path::Path| {
            path.parent().map(|folder| folder.display().to_string()).unwrap_or_default()
        };
        let (own, stranger) = (folder(&own), folder(&stranger));
        let text = text.replace("{own}", &own).replace("{stranger}", &stranger);
        Ok(text.lines().map(str::to_owned).collect())
    }

    fn setup(&self, bench: &Bench, name: &str, at: Listener, kafka: &str) -> Result<Setup> {
        let mut setup = Setup::shaped(bench, name, PARTITIONS);
        setup.brokers = self.kafka.secured_brokers(at)?;
        setup.kafka = self.lines(kafka)?;
        Ok(setup)
    }
}

fn sasl(mechanism: &str) -> String {
    let (user, password) = KAFKA_USER;
    let who = format!("username = \"{user}\", password = \"{password}\"");
    format!("sasl = {{ mechanism = \"{mechanism}\", {who} }}")
}

fn oauth(tokens: &Tokens, secret: &str) -> String {
    format!(
        "sasl = {{ mechanism = \"OAUTHBEARER\", token_url = \"{}\", client_id = \"{CLIENT}\", \
         client_secret = \"{secret}\" }}",
        tokens.url()
    )
}

/// Fails if something that was said holds a secret.
fn no_secret_in(said: &str) -> Result<()> {
    for secret in [KAFKA_USER.1, CLIENT_SECRET, KEY_PASSWORD, WRONG, "eyJhbGciOi"] {
        if let Some((before, _)) = said.split_once(secret) {
            let shown: String = before.chars().rev().take(200).collect();
            bail!("{secret} shows behind: {}", shown.chars().rev().collect::<String>());
        }
    }
    Ok(())
}

/// A run to the end, with all that the log has to say.
fn run_through(installed: &Installed) -> Result<Answer> {
    let told = installed.command("run", &["--until", "now", "--log", "trace"])?;
    no_secret_in(&told.all)?;
    Ok(told)
}

#[test]
fn records_come_through_every_listener() {
    promise("records come through every listener", |bench| {
        let (gate, tokens) = (gate()?, Tokens::start(LIFE)?);
        let oauth = oauth(&tokens, CLIENT_SECRET);
        let ca = "tls_ca = \"{own}/ca.pem\"";
        let with = |lines: &[&str]| lines.join("\n");
        let locked = format!("tls_key_password = \"{KEY_PASSWORD}\"");
        let store = format!("tls_keystore_password = \"{KEY_PASSWORD}\"");
        let cert = "tls_cert = \"{own}/client.pem\"";
        let plain = "tls_key = \"{own}/client.key\"";
        let under = "tls_key = \"{own}/client-locked.key\"";
        let raw = "properties = { \"security.protocol\" = \"SSL\", \"ssl.ca.location\" = \
                   \"{own}/ca.pem\" }";
        let mut ways = vec![
            ("tls", Listener::Tls, with(&[ca])),
            ("raw", Listener::Tls, raw.to_owned()),
            ("unchecked", Listener::Expired, "tls_verify = false".to_owned()),
            ("pem", Listener::Mutual, with(&[ca, cert, plain])),
            ("locked", Listener::Mutual, with(&[ca, cert, under, &locked])),
            (
                "keystore",
                Listener::Mutual,
                with(&[ca, "tls_keystore = \"{own}/client.p12\"", &store]),
            ),
        ];
        for (at, more) in [(Listener::Asking, ""), (Listener::Secured, ca)] {
            for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
                ways.push((mechanism, at, with(&[more, &sasl(mechanism)])));
            }
            ways.push(("OAUTHBEARER", at, with(&[more, &oauth])));
        }
        for (number, (name, at, kafka)) in ways.into_iter().enumerate() {
            let doing = || format!("{name} at {at:?}");
            let setup = gate.setup(bench, &format!("way_{number}"), at, &kafka)?;
            gate.kafka.create_topic(&setup.topic, PARTITIONS)?;
            let records = (0..RECORDS).map(|seq| Reading(seq).record(PARTITIONS));
            gate.kafka.produce(&setup.topic, records)?;
            let installed = setup.install()?;
            let told = run_through(&installed).with_context(doing)?;
            told.ensure_code(0).with_context(doing)?;
            let table = &installed.setup.table;
            rows_are_exact(&bench.questdb, table, RECORDS, Band::ALL, DRAIN).with_context(doing)?;
            let explained = installed.command("explain", &[])?;
            explained.ensure_code(0)?;
            no_secret_in(&explained.all).with_context(doing)?;
            if number == 0 {
                let words = "by librdkafka: security.protocol is SSL";
                ensure!(explained.all.contains(words), "{}", explained.all);
            }
        }
        ensure!(tokens.given() >= 2, "{} tokens were given", tokens.given());
        Ok(())
    });
}

#[test]
fn what_is_wrong_names_the_key() {
    promise("what is wrong names the key", |bench| {
        let (gate, tokens) = (gate()?, Tokens::start(LIFE)?);
        let ca = "tls_ca = \"{own}/ca.pem\"";
        let user = KAFKA_USER.0;
        let password = |mechanism: &str| {
            format!(
                "sasl = {{ mechanism = \"{mechanism}\", username = \"{user}\", password = \
                 \"{WRONG}\" }}"
            )
        };
        let raw = format!(
            "properties = {{ \"security.protocol\" = \"SASL_PLAINTEXT\", \"sasl.mechanism\" = \
             \"PLAIN\", \"sasl.username\" = \"{user}\", \"sasl.password\" = \"{WRONG}\" }}"
        );
        let store = format!(
            "{ca}\ntls_keystore = \"{{own}}/former.p12\"\n\
             tls_keystore_password = \"{KEY_PASSWORD}\""
        );
        let shut = store.replace(KEY_PASSWORD, WRONG);
        let own = |name: &str, whose: &str| {
            format!(
                "{ca}\ntls_cert = \"{{{whose}}}/{name}.pem\"\ntls_key = \"{{{whose}}}/{name}.key\""
            )
        };
        let locked = own("client", "own").replace("client.key", "client-locked.key");
        let locked = format!("{locked}\ntls_key_password = \"{WRONG}\"");
        let stranger = "tls_ca = \"{stranger}/ca.pem\"";
        let named = "`kafka.sasl.password`";
        let cases: &[Wrong<'_>] = &[
            (Listener::Asking, password("PLAIN"), &[named, "`kafka.sasl.username`"]),
            (Listener::Asking, password("SCRAM-SHA-256"), &[named]),
            (Listener::Secured, format!("{ca}\n{}", password("SCRAM-SHA-512")), &[named]),
            (Listener::Asking, raw, &["`kafka.properties.sasl.password`"]),
            (Listener::Asking, oauth(&tokens, WRONG), &["it answers 401", "`kafka.sasl`"]),
            (Listener::Tls, stranger.to_owned(), &["`kafka.tls_ca`", "none of those that are"]),
            (Listener::Tls, "tls = true".to_owned(), &["`kafka.tls_ca`"]),
            (
                Listener::Expired,
                ca.to_owned(),
                &["`kafka.tls_ca`", "): the broker's certificate has"],
            ),
            (Listener::Mutual, ca.to_owned(), &["set `kafka.tls_cert` and `kafka.tls_key`"]),
            (
                Listener::Mutual,
                own("former", "own"),
                &["does not take `kafka.tls_cert`", "expired"],
            ),
            (Listener::Mutual, store, &["does not take `kafka.tls_keystore`", "expired"]),
            (Listener::Mutual, own("client", "stranger"), &["does not take `kafka.tls_cert`"]),
            (Listener::Mutual, shut, &["`kafka.tls_keystore_password`"]),
            (Listener::Mutual, locked, &["`kafka.tls_key_password`"]),
            (Listener::Tls, String::new(), &["`kafka.tls`"]),
            (Listener::Asking, String::new(), &["`kafka.sasl`"]),
            (Listener::Asking, format!("{ca}\n{}", sasl("PLAIN")), &["`kafka.tls`"]),
            (Listener::Tls, "tls_ca = \"gone.pem\"".to_owned(), &["kafka.tls_ca", "gone.pem"]),
        ];
        try_all(gate, bench, cases)
    });
}

/// What is written wrongly for a listener, and the words that say so.
type Wrong<'a> = (Listener, String, &'a [&'a str]);

/// Several at once: most of a try is waiting for what the broker does not say.
fn try_all(gate: &Gate, bench: &Bench, cases: &[Wrong<'_>]) -> Result<()> {
    let tries: Vec<_> = cases.iter().enumerate().collect();
    tries.chunks(AT_ONCE).try_for_each(|tries| {
        std::thread::scope(|scope| {
            let spawned = tries.iter().map(|(number, (at, kafka, words))| {
                scope.spawn(move || is_told(gate, bench, *number, *at, kafka, words))
            });
            // All of them, before the first is waited for.
            let spawned: Vec<_> = spawned.collect();
            let mut ends = spawned.into_iter().map(ScopedJoinHandle::join);
            ends.try_for_each(|end| end.map_err(|_| anyhow!("a try panicked"))?)
        })
    })
}

/// `bridge check` says these words, and no secret.
fn is_told(
    gate: &Gate,
    bench: &Bench,
    number: usize,
    at: Listener,
    kafka: &str,
    words: &[&str],
) -> Result<()> {
    let setup = gate.setup(bench, &format!("wrong_{number}"), at, kafka)?;
    let told = setup.install()?.command("check", &[])?;
    ensure!(told.status.code() != Some(0), "{at:?} {kafka}: {}", told.all);
    for word in words {
        ensure!(told.all.contains(word), "{at:?} {kafka}: no {word} in\n{}", told.all);
    }
    no_secret_in(&told.all)
}

#[test]
fn a_run_that_is_not_let_in_stops_and_says_so() {
    promise("a run that is not let in stops and says so", |bench| {
        let gate = gate()?;
        let file = "sasl = { mechanism = \"SCRAM-SHA-512\", username = \"bridge\", password_file = \
                    \"secret\" }";
        let setup = gate.setup(bench, "refused", Listener::Asking, file)?;
        gate.kafka.create_topic(&setup.topic, PARTITIONS)?;
        let installed = setup.install()?;
        std::fs::write(installed.folder().join("secret"), format!("{WRONG}\n"))?;
        let told = run_through(&installed)?;
        ensure!(told.status.code() != Some(0), "{}", told.all);
        ensure!(told.all.contains("`kafka.sasl.password_file`"), "{}", told.all);
        std::fs::write(installed.folder().join("secret"), format!("{}\n", KAFKA_USER.1))?;
        run_through(&installed)?.ensure_code(0)
    });
}

#[test]
fn tokens_are_renewed_while_it_runs_and_shown_nowhere() {
    promise("tokens are renewed while it runs, and shown nowhere", |bench| {
        // The broker ends sessions with their tokens, so the bridge says anew who it is, too.
        let (gate, tokens) = (gate()?, Tokens::start(Duration::from_secs(16))?);
        let kafka = oauth(&tokens, CLIENT_SECRET);
        let setup = gate.setup(bench, "renewed", Listener::Asking, &kafka)?;
        gate.kafka.create_topic(&setup.topic, PARTITIONS)?;
        let installed = setup.install()?;
        let bridge = installed.start_ready()?;
        await_ok(DEADLINE, "the third token", || {
            ensure!(tokens.given() >= 3, "{} tokens were given", tokens.given());
            Ok(())
        })?;
        // Connections that are made anew show the token of now.
        gate.kafka.restart()?;
        let records = (0..RECORDS).map(|seq| Reading(seq).record(PARTITIONS));
        gate.kafka.produce(&installed.setup.topic, records)?;
        rows_are_exact(&bench.questdb, &installed.setup.table, RECORDS, Band::ALL, DRAIN)?;
        for path in ["/metrics", "/status", "/readyz", "/healthz"] {
            no_secret_in(&bridge.get(path)?.1)?;
        }
        no_secret_in(&bridge.process().lines().join("\n"))?;
        bridge.ensure_running()
    });
}

#[test]
fn lines_are_produced_and_letters_kept_under_the_same_keys() {
    promise("dead letters and produced lines go the same way", |bench| {
        let (gate, tokens) = (gate()?, Tokens::start(LIFE)?);
        let ca = "tls_ca = \"{own}/ca.pem\"";
        for (number, who) in
            [sasl("SCRAM-SHA-512"), oauth(&tokens, CLIENT_SECRET)].into_iter().enumerate()
        {
            let kafka = format!("{ca}\n{who}");
            let name = format!("letters_{number}");
            let setup = gate.setup(bench, &name, Listener::Secured, &kafka)?;
            gate.kafka.create_topic(&setup.topic, PARTITIONS)?;
            let installed = setup.install()?;
            let lines = installed.folder().join("lines");
            std::fs::write(&lines, format!("{}\nno json\n", Reading(0).json()))?;
            let path = |path: &std::path::Path| path.display().to_string();
            let (lines, file) = (path(&lines), path(&installed.file));
            let topic = &installed.setup.topic;
            let told = Answer::of(&["produce", topic, &lines, "--config", &file])?;
            told.ensure_code(0)?;
            no_secret_in(&told.all)?;
            run_through(&installed)?.ensure_code(0)?;
            rows_are_exact(&bench.questdb, &installed.setup.table, 1, Band::ALL, DRAIN)?;
            let letters = gate.kafka.read_all(&format!("{topic}.dead-letters"))?;
            ensure!(letters.len() == 1, "{letters:?}");
        }
        Ok(())
    });
}
