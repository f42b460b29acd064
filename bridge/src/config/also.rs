//! `[[pipeline.NAME.also]]`: sinks that get every row as well.

use std::path::Path;

use super::load::parse_kind;
use super::mistake::Mistake;
use super::plan::AlsoPlan;
use super::section::Section;
use crate::kind::Unable;
use crate::shape::Shape;
use crate::sink::{self, SinkPlan};

/// Reads the sections of a pipeline whose first sink has this kind and this plan.
pub fn plans(
    pipeline: &Section,
    (first_kind, first): (&str, &dyn SinkPlan),
    base: &Path,
    mistakes: &mut Vec<Mistake>,
) -> Vec<AlsoPlan> {
    let mut known = vec![(first_kind.to_owned(), format!("{first:?}"))];
    let mut plans = Vec::new();
    for section in pipeline.each("also") {
        let (sink_kind, mut sink) = match parse_kind(&section, sink::KINDS, "kind", "questdb") {
            Ok(read) => read,
            Err(mistake) => {
                mistakes.push(mistake);
                continue;
            }
        };
        sink.rebase(base);
        let same = (sink_kind.to_owned(), format!("{sink:?}"));
        if known.contains(&same) {
            let message =
                format!("the same sink `{sink_kind}` once more: all rows would be double");
            mistakes.push(section.mistake("", message).help("take it out, or another address"));
        }
        known.push(same);
        plans.push(AlsoPlan { sink_kind, sink });
    }
    plans
}

/// What a sink cannot do is a mistake in its own section, whichever it is.
pub fn of_sink(unable: Unable, its: &Section, pipeline: &Section) -> Mistake {
    match unable.key.strip_prefix("sink.") {
        Some(key) => Unable { key, ..unable }.mistake(its),
        None => unable.mistake(pipeline),
    }
}

/// Gives a shape what all sinks need to store each row once, or says why that cannot be.
pub fn exactly_once(
    first: &dyn SinkPlan,
    also: &[AlsoPlan],
    shape: &mut Shape,
) -> Result<(), Unable> {
    first.exactly_once(shape)?;
    for AlsoPlan { sink_kind, sink } in also {
        sink.exactly_once(shape).map_err(|unable| {
            let message = format!("the sink `{sink_kind}` of `also`: {}", unable.message);
            // Its key is one of the first sink's section.
            Unable { key: "also", message, help: unable.help }
        })?;
    }
    let keeps = first.keeps_progress() || also.iter().any(|also| also.sink.keeps_progress());
    if keeps && !also.is_empty() {
        let message = "one of the sinks keeps by itself how far each partition is, which says \
                       nothing of the others";
        let help = "delivery = \"at-least-once\" with keys, or a pipeline for each sink";
        return Err(Unable::new("also", message, help));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::config::{Mistakes, Overrides, Plan, Surroundings};
    use crate::limits::COURIER_BYTES;

    use super::*;

    fn parse(rest: &str) -> Result<Plan, Box<Mistakes>> {
        let with =
            Surroundings { env: &|_| None, host: "h".to_owned(), base: Path::new("/etc/bridge") };
        let text = format!("[pipeline.p]\ntopics = [\"a\"]\n{rest}");
        Plan::parse("t.toml", &text, &with, &Overrides::default())
    }

    const FILE: &str = "[[pipeline.p.also]]\nkind = \"file\"\npath = \"rows/{table}\"\n";
    const OTHER: &str = "[[pipeline.p.also]]\naddress = \"b:1\"\n";
    const POSTGRES: &str = "[[pipeline.p.also]]\nkind = \"postgres\"\n";
    const ONCE: &str = "delivery = \"exactly-once\"\ntable = { timestamp = { field = \"ts\" } }\n";

    #[track_caller]
    fn refuses(text: &str, said: &str) {
        let mistakes = parse(text).expect_err(text).to_string();
        assert!(mistakes.contains(said), "{mistakes}");
    }

    #[test]
    fn each_is_a_sink_of_its_own() {
        let plan = parse(&format!("{FILE}{OTHER}{POSTGRES}")).expect("it is right");
        let kinds: Vec<&str> = plan.pipelines[0].also.iter().map(|also| also.sink_kind).collect();
        assert_eq!(kinds, ["file", "questdb", "postgres"]);
        let shown = format!("{:?}", plan.pipelines[0].also);
        assert!(shown.contains("/etc/bridge/rows"), "{shown}");
        refuses("[[pipeline.p.also]]\n", "the same sink `questdb` once more");
        refuses(&format!("{FILE}{FILE}"), "the same sink `file` once more");
        refuses("[[pipeline.p.also]]\nkind = \"fil\"\n", "did you mean `file`");
        refuses("[[pipeline.p.also]]\nadress = \"x\"\n", "did you mean `address`");
    }

    #[test]
    fn columns_that_one_needs_all_have() {
        let plan = parse("[[pipeline.p.also]]\ntransport = \"tcp\"\naddress = \"b:1\"\n");
        let plan = plan.expect("it is right");
        assert!(plan.pipelines[0].shape.metadata.offset.is_some());
    }

    #[test]
    fn exactly_once_is_for_those_that_all_can() {
        parse(&format!("{ONCE}{OTHER}")).expect("a replay has no effect in both");
        refuses(&format!("{ONCE}{FILE}"), "cannot store exactly once");
        refuses(&format!("{ONCE}{POSTGRES}"), "says nothing of the others");
        let first = "sink = { kind = \"postgres\" }\n";
        refuses(&format!("{ONCE}{first}{OTHER}"), "says nothing of the others");
    }

    #[test]
    fn memory_counts_all_of_them() {
        let ceiling = |rest: &str| {
            let plan = parse(rest).unwrap_or_else(|mistakes| panic!("{mistakes}"));
            (plan.ceiling_bytes(), plan.pipelines[0].limits.lanes)
        };
        let ((without, lanes), (with, _)) = (ceiling(""), ceiling(FILE));
        assert!(with - without > lanes * COURIER_BYTES, "{with} and {without}");
    }
}
