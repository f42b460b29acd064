//! What `bridge check` asks of a registry: is it there and does it let the bridge in, and are the
//! subjects there that values or keys are read by. Nothing waits.

use super::client::{Client, Failed};
use super::{RegistryPlan, Version};
use crate::blame::{Blame, Fault};
use crate::sink::{Finding, FindingState};

/// How many topics' subjects are looked at one by one.
const TOPICS_MAX: usize = 20;

/// What a format asks of a registry.
#[derive(Clone, Copy, Debug)]
pub struct Inquiry<'a> {
    /// The registry.
    pub registry: &'a RegistryPlan,
    /// The kind of schema that the format reads, as the registry calls it.
    pub kind: &'static str,
    /// The version that is read as; `None` where records name their schema, and that is all.
    pub version: Option<Version>,
    /// The subject that it is of; `None` is that of each topic.
    pub subject: Option<&'a str>,
    /// Of what.
    pub part: Part,
}

/// A part of a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// Its value.
    Value,
    /// Its key.
    Key,
}

impl Part {
    /// What begins a sentence about it; of a key it was said before.
    pub fn called(self) -> &'static str {
        match self {
            Part::Value => "the value",
            Part::Key => "it",
        }
    }

    /// The subject of a topic, by the rule that serializers have if nothing is said to them.
    pub fn subject_of(self, topic: &str) -> String {
        match self {
            Part::Value => format!("{topic}-value"),
            Part::Key => format!("{topic}-key"),
        }
    }
}

/// Looks at a registry and at what it has of these topics.
pub async fn look(inquiry: &Inquiry<'_>, topics: &[String]) -> Vec<Finding> {
    let shown = inquiry.registry.shown();
    let client = match Client::new(inquiry.registry) {
        Ok(client) => client,
        Err(fault) => return vec![Finding::failed("registry", shown, &fault)],
    };
    let mut kinds = client.kinds().await;
    for _ in 1..inquiry.registry.addresses.len() {
        // The next address is asked.
        if let Err(Failed::Away(_)) = &kinds {
            kinds = client.kinds().await;
        }
    }
    let mut findings = vec![match kinds {
        Ok(kinds) => Finding::ok("registry", shown, format!("has {}", kinds.join(", "))),
        Err(failed) => return vec![Finding::failed("registry", shown, &fault(failed))],
    }];
    let subjects = match inquiry.subject {
        Some(subject) => vec![subject.to_owned()],
        None => {
            let of = |topic: &String| inquiry.part.subject_of(topic);
            topics.iter().take(TOPICS_MAX).map(of).collect()
        }
    };
    for subject in subjects {
        findings.push(look_at(&client, inquiry, subject).await);
    }
    findings
}

async fn look_at(client: &Client, inquiry: &Inquiry<'_>, subject: String) -> Finding {
    let version = inquiry.version.unwrap_or(Version::Latest);
    match client.described(&subject, version).await {
        Ok(found) if found.kind != inquiry.kind => Finding {
            state: if inquiry.version.is_some() { FindingState::Fail } else { FindingState::Warn },
            blame: Blame::Operator,
            fix: Some(format!("`format` must be what the topic holds: {}", found.kind)),
            ..Finding::ok("subject", subject, found.in_words())
        },
        Ok(found) => Finding::ok("subject", subject, found.in_words()),
        Err(Failed::Unknown(_)) if inquiry.version.is_none() => {
            let note = "is not there; records name their schemas by ids, whatever their subjects";
            Finding::ok("subject", subject, note)
        }
        Err(Failed::Unknown(why)) => {
            let message = format!("no version {version}: {why}");
            let hint = "set `subject` and `schema_version` to what the registry has";
            Finding::failed("subject", subject, &Fault::operator(message).hint(hint))
        }
        Err(failed) => Finding::failed("subject", subject, &fault(failed)),
    }
}

fn fault(failed: Failed) -> Fault {
    match failed {
        Failed::Away(why) => Fault::world(format!("is not answering ({why})"))
            .hint("set `registry.url`, or start it; pipelines wait for it"),
        Failed::Unknown(why) => Fault::operator(why).hint("set `registry.url`"),
        Failed::Stop(fault) => fault,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schemas::fake::{Fake, Reply};
    use crate::schemas::tests::plan_of;

    /// Findings as lines.
    fn found(fake: &Fake, more: &str, version: Option<Version>) -> Vec<String> {
        let registry = plan_of(&format!("url = \"{}\"{more}", fake.url()));
        let part = Part::Value;
        let subject = matches!(version, Some(Version::Number(_))).then_some("orders");
        let inquiry = Inquiry { registry: &registry, kind: "AVRO", version, subject, part };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let topics = ["t".to_owned(), "u".to_owned()];
        let found = runtime.expect("a runtime").block_on(look(&inquiry, &topics));
        let place = fake.address().to_string();
        let line = |finding: Finding| {
            let Finding { subject, name, state, note, fix, .. } = finding;
            let fix = fix.map(|fix| format!(" [{fix}]")).unwrap_or_default();
            format!("{subject} {name}: {state:?} {note}{fix}").replace(&place, "HOST")
        };
        found.into_iter().map(line).collect()
    }

    fn registry() -> Fake {
        let fake = Fake::start();
        fake.put("/schemas/types", Reply::Json(200, r#"["AVRO","JSON"]"#.into()));
        let avro = r#"{"subject":"t-value","version":4,"id":9,"schema":"\"int\""}"#;
        fake.put("/subjects/t-value/versions/latest", Reply::Json(200, avro.into()));
        fake
    }

    #[test]
    fn subjects_are_looked_at_where_topics_have_them() {
        let fake = registry();
        let expected = [
            "registry http://HOST: Ok has AVRO, JSON",
            "subject t-value: Ok version 4, AVRO",
            "subject u-value: Ok is not there; records name their schemas by ids, whatever their \
             subjects",
        ];
        assert_eq!(found(&fake, "", None), expected);
        let json = r#"{"version":1,"schemaType":"JSON","schema":"{}"}"#;
        fake.put("/subjects/u-value/versions/latest", Reply::Json(200, json.into()));
        let told = found(&fake, "", None);
        let fix = "`format` must be what the topic holds: JSON";
        assert_eq!(told[2], format!("subject u-value: Warn version 1, JSON [{fix}]"));
        let told = found(&fake, "", Some(Version::Latest));
        assert_eq!(told[2], format!("subject u-value: Fail version 1, JSON [{fix}]"));
    }

    #[test]
    fn a_version_must_be_there() {
        let fake = registry();
        let told = found(&fake, "", Some(Version::Number(3)));
        assert_eq!(
            told[1],
            "subject orders: Fail no version 3: the registry says: Subject 'orders' not found. \
             [set `subject` and `schema_version` to what the registry has]"
        );
        let avro = r#"{"version":3,"schema":"\"int\"","references":[{"name":"a","subject":"a","version":1}]}"#;
        fake.put("/subjects/orders/versions/3", Reply::Json(200, avro.into()));
        let told = found(&fake, "", Some(Version::Number(3)));
        assert_eq!(told[1..], ["subject orders: Ok version 3, AVRO, refers to 1"]);
    }

    #[test]
    fn a_registry_that_is_away_or_lets_nobody_in_is_told_once() {
        let fake = registry();
        fake.wants("Bearer right");
        let told = found(&fake, ", token = \"hush\"", None);
        assert_eq!(
            told,
            ["registry http://HOST: Fail asking the registry http://HOST for /schemas/types: it \
              answers 401 Unauthorized [set `registry.token`]"]
        );
        let gone = fake.url();
        drop(fake);
        let other = registry();
        let both = format!("url = [\"{gone}\", \"{}\"]", other.url());
        let registry = plan_of(&both);
        let (kind, part) = ("AVRO", Part::Key);
        let inquiry = Inquiry { registry: &registry, kind, version: None, subject: None, part };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        let found = runtime.block_on(look(&inquiry, &["t".to_owned()]));
        assert_eq!((found.len(), found[0].state), (2, FindingState::Ok), "{found:?}");
        assert_eq!(found[1].name, "t-key");
        drop(other);
        let found = runtime.block_on(look(&inquiry, &[]));
        assert_eq!(
            (found.len(), found[0].state, found[0].blame),
            (1, FindingState::Fail, Blame::World)
        );
        assert_eq!(found[0].note, "is not answering (connection refused)");
    }
}
