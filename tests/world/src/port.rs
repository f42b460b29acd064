//! Ports that stay ours: picked below the system's range for outgoing connections, tried by
//! binding, and reserved against other test processes by a lock file.
//!
//! Port 0 would pick out of the outgoing range. There a client that keeps reconnecting to a killed
//! server may be given the server's own port, connect to itself, and keep it from restarting.

use std::fs::{File, OpenOptions};
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::{Context, Result, bail};

/// Below are the habitual ports of real servers (QuestDB 9000, Kafka 9092).
const FIRST: u16 = 10_100;
/// The lower end of the outgoing range where the system does not tell.
const OUTGOING_DEFAULT: u16 = 32_768;
/// Each process starts its search elsewhere; prime, so that neighbours by process id spread.
const STRIDE: u32 = 97;

/// A free TCP port on 127.0.0.1, reserved while this value lives.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _reservation: File,
}

impl Port {
    /// Finds and reserves a port on which nobody listens.
    pub fn free() -> Result<Self> {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let folder = folder()?;
        let count = u32::from(outgoing_first().saturating_sub(FIRST)).max(1);
        for _ in 0..count {
            let step = u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
            let index = (std::process::id().wrapping_mul(STRIDE).wrapping_add(step)) % count;
            let number = FIRST + u16::try_from(index).expect("count fits a port number");
            if let Some(port) = reserve(&folder, number)? {
                return Ok(port);
            }
        }
        bail!("looking for a free port: all {count} from {FIRST} on are taken");
    }

    /// The port's number.
    pub fn number(&self) -> u16 {
        self.number
    }

    /// `127.0.0.1:<number>`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.number)
    }
}

/// Takes the lock file of one port, then tries whether the system lets us listen on it.
fn reserve(folder: &std::path::Path, number: u16) -> Result<Option<Port>> {
    let path = folder.join(number.to_string());
    let Ok(file) = OpenOptions::new().create(true).append(true).open(&path) else {
        return Ok(None); // Another user's file: that user's port.
    };
    if file.try_lock().is_err() || TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_err() {
        return Ok(None);
    }
    Ok(Some(Port { number, _reservation: file }))
}

fn folder() -> Result<PathBuf> {
    let folder = std::env::temp_dir().join("world-ports");
    std::fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    Ok(folder)
}

/// The first port that the system may give to outgoing connections.
fn outgoing_first() -> u16 {
    std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")
        .ok()
        .and_then(|text| text.split_whitespace().next()?.parse().ok())
        .filter(|first| *first > FIRST)
        .unwrap_or(OUTGOING_DEFAULT)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ports_are_distinct_and_free() {
        let ports: Vec<Port> =
            (0..50).map(|_| Port::free().expect("fifty ports are free")).collect();
        let numbers: HashSet<u16> = ports.iter().map(Port::number).collect();
        assert_eq!(numbers.len(), ports.len());
        for port in &ports {
            assert!(port.number() < outgoing_first());
            TcpListener::bind(port.address()).expect("nobody listens on a reserved port");
        }
    }

    #[test]
    fn a_reserved_port_is_refused_to_others() {
        let port = Port::free().expect("a port is free");
        let folder = folder().expect("the folder of reservations can be made");
        let again = reserve(&folder, port.number()).expect("the attempt itself works");
        assert!(again.is_none());
    }
}
