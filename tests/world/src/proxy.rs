//! A TCP proxy that breaks sockets on demand, for one upstream.
//!
//! ```text
//!   client ──▶ up ──▶ server      two threads a connection: read, wait at the gate, write
//!   client ◀── down ◀── server    the gate: stalled? delayed? the byte budget used up? cut?
//! ```
//!
//! Half-closes pass through, and so do resets. A cut resets: sockets close with SO_LINGER 0.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::waiting::lock;

/// The most that is in the proxy's hands, each way and connection.
const CHUNK_BYTES: usize = 64 * 1024;
/// A write that blocks looks this often whether its connection was cut meanwhile.
const WRITE_PATIENCE: Duration = Duration::from_millis(20);

/// A running proxy; connections end and the port closes on drop.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

/// What went through a proxy so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProxyCounts {
    /// Connections accepted, without those refused.
    pub connections: u64,
    /// Connections open at this moment.
    pub connections_open: u64,
    /// Connections refused.
    pub refused: u64,
    /// Bytes given to the server.
    pub bytes_up: u64,
    /// Bytes given to clients.
    pub bytes_down: u64,
}

#[derive(Default)]
struct Shared {
    upstream: String,
    orders: Mutex<Orders>,
    changed: Condvar,
    connections: AtomicU64,
    refused: AtomicU64,
    bytes_up: AtomicU64,
    bytes_down: AtomicU64,
}

#[derive(Default)]
struct Orders {
    ending: bool,
    refusing: bool,
    stalled: bool,
    delay: Duration,
    /// Bytes that may still go up before everything is cut.
    budget: Option<u64>,
    open: HashMap<u64, Arc<Pair>>,
}

/// The two sockets of a connection.
struct Pair {
    client: TcpStream,
    server: TcpStream,
    cut: AtomicBool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Up,
    Down,
}

impl Proxy {
    /// Listens on a free port and forwards every connection to the upstream, which may come later.
    pub fn start(upstream: &str) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("opening a proxy")?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared { upstream: upstream.to_owned(), ..Shared::default() });
        let acceptor = std::thread::Builder::new().name("world-proxy".into()).spawn({
            let shared = Arc::clone(&shared);
            move || accept(&listener, &shared)
        })?;
        Ok(Self { address, shared, acceptor: Some(acceptor) })
    }

    /// Where clients connect to.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Resets all connections of this moment; returns when they are gone.
    pub fn cut(&self) {
        let mut orders = lock(&self.shared.orders);
        cut_open(&orders);
        self.shared.changed.notify_all();
        let cut: Vec<u64> = orders.open.keys().copied().collect();
        while cut.iter().any(|id| orders.open.contains_key(id)) {
            orders = wait(&self.shared.changed, orders, WRITE_PATIENCE);
        }
    }

    /// While true, new connections are reset at once; those that are open go on.
    pub fn refuse(&self, refusing: bool) {
        lock(&self.shared.orders).refusing = refusing;
    }

    /// While true, nothing is forwarded either way and all sockets stay open.
    pub fn stall(&self, stalled: bool) {
        lock(&self.shared.orders).stalled = stalled;
        self.shared.changed.notify_all();
    }

    /// Forwards this many more bytes from clients to the server, then resets all connections, once.
    pub fn cut_after(&self, bytes: u64) {
        lock(&self.shared.orders).budget = Some(bytes);
    }

    /// Holds every chunk (at most 64 KiB) for this long, each way. Chunks of a connection wait
    /// one after the other, so this bounds the throughput too.
    pub fn delay(&self, delay: Duration) {
        lock(&self.shared.orders).delay = delay;
        self.shared.changed.notify_all();
    }

    /// What went through so far.
    pub fn counts(&self) -> ProxyCounts {
        let open = lock(&self.shared.orders).open.len();
        ProxyCounts {
            connections: self.shared.connections.load(Ordering::Relaxed),
            connections_open: open as u64,
            refused: self.shared.refused.load(Ordering::Relaxed),
            bytes_up: self.shared.bytes_up.load(Ordering::Relaxed),
            bytes_down: self.shared.bytes_down.load(Ordering::Relaxed),
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        lock(&self.shared.orders).ending = true;
        // The acceptor waits in accept(2); a connection wakes it.
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
        self.cut();
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for (id, client) in (0..).zip(listener.incoming()) {
        if lock(&shared.orders).ending {
            return;
        }
        let Ok(client) = client else { continue };
        let shared = Arc::clone(shared);
        // A thread of its own also for connecting: a frozen server must not block the others.
        let pair = std::thread::Builder::new().name("world-proxy-pair".into());
        let started = pair.spawn(move || serve(id, client, &shared));
        drop(started); // It ends with its connection, which ends with the proxy.
    }
}

/// One connection from its first to its last byte.
fn serve(id: u64, client: TcpStream, shared: &Shared) {
    linger(&client, true);
    let Ok(pair) = open(id, client, shared) else {
        shared.refused.fetch_add(1, Ordering::Relaxed);
        return;
    };
    std::thread::scope(|scope| {
        scope.spawn(|| carry(&pair, Way::Up, shared));
        carry(&pair, Way::Down, shared);
    });
    // Under the lock, so that whoever no longer finds the connection knows its sockets closed.
    let mut orders = lock(&shared.orders);
    let listed = orders.open.remove(&id);
    drop((listed, pair));
    drop(orders);
    shared.changed.notify_all();
}

/// Connects upstream. Whatever fails resets the client.
fn open(id: u64, client: TcpStream, shared: &Shared) -> io::Result<Arc<Pair>> {
    if lock(&shared.orders).refusing {
        return Err(ErrorKind::ConnectionRefused.into());
    }
    let server = TcpStream::connect(&shared.upstream)?;
    for socket in [&client, &server] {
        socket.set_nodelay(true)?;
        socket.set_write_timeout(Some(WRITE_PATIENCE))?;
    }
    let mut orders = lock(&shared.orders);
    if orders.refusing || orders.ending {
        return Err(ErrorKind::ConnectionRefused.into());
    }
    linger(&client, false);
    let pair = Arc::new(Pair { client, server, cut: AtomicBool::new(false) });
    orders.open.insert(id, Arc::clone(&pair));
    shared.connections.fetch_add(1, Ordering::Relaxed);
    Ok(pair)
}

/// Carries one way until its end, or until the connection is cut.
fn carry(pair: &Pair, way: Way, shared: &Shared) {
    let (mut from, mut to) = match way {
        Way::Up => (&pair.client, &pair.server),
        Way::Down => (&pair.server, &pair.client),
    };
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let Ok(count) = from.read(&mut chunk) else { return cut(pair) };
        let pass = pass_gate(pair, way, count, shared);
        if pair.cut.load(Ordering::Acquire) {
            return;
        }
        if count == 0 {
            let _ = to.shutdown(Shutdown::Write);
            return;
        }
        if write(pair, &mut to, &chunk[..pass.bytes]).is_err() {
            return cut(pair);
        }
        let counter = if way == Way::Up { &shared.bytes_up } else { &shared.bytes_down };
        counter.fetch_add(pass.bytes as u64, Ordering::Relaxed);
        if pass.is_last {
            cut_open(&lock(&shared.orders));
            shared.changed.notify_all();
        }
    }
}

/// How much of a chunk may pass, and whether everything is cut afterwards.
struct Pass {
    bytes: usize,
    is_last: bool,
}

/// Waits while stalled or delayed, then charges the budget.
fn pass_gate(pair: &Pair, way: Way, count: usize, shared: &Shared) -> Pass {
    let arrived = Instant::now();
    let mut orders = lock(&shared.orders);
    while !pair.cut.load(Ordering::Acquire) {
        let left = orders.delay.saturating_sub(arrived.elapsed());
        if orders.stalled {
            orders = wait(&shared.changed, orders, Duration::from_secs(1));
        } else if !left.is_zero() {
            orders = wait(&shared.changed, orders, left);
        } else {
            break;
        }
    }
    match orders.budget {
        Some(budget) if way == Way::Up && count > 0 => {
            let bytes = count.min(usize::try_from(budget).unwrap_or(usize::MAX));
            let left = budget - bytes as u64;
            orders.budget = (left > 0).then_some(left);
            Pass { bytes, is_last: left == 0 }
        }
        _ => Pass { bytes: count, is_last: false },
    }
}

/// Writes all, looking up between attempts whether the connection was cut.
fn write(pair: &Pair, to: &mut &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match to.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => bytes = &bytes[written..],
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                ) =>
            {
                if pair.cut.load(Ordering::Acquire) {
                    return Err(ErrorKind::ConnectionAborted.into());
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn cut_open(orders: &Orders) {
    orders.open.values().for_each(|pair| cut(pair));
}

/// Makes both ways of a connection end, and their close a reset.
fn cut(pair: &Pair) {
    pair.cut.store(true, Ordering::Release);
    for socket in [&pair.client, &pair.server] {
        linger(socket, true);
        // Wakes a blocked read and, other than a shutdown of writing, sends nothing.
        let _ = socket.shutdown(Shutdown::Read);
    }
}

/// SO_LINGER 0: the close drops unsent bytes and sends a reset. Off, it is an orderly close.
fn linger(socket: &TcpStream, resets: bool) {
    let linger = libc::linger { l_onoff: i32::from(resets), l_linger: 0 };
    // SAFETY: the descriptor is open while `socket` is borrowed; the option's value is a live
    // `linger` of the length that is given.
    let _ = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            (&raw const linger).cast(),
            size_of::<libc::linger>() as libc::socklen_t,
        )
    };
}

fn wait<'a, T>(
    changed: &Condvar,
    guard: std::sync::MutexGuard<'a, T>,
    within: Duration,
) -> std::sync::MutexGuard<'a, T> {
    changed.wait_timeout(guard, within).unwrap_or_else(PoisonError::into_inner).0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::await_until;

    const SOON: Duration = Duration::from_secs(20);

    /// A server that says everything back, and says how its connections ended.
    fn echo() -> (String, std::sync::mpsc::Receiver<io::Result<u64>>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let address = listener.local_addr().expect("it is bound").to_string();
        let (ended, ends) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let ended = ended.clone();
                std::thread::spawn(move || ended.send(io::copy(&mut &stream, &mut &stream)));
            }
        });
        (address, ends)
    }

    fn connect(proxy: &Proxy) -> TcpStream {
        let stream = TcpStream::connect(proxy.address()).expect("the proxy listens");
        stream.set_read_timeout(Some(SOON)).expect("it is a socket");
        stream
    }

    fn check_echo(stream: &mut TcpStream, text: &[u8]) {
        stream.write_all(text).expect("it is open");
        let mut answer = vec![0; text.len()];
        stream.read_exact(&mut answer).expect("it is answered");
        assert_eq!(answer, text);
    }

    fn check_reset(stream: &mut TcpStream) {
        let error = io::copy(stream, &mut io::sink()).expect_err("a reset is an error");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }

    #[test]
    fn forwards_and_counts_and_ends_in_order() {
        let (upstream, ends) = echo();
        let proxy = Proxy::start(&upstream).expect("a port is free");
        let mut stream = connect(&proxy);
        check_echo(&mut stream, &vec![7; 1_000_000]);
        stream.shutdown(Shutdown::Write).expect("it is open");
        assert_eq!(io::copy(&mut stream, &mut io::sink()).expect("an orderly end"), 0);
        assert_eq!(ends.recv().expect("it ended").expect("in order"), 1_000_000);
        let closed = || Some(proxy.counts()).filter(|counts| counts.connections_open == 0);
        let counts = await_until(SOON, "the close", closed).expect("it closes");
        let expected = ProxyCounts {
            connections: 1,
            bytes_up: 1_000_000,
            bytes_down: 1_000_000,
            ..ProxyCounts::default()
        };
        assert_eq!(counts, expected);
    }

    #[test]
    fn a_cut_resets_both_sides_and_later_connections_work() {
        let (upstream, ends) = echo();
        let proxy = Proxy::start(&upstream).expect("a port is free");
        let mut stream = connect(&proxy);
        check_echo(&mut stream, b"hello");
        proxy.cut();
        assert_eq!(proxy.counts().connections_open, 0);
        check_reset(&mut stream);
        assert!(ends.recv().expect("it ended").is_err());
        check_echo(&mut connect(&proxy), b"again");
    }

    #[test]
    fn cuts_after_so_many_bytes() {
        for (sent, expected) in [(1000, 100), (100, 100)] {
            let (upstream, ends) = echo();
            let proxy = Proxy::start(&upstream).expect("a port is free");
            let mut stream = connect(&proxy);
            check_echo(&mut stream, b"hello");
            proxy.cut_after(100);
            stream.write_all(&vec![1; sent]).expect("it is open");
            check_reset(&mut stream);
            assert!(ends.recv().expect("it ended").is_err());
            assert_eq!(proxy.counts().bytes_up, 5 + expected);
            check_echo(&mut connect(&proxy), &[2; 1000]);
        }
    }

    #[test]
    fn a_stall_holds_everything_until_it_is_lifted() {
        let (upstream, _ends) = echo();
        let proxy = Proxy::start(&upstream).expect("a port is free");
        let mut stream = connect(&proxy);
        check_echo(&mut stream, b"before");
        proxy.stall(true);
        stream.write_all(b"held").expect("it is open");
        stream.set_read_timeout(Some(Duration::from_millis(50))).expect("it is a socket");
        let held = stream.read(&mut [0; 4]).expect_err("nothing comes");
        assert_eq!(held.kind(), ErrorKind::WouldBlock);
        stream.set_read_timeout(Some(SOON)).expect("it is a socket");
        proxy.stall(false);
        stream.read_exact(&mut [0; 4]).expect("now it comes");
        proxy.stall(true);
        proxy.cut();
        check_reset(&mut stream);
    }

    #[test]
    fn refuses_and_survives_an_absent_upstream() {
        let (upstream, _ends) = echo();
        let proxy = Proxy::start(&upstream).expect("a port is free");
        proxy.refuse(true);
        check_reset(&mut connect(&proxy));
        proxy.refuse(false);
        check_echo(&mut connect(&proxy), b"hello");
        assert_eq!(proxy.counts().refused, 1);
        let absent = crate::Port::free().expect("a port is free");
        let proxy = Proxy::start(&absent.address()).expect("a port is free");
        check_reset(&mut connect(&proxy));
    }

    #[test]
    fn a_delay_is_kept_and_a_drop_does_not_wait_for_it() {
        let (upstream, _ends) = echo();
        let proxy = Proxy::start(&upstream).expect("a port is free");
        let mut stream = connect(&proxy);
        proxy.delay(Duration::from_millis(30));
        let start = Instant::now();
        check_echo(&mut stream, b"slow");
        assert!(start.elapsed() >= Duration::from_millis(60));
        proxy.delay(Duration::from_secs(1000));
        stream.write_all(b"never").expect("it is open");
        drop(proxy);
        check_reset(&mut stream);
    }
}
