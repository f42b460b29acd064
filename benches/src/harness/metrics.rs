//! What the bridge says of itself at `/metrics`.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Serialize;

/// An endpoint that takes longer is not one that a monitor would wait for.
const ANSWER: Duration = Duration::from_secs(10);

/// Quantiles of a duration, in milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Latency {
    pub p50_ms: f64,
    pub p90_ms: f64,
    pub p99_ms: f64,
    pub p999_ms: f64,
    /// Records it was measured on.
    pub count: u64,
}

/// One reading: samples by their names with labels, as written.
pub struct Metrics(BTreeMap<String, f64>);

impl Metrics {
    /// Asks the bridge.
    pub fn read(address: &str) -> Result<Self> {
        let (status, body) = get(address, "/metrics")?;
        ensure!(status == 200, "/metrics answered with {status}");
        Ok(Self::parse(&body))
    }

    fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let sample = |line: &str| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        };
        Self(lines.filter_map(sample).collect())
    }

    /// The sample of the bench's pipeline.
    pub fn get(&self, name: &str) -> Result<f64> {
        self.labelled(name, "")
    }

    /// The samples of all pipelines together.
    pub fn sum(&self, name: &str) -> Result<f64> {
        let name = format!("{name}{{");
        let mut found = self.0.range(name.clone()..).take_while(|(key, _)| key.starts_with(&name));
        let (_, first) = found.next().with_context(|| format!("/metrics has no {name}"))?;
        Ok(first + found.map(|(_, value)| value).sum::<f64>())
    }

    /// The quantiles of a summary.
    pub fn latency(&self, name: &str) -> Result<Latency> {
        let at = |quantile: &str| {
            let seconds = self.labelled(name, &format!(",quantile=\"{quantile}\""))?;
            anyhow::Ok(seconds * 1e3)
        };
        Ok(Latency {
            p50_ms: at("0.5")?,
            p90_ms: at("0.9")?,
            p99_ms: at("0.99")?,
            p999_ms: at("0.999")?,
            count: self.get(&format!("{name}_count"))? as u64,
        })
    }

    fn labelled(&self, name: &str, labels: &str) -> Result<f64> {
        let name = format!("{name}{{pipeline=\"bench\"{labels}}}");
        self.0.get(&name).copied().with_context(|| format!("/metrics has no {name}"))
    }

    /// All samples, for the raw numbers.
    pub fn all(&self) -> &BTreeMap<String, f64> {
        &self.0
    }
}

/// One GET: status and body.
pub fn get(address: &str, path: &str) -> Result<(u16, String)> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_counters_and_summaries() {
        let metrics = Metrics::parse(
            "# HELP a b\na{pipeline=\"bench\"} 7\nl{pipeline=\"bench\",quantile=\"0.5\"} 0.001\n\
             l{pipeline=\"bench\",quantile=\"0.9\"} 0.002\n\
             l{pipeline=\"bench\",quantile=\"0.99\"} 0.5\n\
             l{pipeline=\"bench\",quantile=\"0.999\"} 1\nl_count{pipeline=\"bench\"} 9\n",
        );
        assert_eq!(metrics.get("a").expect("it is there"), 7.0);
        let latency =
            Latency { p50_ms: 1.0, p90_ms: 2.0, p99_ms: 500.0, p999_ms: 1000.0, count: 9 };
        assert_eq!(metrics.latency("l").expect("it is there"), latency);
        let two = Metrics::parse("a{pipeline=\"b\"} 7\na{pipeline=\"c\"} 2\nab{} 50\n");
        assert_eq!(two.sum("a").expect("both are there"), 9.0);
        assert!(two.sum("b").is_err());
        assert!(metrics.get("b").is_err() && metrics.latency("a").is_err());
    }
}
