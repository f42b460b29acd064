//! `bridge transform reload`, `rollback` and `promote`: orders to a bridge that runs, sent to the
//! endpoint that its configuration names.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use super::Failure;
use crate::blame::Fault;
use crate::config::{Overrides, Plan};

/// A bridge that runs here answers at once, or is not there.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// Compiling a large module on a busy machine takes its time.
const ANSWER_MAX: Duration = Duration::from_secs(150);
/// A line for each pipeline, and then some.
const ANSWER_BYTES_MAX: u64 = 1 << 20;

/// Gives the order `verb` to the bridge that runs this file, and says what became of it.
pub(super) fn give(
    verb: &str,
    file: &Path,
    pipeline: Option<&str>,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let plan = Plan::load(file, &Overrides::default())?;
    let listen = plan.http.ok_or_else(|| {
        Fault::operator(format!("{} does not say where a bridge would listen", file.display()))
            .hint("[http] with listen = \"127.0.0.1:9187\" and admin = \"loopback\"")
    })?;
    if let Some(name) = pipeline
        && !plan.pipelines.iter().any(|pipeline| &*pipeline.name == name)
    {
        let message = format!("{} has no pipeline `{name}`", file.display());
        return Err(Fault::operator(message).into());
    }
    let path = match pipeline {
        Some(name) => format!("/pipelines/{name}/{verb}"),
        None => format!("/{verb}"),
    };
    let address = reachable(listen);
    let answer = post(address, &path).map_err(|error| {
        Fault::world(format!("asking the bridge at {address} to {verb}: {error}"))
            .hint("is it running, and with this `listen` under [http]?")
    })?;
    let (status, words) = parse(&answer).ok_or_else(|| {
        Fault::world(format!("asking the bridge at {address} to {verb}: the answer is no http"))
    })?;
    match status {
        200 => Ok(out.write_all(words.as_bytes())?),
        _ => Err(Fault::operator(words.trim_end()).into()),
    }
}

/// Where one that listens everywhere is reached from here.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

fn post(address: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, CONNECT_MAX)?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    let head = format!("POST {path} HTTP/1.1\r\nhost: {address}\r\ncontent-length: 0\r\n");
    stream.write_all(format!("{head}connection: close\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer)?;
    Ok(answer)
}

/// Status and body of an answer.
fn parse(answer: &str) -> Option<(u16, &str)> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?;
    Some((status.parse().ok()?, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read() {
        let answer = "HTTP/1.1 409 Conflict\r\ncontent-length: 3\r\n\r\nno\n";
        assert_eq!(parse(answer), Some((409, "no\n")));
        assert_eq!(parse("SSH-2.0\r\n\r\n"), None);
    }

    #[test]
    fn who_listens_everywhere_is_reached_here() {
        let reached = |listen: &str| reachable(listen.parse().expect("an address")).to_string();
        assert_eq!(reached("0.0.0.0:9187"), "127.0.0.1:9187");
        assert_eq!(reached("[::]:9187"), "[::1]:9187");
        assert_eq!(reached("10.0.0.1:9187"), "10.0.0.1:9187");
    }
}
