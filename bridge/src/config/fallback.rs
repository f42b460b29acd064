//! `[pipeline.NAME.fallback]`: a second sink, and when rows go there.

use std::path::Path;
use std::time::Duration;

use super::draft::FallbackDraft;
use super::load::parse_kind;
use super::mistake::Mistake;
use super::plan::FallbackPlan;
use super::section::Section;
use super::units::Span;
use crate::sink::{self, Door, SinkPlan};

/// Longer than a server takes to start again.
const AFTER: Duration = Duration::from_secs(10);
/// A return costs a moment of quiet, and a look the server a few queries.
const RETRY_EVERY: Duration = Duration::from_secs(30);
/// More often than this nobody needs to look.
const RETRY_MIN: Duration = Duration::from_millis(100);

/// The keys that are not the second sink's.
const OWN: [&str; 2] = ["after", "retry_every"];

/// Reads the section of a pipeline whose first sink has this kind, this plan and this section.
pub fn plan(
    pipeline: &Section,
    (first_kind, first, lender): (&str, &dyn SinkPlan, &Section),
    base: &Path,
) -> Result<Option<FallbackPlan>, Mistake> {
    if !pipeline.has("fallback") {
        return Ok(None);
    }
    let section = pipeline.below("fallback");
    if first.doors().is_empty() {
        let message =
            format!("the sink `{first_kind}` cannot have a fallback: it has no server of its own");
        return Err(section.mistake("", message).help("take the section out"));
    }
    let own = section.clone().only(&OWN);
    let FallbackDraft { after, retry_every, .. } = own.read()?;
    let span = |key: &str, said: Option<Span>, default: Duration, least: Duration| match said {
        Some(Span(said)) if said < least => {
            let message = format!("`{key}` is at least {} ms", least.as_millis());
            Err(section.mistake(key, message))
        }
        said => Ok(said.map_or(default, |Span(said)| said)),
    };
    let after = span("after", after, AFTER, Duration::ZERO)?;
    let retry_every = span("retry_every", retry_every, RETRY_EVERY, RETRY_MIN)?;
    let mut second = section.clone().without(&OWN);
    if second.text("kind").unwrap_or(first_kind) == first_kind {
        second = second.with_keys_of(lender, |key| first.lends(key, &section));
    }
    let (sink_kind, mut plan) = parse_kind(&second, sink::KINDS, "kind", first_kind)?;
    plan.rebase(base);
    if is_no_way_round(&first.doors(), &plan.doors()) {
        let addresses: Vec<String> = first.doors().into_iter().flatten().collect();
        let message = format!(
            "the fallback needs all that the sink needs ({}), and would fail with it",
            addresses.join(", ")
        );
        let help = "another `address`; or transport = \"http\" for a sink over TCP";
        return Err(section.mistake("", message).help(help));
    }
    Ok(Some(FallbackPlan { sink_kind, sink: plan, after, retry_every }))
}

/// Whether every door that could be closed to the first could only be closed to the second, too.
fn is_no_way_round(first: &[Door], second: &[Door]) -> bool {
    first.iter().all(|door| second.contains(door))
}

#[cfg(test)]
mod tests {
    use crate::config::{Mistakes, Overrides, Plan, Surroundings};
    use crate::limits::COURIER_BYTES;

    use super::*;

    fn parse(sink: &str, fallback: &str) -> Result<Plan, Box<Mistakes>> {
        parse_whole(&format!(
            "[pipeline.p]\ntopics = [\"a\"]\n[pipeline.p.sink]\n{sink}\n[pipeline.p.fallback]\n\
             {fallback}\n"
        ))
    }

    fn parse_whole(text: &str) -> Result<Plan, Box<Mistakes>> {
        let with =
            Surroundings { env: &|_| None, host: "h".to_owned(), base: Path::new("/etc/bridge") };
        Plan::parse("t.toml", text, &with, &Overrides::default())
    }

    /// What the fallback becomes: its doors, and whether a text is in its plan.
    #[track_caller]
    fn check(sink: &str, fallback: &str, doors: &[&[&str]], has: &[&str]) {
        let plan = parse(sink, fallback).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        let fallback = plan.pipelines[0].fallback.as_ref().expect("there is one");
        assert_eq!(fallback.sink.doors(), doors);
        let shown = format!("{:?}", fallback.sink);
        has.iter().for_each(|text| assert!(shown.contains(text), "{text} is not in {shown}"));
    }

    const TCP: &str = "transport = \"tcp\"\naddress = \"a:1\"\ntcp_address = \"a:2\"\n\
                       username = \"u\"\npassword_file = \"p\"\ngeneration_rows = 7";

    #[test]
    fn what_is_not_said_is_the_sinks_where_that_makes_sense() {
        let login = "Basic(\"u\", File(\"/etc/bridge/p\"))";
        check(TCP, "transport = \"http\"", &[&["a:1"]], &["transport: Http", login]);
        let other = &[&["b:1"][..], &["b:9009"]];
        check(TCP, "address = \"b:1\"", other, &["transport: Tcp", login, "generation_rows: 7"]);
        let token = "address = \"b:1\"\ntoken = \"t\"";
        check(TCP, token, other, &["Bearer"]);
        check("", "address = [\"b:1\", \"c:1\"]", &[&["b:1", "c:1"]], &["transport: Http"]);
        check(TCP, "kind = \"memory\"", &[], &["Memory"]);
        let file = "kind = \"file\"\npath = \"spilt/{table}\"";
        check(TCP, file, &[], &["/etc/bridge/spilt"]);
    }

    #[test]
    fn other_sinks_lend_what_makes_sense() {
        let postgres = "kind = \"postgres\"\naddress = \"a\"\nusername = \"u\"\n\
                        password_file = \"p\"\nmode = \"upsert\"\nkey = [\"k\"]\n\
                        tls = \"verify-ca\"\ntls_ca = \"ca\"";
        let all = ["key: [\"k\"]", "/etc/bridge/p", "/etc/bridge/ca"];
        check(postgres, "address = \"b\"", &[&["b:5432"]], &all);
        let own = "address = \"b\"\npassword = \"s\"\nmode = \"append\"\ntls = \"require\"";
        check(postgres, own, &[&["b:5432"]], &["key: []", "Here", "ca: None"]);
        check(TCP, "kind = \"postgres\"", &[&["localhost:5432"]], &["username: \"postgres\""]);
        let kafka = "kind = \"kafka\"\ntopic = \"x\"\nbrokers = \"a:1, b:1\"\n\
                     encode = \"csv\"\ncolumns = [\"seq\"]";
        let elsewhere = &[&["c:1"][..]];
        check(kafka, "brokers = \"c:1\"", elsewhere, &["topic: \"x\"", "[\"seq\"]"]);
        check(kafka, "brokers = \"c:1\"\nencode = \"json\"", elsewhere, &["written: Json"]);
        check(kafka, "kind = \"questdb\"", &[&["localhost:9000"]], &[]);
        let crate_db = "kind = \"cratedb\"\naddress = \"a\"\nusername = \"u\"\nkey = [\"k\"]";
        check(crate_db, "address = \"b\"", &[&["b:4200"]], &["\"u\"", "[\"k\"]"]);
    }

    #[test]
    fn times_have_defaults() {
        let plan = parse("", "address = \"b\"\nafter = \"3s\"").expect("it is right");
        let fallback = plan.pipelines[0].fallback.as_ref().expect("there is one");
        assert_eq!((fallback.after, fallback.retry_every), (Duration::from_secs(3), RETRY_EVERY));
    }

    #[test]
    fn a_fallback_that_helps_nobody_is_refused() {
        let refuses = |sink: &str, fallback: &str, said: &str| {
            let mistakes = parse(sink, fallback).expect_err(fallback).to_string();
            assert!(mistakes.contains(said), "{mistakes}");
        };
        refuses("", "after = \"1s\"", "needs all that the sink needs (localhost:9000)");
        refuses("", "transport = \"tcp\"", "needs all that the sink needs");
        let crate_db = "kind = \"cratedb\"\naddress = \"a\"";
        refuses(crate_db, "after = \"1s\"", "needs all that the sink needs (a:4200)");
        refuses("kind = \"memory\"", "address = \"b\"", "has no server of its own");
        refuses(
            "kind = \"file\"\npath = \"{table}\"",
            "address = \"b\"",
            "has no server of its own",
        );
        refuses("kind = \"kafka\"\ntopic = \"x\"", "address = \"b\"", "has no server of its own");
        refuses("", "address = \"b\"\nretry_every = \"1ms\"", "at least 100 ms");
        refuses("", "adress = \"b\"", "did you mean `address`");
        let text = "[pipeline.p]\ntopics = [\"a\"]\ndelivery = \"exactly-once\"\n\
                    table = { timestamp = { field = \"ts\" } }\nfallback = { address = \"b\" }\n";
        let mistakes = parse_whole(text).expect_err("rows may be in both").to_string();
        assert!(mistakes.contains("which is not exactly once"), "{mistakes}");
    }

    #[test]
    fn memory_counts_payloads_once() {
        let ceiling = |fallback: &str| {
            let text = format!("[pipeline.p]\ntopics = [\"a\"]\n{fallback}");
            let plan = parse_whole(&text).unwrap_or_else(|mistakes| panic!("{mistakes}"));
            (plan.ceiling_bytes(), plan.pipelines[0].limits.lanes)
        };
        let (without, lanes) = ceiling("");
        let (with, _) = ceiling("fallback = { address = \"b\" }");
        assert_eq!(with - without, lanes * COURIER_BYTES);
    }
}
