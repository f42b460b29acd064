//! Properties as Java writes them (`java.util.Properties`), or as a JSON object of Connect's REST
//! interface.

use std::collections::BTreeMap;

use serde_json::Value;

/// Properties that nobody has taken yet, by name.
#[derive(Debug)]
pub struct Properties(BTreeMap<String, String>);

impl Properties {
    /// Reads either of both.
    pub fn read(text: &str) -> Result<Properties, String> {
        match text.trim_start().starts_with('{') {
            true => of_json(text),
            false => of_lines(text),
        }
        .map(Properties)
    }

    /// How many are left.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Takes one out; without a value it is as if it were not there.
    pub fn take(&mut self, name: &str) -> Option<String> {
        self.0.remove(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
    }

    /// Takes one out that is `true` or `false`.
    pub fn take_bool(&mut self, name: &str, default: bool) -> bool {
        self.take(name).map_or(default, |value| value.eq_ignore_ascii_case("true"))
    }

    /// Takes a list with commas out.
    pub fn take_list(&mut self, name: &str) -> Vec<String> {
        let list = self.take(name).unwrap_or_default();
        list.split(',').map(|one| one.trim().to_owned()).filter(|one| !one.is_empty()).collect()
    }

    /// Takes out all whose name begins so; their names without it.
    pub fn take_below(&mut self, prefix: &str) -> Vec<(String, String)> {
        let (below, rest) = std::mem::take(&mut self.0)
            .into_iter()
            .partition::<BTreeMap<_, _>, _>(|(name, _)| name.starts_with(prefix));
        self.0 = rest;
        let short = |(name, value): (String, String)| (name[prefix.len()..].to_owned(), value);
        below.into_iter().map(short).collect()
    }

    /// What is left of them.
    pub fn rest(self) -> impl Iterator<Item = (String, String)> {
        self.0.into_iter()
    }
}

fn of_json(text: &str) -> Result<BTreeMap<String, String>, String> {
    let value: Value = serde_json::from_str(text).map_err(|error| format!("as JSON: {error}"))?;
    let Value::Object(mut object) = value else { return Err("not a JSON object".to_owned()) };
    let name = object.get("name").cloned();
    if let Some(Value::Object(config)) = object.remove("config") {
        object = config;
        if let Some(name) = name {
            object.entry("name").or_insert(name);
        }
    }
    object
        .into_iter()
        .filter(|(_, value)| !value.is_null())
        .map(|(name, value)| match value {
            Value::String(text) => Ok((name, text)),
            Value::Number(_) | Value::Bool(_) => Ok((name, value.to_string())),
            _ => Err(format!("`{name}` is not text, a number or a boolean")),
        })
        .collect()
}

fn of_lines(text: &str) -> Result<BTreeMap<String, String>, String> {
    let mut found = BTreeMap::new();
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let mut line = line.trim_start().to_owned();
        if line.is_empty() || line.starts_with(['#', '!']) {
            continue;
        }
        while ends_open(&line) {
            line.pop();
            match lines.next() {
                Some((_, more)) => line.push_str(more.trim_start()),
                None => break,
            }
        }
        let wrong = |why: &str| format!("line {}: {why}", number + 1);
        let (name, value) = split(&line);
        let name = unescape(name).ok_or_else(|| wrong("`\\u` wants four hexadecimal digits"))?;
        let value = unescape(value).ok_or_else(|| wrong("`\\u` wants four hexadecimal digits"))?;
        found.insert(name, value);
    }
    Ok(found)
}

/// Whether the line goes on in the next one: an odd number of backslashes at its end.
fn ends_open(line: &str) -> bool {
    line.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1
}

/// Name and value: between them stand `=` or `:`, or only blanks.
fn split(line: &str) -> (&str, &str) {
    let mut escaped = false;
    let end = line.find(|letter: char| {
        let ends = !escaped && (matches!(letter, '=' | ':') || letter.is_whitespace());
        escaped = letter == '\\' && !escaped;
        ends
    });
    let Some(end) = end else { return (line, "") };
    let value = line[end..].trim_start();
    let value = value.strip_prefix(['=', ':']).unwrap_or(value);
    (&line[..end], value.trim_start())
}

fn unescape(text: &str) -> Option<String> {
    let mut plain = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        if letter != '\\' {
            plain.push(letter);
            continue;
        }
        match letters.next() {
            Some('t') => plain.push('\t'),
            Some('n') => plain.push('\n'),
            Some('r') => plain.push('\r'),
            Some('f') => plain.push('\u{c}'),
            Some('u') => {
                let digits: String = letters.by_ref().take(4).collect();
                let code = u32::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 4)?;
                // Half of a pair stands for nothing alone.
                plain.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            Some(other) => plain.push(other),
            None => {}
        }
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[(&str, &str)]) {
        let read = Properties::read(text).expect("they are properties");
        let expected: BTreeMap<String, String> =
            expected.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        assert_eq!(read.0, expected);
    }

    #[test]
    fn lines_are_read_as_java_does() {
        check(
            "a=1\n  b : two words\nc three\n# no\n! no\n\nd",
            &[("a", "1"), ("b", "two words"), ("c", "three"), ("d", "")],
        );
        check(
            "a=1,\\\n   2\nb=x\\\\\nc\\=d=\\u00e4\\t",
            &[("a", "1,2"), ("b", "x\\"), ("c=d", "ä\t")],
        );
        assert_eq!(Properties::read("a=1\nb=\\u00").unwrap_err().split(':').next(), Some("line 2"));
    }

    #[test]
    fn both_forms_of_json_are_read() {
        check(r#"{"name":"n","config":{"a":"1","b":2}}"#, &[("a", "1"), ("b", "2"), ("name", "n")]);
        check(r#"{"a":true,"b":null}"#, &[("a", "true")]);
        assert!(Properties::read(r#"{"a":[1]}"#).unwrap_err().contains("`a`"));
    }

    #[test]
    fn what_is_taken_is_gone() {
        let mut read = Properties::read("t.a=1\nt.b=x, y,\nc=TRUE").expect("they are properties");
        assert_eq!(read.take_list("t.b"), ["x", "y"]);
        assert!(read.take_bool("c", false) && !read.take_bool("c", false));
        assert_eq!(read.take_below("t."), [("a".to_owned(), "1".to_owned())]);
        assert_eq!(read.len(), 0);
    }
}
