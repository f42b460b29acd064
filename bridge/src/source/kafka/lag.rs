//! How far the log is ahead of what was taken. Every fetch tells the end of its partition; what a
//! transaction that is still open keeps from being read, and the end of a partition that nobody
//! fetches just now, is asked for beside.

use super::fetch::end_of;
use super::table::{Channel, Standing};
use super::{KafkaSource, Lag};
use crate::batch::PartitionIndex;

/// What is known of a partition's end beside what its fetches tell.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Ahead {
    /// The end that fetches had told when the question was asked that is under way.
    asked: Option<i64>,
    /// The last stable offset, as of the last answer.
    stable: Option<i64>,
    /// Whether the log had more than that: a transaction is open, and what follows it cannot be
    /// read yet.
    held_back: bool,
}

impl Ahead {
    /// A question is asked now; `told` is the end that the last fetch saw.
    fn asking(self, told: Option<i64>) -> Ahead {
        Ahead { asked: told, ..self }
    }

    /// The answer. What was told before it was asked for is in the log by then, so a smaller
    /// answer is a transaction; what was told since may only be newer.
    fn answered(self, stable: i64) -> Ahead {
        let held_back = self.asked.is_some_and(|told| told > stable);
        Ahead { asked: None, stable: Some(stable), held_back }
    }

    /// The offset after the last record that could be read.
    fn end(self, told: Option<i64>, position: i64) -> i64 {
        let end = match self.stable {
            Some(stable) if self.held_back => Some(stable),
            // Without a transaction a fetch sees more than the last answer, if there was one.
            stable => told.max(stable),
        };
        end.unwrap_or(position).max(position)
    }
}

impl KafkaSource {
    pub(super) fn look_ahead(&mut self) -> Vec<Lag> {
        for (name, stable) in self.stable.answers() {
            let Some(index) = self.table.find(&name) else { continue };
            let partition = self.table.get_mut(index);
            partition.ahead = partition.ahead.answered(stable);
        }
        let owned: Vec<PartitionIndex> = self.table.standing(Standing::Owned).collect();
        // Looked up before the question goes out: an answer must be the newer of the two.
        let told = |index: &PartitionIndex| {
            let partition = self.table.get(*index);
            match &partition.channel {
                Some(Channel::Own(tap)) => tap.end(),
                _ => end_of(&self.client, &partition.topic, partition.name.partition),
            }
        };
        let told: Vec<Option<i64>> = owned.iter().map(told).collect();
        let names = owned.iter().map(|index| self.table.get(*index));
        let names = names.map(|partition| (&*partition.topic, partition.name.partition));
        let asked = self.stable.ask(names);
        let mut lags = Vec::with_capacity(owned.len());
        for (index, told) in owned.into_iter().zip(told) {
            let partition = self.table.get_mut(index);
            if asked {
                partition.ahead = partition.ahead.asking(told);
            }
            // Beyond what is wanted of it, records are read and not taken.
            let position = match &partition.bounds {
                None => partition.read_to(),
                Some(_) => partition.position,
            };
            let end = partition.ahead.end(told, position);
            let wanted = partition.bounds.as_ref().map(|bounds| bounds.end().unwrap_or(0));
            let end = wanted.map_or(end, |wanted| wanted.min(end)).max(position);
            lags.push(Lag { partition: index, end, position });
        }
        lags
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_what_can_be_read() {
        assert_eq!(Ahead::default().end(None, 7), 7, "nothing is known");
        assert_eq!(Ahead::default().end(Some(90), 7), 90, "a fetch told it");
        let after = |told, stable| Ahead::default().asking(told).answered(stable);
        let open = after(Some(90), 50);
        assert_eq!(open.end(Some(95), 7), 50, "an open transaction ends the log");
        assert_eq!(open.end(Some(95), 60), 60, "it was closed since, and more was read");
        let idle = after(Some(90), 120);
        assert_eq!(idle.end(Some(90), 7), 120, "nobody fetches, the log goes on");
        assert_eq!(idle.end(Some(130), 7), 130, "it is fetched again");
        assert_eq!(after(None, 120).end(Some(500), 7), 500, "nothing was known when it was asked");
        assert_eq!(open.asking(Some(90)).answered(95).end(Some(99), 7), 99, "it was closed");
    }
}
