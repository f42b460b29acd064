//! Lines of a configuration as they may be shown where something in them is wrong: without the
//! secrets that stand beside it.

/// Parts of the names of keys whose values are secret.
const SECRET: &[&str] = &["password", "secret", "token", "private", "jaas", "key.pem", "config"];
/// What such names end in where their values only say where the secret is.
const PLACE: &[&str] = &["_file", "url"];

/// The line with a star for each letter of a secret; as long as it was.
pub fn hushed(line: &str) -> String {
    let mut letters: Vec<char> = line.chars().collect();
    // The last word, or quoted text, before the value.
    let (mut key, mut is_value, mut at) = (String::new(), false, 0);
    while let Some(&letter) = letters.get(at) {
        match letter {
            '#' => break,
            '"' | '\'' => {
                let is_long = letters[at..].starts_with(&[letter; 3]);
                let end = if is_long { letters.len() } else { end_of(&letters, at) };
                let text = &mut letters[at + if is_long { 3 } else { 1 }..end];
                match is_value && hides(&key) && !is_reference(text) {
                    true => text.fill('*'),
                    false => hush_address(text),
                }
                key = text.iter().collect();
                (is_value, at) = (false, end + 1);
            }
            '=' => (is_value, at) = (true, at + 1),
            letter if is_of_word(letter) => {
                let length = letters[at..].iter().take_while(|letter| is_of_word(**letter)).count();
                key = letters[at..at + length].iter().collect();
                at += length;
            }
            _ => at += 1,
        }
    }
    letters.into_iter().collect()
}

fn is_of_word(letter: char) -> bool {
    letter.is_alphanumeric() || "_-.".contains(letter)
}

fn hides(key: &str) -> bool {
    let tells = |part: &&str| match *part {
        // The client library's, of unsigned tokens; a transform's `config` is something else.
        "config" => key.ends_with("oauthbearer.config"),
        part => key.contains(part),
    };
    SECRET.iter().any(tells) && !PLACE.iter().any(|end| key.ends_with(end))
}

/// Where quoted text ends that begins at a place: at its quote, or with the line.
fn end_of(letters: &[char], begin: usize) -> usize {
    let quote = letters[begin];
    let mut at = begin + 1;
    while let Some(&letter) = letters.get(at) {
        match letter {
            '\\' if quote == '"' => at += 2,
            letter if letter == quote => return at,
            _ => at += 1,
        }
    }
    letters.len()
}

/// `${NAME}` says where the secret is, and is shown.
fn is_reference(text: &[char]) -> bool {
    text.starts_with(&['$', '{']) && text.ends_with(&['}'])
}

/// `https://user:password@host` without the password, which may have a slash in it: that may be
/// what is wrong with the line.
fn hush_address(text: &mut [char]) {
    let Some(scheme) = text.windows(3).position(|part| part == [':', '/', '/']) else { return };
    let authority = &mut text[scheme + 3..];
    let Some(host) = authority.iter().rposition(|letter| *letter == '@') else { return };
    if let Some(password) = authority[..host].iter().position(|letter| *letter == ':') {
        authority[password + 1..host].fill('*');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_stars_and_nothing_else_is() {
        let check = |line: &str, shown: &str| {
            assert_eq!(hushed(line), shown);
            assert_eq!(line.chars().count(), shown.chars().count());
        };
        let inline = r#"sasl = { username = "me", password = "h\"ü", password_file = "f" }"#;
        check(inline, r#"sasl = { username = "me", password = "****", password_file = "f" }"#);
        check(r#""sasl.password" = 'hush' # why"#, r#""sasl.password" = '****' # why"#);
        check(r#"registry.token = "hush""#, r#"registry.token = "****""#);
        check(
            r#"kafka.properties."ssl.key.pem" = """hu"#,
            r#"kafka.properties."ssl.key.pem" = """**"#,
        );
        check(r#"token_url = "https://x/t""#, r#"token_url = "https://x/t""#);
        check(
            r#"url = ["http://u:hush@h/p", "http://h"]"#,
            r#"url = ["http://u:****@h/p", "http://h"]"#,
        );
        check(r#"url = "https://u:hu/sh@h/p""#, r#"url = "https://u:*****@h/p""#);
        check(r#"url = "http://u:a@h, http://u:b@i""#, r#"url = "http://u:***************@i""#);
        check(r#"password = "${PASSWORD}""#, r#"password = "${PASSWORD}""#);
        check(r#"password = "hush"#, r#"password = "****"#);
        check(r#"config = { a = "b" }"#, r#"config = { a = "b" }"#);
        check("topics = [\"password\"]", "topics = [\"password\"]");
    }

    #[test]
    fn no_line_is_too_strange() {
        for line in ["", "\"", "'\\", "= = =", "\"\"\"", "a = \"\\", "://@", "\"x://:@\""] {
            assert_eq!(hushed(line).chars().count(), line.chars().count(), "{line}");
        }
    }
}
