//! Which records of a topic, as an expression over topic, partition, offset and timestamp: by the
//! language of `docs/expressions.md`. Of each partition it becomes offsets, which are sought and
//! not searched for.
//!
//! ```text
//! text ─ parse ▶ Range ─ of a partition, whose times were looked up ▶ Offsets
//! ```

use std::fmt;
use std::ops;

use bridge_abi::Unit;
use bridge_expr::{Comparison, Expr, ExprKind, Own, Span};

use crate::batch::TopicPartition;

/// Which records.
#[derive(Clone, PartialEq, Debug)]
pub struct Range {
    text: String,
    part: Part,
}

/// A part of the expression, with the column on the left.
#[derive(Clone, PartialEq, Debug)]
enum Part {
    Any(Vec<Part>),
    Every(Vec<Part>),
    Not(Box<Part>),
    Topic(String),
    Partition(ops::Range<i64>),
    Offset(ops::Range<i64>),
    /// Milliseconds since 1970.
    Time(ops::Range<i64>),
}

/// Offsets of one partition: spans in order, apart from one another, none empty.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Offsets(Vec<ops::Range<i64>>);

/// All that there may be.
const ALL: ops::Range<i64> = 0..i64::MAX;
/// Times begin long before 1970 as far as records are concerned.
const ALL_TIMES: ops::Range<i64> = i64::MIN..i64::MAX;

const TAKES: &str = "takes topic, partition, offset and timestamp";

impl Range {
    /// Every record.
    pub fn all() -> Range {
        Range { text: String::new(), part: Part::Every(Vec::new()) }
    }

    /// Reads it; the message says where it is wrong.
    pub fn parse(text: &str) -> Result<Range, String> {
        let tree = bridge_expr::parse(text).map_err(|error| error.to_string())?;
        let part = Part::of(&tree).map_err(|Wrong { at, why }| {
            let (shown, character) = (at.of(text), at.start + 1);
            format!("{why}: `{shown}` at character {character}")
        })?;
        Ok(Range { text: text.to_owned(), part })
    }

    /// A range around what a condition is true for, and whether it is exactly that: what the
    /// condition asks of columns, keys and headers is left open, and so is the end of what it asks
    /// of time, for records later in the log may be earlier.
    pub fn around(text: &str) -> Result<(Range, bool), String> {
        let tree = bridge_expr::parse(text).map_err(|error| error.to_string())?;
        let (part, is_exact) = Part::around(&tree);
        Ok((Range { text: text.to_owned(), part }, is_exact))
    }

    /// What of it is before this time, milliseconds since 1970.
    #[must_use]
    pub fn before(self, ms: i64) -> Range {
        let part = Part::Every(vec![self.part, Part::Time(i64::MIN..ms)]);
        Range { text: self.text, part }
    }

    /// As it was written; empty for every record.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The times that it speaks of, milliseconds since 1970: those whose offsets must be known.
    pub fn times(&self) -> Vec<i64> {
        let mut times = Vec::new();
        self.part.times(&mut times);
        times.sort_unstable();
        times.dedup();
        times
    }

    /// What it is of a partition. `first` is, for each of [`Range::times`], the offset of the first
    /// record whose timestamp is not earlier.
    pub fn offsets(&self, name: &TopicPartition, first: &dyn Fn(i64) -> i64) -> Offsets {
        self.part.offsets(name, first)
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.text.is_empty() { "all records" } else { &self.text })
    }
}

/// A part that a range cannot be made of.
struct Wrong {
    at: Span,
    why: String,
}

fn wrong<T>(expr: &Expr, why: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong { at: expr.at, why: why.into() })
}

impl Part {
    fn of(expr: &Expr) -> Result<Part, Wrong> {
        let each = |parts: &[Expr]| parts.iter().map(Part::of).collect::<Result<Vec<_>, _>>();
        let negated = |part: Part, not: bool| if not { Part::Not(Box::new(part)) } else { part };
        match &expr.kind {
            ExprKind::Bool(true) => Ok(Part::Every(Vec::new())),
            ExprKind::Bool(false) => Ok(Part::Any(Vec::new())),
            ExprKind::And(parts) => each(parts).map(Part::Every),
            ExprKind::Or(parts) => each(parts).map(Part::Any),
            ExprKind::Not(part) => Ok(negated(Part::of(part)?, true)),
            ExprKind::Compare(comparison, left, right) => match (own(left), own(right)) {
                (Some(own), None) => Part::compare(own, *comparison, right),
                (None, Some(own)) => Part::compare(own, mirrored(*comparison), left),
                _ => wrong(expr, TAKES),
            },
            ExprKind::In(what, values, not) => {
                let Some(own) = own(what) else { return wrong(what, TAKES) };
                let each = values.iter().map(|value| Part::compare(own, Comparison::Equal, value));
                Ok(negated(Part::Any(each.collect::<Result<Vec<_>, _>>()?), *not))
            }
            ExprKind::Between(what, low, high, not) => {
                let Some(own) = own(what) else { return wrong(what, TAKES) };
                let low = Part::compare(own, Comparison::GreaterEqual, low)?;
                let high = Part::compare(own, Comparison::LessEqual, high)?;
                Ok(negated(Part::Every(vec![low, high]), *not))
            }
            _ => wrong(expr, TAKES),
        }
    }

    /// No less than this, and whether it is no more.
    fn around(expr: &Expr) -> (Part, bool) {
        let each =
            |parts: &[Expr]| -> (Vec<Part>, Vec<bool>) { parts.iter().map(Part::around).unzip() };
        let open = (Part::Every(Vec::new()), false);
        match &expr.kind {
            ExprKind::And(parts) => {
                let (parts, exact) = each(parts);
                (Part::Every(parts), exact.into_iter().all(|exact| exact))
            }
            ExprKind::Or(parts) => {
                let (parts, exact) = each(parts);
                (Part::Any(parts), exact.into_iter().all(|exact| exact))
            }
            _ => match Part::of(expr) {
                Ok(part) if part.has_times() => (part.opened(), false),
                Ok(part) => (part, true),
                Err(_) => open,
            },
        }
    }

    fn has_times(&self) -> bool {
        let mut times = Vec::new();
        self.times(&mut times);
        !times.is_empty()
    }

    /// The same without an end of times; all of it where that cannot be said.
    fn opened(self) -> Part {
        match self {
            Part::Time(span) => Part::Time(span.start..i64::MAX),
            Part::Every(parts) => Part::Every(parts.into_iter().map(Part::opened).collect()),
            Part::Any(parts) => Part::Any(parts.into_iter().map(Part::opened).collect()),
            Part::Not(part) if part.has_times() => Part::Every(Vec::new()),
            other => other,
        }
    }

    /// `own` is on the left.
    fn compare(own: Own, comparison: Comparison, value: &Expr) -> Result<Part, Wrong> {
        if own == Own::Topic {
            let ExprKind::Text(name) = &value.kind else {
                return wrong(value, "a topic is compared with its name");
            };
            let is_it = Part::Topic(name.clone());
            return match comparison {
                Comparison::Equal => Ok(is_it),
                Comparison::NotEqual => Ok(Part::Not(Box::new(is_it))),
                _ => wrong(value, "a topic is this one or it is not"),
            };
        }
        // What is compared lies within `low..=high`: milliseconds of a finer time, or one number.
        let (low, high) = match own {
            Own::Timestamp => time(value)?,
            _ => {
                let number = integer(value)?;
                (number, number)
            }
        };
        let exact = low == high;
        let all = if own == Own::Timestamp { ALL_TIMES } else { i64::MIN..i64::MAX };
        let span = match comparison {
            Comparison::Less => all.start..high,
            Comparison::LessEqual => all.start..low.saturating_add(1),
            Comparison::Greater => low.saturating_add(1)..all.end,
            Comparison::GreaterEqual => high..all.end,
            // No record's time is between two milliseconds.
            Comparison::Equal | Comparison::NotEqual if !exact => 0..0,
            Comparison::Equal | Comparison::NotEqual => low..low.saturating_add(1),
        };
        let part = match own {
            Own::Timestamp => Part::Time(span),
            Own::Offset => Part::Offset(span),
            _ => Part::Partition(span),
        };
        let is_not = comparison == Comparison::NotEqual;
        Ok(if is_not { Part::Not(Box::new(part)) } else { part })
    }

    fn times(&self, times: &mut Vec<i64>) {
        match self {
            Part::Any(parts) | Part::Every(parts) => {
                parts.iter().for_each(|part| part.times(times));
            }
            Part::Not(part) => part.times(times),
            Part::Time(span) => {
                let known = [span.start, span.end];
                times.extend(known.into_iter().filter(|ms| !is_edge(*ms)));
            }
            Part::Topic(_) | Part::Partition(_) | Part::Offset(_) => {}
        }
    }

    fn offsets(&self, name: &TopicPartition, first: &dyn Fn(i64) -> i64) -> Offsets {
        let all_if = |is_it: bool| if is_it { Offsets::of(ALL) } else { Offsets::default() };
        match self {
            Part::Any(parts) => parts
                .iter()
                .fold(Offsets::default(), |known, part| known.or(&part.offsets(name, first))),
            Part::Every(parts) => parts
                .iter()
                .fold(Offsets::of(ALL), |known, part| known.and(&part.offsets(name, first))),
            Part::Not(part) => part.offsets(name, first).not(),
            Part::Topic(topic) => all_if(**topic == *name.topic),
            Part::Partition(span) => all_if(span.contains(&i64::from(name.partition))),
            Part::Offset(span) => Offsets::of(span.start.max(0)..span.end),
            Part::Time(span) if span.is_empty() => Offsets::default(),
            Part::Time(span) => {
                let start = if is_edge(span.start) { 0 } else { first(span.start) };
                let end = if is_edge(span.end) { i64::MAX } else { first(span.end) };
                Offsets::of(start..end)
            }
        }
    }
}

/// A time that is no time but the end of all of them.
fn is_edge(ms: i64) -> bool {
    ms == i64::MIN || ms == i64::MAX
}

/// What Kafka says of a record and a range may ask for.
fn own(expr: &Expr) -> Option<Own> {
    match expr.kind {
        ExprKind::Own(own) if own != Own::Key => Some(own),
        _ => None,
    }
}

/// The comparison with its sides exchanged.
fn mirrored(comparison: Comparison) -> Comparison {
    match comparison {
        Comparison::Less => Comparison::Greater,
        Comparison::LessEqual => Comparison::GreaterEqual,
        Comparison::Greater => Comparison::Less,
        Comparison::GreaterEqual => Comparison::LessEqual,
        same => same,
    }
}

fn integer(expr: &Expr) -> Result<i64, Wrong> {
    match &expr.kind {
        ExprKind::Int(number) => Ok(*number),
        ExprKind::Negate(inner) => integer(inner).map(|number| number.saturating_neg()),
        _ => wrong(expr, "partition and offset are compared with whole numbers"),
    }
}

/// A time in milliseconds: rounded down, and up.
fn time(expr: &Expr) -> Result<(i64, i64), Wrong> {
    let ExprKind::Time(since_1970, unit) = expr.kind else {
        let why = "a timestamp is compared with one, such as timestamp '2026-01-31T12:00:00Z'";
        return wrong(expr, why);
    };
    let per_ms = match unit {
        Unit::Seconds => {
            return Ok((since_1970.saturating_mul(1_000), since_1970.saturating_mul(1_000)));
        }
        Unit::Millis => 1,
        Unit::Micros => 1_000,
        Unit::Nanos => 1_000_000,
    };
    let low = since_1970.div_euclid(per_ms);
    Ok((low, low + i64::from(since_1970.rem_euclid(per_ms) > 0)))
}

impl Offsets {
    /// One span.
    pub fn of(span: ops::Range<i64>) -> Offsets {
        Offsets(if span.is_empty() { Vec::new() } else { vec![span] })
    }

    /// Those that are in both.
    #[must_use]
    pub fn and(&self, other: &Offsets) -> Offsets {
        let (mut both, mut at) = (Vec::new(), 0);
        for span in &self.0 {
            while other.0.get(at).is_some_and(|theirs| theirs.end <= span.start) {
                at += 1;
            }
            for theirs in other.0[at..].iter().take_while(|theirs| theirs.start < span.end) {
                both.push(span.start.max(theirs.start)..span.end.min(theirs.end));
            }
        }
        Offsets(both)
    }

    /// Those that are in either.
    #[must_use]
    pub fn or(&self, other: &Offsets) -> Offsets {
        let mut all: Vec<_> = self.0.iter().chain(&other.0).cloned().collect();
        all.sort_unstable_by_key(|span| span.start);
        let mut merged: Vec<ops::Range<i64>> = Vec::with_capacity(all.len());
        for span in all {
            match merged.last_mut() {
                Some(last) if span.start <= last.end => last.end = last.end.max(span.end),
                _ => merged.push(span),
            }
        }
        Offsets(merged)
    }

    /// Those that are not in it.
    #[must_use]
    pub fn not(&self) -> Offsets {
        let (mut others, mut at) = (Vec::new(), ALL.start);
        for span in &self.0 {
            if at < span.start {
                others.push(at..span.start);
            }
            at = span.end;
        }
        if at < ALL.end {
            others.push(at..ALL.end);
        }
        Offsets(others)
    }

    /// The last so many of them.
    #[must_use]
    pub fn last(&self, count: u64) -> Offsets {
        let (mut left, mut kept) = (count, Vec::new());
        for span in self.0.iter().rev() {
            let taken = left.min(span.end.abs_diff(span.start));
            left -= taken;
            if taken > 0 {
                kept.push(span.end.saturating_sub_unsigned(taken)..span.end);
            }
        }
        kept.reverse();
        Offsets(kept)
    }

    /// The first span that is not over at `offset`: it is in it, or before it.
    pub fn from(&self, offset: i64) -> Option<ops::Range<i64>> {
        let at = self.0.partition_point(|span| span.end <= offset);
        self.0.get(at).cloned()
    }

    /// The offset behind the last one.
    pub fn end(&self) -> Option<i64> {
        self.0.last().map(|span| span.end)
    }

    /// Whether it is one of them.
    pub fn contains(&self, offset: i64) -> bool {
        self.from(offset).is_some_and(|span| span.contains(&offset))
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.0.iter().map(|span| span.end.abs_diff(span.start)).sum()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(partition: i32) -> TopicPartition {
        TopicPartition { topic: "a".into(), partition }
    }

    /// In these tests the record at offset n bears the time 10 n.
    fn offsets(text: &str, partition: i32) -> Offsets {
        let range = Range::parse(text).unwrap_or_else(|wrong| panic!("{wrong}"));
        let first = |ms: i64| {
            assert!(range.times().contains(&ms), "{ms} was not told");
            (ms.max(0) + 9) / 10
        };
        range.offsets(&name(partition), &first)
    }

    #[test]
    fn ranges_of_partitions_are_joined() {
        let text =
            "(partition = 0 and offset > 1000) or (partition = 1 and offset between 3 and 5)";
        assert_eq!(offsets(text, 0), Offsets::of(1_001..i64::MAX));
        assert_eq!(offsets(text, 1), Offsets::of(3..6));
        assert_eq!(offsets(text, 2), Offsets::default());
        assert_eq!(offsets("topic = 'b' or offset < 7", 0), Offsets::of(0..7));
        assert_eq!(offsets("topic in ('a', 'b') and 7 > offset", 0), Offsets::of(0..7));
        assert_eq!(offsets("partition not in (0, 2)", 2), Offsets::default());
        assert_eq!(offsets("true", 2), Offsets::of(ALL));
        let holes = offsets("offset <> 4 and not (offset >= 10 and offset < 20)", 0);
        assert_eq!(holes, Offsets(vec![0..4, 5..10, 20..i64::MAX]));
    }

    #[test]
    fn times_are_looked_up() {
        let at = |ms: i64| format!("timestamp '1970-01-01T00:00:00.{ms:03}Z'");
        assert_eq!(offsets(&format!("timestamp >= {}", at(50)), 0), Offsets::of(5..i64::MAX));
        assert_eq!(offsets(&format!("timestamp > {}", at(50)), 0), Offsets::of(6..i64::MAX));
        assert_eq!(offsets(&format!("timestamp < {}", at(50)), 0), Offsets::of(0..5));
        assert_eq!(offsets(&format!("timestamp <= {}", at(50)), 0), Offsets::of(0..6));
        assert_eq!(offsets(&format!("timestamp = {}", at(50)), 0), Offsets::of(5..6));
        let finer = "timestamp '1970-01-01T00:00:00.0505Z'";
        assert_eq!(offsets(&format!("timestamp >= {finer}"), 0), Offsets::of(6..i64::MAX));
        assert_eq!(offsets(&format!("timestamp < {finer}"), 0), Offsets::of(0..6));
        assert_eq!(offsets(&format!("timestamp = {finer}"), 0), Offsets::default());
        let until = Range::parse("offset >= 2").expect("it is right").before(90);
        assert_eq!(until.offsets(&name(0), &|ms| ms / 10), Offsets::of(2..9));
    }

    #[test]
    fn around_a_condition_is_what_can_be_sought() {
        let around = |text: &str| {
            let (range, is_exact) = Range::around(text).expect("it is right");
            (range.offsets(&name(0), &|ms| ms / 10), is_exact)
        };
        assert_eq!(around("offset > 5 and partition = 0"), (Offsets::of(6..i64::MAX), true));
        assert_eq!(around("offset > 5 and t > 3"), (Offsets::of(6..i64::MAX), false));
        assert_eq!(around("offset > 5 or t > 3"), (Offsets::of(ALL), false));
        assert_eq!(around("not (offset > 5 and t > 3)"), (Offsets::of(ALL), false));
        assert_eq!(around("partition = 1 and t > 3"), (Offsets::default(), false));
        let at = "timestamp '1970-01-01T00:00:00.050Z'";
        assert_eq!(around(&format!("timestamp >= {at}")), (Offsets::of(5..i64::MAX), false));
        assert_eq!(around(&format!("timestamp < {at}")), (Offsets::of(ALL), false));
        assert_eq!(around(&format!("not timestamp < {at}")), (Offsets::of(ALL), false));
        assert_eq!(Offsets(vec![0..4, 5..10]).last(6), Offsets(vec![3..4, 5..10]));
        assert_eq!(Offsets::of(0..4).last(0), Offsets::default());
    }

    #[test]
    fn what_is_no_range_is_told_with_its_place() {
        for (text, words) in [
            ("offset > 5 and temperature > 3", "`temperature > 3` at character 16"),
            ("key = 'x'", "takes topic, partition"),
            ("offset > 1.5", "whole numbers"),
            ("timestamp > 5", "such as timestamp '"),
            ("topic < 'x'", "it is not"),
            ("offset >", "the expression ends"),
        ] {
            let said = Range::parse(text).expect_err("it is none");
            assert!(said.contains(words), "{said}");
        }
    }

    /// Offsets below 40, by asking each.
    fn listed(set: &Offsets) -> Vec<i64> {
        (0..40).filter(|offset| set.contains(*offset)).collect()
    }

    fn any_set() -> impl Strategy<Value = Offsets> {
        let spans = proptest::collection::vec((0_i64..40, 0_i64..8), 0..6);
        spans.prop_map(|spans| {
            let each = spans.into_iter().map(|(start, len)| Offsets::of(start..start + len));
            each.fold(Offsets::default(), |all, one| all.or(&one))
        })
    }

    proptest! {
        #[test]
        fn sets_are_as_their_offsets_say(a in any_set(), b in any_set()) {
            let (in_a, in_b) = (listed(&a), listed(&b));
            let want = |keep: &dyn Fn(bool, bool) -> bool| -> Vec<i64> {
                (0..40).filter(|at| keep(in_a.contains(at), in_b.contains(at))).collect()
            };
            prop_assert_eq!(listed(&a.and(&b)), want(&|a, b| a && b));
            prop_assert_eq!(listed(&a.or(&b)), want(&|a, b| a || b));
            prop_assert_eq!(listed(&a.not()), want(&|a, _| !a));
            for set in [a.and(&b), a.or(&b), a.not()] {
                prop_assert!(set.0.iter().all(|span| !span.is_empty()));
                prop_assert!(set.0.windows(2).all(|two| two[0].end < two[1].start));
            }
            let beyond = (40..60).filter(|at| a.contains(*at)).count();
            prop_assert_eq!(a.count(), (in_a.len() + beyond) as u64);
        }
    }
}
