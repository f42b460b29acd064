//! A service's address: `http(s)://[user:password@]host[:port][/path]`.

use std::fmt;

use crate::sink::questdb::endpoint::Endpoint;
use crate::sink::questdb::options::Secret;

/// Where a server listens, and below which path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Address {
    /// Host and port.
    pub endpoint: Endpoint,
    /// Without a slash at its end; empty for none.
    pub path: String,
    /// User and password, if they stand in it.
    pub user: Option<(String, Secret)>,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.endpoint.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.endpoint, self.path)
    }
}

impl Address {
    /// Reads one; `None` if it is none. Without a port it is the web's.
    pub fn parse(text: &str) -> Option<Address> {
        let (tls, rest) = match text.trim().split_once("://")? {
            ("http", rest) => (false, rest),
            ("https", rest) => (true, rest),
            _ => return None,
        };
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        let (user, place) = match authority.rsplit_once('@') {
            Some((user, place)) => (Some(user), place),
            None => (None, authority),
        };
        let user = match user {
            None => None,
            Some(user) => {
                let (name, password) = user.split_once(':')?;
                Some((unescaped(name)?, Secret(unescaped(password)?)))
            }
        };
        let (host, port) = match place.strip_prefix('[') {
            Some(inner) => {
                let (host, after) = inner.split_once(']')?;
                let port = after.strip_prefix(':').or(after.is_empty().then_some(""))?;
                (host, port)
            }
            None => place.split_once(':').unwrap_or((place, "")),
        };
        let port = match port {
            "" => {
                if tls {
                    443
                } else {
                    80
                }
            }
            digits => digits.parse().ok().filter(|port| *port != 0)?,
        };
        let plain = |c: char| c.is_ascii_graphic() && !"?#@[]\"<>\\^`{|}".contains(c);
        let is_host = !host.is_empty() && host.chars().all(|c| plain(c) && c != '/');
        if !is_host || !path.chars().all(plain) {
            return None;
        }
        let path = path.trim_end_matches('/').to_owned();
        Some(Address { endpoint: Endpoint { host: host.to_owned(), port, tls }, path, user })
    }

    /// For the header `Host`.
    pub fn host(&self) -> String {
        self.endpoint.to_string()
    }
}

/// With `%40` and the like as what they stand for.
fn unescaped(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        match (first, after) {
            (b'%', [high, low, after @ ..]) => {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                bytes.push((digit(*high)? * 16 + digit(*low)?) as u8);
                rest = after;
            }
            (b'%', _) => return None,
            (byte, after) => {
                bytes.push(*byte);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).ok()
}

/// As it may stand in a path, or in a form.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_or_refused() {
        let check = |text: &str, shown: &str, user: Option<(&str, &str)>| {
            let address = Address::parse(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(address.to_string(), shown);
            let user = user.map(|(name, password)| (name.into(), Secret(password.into())));
            assert_eq!(address.user, user);
        };
        check("http://localhost:8081", "http://localhost:8081", None);
        check("https://r.example/", "https://r.example:443", None);
        check("http://r/apis/ccompat/v7/", "http://r:80/apis/ccompat/v7", None);
        check("https://a:b%40c@r:1", "https://r:1", Some(("a", "b@c")));
        check("http://[::1]:8081", "http://[::1]:8081", None);
        for bad in
            ["localhost:8081", "ftp://x", "http://", "http://a b", "http://u@h", "http://h:x"]
        {
            assert_eq!(Address::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn passwords_in_addresses_do_not_show() {
        let address = Address::parse("http://u:hush@r").expect("one");
        assert!(!format!("{address} {address:?}").contains("hush"));
        assert_eq!(escaped("a/b c-value"), "a%2Fb%20c-value");
    }
}
