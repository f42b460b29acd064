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

/// After so many records in a row that could not be read, only every [`TRIED`]th is tried.
pub(super) const PATIENCE: u32 = 32;
pub(super) const TRIED: u32 = 8;

/// Of one reader.
pub(super) struct Budget {
    savings: u32,
    /// Records in a row that it could not read.
    misses: u32,
}

impl Default for Budget {
    fn default() -> Budget {
        Budget { savings: SAVINGS_MAX, misses: 0 }
    }
}

impl Budget {
    /// Whether the next record is worth trying.
    #[inline(always)]
    pub(super) fn tries(&self) -> bool {
        self.misses < PATIENCE || self.misses.is_multiple_of(TRIED)
    }

    /// A record was read.
    #[inline(always)]
    pub(super) fn hit(&mut self) {
        self.misses = 0;
        self.savings = SAVINGS_MAX.min(self.savings + HIT_EARNS);
    }

    /// A record was not read, or not tried.
    #[inline(always)]
    pub(super) fn miss(&mut self) {
        self.misses = self.misses.wrapping_add(1);
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
