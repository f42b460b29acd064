//! Promise: records come through a listener that takes tickets of Kerberos, whoever keeps them; a
//! centre that is away is waited for; and what is wrong names its key.

use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::{Band, Bench, Installed, PARTITIONS, Reading, Setup, promise, rows_are_exact};
use world::{Directory, Kafka, KafkaOptions, Kerberos, Signal, Tickets};

const DRAIN: Duration = Duration::from_secs(60);
const WAITS: Duration = Duration::from_secs(60);
const ENDS: Duration = Duration::from_secs(30);
const RECORDS: u64 = 500;

/// A broker that takes tickets, and who has some.
struct Gate {
    kafka: Kafka,
    centre: Kerberos,
    own: Tickets,
    other: Tickets,
    /// Of their tickets.
    folder: Directory,
}

fn gate() -> Result<&'static Gate> {
    static GATE: OnceLock<Gate> = OnceLock::new();
    if let Some(gate) = GATE.get() {
        return Ok(gate);
    }
    let centre = Kerberos::start()?;
    let tickets = Some(centre.principal("kafka/localhost")?);
    let (own, other) = (centre.principal("bridge")?, centre.principal("other")?);
    let kafka = Kafka::start_with(KafkaOptions { tickets, ..KafkaOptions::default() })?;
    let folder = Directory::create("tickets")?;
    Ok(GATE.get_or_init(|| Gate { kafka, centre, own, other, folder }))
}

impl Gate {
    /// With `sasl` after the mechanism, and tickets of its own.
    fn setup(&self, bench: &Bench, name: &str, sasl: &str) -> Result<Setup> {
        let mut setup = Setup::shaped(bench, name, PARTITIONS);
        setup.brokers = self.kafka.ticketed_brokers()?;
        setup.kafka = vec![format!("sasl = {{ mechanism = \"GSSAPI\"{sasl} }}")];
        let cache = self.folder.path().join(&setup.table);
        setup.environment = vec![
            ("KRB5_CONFIG", self.centre.configuration().display().to_string()),
            ("KRB5CCNAME", format!("FILE:{}", cache.display())),
        ];
        self.kafka.create_topic(&setup.topic, PARTITIONS)?;
        Ok(setup)
    }

    fn produce(&self, installed: &Installed) -> Result<()> {
        let records = (0..RECORDS).map(|seq| Reading(seq).record(PARTITIONS));
        self.kafka.produce(&installed.setup.topic, records).map(drop)
    }

    /// Puts one by which others are to be had where the bridge looks for it, and nothing else.
    fn take_ticket(&self, installed: &Installed) -> Result<()> {
        let mut kinit = Command::new("kinit");
        kinit.arg("-k").arg("-t").arg(&self.own.keytab).arg(&self.own.principal);
        let environment = installed.setup.environment.iter().cloned();
        let status = kinit.envs(environment).status().context("starting kinit")?;
        ensure!(status.success(), "kinit ended with {status}");
        Ok(())
    }

    fn runs_through(&self, bench: &Bench, installed: &Installed) -> Result<()> {
        self.produce(installed)?;
        installed.command("run", &["--until", "now"])?.ensure_code(0)?;
        is_exact(bench, installed)
    }
}

fn is_exact(bench: &Bench, installed: &Installed) -> Result<()> {
    rows_are_exact(&bench.questdb, &installed.setup.table, RECORDS, Band::ALL, DRAIN)
}

fn keys(tickets: &Tickets) -> String {
    let Tickets { principal, keytab, .. } = tickets;
    format!(", principal = \"{principal}\", keytab = \"{}\"", keytab.display())
}

#[test]
fn records_come_by_tickets() {
    promise("records come by tickets", |bench| {
        let gate = gate()?;
        let installed = gate.setup(bench, "keytab", &keys(&gate.own))?.install()?;
        gate.runs_through(bench, &installed)?;
        let told = installed.command("explain", &[])?;
        let words = format!("GSSAPI as {} to kafka", gate.own.principal);
        ensure!(told.all.contains(&words), "{}", told.all);

        // Tickets that somebody else keeps.
        let installed = gate.setup(bench, "kept", "")?.install()?;
        gate.take_ticket(&installed)?;
        gate.runs_through(bench, &installed)
    });
}

#[test]
fn what_is_wrong_names_the_key() {
    promise("what is wrong names the key", |bench| {
        let gate = gate()?;
        let own = keys(&gate.own);
        let stranger = own.replace(&gate.own.principal, &gate.other.principal);
        let gone = own.replace("bridge.keytab", "gone.keytab");
        let command = own.replace(&gate.own.principal, "bridge; touch here");
        let path = own.replace("bridge.keytab", "$(touch here).keytab");
        let cases: [(&str, &[&str]); 7] = [
            ("", &["`kafka.sasl`", "No Kerberos credentials"]),
            (&stranger, &["`kafka.sasl`", "principal and keytab"]),
            (&format!("{own}, service = \"amqp\""), &["`kafka.sasl`", "service"]),
            (&gone, &["kafka.sasl.keytab", "gone.keytab"]),
            (", keytab = \"some.keytab\"", &["kafka.sasl", "`principal`"]),
            (&command, &["kafka.sasl.principal", "NAME@REALM"]),
            (&path, &["kafka.sasl.keytab", "shell"]),
        ];
        for (number, (sasl, words)) in cases.into_iter().enumerate() {
            let installed = gate.setup(bench, &format!("wrong_{number}"), sasl)?.install()?;
            let told = installed.command("check", &[])?;
            ensure!(told.status.code() != Some(0), "{sasl}: {}", told.all);
            for word in words {
                ensure!(told.all.contains(word), "{sasl}: no {word} in\n{}", told.all);
            }
        }
        Ok(())
    });
}

#[test]
fn a_centre_that_is_away_is_waited_for() {
    promise("a centre that is away is waited for", |bench| {
        let gate = gate()?;
        let mut setup = gate.setup(bench, "away", &keys(&gate.own))?;
        // It asks for tickets once a minute.
        setup.properties.push("\"sasl.kerberos.min.time.before.relogin\" = \"1000\"".to_owned());
        let installed = setup.install()?;
        let bridge = installed.start_ready()?;
        // While the bridge sleeps the broker forgets it, and its ticket for the broker is gone.
        bridge.process().signal(Signal::Stop)?;
        gate.kafka.restart()?;
        gate.take_ticket(&installed)?;
        gate.centre.kill()?;
        bridge.process().signal(Signal::Continue)?;
        bridge.process().wait_for_line("`kafka.sasl`", WAITS)?;
        bridge.ensure_running()?;
        gate.centre.restart()?;
        gate.produce(&installed)?;
        is_exact(bench, &installed)?;
        bridge.stop_well(ENDS)
    });
}
