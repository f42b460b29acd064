//! What a lane does with batches that were on their way when everything was wanted back.

use std::sync::atomic::AtomicU64;

use super::*;
use crate::batch::Route;
use crate::batch::testing::batch;
use crate::format::Decoded;
use crate::outbox::{Closing, Destination};
use crate::ticket::{Lost, Share};

/// The intake's word that everything up to this ticket is wanted back, said while a batch is here.
#[derive(Clone)]
struct Word {
    reset: watch::Sender<u64>,
    last: Arc<AtomicU64>,
}

impl Word {
    fn say(&self) -> bool {
        let last = self.last.load(Ordering::Relaxed);
        last > 0 && {
            self.reset.send_replace(last);
            true
        }
    }
}

/// A format without a row.
struct Nothing(Word);

impl Format for Nothing {
    fn decode(
        &mut self,
        _: &RecordBatch,
        _: &mut RowBatch,
        _: &mut Rejects,
    ) -> Result<Decoded, Fault> {
        self.0.say();
        Ok(Decoded { skipped: 0 })
    }
}

/// Writes a byte for each batch, unless the word is said while it waits for a table.
struct Bytes(Word);

impl Encoder for Bytes {
    fn encode(
        &mut self,
        records: &RecordBatch,
        _: &RowBatch,
        _: &mut Rejects,
        outbox: &mut Outbox,
    ) -> Result<(), Fault> {
        if self.0.say() {
            return Err(Fault::world("interrupted while a table was waited for"));
        }
        let to = Destination { table: 0, courier: 0, route: records.route };
        outbox.payload(to, &"t".into(), &records.ticket).buffers.bytes.push(0);
        Ok(())
    }
}

/// Long enough that no payload is closed for its age.
const PACE: Duration = Duration::from_secs(3600);

struct Bench {
    lane: Lane,
    lost: Arc<Lost>,
    word: Word,
    payloads: mpsc::Receiver<Payload>,
    receipts: mpsc::Receiver<Receipt>,
    _doors: (mpsc::Sender<Work>, mpsc::Receiver<Rejected>),
}

impl Bench {
    fn new() -> Bench {
        let (work, inbox) = mpsc::channel(1);
        let (courier, payloads) = mpsc::channel(8);
        let (home, receipts) = mpsc::channel(8);
        let (dead_letters, letters) = mpsc::channel(1);
        let (reset, told) = watch::channel(0);
        let word = Word { reset, last: Arc::default() };
        let bound = 1 << 20;
        let closing =
            Closing { payload_bytes_max: bound, payload_rows_max: bound, open_bytes_max: bound };
        let lane = Lane {
            inbox,
            format: Box::new(Nothing(word.clone())),
            transforms: Vec::new(),
            successor: Successor::new(Arc::default()),
            ways: vec![LaneWay {
                encoder: Box::new(Bytes(word.clone())),
                first_courier: 0,
                reset: told,
                sink: None,
            }],
            also: Vec::new(),
            outbox: Outbox::new(closing, Arc::default(), Instant::now()),
            couriers: vec![courier],
            dead_letters,
            home: Home::new(home, Arc::new(|| {})),
            meter: Arc::default(),
            lent_bytes: Arc::new(AtomicUsize::new(usize::MAX / 2)),
            letters_first: false,
            guard: RejectGuard::new(&Limits::default()),
            rows: RowBatch::default(),
            portions: Portions::default(),
            rejects: Rejects::default(),
        };
        let lost = Arc::default();
        Bench { lane, lost, word, payloads, receipts, _doors: (work, letters) }
    }

    /// A batch with this ticket; whether it went back.
    fn goes_back(&mut self, id: u64) -> bool {
        let mut records = batch(vec![(None, None)]);
        let ticket =
            std::mem::replace(&mut records.ticket, Ticket::issue(id, Arc::clone(&self.lost)));
        ticket.into_share().redeem();
        let pace = Pace { now: Instant::now(), linger: PACE };
        self.lane.fill(records, pace).expect("the pipeline can go on");
        let receipt = self.receipts.try_recv().expect("the batch's own share comes home");
        assert_eq!(redeem(receipt.shares), [id]);
        matches!(receipt.verdict, Verdict::Rewind { route: Route::Primary })
    }

    /// The tickets of the next payload that was sent on.
    fn sent(&mut self) -> Option<Vec<u64>> {
        Some(redeem(self.payloads.try_recv().ok()?.shares))
    }
}

fn redeem(shares: Vec<Share>) -> Vec<u64> {
    let ids = shares.iter().map(Share::id).collect();
    shares.into_iter().for_each(|share| {
        share.redeem();
    });
    ids
}

#[test]
fn batches_that_are_wanted_back_go_back() {
    let mut bench = Bench::new();
    assert!(!bench.goes_back(1));
    assert!(!bench.goes_back(2));
    assert_eq!(bench.sent(), None, "it waits for more");
    // Four is still at the door of the lane.
    bench.word.reset.send_replace(4);
    assert!(bench.goes_back(3));
    assert_eq!(bench.sent(), Some(vec![1, 2]), "nothing newer joins what goes back whole");
    assert!(bench.goes_back(4));
    // What is read again has a ticket of its own.
    assert!(!bench.goes_back(5));
    assert_eq!(bench.sent(), None, "it waits for more");
    assert!(!bench.goes_back(6));
    bench.lane.outbox.close_all();
    bench.lane.send_closed().expect("the courier is there");
    assert_eq!(bench.sent(), Some(vec![5, 6]));
    assert_eq!(bench.lost.count(), 0);
}

/// The word is said again and again until all is home, always with the same ticket.
#[test]
fn who_is_interrupted_gives_back_however_often_the_word_was_said_before() {
    let mut bench = Bench::new();
    bench.word.last.store(1, Ordering::Relaxed);
    assert!(bench.goes_back(1));
    bench.word.last.store(0, Ordering::Relaxed);
    assert!(!bench.goes_back(2));
    bench.lane.outbox.close_all();
    bench.lane.send_closed().expect("the courier is there");
    assert_eq!((bench.sent(), bench.lost.count()), (Some(vec![2]), 0));
}
