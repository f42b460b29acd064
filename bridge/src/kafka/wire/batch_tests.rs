//! Record batches: bytes that Apache Kafka 4.3.1 wrote, batches of all shapes there and back, and
//! bytes that nobody should write.

use proptest::prelude::*;

use super::record;
use super::testing::{Batch, Written, java_snappy, lz4, pack};
use super::vet::{Codec, Flaw, HEAD_BYTES, Rules, Vetted, vet};
use crate::unpack::{Target, Unpacker};

const UNPACKED_MAX: usize = 1 << 20;

/// A record as it was read.
type Read = (i64, i64, Written);

fn rules(from: i64) -> Rules<'static> {
    Rules { from, epoch: -1, aborted: &[], committed: true, check_crc: true }
}

/// Everything that is to be read, by the plainest way.
fn read(bytes: &[u8], vetted: &Vetted) -> Result<Vec<Read>, Flaw> {
    let mut unpacker = Unpacker::default();
    let mut found = Vec::new();
    for span in &vetted.spans {
        let mut memory = Vec::new();
        let mut target = Target { bytes: &mut memory, len: 0, bytes_max: UNPACKED_MAX };
        unpacker.unpack(span.codec, &bytes[span.start..span.end], &mut target)?;
        let len = target.len;
        let mut at = 0;
        for _ in 0..span.records {
            let raw = record::next(&memory[..len], &mut at)?;
            let mut headers = Vec::new();
            record::headers(raw.headers, &mut |name, value| {
                headers.push((name.to_vec(), value.map(<[u8]>::to_vec)));
            });
            let written = Written {
                offset_delta: raw.offset_delta,
                timestamp_delta: raw.timestamp_delta,
                key: raw.key.map(<[u8]>::to_vec),
                value: raw.value.map(<[u8]>::to_vec),
                headers,
            };
            let created = span.base_timestamp + raw.timestamp_delta;
            let offset = span.base_offset + i64::from(raw.offset_delta);
            found.push((offset, span.append_timestamp.unwrap_or(created), written));
        }
        if at != len {
            return Err(Flaw::Broken("rest"));
        }
    }
    Ok(found)
}

fn hex(text: &str) -> Vec<u8> {
    let byte = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect("two digits");
    (0..text.len()).step_by(2).map(byte).collect()
}

/// Two records as Kafka's console producer sent them, with each compression: `k1` with the headers
/// `a: 1` and `b:` and the value `value one`, `k2` with `a: 2` and `value two`.
const GOLDEN: [&str; 5] = [
    "000000000000000000000060000000000232393d46000000000001000001a1ff6405e0000001a1ff6405ee000000\
     00000000000000000000000000000230000000046b311276616c7565206f6e6504026102310262002a001c02046b\
     321276616c75652074776f0202610232",
    "00000000000000000000006d00000000023442fafe000100000001000001a1ff640d59000001a1ff640d6c000000\
     0000000001000000000000000000021f8b08000000000000ff3360606060c936142a4bcc294d55c8cf4b65614a64\
     32644a62d062506362c936824a9494e73301258c00214bc8b92f000000",
    "000000000000000000000077000000000291ec5cf4000200000001000001a1ff64139b000001a1ff6413ee000000\
     00000000020000000000000000000282534e415050590000000001000000010000003230bc30000000046b311276\
     616c7565206f6e6504026102310262002c00a60102046b321276616c75652074776f0202610232",
    "00000000000000000000006e000000000234253cd1000300000001000001a1ff641b13000001a1ff641b54000000\
     00000000030000000000000000000204224d186040822e000000f31230000000046b311276616c7565206f6e6504\
     026102310262002c00820102046b321a008074776f020261023200000000",
    "00000000000000000000006d000000000202eca6e0000400000001000001a1ff6423a5000001a1ff64240e000000\
     00000000040000000000000000000228b52ffd005880010030000000046b311276616c7565206f6e650402610231\
     0262002c00d20102046b321276616c75652074776f0202610232010000",
];

#[test]
fn what_kafka_wrote_is_read_with_every_compression() {
    let header = |name: &str, value: &str| (name.into(), Some(value.as_bytes().to_vec()));
    for (golden, codec) in GOLDEN.iter().zip(CODECS) {
        let bytes = hex(golden);
        let vetted = vet(&bytes, rules(0));
        assert_eq!((vetted.next, vetted.epoch, &vetted.flaw), (2, 0, &None), "{codec:?}");
        assert_eq!(vetted.spans[0].codec, codec);
        let found = read(&bytes, &vetted).expect("Kafka wrote it");
        let [(0, first_ms, first), (1, second_ms, second)] = &found[..] else {
            panic!("{codec:?}: {found:?}");
        };
        assert!(1_700_000_000_000 < *first_ms && first_ms < second_ms, "{codec:?}");
        assert_eq!(first.key.as_deref(), Some(&b"k1"[..]));
        assert_eq!(first.value.as_deref(), Some(&b"value one"[..]));
        assert_eq!(first.headers, [header("a", "1"), header("b", "")]);
        assert_eq!(second.value.as_deref(), Some(&b"value two"[..]));
        assert_eq!(second.headers, [header("a", "2")]);
    }
}

#[test]
fn the_writer_of_tests_writes_what_kafka_writes() {
    let bytes = hex(GOLDEN[0]);
    let vetted = vet(&bytes, rules(0));
    let found = read(&bytes, &vetted).expect("Kafka wrote it");
    let mut batch = Batch::of(0, &["", ""]);
    batch.base_timestamp = vetted.spans[0].base_timestamp;
    batch.epoch = 0;
    batch.producer = 0;
    batch.records = found.iter().map(|(_, _, record)| record.clone()).collect();
    let mut again = batch.bytes();
    // The largest timestamp is the last record's there, and the sum is over it.
    again[35..43].copy_from_slice(&bytes[35..43]);
    again[17..21].copy_from_slice(&bytes[17..21]);
    assert_eq!(again, bytes);
}

const CODECS: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

fn some_bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
    // Repetitive and not: compressors take both.
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..most),
        (any::<u8>(), 0..most).prop_map(|(byte, count)| vec![byte; count]),
    ]
}

prop_compose! {
    fn written()(
        gap in 1i32..4,
        timestamp_delta in -5_000_000_000i64..5_000_000_000,
        key in prop::option::of(some_bytes(40)),
        value in prop::option::of(some_bytes(3_000)),
        headers in prop::collection::vec((some_bytes(9), prop::option::of(some_bytes(9))), 0..3),
    ) -> Written {
        // For now the gap stands in the place of the offset.
        Written { offset_delta: gap, timestamp_delta, key, value, headers }
    }
}

prop_compose! {
    fn batch()(
        mut records in prop::collection::vec(written(), 0..40),
        codec in prop::sample::select(&CODECS[..]),
        behind in 0i32..5,
        append_timestamp in prop::option::of(0i64..1 << 45),
    ) -> Batch {
        let mut at = -1;
        for record in &mut records {
            at += record.offset_delta;
            record.offset_delta = at;
        }
        let mut batch = Batch::of(0, &[]);
        batch.last_delta = at.max(0) + behind;
        batch.codec = codec;
        batch.base_timestamp = 1 << 40;
        batch.append_timestamp = append_timestamp;
        batch.records = records;
        batch
    }
}

proptest! {
    #[test]
    fn what_was_written_is_read(
        batches in prop::collection::vec(batch(), 0..4),
        cut in 0usize..80,
    ) {
        let (mut bytes, mut expected, mut base) = (Vec::new(), Vec::new(), 7);
        for mut batch in batches {
            batch.base_offset = base;
            for record in &batch.records {
                let created = batch.base_timestamp + record.timestamp_delta;
                let timestamp = batch.append_timestamp.unwrap_or(created);
                expected.push((base + i64::from(record.offset_delta), timestamp, record.clone()));
            }
            base += i64::from(batch.last_delta) + 1;
            bytes.extend(batch.bytes());
        }
        // Answers end anywhere.
        let more = Batch::of(base, &["more than this is not here"]).bytes();
        bytes.extend(&more[..cut]);
        let vetted = vet(&bytes, rules(7));
        prop_assert_eq!(&vetted.flaw, &None);
        prop_assert_eq!(vetted.next, base);
        let whole = match cut {
            0 => None,
            1..17 => Some(HEAD_BYTES),
            _ => Some(more.len()),
        };
        prop_assert_eq!(vetted.cut, whole);
        prop_assert_eq!(read(&bytes, &vetted).expect("it was written well"), expected);
    }

    /// Errors are fine, panics and memory beyond the bound are not.
    #[test]
    fn damaged_bytes_do_no_harm(
        batches in prop::collection::vec(batch(), 1..3),
        blows in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        end in any::<prop::sample::Index>(),
    ) {
        let mut bytes: Vec<u8> = batches.iter().flat_map(Batch::bytes).collect();
        for (place, byte) in blows {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        bytes.truncate(end.index(bytes.len()) + 1);
        // With the sum every blow is found; without it, whatever comes of it is held.
        for check_crc in [true, false] {
            let vetted = vet(&bytes, Rules { check_crc, ..rules(0) });
            let _ = read(&bytes, &vetted);
        }
    }

    #[test]
    fn any_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut unpacker = Unpacker::default();
        for codec in CODECS {
            let mut memory = Vec::new();
            let mut target = Target { bytes: &mut memory, len: 0, bytes_max: 1_000 };
            let _ = unpacker.unpack(codec, &bytes, &mut target);
            prop_assert!(target.len <= 1_000 && memory.len() <= 1_000);
        }
        let _ = vet(&bytes, rules(0));
        record::headers(&bytes, &mut |_, _| {});
        let mut at = 0;
        while record::next(&bytes, &mut at).is_ok() {}
    }
}

/// What is read of batches, by values; and where reading goes on.
fn values(batches: &[Batch], aborted: &[(i64, i64)], committed: bool) -> (Vec<String>, i64) {
    let bytes: Vec<u8> = batches.iter().flat_map(Batch::bytes).collect();
    let vetted = vet(&bytes, Rules { aborted, committed, ..rules(0) });
    assert_eq!(vetted.flaw, None);
    let found = read(&bytes, &vetted).expect("it was written well");
    let text = |record: Written| String::from_utf8(record.value.expect("a value")).expect("text");
    (found.into_iter().map(|(_, _, record)| text(record)).collect(), vetted.next)
}

#[test]
fn aborted_transactions_and_control_records_are_passed() {
    let log = [
        Batch::of(0, &["a", "b"]).by(1),
        Batch::of(2, &["c"]).by(2),
        Batch::of(3, &["d"]),
        Batch::end(4, 1, 0),
        // The same producer once more, with luck.
        Batch::of(5, &["e"]).by(1),
        Batch::end(6, 2, 1),
        Batch::end(7, 1, 1),
        Batch::of(8, &["f"]).by(2),
        Batch::end(9, 2, 0),
    ];
    let aborted = [(1, 0), (2, 8)];
    let (found, next) = values(&log, &aborted, true);
    assert_eq!((found.join(""), next), ("cde".to_owned(), 10));
    let (found, next) = values(&log, &aborted, false);
    assert_eq!((found.join(""), next), ("abcdef".to_owned(), 10));
}

#[test]
fn a_transaction_that_began_before_what_was_fetched_is_still_aborted() {
    let log = [Batch::of(10, &["x"]).by(1), Batch::end(11, 1, 0), Batch::of(12, &["y"]).by(1)];
    let bytes: Vec<u8> = log.iter().flat_map(Batch::bytes).collect();
    let aborted = [(1, 3)];
    let vetted = vet(&bytes, Rules { aborted: &aborted, ..rules(10) });
    assert_eq!(vetted.spans.len(), 1);
    assert_eq!((vetted.spans[0].base_offset, vetted.next), (12, 13));
}

#[test]
fn what_compaction_left_moves_the_position() {
    let mut thinned = Batch::of(0, &["a", "b", "c"]);
    thinned.last_delta = 9;
    let empty = Batch { last_delta: 4, ..Batch::of(10, &[]) };
    let (found, next) = values(&[thinned, empty], &[], true);
    assert_eq!((found.join(""), next), ("abc".to_owned(), 15));
}

#[test]
fn a_fetch_from_the_middle_passes_what_lies_before() {
    let log = [Batch::of(0, &["a", "b"]), Batch::of(2, &["c", "d"])];
    let bytes: Vec<u8> = log.iter().flat_map(Batch::bytes).collect();
    let vetted = vet(&bytes, rules(2));
    assert_eq!((vetted.spans.len(), vetted.spans[0].base_offset, vetted.next), (1, 2, 4));
}

#[test]
fn what_cannot_be_read_is_named_and_what_lies_before_it_is_read() {
    let good = Batch::of(0, &["a"]).bytes();
    let check = |spoil: &dyn Fn(&mut Vec<u8>), expected: Flaw| {
        let mut bad = Batch::of(1, &["b"]).bytes();
        spoil(&mut bad);
        let bytes = [&good[..], &bad[..]].concat();
        let vetted = vet(&bytes, Rules { check_crc: expected == Flaw::Checksum, ..rules(0) });
        assert_eq!((vetted.spans.len(), vetted.next, vetted.flaw), (1, 1, Some(expected)));
    };
    check(&|bytes| bytes[68] ^= 1, Flaw::Checksum);
    check(&|bytes| bytes[16] = 1, Flaw::Old);
    check(&|bytes| bytes[16] = 3, Flaw::Broken("magic"));
    check(&|bytes| bytes[8..12].fill(0xff), Flaw::Broken("batch_length"));
    check(&|bytes| bytes[22] = 7, Flaw::Broken("compression"));
    check(&|bytes| bytes[23] = 0xff, Flaw::Broken("last_offset_delta"));
    check(&|bytes| bytes[57] = 0xff, Flaw::Broken("records_count"));
    check(&|bytes| bytes[57] = 0x7f, Flaw::Broken("records_count"));
}

/// Unpacks to a bound.
fn unpacked(codec: Codec, packed: &[u8], bytes_max: usize) -> Result<Vec<u8>, Flaw> {
    let mut memory = b"before".to_vec();
    let mut target = Target { bytes: &mut memory, len: 6, bytes_max };
    Unpacker::default().unpack(codec, packed, &mut target)?;
    let len = target.len;
    assert!(memory.starts_with(b"before"));
    Ok(memory[6..len].to_vec())
}

#[test]
fn bombs_are_refused_at_the_bound() {
    let bomb = vec![0u8; 300_000];
    for codec in CODECS {
        let packed = pack(codec, &bomb);
        assert_eq!(unpacked(codec, &packed, 300_000).as_deref(), Ok(&bomb[..]), "{codec:?}");
        assert_eq!(unpacked(codec, &packed, 299_999), Err(Flaw::TooLarge), "{codec:?}");
    }
    let packed = java_snappy(&bomb, 32 << 10);
    assert_eq!(unpacked(Codec::Snappy, &packed, 300_000).as_deref(), Ok(&bomb[..]));
    assert_eq!(unpacked(Codec::Snappy, &packed, 299_999), Err(Flaw::TooLarge));
    // A few bytes that claim to be four gigabytes.
    let claim = [0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0];
    assert!(unpacked(Codec::Snappy, &claim, 1 << 30).is_err());
}

#[test]
fn blocks_of_lz4_may_refer_to_those_before() {
    let text: Vec<u8> =
        (0..400_000u32).flat_map(|n| (n / 7 % 1_000).to_string().into_bytes()).collect();
    for mode in [lz4_flex::frame::BlockMode::Independent, lz4_flex::frame::BlockMode::Linked] {
        let found = unpacked(Codec::Lz4, &lz4(&text, mode), 1 << 24);
        assert!(found.as_deref() == Ok(&text[..]), "{mode:?}");
    }
}
