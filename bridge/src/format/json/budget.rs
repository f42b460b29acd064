//! What may be spent on hope. Readers that are faster for records like earlier ones try first, and
//! learn from what others had to read; a stream of records that are like none before shall hardly
//! pay for it.

/// What learning from one record costs. Records that never come again must not cost more than the
/// learning saves: it is paid for out of what was earned.
pub(super) const LEARNING_COST: u32 = 64;
/// What a record earns that was read.
const HIT_EARNS: u32 = 4;
/// What any other earns: a stream that has changed is learned again.
const MISS_EARNS: u32 = 1;
/// Savings, at most and at first: the forms that a stream may begin with.
const SAVINGS_MAX: u32 = 32 * LEARNING_COST;

/// Patience, at most and at first: so many records in a row may be missed before only every
/// [`TRIED`]th is tried.
pub(super) const PATIENCE: u32 = 32;
pub(super) const TRIED: u32 = 8;
/// What patience gains by a record that was read; it loses one by any other. A reader that reads
/// fewer than one of five costs more than it saves.
const HIT_PATIENCE: u32 = 4;

/// Of one reader.
pub(super) struct Budget {
    savings: u32,
    patience: u32,
    /// Records in a row that it could not read.
    misses: u32,
}

impl Default for Budget {
    fn default() -> Budget {
        Budget { savings: SAVINGS_MAX, patience: PATIENCE, misses: 0 }
    }
}

impl Budget {
    /// Whether the next record is worth trying.
    #[inline(always)]
    pub(super) fn tries(&self) -> bool {
        self.patience != 0 || self.misses.is_multiple_of(TRIED)
    }

    /// A record was read.
    #[inline(always)]
    pub(super) fn hit(&mut self) {
        self.misses = 0;
        self.patience = PATIENCE.min(self.patience + HIT_PATIENCE);
        self.savings = SAVINGS_MAX.min(self.savings + HIT_EARNS);
    }

    /// A record was not read, or not tried.
    #[inline(always)]
    pub(super) fn miss(&mut self) {
        self.misses = self.misses.wrapping_add(1);
        self.patience = self.patience.saturating_sub(1);
        self.savings = SAVINGS_MAX.min(self.savings + MISS_EARNS);
    }

    /// Pays for learning from a record, if there is enough for it.
    pub(super) fn pays(&mut self) -> bool {
        let rest = self.savings.checked_sub(LEARNING_COST);
        self.savings = rest.unwrap_or(self.savings);
        rest.is_some()
    }

    #[cfg(test)]
    pub(super) fn misses(&self) -> u32 {
        self.misses
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of a thousand records are tried, of which every so-manieth could be read.
    fn tried(every: usize) -> usize {
        let mut budget = Budget::default();
        let mut tries = |index: usize| {
            let tries = budget.tries();
            match tries && index.is_multiple_of(every) {
                true => budget.hit(),
                false => budget.miss(),
            }
            tries
        };
        (0..1_000).filter(|index| tries(*index)).count()
    }

    #[test]
    fn a_reader_is_tried_as_often_as_it_pays() {
        assert_eq!(tried(1), 1_000);
        assert_eq!(tried(4), 1_000, "three misses take less than a hit brings");
        let seldom = 1_000 / TRIED as usize + PATIENCE as usize;
        assert!((seldom / 2..=2 * seldom).contains(&tried(11)), "{}", tried(11));
        assert!(tried(2_000) <= seldom + 5, "{}", tried(2_000));
    }
}
