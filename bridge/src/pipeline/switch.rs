//! When a pipeline turns to its fallback, and when it returns. Pure: it is told the time, whether
//! the sink is in trouble, and what came of the questions that it asks; it has no clock of its own.
//!
//! ```text
//!            in trouble for `after`,          asked each `retry_every`,
//!            and the second answers           and the first answers
//!   first ─────────────────────────▶ second ──────────────────────────▶ first
//! ```
//!
//! A return that does not last makes the next wait twice as long: a server that answers questions
//! and takes no rows (a full disk) would have the pipeline turn to and fro.

use std::time::{Duration, Instant};

use crate::batch::Way;

/// After returns that did not last, the first is asked no more seldom than each `retry_every` times
/// this.
const PATIENCE_MAX: u32 = 16;

/// Which sink rows go to, and what is waited for.
#[derive(Debug)]
pub struct Switch {
    after: Duration,
    retry_every: Duration,
    way: Way,
    /// Since when the first is in trouble, while rows go there.
    troubled: Option<Instant>,
    /// Nobody is asked before.
    ask_at: Option<Instant>,
    /// The answer that is waited for.
    asked: Option<Way>,
    /// The wait before the first is asked again.
    patience: Duration,
    returned: Option<Instant>,
}

impl Switch {
    /// Rows go to the first.
    pub fn new(after: Duration, retry_every: Duration) -> Switch {
        Switch {
            after,
            retry_every,
            way: Way::First,
            troubled: None,
            ask_at: None,
            asked: None,
            patience: retry_every,
            returned: None,
        }
    }

    /// Where rows go.
    pub fn way(&self) -> Way {
        self.way
    }

    /// A look at the first, now and then; the sink that is to be asked whether it would take rows.
    /// `troubled` counts only while rows go there.
    pub fn look(&mut self, now: Instant, troubled: bool) -> Option<Way> {
        if self.way == Way::First {
            match troubled {
                true => _ = self.troubled.get_or_insert(now),
                false => self.troubled = None,
            }
        }
        let wants = self.way == Way::Second || self.has_lasted(now);
        let may = self.asked.is_none() && self.ask_at.is_none_or(|at| now >= at);
        self.asked = (wants && may).then_some(self.way.other()).or(self.asked);
        self.asked.filter(|_| wants && may)
    }

    fn has_lasted(&self, now: Instant) -> bool {
        self.troubled.is_some_and(|since| now.duration_since(since) >= self.after)
    }

    /// The sink that was asked answered; where rows go from now on, if that changes.
    pub fn answered(&mut self, now: Instant, would: bool) -> Option<Way> {
        let asked = self.asked.take()?;
        if !would {
            let wait = if asked == Way::First { self.patience } else { self.retry_every };
            self.ask_at = Some(now + wait);
            return None;
        }
        if asked == Way::Second && !self.has_lasted(now) {
            // It is over, or was: the first was quicker.
            return None;
        }
        self.way = asked;
        self.troubled = None;
        match asked {
            Way::First => {
                self.returned = Some(now);
                self.ask_at = None;
            }
            Way::Second => {
                let bound = self.patience + self.after;
                let lasted = self.returned.is_none_or(|at| now.duration_since(at) > bound);
                self.patience = match lasted {
                    true => self.retry_every,
                    false => (self.patience * 2).min(self.retry_every * PATIENCE_MAX),
                };
                self.ask_at = Some(now + self.patience);
            }
        }
        Some(asked)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const AFTER: Duration = Duration::from_secs(10);
    const RETRY: Duration = Duration::from_secs(30);

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn trouble_that_lasts_turns_and_an_answer_returns() {
        let start = Instant::now();
        let mut switch = Switch::new(AFTER, RETRY);
        assert_eq!(switch.look(start, true), None);
        assert_eq!(switch.look(start + s(5), false), None, "it was over");
        assert_eq!(switch.look(start + s(6), true), None);
        assert_eq!(switch.look(start + s(15), true), None);
        assert_eq!(switch.look(start + s(16), true), Some(Way::Second));
        assert_eq!(switch.look(start + s(17), true), None, "the answer is waited for");
        assert_eq!(switch.answered(start + s(17), true), Some(Way::Second));
        assert_eq!(switch.look(start + s(46), false), None);
        assert_eq!(switch.look(start + s(47), false), Some(Way::First));
        assert_eq!(switch.answered(start + s(48), false), None);
        assert_eq!(switch.look(start + s(77), false), None);
        assert_eq!(switch.look(start + s(78), false), Some(Way::First));
        assert_eq!(switch.answered(start + s(78), true), Some(Way::First));
        assert_eq!(switch.way(), Way::First);
    }

    #[test]
    fn nobody_turns_to_a_second_that_does_not_answer_or_is_not_needed_any_more() {
        let start = Instant::now();
        let mut switch = Switch::new(AFTER, RETRY);
        switch.look(start, true);
        assert_eq!(switch.look(start + s(10), true), Some(Way::Second));
        assert_eq!(switch.answered(start + s(11), false), None);
        assert_eq!(switch.look(start + s(40), true), None);
        assert_eq!(switch.look(start + s(41), true), Some(Way::Second));
        assert_eq!(switch.look(start + s(42), false), None, "the first is back");
        assert_eq!(switch.answered(start + s(43), true), None);
        assert_eq!(switch.way(), Way::First);
    }

    #[test]
    fn a_return_that_does_not_last_makes_it_patient() {
        let mut now = Instant::now();
        let mut switch = Switch::new(AFTER, RETRY);
        let mut waits = Vec::new();
        for _ in 0..8 {
            switch.look(now, true);
            now += AFTER;
            assert_eq!(switch.look(now, true), Some(Way::Second));
            switch.answered(now, true);
            let turned = now;
            while switch.look(now, false).is_none() {
                now += s(1);
            }
            waits.push(now.duration_since(turned).as_secs());
            switch.answered(now, true);
        }
        assert_eq!(waits, [30, 60, 120, 240, 480, 480, 480, 480]);
        now += s(600);
        switch.look(now, true);
        switch.look(now + AFTER, true);
        switch.answered(now + AFTER, true);
        assert_eq!(switch.look(now + AFTER + RETRY, false), Some(Way::First), "it had lasted");
    }

    /// What a bystander sees.
    #[derive(Default)]
    struct Seen {
        /// When trouble that goes on began.
        since: Option<Instant>,
        left: Option<Instant>,
    }

    proptest! {
        /// Whatever happens: it turns only after trouble that lasted, asks before it turns, and
        /// returns only to a first that answered, no sooner than it said.
        #[test]
        fn it_turns_only_for_a_reason(
            steps in prop::collection::vec((0_u64..8_000, any::<bool>(), any::<bool>()), 1..200),
        ) {
            let mut now = Instant::now();
            let mut switch = Switch::new(AFTER, RETRY);
            let mut seen = Seen::default();
            let mut asked: Option<Way> = None;
            for (millis, troubled, answers) in steps {
                now += Duration::from_millis(millis);
                let before = switch.way();
                if before == Way::First {
                    seen.since = troubled.then(|| seen.since.unwrap_or(now));
                }
                if let Some(way) = switch.look(now, troubled) {
                    prop_assert_eq!(asked, None, "one question at a time");
                    prop_assert_eq!(way, before.other());
                    asked = Some(way);
                }
                prop_assert_eq!(switch.way(), before, "a look turns nothing");
                // Answers take their time: some come with a later step.
                if asked.is_none() || millis % 2 == 0 {
                    continue;
                }
                let turned = switch.answered(now, answers);
                let question = asked.take();
                if turned.is_some() {
                    prop_assert!(answers);
                    prop_assert_eq!(turned, question);
                    prop_assert_eq!(turned, Some(switch.way()));
                }
                match turned {
                    Some(Way::Second) => {
                        let since = seen.since.take().expect("there is trouble");
                        prop_assert!(now.duration_since(since) >= AFTER);
                        seen.left = Some(now);
                    }
                    Some(Way::First) => {
                        let left = seen.left.take().expect("it had been left");
                        prop_assert!(now.duration_since(left) >= RETRY);
                    }
                    None => prop_assert_eq!(switch.way(), before),
                }
            }
        }
    }
}
