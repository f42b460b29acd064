//! Paths into a record, as people write them: `payload.user.id`, `items[0].price`, and in quotes a
//! name that has dots itself: `'order.price'.net`. Formats flatten; a path becomes the flattened
//! name, once, when the plan is made.

/// One step of a path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// The field of this name.
    Name(String),
    /// The element at this index of an array, from 0.
    Index(usize),
}

/// A path. Invariant: it begins with a name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Path(Vec<Step>);

/// Steps of a path, at most: more than any record has.
const STEPS_MAX: usize = 64;
/// The largest index.
const INDEX_MAX: usize = 99_999;

impl Path {
    /// Reads a path; the error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Path, String> {
        let mut steps = Vec::new();
        let mut rest = text;
        loop {
            let (name, behind) = name(rest)?;
            if name.is_empty() {
                return Err(format!("`{text}` has a part without a name"));
            }
            steps.push(Step::Name(name));
            rest = behind;
            while let Some(behind) = rest.strip_prefix('[') {
                let (index, behind) = index(behind)
                    .ok_or_else(|| format!("`{text}` has brackets around no whole number"))?;
                steps.push(Step::Index(index));
                rest = behind;
            }
            if steps.len() > STEPS_MAX {
                return Err(format!("`{text}` has more than {STEPS_MAX} parts"));
            }
            match rest.strip_prefix('.') {
                Some(behind) => rest = behind,
                None if rest.is_empty() => return Ok(Path(steps)),
                None => return Err(format!("`{text}` wants a dot before `{rest}`")),
            }
        }
    }

    /// A name that is taken as it is, dots and all.
    pub fn plain(name: &str) -> Path {
        Path(vec![Step::Name(name.to_owned())])
    }

    /// The flattened name, with `separator` between the names of nested objects. An element of an
    /// array has no column by itself: what it is to be called keeps its brackets.
    pub fn flattened(&self, separator: &str) -> String {
        let mut flat = String::new();
        for (at, step) in self.0.iter().enumerate() {
            match step {
                Step::Name(name) => {
                    flat.push_str(if at > 0 { separator } else { "" });
                    flat.push_str(name);
                }
                Step::Index(index) => flat.push_str(&format!("[{index}]")),
            }
        }
        flat
    }

    /// The flattened name of the array that it leads into, and the steps within; `None` if it leads
    /// into none.
    pub fn into_array(&self, separator: &str) -> Option<(String, Vec<Step>)> {
        let at = self.0.iter().position(|step| matches!(step, Step::Index(_)))?;
        let (before, within) = self.0.split_at(at);
        Some((Path(before.to_vec()).flattened(separator), within.to_vec()))
    }
}

/// The name at the beginning, and what stands behind it.
fn name(text: &str) -> Result<(String, &str), String> {
    for quote in ['\'', '"', '`'] {
        if let Some(inner) = text.strip_prefix(quote) {
            let (name, rest) = inner
                .split_once(quote)
                .ok_or_else(|| format!("`{text}` has a quote that is not closed"))?;
            return Ok((name.to_owned(), rest));
        }
    }
    let end = text.find(['.', '[']).unwrap_or(text.len());
    Ok((text[..end].to_owned(), &text[end..]))
}

/// The number before a closing bracket, and what stands behind it.
fn index(text: &str) -> Option<(usize, &str)> {
    let (digits, rest) = text.split_once(']')?;
    let sound = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let index = digits.parse().ok().filter(|index| sound && *index <= INDEX_MAX)?;
    Some((index, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_become_flattened_names() {
        let check = |path: &str, flat: &str| {
            assert_eq!(Path::parse(path).map(|path| path.flattened("_")), Ok(flat.to_owned()));
        };
        check("price", "price");
        check("payload.user.id", "payload_user_id");
        check("'order.price'.net", "order.price_net");
        check("\"a b\".`c.d`", "a b_c.d");
        check("items[0].price", "items[0]_price");
        check("a.b[1][2]", "a_b[1][2]");
        let path = Path::parse("a.b[1].c").expect("a path");
        let within = vec![Step::Index(1), Step::Name("c".into())];
        assert_eq!(path.into_array("."), Some(("a.b".into(), within)));
        assert_eq!(Path::parse("a.b").expect("a path").into_array("."), None);
        assert_eq!(Path::plain("a.b").flattened("_"), "a.b");
    }

    #[test]
    fn what_is_no_path_says_why() {
        for (path, word) in [
            ("", "without a name"),
            ("a..b", "without a name"),
            ("a.", "without a name"),
            ("[0]", "without a name"),
            ("a[x]", "whole number"),
            ("a[-1]", "whole number"),
            ("a[0", "whole number"),
            ("a[1000000]", "whole number"),
            ("a[0]b", "wants a dot"),
            ("'a'b", "wants a dot"),
            ("'a", "not closed"),
        ] {
            let error = Path::parse(path).expect_err(path);
            assert!(error.contains(word), "{path}: {error}");
        }
        assert!(Path::parse(&"a.".repeat(100)).is_err());
    }

    proptest! {
        #[test]
        fn names_in_quotes_are_themselves(names in prop::collection::vec("[^']{1,8}", 1..5)) {
            let quoted: Vec<String> = names.iter().map(|name| format!("'{name}'")).collect();
            let path = Path::parse(&quoted.join(".")).expect("a path");
            prop_assert_eq!(path.flattened("/"), names.join("/"));
        }

        #[test]
        fn no_text_panics(text in ".{0,30}") {
            let _ = Path::parse(&text);
        }
    }
}
