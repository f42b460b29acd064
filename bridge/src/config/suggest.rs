//! "did you mean": the nearest of the words that would have been right.

/// The nearest word, if it is near enough to be meant.
pub fn nearest<'a>(word: &str, words: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let scored = words.into_iter().map(|candidate| {
        let distance = strsim::damerau_levenshtein(&word, &candidate.to_lowercase());
        (distance, candidate)
    });
    let (distance, nearest) = scored.min_by_key(|(distance, _)| *distance)?;
    // A third of the letters, but always one: `tcp` for `tpc`, `timestamp` for `timestmap`.
    let bound = (word.chars().count().max(nearest.chars().count()) / 3).max(1);
    (distance <= bound).then_some(nearest)
}

/// What to say of a word that is none of those expected.
pub fn instead_of(word: &str, words: &[&str]) -> Option<String> {
    if let Some(nearest) = nearest(word, words.iter().copied()) {
        return Some(format!("did you mean `{nearest}`?"));
    }
    let listed: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match listed.as_slice() {
        [] => None,
        [one] => Some(format!("expected {one}")),
        [first @ .., last] => Some(format!("expected {} or {last}", first.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_suggested_and_far_ones_listed() {
        let words = ["timestamp", "symbols", "name"];
        assert_eq!(nearest("timestmap", words), Some("timestamp"));
        assert_eq!(nearest("Symbol", words), Some("symbols"));
        assert_eq!(nearest("columns", words), None);
        assert_eq!(
            instead_of("xyz", &words).as_deref(),
            Some("expected `timestamp`, `symbols` or `name`")
        );
    }
}
