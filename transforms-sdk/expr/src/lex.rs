//! Text into words: names, numbers, quoted texts and signs, each with its place.

use crate::error::{Error, Span};

/// One word.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Token {
    /// A name or a keyword, as written.
    Word(String),
    /// `"a name"`.
    Quoted(String),
    /// Beyond `i64` only for `-9223372036854775808`.
    Int(u64),
    Float(f64),
    /// `'text'`.
    Text(String),
    /// `( ) , + - * / % || = <> < <= > >=`.
    Sign(&'static str),
    End,
}

/// Longer ones first.
const SIGNS: [&str; 17] =
    ["||", "<>", "!=", "<=", ">=", "==", "(", ")", ",", "+", "-", "*", "/", "%", "=", "<", ">"];

/// All words of an expression; the last is [`Token::End`].
pub(crate) fn words(source: &str) -> Result<Vec<(Token, Span)>, Error> {
    let mut words = Vec::new();
    let mut at = 0;
    loop {
        at += source[at..].len() - source[at..].trim_start().len();
        let Some(first) = source[at..].chars().next() else {
            words.push((Token::End, Span::new(at, at)));
            return Ok(words);
        };
        let (token, len) = word(source, at, first)?;
        words.push((token, Span::new(at, at + len)));
        at += len;
    }
}

fn word(source: &str, at: usize, first: char) -> Result<(Token, usize), Error> {
    let rest = &source[at..];
    if first.is_alphabetic() || first == '_' {
        let end = rest.find(|c: char| !(c.is_alphanumeric() || "_.".contains(c)));
        let name = rest[..end.unwrap_or(rest.len())].trim_end_matches('.');
        return Ok((Token::Word(name.to_owned()), name.len()));
    }
    if first.is_ascii_digit() {
        return number(source, at);
    }
    if first == '\'' || first == '"' {
        return quoted(source, at, first);
    }
    if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
        let plain = match *sign {
            "!=" => "<>",
            "==" => "=",
            sign => sign,
        };
        return Ok((Token::Sign(plain), sign.len()));
    }
    let here = Span::new(at, at + first.len_utf8());
    let error = Error::new(source, here, format!("`{}` has no meaning", first.escape_debug()));
    Err(match first {
        '&' => error.help("write `and`"),
        '|' => error.help("write `or`; `||` joins texts"),
        '!' => error.help("write `not`"),
        '[' | '`' => error.help("a column's name stands in double quotes: \"a name\""),
        '.' => error.help("a number begins with a digit: 0.5"),
        ';' => error.help("an expression is one condition or one value, without `;`"),
        _ => error,
    })
}

fn number(source: &str, at: usize) -> Result<(Token, usize), Error> {
    let rest = &source.as_bytes()[at..];
    let digits = |from: usize| rest[from..].iter().take_while(|b| b.is_ascii_digit()).count();
    let mut len = digits(0);
    let mut whole = true;
    if rest.get(len) == Some(&b'.') && digits(len + 1) > 0 {
        len += 1 + digits(len + 1);
        whole = false;
    }
    if matches!(rest.get(len), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(rest.get(len + 1), Some(b'+' | b'-')));
        let exponent = digits(len + 1 + sign);
        if exponent > 0 {
            len += 1 + sign + exponent;
            whole = false;
        }
    }
    let text = &source[at..at + len];
    let here = Span::new(at, at + len);
    if source[at + len..].starts_with(|c: char| c.is_alphanumeric() || c == '_' || c == '.') {
        let message = "a number ends here, and something follows without a space";
        return Err(Error::new(source, Span::new(at + len, at + len + 1), message)
            .help("a name that begins with a digit stands in double quotes"));
    }
    if whole {
        let too_large = |_| {
            let error = Error::new(source, here, "the integer is beyond 64 bits");
            error.help(format!("write `{text}.0` for the nearest double"))
        };
        let value: u64 = text.parse().map_err(too_large)?;
        return Ok((Token::Int(value), len));
    }
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok((Token::Float(value), len)),
        _ => Err(Error::new(source, here, "the number is too large for a double")),
    }
}

/// Text or a name in quotes; a doubled quote is one.
fn quoted(source: &str, at: usize, quote: char) -> Result<(Token, usize), Error> {
    let mut text = String::new();
    let mut letters = source[at + 1..].char_indices().peekable();
    while let Some((index, letter)) = letters.next() {
        if letter != quote {
            text.push(letter);
            continue;
        }
        if letters.peek().is_some_and(|(_, next)| *next == quote) {
            letters.next();
            text.push(quote);
            continue;
        }
        let len = index + 2;
        if quote == '\'' {
            return Ok((Token::Text(text), len));
        }
        if text.is_empty() {
            let here = Span::new(at, at + len);
            let error = Error::new(source, here, "a column has a name, and this one is empty");
            return Err(error.help("text stands in single quotes: ''"));
        }
        return Ok((Token::Quoted(text), len));
    }
    let what = if quote == '\'' { "text" } else { "name" };
    let here = Span::new(at, source.len());
    let message = format!("the {what} that begins here has no closing {quote}");
    Err(Error::new(source, here, message)
        .help(format!("a {quote} within it is written twice: {quote}{quote}")))
}
