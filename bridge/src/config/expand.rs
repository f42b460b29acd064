//! `${NAME}`, `${NAME:-default}`, `${file:path}` and `$$` in the strings of a configuration.

use std::path::Path;

/// What a configuration is read with, besides its text. Tests bring their own.
pub struct Surroundings<'a> {
    /// Environment variables.
    pub env: &'a dyn Fn(&str) -> Option<String>,
    /// The machine's name, for static membership.
    pub host: String,
    /// The folder that relative paths start from.
    pub base: &'a Path,
}

/// The text with its references filled in, and whether there were any; the error is a message,
/// what to do, and the reference as it was written.
pub fn expand(text: &str, with: &Surroundings<'_>) -> Result<(String, bool), Unknown> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut referred = false;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if rest.starts_with('{') {
            let close = rest.find('}').ok_or_else(|| Unknown {
                message: "`${` without its `}`".to_owned(),
                help: "write `$$` for a dollar sign".to_owned(),
                reference: format!("${rest}"),
            })?;
            out.push_str(&look_up(&rest[1..close], with)?);
            referred = true;
            rest = &rest[close + 1..];
        } else {
            // A lone dollar sign is itself: regular expressions end with one.
            out.push('$');
        }
    }
    out.push_str(rest);
    Ok((out, referred))
}

/// A reference that leads nowhere.
#[derive(PartialEq, Eq, Debug)]
pub struct Unknown {
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub help: String,
    /// `${NAME}` as it was written.
    pub reference: String,
}

fn look_up(inner: &str, with: &Surroundings<'_>) -> Result<String, Unknown> {
    let reference = format!("${{{inner}}}");
    if let Some(path) = inner.strip_prefix("file:") {
        return std::fs::read_to_string(with.base.join(path))
            .map(|secret| secret.trim().to_owned())
            .map_err(|error| Unknown {
                message: format!("reading {path}: {error}"),
                help: "relative paths start from the folder of this file".to_owned(),
                reference,
            });
    }
    let (name, default) = match inner.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inner, None),
    };
    let sound = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || !name.chars().all(sound) {
        return Err(Unknown {
            message: format!("`{name}` is not the name of a variable"),
            help: "write ${NAME}, ${NAME:-default}, ${file:path}, or `$$` for a dollar sign".into(),
            reference,
        });
    }
    // As in a shell, `:-` also stands in for a variable that is empty.
    match ((with.env)(name), default) {
        (Some(value), Some(default)) if value.is_empty() => Ok(default.to_owned()),
        (Some(value), _) => Ok(value),
        (None, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(Unknown {
            message: format!("the environment variable {name} is not set"),
            help: format!("set it, or write ${{{name}:-default}}"),
            reference,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<String, String> {
        let env = |name: &str| match name {
            "HOST" => Some("kafka".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        let with = Surroundings { env: &env, host: "h".into(), base: Path::new("/nowhere") };
        expand(text, &with).map(|(text, _)| text).map_err(|unknown| unknown.message)
    }

    #[test]
    fn references_are_filled_in() {
        assert_eq!(check("${HOST}:9092").as_deref(), Ok("kafka:9092"));
        assert_eq!(check("${NONE:-localhost}:1").as_deref(), Ok("localhost:1"));
        assert_eq!(check("${EMPTY:-x}").as_deref(), Ok("x"));
        assert_eq!(check("${EMPTY}").as_deref(), Ok(""));
        assert_eq!(check("a$$b ${HOST}$").as_deref(), Ok("a$b kafka$"));
        assert_eq!(check("$${HOST}").as_deref(), Ok("${HOST}"));
        assert_eq!(check("sensors\\..*$").as_deref(), Ok("sensors\\..*$"));
        assert!(check("${NONE}").is_err());
        assert!(check("${HOST").is_err());
        assert!(check("${a b}").is_err());
        assert!(check("${file:secret}").is_err());
    }
}
