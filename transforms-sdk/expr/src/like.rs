//! `like`: `%` is any text, `_` one character, a backslash takes the next one as it is.

/// One step of a pattern.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    One(char),
    Any,
    Many,
}

/// A pattern, read once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Pattern(Vec<Step>);

impl Pattern {
    pub(crate) fn new(pattern: &str) -> Pattern {
        let mut steps = Vec::new();
        let mut letters = pattern.chars();
        while let Some(letter) = letters.next() {
            let step = match letter {
                '%' => Step::Many,
                '_' => Step::Any,
                '\\' => Step::One(letters.next().unwrap_or('\\')),
                letter => Step::One(letter),
            };
            if step != Step::Many || steps.last() != Some(&Step::Many) {
                steps.push(step);
            }
        }
        Pattern(steps)
    }

    /// Goes back to the last `%` only: what an earlier one took never needs to change. So at most
    /// text times pattern steps.
    pub(crate) fn matches(&self, text: &str) -> bool {
        let steps = &self.0;
        let (mut step, mut rest) = (0, text);
        let mut again: Option<(usize, &str)> = None;
        loop {
            let mut letters = rest.chars();
            let letter = letters.next();
            match (steps.get(step), letter) {
                (Some(Step::Many), _) => {
                    step += 1;
                    again = Some((step, rest));
                    continue;
                }
                (None, None) => return true,
                (Some(Step::Any), Some(_)) => {
                    (step, rest) = (step + 1, letters.as_str());
                    continue;
                }
                (Some(Step::One(one)), Some(letter)) if *one == letter => {
                    (step, rest) = (step + 1, letters.as_str());
                    continue;
                }
                _ => {}
            }
            let Some((from, taken)) = again else { return false };
            let mut longer = taken.chars();
            if longer.next().is_none() {
                return false;
            }
            (step, rest) = (from, longer.as_str());
            again = Some((from, longer.as_str()));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// By the definition, step by step.
    fn naive(pattern: &[Step], text: &[char]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some((Step::Many, rest)) => (0..=text.len()).any(|taken| naive(rest, &text[taken..])),
            Some((step, rest)) => text.split_first().is_some_and(|(letter, behind)| {
                (*step == Step::Any || *step == Step::One(*letter)) && naive(rest, behind)
            }),
        }
    }

    proptest! {
        #[test]
        fn matches_what_the_definition_matches(
            pattern in "[ab%_é\\\\]{0,8}",
            text in "[abé%]{0,10}",
        ) {
            let pattern = Pattern::new(&pattern);
            let letters: Vec<char> = text.chars().collect();
            prop_assert_eq!(pattern.matches(&text), naive(&pattern.0, &letters));
        }
    }

    #[test]
    fn a_backslash_takes_the_next_as_it_is() {
        assert!(Pattern::new("50\\%").matches("50%"));
        assert!(!Pattern::new("50\\%").matches("500"));
        assert!(Pattern::new("a\\").matches("a\\"));
    }
}
