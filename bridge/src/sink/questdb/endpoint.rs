//! Where servers listen, as the configuration says it.

use std::fmt;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::{Mistake, Section};

/// One address, or several to fail over to.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Addresses {
    /// One.
    One(String),
    /// The first, and those to fail over to.
    Several(Vec<String>),
}

/// Where a server listens.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Endpoint {
    /// Name or address; IPv6 without its brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Whether TLS is spoken there.
    pub tls: bool,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// Addresses as written, each with the port that was said or this one.
pub fn endpoints(
    section: &Section,
    key: &str,
    addresses: &Addresses,
    port: u16,
    tls: bool,
) -> Result<Vec<Endpoint>, Mistake> {
    let list = match addresses {
        Addresses::One(one) => std::slice::from_ref(one),
        Addresses::Several(several) => several,
    };
    if list.is_empty() {
        return Err(section.mistake(key, "at least one address"));
    }
    let read = |text: &String| {
        endpoint(text, port, tls).ok_or_else(|| {
            let message = format!("`{text}` is not an address, such as \"localhost:{port}\"");
            section.mistake(key, message)
        })
    };
    list.iter().map(read).collect()
}

/// `host`, `host:port`, `[::1]:port`, each with or without `http://` or `https://`.
fn endpoint(text: &str, default_port: u16, tls: bool) -> Option<Endpoint> {
    let (rest, tls) = match text.trim().split_once("://") {
        None => (text.trim(), tls),
        Some(("http" | "tcp", rest)) => (rest, tls),
        Some(("https" | "tcps", rest)) => (rest, true),
        Some(_) => return None,
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (host, port) = match rest.strip_prefix('[') {
        Some(inner) => {
            let (host, after) = inner.split_once(']')?;
            (host, after.strip_prefix(':').or(after.is_empty().then_some("")))
        }
        None => match rest.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (rest, Some("")),
        },
    };
    let port = match port? {
        "" => default_port,
        digits => digits.parse().ok().filter(|port| *port != 0)?,
    };
    let wrong = |c: char| c.is_whitespace() || c.is_control() || "/?#@[]".contains(c);
    (!host.is_empty() && !host.contains(wrong)).then(|| Endpoint { host: host.into(), port, tls })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_or_refused() {
        let check = |text: &str, shown: Option<(&str, bool)>| {
            let got = endpoint(text, 9000, false);
            let got = got.as_ref().map(|e| (e.to_string(), e.tls));
            assert_eq!(got, shown.map(|(s, tls)| (s.to_owned(), tls)), "{text}");
        };
        check("db", Some(("db:9000", false)));
        check("db:1", Some(("db:1", false)));
        check("https://db", Some(("db:9000", true)));
        check("http://db:80/", Some(("db:80", false)));
        check("[::1]:9", Some(("[::1]:9", false)));
        check("[::1]", Some(("[::1]:9000", false)));
        check("10.0.0.1:9000", Some(("10.0.0.1:9000", false)));
        for bad in
            ["", ":9000", "db:", "ftp://db", "db:x", "db:0", "db:70000", "a b", "[::1", "u@h"]
        {
            let got = endpoint(bad, 9000, false);
            assert!(got.is_none() || bad == "db:", "{bad}: {got:?}");
        }
    }
}
