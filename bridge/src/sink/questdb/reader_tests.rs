//! The reader alone: what it takes, what it refuses and at which byte, and that hostile bytes
//! neither break it nor make it keep more than a line.

use std::borrow::Cow;

use proptest::prelude::*;

use super::reader::{Field, LINE_BYTES_MAX, Unit, WORD_BYTES_MAX, read};

/// A line of everything, and how long it is.
fn everything() -> Vec<u8> {
    let mut bytes = b"my\\ table,sensor=a\\,b\\=c,none= site=t,n=-5i,x=1.5,e=2.5e-7,".to_vec();
    bytes.extend_from_slice(b"w=\"say \\\"hi\\\",\\\\\",at=7t,day=8m,d=1.50d,b==\x10");
    bytes.extend_from_slice(&2.5_f64.to_le_bytes());
    bytes.extend_from_slice(b",a==\x0e\x0a\x01\x02\x00\x00\x00");
    bytes.extend_from_slice(&1.0_f64.to_le_bytes());
    bytes.extend_from_slice(&f64::from_bits(0x0A0A_0A0A_0A0A_0A0A).to_le_bytes());
    bytes.extend_from_slice(b" 1700000000000000t\n");
    bytes
}

#[test]
fn a_line_of_everything() {
    let mut bytes = everything();
    let length = bytes.len();
    bytes.extend_from_slice(b"next");
    let (line, read_bytes) = read(&bytes).expect("right").expect("whole");
    assert_eq!(read_bytes, length);
    assert_eq!(line.table, "my table");
    assert_eq!(line.timestamp, Some((1_700_000_000_000_000, Unit::Micros)));
    assert_eq!(line.symbols, [("sensor".into(), "a,b=c".into()), ("none".into(), "".into())]);
    let wanted: Vec<(Cow<'_, str>, Field<'_>)> = vec![
        ("site".into(), Field::Bool(true)),
        ("n".into(), Field::Long(-5)),
        ("x".into(), Field::Double(1.5)),
        ("e".into(), Field::Double(2.5e-7)),
        ("w".into(), Field::Text("say \"hi\",\\".into())),
        ("at".into(), Field::Timestamp(7, Unit::Micros)),
        ("day".into(), Field::Timestamp(8, Unit::Millis)),
        ("d".into(), Field::Decimal("1.50")),
        ("b".into(), Field::Double(2.5)),
        ("a".into(), Field::Array(vec![2], vec![1.0, f64::from_bits(0x0A0A_0A0A_0A0A_0A0A)])),
    ];
    assert_eq!(line.fields, wanted);
    // Cut anywhere, it asks for more.
    for cut in 0..length {
        assert_eq!(read(&bytes[..cut]), Ok(None), "{cut}");
    }
}

#[test]
fn symbols_and_timestamps_may_stand_alone() {
    for (bytes, symbols, fields, timestamp) in [
        (&b"t,s=a\n"[..], 1, 0, None),
        (b"t,s=a 17t\n", 1, 0, Some((17, Unit::Micros))),
        (b"t,s=a,r= 17\n", 2, 0, Some((17, Unit::Nanos))),
        (b"t,s=a 17=1i\n", 1, 1, None),
        (b"t,s=a c=1i 0n\n", 1, 1, Some((0, Unit::Nanos))),
        (b"t c=1i 5m\n", 0, 1, Some((5, Unit::Millis))),
        (b"t c==\x0e\x0a\x02\xff\xff\xff\xff\x00\x00\x00\x00\n", 0, 1, None),
    ] {
        let (line, length) = read(bytes).expect("right").expect("whole");
        let got = (line.symbols.len(), line.fields.len(), line.timestamp, length);
        assert_eq!(got, (symbols, fields, timestamp, bytes.len()), "{}", bytes.escape_ascii());
    }
}

#[test]
fn what_is_not_right_is_an_error_at_its_byte() {
    let wrong: [(&[u8], usize); 47] = [
        (b"\n", 0),
        (b",a=b c=1i\n", 0),
        (b" t c=1i\n", 0),
        (b"t\n", 1),
        (b"t=1\n", 1),
        (b"t/u c=1i\n", 0),
        (b"t\0 c=1i\n", 0),
        (b"t\xff c=1i\n", 0),
        (b"t\\u c=1i\n", 2),
        (b"t\ru c=1i\n", 1),
        (b"t,=a c=1i\n", 2),
        (b"t,s c=1i\n", 3),
        (b"t,s=a=b c=1i\n", 5),
        (b"t,s=\xff c=1i\n", 4),
        (b"t c\n", 3),
        (b"t 17t\n", 5),
        (b"t,s=a 17x\n", 6),
        (b"t,s=a -1t\n", 6),
        (b"t,s=a 17t,c=1i\n", 9),
        (b"t,s=a  17t\n", 6),
        (b"t  c=1i\n", 2),
        (b"t c/d=1i\n", 2),
        (b"t =1i\n", 2),
        (b"t c=\n", 4),
        (b"t c= 17t\n", 4),
        (b"t c=1x\n", 4),
        (b"t c=+1i\n", 4),
        (b"t c=9223372036854775808i\n", 4),
        (b"t c=inf\n", 4),
        (b"t c=.5\n", 4),
        (b"t c=1.5.2\n", 4),
        (b"t c=1e\n", 4),
        (b"t c=1e400\n", 4),
        (b"t c=1-2d\n", 4),
        (b"t c=true\n", 4),
        (b"t c=\xff\n", 4),
        (b"t c=1i -5t\n", 7),
        (b"t c=1i t\n", 7),
        (b"t c=1i \n", 7),
        (b"t c=1i 5t \n", 9),
        (b"t c=1i,\n", 7),
        (b"t c=\"\\x\"\n", 6),
        (b"t c=\"a\nb\"\n", 6),
        (b"t c=\"a\rb\"\n", 6),
        (b"t c==\x10123456789\n", 14),
        (b"t c==\x0f12345678\n", 5),
        (b"t c==\x0e\x0a\x00\n", 7),
    ];
    for (bytes, at) in wrong {
        match read(bytes) {
            Err(misread) => assert_eq!(misread.at, at, "{} {misread}", bytes.escape_ascii()),
            Ok(read) => panic!("{}: {read:?}", bytes.escape_ascii()),
        }
    }
}

#[test]
fn what_never_ends_is_not_kept() {
    let endless = |prefix: &[u8], byte: u8, length: usize| {
        let mut bytes = prefix.to_vec();
        bytes.resize(length, byte);
        bytes
    };
    let text = endless(b"t c=\"", b'x', LINE_BYTES_MAX);
    assert_eq!(read(&text[..LINE_BYTES_MAX - 1]), Ok(None));
    assert!(read(&text).is_err());
    // A line too long is refused also when it came at once.
    assert!(read(&[text.as_slice(), b"\"\n"].concat()).is_err());
    assert!(read(&endless(b"t c=", b'1', 4 + WORD_BYTES_MAX)).is_err());
    // What an array says of itself reserves nothing.
    assert!(read(b"t c==\x0e\x0a\x02\xff\xff\xff\xff\xff\xff\xff\xff").is_err());
    assert_eq!(read(b"t c==\x0e\x0a\x01\xff\xff\x0f\x00"), Ok(None));
}

/// What every reading keeps to: a line within the bytes, an error within them or at their end.
fn check_sane(bytes: &[u8]) {
    match read(bytes) {
        Ok(Some((_, length))) => {
            assert_eq!(bytes[length - 1], b'\n');
            // What follows a line changes nothing, and what is cut from it is missed.
            assert!(matches!(read(&bytes[..length]), Ok(Some((_, n))) if n == length));
            assert_eq!(read(&bytes[..length - 1]), Ok(None));
        }
        Ok(None) => {}
        Err(misread) => assert!(misread.at <= bytes.len(), "{misread}"),
    }
}

proptest! {
    #[test]
    fn hostile_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        check_sane(&bytes);
    }

    #[test]
    fn bytes_of_the_grammar_never_panic(
        bytes in r#"t(,[a-c\\=, ]{0,4}){0,3}[ ,=]?([a-c"\\=,0-9.eintmd \n-]{0,12})\n?"#,
    ) {
        check_sane(bytes.as_bytes());
    }

    #[test]
    fn mutated_lines_never_panic(
        edits in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..4),
        (from, to) in (any::<usize>(), any::<usize>()),
    ) {
        let mut bytes = everything();
        for (at, byte) in edits {
            let index = at % bytes.len();
            bytes[index] = byte;
        }
        check_sane(&bytes);
        // Some bytes gone, some told twice.
        let (from, to) = (from % bytes.len(), to % bytes.len());
        let spliced = [&bytes[..from], &bytes[to..]].concat();
        check_sane(&spliced);
    }
}
