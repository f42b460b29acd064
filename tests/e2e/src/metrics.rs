//! What the bridge counts, read from `/metrics`.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result};

/// An endpoint that takes longer is not one that a monitor would wait for.
const ANSWER: Duration = Duration::from_secs(5);

/// One reading of `/metrics`.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// (name, labels as written, value).
    samples: Vec<(String, String, f64)>,
}

impl Metrics {
    /// Reads Prometheus' text format; every line must be of it.
    pub fn parse(text: &str) -> Result<Self> {
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let samples = lines.map(|line| {
            let (left, value) =
                line.rsplit_once(' ').with_context(|| format!("no value: {line}"))?;
            let value = value.parse().with_context(|| format!("not a number: {line}"))?;
            let (name, labels) = match left.split_once('{') {
                Some((name, rest)) => {
                    (name, rest.strip_suffix('}').with_context(|| format!("no end: {line}"))?)
                }
                None => (left, ""),
            };
            Ok((name.to_owned(), labels.to_owned(), value))
        });
        Ok(Self { samples: samples.collect::<Result<_>>()? })
    }

    /// The sum of all samples of a name; an error when there is none.
    pub fn sum(&self, name: &str) -> Result<f64> {
        self.sum_with(name, "")
    }

    /// The sum of the samples of a name whose labels hold a text, such as `reason="trap"`.
    pub fn sum_with(&self, name: &str, label: &str) -> Result<f64> {
        let of_name = self.samples.iter().filter(|(known, ..)| known == name);
        let mut found = of_name.filter(|(_, labels, _)| labels.contains(label)).peekable();
        let names = || {
            let mut names: Vec<&str> = self.samples.iter().map(|(name, ..)| &**name).collect();
            names.dedup();
            format!("/metrics has no {name}{{{label}}}, only {}", names.join(" "))
        };
        anyhow::ensure!(found.peek().is_some(), names());
        Ok(found.map(|(.., value)| value).sum())
    }
}

/// One GET: status and body.
pub(crate) fn get(address: &str, path: &str) -> Result<(u16, String)> {
    let mut stream =
        TcpStream::connect(address).with_context(|| format!("connecting to {address}"))?;
    stream.set_read_timeout(Some(ANSWER))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).with_context(|| format!("reading {path}"))?;
    let (head, body) = answer.split_once("\r\n\r\n").context("an answer has a head")?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    Ok((status.with_context(|| format!("no status in {head:?}"))?, body.to_owned()))
}
