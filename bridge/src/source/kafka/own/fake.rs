//! A broker for tests: says hello, knows who leads, and answers fetches as a test wants. Writes the
//! protocol by its description, not by what reads it here.

use std::collections::{BTreeMap, VecDeque};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};

/// What a partition is answered with, once.
#[derive(Clone, Debug)]
pub enum Fault {
    /// An error code.
    Code(i16),
    /// The log parted from what was read, there.
    Diverged(i64),
    /// The connection ends in the middle of the answer.
    HangUp,
    /// These bytes in place of an answer.
    Garbage(Vec<u8>),
    /// Nothing is to be asked for so long, milliseconds.
    Throttle(i32),
}

/// A batch: first offset, last offset, bytes.
pub type Log = (i64, i64, Vec<u8>);

/// What the brokers of a cluster share.
#[derive(Default)]
pub struct Script {
    /// By partition: batches as (first offset, last offset, bytes).
    pub logs: BTreeMap<i32, Vec<Log>>,
    /// Aborted transactions, told with every answer.
    pub aborted: Vec<(i64, i64)>,
    /// By partition: the number of the leading broker.
    pub leaders: BTreeMap<i32, i32>,
    /// What the next fetches are answered with.
    pub faults: VecDeque<Fault>,
    /// Whether fetches are held back.
    pub held: bool,
    /// Fetches that were asked: broker, partition, offset.
    pub fetched: Vec<(i32, i32, i64)>,
    /// Questions about leaders.
    pub questions: usize,
    /// The topic's number; 0 is none.
    pub topic: i64,
}

/// A cluster of brokers numbered from 1.
pub struct Fake {
    ports: Vec<u16>,
    version: i16,
    script: Mutex<Script>,
    changed: Condvar,
}

impl Fake {
    /// Brokers that speak Fetch up to a version, and Metadata.
    pub fn start(brokers: usize, version: i16) -> Arc<Fake> {
        let bind = |_| TcpListener::bind("127.0.0.1:0").expect("a free port");
        let listeners: Vec<TcpListener> = (0..brokers).map(bind).collect();
        let port = |listener: &TcpListener| listener.local_addr().expect("it is bound").port();
        let ports = listeners.iter().map(port).collect();
        let (script, changed) = (Mutex::default(), Condvar::new());
        let fake = Arc::new(Fake { ports, version, script, changed });
        for (listener, broker) in listeners.into_iter().zip(1..) {
            let fake = Arc::clone(&fake);
            std::thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let fake = Arc::clone(&fake);
                    std::thread::spawn(move || fake.serve(stream, broker));
                }
            });
        }
        fake
    }

    /// Where to begin.
    pub fn address(&self) -> (String, u16) {
        ("127.0.0.1".to_owned(), self.ports[0])
    }

    /// Changes what happens, or looks at what did.
    pub fn with<T>(&self, change: impl FnOnce(&mut Script) -> T) -> T {
        let result = change(&mut self.script.lock().expect("no test panics with it"));
        self.changed.notify_all();
        result
    }

    fn serve(&self, mut stream: TcpStream, broker: i32) {
        while let Some(request) = frame(&mut stream) {
            let mut request = In(&request, 0, false);
            let (key, version, correlation) = (request.i16(), request.i16(), request.i32());
            request.text();
            let mut out = Out { bytes: correlation.to_be_bytes().to_vec(), flexible: false };
            match key {
                18 => self.hello(&mut out),
                3 => self.metadata(version, &mut out),
                _ => {
                    request.2 = version >= 12;
                    out.flexible = version >= 12;
                    out.end();
                    let fault = self.fetch(request, version, broker, &mut out);
                    match fault {
                        Some(Fault::HangUp) => {
                            let _ = stream.write_all(&(out.bytes.len() as i32).to_be_bytes());
                            let _ = stream.write_all(&out.bytes[..out.bytes.len() / 2]);
                            return;
                        }
                        Some(Fault::Garbage(bytes)) => {
                            let _ = stream.write_all(&bytes);
                            return;
                        }
                        _ => {}
                    }
                }
            }
            let length = (out.bytes.len() as i32).to_be_bytes();
            if stream.write_all(&[&length[..], &out.bytes].concat()).is_err() {
                return;
            }
        }
    }

    fn hello(&self, out: &mut Out) {
        out.i16(0);
        out.i32(3);
        for (key, min, max) in [(1, 4, self.version), (3, 0, self.version), (18, 0, 3)] {
            [key, min, max].into_iter().for_each(|number| out.i16(number));
        }
    }

    fn metadata(&self, version: i16, out: &mut Out) {
        out.flexible = version >= 9;
        out.end();
        self.with(|script| script.questions += 1);
        out.i32(0);
        out.count(self.ports.len());
        for (port, broker) in self.ports.iter().zip(1..) {
            out.i32(broker);
            out.text("127.0.0.1");
            out.i32(i32::from(*port));
            out.none(); // rack
            out.end();
        }
        out.text("cluster");
        out.i32(1);
        out.count(1);
        out.i16(0);
        out.text("t");
        let (leaders, topic) = self.with(|script| (script.leaders.clone(), script.topic));
        if version >= 10 {
            out.i64(0);
            out.i64(topic);
        }
        out.i8(0);
        out.count(leaders.len());
        for (partition, leader) in leaders {
            out.i16(0);
            out.i32(partition);
            out.i32(leader);
            if version >= 7 {
                out.i32(leader + 10);
            }
            for _ in 0..if version >= 5 { 3 } else { 2 } {
                out.count(1);
                out.i32(leader);
            }
            out.end();
        }
        if version >= 8 {
            out.i32(i32::MIN);
        }
        out.end();
        if (8..=10).contains(&version) {
            out.i32(i32::MIN);
        }
        out.end();
    }

    fn fetch(
        &self,
        mut request: In<'_>,
        version: i16,
        broker: i32,
        out: &mut Out,
    ) -> Option<Fault> {
        request.end();
        let (_, wait_ms) = (request.i32(), request.i32());
        let (_min, mut room) = (request.i32(), i64::from(request.i32()));
        request.i8();
        if version >= 7 {
            assert_eq!((request.i32(), request.i32()), (0, -1), "no session");
        }
        let script = self.script.lock().expect("no test panics with it");
        let mut script =
            self.changed.wait_while(script, |script| script.held).expect("no test panics with it");
        let fault = script.faults.pop_front();
        out.i32(if let Some(Fault::Throttle(ms)) = fault { ms } else { 0 });
        if version >= 7 {
            out.i16(0);
            out.i32(0);
        }
        let topics = request.count();
        out.count(topics);
        let mut sent = 0;
        for _ in 0..topics {
            out.text(&request.text());
            let parts = request.count();
            out.count(parts);
            for _ in 0..parts {
                let wanted = Wanted::read(&mut request, version);
                script.fetched.push((broker, wanted.partition, wanted.offset));
                let log = script.answer(&fault, broker, &wanted);
                let bytes = log.as_ref().map_or(Vec::new(), |log| {
                    batches(log, wanted.offset, wanted.max_bytes.min(room), sent == 0)
                });
                room -= bytes.len() as i64;
                sent += bytes.len();
                out.part(version, wanted.partition, &script.aborted, &bytes, log.as_deref());
                match fault {
                    Some(Fault::Diverged(at)) if version >= 12 => out.diverged(at),
                    _ => out.end(),
                }
            }
            request.end();
            out.end();
        }
        out.end();
        if sent == 0 && fault.is_none() {
            let wait = std::time::Duration::from_millis(wait_ms.clamp(0, 50) as u64);
            // As a broker does: it waits for what does not come.
            let _ = self.changed.wait_timeout(script, wait);
        }
        fault
    }
}

/// What is asked of a partition.
struct Wanted {
    partition: i32,
    epoch: i32,
    offset: i64,
    max_bytes: i64,
}

impl Wanted {
    fn read(request: &mut In<'_>, version: i16) -> Wanted {
        let partition = request.i32();
        let epoch = if version >= 9 { request.i32() } else { -1 };
        let offset = request.i64();
        if version >= 12 {
            request.i32();
        }
        if version >= 5 {
            request.i64();
        }
        let max_bytes = i64::from(request.i32());
        request.end();
        Wanted { partition, epoch, offset, max_bytes }
    }
}

impl Script {
    /// The log to answer with, or the code of why there is none.
    fn answer(&self, fault: &Option<Fault>, broker: i32, wanted: &Wanted) -> Result<Vec<Log>, i16> {
        let leader = self.leaders.get(&wanted.partition).copied();
        match (fault, leader) {
            (Some(Fault::Code(code)), _) => Err(*code),
            (Some(Fault::Diverged(_)), _) => Err(0),
            (_, Some(leader)) if leader == broker => {
                let known = wanted.epoch == -1 || wanted.epoch == leader + 10;
                assert!(known, "the epoch that was told");
                Ok(self.logs.get(&wanted.partition).cloned().unwrap_or_default())
            }
            _ => Err(6),
        }
    }
}

/// Batches from an offset on, cut off at `room`; the first of an answer is whole.
fn batches(log: &[Log], offset: i64, room: i64, is_first: bool) -> Vec<u8> {
    let room = room.max(0) as usize;
    let mut bytes = Vec::new();
    for (_, _, batch) in log.iter().filter(|(_, last, _)| *last >= offset) {
        if bytes.len() + batch.len() <= room || (bytes.is_empty() && is_first) {
            bytes.extend(batch);
            continue;
        }
        let cut = room.saturating_sub(bytes.len());
        bytes.extend(&batch[..cut]);
        break;
    }
    bytes
}

fn frame(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).ok()?;
    let mut bytes = vec![0; i32::from_be_bytes(length) as usize];
    stream.read_exact(&mut bytes).ok()?;
    Some(bytes)
}

struct In<'a>(&'a [u8], usize, bool);

impl In<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        self.1 += N;
        self.0[self.1 - N..self.1].try_into().expect("so many")
    }
    fn i8(&mut self) -> i8 {
        i8::from_be_bytes(self.take())
    }
    fn i16(&mut self) -> i16 {
        i16::from_be_bytes(self.take())
    }
    fn i32(&mut self) -> i32 {
        i32::from_be_bytes(self.take())
    }
    fn i64(&mut self) -> i64 {
        i64::from_be_bytes(self.take())
    }
    /// Tests have nothing that takes two bytes.
    fn small(&mut self) -> usize {
        let [byte] = self.take();
        assert!(byte < 0x80);
        usize::from(byte)
    }
    fn count(&mut self) -> usize {
        if self.2 { self.small() - 1 } else { self.i32() as usize }
    }
    fn text(&mut self) -> String {
        let length = if self.2 { self.small() - 1 } else { self.i16() as usize };
        self.1 += length;
        String::from_utf8(self.0[self.1 - length..self.1].to_vec()).expect("text")
    }
    fn end(&mut self) {
        if self.2 {
            assert_eq!(self.small(), 0);
        }
    }
}

struct Out {
    bytes: Vec<u8>,
    flexible: bool,
}

impl Out {
    fn i8(&mut self, value: i8) {
        self.bytes.extend(value.to_be_bytes());
    }
    fn i16(&mut self, value: i16) {
        self.bytes.extend(value.to_be_bytes());
    }
    fn i32(&mut self, value: i32) {
        self.bytes.extend(value.to_be_bytes());
    }
    fn i64(&mut self, value: i64) {
        self.bytes.extend(value.to_be_bytes());
    }
    fn length(&mut self, mut length: usize) {
        length += 1;
        while length > 0x7f {
            self.bytes.push(length as u8 | 0x80);
            length >>= 7;
        }
        self.bytes.push(length as u8);
    }
    fn count(&mut self, count: usize) {
        if self.flexible { self.length(count) } else { self.i32(count as i32) }
    }
    fn text(&mut self, text: &str) {
        if self.flexible {
            self.length(text.len())
        } else {
            self.i16(text.len() as i16)
        }
        self.bytes.extend(text.as_bytes());
    }
    /// A text that is null.
    fn none(&mut self) {
        if self.flexible { self.bytes.push(0) } else { self.i16(-1) }
    }
    fn end(&mut self) {
        if self.flexible {
            self.bytes.push(0);
        }
    }
    fn part(
        &mut self,
        version: i16,
        partition: i32,
        aborted: &[(i64, i64)],
        bytes: &[u8],
        log: Result<&[Log], &i16>,
    ) {
        let code = log.err().copied().unwrap_or(0);
        let end = log.ok().and_then(<[Log]>::last).map_or(0, |(_, last, _)| last + 1);
        self.i32(partition);
        self.i16(code);
        self.i64(end);
        self.i64(end);
        if version >= 5 {
            self.i64(0);
        }
        self.count(aborted.len());
        for (producer, first) in aborted {
            self.i64(*producer);
            self.i64(*first);
            self.end();
        }
        if version >= 11 {
            self.i32(-1);
        }
        self.count(bytes.len());
        self.bytes.extend(bytes);
    }
    /// One tagged field, 0, and one that is not known.
    fn diverged(&mut self, at: i64) {
        self.bytes.extend([2, 0, 13]);
        self.i32(1);
        self.i64(at);
        self.bytes.push(0);
        self.bytes.extend([9, 2, 0xaa, 0xbb]);
    }
}
