//! Compressed values: the same rows as of plain ones, in portions that stay small; streams that are
//! broken anywhere, and those that would become too much.

use proptest::prelude::*;

use super::*;
use crate::batch::testing::batch;
use crate::format::testing::{Bench, parsed};
use crate::kafka::wire::testing::{java_snappy, pack};

const NAMES: [(&str, Codec); 4] =
    [("gzip", Codec::Gzip), ("zstd", Codec::Zstd), ("snappy", Codec::Snappy), ("lz4", Codec::Lz4)];

fn bench(format: &str, compression: &str) -> Bench {
    Bench::new(&format!("{format}\ncompression = \"{compression}\""), "")
}

const JSON: &str = "format = \"json\"";

#[test]
fn packed_values_are_what_plain_ones_are() {
    let formats = [
        (JSON, "{\"a\":1,\"b\":\"x\"}"),
        ("format = \"csv\"\ncolumns = [\"a\"]", "x\ny"),
        ("format = \"ilp\"\nmeasurement = \"ignore\"", "m a=1\nm a=2"),
        ("format = \"avro\"\nframing = \"bare\"\nschema = '\"string\"'", "\u{4}ab"),
        ("format = \"json-schema\"\nframing = \"optional\"", "{\"a\":1}"),
        ("format = \"raw\"", "any"),
        ("format = \"i16\"", "ab"),
        ("format = \"string\"", ""),
        (JSON, "{\"a\":"),
    ];
    for (name, codec) in NAMES {
        for (format, value) in formats {
            let plain = Bench::new(format, "").told(value);
            let packed = pack(codec, value.as_bytes());
            assert_eq!(bench(format, name).told(packed), plain, "{name} {format}");
        }
    }
    assert_eq!(bench(JSON, "none").told("{\"a\":1}"), "a=1i");
    let mut snappy = bench(JSON, "snappy");
    assert_eq!(snappy.told(java_snappy(b"{\"a\":1}", 4)), "a=1i", "the frame of Java's library");
}

#[test]
fn frames_may_stand_behind_each_other() {
    for (name, codec) in [NAMES[0], NAMES[1], NAMES[3]] {
        let packed = [pack(codec, b"{\"a\":"), pack(codec, b"1}")].concat();
        assert_eq!(bench(JSON, name).told(packed), "a=1i", "{name}");
    }
}

#[test]
fn what_is_broken_is_told_with_its_place() {
    let text = "{\"a\":\"".to_owned() + &"0123456789".repeat(50) + "\"}";
    let check = |name: &str, packed: &[u8], words: &[&str]| {
        let told = bench(JSON, name).told(packed);
        let lead = format!("format malformed: the value is not {name}: ");
        assert!(told.starts_with(&lead), "{told}");
        words.iter().for_each(|word| assert!(told.contains(word), "{name}: {told}"));
        let at = told.rsplit_once(", at byte ").and_then(|(_, at)| at.split_once(" of "));
        let (at, of) = at.expect("it says where");
        let (at, of): (usize, usize) = (at.parse().expect("a byte"), of.parse().expect("of all"));
        assert!(at <= of && of == packed.len(), "{told}");
    };
    check("gzip", b"{\"a\":1,\"b\":22}", &["header", "of 14"]);
    check("gzip", b"{\"a\":1}", &["end of file, at byte 7 of 7"]);
    check("zstd", b"{\"a\":1}", &["nknown frame", "at byte 0 of 7"]);
    check("snappy", b"{\"a\":1}", &["at byte 0 of 7"]);
    check("lz4", b"{\"a\":1}", &["no frame", "at byte 0 of 7"]);
    for (name, codec) in NAMES {
        let packed = pack(codec, text.as_bytes());
        check(name, &packed[..packed.len() / 2], &[]);
        check(name, &packed[..packed.len() - 1], &[]);
        // Snappy's blocks say their size at the start; what follows is a part of them.
        check(name, &[&packed[..], b"x"].concat(), &[]);
    }
    assert_eq!(bench(JSON, "gzip").told(""), "format empty: the value has no bytes");
    let sized = java_snappy(text.as_bytes(), 100);
    check("snappy", &sized[..sized.len() - 1], &["longer than the rest"]);
    check("snappy", &[&sized[..], &[0, 0]].concat(), &["ends within a block's size"]);
}

#[test]
fn sums_that_a_frame_has_are_held() {
    use lz4_flex::frame::{FrameEncoder, FrameInfo};
    use std::io::Write as _;
    let text = b"{\"a\":\"0123456789\"}";
    let info = FrameInfo::new().content_checksum(true).content_size(Some(text.len() as u64));
    let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
    encoder.write_all(text).expect("memory takes all");
    let mut packed = encoder.finish().expect("memory takes all");
    assert_eq!(bench(JSON, "lz4").told(&packed), "a=\"0123456789\"");
    let last = packed.len() - 1;
    packed[last] ^= 1;
    assert!(bench(JSON, "lz4").told(&packed).contains("checksum that is right"));
    packed[last] ^= 1;
    packed[6] += 1;
    assert!(bench(JSON, "lz4").told(&packed).contains("checksum that is right"));
    let mut gzip = pack(Codec::Gzip, text);
    let sum = gzip.len() - 8;
    gzip[sum] ^= 1;
    assert!(bench(JSON, "gzip").told(&gzip).contains("checksum"));
}

#[test]
fn a_bomb_is_too_large() {
    // Of the bench: record_bytes_max is 100,000.
    for (name, codec) in NAMES {
        let mut bench = bench("format = \"raw\"", name);
        let told = bench.told(pack(codec, &vec![b'x'; 100_000]));
        assert!(told.starts_with("value=\"xxx"), "{name}");
        let bomb = pack(codec, &vec![0; 40_000_000]);
        let bytes = bomb.len();
        let words = match bytes <= 100_000 {
            true => format!(
                "intake too-large: {bytes} bytes of {name} unpack to more than \
                 record_bytes_max = 100000"
            ),
            false => {
                format!("intake too-large: {bytes} bytes are more than record_bytes_max = 100000")
            }
        };
        assert_eq!(bench.told(bomb), words);
        assert!(bench.told(pack(codec, &vec![0; 100_001])).contains("too-large"));
    }
    // Eight bytes that claim to be four gigabytes, and frames that do so one after the other.
    let claim = [0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0];
    assert!(bench("format = \"raw\"", "snappy").told(claim).contains("cannot be 4294967295"));
    let twice = pack(Codec::Lz4, &vec![0; 60_000]).repeat(2);
    assert!(bench("format = \"raw\"", "lz4").told(twice).contains("unpack to more"));
}

#[test]
fn a_batch_that_unpacks_to_far_more_is_read_in_portions() {
    let value = format!("{{\"a\":\"{}\"}}", "x".repeat(9_000));
    let packed = pack(Codec::Zstd, value.as_bytes());
    assert!(packed.len() < 100, "it is small");
    let mut pairs: Vec<_> = (0..100).map(|_| (None, Some(packed.clone()))).collect();
    pairs[30].1 = None;
    pairs[40].1 = Some(b"no".to_vec());
    let records = batch(pairs);
    let section = crate::config::Section::new("value", toml::Table::new());
    let json = (crate::format::json::KIND.parse)(&section).unwrap_or_else(|_| panic!("it is json"));
    let packed = Compression::Zstd.of(json, 20_000);
    assert_eq!(packed.lane_bytes(), 40_000);
    let bench = Bench::new(JSON, "");
    let mut decoder = packed.decoder(&bench.context);
    let (mut from, mut portions, mut skipped) = (Some(0), 0, 0);
    let (mut sources, mut refused) = (Vec::new(), Vec::new());
    while let Some(first) = from {
        let (mut rows, mut rejects) = (RowBatch::default(), Rejects::default());
        let portion = decoder.portion(first, &records, &mut rows, &mut rejects);
        let portion = portion.expect("only records are at fault");
        assert!(rows.arena.len() <= 20_000 + value.len(), "{} bytes", rows.arena.len());
        sources.extend(rows.rows.iter().map(|row| row.source));
        refused.extend(rejects.found.iter().map(|(source, ..)| *source));
        (from, skipped, portions) = (portion.next, skipped + portion.decoded.skipped, portions + 1);
    }
    assert_eq!((portions, skipped, refused), (33, 1, vec![40]));
    let expected: Vec<u32> = (0..100).filter(|source| ![30, 40].contains(source)).collect();
    assert_eq!(sources, expected);
    // All at once, for those who try a few records.
    let (mut rows, mut rejects) = (RowBatch::default(), Rejects::default());
    let decoded = decoder.decode(&records, &mut rows, &mut rejects);
    assert_eq!(decoded.map(|decoded| decoded.skipped).ok(), Some(1));
    assert_eq!((rows.rows.len(), rejects.found.len()), (98, 1));
}

#[test]
fn nothing_grows_in_steady_state() {
    let packed = pack(Codec::Gzip, b"{\"a\":1,\"b\":\"0123456789\"}");
    let records = batch((0..500).map(|_| (None, Some(packed.clone()))).collect());
    let mut bench = bench(JSON, "gzip");
    let (mut rows, mut rejects) = (RowBatch::default(), Rejects::default());
    let mut rooms = || {
        rows.clear();
        bench.decoder.decode(&records, &mut rows, &mut rejects).expect("only records are at fault");
        assert_eq!((rows.rows.len(), rejects.is_empty()), (500, true));
        (rows.rows.capacity(), rows.cells.capacity(), rows.arena.capacity())
    };
    let first = rooms();
    assert_eq!((rooms(), rooms()), (first, first));
}

#[test]
fn the_setting_is_of_every_format() {
    for kind in crate::format::KINDS.iter().filter(|kind| kind.name != "ignore") {
        let example = format!("[pipeline.p]\ntopics = [\"t\"]\n{}", kind.example);
        let section = example.replacen("value = {", "value = { compression = \"lz4\",", 1);
        assert!(section != example, "{}", kind.name);
        let with = crate::config::Surroundings {
            env: &|_| None,
            host: "h".into(),
            base: std::path::Path::new("/nowhere"),
        };
        let plan = crate::config::Plan::parse("t.toml", &section, &with, &Default::default());
        let plan = plan.unwrap_or_else(|mistakes| panic!("{}: {mistakes}", kind.name));
        let pipeline = &plan.pipelines[0];
        assert_eq!(pipeline.value.explain()[0], "each compressed with lz4", "{}", kind.name);
        let part = pipeline.ceiling().into_iter().find(|(what, _)| *what == "values unpacked");
        let bytes = part.expect("it is counted").1;
        assert_eq!(bytes, 2 * pipeline.limits.lanes * pipeline.limits.batch_bytes_max);
    }
    let said = parsed("format = \"json\"\ncompression = \"zip\"", "").expect_err("it is none");
    assert!(said.contains("pipeline.p.value.compression"), "{said}");
}

proptest! {
    #[test]
    fn packed_is_as_plain_is(
        values in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 1..6),
        which in 0_usize..4,
    ) {
        let (name, codec) = NAMES[which];
        let (mut packed, mut plain) = (bench("format = \"raw\"", name), Bench::new("format = \"raw\"", ""));
        for value in values {
            prop_assert_eq!(packed.told(pack(codec, &value)), plain.told(&value));
        }
    }

    #[test]
    fn no_bytes_make_it_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        at in any::<prop::sample::Index>(),
        flip in any::<u8>(),
        which in 0_usize..4,
    ) {
        let (name, codec) = NAMES[which];
        let mut bench = bench("format = \"raw\"", name);
        bench.told(&bytes);
        let mut packed = pack(codec, &bytes);
        let at = at.index(packed.len());
        packed[at] ^= flip;
        bench.told(&packed);
        bench.told(&packed[..at]);
        broken(codec, &packed, 1_000);
        if codec == Codec::Snappy {
            bench.told([b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01", &bytes[..]].concat());
        }
    }
}
