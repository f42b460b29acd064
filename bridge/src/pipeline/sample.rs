//! A few records from the ends of the topics, tried on a pipeline before it runs: do they decode,
//! what do the transforms keep. Nothing is stored, and the group does not hear of it.

use std::sync::Arc;

use crate::batch::{RecordBatch, RowBatch, sources};
use crate::blame::Fault;
use crate::format::{DecoderContext, Format};
use crate::kafka::check::Sample;
use crate::reject::Rejects;
use crate::sink::{Finding, FindingState};
use crate::transform::{Transform, columns};
use crate::trial::{Told, batches};

/// Records that are tried.
pub const RECORDS: usize = 20;

/// Some of all.
#[derive(Clone, Copy, Default)]
struct Share {
    some: usize,
    all: usize,
}

/// What records are tried on.
pub struct Bench {
    /// Bytes to rows.
    pub format: Box<dyn Format>,
    /// Its name.
    pub kind: &'static str,
    /// Rows to rows, by name.
    pub transforms: Vec<(String, Box<dyn Transform>)>,
}

impl Bench {
    /// A bench with this decoder and these transforms.
    pub fn new(
        plan: &crate::config::PipelinePlan,
        context: &DecoderContext,
        transforms: Vec<(String, Box<dyn Transform>)>,
    ) -> Bench {
        let (own, instances): (Vec<String>, Vec<_>) = transforms.into_iter().unzip();
        let stages = columns::around(&plan.shape, &context.names, instances);
        // What the bridge does itself has no name, and no finding.
        let mut names = vec![String::new(); columns::before(&plan.shape)];
        names.extend(own);
        names.resize(stages.len(), String::new());
        let transforms = names.into_iter().zip(stages).collect();
        Bench { format: plan.value.decoder(context), kind: plan.value_kind, transforms }
    }

    /// Tries the records, and adds what came of them to the findings on topics and transforms.
    pub fn try_on(mut self, samples: Vec<Sample>, findings: &mut [Finding]) -> Result<(), Fault> {
        let mut kept = vec![Share::default(); self.transforms.len()];
        for batch in by_partition(samples) {
            let (mut rows, mut rejects) = (RowBatch::default(), Rejects::default());
            self.format.decode(&batch, &mut rows, &mut rejects)?;
            let (all, refused) = (batch.len(), rejects.found.len());
            let topic = Arc::clone(&batch.source.topic);
            let why = rejects
                .found
                .first()
                .map(|(_, _, reason, detail)| format!("{}: {detail}", reason.name()));
            tell_decoded(findings, &topic, self.kind, Share { some: all - refused, all }, why);
            for ((_, transform), kept) in self.transforms.iter_mut().zip(&mut kept) {
                rejects.prune(&mut rows);
                kept.all += sources(&rows.rows) as usize;
                transform.apply(&batch, &mut rows, &mut rejects)?;
                rejects.prune(&mut rows);
                kept.some += sources(&rows.rows) as usize;
            }
            // Nobody waits for this ticket: it is redeemed so that it does not count as lost.
            batch.into_ticket().into_share().redeem();
        }
        for ((name, _), share) in self.transforms.iter().zip(kept).filter(|(_, s)| s.all > 0) {
            let about = findings.iter_mut().filter(|f| f.subject == "transform");
            if let Some(finding) = about.into_iter().find(|f| f.name == *name) {
                finding.note.push_str(&format!(", keeps {} of {} sampled", share.some, share.all));
            }
        }
        Ok(())
    }
}

/// Adds to what was said of a topic before: its partitions come one by one.
fn tell_decoded(
    findings: &mut [Finding],
    topic: &str,
    kind: &str,
    share: Share,
    why: Option<String>,
) {
    let about = findings.iter_mut().find(|f| f.subject == "topic" && f.name == topic);
    let Some(finding) = about else { return };
    let lead = format!(", {kind} (");
    let mut total = share;
    if let Some(at) = finding.note.find(&lead) {
        let before: Vec<usize> = finding.note[at + lead.len()..]
            .split(' ')
            .filter_map(|word| word.parse().ok())
            .collect();
        total.some += before.first().copied().unwrap_or(0);
        total.all += before.get(1).copied().unwrap_or(0);
        finding.note.truncate(at);
    }
    finding.note.push_str(&format!("{lead}{} of {} sampled decode)", total.some, total.all));
    if let Some(why) = why
        && finding.state == FindingState::Ok
    {
        finding.state = FindingState::Warn;
        finding.fix = Some(format!(
            "such records end in the dead letters ({why}): `value` of the pipeline must be what \
             the topic holds"
        ));
    }
}

fn by_partition(mut samples: Vec<Sample>) -> Vec<RecordBatch> {
    // Stable: records of one partition stay in their order.
    samples.sort_by(|a, b| a.partition.cmp(&b.partition));
    batches(samples.into_iter().map(Told::from).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_of_a_topic_are_told_as_one() {
        let mut findings = [Finding::ok("topic", "t", "4 partitions, 5,000 records")];
        let share = |some, all| Share { some, all };
        tell_decoded(&mut findings, "t", "json", share(5, 5), None);
        assert_eq!(findings[0].state, FindingState::Ok);
        tell_decoded(&mut findings, "t", "json", share(4, 5), Some("malformed: x".into()));
        tell_decoded(&mut findings, "u", "json", share(4, 5), None);
        assert_eq!(findings[0].note, "4 partitions, 5,000 records, json (9 of 10 sampled decode)");
        assert_eq!(findings[0].state, FindingState::Warn);
        assert!(findings[0].fix.as_ref().is_some_and(|fix| fix.contains("malformed: x")));
    }
}
